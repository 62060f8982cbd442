"""What a package tells uv besides its dependencies: `[tool.uv]` and `uv.toml`."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.markers import Marker

from ...difypkg.dependencies import DependencyFiles
from ...difypkg.names import PYPROJECT, UV_TOML
from ...difypkg.pep508 import parse_marker


@dataclass(frozen=True, slots=True, kw_only=True)
class UvSettings:
    """What holds for uv in the plugin's folder: those of `uv.toml` where there is one, else those of `[tool.uv]`.

    `environments` are the markers that a resolution is confined to; none where it is not.
    """

    tables: Mapping[str, Mapping[str, Any]]
    no_index: bool
    find_links: tuple[str, ...]
    environments: tuple[Marker, ...]

    @property
    def project(self) -> Mapping[str, Any]:
        """The `[tool.uv]` table: what concerns the project is read from nowhere else."""
        return self.tables.get(PYPROJECT, {})

    def name_set(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Return those of some keys that are set in either place."""
        return tuple(key for key in keys if any(key in table for table in self.tables.values()))


def read_settings(files: DependencyFiles, uv_toml: Mapping[str, Any] | None) -> UvSettings:
    """Read the settings of both places."""
    tables: dict[str, Mapping[str, Any]] = {PYPROJECT: files.tool_uv} if files.pyproject is not None else {}
    if uv_toml is not None:
        tables[UV_TOML] = uv_toml
    ruling = uv_toml if uv_toml is not None else files.tool_uv
    links = ruling.get("find-links")
    environments = files.tool_uv.get("environments")
    markers = [environments] if isinstance(environments, str) else environments
    return UvSettings(
        tables=tables,
        no_index=ruling.get("no-index") is True,
        find_links=tuple(map(str, links)) if isinstance(links, list) else (),
        environments=tuple(_markers(markers)) if isinstance(markers, list) else (),
    )


def _markers(texts: Sequence[object]) -> Iterator[Marker]:
    for text in texts:
        if (marker := parse_marker(str(text))) is not None:
            yield marker


def find_folder(link: str) -> str | None:
    """Return the folder of the package that a find-links entry names, None for a place outside of it."""
    path = posixpath.normpath(link.removeprefix("file:"))
    return None if "://" in link or path.startswith(("/", "..")) else path

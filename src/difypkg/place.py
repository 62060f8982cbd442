"""Where a plugin lies on this machine, whatever it was asked for by."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFrom:
    """Where a fetched plugin came from: the `kind` of source (`marketplace`, `github`, `url`, …) and its URL.

    `url` holds no user, password or query. `sha256` is that of the file, in hex, None for a folder. `identifier` is the
    plugin's, as the source names it (`author/name:version@checksum`), None where the source has none; `commit` the one
    that the files are of. `checked` says what the content was compared with: the checksum in the identifier, the
    file's SHA-256 in it, the digest that the source lists, or nothing (None).
    """

    kind: str
    url: str
    sha256: str | None = None
    identifier: str | None = None
    commit: str | None = None
    checked: Literal["checksum", "sha256", "digest"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginPlace:
    """A plugin on this machine: `path` is a `.difypkg` or a plugin folder, `name` what messages call it.

    `origin` says where it was fetched from, None for a plugin of this machine.
    """

    path: Path
    name: str
    origin: FetchedFrom | None = None


def local_place(path: Path) -> PluginPlace:
    """Return the place of a file or folder of this machine, called by its own name."""
    return PluginPlace(path=path, name=path.name or str(path.absolute()))

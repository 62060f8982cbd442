"""What uv is given of a plugin to resolve: its dependency files, and what they refer to within the plugin.

Nothing outside the plugin is read for it, and nothing of this machine's environment is put into what it wrote.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from ..difypkg.dependencies import decode, requirement_lines
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.names import LOCK, PYPROJECT, REQUIREMENTS, UV_TOML
from ..difypkg.pep508 import parse_requirement
from .source import Plugin

_VARIABLE: Final = re.compile(r"\$(?=\{[A-Z0-9_]+\})")  # what uv expands, as pip does
_OPTION: Final = re.compile(r"(--?[a-z][a-z-]*)(?:\s*=\s*|\s+)?(.*)")
_FILES: Final = ("-r", "--requirement", "-c", "--constraint")
_FOLDERS: Final = ("-e", "--editable")
_INDEXES: Final = ("-i", "--index-url", "--extra-index-url", "--trusted-host")
_LINKS: Final = ("-f", "--find-links")
_SHORT: Final = ("-r", "-c", "-e", "-i", "-f")
_ARCHIVES: Final = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_REFERENCE: Final = re.compile(r"(?P<name>[\w.-]+(?:\[[^\]]*\])?\s*@\s*)?(?P<place>\S+)(?P<rest>.*)")
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What was written: `sealed` says that the requirements allow no index, only wheels that the plugin brings.

    `index_urls` are those of the indexes and link pages that they name, passwords included.
    """

    findings: tuple[Diagnosis, ...]
    sealed: bool
    index_urls: tuple[str, ...] = field(repr=False)


def write_inputs(plugin: Plugin, work: Path, *, index_configured: bool) -> Inputs:
    """Write what uv reads into `work`: the dependency files, or the whole plugin where they refer to its files.

    Where the user configured an index, those that requirements name are left out. Raises `DifyoffError`
    (`path-outside-plugin`).
    """
    dependencies = plugin.dependencies
    _refuse_outer_sources(plugin)
    files = _RequirementFiles(plugin, index_configured=index_configured)
    if dependencies.requirements is not None and dependencies.project is None:
        files.read(REQUIREMENTS, dependencies.requirements)
    whole = (
        "build-system" in (dependencies.pyproject or {})
        or any({"path", "workspace"} & source.keys() for source in _sources(dependencies.tool_uv))
        or "file:" in (dependencies.pyproject_text or "")
        or files.refers
    )
    for path, file in plugin.files.items():
        if whole or path == UV_TOML:
            target = work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as stream:
                stream.writelines(file.chunks())
    # As text: uv reads other encodings in requirements.txt only.
    texts = {PYPROJECT: dependencies.pyproject_text, LOCK: dependencies.lock, **files.texts}
    for name, text in texts.items():
        if text is not None:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(unexpanded(text), encoding="utf-8", newline="")
    return Inputs(findings=tuple(files.findings()), sealed=files.sealed, index_urls=tuple(files.index_urls))


def unexpanded(text: str) -> str:
    """Return a text in which uv finds no variable to put a value for: `$` as a URL writes it, `%24`."""
    return _VARIABLE.sub("%24", text)


def own_file(url: str, work: Path) -> str | None:
    """Return the path in the plugin of a file that a lock names in `work`, None for one from elsewhere."""
    if url.startswith(("http://", "https://")):
        return None
    path = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else Path(url)
    inside = posixpath.normpath(path.as_posix())
    return Path(inside).relative_to(work).as_posix() if Path(inside).is_relative_to(work) else None


class _RequirementFiles:
    """The requirements files of a plugin, read from the first on, as uv may have them."""

    def __init__(self, plugin: Plugin, *, index_configured: bool) -> None:
        self.texts: dict[str, str] = {}
        self.refers = False
        self.sealed = False
        self.index_urls: list[str] = []
        self._plugin = plugin
        self._index_configured = index_configured
        self._dropped: list[str] = []
        self._own: list[str] = []

    def read(self, path: str, text: str) -> None:
        """Read a file and those that it includes."""
        self.texts[path] = ""  # a file may include itself
        lines = [part for line in requirement_lines(text) for part in _single_options(line)]
        has_links = any(self._has_links(line, path) for line in lines)
        kept = (self._line(line, path, has_links=has_links) for line in lines)
        self.texts[path] = "".join(f"{line}\n" for line in kept if line is not None)

    def findings(self) -> Iterator[Diagnosis]:
        """Yield what a user should know of what was read."""
        if self._dropped:
            yield Diagnosis(
                slug="leftover-options",
                message=f"{REQUIREMENTS} sends uv to wheels that the plugin does not have; those options are left out",
                context=tuple(self._dropped[:5]),
                note="They are left from a package that was made offline once.",
            )
        if self._own:
            yield Diagnosis(
                slug="own-wheels",
                message="wheels that the plugin brings are used as its dependencies ask",
                context=tuple(dict.fromkeys(self._own))[:8],
                note="Nobody but the plugin's author vouches for them: no index is asked.",
            )

    def _line(self, line: str, path: str, *, has_links: bool) -> str | None:
        name, value = _option(line)
        if name in _FILES:
            return self._include(name, value, path)
        if name in _FOLDERS:
            self.refers = True
            return f"{name} ./{self._inside(value, path)}"
        if name in (*_INDEXES, *_LINKS) and _URL.match(value):
            self.index_urls.append(value)
        if name in _INDEXES:
            return None if self._index_configured else line
        if name in _LINKS:
            if _URL.match(value) and not value.startswith("file:"):
                return None if self._index_configured else line
            if not (links := self._links(value, path)):
                self._dropped.append(line)
                return None
            self.refers = True
            self._own += links
            return f"--find-links {self._inside(value, path) or '.'}"
        if name == "--no-index":
            if has_links:
                self.sealed = True
                return line
            self._dropped += [] if self._index_configured else [line]
            return None
        return line if name else self._requirement(line, path)

    def _include(self, name: str, value: str, path: str) -> str:
        inner = self._inside(value, path)
        if inner not in self._plugin.files:
            raise not_in_plugin(value, path)
        self.refers = True
        if inner not in self.texts:
            self.read(inner, decode(self._plugin.files[inner].read(), inner))
        return f"{name} {posixpath.relpath(inner, posixpath.dirname(path) or '.')}"

    def _requirement(self, line: str, path: str) -> str:
        match = _REFERENCE.fullmatch(line)
        if match is None or not _is_local(match["place"], named=bool(match["name"])):
            return line
        self.refers = True
        place, _, fragment = match["place"].partition("#")
        inner = self._find(place, path)
        if inner.endswith(".whl"):
            self._own.append(inner)
        reference = posixpath.relpath(inner, posixpath.dirname(path) or ".")
        fragment = f"#{fragment}" if fragment else ""
        return f"{match['name'] or ''}./{reference}{fragment}{match['rest']}"

    def _find(self, place: str, path: str) -> str:
        """Return the path in the plugin of what a requirement names by a path, whatever folder its author had it in."""
        try:
            inner = self._inside(place, path)
            if inner in self._plugin.files or any(file.startswith(f"{inner}/") for file in self._plugin.files):
                return inner
        except DifyoffError:
            pass
        name = posixpath.basename(unquote(place))
        same = [file for file in self._plugin.files if posixpath.basename(file) == name and name.endswith(_ARCHIVES)]
        if len(same) != 1:
            raise not_in_plugin(place, path)
        return same[0]

    def _inside(self, value: str, path: str) -> str:
        """Return a path in the plugin that a file names, relative to its folder."""
        value = value.strip().strip("\"'")
        if value.startswith("file:"):
            value = unquote(urlsplit(value).path)
        inner = posixpath.normpath(posixpath.join(posixpath.dirname(path), value))
        if _URL.match(value) or value.startswith(("/", "~")) or inner.split("/")[0] == ".." or "\\" in value:
            raise not_in_plugin(value, path)
        return "" if inner == "." else inner

    def _links(self, value: str, path: str) -> list[str]:
        """Return the archives in a folder of the plugin that `--find-links` names."""
        try:
            folder = self._inside(value, path)
        except DifyoffError:
            return []
        return [file for file in self._plugin.files if posixpath.dirname(file) == folder and file.endswith(_ARCHIVES)]

    def _has_links(self, line: str, path: str) -> bool:
        name, value = _option(line)
        if name not in _LINKS:
            return False
        remote = bool(_URL.match(value)) and not value.startswith("file:") and not self._index_configured
        return remote or bool(self._links(value, path))


def _single_options(line: str) -> tuple[str, ...]:
    """Return the options of a line that holds several, as repackaging scripts write `--no-index --find-links=…`."""
    name, value = _option(line)
    return ("--no-index", value) if name == "--no-index" and value else (line,)


def _option(line: str) -> tuple[str, str]:
    """Return the name and value of an option line, two empty texts for a requirement."""
    if not line.startswith("-"):
        return "", ""
    for short in _SHORT:
        if line.startswith(short) and not line.startswith("--"):
            return short, line.removeprefix(short).lstrip(" =\t")
    match = _OPTION.fullmatch(line)
    return (match[1], match[2].strip()) if match else (line, "")


def _is_local(place: str, *, named: bool) -> bool:
    if _URL.match(place) and not place.startswith("file://"):
        return False
    return place.startswith((".", "/", "~", "file:")) or place.partition("#")[0].endswith(_ARCHIVES) or named


def _sources(tool_uv: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    sources = tool_uv.get("sources")
    for source in sources.values() if isinstance(sources, dict) else ():
        yield from (each for each in (source if isinstance(source, list) else [source]) if isinstance(each, dict))


def _refuse_outer_sources(plugin: Plugin) -> None:
    """Refuse a pyproject that sends uv to a folder or file of this machine."""
    project = plugin.dependencies.project
    if project is None:
        return
    groups = project.get("optional-dependencies")
    lines = [*_texts(project.get("dependencies"))]
    for group in groups.values() if isinstance(groups, dict) else ():
        lines += _texts(group)
    for key in ("override-dependencies", "constraint-dependencies"):
        lines += _texts(plugin.dependencies.tool_uv.get(key))
    urls = [requirement.url for line in lines if (requirement := parse_requirement(line)) is not None]
    places = [unquote(urlsplit(url).path) for url in urls if url is not None and url.startswith("file:")]
    places += [str(source["path"]) for source in _sources(plugin.dependencies.tool_uv) if "path" in source]
    for place in places:
        if posixpath.isabs(place) or posixpath.normpath(place).split("/")[0] == "..":
            raise not_in_plugin(place, PYPROJECT)


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def not_in_plugin(what: str, where: str) -> DifyoffError:
    """Return the error for a path that a file of the plugin names and that is not the plugin's."""
    return DifyoffError(
        Diagnosis(
            slug="path-outside-plugin",
            message=f"{where} refers to {what}, which is not in the plugin",
            note="Nothing of this machine is read in its place.",
            hint="Put the file into the plugin and name it by a path from there, or name a release on an index.",
        )
    )

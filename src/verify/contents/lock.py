"""`uv.lock` as a frozen install follows it: what it installs on a target, from which files, by which hashes."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from packaging.markers import Marker
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename

from ...difypkg.pep508 import parse_marker
from .world import World

_REMOTE: Final = ("http://", "https://", "git+", "ssh://")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile:
    """A file that the lock names: `path` in the package, None for one elsewhere; `sha256` in hex, None for none."""

    filename: str
    path: str | None
    sha256: str | None
    where: str

    @property
    def tags(self) -> frozenset[Tag]:
        """The tags in a wheel's name; none where it is not the name of a wheel."""
        try:
            return parse_wheel_filename(self.filename)[3]
        except InvalidWheelFilename:
            return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackage:
    """One entry: `remote` is the place it comes from where that is not a file of the package."""

    name: NormalizedName
    version: str
    is_project: bool
    is_built: bool
    remote: str | None
    wheels: tuple[LockedFile, ...]
    sdist: LockedFile | None
    dependencies: tuple[Mapping[str, Any], ...]
    extras: Mapping[str, tuple[Mapping[str, Any], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The whole lock; `markers` are the environments that it is confined to."""

    packages: tuple[LockedPackage, ...]
    markers: tuple[Marker, ...]

    @property
    def project(self) -> LockedPackage | None:
        """The plugin's own entry."""
        return next((package for package in self.packages if package.is_project), None)

    @property
    def is_remote(self) -> bool:
        """Whether it names a file on a network: an unfrozen install then has to resolve again, and may."""
        return any(file.path is None for file in self.files)

    @property
    def files(self) -> tuple[LockedFile, ...]:
        """Every file that is named."""
        return tuple(file for each in self.packages for file in (*each.wheels, *((each.sdist,) if each.sdist else ())))


def read_lock(data: Mapping[str, Any]) -> Lock:
    """Read a parsed lock. Raises `ValueError` for one of another form than uv writes."""
    try:
        packages = tuple(_package(entry) for entry in data.get("package", ()))
        markers = tuple(map(parse_marker, data.get("supported-markers", ())))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error
    known = tuple(marker for marker in markers if marker is not None)
    if len(known) < len(markers):
        raise ValueError("supported-markers holds what is not a marker")
    return Lock(packages=packages, markers=known)


def _package(entry: Mapping[str, Any]) -> LockedPackage:
    source: Mapping[str, str] = entry["source"]
    kind, place = next(iter(source.items()))
    is_project = kind in ("virtual", "editable", "directory") and place == "."
    remote = place if kind in ("git", "url") or place.startswith(_REMOTE) else None
    folder = place if kind == "registry" else posixpath.dirname(place) if kind == "path" else None
    sdist = entry.get("sdist")
    return LockedPackage(
        name=canonicalize_name(entry["name"]),
        version=entry.get("version", ""),
        is_project=is_project,
        is_built=is_project and kind != "virtual",
        remote=remote,
        wheels=tuple(_file(file, folder) for file in entry.get("wheels", ())),
        sdist=_file(sdist, folder) if sdist else None,
        dependencies=tuple(entry.get("dependencies", ())),
        extras={name: tuple(lines) for name, lines in entry.get("optional-dependencies", {}).items()},
    )


def _file(entry: Mapping[str, str], folder: str | None) -> LockedFile:
    where = entry.get("path") or entry.get("url") or entry.get("filename") or ""
    path = None
    if "url" not in entry and folder is not None and not folder.startswith(_REMOTE):
        path = posixpath.normpath(posixpath.join(folder, where))
    kind, _, digest = entry.get("hash", "").partition(":")
    return LockedFile(
        filename=where.rpartition("/")[2], path=path, sha256=digest if kind == "sha256" else None, where=where
    )


def find_installed(lock: Lock, world: World) -> tuple[LockedPackage, ...]:
    """Return what a frozen install without groups takes here, the plugin's own entry left out."""
    by_name: dict[str, list[LockedPackage]] = {}
    for package in lock.packages:
        by_name.setdefault(package.name, []).append(package)
    taken: dict[tuple[str, str], LockedPackage] = {}
    pending = list(lock.project.dependencies) if lock.project else []
    seen: set[tuple[str, str, str]] = set()
    while pending:
        line = pending.pop()
        if not _holds(line.get("marker"), world):
            continue
        for package in by_name.get(canonicalize_name(line["name"]), ()):
            if package.version != line.get("version", package.version):
                continue
            taken[package.name, package.version] = package
            for extra in ("", *line.get("extra", ())):
                if (package.name, package.version, extra) not in seen:
                    seen.add((package.name, package.version, extra))
                    pending += package.extras.get(extra, ()) if extra else package.dependencies
    return tuple(package for package in taken.values() if not package.is_project)


def _holds(marker: str | None, world: World) -> bool:
    parsed = None if marker is None else parse_marker(marker)
    return parsed is None or world.applies(parsed)

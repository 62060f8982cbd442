"""What an install must have brought, read off the file that the daemon's branch installs from."""

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ..difypkg.daemons import Plan
from ..difypkg.dependencies import read_dependency_files
from ..difypkg.names import DEPENDENCY_FILES, PYPROJECT
from ..difypkg.target import Target
from .extract import ExtractedPackage

_OWN: Final = ("virtual", "editable", "directory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Versions by normalised name. `complete` says that nothing else may be there."""

    versions: dict[str, SpecifierSet]
    complete: bool

    def differences(self, installed: dict[str, str]) -> tuple[str, ...]:
        """Return what is missing, of another version or too much, a phrase each."""
        found = []
        for name, wanted in sorted(self.versions.items()):
            if name not in installed:
                found.append(f"{name}{wanted} is not installed")
            elif not wanted.contains(installed[name], prereleases=True):
                found.append(f"{name} {installed[name]} is installed instead of {wanted}")
        extra = sorted(installed.keys() - self.versions.keys()) if self.complete else ()
        return (*found, *(f"{name} {installed[name]} is installed besides" for name in extra))


def expected(package: ExtractedPackage, plan: Plan, target: Target) -> Expected:
    """Read what a branch must install on a target: a lock names everything, other files what they ask for themselves.

    Raises `DifyoffError` for a dependency file that cannot be read.
    """
    contents = {name: content for name in DEPENDENCY_FILES if (content := package.read(name)) is not None}
    files = read_dependency_files(contents)
    if plan.dependency_file != PYPROJECT:
        return Expected(versions=_asked(files.requirement_lines, target), complete=False)
    if plan.release.sync and files.lock is not None:
        return Expected(versions=_locked(tomllib.loads(files.lock), target), complete=True)
    asked = (files.project or {}).get("dependencies", [])
    return Expected(versions=_asked(asked, target), complete=False)


def _asked(lines: Iterable[str], target: Target) -> dict[str, SpecifierSet]:
    asked: dict[str, SpecifierSet] = {}
    for line in lines:
        try:
            requirement = Requirement(line.partition(" --")[0])
        except InvalidRequirement:
            continue  # an option, or a path
        if requirement.marker is None or _true(requirement.marker, target):
            asked[canonicalize_name(requirement.name)] = requirement.specifier
    return asked


def _locked(lock: dict[str, Any], target: Target) -> dict[str, SpecifierSet]:
    """Walk a uv.lock from the project itself, by the markers on its edges."""
    packages: dict[str, list[dict[str, Any]]] = {}
    for package in lock.get("package", []):
        packages.setdefault(package["name"], []).append(package)
    every = (package for group in packages.values() for package in group)
    roots = [package for package in every if any(package["source"].get(key) == "." for key in _OWN)]
    found: dict[str, SpecifierSet] = {}
    seen: set[tuple[str, str, str]] = set()
    ways = [edge for root in roots for edge in root.get("dependencies", [])]
    while ways:
        edge = ways.pop()
        if not _holds(edge.get("marker"), target):
            continue
        package = _end(packages[edge["name"]], edge)
        version = str(package.get("version", "0"))
        found[edge["name"]] = SpecifierSet(f"=={version}")
        for extra in ("", *edge.get("extra", [])):
            if (edge["name"], version, extra) not in seen:
                seen.add((edge["name"], version, extra))
                ways += _edges(package, extra)
    return found


def _edges(package: dict[str, Any], extra: str) -> Iterator[dict[str, Any]]:
    yield from package.get("optional-dependencies", {}).get(extra, []) if extra else package.get("dependencies", [])


def _end(candidates: list[dict[str, Any]], edge: dict[str, Any]) -> dict[str, Any]:
    # An edge names a version only where the lock holds several.
    return next((each for each in candidates if each.get("version") == edge.get("version")), candidates[0])


def _holds(marker: str | None, target: Target) -> bool:
    try:
        return marker is None or _true(Marker(marker), target)
    except InvalidMarker:
        return True


def _true(marker: Marker, target: Target) -> bool:
    return marker.evaluate(cast("dict[str, str]", target.environment))

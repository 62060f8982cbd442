"""The wheels of a package, as values, and what their own metadata says."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..difypkg.record import BuildRecord, WheelRecord
from ..difypkg.target import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One wheel of the package: it lies in the wheel store under `sha256`; `size` in bytes.

    `origin` is where it or its source came from, credentials left out. `built` says how it was built here. `direct`
    marks one that stands in for a direct reference.
    """

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    origin: str
    architectures: frozenset[Architecture]
    direct: bool = False
    built: BuildRecord | None = None


def direct_requirements(wheel: Path) -> Iterator[str]:
    """Yield the normalised names that a wheel's metadata requires by URL (PEP 508)."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        headers = HeaderParser().parsestr(archive.read(name).decode("utf-8", "replace"))
    for line in headers.get_all("Requires-Dist") or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.url is not None:
            yield canonicalize_name(requirement.name)


def top_level_modules(wheel: Path) -> frozenset[str]:
    """Return the names of the modules and packages that a wheel installs at the top."""
    with zipfile.ZipFile(wheel) as archive:
        firsts = {name.split("/")[0] for name in archive.namelist()}
    return frozenset(first.removesuffix(".py") for first in firsts if not first.endswith((".dist-info", ".data")))


def wheel_record(wheel: Wheel) -> WheelRecord:
    """Return a wheel as the record of a package names it."""
    return WheelRecord(
        filename=wheel.filename,
        sha256=wheel.sha256,
        size=wheel.size,
        origin=wheel.origin,
        architectures=tuple(sorted(wheel.architectures)),
        built=wheel.built,
    )

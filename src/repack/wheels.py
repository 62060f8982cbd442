"""The wheels of a package, as values, and what their own metadata says."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.metadata import parse_email
from packaging.utils import canonicalize_name

from ..difypkg.archives.profiles import WHEEL
from ..difypkg.archives.zipreader import ZipReader
from ..difypkg.pep508 import parse_requirement
from ..difypkg.record import BuildRecord, WheelRecord
from ..difypkg.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One wheel of the package: it lies in the wheel store under `sha256`; `size` in bytes.

    `origin` is where it or its source came from, credentials left out. `targets` install it. `built` says how it was
    built here. `direct` marks one that stands in for a direct reference. `waived` are its known faults, a clause each.
    """

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    origin: str
    targets: frozenset[Target]
    direct: bool = False
    built: BuildRecord | None = None
    waived: tuple[str, ...] = ()

    @property
    def architectures(self) -> tuple[str, ...]:
        """The architectures of its targets, sorted, as documents name them."""
        return tuple(sorted(target.architecture for target in self.targets))


def direct_requirements(wheel: Path) -> Iterator[str]:
    """Yield the normalised names that a wheel's metadata requires by URL (PEP 508)."""
    with wheel.open("rb") as file:
        reader = ZipReader(file, WHEEL)
        entry = next(entry for entry in reader.entries if entry.path.endswith(".dist-info/METADATA"))
        metadata, _ = parse_email(reader.read(entry))
    for line in metadata.get("requires_dist", ()):
        requirement = parse_requirement(line)
        if requirement is not None and requirement.url is not None:
            yield canonicalize_name(requirement.name)


def top_level_modules(wheel: Path) -> frozenset[str]:
    """Return the names of the modules and packages that a wheel installs at the top."""
    with wheel.open("rb") as file:
        firsts = {entry.path.partition("/")[0] for entry in ZipReader(file, WHEEL).entries}
    return frozenset(first.removesuffix(".py") for first in firsts if not first.endswith((".dist-info", ".data")))


def wheel_record(wheel: Wheel) -> WheelRecord:
    """Return a wheel as the record of a package names it."""
    return WheelRecord(
        filename=wheel.filename,
        sha256=wheel.sha256,
        size=wheel.size,
        origin=wheel.origin,
        architectures=wheel.architectures,
        built=wheel.built,
        waived=wheel.waived,
    )

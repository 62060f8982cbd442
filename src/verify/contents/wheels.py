"""The wheels of a package, read where they lie: names, tags, their own metadata, and what their libraries need."""

import re
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Final

from packaging.metadata import InvalidMetadata, Metadata
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from ...difypkg.archive import Archive, Member
from ...difypkg.archives.faults import ArchiveFault
from ...difypkg.archives.profiles import WHEEL
from ...difypkg.archives.wheel import WheelReport, read_description, report_wheel
from ...difypkg.archives.zipreader import ZipReader
from ...difypkg.diagnosis import REBUILD, Diagnosis
from ...difypkg.target import Target
from ..finding import Finding
from .elf import NotElfError, SharedObject, read_elf
from .members import Forward, Unreadable, seekable

_LONGEST_LICENCE: Final = 100
_READERS: Final = 4
"""Wheels that are read at once: unpacking and hashing use one processor each."""
_ALIASES: Final = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_MANYLINUX: Final = re.compile(r"(?:manylinux_(\d+)_(\d+)|(manylinux1|manylinux2010|manylinux2014))_.+")


@cache
def accepted_tags(target: Target) -> frozenset[Tag]:
    """Return the tags that an installer on the target takes."""
    return frozenset(target.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledWheel:
    """One wheel of the package: `path` in it, `sha256` in hex, `size` in bytes; the rest by its METADATA.

    `licence` is an SPDX expression where `licence_is_expression` (PEP 639), else what older metadata say.
    `report` says whether its files are those of its own RECORD.
    """

    path: str
    name: NormalizedName
    version: Version
    tags: frozenset[Tag]
    sha256: str
    size: int
    requires: tuple[Requirement, ...]
    requires_python: SpecifierSet | None
    libraries: tuple[tuple[str, SharedObject], ...]
    report: WheelReport
    licence: str | None = None
    licence_is_expression: bool = False

    @property
    def filename(self) -> str:
        """The file's name without its folder."""
        return self.path.rpartition("/")[2]

    @property
    def is_native(self) -> bool:
        """Whether it is for one machine only."""
        return all(tag.platform != "any" for tag in self.tags)

    @property
    def needed_glibc(self) -> tuple[int, int]:
        """The least glibc that its tags name (PEP 600), (0, 0) where it needs none."""
        return min((_glibc(tag.platform) for tag in self.tags), default=(0, 0))

    def fits(self, target: Target) -> bool:
        """Say whether an installer on the target takes it."""
        return not self.tags.isdisjoint(accepted_tags(target))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheelhouse:
    """What lies in the package to be installed.

    `sdists` are paths by the name of what they would become, `damaged` the names of wheels that cannot be read.
    """

    wheels: tuple[BundledWheel, ...]
    sdists: Mapping[NormalizedName, str] = field(default_factory=dict)
    damaged: frozenset[str] = frozenset()

    def within(self, folders: Collection[str]) -> "Wheelhouse":
        """Return what lies in these folders: installers look no deeper."""
        wheels = tuple(wheel for wheel in self.wheels if _folder(wheel.path) in folders)
        sdists = {name: path for name, path in self.sdists.items() if _folder(path) in folders}
        return Wheelhouse(wheels=wheels, sdists=sdists, damaged=self.damaged)

    def of(self, name: NormalizedName) -> tuple[BundledWheel, ...]:
        """Return the wheels of one distribution."""
        return tuple(wheel for wheel in self.wheels if wheel.name == name)


class _UnfitError(Exception):
    """The wheel is not what it should be; the text says why."""


def read_wheelhouse(archive: Archive, digests: Mapping[str, bytes]) -> tuple[Wheelhouse, tuple[Finding, ...]]:
    """Read every wheel of the package; those that cannot be read are a finding (`damaged-wheel`)."""
    wheels: list[BundledWheel] = []
    sdists: dict[NormalizedName, str] = {}
    damaged: dict[str, str] = {}
    members = [member for member in archive.members if member.path.endswith(".whl")]
    with ThreadPoolExecutor(_READERS) as pool:
        for read in pool.map(lambda member: _try_wheel(archive, member, digests[member.path].hex()), members):
            if isinstance(read, BundledWheel):
                wheels.append(read)
            else:
                damaged[read[0]] = read[1]
    for member in archive.members:
        if member.path.endswith((".tar.gz", ".zip")):
            try:
                sdists[parse_sdist_filename(member.path.rpartition("/")[2])[0]] = member.path
            except InvalidSdistFilename:
                continue  # data of the plugin
    names = frozenset(canonicalize_name(path.rpartition("/")[2].partition("-")[0]) for path in damaged)
    house = Wheelhouse(wheels=tuple(wheels), sdists=sdists, damaged=names)
    return house, tuple(_damaged(tuple(damaged.values()))) if damaged else ()


def _damaged(lines: tuple[str, ...]) -> Iterator[Finding]:
    yield Finding(
        diagnosis=Diagnosis(
            slug="damaged-wheel",
            message=lines[0] if len(lines) == 1 else f"{len(lines)} wheels cannot be read",
            context=lines[:12] if len(lines) > 1 else (),
            hint=REBUILD,
        )
    )


def _glibc(platform: str) -> tuple[int, int]:
    match = _MANYLINUX.fullmatch(platform)
    if match is None:
        return (0, 0)
    return _ALIASES[match[3]] if match[3] else (int(match[1]), int(match[2]))


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "."


def _try_wheel(archive: Archive, member: Member, sha256: str) -> BundledWheel | tuple[str, str]:
    """Return the wheel, or its path and why it cannot be read."""
    try:
        return _read_wheel(archive, member, sha256)
    except _UnfitError as error:
        return member.path, f"{member.path} is not a readable wheel: {error}"


def _read_wheel(archive: Archive, member: Member, sha256: str) -> BundledWheel:
    filename = member.path.rpartition("/")[2]
    try:
        name, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise _UnfitError(str(error)) from error
    try:
        with seekable(archive, member) as file:
            wheel = ZipReader(file, WHEEL)
            text = read_description(wheel, name, version)
            if text is None:
                raise _UnfitError(f"it does not have exactly one METADATA file, of {name} {version}")
            report = report_wheel(wheel, filename, sha256)
            libraries = tuple(_libraries(wheel)) if any(tag.platform != "any" for tag in tags) else ()
    except ArchiveFault as fault:
        raise _UnfitError("; ".join((fault.what, *fault.evidence))) from fault
    try:
        metadata = Metadata.from_email(text, validate=False)
        if (canonicalize_name(metadata.name), metadata.version) != (name, version):
            raise _UnfitError(f"its metadata is that of {metadata.name} {metadata.version}")
        requires, requires_python = tuple(metadata.requires_dist or ()), metadata.requires_python
    except (InvalidMetadata, TypeError, RecursionError) as error:
        raise _UnfitError(f"its metadata cannot be read ({error})") from error
    licence, is_expression = _licence(metadata)
    return BundledWheel(
        path=member.path,
        name=name,
        version=version,
        tags=tags,
        sha256=sha256,
        size=member.size,
        requires=requires,
        requires_python=requires_python,
        libraries=libraries,
        report=report,
        licence=licence,
        licence_is_expression=is_expression,
    )


def _licence(metadata: Metadata) -> tuple[str | None, bool]:
    """Return what metadata says of a licence, and whether that is an SPDX expression."""
    try:
        if metadata.license_expression:
            return str(metadata.license_expression), True
    except (InvalidMetadata, RecursionError):
        pass  # not an expression: older fields may tell
    classified = [each.rpartition(" :: ")[2] for each in metadata.classifiers or () if each.startswith("License ::")]
    # Some put the whole text of the licence here.
    written = (metadata.license or "").strip()
    short = written if written and "\n" not in written and len(written) <= _LONGEST_LICENCE else None
    return short or " or ".join(classified) or None, False


def _libraries(wheel: ZipReader) -> Iterator[tuple[str, SharedObject]]:
    for entry in wheel.entries:
        if not (entry.path.endswith(".so") or ".so." in entry.path):
            continue
        try:
            yield entry.path, read_elf(Forward(partial(wheel.chunks, entry)))
        except NotElfError:
            continue  # a linker script, an empty file: nothing that would be loaded, or not by us to judge
        except Unreadable as error:
            raise _UnfitError(f"{entry.path} is made so that reading it takes minutes") from error

"""The wheels of a package, read where they lie: names, tags, their own metadata, and what their libraries need."""

import errno
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
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
from ...difypkg.diagnosis import REBUILD, Diagnosis
from ...difypkg.target import Target
from ..finding import Finding
from .elf import NotElfError, SharedObject, read_elf
from .members import seekable

_READ_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
)
_LARGEST_METADATA: Final = 16 * 1024 * 1024
_LONGEST_LICENCE: Final = 100
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
    for member in archive.members:
        if member.path.endswith(".whl"):
            try:
                wheels.append(_read_wheel(archive, member, digests[member.path].hex()))
            except _UnfitError as error:
                damaged[member.path] = f"{member.path} is not a readable wheel: {error}"
        elif member.path.endswith((".tar.gz", ".zip")):
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


def _read_wheel(archive: Archive, member: Member, sha256: str) -> BundledWheel:
    try:
        name, version, _, tags = parse_wheel_filename(member.path.rpartition("/")[2])
    except InvalidWheelFilename as error:
        raise _UnfitError(str(error)) from error
    try:
        with seekable(archive, member) as file, zipfile.ZipFile(file) as wheel:
            metadata = Metadata.from_email(_read_metadata(wheel, name, version), validate=False)
            libraries = tuple(_libraries(wheel)) if any(tag.platform != "any" for tag in tags) else ()
    except _READ_ERRORS as error:
        raise _UnfitError(f"it is not a readable archive ({error})") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # that of a place before the file's beginning, which a damaged one may name
            raise
        raise _UnfitError("it is not a readable archive") from error
    try:
        if (canonicalize_name(metadata.name), metadata.version) != (name, version):
            raise _UnfitError(f"its metadata is that of {metadata.name} {metadata.version}")
        requires, requires_python = tuple(metadata.requires_dist or ()), metadata.requires_python
    except (InvalidMetadata, TypeError) as error:
        raise _UnfitError(f"its metadata cannot be read ({error})") from error
    licence, is_expression = _licence(metadata)
    return BundledWheel(
        licence=licence,
        licence_is_expression=is_expression,
        path=member.path,
        name=name,
        version=version,
        tags=tags,
        sha256=sha256,
        size=member.size,
        requires=requires,
        requires_python=requires_python,
        libraries=libraries,
    )


def _licence(metadata: Metadata) -> tuple[str | None, bool]:
    """Return what metadata says of a licence, and whether that is an SPDX expression."""
    try:
        if metadata.license_expression:
            return str(metadata.license_expression), True
    except InvalidMetadata:
        pass  # not an expression: older fields may tell
    classified = [each.rpartition(" :: ")[2] for each in metadata.classifiers or () if each.startswith("License ::")]
    # Some put the whole text of the licence here.
    written = (metadata.license or "").strip()
    short = written if written and "\n" not in written and len(written) <= _LONGEST_LICENCE else None
    return short or " or ".join(classified) or None, False


def _read_metadata(wheel: zipfile.ZipFile, name: NormalizedName, version: Version) -> bytes:
    found = [
        info
        for info in wheel.infolist()
        if info.filename.count("/") == 1 and info.filename.endswith(".dist-info/METADATA")
    ]
    if len(found) != 1:
        raise _UnfitError(f"it holds {len(found)} METADATA files of {name} {version}, not one")
    if found[0].file_size > _LARGEST_METADATA:
        raise _UnfitError(f"its METADATA is larger than {_LARGEST_METADATA >> 20} MiB")
    return wheel.read(found[0])


def _libraries(wheel: zipfile.ZipFile) -> Iterator[tuple[str, SharedObject]]:
    for info in wheel.infolist():
        if not (info.filename.endswith(".so") or ".so." in info.filename):
            continue
        with wheel.open(info) as stream:
            try:
                yield info.filename, read_elf(stream)
            except NotElfError:
                continue  # a linker script, an empty file: nothing that would be loaded, or not by us to judge

"""The wheels of a package, read where they lie: names, tags, their own metadata, and what their libraries need."""

import errno
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from email.parser import HeaderParser
from functools import cache
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from ...difypkg.archive import Archive, Member
from ...difypkg.diagnosis import REBUILD, Diagnosis
from ...difypkg.target import ARCHITECTURES, TARGETS, Architecture, Target
from ..audit.faults import Fault
from .elf import MACHINES, NotElfError, SharedObject, read_elf
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


@cache
def accepted_tags(target: Target) -> frozenset[Tag]:
    """Return the tags that an installer on the target takes."""
    return frozenset(target.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledWheel:
    """One wheel of the package: `path` in it, `sha256` in hex, `size` in bytes; the rest by its METADATA."""

    path: str
    name: NormalizedName
    version: Version
    tags: frozenset[Tag]
    sha256: str
    size: int
    requires: tuple[Requirement, ...]
    requires_python: SpecifierSet | None
    libraries: tuple[tuple[str, SharedObject], ...]

    @property
    def filename(self) -> str:
        """The file's name without its folder."""
        return self.path.rpartition("/")[2]

    @property
    def is_native(self) -> bool:
        """Whether it is for one machine only."""
        return all(tag.platform != "any" for tag in self.tags)

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


def read_wheelhouse(archive: Archive, digests: Mapping[str, bytes]) -> tuple[Wheelhouse, tuple[Fault, ...]]:
    """Read every wheel of the package; those that cannot be read are faults (`damaged-wheel`)."""
    wheels: list[BundledWheel] = []
    sdists: dict[NormalizedName, str] = {}
    damaged: dict[str, str] = {}
    for member in archive.members:
        if member.path.endswith(".whl"):
            try:
                wheels.append(_read_wheel(archive, member, digests[member.path].hex()))
            except _UnfitError as error:
                damaged[member.path] = f"{member.path} is no readable wheel: {error}"
        elif member.path.endswith((".tar.gz", ".zip")):
            try:
                sdists[parse_sdist_filename(member.path.rpartition("/")[2])[0]] = member.path
            except InvalidSdistFilename:
                continue  # data of the plugin
    names = frozenset(canonicalize_name(path.rpartition("/")[2].partition("-")[0]) for path in damaged)
    house = Wheelhouse(wheels=tuple(wheels), sdists=sdists, damaged=names)
    return house, tuple(_damaged(tuple(damaged.values()))) if damaged else ()


def _damaged(lines: tuple[str, ...]) -> Iterator[Fault]:
    yield Fault(
        diagnosis=Diagnosis(
            slug="damaged-wheel",
            message=lines[0] if len(lines) == 1 else f"{len(lines)} wheels cannot be read",
            context=lines[:12] if len(lines) > 1 else (),
            hint=REBUILD,
        )
    )


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "."


def _read_wheel(archive: Archive, member: Member, sha256: str) -> BundledWheel:
    try:
        name, version, _, tags = parse_wheel_filename(member.path.rpartition("/")[2])
    except InvalidWheelFilename as error:
        raise _UnfitError(str(error)) from error
    try:
        with seekable(archive, member) as file, zipfile.ZipFile(file) as wheel:
            headers = HeaderParser().parsestr(_metadata(wheel, name, version).decode("utf-8", "replace"))
            libraries = tuple(_libraries(wheel)) if any(tag.platform != "any" for tag in tags) else ()
    except _READ_ERRORS as error:
        raise _UnfitError(f"no readable archive ({error})") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # that of a place before the file's beginning, which a damaged one may name
            raise
        raise _UnfitError("no readable archive") from error
    try:
        if (canonicalize_name(headers["Name"]), Version(headers["Version"])) != (name, version):
            raise _UnfitError(f"its metadata is that of {headers['Name']} {headers['Version']}")
        python = headers["Requires-Python"]
        requires = tuple(Requirement(line) for line in headers.get_all("Requires-Dist") or ())
        requires_python = SpecifierSet(python) if python else None
    except (InvalidVersion, InvalidRequirement, InvalidSpecifier, TypeError) as error:
        raise _UnfitError(f"its metadata cannot be read ({error})") from error
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
    )


def _metadata(wheel: zipfile.ZipFile, name: NormalizedName, version: Version) -> bytes:
    found = [
        info
        for info in wheel.infolist()
        if info.filename.count("/") == 1 and info.filename.endswith(".dist-info/METADATA")
    ]
    if len(found) != 1:
        raise _UnfitError(f"it holds {len(found)} METADATA files of {name} {version}, not one")
    if found[0].file_size > _LARGEST_METADATA:
        raise _UnfitError("its METADATA is absurdly large")
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


def native_architectures(wheels: tuple[BundledWheel, ...]) -> tuple[Architecture, ...]:
    """Return the architectures that most distributions have native wheels for; both where there are none such."""
    counts = {
        each: len({wheel.name for wheel in wheels if wheel.is_native and wheel.fits(TARGETS[each])})
        for each in ARCHITECTURES
    }
    most = max(counts.values())
    return tuple(each for each in ARCHITECTURES if counts[each] == most)


def library_faults(wheels: tuple[BundledWheel, ...], targets: tuple[Target, ...]) -> Iterator[Fault]:
    """Yield what the libraries of native wheels need and their targets have not (`wrong-platform`)."""
    wrong = []
    for wheel in wheels:
        for target in targets:
            if not (wheel.is_native and wheel.fits(target)):
                continue
            for path, library in wheel.libraries:
                if library.machine in MACHINES.values() and library.machine != target.machine:
                    wrong.append(f"{wheel.filename}: {path} is for {library.machine}, not {target.machine}")
                elif library.machine == target.machine and library.glibc and library.glibc > target.glibc:
                    wrong.append(f"{wheel.filename}: {path} needs glibc {_dotted(library.glibc)}")
    if wrong:
        glibc = _dotted(targets[0].glibc)
        yield Fault(
            diagnosis=Diagnosis(
                slug="wrong-platform",
                message=f"a library does not run on the daemon's machine, whatever its wheel's name says: {wrong[0]}",
                context=tuple(wrong[:12]) if len(wrong) > 1 else (),
                note="uv goes by the names and installs it; the plugin fails when it imports it.",
                hint=f"build that wheel for glibc {glibc} or older on that machine, then `difyoff build` again",
            )
        )


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))

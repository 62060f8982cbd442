"""A package as the audit sees it: opened as the daemon opens it, every file hashed, what tells uv anything parsed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ...difypkg.archive import Archive
from ...difypkg.dependencies import DependencyFiles, decode, parse_toml
from ...difypkg.diagnosis import REBUILD, Diagnosis, DifyoffError
from ...difypkg.names import LOCK, PYPROJECT, PYTHON_VERSIONS, REQUIREMENTS, UV_TOML
from ...difypkg.record import RECORD, Record, load_record
from ...difypkg.target import TARGETS, Architecture, Target
from ..contents.lock import Lock, read_lock
from ..contents.requirements import RequirementsFile, read_requirements
from ..contents.wheels import Wheelhouse, native_architectures, read_wheelhouse
from .faults import EVERY, NOTHING, SYNC, Branches, Fault
from .settings import UvSettings, read_settings

_T = TypeVar("_T")
_ARCHITECTURES: Final[Mapping[str, Architecture]] = {"amd64": "amd64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """All that the checks look at; `digests` are SHA-256 (hex) by path.

    What is not there is None, and so is what cannot be read: `unreadable` says so.
    """

    archive: Archive
    digests: Mapping[str, str]
    dependencies: DependencyFiles
    requirements: RequirementsFile | None
    settings: UvSettings
    lock: Lock | None
    record: Record | None
    version_files: Mapping[str, str]
    house: Wheelhouse
    targets: tuple[Target, ...]
    unreadable: tuple[Fault, ...]


def read_package(
    archive: Archive, digests: Mapping[str, bytes], architectures: Sequence[Architecture] | None
) -> Package:
    """Read a package for the architectures, or else those that its record names, or else those of its native wheels."""
    unreadable: list[Fault] = []

    def attempt(path: str, read: Callable[[bytes], _T], bites: Branches) -> _T | None:
        if path not in archive:
            return None
        try:
            return read(archive.read(path))
        except DifyoffError as error:
            unreadable.append(Fault(diagnosis=error.diagnosis, bites=bites))
            return None

    house, damaged = read_wheelhouse(archive, digests)
    texts = {
        path: attempt(path, lambda content, path=path: decode(content, path), bites)  # type: ignore[misc]
        for path, bites in ((REQUIREMENTS, EVERY), (PYPROJECT, EVERY), (LOCK, SYNC))
    }
    pyproject = attempt(PYPROJECT, lambda content: parse_toml(decode(content, PYPROJECT), PYPROJECT), EVERY)
    uv_toml = attempt(UV_TOML, lambda content: parse_toml(decode(content, UV_TOML), UV_TOML), EVERY)
    dependencies = DependencyFiles(
        requirements=texts[REQUIREMENTS], pyproject_text=texts[PYPROJECT], lock=texts[LOCK], pyproject=pyproject
    )
    record = attempt(RECORD, load_record, EVERY)
    version_files = {
        path: text
        for path in PYTHON_VERSIONS
        if (text := attempt(path, lambda content: decode(content, "a file"), NOTHING)) is not None
    }
    return Package(
        archive=archive,
        digests={path: digest.hex() for path, digest in digests.items()},
        dependencies=dependencies,
        requirements=read_requirements(dependencies.requirement_lines) if texts[REQUIREMENTS] is not None else None,
        settings=read_settings(dependencies, uv_toml),
        lock=attempt(LOCK, _parse_lock, SYNC if dependencies.project is not None else NOTHING),
        record=record,
        version_files=version_files,
        house=house,
        targets=tuple(TARGETS[each] for each in architectures or _architectures(record, house)),
        unreadable=(*unreadable, *damaged),
    )


def _parse_lock(content: bytes) -> Lock:
    try:
        data: Mapping[str, Any] = parse_toml(decode(content, LOCK), LOCK)
        return read_lock(data)
    except (DifyoffError, ValueError) as error:
        raise DifyoffError(
            Diagnosis(
                slug="lock-unreadable",
                message=f"{LOCK} is no lock that uv can read",
                context=(str(error),),
                hint=REBUILD,
            )
        ) from error


def _architectures(record: Record | None, house: Wheelhouse) -> tuple[Architecture, ...]:
    # The record only says what to hold the wheels against: a package of pure wheels is confined all the same.
    named = tuple(
        _ARCHITECTURES[each.architecture] for each in (record.targets if record else ()) if each.architecture in TARGETS
    )
    return named or native_architectures(house.wheels)

"""A package under test: opened as the daemon opens it, every file hashed, what tells uv anything parsed, all once.

Every backend judges this one value. Nothing of it is shared with `repack`: the verifier does not trust the producer.
"""

import hashlib
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from ..difypkg.archive import Archive
from ..difypkg.dependencies import DependencyFiles, decode, parse_toml
from ..difypkg.diagnosis import REBUILD, Diagnosis, DifyoffError
from ..difypkg.identity import Identity, identify
from ..difypkg.manifest import MANIFEST, Manifest, read_manifest
from ..difypkg.names import LOCK, PYPROJECT, PYTHON_VERSIONS, REQUIREMENTS, UV_TOML
from ..difypkg.record import RECORD, Record, load_record
from ..difypkg.target import Target
from .contents.lock import Lock, read_lock
from .contents.requirements import RequirementsFile, read_requirements
from .contents.settings import UvSettings, read_settings
from .contents.wheels import Wheelhouse, read_wheelhouse
from .contents.world import world_of
from .finding import EVERY, NOTHING, SYNC, Branches, Finding

_MODE: Final = 0o644
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """All that is known of a package by reading it.

    `sha256` and `size` are the file's, in hex and in bytes, `unpacked_size` is the sum that the daemon makes. `digests`
    (SHA-256, hex) and `sizes` are those of every member by path, in the archive's order. `manifest` and `identity` are
    None where the daemon would not read the manifest: `manifest_finding` says why. Of the other files, what is not
    there is None, and so is what cannot be read: `unreadable` says so. `targets` are what the package is judged for.
    `archive` is open as long as the package is.
    """

    path: Path
    archive: Archive
    sha256: str
    size: int
    unpacked_size: int
    digests: Mapping[str, str]
    sizes: Mapping[str, int]
    manifest: Manifest | None
    manifest_finding: Finding | None
    identity: Identity | None
    dependencies: DependencyFiles
    requirements: RequirementsFile | None
    settings: UvSettings
    lock: Lock | None
    record: Record | None
    version_files: Mapping[str, str]
    house: Wheelhouse
    targets: tuple[Target, ...]
    unreadable: tuple[Finding, ...]

    @property
    def wheel_names(self) -> tuple[str, ...]:
        """The file names of the bundled wheels."""
        return tuple(path.rpartition("/")[2] for path in self.digests if path.endswith(".whl"))

    @property
    def requires_python(self) -> str | None:
        """The project's `requires-python`."""
        value = (self.dependencies.project or {}).get("requires-python")
        return value if isinstance(value, str) else None

    @property
    def can_be_extracted(self) -> bool:
        """Whether the daemon gets as far as a folder with the plugin in it."""
        return self.manifest is not None and not self.archive.directory_entries

    @property
    def folder_name(self) -> str:
        """Where the daemon puts it, below its working folder (GetLocalPluginPath, 0.6.10)."""
        assert self.identity is not None
        return f"{self.identity.author}/{self.identity.name}-{self.identity.version}@{self.identity.checksum}"

    def extract(self, folder: Path) -> None:
        """Lay the package out in a folder that is not there yet: plain files, modes and links lost.

        Imitates pkg/plugin_packager/decoder/zip.go (`ExtractTo`), 0.6.10. Several threads may do so at once. Raises
        `DifyoffError`: what `Archive` raises.
        """
        with Archive(self.path) as archive:
            for member in archive.members:
                target = folder / member.path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as stream:
                    for chunk in archive.chunks(member.path):
                        stream.write(chunk)
                target.chmod(_MODE)


@contextmanager
def open_package(path: Path, *, targets: Sequence[Target] = (), candidates: Sequence[Target] = ()) -> Iterator[Package]:
    """Open and read a package for `targets`, or else for those that `choose_targets` finds among the candidates.

    Raises `DifyoffError`: what `Archive` raises, and `not-a-plugin` for an archive without a manifest.
    """
    with Archive(path) as archive:
        if MANIFEST not in archive:
            raise DifyoffError(
                Diagnosis(
                    slug="not-a-plugin",
                    message=f"{path.name} is not a Dify plugin: it has no {MANIFEST} at its root",
                    context=tuple(f"holds {member.path}" for member in archive.members[:5]),
                    hint=f"Name a package that has {MANIFEST} at its root.",
                )
            )
        yield _read(path, archive, targets, candidates)


def choose_targets(
    record: Record | None, house: Wheelhouse, environments: Sequence[Any], candidates: Sequence[Target]
) -> tuple[Target, ...]:
    """Return the targets of a package: those of its record, with their Python and glibc, else those of its wheels.

    Without a record they are found among the `candidates`: those that most distributions have native wheels for; with
    pure wheels only, those that the package's `environments` (markers) admit, this machine's first. The record only
    says what to hold the wheels against: it proves nothing.
    """
    recorded = tuple(each.target for each in record.targets if each.target is not None) if record else ()
    if recorded:
        return recorded
    counts = {
        target: len({wheel.name for wheel in house.wheels if wheel.is_native and wheel.fits(target)})
        for target in candidates
    }
    if most := max(counts.values(), default=0):
        return tuple(target for target, count in counts.items() if count == most)
    admitted = tuple(target for target in candidates if world_of(target).is_within(environments)) or tuple(candidates)
    here = tuple(target for target in admitted if target.machine == platform.machine())
    return here or admitted[:1]


def _read(path: Path, archive: Archive, targets: Sequence[Target], candidates: Sequence[Target]) -> Package:
    digests = archive.digests()
    manifest, manifest_finding = _read_manifest(archive)
    unreadable: list[Finding] = []

    def attempt(name: str, read: Callable[[bytes], _T], bites: Branches) -> _T | None:
        if name not in archive:
            return None
        try:
            return read(archive.read(name))
        except DifyoffError as error:
            unreadable.append(Finding(diagnosis=error.diagnosis, bites=bites))
            return None

    house, damaged = read_wheelhouse(archive, digests)
    texts = {
        name: attempt(name, lambda content, name=name: decode(content, name), bites)  # type: ignore[misc]
        for name, bites in ((REQUIREMENTS, EVERY), (PYPROJECT, EVERY), (LOCK, SYNC))
    }
    dependencies = DependencyFiles(
        requirements=texts[REQUIREMENTS],
        pyproject_text=texts[PYPROJECT],
        lock=texts[LOCK],
        pyproject=attempt(PYPROJECT, lambda content: parse_toml(decode(content, PYPROJECT), PYPROJECT), EVERY),
    )
    settings = read_settings(
        dependencies, attempt(UV_TOML, lambda content: parse_toml(decode(content, UV_TOML), UV_TOML), EVERY)
    )
    lock = attempt(LOCK, _parse_lock, SYNC if dependencies.project is not None else NOTHING)
    record = attempt(RECORD, load_record, EVERY)
    environments = settings.environments or (lock.markers if lock else ())
    version_files = (
        (name, attempt(name, lambda content: decode(content, "a file"), NOTHING)) for name in PYTHON_VERSIONS
    )
    return Package(
        path=path,
        archive=archive,
        sha256=_hash_file(path),
        size=path.stat().st_size,
        unpacked_size=archive.size,
        digests={name: digest.hex() for name, digest in digests.items()},
        sizes={member.path: member.size for member in archive.members},
        manifest=manifest,
        manifest_finding=manifest_finding,
        identity=identify(manifest, digests) if manifest is not None else None,
        dependencies=dependencies,
        requirements=read_requirements(dependencies.requirement_lines) if texts[REQUIREMENTS] is not None else None,
        settings=settings,
        lock=lock,
        record=record,
        version_files={name: text for name, text in version_files if text is not None},
        house=house,
        targets=tuple(targets) or choose_targets(record, house, environments, candidates),
        unreadable=(*unreadable, *damaged),
    )


def _read_manifest(archive: Archive) -> tuple[Manifest | None, Finding | None]:
    try:
        return read_manifest(archive.read(MANIFEST)), None
    except DifyoffError as error:
        return None, Finding(diagnosis=error.diagnosis)


def _parse_lock(content: bytes) -> Lock:
    try:
        data: Mapping[str, Any] = parse_toml(decode(content, LOCK), LOCK)
        return read_lock(data)
    except (DifyoffError, ValueError) as error:
        raise DifyoffError(
            Diagnosis(
                slug="lock-unreadable",
                message=f"{LOCK} is not a lock that uv can read",
                context=(str(error),),
                hint=REBUILD,
            )
        ) from error


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""The audit on one screen: open, read, then one check after another."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

from ...difypkg.archive import Archive
from ...difypkg.daemons import Branch, newest
from ...difypkg.diagnosis import Diagnosis, DifyoffError
from ...difypkg.identity import Identity, identify
from ...difypkg.manifest import MANIFEST, Manifest, check_files, read_manifest
from ...difypkg.site import size_verdict
from ...difypkg.target import Architecture
from ..contents.wheels import BundledWheel, library_faults
from ..report import Check
from .dependencies import Installs, closure_faults, closures, file_faults, original_faults
from .faults import NOTHING, Fault, met, telling_where
from .integrity import hash_faults, record_faults, unhashed
from .package import Package, read_package
from .settings import (
    built_project,
    foreign_environments,
    missing_folders,
    open_indexes,
    redirections,
    wrong_python,
)

_T = TypeVar("_T")

Found: TypeAlias = Iterable[Fault] | str
"""What a check finds, or the reason why it looked at nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one check came to: its faults, or why it was skipped."""

    name: str
    faults: tuple[Fault, ...] = ()
    skipped: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the audit saw; the other rungs take from it what they need.

    Sizes are bytes: of the package, of all its files, and of its wheels. `manifest` and `identity` are None where the
    package has none that the daemon would read, `architectures` are those that it was judged for.
    """

    package: Path
    size: int
    unpacked_size: int
    wheels_size: int
    files: tuple[str, ...]
    manifest: Manifest | None
    identity: Identity | None
    architectures: tuple[Architecture, ...]
    wheels: tuple[BundledWheel, ...]
    outcomes: tuple[Outcome, ...]

    def checks(self, branches: Collection[Branch | None] | None = None) -> tuple[Check, ...]:
        """Return the checks as a report has them, failed where a fault bites one of the branches.

        Without branches those count that some release meets with this package.
        """
        wanted = met(self.files) if branches is None else frozenset(branches)
        return tuple(check for outcome in self.outcomes for check in _checks(outcome, wanted))

    def findings(self, branches: Collection[Branch | None] | None = None) -> tuple[Diagnosis, ...]:
        """Return what bites none of the branches, and is worth knowing all the same."""
        wanted = met(self.files) if branches is None else frozenset(branches)
        faults = (fault for outcome in self.outcomes for fault in outcome.faults)
        return tuple(fault.diagnosis for fault in faults if not fault.bites & wanted)


def _checks(outcome: Outcome, wanted: frozenset[Branch | None]) -> Iterator[Check]:
    if outcome.skipped is not None:
        yield Check(name=outcome.name, status="skipped", message=outcome.skipped, seconds=outcome.seconds)
        return
    biting = [fault.diagnosis for fault in outcome.faults if fault.bites & wanted]
    for diagnosis in biting:
        yield Check(
            name=outcome.name,
            status="failed",
            message=diagnosis.message,
            diagnosis=diagnosis,
            evidence=diagnosis.context,
            seconds=outcome.seconds,
        )
    if not biting:
        yield Check(name=outcome.name, status="passed", seconds=outcome.seconds)


def audit(package: Path, *, limit: int | None = None, architectures: Sequence[Architecture] | None = None) -> Audit:
    """Read a package as the daemon would, and judge it.

    `limit` is the site's in bytes, the daemon's default without it. Without `architectures` the package is judged for
    those that its record names or, where it has none, its native wheels serve. A file that is no package is a failed
    check, not an error.
    """
    log = _Log()
    archive = log.attempt("archive", lambda: Archive(package))
    if archive is None:
        return _nothing(package, log)
    with archive:
        digests = log.attempt("content", archive.digests)
        if digests is None:
            return _nothing(package, log)
        manifest = _read_description(archive, package, limit, log)
        contents = read_package(archive, digests, architectures)
        _check_contents(contents, log)
        files = tuple(member.path for member in archive.members)
        return Audit(
            package=package,
            size=package.stat().st_size,
            unpacked_size=archive.size,
            wheels_size=sum(wheel.size for wheel in contents.house.wheels),
            files=files,
            manifest=manifest,
            identity=identify(manifest, digests) if manifest is not None else None,
            architectures=tuple(target.architecture for target in contents.targets),
            wheels=contents.house.wheels,
            outcomes=log.outcomes(files),
        )


def _read_description(archive: Archive, package: Path, limit: int | None, log: "_Log") -> Manifest | None:
    """Check what an upload checks."""
    log.check("entries", lambda: _entry_faults(archive))
    log.check("size", lambda: _size_faults(archive, package, limit))
    manifest = log.attempt("manifest", lambda: _manifest(archive, package))
    if manifest is not None:
        log.attempt("files of the manifest", lambda: check_files(manifest, frozenset(_paths(archive)), archive.read))
        log.check("runner", lambda: _runner_faults(manifest, frozenset(_paths(archive))))
    return manifest


def _check_contents(package: Package, log: "_Log") -> None:
    """Check what an install needs."""
    dependencies, settings, requirements = package.dependencies, package.settings, package.requirements
    log.check("readable files", lambda: package.unreadable)
    original = tuple(original_faults(package))
    log.check("bundled wheels", lambda: original)
    log.check("dependency files", lambda: file_faults(package))
    if original:
        log.check("dependencies", lambda: "an original package carries none")
        return
    log.check("Python version", lambda: wrong_python(dependencies, package.version_files, package.targets))
    log.check("configuration of uv", lambda: redirections(settings, requirements))
    log.check("package index", lambda: open_indexes(dependencies, settings, requirements))
    missing = tuple(missing_folders(settings, requirements, package.digests))
    log.check("folders of wheels", lambda: missing)
    log.check("build system", lambda: built_project(dependencies, settings, package.lock))
    log.check("environments", lambda: foreign_environments(settings, package.lock, package.targets))
    installs = closures(package)
    log.check("dependencies", lambda: _closure_found(package, installs, missing))
    log.check("libraries", lambda: library_faults(package.house.wheels, package.targets))
    log.check("hashes", lambda: hash_faults(package, installs.requirements))
    log.check("hashes written down", lambda: _unhashed(package))
    log.check(
        "record", lambda: record_faults(package) if package.record else "the package carries no record of difyoff"
    )


def _closure_found(package: Package, installs: Installs, missing: tuple[Fault, ...]) -> Found:
    if missing:
        return "the folder of the wheels is not there"
    if package.requirements and package.requirements.unread:
        return f"requirements.txt holds a line that only its installer follows: {package.requirements.unread[0]}"
    return closure_faults(package, installs)


def _unhashed(package: Package) -> Found:
    lines = unhashed(package)
    return f"{len(lines)} wheels have no hash written down: a changed one goes unnoticed ({lines[0]})" if lines else ()


def _entry_faults(archive: Archive) -> Iterator[Fault]:
    if archive.directory_entries:
        yield Fault(
            diagnosis=Diagnosis(
                slug="directory-entry",
                message=f"{len(archive.directory_entries)} entries are folders, which the daemon would read as files",
                context=archive.directory_entries[:5],
                hint="pack files only: `dify plugin package` and `difyoff build` do",
            )
        )
    for finding in archive.findings:
        yield Fault(diagnosis=finding, bites=NOTHING)


def _size_faults(archive: Archive, package: Path, limit: int | None) -> Iterator[Fault]:
    verdict = size_verdict(newest(), file_size=package.stat().st_size, unpacked_size=archive.size, limit=limit)
    if verdict.verdict == "over":
        yield Fault(
            diagnosis=Diagnosis(
                slug="size-limit",
                message=f"the package is larger than the site takes: {verdict.text}",
                context=tuple(f"{each.name}={each.value}" for each in verdict.settings),
                hint="raise these settings on the site, then verify with `--max-size`",
            )
        )


def _manifest(archive: Archive, package: Path) -> Manifest:
    if MANIFEST not in archive:
        raise DifyoffError(
            Diagnosis(
                slug="not-a-plugin",
                message=f"{package.name} holds no {MANIFEST}: it is no Dify plugin",
                context=tuple(f"holds {path}" for path in sorted(_paths(archive))[:5]),
                hint=f"name a package that has {MANIFEST} at its root",
            )
        )
    return read_manifest(archive.read(MANIFEST))


def _runner_faults(manifest: Manifest, paths: Collection[str]) -> Iterator[Fault]:
    if manifest.runner != "python":
        yield Fault(
            diagnosis=Diagnosis(
                slug="not-python",
                message=f"the plugin's language is {manifest.runner!r}; the daemon runs Python only",
                hint="ask the plugin's author for a package for the daemon",
            )
        )
    module = manifest.entrypoint.replace(".", "/")
    if not {f"{module}.py", f"{module}/__main__.py"} & set(paths):
        yield Fault(
            diagnosis=Diagnosis(
                slug="plugin-does-not-start",
                message=f"the plugin starts as `python -m {manifest.entrypoint}`, and the package has no {module}.py",
                hint="add the file, or check that no ignore rule drops it",
            )
        )


def _paths(archive: Archive) -> Iterator[str]:
    return (member.path for member in archive.members)


class _Log:
    """Runs checks one after another and keeps what they came to."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []

    def check(self, name: str, look: Callable[[], Found]) -> None:
        started = time.perf_counter()
        try:
            found = look()
            faults, skipped = ((), found) if isinstance(found, str) else (tuple(found), None)
        except DifyoffError as error:
            faults, skipped = (Fault(diagnosis=error.diagnosis),), None
        seconds = time.perf_counter() - started
        self._outcomes.append(Outcome(name=name, faults=faults, skipped=skipped, seconds=seconds))

    def attempt(self, name: str, read: Callable[[], _T]) -> _T | None:
        """Run a check that gives something, or an error that says why not."""
        given: list[_T] = []

        def look() -> Found:
            given.append(read())
            return ()

        self.check(name, look)
        return given[0] if given else None

    def outcomes(self, files: Collection[str]) -> tuple[Outcome, ...]:
        """Return what was kept, each fault with the releases that it bites."""
        return tuple(
            replace(outcome, faults=tuple(telling_where(fault, files) for fault in outcome.faults))
            for outcome in self._outcomes
        )


def _nothing(package: Path, log: _Log) -> Audit:
    """Return what can be said of a file that does not open."""
    return Audit(
        package=package,
        size=package.stat().st_size if package.is_file() else 0,
        unpacked_size=0,
        wheels_size=0,
        files=(),
        manifest=None,
        identity=None,
        architectures=(),
        wheels=(),
        outcomes=log.outcomes(()),
    )

"""The audit on one screen: one check after another over what was read of the package."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ...difypkg.daemons import Branch, Release, newest
from ...difypkg.daemons import releases as known_releases
from ...difypkg.diagnosis import Diagnosis, DifyoffError
from ...difypkg.manifest import MANIFEST, Manifest, file_faults, manifest_faults
from ...difypkg.site import size_verdict
from ..finding import EVERY, NOTHING, Finding, find_branches, name_releases
from ..package import Package
from ..report import Check
from ..trust import NO_TRUST, Trust, find_unconfirmed_signature, find_unproved_provenance
from .dependencies import Installs, find_incomplete, find_missing_files, find_original, walk_all
from .integrity import find_changed_files, find_changed_wheels, list_unhashed
from .libraries import find_foreign_libraries
from .records import find_untrue_wheels
from .settings import (
    find_built_project,
    find_foreign_environments,
    find_missing_folders,
    find_open_indexes,
    find_redirections,
    find_wrong_python,
)

Found: TypeAlias = Iterable[Finding] | str
"""What is found, or the reason why nothing was looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One thing that was looked at: what was found, or why it was skipped."""

    name: str
    findings: tuple[Finding, ...] = ()
    skipped: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the audit saw of a package, on every branch at once."""

    package: Package
    examined: tuple[Examined, ...]

    def checks(self, branches: Collection[Branch | None] | None = None) -> tuple[Check, ...]:
        """Return the checks as a report has them, failed where a finding bites one of the branches.

        Without branches those count that some release meets with this package.
        """
        wanted = self._wanted(branches)
        return tuple(check for each in self.examined for check in _checks(each, wanted))

    def findings(self, branches: Collection[Branch | None] | None = None) -> tuple[Diagnosis, ...]:
        """Return what bites none of the branches, and is worth knowing all the same."""
        wanted = self._wanted(branches)
        found = (finding for each in self.examined for finding in each.findings)
        return tuple(finding.diagnosis for finding in found if not finding.bites & wanted)

    def _wanted(self, branches: Collection[Branch | None] | None) -> frozenset[Branch | None]:
        return find_branches(self.package.digests) if branches is None else frozenset(branches)


def _checks(examined: Examined, wanted: frozenset[Branch | None]) -> Iterator[Check]:
    if examined.skipped is not None:
        yield Check(name=examined.name, status="skipped", message=examined.skipped, seconds=examined.seconds)
        return
    biting = [finding for finding in examined.findings if finding.bites & wanted]
    for finding in biting:
        yield Check(
            name=examined.name,
            status="failed",
            message=finding.diagnosis.message,
            diagnosis=finding.diagnosis,
            evidence=finding.diagnosis.context,
            branches=tuple(sorted(str(branch) for branch in finding.bites & wanted)),
            seconds=examined.seconds,
        )
    if not biting:
        yield Check(name=examined.name, status="passed", seconds=examined.seconds)


def audit(
    package: Package, *, limit: int | None = None, releases: Sequence[Release] = (), trust: Trust = NO_TRUST
) -> Audit:
    """Judge a package for its targets as these releases of the daemon would, as every one does without them.

    `limit` is the site's in bytes, the daemon's without it; `trust` says whom the package must come from.
    """
    log = _Log(package.digests)
    log.check("archive", lambda: ())  # opened, and every file of it hashed
    log.check("content", lambda: ())
    counting = tuple(releases) or known_releases()
    _check_upload(package, limit, counting, log)
    _check_install(package, counting, log)
    _check_trust(package, trust, log)
    return Audit(package=package, examined=log.examined)


def _check_trust(package: Package, trust: Trust, log: "_Log") -> None:
    """Check whom the package comes from, where that is asked."""
    if trust.public_keys:
        log.check("signature", lambda: find_unconfirmed_signature(package, trust))
    if trust.provenance is not None:
        log.check("provenance", lambda: find_unproved_provenance(package, trust))


def _check_upload(package: Package, limit: int | None, releases: Sequence[Release], log: "_Log") -> None:
    """Check what an upload checks."""
    manifest = package.manifest
    log.check("entries", lambda: _find_entries(package))
    log.check("size", lambda: _find_size(package, limit))
    log.check("manifest", lambda: _find_invalid(package))
    if manifest is not None:
        log.check("files of the manifest", lambda: _find_undeclared(manifest, package, releases))
        log.check("runner", lambda: _find_runner(manifest, package.digests))


def _check_install(package: Package, counting: Sequence[Release], log: "_Log") -> None:
    """Check what an install needs."""
    dependencies, settings, requirements = package.dependencies, package.settings, package.requirements
    log.check("readable files", lambda: package.unreadable)
    original = tuple(find_original(package))
    log.check("bundled wheels", lambda: original)
    log.check("dependency files", lambda: find_missing_files(package))
    if original:
        log.check("dependencies", lambda: "an original package carries none")
        return
    log.check("Python version", lambda: find_wrong_python(dependencies, package.version_files, package.targets))
    log.check("configuration of uv", lambda: find_redirections(settings, requirements, counting))
    log.check("package index", lambda: find_open_indexes(dependencies, settings, requirements))
    missing = tuple(find_missing_folders(settings, requirements, package.digests))
    log.check("folders of wheels", lambda: missing)
    log.check("build system", lambda: find_built_project(dependencies, settings, package.lock))
    log.check("environments", lambda: find_foreign_environments(settings, package.lock, package.targets))
    installs = walk_all(package)
    log.check("dependencies", lambda: _find_incomplete(package, installs, missing))
    log.check("libraries", lambda: find_foreign_libraries(package.house.wheels, package.targets))
    log.check("hashes", lambda: find_changed_wheels(package, installs.requirements))
    log.check("wheels", lambda: find_untrue_wheels(package.house.wheels))
    log.check("hashes written down", lambda: _find_unhashed(package))
    log.check(
        "record", lambda: find_changed_files(package) if package.record else "the package has no record of difyoff"
    )


def _find_incomplete(package: Package, installs: Installs, missing: tuple[Finding, ...]) -> Found:
    if missing:
        return "the folder of the wheels does not exist"
    if package.requirements and package.requirements.unread:
        return f"requirements.txt has a line that only its installer follows: {package.requirements.unread[0]}"
    return find_incomplete(package, installs)


def _find_unhashed(package: Package) -> Found:
    lines = list_unhashed(package)
    return f"{len(lines)} wheels have no hash written down: a changed one goes unnoticed ({lines[0]})" if lines else ()


def _find_entries(package: Package) -> Iterator[Finding]:
    archive = package.archive
    if archive.directory_entries:
        yield Finding(
            diagnosis=Diagnosis(
                slug="directory-entry",
                message=f"{len(archive.directory_entries)} entries are folders, which the daemon would read as files",
                context=archive.directory_entries[:5],
                hint="Pack files only, as `dify plugin package` and `difyoff build` do.",
            )
        )
    for diagnosis in archive.findings:
        yield Finding(diagnosis=diagnosis, bites=NOTHING)


def _find_size(package: Package, limit: int | None) -> Iterator[Finding]:
    verdict = size_verdict(newest(), file_size=package.size, unpacked_size=package.unpacked_size, limit=limit)
    if verdict.verdict == "over":
        yield Finding(
            diagnosis=Diagnosis(
                slug="size-limit",
                message=f"the package is larger than the site takes: {verdict.text}",
                context=tuple(f"{each.name}={each.value}" for each in verdict.settings),
                hint="Raise these settings on the site, then verify with `--max-size`.",
            )
        )


def _find_invalid(package: Package) -> Iterator[Finding]:
    if package.manifest_finding is not None:
        for fault in manifest_faults(package.archive.read(MANIFEST)):
            yield Finding(diagnosis=fault.diagnosis)


def _find_undeclared(manifest: Manifest, package: Package, releases: Sequence[Release]) -> Iterator[Finding]:
    for fault in file_faults(manifest, package.digests.keys(), package.archive.read):
        refused = any(fault.concerns(release.version) for release in releases)
        yield Finding(diagnosis=fault.diagnosis, bites=EVERY if refused else NOTHING)


def _find_runner(manifest: Manifest, paths: Collection[str]) -> Iterator[Finding]:
    if manifest.runner != "python":
        yield Finding(
            diagnosis=Diagnosis(
                slug="not-python",
                message=f"the plugin's language is {manifest.runner!r}; the daemon runs Python only",
                hint="Ask the plugin's author for a package for the daemon.",
            )
        )
    module = manifest.entrypoint.replace(".", "/")
    if not {f"{module}.py", f"{module}/__main__.py"} & set(paths):
        yield Finding(
            diagnosis=Diagnosis(
                slug="plugin-does-not-start",
                message=f"the plugin starts as `python -m {manifest.entrypoint}`, and the package has no {module}.py",
                hint="Add the file, or check that no ignore rule drops it.",
            )
        )


class _Log:
    """Runs checks one after another and keeps what they found, each finding with the releases that it bites."""

    def __init__(self, files: Collection[str]) -> None:
        self._files = files
        self._examined: list[Examined] = []

    @property
    def examined(self) -> tuple[Examined, ...]:
        return tuple(self._examined)

    def check(self, name: str, look: Callable[[], Found]) -> None:
        started = time.perf_counter()
        findings: tuple[Finding, ...] = ()
        skipped = None
        try:
            found = look()
            if isinstance(found, str):
                skipped = found
            else:
                findings = tuple(name_releases(finding, self._files) for finding in found)
        except DifyoffError as error:
            findings = (Finding(diagnosis=error.diagnosis),)
        seconds = time.perf_counter() - started
        self._examined.append(Examined(name=name, findings=findings, skipped=skipped, seconds=seconds))

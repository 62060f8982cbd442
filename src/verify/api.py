"""The verification of one package: read it, let one backend after another judge it, report."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from ..difypkg.daemons import newest
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..sandbox.cache import open_scratch
from .backends import AUDIT, open_backend
from .inventory import take_inventory
from .options import Listener, PackageRead, VerifyOptions, Workplace
from .package import Package, open_package
from .report import Check, ScenarioReport, VerificationReport, worst_verdict
from .runner import run_scenarios

_UNUSABLE: Final = frozenset({"file-not-found", "file-not-readable", "not-a-zip", "not-a-plugin"})
"""What is not a package at all: there is nothing to give a verdict on."""
_NOT_EXTRACTED: Final = "the install: the package cannot be extracted"


def verify(path: Path, options: VerifyOptions, *, listen: Listener = lambda _: None) -> VerificationReport:
    """Verify a package and report.

    Raises `DifyoffError` for a file that is not a package at all, and for what keeps everything from running, such as a
    missing CPython.
    """
    with ExitStack() as stack:
        try:
            package = stack.enter_context(open_package(path, targets=options.targets, candidates=options.candidates))
        except DifyoffError as error:
            if error.diagnosis.slug in _UNUSABLE:
                raise
            return _refuse(path, options, error.diagnosis, listen)
        scratch = stack.enter_context(open_scratch(options.cache, "verify"))
        reports = _judge(package, options, scratch, listen)
        release = options.releases[0] if options.releases else newest()
        inventory = take_inventory(package, release, options.settings.max_package_size)
    return VerificationReport(
        package=str(path),
        sha256=package.sha256,
        identity=str(package.identity) if package.identity else None,
        verdict=worst_verdict(report.verdict for report in reports),
        scenarios=reports,
        findings=_findings(options),
        not_checked=_not_checked(reports, package, options),
        difyoff=options.version,
        inventory=inventory,
    )


def _judge(package: Package, options: VerifyOptions, scratch: Path, listen: Listener) -> tuple[ScenarioReport, ...]:
    """Let the audit and then the backend that was asked for judge the package."""
    reports: tuple[ScenarioReport, ...] = ()
    for name in dict.fromkeys((AUDIT, options.backend)):
        if name != AUDIT and not package.can_be_extracted:
            break
        vetted = worst_verdict(report.verdict for report in reports) == "passed"
        backend = open_backend(name, options, Workplace(scratch=scratch, listen=listen, vetted=vetted))
        scenarios = backend.plan(package)
        if name == options.backend:
            listen(PackageRead(identity=str(package.identity), scenarios=len(scenarios)))
        reports += run_scenarios(backend, package, scenarios, listen)
    return reports


def _refuse(path: Path, options: VerifyOptions, diagnosis: Diagnosis, listen: Listener) -> VerificationReport:
    """Report an archive that the daemon would not read."""
    check = Check(name="archive", status="failed", message=diagnosis.message, diagnosis=diagnosis)
    report = ScenarioReport(backend=AUDIT, daemon=None, architecture="", checks=(check,))
    listen(report)
    return VerificationReport(
        package=str(path),
        sha256="",
        identity=None,
        verdict=report.verdict,
        scenarios=(report,),
        not_checked=(_NOT_EXTRACTED,),
        difyoff=options.version,
    )


def _findings(options: VerifyOptions) -> tuple[Diagnosis, ...]:
    return tuple(
        Diagnosis(
            slug="newer-daemon",
            message=f"daemon {release} is newer than this difyoff knows; it is taken to do what {newest()} does",
            hint="Upgrade difyoff, or verify in that release's image with `--backend docker`.",
        )
        for release in options.releases
        if not release.known
    )


def _not_checked(reports: Sequence[ScenarioReport], package: Package, options: VerifyOptions) -> tuple[str, ...]:
    """Say in words what no scenario looked at."""
    if options.backend == AUDIT:
        return ("the install and the start (`--backend local`)",)
    if not package.can_be_extracted:
        return (_NOT_EXTRACTED,)
    started = {
        report.architecture
        for report in reports
        for each in report.checks
        if (each.name, each.status) == ("start", "passed")
    }
    skipped = (
        f"{check.name} on {report.architecture}: {check.message}"
        for report in reports
        for check in report.checks
        if check.status == "skipped" and not (check.name == "start" and report.architecture in started)
    )
    image = ("the daemon's real image (`--backend docker`)",) if options.backend == "local" else ()
    return (*dict.fromkeys(skipped), *image)

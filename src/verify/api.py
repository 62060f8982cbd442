"""The verification of one package: read it, let one backend after another judge it, report."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ..difypkg.daemons import newest
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..sandbox.cache import open_scratch
from .backends import AUDIT, Backend, open_backend
from .inventory import take_inventory
from .options import Listener, PackageRead, VerifyOptions, Workplace
from .package import Package, open_package
from .report import Check, ScenarioReport, VerificationReport, describe_host, worst_verdict
from .runner import run_scenarios
from .scenario import Scenario
from .settle import can_be_refuted, settle
from .steps import NOT_ASKED

_UNUSABLE: Final = frozenset({"file-not-found", "file-not-readable", "not-a-zip", "not-a-plugin"})
"""What is not a package at all: there is nothing to give a verdict on."""
_NOT_EXTRACTED: Final = "the install: the package cannot be extracted"


def verify(path: Path, options: VerifyOptions, *, listen: Listener = lambda _: None) -> VerificationReport:
    """Verify a package and report.

    Raises `DifyoffError` for a file that is not a package at all, and for what keeps everything from running, such as a
    missing CPython.
    """
    began = datetime.now(UTC).isoformat(timespec="seconds")
    with ExitStack() as stack:
        try:
            package = stack.enter_context(open_package(path, targets=options.targets, candidates=options.candidates))
        except DifyoffError as error:
            if error.diagnosis.slug in _UNUSABLE:
                raise
            return replace(_refuse(path, options, error.diagnosis, listen), began=began, host=describe_host())
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
        began=began,
        host=describe_host(),
    )


def _judge(package: Package, options: VerifyOptions, scratch: Path, listen: Listener) -> tuple[ScenarioReport, ...]:
    """Let the audit and then the backend that was asked for judge the package."""
    auditor = open_backend(AUDIT, options, Workplace(scratch=scratch, listen=listen))
    (audited,) = run_scenarios(auditor, package, auditor.plan(package), _without_reports(listen))
    if options.backend == AUDIT or not package.can_be_extracted:
        listen(audited)
        return (audited,)
    waits = can_be_refuted(audited) and not options.strict
    if not waits:
        listen(audited)
    workplace = Workplace(scratch=scratch, listen=listen, vetted=audited.verdict == "passed")
    backend = open_backend(options.backend, options, workplace)
    scenarios = backend.plan(package)
    listen(PackageRead(identity=str(package.identity), scenarios=len(scenarios)))
    runs = run_scenarios(backend, package, scenarios, listen)
    runs = _start_what_differs(backend, package, scenarios, runs, listen)
    if not options.strict:
        audited = settle(audited, runs)
    if waits:
        listen(audited)
    return (audited, *runs)


def _without_reports(listen: Listener) -> Listener:
    return lambda event: None if isinstance(event, ScenarioReport) else listen(event)


def _start_what_differs(
    backend: Backend,
    package: Package,
    scenarios: Sequence[Scenario],
    runs: Sequence[ScenarioReport],
    listen: Listener,
) -> tuple[ScenarioReport, ...]:
    """Run again, with a start, the newest scenario of each set of distributions that no start has seen."""
    started = {(run.architecture, run.installed) for run in runs if _was_start_tried(run)}
    again: dict[int, Scenario] = {}
    for number, (scenario, run) in reversed(list(enumerate(zip(scenarios, runs, strict=True)))):
        key = run.architecture, run.installed
        if _start_was_left_to_another(run) and key not in started:
            started.add(key)
            again[number] = replace(scenario, launch=True)
    reruns = dict(zip(again, run_scenarios(backend, package, tuple(again.values()), listen), strict=True))
    return tuple(reruns.get(number, run) for number, run in enumerate(runs))


def _was_start_tried(run: ScenarioReport) -> bool:
    return any(check.name == "start" and check.status in ("passed", "failed") for check in run.checks)


def _start_was_left_to_another(run: ScenarioReport) -> bool:
    return run.verdict != "failed" and any((each.name, each.message) == ("start", NOT_ASKED) for each in run.checks)


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
    skipped = [
        f"{check.name} on {report.architecture}: {check.message}"
        for report in reports
        for check in report.checks
        if check.status == "skipped" and check.message != NOT_ASKED
    ]
    image = ("the daemon's real image (`--backend docker`)",) if options.backend == "local" else ()
    return (*dict.fromkeys(skipped), *_list_starts_left_out(reports), *image)


def _list_starts_left_out(reports: Sequence[ScenarioReport]) -> Iterator[str]:
    """Say on which releases the plugin was not started because another one's start stands for theirs."""
    tried = {(run.architecture, run.installed): run.daemon for run in reports if _was_start_tried(run)}
    left: dict[tuple[str, str], list[str]] = {}
    for run in filter(_start_was_left_to_another, reports):
        stands = tried.get((run.architecture, run.installed))
        if stands is not None:
            settings = f" with {' and '.join(run.settings)}" if run.settings else ""
            left.setdefault((run.architecture, stands), []).append(f"{run.daemon}{settings}")
    for (architecture, stands), daemons in left.items():
        yield f"the start on daemon {', '.join(daemons)} ({architecture}): the same distributions start on {stands}"

"""The verification of one package: the audit first, then a backend's scenarios, then one report."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Literal, TypeAlias

from ..difypkg.daemons import Release, Settings, newest, plan_branch
from ..difypkg.diagnosis import Diagnosis, DifyoffError, Exit, page
from ..difypkg.target import Architecture
from ..sandbox.isolation import Isolation
from ..uvrun.environment import IndexSettings
from .audit.api import audit
from .backends.local import LocalOptions, verify_local
from .extract import ExtractedPackage, extract
from .report import Check, ScenarioReport, VerificationReport, worst_verdict
from .scenario import Scenario, architectures_of, plan_scenarios


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The package was read: its identity, and how many scenarios come."""

    identity: str
    scenarios: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """Something is fetched, once: `what` names it, such as `uv 0.12.2`."""

    what: str


Event: TypeAlias = Opened | Fetching | ScenarioReport
"""What a verification tells while it works; reports come as scenarios end, from several threads."""

Listener: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """How to verify.

    Without `releases` each install branch of all of them is run; without `architectures` those of the native wheels.
    `version` is difyoff's own. `image` is the container image in place of the release's: the release that its tag names
    is the one, then. `pull` says when to ask a registry, `platform` is Docker's word (`linux/arm64`). `isolation` is
    for tests: None takes the strongest that holds.
    """

    cache: Path
    index: IndexSettings
    version: str
    backend: Literal["local", "docker"] = "local"
    releases: tuple[Release, ...] = ()
    architectures: tuple[Architecture, ...] = ()
    settings: Settings = field(default_factory=Settings)
    matrix: bool = False
    trust_plugin: bool = False
    image: str | None = None
    pull: Literal["never", "missing", "always"] = "missing"
    platform: str | None = None
    isolation: Isolation | None = None


def verify(
    package: Path,
    options: VerifyOptions,
    *,
    listen: Listener = lambda _: None,
    audited: bool = True,
) -> VerificationReport:
    """Verify a package and report; without `audited` the first rung is left out, to see what the others find alone.

    Raises `DifyoffError` for a file that is no package at all, and for what keeps everything from running, such as a
    missing CPython.
    """
    options.cache.mkdir(parents=True, exist_ok=True)
    first = _audit(package, options, listen) if audited else ()
    with tempfile.TemporaryDirectory(prefix="verify-", dir=options.cache, ignore_cleanup_errors=True) as scratch:
        try:
            extracted = extract(package, Path(scratch, "package"))
        except DifyoffError as error:
            return _unreadable(package, options, first, error, listen)
        scenarios = plan_scenarios(
            extracted.digests,
            backend=options.backend,
            architectures=options.architectures or architectures_of(extracted.wheels),
            chosen=options.releases or _release_of_image(options),
            settings=options.settings,
            matrix=options.matrix,
        )
        listen(Opened(identity=str(extracted.identity), scenarios=len(scenarios)))
        vetted = audited and worst_verdict(report.verdict for report in first) == "passed"
        reports = (*first, *_run(extracted, scenarios, options, Path(scratch), vetted, listen))
    return VerificationReport(
        package=str(package),
        sha256=extracted.sha256,
        identity=str(extracted.identity),
        verdict=worst_verdict(report.verdict for report in reports),
        scenarios=reports,
        findings=_findings(options),
        not_checked=_not_checked(reports, options),
        difyoff=options.version,
    )


def _audit(package: Path, options: VerifyOptions, listen: Listener) -> tuple[ScenarioReport, ...]:
    began = monotonic()
    seen = audit(package, limit=options.settings.max_package_size, architectures=options.architectures or None)
    branches = {plan_branch(release, options.settings, seen.files) for release in options.releases} or None
    report = ScenarioReport(
        backend="audit",
        daemon=None,
        architecture=" and ".join(seen.architectures),
        checks=seen.checks(branches),
        findings=seen.findings(branches),
        seconds=monotonic() - began,
    )
    listen(report)
    return (report,)


def _release_of_image(options: VerifyOptions) -> tuple[Release, ...]:
    if options.backend != "docker" or options.image is None:
        return ()
    from .backends.docker.backend import release_of

    release = release_of(options.image)
    return () if release is None else (release,)


def _run(
    package: ExtractedPackage,
    scenarios: Sequence[Scenario],
    options: VerifyOptions,
    scratch: Path,
    vetted: bool,
    listen: Listener,
) -> tuple[ScenarioReport, ...]:
    if options.backend == "docker":
        from .backends.docker.backend import DockerOptions, verify_docker

        return verify_docker(
            package,
            scenarios,
            DockerOptions(image=options.image, pull=options.pull, platform=options.platform, on_report=listen),
        )
    return verify_local(
        package,
        scenarios,
        LocalOptions(
            scratch=scratch,
            cache=options.cache,
            index=options.index,
            isolation=options.isolation,
            trust_plugin=options.trust_plugin,
            vetted=vetted,
            on_fetch=lambda version: listen(Fetching(what=f"uv {version}")),
            on_report=listen,
        ),
    )


def _unreadable(
    package: Path,
    options: VerifyOptions,
    audited: tuple[ScenarioReport, ...],
    error: DifyoffError,
    listen: Listener,
) -> VerificationReport:
    """Report a package that cannot be extracted; raise the error again where it is no package at all."""
    if worst_verdict(report.verdict for report in audited) != "failed":
        if page(error.diagnosis.slug).exit_code is not Exit.NO:
            raise error
        check = Check(name="extract", required=True, status="failed", diagnosis=error.diagnosis)
        audited = (*audited, ScenarioReport(backend=options.backend, daemon=None, architecture="any", checks=(check,)))
        listen(audited[-1])
    return VerificationReport(
        package=str(package),
        sha256="",
        identity=None,
        verdict="failed",
        scenarios=audited,
        not_checked=("the install: the package cannot be extracted",),
        difyoff=options.version,
    )


def _findings(options: VerifyOptions) -> tuple[Diagnosis, ...]:
    return tuple(
        Diagnosis(
            slug="newer-daemon",
            message=f"daemon {release} is newer than this difyoff knows; it is taken to do what {newest()} does",
            hint="upgrade difyoff, or verify in that release's image with `--backend docker`",
        )
        for release in options.releases
        if not release.known
    )


def _not_checked(reports: Sequence[ScenarioReport], options: VerifyOptions) -> tuple[str, ...]:
    """Say in words what no scenario looked at."""
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

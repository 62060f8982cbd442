"""The rung `docker`: a release's steps, and where the image holds it the daemon's own code, in the daemon's image."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import Final

from ....difypkg.daemons import Release, Settings, Step, newest, release
from ....difypkg.diagnosis import Diagnosis, DifyoffError
from ....difypkg.logs.reading import diagnose_log
from ....sandbox.container import RUNG
from ....sandbox.engine import REPOSITORY, DaemonImage, Pull, connect, find_image
from ...borrowed import explain_missing_library, find_missing_library
from ...options import VerifyOptions, Workplace
from ...package import Package
from ...report import Check, IsolationRecord, ScenarioReport, check_stand_in
from ...scenario import Scenario, plan_scenarios
from ...steps import run_steps
from .probe import ImageFacts
from .sandbox import DaemonSandbox

_LIFE: Final = 3600  # seconds; more than all of a release's time-outs together
_COMMANDLINE_LIMIT: Final = 600 + 120  # seconds: uv's own limit and the heartbeat's
_OWN_CODE: Final = "daemon's own code"
_PACKAGE: Final = PurePosixPath("/tmp/package.difypkg")
_LINES: Final = 12


class DockerBackend:
    """Runs scenarios in containers of their own."""

    name: Final = "docker"
    at_once: Final = 4

    def __init__(self, options: VerifyOptions, workplace: Workplace) -> None:
        self._options = options
        self._tree = workplace.scratch / "tree"
        self._extracting = threading.Lock()

    def plan(self, package: Package) -> tuple[Scenario, ...]:
        """Return the scenarios: the releases that were asked for, the one of the image's tag, or each branch's."""
        options = self._options
        named = release_of(options.image) if options.image else None
        return plan_scenarios(
            package.digests,
            backend=self.name,
            targets=package.targets,
            chosen=options.releases or ((named,) if named else ()),
            settings=options.settings,
            matrix=options.matrix,
        )

    def run(self, package: Package, scenario: Scenario, stop: threading.Event) -> ScenarioReport:
        """Run the steps of a scenario in a container and, where the image has it, the daemon's own code in another.

        What the engine refuses is in the report: `not-verified` with its diagnosis.
        """
        options = self._options
        report = scenario.report()
        try:
            with connect() as client:
                reference = options.image or name_image(scenario)
                platform = options.platform or f"linux/{scenario.target.architecture}"
                image = find_image(client, reference, pull=options.pull, platform=platform)
            report = replace(report, image=str(image))
            with DaemonSandbox(image, life=_LIFE, platform=options.platform, stopped=stop) as box:
                report = _describe(report, box, scenario, image)
                box.put(package, self._extract(package))
                # The image is the truth about itself; a package for another architecture is judged by its own target.
                own = box.facts.target() if box.facts.architecture == scenario.target.architecture else None
                result = run_steps(box, package, scenario, distrusted=None, target=own, strict=options.strict)
                checks = (Check(name="isolation", status="passed", message="no network, proved"), *result.checks)
                report = replace(report, branch=result.branch, command=result.command, installed=result.installed)
            # `plugin run` knows no settings; it is the same for every scenario but the one with the defaults.
            if scenario.launch and box.facts.has_commandline and scenario.settings == Settings():
                with DaemonSandbox(image, life=_LIFE, platform=options.platform, stopped=stop) as box:
                    checks = (*checks, _run_commandline(box, package))
        except DifyoffError as error:
            return _not_run(report, error.diagnosis)
        own_code = any((check.name, check.status) == (_OWN_CODE, "passed") for check in checks)
        if not (scenario.release.known or own_code):
            rules = f"the rules of daemon {newest()} stand in for those of {scenario.release}"
            checks = (*checks, check_stand_in("rules", rules, allowed=options.allow_stand_in))
        return replace(
            report,
            checks=tuple(map(_name_library, checks)),
            findings=(*report.findings, *result.findings),
        )

    def _extract(self, package: Package) -> Path:
        """Extract the package, once for all scenarios, and return the folder."""
        with self._extracting:
            if not self._tree.exists():
                package.extract(self._tree)
        return self._tree


def open_backend(options: VerifyOptions, workplace: Workplace) -> DockerBackend:
    """Return the backend."""
    return DockerBackend(options, workplace)


def probe_image(reference: str, *, pull: Pull, platform: str | None) -> tuple[DaemonImage, ImageFacts]:
    """Start an image, without a network, and ask what it is made of. Raises what the engine refuses."""
    with connect() as client:
        image = find_image(client, reference, pull=pull, platform=platform)
    with DaemonSandbox(image, life=_LIFE, platform=platform) as box:
        return image, box.facts


def name_image(scenario: Scenario) -> str:
    """Return the reference of a release's image."""
    return f"{REPOSITORY}:{scenario.release}-local"


def release_of(reference: str) -> Release | None:
    """Return the daemon release that an image's tag names (`…:0.6.10-local`), None where it names none."""
    match = re.search(r":(\d[\w.]*)-local", reference)
    with suppress(DifyoffError):
        return release(match[1]) if match else None
    return None


def _describe(report: ScenarioReport, box: DaemonSandbox, scenario: Scenario, image: DaemonImage) -> ScenarioReport:
    return replace(
        report,
        uv=box.facts.uv,
        python=box.facts.python,
        isolation=box.isolation,
        findings=tuple(_findings(box.facts, scenario, image)),
    )


def _not_run(report: ScenarioReport, diagnosis: Diagnosis) -> ScenarioReport:
    if diagnosis.slug == "network-not-isolated":
        record = IsolationRecord(rung=RUNG, proved=False, host_protected=True, evidence=diagnosis.context)
        check = Check(name="isolation", required=True, status="error", diagnosis=diagnosis)
        return replace(report, isolation=record, checks=(check,))
    check = Check(name="container", required=True, status="skipped", message=diagnosis.message, diagnosis=diagnosis)
    return replace(report, checks=(check,))


def _findings(facts: ImageFacts, scenario: Scenario, image: DaemonImage) -> Iterator[Diagnosis]:
    if image.stand_in:
        yield Diagnosis(
            slug="stand-in-image",
            message=f"{image.reference} is a stand-in that imitates the daemon's image, not the image itself",
            hint=f"Verify in {name_image(scenario)} before you rely on it.",
        )
    target = scenario.target
    glibc = ".".join(map(str, facts.glibc)) if facts.glibc else "none"
    seen = (
        ("uv", facts.uv, scenario.release.uv),
        ("CPython", facts.python, target.python),
        ("glibc", glibc, ".".join(map(str, target.glibc))),
    )
    differences = tuple(f"{name} {here}, not {known}" for name, here, known in seen if known and here != known)
    if differences:
        yield Diagnosis(
            slug="image-differs",
            message=f"{image.reference} is not what difyoff knows of daemon {scenario.release}; the image was believed",
            context=differences,
            hint="Save the image's target with `difyoff target probe` to make a package for exactly this image.",
        )


def _run_commandline(box: DaemonSandbox, package: Package) -> Check:
    """Let the daemon's own code install and start the package (cmd/commandline/run/run.go, 0.5.8 and newer)."""
    began = monotonic()
    box.put_file(package.path, _PACKAGE)
    step = Step(
        kind="launch",
        argv=("/app/commandline", "plugin", "run", "-r", "json", str(_PACKAGE)),
        cwd=PurePosixPath("/app"),
        total=_COMMANDLINE_LIMIT,
    )
    cause, code = "", None
    with box.start(step) as process, suppress(TimeoutError):
        for line in process.lines(timeout=_COMMANDLINE_LIMIT):
            kind, text = _said(line)
            if kind == "plugin_ready":
                return Check(name=_OWN_CODE, required=True, status="passed", seconds=monotonic() - began)
            cause = text if kind == "error" else cause
        code = process.poll()
    diagnosis = _refusal(cause or process.stderr_tail, code)
    return Check(name=_OWN_CODE, required=True, status="failed", diagnosis=diagnosis, seconds=monotonic() - began)


def _said(line: str) -> tuple[str, str]:
    """Return the kind of a line that `plugin run` prints, and its error."""
    try:
        message = json.loads(line)
        return str(message["type"]), str(message["response"].get("error", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""


def _refusal(cause: str, code: int | None) -> Diagnosis:
    lines = cause.strip().splitlines()
    known = diagnose_log(lines).cause
    if known.slug not in ("cause-not-found", "cause-swallowed"):
        return known
    how = "does not get ready" if code is None else f"ends with exit code {code}"
    return Diagnosis(
        slug="daemon-refuses",
        message=f"the daemon's own `plugin run` {how} over this package",
        context=tuple(lines[-_LINES:]),
        hint="Read what it says above; `difyoff verify` without it says which step fails.",
    )


def _name_library(check: Check) -> Check:
    """Say it where a plugin does not start because a system library is missing."""
    diagnosis = check.diagnosis
    if diagnosis is None or diagnosis.slug != "plugin-does-not-start":
        return check
    name = find_missing_library("\n".join(diagnosis.context))
    return check if name is None else replace(check, diagnosis=explain_missing_library(name, *diagnosis.context))

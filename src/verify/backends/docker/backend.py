"""The rung `docker`: a release's steps, and where the image holds it the daemon's own code, in the daemon's image."""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from time import monotonic
from typing import Final

from ....difypkg.daemonlog import diagnose_log
from ....difypkg.daemons import Release, Settings, Step, release
from ....difypkg.diagnosis import Diagnosis, DifyoffError
from ....difypkg.target import TARGETS
from ....sandbox.container import RUNG
from ....sandbox.engine import REPOSITORY, DaemonImage, Pull, connect, find_image
from ...extract import ExtractedPackage
from ...report import Check, IsolationRecord, ScenarioReport
from ...scenario import Scenario
from ...steps import run_steps
from .probe import ImageFacts
from .sandbox import DaemonSandbox

_LIFE: Final = 3600  # seconds; more than all of a release's time-outs together
_WORKERS: Final = 4  # containers at a time, at most
_COMMANDLINE_LIMIT: Final = 600 + 120  # seconds: uv's own limit and the heartbeat's
_OWN_CODE: Final = "daemon's own code"
_PACKAGE: Final = PurePosixPath("/tmp/package.difypkg")
_LIBRARY: Final = re.compile(r"(\S+\.so[.\d]*): cannot open shared object file")
_LINES: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerOptions:
    """How to use the engine: `image` in place of the release's own, `platform` in Docker's words (`linux/arm64`)."""

    image: str | None = None
    pull: Pull = "missing"
    platform: str | None = None
    on_report: Callable[[ScenarioReport], None] = lambda _: None


def verify_docker(
    package: ExtractedPackage, scenarios: Sequence[Scenario], options: DockerOptions
) -> tuple[ScenarioReport, ...]:
    """Run scenarios in containers of their own, a few at a time; return their reports in the same order.

    What the engine refuses is in the reports: `not-verified` with its diagnosis.
    """
    stopped = threading.Event()

    def one(scenario: Scenario) -> ScenarioReport:
        began = monotonic()
        report = replace(_one(package, scenario, options, stopped), seconds=monotonic() - began)
        options.on_report(report)
        return report

    workers = min(len(scenarios), os.cpu_count() or 1, _WORKERS)
    if workers <= 1:  # in this thread, so that Ctrl-C reaches it at once
        return tuple(map(one, scenarios))
    with ThreadPoolExecutor(workers) as pool:
        try:
            return tuple(pool.map(one, scenarios))
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise


def probe_image(reference: str, *, pull: Pull, platform: str | None) -> tuple[DaemonImage, ImageFacts]:
    """Start an image, without a network, and ask what it is made of. Raises what the engine refuses."""
    with connect() as client:
        image = find_image(client, reference, pull=pull, platform=platform)
    with DaemonSandbox(image, life=_LIFE, platform=platform) as box:
        return image, box.facts


def image_of(scenario: Scenario) -> str:
    """Return the reference of a release's image."""
    return f"{REPOSITORY}:{scenario.release}-local"


def release_of(reference: str) -> Release | None:
    """Return the daemon release that an image's tag names (`…:0.6.10-local`), None where it names none."""
    match = re.search(r":(\d[\w.]*)-local", reference)
    with suppress(DifyoffError):
        return release(match[1]) if match else None
    return None


def _one(
    package: ExtractedPackage, scenario: Scenario, options: DockerOptions, stopped: threading.Event
) -> ScenarioReport:
    report = ScenarioReport(
        backend="docker",
        daemon=str(scenario.release),
        architecture=scenario.architecture,
        settings=scenario.settings_in_words,
    )
    try:
        with connect() as client:
            reference = options.image or image_of(scenario)
            platform = options.platform or f"linux/{scenario.architecture}"
            image = find_image(client, reference, pull=options.pull, platform=platform)
        report = replace(report, image=str(image))
        with DaemonSandbox(image, life=_LIFE, platform=options.platform, stopped=stopped) as box:
            report = _described(report, box, scenario, image)
            box.put(package)
            # The image is the truth about itself; a package for another architecture is judged by that one's preset.
            own = box.facts.target() if box.facts.architecture == scenario.architecture else None
            result = run_steps(box, package, scenario, distrusted=None, target=own)
            checks = (Check(name="isolation", status="passed", message="no network, proved"), *result.checks)
            report = replace(report, branch=result.branch, command=result.command)
        # `plugin run` knows no settings; it is the same for every scenario but the one with the defaults.
        if scenario.launch and box.facts.has_commandline and scenario.settings == Settings():
            with DaemonSandbox(image, life=_LIFE, platform=options.platform, stopped=stopped) as box:
                checks = (*checks, _commandline(box, package))
    except DifyoffError as error:
        return _not_run(report, error.diagnosis)
    return replace(
        report,
        checks=tuple(map(_with_library_named, checks)),
        findings=(*report.findings, *result.findings),
    )


def _described(report: ScenarioReport, box: DaemonSandbox, scenario: Scenario, image: DaemonImage) -> ScenarioReport:
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
            hint=f"verify in {image_of(scenario)} before you rely on it",
        )
    target = TARGETS[scenario.architecture]
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
            hint="for a package made for exactly this image, save it with `difyoff target probe`",
        )


def _commandline(box: DaemonSandbox, package: ExtractedPackage) -> Check:
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
        hint="see what it says above; `difyoff verify` without it tells which step fails",
    )


def _with_library_named(check: Check) -> Check:
    """Say it where a plugin does not start for want of a system library."""
    diagnosis = check.diagnosis
    if diagnosis is None or diagnosis.slug != "plugin-does-not-start":
        return check
    match = _LIBRARY.search("\n".join(diagnosis.context))
    if match is None:
        return check
    return replace(
        check,
        diagnosis=replace(
            diagnosis,
            slug="system-library-missing",
            message=f"a wheel of the package needs {match[1]}, which the daemon's image does not have",
            hint=f"add the library to an image of your own made from the daemon's (`FROM {REPOSITORY}:…`), or ask the"
            " plugin's author for a wheel that carries it",
        ),
    )

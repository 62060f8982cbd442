"""The rung `local`: a daemon release's own uv and steps on this machine, the network cut and the host out of reach."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from time import monotonic
from typing import Final

from ...difypkg.daemons import Layout, Step
from ...difypkg.diagnosis import Diagnosis, DifyoffError
from ...sandbox.isolation import LADDER, Isolation, choose_isolation, obstacle, prove
from ...sandbox.output import Running
from ...sandbox.process import Command, Outcome, run, start
from ...sandbox.proof import IsolationProof
from ...uvrun.environment import IndexSettings
from ...uvrun.interpreters import Python, find_python, install_python
from ...uvrun.uv import LOCK_UV, Uv, installed_uv, provide_uv
from ..extract import ExtractedPackage, copy_to
from ..look import State, look
from ..report import Check, IsolationRecord, ScenarioReport
from ..scenario import Scenario
from ..steps import Machine, run_steps

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_RUN: Final = 125  # the launcher's exit code: the isolation was refused after all
_UNPROTECTED: Final = "nothing here protects this machine from the plugin's code"
_WAYS_ON: Final = (
    "verify in the daemon's own image (`--backend docker`), or run where one of these is allowed: root with"
    " CAP_SYS_ADMIN, user namespaces (`sysctl kernel.unprivileged_userns_clone=1`), or seccomp filters"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """What a local run needs: `scratch` is a folder to work in, `cache` difyoff's own.

    `isolation` is None to take the strongest that holds. On an unprotected host `trust_plugin` starts plugins, and
    without it a package is installed only where it is `vetted`: an sdist runs code as it is built.
    """

    scratch: Path
    cache: Path
    index: IndexSettings
    isolation: Isolation | None = None
    trust_plugin: bool = False
    vetted: bool = False
    on_fetch: Callable[[str], None] = lambda _: None
    on_report: Callable[[ScenarioReport], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSandbox:
    """A work folder on this machine. Of the host, a step sees system programs, uv and a CPython 3.12.

    The install step gets one variable more than the daemon gives it: HOME, in place of the home that uv would look up.
    """

    work: Path
    layout: Layout
    home: Path
    machine: Machine
    isolation: Isolation
    readable: tuple[Path, ...]
    stopped: threading.Event

    def run(self, step: Step) -> Outcome:
        """Run a step. Raises `DifyoffError` (`isolation-unavailable`) when the isolation is refused after all."""
        outcome = run(replace(self._command(step), timeout=step.total, silence=step.silence), cancel=self.stopped)
        if outcome.code == _NOT_RUN:
            raise DifyoffError(_unavailable((f"{self.isolation.name}: {outcome.stderr.strip()}",)))
        return outcome

    @contextmanager
    def start(self, step: Step) -> Iterator[Running]:
        """Start a plugin."""
        with start(self._command(step), cancel=self.stopped) as running:
            yield running

    def look(self, cache: PurePath) -> State:
        """Look at the work folder, which is this machine's."""
        return look(Path(self.layout.plugin), Path(self.layout.working_path), Path(cache))

    def _command(self, step: Step) -> Command:
        base = {"PATH": self.layout.path} if step.inherits else {}
        return Command(
            argv=self.isolation.wrap(step.argv, writable=(self.work,), readable=self.readable),
            environment={**base, "HOME": str(self.home), **self._shadows(), **step.environment},
            cwd=Path(self.layout.plugin),
            umask=0o022,
        )

    def _shadows(self) -> Mapping[str, str]:
        """Stand-ins for what the weakest rung forbids and does not hide: `/etc/uv/uv.toml` and `/tmp`."""
        if self.isolation.name != "seccomp":
            return {}
        shadow = self.home / "etc" / "uv" / "uv.toml"
        shadow.parent.mkdir(parents=True, exist_ok=True)
        shadow.touch()
        return {"XDG_CONFIG_DIRS": str(self.home / "etc"), "TMPDIR": str(self.home)}


def verify_local(
    package: ExtractedPackage, scenarios: Sequence[Scenario], options: LocalOptions
) -> tuple[ScenarioReport, ...]:
    """Run scenarios side by side, each on files of its own; return their reports in the same order.

    Raises `DifyoffError` only for what is no scenario's fault (`python-not-found`).
    """
    isolation = options.isolation or choose_isolation()
    if isolation is None:
        reasons = tuple(f"{rung.name}: {obstacle(rung)}" for rung in LADDER)
        check = Check(name="isolation", required=True, status="skipped", diagnosis=_unavailable(reasons))
        return _all(scenarios, check, None, options)
    proof = prove(isolation)
    record = _record(isolation, proof)
    if not proof.ok:
        return _all(scenarios, Check(name="isolation", status="error", diagnosis=_not_isolated(proof)), record, options)
    if above := _configuration_above(options.scratch, isolation):
        check = Check(name="isolation", required=True, status="skipped", diagnosis=above)
        return _all(scenarios, check, record, options)
    if not (isolation.host_protected or options.vetted or options.trust_plugin):
        check = Check(
            name="install", required=True, status="skipped", message=f"{_UNPROTECTED}, and the audit refuses it"
        )
        return _all(scenarios, check, record, options)
    python = _python(options)
    stopped = threading.Event()
    uvs: dict[str | None, tuple[Uv, tuple[Diagnosis, ...]]] = {}

    def one(scenario: Scenario) -> ScenarioReport:
        report = _one(package, scenario, options, isolation, record, python, uvs[scenario.uv], stopped)
        options.on_report(report)
        return report

    workers = min(len(scenarios), os.cpu_count() or 1)
    if workers == 1:  # in this thread, so that Ctrl-C reaches the child at once
        uvs |= {each.uv: _uv(each.uv, options) for each in scenarios}
        return tuple(map(one, scenarios))
    with ThreadPoolExecutor(workers) as pool:
        try:
            versions = tuple({each.uv: None for each in scenarios})
            uvs |= zip(versions, pool.map(lambda version: _uv(version, options), versions), strict=True)
            return tuple(pool.map(one, scenarios))
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise


def _one(
    package: ExtractedPackage,
    scenario: Scenario,
    options: LocalOptions,
    isolation: Isolation,
    record: IsolationRecord,
    python: Python,
    provided: tuple[Uv, tuple[Diagnosis, ...]],
    stopped: threading.Event,
) -> ScenarioReport:
    began = monotonic()
    uv, findings = provided
    report = replace(_empty(scenario), uv=uv.version, python=python.version, isolation=record)
    work = options.scratch / f"{id(scenario):x}"
    try:
        sandbox = _sandbox(package, work, isolation, python, uv, stopped)
        result = run_steps(sandbox, package, scenario, distrusted=_distrusted(isolation, options))
    except DifyoffError as error:
        check = Check(name="install", required=True, status="skipped", diagnosis=error.diagnosis)
        return replace(report, checks=(check,), findings=findings, seconds=monotonic() - began)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return replace(
        report,
        branch=result.branch,
        command=result.command,
        checks=(Check(name="isolation", status="passed", message="no network, proved"), *result.checks),
        findings=(*findings, *result.findings),
        seconds=monotonic() - began,
    )


def _sandbox(
    package: ExtractedPackage, work: Path, isolation: Isolation, python: Python, uv: Uv, stopped: threading.Event
) -> LocalSandbox:
    working = work / "cwd"
    plugin = working / package.folder_name
    home = work / "home"
    home.mkdir(parents=True)
    copy_to(package, plugin)
    # The file itself: inside, a link would stand as a file in a folder without its library.
    interpreter = python.path.resolve()
    return LocalSandbox(
        work=work,
        layout=Layout(
            plugin=plugin,
            working_path=working,
            uv=uv.path,
            path=f"{interpreter.parent}:{_PATH}",
            entrypoint=package.manifest.entrypoint,
        ),
        home=home,
        machine=Machine(architecture=python.machine, python=python.version, glibc=python.glibc),
        isolation=isolation,
        readable=(uv.path, interpreter.parents[1]),
        stopped=stopped,
    )


def _python(options: LocalOptions) -> Python:
    """Find CPython 3.12 on this machine, or let uv install one. Raises `DifyoffError` (`python-not-found`)."""
    if python := find_python((3, 12)):
        return python
    uv = provide_uv(LOCK_UV, cache=options.cache, settings=options.index, on_fetch=options.on_fetch)
    home = options.scratch / "python"
    return install_python((3, 12), uv=uv, settings=options.index, home=home, cache=options.cache / "uv-cache")


def _uv(version: str | None, options: LocalOptions) -> tuple[Uv, tuple[Diagnosis, ...]]:
    """Return the release's own uv, or the installed one and the finding that it is another."""
    wanted = version or LOCK_UV
    try:
        return provide_uv(wanted, cache=options.cache, settings=options.index, on_fetch=options.on_fetch), ()
    except DifyoffError as error:
        installed = installed_uv()
        if installed is None:
            raise
        finding = Diagnosis(
            slug="other-uv-version",
            message=f"uv {installed.version} stands in for uv {wanted}, which the daemon's image has",
            context=error.diagnosis.context[-3:],
            hint=error.diagnosis.hint,
        )
        return installed, (finding,)


def _distrusted(isolation: Isolation, options: LocalOptions) -> str | None:
    if isolation.host_protected or options.trust_plugin:
        return None
    return f"{_UNPROTECTED}; `--trust-plugin` starts it all the same"


def _configuration_above(folder: Path, isolation: Isolation) -> Diagnosis | None:
    """Find what uv would read or stop at above the work folder, where the isolation does not hide it."""
    if isolation.name != "seccomp":
        return None
    for parent in (folder, *folder.resolve().parents):
        for name in ("uv.toml", "pyproject.toml"):
            if (parent / name).exists():
                return Diagnosis(
                    slug="configuration-above",
                    message=f"uv would see {parent / name}, which no daemon has",
                    hint="put the cache elsewhere: `--cache-dir`, on a path with no such file above it",
                )
    return None


def _record(isolation: Isolation, proof: IsolationProof) -> IsolationRecord:
    return IsolationRecord(
        rung=isolation.name, proved=proof.ok, host_protected=isolation.host_protected, evidence=proof.evidence
    )


def _not_isolated(proof: IsolationProof) -> Diagnosis:
    return Diagnosis(
        slug="network-not-isolated",
        message=f"the network is not proved to be cut off, so nothing is proved: {proof.failure}",
        hint=_WAYS_ON,
    )


def _unavailable(reasons: tuple[str, ...]) -> Diagnosis:
    return Diagnosis(
        slug="isolation-unavailable",
        message="this machine refuses every way of cutting the network off, so nothing was run",
        context=reasons,
        hint=_WAYS_ON,
    )


def _all(
    scenarios: Sequence[Scenario], check: Check, isolation: IsolationRecord | None, options: LocalOptions
) -> tuple[ScenarioReport, ...]:
    reports = tuple(replace(_empty(scenario), isolation=isolation, checks=(check,)) for scenario in scenarios)
    for report in reports:
        options.on_report(report)
    return reports


def _empty(scenario: Scenario) -> ScenarioReport:
    return ScenarioReport(
        backend="local",
        daemon=str(scenario.release),
        architecture=scenario.architecture,
        settings=scenario.settings_in_words,
    )

"""The rung `local`: a daemon release's own uv and steps on this machine, the network cut and the host out of reach."""

import os
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Final

from ...difypkg.daemons import Layout, Step, newest
from ...difypkg.diagnosis import Diagnosis, DifyoffError
from ...difypkg.image import ImageContents, image_contents
from ...difypkg.target import DAEMON_PYTHON
from ...sandbox.isolation import LADDER, Isolation, choose_isolation, find_obstacle, prove
from ...sandbox.opened import list_mapped
from ...sandbox.output import Running
from ...sandbox.process import Command, Outcome, run, start
from ...sandbox.proof import IsolationProof
from ...sandbox.removal import remove_tree
from ...uvrun.interpreters import Python, find_python, install_python
from ...uvrun.uv import LOCK_UV, Uv, installed_uv, provide_uv
from ..borrowed import Borrowed, find_borrowed, link_programs
from ..look import State, look, read_attempts
from ..options import FetchStarted, VerifyOptions, Workplace
from ..package import Package
from ..report import Check, IsolationRecord, ScenarioReport, check_stand_in
from ..scenario import Scenario, plan_scenarios
from ..steps import Machine, run_steps

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_RUN: Final = 125  # the launcher's exit code: the isolation was refused after all
_UNPROTECTED: Final = "nothing here protects this machine from the plugin's code"
_WAYS_ON: Final = (
    "verify in the daemon's own image (`--backend docker`), or run where one of these is allowed: root with"
    " CAP_SYS_ADMIN, user namespaces (`sysctl kernel.unprivileged_userns_clone=1`), or seccomp filters"
)


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
    python: Path
    image: ImageContents
    stopped: threading.Event

    @property
    def can_hide(self) -> bool:
        """Whether libraries of this machine can be hidden."""
        return self.isolation.can_hide

    def run(self, step: Step) -> Outcome:
        """Run a step. Raises `DifyoffError` (`isolation-unavailable`) when the isolation is refused after all."""
        outcome = run(replace(self._command(step), timeout=step.total, silence=step.silence), cancel=self.stopped)
        if outcome.code == _NOT_RUN:
            raise DifyoffError(_unavailable((f"{self.isolation.name}: {outcome.stderr.strip()}",)))
        return outcome

    @contextmanager
    def start(self, step: Step, hidden: Collection[Path] = ()) -> Iterator[Running]:
        """Start a plugin, with some files of this machine hidden from it."""
        shown = (step.argv[0], "-m", step.argv[-1])  # the watching around it is not the daemon's
        with start(replace(self._command(step, hidden), shown=shown), cancel=self.stopped) as running:
            yield running

    def find_borrowed(self, process: Running) -> tuple[Borrowed, ...]:
        """Return the libraries of this machine that a plugin has open and the image does not have."""
        assert process.pid is not None
        return find_borrowed(list_mapped(process.pid), self.image, package=self.work, python=self.python)

    def look(self, cache: PurePath) -> State:
        """Look at the work folder, which is this machine's."""
        return look(Path(self.layout.plugin), Path(self.layout.working_path), Path(cache))

    def read_attempts(self) -> list[str]:
        """Return what the started plugin tried to reach."""
        return read_attempts(Path(self.layout.working_path))

    def _command(self, step: Step, hidden: Collection[Path] = ()) -> Command:
        base = {"PATH": self.layout.path} if step.inherits else {}
        return Command(
            argv=self.isolation.wrap(step.argv, writable=(self.work,), readable=self.readable, hidden=hidden),
            environment={**base, "HOME": str(self.home), **self._shadows(), **step.environment},
            cwd=Path(self.layout.plugin),
            umask=0o022,
            shown=step.argv,
        )

    def _shadows(self) -> Mapping[str, str]:
        """Stand-ins for what the weakest rung forbids and does not hide: `/etc/uv/uv.toml` and `/tmp`."""
        if self.isolation.name != "seccomp":
            return {}
        shadow = self.home / "etc" / "uv" / "uv.toml"
        shadow.parent.mkdir(parents=True, exist_ok=True)
        shadow.touch()
        return {"XDG_CONFIG_DIRS": str(self.home / "etc"), "TMPDIR": str(self.home)}


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """Why no scenario can run on this machine."""

    check: Check
    record: IsolationRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What every scenario on this machine stands on, found out once.

    `distrusted` is the reason for not starting plugins, None where they may be started.
    """

    isolation: Isolation
    record: IsolationRecord
    python: Python
    distrusted: str | None


class LocalBackend:
    """Runs scenarios on this machine, each on files of its own."""

    name: Final = "local"

    def __init__(self, options: VerifyOptions, workplace: Workplace, ground: Ground | _Obstacle) -> None:
        self.at_once = os.cpu_count() or 1
        self._options = options
        self._workplace = workplace
        self._ground = ground
        self._uvs: dict[str, tuple[Uv, Diagnosis | None]] = {}
        self._fetching: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._programs: dict[ImageContents, Path] = {}
        self._linking = threading.Lock()

    def plan(self, package: Package) -> tuple[Scenario, ...]:
        """Return the scenarios: the releases that were asked for, or one for each way to install."""
        return plan_scenarios(
            package.digests,
            backend=self.name,
            targets=package.targets,
            chosen=self._options.releases,
            settings=self._options.settings,
            matrix=self._options.matrix,
        )

    def run(self, package: Package, scenario: Scenario, stop: threading.Event) -> ScenarioReport:
        """Run the steps of a scenario in a work folder of its own."""
        ground = self._ground
        if isinstance(ground, _Obstacle):
            return replace(scenario.report(ground.check), isolation=ground.record)
        uv, other = self._provide_uv(scenario)
        allowed = self._options.allow_stand_in
        findings = (other,) if other and allowed else ()
        stand_ins = [check_stand_in("uv", other.message, allowed=allowed, diagnosis=other)] if other else []
        if not scenario.release.known:
            rules = f"the rules of daemon {newest()} stand in for those of {scenario.release}"
            stand_ins.append(check_stand_in("rules", rules, allowed=allowed))
        report = replace(scenario.report(), uv=uv.version, python=ground.python.version, isolation=ground.record)
        work = Path(tempfile.mkdtemp(dir=self._workplace.scratch))
        try:
            image = image_contents(scenario.release, scenario.target)
            sandbox = _make_sandbox(package, work, ground, uv, image, self._link_programs(image), stop)
            result = run_steps(sandbox, package, scenario, distrusted=ground.distrusted, strict=self._options.strict)
        except DifyoffError as error:
            check = Check(name="install", required=True, status="skipped", diagnosis=error.diagnosis)
            return replace(report, checks=(check,), findings=findings)
        finally:
            remove_tree(work)
        return replace(
            report,
            branch=result.branch,
            command=result.command,
            installed=result.installed,
            checks=(
                Check(name="isolation", status="passed", message="no network, proved"),
                *stand_ins,
                *result.checks,
            ),
            findings=(*findings, *result.findings),
        )

    def _link_programs(self, image: ImageContents) -> Path:
        """Return a folder of those programs of this machine that an image has, too; one for all its scenarios."""
        with self._linking:
            if image not in self._programs:
                folder = Path(tempfile.mkdtemp(prefix="programs-", dir=self._workplace.scratch))
                link_programs(image, _PATH.split(":"), folder)
                self._programs[image] = folder
            return self._programs[image]

    def _provide_uv(self, scenario: Scenario) -> tuple[Uv, Diagnosis | None]:
        """Return the scenario's own uv, or the installed one and the diagnosis that it is another."""
        wanted = scenario.uv or LOCK_UV
        with self._fetching[wanted]:
            if wanted not in self._uvs:
                self._uvs[wanted] = _find_uv(wanted, self._options, self._workplace)
            return self._uvs[wanted]


def open_backend(options: VerifyOptions, workplace: Workplace) -> LocalBackend:
    """Choose and prove an isolation, and find a CPython.

    Raises `DifyoffError` only for what is no scenario's fault (`python-not-found`).
    """
    return LocalBackend(options, workplace, _prepare(options, workplace))


def _prepare(options: VerifyOptions, workplace: Workplace) -> Ground | _Obstacle:
    isolation = options.isolation or choose_isolation()
    if isolation is None:
        reasons = tuple(f"{rung.name}: {find_obstacle(rung)}" for rung in LADDER)
        return _Obstacle(Check(name="isolation", required=True, status="skipped", diagnosis=_unavailable(reasons)))
    proof = prove(isolation)
    record = _record(isolation, proof)
    if not proof.ok:
        return _Obstacle(Check(name="isolation", status="error", diagnosis=_not_isolated(proof)), record)
    if above := _find_configuration_above(workplace.scratch, isolation):
        return _Obstacle(Check(name="isolation", required=True, status="skipped", diagnosis=above), record)
    if not (isolation.host_protected or workplace.vetted or options.trust_plugin):
        message = f"{_UNPROTECTED}, and the audit refuses it"
        return _Obstacle(Check(name="install", required=True, status="skipped", message=message), record)
    distrusted = None
    if not (isolation.host_protected or options.trust_plugin):
        distrusted = f"{_UNPROTECTED}; `--trust-plugin` starts it all the same"
    return Ground(isolation=isolation, record=record, python=_find_python(options, workplace), distrusted=distrusted)


def _make_sandbox(
    package: Package,
    work: Path,
    ground: Ground,
    uv: Uv,
    image: ImageContents,
    programs: Path,
    stop: threading.Event,
) -> LocalSandbox:
    working = work / "cwd"
    plugin = working / package.folder_name
    home = work / "home"
    home.mkdir(parents=True)
    package.extract(plugin)
    # The file itself: inside, a link would stand as a file in a folder without its library.
    python = ground.python
    interpreter = python.path.resolve()
    # A Python of the user's own has a folder of its own.
    path = str(programs) if str(interpreter.parent) in _PATH.split(":") else f"{interpreter.parent}:{programs}"
    assert package.manifest is not None
    return LocalSandbox(
        work=work,
        layout=Layout(
            plugin=plugin,
            working_path=working,
            uv=uv.path,
            path=path,
            entrypoint=package.manifest.entrypoint,
        ),
        home=home,
        machine=Machine(architecture=python.machine, python=python.version, glibc=python.glibc),
        isolation=ground.isolation,
        readable=(uv.path, interpreter.parents[1], programs),
        python=interpreter.parents[1],
        image=image,
        stopped=stop,
    )


def _find_python(options: VerifyOptions, workplace: Workplace) -> Python:
    """Find the daemon's CPython on this machine, or let uv install one. Raises `DifyoffError` (`python-not-found`)."""
    if python := find_python(DAEMON_PYTHON):
        return python
    uv = provide_uv(LOCK_UV, cache=options.cache, settings=options.index, on_fetch=_fetch_listener(workplace))
    home = workplace.scratch / "python"
    return install_python(DAEMON_PYTHON, uv=uv, settings=options.index, home=home, cache=options.cache / "uv-cache")


def _find_uv(wanted: str, options: VerifyOptions, workplace: Workplace) -> tuple[Uv, Diagnosis | None]:
    try:
        on_fetch = _fetch_listener(workplace)
        return provide_uv(wanted, cache=options.cache, settings=options.index, on_fetch=on_fetch), None
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
        return installed, finding


def _fetch_listener(workplace: Workplace) -> Callable[[str], None]:
    return lambda version: workplace.listen(FetchStarted(what=f"uv {version}"))


def _find_configuration_above(folder: Path, isolation: Isolation) -> Diagnosis | None:
    """Find what uv would read or stop at above the work folder, where the isolation does not hide it."""
    if isolation.name != "seccomp":
        return None
    for parent in (folder, *folder.resolve().parents):
        for name in ("uv.toml", "pyproject.toml"):
            if (parent / name).exists():
                return Diagnosis(
                    slug="configuration-above",
                    message=f"uv would see {parent / name}, which no daemon has",
                    hint="Move the cache with `--cache-dir` to a path with no such file above it.",
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

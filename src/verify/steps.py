"""The steps of a daemon release over one package, in any sandbox: what to run, in which order, and what it shows.

A backend is a `Sandbox`; everything else, the plan and the judging, is the same for all of them.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Final, Literal, Protocol

from ..difypkg.daemons import Layout, Plan, Step, plan
from ..difypkg.diagnosis import Diagnosis, Exit, page
from ..difypkg.image import ImageContents
from ..difypkg.names import PYPROJECT
from ..difypkg.target import Target
from ..sandbox.process import Outcome
from . import judge, sdk
from .borrowed import Borrowed, explain_borrowed, explain_missing_library, find_missing_library
from .launch import Launch, Process, await_heartbeat, watch
from .look import State
from .package import Package
from .report import Check
from .scenario import Scenario

_NOT_INSTALLED: Final = "the package was not installed"
NOT_ASKED: Final = "started in another scenario"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the sandbox runs on: `architecture` as `uname -m` has it, the full Python version, glibc's two numbers.

    `glibc` is None with another C library.
    """

    architecture: str
    python: str
    glibc: tuple[int, int] | None


class Sandbox(Protocol):
    """One place without a network where the steps of one scenario run, with the package extracted to `layout.plugin`.

    `layout.working_path` holds nothing else. A step that does not inherit gets exactly its environment; `home` is the
    home folder, empty at first, that uv finds without being told.
    """

    @property
    def layout(self) -> Layout:
        """Where things lie, seen from inside."""

    @property
    def home(self) -> PurePath:
        """The home folder, seen from inside."""

    @property
    def machine(self) -> Machine:
        """What it runs on."""

    def run(self, step: Step) -> Outcome:
        """Run a step to its end or to its limits."""

    def start(self, step: Step, hidden: Collection[Path] = ()) -> AbstractContextManager[Process]:
        """Start a plugin, with some files `hidden` from it where `can_hide`; it and all it started end on leaving."""
        ...

    @property
    def can_hide(self) -> bool:
        """Whether files can be hidden from a plugin."""

    @property
    def image(self) -> ImageContents | None:
        """What the daemon's image has, where this is not the image; None in an image."""

    def find_borrowed(self, process: Any) -> tuple[Borrowed, ...]:
        """Return the libraries that a started plugin has open and the daemon's image does not have."""
        ...

    def look(self, cache: PurePath) -> State:
        """Look at the plugin's folder, the working folder and uv's cache, as `verify.look.look` does."""

    def read_attempts(self) -> list[str]:
        """Return what the started plugin tried to reach, as `verify.look.read_attempts` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsResult:
    """What the steps showed: `command` is what was run to install, what was added to the daemon's argv included.

    `installed` is what that brought, `name==version` each.
    """

    branch: str | None
    command: tuple[str, ...] = ()
    installed: tuple[str, ...] = ()
    checks: tuple[Check, ...]
    findings: tuple[Diagnosis, ...] = ()


def run_steps(
    sandbox: Sandbox,
    package: Package,
    scenario: Scenario,
    *,
    distrusted: str | None,
    target: Target | None = None,
    strict: bool = False,
) -> StepsResult:
    """Run a scenario's steps and judge them.

    `distrusted` is the reason for not starting the plugin, None where it may be started. `target` is what the package
    is judged by, where that is known better than by the scenario's; `strict` is that of the options.
    """
    planned = plan(scenario.release, scenario.settings, package.digests, sandbox.layout)
    if planned.branch is None:
        failure = judge.explain_no_dependency_file(planned.release)
        return StepsResult(branch=None, checks=(Check(name="install", status="failed", diagnosis=failure),))
    run = _Run(
        sandbox,
        package,
        scenario,
        planned,
        target=target or scenario.target,
        distrusted=distrusted,
        # What difyoff made is held to its own form: there, a difference is damage.
        strict=strict or package.record is not None,
    )
    checks = tuple(run.checks())
    return StepsResult(
        branch=planned.branch,
        command=run.install.argv,
        installed=run.installed,
        checks=checks,
        findings=tuple(run.findings),
    )


class _Run:
    """One run of a plan."""

    def __init__(
        self,
        sandbox: Sandbox,
        package: Package,
        scenario: Scenario,
        planned: Plan,
        *,
        target: Target,
        distrusted: str | None,
        strict: bool,
    ) -> None:
        self._sandbox = sandbox
        self._package = package
        self._scenario = scenario
        self._plan = planned
        self._target = target
        self._foreign = sandbox.machine.architecture != target.machine
        self._distrusted = distrusted
        self._strict = strict
        self._steps = {step.kind: step for step in planned.steps}
        self.install = self._for_target(self._steps["install"])
        self.installed: tuple[str, ...] = ()
        self.findings: list[Diagnosis] = []

    def checks(self) -> Iterator[Check]:
        """Run everything, a check for each thing looked at; after a failed install nothing else is run."""
        failed = False
        for check in self._install():
            failed = failed or check.status != "passed"
            yield check
        reason = _NOT_INSTALLED if failed else self._why_not_started()
        if reason:
            yield Check(name="start", status="skipped", message=reason)
        else:
            yield from self._start()

    def _install(self) -> Iterator[Check]:
        if refused := self._clear():
            yield Check(name="install", required=True, status="failed", diagnosis=refused)
            return
        venv = self._sandbox.run(self._steps["venv"])
        if diagnosis := judge.explain_failure(venv, self._steps["venv"], self._package):
            yield Check(
                name="install",
                required=True,
                status=_status(diagnosis),
                message="uv cannot make a virtual environment",
                diagnosis=diagnosis,
                seconds=venv.seconds,
            )
            return
        outcome = self._sandbox.run(self.install)
        diagnosis = judge.explain_failure(outcome, self.install, self._package)
        python = self._sandbox.machine.python
        if diagnosis and (gap := judge.explain_python_gap(self._package, self._plan, self._target, python)):
            yield Check(name="install", required=True, status="skipped", message=gap, diagnosis=diagnosis)
            return
        state = None if diagnosis else self._sandbox.look(self._cache())
        yield Check(
            name="install",
            required=True,
            status=_status(diagnosis) if diagnosis else "passed",
            message=_message(diagnosis, state, outcome),
            diagnosis=diagnosis,
            seconds=venv.seconds + outcome.seconds,
        )
        if state is not None:
            self.installed = tuple(f"{name}=={version}" for name, version in sorted(state.distributions.items()))
            yield from judge.check_installed(
                state, self._package, self._plan, self._target, outcome, strict=self._strict
            )
            self.findings += judge.find_tolerated(state, self._package, outcome, strict=self._strict)

    def _clear(self) -> Diagnosis | None:
        """Remove a `.venv` that the package has, where the daemon does; return why it refuses the package, else None.

        checkPythonVirtualEnvironment and InitPythonEnvironment, 0.5.2 to 0.6.10.
        """
        paths = self._package.digests
        if not any(path.startswith(".venv/") for path in paths):
            return None
        if ".venv/bin/python" not in paths and not self._plan.release.replaces_venv:
            return judge.explain_refused_venv(self._plan.release)
        if ".venv/bin/python" in paths and ".venv/dify/plugin.json" in paths:
            return judge.explain_believed_venv()
        step = self._steps["venv"]
        self._sandbox.run(replace(step, argv=("rm", "-rf", "--", str(self._sandbox.layout.virtual_environment))))
        return None

    def _start(self) -> Iterator[Check]:
        """Compile, start, and only where it does not get ready try the import whose result the daemon passes over."""
        compile_step = self._steps["compile"]
        compiled = self._sandbox.run(compile_step)
        yield judge.check_compiled(compiled, compile_step)
        if not compiled.ok and compile_step.fatal:
            yield Check(name="start", status="skipped", message="the daemon stops where a file does not compile")
            return
        yield from self._patch_sdk()
        step = self._steps["launch"]
        limit = step.total or step.silence or 0
        with self._sandbox.start(watch(step, self._sandbox.layout)) as process:
            launch = await_heartbeat(process, timeout=limit)
            borrowed = self._sandbox.find_borrowed(process) if launch.ready else ()
        attempts = self._sandbox.read_attempts()
        if borrowed:
            yield self._start_without(borrowed, step, limit)
        elif launch.ready:
            yield Check(
                name="start", status="passed", message=f"ready in {launch.seconds:.1f} s", seconds=launch.seconds
            )
            self.findings += judge.find_network_at_start(attempts)
        else:
            yield self._not_started(launch, limit, attempts)

    def _patch_sdk(self) -> Iterator[Check]:
        """Make the daemon's patches of an old SDK; their failure is passed over, as the daemon passes over it."""
        files = self._package.dependencies
        text = files.pyproject_text if self._plan.dependency_file == PYPROJECT else files.requirements
        stages = sdk.find_stages(text or "", self._plan.release.sdk_patched_below)
        if stages:
            python = str(self._sandbox.layout.python)
            argv = (python, "-c", sdk.SCRIPT, ",".join(map(str, stages)))
            yield judge.check_sdk_patch(self._sandbox.run(replace(self._steps["import"], argv=argv)))

    def _start_without(self, borrowed: Sequence[Borrowed], step: Step, limit: int) -> Check:
        """Start a plugin again, without the libraries of this machine that the image does not have."""
        names = ", ".join(each.name for each in borrowed)
        if not self._sandbox.can_hide:
            message = f"the plugin opens {names}, which the daemon's image does not have and this machine cannot hide"
            return Check(name="start", required=True, status="skipped", message=message)
        hidden = [each.path for each in borrowed]
        with self._sandbox.start(watch(step, self._sandbox.layout), hidden) as process:
            launch = await_heartbeat(process, timeout=limit)
            others = self._sandbox.find_borrowed(process) if launch.ready else ()
        if others:
            names = ", ".join(each.name for each in others)
            message = (
                f"the plugin opens {names} instead of {len(borrowed)} others that the daemon's image does not have"
            )
            return Check(name="start", required=True, status="skipped", message=message)
        if not launch.ready:
            why = explain_missing_library(names, *launch.stderr.splitlines()[-8:])
            return Check(name="start", status="failed", diagnosis=why, seconds=launch.seconds)
        self.findings.append(explain_borrowed(names))
        message = f"ready in {launch.seconds:.1f} s"
        return Check(name="start", status="passed", message=message, seconds=launch.seconds)

    def _not_started(self, launch: Launch, limit: int, attempts: Iterable[str]) -> Check:
        library, image = find_missing_library(launch.stderr), self._sandbox.image
        if library and image and library in image.libraries:
            message = f"this machine does not have {library}, which the plugin needs and the daemon's image has"
            return Check(name="start", status="skipped", message=message, seconds=launch.seconds)
        if library and image:
            why = explain_missing_library(library, *launch.stderr.splitlines()[-8:])
            return Check(name="start", status="failed", diagnosis=why, seconds=launch.seconds)
        imported = self._sandbox.run(self._steps["import"])
        return judge.check_not_started(launch, limit=limit, attempts=tuple(attempts), imported=imported)

    def _why_not_started(self) -> str | None:
        if self._foreign:
            return f"this machine is {self._sandbox.machine.architecture}, not {self._target.machine}"
        if not self._scenario.launch:
            return NOT_ASKED
        if self._distrusted:
            return self._distrusted
        return judge.explain_glibc_gap(self._package.house.wheels, self._target, self._sandbox.machine.glibc)

    def _for_target(self, step: Step) -> Step:
        """Let uv choose wheels for the target where this machine is another one; nothing else of the step changes."""
        if not self._foreign and self._sandbox.machine.glibc == self._target.glibc:
            return step
        return replace(step, argv=(*step.argv, "--python-platform", self._target.uv_platform))

    def _cache(self) -> PurePath:
        places = {
            "user": self._sandbox.home / ".cache" / "uv",
            "plugin": self._sandbox.layout.plugin / ".uv-cache",
            "shared": self._sandbox.layout.working_path / ".uv-cache",
        }
        return places[self._plan.release.cache]


def _status(diagnosis: Diagnosis) -> Literal["failed", "skipped"]:
    """Say what a failed install means: a fault of this machine says nothing about the package."""
    return "skipped" if page(diagnosis.slug).exit_code is Exit.MACHINE else "failed"


def _message(diagnosis: Diagnosis | None, state: State | None, outcome: Outcome) -> str:
    if state is not None:
        return f"{len(state.distributions)} distributions in {outcome.seconds:.1f} s"
    return diagnosis.message if diagnosis and _status(diagnosis) == "skipped" else ""

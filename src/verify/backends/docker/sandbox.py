"""One sealed container in which a daemon release's steps run: a `verify.steps.Sandbox`."""

import json
import threading
from collections.abc import Collection
from contextlib import AbstractContextManager
from importlib.resources import files
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Final

from ....difypkg.daemons import Layout, Step
from ....difypkg.diagnosis import Diagnosis, DifyoffError
from ....sandbox.container import RUNG, Container, ContainerCommand
from ....sandbox.engine import DaemonImage
from ....sandbox.output import Running
from ....sandbox.process import Outcome
from ....sandbox.proof import IsolationProof
from ....sandbox.tar import list_files
from ... import look
from ...borrowed import Borrowed
from ...package import Package
from ...report import IsolationRecord
from ...steps import Machine
from . import probe

_WORKING_PATH: Final = PurePosixPath("/app/storage/cwd")  # PLUGIN_WORKING_PATH of Dify's compose file
_MEMORY: Final = "4g"
_PROCESSES: Final = 1024
_PATIENCE: Final = 60  # seconds for our own questions to the container


class DaemonSandbox:
    """A container of the daemon's image without a network, and proved so; `life` is the seconds after which it ends.

    Once `stopped` is set, what waits in another thread raises `KeyboardInterrupt`. Raises `DifyoffError` on entering:
    `network-not-isolated`, `image-unusable`, or what `sandbox.container.Container` raises.
    """

    def __init__(
        self, image: DaemonImage, *, life: int, platform: str | None = None, stopped: threading.Event | None = None
    ) -> None:
        self._container = Container(
            image, life=life, memory=_MEMORY, processes=_PROCESSES, platform=platform, cancel=stopped
        )
        self._layout: Layout | None = None

    def __enter__(self) -> "DaemonSandbox":
        self._container.__enter__()
        try:
            self.facts = probe.read(self._ask(probe.SCRIPT))
            self.isolation = _record(self._container.prove_isolation(probe.PYTHON))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._container.__exit__()

    @property
    def name(self) -> str:
        """The container's name."""
        return self._container.name

    @property
    def layout(self) -> Layout:
        """The daemon's layout inside; there is none before `put`."""
        assert self._layout is not None
        return self._layout

    @property
    def home(self) -> PurePosixPath:
        """The home folder of the image's user."""
        return PurePosixPath(self.facts.home)

    image: Final = None
    can_hide: Final = False

    @property
    def machine(self) -> Machine:
        """What the image is made of."""
        return Machine(architecture=self.facts.machine, python=self.facts.python, glibc=self.facts.glibc)

    def put(self, package: Package, tree: Path) -> None:
        """Lay the package, extracted to `tree`, out where the daemon has it."""
        assert package.manifest is not None
        plugin = _WORKING_PATH / package.folder_name
        self._layout = Layout(
            plugin=plugin,
            working_path=_WORKING_PATH,
            uv=PurePosixPath(self.facts.uv_path),
            path=self.facts.path,
            entrypoint=package.manifest.entrypoint,
        )
        contents = {plugin / path: tree / path for path in package.digests}
        self._container.put(list_files(contents, above=_WORKING_PATH.parent.parent), owner=self.facts.user)

    def put_file(self, source: Path, target: PurePosixPath) -> None:
        """Copy one file in."""
        self._container.put(list_files({target: source}, above=_WORKING_PATH.parent.parent), owner=self.facts.user)

    def run(self, step: Step) -> Outcome:
        """Run a step to its end or to its limits."""
        return self._container.run(_command(step))

    def start(self, step: Step, hidden: Collection[Path] = ()) -> AbstractContextManager[Running]:
        """Start a plugin; everything that runs in the container ends on leaving. There is nothing to hide."""
        return self._container.start(_command(step))

    def find_borrowed(self, _: Running) -> tuple[Borrowed, ...]:
        """Return nothing: what is in the image is the image's."""
        return ()

    def look(self, cache: PurePath) -> look.State:
        """Look at the plugin's folder, the working folder and uv's cache, as `verify.look.look` does."""
        seen = self._look(self.layout.plugin, self.layout.working_path, cache)
        if not isinstance(seen, dict):
            return look.State(None, {}, {}, [], False, ["there is more in the working folder than can be listed"])
        return look.State(**seen)

    def read_attempts(self) -> list[str]:
        """Return what the started plugin tried to reach."""
        seen = self._look(self.layout.working_path)
        return seen if isinstance(seen, list) else []

    def _look(self, *folders: PurePath) -> Any:
        text = files("difyoff.verify").joinpath("look.py").read_text(encoding="utf-8")
        output = self._ask(text, *map(str, folders))
        try:
            return json.loads(output)
        except ValueError:  # so long that its middle was left out
            return None

    def _ask(self, script: str, *arguments: str) -> str:
        """Run a script of ours with the image's Python and return what it prints."""
        argv = (probe.PYTHON, "-I", "-S", "-c", script, *arguments)
        outcome = self._container.run(ContainerCommand(argv=argv, cwd=PurePosixPath("/"), timeout=_PATIENCE))
        if not outcome.ok:
            why = f"its {probe.PYTHON} does not run (exit code {outcome.code})"
            raise DifyoffError(probe.unusable(why, outcome.stdout, outcome.stderr))
        return outcome.stdout


def _command(step: Step) -> ContainerCommand:
    return ContainerCommand(
        argv=step.argv,
        cwd=PurePosixPath(step.cwd),
        environment=step.environment,
        inherits=step.inherits,
        timeout=step.total,
        silence=step.silence,
    )


def _record(proof: IsolationProof) -> IsolationRecord:
    """Return the record of a proof. Raises `DifyoffError` (`network-not-isolated`) where it is none."""
    if not proof.ok:
        raise DifyoffError(
            Diagnosis(
                slug="network-not-isolated",
                message="the container's network is not cut off, so nothing it shows is a proof",
                context=proof.evidence,
            )
        )
    return IsolationRecord(rung=RUNG, proved=True, host_protected=True, evidence=proof.evidence)

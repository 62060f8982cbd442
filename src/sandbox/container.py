"""A container of an image, from entering to leaving: files in, programs run in it, files out, and nothing left behind.

What testcontainers and docker-py do by themselves and must not (4.15, 7.2): a second `with_kwargs` throws the first
away, and the network comes back; a container that names no network joins that of the container we run in; Ryuk is
pulled; output of an exec has neither limit nor time-out. So there is one `with_kwargs`, and `prove_isolation` asks the
engine what it made of it, and a canary inside what it can reach.
"""

import os
import queue
import re
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from secrets import token_hex
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Final

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container as EngineContainer
from requests.exceptions import RequestException
from testcontainers.core.container import DockerContainer

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from .engine import USE_DAEMON_IMAGE, DaemonImage, connect, restrain_testcontainers, translate_errors
from .leftovers import labels
from .output import Running, collect
from .process import Outcome
from .proof import CANARY, ELSEWHERE, IsolationProof, canary_arguments, judge_canary
from .tar import Entry, list_folder, write_tar

if TYPE_CHECKING:
    from docker.types.daemon import CancellableStream

RUNG: Final = "container, network none"
"""What a report calls the isolation of a container without a network."""

_NONE: Final = "none"  # the engine's word for no network
_ENDS: Final = (*ELSEWHERE, ("172.17.0.1", 443), ("127.0.0.1", 443))  # docker0 and its own loopback are tried, too
# The kernel's own counters, of cgroup versions 2 and 1: the engine does not note every program that is killed.
_OOM_COUNTERS: Final = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_ROOT: Final = PurePosixPath("/")
_GRACE: Final = 10  # seconds between TERM and KILL
_PATIENCE: Final = 60  # seconds for our own questions to the container
_TICK: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerCommand:
    """What to run in a container: with `inherits` in the image's own environment and `environment`, else in that alone.

    `timeout` is the seconds in all, `silence` those without any output; None means the container's life.
    """

    argv: tuple[str, ...]
    cwd: PurePosixPath
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    inherits: bool = True
    timeout: int | None = None
    silence: int | None = None


class Container:
    """A container of an image; `life` is the seconds after which it ends itself.

    It has no capabilities and gets no new privileges. `network` is a network's name; without one it has none. `user` is
    the engine's word (`0:0`), None for the image's own; `memory` (`4g`) and `processes` are limits. It ends, too, when
    our process does, however that ends: its first process reads a pipe that we hold, and the engine removes it. Once
    `cancel` is set, what waits in another thread raises `KeyboardInterrupt`. Raises `DifyoffError` on entering:
    `image-unusable`, `image-wrong-architecture`, or what `translate_errors` raises.
    """

    def __init__(
        self,
        image: DaemonImage,
        *,
        life: int,
        network: str = _NONE,
        user: str | None = None,
        memory: str | None = None,
        processes: int | None = None,
        platform: str | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        self._image = image
        self._life = life
        self._settings = {
            "network": network,
            "user": user,
            "mem_limit": memory,
            "pids_limit": processes,
            "platform": platform,
        }
        self._cancel = cancel or threading.Event()
        self._started = self._ran = False
        self._lifeline: Any = None

    def __enter__(self) -> "Container":
        with self._engine_errors("bash"):
            with restrain_testcontainers():
                self._testcontainer = self._describe()
            try:
                with restrain_testcontainers():
                    self._testcontainer.start()
                self._started = True
                self._lifeline = self._engine_container.attach_socket(params={"stdin": 1, "stream": 1})
                self.run(ContainerCommand(argv=("true",), cwd=_ROOT, timeout=_PATIENCE))
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        _close(self._lifeline)
        try:
            self._testcontainer.stop()
        except APIError:  # it has ended by itself, and the engine is removing it
            with suppress(APIError, RequestException):
                self._engine_container.wait(condition="removed", timeout=_PATIENCE)
            self._testcontainer.get_docker_client().client.close()

    def _describe(self) -> DockerContainer:
        container = DockerContainer(self._image.id, docker_client_kw={"timeout": 600})
        container.image = self._image.id  # without TESTCONTAINERS_HUB_IMAGE_NAME_PREFIX
        # The first process waits for its stdin, which the engine closes when we go, and survives `end_all`.
        return container.with_command(["-c", f"read -r -t {self._life}"]).with_kwargs(
            **self._settings,
            labels=dict(labels(os.getpid())),
            entrypoint=["bash"],
            stdin_open=True,
            auto_remove=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
        )

    @property
    def _engine_container(self) -> EngineContainer:
        return self._testcontainer.get_wrapped_container()

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self._engine_container.name)

    def put(self, entries: Iterable[Entry], *, owner: tuple[int, int]) -> None:
        """Copy files in; they are streamed, never whole in memory."""
        with self._engine_errors("tar"):
            self._engine_container.put_archive("/", write_tar(entries, owner=owner))

    def copy_out(self, folder: PurePosixPath, into: Path) -> None:
        """Copy the regular files that lie directly in a folder of the container; none where there is no such folder."""
        with self._engine_errors("tar"):
            try:
                stream, _ = self._engine_container.get_archive(str(folder))
            except NotFound:
                return
            into.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=into) as archive:
                for chunk in stream:
                    archive.write(chunk)
                archive.seek(0)
                _extract_files(archive, into)

    def run(self, command: ContainerCommand) -> Outcome:
        """Run a program to its end or to its limits."""
        execution = self._execute(command)
        seen = collect(execution.output(), timeout=None, silence=command.silence)
        if seen.stopped:
            self.end_all()
        code = -9 if seen.stopped else execution.code()
        self._ran = self._ran or code == 0
        timed_out = command.timeout is not None and seen.seconds >= command.timeout
        if code < 0 and not seen.stopped and not timed_out:
            self._refuse_if_killed(command.argv[0])
        return Outcome(
            code=code,
            stdout=seen.stdout,
            stderr=seen.stderr,
            seconds=seen.seconds,
            stopped=seen.stopped or ("timeout" if timed_out else None),
        )

    @contextmanager
    def start(self, command: ContainerCommand) -> Iterator[Running]:
        """Start a program, its stdin a pipe kept open; everything that runs in the container ends on leaving."""
        execution = self._execute(command, stdin=True)
        process = Running(execution.output(), execution.poll)
        try:
            yield process
        finally:
            if (process.poll() or 0) < 0:
                self._refuse_if_killed(command.argv[0])
            self.end_all()

    def end_all(self) -> None:
        """End every process but the container's first."""
        with self._engine_errors("kill"):
            self._engine_container.exec_run(["sh", "-c", "kill -KILL -1"])

    def prove_isolation(self, python: str) -> IsolationProof:
        """Ask the engine which network it gave, and a canary, run by the image's `python`, what it can reach."""
        with self._engine_errors("the canary"):
            self._engine_container.reload()
        mode = self._engine_container.attrs["HostConfig"]["NetworkMode"]
        networks = sorted(self._engine_container.attrs["NetworkSettings"]["Networks"] or {})
        doubts = [] if mode == _NONE else [f"the engine says network mode {mode!r}"]
        if networks not in ([], [_NONE]):
            doubts.append(f"the engine says networks {', '.join(networks)}")
        facts = (f"engine: network mode {mode}",)
        canary = CANARY.read_text(encoding="utf-8")
        argv = (python, "-I", "-S", "-c", canary, *canary_arguments(_ENDS))
        outcome = self.run(ContainerCommand(argv=argv, cwd=_ROOT, timeout=_PATIENCE))
        if not outcome.ok:
            failure = f"the canary did not run: exit code {outcome.code}"
            return IsolationProof(rung=RUNG, facts=facts, failure=failure)
        return judge_canary(outcome.stdout, rung=RUNG, ends=_ENDS, facts=facts, doubts=doubts)

    def _execute(self, command: ContainerCommand, *, stdin: bool = False) -> "_Execution":
        limit = command.timeout or self._life
        variables = [f"{name}={value}" for name, value in command.environment.items()]
        exactly = () if command.inherits else ("env", "-i", *variables)
        # coreutils' own limit: it holds, too, where nobody waits for the end any more.
        argv = ("timeout", "-k", str(_GRACE), str(limit), *exactly, *command.argv)
        with self._engine_errors(command.argv[0]):
            return _Execution(
                self._testcontainer,
                replace(command, argv=argv, environment=command.environment if command.inherits else {}),
                stdin=stdin,
                cancel=self._cancel,
            )

    def _refuse_if_killed(self, program: str) -> None:
        """Raise `DifyoffError` where a program failed because its container was out of memory or has ended."""
        with self._engine_errors(program):
            counters = self._engine_container.exec_run(
                ["sh", "-c", f"cat {' '.join(_OOM_COUNTERS)} 2>/dev/null"]
            ).output
        assert isinstance(counters, bytes)
        if re.search(rb"^oom_kill [1-9]", counters, re.MULTILINE):
            raise DifyoffError(
                Diagnosis(
                    slug="out-of-memory",
                    message=f"{program} was killed because the memory ran out, so nothing is known of the package",
                    hint="Give the engine's machine more memory, and run it again.",
                )
            )

    @contextmanager
    def _engine_errors(self, program: str) -> Iterator[None]:
        """Turn what the engine says while `program` is its business into a `DifyoffError`."""
        with translate_errors(f"a container of {self._image.reference}"):
            try:
                yield
            except APIError as error:
                if self._is_gone(error):
                    raise DifyoffError(self._ended(program)) from error
                raise

    def _is_gone(self, error: APIError) -> bool:
        if not self._started:
            return False
        try:
            self._engine_container.reload()
        except NotFound:
            return True
        return error.status_code in (404, 409) or self._engine_container.status != "running"

    def _ended(self, program: str) -> Diagnosis:
        if self._ran:
            return Diagnosis(
                slug="container-ended",
                message=f"the container was ended from outside while {program} ran in it",
                hint="Run it again; the engine's log says who ended it.",
            )
        machine = self._testcontainer.get_docker_client().client.version()["Arch"]
        if machine != self._image.architecture:
            return Diagnosis(
                slug="image-wrong-architecture",
                message=f"the engine's machine ({machine}) cannot run {self._image.reference},"
                f" which is made for {self._image.architecture}",
            )
        return Diagnosis(
            slug="image-unusable",
            message=f"a container of {self._image.reference} ends as soon as it is started, so nothing can run in it",
            hint=USE_DAEMON_IMAGE,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to run in an image, as root without capabilities.

    `folder` is copied to `/PREFIX`, its modes and links kept; the regular files in `output`, a path inside, are what
    the job is for. `limit` is in seconds. `platform` is Docker's (`linux/arm64`), None for the engine's own.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    prefix: PurePosixPath
    cwd: PurePosixPath
    output: PurePosixPath
    limit: int
    platform: str | None = None


def run_job(image: DaemonImage, job: Job, *, into: Path) -> Outcome:
    """Run a job in a container on a network of its own, and copy what it leaves in its output folder to `into`.

    Container and network go when it ends; killed with -9 we leave a network, which `cache gc` removes. Raises
    `DifyoffError`: what `Container` and `connect` raise.
    """
    command = ContainerCommand(argv=job.argv, environment=job.environment, cwd=job.cwd, timeout=job.limit)
    life = job.limit + _PATIENCE
    with (
        connect() as client,
        _network(client) as network,
        Container(image, life=life, network=network, user="0:0", platform=job.platform) as container,
    ):
        container.put(list_folder(job.folder, job.prefix), owner=(0, 0))
        outcome = container.run(command)
        if outcome.ok:
            container.copy_out(job.output, into)
    return outcome


@contextmanager
def _network(client: docker.DockerClient) -> Iterator[str]:
    network = client.networks.create(f"difyoff-build-{token_hex(6)}", driver="bridge", labels=dict(labels(os.getpid())))
    try:
        yield str(network.name)
    finally:
        with suppress(APIError):
            network.remove()


class _Execution:
    """One program run in a container, its output read by a thread: docker-py waits for it without a limit."""

    def __init__(
        self, container: DockerContainer, command: ContainerCommand, *, stdin: bool, cancel: threading.Event
    ) -> None:
        self._cancel = cancel
        self._api = container.get_docker_client().client.api
        created = self._api.exec_create(
            container.get_wrapped_container().id,
            list(command.argv),
            environment=dict(command.environment),
            workdir=str(command.cwd),
            stdin=stdin,
        )
        self._id = created["Id"]
        self._queue: queue.Queue[tuple[bytes | None, bytes | None] | None] = queue.Queue(maxsize=64)
        self._ended = False
        stream = self._api.exec_start(self._id, stream=True, demux=True)
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: "CancellableStream[tuple[bytes | None, bytes | None]]") -> None:
        with suppress(Exception):  # whatever breaks the stream, the exit code tells
            for piece in stream:
                self._queue.put(piece)
        _close(stream)
        self._queue.put(None)

    def output(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield what it writes to stdout and stderr, and two empty pieces after each tick of nothing."""
        while True:
            if self._cancel.is_set():
                raise KeyboardInterrupt
            try:
                piece = self._queue.get(timeout=_TICK)
            except queue.Empty:
                yield b"", b""
                continue
            if piece is None:
                self._ended = True
                return
            yield piece[0] or b"", piece[1] or b""

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self.code() if self._ended else None

    def code(self) -> int:
        """Return the exit code, negative for a signal; -9 where the engine no longer knows."""
        with suppress(APIError):
            code = self._api.exec_inspect(self._id)["ExitCode"]
            if code is not None:
                return 128 - code if code > 128 else int(code)
        return -9


def _extract_files(archive: IO[bytes], into: Path) -> None:
    with tarfile.open(fileobj=archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if member.isreg() and len(path.parts) == 2 and (content := tar.extractfile(member)):
                with content, (into / path.name).open("wb") as file:
                    shutil.copyfileobj(content, file)


def _close(stream: Any) -> None:
    """Close what docker-py hands out, and the connection under it, which its own `close` leaves open."""
    with suppress(Exception):
        stream._response.close()

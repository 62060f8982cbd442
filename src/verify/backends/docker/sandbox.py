"""One container without a network in which a daemon release's steps run: a `verify.steps.Sandbox`.

What testcontainers and docker-py do by themselves and must not (4.15, 7.2): a second `with_kwargs` throws the first
away, and the network comes back; a container that names no network joins that of the container we run in; Ryuk is
pulled; output of an exec has neither limit nor time-out. So there is one `with_kwargs`, the engine is asked afterwards
what it made of it, and nobody inside can resolve or connect, or the verdict is `error`.
"""

import json
import os
import queue
import re
import tarfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path, PurePath, PurePosixPath
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

from docker.errors import APIError
from docker.models.containers import Container
from requests.exceptions import RequestException
from testcontainers.core.container import DockerContainer

from ....difypkg.daemons import Layout, Step
from ....difypkg.diagnosis import Diagnosis, DifyoffError
from ....sandbox.engine import DaemonImage, own_testcontainers, told
from ....sandbox.leftovers import labels
from ....sandbox.process import Outcome
from ... import look
from ...package import Package
from ...report import IsolationRecord
from ...steps import Machine
from . import probe

if TYPE_CHECKING:
    from docker.types.daemon import CancellableStream

RUNG: Final = "container, network none"

_WORKING_PATH: Final = PurePosixPath("/app/storage/cwd")  # PLUGIN_WORKING_PATH of Dify's compose file
_MEMORY: Final = "4g"
# The kernel's own counters, of cgroup versions 2 and 1: the engine does not note every program that is killed.
_OOM_COUNTERS: Final = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_LIMIT: Final = 8 << 20  # bytes of output kept
_TAIL: Final = 1024
_GRACE: Final = 10  # seconds between TERM and KILL
_PATIENCE: Final = 60  # seconds for our own questions to the container
_CHUNK: Final = 1 << 20
_CANARY_NAME: Final = "example.com"
_CANARY_ADDRESSES: Final = ("192.0.2.1", "2001:db8::1", "172.17.0.1", "127.0.0.1")  # RFC 5737, RFC 3849, docker0, own
_CUT: Final = frozenset({"ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EPERM", "EACCES"})
# The kernel puts these, which are down, into every network namespace once their module is loaded.
_TUNNELS: Final = re.compile(r"(ip6?_?)?(tunl|gre|gretap|erspan|vti|sit|tnl)0")


class DaemonSandbox:
    """A container of the daemon's image, from entering to leaving; `life` is the seconds after which it ends itself.

    It ends, too, when our process does, however that ends: its first process reads a pipe that we hold, and the engine
    removes it. Once `stopped` is set, what waits in another thread raises `KeyboardInterrupt`. Raises `DifyoffError`
    on entering: `network-not-isolated`, `image-unusable`, or what `told` raises.
    """

    def __init__(
        self, image: DaemonImage, *, life: int, platform: str | None = None, stopped: threading.Event | None = None
    ) -> None:
        self._image = image
        self._life = life
        self._platform = platform
        self._stopped = stopped or threading.Event()
        self._layout: Layout | None = None
        self._lifeline: Any = None

    def __enter__(self) -> "DaemonSandbox":
        with told(f"a container of {self._image.reference}"):
            with own_testcontainers():
                self._testcontainer = self._described()
            try:
                with own_testcontainers():
                    self._testcontainer.start()
                self._lifeline = self._container.attach_socket(params={"stdin": 1, "stream": 1})
                self.isolation = self._prove_isolation()
                self.facts = probe.read(self._ask(probe.SCRIPT))
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
                self._container.wait(condition="removed", timeout=_PATIENCE)
            self._testcontainer.get_docker_client().client.close()

    def _described(self) -> DockerContainer:
        container = DockerContainer(self._image.id, docker_client_kw={"timeout": 600})
        container.image = self._image.id  # without TESTCONTAINERS_HUB_IMAGE_NAME_PREFIX
        # The first process waits for its stdin, which the engine closes when we go, and survives `end_all`.
        return container.with_command(["-c", f"read -r -t {self._life}"]).with_kwargs(
            network="none",
            labels=dict(labels(os.getpid())),
            entrypoint=["bash"],
            stdin_open=True,
            auto_remove=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            pids_limit=1024,
            mem_limit=_MEMORY,
            platform=self._platform,
        )

    @property
    def _container(self) -> Container:
        container = self._testcontainer.get_wrapped_container()
        assert container is not None
        return container

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self._container.name)

    @property
    def layout(self) -> Layout:
        """The daemon's layout inside; there is none before `put`."""
        assert self._layout is not None
        return self._layout

    @property
    def home(self) -> PurePosixPath:
        """The home folder of the image's user."""
        return PurePosixPath(self.facts.home)

    @property
    def machine(self) -> Machine:
        """What the image is made of."""
        return Machine(architecture=self.facts.machine, python=self.facts.python, glibc=self.facts.glibc)

    def put(self, package: Package, tree: Path) -> None:
        """Lay the package, extracted to `tree`, out where the daemon has it; its files are streamed."""
        assert package.manifest is not None
        plugin = _WORKING_PATH / package.folder_name
        self._layout = Layout(
            plugin=plugin,
            working_path=_WORKING_PATH,
            uv=PurePosixPath(self.facts.uv_path),
            path=self.facts.path,
            entrypoint=package.manifest.entrypoint,
        )
        self._put({plugin / path: tree / path for path in package.digests})

    def put_file(self, source: Path, target: PurePosixPath) -> None:
        """Copy one file in."""
        self._put({target: source})

    def run(self, step: Step) -> Outcome:
        """Run a step to its end or to its limits."""
        execution = self._execute(step)
        started = heard = monotonic()
        stdout, stderr = _Kept(), _Kept()
        stopped: Literal["timeout", "silence"] | None = None
        for out, err in execution.output():
            now = monotonic()
            heard = now if out or err else heard
            stdout.add(out)
            stderr.add(err)
            if step.silence is not None and now - heard >= step.silence:
                stopped = "silence"
                self.end_all()
                break
        seconds = monotonic() - started
        code = -9 if stopped else execution.code()
        if not stopped and step.total is not None and seconds >= step.total:
            stopped = "timeout"
        if code < 0 and not stopped:
            self._refuse_if_killed(step.argv[0])
        return Outcome(code=code, stdout=stdout.text(), stderr=stderr.text(), seconds=seconds, stopped=stopped)

    @contextmanager
    def start(self, step: Step) -> Iterator["ContainerProcess"]:
        """Start a plugin; everything that runs in the container ends on leaving."""
        process = ContainerProcess(self._execute(step, stdin=True))
        try:
            yield process
        finally:
            if (process.poll() or 0) < 0:
                self._refuse_if_killed(step.argv[0])
            self.end_all()

    def look(self, cache: PurePath) -> look.State:
        """Look at the plugin's folder, the working folder and uv's cache, as `verify.look.look` does."""
        text = files("difyoff.verify").joinpath("look.py").read_text(encoding="utf-8")
        output = self._ask(text, str(self.layout.plugin), str(self.layout.working_path), str(cache))
        return look.State(**json.loads(output))

    def end_all(self) -> None:
        """End every process but the container's first."""
        with told("a container"):
            self._container.exec_run(["sh", "-c", "kill -KILL -1"])

    def _execute(self, step: Step, *, stdin: bool = False) -> "_Execution":
        limit = step.total or self._life
        exactly = () if step.inherits else ("env", "-i", *_assignments(step.environment))
        with told("a container"):
            return _Execution(
                self._testcontainer,
                ("timeout", "-k", str(_GRACE), str(limit), *exactly, *step.argv),
                environment=step.environment if step.inherits else {},
                workdir=str(step.cwd),
                stdin=stdin,
                stopped=self._stopped,
            )

    def _ask(self, script: str, *arguments: str) -> str:
        """Run a script of ours with the image's Python and return what it prints."""
        argv = (probe.PYTHON, "-I", "-S", "-c", script, *arguments)
        step = Step(kind="import", argv=argv, cwd=PurePosixPath("/"), total=_PATIENCE)
        outcome = self.run(step)
        if not outcome.ok:
            why = f"its {probe.PYTHON} does not run (exit code {outcome.code})"
            raise DifyoffError(probe.unusable(why, outcome.stdout, outcome.stderr))
        return outcome.stdout

    def _prove_isolation(self) -> IsolationRecord:
        """Ask the engine which network it gave, and a canary inside what it can reach."""
        self._container.reload()
        mode = self._container.attrs["HostConfig"]["NetworkMode"]
        networks = sorted(self._container.attrs["NetworkSettings"]["Networks"] or {})
        canary = files("difyoff.sandbox").joinpath("canary.py").read_text(encoding="utf-8")
        ends = (word for address in _CANARY_ADDRESSES for word in (address, "443"))
        seen = json.loads(self._ask(canary, _CANARY_NAME, *ends))
        connected = dict(zip(_CANARY_ADDRESSES, seen["connect"], strict=True))
        reached = [] if mode == "none" else [f"the engine says network mode {mode!r}"]
        if networks not in ([], ["none"]):
            reached.append(f"the engine says networks {', '.join(networks)}")
        if interfaces := [name for name in seen["interfaces"] if name != "lo" and not _TUNNELS.fullmatch(name)]:
            reached.append(f"inside is {', '.join(interfaces)}")
        if seen["resolve"] is None:
            reached.append(f"{_CANARY_NAME} resolves")
        for address, error in connected.items():
            # The loopback is its own, and nobody listens; from anywhere else a refusal would be an answer.
            if error not in (_CUT | {"ECONNREFUSED"} if address == "127.0.0.1" else _CUT):
                reached.append(f"{address}: {error or 'connected'}")
        if reached:
            raise DifyoffError(
                Diagnosis(
                    slug="network-not-isolated",
                    message="the container's network is not cut off, so nothing it shows is a proof",
                    context=tuple(reached),
                )
            )
        return IsolationRecord(
            rung=RUNG,
            proved=True,
            host_protected=True,
            evidence=(
                f"engine: network mode {mode}",
                f"interfaces: {', '.join(seen['interfaces'])}",
                f"resolve: {seen['resolve']}",
                *(f"connect {address}: {error}" for address, error in connected.items()),
            ),
        )

    def _refuse_if_killed(self, program: str) -> None:
        """Raise `DifyoffError` where a program failed because its container was out of memory or has ended."""
        try:
            counters = self._container.exec_run(["sh", "-c", f"cat {' '.join(_OOM_COUNTERS)} 2>/dev/null"]).output
        except APIError as error:  # 404 removed, 409 not running
            if error.status_code not in (404, 409):
                raise
            raise DifyoffError(
                Diagnosis(
                    slug="container-ended",
                    message=f"the container was ended from outside while {program} ran in it",
                    hint="verify again; see in the engine's log who ended it",
                )
            ) from error
        assert isinstance(counters, bytes)
        if re.search(rb"^oom_kill [1-9]", counters, re.MULTILINE):
            raise DifyoffError(
                Diagnosis(
                    slug="out-of-memory",
                    message=f"{program} was ended for want of memory, so it is not known whether the package is good",
                    hint="give the engine's machine more memory, and verify again",
                )
            )

    def _put(self, contents: Mapping[PurePosixPath, Path]) -> None:
        with told("a container"):
            self._container.put_archive("/", _tar(contents, owner=self.facts.user, above=_WORKING_PATH.parent.parent))


class ContainerProcess:
    """A plugin that was started in a container; a `verify.launch.Process`."""

    def __init__(self, execution: "_Execution") -> None:
        self._execution = execution
        self._output = execution.output()
        self._stderr = b""

    @property
    def stderr_tail(self) -> str:
        """The last 1024 bytes of stderr."""
        return _text(self._stderr)

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._execution.code() if self._execution.ended else None

    def lines(self, *, timeout: float) -> Iterator[str]:
        """Yield the lines of stdout until it ends. Raises `TimeoutError` after `timeout` seconds."""
        deadline = monotonic() + timeout
        rest = b""
        for out, err in self._output:
            self._stderr = (self._stderr + err)[-_TAIL:]
            *whole, rest = (rest + out).split(b"\n")
            yield from map(_text, whole)
            rest = rest[-_LIMIT:]
            if monotonic() >= deadline:
                raise TimeoutError
        if rest:
            yield _text(rest)


class _Execution:
    """One program run in a container, its output read by a thread: docker-py waits for it without a limit."""

    def __init__(
        self,
        container: DockerContainer,
        argv: tuple[str, ...],
        *,
        environment: Mapping[str, str],
        workdir: str,
        stdin: bool,
        stopped: threading.Event,
    ) -> None:
        self._stopped = stopped
        self._api = container.get_docker_client().client.api
        created = self._api.exec_create(
            container.get_container_id(), list(argv), environment=dict(environment), workdir=workdir, stdin=stdin
        )
        self._id = created["Id"]
        self._queue: queue.Queue[tuple[bytes | None, bytes | None] | None] = queue.Queue(maxsize=64)
        self.ended = False
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
            if self._stopped.is_set():
                raise KeyboardInterrupt
            try:
                piece = self._queue.get(timeout=0.5)
            except queue.Empty:
                yield b"", b""
                continue
            if piece is None:
                self.ended = True
                return
            yield piece[0] or b"", piece[1] or b""

    def code(self) -> int:
        """Return the exit code, negative for a signal; -9 where the engine no longer knows."""
        with suppress(APIError):
            code = self._api.exec_inspect(self._id)["ExitCode"]
            if code is not None:
                return 128 - code if code > 128 else int(code)
        return -9


class _Kept:
    """The head and the tail of a stream, `_LIMIT` bytes in all."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail: deque[int] | None = None

    def add(self, data: bytes) -> None:
        room = max(_LIMIT // 2 - len(self._head), 0)
        self._head += data[:room]
        if data[room:]:
            self._tail = self._tail or deque(maxlen=_LIMIT // 2)
            self._tail.extend(data[room:])

    def text(self) -> str:
        return _text(bytes(self._head)) + (_text(bytes(self._tail)) if self._tail else "")


def _tar(contents: Mapping[PurePosixPath, Path], *, owner: tuple[int, int], above: PurePosixPath) -> Iterator[bytes]:
    """Yield a tar of files with the folders they need below `above`, plain modes, one owner."""
    folders = {folder for path in contents for folder in path.parents if above in folder.parents}
    for folder in sorted(folders):
        yield _header(folder, owner, kind=tarfile.DIRTYPE, mode=0o755)
    for path, source in contents.items():
        with source.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            yield _header(path, owner, kind=tarfile.REGTYPE, mode=0o644, size=size)
            while chunk := stream.read(_CHUNK):
                yield chunk
        yield b"\0" * (-size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _header(path: PurePosixPath, owner: tuple[int, int], *, kind: bytes, mode: int, size: int = 0) -> bytes:
    info = tarfile.TarInfo(str(path.relative_to("/")))
    info.type, info.mode, info.size = kind, mode, size
    info.uid, info.gid = owner
    return info.tobuf(tarfile.PAX_FORMAT)


def _close(stream: Any) -> None:
    """Close what docker-py hands out, and the connection under it, which its own `close` leaves open."""
    with suppress(Exception):
        stream._response.close()


def _assignments(environment: Mapping[str, str]) -> Iterator[str]:
    return (f"{name}={value}" for name, value in environment.items())


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")

"""The one subprocess door: a child has exactly the environment it is given, and its whole group ends with it.

Every child leads a session of its own, so that what it started in turn (a build backend's compiler, a plugin's helpers)
is reached by one signal. POSIX only.
"""

import logging
import os
import selectors
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Final, Literal

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.redaction import redact

_log = logging.getLogger(__name__)

_GRACE: Final = 2.0  # seconds between TERM and KILL
_TICK: Final = 0.1  # seconds between two looks at whether the child has ended while its pipes stay open
_CHUNK: Final = 1 << 16
_LONGEST_LINE: Final = 1 << 20  # bytes; a child that never writes a newline must not fill the memory
_STDERR_TAIL: Final = 1024  # bytes, as much as the daemon keeps of a plugin's stderr


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run: `environment` is all that the child sees, nothing is inherited.

    A bare program name is looked up on that environment's `PATH`. `timeout` is the seconds in all, `silence` the
    seconds without any output; None means no limit.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path | None = None
    timeout: float | None = None
    silence: float | None = None
    umask: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended: exit `code` (minus the signal's number when a signal ended it) and its output.

    Output is UTF-8 with other bytes as `\\xNN`; where it was longer than the limit, a line says how much is left out.
    """

    code: int
    stdout: str
    stderr: str
    seconds: float
    stopped: Literal["timeout", "silence"] | None = None

    @property
    def ok(self) -> bool:
        """Whether the command ended by itself with code 0."""
        return self.code == 0 and self.stopped is None


class _Lines:
    """Cuts a stream of bytes into lines of text, without their ends."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that `data` completes; no data means the end of the stream."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (not data or len(self._rest) > _LONGEST_LINE):
            whole, self._rest = [*whole, self._rest], b""
        for line in whole:
            yield _text(line.removesuffix(b"\r"))


class _Capture:
    """Keeps the head and the tail of a stream, `limit` bytes in all."""

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * self._half:  # trimmed now and then only, so that each byte is moved at most twice
            self._trim()

    def text(self) -> str:
        self._trim()
        gap = f"\n[{self._dropped} bytes left out]\n".encode() if self._dropped else b""
        return _text(bytes(self._head + gap + self._tail))

    def _trim(self) -> None:
        excess = max(len(self._tail) - self._half, 0)
        del self._tail[:excess]
        self._dropped += excess


def run(
    command: Command,
    *,
    on_line: Callable[[str], None] | None = None,
    limit: int = 8 << 20,
    cancel: threading.Event | None = None,
) -> Outcome:
    """Run a command to its end.

    `on_line` gets every line of stdout and stderr as it comes. At most `limit` bytes of each stream are kept, head and
    tail. The child's whole group is ended when it stops, when a time limit passes, and on any exception, Ctrl-C
    included. Once `cancel` is set, which another thread does, it is as if Ctrl-C had reached this one. Raises
    `DifyoffError` (`command-not-started`) when there is no such program or it cannot be run.
    """
    started = heard = monotonic()
    stopped: Literal["timeout", "silence"] | None = None
    with _spawn(command, stdin=subprocess.DEVNULL) as process:
        stdout, stderr = _Capture(limit), _Capture(limit)
        sinks = {process.stdout: (stdout, _Lines()), process.stderr: (stderr, _Lines())}
        for stream, data in _output(process):
            now = monotonic()
            _raise_if(cancel)
            if stream is not None:
                heard = now
                capture, lines = sinks[stream]
                capture.feed(data)
                if on_line:
                    for line in lines.feed(data):
                        on_line(line)
            stopped = _limit_passed(command, total=now - started, quiet=now - heard)
            if stopped:
                break
    outcome = Outcome(
        code=process.returncode,
        stdout=stdout.text(),
        stderr=stderr.text(),
        seconds=monotonic() - started,
        stopped=stopped,
    )
    words = redact(" ".join(" ".join(command.argv).split()))
    _log.debug("%s  (%s after %.2f s)", words, stopped or f"exit {outcome.code}", outcome.seconds)
    return outcome


class Running:
    """A child that runs on while we listen to it; its stdin is a pipe that stays open."""

    def __init__(self, process: subprocess.Popen[bytes], cancel: threading.Event | None = None) -> None:
        self._process = process
        self._cancel = cancel
        self._output = _output(process)
        self._lines = _Lines()
        self._read: deque[str] = deque()  # a caller that stops listening finds the rest of what was read here
        self._stderr = b""

    @property
    def stderr_tail(self) -> str:
        """The last 1024 bytes of stderr, as far as it was read while listening to stdout."""
        return _text(self._stderr)

    def poll(self) -> int | None:
        """Return the exit code, or None while the child runs."""
        return self._process.poll()

    def lines(self, *, timeout: float) -> Iterator[str]:
        """Yield the lines of stdout until the child ends.

        Raises `TimeoutError` once `timeout` seconds have passed since the first line was asked for, and
        `KeyboardInterrupt` once `cancel` is set.
        """
        deadline = monotonic() + timeout
        yield from self._waiting()
        for stream, data in self._output:
            _raise_if(self._cancel)
            if stream is self._process.stdout:
                self._read.extend(self._lines.feed(data))
                yield from self._waiting()
            elif stream is self._process.stderr:
                self._stderr = (self._stderr + data)[-_STDERR_TAIL:]
            if monotonic() >= deadline:
                raise TimeoutError

    def _waiting(self) -> Iterator[str]:
        while self._read:
            yield self._read.popleft()


@contextmanager
def start(command: Command, *, cancel: threading.Event | None = None) -> Iterator[Running]:
    """Start a long-lived child and end its whole group on leaving; the command's time limits are not looked at.

    Raises `DifyoffError` (`command-not-started`) when there is no such program or it cannot be run.
    """
    with _spawn(command, stdin=subprocess.PIPE) as process:
        yield Running(process, cancel)


def _raise_if(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise KeyboardInterrupt


@contextmanager
def _spawn(command: Command, *, stdin: int) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            command.argv,
            env=dict(command.environment),
            cwd=command.cwd,
            umask=-1 if command.umask is None else command.umask,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        if command.cwd is not None and not command.cwd.is_dir():
            raise  # our own mistake, not the program's
        raise DifyoffError(
            Diagnosis(
                slug="command-not-started",
                message=f"{command.argv[0]} cannot be started: {error.strerror}",
                context=(" ".join(command.argv),),
            )
        ) from error
    try:
        yield process
    finally:
        _end(process)


def _output(process: subprocess.Popen[bytes]) -> Iterator[tuple[IO[bytes] | None, bytes]]:
    """Yield what the child writes as (stream, data), `b""` at a stream's end, and (None, `b""`) when a tick was quiet.

    Ends when the child has ended and its pipes are empty. Whoever of its group still holds them then is ended first,
    and one who left the group is not waited for.
    """
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ, pipe)
        while True:
            ended = process.poll() is not None
            if ended:
                _signal(process, signal.SIGKILL)
            elif not selector.get_map():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_TICK)
            ready = selector.select(_TICK) if selector.get_map() else []
            if ended and not ready:
                return
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                yield key.data, data
            if not ready:
                yield None, b""


def _limit_passed(command: Command, *, total: float, quiet: float) -> Literal["timeout", "silence"] | None:
    if command.timeout is not None and total >= command.timeout:
        return "timeout"
    if command.silence is not None and quiet >= command.silence:
        return "silence"
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child's whole group, politely first, and reap the child."""
    try:
        if process.poll() is None:
            _signal(process, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
    finally:
        _signal(process, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            _close(pipe)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # PermissionError: what is left of the group runs as another user, or (macOS) is a zombie.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with suppress(BrokenPipeError):
            pipe.close()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")

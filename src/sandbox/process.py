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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.redaction import redact
from .output import Running, Stopped, collect
from .signals import keep_exit_codes

_log = logging.getLogger(__name__)

_GRACE: Final = 2.0  # seconds between TERM and KILL
_TICK: Final = 0.1  # seconds between two looks at whether the child has ended while its pipes stay open
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run: `environment` is all that the child sees, nothing is inherited.

    A bare program name is looked up on that environment's `PATH`. `timeout` is the seconds in all, `silence` the
    seconds without any output; None means no limit. `shown` is what the log has in place of `argv`.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path | None = None
    timeout: float | None = None
    silence: float | None = None
    umask: int | None = None
    shown: tuple[str, ...] | None = None

    def __str__(self) -> str:
        words = (word if "\n" not in word else "…" for word in self.shown or self.argv)
        return redact(" ".join(" ".join(words).split()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended: exit `code` (minus the signal's number when a signal ended it) and its output.

    Output is UTF-8 with other bytes as `\\xNN`; where it was longer than the limit, a line says how much is left out.
    """

    code: int
    stdout: str
    stderr: str
    seconds: float
    stopped: Stopped | None = None

    @property
    def ok(self) -> bool:
        """Whether the command ended by itself with code 0."""
        return self.code == 0 and self.stopped is None


def run(command: Command, *, cancel: threading.Event | None = None) -> Outcome:
    """Run a command to its end.

    At most 8 MiB of each stream are kept, head and tail. The child's whole group is ended when it stops, when a time
    limit passes, and on any exception, Ctrl-C included. Once `cancel` is set, which another thread does, it is as if
    Ctrl-C had reached this one. Raises `DifyoffError` (`command-not-started`) when there is no such program or it
    cannot be run.
    """
    with _spawn(command, stdin=subprocess.DEVNULL) as process:
        seen = collect(_output(process, cancel), timeout=command.timeout, silence=command.silence)
    outcome = Outcome(
        code=process.returncode, stdout=seen.stdout, stderr=seen.stderr, seconds=seen.seconds, stopped=seen.stopped
    )
    _log.debug("%s  (%s after %.2f s)", command, outcome.stopped or f"exit {outcome.code}", outcome.seconds)
    return outcome


@contextmanager
def start(command: Command, *, cancel: threading.Event | None = None) -> Iterator[Running]:
    """Start a long-lived child, its stdin a pipe that stays open, and end its whole group on leaving.

    The command's time limits are not looked at. Once `cancel` is set, listening raises `KeyboardInterrupt`. Raises
    `DifyoffError` (`command-not-started`) when there is no such program or it cannot be run.
    """
    with _spawn(command, stdin=subprocess.PIPE) as process:
        _log.debug("%s  (started)", command)
        yield Running(_output(process, cancel), process.poll, process.pid)


@contextmanager
def _spawn(command: Command, *, stdin: int) -> Iterator[subprocess.Popen[bytes]]:
    try:
        keep_exit_codes()
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


def _output(process: subprocess.Popen[bytes], cancel: threading.Event | None) -> Iterator[tuple[bytes, bytes]]:
    """Yield what the child writes to stdout and to stderr; both are empty when a tick was quiet.

    Ends when the child has ended and its pipes are empty. Whoever of its group still holds them then is ended first,
    and one who left the group is not waited for. Raises `KeyboardInterrupt` once `cancel` is set.
    """
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None
            if ended:
                _signal(process, signal.SIGKILL)
            elif not selector.get_map():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_TICK)
            ready = selector.select(_TICK) if selector.get_map() else []
            if cancel is not None and cancel.is_set():
                raise KeyboardInterrupt
            if ended and not ready:
                return
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                yield (data, b"") if key.fileobj is process.stdout else (b"", data)
            if not ready:
                yield b"", b""


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

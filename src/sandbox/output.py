"""What a running program writes, on this machine or in a container: kept within a limit, cut into lines, waited for.

A program's output comes in pieces of bytes, (stdout, stderr); both are empty after a moment without any.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal

LIMIT: Final = 8 << 20
"""Bytes of each stream that are kept."""

_LONGEST_LINE: Final = 1 << 20  # bytes; a child that never writes a newline must not fill the memory
_STDERR_KEPT: Final = 16 << 10  # bytes
_STDERR_TAIL: Final = 1024  # bytes, as much as the daemon keeps of a plugin's stderr

Stopped = Literal["timeout", "silence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a program wrote, as text, in how many seconds, and which limit it ran into."""

    stdout: str
    stderr: str
    seconds: float
    stopped: Stopped | None


def collect(pieces: Iterator[tuple[bytes, bytes]], *, timeout: float | None, silence: float | None) -> Collected:
    """Read a program's output until it ends or runs into `timeout` or `silence` (seconds without output).

    At most `LIMIT` bytes of each stream are kept, head and tail. Whoever calls ends the program.
    """
    started = heard = monotonic()
    stopped: Stopped | None = None
    stdout, stderr = _Capture(LIMIT), _Capture(LIMIT)
    for out, err in pieces:
        now = monotonic()
        heard = now if out or err else heard
        stdout.feed(out)
        stderr.feed(err)
        if timeout is not None and now - started >= timeout:
            stopped = "timeout"
        elif silence is not None and now - heard >= silence:
            stopped = "silence"
        if stopped:
            break
    return Collected(stdout=stdout.text(), stderr=stderr.text(), seconds=monotonic() - started, stopped=stopped)


class LineTooLongError(Exception):
    """A program wrote a line that is longer than its reader takes."""


class Running:
    """A program that runs on while its output is read; `poll` gives its exit code, None while it runs.

    `pid` is its process id on this machine, None for one in a container.
    """

    def __init__(
        self, pieces: Iterator[tuple[bytes, bytes]], poll: Callable[[], int | None], pid: int | None = None
    ) -> None:
        self.poll = poll
        self.pid = pid
        self._pieces = pieces
        self._rest = b""
        self._read: deque[str] = deque()  # a caller that stops listening finds the rest of what was read here
        self._stderr = b""
        self._unended = 0  # bytes of stderr's last line

    @property
    def stderr_tail(self) -> str:
        """The last 1024 bytes of stderr, as far as it was read while listening to stdout."""
        return to_text(self._stderr[-_STDERR_TAIL:])

    @property
    def stderr(self) -> str:
        """The last 16 KiB of it."""
        return to_text(self._stderr)

    def lines(self, *, timeout: float, longest: int | None = None) -> Iterator[str]:
        """Yield the lines of stdout, without their ends, until the program ends.

        Raises `TimeoutError` once `timeout` seconds have passed since the first line was asked for, and
        `LineTooLongError` where a line of stdout or stderr has `longest` bytes or more; without it, lines of more than
        1 MiB are cut.
        """
        deadline = monotonic() + timeout
        yield from self._waiting()
        for out, err in self._pieces:
            self._stderr = (self._stderr + err)[-_STDERR_KEPT:]
            *whole, self._rest = (self._rest + out).split(b"\n")
            if longest is None and len(self._rest) > _LONGEST_LINE:
                whole, self._rest = [*whole, self._rest], b""
            for line in whole:
                _refuse_longer(longest, len(line))
                self._read.append(_line(line))
            yield from self._waiting()
            _refuse_longer(longest, len(self._rest))
            self._refuse_stderr(err, longest)
            if monotonic() >= deadline:
                raise TimeoutError
        if self._rest:
            rest, self._rest = self._rest, b""
            yield _line(rest)

    def _refuse_stderr(self, piece: bytes, longest: int | None) -> None:
        first, *others = piece.split(b"\n")
        _refuse_longer(longest, max(self._unended + len(first), *map(len, others), 0))
        self._unended = len(others[-1]) if others else self._unended + len(first)

    def _waiting(self) -> Iterator[str]:
        while self._read:
            yield self._read.popleft()


def _refuse_longer(longest: int | None, length: int) -> None:
    if longest is not None and length >= longest:
        raise LineTooLongError


def to_text(data: bytes) -> str:
    r"""Decode UTF-8, other bytes as `\xNN`."""
    return data.decode("utf-8", "backslashreplace")


def _line(data: bytes) -> str:
    return to_text(data.removesuffix(b"\r"))


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
        return to_text(bytes(self._head + gap + self._tail))

    def _trim(self) -> None:
        excess = max(len(self._tail) - self._half, 0)
        del self._tail[:excess]
        self._dropped += excess

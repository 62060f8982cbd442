"""Start a plugin as the daemon does, and see whether it gets ready and whether it wanted a network."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final, Protocol

from ..difypkg.daemons import Layout, Step
from .look import ATTEMPTS

# What `python -m` itself calls, behind an audit hook. The hook sees every thread and greenlet, for gevent's sockets and
# resolvers end in CPython's own; it does not see a library in C that makes its own sockets.
_WATCH: Final = r"""
import os, runpy, socket, sys

def watch(log):
    own = {"localhost", "127.0.0.1", "::1", "", None, socket.gethostname()}
    def note(kind, host, port):
        host = host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else host
        if host not in own and not str(host).startswith(("127.", "::ffff:127.")):
            os.write(log, f"{kind} {host}{f':{port}' if port else ''}\n".encode("utf-8", "replace"))
    def hook(event, arguments):
        if event in ("socket.getaddrinfo", "socket.gethostbyname"):
            note("resolve", arguments[0], arguments[1] if event == "socket.getaddrinfo" else None)
        elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            address = arguments[1]
            if isinstance(address, tuple) and len(address) > 1:
                note("connect", address[0], address[1])
    return hook

sys.addaudithook(watch(os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)))
entry, sys.argv[:] = sys.argv[2], ["-m"]
sys.path[0] = os.getcwd()
del watch
runpy._run_module_as_main(entry)
"""


class Process(Protocol):
    """A started plugin, its stdin a pipe kept open; `sandbox.process.Running` is one."""

    @property
    def stderr_tail(self) -> str:
        """The last 1024 bytes of stderr, as much as the daemon keeps."""

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""

    def lines(self, *, timeout: float) -> Iterator[str]:
        """Yield the lines of stdout until it ends. Raises `TimeoutError` after `timeout` seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a start went: `ready` with the first heartbeat, else the exit `code`, or None where it hung.

    `said` is the last it wrote to stdout.
    """

    ready: bool
    seconds: float
    code: int | None = None
    stderr: str = ""
    said: tuple[str, ...] = ()


def watched(step: Step, layout: Layout) -> Step:
    """Return the launch step with its attempts at the network written to `ATTEMPTS` in the working folder."""
    python, _, entrypoint = step.argv
    return replace(step, argv=(python, "-c", _WATCH, str(layout.working_path / ATTEMPTS), entrypoint))


def await_heartbeat(process: Process, *, timeout: float) -> Launch:
    """Listen to a plugin until its first heartbeat, its end, or the time-out in seconds.

    Lines of JSON with `"event": "heartbeat"`; others are passed over (pkg/entities/plugin_entities/event.go, 0.6.10).
    """
    started = monotonic()
    said: list[str] = []
    with suppress(TimeoutError):
        for line in process.lines(timeout=timeout):
            event, text = _event(line)
            if event == "heartbeat":
                return Launch(ready=True, seconds=monotonic() - started)
            said = [*said[-7:], text]
    return Launch(
        ready=False,
        seconds=monotonic() - started,
        code=process.poll(),
        stderr=process.stderr_tail.strip(),
        said=tuple(filter(None, said)),
    )


def _event(line: str) -> tuple[str | None, str]:
    """Return a line's event, None where it has none, and what to show of it."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None, line[:200]
    event = message.get("event") if isinstance(message, dict) else None
    return (event, line[:200] if event else "") if isinstance(event, str) else (None, "")

"""Start a plugin as the daemon does, and see whether it gets ready and whether it wanted a network."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final, Protocol

from ..difypkg.daemons import Layout, Step
from ..sandbox.output import LineTooLongError
from .look import ATTEMPTS

LONGEST_LINE: Final = 5 << 20
"""Bytes of a line on stdout or stderr at which the daemon ends a plugin: the default of PLUGIN_RUNTIME_MAX_BUFFER_SIZE,
up to 0.4.1 PLUGIN_STDIO_MAX_BUFFER_SIZE (bufio.Scanner in internal/core/local_runtime/instance.go)."""

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
    def stderr(self) -> str:
        """The end of stderr."""

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""

    def lines(self, *, timeout: float, longest: int | None = None) -> Iterator[str]:
        """Yield the lines of stdout until it ends.

        Raises `TimeoutError` after `timeout` seconds, and `LineTooLongError` for a line of `longest` bytes or more.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a start went: `ready` with the first heartbeat, else the exit `code`, or None where it hung.

    `said` is the last it wrote to stdout; `too_long` says that it wrote a line longer than the daemon reads.
    """

    ready: bool
    seconds: float
    code: int | None = None
    stderr: str = ""
    said: tuple[str, ...] = ()
    too_long: bool = False


def watch(step: Step, layout: Layout) -> Step:
    """Return the launch step with its attempts at the network written to `ATTEMPTS` in the working folder."""
    python, _, entrypoint = step.argv
    return replace(step, argv=(python, "-c", _WATCH, str(layout.working_path / ATTEMPTS), entrypoint))


def await_heartbeat(process: Process, *, timeout: float) -> Launch:
    """Listen to a plugin until its first heartbeat, its end, or the time-out in seconds.

    Lines of JSON with `"event": "heartbeat"`; others are passed over (pkg/entities/plugin_entities/event.go, 0.6.10).
    """
    started = monotonic()
    said: list[str] = []
    too_long = False
    try:
        for line in process.lines(timeout=timeout, longest=LONGEST_LINE):
            event, text = _read_event(line)
            if event == "heartbeat":
                return Launch(ready=True, seconds=monotonic() - started)
            said = [*said[-7:], text]
    except TimeoutError:
        pass
    except LineTooLongError:
        too_long = True
    return Launch(
        ready=False,
        too_long=too_long,
        seconds=monotonic() - started,
        code=process.poll(),
        stderr=process.stderr.strip(),
        said=tuple(filter(None, said)),
    )


def _read_event(line: str) -> tuple[str | None, str]:
    """Return a line's event, None where it has none, and what to show of it.

    As Go's `encoding/json` reads a `PluginUniversalEvent`: names in any case, null for nothing, no NaN; an event whose
    session is not a text is not one.
    """
    try:
        message = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None, line[:200]
    fields = {str(name).casefold(): value for name, value in message.items()} if isinstance(message, dict) else {}
    event, session = fields.get("event"), fields.get("session_id")
    if not isinstance(event, str) or not (session is None or isinstance(session, str)):
        return None, ""
    return event, line[:200]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

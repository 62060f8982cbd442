"""Stay beside the command: pass signals on, leave nothing of it behind, end as it ended."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from . import kernel

_ORPHANED: Final = signal.SIGRTMIN
HANDLED: Final = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGCHLD,
        _ORPHANED,
    }
)
"""The signals that must be blocked before the command is forked."""


def supervise(command: int, parent: int) -> NoReturn:
    """Wait for `command`, a child of ours, and end like it: same exit code, same signal.

    Everything below us ends with it, and when `parent`, the process that started us, ends. Never returns.
    """
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, _ORPHANED)
    status = None
    while status is None and os.getppid() == parent:
        received = signal.sigwaitinfo(HANDLED).si_signo
        if received == signal.SIGCHLD:
            status = _reap(command)
        elif received != _ORPHANED:  # which also comes when only the thread that started us ends
            os.kill(command, received)
    _end_children()
    _end_like(signal.SIGKILL if status is None else status)


def _reap(command: int) -> int | None:
    """Reap who has ended; return the command's wait status if it was among them."""
    found = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == command:
                found = ended[1]
    return found


def _end_children() -> None:
    """Kill until none is left: whoever loses its parent becomes our child (PR_SET_CHILD_SUBREAPER)."""
    children = Path("/proc/thread-self/children")
    with suppress(ChildProcessError):
        while True:
            for child in children.read_text().split():
                os.kill(int(child), signal.SIGKILL)
            os.waitpid(-1, 0)


def _end_like(status: int) -> NoReturn:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # one core file is enough
        with suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    os._exit(code)

"""Signals of the command line: what ends it lets it clean up, and what it ignores its children do not."""

import signal
from typing import Final

_END: Final = (signal.SIGTERM, signal.SIGHUP)
_IGNORED_AT_TIMES: Final = (signal.SIGINT, signal.SIGQUIT, *_END, signal.SIGUSR1, signal.SIGUSR2)


def handle_signals() -> None:
    """Let TERM and HUP end this process as Ctrl-C does, and its children start with the defaults of all signals.

    What this process was told to ignore (`nohup`, `trap ''`) it ignores still, by a handler, which no child inherits.
    Ended children are always waited for: where SIGCHLD is ignored, the kernel forgets how they ended. For the main
    thread of the command line.
    """
    for number in _END:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    for number in _IGNORED_AT_TIMES:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    keep_exit_codes()


def keep_exit_codes() -> None:
    """Let the kernel keep how children end. Raises `ValueError` where that is to be changed outside the main thread."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

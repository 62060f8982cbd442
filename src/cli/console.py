"""What people read, on stderr: stages, findings, errors. stdout is for data."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO

import click

from ..difypkg.diagnosis import Diagnosis
from .secrecy import without_secrets

_LABEL_WIDTH: Final = 10
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def is_terminal() -> bool:
    """Say whether stderr is a terminal that a person watches."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def say(text: str) -> None:
    """Write a line for people, to stderr; one line it stays, whatever a file's name holds."""
    with _may_leave_early(sys.stderr):
        click.echo(without_secrets(text).replace("\n", "\\n"), err=True, color=_is_coloured())


def put(text: object, *, nl: bool = True) -> None:
    """Write data to stdout."""
    with _may_leave_early(sys.stdout):
        click.echo(without_secrets(str(text)), nl=nl)


@contextmanager
def _may_leave_early(stream: TextIO) -> Iterator[None]:
    """Go on where whoever reads a stream has closed it: the exit code still says how the work ended."""
    try:
        yield
    except BrokenPipeError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def show_stage(name: str, text: str) -> None:
    """Show a finished stage."""
    say(f"  {name:<{_LABEL_WIDTH}} {text}")


def show_error(diagnosis: Diagnosis) -> None:
    """Show what stopped the work."""
    _show("error", "red", diagnosis)


def show_finding(diagnosis: Diagnosis) -> None:
    """Show what is worth knowing."""
    _show("finding", "yellow", diagnosis)


def _show(kind: str, colour: str, diagnosis: Diagnosis) -> None:
    head = click.style(f"{kind}[{diagnosis.slug}]", fg=colour, bold=True)
    say(f"{head}: {printable(diagnosis.message)}")
    for line in diagnosis.context:
        say(f"  {printable(line)}")
    if diagnosis.note:
        say(f"  note: {printable(diagnosis.note)}")
    if diagnosis.hint:
        say(f"  fix: {printable(diagnosis.hint)}")


def printable(text: str) -> str:
    """Return the text without what would steer the terminal: it may hold a file name of a hostile archive."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _is_coloured() -> bool:
    return bool(is_terminal() or os.environ.get("FORCE_COLOR")) and not os.environ.get("NO_COLOR")


def show_commands() -> None:
    """Show what our own packages log: the commands they run."""
    import logging

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return without_secrets(super().format(record))

    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("  %(message)s"))
    logger = logging.getLogger("difyoff")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)

"""What people read, on stderr: stages, findings, errors. stdout is for data."""

import os
import sys
from typing import Final

import click

from difypkg.diagnosis import Diagnosis

_LABEL_WIDTH: Final = 10


def is_terminal() -> bool:
    """Say whether stderr is a terminal that a person watches."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def say(text: str) -> None:
    """Write one line of talk."""
    click.echo(text, err=True)


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
    say(f"{_styled(f'{kind}[{diagnosis.slug}]', colour)}: {diagnosis.message}")
    for line in diagnosis.context:
        say(f"  {line}")
    if diagnosis.note:
        say(f"  note: {diagnosis.note}")
    if diagnosis.hint:
        say(f"  fix: {diagnosis.hint}")


def _styled(text: str, colour: str) -> str:
    coloured = (is_terminal() or os.environ.get("FORCE_COLOR")) and not os.environ.get("NO_COLOR")
    return click.style(text, fg=colour, bold=True) if coloured else text


def show_commands() -> None:
    """Show what our own packages log: the commands they run."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("  %(message)s"))
    for name in ("uvrun", "repack", "verify"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.DEBUG)


def human_size(size: int) -> str:
    """Return a size in MB (10^6 bytes), as files are listed."""
    return f"{size / 1e6:.1f} MB"

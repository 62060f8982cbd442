"""The user's own constraints on what is chosen: `--constraint` and `--exclude-newer`."""

from collections.abc import Sequence
from pathlib import Path

import click
from packaging.requirements import InvalidRequirement, Requirement

from ..difypkg.dependencies import decode, requirement_lines


def read_constraints(files: Sequence[Path]) -> tuple[str, ...]:
    """Return the requirements of constraint files. Raises `click.UsageError` for what is not one of PEP 508."""
    lines = [(line, file) for file in files for line in requirement_lines(decode(file.read_bytes(), str(file)))]
    for line, file in lines:
        try:
            Requirement(line)
        except InvalidRequirement as error:
            raise click.UsageError(f"{file}: {line!r} is not a requirement such as `name<2`.") from error
    return tuple(line for line, _ in lines)

"""Options that several commands share, and the words they take turned into values."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from platformdirs import user_cache_path

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.target import ARCHITECTURES, TARGETS, Target
from ..render.api import FORMATS
from ..sandbox.cache import CHANGE_CACHE
from .console import show_commands
from .reports import ReportFile, SbomFile

F = TypeVar("F", bound=Callable[..., Any])

_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


class Size(click.ParamType[int]):
    """A size in bytes: `52428800`, `50MiB`, `60 MB`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\s*(\d+)\s*([kmg]i?)?b?\s*", str(value), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is no size; write 52428800, 50MiB or 60MB", param, ctx)
        return int(match[1]) * _UNITS[(match[2] or "").lower()]


def targets_of(architecture: str) -> tuple[Target, ...]:
    """Return the targets that `--arch` names."""
    names = ARCHITECTURES if architecture == "all" else (architecture,)
    return tuple(TARGETS[name] for name in ARCHITECTURES if name in names)


def default_cache() -> Path:
    """Return the user's cache folder. Raises `DifyoffError` (`store-not-writable`) where the user has no home."""
    try:
        return user_cache_path("difyoff")
    except RuntimeError as error:
        raise DifyoffError(
            Diagnosis(
                slug="store-not-writable",
                message="this user has no home folder, so there is no place for the cache",
                hint=CHANGE_CACHE,
            )
        ) from error


arch_option = click.option(
    "--arch",
    type=click.Choice([*ARCHITECTURES, "all"]),
    default="amd64",
    show_default=True,
    help="The architecture of the site's machines; `all` makes one package for both.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of paths.")
report_option = click.option(
    "--report",
    "reports",
    type=ReportFile(),
    multiple=True,
    metavar="FILE",
    help=f"Write a report; the suffix names its format: {', '.join(FORMATS)}. May be repeated.",
)
sbom_option = click.option(
    "--sbom",
    type=SbomFile(),
    metavar="FILE.cdx.json",
    help="Write the bill of materials of what was read, in CycloneDX 1.6.",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but findings and errors.")
verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=lambda _, __, value: show_commands() if value else None,
    help="Tell every command that is run, how it ended and how long it took.",
)
cache_option = click.option(
    "--cache-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=lambda: default_cache(),
    envvar="DIFYOFF_CACHE_DIR",
    show_default="the user's cache folder",
    help="Where wheels, uv releases and what was built here are kept.",
)


def common(function: F) -> F:
    """Add the options that every command has."""
    for option in (verbose_option, quiet_option, report_option, json_option):
        function = option(function)
    return function

"""Options that several commands share, and the words they take turned into values."""

import re
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from types import MappingProxyType
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from ..render.api import FORMATS
from ..verify.backends import DEFAULT
from .console import show_commands
from .reports import ReportFile, SbomFile
from .site import SETTINGS, Need, Setting, make_site

_SUFFIX: Final = re.compile(r"[\w.+~-]{0,64}", re.ASCII)

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class _Value(click.ParamType[Any]):
    """The value of a site's setting."""

    def __init__(self, setting: Setting) -> None:
        self.name = setting.kind
        self._setting = setting

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the parsed value."""
        if not isinstance(value, str):
            return value
        try:
            return self._setting.parse(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class Suffix(click.ParamType[str]):
    """The end of a package's file name, which keeps it in its folder."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the suffix."""
        if not _SUFFIX.fullmatch(value):
            self.fail(f"{value!r} is not part of a file name; write letters, digits and -_.+~, up to 64.", param, ctx)
        return str(value)


def site_options(*names: str, defaults: Mapping[str, str] = MappingProxyType({})) -> Callable[[Callable[..., R]], Any]:
    """Add the options of a site's settings; the command gets them as one value, `site`.

    `defaults` says for some of them what the command does where they are not given. An option without effect is a
    wrong use; a variable without effect is not, since it is said for all commands.
    """

    def add(function: Callable[..., R]) -> Callable[..., R]:
        @wraps(function)
        def command(**values: Any) -> R:
            ctx = click.get_current_context()
            _refuse_without_effect(ctx, names)
            given = {name: values.pop(SETTINGS[name].parameter) for name in names}
            if given.get("arch") and given.get("target"):
                given["target" if _is_typed(ctx, "arch") else "arch"] = None
            return function(site=make_site(given), **values)

        wrapped: Callable[..., R] = command
        for name in reversed(names):
            wrapped = _option(SETTINGS[name], defaults.get(name))(wrapped)
        return wrapped

    return add


def _option(setting: Setting, default: str | None) -> Callable[[Callable[..., R]], Callable[..., R]]:
    shown = default or setting.default or setting.default_text
    more = (" May be repeated." if setting.many else "") + (f"  [default: {shown}]" if shown else "")
    if setting.kind == "flag":
        return click.option(
            f"--{setting.name}", setting.parameter, is_flag=True, envvar=setting.variable, help=setting.text + more
        )
    return click.option(
        f"--{setting.name}",
        setting.parameter,
        type=_Value(setting),
        multiple=setting.many,
        metavar=setting.metavar or f"[{'|'.join(setting.choices())}]",
        envvar=setting.variable,
        help=setting.text + more,
    )


def _is_typed(ctx: click.Context, parameter: str) -> bool:
    return ctx.get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def _refuse_without_effect(ctx: click.Context, names: Collection[str]) -> None:
    """Refuse what was typed and does nothing. Raises `click.UsageError` that says how to give it an effect."""
    if "arch" in names and _is_typed(ctx, "arch") and _is_typed(ctx, "target"):
        raise click.UsageError("--arch and --target exclude each other.")
    builds = "verify_backend" in ctx.params
    backend = ctx.params.get("verify_backend" if builds else "backend") or (None if builds else DEFAULT)
    in_container = "docker" in (backend, ctx.params.get("build_in"))
    met: Mapping[Need, bool] = {
        "verification": backend is not None,
        "container": in_container,
        "this machine": builds or backend == "local",
    }
    ways: Mapping[Need, str] = {
        "verification": "`--verify`",
        "container": "`--verify=docker` or `--build-in docker`" if builds else "`--backend docker`",
        "this machine": "`--backend local`",
    }
    for name in names:
        need = SETTINGS[name].needs
        if need is not None and not met[need] and _is_typed(ctx, SETTINGS[name].parameter):
            raise click.UsageError(f"--{name} has no effect here: it needs {ways[need]}.")


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
    help="Print each command, how it ended and how long it took.",
)


def common(function: F) -> F:
    """Add the options that every command has."""
    for option in (verbose_option, quiet_option, report_option, json_option):
        function = option(function)
    return function

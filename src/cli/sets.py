"""A set as the command line has it: where its file is, what of it stands for options, and many builds at once."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import click

from ..difypkg.daemons import Release
from ..difypkg.sizes import human_size
from ..render.documents import BuildResult, SettingDocument
from ..repack.events import Done, Event, PluginOpened
from ..sets.config import BUILD_KEYS, CONFIG, SetConfig, find_config, read_config
from ..sets.run import run_all
from ..sets.shard import Shard
from ..transfer.fetch import Progress
from .console import is_terminal, say, show_error, show_finding
from .site import SETTINGS

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

JOBS: Final = 4
"""How many plugins are at work at once, where nothing else is said: the marketplace was seen to allow three calls."""
_KEY: Final = "difyoff.set"


class ShardText(click.ParamType[Shard]):
    """A part of a set: `2/8`."""

    name = "shard"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Shard:
        """Return the part."""
        if isinstance(value, Shard):
            return value
        try:
            return Shard.parse(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config`."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(dir_okay=False, path_type=Path),
        is_eager=True,
        envvar="DIFYOFF_CONFIG",
        help=f"The set's file.  [default: {CONFIG} here, or in the nearest folder above that has one]",
    )(function)


def set_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config` to a command of sets: what the set says stands for options that are not given."""
    return click.option(
        "--config",
        "config",
        type=click.Path(dir_okay=False, path_type=Path),
        is_eager=True,
        envvar="DIFYOFF_CONFIG",
        callback=lambda ctx, _, file: _load(ctx, require_config(file)),
        help=f"The set's file.  [default: {CONFIG} here, or in the nearest folder above that has one]",
    )(function)


def plugins_or_set(ctx: click.Context, _: click.Parameter, plugins: tuple[str, ...]) -> tuple[str, ...]:
    """Take the set's plugins where none are named; what the set says then stands for options that are not given."""
    if plugins:
        return plugins
    config = require_config(ctx.params.get("config_file"))
    if not config.plugins:
        raise click.UsageError(f"{config.path} has no plugins yet. Add one with `difyoff add PLUGIN`.")
    return _load(ctx, config).expanded()


def _load(ctx: click.Context, config: SetConfig) -> SetConfig:
    values: dict[str, Any] = {SETTINGS[name].parameter: _default(name, value) for name, value in config.site.items()}
    if config.output is not None:
        values["output_dir"] = str(config.output)
    if config.suffix is not None:
        values["suffix"] = config.suffix
    if config.verify:
        backend = SETTINGS["backend"]
        values["verify_backend"] = (
            config.verify if isinstance(config.verify, str) else os.environ.get(backend.variable) or "local"
        )
    ctx.default_map = {**(ctx.default_map or {}), **values}
    ctx.meta[_KEY] = config
    return config


def require_config(file: Path | None) -> SetConfig:
    """Return the set of a file, or of the nearest one upwards. Raises `click.UsageError` where there is none."""
    path = file or find_config(Path.cwd())
    if path is None:
        raise click.UsageError(f"Name a PLUGIN, or make a set of them: `difyoff add PLUGIN` writes {CONFIG}.")
    return read_config(path, SETTINGS)


def current_set() -> SetConfig | None:
    """Return the set that this run builds, None where plugins were named."""
    config = click.get_current_context().meta.get(_KEY)
    assert config is None or isinstance(config, SetConfig)
    return config


def _default(name: str, value: Any) -> Any:
    return [value] if SETTINGS[name].many and not isinstance(value, list) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One plugin of a set at work: its name, and how far it is."""

    name: str
    view: "SetView"

    def __enter__(self) -> Self:
        self.view.begin(self.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.view.end(self.name)

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Progress):
            self.view.step(self.name, "fetching", received=event.received, total=event.total)
        elif isinstance(event, Done):
            self.view.step(self.name, event.name)
        elif isinstance(event, PluginOpened):
            self.view.step(self.name, "resolving")


class SetView:
    """Shows a set being built: on a terminal a line for each plugin at work, elsewhere one when each is done."""

    def __init__(self, count: int, *, quiet: bool) -> None:
        self._count = count
        self._done = 0
        self._quiet = quiet
        self._lock = threading.Lock()
        self._bar: Bar | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if is_terminal() and not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("  {task.description:<44}"), TextColumn("{task.fields[step]:<10}"), BarColumn())
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, name: str) -> None:
        """Show that a plugin's work begins."""
        with self._lock:
            if self._bar is not None:
                self._tasks[name] = self._bar.add_task(name, total=None, step="")

    def step(self, name: str, step: str, *, received: int | None = None, total: int | None = None) -> None:
        """Show how far a plugin is; bytes where it is being fetched."""
        with self._lock:
            if self._bar is not None and name in self._tasks:
                self._bar.update(self._tasks[name], step=step, completed=received or 0, total=total)

    def end(self, name: str) -> None:
        """Take a plugin's line away."""
        with self._lock:
            if self._bar is not None and name in self._tasks:
                self._bar.remove_task(self._tasks.pop(name))

    def show(self, result: BuildResult) -> None:
        """Say how one plugin ended, with what is worth knowing of it."""
        with self._lock:
            self._done += 1
            if not self._quiet:
                say(f"[{self._done}/{self._count}] {result.input}: {result.status}")
            for finding in result.findings:
                show_finding(finding)
            if result.diagnosis is not None:
                show_error(result.diagnosis)


def build_side_by_side(
    names: Sequence[str], build: Callable[[int, Job], BuildResult], *, jobs: int | None, quiet: bool
) -> tuple[BuildResult, ...]:
    """Build many plugins at once, by their place, and return the results in order; a failure does not stop others."""
    results: dict[int, BuildResult] = {}
    workers = max(1, min(jobs or min(JOBS, os.cpu_count() or 1), len(names)))
    with SetView(len(names), quiet=quiet) as view, ThreadPoolExecutor(workers) as executor:

        def work(place: int) -> BuildResult:
            with Job(name=names[place], view=view) as job:
                return build(place, job)

        for place, result in run_all(range(len(names)), work, executor):
            results[place] = result
            view.show(result)
    return tuple(results[place] for place in range(len(names)))


def show_summary(results: Sequence[BuildResult]) -> None:
    """Show a table of the results."""
    rows = [
        (
            (result.identity or "").partition(":")[0] or result.input,
            (result.identity or "").partition("@")[0].rpartition(":")[2] or "-",
            result.status,
            human_size(result.package.size) if result.package else "-",
            result.diagnosis.slug if result.diagnosis else "",
        )
        for result in results
    ]
    heads = ("plugin", "version", "result", "size", "")
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    say("")
    for row in (heads, *rows):
        say("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    counts: dict[str, int] = {}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    say(f"{len(results)} plugins: {', '.join(f'{count} {status}' for status, count in counts.items())}")


def show_site(results: Sequence[BuildResult], release: Release) -> None:
    """Show once what the site must set for all packages: of a setting's several values the largest."""
    settings: dict[str, SettingDocument] = {}
    for setting in (each for result in results for each in result.site):
        known = settings.get(setting.name)
        if known is None or _amount(setting.value) > _amount(known.value):
            settings[setting.name] = setting
    if settings:
        say("")
        say(f"On the site, before uploading (daemon {release}):")
        for setting in settings.values():
            say(f"  {setting.name}={setting.value}   {setting.reason}")


def _amount(value: str) -> int:
    digits = value.rstrip("M")
    return int(digits) if digits.isdecimal() else -1


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of `difyoff.toml`, for editors; `difyoff/sets/difyoff.schema.json` is it."""
    text: dict[str, Any] = {"type": "string"}
    several: dict[str, Any] = {"anyOf": [text, {"type": "array", "items": text}]}

    def setting(name: str) -> dict[str, Any]:
        each = SETTINGS[name]
        kind = {"type": "boolean"} if each.kind == "flag" else several if each.many or name == "arch" else text
        if each.kind == "size":
            kind = {"anyOf": [text, {"type": "integer"}]}
        return {"description": each.text, **kind}

    def table(properties: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": False, "properties": properties}

    build = {
        "output": {"description": "The folder of the packages, from this file's.", **text},
        "plugins": {
            "description": "What `difyoff build` takes, and patterns of paths.",
            "type": "array",
            "items": text,
        },
        "suffix": {"description": "What a package's file name ends with.", **text},
        "verify": {"description": "Whether to verify, or by which backend.", "anyOf": [{"type": "boolean"}, text]},
    }
    assert set(build) == set(BUILD_KEYS)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": CONFIG,
        **table({"site": table({name: setting(name) for name in SETTINGS}), "build": table(build)}),
    }

"""`difyoff add`: add plugins to a set."""

from pathlib import Path

import click

from ...difypkg.diagnosis import Exit
from ...render.documents import AddDocument, SetEditResult
from ...sets.config import find_config, read_config
from ...sets.edit import add_plugins, new_config
from ..console import say
from ..options import common
from ..reports import check_reports, emit
from ..sets import config_option
from ..site import SETTINGS


@click.command("add")
@click.argument("plugins", nargs=-1, required=True, metavar="PLUGIN...")
@config_option
@common
def command(
    plugins: tuple[str, ...], config_file: Path | None, as_json: bool, reports: tuple[Path, ...], quiet: bool
) -> int:
    """Add each PLUGIN to the set of difyoff.toml, which is made here if there is none; comments stay."""
    check_reports(reports, ())
    path = config_file or find_config(Path.cwd()) or new_config(Path.cwd())
    if path.exists():
        read_config(path, SETTINGS)
    added = add_plugins(path, plugins)
    results = tuple(
        SetEditResult(
            input=plugin,
            status="added" if plugin in added else "there already",
            exit_code=Exit.DONE,
            config=str(path),
        )
        for plugin in plugins
    )
    if not quiet:
        for result in results:
            say(f"{result.status}  {result.input}")
    emit(AddDocument(results=results, exit_code=Exit.DONE), as_json=as_json, reports=reports)
    return Exit.DONE

"""`difyoff remove`: remove plugins from a set."""

from pathlib import Path

import click

from ...difypkg.diagnosis import Exit
from ...render.documents import RemoveDocument, SetEditResult
from ...sets.edit import remove_plugins
from ..console import say
from ..options import common
from ..reports import check_reports, emit
from ..sets import config_option, require_config


@click.command("remove")
@click.argument("plugins", nargs=-1, required=True, metavar="PLUGIN...")
@config_option
@common
def command(
    plugins: tuple[str, ...], config_file: Path | None, as_json: bool, reports: tuple[Path, ...], quiet: bool
) -> int:
    """Remove each PLUGIN from the set of difyoff.toml, as it is written there or by author/name; comments stay."""
    check_reports(reports, ())
    path = require_config(config_file).path
    removed = remove_plugins(path, plugins)
    results = tuple(
        SetEditResult(input=plugin, status="removed", exit_code=Exit.DONE, config=str(path)) for plugin in removed
    )
    if not quiet:
        for result in results:
            say(f"removed  {result.input}")
    emit(RemoveDocument(results=results, exit_code=Exit.DONE), as_json=as_json, reports=reports)
    return Exit.DONE

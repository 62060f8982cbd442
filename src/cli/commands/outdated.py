"""`difyoff outdated`: which plugins of a set have a newer version."""

from pathlib import Path

import click

from ...difypkg.diagnosis import Exit
from ...render.documents import OutdatedDocument, OutdatedResult
from ...sets.outdated import Standing, compare
from ..console import printable, put, say, show_finding
from ..options import common, site_options
from ..places import Told, open_access
from ..reports import check_reports, emit
from ..sets import config_option, require_config
from ..site import Site


@click.command("outdated")
@config_option
@site_options("dify", "cache-dir")
@common
def command(config_file: Path | None, site: Site, as_json: bool, reports: tuple[Path, ...], quiet: bool) -> int:
    """Show which plugins of the set have a newer version on the marketplace, asked for in one request.

    Plugins that are installed from a file get no notice in Dify. The exit code is 1 where one is outdated.
    """
    check_reports(reports, ())
    config = require_config(config_file)
    named = config.site.get("dify", ())
    dify = site.dify or tuple([named] if isinstance(named, str) else named)
    with open_access(site.cache, dify=dify, offline=False, listen=Told()) as access:
        standings = compare(config.expanded(), access)
    results = tuple(map(_result, standings))
    for standing in standings:
        if not as_json and standing.state == "outdated" and standing.latest is not None:
            put(printable(f"{standing.plugin_id}  {standing.version} -> {standing.latest.version}"))
        elif not quiet and standing.state == "not told":
            say(f"{standing.text}: not told, it is not a plugin of the marketplace")
        for finding in standing.findings:
            show_finding(finding)
    count = sum(standing.state == "outdated" for standing in standings)
    if not quiet:
        say(f"{count} of {len(standings)} plugins are outdated")
    code = Exit.NO if count else Exit.DONE
    emit(OutdatedDocument(results=results, exit_code=code), as_json=as_json, reports=reports)
    return code


def _result(standing: Standing) -> OutdatedResult:
    latest = standing.latest
    return OutdatedResult(
        input=standing.text,
        status=standing.state,
        exit_code=Exit.NO if standing.state == "outdated" else Exit.DONE,
        plugin_id=standing.plugin_id,
        version=standing.version,
        latest=latest.version if latest else None,
        latest_identifier=latest.identifier if latest else None,
        minimum_dify=latest.minimum_dify if latest else None,
        findings=standing.findings,
    )

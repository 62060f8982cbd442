"""`difyoff search`: find plugins of the marketplace, whose names are not their titles."""

from pathlib import Path

import click

from ...difypkg.diagnosis import DifyoffError, Exit
from ...render.documents import OfferDocument, SearchDocument, SearchResult
from ...sources.marketplace import search
from ..console import printable, put, say, show_error, show_finding
from ..options import common, site_options
from ..places import open_access
from ..reports import check_reports, emit
from ..site import Site


@click.command("search")
@click.argument("words", nargs=-1, required=True, metavar="WORDS...")
@site_options("dify", "cache-dir")
@common
def command(
    words: tuple[str, ...],
    site: Site,
    as_json: bool,
    reports: tuple[Path, ...],
    quiet: bool,
) -> int:
    """Find plugins of the marketplace, the most installed first: name, version, installs, what it does."""
    check_reports(reports, ())
    result = _search(" ".join(words), site)
    if not as_json:
        width = max((len(each.plugin_id) for each in result.plugins), default=0)
        for each in result.plugins:
            status = f" ({each.status})" if each.status != "active" else ""
            line = f"{each.plugin_id:<{width}}  {each.version:<10} {each.installs:>10,}  {each.brief}{status}"
            put(printable(line))
    if result.status != "failed" and not quiet:
        say(f"{len(result.plugins)} of {result.total} plugins" if result.plugins else "the marketplace finds nothing")
    emit(SearchDocument(results=(result,), exit_code=result.exit_code), as_json=as_json, reports=reports)
    return result.exit_code


def _search(words: str, site: Site) -> SearchResult:
    try:
        with open_access(site.cache, dify=site.dify, offline=False, listen=show_finding) as access:
            offers, total = search(words, access)
    except DifyoffError as error:
        show_error(error.diagnosis)
        return SearchResult(input=words, status="failed", exit_code=error.exit_code, diagnosis=error.diagnosis)
    return SearchResult(
        input=words,
        status="found" if offers else "nothing found",
        exit_code=Exit.DONE if offers else Exit.NO,
        plugins=tuple(
            OfferDocument(
                plugin_id=each.plugin_id,
                version=each.version,
                installs=each.installs,
                status=each.status,
                brief=each.brief,
            )
            for each in offers
        ),
        total=total,
    )

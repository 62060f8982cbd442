"""`difyoff explain SLUG`: print the page of a diagnosis."""

from collections.abc import Sequence

import click

from ...difypkg.diagnosis import Exit, page, slugs
from ..console import put


@click.command("explain")
@click.argument("slug", required=False)
@click.option("--all", "everything", is_flag=True, help="Print every page, one after another.")
@click.option("--json", "as_json", is_flag=True, help="Print pages as one JSON document.")
def command(slug: str | None, everything: bool, as_json: bool) -> int:
    """Print the page of a diagnosis, or list them all.

    SLUG is the word in brackets: error[SLUG].
    """
    if everything and slug is not None:
        raise click.UsageError("Name a diagnosis, or take --all.")
    if as_json and slug is None:
        _print_document(slugs())
        return Exit.DONE
    if everything:
        put("\n\n".join(f"{each}: {page(each).title}\n\n{page(each).text}" for each in slugs()))
        return Exit.DONE
    if slug is None:
        width = max(map(len, slugs()))
        for each in slugs():
            put(f"{each:<{width}}  {page(each).title}")
        return Exit.DONE
    try:
        found = page(slug)
    except KeyError:
        from difflib import get_close_matches

        near = get_close_matches(slug, slugs(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; `difyoff explain` lists all"
        raise click.UsageError(f"there is no diagnosis {slug!r}{hint}") from None
    if as_json:
        _print_document((slug,))
    else:
        put(f"{found.slug}: {found.title}\n\n{found.text}")
    return Exit.DONE


def _print_document(chosen: Sequence[str]) -> None:
    from ...render.documents import ExplainDocument, ExplainResult  # much for a command that prints one page
    from ..reports import emit

    pages = tuple(
        ExplainResult(slug=each.slug, title=each.title, text=each.text, stops_with=each.exit_code, exit_code=Exit.DONE)
        for each in map(page, chosen)
    )
    emit(ExplainDocument(results=pages, exit_code=Exit.DONE), as_json=True, reports=())

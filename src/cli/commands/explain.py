"""`difyoff explain SLUG`: print the page of a diagnosis."""

import os
import sys
from collections.abc import Iterable, Sequence

import click

from ...difypkg.diagnosis import Exit, Page, page, slugs
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
        _put_pages(map(page, slugs()))
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
        _put_pages((found,))
    return Exit.DONE


def _put_pages(pages: Iterable[Page]) -> None:
    """Print pages: formatted on a terminal, as Markdown elsewhere."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        put("\n\n".join(f"{each.slug}: {each.title}\n\n{each.text}" for each in pages))
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console(width=min(Console().width, 100))
    for each in pages:
        console.print(f"{each.slug}: {each.title}\n", style="bold", markup=False, highlight=False)
        console.print(Markdown(each.text))


def _print_document(chosen: Sequence[str]) -> None:
    from ...render.documents import ExplainDocument, ExplainResult  # much for a command that prints one page
    from ..reports import emit

    pages = tuple(
        ExplainResult(slug=each.slug, title=each.title, text=each.text, stops_with=each.exit_code, exit_code=Exit.DONE)
        for each in map(page, chosen)
    )
    emit(ExplainDocument(results=pages, exit_code=Exit.DONE), as_json=True, reports=())

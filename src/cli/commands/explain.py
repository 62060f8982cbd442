"""`difyoff explain SLUG`: print the page of a diagnosis."""

import click

from ...difypkg.diagnosis import Exit, page, slugs
from ..console import put


@click.command("explain")
@click.argument("slug", required=False)
def command(slug: str | None) -> int:
    """Print the page of a diagnosis, or list them all.

    SLUG is the word in brackets: error[SLUG].
    """
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
    put(f"{found.slug}: {found.title}\n\n{found.text}")
    return Exit.DONE

"""`difyoff cache`: what runs keep on this machine, and what dead ones left."""

import shutil
from pathlib import Path

import click

from ...difypkg.diagnosis import DifyoffError, Exit
from ...transfer.store import WheelStore
from ..console import human_size, say
from ..options import cache_option


@click.group("cache")
def command() -> None:
    """Show, tidy or empty the cache."""


@command.command("dir")
@cache_option
def dir_(cache_dir: Path) -> int:
    """Print where the cache is."""
    click.echo(cache_dir.expanduser().absolute())
    return Exit.DONE


@command.command()
@cache_option
def clean(cache_dir: Path) -> int:
    """Remove the whole cache; the next build fetches everything anew."""
    cache = cache_dir.expanduser().absolute()
    if cache.exists() and any(cache.iterdir()):
        if not (cache / "wheels" / "CACHEDIR.TAG").is_file():
            raise click.UsageError(f"{cache} is no cache of difyoff: it has no wheels/CACHEDIR.TAG")
        shutil.rmtree(cache)
    return Exit.DONE


@command.command()
@cache_option
def gc(cache_dir: Path) -> int:
    """Remove what killed runs left behind: partial downloads, containers, networks.

    Nothing of a living run is touched.
    """
    freed = WheelStore(cache_dir.expanduser().absolute() / "wheels").clean()
    click.echo(f"removed {human_size(freed)} of partial downloads")
    from ...sandbox.leftovers import remove_leftovers

    try:
        removed = remove_leftovers()
    except DifyoffError as error:  # without an engine there is nothing of ours in one
        say(f"containers were not looked for: {error.diagnosis.message}")
    else:
        click.echo(f"removed {len(removed)} containers and networks")
    return Exit.DONE

"""`difyoff cache`: what runs keep on this machine, and what dead ones left."""

from pathlib import Path

import click

from ...difypkg.diagnosis import DifyoffError, Exit
from ...sandbox.cache import clean_cache, collect_garbage, folder_size, is_cache, use_cache
from ...transfer.store import WheelStore
from ..console import human_size, say
from ..options import cache_option

_PARTS = {"wheels": "wheels", "uv": "releases of uv", "uv-cache": "uv's own cache", "runs": "runs at work, or killed"}


@click.group("cache")
def command() -> None:
    """Show, tidy or empty the cache."""


@command.command("dir")
@cache_option
def dir_(cache_dir: Path) -> int:
    """Print where the cache is."""
    click.echo(_absolute(cache_dir))
    return Exit.DONE


@command.command()
@cache_option
def size(cache_dir: Path) -> int:
    """Print how much the cache holds, part by part."""
    cache = _absolute(cache_dir)
    total = folder_size(cache)
    for name, text in _PARTS.items():
        click.echo(f"{human_size(folder_size(cache / name)):>10}  {text}")
    click.echo(f"{human_size(total):>10}  in all")
    return Exit.DONE


@command.command()
@cache_option
def clean(cache_dir: Path) -> int:
    """Remove the whole cache, unless a run is using it; the next build fetches everything anew."""
    cache = _absolute(cache_dir)
    if cache.exists():
        if not is_cache(cache):
            raise click.UsageError(f"{cache} is not a cache of difyoff: it has no CACHEDIR.TAG")
        clean_cache(cache)
    return Exit.DONE


@command.command()
@cache_option
@click.option(
    "--keep-days",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    metavar="N",
    help="Keep what was used within the last N days.",
)
def prune(cache_dir: Path, keep_days: int) -> int:
    """Remove wheels that no build has used for a while. Runs that are at work lose nothing."""
    cache = _absolute(cache_dir)
    with use_cache(cache):
        pruned = WheelStore(cache / "wheels").prune(keep_days)
    click.echo(f"removed {pruned.removed} of {pruned.found} wheels, {human_size(pruned.freed)}")
    return Exit.DONE


@command.command()
@cache_option
def gc(cache_dir: Path) -> int:
    """Remove what killed runs left behind: work folders, partial downloads, containers, networks.

    Nothing of a living run is touched.
    """
    cache = _absolute(cache_dir)
    with use_cache(cache):
        click.echo(f"removed {human_size(collect_garbage(cache))} of work folders")
        click.echo(f"removed {human_size(WheelStore(cache / 'wheels').clean())} of partial downloads")
    from ...sandbox.leftovers import remove_leftovers

    try:
        removed = remove_leftovers()
    except DifyoffError as error:  # without an engine there is nothing of ours in one
        say(f"containers were not looked for: {error.diagnosis.message}")
    else:
        click.echo(f"removed {len(removed)} containers and networks")
    return Exit.DONE


def _absolute(cache: Path) -> Path:
    return cache.expanduser().absolute()

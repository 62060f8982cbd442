"""`difyoff cache`: what runs keep on this machine, and what dead ones left."""

import click

from ...difypkg.diagnosis import DifyoffError, Exit
from ...sandbox.cache import clean_cache, collect_garbage, folder_size, is_cache, use_cache
from ...transfer.store import WheelStore
from ..console import human_size, put, say
from ..options import site_options
from ..site import Site

_PARTS = {"wheels": "wheels", "uv": "releases of uv", "uv-cache": "uv's own cache", "runs": "runs at work, or killed"}


@click.group("cache")
def command() -> None:
    """Show, tidy or empty the cache."""


@command.command("dir")
@site_options("cache-dir")
def dir_(site: Site) -> int:
    """Print where the cache is."""
    put(site.cache)
    return Exit.DONE


@command.command()
@site_options("cache-dir")
def size(site: Site) -> int:
    """Print how much the cache holds, part by part."""
    cache = site.cache
    total = folder_size(cache)
    for name, text in _PARTS.items():
        put(f"{human_size(folder_size(cache / name)):>10}  {text}")
    put(f"{human_size(total):>10}  in all")
    return Exit.DONE


@command.command()
@site_options("cache-dir")
def clean(site: Site) -> int:
    """Remove the whole cache, unless a run is using it; the next build fetches everything anew."""
    cache = site.cache
    if cache.exists():
        if not is_cache(cache):
            raise click.UsageError(f"{cache} is not a cache of difyoff: it has no CACHEDIR.TAG")
        clean_cache(cache)
    return Exit.DONE


@command.command()
@site_options("cache-dir")
@click.option(
    "--keep-days",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    metavar="N",
    help="Keep what was used within the last N days.",
)
def prune(site: Site, keep_days: int) -> int:
    """Remove wheels that no build has used for a while. Runs that are at work lose nothing."""
    cache = site.cache
    with use_cache(cache):
        pruned = WheelStore(cache / "wheels").prune(keep_days)
    put(f"removed {pruned.removed} of {pruned.found} wheels, {human_size(pruned.freed)}")
    return Exit.DONE


@command.command()
@site_options("cache-dir")
def gc(site: Site) -> int:
    """Remove what killed runs left behind: work folders, partial downloads, containers, networks.

    Nothing of a living run is touched.
    """
    cache = site.cache
    with use_cache(cache):
        put(f"removed {human_size(collect_garbage(cache))} of work folders")
        put(f"removed {human_size(WheelStore(cache / 'wheels').clean())} of partial downloads")
    from ...sandbox.leftovers import remove_leftovers

    try:
        removed = remove_leftovers()
    except DifyoffError as error:  # without an engine there is nothing of ours in one
        say(f"containers were not looked for: {error.diagnosis.message}")
    else:
        put(f"removed {len(removed)} containers and networks")
    return Exit.DONE

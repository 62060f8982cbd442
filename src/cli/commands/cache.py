"""`difyoff cache`: what runs keep on this machine, and what dead ones left."""

import os
from pathlib import Path

import click
from packaging.version import Version

from ...difypkg.daemons import releases
from ...difypkg.diagnosis import DifyoffError, Exit
from ...difypkg.sizes import human_size
from ...sandbox.cache import clean_cache, collect_garbage, folder_size, is_cache, use_cache
from ...transfer.store import WheelStore
from ...uvrun.environment import read_index_settings
from ...uvrun.uv import LOCK_UV, fetch_uv
from ..console import put, say
from ..options import site_options
from ..site import Site

_PARTS = {
    "wheels": "wheels and fetched plugins",
    "uv": "releases of uv",
    "uv-cache": "uv's own cache",
    "runs": "runs at work, or killed",
}


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
    """Remove the whole cache, unless a run is using it; the next build fetches everything again."""
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
@site_options("cache-dir", "index-url")
@click.option(
    "--from",
    "wheels",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Take them from a folder of wheels instead of an index.",
)
def fill(site: Site, wheels: Path | None) -> int:
    """Fetch every release of uv that a daemon has, so that this cache serves a machine without a network.

    Such a machine needs CPython 3.12, too. Carry the folder that `difyoff cache dir` prints.
    """
    settings = read_index_settings(os.environ, index_url=site.index_url)
    versions = {LOCK_UV, *(release.uv for release in releases() if release.uv)}
    for version in sorted(versions, key=Version):
        put(fetch_uv(version, cache=site.cache, settings=settings, wheels=wheels).path)
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

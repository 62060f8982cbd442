"""`difyoff lock`: pin every plugin of a set, and what it resolves to."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import click

from ... import __version__
from ...difypkg import daemons
from ...difypkg.diagnosis import DifyoffError, Exit, worst
from ...difypkg.target import TARGETS
from ...render.documents import LockDocument, LockResult
from ...repack.api import resolve_place
from ...repack.options import Options
from ...repack.workshop import Workshop, open_workshop
from ...sets.config import SetConfig
from ...sets.lock import LOCK, Locked, pin, write_lock
from ...sets.run import run_all
from ...sources.source import Access
from ...sources.table import locate_member
from ...uvrun.environment import read_index_settings
from ..console import put, say, show_error, show_finding, show_stage
from ..options import common, site_options
from ..places import Told, Wish, expand, offline_option, open_access
from ..reports import check_reports, emit
from ..sets import JOBS, set_option
from ..site import Site


@click.command("lock")
@set_option
@site_options(*("daemon", "dify", "arch", "target", "max-size", "index-url", "cache-dir"), defaults={"arch": "amd64"})
@offline_option
@common
def command(config: SetConfig, site: Site, offline: bool, as_json: bool, reports: tuple[Path, ...], quiet: bool) -> int:
    """Pin every plugin of the set in difyoff.lock: the very package or commit, and the wheels of one without a lock.

    `build --locked` then gives the same packages everywhere, and refuses what is not what was locked.
    """
    check_reports(reports, ())
    options = Options(
        targets=site.targets or (TARGETS["amd64"],),
        release=site.releases[0] if site.releases else daemons.newest(),
        output=config.folder,
        max_size=site.settings.max_package_size,
    )
    with (
        open_access(site.cache, dify=site.dify, offline=offline, listen=Told(), quiet=quiet) as access,
        open_workshop(
            version=__version__,
            index=replace(read_index_settings(os.environ, index_url=site.index_url), offline=offline),
            cache=site.cache,
            report=lambda done: None if quiet else show_stage(done.name, done.text),
        ) as workshop,
    ):
        wishes = [wish for plugin in config.expanded() for wish in expand(plugin, access)]
        made = _lock_all(wishes, config, access, options, workshop, quiet=quiet)
    code = worst(Exit(result.exit_code) for result, _ in made)
    path = config.folder / LOCK
    if code is Exit.DONE:
        write_lock(path, {entry.name: entry for _, entry in made if entry is not None}.values(), options.targets)
        if not as_json:
            put(path)
    elif not quiet:
        say(f"{path} is not written: not every plugin could be locked")
    emit(LockDocument(results=tuple(result for result, _ in made), exit_code=code), as_json=as_json, reports=reports)
    return code


def _lock_all(
    wishes: Sequence[Wish], config: SetConfig, access: Access, options: Options, workshop: Workshop, *, quiet: bool
) -> list[tuple[LockResult, Locked | None]]:
    made: dict[int, tuple[LockResult, Locked | None]] = {}
    with ThreadPoolExecutor(JOBS) as executor:
        work = run_all(wishes, lambda wish: _lock_one(wish, config, access, options, workshop), executor)
        for place, (result, entry) in work:
            made[place] = (result, entry)
            for finding in result.findings:
                show_finding(finding)
            if result.diagnosis is not None:
                show_error(result.diagnosis)
            elif not quiet:
                say(f"locked  {result.identity}")
    return [made[place] for place in range(len(wishes))]


def _lock_one(
    wish: Wish, config: SetConfig, access: Access, options: Options, workshop: Workshop
) -> tuple[LockResult, Locked | None]:
    told = Told(loud=False)
    name = config.portable(wish.name)
    try:
        place = locate_member(wish.member, replace(access, listen=told))
        plugin, resolution = resolve_place(place, options, workshop)
    except DifyoffError as error:
        failed = LockResult(
            input=name,
            status="failed",
            exit_code=error.exit_code,
            findings=told.take(),
            diagnosis=error.diagnosis,
        )
        return failed, None
    entry = pin(name, place, plugin, resolution)
    result = LockResult(
        input=name,
        status="locked",
        exit_code=Exit.DONE,
        source=entry.source,
        identity=entry.identity,
        sha256=entry.sha256,
        resolved=entry.resolution is not None,
        findings=told.take(),
    )
    return result, entry

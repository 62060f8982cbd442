"""`difyoff upgrade`: move plugins of a set to newer versions, or back."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from ... import __version__
from ...difypkg import daemons
from ...difypkg.diagnosis import Diagnosis, DifyoffError, Exit, worst
from ...difypkg.files import output_errors, write_atomically
from ...difypkg.identity import IDENTIFIER_PATTERN, Identity
from ...difypkg.place import PluginPlace
from ...difypkg.sizes import human_size
from ...difypkg.target import TARGETS
from ...render.documents import BuildResult, ChangeDocument, UpgradeDocument, UpgradeResult
from ...repack.options import Options, package_name
from ...repack.resolve import resolve
from ...repack.source import open_plugin
from ...repack.workshop import open_workshop
from ...sets.compare import Facts, compare_facts, read_facts
from ...sets.config import SetConfig
from ...sets.edit import replace_plugin
from ...sets.lock import LOCK
from ...sets.outdated import Standing, compare
from ...sets.previous import Upgrade, go_back, keep_previous, read_upgrades
from ...sources.source import Member
from ...sources.table import locate_member
from ...uvrun.environment import read_index_settings
from ...verify.backends import BACKENDS, DEFAULT
from ...verify.report import to_json
from ..building import Bench, build_one
from ..console import put, say, show_error, show_finding, show_stage
from ..options import common, site_options
from ..places import Told, Wish, offline_option, open_access
from ..reports import check_reports, emit
from ..sets import set_option
from ..site import Site

_MOVED: Final = ("upgraded", "restored")


@click.command("upgrade")
@click.argument("plugins", nargs=-1, metavar="[PLUGIN...]")
@set_option
@click.option("--to", "version", metavar="VERSION", help="Move the one PLUGIN to this version.  [default: the latest]")
@click.option("--back", is_flag=True, help="Bring back what the last upgrade replaced.")
@click.option(
    "-o",
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="the set's",
    help="Where packages are written.",
)
@click.option(
    "--verify",
    "verify_backend",
    type=click.Choice(list(BACKENDS)),
    default=DEFAULT,
    show_default=True,
    help="How the new versions are verified.",
)
@click.option("--suffix", default="-offline", show_default=True, help="What a package's file name ends with.")
@site_options(*("daemon", "dify", "arch", "target", "max-size", "index-url", "cache-dir"), defaults={"arch": "amd64"})
@offline_option
@common
def command(
    plugins: tuple[str, ...],
    config: SetConfig,
    version: str | None,
    back: bool,
    output_dir: Path,
    verify_backend: str,
    suffix: str,
    site: Site,
    offline: bool,
    as_json: bool,
    reports: tuple[Path, ...],
    quiet: bool,
) -> int:
    """Move each PLUGIN of the set, or all that are outdated, to the latest version: build, verify, compare, replace.

    Nothing is replaced if the new version is refused. The package before, its report and the line of difyoff.toml stay
    for the way back.
    """
    check_reports(reports, ())
    chosen = _chosen(config, plugins)
    if version is not None and (len(chosen) != 1 or not plugins):
        raise click.UsageError("--to moves one PLUGIN: name it")
    if back:
        results = _go_back(config, output_dir, plugins)
    else:
        options = Options(
            targets=site.targets or (TARGETS["amd64"],),
            release=site.releases[0] if site.releases else daemons.newest(),
            output=output_dir,
            suffix=suffix,
            max_size=site.settings.max_package_size,
        )
        results = _upgrade_all(
            chosen, config, version, options, site, backend=verify_backend, offline=offline, quiet=quiet
        )
    for result in results:
        if not quiet:
            _show(result)
        if result.build is not None and result.build.package is not None and not as_json:
            put(output_dir / Path(result.build.package.path).name)
    if not quiet and (config.folder / LOCK).exists() and any(each.status in _MOVED for each in results):
        say(f"{LOCK} is of the versions before: run `difyoff lock`")
    code = worst(Exit(result.exit_code) for result in results)
    emit(UpgradeDocument(results=tuple(results), exit_code=code), as_json=as_json, reports=reports)
    return code


def _chosen(config: SetConfig, plugins: Sequence[str]) -> list[str]:
    """Return the set's lines that are meant. Raises `not-in-set`."""
    for plugin in plugins:
        if not any(plugin in (each, each.partition(":")[0]) for each in config.plugins):
            raise DifyoffError(Diagnosis(slug="not-in-set", message=f"{plugin} is not a plugin of {config.path}"))
    return [each for each in config.plugins if not plugins or each in plugins or each.partition(":")[0] in plugins]


def _upgrade_all(
    chosen: Sequence[str],
    config: SetConfig,
    version: str | None,
    options: Options,
    site: Site,
    *,
    backend: str,
    offline: bool,
    quiet: bool,
) -> list[UpgradeResult]:
    with (
        open_access(site.cache, dify=site.dify, offline=offline, listen=Told(), quiet=quiet) as access,
        open_workshop(
            version=__version__,
            index=replace(read_index_settings(os.environ, index_url=site.index_url), offline=offline),
            cache=site.cache,
            report=lambda done: None if quiet else show_stage(done.name, done.text),
        ) as workshop,
    ):
        bench = Bench(
            locked=None,
            config=None,
            access=access,
            options=options,
            workshop=workshop,
            site=site,
            backend=backend,
            signer=None,
        )
        if version is not None:
            target = f"{chosen[0].partition(':')[0]}:{version}"
            return [_upgrade(chosen[0], target, config, bench, quiet=quiet)]
        return [_move(standing, config, bench, quiet=quiet) for standing in compare(chosen, access)]


def _move(standing: Standing, config: SetConfig, bench: Bench, *, quiet: bool) -> UpgradeResult:
    if standing.state != "outdated" or standing.latest is None:
        return UpgradeResult(
            input=standing.text,
            status="current" if standing.state == "current" else "not told",
            exit_code=Exit.DONE,
            findings=standing.findings,
        )
    target = standing.latest.identifier if "@" in standing.text else f"{standing.plugin_id}:{standing.latest.version}"
    return _upgrade(standing.text, target, config, bench, quiet=quiet)


def _upgrade(old: str, new: str, config: SetConfig, bench: Bench, *, quiet: bool) -> UpgradeResult:
    """Build and verify a version, and put it in the place of the one before. What fails leaves all as it was."""
    told = Told(loud=False)
    access = replace(bench.access, listen=told)
    output = bench.options.output
    try:
        before = _facts(locate_member(Member(source=old), access), bench)
        size = _size(bench.options.output / package_name(_identity(before), bench.options))
        place = locate_member(Member(source=new), access)
        after = _facts(place, bench)
        with output_errors(output):
            output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".upgrade-", dir=output) as staging:
            staged = replace(bench, options=replace(bench.options, output=Path(staging)))
            result = build_one(Wish(member=Member(source=place)), staged, told, quiet=quiet)
            if result.package is not None:
                _replace(old, new, result, before, config, bench.options)
    except DifyoffError as error:
        return UpgradeResult(
            input=old,
            status="failed",
            exit_code=error.exit_code,
            old=old,
            new=new,
            findings=told.take(),
            diagnosis=error.diagnosis,
        )
    changes = [ChangeDocument(what=each.what, old=each.old, new=each.new) for each in compare_facts(before, after)]
    if result.size is not None:
        changes.append(ChangeDocument(what="size", old=size or "not built here", new=result.size.text))
    done = result.package is not None
    return UpgradeResult(
        input=old,
        status="upgraded" if done else "refused",
        exit_code=Exit.DONE if done else result.exit_code,
        old=old,
        new=new,
        changes=tuple(changes),
        build=result,
        findings=(*told.take(), *result.findings),
        diagnosis=result.diagnosis,
    )


def _facts(place: PluginPlace, bench: Bench) -> Facts:
    with open_plugin(place) as plugin:
        return read_facts(plugin, resolve(plugin, bench.options, bench.workshop))


def _replace(old: str, new: str, result: BuildResult, before: Facts, config: SetConfig, options: Options) -> None:
    assert result.package is not None
    made = Path(result.package.path)
    if result.verification is not None:
        write_atomically(made.with_name(f"{made.name}.json"), to_json(result.verification) + "\n")
    identity = _identity(before)
    name = package_name(identity, options)
    keep_previous(
        options.output,
        Upgrade(
            plugin_id=f"{identity.author}/{identity.name}",
            old=old,
            new=new,
            old_files=tuple(each for each in (name, f"{name}.json") if (options.output / each).exists()),
            new_files=(made.name, f"{made.name}.json"),
        ),
    )
    with output_errors(options.output):
        for path in made.parent.iterdir():
            shutil.move(path, options.output / path.name)
    replace_plugin(config.path, old, new)


def _size(package: Path) -> str | None:
    return human_size(package.stat().st_size) if package.exists() else None


def _identity(facts: Facts) -> Identity:
    match = IDENTIFIER_PATTERN.fullmatch(facts.identifier)
    assert match is not None
    return Identity(**match.groupdict())


def _go_back(config: SetConfig, output: Path, plugins: Sequence[str]) -> list[UpgradeResult]:
    results = []
    for upgrade in read_upgrades(output):
        if plugins and upgrade.plugin_id not in plugins and upgrade.new not in plugins:
            continue
        if upgrade.new not in config.plugins:
            continue  # the set has moved on by hand
        go_back(output, upgrade)
        replace_plugin(config.path, upgrade.new, upgrade.old)
        results.append(
            UpgradeResult(input=upgrade.new, status="restored", exit_code=Exit.DONE, old=upgrade.new, new=upgrade.old)
        )
    if not results:
        say("there is no upgrade to go back from")
    return results


def _show(result: UpgradeResult) -> None:
    say(f"{result.status}  {result.old or result.input}{f' -> {result.new}' if result.new else ''}")
    width = max((len(change.what) for change in result.changes), default=0)
    for change in result.changes:
        say(f"  {change.what:<{width}}  {change.old or '-'}  ->  {change.new or '-'}")
    for finding in result.findings:
        show_finding(finding)
    if result.diagnosis is not None:
        show_error(result.diagnosis)

"""`difyoff build`: make offline packages of plugins."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ... import __version__
from ...difypkg import daemons
from ...difypkg.diagnosis import DifyoffError, Exit, worst
from ...difypkg.place import PluginPlace
from ...difypkg.sizes import human_size
from ...difypkg.target import TARGETS
from ...render.documents import (
    BuildDocument,
    BuildResult,
    PackageDocument,
    SettingDocument,
    SizeDocument,
    WheelDocument,
)
from ...repack.api import build
from ...repack.options import Options
from ...repack.package import OfflinePackage
from ...repack.publication import PublicationStage, pack, publish
from ...repack.resolution import MadeBefore
from ...repack.workshop import BuildImage, Workshop, open_workshop
from ...sets.config import SetConfig
from ...sets.lock import LOCK, Locked, check_drift, check_place, read_lock
from ...sets.shard import Shard
from ...sources.source import Access
from ...sources.table import locate_member, plugin_key
from ...uvrun.environment import read_index_settings
from ..console import put, say, show_stage
from ..options import Suffix, common, sbom_option, site_options
from ..places import Told, Wish, expand, offline_option, open_access, write_copy
from ..progress import BuildView
from ..reports import check_reports, emit
from ..sets import (
    Job,
    ShardText,
    build_side_by_side,
    config_option,
    current_set,
    plugins_or_set,
    show_site,
    show_summary,
)
from ..site import Site
from ..verification import NotPublishedError, VerifyCommand, verify_option
from ..watchers import announce

if TYPE_CHECKING:
    from ..gate import VerifyingGate
    from ..signer import Signer


@click.command("build", cls=VerifyCommand)
@config_option
@click.argument("plugins", nargs=-1, metavar="[PLUGIN...]", is_eager=True, callback=plugins_or_set)
@click.option(
    "-o",
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="the current folder",
    help="Where packages are written.",
)
@verify_option
@site_options(
    *("daemon", "dify", "arch", "target", "max-size", "mirror", "ignore-lock", "index-url", "matrix"),
    *("image", "pull", "platform", "allow-stand-in", "strict", "trust-plugin", "cache-dir"),
    defaults={"arch": "amd64"},
)
@click.option(
    "--build-in",
    type=click.Choice(["docker"]),
    help="Where to build wheels of what exists as source only: `docker` is in the daemon's image, for its system"
    " libraries and, with --platform, for another architecture.  [default: this machine]",
)
@click.option("--build-image", metavar="REF", help="The image for --build-in.  [default: that of --image]")
@click.option(
    "--sign",
    "signing_key",
    metavar="KEY",
    help="Sign the package with this private key of `keygen`: a file, or env:NAME for one in a variable.",
)
@click.option("-j", "--jobs", type=click.IntRange(1, 64), help="Build so many at once.  [default: a set, up to 4]")
@click.option("--shard", type=ShardText(), metavar="I/N", help="Build the I-th of N parts, for one of N machines.")
@click.option("--locked", is_flag=True, help="Build what difyoff.lock pins, and refuse what is not what was locked.")
@offline_option
@click.option(
    "--suffix", type=Suffix(), default="-offline", show_default=True, help="What the package's file name ends with."
)
@click.option("--force", is_flag=True, help="Replace an existing file that differs.")
@click.option("--with-env", is_flag=True, help="Pack a plugin folder's .env, which is left out otherwise.")
@sbom_option
@common
def command(
    config_file: Path | None,
    plugins: tuple[str, ...],
    output_dir: Path,
    verify_backend: str | None,
    site: Site,
    build_in: Literal["docker"] | None,
    build_image: str | None,
    signing_key: str | None,
    jobs: int | None,
    shard: Shard | None,
    locked: bool,
    offline: bool,
    suffix: str,
    force: bool,
    with_env: bool,
    sbom: Path | None,
    as_json: bool,
    reports: tuple[Path, ...],
    quiet: bool,
) -> int:
    """Make an offline package of each PLUGIN.

    PLUGIN is a .difypkg (- on standard input), a plugin's folder, author/name[:version] of the marketplace,
    github:owner/repo[@tag][/asset], github:owner/repo@ref//folder, a URL, or an exported app, all of whose plugins are
    built. Without a PLUGIN the set of difyoff.toml is built, several at once.

    The package carries every wheel that the plugin needs and installs without a network on every daemon release.
    """
    if sbom and not verify_backend:
        raise click.UsageError("--sbom lists what a verification has read. Add --verify, or use `difyoff verify`.")
    reports = (*reports, sbom) if sbom else reports
    check_reports(reports, map(Path, plugins))
    config = current_set()
    if locked and config is None:
        raise click.UsageError("--locked builds a set: give no PLUGIN, difyoff.toml names them")
    if build_image and not build_in:
        raise click.UsageError("--build-image is the image for --build-in docker, which is not given")
    options = Options(
        targets=site.targets or (TARGETS["amd64"],),
        release=site.releases[0] if site.releases else daemons.newest(),
        output=output_dir,
        suffix=suffix,
        max_size=site.settings.max_package_size,
        force=force,
        with_env=with_env,
    )
    signer = _signer(signing_key) if signing_key else None
    with (
        open_access(site.cache, dify=site.dify, offline=offline, listen=Told()) as access,
        open_workshop(
            version=__version__,
            index=replace(read_index_settings(os.environ, index_url=site.index_url), offline=offline),
            cache=site.cache,
            build_in=_build_image(options, build_image, site) if build_in else None,
            trust_plugin=site.trust_plugin,
            report=lambda done: None if quiet else show_stage(done.name, done.text),
        ) as workshop,
    ):
        bench = _Bench(
            locked=read_lock(config.folder / LOCK, options.targets) if locked and config else None,
            config=config,
            access=access,
            options=options,
            workshop=workshop,
            site=site,
            backend=verify_backend,
            signer=signer,
        )
        at_once = config is not None or jobs is not None
        results = _build_all(
            plugins,
            bench,
            shard=shard,
            jobs=(jobs or 0) if at_once else None,
            on_path=(lambda path: None) if as_json else put,
            quiet=quiet,
        )
    if not quiet:
        if len(results) > 1:
            show_summary(results)
        show_site(results, options.release)
        if verify_backend is None and any(result.package for result in results):
            say("not verified: use --verify")
    code = worst(Exit(result.exit_code) for result in results)
    document = BuildDocument(results=tuple(results), exit_code=code)
    emit(document, as_json=as_json, reports=reports)
    announce(document)
    return code


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """What the plugins of one run are built with; `locked` is the set's lock, by name."""

    locked: Mapping[str, Locked] | None
    config: SetConfig | None

    access: Access
    options: Options
    workshop: Workshop
    site: Site
    backend: str | None
    signer: "Signer | None"


def _build_image(options: Options, reference: str | None, site: Site) -> BuildImage:
    from ...sandbox.engine import REPOSITORY  # with it comes the engine's client

    architectures = [target.architecture for target in options.targets]
    return BuildImage(
        reference=reference or site.image or f"{REPOSITORY}:{options.release}-local",
        pull=site.pull,
        platform=site.platform or (f"linux/{architectures[0]}" if len(architectures) == 1 else None),
    )


def _signer(key: str) -> "Signer":
    from ..signer import open_signer  # with it comes a library that few builds need

    return open_signer(key)


def _gate(site: Site, workshop: Workshop, backend: str, *, signer: "Signer | None", quiet: bool) -> "VerifyingGate":
    from ...verify.trust import NO_TRUST, Trust
    from ..gate import VerifyingGate  # with it comes the whole verifier, which a mere build does without
    from ..proof import make_verify_options

    trust = Trust(public_keys=(signer.public_key,)) if signer else NO_TRUST
    return VerifyingGate(make_verify_options(site, workshop.index, backend=backend, trust=trust), quiet=quiet)


def _build_all(
    plugins: Sequence[str],
    bench: _Bench,
    *,
    shard: Shard | None,
    jobs: int | None,
    on_path: Callable[[str], None],
    quiet: bool,
) -> list[BuildResult]:
    """Build every plugin that the texts stand for: one after the other, or with `jobs` at once (0: as many as fit)."""
    told = Told()
    groups: list[list[Wish] | BuildResult] = []
    names: list[str] = []
    for plugin in plugins:
        try:
            wishes = expand(plugin, replace(bench.access, listen=told))
        except DifyoffError as error:
            groups.append(_failed(plugin, error, told))
        else:
            names += [_lock_name(wish, bench) for wish in wishes]
            groups.append([wish for wish in wishes if shard is None or shard.has(_shard_key(wish, bench))])
    if bench.locked is not None and bench.config is not None:
        check_drift(bench.locked, names, bench.config.folder / LOCK)
    every = [wish for group in groups if isinstance(group, list) for wish in group]
    left: Iterator[BuildResult]
    if jobs is None:
        left = (_build_one(wish, bench, Told(), quiet=quiet) for wish in every)
    else:
        left = iter(
            build_side_by_side(
                [wish.name for wish in every],
                lambda place, job: _build_one(every[place], bench, Told(loud=False), quiet=True, job=job),
                jobs=jobs or None,
                quiet=quiet,
            )
        )
    results: list[BuildResult] = []
    for group in groups:
        results += [group] if isinstance(group, BuildResult) else _with_copy(group, left, bench, told, on_path)
    if results and (more := told.take()):
        results[0] = replace(results[0], findings=(*more, *results[0].findings))
    return results


def _lock_name(wish: Wish, bench: _Bench) -> str:
    return bench.config.portable(wish.name) if bench.config else wish.name


def _locate(wish: Wish, bench: _Bench, told: Told) -> tuple[PluginPlace, MadeBefore | None]:
    """Bring a plugin onto this machine, and what it was resolved to when it was locked."""
    access = replace(bench.access, listen=told)
    if bench.locked is None or bench.config is None:
        return locate_member(wish.member, access), None
    entry = bench.locked[_lock_name(wish, bench)]
    member = (
        wish.member
        if isinstance(wish.member.source, PluginPlace)
        else replace(wish.member, source=bench.config.local(entry.source))
    )
    place = locate_member(member, access)
    check_place(entry, place, bench.options)
    return place, entry.resolution


def _shard_key(wish: Wish, bench: _Bench) -> str:
    return wish.member.plugin_id or plugin_key(wish.name, bench.access)


def _with_copy(
    wishes: Sequence[Wish], left: Iterator[BuildResult], bench: _Bench, told: Told, on_path: Callable[[str], None]
) -> list[BuildResult]:
    """Return the results of what one text stands for; an app gets a copy that names the packages."""
    results = []
    for _ in wishes:
        results.append(next(left))
        if (package := results[-1].package) is not None:
            on_path(package.path)
    try:
        app = write_copy(list(zip(wishes, results, strict=True)), bench.options)
    except DifyoffError as error:
        assert wishes[0].collection is not None
        return [*results, _failed(wishes[0].collection.name, error, told)]
    if app is None:
        return results
    on_path(str(app))
    return [replace(result, app=str(app)) for result in results]


def _failed(name: str, error: DifyoffError, told: Told) -> BuildResult:
    told.error(error.diagnosis)
    return BuildResult(
        input=name, status="failed", exit_code=error.exit_code, findings=told.take(), diagnosis=error.diagnosis
    )


def _build_one(wish: Wish, bench: _Bench, told: Told, *, quiet: bool, job: Job | None = None) -> BuildResult:
    gate = None
    if bench.backend:
        gate = _gate(bench.site, bench.workshop, bench.backend, signer=bench.signer, quiet=quiet)
    between: tuple[PublicationStage, ...] = tuple(stage for stage in (bench.signer, gate) if stage is not None)
    options = bench.options
    try:
        place, before = _locate(wish, bench, told)
        with job or BuildView(release=options.release, targets=options.targets, quiet=quiet) as view:
            built = build(place, options, bench.workshop, listen=view, stages=(pack, *between, publish), before=before)
            if gate is not None and gate.report is None:
                gate.check(built.package.path)
            for finding in built.contents.findings:
                view(finding)
    except DifyoffError as error:
        return _failed(wish.name, error, told)
    except NotPublishedError as error:
        if told.loud:
            say(f"not published: {error}")
        return BuildResult(
            input=wish.name,
            status="refused" if error.report.verdict == "failed" else "not verified",
            exit_code=error.report.exit_code,
            identity=error.report.identity,
            findings=told.take(),
            verification=error.report,
            aside=str(error.aside) if error.aside else None,
            diagnosis=error.report.first_failure(),
        )
    if not quiet:
        _show(built)
    findings = (*told.take(), *built.contents.findings)
    result = _result(wish.name, built, options)
    return replace(result, findings=findings, origin=place.origin, verification=gate.report if gate else None)


def _show(built: OfflinePackage) -> None:
    package = built.package
    say(f"{package.path.name}  {human_size(package.size)}  sha256 {package.sha256}")
    say(str(package.identity))


def _result(name: str, built: OfflinePackage, options: Options) -> BuildResult:
    package = built.package
    return BuildResult(
        input=name,
        status=built.state,
        exit_code=Exit.DONE,
        identity=str(built.source.identity),
        package=PackageDocument(
            path=str(package.path),
            sha256=package.sha256,
            size=package.size,
            unpacked_size=package.unpacked_size,
            identity=str(package.identity),
        ),
        targets=options.target_records,
        daemon=str(options.release),
        resolution=built.contents.resolution,
        wheels=tuple(
            WheelDocument(
                name=wheel.name,
                version=wheel.version,
                filename=wheel.filename,
                sha256=wheel.sha256,
                size=wheel.size,
                origin=wheel.origin,
                architectures=wheel.architectures,
                built=wheel.built,
            )
            for wheel in built.contents.wheels
        ),
        edits=built.contents.edits,
        size=SizeDocument(verdict=built.size.verdict, limit=built.size.limit, text=built.size.text),
        site=tuple(
            SettingDocument(name=each.name, value=each.value, where=each.where, reason=each.reason)
            for each in built.site
        ),
    )

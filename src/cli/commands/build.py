"""`difyoff build`: make offline packages of plugins."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ... import __version__
from ...difypkg import daemons
from ...difypkg.diagnosis import Exit, worst
from ...difypkg.target import TARGETS
from ...render.documents import (
    BuildDocument,
)
from ...repack.options import Options
from ...repack.workshop import BuildImage, open_workshop
from ...sets.lock import LOCK, read_lock
from ...sets.shard import Shard
from ...uvrun.environment import read_index_settings
from ..building import Bench, build_all
from ..console import put, say, show_stage
from ..constraints import read_constraints
from ..options import Suffix, common, sbom_option, site_options
from ..places import Told, offline_option, open_access
from ..reports import check_reports, emit
from ..sets import (
    ShardText,
    config_option,
    current_set,
    plugins_or_set,
    show_site,
    show_summary,
)
from ..site import Site
from ..verification import VerifyCommand, verify_option
from ..watchers import announce

if TYPE_CHECKING:
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
@click.option("--with-env", is_flag=True, help="Pack files that usually hold secrets, such as .env.")
@click.option(
    "--exclude-newer",
    metavar="DATE",
    help="Choose no release that was uploaded after this date; `created` is the plugin's own, as its manifest says."
    " A lock that fits is followed all the same.",
)
@click.option(
    "--constraint",
    "constraint_files",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Choose no release that these requirements exclude. May be repeated.",
)
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
    exclude_newer: str | None,
    constraint_files: tuple[Path, ...],
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
        releases=site.releases,
        exclude_newer=exclude_newer,
        constraints=read_constraints(constraint_files),
    )
    signer = _signer(signing_key) if signing_key else None
    with (
        open_access(site.cache, dify=site.dify, offline=offline, listen=Told(), quiet=quiet) as access,
        open_workshop(
            version=__version__,
            index=replace(read_index_settings(os.environ, index_url=site.index_url), offline=offline),
            cache=site.cache,
            build_in=_build_image(options, build_image, site) if build_in else None,
            trust_plugin=site.trust_plugin,
            report=lambda done: None if quiet else show_stage(done.name, done.text),
        ) as workshop,
    ):
        bench = Bench(
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
        results = build_all(
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

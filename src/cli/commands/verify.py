"""`difyoff verify`: prove that a package installs and starts without a network."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import click

from ... import __version__
from ...difypkg.daemons import Settings
from ...difypkg.diagnosis import DifyoffError, Exit, worst
from ...difypkg.target import TARGETS, Target
from ...render.documents import VerifyDocument, VerifyResult
from ...uvrun.environment import read_index_settings
from ...verify.api import verify
from ...verify.backends import BACKENDS, DEFAULT
from ...verify.options import VerifyOptions
from ...verify.trust import NO_TRUST, Trust
from ..console import say, show_error
from ..options import Size, cache_option, common, sbom_option, targets_of
from ..reports import check_reports, emit
from ..targets import read_target
from ..verification import (
    VerifyView,
    chosen_releases,
    daemon_option,
    dify_option,
    image_option,
    platform_option,
    pull_option,
)


@click.command("verify")
@click.argument("packages", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PACKAGE...")
@click.option(
    "--backend",
    type=click.Choice(list(BACKENDS)),
    default=DEFAULT,
    show_default=True,
    help="How far the proof goes: the package is read only, or the daemon's steps run on this machine or in its image.",
)
@daemon_option
@dify_option
@click.option("--matrix", is_flag=True, help="Add a mirror that is set, and the oldest release of each way to install.")
@click.option(
    "--arch", type=click.Choice(["amd64", "arm64", "all"]), help="The architecture.  [default: the package's own]"
)
@click.option(
    "--target",
    "target_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A target file that `target probe` saved, in place of --arch.",
)
@click.option("--max-size", type=Size(), help="The site's size limit for a package.  [default: the daemon's, 50MiB]")
@image_option
@pull_option
@platform_option
@click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="One of these keys must confirm the package's signature. May be repeated.",
)
@click.option(
    "--provenance",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The provenance of the package; one of the keys or of the allowed signers must have signed it.",
)
@click.option(
    "--allowed-signers",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The people who may sign a provenance, in the form of ssh-keygen(1).",
)
@click.option("--trust-plugin", is_flag=True, help="Start the plugin even where nothing protects this machine from it.")
@sbom_option
@cache_option
@common
def command(
    packages: tuple[Path, ...],
    backend: str,
    daemon: tuple[str, ...],
    dify: tuple[str, ...],
    matrix: bool,
    arch: str | None,
    target_file: Path | None,
    max_size: int | None,
    image: str | None,
    pull: Literal["never", "missing", "always"],
    platform: str | None,
    public_keys: tuple[Path, ...],
    provenance: Path | None,
    allowed_signers: Path | None,
    trust_plugin: bool,
    sbom: Path | None,
    cache_dir: Path,
    as_json: bool,
    reports: tuple[Path, ...],
    quiet: bool,
) -> int:
    """Install and start each PACKAGE as the daemon does, with the network cut off.

    Without --daemon or --dify, every way in which a daemon release would install it is run.
    """
    reports = (*reports, sbom) if sbom else reports
    check_reports(reports, packages)
    if arch and target_file:
        raise click.UsageError("--arch and --target exclude each other")
    try:
        releases = chosen_releases(daemon, dify)
        targets = _choose_targets(arch, target_file)
        index = read_index_settings(os.environ)
        trust = _read_trust(public_keys, provenance, allowed_signers)
    except DifyoffError as error:
        show_error(error.diagnosis)
        failed = VerifyResult(input="", exit_code=error.exit_code, diagnosis=error.diagnosis)
        return _end([replace(failed, input=str(each)) for each in packages], as_json=as_json, reports=reports)
    options = VerifyOptions(
        cache=cache_dir.expanduser().absolute(),
        index=index,
        version=__version__,
        backend=backend,
        releases=releases,
        targets=targets,
        candidates=tuple(TARGETS.values()),
        settings=Settings(max_package_size=max_size),
        matrix=matrix,
        trust_plugin=trust_plugin,
        image=image,
        pull=pull,
        platform=platform,
        trust=trust,
    )
    results: list[VerifyResult] = []
    for package in packages:
        results.append(_verify_one(package, options, quiet=quiet))
        if results[-1].exit_code == Exit.DONE and not as_json:
            click.echo(package)
    return _end(results, as_json=as_json, reports=reports)


def _read_trust(public_keys: Sequence[Path], provenance: Path | None, allowed_signers: Path | None) -> Trust:
    """Return whom packages must come from. Raises `DifyoffError` (`key-unusable`)."""
    if allowed_signers is not None and provenance is None:
        raise click.UsageError("--allowed-signers is for --provenance, which is not given.")
    if provenance is not None and not public_keys and allowed_signers is None:
        raise click.UsageError("Name who may sign the provenance: --public-key or --allowed-signers.")
    if not public_keys and provenance is None:
        return NO_TRUST
    from ...signing.keys import read_public_key

    keys = tuple(map(read_public_key, public_keys))
    return Trust(public_keys=keys, provenance=provenance, allowed_signers=allowed_signers)


def _choose_targets(arch: str | None, file: Path | None) -> tuple[Target, ...]:
    """Return what was asked for; nothing leaves the choice to the package. Raises `DifyoffError`."""
    if file is not None:
        return (read_target(file).target,)
    return targets_of(arch) if arch else ()


def _end(results: Sequence[VerifyResult], *, as_json: bool, reports: tuple[Path, ...]) -> int:
    """Write the document where it is wanted; return the worst of the exit codes."""
    code = worst(Exit(result.exit_code) for result in results)
    emit(VerifyDocument(results=tuple(results), exit_code=code), as_json=as_json, reports=reports)
    return code


def _verify_one(package: Path, options: VerifyOptions, *, quiet: bool) -> VerifyResult:
    if not quiet:
        say(package.name)
    view = VerifyView(quiet=quiet)
    try:
        report = verify(package, options, listen=view)
    except DifyoffError as error:
        show_error(error.diagnosis)
        return VerifyResult(input=str(package), exit_code=error.exit_code, diagnosis=error.diagnosis)
    view.end(report)
    return VerifyResult(input=str(package), exit_code=report.exit_code, report=report)

"""`difyoff verify`: prove that a package installs and starts without a network."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from ...difypkg.diagnosis import DifyoffError, Exit, worst
from ...render.documents import VerifyDocument, VerifyResult
from ...uvrun.environment import read_index_settings
from ...verify.api import verify
from ...verify.options import VerifyOptions
from ..console import put, say, show_error, show_stage
from ..options import common, sbom_option, site_options
from ..proof import make_verify_options, read_trust
from ..reports import check_reports, emit
from ..site import Site
from ..verification import LABELS, VerifyView
from ..watchers import announce


@click.command("verify")
@click.argument("packages", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PACKAGE...")
@site_options(
    *("backend", "daemon", "dify", "arch", "target", "max-size", "mirror", "ignore-lock", "matrix"),
    *("image", "pull", "platform", "public-key", "allow-stand-in", "strict", "trust-plugin", "cache-dir"),
    defaults={"arch": "the package's own"},
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
@sbom_option
@common
def command(
    packages: tuple[Path, ...],
    site: Site,
    provenance: Path | None,
    allowed_signers: Path | None,
    sbom: Path | None,
    as_json: bool,
    reports: tuple[Path, ...],
    quiet: bool,
) -> int:
    """Install and start each PACKAGE as the daemon does, with the network cut off.

    Without --daemon or --dify, every way in which a daemon release would install it is run.
    """
    reports = (*reports, sbom) if sbom else reports
    check_reports(reports, packages)
    if allowed_signers is not None and provenance is None:
        raise click.UsageError("--allowed-signers is for --provenance, which is not given.")
    if provenance is not None and not site.public_keys and allowed_signers is None:
        raise click.UsageError("Name who may sign the provenance: --public-key or --allowed-signers.")
    trust = read_trust(site, provenance=provenance, allowed_signers=allowed_signers)
    options = make_verify_options(site, read_index_settings(os.environ), backend=site.backend, trust=trust)
    results: list[VerifyResult] = []
    for package in packages:
        results.append(_verify_one(package, options, quiet=quiet))
        if results[-1].exit_code == Exit.DONE and not as_json:
            put(package)
    if len(results) > 1 and not quiet:
        _show_summary(results)
    return _end(results, as_json=as_json, reports=reports)


def _show_summary(results: Sequence[VerifyResult]) -> None:
    """Show what became of each of several packages."""
    say("")
    for result in results:
        diagnosis = result.diagnosis or (result.report.first_failure() if result.report else None)
        label = LABELS[result.report.verdict] if result.report else "unusable"
        show_stage(label, f"{Path(result.input).name}{f'  {diagnosis.slug}' if diagnosis else ''}")


def _end(results: Sequence[VerifyResult], *, as_json: bool, reports: tuple[Path, ...]) -> int:
    """Write the document where it is wanted; return the worst of the exit codes."""
    code = worst(Exit(result.exit_code) for result in results)
    document = VerifyDocument(results=tuple(results), exit_code=code)
    emit(document, as_json=as_json, reports=reports)
    announce(document)
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
    finally:
        view.close()
    view.end(report)
    return VerifyResult(input=str(package), exit_code=report.exit_code, report=report)

"""`difyoff diagnose`: why an install failed, read off a daemon's or a console's log."""

import sys
from contextlib import nullcontext
from pathlib import Path

import click

from ...difypkg.archive import Archive
from ...difypkg.daemonlog import compare_identity, diagnose_log, log_lines
from ...difypkg.diagnosis import Diagnosis, DifyoffError, Exit
from ...difypkg.identity import Identity, identify
from ...difypkg.manifest import MANIFEST, read_manifest
from ...render.documents import DiagnoseDocument, DiagnoseResult
from ..console import say, show_error, show_finding
from ..options import common
from ..reports import check_reports, emit


@click.command("diagnose")
@click.argument("file", default="-", type=click.Path(dir_okay=False), metavar="[FILE|-]")
@click.option(
    "--package",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The package that should have been installed; the log is compared with it.",
)
@common
def command(file: str, package: Path | None, as_json: bool, reports: tuple[Path, ...], quiet: bool) -> int:
    """Name the cause, the evidence and the fix in a log of the daemon, of `docker compose logs` or of Dify's console.

    Ctrl-C ends the reading of a log that goes on, not the diagnosis. The exit code is 0 where a cause was found.
    """
    check_reports(reports, [Path(file), *([package] if package else [])])
    try:
        result = _diagnose(file, package)
    except DifyoffError as error:
        show_error(error.diagnosis)
        result = DiagnoseResult(input=file, exit_code=error.exit_code, diagnosis=error.diagnosis)
    else:
        _show(result, quiet=quiet)
    emit(DiagnoseDocument(results=(result,), exit_code=result.exit_code), as_json=as_json, reports=reports)
    return result.exit_code


def _diagnose(file: str, package: Path | None) -> DiagnoseResult:
    identity = _identity(package) if package else None
    try:
        with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as stream:
            seen = diagnose_log(log_lines(stream))
    except OSError as error:
        raise DifyoffError(
            Diagnosis(slug="file-not-readable", message=f"{file} cannot be read: {error.strerror}")
        ) from error
    other = compare_identity(seen.plugins, identity) if identity else None
    unknown = seen.cause.slug == "cause-not-found"
    return DiagnoseResult(
        input=file,
        exit_code=Exit.NO if unknown and other is None else Exit.DONE,
        diagnosis=seen.cause,
        sure=seen.sure,
        complete=seen.complete,
        plugins=tuple(map(str, seen.plugins)),
        findings=(other,) if other else (),
    )


def _show(result: DiagnoseResult, *, quiet: bool) -> None:
    if result.plugins and not quiet:
        say(f"about {result.plugins[0]}")
    for finding in result.findings:
        show_finding(finding)
    show_error(result.diagnosis)
    if not quiet and not result.sure and result.diagnosis.slug != "cause-not-found":
        say("  the log does not decide this by itself")
    if not quiet and not result.complete:
        say("  the log was not read to its end")


def _identity(package: Path) -> Identity:
    with Archive(package) as archive:
        if MANIFEST not in archive:
            raise DifyoffError(
                Diagnosis(slug="manifest-invalid", message=f"{package.name} holds no {MANIFEST} at its root")
            )
        manifest = read_manifest(archive.read(MANIFEST))
        return identify(manifest, archive.digests())

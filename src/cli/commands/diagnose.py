"""`difyoff diagnose`: why something failed, read off logs of the daemon, of a whole site, or of Dify's console."""

import sys
from contextlib import nullcontext
from io import BufferedReader
from pathlib import Path
from typing import Final, cast

import click

from ...difypkg.archive import Archive
from ...difypkg.diagnosis import Diagnosis, DifyoffError, Exit
from ...difypkg.identity import Identity, identify
from ...difypkg.logs.decoding import log_lines
from ...difypkg.logs.plugins import compare_identity
from ...difypkg.logs.reading import Failure, diagnose_log
from ...difypkg.manifest import MANIFEST, read_manifest
from ...render.documents import DiagnoseDocument, DiagnoseResult
from ..console import printable, say, show_error, show_finding
from ..options import common
from ..reports import check_reports, emit

_CONCERNS: Final = {
    "package": "the package",
    "plugin": "the plugin, not its package",
    "plugin_daemon": "the plugin daemon, not the package",
    "api": "Dify's API, not the package",
    "web": "Dify's web service, not the package",
    "database": "the database, not the package",
    "redis": "Redis, not the package",
    "storage": "the storage, not the package",
    "proxy": "the reverse proxy, not the package",
    "network": "the network between services, not the package",
    "index": "the package index",
    "service": "the server that was asked, not the package",
    "marketplace": "the marketplace, not the package",
    "sandbox": "the sandbox, not the package",
    "ssrf_proxy": "the SSRF proxy, not the package",
    "vector_store": "the vector store, not the package",
    "host": "the host, not the package",
}
_COLOURS: Final = {"sure": "red", "likely": "yellow", "possible": "cyan"}
_MANY: Final = 3  # plugins that are named one by one


@click.command("diagnose")
@click.argument("file", default="-", metavar="[FILE|-]")
@click.option(
    "--package",
    type=click.Path(path_type=Path),
    help="The package that should have been installed; the log is compared with it.",
)
@common
def command(file: str, package: Path | None, as_json: bool, reports: tuple[Path, ...], quiet: bool) -> int:
    """Name cause, evidence and fix of each failure in a log: of the daemon, of `docker compose logs`, of Kubernetes.

    The log may be of a whole site, as text or JSON, packed by gzip, or what Dify's console shows. Each answer says how
    sure it is. Ctrl-C ends the reading of a log that goes on, not the diagnosis. The exit code is 0 where a cause was
    found.
    """
    check_reports(reports, [Path(file), *([package] if package else [])])
    try:
        result = _diagnose(file, package)
    except DifyoffError as error:
        show_error(error.diagnosis)
        result = DiagnoseResult(input=file, exit_code=error.exit_code, diagnosis=error.diagnosis)
    else:
        if not as_json:
            _print(result)
        _show(result, as_json=as_json, quiet=quiet)
    emit(DiagnoseDocument(results=(result,), exit_code=result.exit_code), as_json=as_json, reports=reports)
    return result.exit_code


def _diagnose(file: str, package: Path | None) -> DiagnoseResult:
    identity = _identity(package) if package else None
    try:
        stdin = cast("BufferedReader", sys.stdin.buffer)
        with nullcontext(stdin) if file == "-" else Path(file).open("rb") as stream:
            seen = diagnose_log(log_lines(stream))
    except FileNotFoundError as error:
        raise DifyoffError(
            Diagnosis(slug="file-not-found", message=f"{file} does not exist", hint="Check the path.")
        ) from error
    except OSError as error:
        raise DifyoffError(
            Diagnosis(slug="file-not-readable", message=f"{file} cannot be read: {error.strerror}")
        ) from error
    other = compare_identity(seen.plugins, identity) if identity else None
    return DiagnoseResult(
        input=file,
        exit_code=Exit.NO if seen.main is None and other is None else Exit.DONE,
        diagnosis=seen.cause,
        sure=seen.sure,
        complete=seen.complete,
        plugins=tuple(map(str, seen.plugins)),
        findings=(other,) if other else (),
        failures=seen.failures,
        normal=seen.normal,
        unknown=seen.unknown,
    )


def _print(result: DiagnoseResult) -> None:
    """Print each failure, the main one first: what is wrong, who asked whom, the evidence, the fix."""
    ordered = sorted(result.failures, key=lambda failure: failure.diagnosis != result.diagnosis)
    for failure in ordered:
        _print_failure(failure)
    for finding in result.findings:
        click.echo(f"{finding.slug}: {printable(finding.message)}")
    for failure in result.normal:
        click.echo(f"normal ({_times(failure.count)}): {failure.diagnosis.message}")
    for unknown in result.unknown:
        where = f"{unknown.component}, " if unknown.component else ""
        click.echo(f"not known ({where}line {unknown.first.line}, {_times(unknown.count)}): {printable(unknown.text)}")


def _print_failure(failure: Failure) -> None:
    diagnosis = failure.diagnosis
    head = click.style(f"{diagnosis.slug} ({failure.confidence})", fg=_COLOURS[failure.confidence], bold=True)
    click.echo(f"{head}: {printable(diagnosis.message)}")
    if failure.asker and failure.asked:
        click.echo(f"  {printable(failure.asker)} asked {printable(failure.asked)}")
    click.echo(f"  look at: {_CONCERNS.get(failure.concerns, failure.concerns)}")
    if failure.plugins:
        named = " or ".join(map(str, failure.plugins[:_MANY])) + (" or another" if len(failure.plugins) > _MANY else "")
        click.echo(f"  plugin: {named}")
    click.echo(f"  {_place(failure)}")
    for line in diagnosis.context:
        click.echo(f"    {printable(line)}")
    if diagnosis.note:
        click.echo(f"  note: {diagnosis.note}")
    click.echo(f"  fix: {printable(diagnosis.hint or '')}\n")


def _place(failure: Failure) -> str:
    where = f"log of {failure.component}, " if failure.component else ""
    lines = f"line {failure.first.line}"
    times = failure.first.time
    if failure.count > 1:
        lines = f"{_times(failure.count)}, lines {failure.first.line} to {failure.last.line}"
        times = f"{times} to {failure.last.time}" if times and failure.last.time else times
    return f"{where}{lines}" + (f", {times}" if times else "")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _show(result: DiagnoseResult, *, as_json: bool, quiet: bool) -> None:
    for finding in result.findings:
        show_finding(finding)
    if as_json or not result.failures:
        show_error(result.diagnosis)
    elif not quiet:
        number = len(result.failures)
        told = "one failure" if number == 1 else f"{number} failures"
        say(f"{told}; `difyoff explain {result.diagnosis.slug}` says more")
    if not quiet and result.failures and not result.sure:
        say("the log does not prove the cause; the confidence stands beside each answer")
    if not result.complete:
        say("the log was not read to its end")


def _identity(package: Path) -> Identity:
    with Archive(package) as archive:
        if MANIFEST not in archive:
            raise DifyoffError(
                Diagnosis(slug="manifest-invalid", message=f"{package.name} holds no {MANIFEST} at its root")
            )
        manifest = read_manifest(archive.read(MANIFEST))
        return identify(manifest, archive.digests())

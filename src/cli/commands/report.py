"""`difyoff report`: reports read again: shown, joined, and held against each other."""

from collections.abc import Sequence
from pathlib import Path

import click

from ...difypkg.diagnosis import Exit, worst
from ...render.compare import Change, compare, verdict_of
from ...render.documents import BuildDocument, BuildResult, DiffDocument, VerifyDocument, VerifyResult
from ...render.entries import entries_of
from ...render.reading import Report, read_report
from ..console import printable, say
from ..options import common
from ..reports import check_reports, emit

_files = click.argument(
    "files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.json..."
)


@click.group("report")
def command() -> None:
    """Show reports, join those of several machines, or say what changed between two."""


@command.command()
@_files
@common
def show(files: tuple[Path, ...], as_json: bool, reports: tuple[Path, ...], quiet: bool) -> int:
    """Show reports as one table: packages and the daemon releases that they were verified for.

    The exit code is the worst of theirs.
    """
    return _present(_join([read_report(file) for file in files]), files, as_json, reports)


@command.command()
@_files
@common
def merge(files: tuple[Path, ...], as_json: bool, reports: tuple[Path, ...], quiet: bool) -> int:
    """Join reports, such as those of the shards of a set, into the one that --report names."""
    if not reports and not as_json:
        raise click.UsageError("Name the file to write: --report FILE, or --json for stdout.")
    return _present(_join([read_report(file) for file in files]), files, as_json, reports)


@command.command()
@click.argument("old", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("new", type=click.Path(dir_okay=False, path_type=Path))
@common
def diff(old: Path, new: Path, as_json: bool, reports: tuple[Path, ...], quiet: bool) -> int:
    """Say what changed from the report OLD to NEW; the exit code is 1 where something got worse."""
    check_reports(reports, (old, new))
    changes = compare(read_report(old), read_report(new))
    code = Exit.NO if any(change.worse for change in changes) else Exit.DONE
    if not as_json:
        for change in changes:
            click.echo(printable(_line(change)))
        if not changes and not quiet:
            say("nothing changed")
    emit(DiffDocument(results=changes, exit_code=code), as_json=as_json, reports=reports)
    return code


def _line(change: Change) -> str:
    return f"{'worse ' if change.worse else '      '} {change.plugin}: {change.what}: {change.old} -> {change.new}"


def _join(documents: Sequence[Report]) -> Report:
    """Return one document with the results of all, in their order. A package that is in several counts each time."""
    code = worst(Exit(document.exit_code) for document in documents)
    if all(isinstance(document, BuildDocument) for document in documents):
        built: list[BuildResult] = [
            result for document in documents if isinstance(document, BuildDocument) for result in document.results
        ]
        return BuildDocument(results=tuple(built), exit_code=code)
    verified = [result for document in documents for result in map(_as_verified, document.results)]
    return VerifyDocument(results=tuple(verified), exit_code=code)


def _as_verified(result: VerifyResult | BuildResult) -> VerifyResult:
    if isinstance(result, VerifyResult):
        return result
    return VerifyResult(
        input=result.input, exit_code=result.exit_code, report=result.verification, diagnosis=result.diagnosis
    )


def _present(document: Report, files: Sequence[Path], as_json: bool, reports: Sequence[Path]) -> int:
    check_reports(reports, files)
    if not as_json:
        for line in _table(document):
            click.echo(printable(line))
    emit(document, as_json=as_json, reports=reports)
    return document.exit_code


def _table(document: Report) -> list[str]:
    """Return a table in plain text: a package a line, a daemon release a column."""
    entries = entries_of(document)
    scenarios = (scenario for entry in entries if entry.report for scenario in entry.report.scenarios)
    releases = list(dict.fromkeys(scenario.daemon for scenario in scenarios if scenario.daemon))
    rows = [["package", "verdict", *releases]]
    for entry in entries:
        report = entry.report
        rows.append([entry.name, entry.verdict, *(verdict_of(report, each) if report else "-" for each in releases)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]

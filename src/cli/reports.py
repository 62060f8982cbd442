"""Where a command's document goes: to stdout for `--json`, and to each file of `--report`."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from ..difypkg.files import temporary_name, write_atomically
from ..render.api import FORMATS, Document, find_format
from .console import put
from .secrecy import without_secrets

SBOM_SUFFIX: Final = ".cdx.json"


class ReportFile(click.ParamType[Path]):
    """The file of a report; its suffix names the format."""

    name = "file"
    envvar_list_splitter = os.pathsep

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path. A suffix that no format has is a wrong use."""
        path = Path(value)
        if find_format(path) is None:
            self.fail(f"{value!r} does not name a report: its suffix must be {' or '.join(FORMATS)}", param, ctx)
        return path


class SbomFile(ReportFile):
    """The file of a bill of materials, named as CycloneDX recommends: every reader knows it by its suffix."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path. Another suffix is a wrong use."""
        if not str(value).endswith(SBOM_SUFFIX):
            self.fail(f"{value!r} does not name a bill of materials: its suffix must be {SBOM_SUFFIX}.", param, ctx)
        return super().convert(value, param, ctx)


def check_reports(reports: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Refuse reports that would replace an input, a file that is not a report, or cannot be written.

    It is called before any work. Raises `click.UsageError`, and `DifyoffError` (`output-not-writable`).
    """
    existing = [path for path in inputs if path.exists()]
    for number, report in enumerate(reports):
        if report in reports[:number]:
            raise click.UsageError(f"--report {report} is given twice.")
        if report.exists():
            if any(report.samefile(path) for path in existing):
                raise click.UsageError(f"--report {report} would replace an input. Name another file.")
            if not report.is_file() or not _may_be_replaced(report):
                raise click.UsageError(f"--report {report} would replace a file that is not a report. Name another.")
        with temporary_name(report):
            pass  # its folder can be written to


def _may_be_replaced(report: Path) -> bool:
    known = find_format(report)
    content = report.read_bytes()
    return not content.strip() or (known is not None and known.recognises(content))


def emit(document: Document, *, as_json: bool, reports: Sequence[Path]) -> None:
    """Write a command's document where it is wanted. Raises `DifyoffError` (`disk-full`, `output-not-writable`)."""
    document = without_secrets(document)
    for report in reports:
        known = find_format(report)
        assert known is not None  # `ReportFile` has refused the others
        write_atomically(report, known.render(document))
    if as_json:
        known = find_format(Path(".json"))
        assert known is not None
        put(known.render(document), nl=False)

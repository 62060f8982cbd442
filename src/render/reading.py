"""Read a report that difyoff wrote as JSON, back into the values that it was made of."""

from pathlib import Path
from typing import Any, Final, TypeAlias

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from .documents import BuildDocument, VerifyDocument

Report: TypeAlias = VerifyDocument | BuildDocument
"""The documents that hold verifications."""

_LARGEST: Final = 256 << 20


def read_report(path: Path) -> Report:
    """Read a report of `verify` or `build`. Raises `DifyoffError`: `file-not-found`, `report-unreadable`."""
    from pydantic import TypeAdapter, ValidationError

    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise DifyoffError(
            Diagnosis(slug="file-not-found", message=f"{path} cannot be read: {error.strerror}", hint="Check the path.")
        ) from error
    adapter: TypeAdapter[Any] = TypeAdapter(Report)
    try:
        report: Report = adapter.validate_json(content[:_LARGEST])
    except (ValidationError, RecursionError) as error:
        raise DifyoffError(
            Diagnosis(
                slug="report-unreadable",
                message=f"{path.name} is not a JSON report of `difyoff verify` or `difyoff build`",
                context=tuple(str(error).splitlines()[:3]),
                hint="Write one with `--report FILE.json`.",
            )
        ) from error
    return report

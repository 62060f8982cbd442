"""Wheels are judged before they go into a package, each once: the store remembers what was found in it."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Final

from ..difypkg.archives.wheel import RULES, WheelFault, WheelReport, check_wheel
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..transfer.fetch import Fetched
from ..transfer.store import WheelStore
from .wheels import Wheel

_READERS: Final = 4
"""Wheels that are read at once: unpacking and hashing use one processor each."""
_SHOWN: Final = 12


def inspect_wheels(wheels: Sequence[Wheel], store: WheelStore) -> tuple[tuple[Wheel, ...], tuple[Diagnosis, ...]]:
    """Return the wheels with what is waived of them, and what is worth knowing of them.

    Raises `DifyoffError`: `damaged-wheel` for what is not a readable archive, `untrue-wheel` for a wheel that
    contradicts itself.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        reports = list(pool.map(lambda wheel: _inspect(wheel.filename, wheel.sha256, store), wheels))
    faults = [(report, fault) for report in reports for fault in report.faults]
    if faults:
        lines = [f"{report.filename}: {fault.detail}" for report, fault in faults]
        raise DifyoffError(
            Diagnosis(
                slug="damaged-wheel" if faults[0][1].kind == "archive" else "untrue-wheel",
                message=f"a wheel cannot be trusted: {lines[0]}",
                context=tuple(lines[:_SHOWN]) if len(lines) > 1 else (),
                note="It was not changed on the way: it is like this where it comes from.",
                hint="Choose another version of the distribution, and tell its author.",
            )
        )
    judged = tuple(
        replace(wheel, waived=tuple(fault.detail for fault in report.waived))
        for wheel, report in zip(wheels, reports, strict=True)
    )
    unusual = [line for report in reports for line in report.unusual]
    return judged, (_unusual(unusual),) if unusual else ()


def inspect_early(fetched: Fetched, store: WheelStore) -> None:
    """Judge a wheel that was just fetched, while others are on their way; what is wrong is told by `inspect_wheels`."""
    if fetched.download.filename.endswith(".whl"):
        _inspect(fetched.download.filename, fetched.sha256, store)


def _unusual(lines: Sequence[str]) -> Diagnosis:
    return Diagnosis(
        slug="unusual-wheel",
        message=lines[0] + (f", and {len(lines) - 1} more" if len(lines) > 1 else ""),
        context=tuple(lines[:_SHOWN]) if len(lines) > 1 else (),
    )


def _inspect(filename: str, sha256: str, store: WheelStore) -> WheelReport:
    if (known := _recall(filename, sha256, store)) is not None:
        return known
    with store.path(sha256).open("rb", buffering=0) as file:
        report = check_wheel(file, filename, sha256)
    if not report.faults:
        store.remember(sha256, json.dumps({"rules": RULES, **asdict(report)}))
    return report


def _recall(filename: str, sha256: str, store: WheelStore) -> WheelReport | None:
    """Return what an earlier run found, under the same name and by the same rules."""
    try:
        known = json.loads(store.recall(sha256) or "null")
        if known["rules"] != RULES or known["filename"] != filename or known["faults"]:
            return None
        return WheelReport(
            filename=filename,
            waived=tuple(WheelFault(**fault) for fault in known["waived"]),
            code=tuple(known["code"]),
            notes=tuple(known["notes"]),
        )
    except (ValueError, TypeError, KeyError):
        return None

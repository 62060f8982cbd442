"""Whether each wheel's files are those of its own RECORD: uv and pip install a local wheel without asking."""

from collections.abc import Iterable, Iterator
from typing import Final

from ...difypkg.diagnosis import REBUILD, Diagnosis
from ..contents.wheels import BundledWheel
from ..finding import NOTHING, Finding

_SHOWN: Final = 12


def find_untrue_wheels(wheels: Iterable[BundledWheel]) -> Iterator[Finding]:
    """Yield the wheels that contradict themselves (`untrue-wheel`), and what is unusual in others (`unusual-wheel`)."""
    reports = [wheel.report for wheel in wheels]
    untrue = [f"{report.filename}: {fault.detail}" for report in reports for fault in report.faults]
    if untrue:
        yield Finding(
            diagnosis=Diagnosis(
                slug="untrue-wheel",
                message=f"a wheel contradicts itself: {untrue[0]}",
                context=tuple(untrue[:_SHOWN]) if len(untrue) > 1 else (),
                note="uv installs a local wheel without looking.",
                hint=REBUILD,
            )
        )
    unusual = [line for report in reports for line in report.unusual]
    if unusual:
        yield Finding(
            diagnosis=Diagnosis(
                slug="unusual-wheel",
                message=unusual[0] + (f", and {len(unusual) - 1} more" if len(unusual) > 1 else ""),
                context=tuple(unusual[:_SHOWN]) if len(unusual) > 1 else (),
            ),
            bites=NOTHING,
        )

"""What the formats read off a document: one entry for each input, whatever the command."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from ..difypkg.diagnosis import Diagnosis
from ..verify.report import Check, ScenarioReport, VerificationReport
from .api import Document

VERDICT_WORDS = {
    "passed": "verified",
    "failed": "refused",
    "error": "not proved: the verification itself failed",
    "not-verified": "not verified",
}
"""A verdict in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One input of a command: its report where there is one, and the diagnosis that ended its work where one did."""

    name: str
    exit_code: int
    report: VerificationReport | None = None
    diagnosis: Diagnosis | None = None
    findings: tuple[Diagnosis, ...] = ()

    @property
    def verdict(self) -> str:
        """The verdict in words; of a command that proves nothing, whether it succeeded."""
        if self.report is not None:
            return VERDICT_WORDS[self.report.verdict]
        return "failed" if self.exit_code else "not verified"


def entries_of(document: Document) -> tuple[Entry, ...]:
    """Return the entries of a document, in its order."""
    return tuple(map(_entry, document.results))


def _entry(result: object) -> Entry:
    report = getattr(result, "report", None) or getattr(result, "verification", None)
    assert report is None or isinstance(report, VerificationReport)
    return Entry(
        name=PurePath(getattr(result, "input", "") or "(no input)").name,
        exit_code=int(getattr(result, "exit_code", 0)),
        report=report,
        diagnosis=getattr(result, "diagnosis", None),
        findings=tuple(getattr(result, "findings", ())),
    )


def scenario_name(scenario: ScenarioReport) -> str:
    """Return the words that tell one scenario of a report from the others."""
    words = [scenario.backend, f"daemon {scenario.daemon}" if scenario.daemon else "", scenario.branch or ""]
    return ", ".join(filter(None, (*words, scenario.architecture, *(f"{each} set" for each in scenario.settings))))


def failures_of(entry: Entry) -> tuple[Diagnosis, ...]:
    """Return every diagnosis of an entry once, the gravest scenario's first; findings are not among them."""
    found = [check.diagnosis for check in _checks(entry) if check.diagnosis is not None]
    if not found and entry.diagnosis is not None:
        found = [entry.diagnosis]
    return tuple({each.slug: each for each in reversed(found)}.values())[::-1]


def findings_of(entry: Entry) -> tuple[Diagnosis, ...]:
    """Return every finding of an entry once."""
    scenarios = entry.report.scenarios if entry.report else ()
    reported = entry.report.findings if entry.report else ()
    every = (*entry.findings, *reported, *(finding for scenario in scenarios for finding in scenario.findings))
    return tuple(dict.fromkeys(every))


def _checks(entry: Entry) -> Iterator[Check]:
    for scenario in entry.report.scenarios if entry.report else ():
        yield from scenario.checks

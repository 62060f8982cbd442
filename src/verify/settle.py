"""Where reading and running disagree, running decides: what the audit suspects and no run confirms is a finding.

The audit refuses alone only what no run can see: the archive and the upload, hashes, another machine's libraries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from ..difypkg.diagnosis import Diagnosis
from .report import Check, ScenarioReport

_SEEN_BY_AN_INSTALL: Final = frozenset(
    {
        *("readable files", "bundled wheels", "dependency files", "Python version", "configuration of uv"),
        *("package index", "folders of wheels", "build system", "environments", "dependencies"),
    }
)
_SEEN_BY_A_START: Final = frozenset({"runner"})
_NEVER_SEEN: Final = frozenset({"not-python", "record-unreadable", "tampered-wheel"})
"""What no step of the daemon looks at, or what it refuses before the first."""


def settle(audited: ScenarioReport, runs: Sequence[ScenarioReport]) -> ScenarioReport:
    """Return the audit's report with every suspicion that the runs refute as a finding.

    A suspicion is refuted where on each branch that it bites a run passed, for every architecture that was run.
    """
    refuted = [check for check in audited.checks if check.status == "failed" and _is_refuted(check, runs)]
    if not refuted:
        return audited
    names = {check.name for check in refuted}
    failed = {check.name for check in audited.checks if check.status == "failed" and check not in refuted}
    kept = [check for check in audited.checks if check not in refuted]
    passed = [
        Check(name=name, status="passed", message="the daemon's own steps succeed: see the findings")
        for name in dict.fromkeys(check.name for check in refuted)
        if name in names - failed
    ]
    return replace(
        audited,
        checks=(*kept, *passed),
        findings=(*audited.findings, *(_soften(check.diagnosis) for check in refuted if check.diagnosis)),
    )


def can_be_refuted(audited: ScenarioReport) -> bool:
    """Say whether all that the audit holds against a package might be refuted by a run."""
    failed = [check for check in audited.checks if check.status == "failed"]
    return bool(failed) and all(_is_open(check) for check in failed)


def _is_open(check: Check) -> bool:
    seen = check.name in _SEEN_BY_AN_INSTALL | _SEEN_BY_A_START
    return seen and check.diagnosis is not None and check.diagnosis.slug not in _NEVER_SEEN


def _is_refuted(check: Check, runs: Sequence[ScenarioReport]) -> bool:
    if not _is_open(check):
        return False
    counting = [run for run in runs if check.name not in _SEEN_BY_A_START or _has_started(run)]
    architectures = {run.architecture for run in runs}
    passed = _list_passed(counting)
    if check.name in _SEEN_BY_A_START:
        return bool(architectures) and architectures <= {architecture for _, architecture in passed}
    return bool(architectures) and all(
        (branch, architecture) in passed for branch in check.branches for architecture in architectures
    )


def _list_passed(runs: Iterable[ScenarioReport]) -> set[tuple[str | None, str]]:
    passed = {(run.branch, run.architecture) for run in runs if run.verdict == "passed"}
    return passed - {(run.branch, run.architecture) for run in runs if run.verdict != "passed"}


def _has_started(run: ScenarioReport) -> bool:
    return any((check.name, check.status) == ("start", "passed") for check in run.checks)


def _soften(diagnosis: Diagnosis) -> Diagnosis:
    note = "The daemon's own steps succeed all the same on every release that was asked for; `--strict` refuses it."
    return replace(diagnosis, note=f"{diagnosis.note} {note}" if diagnosis.note else note)

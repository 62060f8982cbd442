"""Markdown for a merge request or a step summary: one table, then what failed and how to mend it."""

import re
from collections.abc import Iterator
from typing import Final

from ..difypkg.diagnosis import Diagnosis
from .api import Document
from .entries import Entry, entries_of, failures_of, findings_of

_HEAD: Final = "<!-- difyoff report -->\n"
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>()#+!|~&@-])")
_MARKS: Final = {"verified": "\N{WHITE HEAVY CHECK MARK}", "refused": "\N{CROSS MARK}", "failed": "\N{CROSS MARK}"}


def render(document: Document) -> str:
    """Return the document as Markdown."""
    entries = entries_of(document)
    lines = [f"## difyoff {document.command}", "", "| package | verdict | sha256 |", "|---|---|---|"]
    for entry in entries:
        mark = _MARKS.get(entry.verdict, "\N{WARNING SIGN}")
        digest = f"`{entry.report.sha256[:16]}…`" if entry.report and entry.report.sha256 else ""
        lines.append(f"| {_escape(entry.name)} | {mark} {_escape(entry.verdict)} | {digest} |")
    for entry in entries:
        lines += _details(entry)
    return _HEAD + "\n".join(lines) + "\n"


def recognises(content: bytes) -> bool:
    """Say whether the content is such a report."""
    return content.startswith(_HEAD.encode())


def _details(entry: Entry) -> Iterator[str]:
    failures, findings = failures_of(entry), findings_of(entry)
    not_checked = entry.report.not_checked if entry.report else ()
    if not (failures or findings or not_checked):
        return
    yield from ("", f"### {_escape(entry.name)}", "")
    for diagnosis in failures:
        yield from _diagnosis("error", diagnosis)
    for finding in findings:
        yield from _diagnosis("finding", finding)
    yield from (f"* not checked: {_escape(each)}" for each in not_checked)


def _diagnosis(kind: str, diagnosis: Diagnosis) -> Iterator[str]:
    yield f"* **{kind}\\[{diagnosis.slug}\\]** {_escape(diagnosis.message)}"
    for line in diagnosis.context[:8]:
        yield f"  * {_escape(line)}"
    if diagnosis.hint:
        yield f"  * fix: {_escape(diagnosis.hint)}"


def _escape(text: str) -> str:
    """Return text from a package as text alone: no markup, mention or table cell of its own."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))

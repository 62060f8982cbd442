"""JUnit XML, as GitLab, Jenkins and GitHub read it: a suite for each package, a case for each check of a scenario.

A package that is not verified always has a case that failed: readers take a suite of skipped cases for a success.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Final

from ..difypkg.diagnosis import Diagnosis
from ..verify.report import Check
from .api import Document
from .entries import Entry, entries_of, scenario_name

_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write (§2.2)."""
_ROOT: Final = b'<testsuites name="difyoff '


def render(document: Document) -> str:
    """Return the document as JUnit XML."""
    root = ET.Element("testsuites", name=f"difyoff {document.command}")
    suites = [_suite(entry) for entry in entries_of(document)]
    root.extend(suites)
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def recognises(content: bytes) -> bool:
    """Say whether the content is such a report."""
    return _ROOT in content[:200]


def _suite(entry: Entry) -> ET.Element:
    suite = ET.Element("testsuite", name=_text(entry.name))
    if entry.report is not None:
        properties = ET.SubElement(suite, "properties")
        for name, value in _properties(entry):
            ET.SubElement(properties, "property", name=name, value=_text(value))
    cases = list(_cases(entry))
    suite.extend(cases)
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("tests", str(len(cases)))
    return suite


def _properties(entry: Entry) -> Iterator[tuple[str, str]]:
    assert entry.report is not None
    yield "verdict", entry.report.verdict
    yield "sha256", entry.report.sha256
    yield "identity", entry.report.identity or ""
    for index, each in enumerate(entry.report.not_checked, 1):
        yield f"not-checked-{index}", each


def _cases(entry: Entry) -> Iterator[ET.Element]:
    failed = False
    for scenario in entry.report.scenarios if entry.report else ():
        for check in scenario.checks:
            failed = failed or check.status in ("failed", "error")
            yield _case(scenario_name(scenario), check)
    if not failed and (entry.exit_code or entry.report is None or entry.report.verdict != "passed"):
        case = ET.Element("testcase", classname="difyoff", name="verdict", time="0")
        kind = "failure" if entry.exit_code == 1 else "error"
        if entry.exit_code == 0:  # nobody asked for a proof
            ET.SubElement(case, "skipped", message=entry.verdict)
        elif entry.diagnosis is not None:
            _explain(case, kind, entry.diagnosis)
        else:
            ET.SubElement(case, kind, message=entry.verdict)
        yield case


def _case(where: str, check: Check) -> ET.Element:
    case = ET.Element("testcase", classname=_text(where), name=_text(check.name), time=f"{check.seconds:.3f}")
    if check.status == "skipped":
        message = check.message or (check.diagnosis.message if check.diagnosis else "")
        ET.SubElement(case, "skipped", message=_text(message))
    elif check.status != "passed":
        kind = "failure" if check.status == "failed" else "error"
        if check.diagnosis is None:
            ET.SubElement(case, kind, message=_text(check.message))
        else:
            _explain(case, kind, check.diagnosis)
    if check.evidence:
        ET.SubElement(case, "system-out").text = _text("\n".join(check.evidence))
    return case


def _explain(case: ET.Element, kind: str, diagnosis: Diagnosis) -> None:
    element = ET.SubElement(case, kind, type=diagnosis.slug, message=_text(diagnosis.message))
    lines = [*diagnosis.context]
    lines += [f"note: {diagnosis.note}"] if diagnosis.note else []
    lines += [f"fix: {diagnosis.hint}"] if diagnosis.hint else []
    element.text = _text("\n".join([*lines, f"`difyoff explain {diagnosis.slug}` says more"]))


def _text(text: str) -> str:
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)

"""SARIF 2.1.0 (OASIS): a rule for each diagnosis, a result for each package that it concerns."""

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from .. import __version__
from ..difypkg.diagnosis import Diagnosis, page
from .api import Document
from .entries import Entry, entries_of, failures_of, findings_of

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_TOOL: Final = "difyoff"
_NOT_VERIFIED: Final = "not-verified"


def render(document: Document) -> str:
    """Return the document as a SARIF log with one run."""
    results = [result for entry in entries_of(document) for result in _results(entry)]
    slugs = list(dict.fromkeys(result["ruleId"] for result in results))
    for result in results:
        result["ruleIndex"] = slugs.index(result["ruleId"])
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": _TOOL, "version": __version__, "rules": [_rule(slug) for slug in slugs]}},
                "invocations": [
                    {"executionSuccessful": document.exit_code in (0, 1), "exitCode": int(document.exit_code)}
                ],
                "results": results,
            }
        ],
    }
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def recognises(content: bytes) -> bool:
    """Say whether the content is such a log."""
    try:
        data = json.loads(content)
        return bool(data["version"] == "2.1.0" and data["runs"][0]["tool"]["driver"]["name"] == _TOOL)
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return False


def _results(entry: Entry) -> Iterator[dict[str, Any]]:
    failures = failures_of(entry)
    for diagnosis in failures:
        yield _result(entry, diagnosis, "error" if entry.exit_code else "warning")
    for finding in findings_of(entry):
        yield _result(entry, finding, "note")
    # A package that was to be verified and was not must not look like one without faults.
    if entry.exit_code and not failures:
        yield _result(entry, Diagnosis(slug=_NOT_VERIFIED, message=f"{entry.name}: {entry.verdict}"), "error")


def _result(entry: Entry, diagnosis: Diagnosis, level: str) -> dict[str, Any]:
    lines = [diagnosis.message, *diagnosis.context]
    lines += [f"fix: {diagnosis.hint}"] if diagnosis.hint else []
    return {
        "ruleId": diagnosis.slug,
        "level": level,
        "message": {"text": "\n".join(lines)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": quote(entry.name)}}}],
        "partialFingerprints": {"difyoff/v1": f"{diagnosis.slug}:{entry.name}"},
    }


def _rule(slug: str) -> dict[str, Any]:
    try:
        known = page(slug)
    except KeyError:
        return {"id": slug, "shortDescription": {"text": "The package is not verified"}}
    return {"id": slug, "shortDescription": {"text": known.title}, "help": {"text": known.text, "markdown": known.text}}

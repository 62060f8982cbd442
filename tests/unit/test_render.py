"""Report formats: nothing that is not verified looks as if it were, and a package's text stays text."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from sarif_pydantic import Sarif

from difyoff.difypkg.diagnosis import Diagnosis, DifyoffError
from difyoff.render.api import FORMATS, Format, find_format
from difyoff.render.documents import FailureDocument, FailureResult, VerifyDocument
from difyoff.verify.report import Check
from kit.reports import BROKEN, FAILED, FAULT, HOSTILE, NOT_RUN, PASSED, document, hostile, report, scenario

UNVERIFIED = {"failed": FAILED, "error": BROKEN, "not-verified": NOT_RUN}
FAILURE = FailureDocument(command="verify", exit_code=5, results=(FailureResult(exit_code=5, diagnosis=FAULT),))


def form(suffix: str) -> Format:
    found = find_format(Path(f"report{suffix}"))
    assert found is not None
    return found


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("made", [document(report(PASSED)), document(report(FAILED)), FAILURE, hostile()])
def test_every_format_knows_its_own_and_no_other(suffix: str, made: VerifyDocument | FailureDocument) -> None:
    if suffix == ".cdx.json" and isinstance(made, FailureDocument):
        with pytest.raises(DifyoffError) as caught:
            form(suffix).render(made)
        assert caught.value.diagnosis.slug == "no-inventory"
        return
    content = form(suffix).render(made).encode()
    assert content.endswith(b"\n")
    assert [each for each in FORMATS if form(each).recognises(content)] == [suffix]
    assert not form(suffix).recognises(b"my notes")
    assert not form(suffix).recognises(b"")


@pytest.mark.parametrize("verdict", UNVERIFIED)
def test_junit_never_takes_an_unverified_package_for_a_success(verdict: str) -> None:
    root = ET.fromstring(form(".xml").render(document(report(UNVERIFIED[verdict]), report(PASSED))))
    bad, good = root.findall("testsuite")
    assert int(bad.get("failures", "0")) + int(bad.get("errors", "0")) >= 1
    assert (good.get("failures"), good.get("errors"), good.get("tests")) == ("0", "0", "3")
    for count in ("tests", "failures", "errors", "skipped"):
        assert int(root.get(count, "")) == sum(int(suite.get(count, "")) for suite in (bad, good))
        assert len(root.findall(".//testcase")) == int(root.get("tests", ""))


def test_junit_says_the_fix() -> None:
    failure = ET.fromstring(form(".xml").render(document(report(FAILED)))).find(".//failure")
    assert failure is not None
    assert (failure.get("type"), failure.get("message")) == ("missing-wheel", "a wheel is missing")
    assert "fix: Build again." in (failure.text or "")


@pytest.mark.parametrize("verdict", UNVERIFIED)
def test_sarif_has_an_error_for_whatever_is_not_verified(verdict: str) -> None:
    text = form(".sarif").render(document(report(UNVERIFIED[verdict])))
    (run,) = Sarif.model_validate_json(text).runs
    assert [result.level for result in run.results or []].count("error") >= 1
    data = json.loads(text)["runs"][0]
    assert [data["tool"]["driver"]["rules"][each["ruleIndex"]]["id"] for each in data["results"]] == [
        each["ruleId"] for each in data["results"]
    ]


def test_sarif_of_a_verified_package_has_no_error() -> None:
    (run,) = Sarif.model_validate_json(form(".sarif").render(document(report(PASSED)))).runs
    assert not run.results


@pytest.mark.parametrize("verdict", UNVERIFIED)
def test_markdown_names_the_verdict(verdict: str) -> None:
    text = form(".md").render(document(report(UNVERIFIED[verdict])))
    row = next(line for line in text.splitlines() if "package.difypkg" in line)
    assert "verified |" not in row.replace("not verified", "")


def test_markdown_keeps_hostile_text_in_its_cell() -> None:
    text = form(".md").render(hostile())
    assert not re.search(r"(?<!\\)<(?!!-- difyoff)", text)
    assert not re.search(r"(?<!\\)[@`](?!\w{16})someone", text)
    assert "\n## heading" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_junit_of_hostile_text_is_xml() -> None:
    root = ET.fromstring(form(".xml").render(hostile()))
    assert "<script>" in (root.findall(".//failure")[0].get("message") or "")


def test_the_page_escapes_hostile_text_and_writes_out_what_steers_the_eye() -> None:
    text = form(".html").render(hostile())
    assert "<script" not in text
    assert "<img" not in text
    assert "49" not in re.findall(r"\{\{ 7\*7 \}\}|>49", text)
    assert not re.search("[\x00\x1b\u202e\u2066]", text)
    assert "\\u202e" in text
    assert HOSTILE not in text


def test_the_page_stays_small_whatever_it_is_given() -> None:
    log = Diagnosis(slug="missing-wheel", message="x" * 2_000_000, context=("y" * 2_000_000, *("z",) * 100_000))
    failed = report(scenario(Check(name="install", status="failed", diagnosis=log)))
    assert len(form(".html").render(hostile(findings=100_000))) < 2_000_000
    assert len(form(".html").render(document(failed))) < 1_000_000


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (PASSED, "Verified: "),
        (FAILED, "Refused: "),
        (BROKEN, "Error: "),
        (NOT_RUN, "Not verified: "),
    ],
)
def test_the_page_begins_with_the_verdict(made: object, words: str) -> None:
    text = form(".html").render(document(report(made)))  # type: ignore[arg-type]
    verdicts = ("Verified: ", "Refused: ", "Error: ", "Not verified: ")
    assert [each for each in verdicts if f">{each}" in text] == [words]


def test_a_set_is_a_table_of_packages_and_releases() -> None:
    text = form(".html").render(document(report(PASSED), report(FAILED)))
    assert '<th scope="col">0.6.10</th>' in text
    assert text.count('href="#p1s1"') == 1
    assert 'id="p2s1"' in text


def test_a_bill_of_materials_is_valid_and_the_same_each_time() -> None:
    made = hostile()
    text = form(".cdx.json").render(made)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == form(".cdx.json").render(made)
    data = json.loads(text)
    refs = {each["ref"]: each.get("dependsOn", []) for each in data["dependencies"]}
    listed = {each["bom-ref"] for each in data["components"]} | {data["metadata"]["component"]["bom-ref"]}
    assert set(refs) == listed
    assert len(refs[data["metadata"]["component"]["bom-ref"]]) == 1
    built = [each["name"] for each in data["components"] if "properties" in each]
    assert built == ["wheel-1"]


def test_a_bill_of_materials_names_what_it_does_not_list() -> None:
    unread = replace(report(FAILED), inventory=None)
    data = json.loads(form(".cdx.json").render(document(report(PASSED), unread)))
    assert [each["name"] for each in data["metadata"]["properties"]] == ["difyoff:not-listed"]

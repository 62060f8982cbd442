"""`difyoff report`: what was written is read again, and an upgrade that makes things worse is told."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from difyoff.difypkg.diagnosis import Diagnosis
from difyoff.render.api import find_format
from difyoff.render.documents import VerifyDocument
from difyoff.verify.report import MeasuredSize, VerificationReport
from kit.cli import difyoff
from kit.documents import check_document
from kit.reports import BROKEN, FAILED, NOT_RUN, PASSED, document, report, scenario


def write(path: Path, made: VerifyDocument) -> Path:
    form = find_format(path)
    assert form is not None
    path.write_text(form.render(made), encoding="utf-8")
    return path


def _named(made: VerificationReport, identity: str) -> VerificationReport:
    return replace(made, identity=f"{identity}@{'b' * 64}")


def test_reports_are_shown_as_one_table(tmp_path: Path) -> None:
    one, two = (
        write(tmp_path / "1.json", document(report(PASSED))),
        write(tmp_path / "2.json", document(report(FAILED))),
    )
    run = difyoff("report", "show", one, two, cwd=tmp_path)
    assert run.code == 1
    head, first, second = (line.split() for line in run.stdout.splitlines())
    assert head == ["package", "verdict", "0.6.10"]
    assert first[1:] == ["verified", "passed"]
    assert second[1:] == ["refused", "failed"]


@pytest.mark.parametrize(
    ("reports", "code"), [((PASSED,), 0), ((PASSED, FAILED), 1), ((FAILED, NOT_RUN), 5), ((PASSED, BROKEN), 5)]
)
def test_shards_are_joined_and_the_worst_counts(tmp_path: Path, reports: tuple[object, ...], code: int) -> None:
    files = [
        write(tmp_path / f"{number}.json", document(report(each)))  # type: ignore[arg-type]
        for number, each in enumerate(reports)
    ]
    run = difyoff("report", "merge", *files, "--report", "all.json", "--report", "all.html", cwd=tmp_path)
    assert run.code == code
    joined = json.loads((tmp_path / "all.json").read_text())
    assert (joined["command"], joined["exit_code"]) == ("verify", code)
    assert joined["results"] == [json.loads(file.read_text())["results"][0] for file in files]
    assert difyoff("report", "show", "all.json", cwd=tmp_path).code == code


def _over(made: VerificationReport) -> VerificationReport:
    assert made.inventory is not None
    sizes = (MeasuredSize(name="packed", size=70_000_000, limit=52_428_800),)
    return replace(made, inventory=replace(made.inventory, sizes=sizes))


def _under(made: VerificationReport) -> VerificationReport:
    assert made.inventory is not None
    sizes = (MeasuredSize(name="packed", size=1_000_000, limit=52_428_800),)
    return replace(made, inventory=replace(made.inventory, sizes=sizes))


def _with(**fields: object) -> Callable[[VerificationReport], VerificationReport]:
    def change(made: VerificationReport) -> VerificationReport:
        assert made.inventory is not None
        return replace(made, inventory=replace(made.inventory, **fields))  # type: ignore[arg-type]

    return change


NETWORK = scenario(*PASSED.checks, findings=(Diagnosis(slug="network-at-start", message="wants example.com"),))
GOOD = _under(_named(report(PASSED), "a/b:1"))
WORSE: dict[str, tuple[VerificationReport, str]] = {
    "refused": (_under(_named(report(FAILED), "a/b:2")), "verdict"),
    "not verified": (_under(_named(report(NOT_RUN), "a/b:2")), "verdict"),
    "more rights": (_with(permissions=("app.enabled", "model.llm"))(GOOD), "permissions"),
    "too large": (_over(GOOD), "size, packed"),
    "a newer Dify": (_with(minimum_dify="1.14.0")(GOOD), "least Dify version"),
    "the network": (_under(_named(report(NETWORK), "a/b:1")), "network at start"),
}


@pytest.mark.parametrize("name", WORSE)
def test_what_gets_worse_is_told_and_the_way_back_is_not(tmp_path: Path, name: str) -> None:
    changed, what = WORSE[name]
    old, new = write(tmp_path / "old.json", document(GOOD)), write(tmp_path / "new.json", document(changed))
    run = difyoff("report", "diff", old, new, "--json", cwd=tmp_path)
    changes = {each["what"]: each["worse"] for each in check_document(run.stdout, "report")["results"]}
    assert (run.code, changes[what]) == (1, True)
    back = difyoff("report", "diff", new, old, cwd=tmp_path)
    assert (back.code, what in back.stdout) == (0, True), back.stdout


def test_a_plugin_that_is_gone_or_new(tmp_path: Path) -> None:
    old = write(tmp_path / "old.json", document(GOOD, _named(report(PASSED), "a/c:1")))
    new = write(tmp_path / "new.json", document(GOOD, _named(report(PASSED), "a/d:1")))
    run = difyoff("report", "diff", old, new, cwd=tmp_path)
    assert run.code == 1
    lines = run.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["worse", "a/c:"], ["a/d:", "plugin:"]]
    assert difyoff("report", "diff", old, old, cwd=tmp_path).stdout == ""


@pytest.mark.parametrize("content", ["", "{}", "[" * 100_000, "\x00"])
@pytest.mark.parametrize("command", ["show", "diff"])
def test_what_is_not_a_report_is_named(tmp_path: Path, content: str, command: str) -> None:
    file = tmp_path / "file.json"
    file.write_text(content)
    run = difyoff("report", command, *[file] * (2 if command == "diff" else 1), cwd=tmp_path)
    assert (run.code, "error[report-unreadable]" in run.stderr) == (4, True), run.stderr


def test_an_input_is_not_overwritten(tmp_path: Path) -> None:
    file = write(tmp_path / "r.json", document(GOOD))
    before = file.read_bytes()
    run = difyoff("report", "merge", file, "--report", file, cwd=tmp_path)
    assert (run.code, file.read_bytes()) == (2, before)
    assert json.loads(before)["results"]

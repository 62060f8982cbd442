"""`--report`: one seam for formats, and an output that never destroys what was there."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from difyoff.cli.main import run
from difyoff.render.api import FORMATS, Document
from kit.cli import difyoff
from kit.plugins import pack, write_plugin


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return pack(write_plugin(tmp_path / "plugin"), tmp_path / "tiny.difypkg")


def test_a_format_is_one_module_and_one_line(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def render(document: Document) -> str:
        return f"dummy report of {document.command}, {len(document.results)} results\n"

    def recognises(content: bytes) -> bool:
        return content.startswith(b"dummy report of ")

    module = ModuleType("dummy_format")
    module.__dict__.update(render=render, recognises=recognises)
    monkeypatch.setitem(sys.modules, "dummy_format", module)
    monkeypatch.setitem(FORMATS, ".dummy", "dummy_format")
    dummy, document = tmp_path / "report.dummy", tmp_path / "report.json"

    codes = [
        run(["inspect", str(package), "-q", "--report", str(dummy), "--report", str(document)])  # again over its own
        for _ in range(2)
    ]

    assert codes == [0, 0]
    assert dummy.read_text() == "dummy report of inspect, 1 results\n"
    assert json.loads(document.read_text())["command"] == "inspect"
    capsys.readouterr()
    assert run(["inspect", str(package), "--report", str(tmp_path / "report.pdf")]) == 2
    assert "or .dummy" in capsys.readouterr().err


COMMANDS: dict[str, Callable[[Path], list[str | Path]]] = {
    "build": lambda package: ["build", package],
    "verify": lambda package: ["verify", package],
    "inspect": lambda package: ["inspect", package],
    "diagnose": lambda package: ["diagnose", "--package", package, package],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "place",
    ["the input", "another package", "a text file", "a link to the input", "JSON of something else", "a folder"],
)
def test_a_report_replaces_nothing_but_a_report(command: str, place: str, package: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    if place == "the input":
        report = package.rename(tmp_path / "tiny.json")
        package = report
    elif place == "another package":
        report.write_bytes(package.read_bytes())
    elif place == "a text file":
        report.write_text("my notes\n")
    elif place == "a link to the input":
        os.link(package, report)
    elif place == "JSON of something else":
        report.write_text('{"name": "mine"}')
    else:
        report.mkdir()
    before = report.read_bytes() if report.is_file() else None

    done = difyoff(*COMMANDS[command](package), "--report", report, "--json", cwd=tmp_path)

    assert done.code == 2, done.stderr
    assert done.result["diagnosis"]["slug"] == "wrong-use"
    assert (report.read_bytes() if report.is_file() else None) == before
    assert not list(tmp_path.glob("*-offline*"))  # refused before any work


@pytest.mark.parametrize("name", ["a.difypkg", "report", "report.txt", "report.json.gz"])
def test_a_suffix_without_a_format_is_a_wrong_use(name: str, package: Path, tmp_path: Path) -> None:
    done = difyoff("inspect", package, "--report", tmp_path / name, cwd=tmp_path)

    assert done.code == 2
    assert ".json" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / name).exists()


def test_an_empty_file_and_an_older_report_are_replaced(package: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.touch()

    for _ in range(2):
        assert difyoff("inspect", package, "--report", report, cwd=tmp_path).code == 0
        assert json.loads(report.read_text())["command"] == "inspect"


def test_a_report_named_twice_is_a_wrong_use(package: Path, tmp_path: Path) -> None:
    done = difyoff("inspect", package, "--report", "r.json", "--report", "r.json", cwd=tmp_path)

    assert done.code == 2
    assert "twice" in done.stderr


def test_a_folder_that_cannot_be_written_is_told_before_any_work(package: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = difyoff("inspect", package, "--report", "file/report.json", cwd=tmp_path)

    assert done.code == 5
    assert "error[output-not-writable]: file/report.json" in done.stderr
    assert done.stdout == ""

"""Texts from public reports: what is told of those that were there when the rules were written, and of the others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from difyoff.difypkg.logs.decoding import log_lines
from difyoff.difypkg.logs.reading import LogReport, diagnose_log

DIAGNOSE = Path(__file__).parents[2] / "fixtures" / "diagnose"
HALVES = sorted(path.name for path in DIAGNOSE.iterdir() if path.is_dir())


def expected(half: str) -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = json.loads((DIAGNOSE / half / "expected.json").read_text(encoding="utf-8"))
    return loaded


SEEN = expected("seen")


def wrong(report: LogReport, wanted: dict[str, Any]) -> list[str]:
    """Return the failures, however unsure, that are not what the text is about."""
    allowed = {wanted["slug"], *wanted.get("others", ())}
    return [each.diagnosis.slug for each in report.failures if each.diagnosis.slug not in allowed]


@pytest.mark.parametrize("name", SEEN)
def test_a_text_that_the_rules_were_written_for_is_told_right(name: str) -> None:
    wanted = SEEN[name]
    with (DIAGNOSE / "seen" / f"{name}.txt").open("rb") as stream:
        report = diagnose_log(log_lines(stream))
    assert report.cause.slug == wanted["slug"]
    assert wrong(report, wanted) == []
    assert report.main is None or report.main.confidence in wanted["confidence"]
    assert report.main is None or report.main.concerns == wanted["concerns"]


WRAPS: dict[str, Callable[[list[str]], list[str]]] = {
    "kubernetes": lambda lines: [
        f"[pod/dify-x-6c8d9f7b5-abcde/main] 2026-04-01T10:00:00.123456789Z {line}" for line in lines
    ],
    "runtime": lambda lines: [f"2026-04-01T10:00:00.123456789Z stderr F {line}" for line in lines],
    "json-file": lambda lines: [json.dumps({"log": f"{line}\n", "stream": "stderr", "time": "x"}) for line in lines],
    "windows": lambda lines: [f"{line}\r" for line in lines],
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_what_stands_around_a_text_changes_nothing(wrap: str) -> None:
    for name, wanted in SEEN.items():
        lines = (DIAGNOSE / "seen" / f"{name}.txt").read_text(encoding="utf-8").split("\n")
        assert diagnose_log(WRAPS[wrap](lines)).cause.slug in (wanted["slug"], *wanted.get("others", ())), name


@pytest.mark.parametrize("half", HALVES)
def test_every_text_is_expected_and_none_is_told_wrong(half: str) -> None:
    texts = {path.stem for path in (DIAGNOSE / half).glob("*.txt")}
    assert texts == set(expected(half))
    told = {}
    for name, wanted in expected(half).items():
        with (DIAGNOSE / half / f"{name}.txt").open("rb") as stream:
            told[name] = wrong(diagnose_log(log_lines(stream)), wanted)
    assert {name: slugs for name, slugs in told.items() if slugs} == {}

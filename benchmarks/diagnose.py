"""How often `difyoff diagnose` is right on texts from public reports.

`python benchmarks/diagnose.py [-v] [HALF...]`. A text is *right* if the main failure and all others are those that
`expected.json` names, with what is to be mended and an acceptable confidence; *wrong* if any failure told is another,
however unsure; else *unknown*. `seen` was there while the rules were written, `held-out` was collected after them.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from difyoff.difypkg.logs.decoding import log_lines
from difyoff.difypkg.logs.reading import LogReport, diagnose_log

FIXTURES = Path(__file__).parents[1] / "fixtures"
DIAGNOSE = FIXTURES / "diagnose"
NOTHING = "cause-not-found"


def judge(report: LogReport, expected: dict[str, Any]) -> str:
    """Return `right`, `wrong` or `unknown`."""
    told = {failure.diagnosis.slug for failure in report.failures}
    allowed = {expected["slug"], *expected.get("others", ())}
    if told - allowed:
        return "wrong"
    main = report.main
    if main is None:
        return "right" if expected["slug"] == NOTHING else "unknown"
    if main.diagnosis.slug != expected["slug"]:
        return "unknown" if main.diagnosis.slug in expected.get("others", ()) else "wrong"
    concerns = expected["concerns"]
    if main.concerns not in (concerns if isinstance(concerns, list) else [concerns]):
        return "wrong"
    if main.confidence not in expected["confidence"]:
        return "wrong" if main.confidence == "sure" else "unknown"
    return "right" if set(expected.get("must", ())) <= told else "unknown"


def cases(half: str) -> dict[str, dict[str, Any]]:
    """Return the texts' names and what is expected of each."""
    if half == "symptoms":
        return {
            path.stem: {"slug": path.name.split(".")[0], "concerns": None, "confidence": ["sure", "likely", "possible"]}
            for path in sorted((FIXTURES / "symptoms").glob("*.txt"))
        }
    loaded: dict[str, dict[str, Any]] = json.loads((DIAGNOSE / half / "expected.json").read_text(encoding="utf-8"))
    return loaded


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("halves", nargs="*", default=["symptoms", "seen", "held-out"])
    parser.add_argument("-v", "--verbose", action="store_true", help="print every text that is not right")
    arguments = parser.parse_args()
    print(f"{'texts':10} {'number':>6} {'right':>6} {'wrong':>6} {'unknown':>8}   right")
    worst = 0
    for half in arguments.halves:
        count = {"right": 0, "wrong": 0, "unknown": 0}
        missed = []
        folder = FIXTURES / "symptoms" if half == "symptoms" else DIAGNOSE / half
        for name, expected in cases(half).items():
            with (folder / f"{name}.txt").open("rb") as stream:
                report = diagnose_log(log_lines(stream))
            if expected["concerns"] is None and report.main:
                expected["concerns"] = report.main.concerns
            verdict = judge(report, expected)
            count[verdict] += 1
            if verdict != "right":
                told = [(each.diagnosis.slug, each.concerns, each.confidence) for each in report.failures]
                missed.append(f"  {verdict:8} {name}: expected {expected['slug']} {expected['concerns']}, told {told}")
        total = sum(count.values())
        share = f"{count['right'] / total:.0%}"
        print(f"{half:10} {total:6} {count['right']:6} {count['wrong']:6} {count['unknown']:8}   {share}")
        if arguments.verbose:
            print("\n".join(missed))
        worst = max(worst, count["wrong"])
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())

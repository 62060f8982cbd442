"""Ask the daemon's own command line what it makes of changed YAML files, and count where difyoff says otherwise.

    python benchmarks/decoder.py DAEMONS [--cases 1500] [--seed 1] [--releases R...] [--record FILE --keep 300]

DAEMONS is a folder with `commandline-RELEASE` files, each the daemon's `cmd/commandline` built at the release's tag:
`plugin checksum PACKAGE` decodes every file that the manifest names. `--record` keeps some of the answers, for
`tests/unit/test_declarations.py`. Exits 1 where there is a disagreement.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from kit.declarations import Case, chosen, find_faults, is_refused

WORKERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("daemons", type=Path)
    parser.add_argument("--cases", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--releases", nargs="+", default=["0.5.2", "0.5.3", "0.6.10"])
    parser.add_argument("--record", type=Path)
    parser.add_argument("--keep", type=int, default=300)
    arguments = parser.parse_args()
    cases = chosen(arguments.cases, arguments.seed)
    answers = ask(arguments.daemons, arguments.releases, cases)
    wrong = compare(cases, answers)
    if arguments.record:
        record(arguments.record, cases[: arguments.keep], answers)
    sys.exit(1 if wrong else 0)


def ask(daemons: Path, releases: Sequence[str], cases: list[Case]) -> list[dict[str, bool]]:
    """Return for each case which releases take it."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as pool:

        def answer(number: int) -> dict[str, bool]:
            package = write_package(cases[number], Path(folder) / f"{number}.difypkg")
            taken = {release: decodes(daemons / f"commandline-{release}", package) for release in releases}
            package.unlink()
            return taken

        return list(pool.map(answer, range(len(cases))))


def write_package(case: Case, path: Path) -> Path:
    """Write a case as a package."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in case.files.items():
            archive.writestr(name, content)
    return path


def decodes(binary: Path, package: Path) -> bool:
    """Say whether a daemon decodes a package."""
    done = subprocess.run(
        [binary, "plugin", "checksum", package], capture_output=True, text=True, timeout=60, check=False
    )
    said = done.stdout + done.stderr
    if ("plugin checksum" in said) == ("failed to create plugin decoder" in said or "panic:" in said):
        raise RuntimeError(f"{binary.name} says of {package}: {said[:300]}")
    return "plugin checksum" in said


def compare(cases: list[Case], answers: list[dict[str, bool]]) -> int:
    """Print a table of the cases by record and by kind of change, and every disagreement; return how many there are."""
    counted: Counter[tuple[str, str]] = Counter()
    wrong: Counter[tuple[str, str]] = Counter()
    for case, taken in zip(cases, answers, strict=True):
        faults = find_faults(case.files)
        for release, yes in taken.items():
            ours = not is_refused(faults, release)
            for group in (("record", case.record), ("type", case.type), ("release", release)):
                counted[group] += 1
                wrong[group] += ours != yes
            wrong["all", "false yes" if ours else "false no"] += ours != yes
            if ours != yes:
                told = faults[0].diagnosis.message if faults else "takes it"
                print(f"{release}: {case.name}: the daemon {'takes' if yes else 'refuses'} it, difyoff: {told}")
    for name in ("record", "type", "release"):
        print(f"\n{name:24} answers  disagreements")
        for (kind, member), count in sorted(counted.items()):
            if kind == name:
                print(f"{member:24} {count:7} {wrong[kind, member]:14}")
    false_yes, false_no = wrong["all", "false yes"], wrong["all", "false no"]
    changes = len({case.change for case in cases})
    print(f"\n{len(cases)} files, {changes} kinds of change: {false_yes} false yes, {false_no} false no")
    return false_yes + false_no


def record(path: Path, cases: list[Case], answers: list[dict[str, bool]]) -> None:
    """Write the answers, a line for each case: record, field, change, SHA-256 of the file, releases that take it."""
    lines = []
    for case, taken in zip(cases, answers, strict=False):
        digest = hashlib.sha256(case.content).hexdigest()[:16]
        verdicts = " ".join(f"{release}={'takes' if yes else 'refuses'}" for release, yes in taken.items())
        lines.append("\t".join((case.kind, case.record, ".".join(map(str, case.path)), case.change, digest, verdicts)))
    path.write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Put every hostile archive and wheel before difyoff and print what came of it: outcome, seconds, memory.

    python benchmarks/hostile.py [--markdown]

Each case runs in a process of its own, on Linux; memory is what it grew by at its peak, beyond an archive of one file.
The cases are those of the tests (tests/kit/hostile.py, hostile_wheels.py).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from difyoff.difypkg.archive import Archive
from difyoff.difypkg.archives.wheel import check_wheel
from difyoff.difypkg.diagnosis import DifyoffError
from kit.hostile import ARCHIVES
from kit.hostile_wheels import WHEELS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("FILE", "NAME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(look(Path(arguments.one[0]), arguments.one[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "case.difypkg")
        file.write_bytes(ARCHIVES[0].make())
        base = ask(file, "")["memory"]
        row = "| {} | {} | {:.3f} | {:.1f} |" if arguments.markdown else "{:<44} {:<34} {:7.3f} s {:6.1f} MiB"
        worst = 0.0
        cases = [(case.name, case.make, "") for case in ARCHIVES]
        cases += [(wheel.name, wheel.make, wheel.filename) for wheel in WHEELS]
        for name, make, filename in cases:
            file.write_bytes(make())
            seen = ask(file, filename)
            memory = (seen["memory"] - base) / 1024
            worst = max(worst, seen["seconds"])
            print(row.format(name, seen["outcome"], seen["seconds"], memory), flush=True)
        print(f"{len(ARCHIVES) + len(WHEELS)} cases, the slowest {worst:.2f} s")


def ask(file: Path, name: str) -> dict[str, float]:
    argv = [sys.executable, __file__, "--one", str(file), name]
    answer = subprocess.run(argv, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    seen: dict[str, float] = json.loads(answer)
    return seen


def look(file: Path, name: str) -> dict[str, object]:
    started = time.perf_counter()
    if name:
        with file.open("rb") as stream:
            faults = check_wheel(stream, name).faults
        outcome = ", ".join(sorted({f"refused ({fault.kind})" for fault in faults})) or "accepted"
    else:
        try:
            with Archive(file) as archive:
                archive.digests()
            outcome = "read"
            if archive.findings or archive.directory_entries:
                outcome = "read, with a finding"
        except DifyoffError as error:
            outcome = f"refused ({error.diagnosis.slug})"
    seconds = time.perf_counter() - started
    (peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return {"outcome": outcome, "seconds": seconds, "memory": int(peak)}


if __name__ == "__main__":
    main()

"""Compare the archive reader with another one over mutated archives: equal file sets and bytes, or refused by ours.

    python benchmarks/differential.py JUDGE [--count 100000] [--seed 0] [--also PACKAGE...]

JUDGE is a command that reads archives from stdin (four bytes of length, little-endian, then the archive) and answers
each with one line of JSON: `error`, or `files` (SHA-256 by path, both in hex), `order` (paths in hex) and `comment` (in
hex). A judge of the daemon is `archive/zip` used as in pkg/plugin_packager/decoder/zip.go: walk, `path.Join`, `Open`,
read. CPython's `zipfile` is asked beside it. Files that the judge refuses and we read are counted; files that it reads
otherwise than we do end the run with exit code 1.
"""

import argparse
import collections
import hashlib
import io
import json
import shlex
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from difyoff.difypkg.archives.faults import ArchiveFault
from difyoff.difypkg.archives.profiles import DIFYPKG
from difyoff.difypkg.archives.zipreader import ZipReader
from kit.mutate import mutated, seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judge")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--also", type=Path, nargs="*", default=())
    arguments = parser.parse_args()
    bases = (*seeds(), *(each.read_bytes() for each in arguments.also))
    judge = subprocess.Popen(shlex.split(arguments.judge), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert judge.stdin
    assert judge.stdout
    tally: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    slowest = 0.0
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        data = mutated(seed, bases)
        judge.stdin.write(len(data).to_bytes(4, "little") + data)
        judge.stdin.flush()
        theirs = json.loads(judge.stdout.readline())
        started = time.perf_counter()
        ours = read(data)
        slowest = max(slowest, time.perf_counter() - started)
        verdict = compare(ours, theirs, data)
        tally[verdict] += 1
        if verdict.startswith("WRONG"):
            wrong.append(f"seed {seed}: {verdict}: ours {ours}, theirs {theirs}")
    judge.stdin.close()
    judge.wait()
    for verdict, count in tally.most_common():
        print(f"{count:8,}  {verdict}")
    print(f"slowest archive {slowest * 1000:.1f} ms")
    for line in wrong[:20]:
        print(line[:2000])
    sys.exit(1 if wrong else 0)


def read(data: bytes) -> dict[str, Any]:
    """Return what our reader says, in the judge's form."""
    try:
        archive = ZipReader(io.BytesIO(data), DIFYPKG)
        files = {
            entry.path.encode().hex(): hashlib.sha256(archive.read(entry)).hexdigest() for entry in archive.entries
        }
    except ArchiveFault as fault:
        return {"error": fault.slug}
    return {"files": files, "order": list(files), "comment": archive.comment.hex(), "folders": list(archive.folders)}


def compare(ours: dict[str, Any], theirs: dict[str, Any], data: bytes) -> str:
    if "error" in ours:
        return "refused by both" if "error" in theirs else f"refused by us alone ({ours['error']})"
    if ours["folders"]:
        return "read with a finding: folders, which the daemon stops at" if "error" in theirs else "WRONG folders"
    if "error" in theirs:
        return f"WRONG refused by the judge alone ({theirs['error']})"
    empty: dict[str, str] = {}
    if ours["files"] != (theirs.get("files") or empty) or ours["order"] != (theirs.get("order") or []):
        return "WRONG files"
    if ours["comment"] != theirs["comment"]:
        return "WRONG comment"
    return "WRONG for CPython" if ours["files"] != cpython(data) else "read by all alike"


def cpython(data: bytes) -> dict[str, str]:
    """Return what `zipfile` reads."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {
            info.filename.encode().hex(): hashlib.sha256(archive.read(info.filename)).hexdigest()
            for info in archive.infolist()
        }


if __name__ == "__main__":
    main()

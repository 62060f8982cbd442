"""Change every single bit of a small package, one at a time: each is found, or changes nothing that anyone reads.

    python benchmarks/flips.py [--every N] [--random COUNT PACKAGE]

Without PACKAGE a small offline package is made: a plugin, requirements.txt with a hash, one wheel, the record. A bit is
*found* where the archive is refused or the audit fails; it is *nothing* where every file of the archive, as our reader
and CPython's `zipfile` read it, and the comment are the same bytes as before. Anything else is printed and ends the run
with exit code 1. `--every N` looks at each N-th bit; `--random` changes COUNT bits of an existing package, by chance.
"""

import argparse
import collections
import hashlib
import random
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from difyoff.difypkg.archive import Archive, writing
from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.difypkg.record import FileRecord, Record, SourceRecord, TargetRecord, WheelRecord, dump_record
from difyoff.difypkg.target import TARGETS
from difyoff.verify.audit.api import audit
from difyoff.verify.package import open_package
from kit.plugins import skeleton
from kit.wheels import wheel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--random", type=int, default=0, metavar="COUNT")
    parser.add_argument("package", type=Path, nargs="?")
    arguments = parser.parse_args()
    data = arguments.package.read_bytes() if arguments.package else small_package()
    bits: Iterable[int] = range(0, len(data) * 8, arguments.every)
    if arguments.random:
        bits = random.Random(0).sample(range(len(data) * 8), arguments.random)
    started = time.perf_counter()
    tally: collections.Counter[str] = collections.Counter()
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tiny.difypkg")
        file.write_bytes(data)
        assert judge(file) is None, f"the package itself is refused: {judge(file)}"
        before = contents(file)
        for bit in bits:
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            file.write_bytes(changed)
            verdict = judge(file)
            if verdict is None and contents(file) != before:
                missed.append(f"byte {bit // 8}, bit {bit % 8}")
                verdict = "MISSED"
            tally[verdict or "nothing that anyone reads"] += 1
    print(f"{len(data):,} bytes, {sum(tally.values()):,} bits, {time.perf_counter() - started:.0f} s")
    for name, count in tally.most_common():
        print(f"{count:8,}  {name}")
    for line in missed[:50]:
        print(line)
    sys.exit(1 if missed else 0)


def judge(package: Path) -> str | None:
    """Return the first thing that is wrong with a package, None for nothing."""
    try:
        with open_package(package, candidates=tuple(TARGETS.values())) as opened:
            failed = [check for check in audit(opened).checks() if check.status == "failed"]
    except DifyoffError as error:
        return error.diagnosis.slug
    return failed[0].diagnosis.slug if failed and failed[0].diagnosis else None


def contents(package: Path) -> Mapping[str, object]:
    with Archive(package) as archive:
        ours = {member.path: archive.read(member.path) for member in archive.members}
        comment = archive.comment
    with zipfile.ZipFile(package) as opened:
        theirs = {info.filename: opened.read(info) for info in opened.infolist()}
    return {"ours": ours, "theirs": theirs, "comment": comment, "order": list(ours)}


def small_package() -> bytes:
    """Return an offline package as difyoff writes one, as small as it can be."""
    tiny = wheel("idna", "3.20")
    files = {path: text.encode() for path, text in skeleton().items()}
    files[f"wheels/{tiny.filename}"] = tiny.data
    files["requirements.txt"] = f"--no-index\n--find-links=./wheels/\nidna==3.20 --hash=sha256:{tiny.sha256}\n".encode()
    record = Record(
        source=SourceRecord(identity=f"difyoff/tiny:0.1.0@{'0' * 64}", sha256=None),
        targets=(TargetRecord.of(TARGETS["amd64"]),),
        resolution="requirements.txt",
        wheels=(
            WheelRecord(
                filename=tiny.filename,
                sha256=tiny.sha256,
                size=len(tiny.data),
                origin="https://files.example/",
                architectures=("amd64",),
            ),
        ),
        edits=(),
        files=tuple(
            FileRecord(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
            for path, data in sorted(files.items())
        ),
        difyoff="0.1.0",
        uv="0.9.26",
    )
    files["difyoff.json"] = dump_record(record)
    with tempfile.TemporaryFile() as stream:
        with writing(stream) as archive:
            for path, data in sorted(files.items()):
                archive.add(path, (data,), len(data))
        stream.seek(0)
        return stream.read()


if __name__ == "__main__":
    main()

"""Wheels that are not what they say, by their names in the literature; each with the kinds of faults it must have.

Where an attacker could keep RECORD true, it is kept true: then only the rule that the case is about can refuse it.
"""

import base64
import hashlib
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kit.rawzip import UTF8, Raw, archive, zip64_end
from kit.wheels import sdist, zipped

NAME = "tiny_pkg-1.0-py3-none-any.whl"
INFO = "tiny_pkg-1.0.dist-info"
DATA = "tiny_pkg-1.0.data"
METADATA = b"Metadata-Version: 2.2\nName: tiny-pkg\nVersion: 1.0\n\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: kit\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


FOLDER = Raw(name=b"tiny_pkg/", attributes=0o040755 << 16)


@dataclass(frozen=True)
class HostileWheel:
    """A wheel, and the kinds of the faults that it must be told to have; none: it is accepted."""

    name: str
    make: Callable[[], bytes]
    expected: frozenset[str]
    filename: str = NAME


def record(files: Mapping[str, bytes]) -> bytes:
    lines = [f"{path},{digest(data)},{len(data)}\n" for path, data in files.items()]
    return "".join([*lines, f"{INFO}/RECORD,,\n"]).encode()


def digest(data: bytes, algorithm: str = "sha256") -> str:
    value = hashlib.new(algorithm, data, usedforsecurity=False).digest()
    return f"{algorithm}=" + base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def contents(more: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """Return the files of a good wheel without its RECORD, and more."""
    files = {"tiny_pkg/__init__.py": b"x = 1\n", f"{INFO}/METADATA": METADATA, f"{INFO}/WHEEL": WHEEL}
    return files | dict(more or {})


def made(
    more: Mapping[str, bytes] | None = None,
    *,
    without: Sequence[str] = (),
    listed: Callable[[bytes], bytes] = bytes,
    unlisted: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return a wheel: `more` files that RECORD names, `unlisted` ones that it does not; `listed` changes RECORD."""
    files = {path: data for path, data in contents(more).items() if path not in without}
    told = listed(record(files))
    return framed([*entries(files | dict(unlisted or {})), Raw(name=f"{INFO}/RECORD".encode(), data=told, method=8)])


def entries(files: Mapping[str, bytes]) -> list[Raw]:
    return [
        Raw(name=path.encode(), data=data, method=8, flags=0 if path.isascii() else UTF8)
        for path, data in files.items()
    ]


def framed(raws: Sequence[Raw]) -> bytes:
    return archive(raws)


def entry(raw: Raw) -> bytes:
    """Return a good wheel with one more entry, which RECORD names."""
    files = contents()
    told = record(files | {raw.name.decode("utf-8", "replace"): raw.data})
    return framed([*entries(files), raw, Raw(name=f"{INFO}/RECORD".encode(), data=told, method=8)])


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(text: bytes) -> bytes:
        assert old in text
        return text.replace(old, new)

    return change


def script(text: str) -> bytes:
    return made({f"{INFO}/entry_points.txt": text.encode()})


def own_hash(algorithm: str) -> Callable[[bytes], bytes]:
    return replaced(digest(b"x = 1\n").encode(), (digest(b"x = 1\n", algorithm) if algorithm else "").encode())


def refused(*kinds: str) -> frozenset[str]:
    return frozenset(kinds)


ACCEPTED: frozenset[str] = frozenset()
WHEELS: tuple[HostileWheel, ...] = (
    HostileWheel("W00 control", made, ACCEPTED),
    HostileWheel("W00b SHA-512", lambda: made(listed=own_hash("sha512")), ACCEPTED),
    HostileWheel("W00c entries for folders", lambda: framed([FOLDER, *listed_entries()]), ACCEPTED),
    HostileWheel(
        "W01 repeated file", lambda: entry(Raw(name=b"tiny_pkg/__init__.py", data=b"x = 1\n")), refused("archive")
    ),
    HostileWheel("W02 traversal", lambda: made({"../evil.py": b""}), refused("archive")),
    HostileWheel("W03 absolute", lambda: made({"/etc/evil": b""}), refused("archive")),
    HostileWheel(
        "W04 symbolic link",
        lambda: entry(Raw(name=b"link", data=b"/etc", attributes=0o120777 << 16)),
        refused("archive"),
    ),
    HostileWheel("W05 backslash", lambda: made({"tiny_pkg\\evil.py": b""}), refused("archive")),
    HostileWheel("W06 letter case", lambda: made({"tiny_pkg/__INIT__.py": b""}), refused("archive")),
    HostileWheel("W07 unlisted file", lambda: made(unlisted={"tiny_pkg/evil.py": b""}), refused("record-missing")),
    HostileWheel("W07b unlisted .pth", lambda: made(unlisted={"evil.pth": b"import os\n"}), refused("record-missing")),
    HostileWheel(
        "W08 another content",
        lambda: made(listed=replaced(digest(b"x = 1\n").encode(), digest(b"y").encode())),
        refused("record-hash"),
    ),
    HostileWheel("W08b another size", lambda: made(listed=replaced(b",6\n", b",7\n")), refused("record-hash")),
    HostileWheel("W09 bytes behind", lambda: made() + b"more", refused("archive")),
    HostileWheel("W10 bytes before", lambda: b"#!/bin/sh\n" + made(), refused("archive")),
    HostileWheel("W11 two zips", lambda: made() + made({"evil.py": b""}), refused("archive")),
    HostileWheel("W12 two names", lambda: entry(Raw(name=b"a", local={"name": b"b"})), refused("archive")),
    HostileWheel("W13 checksum", lambda: entry(Raw(name=b"a", data=b"y", stored=b"x")), refused("archive")),
    HostileWheel(
        "W14 size too small",
        lambda: entry(Raw(name=b"a", data=b"xy", method=8, local={"size": 1}, central={"size": 1})),
        refused("archive"),
    ),
    HostileWheel("W15 NUL", lambda: made({"a\0b": b""}), refused("archive")),
    HostileWheel("W16 newline", lambda: made({"a\nb": b""}), refused("archive")),
    HostileWheel("W17 direction", lambda: made({"a\u202eb": b""}), refused("archive")),
    HostileWheel("W18 file and folder", lambda: made({"tiny_pkg": b""}), refused("archive")),
    HostileWheel("W19 entry point leaves", lambda: script("[console_scripts]\n../../x = a:b\n"), refused("scripts")),
    HostileWheel("W20 data leaves", lambda: made({f"{DATA}/data/../../x": b""}), refused("archive")),
    HostileWheel("W20b a script python", lambda: made({f"{DATA}/scripts/python": b""}), refused("scripts")),
    HostileWheel("W20c data python", lambda: made({f"{DATA}/data/bin/python3.12": b""}), refused("scripts")),
    HostileWheel("W20d data pyvenv.cfg", lambda: made({f"{DATA}/data/pyvenv.cfg": b""}), refused("scripts")),
    HostileWheel("W20e unknown place", lambda: made({f"{DATA}/stdlib/os.py": b""}), refused("scripts")),
    HostileWheel("W20f entry point python", lambda: script("[gui_scripts]\npython3 = a:b\n"), refused("scripts")),
    HostileWheel(
        "W21 METADATA of another version",
        lambda: made({f"{INFO}/METADATA": METADATA.replace(b"1.0\n\n", b"1.1\n\n")}),
        refused("metadata"),
    ),
    HostileWheel(
        "W21b of another name",
        lambda: made({f"{INFO}/METADATA": METADATA.replace(b"tiny", b"tinny")}),
        refused("metadata"),
    ),
    HostileWheel(
        "W21c of two versions",
        lambda: made({f"{INFO}/METADATA": METADATA.replace(b"\n\n", b"\nVersion: 2\n\n")}),
        refused("metadata"),
    ),
    HostileWheel("W22 two descriptions", lambda: made({"other-1.0.dist-info/METADATA": b""}), refused("dist-info")),
    HostileWheel("W22b none", lambda: framed(entries({"a.py": b""})), refused("dist-info")),
    HostileWheel("W23 other tags", made, refused("tags"), "tiny_pkg-1.0-cp312-cp312-linux_x86_64.whl"),
    HostileWheel("W23b a narrower platform", made, ACCEPTED, "tiny_pkg-1.0-py3-none-linux_x86_64.whl"),
    HostileWheel(
        "W23c fewer tags in the name", lambda: made({f"{INFO}/WHEEL": WHEEL + b"Tag: py2-none-any\n"}), refused("tags")
    ),
    HostileWheel("W24 absent file", lambda: made(listed=lambda text: b"gone.py,,\n" + text), refused("record-absent")),
    HostileWheel("W25 MD5", lambda: made(listed=own_hash("md5")), refused("record-hash-kind")),
    HostileWheel("W25b no hash", lambda: made(listed=own_hash("")), refused("record-hash-kind")),
    HostileWheel(
        "W26 RECORD leaves", lambda: made(listed=lambda text: b"../../x,,\n" + text), refused("record-absent")
    ),
    HostileWheel(
        "W26b RECORD twice",
        lambda: made(listed=lambda text: b"tiny_pkg/__init__.py,sha256=x,1\n" + text),
        refused("record", "record-hash"),
    ),
    HostileWheel("W26c RECORD is not CSV", lambda: made(listed=lambda text: text + b'"'), refused("record")),
    HostileWheel("W26d RECORD of two columns", lambda: made(listed=lambda text: text + b"a,b\n"), refused("record")),
    HostileWheel("W27 entry point with a slash", lambda: script("[console_scripts]\na/b = a:b\n"), refused("scripts")),
    HostileWheel("W27b cannot be read", lambda: script("no section\n"), refused("scripts")),
    HostileWheel("W29 source archive as a wheel", lambda: sdist("tiny-pkg", "1.0").data, refused("archive")),
    HostileWheel("W29b egg as a wheel", lambda: zipped({"EGG-INFO/PKG-INFO": METADATA}), refused("dist-info")),
    HostileWheel("W29c an unreadable name", made, refused("filename"), "tiny_pkg.whl"),
    HostileWheel("W31 .pth with code", lambda: made({"hook.pth": b"import os\n"}), ACCEPTED),
    HostileWheel("W33 zip64 that is not needed", lambda: zip64_end(made()), refused("archive")),
    HostileWheel(
        "W33b zip64 sizes as Bazel writes them",
        lambda: entry_zip64(),
        ACCEPTED,
    ),
    HostileWheel("W33c untrue zip64 sizes", lambda: entry_zip64(size=2), refused("archive")),
    HostileWheel("W34 NUL in METADATA", lambda: made({f"{INFO}/METADATA": METADATA + b"\0"}), refused("metadata")),
    HostileWheel("W34b not UTF-8", lambda: made({f"{INFO}/METADATA": METADATA + b"\xff"}), refused("metadata")),
    HostileWheel(
        "W34c 10 MB of METADATA",
        lambda: made({f"{INFO}/METADATA": METADATA + random.Random(0).randbytes(5 << 20).hex().encode()}),
        refused("metadata"),
    ),
    HostileWheel("W35 no WHEEL", lambda: made(without=[f"{INFO}/WHEEL"]), refused("tags")),
    HostileWheel("W35b no METADATA", lambda: made(without=[f"{INFO}/METADATA"]), refused("metadata")),
    HostileWheel("W35c no RECORD", lambda: framed(entries(contents())), refused("record")),
    HostileWheel(
        "W35d Wheel-Version 2", lambda: made({f"{INFO}/WHEEL": WHEEL.replace(b"n: 1.0", b"n: 2.0")}), refused("tags")
    ),
    HostileWheel("W36 sizes behind the data", lambda: entry(Raw(name=b"a", method=8, behind=True)), refused("archive")),
    HostileWheel("W37 bomb", lambda: made({"zeros": bytes(80 << 20)}), refused("archive")),
)


def listed_entries() -> list[Raw]:
    files = contents()
    return entries(files | {f"{INFO}/RECORD": record(files)})


def entry_zip64(size: int = 1) -> bytes:
    extra = struct.pack("<HHQQ", 1, 16, size, 1)
    return entry(Raw(name=b"a", data=b"x", local={"extra": extra}))

"""Archives: read as the daemon reads them, or refused; written with the same bytes each time.

The hostile archives are named as in the literature on zip attacks. What each expects was compared with the daemon's
own reader: nothing is read here with another content than there.
"""

import hashlib
import io
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difyoff.difypkg.archive import Archive, file_chunks, writing
from difyoff.difypkg.diagnosis import DifyoffError

END = b"PK\5\6"
CENTRAL = b"PK\1\2"
LOCAL = b"PK\3\4"


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytearray:
    """Zip entries in their order, repeated names included."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.filename = name  # ZipInfo would mend it
            info.compress_type = method
            archive.writestr(info, data)
        archive.comment = comment
    return bytearray(buffer.getvalue())


def patched(data: bytearray, signature: bytes, offset: int, value: bytes, *, record: int = 0) -> bytes:
    """Overwrite a field of the n-th local, central or end record."""
    position = -1
    for _ in range(record + 1):
        position = data.index(signature, position + 1)
    data[position + offset : position + offset + len(value)] = value
    return bytes(data)


def renamed(data: bytearray, old: bytes, new: bytes) -> bytes:
    """Give an entry another name of the same length, in both headers."""
    assert len(old) == len(new)
    return bytes(data).replace(old, new)


def contents(file: Path) -> dict[str, bytes]:
    with Archive(file) as archive:
        return {member.path: archive.read(member.path) for member in archive.members}


@dataclass(frozen=True)
class Hostile:
    """An archive, and the slug that refuses it or the files that are read."""

    name: str
    make: Callable[[], bytes | bytearray]
    expected: str | dict[str, bytes]


def overlapping() -> bytes:
    """Two central records that lead to one local file."""
    data = zipped(("a", b"x"), ("b", b"y"))
    return patched(data, CENTRAL, 42, struct.pack("<I", 0), record=1)


def hidden() -> bytes:
    """A local file without a central record."""
    data = zipped(("a", b"x"), ("b", b"y"))
    start, end = data.index(CENTRAL), data.index(END)
    second = data.index(CENTRAL, start + 1)
    del data[second:end]
    return patched(data, END, 8, struct.pack("<HHI", 1, 1, second - start))


def huge_by_zip64() -> bytes:
    """A size of 2^63, which makes the daemon's sum negative."""
    data = zipped(("a", b"x"))
    start, end = data.index(CENTRAL), data.index(END)
    extra = struct.pack("<HHQ", 1, 8, 1 << 63)
    data[start + 24 : start + 28] = b"\xff" * 4
    data[start + 30 : start + 32] = struct.pack("<H", len(extra))
    data[end:end] = extra
    return patched(data, END, 12, struct.pack("<I", end + len(extra) - start))


def bomb() -> bytes:
    return bytes(zipped(("zeros", bytes(80 << 20)), method=zipfile.ZIP_DEFLATED))


def unicode_path() -> bytes:
    """An Info-ZIP field with another name, which unzip would follow and the daemon does not."""
    info = zipfile.ZipInfo("safe.txt")
    name = b"evil.py"
    field = struct.pack("<BL", 1, 0x7E_8F_5B_10) + name
    info.extra = struct.pack("<HH", 0x7075, len(field)) + field
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, b"x")
    return buffer.getvalue()


def symlink() -> bytes:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, b"/etc/passwd")
    return buffer.getvalue()


HOSTILE = (
    Hostile("A01 control", lambda: zipped(("a", b"x"), ("b/c", b"y")), {"a": b"x", "b/c": b"y"}),
    Hostile("A02 directory entry", lambda: zipped(("sub/", b""), ("sub/a", b"x")), {"sub/a": b"x"}),
    Hostile("A03 repeated name", lambda: zipped(("a", b"first"), ("a", b"last")), {"a": b"first"}),
    Hostile("A04 traversal", lambda: zipped(("../../evil", b"x")), "unsafe-path"),
    Hostile("A05 absolute", lambda: zipped(("/etc/evil", b"x")), "unsafe-path"),
    Hostile("A06 backslash traversal", lambda: zipped((r"..\..\evil", b"x")), "unsafe-path"),
    Hostile("A07 backslash", lambda: zipped((r"a\b.py", b"x")), "unsafe-path"),
    Hostile("A08 dot before", lambda: zipped(("a", b"first"), ("./a", b"last")), {"a": b"first"}),
    Hostile("A08b dot first", lambda: zipped(("./a", b"first"), ("a", b"last")), {"a": b"first"}),
    Hostile("A09 double slash", lambda: zipped(("a//b", b"x")), {"a/b": b"x"}),
    Hostile("A10 dots inside", lambda: zipped(("main", b"first"), ("a/../main", b"last")), {"main": b"first"}),
    Hostile("A10b dots only", lambda: zipped(("a/..", b"x")), "unsafe-path"),
    Hostile("A11 file and folder", lambda: zipped(("a", b"x"), ("a/b", b"y")), "unsafe-path"),
    Hostile("A12 empty name", lambda: zipped(("", b"x")), "unsafe-path"),
    Hostile("A13 NUL", lambda: renamed(zipped(("a_b", b"x")), b"a_b", b"a\0b"), "unsafe-path"),
    Hostile("A15 letter case", lambda: zipped(("a", b"x"), ("A", b"y")), {"a": b"x", "A": b"y"}),
    Hostile("A16 Unicode forms", lambda: zipped(("é", b"x"), ("e\u0301", b"y")), {"é": b"x", "e\u0301": b"y"}),
    Hostile("A17 checksum", lambda: bytes(zipped(("a", b"12345678"))).replace(b"1234", b"1235"), "corrupt-archive"),
    Hostile("A18 local name", lambda: patched(zipped(("a", b"x")), LOCAL, 30, b"b"), "corrupt-archive"),
    Hostile("A19 bytes behind", lambda: zipped(("a", b"x")) + b"more", "corrupt-archive"),
    Hostile("A20 bytes before", lambda: b"#!/bin/sh\n" + zipped(("a", b"x")), "corrupt-archive"),
    Hostile("A21 two zips", lambda: zipped(("a", b"1")) + zipped(("a", b"2")), "corrupt-archive"),
    Hostile("A22 zip in comment", lambda: zipped(("a", b"1"), comment=bytes(zipped(("a", b"2")))), "corrupt-archive"),
    Hostile("A23 size too large", lambda: patched(zipped(("a", b"x")), CENTRAL, 24, b"\xff\xff\xff\x7f"), "zip-bomb"),
    Hostile("A23b a little", lambda: patched(zipped(("a", b"x")), CENTRAL, 24, b"\x02"), "corrupt-archive"),
    Hostile("A24 size too small", lambda: patched(zipped(("a", b"xyz")), CENTRAL, 24, b"\x02"), "corrupt-archive"),
    Hostile("A25 bomb", bomb, "zip-bomb"),
    Hostile("A26 symbolic link", symlink, {"link": b"/etc/passwd"}),
    Hostile("A27 bzip2", lambda: zipped(("a", b"x"), method=zipfile.ZIP_BZIP2), "unsupported-archive"),
    Hostile("A27b LZMA", lambda: zipped(("a", b"x"), method=zipfile.ZIP_LZMA), "unsupported-archive"),
    Hostile("A28 encryption bit", lambda: patched(zipped(("a", b"x")), CENTRAL, 8, b"\x01"), "unsupported-archive"),
    Hostile("A29 overlap", overlapping, "corrupt-archive"),
    Hostile(
        "A30 fewer announced", lambda: patched(zipped(("a", b"x"), ("b", b"y")), END, 8, b"\1\0\1\0"), "corrupt-archive"
    ),
    Hostile("A31 hidden file", hidden, {"a": b"x"}),
    Hostile("A32 Unicode path field", unicode_path, {"safe.txt": b"x"}),
    Hostile("A34 deep path", lambda: zipped(("a/" * 2000 + "b", b"x")), "unsafe-path"),
    Hostile("A35 long name", lambda: zipped(("a" * 300, b"x")), "unsafe-path"),
    Hostile("A36 size of 2^63", huge_by_zip64, "zip-bomb"),
    Hostile("A37 name not UTF-8", lambda: renamed(zipped(("ab", b"x")), b"ab", b"\xff\xfe"), "unsafe-path"),
    Hostile("A37b UTF-8 unannounced", lambda: renamed(zipped(("ab", b"x")), b"ab", "é".encode()), {"é": b"x"}),
    Hostile("A47 no entries", lambda: zipped(), {}),
    Hostile("A47b empty file", lambda: b"", "not-a-zip"),
    Hostile("A50 no date", lambda: patched(zipped(("a", b"x")), CENTRAL, 12, bytes(4)), {"a": b"x"}),
    Hostile("A51 extra field too long", lambda: patched(zipped(("a", b"x")), CENTRAL, 30, b"\xff"), {"a": b"x"}),
    Hostile("offset before the file", lambda: patched(zipped(("a", b"x")), CENTRAL, 42, b"\xff"), "corrupt-archive"),
    Hostile("directory before it", lambda: patched(zipped(("a", b"x")), END, 12, b"\xff"), "not-a-zip"),
    Hostile("comment cut", lambda: patched(zipped(("a", b"x")), END, 20, b"\x10"), "corrupt-archive"),
    Hostile("web page", lambda: b"<!doctype html><title>404</title>", "not-a-zip"),
)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_hostile_archives_are_read_as_the_daemon_reads_them_or_refused(hostile: Hostile, tmp_path: Path) -> None:
    file = tmp_path / "hostile.difypkg"
    file.write_bytes(hostile.make())

    try:
        seen: str | dict[str, bytes] = contents(file)
    except DifyoffError as error:
        seen = error.diagnosis.slug

    assert seen == hostile.expected


def test_many_entries_stay_cheap(tmp_path: Path) -> None:
    file = tmp_path / "many.difypkg"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(20_000):
            archive.writestr(zipfile.ZipInfo(f"a/b/c/{number}"), b"")

    with Archive(file) as archive_read:
        assert len(archive_read.members) == 20_000


PLAIN = bytes(
    zipped(
        ("manifest.yaml", b"version: 0.0.1\n"),
        ("provider/p.yaml", b"tools: []\n" * 20),
        ("data", bytes(range(256))),
        method=zipfile.ZIP_DEFLATED,
        comment=b'{"signature": "", "time": 1}',
    )
)


@pytest.mark.parametrize("length", range(0, len(PLAIN), len(PLAIN) // 64))
def test_a_truncated_archive_is_refused(length: int, tmp_path: Path) -> None:
    file = tmp_path / "cut.difypkg"
    file.write_bytes(PLAIN[:length])

    with pytest.raises(DifyoffError) as caught:
        contents(file)

    assert caught.value.diagnosis.slug in {"not-a-zip", "corrupt-archive"}


@given(flips=st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 7)), min_size=1, max_size=4))
def test_flipped_bits_give_a_diagnosis_or_true_content(
    flips: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(PLAIN)
    for position, bit in flips:
        data[position] ^= 1 << bit
    file = tmp_path_factory.mktemp("flipped") / "flipped.difypkg"
    file.write_bytes(data)
    true = {b"version: 0.0.1\n", b"tools: []\n" * 20, bytes(range(256))}

    try:
        seen = contents(file)
    except DifyoffError:
        return

    assert set(seen.values()) <= true


names = st.lists(
    st.text(st.characters(exclude_characters="/\\\0", codec="utf-8"), min_size=1, max_size=12).filter(
        lambda name: name not in {".", ".."}
    ),
    min_size=1,
    max_size=4,
).map("/".join)


def unclashing(files: dict[str, bytes]) -> bool:
    folders = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}
    return not folders & set(files)


@given(files=st.dictionaries(names, st.binary(max_size=300), max_size=8).filter(unclashing))
def test_what_is_written_is_read_and_the_same_bytes_come_twice(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("written") / "package.difypkg"

    file.write_bytes(written(files.items()))

    assert contents(file) == files
    with Archive(file) as archive:
        assert archive.size == sum(map(len, files.values()))
        assert archive.digests() == {path: hashlib.sha256(data).digest() for path, data in files.items()}
        assert not archive.directory_entries
        assert not archive.duplicates
    assert written(files.items()) == file.read_bytes()


def written(files: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with writing(buffer) as archive:
        for path, data in sorted(files):
            archive.add(path, iter([data[:7], data[7:]]), len(data))
    return buffer.getvalue()


def test_the_written_bytes_are_known() -> None:
    """The same bytes on every machine, in every Python: a change here changes every package ever made."""
    package = written([("manifest.yaml", b"version: 0.0.1\n"), ("wheels/é.whl", b"PK")])

    assert hashlib.sha256(package).hexdigest() == "d98cad6e459af7b876b682cdfe9c552be8daaf7ca0f15af376e9416360fdfc2a"


def test_a_failure_leaves_no_readable_archive() -> None:
    buffer = io.BytesIO()

    def broken() -> Iterator[bytes]:
        yield b"x"
        raise RuntimeError

    with pytest.raises(RuntimeError), writing(buffer) as archive:
        archive.add("a", broken(), 2)

    assert not zipfile.is_zipfile(buffer)


@pytest.mark.parametrize(("name", "slug"), [("absent.difypkg", "file-not-found"), (".", "file-not-readable")])
def test_what_is_no_file_is_said_to_be_none(name: str, slug: str, tmp_path: Path) -> None:
    with pytest.raises(DifyoffError) as caught:
        Archive(tmp_path / name)

    assert caught.value.diagnosis.slug == slug


def test_notes_what_the_daemon_trips_over(tmp_path: Path) -> None:
    file = tmp_path / "odd.difypkg"
    file.write_bytes(zipped(("sub/", b""), ("a", b"x"), ("./a", b"y"), comment=b"{}"))

    with Archive(file) as archive:
        assert archive.directory_entries == ("sub/",)
        assert archive.duplicates == ("a",)
        assert archive.comment == b"{}"
        assert "a" in archive
        assert "b" not in archive
        with pytest.raises(KeyError):
            archive.read("b")


def test_a_large_file_comes_in_pieces(tmp_path: Path) -> None:
    data = bytes(1_000_000)
    file = tmp_path / "large"
    file.write_bytes(data)

    pieces = list(file_chunks(file))

    assert len(pieces) > 1
    assert b"".join(pieces) == data

"""Hostile archives by the names they have in the literature on zip attacks, each with its answer.

`expected` is the slug that refuses it, or the files that are read.
"""

import io
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kit.rawzip import UTF8, Raw, archive, zip64_end

SIGNATURE = b'{"signature": "c2lnbmF0dXJl", "time": 1735689600}'


@dataclass(frozen=True)
class Hostile:
    """An archive, and the slug that refuses it or the files that are read."""

    name: str
    make: Callable[[], bytes]
    expected: str | dict[str, bytes]


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    """Zip entries in their order by CPython, repeated names included."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w", method) as opened:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.filename = name  # ZipInfo would mend it
            info.compress_type = method
            opened.writestr(info, data)
        opened.comment = comment
    return buffer.getvalue()


def raw(*entries: Raw, comment: bytes = b"", **end: int) -> bytes:
    return archive(entries, comment=comment, end=end)


def named(*names: str) -> bytes:
    return raw(*(Raw(name=name.encode(), data=str(place).encode(), flags=UTF8) for place, name in enumerate(names)))


def one(**fields: object) -> bytes:
    """Return an archive of one file `a` with the content `x`, some of it changed."""
    return raw(Raw(**({"name": b"a", "data": b"x"} | fields)))  # type: ignore[arg-type]


def behind(**fields: object) -> bytes:
    """Return an archive as Go writes it, `a` and `b` with descriptors; fields of the first one's descriptor changed."""
    first = Raw(name=b"a", data=b"x" * 9, method=8, behind=True, descriptor=fields)  # type: ignore[arg-type]
    return raw(first, Raw(name=b"b", data=b"y", method=8, behind=True))


def overlapping() -> bytes:
    """Two central records that lead to one local file."""
    return raw(Raw(name=b"a", data=b"x"), Raw(name=b"a", data=b"x", central={"header": 0}))


def quoted_overlap() -> bytes:
    """Every local header is content of the file before it; one kernel is unpacked many times."""
    kernel = zlib.compressobj(9, wbits=-15)
    packed = kernel.compress(bytes(4 << 20)) + kernel.flush()
    base = archive([Raw(name=b"0", data=bytes(4 << 20), method=8, stored=packed)])
    place = base.index(b"PK\1\2")
    record, end = base[place : base.rindex(b"PK\5\6")], base[base.rindex(b"PK\5\6") :]
    count = 26
    directory = b"".join(record[:46] + bytes([97 + number]) for number in range(count))
    return base[:place] + directory + end[:8] + struct.pack("<HHLLH", count, count, len(directory), place, 0)


def two_directories() -> bytes:
    """A directory that the end record names, and another that a zip64 end record names."""
    first = raw(Raw(name=b"main.py", data=b"clean"), Raw(name=b"evil.py", data=b"evil!"))
    place = first.index(b"PK\1\2")
    end = first.rindex(b"PK\5\6")
    directory = first[place:end]
    swapped = directory.replace(b"main.py", b"tmp_.py").replace(b"evil.py", b"main.py").replace(b"tmp_.py", b"evil.py")
    both = first[:place] + swapped + directory
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(directory), place + len(directory), 0)
    return zip64_end(both + tail, offset=place)


def two_directories_by_ffff() -> bytes:
    """The same, reached by Go's reader alone: a directory of 0xffff bytes sends it to the zip64 record."""
    data = two_directories()
    end = data.rindex(b"PK\5\6")
    return data[: end + 12] + struct.pack("<L", 0xFFFF) + data[end + 16 :]


def tar_too() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        opened.addfile(tarfile.TarInfo("main.py"))
    return buffer.getvalue() + zipped(("a", b"x"))


def many(count: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for number in range(count):
            opened.writestr(zipfile.ZipInfo(f"f{number}"), b"")
    return buffer.getvalue()


def wrapped_count() -> bytes:
    """65,537 entries, of which the end record announces one."""
    data = many(65_537)
    first, start = data.index(b"PK\1\2"), data.rindex(b"PK\6\6")
    return data[:start] + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, start - first, first, 0)


def symlinked() -> bytes:
    link = Raw(name=b"link", data=b"/etc", attributes=0o120777 << 16)
    return raw(link, Raw(name=b"other", data=b"x"))


def huge_by_zip64() -> bytes:
    """A size of 2^63, which makes the daemon's sum negative."""
    extra = struct.pack("<HHQ", 1, 8, 1 << 63)
    return one(central={"size": 0xFFFFFFFF, "extra": extra})


def unicode_path(name: bytes = b"evil.py") -> bytes:
    """An Info-ZIP field with another name, which unzip follows and the daemon does not."""
    value = struct.pack("<BL", 1, zlib.crc32(b"a")) + name
    extra = struct.pack("<HH", 0x7075, len(value)) + value
    return one(local={"extra": extra}, central={"extra": extra})


def mode(kind: int) -> bytes:
    return one(attributes=kind << 16)


TRUE = {"a": b"x"}
ARCHIVES: tuple[Hostile, ...] = (
    Hostile("A01 control", lambda: zipped(("a", b"x"), ("b/c", b"y")), {"a": b"x", "b/c": b"y"}),
    Hostile("A01b as Go writes it", behind, {"a": b"x" * 9, "b": b"y"}),
    Hostile("A01c signed", lambda: raw(Raw(name=b"a", data=b"x"), comment=SIGNATURE), TRUE),
    Hostile("A02 folder entry", lambda: zipped(("sub/", b""), ("sub/a", b"x")), {"sub/a": b"x"}),
    Hostile("A02b folder with content", lambda: zipped(("sub/", b"x"), ("sub/a", b"x")), "corrupt-archive"),
    Hostile("A03 repeated name", lambda: zipped(("a", b"first"), ("a", b"last")), "duplicate-entry"),
    Hostile("A03b repeated, same bytes", lambda: zipped(("a", b"x"), ("a", b"x")), "duplicate-entry"),
    Hostile("A04 traversal", lambda: named("../../evil"), "unsafe-path"),
    Hostile("A05 absolute", lambda: named("/etc/evil"), "unsafe-path"),
    Hostile("A06 backslash traversal", lambda: named(r"..\..\evil"), "unsafe-path"),
    Hostile("A07 backslash", lambda: named(r"a\b.py"), "unsafe-path"),
    Hostile("A08 dot behind", lambda: named("main.py", "./main.py"), "unsafe-path"),
    Hostile("A08b dot first", lambda: named("./main.py", "main.py"), "unsafe-path"),
    Hostile("A09 double slash", lambda: named("a//b.py"), "unsafe-path"),
    Hostile("A10 dots inside", lambda: named("main.py", "a/../main.py"), "unsafe-path"),
    Hostile("A10b dots only", lambda: named("a/.."), "unsafe-path"),
    Hostile("A11 file and folder", lambda: named("a", "a/b"), "unsafe-path"),
    Hostile("A11b file and folder entry", lambda: zipped(("a", b"x"), ("a/", b"")), "unsafe-path"),
    Hostile("A12 empty name", lambda: named(""), "unsafe-path"),
    Hostile("A13 NUL", lambda: named("a\0b"), "unsafe-path"),
    Hostile("A14 newline", lambda: named("a\nb"), "unsafe-path"),
    Hostile("A14b DEL", lambda: named("a\x7fb"), "unsafe-path"),
    Hostile("A15 letter case", lambda: named("main.py", "MAIN.py"), "duplicate-entry"),
    Hostile("A15b letter case of a folder", lambda: named("a", "A/b"), "unsafe-path"),
    Hostile("A16 Unicode forms", lambda: named("caf\u00e9.py", "cafe\u0301.py"), "duplicate-entry"),
    Hostile("A16b direction", lambda: named("main\u202eyp.py"), "unsafe-path"),
    Hostile("A16c zero width", lambda: named("ma\u200bin.py"), "unsafe-path"),
    Hostile("A16d two alphabets", lambda: named("m\u0430in.py"), {"m\u0430in.py": b"0"}),
    Hostile("A17 checksum", lambda: raw(Raw(name=b"a", data=b"y", stored=b"x")), "corrupt-archive"),
    Hostile("A17b checksum 0", lambda: one(local={"crc": 0}, central={"crc": 0}), "corrupt-archive"),
    Hostile("A18 two names", lambda: one(local={"name": b"b"}), "corrupt-archive"),
    Hostile("A18b two methods", lambda: one(local={"method": 8}), "corrupt-archive"),
    Hostile("A18c two sizes", lambda: one(local={"size": 2}), "corrupt-archive"),
    Hostile("A18d two checksums", lambda: one(local={"crc": 1}), "corrupt-archive"),
    Hostile("A18e two sets of flags", lambda: one(local={"flags": 2}), "corrupt-archive"),
    Hostile("A19 bytes behind", lambda: one() + b"more", "corrupt-archive"),
    Hostile("A19b one NUL behind", lambda: one() + b"\0", "corrupt-archive"),
    Hostile("A20 bytes before", lambda: b"#!/bin/sh\n" + one(), "corrupt-archive"),
    Hostile("A20b bytes before, offsets true", lambda: one(before=b"#!/bin/sh\n"), "corrupt-archive"),
    Hostile("A21 two zips", lambda: one() + one(data=b"2"), "corrupt-archive"),
    Hostile("A22 zip in the comment", lambda: raw(Raw(name=b"a", data=b"x"), comment=one()), "corrupt-archive"),
    Hostile("A22b another comment", lambda: raw(Raw(name=b"a", data=b"x"), comment=b"hello"), "corrupt-archive"),
    Hostile(
        "A22c signature and more",
        lambda: raw(Raw(name=b"a", data=b"x"), comment=b'{"signature": "", "time": 1, "x": 1}'),
        "corrupt-archive",
    ),
    Hostile(
        "A22d signature too long",
        lambda: raw(Raw(name=b"a", data=b"x"), comment=b'{"signature": "' + b"a" * 8000 + b'", "time": 1}'),
        "corrupt-archive",
    ),
    Hostile("A23 size too large", lambda: one(central={"size": 2**31 - 1}), "corrupt-archive"),
    Hostile(
        "A23b size too large, deflated",
        lambda: one(method=8, central={"size": 2**31}, local={"size": 2**31}),
        "zip-bomb",
    ),
    Hostile("A23c a little", lambda: one(method=8, central={"size": 2}, local={"size": 2}), "corrupt-archive"),
    Hostile(
        "A24 size too small",
        lambda: one(data=b"x" * 99, method=8, central={"size": 9}, local={"size": 9}),
        "corrupt-archive",
    ),
    Hostile("A25 bomb", lambda: zipped(("zeros", bytes(80 << 20)), method=zipfile.ZIP_DEFLATED), "zip-bomb"),
    Hostile(
        "A25b bomb of few bytes", lambda: zipped(("zeros", bytes(9 << 20)), method=zipfile.ZIP_DEFLATED), "zip-bomb"
    ),
    Hostile(
        "A25c bomb in a bomb is a file",
        lambda: zipped(("in.zip", zipped(("z", bytes(1 << 20)), method=8))),
        {"in.zip": zipped(("z", bytes(1 << 20)), method=8)},
    ),
    Hostile(
        "A25d many small bombs",
        lambda: zipped(*((f"z{each}", bytes(1 << 20)) for each in range(80)), method=zipfile.ZIP_DEFLATED),
        "zip-bomb",
    ),
    Hostile("A26 symbolic link", symlinked, "unsafe-path"),
    Hostile("A27 bzip2", lambda: zipped(("a", b"x"), method=zipfile.ZIP_BZIP2), "unsupported-archive"),
    Hostile("A27b LZMA", lambda: zipped(("a", b"x"), method=zipfile.ZIP_LZMA), "unsupported-archive"),
    Hostile("A27c deflate64", lambda: one(method=9), "unsupported-archive"),
    Hostile("A27d zstd", lambda: one(method=93), "unsupported-archive"),
    Hostile("A28 encryption bit", lambda: one(flags=1), "unsupported-archive"),
    Hostile("A28b in the directory only", lambda: one(central={"flags": 1}), "unsupported-archive"),
    Hostile("A28c strong encryption", lambda: one(flags=0x40), "unsupported-archive"),
    Hostile("A28d masked headers", lambda: one(flags=0x2000), "unsupported-archive"),
    Hostile("A28e newer version", lambda: one(central={"version": 63}, local={"version": 63}), "unsupported-archive"),
    Hostile("A29 overlap", overlapping, "corrupt-archive"),
    Hostile("A29b quoted overlap", quoted_overlap, "corrupt-archive"),
    Hostile("A30 fewer announced", lambda: raw(Raw(name=b"a"), Raw(name=b"b"), here=1, count=1), "corrupt-archive"),
    Hostile("A30b more announced", lambda: raw(Raw(name=b"a"), Raw(name=b"b"), here=3, count=3), "corrupt-archive"),
    Hostile("A31 hidden file", lambda: raw(Raw(name=b"a", data=b"x"), Raw(name=b"b", hidden=True)), "corrupt-archive"),
    Hostile("A31b hidden between", lambda: raw(Raw(name=b"b", hidden=True), Raw(name=b"a")), "corrupt-archive"),
    Hostile("A31c bytes between", lambda: raw(Raw(name=b"a"), Raw(name=b"b", before=b"gap")), "corrupt-archive"),
    Hostile("A32 Unicode path field", unicode_path, "corrupt-archive"),
    Hostile("A32b the same name", lambda: unicode_path(b"a"), "corrupt-archive"),
    *(
        Hostile(f"A33 Windows, {name!r}", lambda name=name: named(name), "unsafe-path")  # type: ignore[misc]
        for name in ("CON", "aux.py", "a/nul", "lpt1.txt", "a.", "b ", "c:x", "d:ads", "COM\u00b9")
    ),
    Hostile("A34 deep path", lambda: named("a/" * 2000 + "b"), "unsafe-path"),
    Hostile("A34b 33 deep", lambda: named("a/" * 32 + "b"), "unsafe-path"),
    Hostile("A35 long name", lambda: named("a" * 300), "unsafe-path"),
    Hostile("A35b long in bytes", lambda: named("é" * 130), "unsafe-path"),
    Hostile("A35c long path", lambda: named("/".join(["a" * 200] * 6)), "unsafe-path"),
    Hostile("A36 size of 2^63", huge_by_zip64, "corrupt-archive"),
    Hostile("A37 name not UTF-8", lambda: one(name=b"\xff\xfe"), "unsafe-path"),
    Hostile("A37b and marked as UTF-8", lambda: one(name=b"\xff\xfe", flags=UTF8), "unsafe-path"),
    Hostile("A37c UTF-8 unmarked", lambda: one(name="é".encode()), "unsafe-path"),
    Hostile(
        "A39 two zip64 fields",
        lambda: one(local={"extra": struct.pack("<HHQQ", 1, 16, 1, 1) * 2}),
        "corrupt-archive",
    ),
    Hostile(
        "A39b zip64 field of another length",
        lambda: one(central={"extra": struct.pack("<HHL", 1, 4, 1)}),
        "corrupt-archive",
    ),
    Hostile(
        "A39c zip64 field that is not needed",
        lambda: one(local={"extra": struct.pack("<HHQQ", 1, 16, 1, 1)}),
        "corrupt-archive",
    ),
    Hostile("A40 zip64 end not needed", lambda: zip64_end(one()), "corrupt-archive"),
    Hostile("A40b locator elsewhere", lambda: zip64_end(one(), named=0), "corrupt-archive"),
    Hostile("A40c extensible data", lambda: zip64_end(one(), more=b"data"), "corrupt-archive"),
    Hostile("A40d two directories", two_directories, "corrupt-archive"),
    Hostile("A40e two directories, for Go alone", two_directories_by_ffff, "corrupt-archive"),
    Hostile("A40f another count", lambda: zip64_end(one(), here=2, count=2), "corrupt-archive"),
    Hostile("A41 descriptor's checksum", lambda: behind(crc=1), "corrupt-archive"),
    Hostile("A41b descriptor's stored size", lambda: behind(stored=1), "corrupt-archive"),
    Hostile("A41c descriptor's size", lambda: behind(size=1), "corrupt-archive"),
    Hostile("A41d descriptor unsigned", lambda: behind(signature=b""), "corrupt-archive"),
    Hostile("A41e no descriptor", lambda: one(flags=8), "corrupt-archive"),
    Hostile("A41f behind what is stored", lambda: one(behind=True), "corrupt-archive"),
    Hostile("A42 several disks", lambda: raw(Raw(name=b"a"), disk=1, first=1), "corrupt-archive"),
    Hostile("A42b a file on another disk", lambda: one(central={"disk": 1}), "corrupt-archive"),
    Hostile("A43 count wraps", wrapped_count, "corrupt-archive"),
    Hostile("A44 200,000 entries", lambda: many(200_000), "corrupt-archive"),
    Hostile("A44b 60,000 entries", lambda: many(60_000), "zip-bomb"),
    Hostile("A45 device", lambda: mode(0o020666), "unsafe-path"),
    Hostile("A45b pipe", lambda: mode(0o010666), "unsafe-path"),
    Hostile("A45c socket", lambda: mode(0o140666), "unsafe-path"),
    Hostile("A45d folder by its mode", lambda: mode(0o040755), "unsafe-path"),
    Hostile("A45e folder by its DOS attribute", lambda: one(attributes=0x10), "unsafe-path"),
    Hostile("A45f setuid is lost", lambda: mode(0o104755), TRUE),
    Hostile("A46 tar and zip", tar_too, "corrupt-archive"),
    Hostile("A47 empty file", lambda: b"", "not-a-zip"),
    Hostile("A47b no entries", lambda: raw(), {}),
    Hostile("A50 no date", lambda: one(central={"date": 0}, local={"date": 0}), TRUE),
    Hostile("A50b impossible time", lambda: one(central={"time": 0xFFFF, "date": 0xFFFF}), TRUE),
    Hostile("A51 extra field of 3 bytes", lambda: one(central={"extra": b"abc"}), "corrupt-archive"),
    Hostile("A51b extra field past its end", lambda: one(local={"extra": b"\x55\x54\x09\0\0"}), "corrupt-archive"),
    Hostile("A51c extra length past the file", lambda: one(local={"extra_length": 9999}), "corrupt-archive"),
    Hostile("A51d time field", lambda: one(local={"extra": b"\x55\x54\x05\0\1abcd"}), TRUE),
    Hostile(
        "A52 another order",
        lambda: raw(Raw(name=b"a", data=b"x"), Raw(name=b"b", data=b"y"), Raw(name=b"c", data=b"z", central={})),
        {"a": b"x", "b": b"y", "c": b"z"},
    ),
    Hostile("A52b another order", lambda: reordered(), {"b": b"y", "a": b"x"}),
    Hostile("bytes in the deflated data", lambda: one(method=8, stored=b"K\xca\x02\x00\0\0"), "corrupt-archive"),
    Hostile("deflated data cut", lambda: one(method=8, data=b"abcdef", stored=b"KLJNI"), "corrupt-archive"),
    Hostile("a comment of an entry", lambda: one(central={"comment": b"hi"}), "corrupt-archive"),
    Hostile("offset before the file", lambda: one(central={"header": 0xFF}), "corrupt-archive"),
    Hostile("directory before it", lambda: raw(Raw(name=b"a"), size=0xFF), "corrupt-archive"),
    Hostile("comment cut", lambda: raw(Raw(name=b"a"), comment=SIGNATURE)[:-1], "corrupt-archive"),
    Hostile("web page", lambda: b"<!doctype html><title>404</title>", "not-a-zip"),
)


def reordered() -> bytes:
    """The central directory names the files in another order than they lie in."""
    data = zipped(("a", b"x"), ("b", b"y"))
    start, end = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    second = data.index(b"PK\1\2", start + 1)
    return data[:start] + data[second:end] + data[start:second] + data[end:]


def by_name(cases: Iterable[Hostile]) -> dict[str, Hostile]:
    return {case.name: case for case in cases}

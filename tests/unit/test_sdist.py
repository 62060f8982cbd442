"""Source archives: unpacked as tarfile and zipfile do where all readers agree, refused and unwritten elsewhere."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difyoff.difypkg.archives.faults import ArchiveFault
from difyoff.difypkg.archives.sdist import unpack_source
from kit.rawzip import UTF8, Raw, archive
from kit.wheels import sdist

TYPES = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "device": tarfile.CHRTYPE, "fifo": tarfile.FIFOTYPE}


def tarred(
    files: Mapping[str, bytes | tuple[str, str]], *, form: int = tarfile.PAX_FORMAT, mode: int = 0o644, **pax: str
) -> bytes:
    """Return a tar: contents by path, or a kind of `TYPES` and its target."""
    buffer = io.BytesIO()
    headers = {key.replace("_", "."): value for key, value in pax.items()}
    with tarfile.open(fileobj=buffer, mode="w", format=form) as opened:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.mtime, member.mode, member.pax_headers = 1_700_000_000, mode, headers
            if isinstance(content, tuple):
                member.type, member.linkname = TYPES[content[0]], content[1]
                opened.addfile(member)
            elif path.endswith("/"):
                member.type, member.name = tarfile.DIRTYPE, path.rstrip("/")
                opened.addfile(member)
            else:
                member.size = len(content)
                opened.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(*entries: Raw) -> bytes:
    return archive(entries)


def resized(data: bytes) -> bytes:
    """Give the first header another size, with a true checksum."""
    header = bytearray(data[:512])
    header[124:136] = b"%011o\0" % 3
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


def renumbered(data: bytes) -> bytes:
    """Write the first size in base 256, as GNU does for sizes of 8 GiB."""
    header = bytearray(data[:512])
    header[124:136] = b"\x80" + bytes(10) + b"\1"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


GOOD: dict[str, bytes | tuple[str, str]] = {
    "a-1/": b"",
    "a-1/setup.py": b"x = 1\n",
    "a-1/a/deep/data.bin": bytes(range(256)) * 9,
    "a-1/empty": b"",
}
LONG: dict[str, bytes | tuple[str, str]] = {f"a-1/{'long/' * 22}{'x' * 120}.py": b"1\n", f"a-1/{'é' * 60}": b"2\n"}
LINKED: dict[str, bytes | tuple[str, str]] = {
    "a-1/x/y": b"1",
    "a-1/x/same": ("link", "y"),
    "a-1/up": ("link", "x/y"),
    "a-1/x/z/up": ("link", "../../x"),
}

READ: dict[str, Callable[[], bytes]] = {
    "tar.gz": lambda: gzip.compress(tarred(GOOD)),
    "tar.bz2": lambda: bz2.compress(tarred(GOOD)),
    "tar.xz": lambda: lzma.compress(tarred(GOOD)),
    "tar": lambda: tarred(GOOD),
    "GNU": lambda: gzip.compress(tarred(GOOD | LONG, form=tarfile.GNU_FORMAT)),
    "PAX": lambda: gzip.compress(tarred(GOOD | LONG)),
    "ustar": lambda: gzip.compress(tarred(GOOD | {f"{'folder/' * 20}x": b"1"}, form=tarfile.USTAR_FORMAT)),
    "executable": lambda: gzip.compress(tarred(GOOD, mode=0o755)),
    "links": lambda: gzip.compress(tarred(LINKED)),
    "dot first": lambda: gzip.compress(tarred({f"./{path}": data for path, data in GOOD.items()})),
    "Windows names": lambda: gzip.compress(tarred({"a-1/aux.py": b"", "a-1/README": b"", "a-1/readme": b""})),
    "a time in fractions": lambda: gzip.compress(tarred(GOOD, mtime="1700000000.5")),
    "zip": lambda: zipped(Raw(name=b"a-1/setup.py", data=b"x = 1\n", method=8), Raw(name=b"a-1/empty", method=8)),
    "zip behind": lambda: zipped(Raw(name="a-1/é.py".encode(), data=b"x" * 99, method=8, behind=True, flags=UTF8)),
    "the kit's": lambda: sdist("tiny", "1.0", native=True).data,
}


def tree(folder: Path) -> dict[str, object]:
    """Return what lies below a folder: a link's target, a file's content, executable bit and time."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(folder))] = path.readlink()
        elif path.is_file():
            times = 0.0 if status.st_mtime > 1_700_000_001 else status.st_mtime
            found[str(path.relative_to(folder))] = (path.read_bytes(), bool(status.st_mode & stat.S_IXUSR), times)
    return found


@pytest.mark.parametrize("name", READ)
def test_it_is_unpacked_as_others_unpack_it(name: str, tmp_path: Path) -> None:
    file, ours, theirs = tmp_path / "archive", tmp_path / "ours", tmp_path / "theirs"
    file.write_bytes(READ[name]())
    ours.mkdir()
    unpack_source(file, ours)

    if name.startswith("zip"):
        with zipfile.ZipFile(file) as opened_zip:
            opened_zip.extractall(theirs)
    else:
        with tarfile.open(file) as opened:
            opened.extractall(theirs, filter="data")
    assert tree(ours) == tree(theirs) != {}


@dataclass(frozen=True)
class Hostile:
    name: str
    make: Callable[[], bytes]
    slug: str


def gz(files: Mapping[str, bytes | tuple[str, str]]) -> Callable[[], bytes]:
    return lambda: gzip.compress(tarred(files))


HOSTILE = (
    Hostile("T01 traversal", gz({"../evil": b""}), "unsafe-path"),
    Hostile("T01b absolute", gz({"/etc/evil": b""}), "unsafe-path"),
    Hostile("T01c link out", gz({"a/link": ("link", "../../etc")}), "unsafe-path"),
    Hostile("T01d absolute link", gz({"a/link": ("link", "/etc")}), "unsafe-path"),
    Hostile("T01e file through a link", gz({"a": ("link", "b"), "a/x": b""}), "unsafe-path"),
    Hostile("T01f dots behind a link", gz({"a": ("link", "."), "b": ("link", "a/../x")}), "unsafe-path"),
    Hostile("T01g link to nothing", gz({"a": ("link", "")}), "unsafe-path"),
    Hostile("T04 sizes that differ", lambda: gzip.compress(tarred({"a": b"1234567"}, size="3")), "corrupt-archive"),
    Hostile("T04b header's size changed", lambda: gzip.compress(resized(tarred({"a": b"1" * 600}))), "corrupt-archive"),
    Hostile("T04c sparse by PAX", lambda: gzip.compress(tarred({"a": b"1"}, GNU_sparse_major="1")), "corrupt-archive"),
    Hostile("T04d number in base 256", lambda: gzip.compress(renumbered(tarred({"a": b"1"}))), "corrupt-archive"),
    Hostile("T05 repeated", lambda: gzip.compress(repeated()), "duplicate-entry"),
    Hostile("T06 hard link", gz({"a": b"", "b": ("hard", "a")}), "unsafe-path"),
    Hostile("T07 device", gz({"a": ("device", "")}), "unsafe-path"),
    Hostile("T07b pipe", gz({"a": ("fifo", "")}), "unsafe-path"),
    Hostile("T08 bomb", gz({"zeros": bytes(70 << 20)}), "zip-bomb"),
    Hostile("T08b bomb of bzip2", lambda: bz2.compress(tarred({"zeros": bytes(70 << 20)})), "zip-bomb"),
    Hostile("T08c two members", lambda: gzip.compress(tarred(GOOD)) + gzip.compress(tarred(GOOD)), "corrupt-archive"),
    Hostile("T08d bytes behind", lambda: gzip.compress(tarred(GOOD)) + b"more", "corrupt-archive"),
    Hostile("T08e files behind the end", lambda: gzip.compress(tarred(GOOD) + tarred(GOOD)), "corrupt-archive"),
    Hostile("backslash", gz({"a\\b": b""}), "unsafe-path"),
    Hostile("file and folder", gz({"a": b"", "a/b": b""}), "unsafe-path"),
    Hostile("not UTF-8", lambda: gzip.compress(tarred({"a_b": b""}).replace(b"a_b", b"a\xffb")), "corrupt-archive"),
    Hostile("cut", lambda: gzip.compress(tarred(GOOD))[:-20], "corrupt-archive"),
    Hostile("cut inside", lambda: gzip.compress(tarred(GOOD)[:1500]), "corrupt-archive"),
    Hostile("no end", lambda: gzip.compress(tarred({"a": b""})[:512]), "corrupt-archive"),
    Hostile("empty", lambda: b"", "corrupt-archive"),
    Hostile("a web page", lambda: b"<html>" * 200, "corrupt-archive"),
    Hostile("zip: traversal", lambda: zipped(Raw(name=b"../x")), "unsafe-path"),
    Hostile("zip: link out", lambda: zipped(Raw(name=b"a", data=b"../x", attributes=0o120777 << 16)), "unsafe-path"),
    Hostile(
        "zip: a lying size", lambda: zipped(Raw(name=b"a", data=b"xy", method=8, local={"size": 1})), "corrupt-archive"
    ),
    Hostile(
        "zip: checksum",
        lambda: zipped(Raw(name=b"a", data=b"x"), Raw(name=b"b", data=b"y", stored=b"z")),
        "corrupt-archive",
    ),
)


def repeated() -> bytes:
    one, other = tarred({"a": b"1"}), tarred({"a": b"2"})
    return one[:1024] + other


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_what_readers_differ_in_is_refused_before_anything_is_written(hostile: Hostile, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "target").mkdir(parents=True)
    (work / "archive").write_bytes(hostile.make())

    with pytest.raises(ArchiveFault) as caught:
        unpack_source(work / "archive", work / "target")

    assert caught.value.slug == hostile.slug
    assert sorted(path.name for path in work.iterdir()) == ["archive", "target"]
    assert list((work / "target").iterdir()) == []


PLAIN = tarred(GOOD | LONG)


@given(
    flips=st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 7)), min_size=1, max_size=4),
    cut=st.integers(0, len(PLAIN)) | st.none(),
)
def test_a_damaged_archive_is_read_or_refused_and_nothing_else(
    flips: list[tuple[int, int]], cut: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(PLAIN)
    for position, bit in flips:
        data[position] ^= 1 << bit
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "archive").write_bytes(data[:cut])
    (folder / "target").mkdir()
    try:
        unpack_source(folder / "archive", folder / "target")
    except ArchiveFault:
        assert list((folder / "target").iterdir()) == []
    assert sorted(path.name for path in folder.iterdir()) == ["archive", "target"]

"""A tar archive read strictly and forward, compressed or not: regular files, folders, and links that stay inside.

Readers of tar differ where a header says one thing and a PAX or GNU record another (the "tar differentials" of 2025 in
several installers): sizes that differ, names that are repeated, numbers that are not octal. None of that is here.

Layout: POSIX.1-2017 pax (ustar and extended headers), and GNU's long names (`L`, `K`).
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Final, Literal, Protocol

from .faults import ArchiveFault
from .profiles import Profile
from .zipreader import CHUNK, Deadline

_BLOCK: Final = 512
_LONGEST_RECORD: Final = 1 << 20
"""An extended header or a long name, in bytes."""
_LZMA_MEMORY: Final = 128 << 20
"""The dictionary of `xz -9` takes 65 MiB."""
_READ: Final = {"path", "linkpath", "size", "mtime"}
_IGNORED: Final = {"comment", "atime", "ctime", "uid", "gid", "uname", "gname", "charset", "hdrcharset"}
_VENDORS: Final = ("LIBARCHIVE.", "SCHILY.", "com.apple.", "RHT.", "APPLE.")

Kind = Literal["file", "folder", "link"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TarEntry:
    """One entry: `path` without a final slash, `size` in bytes, `time` in seconds since 1970, `target` of a link."""

    path: str
    kind: Kind
    size: int
    executable: bool
    time: float
    target: str = ""


class _Decompressor(Protocol):
    eof: bool

    def give(self, data: bytes) -> None: ...

    def take(self) -> bytes: ...

    @property
    def rest(self) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._data = b""
        self.eof = False

    def give(self, data: bytes) -> None:
        self._data += data

    def take(self) -> bytes:
        out = self._inflate.decompress(self._data, CHUNK)
        self._data = self._inflate.unconsumed_tail
        self.eof = self._inflate.eof
        return out

    @property
    def rest(self) -> bytes:
        return self._inflate.unused_data


class _Other:
    """bzip2 and xz, whose decompressors have one interface."""

    def __init__(self, made: "bz2.BZ2Decompressor | lzma.LZMADecompressor") -> None:
        self._made = made
        self._data = b""
        self.eof = False

    def give(self, data: bytes) -> None:
        self._data += data

    def take(self) -> bytes:
        if not self._data and self._made.needs_input:
            return b""
        out = self._made.decompress(self._data, CHUNK)
        self._data = b""
        self.eof = self._made.eof
        return out

    @property
    def rest(self) -> bytes:
        return self._made.unused_data


class _Plain:
    eof = False
    rest = b""

    def __init__(self) -> None:
        self._data = b""

    def give(self, data: bytes) -> None:
        self._data += data

    def take(self) -> bytes:
        out, self._data = self._data, b""
        return out


def _decompressor(head: bytes) -> _Decompressor:
    if head.startswith(b"\x1f\x8b"):
        return _Gzip()
    if head.startswith(b"BZh"):
        return _Other(bz2.BZ2Decompressor())
    if head.startswith(b"\xfd7zXZ\0"):
        return _Other(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY))
    return _Plain()


class _Stream:
    """What comes out of the compression, forward, within the profile's limits."""

    def __init__(self, file: IO[bytes], profile: Profile, size: int) -> None:
        self._file = file
        self._profile = profile
        self._size = size
        self._deadline = Deadline(profile.seconds)
        self._buffer = b""
        head = file.read(CHUNK)
        self._decompressor = _decompressor(head)
        self._decompressor.give(head)
        self._ended = not head
        self.place = 0
        self._came = 0

    def read(self, size: int) -> bytes:
        """Return exactly so many bytes, fewer at the end only."""
        while len(self._buffer) < size and (more := self._more()):
            self._buffer += more
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        self.place += len(data)
        return data

    def pieces(self, size: int) -> Iterator[bytes]:
        while size:
            data = self.read(min(size, CHUNK))
            if not data:
                raise _damaged("it ends too early", self.place, "data")
            size -= len(data)
            self._deadline.stop()
            yield data
            self._deadline.start()

    def _more(self) -> bytes:
        try:
            while not (data := b"" if self._decompressor.eof else self._decompressor.take()):
                if self._decompressor.eof:
                    self._check_rest()
                    return b""
                if self._ended:
                    if not isinstance(self._decompressor, _Plain):
                        raise _damaged("its compressed data ends too early", self.place, "data")
                    return b""
                given = self._file.read(CHUNK)
                self._ended = not given
                self._decompressor.give(given)
        except (zlib.error, OSError, lzma.LZMAError, EOFError) as error:
            raise _damaged(f"it cannot be unpacked ({error})", self.place, "data") from error
        self._deadline.check()
        self._came += len(data)
        most = min(self._profile.inflated, max(self._profile.ratio_from, self._profile.ratio * self._size))
        if self._came > most:
            raise ArchiveFault("zip-bomb", f"it has {self._size:,} bytes and unpacks to more than {most:,}")
        return data

    def _check_rest(self) -> None:
        if self._decompressor.rest.strip(b"\0") or self._file.read(CHUNK).strip(b"\0"):
            raise _damaged("bytes follow its compressed data, which some readers unpack too", self.place, "end")


def read_tar(file: IO[bytes], profile: Profile, size: int) -> Iterator[tuple[TarEntry, Callable[[], Iterator[bytes]]]]:
    """Yield every entry, and what gives its content in pieces, which must be taken before the next one.

    `size` is the archive's in bytes. Names are not judged here. Raises `ArchiveFault`.
    """
    stream = _Stream(file, profile, size)
    count = 0
    more: dict[str, str] = {}
    while True:
        place = stream.place
        block = stream.read(_BLOCK)
        if not block.strip(b"\0"):
            _check_end(stream, block, place)
            return
        kind, told, entry = _parse(block, place, more)
        if kind in b"xgLK":
            more |= _read_more(kind, stream, told, place, more)
            continue
        count += 1
        if count > profile.entries:
            raise ArchiveFault("zip-bomb", f"it has more than {profile.entries:,} entries")
        more = {}
        left = stream.pieces(entry.size)
        yield entry, lambda left=left: left  # type: ignore[misc]
        for _ in left:  # what was not taken
            pass
        if stream.read(-entry.size % _BLOCK).strip(b"\0"):
            raise _damaged("it has bytes that belong to no file", stream.place, "padding")


def _check_end(stream: _Stream, block: bytes, place: int) -> None:
    if not block:
        raise _damaged("it has no end", place, "end of the archive")
    while rest := stream.read(CHUNK):
        if rest.strip(b"\0"):
            raise _damaged("files follow its end, which some readers unpack too", place, "end of the archive")


def _parse(block: bytes, place: int, more: dict[str, str]) -> tuple[int, int, TarEntry]:
    """Return the type, the size that the header tells, and the entry."""
    if len(block) < _BLOCK or _number(block[148:156], place) != sum(block) - sum(block[148:156]) + 8 * 32:
        raise _damaged("a header's checksum is wrong", place, "header")
    size = _number(block[124:136], place)
    kind = block[156]
    if kind in b"xgLK":
        return kind, size, TarEntry(path="", kind="file", size=0, executable=False, time=0)
    if kind not in b"0\x0052":
        raise ArchiveFault(
            "unsafe-path",
            f"it holds a hard link, a device or a sparse file: {_text(block[:100], place)!r}",
            offset=place,
            field="type",
        )
    name = _text(block[:100], place)
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500], place)):
        name = f"{prefix}/{name}"
    name = more.get("path", name)
    names: dict[int, Kind] = {ord("5"): "folder", ord("2"): "link"}
    of: Kind = "folder" if kind != ord("2") and name.endswith("/") else names.get(kind, "file")
    if "size" in more and more["size"] != str(size):
        raise _damaged(
            "a file has two sizes", place, "size", f"header: {size:,} bytes", f"extended header: {more['size']} bytes"
        )
    if of != "file" and size:
        raise _damaged(f"{name} has content and is not a file", place, "size")
    entry = TarEntry(
        path=name.removeprefix("./").removesuffix("/"),
        kind=of,
        size=size,
        executable=bool(_number(block[100:108], place) & 0o100),
        time=_time(more.get("mtime"), _number(block[136:148], place)),
        target=more.get("linkpath", _text(block[157:257], place)) if of == "link" else "",
    )
    return kind, size, entry


def _read_more(kind: int, stream: _Stream, size: int, place: int, more: dict[str, str]) -> dict[str, str]:
    """Return what an extended header or a long name says."""
    if size > _LONGEST_RECORD:
        raise _damaged("an extended header is too long", place, "size")
    data = b"".join(stream.pieces(size))
    stream.read(-size % _BLOCK)
    if kind in b"LK":
        name = "path" if kind == ord("L") else "linkpath"
        found = {name: _text(data, place)}
    else:
        found = _pax(data, place)
        if kind == ord("g"):
            if found.keys() & _READ:
                raise _damaged("a global header names a file or a size", place, "extended header")
            return {}
    if found.keys() & more.keys():
        raise _damaged("two extended headers say the same", place, "extended header")
    return found


def _pax(data: bytes, place: int) -> dict[str, str]:
    """Return the records of an extended header: `LENGTH KEY=VALUE\\n`."""
    found: dict[str, str] = {}
    while data.strip(b"\0"):
        length, space, _ = data.partition(b" ")
        if not space or not length.isdigit() or len(length) > 8 or not len(length) + 1 < int(length) <= len(data):
            raise _damaged("an extended header cannot be read", place, "extended header")
        key, equals, value = data[len(length) + 1 : int(length)].partition(b"=")
        if not equals or not value.endswith(b"\n"):
            raise _damaged("an extended header cannot be read", place, "extended header")
        data = data[int(length) :]
        name = key.decode("utf-8", "replace")
        if name in _READ:
            if name in found:
                raise _damaged(f"an extended header has {name} twice", place, "extended header")
            found[name] = _utf8(value[:-1], place)
        elif name not in _IGNORED and not name.startswith(_VENDORS):
            raise _damaged(f"an extended header has {name!r}, which not every reader knows", place, "extended header")
    return found


def _number(field: bytes, place: int) -> int:
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if not all(digit in b"01234567" for digit in digits):
        raise _damaged("a number in a header is not octal", place, "header")
    return int(digits, 8)


def _time(told: str | None, short: int) -> float:
    try:
        return float(told) if told is not None and len(told) < 40 else float(short)
    except ValueError:
        return float(short)


def _text(field: bytes, place: int) -> str:
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise _damaged("a name has bytes behind its end", place, "name")
    return _utf8(text, place)


def _utf8(field: bytes, place: int) -> str:
    try:
        return field.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArchiveFault(
            "unsafe-path", f"it holds a file with a name that is not UTF-8: {field!r}", offset=place, field="name"
        ) from error


def _damaged(what: str, place: int, field: str, *readings: str) -> ArchiveFault:
    return ArchiveFault("corrupt-archive", what, offset=place, field=f"{field} (unpacked)", readings=readings)

"""A zip archive read strictly, from its bytes: accepted only where every reader sees the same files.

The readers: Go's `archive/zip` (the daemon), CPython's `zipfile`, uv's streaming reader, Info-ZIP's `unzip`. They find
the central directory by other rules, believe other copies of a size or a name, and differ in what they ignore. Here the
archive is one unbroken chain (local headers with their data, then the central directory, then the end record), every
field that stands in two places is the same in both, and what one of the readers ignores is not there.

Layout and names of fields: PKWARE's APPNOTE.TXT 6.3.10.
"""

import json
import os
import stat
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

from .faults import ArchiveFault
from .names import check_path, check_unique
from .profiles import Profile

CHUNK: Final = 1 << 18
"""How much of a file is handed out at once, in bytes."""
STORED: Final = 0
DEFLATED: Final = 8

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_DESCRIPTOR: Final = struct.Struct("<4s3L")
_FIELD: Final = struct.Struct("<HH")
_LONGEST_COMMENT: Final = 0xFFFF
_MAX16: Final = 0xFFFF
_MAX32: Final = 0xFFFFFFFF
_GUESSED_EXTRA: Final = 64
"""Read together with a local header, to save a second read for most."""

_ENCRYPTED: Final = 0x1
_DESCRIPTOR_FLAG: Final = 0x8
_UTF8: Final = 0x800
_FLAGS: Final = 0x6 | _DESCRIPTOR_FLAG | _UTF8
"""Deflate's level, a descriptor, a name in UTF-8."""
_VERSION: Final = 45
"""Zip64; unzip 6 leaves out what needs more than 4.6."""

_ZIP64: Final = 0x0001
_REFUSED_FIELDS: Final = {
    0x0017: "strong encryption",
    0x6375: "a second comment",
    0x7075: "a second name, which unzip follows and the daemon does not",
    0x756E: "a second file type and a link's target",
    0x9901: "AES encryption",
}
_DOS_FOLDER: Final = 0x10


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file: `size` and `stored` are its bytes unpacked and in the archive, `start` is where those begin.

    `header` is where its local header begins, `link` whether its content is a link's target.
    """

    path: str
    size: int
    stored: int
    start: int
    header: int
    method: int
    crc: int
    link: bool = False
    executable: bool = False


class ZipReader:
    """An open zip archive, its whole frame checked; contents are checked as they are read.

    `entries` are the files in the order of the central directory, `folders` its entries for folders with their final
    slash, `in_order` says whether the files lie in the same order. Raises `ArchiveFault` on opening and on reading.
    Several threads may read at once.
    """

    def __init__(self, stream: IO[bytes], profile: Profile) -> None:
        self.profile = profile
        self._stream = stream
        self._lock = threading.Lock()
        self._deadline = Deadline(profile.seconds)
        self._size = stream.seek(0, os.SEEK_END)
        if self._size > profile.size:
            raise ArchiveFault("zip-bomb", f"it has {self._size:,} bytes, more than any {profile.kind} needs")
        self._read_frame()

    # --- The end of the archive, and its central directory ---

    def _read_frame(self) -> None:
        end, self.comment = self._read_end()
        self._check_comment(end)
        records = self._read_directory(*self._read_directory_place(end))
        start = self._directory
        entries: list[Entry] = []
        folders: list[str] = []
        expected = 0
        by_place = sorted(records, key=lambda record: record.header)
        for number, record in enumerate(by_place):
            following = by_place[number + 1].header if number + 1 < len(by_place) else start
            entry, expected = self._read_local(record, expected, following)
            if record.path.endswith("/"):
                folders.append(record.path)
            else:
                entries.append(entry)
            self._deadline.check()
        if expected != start:
            raise self._gap(expected, start)
        self.in_order = by_place == records
        if not self.in_order:
            places = {record.header: number for number, record in enumerate(records)}
            entries.sort(key=lambda entry: places[entry.header])
        check_unique((entry.path for entry in entries), (folder.rstrip("/") for folder in folders))
        self._check_ratio(entries)
        self.entries = tuple(entries)
        self.folders = tuple(folders)

    def _read_end(self) -> tuple[int, bytes]:
        """Return where the end record begins, and the archive's comment."""
        length = min(self._size, _END.size + _LONGEST_COMMENT)
        tail = self._at(self._size - length, length)
        place = tail.rfind(b"PK\5\6")
        if place < 0:
            head = self._at(0, min(24, self._size))
            raise ArchiveFault(
                "not-a-zip", "it is not a zip archive: it has no end record", readings=(f"It begins with {head!r}.",)
            )
        offset = self._size - length + place
        behind = len(tail) - place - _END.size
        announced = int.from_bytes(tail[place + 20 : place + 22], "little")
        if behind < 0 or announced > behind:
            raise ArchiveFault("corrupt-archive", "its end is missing", offset=offset, field="end record")
        if announced < behind:
            raise ArchiveFault(
                "corrupt-archive",
                f"{behind - announced:,} bytes follow its end",
                offset=offset + _END.size + announced,
                field="bytes after the end record",
                readings=("The daemon and Python ignore them.", "uv and the package index refuse them."),
            )
        return offset, tail[place + _END.size :]

    def _check_comment(self, end: int) -> None:
        if not self.comment or (self.profile.signature_comment and _is_signature(self.comment, self.profile.comment)):
            return
        allowed = "only a signature is allowed there" if self.profile.signature_comment else "none is allowed"
        raise ArchiveFault(
            "corrupt-archive",
            f"it has a comment of {len(self.comment):,} bytes, and {allowed}",
            offset=end + _END.size,
            field="comment",
            readings=(f"The comment begins with {self.comment[:40]!r}.",),
        )

    def _read_directory_place(self, end: int) -> tuple[int, int, int]:
        """Return how many entries the central directory has, where it begins and where it ends."""
        disk, first_disk, here, count, length, start, _ = _END.unpack(self._at(end, _END.size))[1:]
        stop = end
        locator = self._at(end - _LOCATOR.size, _LOCATOR.size) if end >= _LOCATOR.size else b""
        if locator[:4] == b"PK\6\7":
            stop, count64, length64, start64 = self._read_end64(end, locator)
            told = [(here, count64, _MAX16), (count, count64, _MAX16)]
            told += [(length, length64, _MAX32), (start, start64, _MAX32)]
            if any(short not in (value, most) for short, value, most in told):
                raise ArchiveFault(
                    "corrupt-archive",
                    "its end record and its zip64 end record name different directories",
                    offset=end,
                    field="end record",
                    readings=(
                        f"end record: {count:,} entries, {length:,} bytes at {start:,}",
                        f"zip64 end record: {count64:,} entries, {length64:,} bytes at {start64:,}",
                    ),
                )
            here, count, length, start = count64, count64, length64, start64
        if disk or first_disk or here != count:
            raise ArchiveFault(
                "corrupt-archive",
                "it claims to be one of several disks",
                offset=end + 4,
                field="disk numbers",
                readings=("The daemon and Python ignore the numbers.", "unzip asks for the other disks."),
            )
        if start + length != stop:
            raise ArchiveFault(
                "corrupt-archive",
                "it does not begin with its first file, or its directory is not where its end record says",
                offset=end + 12,
                field="size and offset of the central directory",
                readings=(
                    f"By the end record the directory has {length:,} bytes at {start:,}.",
                    f"By its place before the end record it begins at {stop - length:,}.",
                ),
            )
        limits = (("entries", count, self.profile.entries), ("bytes of directory", length, self.profile.directory))
        for what, value, most in limits:
            if value > most:
                raise ArchiveFault(
                    "zip-bomb",
                    f"it has {value:,} {what}; a {self.profile.kind} may have {most:,}",
                    offset=end + 8,
                    field="end record",
                )
        return count, start, stop

    def _read_end64(self, end: int, locator: bytes) -> tuple[int, int, int, int]:
        """Return where the zip64 end record begins, and the entries, bytes and place of the directory it names."""
        place = end - _LOCATOR.size - _END64.size
        if self._size <= self.profile.zip64_from or place < 0:
            raise ArchiveFault(
                "corrupt-archive",
                "it has a zip64 end record, which an archive of its size does not need",
                offset=end - _LOCATOR.size,
                field="zip64 locator",
                readings=(
                    "The daemon follows it only where the end record has its largest values.",
                    "Python follows it always.",
                ),
            )
        disk, named, disks = _LOCATOR.unpack(locator)[1:]
        signature, size, _, _, number, first, here, count, length, start = _END64.unpack(self._at(place, _END64.size))
        plain = (signature, size, disk, number, first) == (b"PK\6\6", _END64.size - 12, 0, 0, 0) and disks == 1
        if not plain or named != place or here != count:
            raise ArchiveFault(
                "corrupt-archive",
                "its zip64 records contradict themselves",
                offset=place,
                field="zip64 end record and locator",
                readings=(f"The locator names byte {named:,}; the record must be at {place:,}.",),
            )
        return place, count, length, start

    def _read_directory(self, count: int, start: int, stop: int) -> "list[_Record]":
        self._directory = start
        data = self._at(start, stop - start)
        zip64 = self._size > self.profile.zip64_from
        records: list[_Record] = []
        position = 0
        for _ in range(count):
            if len(data) - position < _CENTRAL.size or data[position : position + 4] != b"PK\1\2":
                raise self._wrong_count(count, len(records), start + position)
            record = _Record.read(data, position, start, self.profile, zip64=zip64)
            records.append(record)
            position += record.length
            if position > len(data):
                raise self._wrong_count(count, len(records) - 1, start + position - record.length)
        if position != len(data):
            raise self._wrong_count(count, count, start + position)
        self._deadline.check()
        return records

    @staticmethod
    def _wrong_count(announced: int, found: int, offset: int) -> ArchiveFault:
        return ArchiveFault(
            "corrupt-archive",
            f"it announces {announced:,} entries, and its central directory has others",
            offset=offset,
            field="central directory",
            readings=(
                f"The {found + 1:,}. record is not one, or more bytes follow the last.",
                "The daemon reads on until a record is damaged; Python stops at the announced size.",
            ),
        )

    def _gap(self, expected: int, found: int) -> ArchiveFault:
        if found < expected:
            return ArchiveFault(
                "corrupt-archive",
                "two of its entries share bytes",
                offset=found,
                field="local header",
                readings=("The daemon reads both.", "Python from 3.12 on and unzip refuse them."),
            )
        if expected == 0:
            what = "it does not begin with its first file"
        elif self._at(expected, min(4, found - expected)) == b"PK\3\4":
            what = "it holds a file that its central directory does not name"
        else:
            what = f"it has {found - expected:,} bytes that belong to no file"
        return ArchiveFault(
            "corrupt-archive",
            what,
            offset=expected,
            field="bytes between entries",
            readings=("The daemon, Python and unzip ignore them.", "A streaming reader, as uv's, reads them."),
        )

    # --- Local headers ---

    def _read_local(self, record: "_Record", expected: int, following: int) -> tuple[Entry, int]:
        """Return the entry, and where what follows it must begin."""
        if record.header != expected:
            raise self._gap(expected, record.header)
        room = following - record.header
        if room < _LOCAL.size:
            raise self._gap(following + 1, following)
        data = self._at(record.header, min(room, _LOCAL.size + len(record.name) + _GUESSED_EXTRA))
        if data[:4] != b"PK\3\4":
            raise record.fault("is not where the central directory says", record.header, "local header")
        _, version, flags, method, _, _, crc, stored, size, name_length, extra_length = _LOCAL.unpack_from(data)
        begin = record.header + _LOCAL.size + name_length + extra_length
        if begin - record.header > len(data):
            data = self._at(record.header, min(room, begin - record.header))
        name = data[_LOCAL.size : _LOCAL.size + name_length]
        if name != record.name:
            raise record.fault(
                "has two names",
                record.header + _LOCAL.size,
                "name in the local header",
                f"The central directory, which the daemon reads, says {record.path!r}.",
                f"The local header, which a streaming reader sees, says {name.decode('utf-8', 'replace')!r}.",
            )
        if (flags, method) != (record.flags, record.method):
            raise record.fault(
                "has two sets of flags or two methods",
                record.header + 6,
                "flags and method in the local header",
                f"central directory: flags {record.flags:#06x}, method {record.method}",
                f"local header: flags {flags:#06x}, method {method}",
            )
        if version > _VERSION:
            raise record.fault(f"needs version {version / 10} of the format", record.header + 4, "version needed")
        extra = data[_LOCAL.size + name_length : begin - record.header]
        if record.header + len(data) < begin and len(extra) < extra_length:
            raise record.fault("has more extra fields than there is room for", record.header + 28, "extra length")
        zip64 = _parse_fields(extra, record.path, record.header + _LOCAL.size + name_length).get(_ZIP64)
        if zip64 is not None:
            stored, size = self._local_zip64(record, zip64, stored, size)
        told, true = (crc, stored, size), (record.crc, record.stored, record.size)
        behind = bool(flags & _DESCRIPTOR_FLAG)
        if told != true and not (behind and told == (0, 0, 0)):
            raise record.fault(
                "has two checksums or sizes",
                record.header + 14,
                "checksum and sizes in the local header",
                "central directory: checksum {:#010x}, {:,} bytes for {:,}".format(*true),
                "local header: checksum {:#010x}, {:,} bytes for {:,}".format(*told),
            )
        after = begin + record.stored
        if behind:
            self._check_descriptor(record, after, following)
            after += _DESCRIPTOR.size
        entry = Entry(
            path=record.path,
            size=record.size,
            stored=record.stored,
            start=begin,
            header=record.header,
            method=record.method,
            crc=record.crc,
            link=record.link,
            executable=record.executable,
        )
        return entry, after

    def _local_zip64(self, record: "_Record", field: bytes, stored: int, size: int) -> tuple[int, int]:
        needed = _MAX32 in (stored, size)
        if not (self.profile.zip64_fields or self._size > self.profile.zip64_from) or len(field) != 16:
            raise record.fault(
                "has its sizes in a zip64 field, which it does not need", record.header + 28, "zip64 field"
            )
        size64, stored64 = struct.unpack("<QQ", field)
        if not needed and (stored64, size64) != (stored, size):
            raise record.fault(
                "has two pairs of sizes",
                record.header + 18,
                "sizes in the local header",
                f"local header: {stored:,} bytes for {size:,}",
                f"its zip64 field: {stored64:,} bytes for {size64:,}",
            )
        return stored64, size64

    def _check_descriptor(self, record: "_Record", place: int, following: int) -> None:
        if not self.profile.descriptors or record.method == STORED:
            raise record.fault(
                "has its sizes behind its data",
                record.header + 6,
                "flags, bit 3",
                "The daemon and Python take the sizes from the central directory.",
                "A streaming reader, as uv's, cannot find the end of the data.",
            )
        data = self._at(place, min(_DESCRIPTOR.size, max(0, following - place)))
        if data != _DESCRIPTOR.pack(b"PK\7\x08", record.crc, record.stored & _MAX32, record.size & _MAX32):
            raise record.fault(
                "has another checksum or size behind its data than in the central directory",
                place,
                "data descriptor",
                f"central directory: checksum {record.crc:#010x}, {record.stored:,} bytes for {record.size:,}",
                f"data descriptor: {data.hex(' ', 4)}",
            )

    # --- Limits ---

    def _check_ratio(self, entries: list[Entry]) -> None:
        profile = self.profile
        for entry in entries:
            if entry.size > profile.entry_ratio_from and entry.size > profile.entry_ratio * entry.stored:
                raise ArchiveFault(
                    "zip-bomb",
                    f"{entry.path} has {entry.stored:,} bytes and claims to unpack to {entry.size:,}",
                    offset=entry.header,
                    field="sizes",
                )
        total = sum(entry.size for entry in entries)
        if total > profile.inflated or (total > profile.ratio_from and total > profile.ratio * self._size):
            raise ArchiveFault("zip-bomb", f"it has {self._size:,} bytes and claims to unpack to {total:,}")

    # --- Contents ---

    def read(self, entry: Entry) -> bytes:
        """Return the content of an entry."""
        return b"".join(self.chunks(entry))

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """Yield the content of an entry in pieces; what is wrong with it is known at the end at the latest."""
        deadline = Deadline(self.profile.seconds)
        crc = size = 0
        pieces = self._stored_pieces(entry) if entry.method == STORED else self._inflated_pieces(entry)
        for chunk in pieces:
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
            if size > entry.size:
                raise _content(entry, f"unpacks to more than the {entry.size:,} bytes that it announces")
            deadline.check()
            deadline.stop()
            yield chunk
            deadline.start()
        if size != entry.size:
            raise _content(entry, f"unpacks to {size:,} bytes and announces {entry.size:,}")
        if crc != entry.crc:
            raise _content(entry, f"has the checksum {crc:#010x} and announces {entry.crc:#010x}")

    def _stored_pieces(self, entry: Entry) -> Iterator[bytes]:
        for offset in range(0, entry.stored, CHUNK):
            yield self._at(entry.start + offset, min(CHUNK, entry.stored - offset))

    def _inflated_pieces(self, entry: Entry) -> Iterator[bytes]:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        taken = 0
        data = b""
        try:
            while not inflate.eof:
                if not data:
                    if taken == entry.stored:
                        # All was given; what is left inside comes out, or the stream has no end.
                        if rest := inflate.decompress(b"", CHUNK):
                            yield rest
                            continue
                        raise _content(entry, "ends too early")
                    data = self._at(entry.start + taken, min(CHUNK, entry.stored - taken))
                    taken += len(data)
                if chunk := inflate.decompress(data, CHUNK):
                    yield chunk
                data = inflate.unconsumed_tail
        except zlib.error as error:
            raise _content(entry, f"cannot be unpacked ({error})") from error
        if inflate.unused_data or taken != entry.stored:
            raise _content(entry, "has bytes behind its compressed data, which some readers ignore")

    def _at(self, offset: int, length: int) -> bytes:
        """Return so many bytes at an offset. Raises `ArchiveFault` where the file is shorter."""
        with self._lock:
            self._stream.seek(offset)
            data = self._stream.read(length)
            while len(data) < length:
                more = self._stream.read(length - len(data))
                if not more:
                    raise ArchiveFault("corrupt-archive", "it ends too early", offset=offset, field="data")
                data += more
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """One record of the central directory; `length` is its own, `at` where it begins in the archive."""

    path: str
    name: bytes
    flags: int
    method: int
    crc: int
    stored: int
    size: int
    header: int
    link: bool
    executable: bool
    length: int
    at: int

    @classmethod
    def read(cls, data: bytes, position: int, start: int, profile: Profile, *, zip64: bool) -> "_Record":
        fields = _CENTRAL.unpack_from(data, position)
        version, flags, method, _, _, crc, stored, size, name_length, extra_length, comment_length = fields[2:13]
        disk, _, attributes, header = fields[13:]
        at = start + position
        length = _CENTRAL.size + name_length + extra_length + comment_length
        begin = position + _CENTRAL.size
        name = data[begin : begin + name_length]
        path = _decoded(name, flags, at, profile)
        extra = data[begin + name_length : begin + name_length + extra_length]
        field = _parse_fields(extra, path, at + _CENTRAL.size + name_length).get(_ZIP64)
        if field is not None or _MAX32 in (size, stored, header):
            stored, size, header = _central_zip64(field if zip64 else None, stored, size, header, path, at)
        record = cls(
            path=path,
            name=name,
            flags=flags,
            method=method,
            crc=crc,
            stored=stored,
            size=size,
            header=header,
            link=stat.S_ISLNK(attributes >> 16),
            executable=bool(attributes >> 16 & stat.S_IXUSR),
            length=length,
            at=at,
        )
        record._check(version, disk, comment_length, attributes, profile)
        return record

    def _check(self, version: int, disk: int, comment: int, attributes: int, profile: Profile) -> None:
        if self.flags & _ENCRYPTED:
            raise ArchiveFault(
                "unsupported-archive",
                f"{self.path} is marked as encrypted",
                offset=self.at + 8,
                field="flags",
                readings=("The daemon ignores the mark and reads the file.", "Python and unzip refuse it."),
            )
        if self.flags & ~_FLAGS or version > _VERSION:
            raise ArchiveFault(
                "unsupported-archive",
                f"{self.path} uses features that not every reader knows",
                offset=self.at + 6,
                field="version needed and flags",
                readings=(f"version {version / 10}, flags {self.flags:#06x}",),
            )
        if self.method not in (STORED, DEFLATED):
            raise ArchiveFault(
                "unsupported-archive",
                f"{self.path} uses compression method {self.method}; the daemon reads stored and deflated files only",
                offset=self.at + 10,
                field="method",
            )
        if comment or disk:
            raise self.fault("has a comment or a disk of its own", self.at + 32, "comment length and disk number")
        if self.method == STORED and self.stored != self.size:
            raise self.fault(
                "is stored and has two sizes",
                self.at + 20,
                "sizes",
                f"{self.stored:,} bytes in the archive, {self.size:,} unpacked",
            )
        self._check_kind(attributes, profile)

    def _check_kind(self, attributes: int, profile: Profile) -> None:
        kind = stat.S_IFMT(attributes >> 16)
        if self.path.endswith("/"):
            if self.size or self.crc or kind not in (0, stat.S_IFDIR):
                raise self.fault("is a folder with content, or has the mode of a file", self.at + 24, "size and mode")
        elif not (kind in (0, stat.S_IFREG) or (self.link and profile.links)) or attributes & _DOS_FOLDER:
            raise ArchiveFault(
                "unsafe-path",
                f"{self.path} is not a regular file but a {_KINDS.get(kind, 'special file')}",
                offset=self.at + 38,
                field="external attributes",
                readings=("The daemon and Python write a regular file.", "unzip makes what the mode says."),
            )

    def fault(self, what: str, offset: int, field: str, *readings: str) -> ArchiveFault:
        """Return a fault of this entry."""
        return ArchiveFault(
            "corrupt-archive", f"{self.path} {what}", offset=offset, field=field, readings=tuple(readings)
        )


_KINDS: Final = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFSOCK: "socket",
}


def _decoded(name: bytes, flags: int, at: int, profile: Profile) -> str:
    """Return an entry's path, a folder's with its final slash."""
    try:
        path = name.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError as error:
        says = "UTF-8" if flags & _UTF8 else "a code page of its own"
        raise ArchiveFault(
            "unsafe-path",
            f"it holds a file with a name that is not {'UTF-8' if flags & _UTF8 else 'marked as UTF-8'}: {name!r}",
            offset=at + _CENTRAL.size,
            field="name",
            readings=(
                f"The entry says that it is {says}.",
                f"The daemon reads {name.decode('utf-8', 'backslashreplace')!r}.",
                f"Python reads {name.decode('cp437')!r}.",
            ),
        ) from error
    check_path(path.removesuffix("/"), profile, at + _CENTRAL.size)
    return path


def _central_zip64(
    field: bytes | None, stored: int, size: int, header: int, path: str, at: int
) -> tuple[int, int, int]:
    wanted = [value for value in (size, stored, header) if value == _MAX32]
    if field is None or not wanted or len(field) != 8 * len(wanted):
        raise ArchiveFault(
            "corrupt-archive",
            f"{path} has a size or place of 2^32-1, or a zip64 field, which an archive of this size does not need",
            offset=at + 20,
            field="sizes, offset and zip64 field in the central directory",
            readings=("The daemon takes the field for what is missing.", "Python checks its length; others guess."),
        )
    values = iter(struct.unpack(f"<{len(wanted)}Q", field))
    size, stored, header = (next(values) if value == _MAX32 else value for value in (size, stored, header))
    return stored, size, header


def _parse_fields(extra: bytes, path: str, at: int) -> dict[int, bytes]:
    """Return the extra fields by their number."""
    fields: dict[int, bytes] = {}
    position = 0
    while position < len(extra):
        if len(extra) - position < _FIELD.size:
            break
        number, length = _FIELD.unpack_from(extra, position)
        position += _FIELD.size
        if length > len(extra) - position or number in fields:
            position = -1
            break
        if number in _REFUSED_FIELDS:
            raise ArchiveFault(
                "corrupt-archive",
                f"{path} has an extra field with {_REFUSED_FIELDS[number]}",
                offset=at,
                field=f"extra field {number:#06x}",
            )
        fields[number] = extra[position : position + length]
        position += length
    if position != len(extra):
        raise ArchiveFault(
            "corrupt-archive",
            f"{path} has extra fields that are not whole or not unique",
            offset=at,
            field="extra fields",
            readings=("The daemon ignores what does not fit.", "Python and uv refuse it."),
        )
    return fields


def _is_signature(comment: bytes, longest: int) -> bool:
    """Say whether a comment can be a signature and nothing else (see `difypkg.signature`)."""
    if len(comment) > longest:
        return False
    try:
        data = json.loads(comment.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and data.keys() <= {"signature", "time"}


def _content(entry: Entry, what: str) -> ArchiveFault:
    return ArchiveFault("corrupt-archive", f"{entry.path} {what}", offset=entry.start, field="content")


class Deadline:
    """Counts the seconds spent in here, not those of whoever takes the pieces."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self.start()

    def start(self) -> None:
        """Count from now on."""
        self._since = time.monotonic()

    def stop(self) -> None:
        """Count no more, until started again."""
        self._left -= time.monotonic() - self._since

    def check(self) -> None:
        """Raise `ArchiveFault` where the time is over."""
        if time.monotonic() - self._since > self._left:
            raise ArchiveFault("zip-bomb", "it takes longer to read than any real one: the reading was stopped")

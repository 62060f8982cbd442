"""Zip archives made field by field, so that any of them can be untrue."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DESCRIPTOR = 0x8
UTF8 = 0x800


@dataclass(frozen=True, kw_only=True)
class Raw:
    """One entry: true unless `local`, `central` or `descriptor` name a field and another value.

    `behind` puts checksum and sizes behind the data, as Go does. `hidden` leaves out the central record. `before` are
    bytes before the local header.
    """

    name: bytes
    data: bytes = b""
    method: int = 0
    flags: int = 0
    attributes: int = 0o100644 << 16
    behind: bool = False
    hidden: bool = False
    before: bytes = b""
    stored: bytes | None = None
    local: Mapping[str, int | bytes] = field(default_factory=dict)
    central: Mapping[str, int | bytes] = field(default_factory=dict)
    descriptor: Mapping[str, int | bytes] = field(default_factory=dict)

    def packed(self) -> bytes:
        if self.stored is not None:
            return self.stored
        if self.method != 8:
            return self.data
        deflate = zlib.compressobj(wbits=-15)
        return deflate.compress(self.data) + deflate.flush()


def archive(entries: Sequence[Raw], *, comment: bytes = b"", end: Mapping[str, int] | None = None) -> bytes:
    """Return the archive; `end` overrides fields of the end record: disk, first, here, count, size, offset, comment."""
    data = bytearray()
    directory = bytearray()
    count = 0
    for entry in entries:
        data += entry.before
        packed = entry.packed()
        true: dict[str, int | bytes] = {
            "signature": b"PK\3\4",
            "version": 20,
            "flags": entry.flags | (DESCRIPTOR if entry.behind else 0),
            "method": entry.method,
            "time": 0,
            "date": 33,
            "crc": zlib.crc32(entry.data),
            "stored": len(packed),
            "size": len(entry.data),
            "name": entry.name,
            "extra": b"",
        }
        header = len(data)
        unknown = {"crc": 0, "stored": 0, "size": 0} if entry.behind else {}
        data += local_header({**true, **unknown, **entry.local}) + packed
        if entry.behind:
            told = {**true, "signature": b"PK\7\x08", **entry.descriptor}
            data += bytes(told["signature"]) + b"".join(_number(told[each], 4) for each in ("crc", "stored", "size"))
        if not entry.hidden:
            count += 1
            more: dict[str, int | bytes] = {
                "signature": b"PK\1\2",
                "made": 3 << 8 | 20,
                "comment": b"",
                "disk": 0,
                "internal": 0,
            }
            record = {**true, **more, "attributes": entry.attributes, "header": header, **entry.central}
            directory += central_record(record)
    told_end = {"disk": 0, "first": 0, "here": count, "count": count, "size": len(directory), "offset": len(data)}
    told_end |= {"comment": len(comment)} | dict(end or {})
    return bytes(data + directory) + struct.pack("<4s4H2LH", b"PK\5\6", *told_end.values()) + comment


def local_header(fields: Mapping[str, int | bytes]) -> bytes:
    return bytes(fields["signature"]) + _common(fields) + bytes(fields["name"]) + bytes(fields["extra"])


def central_record(fields: Mapping[str, int | bytes]) -> bytes:
    head = bytes(fields["signature"]) + _number(fields["made"], 2) + _common(fields)
    tail = _number(len(bytes(fields["comment"])), 2) + _number(fields["disk"], 2) + _number(fields["internal"], 2)
    tail += _number(fields["attributes"], 4) + _number(fields["header"], 4)
    return head + tail + bytes(fields["name"]) + bytes(fields["extra"]) + bytes(fields["comment"])


def _common(fields: Mapping[str, int | bytes]) -> bytes:
    shorts = b"".join(_number(fields[each], 2) for each in ("version", "flags", "method", "time", "date"))
    longs = b"".join(_number(fields[each], 4) for each in ("crc", "stored", "size"))
    lengths = (fields.get("name_length", len(bytes(fields["name"]))), fields.get("extra_length", -1))
    extra_length = len(bytes(fields["extra"])) if lengths[1] == -1 else lengths[1]
    return shorts + longs + _number(lengths[0], 2) + _number(extra_length, 2)


def _number(value: int | bytes, length: int) -> bytes:
    assert isinstance(value, int)
    return (value & ((1 << 8 * length) - 1)).to_bytes(length, "little")


def zip64_end(data: bytes, *, named: int | None = None, more: bytes = b"", **fields: int) -> bytes:
    """Put a zip64 end record and its locator before the end record; what is not given is true."""
    place = data.rindex(b"PK\5\6")
    _, _, _, here, count, size, offset, _ = struct.unpack("<4s4H2LH", data[place : place + 22])
    told = {"size": 44 + len(more), "made": 45, "needed": 45, "disk": 0, "first": 0, "here": here, "count": count}
    told |= {"length": size, "offset": offset} | fields
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", *told.values()) + more
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, place if named is None else named, 1)
    return data[:place] + record + locator + data[place:]

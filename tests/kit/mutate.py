"""Archives changed at random: bits, fields, splices, second directories. The same seed gives the same archive."""

import random
import struct
from collections.abc import Callable, Sequence

from kit.hostile import SIGNATURE, behind, raw, reordered, two_directories, unicode_path, zipped
from kit.rawzip import UTF8, Raw, zip64_end

_RECORDS = {b"PK\3\4": 30, b"PK\1\2": 46, b"PK\5\6": 22, b"PK\7\x08": 16, b"PK\6\6": 56, b"PK\6\7": 20}
_FIELDS = {
    b"PK\3\4": (4, 6, 8, 10, 12, 14, 18, 22, 26, 28),
    b"PK\1\2": (4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 30, 32, 34, 36, 38, 42),
    b"PK\5\6": (4, 6, 8, 10, 12, 16, 20),
    b"PK\7\x08": (4, 8, 12),
    b"PK\6\6": (4, 12, 14, 16, 20, 24, 32, 40, 48),
    b"PK\6\7": (4, 8, 16),
}
_NAMES = (b"main.py", b"MAIN.py", b"a/b.py", b"./a.py", b"../../a", b"a\\b.py", b"manifest", b"a/", b"caf\xc3\xa9")


def seeds() -> tuple[bytes, ...]:
    """Return the archives to begin with: as Go, Python and other tools write them, and some that are hostile."""
    yaml = b"version: 0.0.1\n" * 20
    inner = zipped(("x/__init__.py", b"1\n"), ("x-1.dist-info/METADATA", b"Name: x\n"))
    return (
        raw(*(Raw(name=name, data=yaml, method=8, behind=True) for name in (b"manifest.yaml", b"main.py", b"a/b.py"))),
        raw(
            *(Raw(name=name, data=yaml, method=8, behind=True) for name in (b"manifest.yaml", b"main.py")),
            comment=SIGNATURE,
        ),
        zipped(("manifest.yaml", yaml), ("main.py", b"print(1)\n"), ("wheels/x-1-py3-none-any.whl", inner)),
        zipped(("manifest.yaml", yaml), ("main.py", b"print(1)\n"), ("b", bytes(range(256))), method=8),
        zipped(("sub/", b""), ("sub/a", b"x"), ("main.py", b"y")),
        zipped(("main.py", b"y"), ("main.py", b"z")),
        raw(Raw(name="é.py".encode(), data=b"x", flags=UTF8), Raw(name=b"b", data=b"x" * 300, method=8)),
        behind(),
        reordered(),
        two_directories(),
        unicode_path(),
        zip64_end(zipped(("a", b"x"), ("b", b"y"))),
    )


def mutated(seed: int, bases: Sequence[bytes]) -> bytes:
    """Return the archive of a seed."""
    chance = random.Random(seed)
    data = bytearray(chance.choice(bases))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5))):
        chance.choice(_MUTATIONS)(data, chance, bases)
        if not data:
            break
    return bytes(data)


def _flip(data: bytearray, chance: random.Random, bases: Sequence[bytes]) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _places(data: bytearray) -> list[tuple[bytes, int]]:
    places = []
    for signature in _RECORDS:
        place = data.find(signature)
        while place >= 0:
            places.append((signature, place))
            place = data.find(signature, place + 1)
    return places


def _flip_header(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    if places := _places(data):
        signature, place = chance.choice(places)
        position = place + chance.randrange(_RECORDS[signature] + 12)
        if position < len(data):
            data[position] ^= 1 << chance.randrange(8)


def _set_field(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    if not (places := _places(data)):
        return
    signature, place = chance.choice(places)
    position = place + chance.choice(_FIELDS[signature])
    length = chance.choice((1, 2, 4, 4, 8))
    other = chance.choice(places)[1]
    value = chance.choice(
        (
            *(0, 1, 8, 9, 20, 0xFFFF, 0xFFFFFFFF, 1 << 63, (1 << 64) - 1, len(data), place, other, place - other),
            int.from_bytes(data[position : position + length], "little") + chance.choice((-1, 1, 4, -4, 16)),
        )
    )
    data[position : position + length] = (value % (1 << 8 * length)).to_bytes(length, "little")


def _swap_fields(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """Copy the same field from another record of its kind."""
    if places := _places(data):
        signature, place = chance.choice(places)
        other = chance.choice([each[1] for each in places if each[0] == signature])
        field = chance.choice(_FIELDS[signature])
        data[place + field : place + field + 4] = data[other + field : other + field + 4]


def _rename(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    name = chance.choice((b"main.py", b"manifest.yaml", b"a/b.py", b"a", b"b"))
    new = chance.choice(_NAMES)
    new = (new * 20)[: len(name)]
    place = data.find(name)
    if chance.random() < 0.5:
        data[:] = data.replace(name, new)
    elif place >= 0:
        data[place : place + len(new)] = new


def _splice(data: bytearray, chance: random.Random, bases: Sequence[bytes]) -> None:
    other = chance.choice((bytes(data), chance.choice(bases)))
    start = chance.randrange(len(other))
    piece = other[start : start + chance.choice((1, 4, 16, 22, 46, 100, 1000))]
    place = chance.randrange(len(data) + 1)
    data[place : place + chance.choice((0, 0, len(piece)))] = piece


def _splice_records(data: bytearray, chance: random.Random, bases: Sequence[bytes]) -> None:
    """Put a whole record of one archive at a record of another."""
    other = bytearray(chance.choice((bytes(data), chance.choice(bases))))
    theirs, ours = _places(other), _places(data)
    if theirs and ours:
        signature, start = chance.choice(theirs)
        place = chance.choice(ours)[1]
        data[place:place] = other[start : start + _RECORDS[signature] + chance.choice((0, 1, 7, 13))]


def _delete(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.choice((1, 1, 4, 16, 46, 200))]


def _around(data: bytearray, chance: random.Random, bases: Sequence[bytes]) -> None:
    piece = chance.choice((b"\0", b"#!/bin/sh\n", bytes(chance.choice(bases))))
    data[0 if chance.random() < 0.5 else len(data) :] = (
        piece + bytes(data) if chance.random() < 0.5 else bytes(data) + piece
    )


def _directory_again(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """Write the central directory twice, changed once, with one of several ways to name either."""
    first, end = data.find(b"PK\1\2"), data.rfind(b"PK\5\6")
    if not 0 <= first < end or len(data) < end + 22:
        return
    directory = bytes(data[first:end])
    changed = bytearray(directory)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    if chance.random() < 0.7:
        changed = bytearray(directory.replace(b"main.py", b"niam.py"))
    both = (bytes(changed), directory) if chance.random() < 0.5 else (directory, bytes(changed))
    tail = bytearray(data[end:])
    offset = first + chance.choice((0, len(both[0])))
    struct.pack_into("<LL", tail, 12, chance.choice((len(directory), 0xFFFF, 0xFFFFFFFF)), offset)
    data[first:] = both[0] + both[1] + tail


def _zip64(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    end = data.rfind(b"PK\5\6")
    if end < 0 or len(data) < end + 22:
        return
    lies: list[dict[str, int]] = [{}, {"named": chance.randrange(len(data))}, {"offset": chance.randrange(len(data))}]
    lies += [{"count": chance.randrange(9), "here": chance.randrange(9)}, {"length": chance.randrange(999)}]
    changed = bytearray(zip64_end(bytes(data), **chance.choice(lies)))  # type: ignore[arg-type]
    end = changed.rfind(b"PK\5\6")
    for offset, value in (
        (8, b"\xff\xff"),
        (10, b"\xff\xff"),
        (12, b"\xff\xff\0\0"),
        (12, b"\xff" * 4),
        (16, b"\xff" * 4),
    ):
        if chance.random() < 0.4:
            changed[end + offset : end + offset + len(value)] = value
    data[:] = changed


_MUTATIONS: tuple[Callable[[bytearray, random.Random, Sequence[bytes]], None], ...] = (
    *(_flip, _flip_header, _flip_header, _set_field, _set_field, _set_field, _swap_fields, _rename, _splice),
    *(_splice_records, _delete, _around, _directory_again, _zip64),
)

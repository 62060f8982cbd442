"""What a shared object needs of its machine: the architecture and the newest symbols of the C library.

Reads the little that it needs of the ELF format (`e_machine`, `PT_DYNAMIC`, `DT_VERNEED`) and nothing else, so that the
largest library costs no more memory than a small one.
"""

import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

MAGIC: Final = b"\x7fELF"
MACHINES: Final = {62: "x86_64", 183: "aarch64"}

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_SONAME, _DT_VERNEED, _DT_VERNEEDNUM = 0, 1, 5, 14, 0x6FFFFFFE, 0x6FFFFFFF
_MOST_SEGMENTS: Final = 256
_MOST_DYNAMIC: Final = 64 * 1024
_MOST_NEEDS: Final = 256
_LONGEST_NAME: Final = 64
_LONGEST_LINK: Final = 256
_GLIBC: Final = re.compile(rb"GLIBC_(\d{1,4})\.(\d{1,4})(?:\.\d{1,4})?\0")


class Seekable(Protocol):
    """A binary file that can be read anywhere."""

    def read(self, size: int, /) -> bytes:
        """Read at most so many bytes."""
        ...

    def seek(self, offset: int, /) -> int:
        """Go to an offset from the beginning."""
        ...


class NotElfError(ValueError):
    """The file is not an ELF file, or one that contradicts itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedObject:
    """`machine` as `uname -m` says it, or `machine 3` for one without a name here; `glibc` is what it needs of it."""

    machine: str
    glibc: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads at an offset, in the byte order and the word size of the file."""

    file: Seekable
    order: str
    wide: bool

    def unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        """Read one structure. Raises `NotElfError` beyond the end."""
        size = struct.calcsize(self.order + layout)
        return struct.unpack(self.order + layout, self.bytes(offset, size, exact=True))

    def bytes(self, offset: int, size: int, *, exact: bool = False) -> bytes:
        if offset > sys.maxsize:
            raise NotElfError("it points outside of itself")
        self.file.seek(offset)
        data = self.file.read(size)
        if exact and len(data) < size:
            raise NotElfError("it ends too early")
        return data


def read_elf(file: Seekable) -> SharedObject:
    """Read a shared object. Raises `NotElfError`."""
    reader = _open(file)
    (machine,) = reader.unpack("H", 18)
    return SharedObject(machine=MACHINES.get(machine, f"machine {machine}"), glibc=_glibc(reader))


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """How the dynamic linker knows a shared object, None where it has no name, and what it loads for it, by name."""

    soname: str | None
    needed: tuple[str, ...]


def read_links(file: Seekable) -> Links:
    """Read the names in a shared object's dynamic section. Raises `NotElfError`."""
    reader = _open(file)
    loads, dynamic = _layout(reader)
    entries = list(_dynamic(reader, *dynamic)) if dynamic else []
    places = dict(entries)
    if _DT_STRTAB not in places:
        return Links(soname=None, needed=())
    strings = _offset(places[_DT_STRTAB], loads)

    def name(place: int) -> str:
        return reader.bytes(strings + place, _LONGEST_LINK).partition(b"\0")[0].decode("utf-8", "replace")

    needed = [value for tag, value in entries if tag == _DT_NEEDED][:_MOST_NEEDS]
    soname = places.get(_DT_SONAME)
    return Links(soname=None if soname is None else name(soname), needed=tuple(map(name, needed)))


def _open(file: Seekable) -> _Reader:
    head = file.read(16)
    if head[:4] != MAGIC or len(head) < 16 or head[4] not in (1, 2) or head[5] not in (1, 2):
        raise NotElfError("it does not begin as an ELF file does")
    return _Reader(file, "<" if head[5] == 1 else ">", wide=head[4] == 2)


def _layout(reader: _Reader) -> tuple[list[tuple[int, int, int]], tuple[int, int] | None]:
    """Return where parts of the file are loaded (address, offset, size), and where its dynamic section lies."""
    loads: list[tuple[int, int, int]] = []
    dynamic: tuple[int, int] | None = None
    for kind, offset, address, size in _segments(reader):
        if kind == _PT_LOAD:
            loads.append((address, offset, size))
        elif kind == _PT_DYNAMIC:
            dynamic = offset, size
    return loads, dynamic


def _glibc(reader: _Reader) -> tuple[int, int] | None:
    loads, dynamic = _layout(reader)
    if dynamic is None:
        return None
    entries = dict(_dynamic(reader, *dynamic))
    if _DT_VERNEED not in entries or _DT_STRTAB not in entries:
        return None
    needs, strings = (_offset(entries[tag], loads) for tag in (_DT_VERNEED, _DT_STRTAB))
    # In order of their place: a compressed file can only be read forward without starting anew.
    names = sorted(set(_version_names(reader, needs, entries.get(_DT_VERNEEDNUM, 0))))
    versions = (_GLIBC.match(reader.bytes(strings + name, _LONGEST_NAME)) for name in names)
    return max(((int(match[1]), int(match[2])) for match in versions if match), default=None)


def _segments(reader: _Reader) -> Iterator[tuple[int, int, int, int]]:
    """Yield type, offset in the file, address and size in the file of every segment."""
    table = reader.unpack("Q" if reader.wide else "I", 32 if reader.wide else 28)[0]
    size, count = reader.unpack("HH", 54 if reader.wide else 42)
    for index in range(min(count, _MOST_SEGMENTS)):
        if reader.wide:
            kind, _, offset, address, _, length = reader.unpack("IIQQQQ", table + index * size)
        else:
            kind, offset, address, _, length = reader.unpack("IIIII", table + index * size)
        yield kind, offset, address, length


def _dynamic(reader: _Reader, offset: int, size: int) -> Iterator[tuple[int, int]]:
    layout = reader.order + ("qQ" if reader.wide else "iI")
    data = reader.bytes(offset, min(size, _MOST_DYNAMIC))
    whole = len(data) - len(data) % struct.calcsize(layout)
    for tag, value in struct.iter_unpack(layout, data[:whole]):
        if tag == _DT_NULL:
            return
        yield tag, value


def _offset(address: int, loads: list[tuple[int, int, int]]) -> int:
    for start, offset, size in loads:
        if start <= address < start + size:
            return address - start + offset
    raise NotElfError("it points outside of itself")


def _version_names(reader: _Reader, offset: int, count: int) -> Iterator[int]:
    """Yield the place in the string table of every version that is needed of other libraries."""
    for _ in range(min(count, _MOST_NEEDS)):
        _, names, _, first, following = reader.unpack("HHIII", offset)
        place = offset + first
        for _ in range(min(names, _MOST_NEEDS)):
            _, _, _, name, step = reader.unpack("IHHII", place)
            yield name
            place += step
        if not following:
            return
        offset += following

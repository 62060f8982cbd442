"""Shared objects made by hand: as much of the ELF format as says what a library needs."""

import struct
from collections.abc import Sequence

_MACHINES = {"x86_64": 62, "aarch64": 183, "i386": 3}


def shared_object(machine: str, versions: Sequence[str], *, wide: bool = True, padding: int = 0) -> bytes:
    """Return a library that needs these symbol versions of `libc.so.6`; `padding` bytes stand before its tables."""
    strings = b"\0libc.so.6\0" + b"".join(version.encode() + b"\0" for version in versions)
    head, segment, entry = (64, 56, 16) if wide else (52, 32, 8)
    base = 0x1000  # addresses differ from places in the file
    text = head + 2 * segment + padding
    needs = text + len(strings)
    dynamic = needs + 16 + 16 * len(versions)
    tags = [(5, base + text), (0x6FFFFFFE, base + needs), (0x6FFFFFFF, 1), (0, 0)]
    end = dynamic + entry * len(tags)
    names = [strings.index(version.encode() + b"\0") for version in versions]
    verneed = struct.pack("<HHIII", 1, len(versions), 1, 16, 0)
    for index, name in enumerate(names):
        verneed += struct.pack("<IHHII", 0, 0, 2 + index, name, 16 if index < len(names) - 1 else 0)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    word = "Q" if wide else "I"
    header = struct.pack(
        f"<HHI{word}{word}{word}IHHHHHH", 3, _MACHINES[machine], 1, 0, head, 0, 0, head, segment, 2, 0, 0, 0
    )
    if wide:
        segments = struct.pack("<IIQQQQQQ", 1, 4, 0, base, base, end, end, 4096)
        segments += struct.pack("<IIQQQQQQ", 2, 4, dynamic, base + dynamic, 0, entry * len(tags), 0, 8)
    else:
        segments = struct.pack("<IIIIIIII", 1, 0, base, base, end, end, 4, 4096)
        segments += struct.pack("<IIIIIIII", 2, dynamic, base + dynamic, 0, entry * len(tags), 0, 4, 4)
    table = b"".join(struct.pack(f"<{'qQ' if wide else 'iI'}", *tag) for tag in tags)
    return ident + header + segments + bytes(padding) + strings + verneed + table


def back_and_forth(size: int, times: int = 200) -> bytes:
    """Return a library whose tables lie at both ends of `size` bytes, so that they are read back and forth."""
    head, segment, needs, far = 64, 56, 64 + 2 * 56, size - 256
    tags = [(5, needs), (0x6FFFFFFE, needs), (0x6FFFFFFF, times), (0, 0)]
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, head, 0, 0, head, segment, 2, 0, 0, 0)
    header += struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 4096)
    header += struct.pack("<IIQQQQQQ", 2, 4, far + 32, far + 32, 0, 16 * len(tags), 0, 8)
    table = b"".join(
        struct.pack("<HHIII", 1, 1, 1, far - needs - 16 * number, 16 if number < times - 1 else 0)
        for number in range(times)
    )
    end = struct.pack("<IHHII", 0, 0, 2, 1, 0).ljust(32, b"\0") + b"".join(struct.pack("<qQ", *tag) for tag in tags)
    return (header + table).ljust(far, b"\0") + end.ljust(256, b"\0")

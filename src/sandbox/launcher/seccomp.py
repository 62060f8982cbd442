"""A filter on system calls that lets no socket reach the network (seccomp(2), classic BPF)."""

import ctypes
import errno
import os
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from . import kernel

UNIX: Final = 1
INET: Final = 2
NETLINK: Final = 16
INET6: Final = 10

_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little-endian
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EACCES
_X32: Final = 0x40000000
_MODE_FILTER: Final = 2


class _Machine(NamedTuple):
    audit: int
    socket: int
    # io_uring opens sockets past any filter; the keys of the host's user lie outside every namespace.
    refused: tuple[int, ...]


_MACHINES: Final = {
    "x86_64": _Machine(audit=0xC000003E, socket=41, refused=(425, 248, 249, 250)),
    "aarch64": _Machine(audit=0xC00000B7, socket=198, refused=(425, 217, 218, 219)),
}


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


_Line = tuple[int, int, int, int]


def program(machine: str, families: Collection[int]) -> tuple[_Line, ...]:
    """Return the filter as (code, jump if true, jump if false, operand): sockets of `families` only, EACCES for others.

    Raises `OSError` for a machine that is neither x86_64 nor aarch64.
    """
    known = _MACHINES.get(machine)
    if known is None:
        raise OSError(errno.ENOSYS, f"no system call filter for {machine}")

    def lines() -> Iterator[_Line]:
        yield _LOAD, 0, 0, _ARCHITECTURE
        yield _EQUAL, 1, 0, known.audit
        yield _RETURN, 0, 0, _REFUSE
        yield _LOAD, 0, 0, _NUMBER
        if machine == "x86_64":
            yield from ((_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _REFUSE))
        for number in known.refused:
            yield from ((_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE))
        yield from ((_EQUAL, 1, 0, known.socket), (_RETURN, 0, 0, _ALLOW))
        yield _LOAD, 0, 0, _FIRST_ARGUMENT
        for family in families:
            yield from ((_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW))
        yield _RETURN, 0, 0, _REFUSE

    return tuple(lines())


def restrict_sockets(families: Collection[int]) -> None:
    """Refuse this process and its children every socket but those of `families`, for good; needs no_new_privs."""
    lines = program(os.uname().machine, families)
    instructions = (_Instruction * len(lines))(*(_Instruction(*line) for line in lines))
    kernel.prctl(kernel.PR_SET_SECCOMP, _MODE_FILTER, _Program(len(lines), instructions))

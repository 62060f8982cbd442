"""The system calls that the standard library of Python 3.11 lacks; each raises `OSError` naming the call."""

import ctypes
import os
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MS_RELATIME: Final = 1 << 21

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38

_MNT_DETACH: Final = 2
_CAPABILITY_VERSION_3: Final = 0x20080522

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _word(argument: ctypes.Structure | int) -> object:
    # A plain int would be passed as the 32 bits of a C int.
    return ctypes.c_long(argument) if isinstance(argument, int) else ctypes.byref(argument)


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones."""
    _checked(_libc.unshare(flags), f"unshare {flags:#x}")


def prctl(option: int, first: int, second: ctypes.Structure | int = 0) -> None:
    """Set an attribute of this process."""
    # The kernel refuses some options unless the arguments not used are zero.
    _checked(_libc.prctl(option, _word(first), _word(second), _word(0), _word(0)), f"prctl {option}")


def mount(source: str | Path, target: str | Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount, bind or remount, as mount(2)."""
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _checked(_libc.mount(*arguments), f"mount {kind or source} on {target}")


def unmount(target: str | Path) -> None:
    """Detach a mount and all below it."""
    _checked(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"unmount {target}")


def pivot_root(root: str | Path, old: str | Path) -> None:
    """Make `root` the root of this mount namespace and put the former one at `old`."""
    _checked(_libc.pivot_root(os.fsencode(root), os.fsencode(old)), f"pivot_root {root}")


def syscall(number: int, *arguments: ctypes.Structure | int) -> int:
    """Call the kernel by number and return what it returns; a structure is passed by its address."""
    return _checked(_libc.syscall(_word(number), *map(_word, arguments)), f"system call {number}")


def drop_capabilities() -> None:
    """Give up every capability, for this process and whatever it executes; user 0 then only owns its files."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except PermissionError:
            break  # a plain user has none to give up
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")

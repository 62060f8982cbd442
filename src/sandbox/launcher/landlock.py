"""The same view where namespaces are refused: Landlock (kernel 6.2 or newer), which hides nothing but opens nothing.

It does not govern modes, owners and times of files, nor what is merely looked up.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Final

from . import kernel, view

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on every machine
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE, _IOCTL = 1, 2, 4, 8, 1 << 14, 1 << 15
_READABLE: Final = _EXECUTE | _READ | _LIST
_ON_FILES: Final = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
# Older ones let any file be truncated, and the oldest no file be moved between folders, which uv does.
_OLDEST: Final = 3


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def restrict_files(*, writable: Collection[Path], readable: Collection[Path]) -> None:
    """Let this process and its children open only what `view` shows, for good; needs no_new_privs.

    Raises `OSError` where the kernel has no Landlock or one too old, and when a path of `writable` is missing.
    """
    version = kernel.syscall(_CREATE, 0, 0, _VERSION)
    if version < _OLDEST:
        raise OSError(errno.ENOSYS, f"Landlock {version} is too old, {_OLDEST} is needed")
    every = (1 << (16 if version >= 5 else 15)) - 1
    # From 6 on abstract sockets and signals, too, stay among us: the host's processes may run as the same user.
    size, scoped = (24, 3) if version >= 6 else (8, 0)
    ruleset = kernel.syscall(_CREATE, _Ruleset(every, 0, scoped), size, 0)
    shown = (*view.SYSTEM, *view.FILES, Path("/proc"), *readable)
    rights = {path: _READABLE for path in shown if path.exists()}
    rights |= dict.fromkeys(view.DEVICES, _READ | _WRITE)
    rights |= dict.fromkeys(writable, every)
    for path, allowed in rights.items():
        _allow(ruleset, path, allowed)
    kernel.syscall(_RESTRICT, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        rights &= _ON_FILES
    kernel.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, _Rule(rights, descriptor), 0)
    os.close(descriptor)

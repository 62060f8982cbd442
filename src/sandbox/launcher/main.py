"""Launcher: `main([SPECIFICATION, COMMAND, ARGUMENT...])`, the specification being JSON made by `sandbox.isolation`."""

import fcntl
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from . import kernel, landlock, seccomp, supervise, view

NOT_SET_UP: Final = 125
"""Exit code when the isolation cannot be set up or the command not be executed; one line on stderr says why."""

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


class _Specification(NamedTuple):
    namespaces: bool
    user_namespace: bool
    protect: bool
    writable: tuple[Path, ...]
    readable: tuple[Path, ...]
    hidden: tuple[Path, ...]


def main(arguments: Sequence[str]) -> NoReturn:
    """Isolate and run a command; end as it ends."""
    parent = os.getppid()
    fields = json.loads(arguments[0])
    for name in ("writable", "readable", "hidden"):
        fields[name] = tuple(map(Path, fields[name]))
    specification = _Specification(**fields)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, supervise.HANDLED)
    for number in supervise.HANDLED:  # whoever started us may ignore some: neither we nor the command do
        signal.signal(number, signal.SIG_DFL)
    try:
        alive = _new_processes(specification) if specification.namespaces else None
        launcher = os.getpid()
        command = os.fork()
        if not command:
            if alive is None:
                kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != launcher:
                    os._exit(NOT_SET_UP)
            _isolate(specification)
            _execute(arguments[1:], mask)
    except OSError as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201
        os._exit(NOT_SET_UP)
    supervise.supervise(command, parent)


def _new_processes(specification: _Specification) -> int:
    """Give our children a PID namespace (and a user namespace, with us as user 0), and it a first process.

    The command is its second: plugins end when their parent is process 1 (dify_plugin, `_parent_alive_check`). With the
    first, all end; it ends with us, when the last writer of the pipe returned here is gone.
    """
    user, group = os.geteuid(), os.getegid()
    if specification.user_namespace:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    else:
        kernel.unshare(kernel.CLONE_NEWPID)
    ours, alive = os.pipe()
    if not os.fork():
        os.close(alive)
        os.closerange(0, 3)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans are reaped by the kernel
        os.read(ours, 1)
        os._exit(0)
    os.close(ours)
    return alive


def _isolate(specification: _Specification) -> None:
    """Close this process in: network, files, then every way back."""
    folder = Path.cwd()
    shown = {"writable": specification.writable, "readable": specification.readable}
    if specification.namespaces:
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC)
        _raise_loopback()
        view.enter(**shown, hidden=specification.hidden)
        os.chdir(folder)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if specification.namespaces:
        # Some families (AF_VSOCK) know no network namespaces.
        seccomp.restrict_sockets((seccomp.UNIX, seccomp.INET, seccomp.INET6, seccomp.NETLINK))
    else:
        if specification.protect:
            landlock.restrict_files(**shown)
        # Not AF_UNIX either: the host's services (a resolver, a Docker engine) listen there.
        seccomp.restrict_sockets(())


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack_from("H", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request), 16)[0]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _execute(argv: Sequence[str], mask: Set[int]) -> NoReturn:
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    # Not `os.environ`: in the C locale Python adds LC_CTYPE to it (PEP 538).
    given = Path("/proc/self/environ").read_bytes().rstrip(b"\0").split(b"\0")
    environment = dict(entry.split(b"=", 1) for entry in given if b"=" in entry)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.execvpe(argv[0], list(argv), environment)

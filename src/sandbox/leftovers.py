"""Containers and networks that an earlier difyoff left: known by our labels, and by their owner being gone."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from docker.errors import APIError

from .engine import connect

RUN: Final = "io.difyoff.run"
_HOST: Final = "io.difyoff.host"
_BOOT: Final = "io.difyoff.boot"
_PROCESS: Final = "io.difyoff.process"


@cache
def labels(pid: int) -> Mapping[str, str]:
    """Return the labels of what belongs to a process of this machine."""
    return MappingProxyType(
        {
            RUN: "true",
            _HOST: socket.gethostname(),
            _BOOT: _boot(),
            _PROCESS: f"{pid} {_started(pid)}",
        }
    )


def is_leftover(found: Mapping[str, str]) -> bool:
    """Say whether labels are ours and name an owner on this machine who is gone."""
    if RUN not in found or found.get(_HOST) != socket.gethostname():
        return False
    if found.get(_BOOT) != _boot():
        return True
    pid, _, started = found.get(_PROCESS, "").partition(" ")
    return pid.isdecimal() and _started(int(pid)) != started


def remove_leftovers() -> tuple[str, ...]:
    """Remove the containers and networks whose owner is gone, and nothing else; return their names.

    Raises `DifyoffError` (`docker-unavailable`).
    """
    removed = []
    with connect() as client:
        for container in client.containers.list(all=True, filters={"label": RUN}, ignore_removed=True):
            if is_leftover(container.labels):
                with suppress(APIError):  # it has just ended by itself
                    container.remove(force=True, v=True)
                removed.append(str(container.name))
        for network in client.networks.list(filters={"label": RUN}):  # after the containers that are on them
            if is_leftover(network.attrs["Labels"]):
                with suppress(APIError):
                    network.remove()
                removed.append(str(network.name))
    return tuple(removed)


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks, for ids are used again; empty where it is gone.

    Without `/proc` (macOS) it is `alive` as long as there is one of that id.
    """
    if Path("/proc/self/stat").exists():
        with suppress(OSError):
            # proc(5): the fields after the name, which may hold blanks and brackets; the 22nd is the start.
            return (
                Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
            )
        return ""
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
    return "alive"

"""Install and start a package as the plugin daemon does, with the network cut: written from its code, not from ours.

The commands and their environment are those of internal/core/local_runtime at 0.5.2 (requirements), 0.5.3 (sync) and
0.6.10 (frozen sync); `--offline` is that of 0.5.4.
"""

import os
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from kit.uvs import python312

DEAD_MIRROR = ("-i", "http://127.0.0.1:9/simple")
SYNC_COMMANDS = (
    ("sync", "--no-dev", "--frozen"),
    ("sync", "--no-dev"),
    ("sync", "--no-dev", "--offline"),
    ("sync", "--no-dev", *DEAD_MIRROR),
)
PIP_COMMANDS = (
    ("pip", "install", "-r", "requirements.txt"),
    ("pip", "install", *DEAD_MIRROR, "-r", "requirements.txt"),
)
HOST = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "other")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@cache
def network_cut() -> tuple[str, ...]:
    """Return the words before a command that cut its network; none where this machine grants no namespace."""
    unshare = shutil.which("unshare")
    for words in ((unshare, "--net"), (unshare, "--user", "--map-root-user", "--net")) if unshare else ():
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
            return tuple(words)
    return ()


def unpack(package: Path, folder: Path) -> Path:
    """Extract as the daemon does: plain files, the first of a name, into an empty folder."""
    with zipfile.ZipFile(package) as archive:
        seen = set()
        for info in archive.infolist():
            if info.filename in seen:
                continue
            seen.add(info.filename)
            target = folder / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(info))
    return folder


def install(
    package: Path, folder: Path, command: Sequence[str], *, uv: Path, arch: str = HOST
) -> subprocess.CompletedProcess[str]:
    """Extract the package into `folder` and run one of the daemon's commands in it, the network cut.

    For another architecture than this machine's uv is told which; nothing else is added. Where the network cannot be
    cut, uv is sent to a proxy that is not there. Skips the test where there is no CPython 3.12.
    """
    cut, python = network_cut(), python312()
    if python is None:
        pytest.skip("no CPython 3.12 on this machine")
    plugin = unpack(package, folder / "plugin")
    environment = {
        "VIRTUAL_ENV": str(plugin / ".venv"),
        "PATH": os.defpath,
        "UV_CACHE_DIR": str(folder / ".uv-cache"),
        "HOME": str(folder),  # the daemon sets none, and its image's own holds no configuration
    }
    if not cut:
        environment |= {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    foreign = ("--python-platform", f"{_MACHINES[arch]}-manylinux_2_39") if arch != HOST else ()
    subprocess.run([uv, "venv", "--quiet", ".venv", "--python", python], cwd=plugin, env=environment, check=True)
    return subprocess.run(
        [*cut, uv, *command, *foreign], cwd=plugin, env=environment, capture_output=True, text=True, check=False
    )


def starts(plugin: Path) -> bool:
    """Start an installed plugin and say whether it reaches its first heartbeat."""
    process = subprocess.Popen(
        [*network_cut(), plugin / ".venv/bin/python", "-m", "main"],
        cwd=plugin,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            return any('"heartbeat"' in line for line in process.stdout)
        finally:
            process.kill()

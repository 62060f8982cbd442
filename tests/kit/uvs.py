"""The uv and the CPython 3.12 of this machine, run in an environment that holds nothing of its user."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import uv


@cache
def python312() -> Path | None:
    """Return a CPython 3.12 that answers: uv's choice, then `python3.12` on PATH, then pyenv's; None without one."""
    for candidate in _candidates():
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(sys.implementation.name, *sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout.split() == ["cpython", "3", "12"]:
            return candidate
    return None


def _candidates() -> Iterator[Path]:
    # uv gives up at the first interpreter that does not answer, such as a pyenv shim.
    found = subprocess.run(
        [uv.find_uv_bin(), "python", "find", "--no-project", "--no-config", "cpython@3.12"],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode == 0:
        yield Path(found.stdout.strip())
    for folder in os.get_exec_path():
        if executable := shutil.which("python3.12", path=folder):
            yield Path(executable)
    root = Path(os.environ.get("PYENV_ROOT") or Path("~/.pyenv").expanduser())
    yield from sorted(root.glob("versions/3.12*/bin/python3.12"))


def run_uv(
    arguments: Sequence[str | Path],
    *,
    cwd: Path,
    cache_dir: Path,
    binary: str | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run uv on CPython 3.12 with the project's configuration and `env`; a failure raises with uv's own words."""
    python = python312()
    clean = {"PATH": os.defpath, "HOME": str(cache_dir), "UV_CACHE_DIR": str(cache_dir)}
    clean |= {"UV_PYTHON": str(python), "UV_PYTHON_DOWNLOADS": "never"} if python else {}
    done = subprocess.run(
        [binary or uv.find_uv_bin(), *arguments],
        cwd=cwd,
        env=clean | dict(env or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = f"uv {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr}"
        raise AssertionError(words)
    return done

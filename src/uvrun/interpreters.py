"""Find a CPython on this machine, by looking at more places than uv and giving up at none of them.

`uv python find` stops at the first `python3.X` on `PATH` that does not answer, such as a pyenv shim.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache as memoize
from pathlib import Path
from typing import Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.redaction import redact
from ..sandbox.process import Command, run
from .environment import IndexSettings, home_folder, resolving
from .uv import Uv

_NEWEST_MINOR: Final = 30

# The interpreter's own word on where it is: behind a shim or a virtual environment lies another path.
_PROBE: Final = """\
import json, os, sys
libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
version = "%d.%d.%d" % sys.version_info[:3]
executable = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps([executable, version, sys.implementation.name, os.uname().machine, libc]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """An interpreter: absolute `path`, `version` as `3.12.1`, `machine` as `x86_64`, `glibc` as (2, 36) or None."""

    path: Path
    version: str
    implementation: str
    machine: str
    glibc: tuple[int, int] | None

    @property
    def minor(self) -> tuple[int, int]:
        """The first two numbers of the version, `(3, 12)`."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)


def find_python(minor: tuple[int, int], *, or_newer: bool = False) -> Python | None:
    """Return the first CPython of exactly this minor version, or with `or_newer` else of the next one there is.

    Looked at, in this order: our own interpreter, `python3.X` in every folder on `PATH`, pyenv's versions, uv's, and
    the system's folders; scripts after all of these. One that does not answer is passed over.
    """
    major, first = minor
    for number in range(first, _NEWEST_MINOR if or_newer else first + 1):
        if _own().implementation == "cpython" and _own().minor == (major, number):
            return _own()
        # Scripts last: a version manager's shim is slow to answer, and often refuses.
        for path in sorted(filter(_executable, _candidates(f"{major}.{number}")), key=_is_script):
            python = _probe(path)
            if python and python.implementation == "cpython" and python.minor == (major, number):
                return python
    return None


def install_python(minor: tuple[int, int], *, uv: Uv, settings: IndexSettings, home: Path, cache: Path) -> Python:
    """Let uv fetch a CPython into its own folder of interpreters, where `find_python` finds it from then on.

    `home` and `cache` are those of `resolving`. Raises `DifyoffError` (`python-not-found`) when uv cannot.
    """
    version = f"{minor[0]}.{minor[1]}"
    environment, arguments = resolving(settings, home=home, cache=cache)
    outcome = run(
        Command(
            argv=(str(uv.path), "python", "install", *arguments, version),
            environment={**environment, "UV_PYTHON_DOWNLOADS": "manual", "UV_PYTHON_INSTALL_BIN": "0"},
            cwd=home,
            timeout=600,
        )
    )
    python = find_python(minor) if outcome.ok else None
    if python is None:
        broken = tuple(_find_broken(version))
        here = f"no CPython {version} on this machine starts" if broken else f"CPython {version} is not on this machine"
        raise DifyoffError(
            Diagnosis(
                slug="python-not-found",
                message=f"{here}, and uv could not install one",
                context=(*broken, *redact(outcome.stderr).strip().splitlines()),
                hint=f"Install CPython {version}, so that `python{version}` is on PATH. uv downloads one from"
                " GitHub, or from the mirror that UV_PYTHON_INSTALL_MIRROR names.",
            )
        )
    return python


def _find_broken(version: str) -> Iterator[str]:
    """Yield a line for each interpreter of that name that does not answer."""
    for path in dict.fromkeys(filter(_executable, _candidates(version))):
        if _probe(path) is None:
            yield f"{path} does not start: {_ask(path)}"


def _candidates(version: str) -> Iterator[Path]:
    name = f"python{version}"
    yield from (Path(folder, name) for folder in os.get_exec_path())
    pyenv = Path(os.environ.get("PYENV_ROOT") or home_folder(os.environ) / ".pyenv")
    yield from _newest_first(pyenv / "versions", f"{version}*/bin/{name}")
    data = Path(os.environ.get("XDG_DATA_HOME") or home_folder(os.environ) / ".local" / "share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    yield from _newest_first(managed, f"cpython-{version}*/bin/{name}")
    yield from (Path(folder, name) for folder in ("/usr/bin", "/usr/local/bin"))


def _newest_first(folder: Path, pattern: str) -> list[Path]:
    """Sort by the numbers in the name of the folder that holds `bin`: `3.12.10` before `3.12.9`."""
    if not os.access(folder, os.R_OK | os.X_OK):  # PYENV_ROOT may be another user's
        return []
    return sorted(
        folder.glob(pattern), key=lambda path: list(map(int, re.findall(r"\d+", path.parts[-3]))), reverse=True
    )


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


@memoize
def _own() -> Python:
    return Python(
        path=Path(getattr(sys, "_base_executable", None) or sys.executable),
        version=".".join(map(str, sys.version_info[:3])),
        implementation=sys.implementation.name,
        machine=os.uname().machine,
        glibc=_glibc(os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None),
    )


@memoize
def _probe(path: Path) -> Python | None:
    """Ask an interpreter what it is; None when it does not answer."""
    try:
        executable, version, implementation, machine, libc = json.loads(_ask(path))
    except (ValueError, TypeError):
        return None
    return Python(
        path=Path(executable), version=version, implementation=implementation, machine=machine, glibc=_glibc(libc)
    )


@memoize
def _ask(path: Path) -> str:
    """Return what an interpreter prints about itself, or the last it says where it does not."""
    # PATH and HOME let a shim of a version manager find its interpreter, where one is chosen.
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    try:
        outcome = run(Command(argv=(str(path), "-I", "-S", "-c", _PROBE), environment=environment, timeout=10))
    except DifyoffError as error:
        return error.diagnosis.message
    if outcome.ok:
        return outcome.stdout
    lines = outcome.stderr.strip().splitlines()
    return redact(lines[-1]) if lines else f"it ends with code {outcome.code}"


def _glibc(text: str | None) -> tuple[int, int] | None:
    """Read `glibc 2.36`; None for another C library."""
    match = re.fullmatch(r"glibc (\d+)\.(\d+)(?:\..*)?", text or "")
    return (int(match[1]), int(match[2])) if match else None

"""What lies in the working folder of a daemon after an install: the facts that the judging needs, and no judgement.

Only the standard library, and complete in itself: a backend whose files lie elsewhere sends this file's text to a
Python there (`python3.12 -I -S -c TEXT PLUGIN WORKING CACHE`) and reads the JSON that it prints.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ATTEMPTS: Final = "network-attempts"
"""The file in the working folder that a started plugin's attempts at the network are written to, a line each."""


class State(NamedTuple):
    """What was found. `python` is the full version of `.venv`'s interpreter, None without one.

    `distributions` maps normalised names to versions; `files` maps every file of the plugin's folder but `.venv` and
    `.uv-cache` to its SHA-256, a wheel to its size; `strays` are what lies beside the plugin's folder; `cached` says
    that uv's cache is where the daemon has it; `attempts` are the lines of `ATTEMPTS`.
    """

    python: str | None
    distributions: dict[str, str]
    files: dict[str, str | int]
    strays: list[str]
    cached: bool
    attempts: list[str]


def look(plugin: Path, working: Path, cache: Path) -> State:
    """Look at a plugin's folder, the daemon's working folder that holds it, and uv's cache."""
    attempts = working / ATTEMPTS
    own = {plugin, working / ".uv-cache", attempts}
    return State(
        python=_python(plugin / ".venv" / "pyvenv.cfg"),
        distributions=_distributions(plugin / ".venv"),
        files={path.relative_to(plugin).as_posix(): _fingerprint(path) for path in _files(plugin)},
        strays=sorted(_strays(working, own)),
        cached=cache.is_dir(),
        attempts=sorted(set(attempts.read_text(encoding="utf-8").splitlines())) if attempts.is_file() else [],
    )


def _python(configuration: Path) -> str | None:
    if not configuration.is_file():
        return None
    match = re.search(r"^version(?:_info)? *= *(\S+)", configuration.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else None


def _distributions(environment: Path) -> dict[str, str]:
    found = {}
    for folder in environment.glob("lib/python*/site-packages/*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        found[re.sub(r"[-_.]+", "-", name).lower()] = version
    return found


def _files(plugin: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(plugin):
        if Path(folder) == plugin:
            folders[:] = [name for name in folders if name not in (".venv", ".uv-cache")]
        yield from (Path(folder, name) for name in names)


def _fingerprint(path: Path) -> str | int:
    # Nothing that installs a wheel writes to it, and hashing tens of megabytes would cost more than the install.
    return path.lstat().st_size if path.suffix == ".whl" else hashlib.sha256(path.read_bytes()).hexdigest()


def _strays(folder: Path, own: set[Path]) -> Iterator[str]:
    for path in folder.iterdir():
        if path in own:
            continue
        if any(path in each.parents for each in own):
            yield from _strays(path, own)
        else:
            yield str(path)


if __name__ == "__main__":
    print(json.dumps(look(*map(Path, sys.argv[1:4]))._asdict()))  # noqa: T201

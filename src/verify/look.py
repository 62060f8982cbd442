"""What lies in the working folder of a daemon after an install: the facts that the judging needs, and no judgement.

A sandboxed process wrote there, so nothing is believed: no link is followed, from the folder above the working folder
down; regular files only are read; and there is an end to bytes, depth, number and time.

Only the standard library, and complete in itself: a backend whose files lie elsewhere sends this file's text to a
Python there (`python3.12 -I -S -c TEXT PLUGIN WORKING CACHE`, or `… -c TEXT WORKING` for the attempts at the network)
and reads the JSON that it prints.
"""

import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

ATTEMPTS: Final = "network-attempts"
"""The file in the working folder that a started plugin's attempts at the network are written to, a line each."""

_DEEPEST: Final = 100  # folders within each other; site-packages of real plugins have at most 20
_MOST: Final = 200_000  # files and folders looked at
_LONGEST: Final = 45.0  # seconds
_LARGEST: Final = 2 << 30  # bytes hashed in all
_LARGEST_TEXT: Final = 64 << 10  # bytes of a file that is read as text
_CHUNK: Final = 1 << 20
_SHOWN: Final = 8
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class State(NamedTuple):
    """What was found. `python` is the full version of `.venv`'s interpreter, None without one.

    `distributions` maps normalised names to versions; `files` maps every file of the plugin's folder but `.venv` and
    `.uv-cache` to its SHA-256, a wheel to its size, and what is not a regular file to a word that says what it is;
    `strays` are what lies beside the plugin's folder; `cached` says that uv's cache is where the daemon has it;
    `troubles` say what was not read, and why.
    """

    python: str | None
    distributions: dict[str, str]
    files: dict[str, str | int]
    strays: list[str]
    cached: bool
    troubles: list[str]


def look(plugin: Path, working: Path, cache: Path) -> State:
    """Look at a plugin's folder, the daemon's working folder that holds it, and uv's cache."""
    return _Look(plugin, working, cache).state()


def read_attempts(working: Path) -> list[str]:
    """Return what a started plugin tried to reach, each once."""
    return sorted(set(_Look(working, working, working).text(working / ATTEMPTS).splitlines()))


class _ExhaustedError(Exception):
    """There is more than is looked at; the text says of what."""


class _Look:
    def __init__(self, plugin: Path, working: Path, cache: Path) -> None:
        self._base = working.parent
        self._plugin = plugin
        self._working = working
        self._cache = cache
        self._troubles: list[str] = []
        self._until = monotonic() + _LONGEST
        self._seen = 0
        self._hashed = 0

    def state(self) -> State:
        files: dict[str, str | int] = {}
        strays: list[str] = []
        distributions: dict[str, str] = {}
        with self._noting("the working folder"):
            own = {self._plugin, self._working / ".uv-cache", self._working / ATTEMPTS}
            strays += sorted(self._strays(self._working, own))
        with self._noting("the plugin's folder"), self._folder(self._plugin) as folder:
            files.update(self._marks(folder, "", 0))  # what came before a trouble stays
        with self._noting("the virtual environment"):
            distributions |= self._distributions(self._plugin / ".venv" / "lib")
        return State(
            python=self._python(),
            distributions=distributions,
            files=files,
            strays=strays,
            cached=self._is_folder(self._cache),
            troubles=self._troubles[:_SHOWN],
        )

    @contextmanager
    def _noting(self, where: str) -> Iterator[None]:
        try:
            yield
        except _ExhaustedError as error:
            self._troubles.append(f"{where}: {error}")
        except OSError as error:
            self._troubles.append(f"{where} cannot be read: {error.strerror}")

    @contextmanager
    def _folder(self, path: Path) -> Iterator[int]:
        """Open a folder, link by link from the one that no sandboxed process can replace."""
        try:
            parts = path.relative_to(self._base).parts
            folder = os.open(self._base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except ValueError:  # a home elsewhere, where the sandbox is not this machine
            parts = ()
            folder = os.open(path, _OPEN | os.O_DIRECTORY)
        try:
            for part in parts:
                inner = os.open(part, _OPEN | os.O_DIRECTORY, dir_fd=folder)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)

    def _entries(self, folder: int) -> Iterator[os.DirEntry[str]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                self._seen += 1
                if self._seen > _MOST:
                    raise _ExhaustedError(f"there are more than {_MOST:,} files")
                if monotonic() > self._until:
                    raise _ExhaustedError(f"reading it takes more than {_LONGEST:.0f} s")
                yield entry

    def _marks(self, folder: int, prefix: str, depth: int) -> Iterator[tuple[str, str | int]]:
        if depth > _DEEPEST:
            raise _ExhaustedError(f"folders lie more than {_DEEPEST} deep within each other")
        inner = []
        for entry in self._entries(folder):
            path = f"{prefix}{entry.name}"
            if not prefix and entry.name in (".venv", ".uv-cache"):
                continue
            if entry.is_dir(follow_symlinks=False):
                inner.append(entry.name)
            else:
                yield _printable(path), self._mark(folder, entry.name, path)
        for name in inner:
            try:
                below = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=folder)
            except OSError as error:
                self._troubles.append(f"{_printable(prefix + name)} cannot be read: {error.strerror}")
                continue
            try:
                yield from self._marks(below, f"{prefix}{name}/", depth + 1)
            finally:
                os.close(below)

    def _mark(self, folder: int, name: str, path: str) -> str | int:
        """Return what a file is known by."""
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            kind = "link" if stat.S_ISLNK(found.st_mode) else "pipe" if stat.S_ISFIFO(found.st_mode) else "special file"
            self._troubles.append(f"{_printable(path)} is a {kind}")
            return kind
        # Nothing that installs a wheel writes to it, and hashing tens of megabytes would cost more than the install.
        if name.endswith(".whl"):
            return found.st_size
        if self._hashed + found.st_size > _LARGEST:
            self._troubles.append(f"{_printable(path)} has {found.st_size:,} bytes")
            return "unread"
        self._hashed += found.st_size
        try:
            return self._hash(folder, name)
        except OSError as error:
            self._troubles.append(f"{_printable(path)} cannot be read: {error.strerror}")
            return "unread"

    def _hash(self, folder: int, name: str) -> str:
        digest = hashlib.sha256()
        with _opened(name, folder) as file:
            while chunk := os.read(file, _CHUNK):
                digest.update(chunk)
                if monotonic() > self._until:
                    raise _ExhaustedError(f"reading it takes more than {_LONGEST:.0f} s")
        return digest.hexdigest()

    def _strays(self, path: Path, own: set[Path]) -> Iterator[str]:
        with self._folder(path) as folder:
            found = [path / entry.name for entry in self._entries(folder)]
        for each in found:
            if each in own:
                continue
            if any(each in mine.parents for mine in own):
                yield from self._strays(each, own)
            else:
                yield _printable(str(each))

    def _distributions(self, lib: Path) -> dict[str, str]:
        found = {}
        for python in self._names(lib):
            for name in self._names(lib / python / "site-packages") if python.startswith("python") else ():
                if name.endswith(".dist-info"):
                    project, _, version = name.removesuffix(".dist-info").partition("-")
                    found[re.sub(r"[-_.]+", "-", project).lower()] = version
        return found

    def _names(self, path: Path) -> list[str]:
        with suppress(FileNotFoundError), self._folder(path) as folder:
            return [entry.name for entry in self._entries(folder)]
        return []

    def _python(self) -> str | None:
        text = self.text(self._plugin / ".venv" / "pyvenv.cfg")
        match = re.search(r"^version(?:_info)? *= *(\S+)", text, re.MULTILINE)
        return match[1] if match else None

    def _is_folder(self, path: Path) -> bool:
        with suppress(OSError), self._folder(path):
            return True
        return False

    def text(self, path: Path) -> str:
        """Return the beginning of a small text file, nothing where there is none."""
        try:
            with self._folder(path.parent) as folder, _opened(path.name, folder) as file:
                return os.read(file, _LARGEST_TEXT).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            self._troubles.append(f"{path.name} is not a file that can be read: {error.strerror}")
            return ""


@contextmanager
def _opened(name: str, folder: int) -> Iterator[int]:
    """Open a regular file. Raises `OSError` for anything else."""
    file = os.open(name, _OPEN, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(0, "it is not a regular file")
        yield file
    finally:
        os.close(file)


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()[:200]


if __name__ == "__main__":
    folders = list(map(Path, sys.argv[1:]))
    print(json.dumps(look(*folders)._asdict() if len(folders) == 3 else read_attempts(*folders)))  # noqa: T201

"""Source archives (PEP 625, and older forms), unpacked after they were read and judged as a whole."""

import os
import posixpath
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

from .faults import ArchiveFault
from .names import check_path, check_unique
from .profiles import SDIST
from .tarreader import TarEntry, read_tar
from .zipreader import ZipReader

_MODE: Final = 0o644
_EXECUTABLE: Final = 0o755
_LATEST: Final = 1 << 32
"""Seconds since 1970: file systems and zip archives take no later time."""


def unpack_source(archive: Path, target: Path) -> None:
    """Unpack a source archive, zip or tar, into a folder that is there and empty.

    Nothing is written before all of it was read within the limits of `SDIST`. Files keep their executable bit and, from
    a tar, their time. Raises `ArchiveFault`, and `OSError` where the folder cannot be written.
    """
    with archive.open("rb") as file:
        head = file.read(4)
        if head[:2] == b"PK":
            _unpack_zip(file, target)
        else:
            _unpack_tar(file, target)


def _unpack_zip(file: IO[bytes], target: Path) -> None:
    reader = ZipReader(file, SDIST)
    links = {entry.path: _link(reader.read(entry)) for entry in reader.entries if entry.link}
    _check_links(links)
    for entry in reader.entries:
        if not entry.link:
            for _ in reader.chunks(entry):
                pass
    for folder in reader.folders:
        (target / folder).mkdir(parents=True, exist_ok=True)
    for entry in reader.entries:
        if not entry.link:
            _write(target / entry.path, reader.chunks(entry), executable=entry.executable)
    _write_links(target, links)


def _unpack_tar(file: IO[bytes], target: Path) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    entries: list[TarEntry] = []
    for entry, _ in read_tar(file, SDIST, size):
        if entry.kind == "folder" and entry.path in ("", "."):
            continue
        check_path(entry.path, SDIST)
        entries.append(entry)
    check_unique(
        (entry.path for entry in entries if entry.kind != "folder"),
        (entry.path for entry in entries if entry.kind == "folder"),
        fold=False,
    )
    links = {entry.path: entry.target for entry in entries if entry.kind == "link"}
    _check_links(links)
    file.seek(0)
    for entry, content in read_tar(file, SDIST, size):
        path = target / entry.path
        if entry.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
        elif entry.kind == "file":
            _write(path, content(), executable=entry.executable)
            if 0 <= entry.time < _LATEST:
                os.utime(path, (entry.time, entry.time))
    _write_links(target, links)


def _link(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArchiveFault("unsafe-path", f"a link leads to {content[:100]!r}, which is not UTF-8") from error


def _check_links(links: dict[str, str]) -> None:
    """Refuse links that leave the archive; `..` may only stand first, or a link on the way would turn it."""
    for path, leads_to in links.items():
        parts = leads_to.split("/")
        down = [part for part in parts if part != ".."]
        turned = parts != [".."] * (len(parts) - len(down)) + down
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), leads_to))
        if not leads_to or leads_to.startswith("/") or turned or inside.split("/")[0] == ".." or "\0" in leads_to:
            raise ArchiveFault("unsafe-path", f"the link {path} leads out of the archive: {leads_to[:100]!r}")


def _write(path: Path, pieces: Iterable[bytes], *, executable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        for piece in pieces:
            stream.write(piece)
    path.chmod(_EXECUTABLE if executable else _MODE)


def _write_links(target: Path, links: dict[str, str]) -> None:
    for path, leads_to in links.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).symlink_to(leads_to)

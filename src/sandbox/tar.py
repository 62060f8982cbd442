"""Write a tar as a stream: what goes into a container is never whole in memory, nor a second time on the disk."""

import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file copied from `source`, a link to `link`, or with neither a folder; `path` is absolute."""

    path: PurePosixPath
    mode: int
    source: Path | None = None
    link: str | None = None


def list_files(contents: Mapping[PurePosixPath, Path], *, above: PurePosixPath) -> Iterator[Entry]:
    """Yield files with plain modes, after the folders that they need below `above`."""
    folders = {folder for path in contents for folder in path.parents if above in folder.parents}
    yield from (Entry(path=folder, mode=0o755) for folder in sorted(folders))
    yield from (Entry(path=path, mode=0o644, source=source) for path, source in contents.items())


def list_folder(folder: Path, prefix: PurePosixPath) -> Iterator[Entry]:
    """Yield a folder of this machine and all below it as `prefix`, modes and links kept; sockets and pipes are not."""
    yield Entry(path=prefix, mode=stat.S_IMODE(folder.stat().st_mode))
    for current, folders, names in os.walk(folder):
        for name in sorted([*folders, *names]):
            path = Path(current, name)
            inside = prefix / path.relative_to(folder)
            status = path.lstat()
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                yield Entry(path=inside, mode=mode, link=str(path.readlink()))
            elif stat.S_ISDIR(status.st_mode):
                yield Entry(path=inside, mode=mode)
            elif stat.S_ISREG(status.st_mode):
                yield Entry(path=inside, mode=mode, source=path)


def write_tar(entries: Iterable[Entry], *, owner: tuple[int, int]) -> Iterator[bytes]:
    """Yield a tar of the entries in their order, all of one owner (user and group id)."""
    for entry in entries:
        info = tarfile.TarInfo(str(entry.path.relative_to("/")))
        info.mode = entry.mode
        info.uid, info.gid = owner
        if entry.source is not None:
            yield from _write_file(info, entry.source)
            continue
        info.type = tarfile.DIRTYPE if entry.link is None else tarfile.SYMTYPE
        info.linkname = entry.link or ""
        yield info.tobuf(tarfile.PAX_FORMAT)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _write_file(info: tarfile.TarInfo, source: Path) -> Iterator[bytes]:
    with source.open("rb") as stream:
        info.size = os.fstat(stream.fileno()).st_size
        yield info.tobuf(tarfile.PAX_FORMAT)
        while chunk := stream.read(_CHUNK):
            yield chunk
    yield b"\0" * (-info.size % tarfile.BLOCKSIZE)

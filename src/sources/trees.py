"""A plugin's source folder out of an archive: streamed, only the wanted folder kept, nothing written outside it."""

import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.manifest import MANIFEST

BROKEN: Final = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, NotImplementedError, RuntimeError, IsADirectoryError, NotADirectoryError, FileExistsError),
)
"""What is raised on a damaged archive, or one that has a file where it also has a folder."""

_FILES_MAX: Final = 20_000
_SIZE_MAX: Final = 1 << 30
_STREAM_MAX: Final = 8 << 30
"""How much an archive may unpack to, in bytes; the largest public repository of plugins has 0.8 GB."""
_MEMBERS_MAX: Final = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file or link of an archive; `link` is a symbolic link's target, `open` reads a file's content."""

    path: PurePosixPath
    size: int
    link: str | None
    open: Callable[[], IO[bytes]]


@dataclass(slots=True, kw_only=True)
class Tree:
    """What was kept: `plugins` are the folders of the archive with a manifest, `left_out` the links that lead out."""

    plugins: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    commit: str | None = None
    files: int = 0


def keep_folder(entries: Iterator[Entry], folder: PurePosixPath, target: Path, name: str) -> Tree:
    """Write the files under `folder` of an archive to `target`.

    A symbolic link to a file within the folder becomes that file's copy. Raises `unsafe-path` and `zip-bomb`.
    """
    tree = Tree()
    links: dict[PurePosixPath, PurePosixPath] = {}
    total = kept = 0
    target.mkdir(parents=True)
    for number, entry in enumerate(entries):
        total += entry.size
        if number > _MEMBERS_MAX or total > _STREAM_MAX:
            raise _bomb(name)
        path = entry.path
        if path.name == MANIFEST:
            tree.plugins.append(str(path.parent))
        if not path.is_relative_to(folder) or path == folder:
            continue
        inside = path.relative_to(folder)
        _check(inside, name)
        if entry.link is not None:
            links[inside] = PurePosixPath(entry.link)
            continue
        kept += entry.size
        tree.files += 1
        if tree.files > _FILES_MAX or kept > _SIZE_MAX:
            raise _bomb(name)
        _write(entry, target / inside)
    for inside, link in links.items():
        if not _copy(target, inside, link):
            tree.left_out.append(str(inside))
    return tree


def has_top(names: list[str]) -> bool:
    """Say whether all names of an archive lie in one top folder."""
    paths = [PurePosixPath(name) for name in names]
    tops = {path.parts[0] for path in paths if path.parts}
    return len(tops) == 1 and any(len(path.parts) > 1 for path in paths)


def tar_entries(archive: tarfile.TarFile, *, strip: bool = True) -> Iterator[Entry]:
    """Yield the files and links of a tar archive that is read as a stream, without its top folder."""
    for member in archive:
        path = _stripped(member.name, strip=strip)
        if member.issym():
            yield Entry(path=path, size=0, link=member.linkname, open=_nothing)
        elif member.isfile():
            yield Entry(path=path, size=member.size, link=None, open=partial(_member, archive, member))


def zip_entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    """Yield the files and links of a zip archive, without its top folder if it has a single one."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    strip = has_top([info.filename for info in infos])
    for info in infos:
        path = _stripped(info.filename, strip=strip)
        if (info.external_attr >> 28) == 0xA:  # Unix's type for symbolic links
            yield Entry(path=path, size=0, link=archive.read(info).decode("utf-8", "replace"), open=_nothing)
        else:
            yield Entry(path=path, size=info.file_size, link=None, open=partial(archive.open, info))


def _stripped(name: str, *, strip: bool) -> PurePosixPath:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return PurePosixPath(*parts[1 if strip else 0 :])


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    assert stream is not None
    return stream


def _nothing() -> IO[bytes]:
    raise AssertionError


def _check(path: PurePosixPath, name: str) -> None:
    if path.is_absolute() or ".." in path.parts or any("\\" in part or "\0" in part for part in path.parts):
        raise DifyoffError(
            Diagnosis(
                slug="unsafe-path",
                message=f"{name} has a file whose path leads out of the plugin: {str(path)!r}",
                note="No tool writes such an archive by accident: it may be an attack.",
                hint="Ask the plugin's author for a proper archive.",
            )
        )


def _write(entry: Entry, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with entry.open() as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 18)


def _copy(target: Path, inside: PurePosixPath, link: PurePosixPath) -> bool:
    """Put a copy of the file that a link leads to in its place; say whether it leads to one within the folder."""
    if link.is_absolute():
        return False
    parts: list[str] = []
    for part in (*inside.parent.parts, *link.parts):
        if part == "..":
            if not parts:
                return False
            parts.pop()
        elif part != ".":
            parts.append(part)
    source = target.joinpath(*parts)
    with suppress(OSError):
        if source.is_file():
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / inside)
            return True
    return False


def _bomb(name: str) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="zip-bomb",
            message=f"{name} unpacks to more than a plugin can be: over {_SIZE_MAX:,} bytes or {_FILES_MAX:,} files",
            hint="Name the plugin's own folder, as in github:owner/repo@ref//folder.",
        )
    )


def choose_folder(name: str, wanted: str, plugins: list[str], spell: Callable[[str], str]) -> DifyoffError:
    """Return the error where the wanted folder is not a plugin's; `spell` writes a source with another folder."""
    from difflib import get_close_matches

    near = get_close_matches(wanted, plugins, n=5, cutoff=0.3) or sorted(plugins)[:5]
    where = f"{wanted or 'the top folder'} of {name}"
    return DifyoffError(
        Diagnosis(
            slug="choose-folder",
            message=f"{where} is not a plugin: it has no {MANIFEST}",
            context=(
                *(spell(each) for each in near),
                *((f"and {len(plugins) - len(near)} more",) if len(plugins) > len(near) else ()),
            ),
            hint="Name the folder of one plugin." if plugins else "Name a repository or archive that holds a plugin.",
        )
    )

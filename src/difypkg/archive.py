"""Read and write `.difypkg` archives.

Reading sees what the daemon sees (Go's `archive/zip` as used in pkg/plugin_packager/decoder/zip.go): paths are cleaned,
of several entries for one path the first counts; an archive that Go and Python would read differently is refused.
Writing gives the same bytes for the same files, on every machine.
"""

import hashlib
import os
import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from .diagnosis import Diagnosis, DifyoffError

CHUNK: Final = 1 << 18
_METHODS: Final = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_READ_ERRORS: Final = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, IndexError, NotImplementedError, OSError, OverflowError),
    *(RuntimeError, ValueError),
)
"""What `zipfile` raises on a damaged archive; `OSError` for an offset before the file's beginning."""

_END: Final = struct.Struct("<4s4H2LH")
_ILLEGAL: Final = re.compile(r"[\\\0\udc80-\udcff]")
"""A backslash, NUL, and bytes that are not UTF-8."""
_COMPONENT_MAX: Final = 255
_PATH_MAX: Final = 1024
_BOMB_SIZE: Final = 64 << 20
_BOMB_RATIO: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of an archive: `path` as the daemon cleans it, `size` in bytes uncompressed."""

    path: str
    size: int
    info: zipfile.ZipInfo


class Archive:
    """An open `.difypkg`, as the daemon reads it.

    `members` are the files in archive order; `directory_entries` and `duplicates` name what the daemon trips over or
    ignores; `comment` is the zip comment, where a signature lives. Raises `DifyoffError`: `file-not-found`,
    `file-not-readable`, `not-a-zip`, `zip-bomb`, `unsafe-path`, `unsupported-archive` on opening, and `corrupt-archive`
    then or on reading.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self._stream = file.open("rb")
        except FileNotFoundError as error:
            raise DifyoffError(
                Diagnosis(slug="file-not-found", message=f"{file} does not exist", hint="Check the path.")
            ) from error
        except OSError as error:
            raise _not_readable(file, error) from error
        try:
            self._zip = _open_zip(self._stream, file)
            self._read_directory()
        except DifyoffError:
            self._stream.close()
            raise

    def _read_directory(self) -> None:
        entries = self._zip.infolist()
        _check_frame(self._stream, self._zip, self.file.name)
        _refuse_bomb(self.size, os.fstat(self._stream.fileno()).st_size, self.file.name)
        directories: list[str] = []
        duplicates: list[str] = []
        members: dict[str, Member] = {}
        for info in entries:
            path = _clean(info)
            if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
                raise _damaged(self.file.name, f"{path} is stored and has two sizes")
            if info.orig_filename.endswith("/"):
                directories.append(info.orig_filename)
            elif path in members:
                duplicates.append(path)
            else:
                members[path] = Member(path=path, size=info.file_size, info=info)
        _refuse_file_as_folder(members)
        self.members = tuple(members.values())
        self.directory_entries = tuple(directories)
        self.duplicates = tuple(duplicates)
        self.comment = self._zip.comment
        self._by_path = members

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()
        self._stream.close()

    def __contains__(self, path: str) -> bool:
        return path in self._by_path

    @property
    def size(self) -> int:
        """The size of all files uncompressed, in bytes, duplicates included, as the daemon sums it."""
        return sum(info.file_size for info in self._zip.infolist())

    def read(self, path: str) -> bytes:
        """Return a file's content. Raises `KeyError` where there is none."""
        return b"".join(self.chunks(path))

    def chunks(self, path: str) -> Iterator[bytes]:
        """Yield a file's content in pieces. Raises `KeyError` where there is none."""
        member = self._by_path[path]
        missing = member.size
        try:
            with self._zip.open(member.info) as stream:
                while chunk := stream.read(CHUNK):
                    missing -= len(chunk)
                    yield chunk
            if missing:
                raise EOFError(f"{missing} bytes are missing")
        except _READ_ERRORS as error:
            raise _damaged(self.file.name, f"{path} cannot be read", f"zip says: {error}") from error

    def digests(self) -> dict[str, bytes]:
        """Return the SHA-256 digest of every file by path: the input of `identity.checksum`."""
        result: dict[str, bytes] = {}
        for member in self.members:
            digest = hashlib.sha256()
            for chunk in self.chunks(member.path):
                digest.update(chunk)
            result[member.path] = digest.digest()
        return result


def _open_zip(stream: IO[bytes], file: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(stream)
    except _READ_ERRORS as error:
        stream.seek(0)
        raise DifyoffError(
            Diagnosis(
                slug="not-a-zip",
                message=f"{file.name} is not a .difypkg archive",
                context=(f"first bytes: {stream.read(24)!r}", f"zip says: {error}"),
                hint="Download the package again; a server may have sent a web page instead.",
            )
        ) from error


def _damaged(name: str, what: str, *context: str) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="corrupt-archive",
            message=f"{name} is damaged: {what}",
            context=context,
            hint="Get the package again and compare its size and checksum with the source's.",
        )
    )


def _check_frame(stream: IO[bytes], archive: zipfile.ZipFile, name: str) -> None:
    """Refuse bytes around the archive and an untrue end record: readers differ in what they find in such a file."""
    entries = archive.infolist()
    if entries and min(info.header_offset for info in entries) != 0:
        raise _damaged(name, "it does not begin with its first file")
    if stream.seek(0, os.SEEK_END) < _END.size + len(archive.comment):
        raise _damaged(name, "its end is missing")
    stream.seek(-_END.size - len(archive.comment), os.SEEK_END)
    signature, *_, count, _, _, comment = _END.unpack(stream.read(_END.size))
    if signature != b"PK\5\6" or comment != len(archive.comment):
        raise _damaged(name, "it does not end with its end record")
    if count not in (len(entries) & 0xFFFF, 0xFFFF):  # 0xFFFF: the number stands in the zip64 record
        raise _damaged(name, f"it announces {count} files and lists {len(entries)}")


def _refuse_bomb(size: int, stored: int, name: str) -> None:
    if size > _BOMB_SIZE and size > _BOMB_RATIO * stored:
        raise DifyoffError(
            Diagnosis(
                slug="zip-bomb",
                message=f"{name} has {stored:,} bytes and claims to unpack to {size:,}",
                note="No plugin shrinks so far: the archive is damaged, or an attack.",
                hint="Get the package from its author again.",
            )
        )


def _clean(info: zipfile.ZipInfo) -> str:
    """Return the path the daemon reads an entry by; refuse names and methods that it cannot read."""
    name = _decoded(info)
    path = posixpath.normpath(name).removeprefix("./")
    outside = name.startswith("/") or path == "." or path.split("/")[0] == ".."
    if outside or _ILLEGAL.search(name) or _is_too_long(path):
        raise DifyoffError(
            Diagnosis(
                slug="unsafe-path",
                message=f"the archive holds a file that the daemon refuses by its name: {name!r}",
                note="No packaging tool of Dify writes such a name: the archive may be an attack.",
                hint="Get the package from its author again.",
            )
        )
    if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
        what = "is encrypted" if info.flag_bits & _ENCRYPTED else f"uses compression method {info.compress_type}"
        raise DifyoffError(
            Diagnosis(
                slug="unsupported-archive",
                message=f"{path} {what}; the daemon reads stored and deflated files only",
                hint="Ask for the package as `dify plugin package` writes it.",
            )
        )
    return path


def _decoded(info: zipfile.ZipInfo) -> str:
    """Return an entry's name: UTF-8 for the daemon whether the entry says so or not, where zipfile takes cp437."""
    if info.flag_bits & _UTF8:
        return info.orig_filename
    return info.orig_filename.encode("cp437").decode("utf-8", errors="surrogateescape")


def _is_too_long(path: str) -> bool:
    return len(path.encode()) > _PATH_MAX or any(len(part.encode()) > _COMPONENT_MAX for part in path.split("/"))


def _refuse_file_as_folder(members: Iterable[str]) -> None:
    paths = set(members)
    for path in paths:
        for parent in _parents(path):
            if parent in paths:
                raise DifyoffError(
                    Diagnosis(
                        slug="unsafe-path",
                        message=f"{parent!r} is both a file and the folder of {path!r}: the package cannot be unpacked",
                        hint="Get the package from its author again.",
                    )
                )


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


class ArchiveWriter:
    """Writes files into a `.difypkg`: the same files in the same order give the same bytes.

    Everything is stored: compressed bytes differ between zlib builds, and wheels are compressed already.
    """

    def __init__(self, stream: IO[bytes], *, comment: bytes = b"") -> None:
        self._zip = zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED)
        self._zip.comment = comment

    def add(self, path: str, chunks: Iterable[bytes], size: int) -> None:
        """Append a file of `size` bytes. Paths come sorted and unique from the caller."""
        info = zipfile.ZipInfo(path, _EPOCH)
        info.create_system = 3
        info.external_attr = 0o100644 << 16
        info.file_size = size
        with self._zip.open(info, "w") as target:
            for chunk in chunks:
                target.write(chunk)

    def close(self) -> None:
        """Write the central directory."""
        self._zip.close()


@contextmanager
def writing(stream: IO[bytes], *, comment: bytes = b"") -> Iterator[ArchiveWriter]:
    """Open a writer; the central directory and the zip comment are written only when the block ends well."""
    writer = ArchiveWriter(stream, comment=comment)
    yield writer
    writer.close()


def file_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's content in pieces. Raises `file-not-readable`."""
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk
    except OSError as error:
        raise _not_readable(path, error) from error


def _not_readable(path: Path, error: OSError) -> DifyoffError:
    return DifyoffError(Diagnosis(slug="file-not-readable", message=f"{path} cannot be read: {error.strerror}"))

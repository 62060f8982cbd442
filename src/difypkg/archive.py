"""Read and write `.difypkg` archives.

Reading sees what the daemon sees (Go's `archive/zip` as used in pkg/plugin_packager/decoder/zip.go, 0.6.10); an archive
that another reader would read differently is refused (`archives.zipreader`).
Writing gives the same bytes for the same files, on every machine.
"""

import errno
import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self, TypeAlias

from .archives.faults import ArchiveFault
from .archives.names import check_path, check_unique, mixes_scripts
from .archives.profiles import DIFYPKG
from .archives.zipreader import CHUNK as CHUNK
from .archives.zipreader import Entry, ZipReader
from .diagnosis import Diagnosis, DifyoffError

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)

Member: TypeAlias = Entry
"""One file of a package."""


class Archive:
    """An open `.difypkg`, as every reader reads it.

    `members` are the files in archive order; `directory_entries` name what the daemon trips over; `comment` is the zip
    comment, where a signature lives; `findings` are what is unusual and harms no reader. Raises `DifyoffError`:
    `file-not-found`, `file-not-readable`, `not-a-zip`, `zip-bomb`, `unsafe-path`, `duplicate-entry`,
    `unsupported-archive` on opening, and `corrupt-archive` then or on reading.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        if file.exists() and not file.is_file() and not file.is_dir():  # opening a FIFO would wait for a writer
            raise _not_readable(file, OSError(errno.EINVAL, "it is not a regular file"))
        try:
            self._stream = file.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise DifyoffError(
                Diagnosis(slug="file-not-found", message=f"{file} does not exist", hint="Check the path.")
            ) from error
        except OSError as error:
            raise _not_readable(file, error) from error
        try:
            with self._told():
                self._zip = ZipReader(self._stream, DIFYPKG)
        except DifyoffError:
            self._stream.close()
            raise
        self.members = self._zip.entries
        self.directory_entries = self._zip.folders
        self.comment = self._zip.comment
        self.findings = tuple(_findings(self._zip, file.name))
        self._by_path = {member.path: member for member in self.members}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def __contains__(self, path: str) -> bool:
        return path in self._by_path

    @property
    def size(self) -> int:
        """The size of all files uncompressed, in bytes, as the daemon sums it."""
        return sum(member.size for member in self.members)

    def read(self, path: str) -> bytes:
        """Return a file's content. Raises `KeyError` where there is none."""
        return b"".join(self.chunks(path))

    def chunks(self, path: str) -> Iterator[bytes]:
        """Yield a file's content in pieces. Raises `KeyError` where there is none."""
        member = self._by_path[path]
        with self._told():
            yield from self._zip.chunks(member)

    def digests(self) -> dict[str, bytes]:
        """Return the SHA-256 digest of every file by path: the input of `identity.checksum`."""
        result: dict[str, bytes] = {}
        for member in self.members:
            digest = hashlib.sha256()
            for chunk in self.chunks(member.path):
                digest.update(chunk)
            result[member.path] = digest.digest()
        return result

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except ArchiveFault as fault:
            raise DifyoffError(fault.diagnosis(self.file.name, DIFYPKG)) from fault
        except OSError as error:
            raise _not_readable(self.file, error) from error


def _findings(archive: ZipReader, name: str) -> Iterator[Diagnosis]:
    unusual = []
    if not archive.in_order:
        unusual.append("its files lie in another order than its central directory says")
    mixed = [entry.path for entry in archive.entries if mixes_scripts(entry.path)]
    if mixed:
        unusual.append(f"{mixed[0]!r} mixes letters of two alphabets that look alike")
    if unusual:
        yield Diagnosis(
            slug="unusual-archive",
            message=f"{name}: {unusual[0]}",
            context=(*unusual[1:], *(ascii(path) for path in mixed[:5])),
            note="Every reader sees the same files.",
        )


def check_names(paths: Iterable[str], where: str) -> None:
    """Refuse names that a package cannot hold, so that none is written: `unsafe-path`, `duplicate-entry`.

    `where` is what messages call the place that the files come from.
    """
    named = tuple(paths)
    try:
        for path in named:
            check_path(path, DIFYPKG)
        check_unique(named, ())
    except ArchiveFault as fault:
        hint = "Rename the file, or name it in .difyignore."
        raise DifyoffError(replace(fault.diagnosis(where, DIFYPKG), hint=hint)) from fault


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

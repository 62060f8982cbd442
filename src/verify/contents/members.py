"""Look into a wheel where it lies in the package: nothing is unpacked, and no file is read as a whole."""

import errno
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from ...difypkg.archive import Archive, Member
from ...difypkg.archives.zipreader import STORED


@contextmanager
def seekable(archive: Archive, member: Member) -> Iterator[IO[bytes]]:
    """Open a file of the archive so that it can be read anywhere.

    A stored one, as difyoff writes wheels, is a window on the package; a compressed one goes to a temporary file.
    """
    if member.method == STORED:
        with archive.file.open("rb", buffering=0) as package:
            yield io.BufferedReader(_Window(package, member.start, member.size))
    else:
        with tempfile.TemporaryFile() as copy:
            for chunk in archive.chunks(member.path):
                copy.write(chunk)
            copy.seek(0)
            yield copy


class _Window(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file = file
        self._start = start
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "negative place in a file")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._file.seek(self._start + self._place)
        data = self._file.read(max(0, min(len(buffer), self._size - self._place)))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

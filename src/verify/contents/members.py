"""Look into a wheel where it lies in the package: nothing is unpacked, and no file is read as a whole."""

import errno
import io
import tempfile
from collections.abc import Callable, Iterator
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


class Unreadable(Exception):  # noqa: N818 - says what the file is
    """A file that would have to be read from its beginning too often."""


class Forward:
    """A file that comes in pieces, from its beginning each time that it is read backwards: a few times, and no more.

    What is compressed can only be read forward: going back and forth in a library that unpacks to a gigabyte costs
    minutes. A real library is begun three times: for its tables' places, the tables, and the names in them.
    """

    def __init__(self, begin: Callable[[], Iterator[bytes]], times: int = 4) -> None:
        self._begin = begin
        self._left = times
        self._pieces: Iterator[bytes] = iter(())
        self._start = 0
        self._piece = b""
        self._place = 0
        self._start_again()

    def _start_again(self) -> None:
        if self._left == 0:
            raise Unreadable
        self._left -= 1
        self._pieces, self._start, self._piece = self._begin(), 0, b""

    def seek(self, offset: int, /) -> int:
        """Go to an offset from the beginning."""
        self._place = offset
        return offset

    def read(self, size: int, /) -> bytes:
        """Read at most so many bytes. Raises `Unreadable`."""
        if self._place < self._start:
            self._start_again()
        data = b""
        while len(data) < size:
            inside = self._place + len(data) - self._start
            if inside < len(self._piece):
                data += self._piece[inside : inside + size - len(data)]
                continue
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._start += len(self._piece)
            self._piece = piece
        self._place += len(data)
        return data


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

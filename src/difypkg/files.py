"""Files that are written whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .diagnosis import Diagnosis, DifyoffError

NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The errors of a disk, a quota or a file system that takes no more."""


@contextmanager
def temporary_name(path: Path) -> Iterator[Path]:
    """Yield a new, empty file beside `path`, under a name that does not look like it; it is removed at the end.

    The folder is made if it is missing. Raises `DifyoffError` (`disk-full`, `output-not-writable`).
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(descriptor)
    temporary = Path(name)
    try:
        temporary.chmod(0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees all of it or none.

    Raises `DifyoffError` (`disk-full`, `output-not-writable`).
    """
    with temporary_name(path) as temporary, output_errors(path):
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)


@contextmanager
def output_errors(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn an operating system's error on writing `path` into a diagnosis; `needed` are the bytes to be written.

    Raises `DifyoffError` (`disk-full`, `output-not-writable`).
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise disk_full(path, needed) from error
        raise DifyoffError(
            Diagnosis(
                slug="output-not-writable",
                message=f"{path} cannot be written: {error.strerror}",
                hint="Choose a folder that you can write to.",
            )
        ) from error


def disk_full(path: Path, needed: int | None = None) -> DifyoffError:
    """Return the error of a disk without room for `path`."""
    size = f": it needs {needed:,} bytes" if needed else ""
    return DifyoffError(
        Diagnosis(
            slug="disk-full",
            message=f"the disk of {path.parent} has no room for {path.name}{size}",
            hint="Make room, or choose a folder on another disk.",
        )
    )

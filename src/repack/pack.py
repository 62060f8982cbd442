"""Write the package: deterministic bytes, published under its name only when whole."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..difypkg.archive import CHUNK, writing
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.identity import Identity, checksum
from ..difypkg.manifest import Manifest
from ..difypkg.record import RECORD, FileRecord
from ..transfer.store import NO_ROOM
from .shape import Shape
from .source import SourceFile

_OVERHEAD: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A finished package file: `size` in bytes, `unpacked_size` as the daemon sums it."""

    path: Path
    sha256: str
    size: int
    unpacked_size: int
    identity: Identity


def file_records(shape: Shape) -> tuple[FileRecord, ...]:
    """Hash every file of a shape, for the record; the wheels were hashed when they were taken from the store."""
    return tuple(
        FileRecord(path=path, sha256=file.sha256 or _sha256(file), size=file.size)
        for path, file in sorted(shape.files.items())
    )


def _sha256(file: SourceFile) -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def write_package(
    target: Path, shape: Shape, records: tuple[FileRecord, ...], record: bytes, manifest: Manifest
) -> Packed:
    """Write a package to `target`, a temporary name. Raises `disk-full`, `output-not-writable`."""
    files = {**shape.files, RECORD: SourceFile(size=len(record), chunks=lambda: iter((record,)))}
    digests = {each.path: bytes.fromhex(each.sha256) for each in records}
    digests[RECORD] = hashlib.sha256(record).digest()
    needed = sum(file.size for file in files.values()) + _OVERHEAD
    with output_errors(target.parent, needed):
        if shutil.disk_usage(target.parent).free < needed:
            raise _disk_full(target.parent, needed)
        with target.open("wb") as stream:
            with writing(stream) as archive:
                for path, file in sorted(files.items()):
                    archive.add(path, file.chunks(), file.size)
            stream.flush()
            os.fsync(stream.fileno())
        with target.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Packed(
        path=target,
        sha256=sha256,
        size=target.stat().st_size,
        unpacked_size=sum(file.size for file in files.values()),
        identity=Identity(
            author=manifest.author, name=manifest.name, version=manifest.version, checksum=checksum(digests)
        ),
    )


@contextmanager
def temporary_name(path: Path) -> Iterator[Path]:
    """Yield a new file name beside `path` that does not look like a package; what is left of it goes at the end."""
    with output_errors(path.parent, 0):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(descriptor)
    temporary = Path(name)
    temporary.chmod(0o644)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path, *, force: bool) -> bool:
    """Give a finished file its name; return False where the same bytes were there already.

    Raises `output-exists` where a different file is, unless `force`.
    """
    with output_errors(path.parent, 0):
        if not force:
            try:
                os.link(temporary, path)  # atomic, and never over a file that another process just wrote
            except FileExistsError:
                if _same_content(temporary, path):
                    return False
                raise DifyoffError(
                    Diagnosis(
                        slug="output-exists",
                        message=f"{path} exists and is another package",
                        hint="Use --force to replace it, or -o for another folder.",
                    )
                ) from None
            except OSError:
                if path.exists():
                    raise
            else:
                return True
        elif path.is_file() and _same_content(temporary, path):
            return False
        temporary.replace(path)
    return True


def _same_content(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while chunk := first.read(CHUNK):
            if chunk != second.read(CHUNK):
                return False
    return True


@contextmanager
def output_errors(folder: Path, needed: int) -> Iterator[None]:
    """Turn an operating system's error on writing into a diagnosis."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise _disk_full(folder, needed) from error
        raise DifyoffError(
            Diagnosis(
                slug="output-not-writable",
                message=f"{folder} cannot be written: {error.strerror}",
                hint="Choose another folder with -o.",
            )
        ) from error


def _disk_full(folder: Path, needed: int) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="disk-full",
            message=f"the disk of {folder} has no room for a package of {needed:,} bytes",
            hint="Make room, or choose a folder on another disk with -o.",
        )
    )

"""Write the package: deterministic bytes, published under its name only when whole."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..difypkg.archive import CHUNK, writing
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.files import disk_full, output_errors
from ..difypkg.identity import Identity, identify
from ..difypkg.manifest import Manifest
from ..difypkg.record import RECORD, FileRecord
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
    with output_errors(target, needed):
        if shutil.disk_usage(target.parent).free < needed:
            raise disk_full(target, needed)
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
        identity=identify(manifest, digests),
    )


def publish(temporary: Path, path: Path, *, force: bool) -> bool:
    """Give a finished file its name; return False where the same bytes were there already.

    Raises `output-exists` where a different file is, unless `force`.
    """
    with output_errors(path):
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

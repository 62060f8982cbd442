"""Write a package: deterministic bytes, and what the disk says to that as a diagnosis."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..difypkg.archive import CHUNK, writing
from ..difypkg.files import disk_full, output_errors
from ..difypkg.identity import Identity, identify
from ..difypkg.manifest import Manifest
from .source import PluginFile

_OVERHEAD: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A package file: `size` in bytes, `unpacked_size` as the daemon sums it; `signed` by a key of the site's own."""

    path: Path
    sha256: str
    size: int
    unpacked_size: int
    identity: Identity
    signed: bool = False


def write_package(target: Path, files: Mapping[str, PluginFile], manifest: Manifest) -> Packed:
    """Write a package to `target`, a temporary name. Raises `disk-full`, `output-not-writable`."""
    size = sum(file.size for file in files.values())
    with output_errors(target, size + _OVERHEAD):
        if shutil.disk_usage(target.parent).free < size + _OVERHEAD:
            raise disk_full(target, size + _OVERHEAD)
        with target.open("wb") as stream:
            with writing(stream) as archive:
                for path, file in sorted(files.items()):
                    archive.add(path, file.chunks(), file.size)
            stream.flush()
            os.fsync(stream.fileno())
        with target.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    digests = {path: bytes.fromhex(file.sha256) for path, file in files.items()}
    return Packed(
        path=target,
        sha256=sha256,
        size=target.stat().st_size,
        unpacked_size=size,
        identity=identify(manifest, digests),
    )


def same_content(one: Path, other: Path) -> bool:
    """Compare two files, byte by byte."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while chunk := first.read(CHUNK):
            if chunk != second.read(CHUNK):
                return False
    return True

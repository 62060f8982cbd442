"""A package laid out as the daemon lays it out: plain files, modes and links lost, the first of a name kept."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..difypkg.archive import Archive, Member
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.identity import Identity, identify
from ..difypkg.manifest import MANIFEST, Manifest, read_manifest

_MODE: Final = 0o644
_CHUNK: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedPackage:
    """A package and its files on disk, below `tree`; `sha256` is the file's, `digests` and `sizes` each member's."""

    path: Path
    sha256: str
    identity: Identity
    manifest: Manifest
    tree: Path
    digests: Mapping[str, str]
    sizes: Mapping[str, int]

    @property
    def wheels(self) -> tuple[str, ...]:
        """The file names of the bundled wheels."""
        return tuple(path.rpartition("/")[2] for path in self.digests if path.endswith(".whl"))

    @property
    def folder_name(self) -> str:
        """Where the daemon puts it, below its working folder (GetLocalPluginPath, 0.6.10)."""
        identity = self.identity
        return f"{identity.author}/{identity.name}-{identity.version}@{identity.checksum}"

    def read(self, path: str) -> bytes | None:
        """Return a file's content, None where there is none."""
        return (self.tree / path).read_bytes() if path in self.digests else None


def extract(package: Path, tree: Path) -> ExtractedPackage:
    """Extract a package into a folder that is not there yet, hashing as it goes.

    Imitates pkg/plugin_packager/decoder/zip.go (`ExtractTo`), 0.6.10. Raises `DifyoffError`: what `Archive` and
    `read_manifest` raise, and `directory-entry` where the daemon stops at one.
    """
    digests: dict[str, bytes] = {}
    with Archive(package) as archive:
        if archive.directory_entries:
            raise DifyoffError(_directory_entry(archive.directory_entries))
        if MANIFEST not in archive:
            raise DifyoffError(
                Diagnosis(slug="manifest-invalid", message=f"{package.name} holds no {MANIFEST} at its root")
            )
        manifest = read_manifest(archive.read(MANIFEST))
        for member in archive.members:
            digests[member.path] = _write(archive, member, tree / member.path)
        sizes = {member.path: member.size for member in archive.members}
    return ExtractedPackage(
        path=package,
        sha256=_sha256(package),
        identity=identify(manifest, digests),
        manifest=manifest,
        tree=tree,
        digests={path: digest.hex() for path, digest in digests.items()},
        sizes=sizes,
    )


def copy_to(package: ExtractedPackage, folder: Path) -> None:
    """Give a scenario files of its own; file systems that can, share the blocks until one is written to."""
    for path in package.digests:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        _clone(package.tree / path, target)


def _write(archive: Archive, member: Member, target: Path) -> bytes:
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as stream:
        for chunk in archive.chunks(member.path):
            digest.update(chunk)
            stream.write(chunk)
    target.chmod(_MODE)
    return digest.digest()


def _clone(source: Path, target: Path) -> None:
    if not hasattr(os, "copy_file_range"):
        shutil.copy(source, target)
        return
    with source.open("rb") as origin, target.open("xb") as copy:
        try:
            while os.copy_file_range(origin.fileno(), copy.fileno(), _CHUNK):
                pass
        except OSError:  # not on this file system
            shutil.copyfileobj(origin, copy)
    target.chmod(_MODE)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _directory_entry(entries: tuple[str, ...]) -> Diagnosis:
    return Diagnosis(
        slug="directory-entry",
        message=f"the archive holds the folder {entries[0]} as an entry of its own, at which the daemon stops",
        context=(f"the daemon says: read {entries[0].rstrip('/')}: is a directory", *entries[1:5]),
        hint="Zip files only (`zip -D`), or build the package with `difyoff build`.",
    )

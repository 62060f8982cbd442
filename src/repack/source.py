"""Read a plugin, from a `.difypkg` or from its folder, into one form."""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

from ..difypkg.archive import Archive, check_names, file_chunks
from ..difypkg.dependencies import DependencyFiles, read_dependency_files
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.identity import Identity, identify
from ..difypkg.ignore import IGNORE_FILES, IgnorePattern, parse_ignore_file
from ..difypkg.manifest import MANIFEST, Manifest, check_files, read_manifest
from ..difypkg.names import DEPENDENCY_FILES
from ..difypkg.place import PluginPlace
from ..difypkg.record import RECORD, Record, load_record
from ..difypkg.signature import VERIFICATION, Signature, read_signature

_NEVER_PACKED: Final = {".git": "git's own data", ".venv": "a virtual environment", "__pycache__": "compiled files"}
_SECRETS: Final = ".env"


Chunks: TypeAlias = Callable[[], Iterator[bytes]]
"""Reads a file in pieces, from its beginning at each call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginFile:
    """One file: its size in bytes, its SHA-256 in hex, and how to read it."""

    size: int
    sha256: str
    chunks: Chunks

    def read(self) -> bytes:
        """Return the whole content."""
        return b"".join(self.chunks())


def file_of(content: str | bytes) -> PluginFile:
    """Return a file with this content, text as UTF-8."""
    data = content.encode() if isinstance(content, str) else content
    return PluginFile(size=len(data), sha256=hashlib.sha256(data).hexdigest(), chunks=lambda: iter((data,)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A plugin as it came.

    `files` maps each path to its file. `sha256` is that of the `.difypkg`, None for a folder. `record` is there when
    difyoff made this package.
    """

    place: PluginPlace
    manifest: Manifest
    identity: Identity
    sha256: str | None
    files: Mapping[str, PluginFile]
    dependencies: DependencyFiles
    signature: Signature | None
    record: Record | None
    findings: tuple[Diagnosis, ...]

    @property
    def size(self) -> int:
        """The size of all files, in bytes."""
        return sum(file.size for file in self.files.values())


@contextmanager
def open_plugin(place: PluginPlace, *, with_env: bool = False) -> Iterator[Plugin]:
    """Open the plugin at a place; its files can be read until the block ends.

    `with_env` packs a folder's `.env`, which holds secrets as a rule. Raises `DifyoffError`: `file-not-found`,
    `not-a-zip`, `not-a-plugin`, `no-dependency-file`, those of `read_manifest`, `check_files` and the other readers.
    """
    if place.path.is_dir():
        files, findings = _read_folder(place.path, with_env=with_env)
        check_names(files, place.name)
        yield _read(place, files, findings, sha256=None, signature=None)
        return
    with Archive(place.path) as archive:
        files = {member.path: partial(archive.chunks, member.path) for member in archive.members}
        verification = _content(files[VERIFICATION]) if VERIFICATION in files else None
        signature = read_signature(archive.comment, verification)
        with place.path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        yield _read(place, files, _archive_findings(archive), sha256=sha256, signature=signature)


def _read(
    place: PluginPlace,
    chunks: Mapping[str, Chunks],
    findings: tuple[Diagnosis, ...],
    *,
    sha256: str | None,
    signature: Signature | None,
) -> Plugin:
    if MANIFEST not in chunks:
        raise DifyoffError(
            Diagnosis(
                slug="not-a-plugin",
                message=f"{place.name} holds no {MANIFEST}: it is no Dify plugin",
                context=tuple(f"holds {path}" for path in sorted(chunks)[:5]),
                hint=f"Name the folder or package that has {MANIFEST} at its root.",
            )
        )
    manifest = read_manifest(_content(chunks[MANIFEST]))
    refused_by_some = check_files(manifest, chunks, lambda path: _content(chunks[path]))
    dependencies = read_dependency_files({name: _content(chunks[name]) for name in DEPENDENCY_FILES if name in chunks})
    files = {path: _hashed(each) for path, each in chunks.items()}
    digests = {path: bytes.fromhex(file.sha256) for path, file in files.items()}
    return Plugin(
        place=place,
        manifest=manifest,
        identity=identify(manifest, digests),
        sha256=sha256,
        files=files,
        dependencies=dependencies,
        signature=signature,
        record=load_record(files[RECORD].read()) if RECORD in files else None,
        findings=(*findings, *refused_by_some, *_runner_findings(manifest, files)),
    )


def _content(chunks: Chunks) -> bytes:
    return b"".join(chunks())


def _hashed(chunks: Chunks) -> PluginFile:
    digest = hashlib.sha256()
    size = 0
    for chunk in chunks():
        digest.update(chunk)
        size += len(chunk)
    return PluginFile(size=size, sha256=digest.hexdigest(), chunks=chunks)


def _archive_findings(archive: Archive) -> tuple[Diagnosis, ...]:
    findings = list(archive.findings)
    if archive.directory_entries:
        findings.append(
            Diagnosis(
                slug="directory-entry",
                message=f"the archive has {len(archive.directory_entries)} directory entries, left out of the package",
                context=archive.directory_entries[:5],
                note="The daemon refuses an upload of the original for them.",
            )
        )
    return tuple(findings)


def _runner_findings(manifest: Manifest, files: Collection[str]) -> Iterator[Diagnosis]:
    if manifest.runner != "python" or "package.json" in files:
        what = f"runner language {manifest.runner!r}" if manifest.runner != "python" else "package.json"
        yield Diagnosis(
            slug="not-python",
            message=f"the plugin has {what}; the daemon runs Python only",
            note="Dependencies of other languages are not bundled.",
        )


def _read_folder(root: Path, *, with_env: bool) -> tuple[dict[str, Chunks], tuple[Diagnosis, ...]]:
    patterns = _ignore_patterns(root)
    files: dict[str, Chunks] = {}
    left_out: dict[str, list[str]] = {}
    for folder, folders, names in os.walk(root, onerror=_unreadable):
        here = PurePosixPath(*map(_utf8, Path(folder).relative_to(root).parts))
        kept = []
        for name in sorted(folders):
            path = here / _utf8(name)
            if name in _NEVER_PACKED:
                left_out.setdefault(name, []).append(str(path))
            elif not _ignored(path, patterns, is_directory=True):
                _refuse_linked_folder(Path(folder, name), path)
                kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            path = here / _utf8(name)
            if _ignored(path, patterns, is_directory=False):
                continue
            if (name == _SECRETS and not with_env) or not Path(folder, name).is_file():
                left_out.setdefault(name if name == _SECRETS else "link", []).append(str(path))
                continue
            if name.endswith(".pyc"):
                continue
            files[str(path)] = partial(file_chunks, Path(folder, name))
    return dict(sorted(files.items())), tuple(_left_out_findings(left_out))


def _unreadable(error: OSError) -> None:
    raise DifyoffError(
        Diagnosis(
            slug="file-not-readable",
            message=f"{error.filename} cannot be read: {error.strerror}",
            hint="Check its owner and permissions, or name it in .difyignore.",
        )
    )


def _utf8(name: str) -> str:
    """Return a file's name as a package spells it, whatever the locale made of it. Raises `unsafe-path`."""
    try:
        return os.fsencode(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DifyoffError(
            Diagnosis(
                slug="unsafe-path",
                message=f"the name of {name!r} is not UTF-8, which a package needs",
                hint="Rename the file, or name it in .difyignore.",
            )
        ) from error


def _ignore_patterns(root: Path) -> tuple[IgnorePattern, ...]:
    for name in IGNORE_FILES:
        try:
            return parse_ignore_file((root / name).read_text(encoding="utf-8", errors="surrogateescape"))
        except OSError:
            continue  # none, or a link that leads nowhere: the packager then takes the next
    return ()


def _ignored(path: PurePosixPath, patterns: tuple[IgnorePattern, ...], *, is_directory: bool) -> bool:
    return any(pattern.excludes(path.parts, is_directory=is_directory) for pattern in patterns)


def _refuse_linked_folder(folder: Path, path: PurePosixPath) -> None:
    if folder.is_symlink():
        raise DifyoffError(
            Diagnosis(
                slug="linked-folder",
                message=f"{path} is a symbolic link to a folder, which a package cannot hold",
                note="`dify plugin package` fails on it too.",
                hint="Put the folder itself there, or name it in .difyignore.",
            )
        )


def _left_out_findings(left_out: Mapping[str, list[str]]) -> Iterator[Diagnosis]:
    for name, paths in sorted(left_out.items()):
        if name == _SECRETS:
            yield Diagnosis(
                slug="secrets-left-out",
                message=f"{paths[0]} is left out of the package: it holds secrets as a rule",
                hint="Use --with-env to pack it all the same.",
            )
        elif name == "link":
            yield Diagnosis(
                slug="special-file-left-out",
                message=f"{paths[0]} is left out of the package: it is no regular file, or a link that leads nowhere",
                context=tuple(paths[:5]),
            )
        else:
            yield Diagnosis(
                slug="clutter-left-out",
                message=f"{name} is left out of the package: {_NEVER_PACKED[name]}",
                context=tuple(paths[:5]),
            )

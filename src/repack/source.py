"""Read a plugin, from a `.difypkg` or from its folder, into one form."""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeAlias

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
from .leftout import CLUTTER, Kind, kind_of, left_out_findings

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
    """A plugin as it came, but for what `leftout` says never belongs in a package.

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

    `with_env` keeps files that usually hold secrets. Raises `DifyoffError`: `file-not-found`,
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
        plugin = _read(place, files, _archive_findings(archive), sha256=sha256, signature=signature)
        yield plugin if plugin.record is not None else _leave_out(plugin, with_env=with_env)


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
                message=f"{place.name} is not a Dify plugin: it has no {MANIFEST}",
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


def _leave_out(plugin: Plugin, *, with_env: bool) -> Plugin:
    """Return a plugin that came as a package without what never belongs in one; its identity stays."""
    left_out: dict[Kind, list[str]] = {}
    for path, file in plugin.files.items():
        kind = kind_of(path, file.read)
        if kind is not None and not (with_env and kind == "secret"):
            left_out.setdefault(kind, []).append(path)
    if not left_out:
        return plugin
    dropped = {path for paths in left_out.values() for path in paths}
    files = {path: file for path, file in plugin.files.items() if path not in dropped}
    return replace(plugin, files=files, findings=(*plugin.findings, *left_out_findings(left_out)))


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
    left_out: dict[Kind, list[str]] = {}
    special: list[str] = []
    for folder, folders, names in os.walk(root, onerror=_unreadable):
        here = PurePosixPath(*map(_utf8, Path(folder).relative_to(root).parts))
        kept = []
        for name in sorted(folders):
            path = here / _utf8(name)
            if name in CLUTTER:
                left_out.setdefault(name, []).append(str(path))
            elif not _ignored(path, patterns, is_directory=True):
                _refuse_linked_folder(Path(folder, name), path)
                kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            path = here / _utf8(name)
            if _ignored(path, patterns, is_directory=False):
                continue
            file = Path(folder, name)
            if not file.is_file():
                special.append(str(path))
                continue
            kind = kind_of(str(path), file.read_bytes)
            if kind is not None and not (with_env and kind == "secret"):
                left_out.setdefault(kind, []).append(str(path))
                continue
            if name.endswith(".pyc"):
                continue
            files[str(path)] = partial(file_chunks, file)
    return dict(sorted(files.items())), (*left_out_findings(left_out), *_special_findings(special))


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


def _special_findings(paths: list[str]) -> Iterator[Diagnosis]:
    if paths:
        yield Diagnosis(
            slug="special-file-left-out",
            message=f"{paths[0]} is left out of the package: it is not a regular file, or a link that leads nowhere",
            context=tuple(paths[:5]),
        )

"""Source trees to build in: an archive unpacked, a git commit checked out, a folder of the plugin copied."""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...difypkg.archives.faults import ArchiveFault
from ...difypkg.archives.sdist import unpack_source
from ...difypkg.diagnosis import Diagnosis, DifyoffError
from ...difypkg.redaction import public_url, redact
from ...sandbox.process import Command, run
from ..resolution import ArchiveSource, FolderSource, GitSource
from ..source import Plugin
from ..workshop import Workshop


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A source tree on this machine: `source` names its content, `origin` is where it came from, for people."""

    path: Path
    source: str
    origin: str


def unpack(archive: Path, sha256: str, source: ArchiveSource, folder: Path) -> Tree:
    """Unpack a source archive into a new folder in `folder`. Raises `source-build-failed`."""
    target = folder / "source"
    target.mkdir()
    try:
        unpack_source(archive, target)
    except (ArchiveFault, OSError) as error:
        raise DifyoffError(
            Diagnosis(
                slug="source-build-failed",
                message=f"{source.filename} cannot be unpacked: {error}",
                context=(public_url(source.url), *(error.evidence if isinstance(error, ArchiveFault) else ())),
            )
        ) from error
    inside = list(target.iterdir())
    top = inside[0] if len(inside) == 1 and inside[0].is_dir() else target
    return _below(top, source.subdirectory, f"sha256:{sha256}", public_url(source.url))


def clone(name: str, source: GitSource, folder: Path, workshop: Workshop) -> Tree:
    """Check a commit out, with its history: version tools read tags. Raises `git-source-unreachable`."""
    target = folder / "source"
    quiet = ("-c", "core.autocrlf=false", "-c", "advice.detachedHead=false")
    commands = (
        ("git", "clone", "--quiet", "--no-checkout", "--", source.url, str(target)),
        ("git", *quiet, "-C", str(target), "checkout", "--quiet", source.commit),
        ("git", *quiet, "-C", str(target), "submodule", "--quiet", "update", "--init", "--recursive"),
        # The clone may go into an image, and a URL may hold a password.
        ("git", "-C", str(target), "remote", "set-url", "origin", public_url(source.url)),
    )
    environment = {**workshop.index.environment, "GIT_TERMINAL_PROMPT": "0"}
    for argv in commands:
        outcome = run(Command(argv=argv, environment=environment, cwd=folder, umask=0o022))
        if not outcome.ok:
            raise DifyoffError(
                Diagnosis(
                    slug="git-source-unreachable",
                    message=f"{name} comes from a git repository that cannot be fetched: {public_url(source.url)}",
                    context=tuple(redact(outcome.stderr).strip().splitlines()[-5:]),
                    hint="Build where the repository can be reached, with the rights to read it.",
                )
            )
    commit = f"{public_url(source.url)}@{source.commit}"
    return _below(target, source.subdirectory, commit, f"git+{commit}")


def copy(source: FolderSource, plugin: Plugin, folder: Path) -> Tree:
    """Copy a folder of the plugin. Raises `source-build-failed` where the plugin has no such folder."""
    root = PurePosixPath(source.path)
    digest = hashlib.sha256()
    target = folder / "source"
    for path, file in sorted(plugin.files.items()):
        if root == PurePosixPath() or PurePosixPath(path).is_relative_to(root):
            digest.update(hashlib.sha256(path.encode()).digest() + bytes.fromhex(file.sha256))
            copied = target / PurePosixPath(path).relative_to(root)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(file.read())
    if not target.is_dir():
        raise DifyoffError(
            Diagnosis(
                slug="source-build-failed",
                message=f"the plugin depends on the folder {source.path}, which is not part of it",
                hint="Put the folder into the plugin, or publish it as a wheel.",
            )
        )
    return Tree(path=target, source=f"files:{digest.hexdigest()}", origin=source.path)


def _below(top: Path, subdirectory: str | None, source: str, origin: str) -> Tree:
    if not subdirectory:
        return Tree(path=top, source=source, origin=origin)
    return Tree(path=top / subdirectory, source=f"{source}#{subdirectory}", origin=origin)

"""What was fetched, and where it lies: nothing is fetched twice.

cache/wheels/                     the content-addressed store, for packages as for wheels
cache/sources/names/HASH.json     what a name, URL or identifier gave, the file named by the SHA-256 of the name
cache/sources/trees/CHECKSUM/     a source folder, by the daemon's checksum over its files
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..difypkg.archive import file_chunks
from ..difypkg.files import output_errors, write_atomically
from ..difypkg.identity import checksum
from ..difypkg.place import FetchedFrom, PluginPlace
from ..transfer.store import WheelStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Something fetched: a file by its SHA-256, or a folder by the daemon's checksum over its files.

    `filename` is what the source calls it, `validator` how the server names this state of it (an ETag; may be empty).
    """

    kind: Literal["file", "tree"]
    digest: str
    filename: str
    origin: FetchedFrom
    validator: str = ""


class Shelf:
    """The fetched plugins under a cache folder; any number of processes may use it at once."""

    def __init__(self, cache: Path) -> None:
        self.files = WheelStore(cache / "wheels")
        self._root = cache / "sources"

    def recall(self, key: str) -> Kept | None:
        """Return what a name gave before, if it is still here and intact."""
        try:
            data = json.loads(self._note(key).read_bytes())
            kept = Kept(**{**data, "origin": FetchedFrom(**data["origin"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None  # not there, or of another version of difyoff
        return kept if self.has(kept) else None

    def remember(self, key: str, kept: Kept) -> None:
        """Write down what a name gave."""
        write_atomically(self._note(key), json.dumps(asdict(kept), indent=1))

    def has(self, kept: Kept) -> bool:
        """Say whether the content is here, every byte of it."""
        if kept.kind == "file":
            return self.files.intact(kept.digest) is not None
        tree = self.tree(kept.digest)
        if tree.is_dir() and tree_checksum(tree) == kept.digest:
            return True
        shutil.rmtree(tree, ignore_errors=True)
        return False

    def place(self, kept: Kept, name: str) -> PluginPlace:
        """Return where it lies, called by this name."""
        path = self.files.path(kept.digest) if kept.kind == "file" else self.tree(kept.digest)
        return PluginPlace(path=path, name=name, origin=kept.origin)

    def tree(self, digest: str) -> Path:
        """Return where the folder with this checksum lies, or would."""
        return self._root / "trees" / digest

    @contextmanager
    def new_tree(self) -> Iterator[Path]:
        """Yield an empty folder to write into; what is not moved away by `keep_tree` is removed."""
        parent = self._root / "trees"
        parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".new-", dir=parent, ignore_cleanup_errors=True) as folder,
            output_errors(parent),
        ):
            yield Path(folder, "tree")

    def keep_tree(self, folder: Path, filename: str, origin: FetchedFrom) -> Kept:
        """Move a finished folder to its place."""
        digest = tree_checksum(folder)
        kept = Kept(kind="tree", digest=digest, filename=filename, origin=origin)
        if not self.has(kept):
            try:
                folder.rename(self.tree(digest))
            except OSError:
                if not self.has(kept):  # another run was not quicker
                    raise
        return kept

    def _note(self, key: str) -> Path:
        return self._root / "names" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def tree_checksum(folder: Path) -> str:
    """Return the daemon's checksum over all files of a folder."""
    return checksum(tree_digests(folder))


def tree_digests(folder: Path) -> dict[str, bytes]:
    """Return the SHA-256 of every file of a folder by its path."""
    digests = {}
    for path in folder.rglob("*"):
        if path.is_file():
            digest = hashlib.sha256()
            for chunk in file_chunks(path):
                digest.update(chunk)
            digests[path.relative_to(folder).as_posix()] = digest.digest()
    return digests

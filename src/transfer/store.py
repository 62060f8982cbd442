"""The wheel store: one folder of files named by their sha256, shared by every build of a user.

    root/CACHEDIR.TAG
    root/sha256/ab/abcd…        a file under the name of its content, read-only
    root/partial/KEY.part       a download on its way, or broken off; KEY is the hash it is expected to have
    root/partial/KEY.XXXX.part  the same, private to one run: another one held the first at the time
    root/damaged/               what no longer had the content its name promises
    root/judged/abcd….json      what was found in a wheel of that content

Whoever writes a partial file holds a lock on it (flock, gone with its process), so that two runs never write one file
and what a dead run left is told from what a live one needs. Nothing is synced to disk: a file is hashed each time a
build takes it from here, and fetched again where a power cut has hurt it.
"""

import errno
import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.files import NO_ROOM

if sys.platform != "win32":
    import fcntl

CHUNK: Final = 1 << 18
"""How much of a file is held in memory, in bytes."""

_TAG: Final = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# Wheels kept by difyoff; see https://bford.info/cachedir/\n"
)


class Partial:
    """A file that grows at its end and is hashed as it grows.

    `validator` is how the server names the state of the file that these bytes are of (ETag), empty where it is not
    known.
    """

    def __init__(self, path: Path, descriptor: int, algorithms: Collection[str]) -> None:
        self.path = path
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._algorithms = frozenset({"sha256", *algorithms})
        self._start()
        while chunk := self._file.read(CHUNK):
            self._count(chunk)
        self.resumed = self.size > 0

    def _start(self) -> None:
        self.size = 0
        self.head = b""
        self.validator = ""
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in self._algorithms}

    def _count(self, chunk: bytes | memoryview) -> None:
        self.size += len(chunk)
        self.head = self.head or bytes(chunk[:512])
        for each in self._hashes.values():
            each.update(chunk)

    def write(self, chunk: bytes) -> None:
        """Append a chunk."""
        left = memoryview(chunk)
        while left:
            written = self._file.write(left)  # less than asked where the disk is about to be full
            self._count(left[:written])
            left = left[written:]

    def restart(self) -> None:
        """Throw away what is there."""
        self._file.seek(0)
        self._file.truncate()
        self._start()
        self.resumed = False

    def digest(self, algorithm: str) -> str:
        """Return the hash of the content so far, in hexadecimal."""
        return self._hashes[algorithm].hexdigest()

    def close(self) -> None:
        """Close the file, which gives up its lock."""
        self._file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What `WheelStore.prune` found and removed, in files, and the bytes freed."""

    found: int
    removed: int
    freed: int


class WheelStore:
    """A content-addressed folder; any number of processes may use it at once.

    Raises `DifyoffError` with `disk-full` or `store-not-writable` where the disk does not take what it is given.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._turns: dict[str, threading.Lock] = {}
        self._turns_lock = threading.Lock()

    @contextmanager
    def turn(self, key: str) -> Iterator[None]:
        """Let one thread of this process at a time work on what is called `key`."""
        with self._turns_lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            yield

    def path(self, sha256: str) -> Path:
        """Return where the file with this hash lies, or would."""
        return self.root / "sha256" / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Say whether the file is there, without reading it."""
        return self.path(sha256).is_file()

    def intact(self, sha256: str) -> int | None:
        """Return the size of a file that has the content its name promises, else `None`.

        Every byte is hashed (13.7 MB: 10 ms), so that bit rot heals by being fetched again rather than ending a build
        at the packer's own check. A damaged file is put aside.
        """
        path = self.path(sha256)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
        except OSError:
            return None
        if found == sha256:
            with suppress(OSError):  # a store that may only be read
                os.utime(path)  # for `prune`
            return size
        with self._errors(), suppress(FileNotFoundError):
            aside = self._folder("damaged")
            path.replace(aside / f"{sha256}.{os.getpid()}")
        return None

    def place(self, sha256: str, destination: Path) -> None:
        """Put the file at `destination`, where nothing is: a hard link, or a copy where a link cannot be made."""
        source = self.path(sha256)
        try:
            os.link(source, destination)
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError:  # another file system, one without links, too many links, a file of another user
            with self._errors(source.stat().st_size):
                shutil.copyfile(source, destination)

    def add_file(self, path: Path) -> str:
        """Copy a file into the store and return its sha256."""
        with self.partial(None) as part, path.open("rb") as file:
            while chunk := file.read(CHUNK):
                part.write(chunk)
            return self.commit(part)

    def begun(self, key: str) -> int:
        """Return how many bytes an earlier run left of a file, 0 for none."""
        try:
            return self._shared(key).stat().st_size
        except OSError:
            return 0

    @contextmanager
    def partial(
        self, key: str | None, algorithms: Collection[str] = (), *, needed: int | None = None
    ) -> Iterator[Partial]:
        """Yield the file to write, with what an earlier run left under the same key; what is not committed stays.

        A file without a key, or whose key another run holds at the moment, is private and goes unless committed.
        `needed` is its size in bytes, for the message of a full disk.
        """
        with self._errors(needed):
            shared = self._lock(self._shared(key)) if key else None
            if shared is None:
                descriptor, name = tempfile.mkstemp(prefix=f"{key}.", suffix=".part", dir=self._folder("partial"))
                _locked(descriptor)
                part = Partial(Path(name), descriptor, algorithms)
            else:
                part = Partial(self._shared(key), shared, algorithms)
            try:
                yield part
            finally:
                # A committed file has gone from here. The lock is held until its empty or private name has, too.
                if shared is None or part.size == 0:
                    part.path.unlink(missing_ok=True)
                part.close()

    def commit(self, part: Partial) -> str:
        """Give a finished file its final name, which is its sha256, and return that."""
        sha256 = part.digest("sha256")
        path = self.path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        part.path.replace(path)
        path.chmod(0o444)
        return sha256

    def recall(self, sha256: str) -> str | None:
        """Return what was remembered of a content, None for nothing."""
        try:
            return (self.root / "judged" / f"{sha256}.json").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def remember(self, sha256: str, text: str) -> None:
        """Keep a few words on a content, for later runs."""
        with self._errors():
            path = self._folder("judged") / f"{sha256}.json"
            temporary = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.tmp")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)

    def clean(self) -> int:
        """Remove what dead runs left and what was put aside; return the bytes freed."""
        freed = 0
        for path in [*self.root.glob("partial/*.part"), *self.root.glob("damaged/*")]:
            with self._errors(), suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    if _locked(descriptor):
                        freed += os.fstat(descriptor).st_size
                        path.unlink()
                finally:
                    os.close(descriptor)
        return freed

    def prune(self, keep_days: int) -> Pruned:
        """Remove files that no build has taken for that many days."""
        removed = freed = 0
        oldest = time.time() - keep_days * 86400
        with self._errors():
            files = [*self.root.glob("sha256/*/*")]
            for path in files:
                with suppress(FileNotFoundError):  # another prune, or a build that puts a damaged file aside
                    status = path.stat()
                    if status.st_mtime < oldest:
                        path.unlink()
                        removed, freed = removed + 1, freed + status.st_size
            for path in self.root.glob("judged/*"):
                if not self.has(path.name.partition(".")[0]):
                    path.unlink(missing_ok=True)
        return Pruned(found=len(files), removed=removed, freed=freed)

    def free(self) -> int:
        """Return the bytes that the store's disk has free."""
        with self._errors():
            return shutil.disk_usage(self._folder("partial")).free

    def _shared(self, key: str | None) -> Path:
        return self.root / "partial" / f"{key}.part"

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        tag = self.root / "CACHEDIR.TAG"
        if not tag.exists():
            tag.write_text(_TAG, encoding="ascii")
        return folder

    def _lock(self, path: Path) -> int | None:
        """Open a file and hold it alone; `None` where another run does."""
        self._folder("partial")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        # Between our open and our lock its holder may have finished: then the name is another file's, or nobody's.
        if _locked(descriptor) and path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)
        return None

    @contextmanager
    def _errors(self, needed: int | None = None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in NO_ROOM:
                raise no_room(self.root, needed, error.strerror) from error
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
                raise DifyoffError(
                    Diagnosis(
                        slug="store-not-writable",
                        message=f"the wheel store {self.root} cannot be written: {error.strerror}",
                        context=(str(error.filename),) if error.filename else (),
                        hint="Give the folder to the user who builds, or choose another cache folder (`--cache-dir`).",
                    )
                ) from error
            raise


def no_room(root: Path, needed: int | None, said: str | None = None) -> DifyoffError:
    """Return the error for a disk that cannot take `needed` bytes (`None`: not known); `said` is the system's word."""
    free = shutil.disk_usage(root).free
    wanted = "" if needed is None else f"{needed:,} bytes are needed, "
    return DifyoffError(
        Diagnosis(
            slug="disk-full",
            message=f"the disk of the wheel store {root} has no room: {wanted}{free:,} are free",
            context=(said,) if said else (),
            hint="Make room (`difyoff cache gc`), or choose a cache folder on another disk.",
        )
    )


def _locked(descriptor: int) -> bool:
    if sys.platform == "win32":  # every partial file is private there, and nothing is resumed by a later run
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by another, or a file system without locks
        return False
    return True

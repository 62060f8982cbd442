"""The cache folder and who uses it: every run holds a lease, so that what dead runs left is known and removed.

    CACHE/CACHEDIR.TAG       says what the folder is
    CACHE/lock               held by every run beside others (flock), by `cache clean` alone
    CACHE/runs/NAME/         the scratch folder of one run
    CACHE/runs/NAME.lock     held by that run as long as it lives; gone with its process, however that ends
    CACHE/wheels, uv, …      what is kept; each part has an owner of its own

The lock of a scratch folder is there before the folder and after it: a folder whose lock nobody holds is a leftover.
"""

import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.files import NO_ROOM
from .removal import remove_tree

if sys.platform != "win32":
    import fcntl

CHANGE_CACHE: Final = "Set `DIFYOFF_CACHE_DIR` (or `--cache-dir`) to a folder that this user can write to."

_TAG: Final = "Signature: 8a477f597d28d172789f06886806bc55\n# The cache of difyoff; see https://bford.info/cachedir/\n"
_RUNS: Final = "runs"
# What killed runs of earlier releases left at the top, without a lease; a day old, none of them is at work.
_WITHOUT_LEASE: Final = ("verify-*", "build-*", ".uv-*")
_DAY: Final = 86400
_CLOSED: Final = frozenset(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.ELOOP)
)


@contextmanager
def use_cache(cache: Path) -> Iterator[None]:
    """Make the cache folder if need be, and keep `clean_cache` from it until the block ends.

    Raises `DifyoffError` (`store-not-writable`, `disk-full`).
    """
    with cache_errors(cache):
        make_cache(cache)
        descriptor = _hold(cache / "lock", alone=False)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def open_scratch(cache: Path, name: str) -> Iterator[Path]:
    """Make a folder in the cache for this run alone; `name` starts its name. It goes when the block ends.

    Where this process is killed, `collect_garbage` removes it. Raises `DifyoffError` as `use_cache` does.
    """
    with use_cache(cache):
        with cache_errors(cache):
            lock, descriptor = _make_lease(cache / _RUNS, name)
            folder = lock.with_suffix("")
            folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            remove_tree(folder)
            lock.unlink(missing_ok=True)
            os.close(descriptor)


def make_cache(cache: Path) -> None:
    """Make the cache folder and its tag. Raises `OSError`."""
    cache.mkdir(parents=True, exist_ok=True)
    tag = cache / "CACHEDIR.TAG"
    if not tag.exists():
        tag.write_text(_TAG, encoding="ascii")


def is_cache(folder: Path) -> bool:
    """Say whether a folder was made by difyoff, or holds nothing."""
    ours = (folder / "CACHEDIR.TAG", folder / "wheels" / "CACHEDIR.TAG")
    return any(tag.is_file() for tag in ours) or not any(folder.iterdir())


def collect_garbage(cache: Path) -> int:
    """Remove the scratch folders of runs that have ended, and nothing of a living run; return the bytes freed."""
    freed = 0
    for entry in (cache / _RUNS).glob("*"):
        lock = entry if entry.suffix == ".lock" else entry.with_name(f"{entry.name}.lock")
        freed += _collect(lock)
    for pattern in _WITHOUT_LEASE:
        for folder in cache.glob(pattern):
            if time.time() - folder.lstat().st_mtime > _DAY:
                freed += folder_size(folder)
                remove_tree(folder)
    return freed


def clean_cache(cache: Path) -> None:
    """Remove everything in the cache folder, and the folder.

    Raises `DifyoffError`: `cache-in-use` while a run uses it, `store-not-writable`.
    """
    with cache_errors(cache):
        descriptor = _hold(cache / "lock", alone=True)
        if descriptor is None:
            raise DifyoffError(
                Diagnosis(
                    slug="cache-in-use",
                    message=f"the cache {cache} is in use, so nothing was removed",
                    context=tuple(_name_runs(cache)),
                    hint="Wait until the other runs have ended; `difyoff cache gc` removes what nobody uses.",
                )
            )
        try:
            for entry in cache.iterdir():
                if entry.name != "lock":
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            (cache / "lock").unlink()  # whoever waits for it sees that it is gone
            with suppress(OSError):  # somebody has just made it anew
                cache.rmdir()
        finally:
            os.close(descriptor)


def folder_size(folder: Path) -> int:
    """Return the bytes of the files below a folder; what cannot be read counts nothing, a file of two names once."""
    total, seen, folders = 0, set(), [str(folder)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_size
    return total


@contextmanager
def cache_errors(cache: Path) -> Iterator[None]:
    """Turn what the disk says about the cache into a `DifyoffError` (`store-not-writable`, `disk-full`)."""
    try:
        yield
    except OSError as error:
        context = (str(error.filename),) if error.filename else ()
        if error.errno in NO_ROOM:
            diagnosis = Diagnosis(
                slug="disk-full",
                message=f"the disk of the cache {cache} is full",
                context=context,
                hint="Make room (`difyoff cache gc`), or choose a cache folder on another disk (`--cache-dir`).",
            )
        elif error.errno in _CLOSED:
            diagnosis = Diagnosis(
                slug="store-not-writable",
                message=f"the cache {cache} cannot be written: {error.strerror}",
                context=context,
                hint=CHANGE_CACHE,
            )
        else:
            raise
        raise DifyoffError(diagnosis) from error


def _make_lease(runs: Path, name: str) -> tuple[Path, int]:
    """Make a lock file of a new name and hold it; `collect_garbage` may take it away before we do."""
    runs.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor, path = tempfile.mkstemp(prefix=f"{name}-", suffix=".lock", dir=runs)
        os.write(descriptor, str(os.getpid()).encode())
        lock = Path(path)
        if not _lock(descriptor, alone=True) or _is_named(descriptor, lock):
            return lock, descriptor
        os.close(descriptor)


def _collect(lock: Path) -> int:
    folder = lock.with_suffix("")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:  # another user's
        return 0
    try:
        if not _lock(descriptor, alone=True) or not _is_named(descriptor, lock):
            return 0
        freed = folder_size(folder)
        remove_tree(folder)
        lock.unlink(missing_ok=True)
        return freed
    finally:
        os.close(descriptor)


def _hold(lock: Path, *, alone: bool) -> int | None:
    """Open and hold a lock file that may be removed at any time; None where it is to be held alone and is not free."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        if not _lock(descriptor, alone=alone, wait=not alone) and alone:
            os.close(descriptor)
            return None
        if _is_named(descriptor, lock):
            return descriptor
        os.close(descriptor)
        lock.parent.mkdir(parents=True, exist_ok=True)


def _lock(descriptor: int, *, alone: bool, wait: bool = False) -> bool:
    """Lock an open file; False where another holds it, or the file system knows no locks."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _is_named(descriptor: int, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _name_runs(cache: Path) -> Iterator[str]:
    for lock in sorted((cache / _RUNS).glob("*.lock")):
        with suppress(OSError):
            yield f"process {lock.read_text(encoding='ascii')} ({lock.stem.partition('-')[0]})"

"""A lock of PEP 751 -> pins: selection for the targets by `packaging.pylock`."""

import hashlib
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from packaging import pylock

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.target import Target
from .resolution import ArchiveSource, FolderSource, GitSource, Pin, PinSource, WheelSource


def load_lock(file: Path) -> pylock.Pylock:
    """Read a lock of PEP 751 that uv wrote. Raises `DifyoffError` (`resolution-failed`)."""
    try:
        lock = tomllib.loads(file.read_text(encoding="utf-8"))
        for package in lock.get("packages", ()):
            for each in package.get("wheels", ()):
                _hash_local(each)
            _hash_local(package.get("sdist", {}))
        return pylock.Pylock.from_dict(lock)
    except (ValueError, pylock.PylockValidationError) as error:
        raise DifyoffError(
            Diagnosis(slug="resolution-failed", message="uv wrote a lock that cannot be read", context=(str(error),))
        ) from error


def _hash_local(entry: dict[str, Any]) -> None:
    """Write the hash of a file of this machine into its entry, where uv, which found it by `find-links`, has none."""
    url = str(entry.get("url", ""))
    if url.startswith("file://") and not entry.get("hashes"):
        with Path(url2pathname(urlsplit(url).path)).open("rb") as stream:
            entry["hashes"] = {"sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def select(lock: pylock.Pylock, targets: Sequence[Target], folder: Path) -> tuple[Pin, ...]:
    """Pick each target's files of a lock that lies in `folder`, and merge those that several targets share.

    Raises `DifyoffError` (`no-wheel-for-target`).
    """
    return merge(pin for target in targets for pin in _select_for(lock, target, folder))


def merge(pins: Iterable[Pin]) -> tuple[Pin, ...]:
    """Return pins in order, each file once, for all the targets that install it."""
    merged: dict[tuple[str, str | None, str], Pin] = {}
    for pin in pins:
        key = (pin.name, pin.version, str(pin.source))
        known = merged.get(key)
        merged[key] = replace(pin, targets=pin.targets | known.targets) if known else pin
    return tuple(sorted(merged.values(), key=lambda pin: (pin.name, pin.version or "", str(pin.source))))


def _select_for(lock: pylock.Pylock, target: Target, folder: Path) -> Iterator[Pin]:
    try:
        chosen = list(lock.select(environment=target.environment, tags=target.tags))
    except pylock.PylockSelectError as error:
        raise DifyoffError(
            Diagnosis(
                slug="no-wheel-for-target",
                message=f"no file of the lock installs on {target.architecture}, CPython {target.python}",
                context=(str(error),),
                hint="Ask the plugin's author for a lock made for Linux and Python 3.12.",
            )
        ) from error
    return (_pin(package, source_of(file, folder), target) for package, file in chosen)


def _pin(package: pylock.Package, source: PinSource, target: Target) -> Pin:
    return Pin(
        name=package.name,
        version=None if package.version is None else str(package.version),
        source=source,
        targets=frozenset({target}),
        direct=package.vcs is not None or package.directory is not None or package.archive is not None,
    )


def source_of(
    file: pylock.PackageVcs
    | pylock.PackageDirectory
    | pylock.PackageArchive
    | pylock.PackageWheel
    | pylock.PackageSdist,
    folder: Path,
) -> PinSource:
    """Translate a file of a lock that lies in `folder`, to which its paths are relative."""
    if isinstance(file, pylock.PackageDirectory):
        return FolderSource(path=file.path)
    url = file.url or str(folder / (file.path or ""))
    if isinstance(file, pylock.PackageVcs):
        return GitSource(url=url, commit=file.commit_id, subdirectory=file.subdirectory)
    if isinstance(file, pylock.PackageArchive):
        filename, subdirectory = unquote(urlsplit(url).path).rpartition("/")[2], file.subdirectory
    else:
        filename, subdirectory = file.filename, None
    hashes = dict(file.hashes)
    if filename.endswith(".whl"):
        return WheelSource(filename=filename, url=url, size=file.size, hashes=hashes)
    return ArchiveSource(filename=filename, url=url, size=file.size, hashes=hashes, subdirectory=subdirectory)

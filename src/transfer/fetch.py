"""Fetch wheels into the store: in parallel, hashed on the way, resumed where the network broke off.

A file gets its name in the store only when it has the size and every hash its lock names.
"""

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ..difypkg.diagnosis import Diagnosis, DifyoffError, not_in_store
from ..difypkg.redaction import public_url
from .client import Client
from .errors import TransientError
from .parallel import parallel
from .receive import Remote, receive
from .store import CHUNK, Partial, WheelStore, no_room

_HEAD_SECONDS: Final = 5.0
_ALGORITHMS: Final = frozenset(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file to fetch: an http(s) or file URL, or a plain path, and what its lock says of it.

    `hashes` maps algorithms to hexadecimal digests (PEP 751); at least one must be of `hashlib`'s guaranteed ones. A
    file is found in the store only by its sha256. `size` is in bytes, `None` where the lock does not say.
    """

    url: str
    filename: str
    hashes: Mapping[str, str]
    size: int | None = None

    @property
    def checkable(self) -> dict[str, str]:
        """The hashes that can be checked, lower case."""
        return {name.lower(): value.lower() for name, value in self.hashes.items() if name.lower() in _ALGORITHMS}

    @property
    def sha256(self) -> str | None:
        """The expected sha256, if the lock names it."""
        return self.checkable.get("sha256")

    @property
    def key(self) -> str:
        """The expected hash with its algorithm: the same for the same content. Raises `ValueError` without one."""
        if not (hashes := self.checkable):
            message = f"{self.filename}: no hash to check it by"
            raise ValueError(message)
        algorithm = "sha256" if "sha256" in hashes else max(hashes, key=lambda name: len(hashes[name]))
        return f"{algorithm}-{hashes[algorithm]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file that lies in the store under `sha256`; `size` in bytes."""

    download: Download
    sha256: str
    size: int
    from_store: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a `fetch` is. Bytes are those that had to be moved; `total` is `None` while a size is not known."""

    files: int
    finished: int
    received: int
    total: int | None


def fetch(
    downloads: Sequence[Download],
    store: WheelStore,
    client: Client,
    *,
    jobs: int = 16,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_arrival: Callable[[Fetched], None] = lambda fetched: None,
) -> tuple[Fetched, ...]:
    """Bring every download into the store and return them in the same order.

    `on_progress` is called in the caller's thread, `on_arrival` for each file that is new to the store, in the thread
    that brought it, while others are still on their way. The first error ends the others; what came of a file stays in
    the store for the next run. Raises `DifyoffError`: `hash-mismatch`, `size-mismatch`, `file-not-on-index`,
    `index-unauthorised`, `index-unreachable`, `tls-failed`, `unsafe-redirect`, `disk-full`, `store-not-writable`.
    """
    wanted = {download.key: download for download in downloads}
    missing = [download for download in wanted.values() if not (download.sha256 and store.has(download.sha256))]
    if client.offline:
        remote = sorted(each.filename for each in missing if _local(each.url) is None)
        if remote:
            raise not_in_store(remote)
    needed = sum(max(0, (download.size or 0) - store.begun(download.key)) for download in missing)
    if missing and needed > store.free():
        raise no_room(store.root, needed)
    # The largest first: a big file begun last would be waited for alone.
    order = sorted(wanted.values(), key=lambda download: -(download.size or 0))
    total = None if any(download.size is None for download in missing) else sum(each.size or 0 for each in missing)
    received = 0
    done: dict[str, Fetched] = {}
    work = parallel(lambda download: _bring(download, store, client, on_arrival), order, jobs, on_stop=client.interrupt)
    with closing(work) as events:
        for event in events:
            if isinstance(event, Fetched):
                done[event.download.key] = event
            else:
                received += event
            on_progress(Progress(files=len(order), finished=len(done), received=received, total=total))
    return tuple(done[download.key] for download in downloads)


def sizes(downloads: Sequence[Download], client: Client, *, jobs: int = 16) -> tuple[int | None, ...]:
    """Return the sizes in bytes, asked of the server (HEAD) where the lock does not say; `None`: nor did the server."""
    found = dict(parallel(lambda item: _ask(item, client), list(enumerate(downloads)), jobs, on_stop=client.interrupt))
    return tuple(found[index] for index in range(len(downloads)))


def _ask(item: tuple[int, Download], client: Client) -> Generator[tuple[int, int | None], None, None]:
    index, download = item
    size = download.size
    if size is None and (path := _local(download.url)):
        size = path.stat().st_size if path.is_file() else None
    elif size is None:
        try:
            with client.open(download.url, method="HEAD", timeout=_HEAD_SECONDS) as response:
                declared = response.headers.get("Content-Length", "")
                size = int(declared) if declared.isdecimal() else None
        except (TransientError, DifyoffError):
            pass  # the fetch itself will say what is wrong
    yield index, size


def _bring(
    download: Download, store: WheelStore, client: Client, on_arrival: Callable[[Fetched], None]
) -> Generator[int | Fetched, None, None]:
    """Yield the bytes received (less than 0: thrown away again), then the file; closing the generator ends the work."""
    with store.turn(download.key):  # another build of this run may be bringing the same file
        yield from _bring_alone(download, store, client, on_arrival)


def _bring_alone(
    download: Download, store: WheelStore, client: Client, on_arrival: Callable[[Fetched], None]
) -> Generator[int | Fetched, None, None]:
    if download.sha256 and (size := store.intact(download.sha256)) is not None:
        yield Fetched(download=download, sha256=download.sha256, size=size, from_store=True)
        return
    with store.partial(download.key, download.checkable, needed=download.size) as part:
        if path := _local(download.url):
            part.restart()
            yield from _copy(download, path, part)
        elif not _complete(download, part):
            yield from receive(
                Remote(url=download.url, name=download.filename, size=download.size),
                part,
                store,
                client,
                is_wrong=lambda: _problem(download, part) is not None,
                gave_up=lambda tries, error: _gave_up(download, tries, error),
            )
        if problem := _problem(download, part):
            part.restart()  # wrong bytes are nothing to resume from
            raise DifyoffError(problem)
        fetched = Fetched(download=download, sha256=store.commit(part), size=part.size, from_store=False)
    on_arrival(fetched)
    yield fetched


def _complete(download: Download, part: Partial) -> bool:
    """Say whether an earlier run ended between the last byte and the final name; drop more than there can be."""
    if download.size is not None and part.size >= download.size and _problem(download, part):
        part.restart()
    return download.size is not None and part.size == download.size > 0


def _copy(download: Download, path: Path, part: Partial) -> Generator[int, None, None]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise DifyoffError(
            Diagnosis(
                slug="file-not-on-index",
                message=f"{path} cannot be read: {error.strerror}",
                hint="The lock names a file that is not there: put it there, or lock again.",
            )
        ) from error
    with file:
        while chunk := file.read(CHUNK):
            part.write(chunk)
            yield len(chunk)


def _problem(download: Download, part: Partial) -> Diagnosis | None:
    """Compare a finished file with what the lock says of it."""
    name, place = download.filename, public_url(download.url)
    page = part.head.lstrip().lower().startswith((b"<!doctype html", b"<html"))
    note = "what came is a web page, not a wheel: a login page of the network or an error page" if page else None
    if download.size is not None and part.size != download.size:
        return Diagnosis(
            slug="size-mismatch",
            message=f"{name} has {part.size:,} bytes or more, its lock says {download.size:,}"
            if part.size > download.size
            else f"{name} has {part.size:,} bytes, its lock says {download.size:,}",
            context=(place,),
            note=note,
        )
    for algorithm, expected in download.checkable.items():
        if (found := part.digest(algorithm)) != expected:
            return Diagnosis(
                slug="hash-mismatch",
                message=f"{name} is not the file its lock names: its {algorithm} is another",
                context=(place, f"expected {expected}", f"received {found}"),
                note=note,
            )
    return None


def _gave_up(download: Download, tries: int, error: TransientError) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="index-unreachable",
            message=f"{download.filename} could not be fetched in {tries} tries: {error}",
            context=(public_url(download.url),),
            hint="Try again: what was received is kept. Behind a proxy set HTTPS_PROXY.",
        )
    )


def _local(url: str) -> Path | None:
    parts = urlsplit(url)
    if parts.scheme == "file":
        from urllib.request import url2pathname  # brings all of http.client with it

        return Path(url2pathname(parts.path))
    return None if parts.scheme in ("http", "https") else Path(url)

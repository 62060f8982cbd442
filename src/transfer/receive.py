"""Receive one file over HTTP: tried again with growing pauses, resumed where it broke off, bounded in size."""

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final, TypeVar

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.redaction import public_url
from .client import Client, Refuse
from .errors import TransientError
from .store import CHUNK, Partial, WheelStore, no_room

_TRIES: Final = 5
_FIRST_WAIT: Final = 0.25  # seconds; doubled each time
_ENOUGH: Final = 1 << 20  # after a try that brought this much, the count starts anew

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A file elsewhere: its URL, the name for messages, and what is known of it.

    `size` is the expected one in bytes, None where it is not known; `limit` the most that is taken. `checkable` says
    that the finished file can be told from a wrong one, so that pieces of two versions are found out. `headers` go with
    every request. `refuse` makes the error of an answer that is not a success, None for the client's own.
    """

    url: str
    name: str
    size: int | None = None
    limit: int | None = None
    checkable: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    refuse: Refuse | None = None


def receive(
    remote: Remote,
    part: Partial,
    store: WheelStore,
    client: Client,
    *,
    is_wrong: Callable[[], bool],
    gave_up: Callable[[int, TransientError], DifyoffError],
) -> Generator[int, None, Mapping[str, str]]:
    """Go on where the partial file ends; yield the bytes received (less than 0: thrown away) and return the headers.

    `is_wrong` judges the finished file: where it was put together from pieces and is wrong, it is received once more
    in one piece. `gave_up` makes the error after so many tries, the last of which failed for this reason. Raises that,
    `download-too-large`, `disk-full` and the errors of `Client.open`.
    """
    failures = 0
    for tries in count(1):
        before = part.size
        try:
            headers = yield from _receive(remote, part, store, client)
        except TransientError as error:
            failures = 1 if part.size - before >= _ENOUGH else failures + 1
            if failures == _TRIES:
                raise gave_up(tries, error) from error
            wait(failures, error)
            yield 0  # the place to be stopped after a wait
            continue
        wrong = is_wrong()
        if wrong and remote.size is None and "Content-Length" not in headers and failures < _TRIES - 1:
            # Nothing said how long the file is: it may have been cut short.
            failures += 1
            yield -part.size
            part.restart()
            wait(failures, TransientError("the file may have been cut short"))
            continue
        if not (part.resumed and wrong):
            return headers
        # The pieces do not fit: an old one was bad, or the file changed between tries. Once more, in one piece.
        yield -part.size
        part.restart()
    raise AssertionError


def retried(action: Callable[[], T], *, gave_up: Callable[[int, TransientError], DifyoffError]) -> T:
    """Return what a short request gives, tried again while `TransientError` says that it may help."""
    for tries in count(1):
        try:
            return action()
        except TransientError as error:
            if tries == _TRIES:
                raise gave_up(tries, error) from error
            wait(tries, error)
    raise AssertionError


def wait(failures: int, error: TransientError) -> None:
    """Pause before another try, for as long as the server asked or the longer the more tries failed."""
    time.sleep(_FIRST_WAIT * 2 ** (failures - 1) * random.uniform(0.5, 1) if error.after is None else error.after)


def _receive(
    remote: Remote, part: Partial, store: WheelStore, client: Client
) -> Generator[int, None, Mapping[str, str]]:
    """Go on where the partial file ends, for as long as one answer lasts."""
    if not (remote.checkable or part.validator):
        yield -part.size
        part.restart()
    part.resumed = part.size > 0
    with client.open(remote.url, headers=_headers(remote, part), refuse=remote.refuse) as response:
        yield 0  # the place to be stopped at once: from here on `client.interrupt` reaches the response
        start = _first_byte(response.status, response.headers)
        if start != part.size:
            yield -part.size if part.resumed else 0
            part.restart()
            if start != 0:
                raise TransientError("the server went on from another place than asked")
        part.validator = _validator(response.headers)
        declared = response.length_remaining
        _check_limit(remote, part.size + (declared or 0))
        if remote.size is None and declared is not None and declared > store.free():
            raise no_room(store.root, declared)
        while chunk := response.read1(CHUNK, decode_content=False):
            part.write(chunk)
            yield len(chunk)
            _check_limit(remote, part.size)
            if remote.size is not None and part.size > remote.size:
                return response.headers
    if declared is None and remote.size is not None and part.size < remote.size:
        raise TransientError("the connection closed before the end of the file")
    return response.headers


def _headers(remote: Remote, part: Partial) -> dict[str, str]:
    ranged = {"Range": f"bytes={part.size}-"} if part.size else {}
    return {**remote.headers, **ranged, **({"If-Range": part.validator} if ranged and part.validator else {})}


def _validator(headers: Mapping[str, str]) -> str:
    """Return what names the state of a file to `If-Range`: a strong ETag, else nothing (RFC 9110 §13.1.5)."""
    tag = headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag


def _first_byte(status: int, headers: Mapping[str, str]) -> int | None:
    """Return where in the file an answer's body starts (RFC 9110 §14.4); `None` where it has none of the file."""
    if status != 206:
        return None if status == 416 else 0
    unit, _, rest = headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else None


def _check_limit(remote: Remote, size: int) -> None:
    if remote.limit is None or size <= remote.limit:
        return
    raise DifyoffError(
        Diagnosis(
            slug="download-too-large",
            message=f"{remote.name} has {size:,} bytes or more; at most {remote.limit:,} are fetched",
            context=(public_url(remote.url),),
            hint="Check that the URL names a plugin, or fetch the file by other means and name its path.",
        )
    )

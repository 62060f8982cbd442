"""Ask the servers of sources, and bring files from them into the store, judged before they get their name."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.redaction import public_url
from ..transfer.receive import Remote, receive, retried
from ..transfer.store import Partial
from .answers import is_page, refuse, unexpected, unreachable, web_page
from .source import Access

PACKAGE_LIMIT: Final = 1 << 30
"""The most that is taken for a package or an archive, in bytes: 20 times the daemon's default limit."""
_ANSWER_LIMIT: Final = 16 << 20

Judge = Callable[[Path], Diagnosis | None]
"""Says what is wrong with a file that has come, None where nothing is."""


def ask(access: Access, url: str, *, name: str, headers: Mapping[str, str] | None = None, body: object = None) -> Any:
    """Return the JSON that a server answers; with `body`, which becomes JSON too, to a POST.

    `name` is what the answer is about, for messages. Raises `MissingError` where the server does not have it, and
    `DifyoffError`: `not-in-store`, `rate-limited`, `bot-wall`, `source-unauthorised`, `source-unreachable`,
    `web-page-received`, `unexpected-answer`, and those of `Client.open`.
    """
    access.need_network(name)
    sent = {"Accept": "application/json", **(headers or {})}
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        sent["Content-Type"] = "application/json"

    def once() -> tuple[str, bytes]:
        with access.client.open(
            url, method="GET" if data is None else "POST", headers=sent, body=data, refuse=refuse
        ) as response:
            return response.url or url, response.read(_ANSWER_LIMIT, decode_content=False)

    last, content = retried(once, gave_up=lambda tries, error: unreachable(name, url, tries, error))
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        if is_page(content):
            raise web_page(last, f"the answer about {name}") from error
        raise unexpected(last, "it is not JSON", content) from error


def download(
    access: Access, remote: Remote, *, key: str | None, sha256: str | None = None, judge: Judge | None = None
) -> tuple[str, Mapping[str, str]]:
    """Bring a file into the store; return its SHA-256 and the headers of the last answer.

    `key` names the content that is expected, so that another run can go on with what came of it, None where nothing is
    known of it. `sha256` is the expected one, if the source says. A wrong file is thrown away. Raises what `judge`
    finds, `digest-mismatch`, `download-truncated`, `download-too-large` and the errors of `ask`.
    """
    access.need_network(remote.name)
    access.on_fetch(remote.name)

    def problem(part: Partial) -> DifyoffError | None:
        return _problem(remote, part, sha256, judge)

    with access.shelf.files.partial(key, needed=remote.size) as part:
        work = receive(
            remote,
            part,
            access.shelf.files,
            access.client,
            is_wrong=lambda: problem(part) is not None,
            gave_up=lambda tries, error: unreachable(remote.name, remote.url, tries, error, received=part.size),
        )
        headers = _finish(work)
        if (error := problem(part)) is not None:
            part.restart()  # wrong bytes are nothing to resume from
            raise error
        return access.shelf.files.commit(part), headers


def _finish(work: Any) -> Mapping[str, str]:
    while True:
        try:
            next(work)
        except StopIteration as end:
            headers: Mapping[str, str] = end.value
            return headers


def _problem(remote: Remote, part: Partial, sha256: str | None, judge: Judge | None) -> DifyoffError | None:
    if is_page(part.head):
        return web_page(remote.url, remote.name)
    if sha256 is not None and part.digest("sha256") != sha256:
        return DifyoffError(
            Diagnosis(
                slug="digest-mismatch",
                message=f"{remote.name} is not the file that the source lists: its SHA-256 differs",
                context=(public_url(remote.url), f"listed   {sha256}", f"received {part.digest('sha256')}"),
                hint="Try again; if it stays so, a proxy or the server changes the file: ask who runs it.",
            )
        )
    if sha256 is None and part.head.startswith(b"PK") and not _has_end(part.path):
        return DifyoffError(
            Diagnosis(
                slug="download-truncated",
                message=f"{remote.name} is cut off: {part.size:,} bytes came, and the archive's end is missing",
                context=(public_url(remote.url),),
                hint="Try again; if it stays so, the file is damaged on the server.",
            )
        )
    try:
        wrong = judge(part.path) if judge is not None else None
    except DifyoffError as error:
        return error
    return DifyoffError(wrong) if wrong is not None else None


def _has_end(path: Path) -> bool:
    return zipfile.is_zipfile(path)

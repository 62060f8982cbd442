"""What the servers of sources say when they do not give what was asked for, in one meaning each."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.redaction import public_url
from ..transfer.errors import TransientError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_READ: Final = 1 << 16
_SHORT_WAIT: Final = 60.0  # seconds that are waited for a limit to end
_PAGE: Final = (b"<!doctype html", b"<html")


class MissingError(Exception):
    """The server does not have what was asked for; the text is the server's own word."""


class NotModifiedError(Exception):
    """What was fetched before is still what the server has."""


class LimitedError(TransientError):
    """The server limits how much may be asked; it ends at `until`."""

    def __init__(self, until: datetime) -> None:
        seconds = (until - datetime.now(UTC)).total_seconds()
        super().__init__(f"the server limits requests until {until:%H:%M:%S} UTC", after=max(0.0, seconds))
        self.until = until


def is_page(head: bytes) -> bool:
    """Say whether content begins like a web page."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGE)


def refuse(url: str, response: "BaseHTTPResponse") -> Exception:
    """Return what an answer that is not a success means, as an error."""
    status = response.status
    head = response.read(_READ, decode_content=False) or b""
    said = _said(response, head)
    if status == 304:
        return NotModifiedError()
    if (until := _limit(response)) is not None:
        return _limited(url, until)
    if status in (408, 425) or status >= 500:
        return TransientError(said)
    if status in (401, 403, 407):
        return _forbidden(url, status, head, said)
    if status in (404, 410, 422, 451) or (status == 400 and "not found" in said.lower()):
        return MissingError(said)
    return unexpected(url, said, head)


def web_page(url: str, asked: str) -> DifyoffError:
    """Return the error for a web page that came with success in place of what was asked for."""
    return DifyoffError(
        Diagnosis(
            slug="web-page-received",
            message=f"a web page came in place of {asked}",
            context=(f"from {public_url(url)}",),
            note="A network with a login page answers so until somebody has logged in; so does a wrong address.",
            hint="Open the address in a browser on this machine, log in to the network, and try again.",
        )
    )


def unexpected(url: str, said: str, head: bytes) -> DifyoffError:
    """Return the error for an answer that is not understood."""
    return DifyoffError(
        Diagnosis(
            slug="unexpected-answer",
            message=f"the server's answer is not understood: {said}",
            context=(f"from {public_url(url)}", f"it begins with {head[:80]!r}"),
            hint="Check the server's address.",
        )
    )


def limited(url: str, until: datetime) -> DifyoffError:
    """Return the error for a limit on requests that ends too late to wait for it."""
    minutes = max(1, round((until - datetime.now(UTC)).total_seconds() / 60))
    return DifyoffError(
        Diagnosis(
            slug="rate-limited",
            message=f"the server takes no more requests until {until:%Y-%m-%d %H:%M} UTC, in {minutes} minutes",
            context=(f"from {public_url(url)}",),
            hint="Try again then. GitHub allows far more to a token: set GITHUB_TOKEN.",
        )
    )


def unreachable(name: str, url: str, tries: int, error: TransientError, *, received: int = 0) -> DifyoffError:
    """Return the error after the last try; `received` bytes of a file have come."""
    if isinstance(error, LimitedError):
        return limited(url, error.until)
    if received:
        return DifyoffError(
            Diagnosis(
                slug="download-truncated",
                message=f"{name} broke off after {received:,} bytes, in each of {tries} tries: {error}",
                context=(public_url(url),),
                hint="Try again; what can be checked later is kept, and the next run goes on from there.",
            )
        )
    return DifyoffError(
        Diagnosis(
            slug="source-unreachable",
            message=f"{name} could not be fetched in {tries} tries: {error}",
            context=(public_url(url),),
            hint="Check the address in a browser on this machine. Behind a proxy, set HTTPS_PROXY.",
        )
    )


def _said(response: "BaseHTTPResponse", head: bytes) -> str:
    """Return the status and the server's own word: `msg` (marketplace), `detail` (private one), `message` (GitHub)."""
    status = f"HTTP {response.status} {response.reason or ''}".strip()
    data: Any = None
    with suppress(ValueError, RecursionError):
        data = json.loads(head)
    if isinstance(data, dict):
        word = next((data[key] for key in ("msg", "detail", "message") if isinstance(data.get(key), str)), None)
        return f"{status}: {word[:200]}" if word else status
    return status


def _limit(response: "BaseHTTPResponse") -> datetime | None:
    """Return when a limit on requests ends, None where the answer speaks of no limit.

    GitHub: 403 or 429 with `x-ratelimit-remaining: 0` and the end in `x-ratelimit-reset` (seconds since 1970), or a
    `retry-after` for its secondary limits. Others: 429, with or without `Retry-After`.
    """
    headers = response.headers
    if response.status not in (403, 429):
        return None
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal() and len(reset) < 12:
        return datetime.fromtimestamp(int(reset) + 1, UTC)
    after = headers.get("Retry-After", "")
    if response.status == 403 and not after:
        return None
    return _until(after)


def _until(after: str) -> datetime:
    """Return the time that `Retry-After` names (RFC 9110 §10.2.3), in a second where it names none."""
    from email.utils import parsedate_to_datetime

    now = datetime.now(UTC).timestamp()
    try:
        named = now + int(after) if after.isdecimal() else parsedate_to_datetime(after).timestamp()
        return datetime.fromtimestamp(named, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return datetime.fromtimestamp(now + 1, UTC)


def _limited(url: str, until: datetime) -> Exception:
    error = LimitedError(until)
    return error if (error.after or 0) <= _SHORT_WAIT else limited(url, until)


def _forbidden(url: str, status: int, head: bytes, said: str) -> Exception:
    if status == 403 and is_page(head):
        return DifyoffError(
            Diagnosis(
                slug="bot-wall",
                message=f"a bot protection in front of {public_url(url)} does not let difyoff through: {said}",
                note="It answers with a web page, as for a browser; this is not about permissions.",
                hint="Try from another network, ask for `difyoff` to be let through, or download with a browser.",
            )
        )
    if status == 403 and head.lstrip().startswith(b"<?xml"):
        return TransientError("the signed address has expired")  # storage of the S3 kind; asking again gives a new one
    return DifyoffError(
        Diagnosis(
            slug="source-unauthorised",
            message=f"the server does not give us {public_url(url)}: {said}",
            hint="Give the proxy's user and password in HTTPS_PROXY."
            if status == 407
            else "Set GITHUB_TOKEN for GitHub; for others give user and password in the URL or a netrc file.",
        )
    )

"""The one way to the network: credentials by origin, safe redirects, one meaning for every answer of a server.

The connections themselves (urllib3, TLS, proxies) are in `transfer.transport`, imported with the first request: a
build that finds every wheel in its store never pays for them.
"""

import netrc
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from ..difypkg.diagnosis import Diagnosis, DifyoffError, not_in_store
from ..difypkg.redaction import public_url
from .errors import TransientError, basic

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from .transport import Transport

_REDIRECTS: Final = 10
_LONGEST_WAIT: Final = 60.0
_PORTS: Final = {"http": 80, "https": 443}


def origin(url: str) -> str:
    """Return `scheme://host:port` of a URL, the unit that credentials belong to."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS.get(parts.scheme)}"


Refuse: TypeAlias = Callable[[str, "BaseHTTPResponse"], Exception]
"""Makes an error of an answer that is not a success: its URL, and the answer with its body unread."""


class Client:
    """HTTP for any number of threads; connections are kept and reused.

    `credentials` maps a URL to the (user, password) of its origin. Where none is given, those within a requested URL
    count, then the machine's entry in the netrc file (`NETRC`, else `~/.netrc`; its `default` entry is left alone: it
    would go to every host). `insecure_hosts` holds `host` or `host:port` whose certificates are not checked. The
    proxies and certificates are those of the environment, see `transfer.transport`. With `offline` every request ends
    with `not-in-store`.
    """

    def __init__(
        self,
        *,
        version: str,
        credentials: Mapping[str, tuple[str, str]] | None = None,
        insecure_hosts: Collection[str] = (),
        connections: int = 16,
        timeout: float = 30.0,
        offline: bool = False,
    ) -> None:
        self.offline = offline
        self._version = version
        self._credentials = {origin(url): pair for url, pair in (credentials or {}).items()}
        self._insecure_hosts = frozenset(insecure_hosts)
        self._connections = connections
        self._timeout = timeout
        self._live: set[BaseHTTPResponse] = set()
        self._lock = threading.Lock()

    @contextmanager
    def open(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float | None = None,
        refuse: Refuse | None = None,
    ) -> Iterator["BaseHTTPResponse"]:
        """Yield the answer to one request, redirects followed; read its body with `decode_content=False`.

        The status is 2xx, or 416 for a request with a range. An `Authorization` among the headers is sent to the
        origin of `url` alone. A redirect keeps method and body, but for 303. `timeout` is in seconds of silence. The
        answer's `url` is the last one asked. Raises `TransientError` where another try may help, while the body is
        read too, and where it will not, `DifyoffError`: `file-not-on-index`, `index-unauthorised`,
        `index-unreachable`, `tls-failed`, `unsafe-redirect`, or for an answer that is not a success what `refuse`
        makes of it.
        """
        if self.offline:
            raise not_in_store((public_url(url),))
        transport = self._transport_once()
        with transport.errors(url):
            request = _Request(
                method=method,
                headers={name.title(): value for name, value in (headers or {}).items()},
                body=body,
                timeout=timeout or self._timeout,
                refuse=refuse or _refusal,
            )
            response = self._follow(transport, url, request)
            self._live.add(response)
            try:
                yield response
            finally:
                self._live.discard(response)
                response.close()  # a body that was read to its end has given its connection back already

    def interrupt(self) -> None:
        """End the reading of every open response, from another thread."""
        for response in tuple(self._live):
            with suppress(OSError, ValueError, RuntimeError):
                response.shutdown()

    def close(self) -> None:
        """Close the connections that are kept."""
        if "_transport" in self.__dict__:
            self._transport.close()

    def _transport_once(self) -> "Transport":
        with self._lock:  # cached_property alone would build one for each thread
            return self._transport

    @cached_property
    def _transport(self) -> "Transport":
        from .transport import Transport

        return Transport(insecure_hosts=self._insecure_hosts, connections=self._connections)

    def _follow(self, transport: "Transport", url: str, request: "_Request") -> "BaseHTTPResponse":
        given = _userinfo(urlsplit(url))
        start = origin(url)
        method, body = request.method, request.body
        for _ in range(_REDIRECTS):
            at_start = origin(url) == start
            pair = given if given and at_start else self._pair(url)
            sent = {
                "User-Agent": f"difyoff/{self._version}",
                "Accept-Encoding": "identity",
                **({"Authorization": basic(*pair)} if pair else {}),
                **{name: value for name, value in request.headers.items() if at_start or name != "Authorization"},
            }
            response = transport.request(method, _without_userinfo(url), sent, request.timeout, body=body)
            response.url = url
            location = response.get_redirect_location()
            if not location:
                if response.status // 100 == 2 or (response.status == 416 and "Range" in request.headers):
                    return response
                error = request.refuse(url, response)
                _spend(response)
                raise error
            if response.status == 303:
                method, body = "GET", None
            _spend(response)
            url = _redirected(url, location)
        raise DifyoffError(
            Diagnosis(slug="unsafe-redirect", message=f"{public_url(url)}: the server redirects without end")
        )

    def _pair(self, url: str) -> tuple[str, str] | None:
        host = urlsplit(url).hostname or ""
        return self._credentials.get(origin(url)) or self._netrc.get(host)

    @cached_property
    def _netrc(self) -> dict[str, tuple[str, str]]:
        path = Path(os.environ.get("NETRC") or "~/.netrc")
        try:
            hosts = netrc.netrc(path.expanduser()).hosts
        except (OSError, RuntimeError, UnicodeError, netrc.NetrcParseError):
            return {}  # as uv does; a server that wanted it answers 401, whose page speaks of netrc
        return {host: (user, password) for host, (user, _, password) in hosts.items() if host != "default"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    method: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout: float
    refuse: Refuse


def _userinfo(parts: SplitResult) -> tuple[str, str] | None:
    if parts.username is None and parts.password is None:
        return None
    return unquote(parts.username or ""), unquote(parts.password or "")


def _without_userinfo(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def _redirected(url: str, location: str) -> str:
    try:
        target = _without_userinfo(urljoin(url, location))
        safe = origin(target).startswith(("https:",) if urlsplit(url).scheme == "https" else ("https:", "http:"))
    except ValueError:  # no URL at all
        target, safe = "nowhere", False
    if not safe:
        raise DifyoffError(
            Diagnosis(
                slug="unsafe-redirect",
                message=f"{public_url(url)} redirects to {public_url(target)}, which is not followed",
                hint="Ask whoever runs the index or the proxy; a login page of the network does this too.",
            )
        )
    return target


def _spend(response: "BaseHTTPResponse") -> None:
    # A short body is read so that its connection can be used again.
    if (response.length_remaining or 0) <= 1 << 16 and "Content-Length" in response.headers:
        response.drain_conn()
    response.close()


def _refusal(url: str, response: "BaseHTTPResponse") -> TransientError | DifyoffError:
    status = response.status
    said = f"HTTP {status} {response.reason or ''}".strip()
    if status in (408, 425, 429, 500, 502, 503, 504):
        return TransientError(said, after=_retry_after(response.headers.get("Retry-After")))
    if status in (401, 403, 407):
        return DifyoffError(
            Diagnosis(
                slug="index-unauthorised",
                message=f"the server does not let us have {public_url(url)}: {said}",
                hint="Put the index's user and password into its URL or into a netrc file."
                if status != 407
                else "Put the proxy's user and password into HTTPS_PROXY and HTTP_PROXY.",
            )
        )
    return DifyoffError(
        Diagnosis(
            slug="file-not-on-index",
            message=f"the server does not have {public_url(url)}: {said}",
            hint="The lock names a file that the index lacks: sync the mirror, or lock again against this index.",
        )
    )


def _retry_after(value: str | None) -> float | None:
    """Read `Retry-After`: seconds or a date (RFC 9110 §10.2.3), at most a minute of it."""
    if not value:
        return None
    from email.utils import parsedate_to_datetime  # rarely needed, and it brings the email package

    try:
        if value.isdecimal():
            seconds = float(value)
        else:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT)

"""Connections: urllib3 with the system's certificates and the environment's proxies.

Certificates are the system's (truststore). `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them and `SSL_CLIENT_CERT` adds a
client certificate (PEM, key in the same file), the variables that uv reads. Proxies are those of `HTTP_PROXY`,
`HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` in either case, credentials included.
"""

import os
import re
import socket
import ssl
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import truststore
import urllib3
from urllib3 import exceptions

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.redaction import public_url
from .errors import TransientError, basic

_CONNECT_SECONDS: Final = 10.0
_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT")


class Transport:
    """One pool of connections for each way out (a proxy or none, certificates checked or not), opened as needed."""

    def __init__(self, *, insecure_hosts: Collection[str], connections: int) -> None:
        self._insecure_hosts = insecure_hosts
        self._connections = connections
        self._proxies = getproxies_environment()
        self._managers: dict[tuple[str | None, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def request(
        self, method: str, url: str, headers: Mapping[str, str], timeout: float, *, body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Send one request and return its answer, body unread, nothing followed or tried again."""
        return self._manager(url).request(
            method,
            url,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(connect=min(timeout, _CONNECT_SECONDS), read=timeout),
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def close(self) -> None:
        """Close every pool."""
        for manager in self._managers.values():
            manager.clear()

    @contextmanager
    def errors(self, url: str) -> Iterator[None]:
        """Turn urllib3's errors into `TransientError` or a diagnosis."""
        try:
            yield
        except exceptions.HTTPError as error:
            raise _translated(url, error) from error

    def _manager(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = self._proxies.get(parts.scheme) or self._proxies.get("all")
        if proxy and proxy_bypass_environment(parts.netloc, self._proxies):
            proxy = None
        key = (proxy, parts.hostname in self._insecure_hosts or parts.netloc in self._insecure_hosts)
        with self._lock:
            if key not in self._managers:
                self._managers[key] = self._new_manager(*key)
            return self._managers[key]

    def _new_manager(self, proxy: str | None, insecure: bool) -> urllib3.PoolManager:
        context = _insecure_context() if insecure else self._context
        if proxy is None:
            return urllib3.PoolManager(maxsize=self._connections, ssl_context=context)
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        try:
            return urllib3.ProxyManager(
                f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
                maxsize=self._connections,
                ssl_context=context,
                proxy_ssl_context=self._context,
                proxy_headers={"Proxy-Authorization": basic(unquote(parts.username), unquote(parts.password or ""))}
                if parts.username
                else None,
            )
        except exceptions.HTTPError as error:
            raise DifyoffError(
                Diagnosis(
                    slug="index-unreachable",
                    message=f"the proxy {public_url(proxy)} cannot be used: it is neither http:// nor https://",
                )
            ) from error

    @cached_property
    def _context(self) -> ssl.SSLContext:
        file, folders, client = map(os.environ.get, _VARIABLES)
        context: ssl.SSLContext
        try:
            if file or folders:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                for folder in folders.split(os.pathsep) if folders else ():
                    context.load_verify_locations(capath=folder)
                if file:
                    context.load_verify_locations(cafile=file)
            else:
                context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if client:
                context.load_cert_chain(client)
        except (OSError, ssl.SSLError) as error:
            raise DifyoffError(
                Diagnosis(
                    slug="tls-failed",
                    message=f"the certificates that the environment names cannot be read: {error.strerror or error}",
                    context=tuple(f"{name}={value}" for name in _VARIABLES if (value := os.environ.get(name))),
                )
            ) from error
        return context


def _insecure_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    urllib3.disable_warnings(exceptions.InsecureRequestWarning)  # the user has said so
    return context


def _translated(url: str, error: exceptions.HTTPError) -> TransientError | DifyoffError:
    causes = list(_causes(error))
    host = urlsplit(url).hostname
    for cause in causes:
        # http.client has no error of its own for this, only an OSError with this text
        if isinstance(cause, OSError) and (refusal := re.match(r"Tunnel connection failed: (\d+.*)", str(cause))):
            if not refusal[1].startswith(("401", "403", "407")):
                return TransientError(f"the proxy does not reach {host}: HTTP {refusal[1]}")
            return DifyoffError(
                Diagnosis(
                    slug="index-unauthorised",
                    message=f"the proxy does not let us reach {host}: HTTP {refusal[1]}",
                    hint="Put the proxy's user and password into HTTPS_PROXY and HTTP_PROXY.",
                )
            )
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            said = getattr(cause, "verify_message", None) or cause.reason or str(cause)
            return DifyoffError(
                Diagnosis(
                    slug="tls-failed",
                    message=f"no secure connection to {host}: {said}",
                    hint="If the company has its own certificate authority, name its file in SSL_CERT_FILE.",
                )
            )
    return TransientError(_reason(host, causes))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it wraps, by argument (urllib3's SSLError, ProxyError) or by chain."""
    seen: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        cause = todo.pop(0)
        if isinstance(cause, BaseException) and cause not in seen:
            seen.append(cause)
            yield cause
            todo += [*cause.args, getattr(cause, "original_error", None), cause.__cause__, cause.__context__]


def _reason(host: str | None, causes: list[BaseException]) -> str:
    """Say in a few words what went wrong; urllib3's own texts hold addresses of objects."""
    kinds = tuple(type(cause) for cause in causes)
    if any(issubclass(kind, (exceptions.NameResolutionError, socket.gaierror)) for kind in kinds):
        return f"the name {host} does not resolve"
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    if exceptions.ReadTimeoutError in kinds:
        return f"{host} stopped sending"
    if exceptions.ConnectTimeoutError in kinds:
        return f"{host} does not answer"
    if exceptions.IncompleteRead in kinds:
        return "the connection closed before the end of the file"
    return kinds[0].__name__

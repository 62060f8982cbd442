"""A file server on loopback that misbehaves on request, a proxy, and a certificate authority of our own."""

import base64
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

Fault = Callable[["Handler", bytes], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    client: tuple[str, int]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "FileServer"

    def do_GET(self) -> None:
        self.server.requests.append(
            Request(method=self.command, path=self.path, headers=dict(self.headers), client=self.client_address)
        )
        faults = self.server.faults[self.path]
        body = self.server.files.get(self.path)
        if faults:
            faults.pop(0)(self, body or b"")
        elif self.server.users and not self.authorised():
            self.answer(401, b"", {"WWW-Authenticate": "Basic"})
        elif (route := self.server.routes.get(self.path.partition("?")[0])) is not None:
            route(self, body or b"")
        elif body is None:
            self.answer(404, self.server.missing)
        elif (asked := self.headers.get("Range")) is None:
            self.answer(200, body)
        else:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
            if first < len(body):
                self.part(body, first)
            else:
                self.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})

    do_HEAD = do_POST = do_GET  # noqa: N815

    def authorised(self) -> bool:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        return kind == "Basic" and base64.b64decode(value).decode() in self.server.users

    def part(self, body: bytes, first: int) -> None:
        self.answer(206, body[first:], {"Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"})

    def answer(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, *, length: int | None = -1
    ) -> None:
        """Send an answer; `length` is what `Content-Length` claims, the body's own for -1, nothing for `None`."""
        self.send_response(status)
        typed = {"Content-Type": "text/html"} if status == 200 and self.path.endswith("/") else {}  # a page of an index
        for name, value in {**typed, **(headers or {})}.items():
            if value:
                self.send_header(name, value)
        if length is None:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body) if length == -1 else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class FileServer(ThreadingHTTPServer):
    """`files` by path; `faults[path]` are taken one for each request, before the file is served as it should be.

    `routes` answer for a path, whatever its query is; `missing` is the body of a 404.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: defaultdict[str, list[Fault]] = defaultdict(list)
        self.routes: dict[str, Fault] = {}
        self.missing = b"no such file"
        self.users: set[str] = set()  # "user:password"
        self.requests: list[Request] = []
        self._context = context

    def url(self, path: str, *, user: str = "") -> str:
        scheme = "https" if self._context else "http"
        return f"{scheme}://{user + '@' if user else ''}127.0.0.1:{self.server_port}{path}"

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        if self._context:
            with suppress(OSError), self._context.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)
        else:
            super().finish_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away in the middle is part of the tests


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def file_server(context: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    server = FileServer(context)
    with serving(server):
        yield server


def reset(after: int) -> Fault:
    """The connection is reset after so many bytes of the body."""

    def fault(handler: Handler, body: bytes) -> None:
        handler.answer(200, body[:after], length=len(body))
        handler.wfile.flush()
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        handler.close_connection = True

    return fault


def short(after: int, *, declared: bool = True) -> Fault:
    """The connection is closed in order after so many bytes, whether or not a length was declared."""

    def fault(handler: Handler, body: bytes) -> None:
        handler.answer(200, body[:after], length=len(body) if declared else None)
        handler.close_connection = True

    return fault


def status(code: int, **headers: str) -> Fault:
    return lambda handler, body: handler.answer(code, b"", {k.replace("_", "-"): v for k, v in headers.items()})


def content(other: bytes) -> Fault:
    """Something else comes with 200, whatever range was asked for."""
    return lambda handler, body: handler.answer(200, other)


def range_ignored(handler: Handler, body: bytes) -> None:
    handler.answer(200, body)


def range_from(first: int) -> Fault:
    """The answer to a range starts elsewhere, and says so."""
    return lambda handler, body: handler.part(body, first)


def redirect(location: str) -> Fault:
    return lambda handler, body: handler.answer(302, b"", {"Location": location})


@dataclass
class Stall:
    """Half of the body comes, then nothing until `release` is set; `reached` says that it has come so far."""

    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def __call__(self, handler: Handler, body: bytes) -> None:
        handler.answer(200, body[: len(body) // 2], length=len(body))
        handler.wfile.flush()
        self.reached.set()
        self.release.wait(60)
        handler.close_connection = True


class ProxyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Proxy"

    def do_CONNECT(self) -> None:
        if self._admitted():
            host, _, port = self.path.partition(":")
            with socket.create_connection((host, int(port))) as upstream:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_pump, args=(upstream, self.connection), daemon=True)
                back.start()
                _pump(self.connection, upstream)
                back.join()
        self.close_connection = True

    def do_GET(self) -> None:
        if self._admitted():
            parts = urlsplit(self.path)
            upstream = HTTPConnection(parts.hostname or "", parts.port)
            upstream.request("GET", parts.path, headers={k: v for k, v in self.headers.items() if k[:6] != "Proxy-"})
            answer = upstream.getresponse()
            body = answer.read()
            upstream.close()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _admitted(self) -> bool:
        self.server.requests.append(f"{self.command} {self.path}")
        kind, _, value = self.headers.get("Proxy-Authorization", "").partition(" ")
        if self.server.user and (kind != "Basic" or base64.b64decode(value).decode() != self.server.user):
            self.send_response(407)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False
        return True

    def log_message(self, *args: object) -> None:
        pass


class Proxy(ThreadingHTTPServer):
    """An HTTP proxy that tunnels and forwards, for one `user:password` or for all."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, user: str = "") -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.user = user
        self.requests: list[str] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def server_context(folder: Path) -> ssl.SSLContext:
    """Make a certificate authority, `folder/ca.pem`, and a context for a server on 127.0.0.1 that it vouches for."""
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command")
    ca, key, cert, request = (folder / name for name in ("ca.pem", "server.key", "server.pem", "server.csr"))

    def openssl(*argv: str | Path) -> None:
        subprocess.run(["openssl", *argv], check=True, capture_output=True, cwd=folder)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", ca, "-days", "2", "-subj", "/CN=Test", *authority)
    openssl("req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=127.0.0.1")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    signing = ("-CA", ca, "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", request, *signing, "-days", "2", "-out", cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context

"""A package index on loopback: PEP 503 pages, PEP 691 JSON with sizes and upload times, PEP 658 metadata, ranges.

Everything lies in memory. An index that was stopped leaves URLs behind that nothing answers, as an air gap does.
"""

import base64
import html
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from kit.wheels import Distribution

_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the index answered."""

    method: str
    path: str
    status: int
    login: str | None = None


@dataclass
class Index:
    """A static index of distributions, serving from `start` until `stop`; also a context manager.

    With `login` (`user:password`) every request needs it as basic authentication. `sizes` False leaves sizes and upload
    times out, as some mirrors do.
    """

    distributions: list[Distribution]
    login: str | None = None
    sizes: bool = True
    requests: list[Request] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None
    _address: str = ""

    def start(self) -> Self:
        index = self

        class Handler(_Handler):
            def setup(self) -> None:
                self.index = index
                super().setup()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The index's address as tools take it, without login."""
        return f"http://{self._address}/simple"

    @property
    def url_with_login(self) -> str:
        return f"http://{self.login}@{self._address}/simple" if self.login else self.url

    @property
    def address(self) -> str:
        """Host and port."""
        return self._address

    def file_url(self, distribution: Distribution) -> str:
        return f"http://{self._address}/files/{distribution.project}/{distribution.filename}"

    def find(self, filename: str) -> Distribution:
        return next(one for one in self.distributions if one.filename == filename)

    @property
    def logins(self) -> list[str]:
        """The `Authorization` of the requests that had one."""
        return [request.login for request in list(self.requests) if request.login]

    @property
    def downloads(self) -> list[str]:
        """The names of the files that were fetched, in order, metadata not counted."""
        return [
            request.path.rpartition("/")[2]
            for request in list(self.requests)
            if request.method == "GET" and request.path.startswith("/files/") and not request.path.endswith(".metadata")
        ]


@contextmanager
def serve(distributions: Iterable[Distribution], login: str | None = None, *, sizes: bool = True) -> Iterator[Index]:
    """Serve the distributions for the length of a `with` block."""
    with Index(list(distributions), login=login, sizes=sizes) as index:
        yield index


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    index: Index

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.index.login and self.headers.get("Authorization") != _basic(self.index.login):
            self._send(HTTPStatus.UNAUTHORIZED, b"", {"WWW-Authenticate": 'Basic realm="index"'})
            return
        match unquote(self.path.partition("?")[0]).strip("/").split("/"):
            case ["simple"]:
                names = sorted({one.project for one in self.index.distributions})
                self._page(
                    {"meta": {"api-version": "1.1"}, "projects": [{"name": name} for name in names]},
                    "".join(f'<a href="/simple/{name}/">{name}</a>\n' for name in names),
                )
            case ["simple", project] if files := [one for one in self.index.distributions if one.project == project]:
                self._project(project, files)
            case ["files", project, name]:
                self._file(project, name)
            case _:
                self._send(HTTPStatus.NOT_FOUND, b"not found")

    def _project(self, project: str, files: list[Distribution]) -> None:
        versions = sorted({one.version for one in files})
        anchors = "".join(self._anchor(one) for one in files)
        entries = [self._entry(one) for one in files]
        document = {"meta": {"api-version": "1.1"}, "name": project, "versions": versions, "files": entries}
        self._page(document, anchors)

    def _entry(self, one: Distribution) -> dict[str, object]:
        entry: dict[str, object] = {
            "filename": one.filename,
            "url": self.index.file_url(one),
            "hashes": {"sha256": one.sha256},
            "core-metadata": one.metadata is not None,
        }
        if one.requires_python:
            entry["requires-python"] = one.requires_python
        if self.index.sizes:
            entry |= {"size": len(one.data), "upload-time": one.upload_time}
        return entry

    def _anchor(self, one: Distribution) -> str:
        python = f' data-requires-python="{html.escape(one.requires_python)}"' if one.requires_python else ""
        metadata = ' data-core-metadata="true"' if one.metadata is not None else ""
        address = f"{self.index.file_url(one)}#sha256={one.sha256}"
        return f'<a href="{address}"{python}{metadata}>{one.filename}</a>\n'

    def _page(self, document: Mapping[str, object], anchors: str) -> None:
        if _JSON in self.headers.get("Accept", ""):
            self._send(HTTPStatus.OK, json.dumps(document).encode(), {"Content-Type": _JSON})
        else:
            page = f"<!DOCTYPE html><html><body>\n{anchors}</body></html>"
            self._send(HTTPStatus.OK, page.encode(), {"Content-Type": "text/html"})

    def _file(self, project: str, name: str) -> None:
        for one in self.index.distributions:
            if one.project == project and one.filename == name:
                self._bytes(one.data)
                return
            if one.project == project and f"{one.filename}.metadata" == name and one.metadata is not None:
                self._bytes(one.metadata)
                return
        self._send(HTTPStatus.NOT_FOUND, b"not found")

    def _bytes(self, data: bytes) -> None:
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes="):
            self._send(HTTPStatus.OK, data, {"Accept-Ranges": "bytes"})
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(len(data) - int(last), 0)
        end = min(int(last) + 1 if first and last else len(data), len(data))
        if start >= len(data):
            unsatisfied = {"Content-Range": f"bytes */{len(data)}"}
            self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", unsatisfied)
            return
        part = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}
        self._send(HTTPStatus.PARTIAL_CONTENT, data[start:end], part)

    def _send(self, status: HTTPStatus, body: bytes, headers: dict[str, str] | None = None) -> None:
        login = self.headers.get("Authorization")
        self.index.requests.append(Request(self.command, unquote(self.path), status.value, login))
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server gives
        """Say nothing: the requests are kept."""


def _basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()

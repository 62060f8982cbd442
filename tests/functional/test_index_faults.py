"""Faults of an index while uv resolves: each is the network's, not the plugin's, and says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from kit.cli import difyoff
from kit.plugins import PYPROJECT, write_plugin

_FAULTS = {
    "401": "index-unauthorised",
    "403": "index-unauthorised",
    "500": "index-unreachable",
    "a login page": "index-answer-unusable",
    "an empty page": "index-answer-unusable",
    "a reset": "index-unreachable",
    "cut short": "index-unreachable",
    "redirects without end": "index-answer-unusable",
    "bad gzip": "index-unreachable",
    "nobody listens": "index-unreachable",
}


class _Handler(BaseHTTPRequestHandler):
    fault = ""

    def do_GET(self) -> None:
        match self.fault:
            case "401" | "403" | "500":
                self._answer(int(self.fault), b"no")
            case "a login page":
                self._answer(200, b"<!doctype html><html><body>Please log in</body></html>", "text/html")
            case "an empty page":
                self._answer(200, b"<!doctype html><html><body></body></html>", "application/vnd.pypi.simple.v1+html")
            case "a reset":
                self.close_connection = True
            case "cut short":
                self._answer(200, b"<!doctype html>", "text/html", length=4000)
            case "redirects without end":
                self.send_response(302)
                self.send_header("Location", self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()
            case _:  # bad gzip
                self._answer(200, b"\x1f\x8bnot gzip", "text/html", encoding="gzip")

    def _answer(
        self, status: int, body: bytes, kind: str = "text/plain", *, length: int | None = None, encoding: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(body)))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server gives
        """Say nothing."""


@contextmanager
def _serve(fault: str) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fault": fault}))
    url = f"http://127.0.0.1:{server.server_address[1]}/simple"
    if fault == "nobody listens":
        server.server_close()
        yield url
        return
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("form", ["requirements", "pyproject"])
@pytest.mark.parametrize("fault", list(_FAULTS))
def test_a_fault_of_the_index_is_the_networks(
    fault: str, form: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    requirements = "dify_plugin\n" if form == "requirements" else None
    plugin = write_plugin(tmp_path / "tiny", pyproject=None if requirements else PYPROJECT, requirements=requirements)
    with _serve(fault) as url:
        run = difyoff("build", plugin, "--json", "-o", tmp_path / "out", "--index-url", url, cwd=tmp_path)

    assert run.result["diagnosis"]["slug"] == _FAULTS[fault], run.stderr
    assert run.code == 6

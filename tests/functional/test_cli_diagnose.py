"""`difyoff diagnose` on the command line: what is printed, what the document holds, and the exit code."""

import gzip
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from difyoff.cli.main import run

CHECKSUM = "5f1c" * 16
LOG = f"""\
plugin_daemon-1  | 2026-04-15T03:00:00.5Z INFO dify-plugin-daemon middleware.go:83 HTTP request path=/x status=200
plugin_daemon-1  | 2026-04-15T03:00:01Z ERROR dify-plugin-daemon logger.go:24 local runtime start failed plugin=acme/demo:0.0.1@{CHECKSUM} error="failed to install dependencies: error: Failed to fetch: `https://index.example/simple/tqdm/`"
nginx-1          | 2026/04/15 03:00:02 [error] 29#29: *1 connect() failed (111: Connection refused) while connecting to upstream, upstream: "http://172.18.0.7:5001/x"
plugin_daemon-1  | 2026/04/15 03:00:03 /app/internal/db/executor.go:259 record not found
api-1            | 2026-04-15 03:00:04.123 ERROR [Dummy-1] [x.py:1] - nobody knows this
"""  # noqa: E501


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "site.log"
    path.write_text(LOG, encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Done:
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def diagnose(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    def call(*arguments: str | Path, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = run(["diagnose", *map(str, arguments)])
        captured = capsys.readouterr()
        return Done(int(code), captured.out, captured.err)

    return call


def test_each_failure_is_printed_with_who_asked_whom_and_the_fix(log: Path, diagnose: Callable[..., Done]) -> None:
    done = diagnose(log)
    assert done.exit_code == 0
    out = done.stdout
    assert "upstream-unreachable (sure): nginx does not reach Dify's API" in out
    assert "look at: Dify's API, not the package" in out
    assert "index-not-disabled (sure)" in out
    assert "uv in the plugin daemon asked https://index.example/simple/tqdm/" in out
    assert f"plugin: acme/demo:0.0.1@{CHECKSUM}" in out
    assert out.count("\n  fix: ") == 2
    assert "normal (once): `record not found`" in out
    assert "not known (api, line 5, once): nobody knows this" in out
    assert "2 failures" in done.stderr


def test_the_document_has_all_of_them(log: Path, diagnose: Callable[..., Done]) -> None:
    done = diagnose("--json", log)
    [result] = json.loads(done.stdout)["results"]
    assert {(each["diagnosis"]["slug"], each["confidence"], each["concerns"]) for each in result["failures"]} == {
        ("index-not-disabled", "sure", "package"),
        ("upstream-unreachable", "sure", "api"),
    }
    assert [each["first"] for each in result["failures"]] == [
        {"line": 2, "time": "2026-04-15T03:00:01Z"},
        {"line": 3, "time": "2026/04/15 03:00:02"},
    ]
    assert result["diagnosis"]["slug"] == "upstream-unreachable"
    assert [each["diagnosis"]["slug"] for each in result["normal"]] == ["normal-line"]
    assert [each["text"] for each in result["unknown"]] == ["nobody knows this"]
    assert result["complete"] is True


@pytest.mark.parametrize("form", ["gzip", "utf-16"])
def test_other_forms_of_the_same_log(form: str, log: Path, diagnose: Callable[..., Done]) -> None:
    data = gzip.compress(LOG.encode()) if form == "gzip" else LOG.replace("\n", "\r\n").encode("utf-16")
    plain = diagnose(log)
    log.write_bytes(data)
    assert diagnose(log).stdout == plain.stdout


def test_stdin_is_read(diagnose: Callable[..., Done]) -> None:
    done = diagnose(stdin=LOG)
    assert done.exit_code == 0
    assert "upstream-unreachable" in done.stdout


def test_what_is_not_known_is_said(diagnose: Callable[..., Done]) -> None:
    done = diagnose("-", stdin="all is well\n")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "error[cause-not-found]" in done.stderr


def test_what_a_log_holds_does_not_steer_the_terminal(diagnose: Callable[..., Done]) -> None:
    done = diagnose(stdin="read a\x9b31mb: is a directory\n")
    assert "\x9b" not in done.stdout
    assert "directory-entry" in done.stdout


def test_an_archive_is_not_a_log(tmp_path: Path, diagnose: Callable[..., Done]) -> None:
    path = tmp_path / "logs.zip"
    path.write_bytes(b"PK\x03\x04")
    done = diagnose(path)
    assert done.exit_code == 4
    assert "zip archive" in done.stderr

"""No secret that difyoff was told leaves it: not in lines, commands, documents, reports or crash files."""

import json
import re
import sys
import tempfile
from pathlib import Path

import pytest

from difyoff.cli import secrecy
from difyoff.cli.main import run
from kit.cli import difyoff
from kit.plugins import write_plugin

WORD = "s3cr3t-Word"
WAYS = {
    "an index": {"UV_DEFAULT_INDEX": f"http://user:{WORD}@127.0.0.1:9/simple"},
    "a token in a query": {"UV_DEFAULT_INDEX": f"http://127.0.0.1:9/simple?token={WORD}"},
    "a malformed proxy": {
        "HTTP_PROXY": f"http://user:{WORD}/x#y@127.0.0.1:9",
        "UV_DEFAULT_INDEX": "http://index.invalid/",
    },
    "a proxy without a scheme": {"HTTP_PROXY": f"user:{WORD}@127.0.0.1:9", "UV_DEFAULT_INDEX": "http://index.invalid/"},
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_that_a_build_writes_holds_a_secret(way: str, tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "plugin", pyproject=None, requirements="dify_plugin\n")

    done = difyoff("build", plugin, "-v", "--json", "--report", "report.json", cwd=tmp_path, env=WAYS[way])

    assert done.code not in (0, 70), done.stderr
    assert WORD not in done.stdout + done.stderr + (tmp_path / "report.json").read_text()


def test_what_was_typed_is_not_repeated(tmp_path: Path) -> None:
    for arguments in (
        ("build", "P", "--index-url", f"htps://user:{WORD}@index.example"),
        ("build", f"https://user:{WORD}@127.0.0.1:9/a.difypkg"),
        ("inspect", f"https://user:{WORD}@127.0.0.1:9/a.difypkg"),
    ):
        done = difyoff(*arguments, "--json", cwd=tmp_path)
        assert done.code != 0
        assert WORD not in done.stdout + done.stderr


def test_a_crash_file_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError(f"proxy http://user:{WORD}/x@proxy.example and {WORD}")

    monkeypatch.setattr("difyoff.cli.commands.inspect.open_plugin", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", f"http//user:{WORD}@proxy.example")
    monkeypatch.setattr(sys, "argv", ["difyoff", "inspect", f"--x=http://u:{WORD}@index.example"])
    secrecy.known_secrets.cache_clear()
    try:
        assert run(["inspect", "P", "--json"]) == 70
    finally:
        secrecy.known_secrets.cache_clear()

    captured = capsys.readouterr()
    (log,) = tmp_path.glob("difyoff-*.log")
    assert re.search(r"ZeroDivisionError", log.read_text())
    assert WORD not in log.read_text() + captured.out + captured.err
    assert json.loads(captured.out)["exit_code"] == 70

"""`difyoff explain`, and what every command has in common: help, version, colours, pipes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from difyoff import __version__
from difyoff.difypkg.diagnosis import slugs
from kit.cli import difyoff

HEAVY = ("urllib3", "pydantic", "rich", "tomlkit", "testcontainers", "yaml", "docker", "packaging", "truststore", "uv")


@pytest.mark.parametrize("slug", slugs())
def test_every_page_is_printed(slug: str, capsys: pytest.CaptureFixture[str]) -> None:
    from difyoff.cli.main import run

    assert run(["explain", slug]) == 0

    printed = capsys.readouterr()
    assert printed.out.startswith(f"{slug}: ")
    assert "What to do." in printed.out
    assert printed.err == ""


def test_lists_every_slug(tmp_path: Path) -> None:
    run = difyoff("explain", cwd=tmp_path)

    assert [line.split()[0] for line in run.stdout.splitlines()] == list(slugs())
    assert run.stderr == ""


@pytest.mark.parametrize(("word", "near"), [("not-a-zp", "not-a-zip"), ("zzzz", "`difyoff explain` lists all")])
def test_an_unknown_slug_is_a_wrong_use(word: str, near: str, tmp_path: Path) -> None:
    run = difyoff("explain", word, cwd=tmp_path)

    assert run.code == 2
    assert near in run.stderr
    assert run.stdout == ""


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option: str, tmp_path: Path) -> None:
    run = difyoff(option, cwd=tmp_path)

    assert (run.code, run.stdout, run.stderr) == (0, f"difyoff {__version__}\n", "")


@pytest.mark.parametrize(
    "words", [["-h"], ["--help"], *([command, "-h"] for command in ("build", "inspect", "explain", "verify"))]
)
def test_help_is_data(words: list[str], tmp_path: Path) -> None:
    run = difyoff(*words, cwd=tmp_path)

    assert run.code == 0
    assert run.stdout.startswith("Usage: difyoff")
    assert run.stderr == ""


def test_no_command_shows_the_help_as_talk(tmp_path: Path) -> None:
    run = difyoff(cwd=tmp_path)

    assert run.code == 2
    assert run.stdout == ""
    assert "Commands:" in run.stderr


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["explain", "not-a-zip"]], ids=" ".join)
def test_what_is_quick_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = f"""
import sys
from difyoff.cli.main import run
run({words!r})
heavy = [name for name in {HEAVY!r} if name in sys.modules]
sys.exit(f"imported: {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_whoever_reads_may_leave_early(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "difyoff", "explain"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(write)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_behind_a_redirect_is_no_traceback(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this machine has no /dev/full")
    with full.open("w") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "difyoff", "explain"], stdout=stream, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 5
    assert done.stderr.startswith("error[")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("env", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"NO_COLOR": "1"}, False),
    ],
    ids=["plain", "forced", "both", "none"],
)
def test_colours(env: dict[str, str], coloured: bool, tmp_path: Path) -> None:
    run = difyoff("inspect", "absent.difypkg", cwd=tmp_path, env=env)

    assert ("\x1b[" in run.stderr) is coloured
    assert "\x1b[" not in run.stdout

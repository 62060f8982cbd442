"""What the command line says and refuses, in the words of its users: inputs, sizes, suffixes, the last lines."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from difyoff.difypkg.daemons import release
from difyoff.difypkg.site import site_settings
from difyoff.difypkg.sizes import MIB, human_size
from kit.cli import difyoff
from kit.index import Index
from kit.plugins import pack, write_plugin


@pytest.fixture
def plugin(tmp_path: Path, index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    return write_plugin(tmp_path / "plugin", pyproject=None, requirements="dify_plugin\n")


@pytest.mark.parametrize("command", ["build", "verify", "inspect", "diagnose", "diagnose --package"])
@pytest.mark.parametrize("fault", ["missing", "a folder", "a FIFO"])
def test_input_that_cannot_be_used_is_never_a_verdict(command: str, fault: str, tmp_path: Path) -> None:
    place = tmp_path / "input"
    if fault == "a folder":
        place.mkdir()
    elif fault == "a FIFO":
        if command == "diagnose":
            pytest.skip("a log may come through a FIFO")
        os.mkfifo(place)
    log = ["/dev/null"] if command.endswith("--package") else []

    done = difyoff(*command.split(), place, *log, "--json", cwd=tmp_path, timeout=120)

    assert done.code == 4, done.stderr
    assert done.result["diagnosis"]["slug"] in {"file-not-found", "file-not-readable", "not-a-plugin"}
    assert not done.result.get("report")


@pytest.mark.parametrize("suffix", ["/../..", "-x/y", "../x", "a\\b", "x y", "\x07", "x" * 65])
def test_a_suffix_stays_part_of_the_name(suffix: str, plugin: Path, tmp_path: Path) -> None:
    done = difyoff("build", plugin, "-o", "out", f"--suffix={suffix}", cwd=tmp_path)

    assert done.code == 2
    assert "not part of a file name" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_package_never_replaces_the_plugin_that_it_is_made_from(plugin: Path, tmp_path: Path) -> None:
    package = pack(plugin, tmp_path / "difyoff-tiny_0.1.0.difypkg")
    before = package.read_bytes()

    done = difyoff("build", package, "--suffix=", "--force", "-o", ".", "--json", cwd=tmp_path)

    assert done.result["diagnosis"]["slug"] == "output-exists"
    assert package.read_bytes() == before


def test_what_is_built_and_not_verified_is_said_last(plugin: Path, tmp_path: Path) -> None:
    done = difyoff("build", plugin, cwd=tmp_path)

    assert done.code == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "not verified: use --verify"
    assert " MB" not in done.stderr
    assert "not verified" not in difyoff("build", plugin, "-q", cwd=tmp_path).stderr


def test_the_site_is_said_once_for_several_plugins(plugin: Path, tmp_path: Path, index: Index) -> None:
    other = write_plugin(tmp_path / "other", pyproject=None, requirements="dify_plugin\nidna\n")

    done = difyoff("build", plugin, other, "-o", "one", "--force", cwd=tmp_path)

    assert done.stderr.count("On the site, before uploading") == 1
    assert done.stderr.count("FORCE_VERIFYING_SIGNATURE=false") == 1


@pytest.mark.parametrize(
    ("limit", "size", "expected"),
    [
        (None, 60, {"PLUGIN_MAX_PACKAGE_SIZE": 100 * MIB}),
        (200, 60, {}),
        (200, 210, {"PLUGIN_MAX_PACKAGE_SIZE": 250 * MIB, "NGINX_CLIENT_MAX_BODY_SIZE": 250}),
        (200, 120, {"NGINX_CLIENT_MAX_BODY_SIZE": 200}),
    ],
)
def test_no_setting_is_lower_than_the_site_s_own(limit: int | None, size: int, expected: dict[str, int]) -> None:
    settings = site_settings(
        release("0.6.10"),
        author="a",
        file_size=size * MIB,
        unpacked_size=size * MIB,
        wheels_size=0,
        signed=False,
        limit=limit * MIB if limit else None,
    )

    found = {each.name: int(each.value.rstrip("M")) for each in settings if each.name.endswith("SIZE")}
    assert found == expected


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (980, "980 bytes"), (24 * 1024, "24 KiB"), (MIB // 10, "0.1 MiB"), (14_365_491, "13.7 MiB")],
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert human_size(size) == words


def test_explain_is_formatted_on_a_terminal_and_markdown_elsewhere(tmp_path: Path) -> None:
    plain = difyoff("explain", "index-unreachable", cwd=tmp_path).stdout
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    argv = [sys.executable, "-m", "difyoff", "explain", "index-unreachable"]
    with subprocess.Popen(argv, stdout=theirs, stderr=theirs, env=environment, cwd=tmp_path) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:  # Linux says so at the end
            pass
        assert process.wait() == 0
    os.close(ours)

    assert "**What to do.**" in plain
    assert b"**" not in shown
    assert b"`" not in shown
    assert b"HTTPS_PROXY" in shown


DEEP = "(" * 3_000 + "sys_platform == 'linux'" + ")" * 3_000
HEAD = '[project]\nname = "tiny"\nversion = "0.1.0"\nrequires-python = ">=3.12"\n'
HOSTILE: dict[str, dict[str, str | bytes | None]] = {
    "an integer without end": {"pyproject.toml": f"{HEAD}dependencies = []\n[tool.x]\ny = {'1' * 100_000}\n"},
    "a deep array": {"pyproject.toml": f"{HEAD}dependencies = []\n[tool.x]\ny = {'[' * 5_000}\n"},
    "a deep marker": {"pyproject.toml": f'{HEAD}dependencies = ["idna; {DEEP}"]\n'},
    "a deep marker in requirements": {"pyproject.toml": None, "requirements.txt": f"idna; {DEEP}\n"},
    "a deep marker for environments": {
        "pyproject.toml": f'{HEAD}dependencies = []\n[tool.uv]\nenvironments = ["{DEEP}"]\n'
    },
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("command", ["build", "verify --backend=audit", "inspect"])
def test_files_that_overwhelm_a_reader_are_no_crash(
    what: str, command: str, tmp_path: Path, index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    package = pack(write_plugin(tmp_path / "plugin", files=HOSTILE[what]), tmp_path / "tiny.difypkg")

    done = difyoff(*command.split(), package, "--json", cwd=tmp_path)

    assert done.code in ((0, 4) if command == "inspect" else (1, 4)), done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 10_000

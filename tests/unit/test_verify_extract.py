"""A package as the daemon lays it out, what is seen of a work folder, and a plugin's first words."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from difyoff.verify.audit.api import audit
from difyoff.verify.launch import await_heartbeat
from difyoff.verify.look import look
from difyoff.verify.package import open_package
from kit.plugins import pack, write_plugin


def test_plain_files_without_modes(tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "plugin", files={"tools/run.sh": "#!/bin/sh\n"})
    (plugin / "tools/run.sh").chmod(0o755)
    with open_package(pack(plugin, tmp_path / "x.difypkg")) as package:
        package.extract(tmp_path / "tree")
    assert (tmp_path / "tree/main.py").read_bytes() == (plugin / "main.py").read_bytes()
    assert package.identity is not None
    assert stat.S_IMODE((tmp_path / "tree/tools/run.sh").stat().st_mode) == 0o644
    assert package.folder_name == f"difyoff/tiny-0.1.0@{package.identity.checksum}"


def test_stops_at_a_directory_entry_as_the_daemon_does(tmp_path: Path) -> None:
    package = pack(write_plugin(tmp_path / "plugin"), tmp_path / "x.difypkg", directories=True)
    with open_package(package) as read:
        assert not read.can_be_extracted
        assert "directory-entry" in {check.diagnosis.slug for check in audit(read).checks() if check.diagnosis}


def test_scenarios_have_files_of_their_own(tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "plugin")
    with open_package(pack(plugin, tmp_path / "x.difypkg")) as package:
        for name in ("one", "two"):
            package.extract(tmp_path / name)
    (tmp_path / "one/main.py").write_text("changed")
    assert (tmp_path / "two/main.py").read_bytes() == (plugin / "main.py").read_bytes() != b"changed"


def test_sees_what_was_installed_and_what_strayed(tmp_path: Path) -> None:
    plugin = tmp_path / "cwd" / "author" / "name"
    site = plugin / ".venv/lib/python3.12/site-packages"
    (site / "zope_interface-8.4.dist-info").mkdir(parents=True)
    (plugin / ".venv/pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.12.3\n")
    (plugin / "main.py").write_text("")
    cache = tmp_path / "cwd/.uv-cache"
    cache.mkdir()
    (tmp_path / "cwd/author/outside").mkdir()
    state = look(plugin, tmp_path / "cwd", cache)
    assert state.python == "3.12.3"
    assert state.distributions == {"zope-interface": "8.4"}
    assert list(state.files) == ["main.py"]
    assert state.strays == [str(tmp_path / "cwd/author/outside")]
    assert state.cached


class _Process:
    """A plugin that says the given lines and then ends, or hangs."""

    stderr = "last words\n"

    def __init__(self, lines: list[str], *, code: int | None) -> None:
        self._lines = lines
        self._code = code

    def poll(self) -> int | None:
        return self._code

    def lines(self, *, timeout: float, longest: int | None = None) -> Iterator[str]:
        yield from self._lines
        if self._code is None:
            raise TimeoutError


HEARTBEAT = json.dumps({"event": "heartbeat", "session_id": None, "data": {}})


def test_the_first_heartbeat_is_ready() -> None:
    lines = ['{"name": "tiny"}', "", "no json", '["heartbeat"]', '{"event": "log", "data": {}}', HEARTBEAT]
    assert await_heartbeat(_Process(lines, code=None), timeout=1).ready


@pytest.mark.parametrize("code", [0, 3, None])
def test_no_heartbeat_is_not_ready(code: int | None) -> None:
    launch = await_heartbeat(_Process(['{"event": "log"}', "heartbeat"], code=code), timeout=1)
    assert not launch.ready
    assert (launch.code, launch.stderr) == (code, "last words")

"""Every dependency form, by the real command line against the loopback index; what is made installs without a network.

`pytest --update-golden` writes what is seen into `fixtures/plugins/*/expected.json`; read the difference before
committing it.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from kit.cli import Run, difyoff
from kit.daemon import DEAD_MIRROR, HOST, PIP_COMMANDS, SYNC_COMMANDS, install, starts, unpack
from kit.golden import Case, cases
from kit.index import Index
from kit.locks import write_lock
from kit.plugins import pack, write_plugin
from kit.wheels import wheel

# One of each kind that the releases run: frozen, resolved again past a mirror, and from the requirements.
_COMMANDS = (
    ("sync", "--no-dev", "--frozen"),
    ("sync", "--no-dev", *DEAD_MIRROR),
    ("pip", "install", *DEAD_MIRROR, "-r", "requirements.txt"),
)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
def test_builds_as_expected_and_installs_without_a_network(
    case: Case,
    index: Index,
    uv_cache: Path,
    lock_uv: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    if lack := case.missing():
        pytest.skip(lack)
    source = case.prepare(tmp_path / "source", index, uv_cache)
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)

    runs = {
        arch: difyoff("build", source, "--arch", arch, "--json", "-o", tmp_path / "out", cwd=tmp_path)
        for arch in case.architectures
    }

    seen = {arch: _stable(run, {index.address: "@ADDRESS@", str(tmp_path): "@TMP@"}) for arch, run in runs.items()}
    if pytestconfig.getoption("--update-golden"):
        text = json.dumps(seen, indent=2, ensure_ascii=False, sort_keys=True)
        case.expected.write_text(f"{text}\n", encoding="utf-8")
    assert case.expected.is_file(), "no expected.json: write it with --update-golden"
    assert seen == json.loads(case.expected.read_text(encoding="utf-8"))
    for arch, run in runs.items():
        if run.code == 0:
            package = Path(run.result["package"]["path"])
            for machine in ("amd64", "arm64") if arch == "all" else (arch,):
                _installs(package, machine, lock_uv, tmp_path / arch / machine)


def _stable(run: Run, hidden: dict[str, str]) -> dict[str, Any]:
    """Return what must not change from machine to machine: no addresses, folders, sizes and hashes."""
    result = run.result
    seen: dict[str, Any] = {
        "exit": run.code,
        "findings": sorted(finding["slug"] for finding in result["findings"]),
    }
    if diagnosis := result["diagnosis"]:
        seen["diagnosis"] = diagnosis["slug"]
    if run.code == 0:
        with zipfile.ZipFile(result["package"]["path"]) as package:
            names = package.namelist()
        seen["output"] = Path(result["package"]["path"]).name
        seen["resolution"] = result["resolution"]
        seen["identity"] = result["identity"].partition("@")[0]
        seen["edits"] = [f"{edit['file']}: {edit['what']}" for edit in result["edits"]]
        seen["files"] = sorted(name for name in names if not name.startswith("wheels/"))
        seen["wheels"] = sorted(name.removeprefix("wheels/") for name in names if name.startswith("wheels/"))
    text = json.dumps(seen)
    for value, placeholder in hidden.items():
        text = text.replace(value, placeholder)
    visible: dict[str, Any] = json.loads(text)
    return visible


def _installs(package: Path, machine: str, uv: Path, folder: Path) -> None:
    """Install by the daemon's commands that apply, and on this machine's architecture start the plugin."""
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        lock = archive.read("uv.lock") if "uv.lock" in names else None
    for command in _COMMANDS:
        if command[0] == "sync" and "pyproject.toml" not in names:
            continue
        where = folder / "_".join(command).replace("/", "")
        done = install(package, where, command, uv=uv, arch=machine)
        assert done.returncode == 0, f"uv {' '.join(command)} for {machine}:\n{done.stderr}"
        if lock is not None:
            assert (where / "plugin/uv.lock").read_bytes() == lock, f"uv {' '.join(command)} rewrote uv.lock"
        if machine == HOST:
            assert starts(where / "plugin"), f"installed by uv {' '.join(command)}, the plugin does not start"


@pytest.mark.parametrize("command", SYNC_COMMANDS + PIP_COMMANDS, ids=" ".join)
@pytest.mark.parametrize("fault", ["tampered", "missing"])
def test_a_package_with_a_faulty_wheel_does_not_install(
    fault: str,
    command: tuple[str, ...],
    index: Index,
    uv_cache: Path,
    lock_uv: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the golden test proves could also have failed: the hashes hold, and nothing comes from elsewhere."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    plugin = write_plugin(tmp_path / "tiny")
    write_lock(plugin, index, uv_cache)
    run = difyoff("build", plugin, "--arch", HOST, "--json", "-o", tmp_path, cwd=tmp_path)
    assert run.code == 0, run.stderr
    folder = unpack(Path(run.result["package"]["path"]), tmp_path / "faulty")
    (victim,) = (folder / "wheels").glob("idna-*.whl")
    victim.unlink()
    if fault == "tampered":
        victim.write_bytes(wheel("idna", "3.20", files={"idna/evil.py": "import os\n"}).data)
    faulty = pack(folder, tmp_path / "faulty.difypkg")

    done = install(faulty, tmp_path / "installed", command, uv=lock_uv)

    assert done.returncode != 0
    assert "idna" in done.stderr

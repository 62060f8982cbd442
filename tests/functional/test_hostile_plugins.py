"""Plugins whose files are made to lead a build astray: refused by name, or built without what they ask for."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.cli import difyoff
from kit.index import Index
from kit.plugins import PYPROJECT, pack, skeleton, write_plugin

MANIFEST = skeleton()["manifest.yaml"]
BACKEND = '[build-system]\nrequires = []\nbuild-backend = "x"\nbackend-path = ["../.."]\n'
SOURCE = '[tool.uv.sources]\ndify_plugin = { path = "../../x" }\n'


@dataclass(frozen=True)
class Hostile:
    """A plugin's files; the slug that refuses it, or None where it is built without what it asks for."""

    name: str
    files: dict[str, str | bytes | None]
    slug: str | None


def manifest(old: str = "", new: str = "", more: str = "") -> dict[str, str | bytes | None]:
    assert old in MANIFEST
    return {"manifest.yaml": MANIFEST.replace(old, new, 1) + more}


def requirements(text: str | bytes) -> dict[str, str | bytes | None]:
    return {"pyproject.toml": None, "requirements.txt": text}


HOSTILE = (
    Hostile("P01b an object of Python", manifest(more="x: !!python/object/apply:os.system ['true']\n"), None),
    Hostile("P02 repeated key", manifest(more="version: 0.2.0\n"), "manifest-invalid"),
    Hostile("P04 icon outside", manifest("icon: icon.svg", "icon: ../main.py"), "asset-missing"),
    Hostile("P05 author with a slash", manifest("author: difyoff", "author: a/b"), "manifest-invalid"),
    Hostile("P05b version with a slash", manifest("version: 0.1.0", "version: 0.1.0/x"), "manifest-invalid"),
    Hostile("P05c name with a colon", manifest("name: tiny", 'name: "a:b"'), "manifest-invalid"),
    Hostile("P06 another file", requirements("-r /etc/passwd\n"), "path-outside-plugin"),
    Hostile("P06c the plugin itself", requirements("-e .\n"), "resolution-failed"),
    Hostile("P06d a file", requirements("x @ file:///etc/passwd\n"), "path-outside-plugin"),
    Hostile("P06f UTF-16", requirements("dify_plugin\n".encode("utf-16")), None),
    Hostile("P07 backend outside", {"pyproject.toml": PYPROJECT + BACKEND}, "source-build-failed"),
    Hostile("P07b a source outside", {"pyproject.toml": PYPROJECT + SOURCE}, "path-outside-plugin"),
    Hostile("P08b lock of version 2", {"uv.lock": "version = 2\n"}, None),
    Hostile("P09 verification", {".verification.dify.json": "{no json"}, None),
    Hostile("P13 stale wheels", {"wheels/idna-3.20-py3-none-any.whl": b"PK"}, None),
    Hostile("P14 another Python", {".python-version": "2.7\n"}, None),
)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_a_hostile_plugin_is_refused_or_built_without_it(
    hostile: Hostile, cache: Path, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    package = pack(write_plugin(tmp_path / "tiny", files=hostile.files), tmp_path / "tiny.difypkg")

    run = difyoff("build", package, "--json", "-o", tmp_path / "out", cwd=tmp_path)

    (result,) = json.loads(run.stdout)["results"]
    assert (result["diagnosis"] or {"slug": None})["slug"] == hostile.slug
    if hostile.slug is None:
        (made,) = (tmp_path / "out").glob("*.difypkg")
        with zipfile.ZipFile(made) as opened:
            assert not {".python-version", ".verification.dify.json"} & set(opened.namelist())
            wheels = [name for name in opened.namelist() if name.endswith(".whl")]
            assert all(opened.read(name).startswith(b"PK\3\4") for name in wheels)

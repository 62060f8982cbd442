"""What builds from source sees of this machine: nothing of its user's, and no network, whenever uv runs its backend."""

import gzip
import io
import json
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from difyoff.sandbox.isolation import choose_isolation
from difyoff.sandbox.launcher import hook
from kit.cli import Run, difyoff
from kit.index import Index, serve
from kit.packages import standard_set
from kit.plugins import PYPROJECT, write_plugin
from kit.wheels import BACKEND, Distribution, sdist

_SECRET = "s3cret-of-the-user"

# Looks around when it is imported, and writes what it saw into the wheel.
_SPY = """
import json, os, socket

def _spied(address):
    saw = {"environment": dict(os.environ), "network": True, "home": [], "secrets": [], "written": False}
    try:
        socket.create_connection(address, timeout=3).close()
    except OSError:
        saw["network"] = False
    saw["home"] = [name for name in os.listdir(os.environ["HOME"])]
    for path in %(files)r:
        try:
            saw["secrets"].append(open(path).read())
        except OSError:
            pass
    try:
        open(%(outside)r, "w").close()
        saw["written"] = True
    except OSError:
        pass
    return saw

_MODULE = next(pathlib.Path().glob("*/__init__.py"), None)
if _MODULE is not None:
    _MODULE.with_name("saw.py").write_text("SAW = " + repr(json.dumps(_spied(%(address)r))))
"""


class Spied:
    """A machine with secrets, a plugin on it, and what a backend saw of them."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self.index = index
        self.home = Path(os.environ["HOME"])
        secret = self.home / ".ssh" / "id_ed25519"
        secret.parent.mkdir(parents=True)
        secret.write_text(_SECRET)
        host, _, port = index.address.partition(":")
        self.outside = folder / "written-by-a-backend"
        spy = _SPY % {"files": [str(secret)], "outside": str(self.outside), "address": (host, int(port))}
        self.backend = BACKEND.replace("\n\ndef build_wheel", spy + "\n\ndef build_wheel", 1)

    def sdist(self, name: str, *, static: bool) -> Distribution:
        """An sdist with the spying backend; without static metadata uv runs it to resolve."""
        metadata = "Metadata-Version: 2.2" if static else "Metadata-Version: 2.1"
        one = sdist(name, "1.0", backend=self.backend)
        return one if static else _replaced(one, metadata)

    def build(self, plugin: Path, *options: str) -> Run:
        environment = {
            "UV_DEFAULT_INDEX": self.index.url,
            "HTTPS_PROXY": f"http://user:{_SECRET}@127.0.0.1:9",
            "UV_INDEX_PRIVATE_PASSWORD": _SECRET,
        }
        return difyoff("build", plugin, "--json", "-o", self.folder, *options, cwd=self.folder, env=environment)

    def saw(self, run: Run) -> Mapping[str, Any]:
        """Return what the backend wrote into the wheel that was built."""
        assert run.code == 0, run.stderr
        with zipfile.ZipFile(run.result["package"]["path"]) as package:
            built = next(wheel for wheel in run.result["wheels"] if wheel["built"])
            with package.open(f"wheels/{built['filename']}") as inner, zipfile.ZipFile(inner) as wheel:
                text = wheel.read(next(name for name in wheel.namelist() if name.endswith("/saw.py"))).decode()
        saw: dict[str, Any] = {}
        exec(text, saw)
        found: dict[str, Any] = json.loads(saw["SAW"])
        return found


def _replaced(one: Distribution, metadata: str) -> Distribution:
    """Return an sdist whose metadata uv does not take from the archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(one.data))) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            content = old.extractfile(member)
            assert content is not None
            data = content.read()
            if member.name.endswith("PKG-INFO"):
                data = re.sub(rb"Metadata-Version: .*", metadata.encode(), data)
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return replace(one, data=gzip.compress(out.getvalue(), mtime=0))


def _depending(line: str, more: str = "") -> str:
    return PYPROJECT.replace('"dify_plugin>=0.9.0",\n', f'"dify_plugin>=0.9.0",\n    "{line}",\n') + more


@pytest.fixture
def spied(tmp_path: Path, cache: Path) -> Iterator[Spied]:
    if choose_isolation() is None:
        pytest.skip("no isolation on this machine")
    with serve([]) as index:
        spy = Spied(tmp_path, index)
        index.distributions.extend(
            (*standard_set(), spy.sdist("spy-static", static=True), spy.sdist("spy-dynamic", static=False))
        )
        yield spy


_MEMBERS = ("locked", "resolved", "requirements", "url", "own project", "folder")


def _plugin(member: str, spied: Spied) -> Path:
    folder = spied.folder / "plugin"
    tree = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": spied.backend,
        "lib/__init__.py": "",
    }
    match member:
        case "locked":
            return write_plugin(folder, pyproject=_depending("spy-static"))
        case "resolved":
            return write_plugin(folder, pyproject=_depending("spy-dynamic"))
        case "requirements":
            return write_plugin(folder, pyproject=None, requirements="dify_plugin\nspy-dynamic\n")
        case "url":
            url = spied.index.file_url(spied.index.find("spy_dynamic-1.0.tar.gz"))
            return write_plugin(folder, pyproject=None, requirements=f"dify_plugin\nspy-dynamic @ {url}\n")
        case "own project":
            system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n\n'
            files = {
                "backend.py": f"import os\nos.chdir('src')\n{spied.backend}",
                "src/PKG-INFO": "Metadata-Version: 2.1\nName: inner\nVersion: 1.0\n\n",
                "src/inner/__init__.py": "",
            }
            return write_plugin(folder, pyproject=system + PYPROJECT, files=files)
        case _:
            sources = '\n[tool.uv.sources]\nlib = { path = "vendor" }\n'
            files = {f"vendor/{path}": text for path, text in tree.items()}
            return write_plugin(folder, pyproject=_depending("lib", sources), files=files)


@pytest.mark.parametrize("member", _MEMBERS)
def test_a_build_backend_sees_nothing(member: str, spied: Spied) -> None:
    saw = spied.saw(spied.build(_plugin(member, spied)))

    assert saw["network"] is False
    assert saw["secrets"] == []
    assert saw["home"] == []
    assert saw["written"] is False
    assert not spied.outside.exists()
    assert _SECRET not in json.dumps(saw["environment"])
    assert not [name for name in saw["environment"] if name.startswith(("UV_", "HTTP"))]


def test_with_trust_it_runs_as_before(spied: Spied) -> None:
    saw = spied.saw(spied.build(_plugin("locked", spied), "--trust-plugin"))

    assert saw["network"] is True
    assert spied.outside.exists()


@pytest.mark.parametrize("member", ["locked", "resolved", "own project"])
def test_without_an_isolation_nothing_is_built(member: str, spied: Spied, monkeypatch: pytest.MonkeyPatch) -> None:
    # A launcher of its own that refuses every rung, as a container without rights does.
    refusing = spied.folder / "site" / "sitecustomize.py"
    refusing.parent.mkdir()
    refusing.write_text("import difyoff.uvrun.guarded as g\ng.LADDER = g.LADDER[-1:]\n")
    monkeypatch.setenv("PYTHONPATH", str(refusing.parent))

    run = spied.build(_plugin(member, spied))

    assert run.code == 5, run.stderr
    assert run.result["diagnosis"]["slug"] == "isolation-unavailable"
    assert "--trust-plugin" in run.result["diagnosis"]["hint"]
    assert not spied.outside.exists()


def test_only_what_a_hook_needs_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    for folder in (work / "plugin" / "source", elsewhere):
        folder.mkdir(parents=True)
    environment = tmp_path / "environment"
    code = 'import x as backend\nbackend.build_wheel("/out/a \\"b\\"", {}, None)\n'
    monkeypatch.setenv(hook.WORK, str(work))

    monkeypatch.chdir(work / "plugin" / "source")
    assert list(hook._writable(("python", "-c", code), environment)) == [environment, work, Path('/out/a "b"')]
    monkeypatch.chdir(elsewhere)
    assert list(hook._writable(("python", "-c", "pass"), environment)) == [environment, elsewhere]

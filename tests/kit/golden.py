"""The golden cases: read `fixtures/plugins/CASE/case.toml`, and make the plugin that it describes.

`plugin/` holds what the case adds to the skeleton of `kit.plugins`; `@INDEX@`, `@FILES@` (the index's file folder),
`@GIT@` (a repository) and `@BACKEND@` (an in-tree build backend) are filled in. The keys of `case.toml`:

    about        one sentence
    arch         the values of --arch to build for; ["amd64"] without it
    source       "folder" or "package"
    lock         "fresh", or the file beside case.toml that is locked in the place of the plugin's pyproject.toml
    constraints  what the lock is made with, to pin older versions
    prune        ["cp312-manylinux"]: wheels with this in their name vanish from the lock, as if made for another Python
    encode       {file = encoding}
    crlf         [file]: newlines become CRLF
    symlinks     {link = target}
    beside       {path beside or inside `plugin/` = text}: what version control would not hold
    needs        ["amd64", "cc"]: what the machine must have to build it
    directories, comment   as for `kit.plugins.pack`
"""

import os
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.daemon import HOST
from kit.index import Index
from kit.locks import write_lock
from kit.plugins import pack, write_plugin
from kit.wheels import BACKEND, wheel

CASES = Path(__file__).parents[2] / "fixtures" / "plugins"


@dataclass(frozen=True, slots=True)
class Case:
    """One case: its folder and its settings."""

    folder: Path
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def architectures(self) -> tuple[str, ...]:
        return tuple(self.settings.get("arch", ["amd64"]))

    @property
    def expected(self) -> Path:
        return self.folder / "expected.json"

    def missing(self) -> str | None:
        """Say what this machine lacks to build the case, or None."""
        for need in self.settings.get("needs", []):
            there = need == HOST if need in {"amd64", "arm64"} else shutil.which(need) is not None
            if not there:
                return f"this machine has no {need}"
        if "@GIT@" in self._text("pyproject.toml") and shutil.which("git") is None:
            return "this machine has no git"
        return None

    def prepare(self, workspace: Path, index: Index, uv_cache: Path) -> Path:
        """Make the plugin in `workspace` and return its folder or package."""
        _add_pointer(index)
        # The skeleton's own pyproject.toml is for tests that bring none.
        plugin = write_plugin(workspace / "plugin", pyproject=None)
        fill = {"@INDEX@": index.url, "@FILES@": f"http://{index.address}/files", "@BACKEND@": BACKEND}
        if "@GIT@" in self._text("pyproject.toml"):
            fill["@GIT@"] = _repository(workspace / "gitmade")
        for source in self._sources():
            target = plugin / source.relative_to(self.folder / "plugin")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_filled(source.read_text(encoding="utf-8"), fill), encoding="utf-8", newline="")
        for path, text in self.settings.get("beside", {}).items():
            target = workspace / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text + "\n", encoding="utf-8")
        self._lock(plugin, index, uv_cache)
        for path in self.settings.get("crlf", []):
            (plugin / path).write_bytes((plugin / path).read_bytes().replace(b"\n", b"\r\n"))
        for path, encoding in self.settings.get("encode", {}).items():
            (plugin / path).write_bytes((plugin / path).read_text(encoding="utf-8").encode(encoding))
        for link, to in self.settings.get("symlinks", {}).items():
            (plugin / link).symlink_to(to)
        if self.settings.get("source") != "package":
            return plugin
        return pack(
            plugin,
            workspace / "difyoff-tiny_0.1.0.difypkg",
            directories=self.settings.get("directories", False),
            comment=self.settings.get("comment", "").encode(),
        )

    def _lock(self, plugin: Path, index: Index, uv_cache: Path) -> None:
        wanted = self.settings.get("lock")
        if wanted is None:
            return
        text = None if wanted == "fresh" else (self.folder / wanted).read_text(encoding="utf-8")
        lock = write_lock(plugin, index, uv_cache, pyproject=text, constraints=self.settings.get("constraints", ()))
        for tag in self.settings.get("prune", []):
            lines = lock.read_text(encoding="utf-8").splitlines(keepends=True)
            lock.write_text("".join(line for line in lines if f"-{tag}" not in line), encoding="utf-8")

    def _sources(self) -> list[Path]:
        return sorted(path for path in (self.folder / "plugin").rglob("*") if path.is_file())

    def _text(self, path: str) -> str:
        file = self.folder / "plugin" / path
        return file.read_text(encoding="utf-8") if file.is_file() else ""


def cases() -> list[Case]:
    """Return every case, by name."""
    return [
        Case(file.parent, tomllib.loads(file.read_text(encoding="utf-8"))) for file in sorted(CASES.glob("*/case.toml"))
    ]


def _filled(text: str, fill: dict[str, str]) -> str:
    for placeholder, value in fill.items():
        text = text.replace(placeholder, value)
    return text


def _add_pointer(index: Index) -> None:
    """Add a wheel that refers to another by URL, which only a running index can have."""
    if not any(one.name == "pointer" for one in index.distributions):
        url = f"http://{index.address}/files/sixfold/sixfold-1.0.0-py3-none-any.whl"
        index.distributions.append(wheel("pointer", "1.0.0", requires=[f"sixfold @ {url}"]))


def _repository(folder: Path) -> str:
    """Make a Git repository of a package that builds without an index, tagged v1.0.0, and return its URL."""
    (folder / "gitmade").mkdir(parents=True)
    (folder / "gitmade/__init__.py").write_text('__version__ = "1.0.0"\n', encoding="utf-8")
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.2\nName: gitmade\nVersion: 1.0.0\n\n", encoding="utf-8")
    (folder / "backend.py").write_text(BACKEND, encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n', encoding="utf-8"
    )
    fixed = {"GIT_AUTHOR_DATE": "2025-06-01T12:00:00Z", "GIT_COMMITTER_DATE": "2025-06-01T12:00:00Z"}
    who = ("-c", "user.name=difyoff", "-c", "user.email=difyoff@index.example")
    for words in (["init", "-q", "-b", "main"], ["add", "."], [*who, "commit", "-q", "-m", "One"], ["tag", "v1.0.0"]):
        subprocess.run(["git", *words], cwd=folder, env=_git_environment() | fixed, check=True)
    return folder.as_uri()


def _git_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

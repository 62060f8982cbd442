"""The same plugin gives the same bytes: twice, elsewhere, under another umask, language and clock."""

import os
import shutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from difyoff.difypkg.pyproject import KEPT_SETTINGS, offline_pyproject
from difyoff.difypkg.target import TARGETS
from kit.cli import difyoff
from kit.index import Index
from kit.locks import write_lock
from kit.plugins import PYPROJECT, write_plugin

Build = Callable[..., bytes]


@pytest.fixture
def plugin(index: Index, uv_cache: Path, tmp_path: Path) -> Path:
    """A plugin with a wheel of every kind, one of them built from its sources."""
    lines = '    "dify_plugin>=0.9.0",\n    "wikipedia",\n    "PyJWT[crypto]",\n'
    folder = write_plugin(
        tmp_path / "tiny",
        pyproject=PYPROJECT.replace('    "dify_plugin>=0.9.0",\n', lines),
        files={"data/ö.txt": "ö", "data/Z.txt": "Z", "data/a.txt": "a"},
    )
    write_lock(folder, index, uv_cache)
    return folder


@pytest.fixture
def build(index: Index, new_cache: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Build with an empty store and return the package's bytes; each call uses a new output folder."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    calls = iter(range(100))

    def make(
        source: Path, *, env: Mapping[str, str] | None = None, umask: int = 0o022, cache: Path | None = None
    ) -> bytes:
        out = tmp_path / f"out{next(calls)}"
        environment = {"DIFYOFF_CACHE_DIR": str(cache or new_cache())} | dict(env or {})
        run = difyoff("build", source, "-o", out, cwd=source.parent, env=environment, umask=umask)
        assert run.code == 0, run.stderr
        (package,) = out.glob("*.difypkg")
        return package.read_bytes()

    return make


def test_twice_and_from_a_warm_store(plugin: Path, build: Build, new_cache: Callable[[], Path]) -> None:
    warm = new_cache()
    assert build(plugin, cache=warm) == build(plugin, cache=warm) == build(plugin)


def test_from_another_copy_with_other_times_and_modes(plugin: Path, build: Build, tmp_path: Path) -> None:
    copy = tmp_path / "some" / "where else"
    shutil.copytree(plugin, copy, copy_function=shutil.copyfile)
    for path in copy.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
        path.chmod(0o700)
    assert build(copy) == build(plugin)


@pytest.mark.parametrize("umask", [0o000, 0o077], ids=oct)
def test_under_another_umask(umask: int, plugin: Path, build: Build) -> None:
    assert build(plugin, umask=umask) == build(plugin, umask=0o022)


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
        {"LC_ALL": "C"},
        {"TZ": "Pacific/Kiritimati"},
        {"PYTHONHASHSEED": "1"},
        {"SOURCE_DATE_EPOCH": "1000000000"},
    ],
    ids=lambda env: next(iter(env)),
)
def test_in_another_language_zone_and_order(env: Mapping[str, str], plugin: Path, build: Build) -> None:
    assert build(plugin, env=env) == build(plugin)


_KEY = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
_VALUE = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12),
    st.lists(st.integers(0, 9), max_size=3),
)
_TABLE = st.dictionaries(_KEY, st.one_of(_VALUE, st.dictionaries(_KEY, _VALUE, max_size=3)), max_size=4)
_KEPT = st.fixed_dictionaries({}, optional={key: st.just(["idna==3.20"]) for key in KEPT_SETTINGS[:2]})
_FOREIGN = st.dictionaries(_KEY.filter(lambda key: key != "uv"), _TABLE, max_size=3)


@given(tools=_FOREIGN, kept=_KEPT, other=_TABLE, dropped=_TABLE, urls=st.dictionaries(_KEY, st.just("x"), max_size=2))
def test_edits_of_pyproject_keep_every_other_key(
    tools: dict[str, Any], kept: dict[str, Any], other: dict[str, Any], dropped: dict[str, Any], urls: dict[str, str]
) -> None:
    """Everything outside `[tool.uv]`, the groups and the unused extras is there afterwards, with its value."""
    project = {"name": "tiny", "version": "0.1.0", "requires-python": ">=3.12", "dependencies": ["dify_plugin>=0.9"]}
    before = {
        "project": project | {"urls": urls, "keywords": ["a"]},
        "dependency-groups": {"dev": ["black"]},
        "tool": {**tools, "uv": {**{f"x-{key}": value for key, value in dropped.items()}, **kept}},
        **{f"x-{key}": value for key, value in other.items()},
    }

    text, _ = offline_pyproject(
        tomlkit.dumps(before), targets=[TARGETS["amd64"]], version="0.1.0", pins={"dify-plugin": "0.9.0"}
    )

    after = tomllib.loads(text)
    settings = after["tool"].pop("uv")
    expected = dict(before)
    del expected["dependency-groups"]
    expected["tool"] = tools
    assert after == expected
    assert {key: settings[key] for key in kept} == kept
    assert set(settings) == {*kept, "no-index", "find-links", "package", "environments"}

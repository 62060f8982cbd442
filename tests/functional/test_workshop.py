"""The workshop is opened once for any number of plugins; no Python of this machine decides for the target."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from difyoff.cli.commands import build as build_command
from difyoff.difypkg.target import TARGETS, Target
from difyoff.repack import workshop as workshop_module
from difyoff.repack.workshop import open_workshop
from difyoff.sandbox.process import Command, run
from difyoff.uvrun.environment import read_index_settings
from kit.cli import difyoff
from kit.index import Index
from kit.locks import write_lock
from kit.plugins import PYPROJECT, write_plugin
from kit.uvs import python312


@pytest.fixture
def two(index: Index, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two plugins with fresh locks."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    first = write_plugin(tmp_path / "first", name="first")
    second = write_plugin(tmp_path / "second", name="second")
    for plugin in (first, second):
        write_lock(plugin, index, uv_cache)
    return first, second


def test_two_plugins_are_built_in_one_workshop(
    two: tuple[Path, Path], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: dict[str, int] = {}

    def counted(module: object, name: str) -> None:
        function: Callable[..., object] = getattr(module, name)

        def count(*arguments: object, **named: object) -> object:
            calls[name] = calls.get(name, 0) + 1
            return function(*arguments, **named)

        monkeypatch.setattr(module, name, count)

    counted(build_command, "open_workshop")
    for name in ("provide_uv", "find_python", "Client", "WheelStore"):
        counted(workshop_module, name)
    counted(tempfile, "TemporaryDirectory")

    result = CliRunner().invoke(build_command.command, [*map(str, two), "-o", str(tmp_path / "out")])

    assert result.exit_code == 0 or result.return_value == 0, result.output
    assert len(list((tmp_path / "out").glob("*.difypkg"))) == 2
    assert set(calls.values()) == {1}, calls


def test_what_is_not_needed_is_not_looked_for(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with open_workshop(version="0", index=read_index_settings({}), cache=cache):
        pass
    assert not [entry for entry in cache.glob("*") if entry.name not in ("CACHEDIR.TAG", "lock")]


def test_the_scratch_folder_goes_with_the_workshop(cache: Path) -> None:
    with open_workshop(version="0", index=read_index_settings({}), cache=cache) as workshop:
        folder = workshop.folder("work")
        assert folder.is_dir()
    assert not folder.exists()
    assert not list(cache.glob("build-*"))


@pytest.mark.parametrize("python", ["3.12.0", "3.12.3", "3.12.9", "3.12.99"])
def test_uv_takes_the_interpreter_for_the_targets(python: str, cache: Path, tmp_path: Path) -> None:
    target = Target(architecture="amd64", python=python)
    with open_workshop(version="0", index=read_index_settings({}), cache=cache) as workshop:
        interpreter = workshop.python(target, f"=={python}")
        environment = {"PATH": "", "HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "uv"), "UV_NO_CONFIG": "1"}
        argv = (str(workshop.uv.path), "python", "find", "--show-version", "--no-project", str(interpreter))
        outcome = run(Command(argv=argv, environment=environment, cwd=tmp_path))
        assert outcome.ok, outcome.stderr
        assert outcome.stdout.split()[0] == python
        assert workshop.python(target, f"=={python}") == interpreter
        assert workshop.python(target, ">=3.12") == workshop.python(TARGETS["amd64"])


def _host() -> str:
    found = python312()
    if found is None:
        pytest.skip("no CPython 3.12 on this machine")
    probe = (str(found), "-I", "-c", "import platform; print(platform.python_version())")
    return run(Command(argv=probe, environment={})).stdout.strip()


@pytest.mark.parametrize("locked", [False, True], ids=["no lock", "lock"])
@pytest.mark.parametrize("form", ["at least", "exactly"])
def test_a_requires_python_that_the_target_fits_and_this_machine_does_not(
    form: str, locked: bool, index: Index, uv_cache: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    micro = int(_host().split(".")[2])
    if micro == 3 and form == "exactly":
        pytest.skip("this machine's Python is the target's")
    requires = f">3.12.{micro},<=3.12.3" if form == "at least" and micro < 3 else "==3.12.3"
    pyproject = PYPROJECT.replace('">=3.12"', f'"{requires}"')
    plugin = write_plugin(tmp_path / "tiny", pyproject=pyproject)
    if locked:
        monkeypatch.setenv("DIFYOFF_CACHE_DIR", str(cache))
        with open_workshop(version="0", index=read_index_settings({}), cache=cache) as workshop:
            python = workshop.python(TARGETS["amd64"], requires)
            settings = read_index_settings({"UV_DEFAULT_INDEX": index.url})
            outcome = workshop.resolving("lock", "--python", str(python), cwd=plugin, index=settings)
            assert outcome.ok, outcome.stderr

    built = difyoff("build", plugin, "--json", "-o", tmp_path / "out", cwd=tmp_path)

    assert built.code == 0, built.stderr
    findings = {finding["slug"] for finding in built.result["findings"]}
    assert "resolved-now" in findings or locked
    assert "stale-lock" not in findings


def test_the_python_of_a_target_file_decides(
    index: Index, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    file = tmp_path / "site.json"
    file.write_text(
        '{"format": "difyoff-target", "schema_version": 1, "architecture": "amd64", "python": "3.12.9",'
        ' "glibc": [2, 41]}'
    )
    plugin = write_plugin(tmp_path / "tiny", pyproject=PYPROJECT.replace('">=3.12"', '">=3.12.8"'))

    for_site = difyoff("build", plugin, "--target", file, "--json", "-o", tmp_path / "out", cwd=tmp_path)
    for_image = difyoff("build", plugin, "--json", "-o", tmp_path / "out", cwd=tmp_path)

    assert for_site.code == 0, for_site.stderr
    assert for_site.result["targets"] == [{"architecture": "amd64", "python": "3.12.9", "glibc": "2.41"}]
    assert for_image.code == 4
    assert for_image.result["diagnosis"]["slug"] == "python-excluded"

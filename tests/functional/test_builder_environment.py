"""Whoever builds, from wherever: what surrounds the builder must not change one byte of the package."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.cli import difyoff
from kit.index import Index
from kit.locks import write_lock
from kit.plugins import PYPROJECT, write_plugin

Disguise = Callable[[Path], dict[str, str]]
"""Sets the scene in a folder that holds the plugin's parent and the home, and returns environment variables."""


def _variables(**values: str) -> Disguise:
    return lambda _: values


def _user_configuration(scene: Path) -> dict[str, str]:
    _write(
        scene / "home/.config/uv/uv.toml",
        'exclude-newer = "2020-01-01T00:00:00Z"\nprerelease = "allow"\nresolution = "lowest"\n'
        'link-mode = "symlink"\nno-binary = true\noffline = true\n[pip]\nuniversal = false\nno-deps = true\n',
    )
    return {}


def _system_configuration(scene: Path) -> dict[str, str]:
    _write(scene / "etc/uv/uv.toml", 'exclude-newer = "2020-01-01T00:00:00Z"\nresolution = "lowest"\n')
    return {"XDG_CONFIG_DIRS": str(scene / "etc")}


def _workspace_above(scene: Path) -> dict[str, str]:
    _write(
        scene / "pyproject.toml",
        '[project]\nname = "above"\nversion = "1"\nrequires-python = ">=3.13"\ndependencies = ["absent>=7"]\n'
        '[tool.uv]\nno-build = true\nconstraint-dependencies = ["sixfold<1"]\n[tool.uv.workspace]\nmembers = ["**"]\n',
    )
    _write(scene / ".python-version", "3.9\n")
    return {}


def _configuration_above(scene: Path) -> dict[str, str]:
    _write(scene / "uv.toml", 'exclude-newer = "2020-01-01T00:00:00Z"\nresolution = "lowest"\nno-index = true\n')
    return {}


def _refusing_shims(scene: Path) -> dict[str, str]:
    for name in ("python", "python3", "python3.12"):
        shim = scene / "shims" / name
        _write(shim, '#!/bin/sh\necho "pyenv: $0: command not found" >&2\nexit 127\n')
        shim.chmod(0o755)
    return {"PATH": os.pathsep.join([str(scene / "shims"), os.environ["PATH"]])}


def _active_environment(scene: Path) -> dict[str, str]:
    _write(scene / "venv/pyvenv.cfg", "home = /nowhere\nversion = 3.9.0\n")
    return {"VIRTUAL_ENV": str(scene / "venv"), "CONDA_PREFIX": str(scene / "venv"), "PYTHONPATH": str(scene)}


DISGUISES: dict[str, Disguise] = {
    "exclude-newer": _variables(UV_EXCLUDE_NEWER="2020-01-01T00:00:00Z"),
    "prerelease": _variables(UV_PRERELEASE="allow"),
    "resolution": _variables(UV_RESOLUTION="lowest", UV_FORK_STRATEGY="fewest"),
    "project": _variables(UV_PROJECT="/nowhere", UV_WORKING_DIR="/nowhere", UV_PROJECT_ENVIRONMENT="/nowhere"),
    "python": _variables(UV_PYTHON="3.9", UV_PYTHON_PREFERENCE="only-managed", UV_MANAGED_PYTHON="1"),
    "files": _variables(UV_CONSTRAINT="/nowhere", UV_OVERRIDE="/nowhere", UV_ENV_FILE="/nowhere", UV_NO_ENV_FILE="1"),
    "groups": _variables(UV_NO_DEV="0", UV_DEV="1", UV_NO_GROUP="dev", UV_NO_DEFAULT_GROUPS="1"),
    "formats": _variables(UV_NO_BINARY="1", UV_NO_SOURCES="1", UV_NO_BUILD_ISOLATION="1", UV_LINK_MODE="symlink"),
    "frozen": _variables(UV_FROZEN="1", UV_LOCKED="1", UV_OFFLINE="1", UV_NO_CACHE="1"),
    "pip": _variables(PIP_NO_INDEX="1", PIP_REQUIRE_HASHES="1", PIP_TARGET="/nowhere", PIP_FIND_LINKS="/nowhere"),
    "active-environment": _active_environment,
    "user-configuration": _user_configuration,
    "system-configuration": _system_configuration,
    "workspace-above": _workspace_above,
    "configuration-above": _configuration_above,
    "refusing-shims": _refusing_shims,
}

# Followed pin for pin, resolved anew, and requirements alone: three ways through uv.
FORMS = ("lock", "pyproject", "requirements")


@pytest.fixture
def build(
    index: Index, uv_cache: Path, new_cache: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Disguise, str], bytes]:
    """Build a form of one plugin in a scene of its own and return the package's bytes."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)

    def make(form: str, disguise: Disguise, name: str) -> bytes:
        scene = tmp_path / name
        plugin = _plugin(scene / "plugins" / "tiny", form, index, uv_cache)
        (scene / "home").mkdir()
        environment = {
            "HOME": str(scene / "home"),
            "XDG_CONFIG_HOME": str(scene / "home/.config"),
            "DIFYOFF_CACHE_DIR": str(new_cache()),
        }
        run = difyoff("build", plugin, "-o", scene / "out", cwd=scene / "plugins", env=environment | disguise(scene))
        assert run.code == 0, run.stderr
        (package,) = (scene / "out").glob("*.difypkg")
        return package.read_bytes()

    return make


@pytest.fixture(scope="module")
def plain() -> dict[str, bytes]:
    """The package of each form as it is built with no disguise, once it has been."""
    return {}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("disguise", DISGUISES)
def test_gives_the_same_bytes_in_every_disguise(
    form: str, disguise: str, build: Callable[[str, Disguise, str], bytes], plain: dict[str, bytes]
) -> None:
    if form not in plain:
        plain[form] = build(form, _variables(), "plain")
    assert build(form, DISGUISES[disguise], "disguised") == plain[form]


def _plugin(folder: Path, form: str, index: Index, uv_cache: Path) -> Path:
    dependencies = ("dify_plugin>=0.9.0", "sixfold>=1", "wikipedia")
    if form == "requirements":
        return write_plugin(folder, pyproject=None, requirements="\n".join(dependencies) + "\n")
    lines = "".join(f'    "{line}",\n' for line in dependencies)
    write_plugin(folder, pyproject=PYPROJECT.replace('    "dify_plugin>=0.9.0",\n', lines))
    if form == "lock":
        write_lock(folder, index, uv_cache)
    return folder


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")

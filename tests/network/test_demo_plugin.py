"""The demonstration plugin on the real SDK, built through this machine's own index configuration."""

import shutil
import zipfile
from pathlib import Path

import pytest

from kit.cli import difyoff
from kit.daemon import HOST, PIP_COMMANDS, SYNC_COMMANDS, install, starts

DEMO = Path(__file__).parents[2] / "fixtures" / "iso_calendar"


@pytest.fixture(scope="module")
def package(lock_uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration plugin, built for this machine."""
    folder = tmp_path_factory.mktemp("demo")
    plugin = shutil.copytree(DEMO, folder / "iso_calendar")
    run = difyoff("build", plugin, "--arch", HOST, "--json", "-o", folder / "out", cwd=folder)
    assert run.code == 0, run.stderr
    return Path(run.result["package"]["path"])


@pytest.mark.parametrize("command", [*SYNC_COMMANDS, *PIP_COMMANDS], ids=" ".join)
def test_installs_and_starts_without_a_network(
    command: tuple[str, ...], package: Path, lock_uv: Path, tmp_path: Path
) -> None:
    done = install(package, tmp_path, command, uv=lock_uv)
    assert done.returncode == 0, done.stderr
    assert starts(tmp_path / "plugin")


def test_bundles_nothing_for_windows_and_nothing_for_development(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        wheels = [name for name in archive.namelist() if name.startswith("wheels/")]
    names = {name.removeprefix("wheels/").partition("-")[0].lower() for name in wheels}
    assert {"dify_plugin", "python_dateutil", "tzdata"} <= names
    assert not {"colorama", "cffi", "pytest", "ruff"} & names

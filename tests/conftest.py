"""What every test stands on: an environment of its own, the uv releases of this machine, and an index on loopback."""

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import platformdirs
import pytest
import uv

from difyoff.sandbox.signals import handle_signals
from difyoff.uvrun.environment import read_index_settings
from difyoff.uvrun.uv import LOCK_UV, provide_uv
from kit.daemon import network_cut
from kit.index import Index, serve
from kit.packages import standard_set
from kit.uvs import python312

# Only `tox -e browser` brings what drives a browser; elsewhere these tests cannot even be read.
collect_ignore = [] if find_spec("playwright") or os.environ.get("DIFYOFF_TEST_BROWSER") == "required" else ["browser"]
_FOLDER_MARKS = {"network": pytest.mark.network, "docker": pytest.mark.docker, "browser": pytest.mark.browser}
_FOREIGN = ("UV_", "PIP_", "DIFYOFF_", "XDG_", "GIT_")
_FOREIGN_NAMES = frozenset(
    {"NETRC", "NO_COLOR", "FORCE_COLOR", "CI", "VIRTUAL_ENV", "PYTHONPATH", "SOURCE_DATE_EPOCH", "CC", "CFLAGS"}
    | {f"{scheme}_proxy" for scheme in ("http", "https", "all", "no")}
    | {f"{scheme}_PROXY" for scheme in ("HTTP", "HTTPS", "ALL", "NO")}
)
_OUTER = dict(os.environ)

handle_signals()  # what this run was told to ignore (`nohup`), the programs that tests start do not

hypothesis.settings.register_profile(  # a busy machine must not fail a test
    "difyoff", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("difyoff")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what is seen into fixtures/plugins/*/expected.json"
    )


def pytest_report_header() -> list[str]:
    return [
        f"uv: {uv.find_uv_bin()}, locks by {LOCK_UV}",
        f"CPython 3.12: {python312() or 'none on this machine'}",
        f"installs without a network: {' '.join(network_cut()) or 'by a proxy that is not there'}",
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the folder decide the marker."""
    root = Path(__file__).parent
    for item in items:
        mark = _FOLDER_MARKS.get(item.path.relative_to(root).parts[0]) if item.path.is_relative_to(root) else None
        if mark is not None:
            item.add_marker(mark)


@pytest.fixture(autouse=True)
def _own_environment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test an empty home and nothing of its user's configuration.

    A network test keeps the user's, for that is how the index is reached, but has a cache of its own.
    """
    if request.node.get_closest_marker("network") is None:
        for name in _OUTER:
            if name.startswith(_FOREIGN) or name in _FOREIGN_NAMES:
                monkeypatch.delenv(name, raising=False)
        home = tmp_path / "home"
        home.mkdir()
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        monkeypatch.setenv("XDG_CONFIG_DIRS", str(home / "etc"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
        monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local" / "share"))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
        if python := python312():  # else one that lies under the real home would be lost
            monkeypatch.setenv("PATH", os.pathsep.join([_OUTER.get("PATH", os.defpath), str(python.parent)]))
    monkeypatch.setenv("DIFYOFF_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def lock_uv() -> Path:
    """The uv that writes our locks, in the cache of this machine's user: fetched once, the outer way."""
    cache = Path(_OUTER.get("DIFYOFF_CACHE_DIR") or platformdirs.user_cache_path("difyoff"))
    return provide_uv(LOCK_UV, cache=cache, settings=read_index_settings(_OUTER)).path


@pytest.fixture
def cache(lock_uv: Path, new_cache: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that the command line uses, but for the uv releases, which all tests share."""
    folder = new_cache()
    monkeypatch.setenv("DIFYOFF_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def new_cache(lock_uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Make one more empty cache that knows the uv releases."""

    def make() -> Path:
        folder = tmp_path_factory.mktemp("cache")
        release = folder / "uv" / LOCK_UV
        release.parent.mkdir()
        release.symlink_to(lock_uv.parent.parent, target_is_directory=True)
        return folder

    return make


@pytest.fixture(scope="session")
def index() -> Iterator[Index]:
    """The standard index on loopback, the same packages for every test."""
    with serve(standard_set()) as standard:
        yield standard


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for the uv that prepares tests, apart from any that is tested."""
    return tmp_path_factory.mktemp("uv-cache")

"""Images and packages that these tests share."""

from pathlib import Path

import pytest

from kit import engine
from kit.broken import build_good
from kit.index import Index

_DOUBLE = Path(__file__).parents[1] / "daemon_image" / "commandline.py"


@pytest.fixture(scope="session")
def daemon_image() -> str:
    """The image of 0.6.10: the real one where `DIFYOFF_DAEMON_IMAGE` names it, else the stand-in."""
    return engine.image("0.6.10")


@pytest.fixture(scope="session")
def image_with_double() -> str:
    """The stand-in with a double of `/app/commandline`."""
    return engine.image("0.6.10", commandline=_DOUBLE, variant="double")


@pytest.fixture(scope="session")
def good(index: Index, lock_uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good offline package for this machine."""
    engine.need_engine()
    return build_good(tmp_path_factory.mktemp("good"), index, lock_uv)

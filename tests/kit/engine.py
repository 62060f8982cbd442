"""The Docker engine and the images that tests run in; without an engine a test is skipped, or fails where one must be.

`DIFYOFF_TEST_ENGINE=required` (CI) lets nothing be skipped. `DIFYOFF_DAEMON_IMAGE` names a real image of the daemon to
run in, instead of the stand-in that is made here.
"""

import contextlib
import fcntl
import gc
import os
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NoReturn

import docker
import platformdirs
import pytest
from docker.errors import DockerException

from daemon_image.stand_in import stand_in
from difyoff.uvrun.environment import read_index_settings

REQUIRED = os.environ.get("DIFYOFF_TEST_ENGINE") == "required"
REAL_IMAGE = os.environ.get("DIFYOFF_DAEMON_IMAGE")
_CACHE = Path(os.environ.get("DIFYOFF_CACHE_DIR") or platformdirs.user_cache_path("difyoff"))
_INDEX = read_index_settings(dict(os.environ))  # the user's own, before a test takes it away


@cache
def obstacle() -> str | None:
    """Return why there is no engine, None where one answers."""
    reason = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # docker-py forgets the socket that did not answer
        try:
            with contextlib.closing(docker.from_env(timeout=10)) as client:
                client.ping()
        except DockerException as error:
            reason = f"no Docker engine: {error}"
        gc.collect()
    return reason


def need_engine() -> None:
    """Skip the test, with the reason, where no engine answers; fail it where one is required."""
    if reason := obstacle():
        _give_up(reason)


def image(release: str, *, commandline: Path | None = None, variant: str = "") -> str:
    """Return an image of a daemon release, made if it is not there; one process makes it, the others wait.

    Of the real image, where one is named, there is no variant.
    """
    need_engine()
    if REAL_IMAGE and commandline is None:
        return REAL_IMAGE
    with _alone(_CACHE / "stand-in.lock"):
        try:
            return stand_in(release, cache=_CACHE, index=_INDEX, commandline=commandline, variant=variant)
        except RuntimeError as error:
            _give_up(str(error))


@contextlib.contextmanager
def engine() -> Iterator[docker.DockerClient]:
    """Connect to the engine, to see from outside what difyoff does with it."""
    with contextlib.closing(docker.from_env(timeout=60)) as client:
        yield client


def _give_up(reason: str) -> NoReturn:
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

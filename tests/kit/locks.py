"""Lock files made as a test runs, by the real uv from an index: a lock names its index, so none can be kept."""

from collections.abc import Iterable
from pathlib import Path

from kit.index import Index
from kit.uvs import run_uv


def write_lock(
    folder: Path, index: Index, cache_dir: Path, *, pyproject: str | None = None, constraints: Iterable[str] = ()
) -> Path:
    """Lock the project in `folder` against the index and return `uv.lock`.

    `pyproject` is locked in the place of the folder's own file, which makes the lock stale, or one without a project.
    `constraints` (`name==version`) pin older versions than the index's newest; the lock is fresh all the same.
    """
    project = folder / "pyproject.toml"
    own = project.read_bytes() if project.is_file() else None
    if pyproject is not None:
        project.write_text(pyproject, encoding="utf-8")
    env = {"UV_DEFAULT_INDEX": index.url_with_login}
    pins = [f"--upgrade-package={constraint}" for constraint in constraints]
    run_uv(["lock", "--quiet", *pins], cwd=folder, cache_dir=cache_dir, env=env)
    if own is not None:
        project.write_bytes(own)
    elif project.is_file():
        project.unlink()
    return folder / "uv.lock"

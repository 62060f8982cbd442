"""Offline packages for the verifier's tests: a tiny plugin built by our own command line from the index on loopback."""

from pathlib import Path
from typing import Any

from kit.cli import difyoff
from kit.index import Index
from kit.locks import write_lock
from kit.plugins import write_plugin


def build_offline(
    folder: Path, index: Index, *, cache: Path, uv_cache: Path, arch: str = "amd64", **plugin: Any
) -> Path:
    """Write a plugin below `folder`, lock it, and return its offline package; `plugin` goes to `write_plugin`."""
    source = write_plugin(folder / "tiny", **plugin)
    write_lock(source, index, uv_cache)
    environment = {"DIFYOFF_CACHE_DIR": str(cache), "UV_DEFAULT_INDEX": index.url}
    run = difyoff("build", source, "-o", folder / "out", "--arch", arch, cwd=folder, env=environment)
    assert run.code == 0, run.stderr
    (package,) = (folder / "out").glob("*.difypkg")
    return package

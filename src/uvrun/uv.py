"""Find uv, and fetch a given release of it once."""

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError, not_in_store
from ..difypkg.redaction import redact
from ..sandbox.process import Command, run
from .environment import IndexSettings, resolving

LOCK_UV: Final = "0.9.26"
"""The release that writes our locks, whatever is installed: different releases write different locks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uv:
    """A uv program and its version, `0.9.26`."""

    path: Path
    version: str


@cache
def installed_uv() -> Uv | None:
    """Return the uv that came with us as a dependency, else the first on `PATH` that answers, else None."""
    candidates = (*_bundled_uv(), *(Path(folder, "uv") for folder in os.get_exec_path()))
    return next(filter(None, map(_ask, candidates)), None)


def provide_uv(
    version: str, *, cache: Path, settings: IndexSettings, on_fetch: Callable[[str], None] = lambda _: None
) -> Uv:
    """Return the given release of uv, fetched into `cache` by the installed one the first time.

    `on_fetch` is told the version before anything is fetched. A release that is in the cache costs no subprocess.
    Raises `DifyoffError`: `uv-not-found` when no uv is installed, `uv-not-available` where it cannot be fetched.
    """
    uv = Uv(path=cache / "uv" / version / "bin" / "uv", version=version)
    if uv.path.is_file():
        return uv
    installed = installed_uv()
    if installed is None:
        raise DifyoffError(
            Diagnosis(
                slug="uv-not-found",
                message="uv is not installed on this machine",
                hint=f"Install it: `{sys.executable} -m pip install uv`.",
            )
        )
    if installed.version == version:
        return installed
    if settings.offline:
        raise not_in_store((f"uv {version}",))
    on_fetch(version)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".uv-") as scratch:
        fetched = Path(scratch, "uv")
        environment, arguments = resolving(settings, home=Path(scratch, "home"), cache=cache / "uv-cache")
        outcome = run(
            Command(
                argv=(
                    *(str(installed.path), "pip", "install", *arguments, "--python", sys.executable),
                    *("--target", str(fetched), "--no-deps", "--only-binary", ":all:", "--link-mode", "copy"),
                    f"uv=={version}",
                ),
                environment=environment,
                cwd=Path(scratch),
                timeout=600,
            )
        )
        if not outcome.ok:
            raise DifyoffError(
                Diagnosis(
                    slug="uv-not-available",
                    message=f"uv {version} could not be fetched",
                    context=tuple(redact(outcome.stderr).strip().splitlines()),
                    hint=f"Run once where a package index that has uv {version} can be reached.",
                )
            )
        uv.path.parent.mkdir(parents=True, exist_ok=True)
        (fetched / "bin" / "uv").replace(uv.path)  # atomic: of two processes the later wins, with the same file
    return uv


def _bundled_uv() -> Iterator[Path]:
    with suppress(ImportError, FileNotFoundError):
        from uv import find_uv_bin

        yield Path(find_uv_bin())


def _ask(path: Path) -> Uv | None:
    """Return the uv at a path; None when there is none or it does not answer."""
    with suppress(DifyoffError):
        outcome = run(Command(argv=(str(path), "--version"), environment={}, timeout=10))
        match = re.match(r"uv (\S+)", outcome.stdout)
        if outcome.ok and match:
            return Uv(path=path, version=match[1])
    return None

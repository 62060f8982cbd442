"""Find uv, and fetch a given release of it once."""

import base64
import csv
import hashlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError, not_in_store
from ..difypkg.redaction import redact
from ..sandbox.cache import open_scratch
from ..sandbox.process import Command, Outcome, run
from .environment import IndexSettings, resolving

LOCK_UV: Final = "0.9.26"
"""The release that writes our locks, whatever is installed: different releases write different locks."""

_MORE_MEMORY: Final = "Run it again with more memory: see `ulimit -a` and the limits of the container."
_MACHINE_FAULTS: Final = (
    (
        r"No space left on device.*|Disk quota exceeded.*",
        "disk-full",
        "a disk is full",
        "Make room (`difyoff cache gc`), or choose folders on another disk: `--cache-dir`, TMPDIR.",
    ),
    (
        r"memory allocation of \d+ bytes failed|Cannot allocate memory.*|failed to map segment from shared object",
        "out-of-memory",
        "this machine gives it too little memory",
        _MORE_MEMORY,
    ),
    (
        r"Resource temporarily unavailable.*|Too many open files.*|kind: WouldBlock.*",
        "out-of-memory",
        "this machine gives it too few processes or open files",
        _MORE_MEMORY,
    ),
)


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
    """Return the given release of uv: the one in `cache`, the installed one, or else one fetched into `cache`.

    `on_fetch` is told the version before anything is fetched. Raises `DifyoffError` as `fetch_uv` does.
    """
    found = _find_cached(version, cache)
    if found is None:
        installed = _need_installed()
        if installed.version == version:
            return installed
        if settings.offline:
            raise not_in_store((f"uv {version}",))
        on_fetch(version)
        found = fetch_uv(version, cache=cache, settings=settings)
    return found


def fetch_uv(version: str, *, cache: Path, settings: IndexSettings, wheels: Path | None = None) -> Uv:
    """Fetch a release of uv into `cache`, where it is not there yet, by the installed one.

    It comes from where this machine gets its packages: the index that was named for plugins need not have it. `wheels`
    is a folder of wheels to take it from instead. Raises `DifyoffError`: `uv-not-found` when no uv is installed,
    `uv-not-available` when the release cannot be fetched, and what `sandbox.cache.open_scratch` raises.
    """
    if found := _find_cached(version, cache):
        return found
    installed = _need_installed()
    words: list[str] = []
    with open_scratch(cache, "uv") as scratch:
        for number, source in enumerate(_sources(settings, wheels)):
            folder = scratch / str(number)
            environment, arguments = resolving(source, home=scratch / f"home{number}", cache=cache / "uv-cache")
            local = () if wheels is None else ("--no-index", "--find-links", str(wheels.absolute()))
            outcome = run(
                Command(
                    argv=(
                        *(str(installed.path), "pip", "install", *arguments, *local, "--python", sys.executable),
                        *("--target", str(folder), "--no-deps", "--only-binary", ":all:", "--link-mode", "copy"),
                        f"uv=={version}",
                    ),
                    environment=environment,
                    cwd=scratch,
                    timeout=600,
                )
            )
            if fault := explain_machine_fault(outcome):
                raise DifyoffError(fault)
            if outcome.ok and (found := _keep(folder, version, cache)):
                return found
            words += redact(outcome.stderr).strip().splitlines()
    raise DifyoffError(
        Diagnosis(
            slug="uv-not-available",
            message=f"uv {version} could not be fetched",
            context=tuple(words),
            hint=f"Run once where a package index that has uv {version} can be reached, or fill the cache:"
            " `difyoff cache fill --help`.",
        )
    )


def explain_machine_fault(outcome: Outcome) -> Diagnosis | None:
    """Return why a run of uv says nothing about what it worked on: killed, without memory or disk. Else None."""
    if outcome.ok or outcome.stopped:
        return None
    for words, slug, what, hint in _MACHINE_FAULTS:
        if match := re.search(words, outcome.stderr):
            return Diagnosis(slug=slug, message=f"uv failed because {what}", context=(match[0],), hint=hint)
    if outcome.code < 0:
        name = signal.Signals(-outcome.code).name if -outcome.code in set(signal.Signals) else f"signal {-outcome.code}"
        return Diagnosis(
            slug="program-killed",
            message=f"uv was ended by {name}, so nothing is known of what it worked on",
            context=tuple(outcome.stderr.strip().splitlines()[-3:]),
            hint="Run it again with more memory; the kernel's log (`dmesg`) says whether there was too little.",
        )
    return None


def _sources(settings: IndexSettings, wheels: Path | None) -> tuple[IndexSettings, ...]:
    """Return the settings to try in turn: first what this machine is configured with, where it is."""
    if wheels is not None:
        return (IndexSettings(config={}, environment={}),)
    if settings.own is None:
        return (settings,)
    return (settings.own, settings) if settings.own.configured else (settings, settings.own)


def _need_installed() -> Uv:
    installed = installed_uv()
    if installed is None:
        raise DifyoffError(
            Diagnosis(
                slug="uv-not-found",
                message="uv is not installed on this machine",
                hint=f"Install it: `{sys.executable} -m pip install uv`.",
            )
        )
    return installed


def _find_cached(version: str, cache: Path) -> Uv | None:
    """Return the release that the cache has, once its content is seen to be what was fetched; remove any other."""
    for path in (cache / "uv" / version).glob("?" * 64 + "/uv"):
        if _hash(path) == path.parent.name:
            with suppress(OSError):
                os.utime(path.parent)
            return Uv(path=path, version=version)
        with suppress(OSError):
            path.unlink()
    return None


def _keep(folder: Path, version: str, cache: Path) -> Uv | None:
    """Move what was installed in a folder into the cache below its SHA-256; None where its wheel says another."""
    fetched = folder / "bin" / "uv"
    digest = _hash(fetched)
    if digest is None or digest != _recorded(folder, version, "bin/uv"):
        return None
    path = cache / "uv" / version / digest / "uv"
    path.parent.mkdir(parents=True, exist_ok=True)
    fetched.replace(path)  # atomic: of two processes the later wins, with the same file
    return Uv(path=path, version=version)


def _recorded(folder: Path, version: str, name: str) -> str | None:
    """Return the SHA-256 that the wheel's RECORD has for a file (hexadecimal)."""
    with suppress(OSError, ValueError), (folder / f"uv-{version}.dist-info" / "RECORD").open(newline="") as record:
        for path, value, _ in csv.reader(record):
            if path == name:
                return base64.urlsafe_b64decode(value.removeprefix("sha256=") + "=").hex()
    return None


def _hash(path: Path) -> str | None:
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return None


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

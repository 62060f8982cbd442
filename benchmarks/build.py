"""Compare `difyoff build` with `uv sync` (the floor) and `pip download` of the same pins, interleaved; print ratios.

    python benchmarks/build.py PLUGIN [--rounds 5]

PLUGIN is a folder with a fresh uv.lock. Cold means an empty wheel store, and an empty cache for uv and pip; the uv
releases that difyoff uses are there already. Needs the package index and CPython 3.12.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from difyoff.uvrun.environment import read_index_settings
from difyoff.uvrun.interpreters import find_python
from difyoff.uvrun.uv import LOCK_UV, provide_uv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plugin", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    python = find_python((3, 12))
    if python is None:
        sys.exit("no CPython 3.12")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        caches = work / "caches"
        uv = provide_uv(LOCK_UV, cache=caches, settings=read_index_settings(os.environ)).path
        pins = work / "pins.txt"
        export = (str(uv), "export", "--frozen", "--no-dev", "--no-emit-project", "--format", "requirements-txt")
        measure([*export, "--python", str(python.path), "-q", "-o", str(pins)], arguments.plugin)
        difyoff = [sys.executable, "-m", "difyoff", "build", str(arguments.plugin.resolve()), "-q", "--force"]
        difyoff += ["--cache-dir", str(caches), "-o", str(work / "out")]
        seconds: dict[str, list[float]] = {}
        peak = 0
        for _ in range(arguments.rounds):
            for name, argv in {
                "uv sync, cold": [str(uv), "sync", "--frozen", "--no-dev", "-q", "--python", str(python.path)],
                "difyoff build, cold": difyoff,
                "difyoff build, warm": difyoff,
                "pip download": [sys.executable, "-m", "pip", "download", "-q", "--no-cache-dir", "--no-deps", "-r"]
                + [str(pins), "-d", str(work / "pip"), "--python-version", "3.12", "--only-binary", ":all:"]
                + [word for tag in platforms() for word in ("--platform", tag)],
            }.items():
                if name.endswith("cold"):
                    shutil.rmtree(caches / "wheels", ignore_errors=True)
                shutil.rmtree(work / "pip", ignore_errors=True)
                spent, used = measure(argv, arguments.plugin, uv_cache=work / "uv-cold")
                shutil.rmtree(work / "uv-cold", ignore_errors=True)
                seconds.setdefault(name, []).append(spent)
                peak = max(peak, used if name.startswith("difyoff") else 0)
    report(seconds, peak)


def platforms() -> Sequence[str]:
    machine = os.uname().machine
    return [f"manylinux_2_{minor}_{machine}" for minor in range(39, 4, -1)] + [f"manylinux2014_{machine}"]


def measure(argv: Sequence[str], plugin: Path, *, uv_cache: Path | None = None) -> tuple[float, int]:
    """Run a command in a copy of the plugin; return its seconds and peak memory in bytes."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    if uv_cache is not None:
        environment["UV_CACHE_DIR"] = str(uv_cache)
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(plugin, copy, dirs_exist_ok=True, symlinks=True)
        started = time.perf_counter()
        process = _spawn(argv, environment, copy)
        _, status, usage = os.wait4(process, 0)
        spent = time.perf_counter() - started
    if status != 0:
        sys.exit(f"failed: {' '.join(argv)}")
    return spent, usage.ru_maxrss * 1024


def _spawn(argv: Sequence[str], environment: dict[str, str], cwd: str) -> int:
    process = os.fork()
    if process == 0:
        os.chdir(cwd)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.execve(argv[0], list(argv), environment)
    return process


def report(seconds: dict[str, list[float]], peak: int) -> None:
    floor = seconds["uv sync, cold"]
    for name, each in seconds.items():
        ratios = [one / base for one, base in zip(each, floor, strict=True)]
        print(f"{name:<20} {statistics.median(each):6.2f} s   {statistics.median(ratios):5.2f} x the floor")
    faster = [pip / ours for pip, ours in zip(seconds["pip download"], seconds["difyoff build, cold"], strict=True)]
    print(f"build, cold, is {statistics.median(faster):.1f} x faster than pip download")
    print(f"peak memory of build, its children included: {peak / (1 << 20):.0f} MiB")


if __name__ == "__main__":
    main()

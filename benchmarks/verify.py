"""Compare `difyoff verify` with what uv and the plugin's own start take by themselves, interleaved; print ratios.

    python benchmarks/verify.py PACKAGE [--rounds 5] [--docker IMAGE]

PACKAGE is an offline package for this machine. Needs CPython 3.12, and an engine for --docker.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from difyoff.difypkg.daemons import newest
from difyoff.uvrun.environment import read_index_settings
from difyoff.uvrun.interpreters import find_python
from difyoff.uvrun.uv import provide_uv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--docker", metavar="IMAGE")
    arguments = parser.parse_args()
    release = newest()
    python = find_python((3, 12))
    if python is None or release.uv is None:
        sys.exit("no CPython 3.12")
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        uv = provide_uv(release.uv, cache=cache, settings=read_index_settings(os.environ)).path
        verify = [sys.executable, "-m", "difyoff", "verify", str(arguments.package), "--json", "-q"]
        verify += ["--cache-dir", str(cache)]
        subprocess.run(verify, capture_output=True, check=False)  # fetches the releases of uv, once
        rounds = []
        for _ in range(arguments.rounds):
            once = {"bare": bare(arguments.package, uv, python.path)}
            once["one scenario"], _ = timed([*verify, "--daemon", str(release)])
            total, starts = timed(verify)
            once["every branch, without the start"] = total - starts
            if arguments.docker:
                once["docker"], _ = timed([*verify, "--backend", "docker", "--image", arguments.docker])
            rounds.append(once)
    print(f"{'uv and the start alone':<32} {statistics.median(each['bare'] for each in rounds):6.2f} s")
    for name in [name for name in rounds[0] if name != "bare"]:
        seconds = statistics.median(each[name] for each in rounds)
        ratio = statistics.median(each[name] / each["bare"] for each in rounds)
        print(f"{name:<32} {seconds:6.2f} s   {ratio:5.2f} x")
    added = statistics.median(each["one scenario"] - each["bare"] for each in rounds)
    print(f"one scenario adds {added:.2f} s")
    if arguments.docker:
        ratio = statistics.median(each["docker"] / each["one scenario"] for each in rounds)
        print(f"docker takes {ratio:.2f} x the local scenario")


def bare(package: Path, uv: Path, python: Path) -> float:
    """Install and start a package by hand, as the newest daemon does; return the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(package) as archive:
            archive.extractall(folder)
        environment = {"PATH": f"{python.parent}:/usr/bin:/bin", "UV_CACHE_DIR": f"{folder}/.uv-cache", "HOME": folder}
        started = time.perf_counter()
        for words in (["venv", ".venv", "--python", "3.12", "-q"], ["sync", "--no-dev", "--frozen", "-q"]):
            subprocess.run([str(uv), *words], cwd=folder, env=environment, check=True)
        subprocess.run(
            [".venv/bin/python", "-m", "compileall", "-q", "-x", r"\.venv|\.uv-cache", "."], cwd=folder, check=False
        )
        plugin = subprocess.Popen(
            [".venv/bin/python", "-m", "main"],
            cwd=folder,
            env=environment | {"INSTALL_METHOD": "local"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert plugin.stdout is not None
        if not any(b'"heartbeat"' in line for line in plugin.stdout):
            sys.exit("the plugin does not start")
        spent = time.perf_counter() - started
        plugin.kill()
        plugin.communicate()
        return spent


def timed(argv: list[str]) -> tuple[float, float]:
    """Run a verification; return its seconds, and those of them in which plugins were starting."""
    started = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    spent = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"not verified:\n{done.stderr}")
    (result,) = json.loads(done.stdout)["results"]
    checks = [check for scenario in result["report"]["scenarios"] for check in scenario["checks"]]
    return spent, sum(check["seconds"] for check in checks if check["name"] == "start")


if __name__ == "__main__":
    main()

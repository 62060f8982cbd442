"""The cache and its users: leases, what dead runs leave, and commands that are safe beside living ones."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from difyoff.difypkg.daemons import releases
from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.sandbox.cache import clean_cache, collect_garbage, folder_size, open_scratch, use_cache
from difyoff.transfer.store import WheelStore
from difyoff.uvrun.uv import LOCK_UV
from kit.cli import difyoff
from kit.plugins import pack, write_plugin
from kit.wheels import wheel

# A run as the command line makes it: it holds a work folder with a file in it until it is ended.
_RUN = """\
import sys, time
from pathlib import Path
from difyoff.sandbox.cache import open_scratch
from difyoff.sandbox.signals import handle_signals
handle_signals()
try:
    with open_scratch(Path(sys.argv[1]), "verify") as folder:
        (folder / "big").write_bytes(bytes(1_000_000))
        print(folder, flush=True)
        while True:
            time.sleep(1)
except KeyboardInterrupt:
    sys.exit(130)
"""

Start = Callable[[], tuple["subprocess.Popen[str]", Path]]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def start(cache: Path) -> Iterator[Start]:
    """Start a run and return it with its work folder."""
    running: list[subprocess.Popen[str]] = []

    def begin() -> tuple["subprocess.Popen[str]", Path]:
        process = subprocess.Popen([sys.executable, "-c", _RUN, cache], stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_work_folder_goes_with_its_run(cache: Path) -> None:
    with open_scratch(cache, "build") as folder:
        (folder / "file").touch()
        assert folder.parent.parent == cache
    assert _names(cache / "runs") == []
    assert (cache / "CACHEDIR.TAG").is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_cleans_up(start: Start, cache: Path, number: signal.Signals) -> None:
    process, folder = start()
    assert folder.is_dir()
    process.send_signal(number)
    assert process.wait(timeout=60) == 130
    assert _names(cache / "runs") == []


def test_what_a_killed_run_left_is_collected_and_a_living_run_keeps_its_own(start: Start, cache: Path) -> None:
    living, kept = start()
    dead, left = start()
    dead.kill()
    dead.wait()
    assert left.is_dir()
    done = difyoff("cache", "gc", "--cache-dir", cache, cwd=cache.parent)
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("removed 1.0 MiB of work folders\n")
    assert (left.exists(), kept.is_dir(), living.poll()) == (False, True, None)
    assert _names(cache / "runs") == [kept.name, f"{kept.name}.lock"]


@pytest.mark.parametrize("name", ["verify-abc", "build-abc", ".uv-abc"])
def test_what_earlier_releases_left_is_collected_after_a_day(cache: Path, name: str) -> None:
    old, new = cache / name, cache / f"{name}d"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(bytes(10))
    os.utime(old, (time.time() - 90000,) * 2)
    assert collect_garbage(cache) == 10
    assert (old.exists(), new.exists()) == (False, True)


def _deep(folder: Path) -> None:
    here = os.getcwd()  # noqa: PTH109
    os.chdir(folder)
    for _ in range(3000):
        os.mkdir("d")  # noqa: PTH102
        os.chdir("d")
    os.chdir(here)


def _closed(folder: Path) -> None:
    (folder / "closed" / "in").mkdir(parents=True)
    (folder / "closed" / "in" / "file").touch()
    (folder / "closed").chmod(0)


def _linked(folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent.parent.parent / "outside")
    (folder / "loop").symlink_to("loop")


def _special(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


@pytest.mark.parametrize("fill", [_deep, _closed, _linked, _special])
def test_whatever_a_plugin_leaves_is_removed_and_nothing_else(
    cache: Path, tmp_path: Path, fill: Callable[[Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch(0o400)
    with open_scratch(cache, "verify") as folder:
        fill(folder)
        folder_size(folder)
    assert _names(cache / "runs") == []
    assert _names(outside) == ["file"]
    assert (outside / "file").stat().st_mode & 0o777 == 0o400


def test_clean_refuses_while_a_run_is_at_work_and_names_it(start: Start, cache: Path) -> None:
    process, folder = start()
    done = difyoff("cache", "clean", "--cache-dir", cache, cwd=cache.parent)
    assert done.code == 5
    assert "error[cache-in-use]" in done.stderr
    assert f"process {process.pid} (verify)" in done.stderr
    assert folder.is_dir()
    process.terminate()
    process.wait()
    assert difyoff("cache", "clean", "--cache-dir", cache, cwd=cache.parent).code == 0
    assert not cache.exists()


def test_a_build_that_only_reads_the_cache_keeps_it_from_being_cleaned(cache: Path) -> None:
    with use_cache(cache), pytest.raises(DifyoffError) as caught:
        clean_cache(cache)
    assert caught.value.diagnosis.slug == "cache-in-use"


@pytest.mark.parametrize("part", ["", "wheels", "uv"])
def test_a_cache_that_any_command_filled_can_be_cleaned(cache: Path, part: str) -> None:
    with open_scratch(cache, "verify"):
        (cache / part).mkdir(exist_ok=True)
    assert difyoff("cache", "clean", "--cache-dir", cache, cwd=cache.parent).code == 0
    assert not cache.exists()


def test_a_folder_that_is_not_a_cache_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("years of work")
    done = difyoff("cache", "clean", "--cache-dir", tmp_path, cwd=tmp_path)
    assert done.code == 2
    assert (tmp_path / "thesis").is_file()


def test_the_next_run_waits_for_a_clean_and_has_a_cache_of_its_own(cache: Path) -> None:
    with use_cache(cache):
        pass
    clean_cache(cache)
    with open_scratch(cache, "build") as folder:
        assert folder.is_dir()


def test_size_is_told_part_by_part(cache: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "wheel"
    wheel.write_bytes(bytes(2_000_000))
    WheelStore(cache / "wheels").add_file(wheel)
    done = difyoff("cache", "size", "--cache-dir", cache, cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert [line.split(maxsplit=2)[2] for line in done.stdout.splitlines()] == [
        "wheels and fetched plugins",
        "releases of uv",
        "uv's own cache",
        "runs at work, or killed",
        "in all",
    ]
    assert "1.9 MiB" in done.stdout.splitlines()[0]


def test_prune_keeps_what_was_used_lately(cache: Path, tmp_path: Path) -> None:
    store = WheelStore(cache / "wheels")
    hashes = []
    for name in ("unused", "used again", "new"):
        (tmp_path / name).write_text(name)
        hashes.append(store.add_file(tmp_path / name))
    for sha256 in hashes[:2]:
        os.utime(store.path(sha256), (time.time() - 11 * 86400,) * 2)
    assert store.intact(hashes[1])
    done = difyoff("cache", "prune", "--keep-days", "10", "--cache-dir", cache, cwd=tmp_path)
    assert (done.code, done.stdout) == (0, "removed 1 of 3 wheels, 6 bytes\n"), done.stderr
    assert [store.has(sha256) for sha256 in hashes] == [False, True, True]


def _file_in_the_way(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "cache"


def _no_such_place(folder: Path) -> Path:
    return Path("/proc/nothing/cache")


def _loop(folder: Path) -> Path:
    (folder / "cache").symlink_to("cache")
    return folder / "cache"


@pytest.mark.parametrize("place", [_file_in_the_way, _no_such_place, _loop])
@pytest.mark.parametrize("command", ["build", "verify", "gc", "prune"])
def test_a_cache_that_cannot_be_written_is_told_with_the_variable(
    tmp_path: Path, place: Callable[[Path], Path], command: str
) -> None:
    cache = place(tmp_path)
    if command in ("gc", "prune"):
        done = difyoff("cache", command, cwd=tmp_path, env={"DIFYOFF_CACHE_DIR": str(cache)})
    else:
        plugin = write_plugin(tmp_path / "plugin")
        package = pack(plugin, tmp_path / "plugin.difypkg") if command == "verify" else plugin
        done = difyoff(command, package, cwd=tmp_path, env={"DIFYOFF_CACHE_DIR": str(cache)})
    assert done.code == 5, done.stderr
    assert "error[store-not-writable]" in done.stderr
    assert "DIFYOFF_CACHE_DIR" in done.stderr


def test_fill_takes_every_release_of_uv_from_a_folder(tmp_path: Path, cache: Path) -> None:
    wanted = {LOCK_UV, *(release.uv for release in releases() if release.uv)}
    for version in wanted:
        made = wheel("uv", version, files={f"uv-{version}.data/scripts/uv": f"#!/bin/sh\necho uv {version}\n"})
        (tmp_path / made.filename).write_bytes(made.data)
    done = difyoff("cache", "fill", "--from", tmp_path, "--cache-dir", cache, cwd=tmp_path)
    assert done.code == 0, done.stderr
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert {path.parents[1].name for path in paths} == wanted
    assert all(path.is_relative_to(cache) and os.access(path, os.X_OK) for path in paths)
    # The same again needs nothing.
    (tmp_path / "empty").mkdir()
    again = difyoff("cache", "fill", "--from", "empty", "--cache-dir", cache, cwd=tmp_path)
    assert (again.code, again.stdout) == (0, done.stdout)


def test_fill_says_which_release_is_missing(tmp_path: Path, cache: Path) -> None:
    done = difyoff("cache", "fill", "--from", tmp_path, "--cache-dir", cache, cwd=tmp_path)
    assert done.code == 6
    assert "error[uv-not-available]" in done.stderr

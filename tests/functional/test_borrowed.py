"""Libraries and programs of this machine that the daemon's image does not have: no start is proved by them."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from difyoff.difypkg.daemons import release
from difyoff.difypkg.image import image_contents
from difyoff.difypkg.target import TARGETS
from difyoff.sandbox.isolation import choose_isolation
from kit.broken import build_good, read, write
from kit.cli import Run, difyoff
from kit.index import Index
from kit.uvs import python312

pytestmark = pytest.mark.skipif(sys.platform != "linux" or python312() is None, reason="nothing is started here")

IMAGE = image_contents(release("0.6.10"), TARGETS["amd64" if os.uname().machine == "x86_64" else "arm64"])
# Opened by C alone, as cffi does it: no audit hook sees it.
_OPEN = """
import ctypes, os
dlopen = ctypes.CDLL(None).dlopen
dlopen.restype = ctypes.c_void_p
if not dlopen(os.fsencode({name!r}), 2):
    raise OSError({name!r} + ": cannot open shared object file: No such file or directory")
"""
_LOAD = "import ctypes\nctypes.CDLL({name!r})\n"
_GUARDED = "import ctypes\ntry:\n    ctypes.CDLL({name!r})\nexcept OSError:\n    pass\n"
_RUN = "import subprocess\nsubprocess.run([{name!r}], stdin=subprocess.DEVNULL)\n"
_RUN_GUARDED = "import shutil, subprocess\nif shutil.which({name!r}):\n    raise SystemExit(9)\n"


@pytest.fixture(scope="module")
def good(index: Index, lock_uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_good(tmp_path_factory.mktemp("good"), index, lock_uv)


@cache
def _libraries() -> tuple[str, ...]:
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    return tuple(line.split()[0] for line in listed.splitlines() if "=>" in line and line.strip().startswith("lib"))


@cache
def _only_here() -> str:
    """Return a library of this machine that loads by itself and that the image does not have."""
    for name in _libraries():
        if name not in IMAGE.libraries and ".so." in name:
            loads = subprocess.run([sys.executable, "-c", _LOAD.format(name=name)], capture_output=True, check=False)
            if loads.returncode == 0:
                return name
    pytest.skip("this machine has no library that the image has not")


def _only_there() -> str:
    there = sorted(IMAGE.libraries.difference(_libraries()))
    return next(name for name in there if name.startswith("lib") and ".so." in name)


def _nowhere() -> str:
    return "libdifyoff-nowhere.so.1"


def _everywhere() -> str:
    return "libz.so.1"


def _program_only_here() -> str:
    for folder in ("/usr/bin", "/bin"):
        for path in sorted(Path(folder).iterdir()):
            if path.name not in IMAGE.programs and os.access(path, os.X_OK) and path.is_file():
                return path.name
    pytest.skip("this machine has no program that the image has not")


def _program_everywhere() -> str:
    return "true"


@pytest.fixture
def verify(good: Path, cache: Path, tmp_path: Path) -> "Verify":
    if choose_isolation(("netns", "userns")) is None:
        pytest.skip("no namespaces on this machine")
    return Verify(good, tmp_path)


class Verify:
    def __init__(self, good: Path, folder: Path) -> None:
        self._good = good
        self._folder = folder

    def __call__(self, before: str) -> Run:
        """Verify the good package with some code before its own."""
        files = read(self._good)
        files["main.py"] = before.encode() + files["main.py"]
        package = write(files, self._folder / "changed.difypkg")
        return difyoff("verify", package, "--daemon", "0.6.10", "--json", cwd=self._folder)


def _start(run: Run) -> tuple[str, str | None, str, set[str]]:
    """Return the status, the slug and the words of the check `start`, and the slugs of the findings."""
    (scenario,) = (each for each in run.result["report"]["scenarios"] if each["backend"] == "local")
    check = next(each for each in scenario["checks"] if each["name"] == "start")
    diagnosis = check["diagnosis"]
    words = diagnosis["message"] if diagnosis else check["message"]
    slug = diagnosis["slug"] if diagnosis else None
    return check["status"], slug, words, {each["slug"] for each in scenario["findings"]}


@pytest.mark.parametrize(
    ("code", "name", "status", "slug", "finding"),
    [
        (_LOAD, _only_here, "failed", "system-library-missing", False),
        (_OPEN, _only_here, "failed", "system-library-missing", False),
        (_GUARDED, _only_here, "passed", None, True),
        (_LOAD, _everywhere, "passed", None, False),
        (_OPEN, _everywhere, "passed", None, False),
        (_LOAD, _only_there, "skipped", None, False),
        (_OPEN, _only_there, "skipped", None, False),
        (_LOAD, _nowhere, "failed", "system-library-missing", False),
        (_GUARDED, _nowhere, "passed", None, False),
        (_RUN, _program_only_here, "failed", "plugin-does-not-start", False),
        (_RUN_GUARDED, _program_only_here, "passed", None, False),
        (_RUN, _program_everywhere, "passed", None, False),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_what_is_opened_or_run(
    verify: Verify, code: str, name: "object", status: str, slug: str | None, finding: bool
) -> None:
    assert callable(name)
    wanted = name()
    run = verify(code.format(name=wanted))
    seen = _start(run)
    assert seen[:2] == (status, slug), seen
    assert ("library-of-this-machine" in seen[3]) == finding
    if slug == "system-library-missing" or status == "skipped":
        assert wanted in seen[2]


@pytest.mark.parametrize(
    ("daemon", "library", "program"),
    [("0.3.0", "libcairo.so.2", "ffmpeg"), ("0.3.1", "libcurl-gnutls.so.4", "git"), ("0.6.10", "libgif.so.7", "tini")],
)
def test_an_image_has_what_its_dockerfile_installs(daemon: str, library: str, program: str) -> None:
    here = image_contents(release(daemon), TARGETS["amd64"])
    assert library in here.libraries
    assert program in here.programs
    assert "libmagic.so.1" not in here.libraries
    other = image_contents(release(daemon), TARGETS["arm64"])
    assert library in other.libraries
    assert "ld-linux-aarch64.so.1" in other.libraries
    assert not [name for name in other.libraries | other.programs if "x86" in name.replace("x86_64-v", "")]


def test_an_older_image_lacks_what_came_later() -> None:
    assert "git" not in image_contents(release("0.3.0"), TARGETS["amd64"]).programs
    assert "cmake" not in image_contents(release("0.3.1"), TARGETS["amd64"]).programs
    assert "tini" not in image_contents(release("0.5.3"), TARGETS["amd64"]).programs

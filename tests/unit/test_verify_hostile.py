"""What a sandboxed process wrote is read as hostile: no link followed, nothing read without end, all of it removed."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from difyoff.sandbox.removal import remove_tree
from difyoff.verify.look import ATTEMPTS, State, look, read_attempts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """A work folder as a scenario leaves it, with a secret of the host's beside it."""
    (tmp_path / "secret").write_text("resolve secret.example:443\n")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "requests-1.0.dist-info").mkdir()
    site = tmp_path / "work/cwd/author/plugin/.venv/lib/python3.12/site-packages"
    (site / "idna-3.20.dist-info").mkdir(parents=True)
    (tmp_path / "work/cwd/author/plugin/.venv/pyvenv.cfg").write_text("version_info = 3.12.3\n")
    (tmp_path / "work/cwd/author/plugin/main.py").write_text("pass\n")
    (tmp_path / "work/cwd/.uv-cache").mkdir()
    yield tmp_path / "work"
    remove_tree(tmp_path / "work")  # pytest's own clean-up fails on folders this deep, in a later run


def _plugin(work: Path) -> Path:
    return work / "cwd/author/plugin"


def _look(work: Path) -> State:
    return look(_plugin(work), work / "cwd", work / "cwd/.uv-cache")


def test_what_an_honest_install_leaves_is_no_trouble(work: Path) -> None:
    state = _look(work)
    assert state.troubles == []
    assert state.distributions == {"idna": "3.20"}
    assert state.python == "3.12.3"


def _deep(work: Path) -> None:
    folder = os.open(_plugin(work), os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)


def _sparse(work: Path) -> None:
    with (_plugin(work) / "sparse").open("wb") as file:
        file.truncate(1 << 42)


def _locked(work: Path) -> None:
    (_plugin(work) / "locked").mkdir()
    (_plugin(work) / "locked/file").touch()
    (_plugin(work) / "locked").chmod(0)


def _replaced(work: Path) -> None:
    (_plugin(work) / "main.py").unlink()
    (_plugin(work) / "main.py").symlink_to(work.parent / "secret")


def _pipe(work: Path) -> None:
    os.mkfifo(_plugin(work) / "pipe")


def _piped(work: Path) -> None:
    (_plugin(work) / ".venv/pyvenv.cfg").unlink()
    os.mkfifo(_plugin(work) / ".venv/pyvenv.cfg")


HOSTILE: dict[str, Callable[[Path], object]] = {
    "pipe": _pipe,
    "endless device": lambda work: (_plugin(work) / "zero").symlink_to("/dev/zero"),
    "dangling link": lambda work: (_plugin(work) / "gone").symlink_to("nowhere"),
    "link in place of a file of the package": _replaced,
    "sparse file": _sparse,
    "3,000 folders deep": _deep,
    "pipe for pyvenv.cfg": _piped,
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_strange_files_are_named_and_nothing_hangs(make: Callable[[Path], object], work: Path) -> None:
    make(work)
    assert _look(work).troubles


@pytest.mark.skipif(AS_ROOT, reason="root may read everything")
def test_a_folder_without_permissions_is_named(work: Path) -> None:
    _locked(work)
    assert any("locked" in each for each in _look(work).troubles)


def test_a_failed_check_names_them(work: Path) -> None:
    # What reads the state makes of it: `strange-files`, a failed check.
    _pipe(work)
    assert _look(work).troubles == ["pipe is a pipe"]


def test_names_that_are_not_utf_8_are_told(work: Path) -> None:
    (Path(os.fsdecode(os.fsencode(_plugin(work)) + b"/\xff\xfe"))).touch()
    assert [path for path in _look(work).files if path != "main.py"] == ["\\udcff\\udcfe"]


@pytest.mark.parametrize(
    ("path", "points_to"),
    [
        ("cwd", "elsewhere"),
        ("cwd/author", "elsewhere/author"),
        ("cwd/author/plugin/.venv", "elsewhere/author/plugin/.venv"),
        ("cwd/author/plugin/.venv/lib/python3.12/site-packages", "secrets"),
    ],
)
def test_a_folder_that_became_a_link_is_not_entered(path: str, points_to: str, work: Path) -> None:
    (work / "cwd").rename(work.parent / "elsewhere")
    (work.parent / "elsewhere").rename(work / "cwd")
    (work / path).rename(work / "old")
    (work.parent / "elsewhere/author/plugin/.venv").mkdir(parents=True)
    (work / path).symlink_to(work.parent / points_to)
    state = _look(work)
    assert "requests" not in state.distributions
    assert not state.distributions
    assert state.troubles


ATTEMPTS_FILES: dict[str, Callable[[Path], object]] = {
    "link": lambda path: path.symlink_to(path.parents[2] / "secret"),
    "pipe": os.mkfifo,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "dangling link": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("make", ATTEMPTS_FILES.values(), ids=ATTEMPTS_FILES)
def test_the_file_of_attempts_is_read_or_not_at_all(make: Callable[[Path], object], work: Path) -> None:
    make(work / "cwd" / ATTEMPTS)
    assert read_attempts(work / "cwd") == []


def test_a_long_or_ill_encoded_file_of_attempts_has_an_end(work: Path) -> None:
    (work / "cwd" / ATTEMPTS).write_bytes(b"connect \xff:443\n" + b"x" * (1 << 20))
    first, *_ = read_attempts(work / "cwd")
    assert first.startswith("connect ")
    assert sum(map(len, read_attempts(work / "cwd"))) <= 1 << 17


@pytest.mark.parametrize("make", [*HOSTILE.values(), _locked], ids=[*HOSTILE, "mode 000"])
def test_whatever_was_left_is_removed(make: Callable[[Path], object], work: Path) -> None:
    make(work)
    remove_tree(work)
    assert not work.exists()
    assert (work.parent / "secret").read_text()


def test_links_are_removed_and_not_followed(work: Path) -> None:
    (work / "out").symlink_to(work.parent / "secrets")
    (work / "self").symlink_to(work)
    remove_tree(work)
    assert not work.exists()
    assert (work.parent / "secrets" / "requests-1.0.dist-info").is_dir()

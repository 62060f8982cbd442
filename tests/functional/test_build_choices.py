"""What `build` leaves out, chooses, refuses for some releases only, and does with a package that is offline already."""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kit.cli import Run, difyoff
from kit.index import Index, serve
from kit.locks import write_lock
from kit.packages import standard_set
from kit.plugins import PYPROJECT, pack, skeleton, write_plugin
from kit.wheels import Distribution, wheel

_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture(autouse=True)
def _index(index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)


def _build(plugin: Path, *options: str | Path) -> Run:
    return difyoff("build", plugin, "--json", "-o", plugin.parent / "out", *options, cwd=plugin.parent)


def _slugs(run: Run) -> set[str]:
    return {finding["slug"] for finding in run.result["findings"]}


def _names(run: Run) -> list[str]:
    assert run.code == 0, run.stderr
    with zipfile.ZipFile(run.result["package"]["path"]) as package:
        return package.namelist()


# --- Secrets and clutter

_SECRETS = {
    ".env": "TOKEN=1\n",
    ".env.local": "TOKEN=1\n",
    "sub/.env": "TOKEN=1\n",
    "id_rsa": _KEY,
    "keys/id_ed25519": _KEY,
    "mine.private.pem": "x",
    "tls/server.pem": _KEY,
    "tls/server.key": _KEY.replace("OPENSSH ", ""),
    ".netrc": "machine index.example login a password b\n",
    ".pypirc": "[index]\n",
}
_CLUTTER = {
    ".git/config": "x",
    "sub/.git": "gitdir: elsewhere\n",
    ".venv/pyvenv.cfg": "home = /usr\n",
    "__pycache__/main.cpython-312.pyc": "x",
    "tools/__pycache__/hello.cpython-312.pyc": "x",
    ".uv-cache/CACHEDIR.TAG": "x",
    ".pytest_cache/README.md": "x",
    ".mypy_cache/x.json": "{}",
    ".DS_Store": "x",
}
_KEPT = {
    ".env.example": "TOKEN=\n",
    "tls/ca.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n",
    "tls/server.pub.key": "ssh-ed25519 AAAA\n",
    "environment.py": "",
    "git/config": "x",
    "id_rsa.pub": "ssh-rsa AAAA\n",
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "package"])
@pytest.mark.parametrize(
    ("paths", "slug"), [(_SECRETS, "secrets-left-out"), (_CLUTTER, "clutter-left-out")], ids=["secrets", "clutter"]
)
def test_what_never_belongs_in_a_package(paths: dict[str, str], slug: str, packed: bool, tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "tiny", files={**paths, **_KEPT})
    if packed:
        plugin = pack(plugin, tmp_path / "tiny.difypkg")

    run = _build(plugin)

    names = set(_names(run))
    assert not names & set(paths)
    assert set(_KEPT) <= names
    assert slug in _slugs(run)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "package"])
def test_secrets_are_packed_when_asked_for(packed: bool, tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "tiny", files={**_SECRETS, **_CLUTTER})
    if packed:
        plugin = pack(plugin, tmp_path / "tiny.difypkg")

    names = set(_names(_build(plugin, "--with-env")))

    assert set(_SECRETS) <= names
    assert not names & set(_CLUTTER)


def test_the_identity_of_a_package_is_that_of_all_its_files(tmp_path: Path) -> None:
    whole = pack(write_plugin(tmp_path / "tiny", files=_CLUTTER), tmp_path / "tiny.difypkg")
    inspected = difyoff("inspect", whole, "--json", cwd=tmp_path)

    assert _build(whole).result["identity"] == inspected.result["identity"]


# --- Releases that do not read a file

_UNREADABLE = {
    "another Python": PYPROJECT.replace(">=3.12", ">=3.13"),
    "dynamic dependencies": '[project]\nname = "tiny"\nversion = "0.1.0"\ndynamic = ["dependencies"]\n',
}


@pytest.mark.parametrize("form", list(_UNREADABLE))
def test_a_pyproject_that_no_release_asked_for_reads(form: str, tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "tiny", pyproject=_UNREADABLE[form], requirements="dify_plugin\n")

    old = _build(plugin, "--daemon", "0.5.2")
    both = _build(plugin, "--daemon", "0.5.2", "--daemon", "0.6.10")
    every = _build(plugin)

    assert "pyproject-not-read" in _slugs(old)
    assert not {"pyproject.toml", "uv.lock"} & set(_names(old))
    assert (both.code, every.code) == (4, 4) or (both.code, every.code) == (1, 1)
    assert "0.6.10" in both.result["diagnosis"]["message"]
    assert "0.5.2" not in both.result["diagnosis"]["message"]
    assert "dify_plugin" not in every.result["diagnosis"]["message"]


# --- What is chosen


@pytest.fixture
def moving() -> Iterator[Index]:
    """An index on which a dependency moved on after the plugin was made, on 2025-06-01."""
    new = wheel("moving", "2.0", upload_time="2026-01-01T00:00:00.000000Z")
    old = wheel("moving", "1.0", upload_time="2024-01-01T00:00:00.000000Z")
    with serve([*map(_older, standard_set()), old, new]) as index:
        yield index


def _older(one: Distribution) -> Distribution:
    return replace(one, upload_time="2024-01-01T00:00:00.000000Z")


def _moving(form: str, folder: Path) -> Path:
    if form == "requirements":
        return write_plugin(folder, pyproject=None, requirements="dify_plugin\nmoving\n")
    lines = PYPROJECT.replace('"dify_plugin>=0.9.0",\n', '"dify_plugin>=0.9.0",\n    "moving",\n')
    return write_plugin(folder, pyproject=lines)


@pytest.mark.parametrize("form", ["requirements", "pyproject"])
@pytest.mark.parametrize(
    ("options", "version"),
    [
        ((), "2.0"),
        (("--exclude-newer", "2025-01-01"), "1.0"),
        (("--exclude-newer", "2026-06-01T00:00:00Z"), "2.0"),
        (("--exclude-newer", "created"), "1.0"),
        (("--constraint", "limits.txt"), "1.0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_older_releases_are_chosen_where_asked(
    form: str, options: tuple[str, ...], version: str, moving: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", moving.url)
    (tmp_path / "limits.txt").write_text("# what is known to work\nmoving<2\n")

    run = _build(_moving(form, tmp_path / "tiny"), *options)

    assert run.code == 0, run.stderr
    assert [wheel["version"] for wheel in run.result["wheels"] if wheel["name"] == "moving"] == [version]
    with zipfile.ZipFile(run.result["package"]["path"]) as package:
        texts = [package.read(name).decode() for name in ("uv.lock", "pyproject.toml") if name in package.namelist()]
    assert not [text for text in texts if "exclude-newer" in text or "moving<2" in text]


def test_a_lock_that_fits_is_followed(
    moving: Index, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", moving.url)
    plugin = _moving("pyproject", tmp_path / "tiny")
    write_lock(plugin, moving, uv_cache)

    run = _build(plugin, "--exclude-newer", "2025-01-01")

    assert [wheel["version"] for wheel in run.result["wheels"] if wheel["name"] == "moving"] == ["2.0"]


def test_a_constraint_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "limits.txt").write_text("moving <<2\n")

    run = _build(write_plugin(tmp_path / "tiny"), "--constraint", tmp_path / "limits.txt")

    assert run.code == 2
    assert "limits.txt" in run.stderr


# --- What is offline already, and other architectures


def test_an_offline_package_is_copied_to_where_o_says(tmp_path: Path) -> None:
    made = _build(write_plugin(tmp_path / "tiny"))
    package = Path(made.result["package"]["path"])

    copied = difyoff("build", package, "-o", tmp_path / "new", cwd=tmp_path)
    again = difyoff("build", package, "-o", tmp_path / "new", cwd=tmp_path)
    here = difyoff("build", package, "-o", package.parent, cwd=tmp_path)

    target = tmp_path / "new" / package.name
    assert target.read_bytes() == package.read_bytes()
    assert [run.stdout.strip() for run in (copied, again)] == [str(target)] * 2
    assert Path(here.stdout.strip()).samefile(package)
    assert "offline package already; copied" in copied.stderr
    assert "offline package already; up to date" in again.stderr
    assert "offline package already, and stays" in here.stderr
    assert list(package.parent.glob("*.difypkg")) == [package]


def test_another_file_there_is_not_replaced(tmp_path: Path) -> None:
    package = Path(_build(write_plugin(tmp_path / "tiny")).result["package"]["path"])
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / package.name).write_bytes(b"another")

    run = difyoff("build", package, "-o", tmp_path / "new", "--json", cwd=tmp_path)

    assert run.result["diagnosis"]["slug"] == "output-exists"
    assert (tmp_path / "new" / package.name).read_bytes() == b"another"


@pytest.mark.parametrize(("arch", "said"), [("amd64", False), ("arm64", True), ("all", True)])
def test_an_architecture_that_the_manifest_does_not_name(arch: str, said: bool, tmp_path: Path) -> None:
    manifest = skeleton()["manifest.yaml"].replace("  - arm64\n", "")
    run = _build(write_plugin(tmp_path / "tiny", files={"manifest.yaml": manifest}), "--arch", arch)

    assert run.code == 0, run.stderr
    assert ("architecture-not-declared" in _slugs(run)) is said

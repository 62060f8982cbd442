"""Plugins as authors ship them: wheels of their own in every form, options left over, paths that lead elsewhere."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from kit.cli import Run, difyoff
from kit.daemon import HOST, PIP_COMMANDS, SYNC_COMMANDS, install
from kit.index import Index
from kit.plugins import PYPROJECT, pack, write_plugin
from kit.wheels import Distribution, native_wheels, wheel

OWN = wheel("ownlib", "1.0", requires=["idna"])
NAME = OWN.filename


@pytest.fixture(autouse=True)
def _index(index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)


def _build(plugin: Path, *options: str) -> Run:
    return difyoff("build", plugin, "--json", "-o", plugin.parent / "out", *options, cwd=plugin.parent)


def _with_wheel(folder: Path, requirements: str, place: str, own: Distribution = OWN, **more: Any) -> Path:
    files = {place: own.data, **more.pop("files", {})}
    return write_plugin(folder / "tiny", pyproject=None, requirements=requirements, files=files, **more)


_FORMS = {
    "file name": (f"dify_plugin\n{NAME}\n", NAME),
    "path": (f"dify_plugin\n./wheels/{NAME}\n", f"wheels/{NAME}"),
    "path without a dot": (f"dify_plugin\nwheels/{NAME}\n", f"wheels/{NAME}"),
    "another folder": (f"dify_plugin\n./vendor/private/{NAME}\n", f"vendor/private/{NAME}"),
    "file URL": (f"dify_plugin\nfile:wheels/{NAME}\n", f"wheels/{NAME}"),
    "named, a path": (f"dify_plugin\nownlib @ ./wheels/{NAME}\n", f"wheels/{NAME}"),
    "named, a file URL": (f"dify_plugin\nownlib @ file:./wheels/{NAME}\n", f"wheels/{NAME}"),
    "its author's own path": (f"dify_plugin\nownlib @ file:///home/author/plugin/wheels/{NAME}\n", f"wheels/{NAME}"),
    "a folder of links": ("--find-links ./wheels\ndify_plugin\nownlib\n", f"wheels/{NAME}"),
    "a folder of links, short": ("-f wheels/\ndify_plugin\nownlib==1.0\n", f"wheels/{NAME}"),
    "with a hash": (f"dify_plugin\nownlib @ ./wheels/{NAME} --hash=sha256:{OWN.sha256}\n", f"wheels/{NAME}"),
    "with a marker": (f"dify_plugin\n./wheels/{NAME} ; sys_platform == 'linux'\n", f"wheels/{NAME}"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "package"])
@pytest.mark.parametrize("form", list(_FORMS))
def test_an_own_wheel_is_carried(form: str, packed: bool, tmp_path: Path) -> None:
    requirements, place = _FORMS[form]
    plugin = _with_wheel(tmp_path, requirements, place)
    if packed:
        plugin = pack(plugin, tmp_path / "tiny.difypkg")

    run = _build(plugin)

    assert run.code == 0, run.stderr
    assert "own-wheels" in {finding["slug"] for finding in run.result["findings"]}
    with zipfile.ZipFile(run.result["package"]["path"]) as package:
        names = package.namelist()
        assert package.read(f"wheels/{NAME}") == OWN.data
        lines = package.read("requirements.txt").decode().splitlines()
    assert [name for name in names if name.endswith(NAME)] == [f"wheels/{NAME}"]
    assert f"ownlib==1.0 --hash=sha256:{OWN.sha256}" in lines
    assert any(line.startswith("idna==") for line in lines)


def test_an_own_wheel_installs_and_nothing_else_lies_beside_it(lock_uv: Path, tmp_path: Path) -> None:
    newer = wheel("ownlib", "9.0")
    files = {f"wheels/{newer.filename}": newer.data, f"wheels/{NAME}": OWN.data}
    sources = f'\n[tool.uv.sources]\nownlib = {{ path = "wheels/{NAME}" }}\n'
    pyproject = PYPROJECT.replace('"dify_plugin>=0.9.0",\n', '"dify_plugin>=0.9.0",\n    "ownlib",\n') + sources
    plugin = write_plugin(tmp_path / "tiny", pyproject=pyproject, files=files)

    run = _build(plugin, "--arch", HOST)

    assert run.code == 0, run.stderr
    package = Path(run.result["package"]["path"])
    with zipfile.ZipFile(package) as archive:
        assert not [name for name in archive.namelist() if name.endswith(newer.filename)]
    for number, command in enumerate((*SYNC_COMMANDS, *PIP_COMMANDS)):
        done = install(package, tmp_path / str(number), command, uv=lock_uv)
        assert done.returncode == 0, done.stderr


def test_all_wheels_are_the_plugins_own(index: Index, tmp_path: Path) -> None:
    """`--no-index` that an author meant: no index is asked, and what is missing is said."""
    needed = ["dify_plugin-0.10.2", "click-8.3.0", "gevent-26.9.0", "httpx", "idna", "pydantic_core", "typing_ext"]
    needed += ["greenlet", "ownlib"]
    own = [one for one in (*index.distributions, OWN) if one.filename.startswith(tuple(needed))]
    files = {f"wheels/{one.filename}": one.data for one in own if one.filename.endswith(".whl")}
    requirements = "--no-index\n--find-links ./wheels\ndify_plugin\nownlib\n"
    plugin = write_plugin(tmp_path / "tiny", pyproject=None, requirements=requirements, files=files)
    index.requests.clear()

    run = _build(plugin)
    lacking = _with_wheel(tmp_path / "lacking", requirements, f"wheels/{NAME}")

    assert run.code == 0, run.stderr
    assert index.downloads == []
    assert _build(lacking).result["diagnosis"]["slug"] in ("unsatisfiable", "resolution-failed")


@pytest.mark.parametrize("tag", ["cp312-cp312-win_amd64", "cp313-cp313-manylinux_2_17_x86_64"])
def test_an_own_wheel_for_another_machine_is_refused_by_its_name(tag: str, tmp_path: Path) -> None:
    (other,) = native_wheels("ownlib", "1.0", tags=[tag])

    run = _build(_with_wheel(tmp_path, f"dify_plugin\n./{other.filename}\n", other.filename, other))

    assert run.code != 0
    assert run.result["diagnosis"]["slug"] == "no-wheel-for-target"
    assert other.filename in run.result["diagnosis"]["message"]


_LEFTOVERS = (
    "--no-index\ndify_plugin\n",
    "--no-index\n--find-links=./wheels/\ndify_plugin\n",
    "--no-index --find-links=./wheels/\ndify_plugin\n",
    "--find-links wheels\ndify_plugin\n",
    "-f ./wheels\ndify_plugin\n",
    "--no-index\n--find-links=/home/author/wheels\ndify_plugin\n",
    "--find-links=../wheels\ndify_plugin\n",
    "--find-links=file:///home/author/wheels\ndify_plugin\n",
)


@pytest.mark.parametrize("configured", [True, False], ids=["index configured", "index in the plugin"])
@pytest.mark.parametrize("requirements", _LEFTOVERS)
def test_options_without_wheels_are_left_out_with_a_finding(
    requirements: str, configured: bool, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not configured:
        monkeypatch.delenv("UV_DEFAULT_INDEX")
        requirements = f"--index-url {index.url}\n{requirements}"

    run = _build(write_plugin(tmp_path / "tiny", pyproject=None, requirements=requirements))

    assert run.code == 0, run.stderr
    found = {finding["slug"] for finding in run.result["findings"]}
    assert "leftover-options" in found or (configured and requirements == _LEFTOVERS[0])


_OUTSIDE = {
    "-r, absolute": "-r @FILE@\n",
    "-r, upwards": "-r ../secret.txt\n",
    "-r, glued": "-r@FILE@\n",
    "--requirement=": "--requirement=@FILE@\n",
    "-c": "-c ../secret.txt\n",
    "--constraint": "--constraint @FILE@\n",
    "-r from a file of the plugin": "-r more.txt\n",
    "-r, a URL": "-r http://127.0.0.1:9/more.txt\n",
    "-e": "-e @FILE@\n",
    "a path": "../secret-1.0-py3-none-any.whl\n",
    "a file URL": "secret @ file://@FILE@\n",
    "home": "~/secret-1.0-py3-none-any.whl\n",
}


@pytest.mark.parametrize("form", list(_OUTSIDE))
def test_paths_outside_the_plugin_are_refused_and_not_read(form: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the first line of a secret\n")
    text = "dify_plugin\n" + _OUTSIDE[form].replace("@FILE@", str(secret))
    plugin = write_plugin(
        tmp_path / "tiny", pyproject=None, requirements=text, files={"more.txt": "-r sub/../../secret.txt\n"}
    )

    run = _build(plugin)

    assert run.code == 4, run.stderr
    assert run.result["diagnosis"]["slug"] == "path-outside-plugin"
    assert "the first line" not in run.stdout + run.stderr


@pytest.mark.parametrize(
    ("dependency", "more"),
    [
        ("secret", '[tool.uv.sources]\nsecret = { path = "/etc" }\n'),
        ("secret", '[tool.uv.sources]\nsecret = { path = "../secret", editable = true }\n'),
        ("secret", '[tool.uv.sources]\nsecret = [{ path = "a/../../b", marker = "sys_platform == \'linux\'" }]\n'),
        ("secret @ file:///etc/secret", ""),
    ],
)
def test_paths_outside_the_plugin_in_a_pyproject(dependency: str, more: str, tmp_path: Path) -> None:
    pyproject = PYPROJECT.replace('"dify_plugin>=0.9.0",\n', f'"dify_plugin>=0.9.0",\n    "{dependency}",\n')

    run = _build(write_plugin(tmp_path / "tiny", pyproject=f"{pyproject}\n{more}"))

    assert run.code == 4, run.stderr
    assert run.result["diagnosis"]["slug"] == "path-outside-plugin"


def test_files_that_requirements_include(tmp_path: Path) -> None:
    files = {
        "req/base.txt": "-r more.txt\n-c limits.txt\ndify_plugin\n",
        "req/more.txt": "-r base.txt\nidna\n",
        "req/limits.txt": "dify_plugin<0.10\n",
    }

    run = _build(write_plugin(tmp_path / "tiny", pyproject=None, requirements="-r req/base.txt\n", files=files))

    assert run.code == 0, run.stderr
    assert {wheel["version"] for wheel in run.result["wheels"] if wheel["name"] == "dify-plugin"} == {"0.9.0"}

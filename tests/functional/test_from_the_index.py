"""What comes from an index: wheels that a lock leaves out, and files of an index that a plugin names with its login."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.cli import difyoff
from kit.index import Index, serve
from kit.locks import write_lock
from kit.packages import standard_set
from kit.plugins import PYPROJECT, write_plugin
from kit.wheels import NATIVE, X86_64, native_wheels, sdist, wheel

_BROKEN = "raise SystemExit('this source must not be built')\n"


def _depending(*lines: str) -> str:
    more = "".join(f'    "{line}",\n' for line in lines)
    return PYPROJECT.replace('    "dify_plugin>=0.9.0",\n', f'    "dify_plugin>=0.9.0",\n{more}')


@pytest.mark.parametrize("pruned", ["all", "ours"])
@pytest.mark.parametrize("configured", [True, False], ids=["index configured", "the lock's index"])
def test_a_wheel_that_the_lock_leaves_out(
    pruned: str, configured: bool, cache: Path, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = native_wheels("compiled", "1.0", tags=NATIVE)
    source = sdist("compiled", "1.0", backend=_BROKEN)
    with serve([*standard_set(), *native, source, wheel("newer", "1.0")]) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        plugin = write_plugin(tmp_path / "tiny", pyproject=_depending("compiled"))
        write_lock(plugin, index, uv_cache)
        lock = plugin / "uv.lock"
        lines = lock.read_text().splitlines(keepends=True)
        out = [line for line in lines if "compiled-1.0-" in line and (pruned == "all" or "cp312-manylinux" in line)]
        lock.write_text("".join(line for line in lines if line not in out))
        assert out
        if not configured:
            monkeypatch.delenv("UV_DEFAULT_INDEX")
            text = (plugin / "pyproject.toml").read_text()
            own = f'\n[[tool.uv.index]]\nurl = "{index.url}"\ndefault = true\n'
            (plugin / "pyproject.toml").write_text(text + own)

        run = difyoff("build", plugin, "--json", "-o", tmp_path / "out", cwd=tmp_path)

    assert run.code == 0, run.stderr
    (used,) = [each for each in run.result["wheels"] if each["name"] == "compiled"]
    assert used["built"] is None
    assert X86_64 in used["filename"]
    (finding,) = [each for each in run.result["findings"] if each["slug"] == "wheel-not-in-lock"]
    text = "\n".join(finding["context"])
    assert source.sha256 in text
    assert used["sha256"] in text


@pytest.fixture
def private() -> Iterator[Index]:
    """An index that wants a password for its pages and its files."""
    with serve([*standard_set(), wheel("private", "1.0")], login="user:p@ss") as index:
        yield index


@pytest.mark.parametrize("form", ["requirements", "extra index", "tool.uv.index", "tool.uv.index-url", "named"])
def test_the_login_of_a_plugins_own_index_is_used_there_alone(
    form: str, private: Index, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://user:p%40ss@{private.address}/simple"
    pyproject, requirements = None, None
    elsewhere = wheel("elsewhere", "1.0")
    with serve([elsewhere]) as other:
        line = f"elsewhere @ {other.file_url(elsewhere)}"
        match form:
            case "requirements":
                requirements = f"--index-url {url}\ndify_plugin\nprivate\n{line}\n"
            case "extra index":
                requirements = f"-i {url}\n--extra-index-url={url}\ndify_plugin\nprivate\n{line}\n"
            case "tool.uv.index":
                pyproject = _depending("private", line) + f'\n[[tool.uv.index]]\nurl = "{url}"\ndefault = true\n'
            case "tool.uv.index-url":
                pyproject = _depending("private", line) + f'\n[tool.uv]\nindex-url = "{url}"\n'
            case _:
                monkeypatch.setenv("UV_INDEX_INHOUSE_USERNAME", "user")
                monkeypatch.setenv("UV_INDEX_INHOUSE_PASSWORD", "p@ss")
                index = f'[[tool.uv.index]]\nname = "inhouse"\nurl = "{private.url}"\ndefault = true\n'
                pyproject = _depending("private", line) + "\n" + index
        plugin = write_plugin(tmp_path / "tiny", pyproject=pyproject, requirements=requirements)

        run = difyoff("build", plugin, "--json", "-o", tmp_path / "out", cwd=tmp_path)

        assert run.code == 0, run.stderr
        assert not other.logins
    assert "private-1.0-py3-none-any.whl" in private.downloads
    assert "p@ss" not in run.stdout + run.stderr
    assert "p%40ss" not in run.stdout + run.stderr

"""Where the wheels come from: the lock's own URLs, or the user's index and nothing else."""

from pathlib import Path

import pytest

from kit.cli import difyoff
from kit.index import serve
from kit.locks import write_lock
from kit.packages import standard_set
from kit.plugins import write_plugin
from kit.wheels import wheel


def test_a_fresh_lock_alone_says_where(cache: Path, uv_cache: Path, tmp_path: Path) -> None:
    """Without a configured index a build asks for the files that the lock names, and for nothing more."""
    plugin = write_plugin(tmp_path / "tiny")
    with serve(standard_set()) as public:
        write_lock(plugin, public, uv_cache)
        public.requests.clear()
        run = difyoff("build", plugin, "-o", tmp_path / "out", cwd=tmp_path)
        assert run.code == 0, run.stderr
        assert sorted(public.downloads) == sorted({request.path.rpartition("/")[2] for request in public.requests})
        assert not [name for name in public.downloads if name.startswith(("black", "colorama", "cffi"))]


def test_a_configured_index_serves_every_file_of_the_lock(
    cache: Path, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The public URLs in the lock are not contacted; here nothing answers them any more."""
    plugin = write_plugin(tmp_path / "tiny")
    with serve(standard_set()) as public:
        write_lock(plugin, public, uv_cache)
    with serve(standard_set()) as mirror:
        monkeypatch.setenv("UV_DEFAULT_INDEX", mirror.url)
        run = difyoff("build", plugin, "-o", tmp_path / "out", cwd=tmp_path)
        assert run.code == 0, run.stderr
        assert "dify_plugin-0.10.2-py3-none-any.whl" in mirror.downloads
        assert not [request for request in public.requests if request.path.endswith(".whl")]


def test_a_warm_store_downloads_nothing(
    cache: Path, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = write_plugin(tmp_path / "tiny")
    with serve(standard_set()) as mirror:
        monkeypatch.setenv("UV_DEFAULT_INDEX", mirror.url)
        assert difyoff("build", plugin, "-o", tmp_path / "one", cwd=tmp_path).code == 0
        mirror.requests.clear()
        assert difyoff("build", plugin, "-o", tmp_path / "two", cwd=tmp_path).code == 0
        assert mirror.downloads == []


@pytest.mark.parametrize("how", ["url", "netrc", "variables"])
def test_a_login_is_used_and_never_shown(
    how: str, cache: Path, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = write_plugin(tmp_path / "tiny", pyproject=None, requirements="dify_plugin\n")
    with serve(standard_set(), login="builder:s3cret") as private:
        match how:
            case "url":
                monkeypatch.setenv("UV_DEFAULT_INDEX", private.url_with_login)
            case "netrc":
                netrc = tmp_path / "netrc"
                netrc.write_text("machine 127.0.0.1 login builder password s3cret\n", encoding="utf-8")
                netrc.chmod(0o600)
                monkeypatch.setenv("NETRC", str(netrc))
                monkeypatch.setenv("UV_DEFAULT_INDEX", private.url)
            case _:
                monkeypatch.setenv("UV_DEFAULT_INDEX", f"inhouse={private.url}")
                monkeypatch.setenv("UV_INDEX_INHOUSE_USERNAME", "builder")
                monkeypatch.setenv("UV_INDEX_INHOUSE_PASSWORD", "s3cret")
        run = difyoff("build", plugin, "--json", "-o", tmp_path / "out", cwd=tmp_path)
        assert run.code == 0, run.stderr
        assert private.downloads
    assert "s3cret" not in run.stdout + run.stderr
    (package,) = (tmp_path / "out").glob("*.difypkg")
    assert b"s3cret" not in package.read_bytes()


def test_a_mirror_that_lacks_the_pin_is_refused(
    cache: Path, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never another version in the place of a pin."""
    plugin = write_plugin(tmp_path / "tiny")
    with serve(standard_set()) as public:
        write_lock(plugin, public, uv_cache)
    poorer = [one for one in standard_set() if one.name != "idna"]
    with serve([*poorer, wheel("idna", "3.21")]) as mirror:
        monkeypatch.setenv("UV_DEFAULT_INDEX", mirror.url)
        run = difyoff("build", plugin, "--json", "-o", tmp_path / "out", cwd=tmp_path)
    assert run.code == 1, run.stderr
    assert run.result["diagnosis"]["slug"] == "pin-not-on-index"
    assert not list(tmp_path.glob("out/*"))


def test_a_mirror_with_other_bytes_is_refused(
    cache: Path, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = write_plugin(tmp_path / "tiny")
    with serve(standard_set()) as public:
        write_lock(plugin, public, uv_cache)
    poorer = [one for one in standard_set() if one.name != "idna"]
    with serve([*poorer, wheel("idna", "3.20", files={"idna/evil.py": ""})]) as mirror:
        monkeypatch.setenv("UV_DEFAULT_INDEX", mirror.url)
        run = difyoff("build", plugin, "--json", "-o", tmp_path / "out", cwd=tmp_path)
    assert run.code == 1, run.stderr
    assert "idna" in str(run.result["diagnosis"])
    assert not list(tmp_path.glob("out/*"))


def test_sizes_that_the_index_does_not_tell(
    cache: Path, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = write_plugin(tmp_path / "tiny")
    with serve(standard_set(), sizes=False) as mirror:
        write_lock(plugin, mirror, uv_cache)
        monkeypatch.setenv("UV_DEFAULT_INDEX", mirror.url)
        run = difyoff("build", plugin, "-o", tmp_path / "out", cwd=tmp_path)
    assert run.code == 0, run.stderr

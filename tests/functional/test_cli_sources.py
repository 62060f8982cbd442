"""`fetch`, `search` and `build` by name, as their users run them."""

import json
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from kit.cli import difyoff
from kit.documents import check_document
from kit.index import Index, serve
from kit.locks import write_lock
from kit.marketplace import Marketplace, github, marketplace, package
from kit.packages import standard_set
from kit.plugins import pack, skeleton, write_plugin


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch) -> Iterator[Marketplace]:
    with marketplace() as market:
        monkeypatch.setenv("MARKETPLACE_API_URL", market.url)
        yield market


def test_fetch_keeps_every_byte(market: Marketplace, cache: Path, tmp_path: Path) -> None:
    path = package(tmp_path / "made")
    identifier = market.add(path)

    run = difyoff("fetch", "acme/tiny", "-o", "out", "--json", cwd=tmp_path)

    assert run.code == 0, run.stderr
    result = check_document(run.stdout, "fetch")["results"][0]
    fetched = tmp_path / "out" / "acme-tiny_0.1.0.difypkg"
    assert fetched.read_bytes() == path.read_bytes()
    assert result["path"] == "out/acme-tiny_0.1.0.difypkg"
    assert result["identity"] == result["origin"]["identifier"] == identifier
    assert result["sha256"] == sha256(path.read_bytes()).hexdigest()
    again = difyoff("fetch", "acme/tiny", "--offline", "-o", "out", cwd=tmp_path)
    assert again.code == 0
    assert again.stdout == "out/acme-tiny_0.1.0.difypkg\n"
    assert "up to date" in again.stderr
    fetched.write_bytes(b"mine")
    assert difyoff("fetch", "acme/tiny", "-o", "out", cwd=tmp_path).code == 1
    assert fetched.read_bytes() == b"mine"
    assert difyoff("fetch", "acme/tiny", "-o", "out", "--force", cwd=tmp_path).code == 0
    assert fetched.read_bytes() == path.read_bytes()


def test_fetch_goes_on_after_one_that_fails(market: Marketplace, cache: Path, tmp_path: Path) -> None:
    market.add(package(tmp_path / "made"))

    run = difyoff("fetch", "acme/gone", "acme/tiny", "--json", cwd=tmp_path)

    assert run.code == 4
    first, second = check_document(run.stdout, "fetch")["results"]
    assert first["diagnosis"]["slug"] == "plugin-not-found"
    assert second["status"] == "written"


def test_fetch_keeps_a_source_folder(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with github() as hub:
        for name, value in hub.environment.items():
            monkeypatch.setenv(name, value)
        hub.tree("acme/plugins", {f"tools/t/{path}": text.encode() for path, text in skeleton().items()}, ref="main")
        arguments = ("fetch", "github:acme/plugins@main//tools/t", "-o", "out")
        first = difyoff(*arguments, cwd=tmp_path)
        assert first.stdout == "out/difyoff-tiny_0.1.0\n"
        assert "fetching   github:acme/plugins@main//tools/t" in first.stderr
        assert (tmp_path / "out/difyoff-tiny_0.1.0/main.py").read_text() == skeleton()["main.py"]
        assert "up to date" in difyoff(*arguments, cwd=tmp_path).stderr
        (tmp_path / "out/difyoff-tiny_0.1.0/more").touch()
        assert difyoff(*arguments, cwd=tmp_path).code == 1
        assert difyoff(*arguments, "--force", cwd=tmp_path).code == 0
        assert not (tmp_path / "out/difyoff-tiny_0.1.0/more").exists()


def test_search_prints_a_line_for_each(market: Marketplace, cache: Path, tmp_path: Path) -> None:
    market.add(package(tmp_path))
    market.add(package(tmp_path, name="tiny_tool"), "acme/tiny_tool")

    run = difyoff("search", "tiny", cwd=tmp_path)

    assert run.code == 0, run.stderr
    assert [line.split() for line in run.stdout.splitlines()] == [
        ["acme/tiny_tool", "0.1.0", "9,000", "What", "tiny_tool", "does."],
        ["acme/tiny", "0.1.0", "4,000", "What", "tiny", "does."],
    ]
    assert "2 of 2 plugins" in run.stderr
    nothing = difyoff("search", "zzz", "--json", cwd=tmp_path)
    assert nothing.code == 1
    assert check_document(nothing.stdout, "search")["results"][0]["status"] == "nothing found"
    market.server.routes.clear()
    assert difyoff("search", "tiny", cwd=tmp_path).code == 6


def offline_plugin(folder: Path, name: str, version: str = "0.1.0") -> Path:
    plugin = write_plugin(
        folder / name, name=name, version=version, author="acme", pyproject=None, requirements="dify_plugin\n"
    )
    return pack(plugin, folder / f"{name}.difypkg")


def test_build_by_name_says_in_the_record_where_from(
    market: Marketplace, index: Index, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    original = offline_plugin(tmp_path / "made", "tiny")
    identifier = market.add(original)

    run = difyoff("build", "acme/tiny:0.1.0", "-o", "out", "--json", cwd=tmp_path)

    assert run.code == 0, run.stderr
    result = check_document(run.stdout, "build")["results"][0]
    assert result["origin"]["identifier"] == identifier
    with zipfile.ZipFile(tmp_path / "out/acme-tiny_0.1.0-offline.difypkg") as built:
        source = json.loads(built.read("difyoff.json"))["source"]
    assert source["sha256"] == sha256(original.read_bytes()).hexdigest()
    assert source["origin"] == result["origin"]
    assert source["origin"]["kind"] == "marketplace"
    local = difyoff("build", original, "-o", "local", cwd=tmp_path)
    assert local.code == 0
    with zipfile.ZipFile(tmp_path / "local/acme-tiny_0.1.0-offline.difypkg") as built:
        assert "origin" not in json.loads(built.read("difyoff.json"))["source"]


def test_build_an_app_and_its_copy(
    market: Marketplace, index: Index, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    listed = market.add(offline_plugin(tmp_path / "made", "tiny"))
    market.add(offline_plugin(tmp_path / "made", "agent", "0.2.0"), "acme/agent", "0.2.0")
    app = tmp_path / "app.yml"
    app.write_text(
        f"""\
app: {{name: x}}
dependencies:
- type: marketplace
  value:
    marketplace_plugin_unique_identifier: {listed}
kind: app
workflow:
  graph:
    nodes:
    - data:
        agent_strategy_provider_name: acme/agent/agent
        title: A
        type: agent
"""
    )

    run = difyoff("build", "app.yml", "-o", "out", "--json", cwd=tmp_path)

    assert run.code == 0, run.stderr
    results = check_document(run.stdout, "build")["results"]
    assert {result["app"] for result in results} == {"out/app-offline.yml"}
    copy = yaml.safe_load((tmp_path / "out/app-offline.yml").read_text())
    assert [each["value"]["plugin_unique_identifier"] for each in copy["dependencies"]] == [
        result["package"]["identity"] for result in results
    ]
    assert (tmp_path / "out/app-offline.yml").read_text().partition("kind: app")[2] == app.read_text().partition(
        "kind: app"
    )[2]
    assert "app-plugin-unlisted" in {finding["slug"] for result in results for finding in result["findings"]}
    again = difyoff("build", "app.yml", "-o", "out", cwd=tmp_path)
    assert again.code == 0
    assert again.stdout.splitlines()[-1] == "out/app-offline.yml"

    market.plugins.pop("acme/agent")
    market.server.routes = {path: each for path, each in market.server.routes.items() if "acme/agent" not in path}
    failed = difyoff("build", "app.yml", "-o", "other", cwd=tmp_path)
    assert failed.code == 4
    assert "is not copied: 1 of its 2 plugins were not built" in failed.stderr
    assert not (tmp_path / "other/app-offline.yml").exists()
    assert (tmp_path / "other/acme-tiny_0.1.0-offline.difypkg").exists()


@pytest.mark.parametrize("locked", [True, False], ids=["lock", "no lock"])
def test_build_offline_takes_all_from_the_cache_and_lists_what_is_missing(
    cache: Path, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, locked: bool
) -> None:
    plugin = write_plugin(tmp_path / "tiny")
    with serve(standard_set()) as index, marketplace() as market:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        monkeypatch.setenv("MARKETPLACE_API_URL", market.url)
        if locked:
            write_lock(plugin, index, uv_cache)
        market.add(pack(plugin, tmp_path / "tiny.difypkg"), "difyoff/tiny")
        early = difyoff("build", "difyoff/tiny", "--offline", "--json", cwd=tmp_path)
        assert early.code == 6
        assert early.result["diagnosis"]["slug"] == "not-in-store"
        assert not [request for request in index.requests if request.path.startswith("/files")] or locked
        assert difyoff("build", "difyoff/tiny", "-o", "online", cwd=tmp_path).code == 0

    again = difyoff("build", "difyoff/tiny", "--offline", "-o", "offline", cwd=tmp_path)

    assert again.code == 0, again.stderr
    (online,), (offline,) = (tmp_path / "online").iterdir(), (tmp_path / "offline").iterdir()
    assert online.read_bytes() == offline.read_bytes()
    with zipfile.ZipFile(offline) as built:
        gone = sorted(name for name in built.namelist() if name.startswith("wheels/"))[:2]
        digests = [sha256(built.read(name)).hexdigest() for name in gone]
    for digest in digests:
        (cache / "wheels" / "sha256" / digest[:2] / digest).unlink()
    missing = difyoff("build", "difyoff/tiny", "--offline", "-o", "third", "--json", cwd=tmp_path)
    assert missing.code == 6
    assert missing.result["diagnosis"]["slug"] == "not-in-store"
    assert missing.result["diagnosis"]["context"] == [name.removeprefix("wheels/") for name in gone]

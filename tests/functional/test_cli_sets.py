"""Sets as their users run them: difyoff.toml, many builds at once, shards, what is outdated."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.cli import difyoff
from kit.documents import check_document
from kit.index import Index, serve
from kit.marketplace import Marketplace, marketplace, package, send
from kit.packages import standard_set
from kit.plugins import pack, skeleton, write_plugin
from kit.wheels import wheel

NAMES = ("one", "two", "three", "four")


@pytest.fixture
def packages() -> Iterator[Index]:
    with serve(standard_set()) as index:
        yield index


@pytest.fixture
def site(packages: Index, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a set of four plugins that share their wheels, and one that is not there."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", packages.url)
    for name in NAMES:
        write_plugin(
            tmp_path / "plugins" / name, name=name, author="acme", pyproject=None, requirements="dify_plugin\n"
        )
    (tmp_path / "difyoff.toml").write_text(
        '[build]\noutput = "packages"\nsuffix = "-site"\nplugins = ["plugins/*", "./missing"]\n'
    )
    return tmp_path


def test_a_set_is_built_at_once_and_one_failure_stops_no_other(site: Path, packages: Index) -> None:
    below = site / "plugins" / "one"

    run = difyoff("build", "--json", cwd=below)

    assert run.code == 4, run.stderr
    results = check_document(run.stdout, "build")["results"]
    assert [Path(result["input"]).name for result in results] == [*sorted(NAMES), "missing"]
    assert [result["status"] for result in results] == ["written"] * 4 + ["failed"]
    assert {path.name for path in (site / "packages").iterdir()} == {
        f"acme-{name}_0.1.0-site.difypkg" for name in NAMES
    }
    fetched = Counter(packages.downloads)
    assert fetched
    assert set(fetched.values()) == {1}, "what plugins share is fetched once"
    assert "5 plugins: 4 written, 1 failed" in run.stderr
    assert run.stderr.count("FORCE_VERIFYING_SIGNATURE=false") == 1


def test_the_bytes_are_those_of_single_builds_and_of_shards(site: Path) -> None:
    assert difyoff("build", "-q", cwd=site).code == 4
    at_once = {path.name: path.read_bytes() for path in (site / "packages").iterdir()}

    for name in NAMES:
        assert difyoff("build", f"plugins/{name}", "--suffix=-site", "-o", "single", cwd=site).code == 0
    for part in ("1/2", "2/2"):
        difyoff("build", "--shard", part, "-o", part[0], cwd=site)

    assert {path.name: path.read_bytes() for path in (site / "single").iterdir()} == at_once
    shards = [{path.name: path.read_bytes() for path in site.glob(f"{part}/*")} for part in "12"]
    assert shards[0] | shards[1] == at_once
    assert not shards[0].keys() & shards[1].keys()


def test_options_overrule_the_set(site: Path) -> None:
    run = difyoff("build", "-o", "other", "--suffix", "-mine", "--config", "difyoff.toml", cwd=site)

    assert run.code == 4
    assert {path.name for path in (site / "other").iterdir()} == {f"acme-{name}_0.1.0-mine.difypkg" for name in NAMES}
    assert not (site / "packages").exists()


def test_no_plugin_and_no_set(tmp_path: Path) -> None:
    run = difyoff("build", cwd=tmp_path)
    assert run.code == 2
    assert "difyoff add PLUGIN" in run.stderr
    (tmp_path / "difyoff.toml").write_text("[site]\ndiffy = 1\n")
    run = difyoff("build", "--json", cwd=tmp_path)
    assert run.code == 2
    assert run.result["diagnosis"]["slug"] == "set-invalid"


def test_add_and_remove(tmp_path: Path) -> None:
    run = difyoff("add", "acme/tiny:0.1.0", "acme/other", "--json", cwd=tmp_path)
    assert run.code == 0
    assert [each["status"] for each in check_document(run.stdout, "add")["results"]] == ["added", "added"]
    assert "there already" in difyoff("add", "acme/other", cwd=tmp_path).stderr
    run = difyoff("remove", "acme/tiny", "--json", cwd=tmp_path)
    assert check_document(run.stdout, "remove")["results"][0]["input"] == "acme/tiny:0.1.0"
    assert difyoff("remove", "acme/tiny", cwd=tmp_path).code == 1
    assert '"acme/other"' in (tmp_path / "difyoff.toml").read_text()


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch) -> Iterator[Marketplace]:
    with marketplace() as market:
        monkeypatch.setenv("MARKETPLACE_API_URL", market.url)
        market.server.routes["/api/v1/plugins/batch"] = market.batch
        yield market


def test_what_is_outdated_is_asked_in_one_request(market: Marketplace, cache: Path, tmp_path: Path) -> None:
    for version, minimum in (("0.1.0", (1, 0, 0)), ("0.2.0", (2, 0, 0))):
        market.add(package(tmp_path, version=version), version=version, minimum=minimum)
    identifier = market.add(package(tmp_path, name="other"), "acme/other", status="deprecated")
    market.add(package(tmp_path, name="new"), "acme/new")
    (tmp_path / "difyoff.toml").write_text(
        f'[site]\ndify = "1.13.3"\n[build]\nplugins = ["acme/tiny:0.1.0", "{identifier}", "acme/new",'
        ' "acme/gone:1.0.0", "github:a/b@v1"]\n'
    )

    run = difyoff("outdated", "--json", cwd=tmp_path)

    assert run.code == 1, run.stderr
    results = check_document(run.stdout, "outdated")["results"]
    assert [(each["status"], each["latest"]) for each in results] == [
        ("outdated", "0.2.0"),
        ("current", "0.1.0"),
        ("current", "0.1.0"),
        ("not told", None),
        ("not told", None),
    ]
    assert [[finding["slug"] for finding in each["findings"]] for each in results[:2]] == [
        ["newer-dify-needed"],
        ["plugin-deprecated"],
    ]
    assert [request.method for request in market.server.requests] == ["POST"]
    plain = difyoff("outdated", cwd=tmp_path)
    assert plain.stdout == "acme/tiny  0.1.0 -> 0.2.0\n"
    market.plugins["acme/other"]["0.1.0"].identifier = f"acme/other:0.1.0@{'0' * 64}"
    assert len(difyoff("outdated", cwd=tmp_path).stdout.splitlines()) == 2
    market.server.routes["/api/v1/plugins/batch"] = lambda handler, _: send(handler, {}, 404)
    assert difyoff("outdated", cwd=tmp_path).code == 6


def test_what_is_locked_stays_when_the_world_moves_on(site: Path, packages: Index, market: Marketplace) -> None:
    (site / "difyoff.toml").write_text('[build]\nplugins = ["plugins/one", "plugins/two", "acme/tiny"]\n')
    write_plugin(site / "tiny", name="tiny", author="acme", pyproject=None, requirements="dify_plugin\n")
    identifier = market.add(pack(site / "tiny", site / "tiny.difypkg"))

    locked = difyoff("lock", "--json", cwd=site)
    assert locked.code == 0, locked.stderr
    results = check_document(locked.stdout, "lock")["results"]
    assert [(each["input"], each["source"], each["resolved"]) for each in results] == [
        ("./plugins/one", "./plugins/one", True),
        ("./plugins/two", "./plugins/two", True),
        ("acme/tiny", f"marketplace:{identifier}", True),
    ]
    text = (site / "difyoff.lock").read_text()
    assert str(site) not in text
    assert len([line for line in text.splitlines() if '{ name = "click"' in line]) == 3
    assert difyoff("lock", cwd=site).code == 0
    assert (site / "difyoff.lock").read_text() == text
    assert difyoff("build", "-q", "-o", "before", cwd=site).code == 0

    packages.distributions.append(wheel("click", "99.0.0"))
    newer = package(site / "newer", version="0.2.0")
    market.add(newer, version="0.2.0")
    after = difyoff("build", "--locked", "-q", "-o", "after", cwd=site)

    assert after.code == 0, after.stderr
    before = {path.name: path.read_bytes() for path in (site / "before").iterdir()}
    assert {path.name: path.read_bytes() for path in (site / "after").iterdir()} == before
    assert difyoff("build", "plugins/one", "-o", "now", cwd=site).code == 0
    assert (site / "now/acme-one_0.1.0-offline.difypkg").read_bytes() != before["acme-one_0.1.0-offline.difypkg"]


def test_drift_from_the_lock_is_refused(site: Path) -> None:
    config = site / "difyoff.toml"
    config.write_text('[build]\nplugins = ["plugins/one", "plugins/two"]\n')
    assert difyoff("build", "--locked", cwd=site).code == 1
    assert difyoff("lock", cwd=site).code == 0
    (site / "plugins/one/main.py").write_text("import os\n")

    changed = difyoff("build", "--locked", "--json", cwd=site)
    assert changed.code == 1
    first, second = changed.document["results"]
    assert first["diagnosis"]["slug"] == "lock-drift"
    assert second["status"] == "written"
    config.write_text('[build]\nplugins = ["plugins/two", "plugins/three"]\n')
    assert difyoff("build", "--locked", "--arch", "arm64", cwd=site).code == 1
    other = difyoff("build", "--locked", "--json", cwd=site)
    assert other.code == 1
    assert other.result["diagnosis"]["context"] == ["not locked: ./plugins/three", "gone: ./plugins/one"]
    (site / "difyoff.lock").write_text("version = 1\nplugin = 5\n")
    assert difyoff("build", "--locked", cwd=site).code == 2
    assert difyoff("build", "--locked", "plugins/two", cwd=site).code == 2


def test_an_upgrade_is_compared_verified_and_can_be_taken_back(
    site: Path, market: Marketplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = skeleton("tiny", "0.2.0", "acme")
    tool = "    tool:\n      enabled: true\n"
    storage = "    storage:\n      enabled: true\n      size: 4096\n"
    form = "  api_key:\n    type: secret-input\n    required: true\n    label:\n      en_US: Key\n"
    more = {
        "manifest.yaml": newer["manifest.yaml"].replace(tool, tool + storage),
        "provider/tiny.yaml": f"{newer['provider/tiny.yaml']}credentials_for_provider:\n{form}",
    }
    for version, files, requirements in (("0.1.0", {}, "dify_plugin\n"), ("0.2.0", more, "dify_plugin\ntqdm\n")):
        plugin = write_plugin(
            site / version,
            name="tiny",
            version=version,
            author="acme",
            pyproject=None,
            requirements=requirements,
            files=files,
        )
        market.add(pack(plugin, site / f"{version}.difypkg"), version=version)
    config = site / "difyoff.toml"
    text = '[build]\noutput = "out"\n# ours\nplugins = ["acme/tiny:0.1.0", "./plugins/one"]\n'
    config.write_text(text)
    assert difyoff("build", cwd=site).code == 0
    before = {path.name: path.read_bytes() for path in (site / "out").iterdir()}

    run = difyoff("upgrade", "--verify", "audit", "--json", cwd=site)

    assert run.code == 0, run.stderr
    moved, other = run.document["results"]
    assert (moved["status"], moved["new"], other["status"]) == ("upgraded", "acme/tiny:0.2.0", "not told")
    changes = {each["what"]: (each["old"], each["new"]) for each in moved["changes"]}
    assert changes["version"] == ("0.1.0", "0.2.0")
    assert changes["permissions"] == ("", "+storage, +storage.size 4096")
    assert changes["credentials"] == ("", "+tools.api_key (required)")
    assert changes["tqdm"] == ("-", "4.67.1")
    assert "within the limit" in changes["size"][1]
    assert config.read_text() == text.replace("0.1.0", "0.2.0")
    assert (site / "out/acme-tiny_0.2.0-offline.difypkg").exists()
    assert (site / "out/acme-tiny_0.2.0-offline.difypkg.json").exists()
    assert not (site / "out/acme-tiny_0.1.0-offline.difypkg").exists()

    back = difyoff("upgrade", "--back", cwd=site)
    assert back.code == 0, back.stderr
    assert config.read_text() == text
    assert {path.name: path.read_bytes() for path in (site / "out").iterdir() if path.is_file()} == before
    assert difyoff("upgrade", "--back", "acme/tiny", cwd=site).code == 0
    assert "0.2.0" in config.read_text()
    assert difyoff("upgrade", "--back", cwd=site).code == 0


def test_an_upgrade_that_is_refused_changes_nothing(site: Path, market: Marketplace) -> None:
    for version, requirements in (("0.1.0", "dify_plugin\n"), ("0.2.0", "dify_plugin\nnowhere-to-be-found\n")):
        plugin = write_plugin(
            site / version, name="tiny", version=version, author="acme", pyproject=None, requirements=requirements
        )
        market.add(pack(plugin, site / f"{version}.difypkg"), version=version)
    text = '[build]\noutput = "out"\nplugins = ["acme/tiny:0.1.0"]\n'
    (site / "difyoff.toml").write_text(text)
    assert difyoff("build", cwd=site).code == 0
    before = {path.name: path.read_bytes() for path in (site / "out").iterdir()}

    run = difyoff("upgrade", "acme/tiny", "--to", "0.2.0", "--verify", "audit", "--json", cwd=site)

    assert run.code != 0
    assert check_document(run.stdout, "upgrade")["results"][0]["status"] == "failed"
    assert (site / "difyoff.toml").read_text() == text
    assert {path.name: path.read_bytes() for path in (site / "out").iterdir()} == before
    assert difyoff("upgrade", "acme/none", cwd=site).code == 1
    assert difyoff("upgrade", "--to", "1.0.0", cwd=site).code == 2

"""Exported apps: which plugins they need, and their copy that names the packages that were made."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.difypkg.identity import Identity
from difyoff.sources.appcopy import rewrite
from difyoff.sources.source import Collection
from difyoff.sources.table import locate, locate_member
from kit.access import access_to, refused, slugs
from kit.marketplace import marketplace, package

APPS = Path(__file__).parents[2] / "fixtures" / "apps"
CHAT, OLD = APPS / "chat.yml", APPS / "old.yml"


def identity(plugin_id: str, version: str = "1.0.0") -> Identity:
    author, _, name = plugin_id.partition("/")
    return Identity(author=author, name=name, version=version, checksum="e" * 64)


def read(path: Path, tmp_path: Path) -> Collection:
    with access_to({}, tmp_path / "cache", offline=True) as (access, _):
        found = locate(str(path), access)
    assert isinstance(found, Collection)
    return found


def test_what_the_list_and_the_nodes_of_an_app_name(tmp_path: Path) -> None:
    found = read(CHAT, tmp_path)

    assert [(member.name, member.plugin_id) for member in found.members] == [
        (f"marketplace:acme/search:0.1.0@{'a' * 64}", "acme/search"),
        ("github:acme/repo@v0.2.0/model.difypkg", "acme/model"),
        ("marketplace:acme/own:0.0.1", "acme/own"),
        (f"marketplace:acme/agent:0.0.5@{'d' * 64}", "acme/agent"),
        ("marketplace:acme/lookup", "acme/lookup"),
        ("marketplace:acme/notes", "acme/notes"),
        ("marketplace:langgenius/gemini", "langgenius/gemini"),
        ("marketplace:langgenius/jina", "langgenius/jina"),
    ]
    unlisted, unknown = found.findings
    assert unlisted.slug == "app-plugin-unlisted"
    assert unlisted.context[0] == "acme/agent: agent node 'Agent'"
    assert unlisted.context[1] == "acme/lookup, its latest version: agent node 'Agent'"
    assert unknown.slug == "app-plugin-unknown"
    assert unknown.context == (
        "tool node 'Odd': Our Own Tool!: it is not the name of a plugin's provider",
        "llm node 'LLM': model nameless: it has no provider",
    )


def test_an_app_older_than_plugins(tmp_path: Path) -> None:
    found = read(OLD, tmp_path)

    assert {member.plugin_id for member in found.members} == {"langgenius/openai", "langgenius/jina_tool"}
    assert [finding.slug for finding in found.findings] == ["app-plugin-unlisted"]


def test_an_app_without_plugins(tmp_path: Path) -> None:
    app = tmp_path / "app.yml"
    app.write_text("kind: app\nworkflow:\n  graph:\n    nodes: []\n")

    found = read(app, tmp_path)

    assert found.members == ()
    assert [finding.slug for finding in found.findings] == ["app-without-plugins"]


@pytest.mark.parametrize(
    "text",
    ["", "a: 1", "kind: plugin", "[1, 2]", "kind: app\n\tx", "kind: app\nx: " + "[" * 20_000, "\x00", "kind: &a [*a]"],
)
def test_what_is_not_an_app(tmp_path: Path, text: str) -> None:
    app = tmp_path / "app.yml"
    app.write_text(text)
    with access_to({}, tmp_path / "cache") as (access, _):
        assert refused(str(app), access).slug == "not-an-app"


def test_an_app_that_refers_to_itself_is_read_once(tmp_path: Path) -> None:
    app = tmp_path / "app.yml"
    levels = "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    app.write_text(f"kind: app\nworkflow:\n  a0: &a0 {{provider: acme/x/x, name: m}}\n{levels}")

    assert [member.plugin_id for member in read(app, tmp_path).members] == ["acme/x"]


BUILT = {each: identity(each) for each in ("acme/search", "acme/model", "acme/own", "acme/agent")}


def test_the_copy_names_the_packages_and_changes_nothing_else() -> None:
    before = CHAT.read_bytes()

    after = rewrite(before, "chat.yml", BUILT)

    old, new = before.split(b"\n"), after.split(b"\n")
    first, last = old.index(b"dependencies:"), old.index(b"kind: app")
    assert new[: first + 1] == old[: first + 1]
    assert new[new.index(b"kind: app") :] == old[last:]
    assert b"# a comment that stays" in new
    assert yaml.safe_load(after)["dependencies"] == [
        {
            "current_identifier": None,
            "type": "package",
            "value": {"plugin_unique_identifier": str(each), "version": None},
        }
        for each in BUILT.values()
    ]
    assert rewrite(after, "chat.yml", BUILT) == after


def forms() -> list[Any]:
    listed = {
        "type": "marketplace",
        "value": {"marketplace_plugin_unique_identifier": f"acme/search:0.1.0@{'a' * 64}"},
    }
    other = {"type": "marketplace", "value": {"marketplace_plugin_unique_identifier": f"x/y:0.1.0@{'b' * 64}"}}
    flow = yaml.safe_dump(listed, default_flow_style=True, width=999).strip()
    lists = {
        "none": "",
        "null": "dependencies:\n",
        "null with a comment": "dependencies:  # nothing\n",
        "tilde": "dependencies: ~\n",
        "empty": "dependencies: []\n",
        "flow": f"dependencies: [{flow},\n  {{type: x}}]\n",
        "block": yaml.safe_dump({"dependencies": [listed, other]}, sort_keys=False),
        "indented": "dependencies:\n"
        + "".join(f"    {line}\n" for line in yaml.safe_dump([listed, other]).splitlines()),
        "comments": "dependencies:  # these\n- type: marketplace  # one\n  value:\n"
        f"    marketplace_plugin_unique_identifier: acme/search:0.1.0@{'a' * 64}  # two\n\n# three\n",
        "flow items": f"dependencies:\n- {{type: marketplace, value: {{marketplace_plugin_unique_identifier:"
        f" 'acme/search:0.1.0@{'a' * 64}'}}}}\n- {{type: unknown}}\n",
    }
    return [pytest.param(text, id=name) for name, text in lists.items()]


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("bom", ["", "\ufeff"], ids=["plain", "bom"])
@pytest.mark.parametrize("kind", ["before", "after", "last line"])
@pytest.mark.parametrize("listed", forms())
def test_lists_in_every_form(listed: str, kind: str, bom: str, end: str) -> None:
    head, tail = "app:\n  name: 'x 🌍 é'\n  text: |\n    dependencies: []\n", "workflow:\n  a: [1, 2]\n"
    text = {
        "before": f"{head}kind: app\n{listed}{tail}",
        "after": f"{head}{listed}kind: app\n{tail}",
        "last line": f"{head}kind: app\n{tail}{listed}".rstrip("\n"),
    }[kind]
    content = (bom + text.replace("\n", end)).encode()
    built = {each: identity(each) for each in ("acme/search", "new/one")}

    after = rewrite(content, "app.yml", built)

    data, old = yaml.safe_load(after), yaml.safe_load(content)
    names = [each.get("value", {}).get("plugin_unique_identifier") for each in data.pop("dependencies")]
    kept = len(old.pop("dependencies", None) or [])
    assert data == old
    assert {str(each) for each in built.values()} <= set(names)
    assert len(names) == max(kept - 1, 0) + 2
    assert after.startswith(bom.encode())
    assert after.count(b"\n") == after.count(end.encode())


def test_a_list_that_cannot_be_edited_is_refused() -> None:
    for text in ("kind: app\ndependencies: &x\n- type: a\nother: *x\n", "{kind: app}"):
        with pytest.raises(DifyoffError) as error:
            rewrite(text.encode(), "app.yml", BUILT)
        assert error.value.diagnosis.slug == "not-an-app"


def test_an_uploaded_package_is_looked_up_and_told_apart(tmp_path: Path) -> None:
    with marketplace() as market:
        market.add(package(tmp_path, name="own", version="0.0.1"), "acme/own", "0.0.1")
        with access_to({"MARKETPLACE_API_URL": market.url}, tmp_path / "cache") as (access, findings):
            found = locate(str(CHAT), access)
            assert isinstance(found, Collection)
            place = locate_member(found.members[2], access)
    assert place.name == "acme/own:0.0.1"
    assert slugs(findings) == ["other-package-of-version"]
    assert f"app      acme/own:0.0.1@{'c' * 64}" in findings[0].context

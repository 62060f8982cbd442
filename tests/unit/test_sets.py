"""A set's file: what it says, what it refuses, how it is edited, and how it is shared out."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from difyoff.cli.sets import config_schema
from difyoff.cli.site import SETTINGS
from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.sets.config import CONFIG, SetConfig, find_config, read_config
from difyoff.sets.edit import add_plugins, remove_plugins, replace_plugin
from difyoff.sets.shard import Shard

TEXT = """\
# our site
[site]
dify = "1.13.3"
arch = ["amd64", "arm64"]
max-size = "200MiB"

[build]
output = "packages"
# what we run
plugins = [
    "langgenius/openai:1.0.4",  # the models
    "github:owner/repo@v1",
    "./our-plugin",
    "apps/*.yml",
]
"""


def config(folder: Path, text: str = TEXT) -> SetConfig:
    (folder / CONFIG).write_text(text, encoding="utf-8")
    return read_config(folder / CONFIG, SETTINGS)


def test_a_set_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir()
    for name in ("b.yml", "a.yml"):
        (tmp_path / "apps" / name).touch()
    read = config(tmp_path)

    assert read.site == {"dify": "1.13.3", "arch": "all", "max-size": "200MiB"}
    assert read.output == tmp_path / "packages"
    assert read.expanded() == (
        *("langgenius/openai:1.0.4", "github:owner/repo@v1", str(tmp_path / "our-plugin")),
        *(str(tmp_path / "apps" / name) for name in ("a.yml", "b.yml")),
    )


def test_a_set_is_found_upwards(tmp_path: Path) -> None:
    config(tmp_path)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)

    assert find_config(deep) == tmp_path / CONFIG
    assert find_config(tmp_path / "a") == tmp_path / CONFIG


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[sites]", "Write `site`."),
        ("[site]\ndiffy = '1'", "Write `site.dify`."),
        ("[site]\nmax_size = '1M'", "Write `site.max-size`."),
        ("[build]\nplugin = []", "Write `build.plugins`."),
        ("[build]\nzzzzzz = 1", "Use one of these: output, plugins, suffix, verify."),
        ("[build]\nplugins = 'a/b'", "Correct the value"),
        ("[build]\nplugins = ['']", "Correct the value"),
        ("[site]\narch = []", "Correct the value"),
        ("[site]\ndify = {a = 1}", "Correct the value"),
        ("site = 1", "Correct the value"),
        ("[build]\noutput = 1", "Correct the value"),
        ("[build\n", "Correct the line"),
    ],
)
def test_what_a_set_must_not_say(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DifyoffError) as error:
        config(tmp_path, text)
    assert error.value.diagnosis.slug == "set-invalid"
    assert says in (error.value.diagnosis.hint or "")


def test_a_pattern_that_nothing_fits(tmp_path: Path) -> None:
    with pytest.raises(DifyoffError) as error:
        config(tmp_path).expanded()
    assert error.value.diagnosis.slug == "set-invalid"
    assert "apps/*.yml" in error.value.diagnosis.message


def test_edits_keep_comments(tmp_path: Path) -> None:
    path = config(tmp_path).path

    assert add_plugins(path, ["acme/new", "langgenius/openai:1.0.4", "acme/new"]) == ("acme/new",)
    assert path.read_text() == TEXT.replace('    "apps/*.yml",\n', '    "apps/*.yml",\n    "acme/new",\n')
    assert remove_plugins(path, ["acme/new"]) == ("acme/new",)
    assert path.read_text() == TEXT
    replace_plugin(path, "langgenius/openai:1.0.4", "langgenius/openai:1.0.5")
    assert path.read_text() == TEXT.replace("1.0.4", "1.0.5")
    assert remove_plugins(path, ["langgenius/openai"]) == ("langgenius/openai:1.0.5",)
    with pytest.raises(DifyoffError) as error:
        remove_plugins(path, ["github:owner/rebo@v1"])
    assert error.value.diagnosis.slug == "not-in-set"
    assert "github:owner/repo@v1" in (error.value.diagnosis.hint or "")


def test_a_first_plugin_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / CONFIG

    add_plugins(path, ["acme/one"])
    add_plugins(path, ["acme/two"])

    assert read_config(path, SETTINGS).plugins == ("acme/one", "acme/two")


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "a/b", "-1/2", "1/2/3", ""])
def test_what_is_not_a_shard(text: str) -> None:
    with pytest.raises(ValueError, match="part of a whole"):
        Shard.parse(text)


def test_every_plugin_has_one_shard_and_keeps_it() -> None:
    names = [f"author{number}/plugin{number}" for number in range(400)]
    shards = [Shard(number=number, count=8) for number in range(1, 9)]

    parts = [[name for name in names if shard.has(name)] for shard in shards]

    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(30 <= len(part) <= 75 for part in parts)
    assert [name for name in [*names, "one/more"] if shards[0].has(name)][: len(parts[0])] == parts[0]


def test_the_schema_is_up_to_date(pytestconfig: pytest.Config) -> None:
    file = files("difyoff.sets") / "difyoff.schema.json"
    text = json.dumps(config_schema(), indent=1, ensure_ascii=False) + "\n"
    if pytestconfig.getoption("--update-golden"):
        Path(str(file)).write_text(text, encoding="utf-8")

    assert file.read_text(encoding="utf-8") == text, "write it with --update-golden"

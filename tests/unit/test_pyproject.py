"""The offline `pyproject.toml`, whichever way the original is spelled."""

import tomllib
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from difyoff.difypkg.pyproject import (
    KEPT_SETTINGS,
    environment_marker,
    exclusion,
    offline_pyproject,
    pin_reference,
    resolvable_pyproject,
)
from difyoff.difypkg.target import TARGETS

AMD64 = (TARGETS["amd64"],)
BOTH = (TARGETS["amd64"], TARGETS["arm64"])
PINS = {"black": "25.1.0", "my-lib": "1.2"}

PROJECTS = (
    '[project]\nname = "tiny"\nversion = "0.1.0"\nrequires-python = ">=3.12"\ndependencies = ["idna"]\n',
    '[project]\nname = "tiny"  # the name\nversion = \'0.1.0\'\ndependencies = [\n    "idna", # why\n    "black @ git+https://index.example/b",\n]\n',
    'project.name = "tiny"\nproject.version = "0.1.0"\nproject.dependencies = ["idna"]\n',
    'project = { name = "tiny", version = "0.1.0", dependencies = ["idna"] }\n',
    '[project]\nname = "tiny"\ndynamic = ["version"]\ndependencies = []\n[project.urls]\nHome = "https://index.example"\n',
    '[project]\nname = "tiny"\ndynamic = ["version", "readme"]\nurls.Home = "x"\n',
    '["project"]\n"name" = "tiny"\nversion = "1"\n[project.optional-dependencies]\nall = ["black"]\n"no.ne" = []\n',
    (
        '[project]\nname = "Ti.ny"\nversion = "1"\ndependencies = ["ti_ny[all]"]\n'
        'optional-dependencies.all = ["My_Lib @ https://index.example/x.whl"]\n'
        'optional-dependencies.dev = ["black"]\n'
    ),
)
SETTINGS = (
    "",
    '[tool.uv]\nindex-url = "https://index.example"\noverride-dependencies = ["a==1"]\n',
    '[tool.uv]\noverride-dependencies = ["black @ https://index.example/b.whl"]  # pinned\ncache-dir = "x"\n',
    '[tool]\nuv.package = true\nuv.dev-dependencies = ["black"]\n',
    '[tool]\nuv = { no-binary = true, constraint-dependencies = ["a<2"] }\n',
    '[[tool.uv.index]]\nname = "a"\nurl = "https://index.example"\n[[tool.uv.index]]\nname = "b"\nurl = "u"\n',
    '[tool.uv.sources]\nblack = { git = "https://index.example/b" }\n',
    '[tool.uv.pip]\nindex-url = "x"\n[tool.uv.workspace]\nmembers = ["m"]\n',
    '[[tool.uv.dependency-metadata]]\nname = "a"\nrequires-dist = []\n[tool.uv]\nmanaged = false\n',
    '[tool.uv]\nconflicts = [[{ extra = "a" }, { extra = "b" }]]\nunknown-key = 1\nno-index = false\n',
)
OTHERS = (
    "",
    "# a remark\n\n",
    "[tool.ruff]\nline-length = 100\n[tool.ruff.lint]\nselect = ['E']\n",
    "[[tool.mypy.overrides]]\nmodule = 'a'\n[[tool.mypy.overrides]]\nmodule = 'b'\n",
    '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n',
    '[dependency-groups]\ndev = ["black", { include-group = "test" }]\ntest = []\n',
    'dependency-groups.dev = ["black"]\n',
    "[tool.black]\nregex = '''\n\\d+ \"quoted\"\n'''\nsince = 2024-01-01\nrate = 1e3\nhex = 0xFF\n",
    "[a.b.c]\nd = 1\n[a]\ne = 2\n",
)


def expected(text: str, version: str, overrides: list[str]) -> dict[str, Any]:
    """Say in plain data what the offline file must mean."""
    data = deepcopy(tomllib.loads(text))
    project = data["project"]
    project.setdefault("requires-python", ">=3.12")
    if "version" in project.get("dynamic", []):
        project["version"] = version
        project["dynamic"].remove("version")
        if not project["dynamic"]:
            del project["dynamic"]
    extras = project.pop("optional-dependencies", {})
    if any("[all]" in line for line in project.get("dependencies", [])):
        project["optional-dependencies"] = {"all": [_pinned(line) for line in extras["all"]]}
    if "dependencies" in project:
        project["dependencies"] = [_pinned(line) for line in project["dependencies"]]
    data.pop("dependency-groups", None)
    uv = data.setdefault("tool", {}).get("uv", {})
    kept = {key: value for key, value in uv.items() if key in KEPT_SETTINGS}
    for key in KEPT_SETTINGS[:2]:
        if key in kept:
            kept[key] = [_pinned(line) for line in kept[key]]
    if overrides:
        kept["override-dependencies"] = [*kept.get("override-dependencies", []), *overrides]
    data["tool"]["uv"] = kept | {
        "no-index": True,
        "find-links": ["./wheels/"],
        "package": False,
        "environments": [environment_marker(AMD64[0])],
    }
    return data


def _pinned(line: str) -> str:
    name, at, _ = line.partition(" @ ")
    return f"{name}=={PINS[name.lower().replace('_', '-')]}" if at else line


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Put the parts together in an order that TOML allows: what belongs to the root comes first."""
    parts = [draw(st.sampled_from(PROJECTS)), draw(st.sampled_from(SETTINGS))]
    parts += draw(st.lists(st.sampled_from(OTHERS), max_size=4, unique=True))
    parts = draw(st.permutations(parts))
    text = "\n".join(sorted(parts, key=lambda part: part.startswith("[")))
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        text = "\n".join(parts[:2]) if parts[0] in PROJECTS else "\n".join(parts[1::-1])
        text = text if _parses(text) else PROJECTS[0]
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


def _parses(text: str) -> bool:
    try:
        return "project" in tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False


@given(text=documents(), overrides=st.lists(st.sampled_from([exclusion("c"), "d==1"]), unique=True))
@example(text=PROJECTS[2] + OTHERS[6] + SETTINGS[3], overrides=[])
@example(text=PROJECTS[3] + OTHERS[6] + SETTINGS[5] + OTHERS[2], overrides=["d==1"])
def test_means_what_it_must_and_nothing_else_changes(text: str, overrides: list[str]) -> None:
    offline, _ = offline_pyproject(text, targets=AMD64, version="9.9", pins=PINS, overrides=overrides)

    assert tomllib.loads(offline) == expected(text, "9.9", overrides)
    again, _ = offline_pyproject(offline, targets=AMD64, version="9.9", pins=PINS)
    assert tomllib.loads(again) == tomllib.loads(offline)
    assert offline_pyproject(text, targets=AMD64, version="9.9", pins=PINS, overrides=overrides)[0] == offline
    if "\r\n" in text:
        assert "\n" not in offline.replace("\r\n", "")


@given(text=documents())
def test_resolving_keeps_where_dependencies_come_from(text: str) -> None:
    data = tomllib.loads(text)

    result = tomllib.loads(resolvable_pyproject(text, BOTH, "9.9"))

    before, after = data.get("tool", {}).get("uv", {}), result["tool"]["uv"]
    assert result["project"]["version"] == ("9.9" if "dynamic" in data["project"] else data["project"]["version"])
    assert result["project"].get("dependencies") == data["project"].get("dependencies")
    assert "dependency-groups" not in result
    assert after["environments"] == [environment_marker(target) for target in BOTH]
    assert after["package"] is False
    for key in ("index", "index-url", "sources", "workspace", "pip", *KEPT_SETTINGS):
        assert after.get(key) == before.get(key)


def test_what_is_not_named_keeps_its_bytes() -> None:
    text = """\
# Our plugin
[project]   # PEP 621
name    = "tiny"
version = '0.1.0'
requires-python = ">=3.12"
dependencies = [
    "idna",     # for names
]

[tool.ruff]
select = [ "E",
           "F" ]   # as we like it
"""
    offline, edits = offline_pyproject(text, targets=BOTH, version="0.1.0", pins={})

    assert offline.startswith(text)
    assert "[tool.uv]" in offline.removeprefix(text)
    assert all(edit.file == "pyproject.toml" and edit.what and edit.why for edit in edits)


def test_every_removal_is_an_edit() -> None:
    text = PROJECTS[6] + SETTINGS[1] + OTHERS[5]

    _, edits = offline_pyproject(text, targets=AMD64, version="1", pins={})

    said = "\n".join(edit.what for edit in edits)
    for word in ("requires-python", "all, no.ne removed", "dependency-groups (dev, test)", "tool.uv.index-url"):
        assert word in said


def test_a_project_bundled_as_its_own_wheel_takes_another_name() -> None:
    offline, _ = offline_pyproject(PROJECTS[0], targets=AMD64, version="1", pins={}, own_wheel=("tiny", "0.1.0"))

    project = tomllib.loads(offline)["project"]
    assert project["name"] == "tiny-plugin"
    assert project["dependencies"] == ["idna", "tiny==0.1.0"]


@pytest.mark.parametrize(
    ("line", "pinned"),
    [
        ("black @ https://index.example/black.whl", "black==25.1.0"),
        (
            "Black[d,c] @ git+https://index.example/b@main ; python_version < '3.13'",
            'Black[c,d]==25.1.0; python_version < "3.13"',
        ),
        ("unknown @ https://index.example/u.whl", "unknown"),
        ("black>=24", None),
        ("-e .", None),
        ("", None),
    ],
)
def test_a_direct_reference_becomes_a_pin(line: str, pinned: str | None) -> None:
    assert pin_reference(line, PINS) == pinned

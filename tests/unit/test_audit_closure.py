"""The walk through wheels' metadata, without any wheel."""

from collections.abc import Sequence
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import parse_tag
from packaging.utils import canonicalize_name
from packaging.version import Version

from difyoff.difypkg.archives.wheel import WheelReport
from difyoff.difypkg.target import TARGETS
from difyoff.verify.audit.closure import Closure, read_project, read_rules, walk
from difyoff.verify.audit.universal import find_universal, is_confined_alike, list_resolved_worlds
from difyoff.verify.contents.lock import read_lock
from difyoff.verify.contents.wheels import BundledWheel, Wheelhouse
from difyoff.verify.contents.world import world_of

X86_64 = "cp312-cp312-manylinux_2_17_x86_64"
AARCH64 = "cp312-cp312-manylinux_2_17_aarch64"


def _wheel(
    name: str, version: str = "1.0", *requires: str, tag: str = "py3-none-any", python: str = ""
) -> BundledWheel:
    return BundledWheel(
        path=f"wheels/{name}-{version}-{tag}.whl",
        name=canonicalize_name(name),
        version=Version(version),
        tags=parse_tag(tag),
        sha256="0" * 64,
        size=1,
        requires=tuple(map(Requirement, requires)),
        requires_python=SpecifierSet(python) if python else None,
        libraries=(),
        report=WheelReport(filename=f"{name}-{version}-{tag}.whl"),
    )


def _walk(
    dependencies: Sequence[str], *wheels: BundledWheel, arch: str = "amd64", project: Any = None, **settings: Any
) -> Closure:
    return walk(
        read_project({"name": "plugin", "dependencies": list(dependencies), **(project or {})}),
        Wheelhouse(wheels=wheels),
        world_of(TARGETS[arch]),
        read_rules({key.replace("_", "-"): value for key, value in settings.items()}),
    )


def _picked(closure: Closure) -> dict[str, str]:
    return {str(name): str(wheel.version) for name, wheel in closure.picked.items()}


def _gaps(closure: Closure) -> list[tuple[str, str]]:
    return [(each.slug, each.subject) for each in closure.missing]


def test_the_closure_follows_metadata() -> None:
    closure = _walk(["a"], _wheel("a", "1.0", "b>=2"), _wheel("b", "2.1", "c"), _wheel("c"), _wheel("unused"))
    assert _picked(closure) == {"a": "1.0", "b": "2.1", "c": "1.0"}
    assert closure.missing == ()


def test_a_missing_wheel_is_told_with_who_wants_it() -> None:
    (gap,) = _walk(["a"], _wheel("a", "1.0", "B_b>=2")).missing
    assert (gap.slug, gap.subject, gap.diagnosis.message) == ("missing-wheel", "b-b", "B_b>=2, wanted by a 1.0")


def test_a_version_that_is_there_and_does_not_do_is_told() -> None:
    (gap,) = _walk(["a", "b"], _wheel("a", "1.0", "b>=2"), _wheel("b", "1.0")).missing
    assert gap.slug == "missing-wheel"
    assert "1.0 is there" in gap.diagnosis.message
    assert "a wants b>=2" in gap.diagnosis.message.replace("a 1.0", "a")


def test_markers_are_those_of_the_target() -> None:
    needs = ['win; sys_platform == "win32"', 'arm; platform_machine == "aarch64"', 'new; python_version >= "3.13"']
    assert _gaps(_walk(["a"], _wheel("a", "1.0", *needs))) == []
    assert _gaps(_walk(["a"], _wheel("a", "1.0", *needs), arch="arm64")) == [("missing-wheel", "arm")]


def test_extras_count_where_they_are_asked_for() -> None:
    a = _wheel("a", "1.0", 'b; extra == "fast"', 'c; extra == "fast" and sys_platform == "win32"')
    assert _picked(_walk(["a"], a)) == {"a": "1.0"}
    assert _gaps(_walk(["a[fast]"], a)) == [("missing-wheel", "b")]
    assert _gaps(_walk(["a", "z"], a, _wheel("z", "1.0", "a[Fast]"))) == [("missing-wheel", "b")]


def test_a_plugin_may_ask_for_its_own_extras() -> None:
    project = {"optional-dependencies": {"all": ["plugin[one]", "b"], "one": ["c"], "other": ["d"]}}
    assert _gaps(_walk(["plugin[all]"], _wheel("b"), project=project)) == [("missing-wheel", "c")]


def test_pre_releases_count_when_they_are_all_there_is() -> None:
    assert _picked(_walk(["a>=1"], _wheel("a", "2.0b1"))) == {"a": "2.0b1"}


def test_the_newest_version_that_all_allow_is_taken() -> None:
    wheels = [_wheel("a", "1.0", "b<2"), _wheel("b", "1.5"), _wheel("b", "2.5")]
    assert _picked(_walk(["b", "a"], *wheels)) == {"a": "1.0", "b": "1.5"}
    assert _picked(_walk(["b"], *wheels)) == {"b": "2.5"}


def test_an_override_stands_in_for_every_requirement() -> None:
    a = _wheel("a", "1.0", "b>=2", "c @ https://files.example/c.whl")
    closure = _walk(["a"], a, _wheel("b", "1.0"), _wheel("c"), override_dependencies=["b==1.0", "c==1.0"])
    assert closure.missing == ()
    assert _walk(["a"], a, override_dependencies=["b; python_version < '0'", "c; python_version < '0'"]).missing == ()


def test_an_override_keeps_the_extra_it_hangs_on() -> None:
    a = _wheel("a", "1.0", 'b; extra == "fast"')
    assert _gaps(_walk(["a"], a, override_dependencies=["b==1.0"])) == []
    assert _gaps(_walk(["a[fast]"], a, override_dependencies=["b==1.0"])) == [("missing-wheel", "b")]


def test_a_constraint_narrows_and_asks_for_nothing() -> None:
    assert _gaps(_walk(["a"], _wheel("a", "2.0"), constraint_dependencies=["a<2", "other==1"])) == [
        ("missing-wheel", "a")
    ]


def test_metadata_of_the_plugin_s_own_stands_in_for_a_wheel_s() -> None:
    entry = {"name": "A", "requires-dist": ["c"]}
    assert _gaps(_walk(["a"], _wheel("a", "1.0", "b"), dependency_metadata=[entry])) == [("missing-wheel", "c")]


@pytest.mark.parametrize(
    ("tag", "slug"),
    [
        ("cp313-cp313-manylinux_2_17_x86_64", "wrong-python-tag"),
        ("pp311-pypy311_pp73-manylinux_2_17_x86_64", "wrong-python-tag"),
        (AARCH64, "wrong-platform"),
        ("cp312-cp312-manylinux_2_40_x86_64", "wrong-platform"),
        ("cp312-cp312-musllinux_1_2_x86_64", "wrong-platform"),
        ("cp312-cp312-win_amd64", "wrong-platform"),
        ("cp312-cp312-manylinux_2_39_x86_64", None),
        ("cp39-abi3-manylinux1_x86_64", None),
        ("py2.py3-none-any", None),
    ],
)
def test_tags_are_held_against_the_target(tag: str, slug: str | None) -> None:
    assert _gaps(_walk(["a"], _wheel("a", tag=tag))) == ([(slug, "a")] if slug else [])


def test_a_wheel_of_another_machine_beside_the_right_one_is_no_matter() -> None:
    wheels = [_wheel("a", tag=X86_64), _wheel("a", tag=AARCH64)]
    for arch in ("amd64", "arm64"):
        assert _walk(["a"], *wheels, arch=arch).missing == ()


def test_a_wheel_that_excludes_the_python_is_told() -> None:
    assert _gaps(_walk(["a"], _wheel("a", python=">=3.13"))) == [("python-version-mismatch", "a")]
    assert _gaps(_walk(["a"], _wheel("a", python=">=3.8,!=3.9.*"))) == []


def test_a_url_is_told() -> None:
    assert _gaps(_walk(["a @ https://files.example/a.whl"], _wheel("a"))) == [("direct-reference", "a")]


def test_wheels_that_require_each_other_end() -> None:
    closure = _walk(["a[x]"], _wheel("a", "1.0", "b[y]", 'c; extra == "x"'), _wheel("b", "1.0", "a[x]"), _wheel("c"))
    assert _picked(closure) == {"a": "1.0", "b": "1.0", "c": "1.0"}


def _universal(requires: str, environments: Sequence[str], python: str = ">=3.12") -> list[str]:
    project = read_project({"name": "plugin", "dependencies": ["a"]})
    house = Wheelhouse(wheels=(_wheel("a", "1.0", requires),))
    closure = walk(project, house, world_of(TARGETS["amd64"]), read_rules({}))
    worlds = list_resolved_worlds(python, tuple(map(Marker, environments)))
    return [
        each.subject for each in find_universal(project, house, read_rules({}), worlds, {TARGETS["amd64"]: closure})
    ]


@pytest.mark.parametrize(
    ("requires", "asked"),
    [
        ('b; sys_platform == "win32"', True),
        ('b; platform_python_implementation == "PyPy"', True),
        ('b; python_version >= "3.13"', True),
        ('b; platform_machine == "aarch64"', True),
        ('b; python_version < "3.11"', False),
        ('b; extra == "never"', False),
    ],
)
def test_without_environments_uv_asks_for_what_others_need(requires: str, asked: bool) -> None:
    confined = "sys_platform == 'linux' and platform_machine == 'x86_64' and python_full_version < '3.13'"
    assert _universal(requires, []) == (["b"] if asked else [])
    assert _universal(requires, [f"{confined} and platform_python_implementation == 'CPython'"]) == []


def test_an_older_python_counts_where_the_plugin_allows_it() -> None:
    assert _universal('b; python_version < "3.11"', [], python=">=3.10") == ["b"]


def test_a_lock_for_the_same_environments_in_other_words_is_alike() -> None:
    written = Marker("sys_platform == 'linux' and python_full_version >= '3.12' and python_full_version < '3.13'")
    lock = read_lock({"supported-markers": ["python_full_version < '3.13' and sys_platform == 'linux'"]})
    assert is_confined_alike(lock, ">=3.12", (written,))
    assert not is_confined_alike(lock, ">=3.12", ())
    assert not is_confined_alike(read_lock({}), ">=3.12", (written,))

"""Targets: what their markers and tags say of real wheels."""

from typing import cast

import pytest
from packaging.markers import Marker
from packaging.tags import parse_tag

from difyoff.difypkg.record import TargetRecord
from difyoff.difypkg.target import ARCHITECTURES, TARGETS, Architecture, Target


@pytest.mark.parametrize(
    ("tag", "amd64", "arm64"),
    [
        ("py3-none-any", True, True),
        ("py2.py3-none-any", True, True),
        ("cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64", True, False),
        ("cp312-cp312-manylinux_2_17_aarch64.manylinux2014_aarch64", False, True),
        ("cp312-cp312-manylinux1_x86_64", True, False),
        ("cp312-cp312-manylinux2010_x86_64", True, False),
        ("cp312-cp312-manylinux_2_39_x86_64", True, False),
        ("cp312-cp312-manylinux_2_40_x86_64", False, False),
        ("cp312-cp312-linux_aarch64", False, True),
        ("cp37-abi3-manylinux_2_28_x86_64", True, False),
        ("cp313-abi3-manylinux_2_28_x86_64", False, False),
        ("cp313-cp313-manylinux_2_17_x86_64", False, False),
        ("cp311-cp311-manylinux_2_17_x86_64", False, False),
        ("cp312-none-any", True, True),
        ("py313-none-any", False, False),
        ("cp312-cp312-musllinux_1_2_x86_64", False, False),
        ("cp312-cp312-win_amd64", False, False),
        ("cp312-cp312-macosx_11_0_arm64", False, False),
        ("pp310-pypy310_pp73-manylinux_2_17_x86_64", False, False),
        ("cp312-cp312t-manylinux_2_17_x86_64", False, False),
    ],
)
def test_accepts_the_wheels_that_the_image_does(tag: str, amd64: bool, arm64: bool) -> None:
    fits = {name: not parse_tag(tag).isdisjoint(TARGETS[name].tags) for name in ARCHITECTURES}

    assert fits == {"amd64": amd64, "arm64": arm64}


def test_prefers_the_most_specific_wheel() -> None:
    tags = [str(tag) for tag in TARGETS["amd64"].tags]

    best = [
        "cp312-cp312-manylinux_2_39_x86_64",
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp312-abi3-manylinux_2_39_x86_64",
    ]
    assert [tags.index(tag) for tag in best] == sorted(tags.index(tag) for tag in best)
    assert tags[-1] == "py30-none-any"
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize(
    ("marker", "amd64", "arm64"),
    [
        ("sys_platform == 'linux'", True, True),
        ("sys_platform == 'win32' or os_name == 'nt'", False, False),
        ("platform_machine == 'x86_64'", True, False),
        ("platform_machine == 'aarch64'", False, True),
        ("python_version >= '3.12' and python_full_version < '3.12.4'", True, True),
        ("platform_python_implementation == 'PyPy'", False, False),
        ("implementation_name == 'cpython'", True, True),
        ("extra == 'dev'", False, False),
    ],
)
def test_markers(marker: str, amd64: bool, arm64: bool) -> None:
    met = {name: Marker(marker).evaluate(_environment(name)) for name in ARCHITECTURES}

    assert met == {"amd64": amd64, "arm64": arm64}


def _environment(architecture: Architecture) -> dict[str, str]:
    return {**cast("dict[str, str]", TARGETS[architecture].environment), "extra": ""}


@pytest.mark.parametrize(
    ("architecture", "name"), [("amd64", "x86_64-manylinux_2_39"), ("arm64", "aarch64-manylinux_2_39")]
)
def test_the_name_that_uv_takes(architecture: Architecture, name: str) -> None:
    assert TARGETS[architecture].uv_platform == name


def test_another_image() -> None:
    target = Target(architecture="arm64", python="3.13.1", glibc=(2, 36))

    assert target.python_minor == (3, 13)
    assert target.environment["python_full_version"] == "3.13.1"
    assert target.environment["python_version"] == "3.13"
    assert str(target.tags[0]) == "cp313-cp313-manylinux_2_36_aarch64"


@pytest.mark.parametrize(
    ("specifier", "admitted"),
    [
        ("", True),
        (">=3.12", True),
        (">=3.12.2", True),
        (">=3.12.4", False),
        (">=3.9,<3.13", True),
        (">=3.13", False),
        ("==3.12.*", True),
        ("~=3.11", True),
        ("===3.12.3", True),
        (">=3.13.0a1", False),
        ("three", False),
        (">=3.12 <3.13", False),
        (">=", False),
    ],
)
def test_a_specifier_admits_the_image_s_python_or_not(specifier: str, admitted: bool) -> None:
    assert Target(architecture="amd64").admits(specifier) is admitted


@pytest.mark.parametrize("target", [*TARGETS.values(), Target(architecture="arm64", python="3.12.9", glibc=(2, 36))])
def test_a_record_names_a_target_and_gives_it_back(target: Target) -> None:
    assert TargetRecord.of(target).target == target


@pytest.mark.parametrize(
    ("architecture", "python", "glibc"),
    [("riscv64", "3.12.3", "2.39"), ("amd64", "3.12", "2.39"), ("amd64", "3.12.3", "2"), ("amd64", "x", "y")],
)
def test_a_record_of_something_else_gives_none(architecture: str, python: str, glibc: str) -> None:
    assert TargetRecord(architecture=architecture, python=python, glibc=glibc).target is None

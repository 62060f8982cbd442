"""What the audit reads off a package's texts: requirements, lock, settings, and where a fault bites."""

import tomllib
from typing import Any

import pytest

from difyoff.difypkg.dependencies import DependencyFiles
from difyoff.difypkg.diagnosis import Diagnosis
from difyoff.difypkg.target import TARGETS
from difyoff.verify.audit.dependencies import find_unlocked
from difyoff.verify.audit.settings import find_open_indexes, find_redirections, find_wrong_python
from difyoff.verify.contents.lock import find_installed, read_lock
from difyoff.verify.contents.requirements import read_requirements
from difyoff.verify.contents.settings import find_folder, read_settings
from difyoff.verify.contents.world import world_of
from difyoff.verify.finding import (
    FROZEN,
    REQUIREMENTS,
    RESOLVING,
    SYNC,
    Branches,
    Finding,
    find_branches,
    name_releases,
)

AMD64 = TARGETS["amd64"]
ALL = ("requirements.txt", "pyproject.toml", "uv.lock")


def _files(pyproject: str = "", lock: str | None = None) -> DependencyFiles:
    return DependencyFiles(
        requirements=None,
        pyproject_text=pyproject,
        lock=lock,
        pyproject=tomllib.loads(pyproject) if pyproject else None,
    )


def test_requirements_are_read_as_uv_reads_them() -> None:
    read = read_requirements(
        (
            "--no-index --find-links=./wheels/",
            "a==1.0 --hash=sha256:aa --hash=sha256:bb",
            'b>=2 ; python_version >= "3.12"  --hash sha256:cc',
            "./wheels/c_c-1.0-py3-none-any.whl",
            "-f other",
            "--extra-index-url https://index.example/simple",
            "-r more.txt",
            "!!",
        )
    )
    assert read.no_index
    assert read.find_links == ("./wheels/", "other")
    assert read.indexes == ("https://index.example/simple",)
    assert [str(each) for each in read.requires] == ["a==1.0", 'b>=2; python_version >= "3.12"', "c-c==1.0"]
    assert read.hashes == {"a": {"aa", "bb"}, "b": {"cc"}}
    assert read.unread == ("-r more.txt", "!!")


@pytest.mark.parametrize(
    ("link", "place"),
    [
        ("./wheels/", "wheels"),
        ("wheels", "wheels"),
        ("a/../wheels", "wheels"),
        (".", "."),
        ("/opt/wheels", None),
        ("../wheels", None),
        ("https://files.example/", None),
    ],
)
def test_a_folder_of_wheels_is_one_of_the_package(link: str, place: str | None) -> None:
    assert find_folder(link) == place


@pytest.mark.parametrize(
    ("settings", "bites"),
    [
        ("", None),
        ('no-index = true\nfind-links = ["./wheels/"]\npackage = false\nprerelease = "allow"', None),
        ('cache-dir = "x"', frozenset({*SYNC, *REQUIREMENTS, None})),
        ('a-key-of-next-year = "x"', frozenset({*SYNC, *REQUIREMENTS, None})),
        ("pip = {system = true}", REQUIREMENTS),
        ('sources = {a = {path = "a"}}', RESOLVING),
        ('find-links = ["https://files.example/"]', frozenset({*SYNC, *REQUIREMENTS, None})),
    ],
)
def test_only_settings_known_to_be_harmless_pass(settings: str, bites: Branches | None) -> None:
    files = _files(f"[project]\nname = 'a'\n[tool.uv]\n{settings}\n")
    faults = list(find_redirections(read_settings(files, None), None))
    assert [fault.bites for fault in faults] == ([bites] if bites else [])


def test_uv_toml_rules_over_pyproject() -> None:
    files = _files("[project]\nname = 'a'\n[tool.uv]\nno-index = true\n")
    requirements = read_requirements(("a",))
    assert list(find_open_indexes(files, read_settings(files, None), requirements)) == []
    overruled = read_settings(files, {"find-links": ["wheels"]})
    assert [fault.diagnosis.slug for fault in find_open_indexes(files, overruled, requirements)] == [
        "index-not-disabled"
    ] * 2


@pytest.mark.parametrize(
    ("request_", "is_met"),
    [
        ("3.12", True),
        ("3", True),
        ("3.12.3", True),
        ("cpython@3.12", True),
        ("cpython-3.12", True),
        (">=3.11,<3.14", True),
        ("# a comment\n\n3.12\n3.13", True),
        ("", True),
        ("3.1", False),
        ("3.12.7", False),
        ("3.13", False),
        ("pypy@3.12", False),
        ("/usr/bin/python3", False),
        (">=3.13", False),
    ],
)
def test_a_version_file_must_ask_for_the_image_s_python(request_: str, is_met: bool) -> None:
    faults = list(find_wrong_python(_files(), {".python-version": request_}, (AMD64,)))
    assert [fault.diagnosis.slug for fault in faults] == ([] if is_met else ["python-version-mismatch"])
    assert all(fault.bites == SYNC for fault in faults)


@pytest.mark.parametrize(
    ("wanted", "is_met"), [(">=3.12", True), (">=3.12.4", False), ("<3.12", False), ("==3.12.*", True)]
)
def test_requires_python_is_judged_by_the_image_s_full_version(wanted: str, is_met: bool) -> None:
    files = _files(f"[project]\nname = 'a'\nrequires-python = '{wanted}'\n")
    assert (not list(find_wrong_python(files, {}, (AMD64,)))) is is_met


LOCK = """
version = 1
[[package]]
name = "plugin"
source = { virtual = "." }
dependencies = [{ name = "a", extra = ["fast"] }, { name = "w", marker = "sys_platform == 'win32'" }]
dev-dependencies = { dev = [{ name = "black" }] }
[[package]]
name = "a"
version = "1.0"
source = { registry = "wheels" }
wheels = [{ path = "a-1.0-py3-none-any.whl", hash = "sha256:aa" }]
[package.optional-dependencies]
fast = [
    { name = "n", version = "2.0", marker = "platform_machine == 'x86_64'" },
    { name = "n", version = "1.0", marker = "platform_machine == 'aarch64'" },
]
slow = [{ name = "s" }]
[[package]]
name = "n"
version = "1.0"
source = { registry = "wheels" }
[[package]]
name = "n"
version = "2.0"
source = { registry = "https://index.example/simple" }
wheels = [{ url = "https://files.example/n-2.0-py3-none-any.whl", hash = "sha256:bb" }]
[[package]]
name = "w"
version = "1.0"
source = { registry = "wheels" }
[[package]]
name = "s"
version = "1.0"
source = { registry = "wheels" }
[[package]]
name = "black"
version = "1.0"
source = { registry = "wheels" }
"""


def _lock(text: str = LOCK) -> Any:
    return read_lock(tomllib.loads(text))


@pytest.mark.parametrize(("arch", "version"), [("amd64", "2.0"), ("arm64", "1.0")])
def test_a_frozen_install_takes_what_the_lock_leads_to(arch: str, version: str) -> None:
    taken = find_installed(_lock(), world_of(TARGETS[arch]))
    assert sorted((each.name, each.version) for each in taken) == [("a", "1.0"), ("n", version)]


def test_what_a_frozen_install_would_fetch_or_miss_is_told() -> None:
    world = world_of(AMD64)
    gaps = {gap.subject: gap.slug for gap in find_unlocked(find_installed(_lock(), world), {}, world)}
    assert gaps == {"a": "missing-wheel", "n": "lock-pins-remote-urls"}
    there = {"wheels/a-1.0-py3-none-any.whl": "aa"}
    gaps = {gap.subject: gap.slug for gap in find_unlocked(find_installed(_lock(), world), there, world)}
    assert gaps == {"n": "lock-pins-remote-urls"}


@pytest.mark.parametrize("text", ["package = [1]", "package = [{name = 'a'}]", "supported-markers = ['no marker']"])
def test_what_is_no_lock_is_told(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is tomllib's or packaging's
        _lock(text)


@pytest.mark.parametrize(
    ("bites", "line"),
    [
        (REQUIREMENTS, "bites daemons up to 0.5.2, and with a mirror set from 0.6.3 on"),
        (RESOLVING, "bites daemons 0.5.3 to 0.5.4"),
        (FROZEN, "bites daemons from 0.5.5 on"),
        (frozenset({"sync-offline"}), "bites daemons 0.5.4"),
        (SYNC | REQUIREMENTS, None),
    ],
)
def test_the_releases_that_a_fault_bites_are_named(bites: Branches, line: str | None) -> None:
    fault = Finding(diagnosis=Diagnosis(slug="x", message="x"), bites=bites)
    context = name_releases(fault, ALL).diagnosis.context
    assert context == ((line,) if line else ())


def test_the_branches_met_depend_on_the_files() -> None:
    assert find_branches(ALL) == {"requirements", "sync", "sync-offline", "sync-frozen"}
    assert find_branches(("requirements.txt",)) == {"requirements"}
    assert find_branches(("pyproject.toml",)) == {None, "sync", "sync-offline"}

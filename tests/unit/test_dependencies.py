"""A plugin's dependency files: which there are, and what they say."""

import codecs
from collections.abc import Collection

import pytest

from difyoff.difypkg.dependencies import (
    DependencyFiles,
    check_dynamic,
    check_python,
    decode,
    disagreements,
    offline_maker,
    offline_marks,
    parse_toml,
    read_dependency_files,
)
from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.difypkg.pep508 import parse_marker, parse_requirement
from difyoff.difypkg.target import TARGETS

PROJECT = '[project]\nname = "tiny"\nversion = "1"\n'


def files(*, requirements: str | None = None, pyproject: str | None = None, lock: str | None = None) -> DependencyFiles:
    given = {"requirements.txt": requirements, "pyproject.toml": pyproject, "uv.lock": lock}
    return read_dependency_files({name: text.encode() for name, text in given.items() if text is not None})


def slug_of(error: pytest.ExceptionInfo[DifyoffError]) -> str:
    return error.value.diagnosis.slug


@pytest.mark.parametrize(
    "content",
    [
        "é\n".encode(),
        codecs.BOM_UTF8 + "é\n".encode(),
        codecs.BOM_UTF16_LE + "é\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "é\n".encode("utf-16-be"),
    ],
    ids=["utf-8", "utf-8-bom", "utf-16-le", "utf-16-be"],
)
def test_decodes_by_the_byte_order_mark(content: bytes) -> None:
    assert decode(content, "requirements.txt") == "é\n"


@pytest.mark.parametrize("content", [b"\xe9\n", codecs.BOM_UTF16_LE + b"a", codecs.BOM_UTF8 + b"\xff"])
def test_what_is_no_text(content: bytes) -> None:
    with pytest.raises(DifyoffError) as caught:
        decode(content, "requirements.txt")

    assert slug_of(caught) == "text-unreadable"
    assert "requirements.txt" in caught.value.diagnosis.message


@pytest.mark.parametrize("text", ["a = ", "a = 1\na = 2", "a = " + "[" * 5000, "<<<<<<< HEAD", "a = '\x00'"])
def test_what_is_no_toml(text: str) -> None:
    with pytest.raises(DifyoffError) as caught:
        parse_toml(text, "pyproject.toml")

    assert slug_of(caught) == "toml-unreadable"


@pytest.mark.parametrize(
    "given",
    [{}, {"lock": "version = 1\n"}, {"pyproject": "[tool.uv]\n"}, {"pyproject": "project = 1\n", "lock": ""}],
)
def test_no_file_to_install_from(given: dict[str, str]) -> None:
    with pytest.raises(DifyoffError) as caught:
        files(**given)

    assert slug_of(caught) == "no-dependency-file"


def test_names_the_files_there_are() -> None:
    assert files(requirements="", lock="").present == ("requirements.txt", "uv.lock")
    assert files(pyproject=PROJECT).present == ("pyproject.toml",)


@pytest.mark.parametrize("text", ["", "tool = 1\n", "[tool]\nuv = 1\n", "[tool.other]\n"])
def test_odd_tables_are_none(text: str) -> None:
    assert files(requirements="", pyproject=text).tool_uv == {}
    assert files(requirements="", pyproject=text).project is None


def test_requirement_lines() -> None:
    text = "# first\r\na==1 \\\r\n    --hash=sha256:00\r\n\r\nb  # why\nc#not-a-comment\n  --no-index\n"

    lines = files(requirements=text).requirement_lines

    assert [line.split() for line in lines] == [
        ["a==1", "--hash=sha256:00"],
        ["b"],
        ["c#not-a-comment"],
        ["--no-index"],
    ]


@pytest.mark.parametrize("asked", [">=3.12", "==3.12.*", ">=3.11,<4", "!=3.12.4", "~=3.12", ">=3.12.3", ""])
def test_a_python_that_the_image_has(asked: str) -> None:
    check_python(files(pyproject=f'{PROJECT}requires-python = "{asked}"\n'), "3.12.3")
    check_python(files(pyproject=PROJECT), "3.12.3")
    check_python(files(requirements="a\n"), "3.12.3")


@pytest.mark.parametrize(
    ("asked", "slug"),
    [
        (">=3.13", "python-excluded"),
        ("==3.12.4", "python-excluded"),
        ("<3.12", "python-excluded"),
        (">=3.12.4", "python-excluded"),
        ("3.12", "toml-unreadable"),
        ("newest", "toml-unreadable"),
    ],
)
def test_a_python_that_the_image_has_not(asked: str, slug: str) -> None:
    with pytest.raises(DifyoffError) as caught:
        check_python(files(pyproject=f'{PROJECT}requires-python = "{asked}"\n'), "3.12.3")

    assert slug_of(caught) == slug


@pytest.mark.parametrize("dynamic", ['["dependencies"]', '["version", "optional-dependencies"]', '["requires-python"]'])
def test_fields_left_to_a_build_backend(dynamic: str) -> None:
    with pytest.raises(DifyoffError) as caught:
        check_dynamic(files(pyproject=f"{PROJECT}dynamic = {dynamic}\n"))

    assert slug_of(caught) == "dynamic-dependencies"


@pytest.mark.parametrize("dynamic", ["[]", '["version"]', '["readme", "classifiers"]'])
def test_fields_that_do_no_harm(dynamic: str) -> None:
    check_dynamic(files(pyproject=f'[project]\nname = "tiny"\ndynamic = {dynamic}\n'))


@pytest.mark.parametrize(
    ("requirements", "pyproject", "maker"),
    [
        ("--no-index --find-links=./wheels/\na==1\n", None, "dify-plugin-repackaging or a fork of it"),
        ("a==1\n", f'{PROJECT}[tool.uv]\nno-index = true\nprerelease = "allow"\n', "dify-plugin-repackaging"),
        ("a==1\n", f'{PROJECT}[tool.uv]\nno-index = true\nenvironments = ["x"]\n', "dify-plugin-offline-packager"),
        ("./deps/a-1-py3-none-any.whl\n", None, "dify-plugin-offline"),
        ("a @ file:wheels/a-1-py3-none-any.whl\n", None, None),
    ],
)
def test_knows_who_made_a_package_offline(requirements: str, pyproject: str | None, maker: str | None) -> None:
    found = files(requirements=requirements, pyproject=pyproject)

    assert offline_marks(found, ["main.py"])
    seen = offline_maker(found)
    assert seen is None if maker is None else seen and seen.startswith(maker)


def test_wheels_in_the_package_are_a_mark_and_an_original_has_none() -> None:
    original = files(requirements="a @ https://files.example/a-1-py3-none-any.whl\nb\n", pyproject=PROJECT)

    assert offline_marks(original, ["main.py", "wheel.txt"]) == ()
    assert offline_marks(original, ["wheels/a.whl", "wheels/b.whl"]) == ("wheels/ holds 2 wheels",)
    assert offline_marks(original, ["a.whl"]) == ("./ holds 1 wheels",)


def test_lines_that_the_versions_chosen_do_not_satisfy() -> None:
    text = """\
A.b>=2
c==1 --hash=sha256:00
d; sys_platform == 'win32'
h; python_version < '3.12'
e @ https://files.example/e.whl
f
-r other.txt
https://files.example/g.whl
"""
    chosen: dict[str, Collection[str]] = {"a-b": ["1.0"], "c": ["1", "2"], "e": ["1"]}

    assert disagreements(files(requirements=text), chosen, tuple(TARGETS.values())) == ("A.b>=2", "f")


@pytest.mark.parametrize(
    "text", ["x = " + "1" * 100_000, "x = " + "[" * 5_000, "x = " + "{a = " * 5_000, "[" + "a." * 5_000, "x = 1e"]
)
def test_toml_that_overwhelms_a_reader_is_refused(text: str) -> None:
    with pytest.raises(DifyoffError) as raised:
        parse_toml(text, "pyproject.toml")
    assert raised.value.diagnosis.slug == "toml-unreadable"


@pytest.mark.parametrize("depth", [101, 5_000, 100_000])
def test_a_marker_that_is_nested_without_end_is_not_one(depth: int) -> None:
    marker = "(" * depth + "sys_platform == 'linux'" + ")" * depth

    assert parse_marker(marker) is None
    assert parse_requirement(f"a; {marker}") is None


def test_brackets_that_people_write_are_read() -> None:
    marker = "((sys_platform == 'linux') and (python_version >= '3.12' or (extra == 'x')))"

    assert parse_marker(marker) is not None
    assert str(parse_requirement(f"a>=1; {marker}")).startswith("a>=1")

"""Go's pattern matching, against a plain oracle and against cases read off Go 1.26."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difyoff.difypkg.gopath import BadPatternError, matches


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("", "", True),
        ("*", "", True),
        ("*", "a/b", False),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a?b", "a☺b", True),
        ("a[^a]b", "a☺b", True),
        ("a[!a]b", "acb", False),  # ! is a character like any other
        ("[!-~]", "x", True),
        ("a?b", "a/b", False),
        ("[à-ü]*", "é", True),
        ("[^a]", "/", True),
        ("[\\]a]", "]", True),
        ("[\\-]", "-", True),
        ("[x\\-]", "z", False),
        ("a\\*b", "a*b", True),
        ("a.b", "axb", False),
        ("*\n", "a\n", True),
        ("**", "a", True),
        ("{a,b}", "a", False),
    ],
)
def test_matches_as_go_does(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


@pytest.mark.parametrize(
    "pattern", ["[", "[]", "[]a]", "[^]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[z-a]", "a[", "\\", "[\\"]
)
def test_a_malformed_pattern_is_an_error(pattern: str) -> None:
    with pytest.raises(BadPatternError):
        matches(pattern, "a")


def oracle(pattern: str, name: str) -> bool:
    """Match `*`, `?` and literal characters, by trying every way."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return oracle(pattern[1:], name) or (name[:1] not in ("", "/") and oracle(pattern, name[1:]))
    if not name or (pattern[0] == "?" and name[0] == "/"):
        return False
    return (pattern[0] == "?" or pattern[0] == name[0]) and oracle(pattern[1:], name[1:])


@given(pattern=st.text("ab/.*?^$+(", max_size=7), name=st.text("ab/.^$+(", max_size=7))
def test_matches_as_the_oracle_does(pattern: str, name: str) -> None:
    assert matches(pattern, name) is oracle(pattern, name)


@given(st.text("ab[]^-\\*?é", max_size=8), st.text("ab[]^-\\é", max_size=5))
def test_every_pattern_matches_or_is_malformed(pattern: str, name: str) -> None:
    try:
        matches(pattern, name)
    except BadPatternError:
        assert "[" in pattern or pattern.endswith("\\")

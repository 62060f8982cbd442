"""Ignore files as the packager applies them; the cases were read off `dify plugin package`, 0.6.10."""

import pytest

from difyoff.difypkg.ignore import parse_ignore_file


def excluded(text: str, path: str) -> bool:
    """Say whether an ignore file drops a path; a path that ends with a slash is a folder."""
    parts = path.rstrip("/").split("/")
    return any(pattern.excludes(parts, is_directory=path.endswith("/")) for pattern in parse_ignore_file(text))


@pytest.mark.parametrize(
    ("text", "dropped", "kept"),
    [
        ("*.log", ["a.log", "b/c.log", "x.log/y"], ["a.logs"]),
        ("build", ["build", "build/", "a/build/b"], ["builds"]),
        ("build/", ["build/", "build/a", "a/build/b"], ["build", "a/build"]),
        ("/a", ["a", "a/"], ["b/a"]),
        ("a/b", ["a/b", "a/b/c"], ["b", "c/a/b"]),
        ("a/*", ["a/b", "a/b/c"], ["a"]),
        ("**/b", ["b", "a/b", "a/c/b"], ["a/c"]),
        ("a/**", ["a/b", "a/b/c", "a"], ["b/a"]),
        ("a/**/b", ["a/b", "a/c/b", "a/c/d/b"], ["b", "a/c"]),
        ("a/b**", [], ["a/b", "a/bc"]),
        ("a**", ["a", "abc"], ["ba"]),
        ("[ab].txt", ["a.txt", "b.txt"], ["c.txt"]),
        ("[^a].txt", ["b.txt"], ["a.txt"]),
        ("[!a].txt", ["a.txt", "!.txt"], ["b.txt"]),
        ("?.txt", ["a.txt"], [".txt", "ab.txt"]),
        ("[", [], ["[", "a"]),
        ("a   ", ["a"], ["a   "]),
        ("  a", ["a"], []),
        ("a\\ ", [], ["a "]),  # the trailing blank is cut off before the backslash can keep it
        ("a\r", ["a"], []),
        ("\\#a", ["#a"], ["a"]),
        ("# a", [], ["a", "# a"]),
        ("", [], ["a"]),
        ("a\n!a", ["a"], []),  # a negation brings nothing back
        ("!a", [], ["a", "b"]),
        ("*\n!manifest.yaml", ["manifest.yaml", "a/b"], []),
        (".*", [".gitignore", ".github/x"], ["a.b"]),
        ("é*", ["éa"], ["e"]),
    ],
)
def test_drops_and_keeps_what_the_packager_does(text: str, dropped: list[str], kept: list[str]) -> None:
    assert [path for path in dropped if not excluded(text, path)] == []
    assert [path for path in kept if excluded(text, path)] == []


def test_a_pattern_knows_its_line() -> None:
    assert [(each.line, each.text) for each in parse_ignore_file("# none\n\n*.log\n!a\n wheels/ \n")] == [
        (3, "*.log"),
        (5, "wheels/"),
    ]

"""Hints are written in one style: what to do, as sentences with a capital and a full stop."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import difyoff
from difyoff.difypkg.diagnosis import REBUILD

SOURCE = Path(difyoff.__file__).parent
DIFYPKG = SOURCE / "difypkg"


def literal_hints() -> Iterator[tuple[str, str]]:
    """Yield the place and the text of every hint in the code that is a literal, `{}` for what is filled in."""
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                for text in texts(node.value):
                    yield f"{file.relative_to(SOURCE)}:{node.value.lineno}", text


def texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def is_in_style(hint: str) -> bool:
    starts = hint[0].isupper() or hint.startswith(("`", "{}"))
    return starts and hint.endswith((".", "{}", "?"))


def test_every_literal_hint_is_in_the_style() -> None:
    hints = list(literal_hints())

    assert len(hints) > 60
    assert [f"{place} {hint}" for place, hint in hints if not is_in_style(hint)] == []


@pytest.mark.parametrize("file", sorted(str(path.relative_to(DIFYPKG)) for path in DIFYPKG.rglob("*.toml")))
def test_every_hint_of_a_rule_is_in_the_style(file: str) -> None:
    table = tomllib.loads((DIFYPKG / file).read_text(encoding="utf-8"))
    hints = [rule[side]["hint"] if side else rule["hint"] for rule in table.get("rule", []) for side in sides(rule)]

    for name, phrase in reversed({"rebuild": REBUILD, **table.get("phrases", {})}.items()):  # one may hold an earlier
        hints = [hint.replace(f"{{{name}}}", phrase) for hint in hints]
    assert [hint for hint in hints if not is_in_style(hint)] == []


def sides(rule: dict[str, Any]) -> Iterator[str | None]:
    yield None
    if "hint" in rule.get("resolving", {}):
        yield "resolving"

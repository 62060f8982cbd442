"""Go's path matching, which the daemon and its packager apply to file names."""

import re
from functools import cache


class BadPatternError(ValueError):
    """The pattern is malformed (Go's `path.ErrBadPattern`)."""


@cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    r"""Translate a pattern of Go's `path/filepath.Match` into a regular expression for `fullmatch`.

    `*` and `?` do not cross `/`; `[a-z]` and `[^a-z]` are classes; `\` escapes. Raises `BadPatternError`.
    """
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "[":
            text, position = _character_class(pattern, position)
            parts.append(text)
        elif char == "\\":
            if position == len(pattern):
                raise BadPatternError(pattern)
            parts.append(re.escape(pattern[position]))
            position += 1
        else:
            parts.append(re.escape(char))
    return re.compile("".join(parts), re.DOTALL)


def _character_class(pattern: str, position: int) -> tuple[str, int]:
    negated = pattern[position : position + 1] == "^"
    position += negated
    ranges: list[str] = []
    while True:
        if ranges and pattern[position : position + 1] == "]":
            return f"[{'^' if negated else ''}{''.join(ranges)}]", position + 1
        low, position = _class_character(pattern, position)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _class_character(pattern, position + 1)
        if low > high:
            raise BadPatternError(pattern)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")


def _class_character(pattern: str, position: int) -> tuple[str, int]:
    char = pattern[position : position + 1]
    if char in ("", "-", "]"):
        raise BadPatternError(pattern)
    if char == "\\":
        position += 1
        char = pattern[position : position + 1]
        if not char:
            raise BadPatternError(pattern)
    return char, position + 1


def matches(pattern: str, name: str) -> bool:
    """Say whether the whole of `name` matches. Raises `BadPatternError`."""
    return compile_pattern(pattern).fullmatch(name) is not None

"""Requirements and markers (PEP 508) that people we do not know wrote."""

from itertools import accumulate
from typing import Final

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement

_DEEPEST: Final = 100
"""`packaging` and uv read brackets by recursion; real requirements have a handful."""


def parse_requirement(text: str) -> Requirement | None:
    """Return a requirement; None for anything else, and for one that is nested without end."""
    if is_nested_without_end(text):
        return None
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def parse_marker(text: str) -> Marker | None:
    """Return a marker; None for anything else, and for one that is nested without end."""
    if is_nested_without_end(text):
        return None
    try:
        return Marker(text)
    except InvalidMarker:
        return None


def is_nested_without_end(text: str) -> bool:
    """Say whether round brackets are nested more deeply than any reader should follow."""
    if text.count("(") <= _DEEPEST:
        return False
    depths = accumulate(1 if char == "(" else -1 for char in text if char in "()")
    return max(depths) > _DEEPEST

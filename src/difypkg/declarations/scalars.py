"""What a scalar is to the daemon: its YAML tag, and the value that a Go field gets.

Follows the rules of gopkg.in/yaml.v3 3.0.1 (`resolve`), which every release of the daemon decodes with, of Go's
`strconv` and `time`, and of shopspring/decimal 1.4.0 for prices.
"""

import base64
import binascii
import calendar
import math
import re
from functools import lru_cache
from typing import Any, Final, TypeAlias

STR: Final = "!!str"
NULL: Final = "!!null"
BOOL: Final = "!!bool"
INT: Final = "!!int"
FLOAT: Final = "!!float"
TIMESTAMP: Final = "!!timestamp"
BINARY: Final = "!!binary"
MERGE: Final = "!!merge"

Resolved: TypeAlias = tuple[str, Any]
"""A short tag, and the value: text, truth, number or None; a timestamp stays its text."""

NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
TRUE_WORDS: Final = frozenset({"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"})
FALSE_WORDS: Final = frozenset({"n", "N", "no", "No", "NO", "off", "Off", "OFF"})

_WORDS: Final[dict[str, Resolved]] = {
    **dict.fromkeys(("true", "True", "TRUE"), (BOOL, True)),
    **dict.fromkeys(("false", "False", "FALSE"), (BOOL, False)),
    **dict.fromkeys(NULLS, (NULL, None)),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), (FLOAT, math.nan)),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), (FLOAT, math.inf)),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), (FLOAT, -math.inf)),
}
_RESOLVABLE: Final = frozenset({STR, BOOL, INT, FLOAT, NULL, TIMESTAMP})

_MIN_INT: Final = -(1 << 63)
MAX_INT: Final = (1 << 63) - 1
MAX_UINT: Final = (1 << 64) - 1

_INTEGER: Final = re.compile(
    r"(?P<sign>[+-]?)(?:0[xX](?P<x>[0-9a-fA-F]+)|0[bB](?P<b>[01]+)|0[oO]?(?P<o>[0-7]+)|(?P<d>0|[1-9][0-9]*))", re.ASCII
)
_BASES: Final = {"x": 16, "b": 2, "o": 8, "d": 10}
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_DECIMAL: Final = re.compile(r"(?P<digits>[^eE]*)(?:[eE](?P<exponent>[+-]?[0-9]+))?", re.ASCII)
_SIGNED: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_MAX_EXPONENT: Final = (1 << 31) - 1

_CLOCK: Final = r"(?P<hour>\d\d?):(?P<minute>\d\d?):(?P<second>\d\d?)(?:[.,]\d+)?"
_ZONE: Final = r"(?:Z|[+-](?P<zone_hour>\d\d):(?P<zone_minute>\d\d))"
_TIMESTAMP: Final = re.compile(
    rf"(?P<year>\d{{4}})-(?P<month>\d\d?)-(?P<day>\d\d?)(?: +{_CLOCK}|[Tt]{_CLOCK.replace('P<', 'P<t')}{_ZONE})?",
    re.ASCII,
)
_RFC3339: Final = re.compile(
    rf"(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)"
    rf"T(?P<hour>\d\d?):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,]\d+)?{_ZONE}",
    re.ASCII,
)


class ScalarError(ValueError):
    """A tag that its value does not fit; the daemon gives up the whole file there."""


@lru_cache(maxsize=8192)
def resolve(value: str) -> Resolved:
    """Return what a plain scalar without a tag is."""
    hint = value[:1]
    if not hint or hint in "yYnNtTfFoO~.+-" or hint.isdecimal():
        if word := _WORDS.get(value):
            return word
        if hint == "." and _FLOAT.fullmatch(value):
            return _finite(value) or (STR, value)
        if hint and hint in "+-0123456789":
            return _number(value) or (STR, value)
    return STR, value


def resolve_tagged(tag: str, value: str) -> Resolved:
    """Return what a scalar with a tag is. Raises `ScalarError` where the value is not of that tag."""
    if tag == BINARY:
        try:
            return tag, base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True).decode(
                errors="replace"
            )
        except (binascii.Error, ValueError) as error:
            raise ScalarError(f"{value!r} is not base64, as its tag says") from error
    if tag == STR or tag not in _RESOLVABLE:
        return (STR if tag == STR else tag), value
    found, resolved = resolve(value)
    if found == tag:
        return found, resolved
    if tag == FLOAT and found == INT and resolved <= MAX_INT:
        return FLOAT, float(resolved)
    raise ScalarError(f"{value!r} is not of its tag {tag}")


def _number(value: str) -> Resolved | None:
    if is_timestamp(value):
        return TIMESTAMP, value
    plain = value.replace("_", "")
    if match := _INTEGER.fullmatch(plain):
        base = next(name for name in _BASES if match[name] is not None)
        number = int(match[base], _BASES[base])
        number = -number if match["sign"] == "-" else number
        if _MIN_INT <= number <= MAX_INT or (number <= MAX_UINT and number > 0 and not match["sign"]):
            return INT, number
    return _finite(plain) if _FLOAT.fullmatch(plain) else None


def _finite(text: str) -> Resolved | None:
    number = float(text)
    return None if math.isinf(number) else (FLOAT, number)  # beyond a float, Go reports a range error


def is_timestamp(value: str) -> bool:
    """Say whether yaml.v3 takes a plain scalar for a time."""
    match = _TIMESTAMP.fullmatch(value)
    return match is not None and _exists(
        {name.removeprefix("t"): text for name, text in match.groupdict().items() if text}
    )


def is_rfc3339(value: str) -> bool:
    """Say whether Go's `time.Time` takes a text, as it does where YAML saw no time in it (a quoted one, say)."""
    match = _RFC3339.fullmatch(value)
    return match is not None and _exists({name: text for name, text in match.groupdict().items() if text})


def _exists(parts: dict[str, str]) -> bool:
    month, day = int(parts["month"]), int(parts["day"])
    year = int(parts["year"]) or 4  # year 0 is a leap year to Go, and out of range to Python
    return (
        1 <= month <= 12
        and 1 <= day <= calendar.monthrange(year, month)[1]
        and int(parts.get("hour", 0)) < 24
        and int(parts.get("minute", 0)) < 60
        and int(parts.get("second", 0)) < 60
        and int(parts.get("zone_hour", 0)) <= 24  # Go lets 24:60 through
        and int(parts.get("zone_minute", 0)) <= 60
    )


def is_decimal(value: str) -> bool:
    """Say whether a price can be read from a text."""
    match = _DECIMAL.fullmatch(value)
    if match is None or match["digits"].count(".") > 1:
        return False
    whole, _, fraction = match["digits"].partition(".")
    exponent = int(match["exponent"] or 0)
    return (
        _SIGNED.fullmatch(whole + fraction) is not None
        and abs(exponent) <= _MAX_EXPONENT
        and exponent - len(fraction) >= -_MAX_EXPONENT
    )

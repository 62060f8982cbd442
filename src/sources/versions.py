"""Versions of plugins: patterns that name some of them, and which are near."""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Final

_VERSION: Final = r"\d{1,4}(?:\.\d{1,4}){1,3}(?:-\w{1,16})?"
PATTERN: Final = re.compile(
    rf"(?P<exact>{_VERSION})|(?P<sign>[~^])(?P<base>{_VERSION})"
    rf"|(?P<open>(?:\d{{1,4}}|[xX])(?:\.(?:\d{{1,4}}|[xX])){{2}})|(?P<low>{_VERSION})-(?P<high>{_VERSION})",
    re.ASCII,
)
"""What a bundle may say of a version (pkg/entities/bundle_entities/dependency.go, 0.6.10): `1.0.0`, `^1.0.0`, `~1.0.0`,
`1.x.x`, `1.0.0-2.0.0`."""


def sort_key(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Return a key that orders versions: by number, a suffix (`-beta`) before the version without one."""
    numbers, _, suffix = version.partition("-")
    return tuple(int(part) for part in numbers.split(".") if part.isdecimal()), not suffix, suffix


def newest(versions: Iterable[str], pattern: str) -> str | None:
    """Return the newest version that a pattern admits, None where there is none."""
    admits = _admits(pattern)
    return max(filter(admits, versions), key=sort_key, default=None)


def nearest(wanted: str, versions: Sequence[str], *, count: int = 5) -> tuple[str, ...]:
    """Return the versions that look like the one that was asked for, the newest first."""
    return tuple(sorted(get_close_matches(wanted, versions, n=count, cutoff=0.0), key=sort_key, reverse=True))


def fits(minimum: str, site: str) -> bool:
    """Say whether a site's version of Dify is at least the minimum."""
    return sort_key(minimum)[:2] <= sort_key(site)[:2]


def _admits(pattern: str) -> Callable[[str], bool]:
    match = PATTERN.fullmatch(pattern)
    if match is None:
        return lambda version: False
    if match["exact"]:
        return lambda version: version == pattern
    if match["open"]:
        fixed = [(place, int(part)) for place, part in enumerate(pattern.split(".")) if part.isdecimal()]
        return lambda version: all(_number(version, place) == part for place, part in fixed)
    if match["sign"]:
        base = match["base"]
        same = 2 if match["sign"] == "~" else 1
        return lambda version: (
            sort_key(version) >= sort_key(base) and sort_key(version)[0][:same] == sort_key(base)[0][:same]
        )
    low, high = sort_key(match["low"]), sort_key(match["high"])
    return lambda version: low <= sort_key(version) <= high


def _number(version: str, place: int) -> int | None:
    numbers = sort_key(version)[0]
    return numbers[place] if place < len(numbers) else None

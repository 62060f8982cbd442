"""What the names of bundled wheels say about the machines they run on (PEP 425, PEP 600)."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from ..difypkg.target import ARCHITECTURES, TARGETS, Architecture, Target

_ALIASES: Final = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_MANYLINUX: Final = re.compile(r"(?:manylinux_(\d+)_(\d+)|(manylinux1|manylinux2010|manylinux2014))_.+")


def native_architectures(wheels: Iterable[str]) -> tuple[Architecture, ...]:
    """Return the architectures that native wheels are there for; none where all are pure."""
    platforms = {tag.platform for tags in _tags(wheels) for tag in tags}
    machines = {name: TARGETS[name].machine for name in ARCHITECTURES}
    return tuple(name for name in ARCHITECTURES if any(each.endswith(f"_{machines[name]}") for each in platforms))


def needed_glibc(wheels: Iterable[str], target: Target) -> tuple[int, int]:
    """Return the least glibc that every wheel for the target's machine runs on, (0, 0) where none needs one."""
    needed = (
        min((_glibc(tag.platform) for tag in tags if tag.platform.endswith(target.machine)), default=(0, 0))
        for tags in _tags(wheels)
    )
    return max(needed, default=(0, 0))


def _glibc(platform: str) -> tuple[int, int]:
    match = _MANYLINUX.fullmatch(platform)
    if match is None:
        return (0, 0)
    return _ALIASES[match[3]] if match[3] else (int(match[1]), int(match[2]))


def _tags(wheels: Iterable[str]) -> Iterator[frozenset[Tag]]:
    for wheel in wheels:
        try:
            yield parse_wheel_filename(wheel)[3]
        except InvalidWheelFilename:
            continue  # uv passes over it, too

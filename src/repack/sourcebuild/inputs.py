"""What decides the bytes of a wheel that is built: its source, its pinned requirements, the Python and the machine."""

import hashlib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from ...difypkg.names import PYPROJECT
from ...difypkg.pep508 import parse_requirement

SOURCE_DATE_EPOCH: Final = 315532800
"""1980-01-01, the first moment that a zip file can tell."""

# Debug information would hold the path of the scratch folder.
ENVIRONMENT: Final = {"SOURCE_DATE_EPOCH": str(SOURCE_DATE_EPOCH), "CFLAGS": "-g0", "CXXFLAGS": "-g0"}
"""What a build sees besides the environment of uv."""

CONSTRAINTS: Final = "constraints.txt"
"""The file of pins that a build is held to, in its work folder."""

_LEGACY: Final = {"requires": ["setuptools>=40.8.0"], "build-backend": "setuptools.build_meta:__legacy__"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInputs:
    """All that decides the bytes of a wheel built from source; with `image`, its digest, its own uv builds.

    `requires` are the declared build requirements (PEP 518), `constraints` our pins for them, `python` is a minor
    release (`3.12`), `machine` what `uname -m` is where it is built.
    """

    source: str
    requires: tuple[str, ...]
    constraints: str
    python: str
    machine: str
    source_date_epoch: int
    uv: str
    image: str | None

    @property
    def key(self) -> str:
        """A name for the wheel that is the same for the same inputs."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def declared_requirements(tree: Path) -> tuple[str, ...]:
    """Return the build requirements that a source tree declares, those of PEP 518's default where it declares none."""
    try:
        table: Any = tomllib.loads((tree / PYPROJECT).read_text(encoding="utf-8")).get("build-system", _LEGACY)
    except (OSError, ValueError):
        table = _LEGACY
    return tuple((table if isinstance(table, dict) else _LEGACY).get("requires", ()))


def constraints_for(requires: Iterable[str]) -> str:
    """Return our pins, without those that a declared build requirement excludes."""
    declared = [each for line in requires if (each := parse_requirement(line)) is not None]
    kept = []
    for line in (files(__package__) / "build-constraints.txt").read_text(encoding="utf-8").splitlines():
        pin = None if line.startswith("#") else parse_requirement(line)
        if pin is not None:
            version = str(pin.specifier).removeprefix("==")
            same = (each for each in declared if canonicalize_name(each.name) == pin.name)
            if all(each.specifier.contains(version) for each in same):
                kept.append(line)
    return "\n".join(kept) + "\n"

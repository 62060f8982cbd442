"""What a plugin needs on its targets, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..difypkg.diagnosis import Diagnosis
from ..difypkg.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """A wheel to fetch: URL or path, size in bytes where the lock knows it, hex digests by algorithm."""

    filename: str
    url: str
    size: int | None
    hashes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSource:
    """A source archive to fetch and build into a wheel: an sdist, or what a direct reference names."""

    filename: str
    url: str
    size: int | None
    hashes: Mapping[str, str]
    subdirectory: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """A git commit to build into a wheel."""

    url: str
    commit: str
    subdirectory: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """A folder of the plugin to build into a wheel."""

    path: str


Origin: TypeAlias = Literal["uv.lock", "uv.lock, renewed", "pyproject.toml", "requirements.txt"]
"""What the pins come from."""

PinSource: TypeAlias = WheelSource | ArchiveSource | GitSource | FolderSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One release of a distribution and the file that `targets` install it from.

    `name` is normalised; `version` is None for a source whose version only its build tells. `direct` says that it comes
    from a direct reference rather than an index.
    """

    name: str
    version: str | None
    source: PinSource
    targets: frozenset[Target]
    direct: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeBefore:
    """A resolution that was made and kept, and what it was made from.

    The URL of a file that lies in the plugin is its path there.
    """

    pins: tuple[Pin, ...]
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The pins of a plugin's closure on its targets, where they came from, and what was found on the way.

    `made` is what to keep of it, None where the plugin's own lock says it for good.
    """

    pins: tuple[Pin, ...]
    origin: Origin
    findings: tuple[Diagnosis, ...] = ()
    made: MadeBefore | None = None

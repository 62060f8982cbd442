"""The offline record: `difyoff.json` inside a package says what it was made from and what was changed.

Nothing in it depends on the daemon chosen, the finished package or the clock: the same input gives the same bytes.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from .diagnosis import Diagnosis, DifyoffError
from .edits import Edit
from .place import FetchedFrom
from .target import ARCHITECTURES, Target

RECORD: Final = "difyoff.json"
SCHEMA_VERSION: Final = 1

_OWN: Final = "sha256"
"""The key of the record's own hash; older records have none, and are held to their form alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """The plugin as it came: its identity, as a package of the same files, and the SHA-256 of a `.difypkg`.

    `origin` is where it was fetched from; a plugin of the builder's own machine has none, nor its record the key.
    """

    identity: str
    sha256: str | None
    origin: FetchedFrom | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRecord:
    """One target: architecture, full Python version, glibc as `2.39`."""

    architecture: str
    python: str
    glibc: str

    @classmethod
    def of(cls, target: Target) -> Self:
        """Return the record of a target."""
        return cls(architecture=target.architecture, python=target.python, glibc=".".join(map(str, target.glibc)))

    @property
    def target(self) -> Target | None:
        """The target, None where the record names none that difyoff knows of."""
        architecture = next((name for name in ARCHITECTURES if name == self.architecture), None)
        glibc = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", self.glibc, re.ASCII)
        python = re.fullmatch(r"\d{1,4}(\.\d{1,4}){2}", self.python, re.ASCII)
        if architecture is None or glibc is None or python is None:
            return None
        return Target(architecture=architecture, python=self.python, glibc=(int(glibc[1]), int(glibc[2])))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """How a wheel was built here: the source it was built from and everything that shaped the bytes.

    `image` is the digest of the container image that it was built in, None for the builder's own machine.
    """

    source: str
    python: str
    machine: str
    requirements: tuple[str, ...]
    source_date_epoch: int
    image: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelRecord:
    """One bundled wheel: where it came from (credentials left out) and, when built here, how.

    `waived` are the ways in which it is known to contradict itself, accepted for this very file.
    """

    filename: str
    sha256: str
    size: int
    origin: str
    architectures: tuple[str, ...]
    built: BuildRecord | None = None
    waived: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file of the package: SHA-256 in hex, size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The whole record. `files` holds every file of the package but the record itself."""

    source: SourceRecord
    targets: tuple[TargetRecord, ...]
    resolution: str
    wheels: tuple[WheelRecord, ...]
    edits: tuple[Edit, ...]
    files: tuple[FileRecord, ...]
    difyoff: str
    uv: str
    schema_version: int = SCHEMA_VERSION


def dump_record(record: Record) -> bytes:
    """Return the record's canonical JSON; its own SHA-256, of all but that, stands in it too."""
    data = _plain(record)
    return _canonical(data | {_OWN: _digest(data)})


def _plain(record: Record) -> dict[str, Any]:
    data = asdict(record)
    if record.source.origin is None:
        del data["source"]["origin"]
    for wheel in data["wheels"]:
        if not wheel["waived"]:
            del wheel["waived"]
    return data


def _canonical(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical({key: value for key, value in data.items() if key != _OWN})).hexdigest()


def load_record(content: bytes) -> Record:
    """Read a record.

    Raises `record-unreadable` for what is not a record or one of a newer difyoff, and `package-altered` for one that is
    not as difyoff wrote it.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        data = json.loads(content)
        if isinstance(data, dict) and data.get("schema_version") != SCHEMA_VERSION:
            raise DifyoffError(
                Diagnosis(
                    slug="record-unreadable",
                    message=f"{RECORD} has schema {data.get('schema_version')}; this difyoff reads {SCHEMA_VERSION}",
                    hint="Use the difyoff release that made the package, or a newer one.",
                )
            )
        record = TypeAdapter(Record).validate_python(data, strict=False)
    except (ValueError, ValidationError, RecursionError) as error:
        raise DifyoffError(
            Diagnosis(
                slug="record-unreadable",
                message=f"{RECORD} is not a record of difyoff",
                context=tuple(str(error).splitlines()[:4]),
            )
        ) from error
    if content != _canonical(data) or data.get(_OWN, _digest(_plain(record))) != _digest(data):
        raise DifyoffError(
            Diagnosis(
                slug="package-altered",
                message=f"{RECORD} is not as difyoff wrote it: its own SHA-256 or its form is another",
                hint="Build the package again from the original plugin; if nobody changed it, find out who did.",
            )
        )
    return record

"""Target files: what one site's image is, as `target probe` saves it and `build --target` takes it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.files import write_atomically
from ..difypkg.target import ARCHITECTURES, DAEMON_PYTHON, Target

FORMAT: Final = "difyoff-target"
SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFile:
    """A target and where it was read off: the image's reference, its digest and its uv; these three only for people.

    Markers and tags follow from the architecture, the Python version and glibc's two numbers. `libraries` and
    `programs` are the image's, by name; a file without them means a published image's.
    """

    architecture: str
    python: str
    glibc: tuple[int, int]
    uv: str | None = None
    image: str | None = None
    digest: str | None = None
    libraries: tuple[str, ...] | None = None
    programs: tuple[str, ...] | None = None

    @property
    def target(self) -> Target:
        """The target itself."""
        architecture = next(name for name in ARCHITECTURES if name == self.architecture)
        return Target(
            architecture=architecture,
            python=self.python,
            glibc=self.glibc,
            libraries=None if self.libraries is None else frozenset(self.libraries),
            programs=None if self.programs is None else frozenset(self.programs),
        )


def write_target(path: Path, file: TargetFile) -> None:
    """Write a target file. Raises `OSError`."""
    if path.exists() and path.stat().st_size:
        try:
            read_target(path)
        except DifyoffError:
            raise DifyoffError(
                Diagnosis(
                    slug="output-exists",
                    message=f"{path} exists and is not a target file",
                    hint="Name another file.",
                )
            ) from None
    write_atomically(path, to_json(file) + "\n")


def to_json(file: TargetFile) -> str:
    """Return a target file's text."""
    return json.dumps({"format": FORMAT, "schema_version": SCHEMA_VERSION, **asdict(file)}, indent=2)


def read_target(path: Path) -> TargetFile:
    """Read a target file. Raises `DifyoffError` (`target-unreadable`) for anything else."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT or data["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"it is a {data['format']} of version {data['schema_version']}")
        major, minor = map(int, data["glibc"])
        file = TargetFile(
            architecture=data["architecture"],
            python=str(data["python"]),
            glibc=(major, minor),
            uv=data.get("uv"),
            image=data.get("image"),
            digest=data.get("digest"),
            libraries=_names(data.get("libraries")),
            programs=_names(data.get("programs")),
        )
        if file.architecture not in ARCHITECTURES or file.target.python_minor != DAEMON_PYTHON:
            raise ValueError(f"no daemon runs on {file.architecture} with Python {file.python}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise DifyoffError(
            Diagnosis(
                slug="target-unreadable",
                message=f"{path} is not a target file",
                context=(reason,),
                hint=f"Make one with `difyoff target probe IMAGE -o {path}`.",
            )
        ) from error
    return file


def _names(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(map(str, value))

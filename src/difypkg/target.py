"""What a package is made for: markers, ordered wheel tags and uv's platform name."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final, Literal, cast

from packaging.markers import Environment
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags

Architecture = Literal["amd64", "arm64"]

DAEMON_PYTHON: Final = (3, 12)
"""The minor release that the daemon asks uv for (`--python 3.12`), whatever its image brings."""

IMAGE_PYTHON: Final = "3.12.3"
IMAGE_GLIBC: Final = (2, 39)
"""What the published images bring: ubuntu 24.04 in every tag (docker/local.dockerfile)."""

ARCHITECTURES: Final[tuple[Architecture, ...]] = ("amd64", "arm64")
"""The architectures that the daemon's image is published for."""

_MACHINES: Final = MappingProxyType({"amd64": "x86_64", "arm64": "aarch64"})


@dataclass(frozen=True, kw_only=True)
class Target:
    """A machine that runs the plugin daemon's image.

    `python` is the full version of its CPython (`3.12.3`), `glibc` the two numbers of its C library. The markers are
    those of PEP 508, the tags those of PEP 425, best first. `libraries` and `programs` are what the image has of them,
    by name, None where it is a published one (`difypkg.image`); they do not make it another target.
    """

    architecture: Architecture
    python: str = IMAGE_PYTHON
    glibc: tuple[int, int] = IMAGE_GLIBC
    libraries: frozenset[str] | None = field(default=None, repr=False, compare=False)
    programs: frozenset[str] | None = field(default=None, repr=False, compare=False)

    @property
    def machine(self) -> str:
        """`platform_machine` of the architecture: `x86_64` or `aarch64`."""
        return _MACHINES[self.architecture]

    @property
    def python_minor(self) -> tuple[int, int]:
        """The first two numbers of the Python version, `(3, 12)`."""
        major, minor = self.python.split(".")[:2]
        return int(major), int(minor)

    @property
    def python_version(self) -> str:
        """The same as text, `3.12`, as the marker of this name and uv's options have it."""
        return ".".join(map(str, self.python_minor))

    @property
    def uv_platform(self) -> str:
        """The name that uv's `--python-platform` takes, `x86_64-manylinux_2_39`."""
        return f"{self.machine}-manylinux_{self.glibc[0]}_{self.glibc[1]}"

    @property
    def environment(self) -> Environment:
        """The PEP 508 marker environment."""
        return cast(
            "Environment",
            {
                "implementation_name": "cpython",
                "implementation_version": self.python,
                "os_name": "posix",
                "platform_machine": self.machine,
                "platform_release": "",
                "platform_system": "Linux",
                "platform_version": "",
                "python_full_version": self.python,
                "platform_python_implementation": "CPython",
                "python_version": self.python_version,
                "sys_platform": "linux",
            },
        )

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """The wheel tags that the target accepts, best first."""
        platforms = list(self._platforms())
        interpreter = f"cp{self.python_minor[0]}{self.python_minor[1]}"
        return (
            *cpython_tags(self.python_minor, [interpreter], platforms),
            *compatible_tags(self.python_minor, interpreter, platforms),
        )

    def admits(self, specifier: str) -> bool:
        """Say whether the target's Python is within a `requires-python`; see `admits`."""
        return admits(specifier, self.python)

    def _platforms(self) -> Iterable[str]:
        # manylinux2014 = 2.17, manylinux2010 = 2.12, manylinux1 = 2.5 (PEP 600); aarch64 starts at 2.17 (PEP 599).
        aliases = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
        oldest = 5 if self.architecture == "amd64" else 17
        major, newest = self.glibc
        for minor in range(newest, oldest - 1, -1):
            yield f"manylinux_{major}_{minor}_{self.machine}"
            if minor in aliases:
                yield f"{aliases[minor]}_{self.machine}"
        yield f"linux_{self.machine}"


TARGETS: Final = MappingProxyType(
    {"amd64": Target(architecture="amd64"), "arm64": Target(architecture="arm64")},
)
"""The presets by architecture: the daemon's published images."""


def admits(specifier: str, python: str) -> bool:
    """Say whether a full Python version is within a version specifier (PEP 440).

    What is not a specifier admits no version: uv refuses to read a file that has one.
    """
    return is_specifier(specifier) and SpecifierSet(specifier).contains(python, prereleases=True)


def is_specifier(text: str) -> bool:
    """Say whether a text is a version specifier of PEP 440."""
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return False
    return True

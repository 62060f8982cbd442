"""What uv would resolve for besides the targets, where `environments` does not confine it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from packaging.markers import Marker

from ...difypkg.diagnosis import Diagnosis
from ...difypkg.target import Target, admits
from ..contents.lock import Lock
from ..contents.wheels import Wheelhouse
from ..contents.world import World
from ..finding import NOTHING, Finding
from .closure import Closure, Project, Rules, walk

_PLATFORMS: Final = (
    ("linux", "Linux", "posix", "x86_64"),
    ("linux", "Linux", "posix", "aarch64"),
    ("win32", "Windows", "nt", "AMD64"),
    ("darwin", "Darwin", "posix", "arm64"),
)
_PYTHONS: Final = ("3.9.0", "3.10.0", "3.11.0", "3.12.0", "3.12.3", "3.12.99", "3.13.0", "3.14.0", "3.15.0")
_IMPLEMENTATIONS: Final = (("cpython", "CPython"), ("pypy", "PyPy"))


def list_resolved_worlds(requires_python: str | None, environments: Sequence[Marker]) -> Iterator[World]:
    """Yield a sample of the worlds that uv resolves for: platforms, Pythons and implementations in use.

    `environments` confine them; none of them is no confinement.
    """
    for world in _sample():
        python = world.environment["python_full_version"]
        if (requires_python is None or admits(requires_python, python)) and world.is_within(environments):
            yield world


def is_confined_alike(lock: Lock, requires_python: str | None, environments: Sequence[Marker]) -> bool:
    """Say whether a lock was made for the very environments; uv resolves again where it was not."""
    worlds = list_resolved_worlds(requires_python, ())
    return all(world.is_within(lock.markers) == world.is_within(environments) for world in worlds)


def _sample() -> Iterator[World]:
    for sys_platform, system, os_name, machine in _PLATFORMS:
        for full in _PYTHONS:
            for name, written in _IMPLEMENTATIONS:
                yield World(
                    environment={
                        "implementation_name": name,
                        "implementation_version": full,
                        "os_name": os_name,
                        "platform_machine": machine,
                        "platform_release": "",
                        "platform_system": system,
                        "platform_version": "",
                        "python_full_version": full,
                        "platform_python_implementation": written,
                        "python_version": full.rpartition(".")[0],
                        "sys_platform": sys_platform,
                    }
                )


def find_universal(
    project: Project,
    house: Wheelhouse,
    rules: Rules,
    worlds: Iterable[World],
    closures: Mapping[Target, Closure],
) -> Iterator[Finding]:
    """Yield what uv asks for although no target does (`universal-resolution`)."""
    known = {each.subject for closure in closures.values() for each in closure.missing}
    for world in worlds:
        for each in walk(project, house, world, rules).missing:
            if each.subject not in known:
                known.add(each.subject)
                where = f"{world.environment['platform_python_implementation']} {world.environment['python_version']}"
                on = f"{world.environment['platform_system']} {world.environment['platform_machine']}"
                message = f"{each.diagnosis.message}, for {where} on {on}"
                diagnosis = Diagnosis(slug="universal-resolution", message=message)
                yield Finding(diagnosis=diagnosis, bites=NOTHING, subject=each.subject)

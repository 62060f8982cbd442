"""What an install must have brought, by the file that the daemon's branch installs from."""

from collections.abc import Iterable
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ..difypkg.daemons import Plan
from ..difypkg.names import PYPROJECT
from ..difypkg.target import Target
from .audit.closure import read_project
from .contents.lock import find_installed
from .contents.world import World, world_of
from .package import Package


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Versions by normalised name. `complete` says that nothing may be there besides but `own`, the project itself."""

    versions: dict[str, SpecifierSet]
    complete: bool
    own: str = ""

    def differences(self, installed: dict[str, str]) -> tuple[str, ...]:
        """Return what is missing, of another version or too much, a phrase each."""
        found = []
        for name, wanted in sorted(self.versions.items()):
            if name not in installed:
                found.append(f"{name}{wanted} is not installed")
            elif not wanted.contains(installed[name], prereleases=True):
                found.append(f"{name} {installed[name]} is installed instead of {wanted}")
        extra = sorted(installed.keys() - self.versions.keys() - {self.own}) if self.complete else ()
        return (*found, *(f"{name} {installed[name]} is installed besides" for name in extra))


def find_expected(package: Package, plan: Plan, target: Target, *, lock: bool = True) -> Expected:
    """Return what a branch must install on a target: a lock names everything, other files what they ask for.

    Without `lock` the lock does not count, because uv has written another. A project that uv builds by itself is there
    besides what it needs.
    """
    world = world_of(target)
    if plan.dependency_file != PYPROJECT:
        asked = package.requirements.requires if package.requirements else ()
        return Expected(versions=_applying(asked, world), complete=False)
    project = read_project(package.dependencies.project or {})
    if plan.release.sync and package.lock is not None and lock:
        taken = find_installed(package.lock, world)
        versions = {str(each.name): SpecifierSet(f"=={each.version}" if each.version else "") for each in taken}
        return Expected(versions=versions, complete=True, own=project.name or "")
    return Expected(versions=_applying(project.requires, world), complete=False)


def _applying(requirements: Iterable[Requirement], world: World) -> dict[str, SpecifierSet]:
    return {canonicalize_name(each.name): each.specifier for each in requirements if world.applies(each.marker)}

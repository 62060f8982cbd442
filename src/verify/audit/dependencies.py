"""Whether every branch finds what to install from, and in the package all that it then wants."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...difypkg.dependencies import offline_marks
from ...difypkg.diagnosis import REBUILD, Diagnosis
from ...difypkg.names import LOCK, PYPROJECT, REQUIREMENTS
from ..contents.lock import installed, lock_gaps
from ..contents.wheels import Wheelhouse
from .closure import Closure, Project, parse, read_project, read_rules, walk, world_of
from .faults import FROZEN, NOTHING, RESOLVING, SYNC, Branches, Fault
from .faults import REQUIREMENTS as REQUIREMENTS_BRANCH
from .gaps import Gap, faults_of
from .package import Package
from .settings import folder
from .universal import is_confined_alike, resolved_worlds, universal_gaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Installs:
    """What each dependency file takes of the wheels, by architecture; empty where the file does not count."""

    requirements: Mapping[str, Closure]
    pyproject: Mapping[str, Closure]


def original_faults(package: Package) -> Iterator[Fault]:
    """Yield that this is no offline package at all (`original-package`)."""
    if any(path.endswith(".whl") for path in package.digests) or offline_marks(package.dependencies, package.digests):
        return
    remote = [file.where for file in package.lock.files if file.path is None] if package.lock else []
    context = [f"{LOCK} names {len(remote)} files on the network, {remote[0]} the first"] if remote else []
    yield Fault(
        diagnosis=Diagnosis(
            slug="original-package",
            message="this is an original package, not an offline one: it holds no wheels",
            context=tuple(context),
            note="The daemon would fetch every dependency from a package index.",
            hint=f"make it offline where there is a network: `difyoff build {package.archive.file.name}`",
        )
    )


def file_faults(package: Package) -> Iterator[Fault]:
    """Yield the branches that find nothing to install from, or nothing in it."""
    present = package.dependencies.present
    if REQUIREMENTS not in present:
        none = PYPROJECT not in present
        yield Fault(
            diagnosis=Diagnosis(
                slug="no-dependency-file",
                message=f"the package has neither {PYPROJECT} nor {REQUIREMENTS}"
                if none
                else f"the package has no {REQUIREMENTS}, and daemons up to 0.5.2 read no other file",
                note="The daemon refuses such a plugin when it prepares the Python environment.",
                hint=REBUILD,
            ),
            bites=frozenset({None}),
        )
    if PYPROJECT in present and package.dependencies.pyproject is not None and package.dependencies.project is None:
        yield Fault(
            diagnosis=Diagnosis(
                slug="nothing-installed",
                message=f"{PYPROJECT} has no [project] table, so there is nothing to install",
                note="uv says success, and the plugin finds none of its dependencies when it starts.",
                hint=REBUILD,
            ),
            bites=SYNC,
        )


def closures(package: Package) -> Installs:
    """Walk from each dependency file through the wheels that its installer sees."""
    rules = read_rules(package.settings.project)
    requirements: dict[str, Closure] = {}
    pyproject: dict[str, Closure] = {}
    for target in package.targets:
        world = world_of(target)
        if package.requirements is not None:
            start = Project(name=None, requires=package.requirements.requires)
            requirements[target.architecture] = walk(
                start, _house(package, package.requirements.find_links), world, rules
            )
        if package.dependencies.project is not None:
            project = read_project(package.dependencies.project)
            pyproject[target.architecture] = walk(project, _house(package, ()), world, rules)
    return Installs(requirements=requirements, pyproject=pyproject)


def _house(package: Package, links: Sequence[str]) -> Wheelhouse:
    folders = {place for link in (*links, *package.settings.find_links) if (place := folder(link)) is not None}
    return package.house.within(folders)


def closure_faults(package: Package, installs: Installs) -> Iterator[Fault]:
    """Yield what an install would miss, on whatever branch, and what uv would ask for besides."""
    found: list[tuple[Gap, Branches]] = []
    for closure in installs.requirements.values():
        found += [(gap, REQUIREMENTS_BRANCH) for gap in closure.gaps]
    for closure in installs.pyproject.values():
        found += [(gap, RESOLVING) for gap in closure.gaps]
    if package.dependencies.project is not None:
        found += _lock_gaps(package, installs)
        found += [(gap, RESOLVING) for gap in _besides(package, installs)]
    yield from faults_of(found)


def _lock_gaps(package: Package, installs: Installs) -> Iterator[tuple[Gap, Branches]]:
    if package.lock is None:
        return
    reached: set[str] = set()
    for target in package.targets:
        world = world_of(target)
        if not world.within(package.lock.markers):
            continue  # told elsewhere
        taken = installed(package.lock, world)
        names = {each.name for each in taken}
        reached |= names
        # Where the lock is as it should be, an install that may resolve takes the same files.
        for gap in lock_gaps(taken, package.digests, world):
            yield gap, FROZEN if gap.slug == "lock-pins-remote-urls" else SYNC
        for name, wheel in installs.pyproject[target.architecture].picked.items():
            if name not in names:
                detail = f"{name} {wheel.version} is in the package and not in the lock"
                yield Gap(slug="lock-outdated", subject=name, detail=detail), FROZEN
    for each in package.lock.packages:
        remote = next((file.where for file in each.wheels if file.path is None), None)
        if remote is not None and each.name not in reached:
            yield (
                Gap(slug="lock-pins-remote-urls", subject=each.name, detail=f"{remote}, which no target installs"),
                NOTHING,
            )


def _besides(package: Package, installs: Installs) -> Iterator[Gap]:
    """Yield what uv wants when it resolves, though no daemon installs it: groups, extras, other platforms."""
    project = package.dependencies.project
    assert project is not None
    own = read_project(project)
    house = _house(package, ())
    rules = read_rules(package.settings.project)
    world = world_of(package.targets[0])
    known = {gap.subject for closure in installs.pyproject.values() for gap in closure.gaps}
    for what, group in _groups(package, own):
        for gap in walk(group, house, world, rules).gaps:
            if gap.subject not in known:
                yield Gap(slug="dev-group-unavailable", subject=gap.subject, detail=f"{what}: {gap.detail}")
    python, environments = project.get("requires-python"), package.settings.environments
    if package.lock is None or not is_confined_alike(package.lock, python, environments):
        worlds = resolved_worlds(python, environments)
        yield from universal_gaps(own, house, rules, worlds, installs.pyproject)


def _groups(package: Package, own: Project) -> Iterator[tuple[str, Project]]:
    """Yield the dependency groups and extras, each as what it asks for."""
    groups = (package.dependencies.pyproject or {}).get("dependency-groups")
    for name, lines in groups.items() if isinstance(groups, dict) else ():
        yield f"group {name}", Project(name=own.name, requires=parse(lines), extras=own.extras)
    legacy = parse(package.settings.project.get("dev-dependencies"))
    if legacy:
        yield "dev-dependencies", Project(name=own.name, requires=legacy, extras=own.extras)
    for extra, requires in own.extras.items():
        yield f"extra {extra}", Project(name=own.name, requires=requires, extras=own.extras)

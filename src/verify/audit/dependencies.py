"""Whether every branch finds what to install from, and in the package all that it then wants."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from packaging.tags import Tag

from ...difypkg.dependencies import offline_marks
from ...difypkg.diagnosis import REBUILD, Diagnosis
from ...difypkg.names import LOCK, PYPROJECT, REQUIREMENTS
from ...difypkg.target import Target
from ..contents.lock import LockedPackage, find_installed
from ..contents.settings import find_folder
from ..contents.wheels import Wheelhouse, accepted_tags
from ..contents.world import World, explain_refused_tags, world_of
from ..finding import FROZEN, NOTHING, RESOLVING, SYNC, Finding
from ..finding import REQUIREMENTS as REQUIREMENTS_BRANCH
from ..package import Package
from .closure import Closure, Project, parse, read_project, read_rules, walk
from .universal import find_universal, is_confined_alike, list_resolved_worlds
from .wording import merge


@dataclass(frozen=True, slots=True, kw_only=True)
class Installs:
    """What each dependency file takes of the wheels, by target; empty where the file does not count."""

    requirements: Mapping[Target, Closure]
    pyproject: Mapping[Target, Closure]


def find_original(package: Package) -> Iterator[Finding]:
    """Yield that this is not an offline package at all (`original-package`)."""
    if any(path.endswith(".whl") for path in package.digests) or offline_marks(package.dependencies, package.digests):
        return
    remote = [file.where for file in package.lock.files if file.path is None] if package.lock else []
    context = [f"{LOCK} names {len(remote)} files on the network, {remote[0]} the first"] if remote else []
    yield Finding(
        diagnosis=Diagnosis(
            slug="original-package",
            message="this is an original package, not an offline one: it has no wheels",
            context=tuple(context),
            note="The daemon would fetch every dependency from a package index.",
            hint=f"Make it offline where there is a network: `difyoff build {package.path.name}`.",
        )
    )


def find_missing_files(package: Package) -> Iterator[Finding]:
    """Yield the branches that find nothing to install from, or nothing in it."""
    present = package.dependencies.present
    if REQUIREMENTS not in present:
        none = PYPROJECT not in present
        yield Finding(
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
        yield Finding(
            diagnosis=Diagnosis(
                slug="nothing-installed",
                message=f"{PYPROJECT} has no [project] table, so there is nothing to install",
                note="uv says success, and the plugin finds none of its dependencies when it starts.",
                hint=REBUILD,
            ),
            bites=SYNC,
        )


def walk_all(package: Package) -> Installs:
    """Walk from each dependency file through the wheels that its installer sees."""
    rules = read_rules(package.settings.project)
    requirements: dict[Target, Closure] = {}
    pyproject: dict[Target, Closure] = {}
    for target in package.targets:
        world = world_of(target)
        if package.requirements is not None:
            start = Project(name=None, requires=package.requirements.requires)
            requirements[target] = walk(start, _house(package, package.requirements.find_links), world, rules)
        if package.dependencies.project is not None:
            project = read_project(package.dependencies.project)
            pyproject[target] = walk(project, _house(package, ()), world, rules)
    return Installs(requirements=requirements, pyproject=pyproject)


def _house(package: Package, links: Sequence[str]) -> Wheelhouse:
    folders = {place for link in (*links, *package.settings.find_links) if (place := find_folder(link)) is not None}
    return package.house.within(folders)


def find_incomplete(package: Package, installs: Installs) -> Iterator[Finding]:
    """Yield what an install would miss, on whatever branch, and what uv would ask for besides."""
    found: list[Finding] = []
    for closure in installs.requirements.values():
        found += [replace(each, bites=REQUIREMENTS_BRANCH) for each in closure.missing]
    for closure in installs.pyproject.values():
        found += [replace(each, bites=RESOLVING) for each in closure.missing]
    if package.dependencies.project is not None:
        found += _find_missing_locked(package, installs)
        found += [replace(each, bites=RESOLVING) for each in _find_besides(package, installs)]
    yield from merge(found)


def _find_missing_locked(package: Package, installs: Installs) -> Iterator[Finding]:
    if package.lock is None:
        return
    reached: set[str] = set()
    for target in package.targets:
        world = world_of(target)
        if not world.is_within(package.lock.markers):
            continue  # a finding of its own
        taken = find_installed(package.lock, world)
        names = {each.name for each in taken}
        reached |= names
        # Where the lock is as it should be, an install that may resolve takes the same files.
        for each in find_unlocked(taken, package.digests, world):
            yield replace(each, bites=FROZEN if each.slug == "lock-pins-remote-urls" else SYNC)
        for name, wheel in installs.pyproject[target].picked.items():
            if name not in names:
                detail = f"{name} {wheel.version} is in the package and not in the lock"
                yield replace(_finding("lock-outdated", name, detail), bites=FROZEN)
    for package_ in package.lock.packages:
        remote = next((file.where for file in package_.wheels if file.path is None), None)
        if remote is not None and package_.name not in reached:
            yield _finding("lock-pins-remote-urls", package_.name, f"{remote}, which no target installs")


def find_unlocked(packages: Iterable[LockedPackage], paths: Mapping[str, str], world: World) -> Iterator[Finding]:
    """Yield what a frozen install of these would miss; `paths` are the files of the package."""
    assert world.target is not None
    accepted = accepted_tags(world.target)
    for package in packages:
        fitting = [file for file in package.wheels if not file.tags.isdisjoint(accepted)]
        if fitting:
            if any(file.path in paths for file in fitting):
                continue
            file = fitting[0]
            if file.path is None:
                yield _finding("lock-pins-remote-urls", package.name, file.where)
            else:
                yield _finding("missing-wheel", package.name, f"uv.lock names {file.path}")
        elif package.wheels:
            tags = frozenset[Tag]().union(*(file.tags for file in package.wheels))
            there = ", ".join(file.filename for file in package.wheels[:4])
            slug = explain_refused_tags(tags, world.target)
            yield _finding(slug, package.name, f"for {world.target.architecture}: uv.lock names {there}")
        elif package.sdist is not None:
            slug = "lock-pins-remote-urls" if package.sdist.path is None else "source-build-needed"
            yield _finding(slug, package.name, f"{package.name}: {package.sdist.where}")
        elif package.remote is not None:
            yield _finding("direct-reference", package.name, f"uv.lock takes it from {package.remote}")


def _finding(slug: str, subject: str, detail: str) -> Finding:
    return Finding(diagnosis=Diagnosis(slug=slug, message=detail), bites=NOTHING, subject=subject)


def _find_besides(package: Package, installs: Installs) -> Iterator[Finding]:
    """Yield what uv asks for when it resolves, though no daemon installs it: groups, extras, other platforms."""
    project = package.dependencies.project
    assert project is not None
    own = read_project(project)
    house = _house(package, ())
    rules = read_rules(package.settings.project)
    world = world_of(package.targets[0])
    known = {each.subject for closure in installs.pyproject.values() for each in closure.missing}
    for what, group in _groups(package, own):
        for each in walk(group, house, world, rules).missing:
            if each.subject not in known:
                yield _finding("dev-group-unavailable", each.subject, f"{what}: {each.diagnosis.message}")
    python, environments = package.requires_python, package.settings.environments
    if package.lock is None or not is_confined_alike(package.lock, python, environments):
        worlds = list_resolved_worlds(python, environments)
        yield from find_universal(own, house, rules, worlds, installs.pyproject)


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

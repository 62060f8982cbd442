"""Which wheels an install takes, and which it misses: a walk through the wheels' own metadata.

Apart from the producer's way (PEP 751) on purpose: a verifier that walks the same path falls into the same hole. Not a
resolver: of several versions the newest that every requirement met so far allows is taken, as an installer would.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from ...difypkg.diagnosis import Diagnosis
from ...difypkg.pep508 import parse_requirement
from ..contents.wheels import BundledWheel, Wheelhouse
from ..contents.world import NO_EXTRA, World, explain_refused_tags
from ..finding import NOTHING, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a plugin says over the heads of its dependencies, under `[tool.uv]`.

    `overrides` stand in for every requirement on a name, `constraints` narrow it, `metadata` stands in for what a wheel
    itself requires.
    """

    overrides: Mapping[NormalizedName, tuple[Requirement, ...]] = field(default_factory=dict)
    constraints: Mapping[NormalizedName, tuple[Requirement, ...]] = field(default_factory=dict)
    metadata: Mapping[NormalizedName, tuple[Requirement, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What the walk starts from: a project's name, its dependencies, and those of its extras."""

    name: NormalizedName | None
    requires: tuple[Requirement, ...]
    extras: Mapping[NormalizedName, tuple[Requirement, ...]] = field(default_factory=dict)


def read_rules(settings: Mapping[str, Any]) -> Rules:
    """Read the rules of a `[tool.uv]` table; entries that are not requirements are uv's to refuse."""
    metadata: dict[NormalizedName, tuple[Requirement, ...]] = {}
    for entry in settings.get("dependency-metadata") or ():
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            metadata[canonicalize_name(entry["name"])] = parse(entry.get("requires-dist"))
    return Rules(
        overrides=_by_name(settings.get("override-dependencies")),
        constraints=_by_name(settings.get("constraint-dependencies")),
        metadata=metadata,
    )


def read_project(project: Mapping[str, Any]) -> Project:
    """Read a `[project]` table."""
    extras = project.get("optional-dependencies")
    return Project(
        name=canonicalize_name(str(project.get("name", ""))),
        requires=parse(project.get("dependencies")),
        extras={canonicalize_name(extra): parse(lines) for extra, lines in extras.items()}
        if isinstance(extras, dict)
        else {},
    )


def parse(lines: object) -> tuple[Requirement, ...]:
    """Return the requirements among a list's entries."""
    texts = lines if isinstance(lines, list | tuple) else ()
    return tuple(found for line in texts if (found := parse_requirement(str(line))) is not None)


def _by_name(lines: object) -> dict[NormalizedName, tuple[Requirement, ...]]:
    grouped: dict[NormalizedName, tuple[Requirement, ...]] = {}
    for requirement in parse(lines):
        name = canonicalize_name(requirement.name)
        grouped[name] = (*grouped.get(name, ()), requirement)
    return grouped


@dataclass(slots=True)
class _Node:
    """What is known of one distribution so far: `needs` are (who asks, for what)."""

    extras: set[str] = field(default_factory=set)
    needs: list[tuple[str, Requirement]] = field(default_factory=list)
    picked: BundledWheel | None = None
    walked: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """What an install takes: a wheel for each name, and what is `missing` from it, which bites no branch as yet."""

    picked: Mapping[NormalizedName, BundledWheel]
    missing: tuple[Finding, ...]


def walk(project: Project, house: Wheelhouse, world: World, rules: Rules) -> Closure:
    """Return the wheels that a project takes, and what it misses."""
    return _Walk(project, house, world, rules).run()


class _Walk:
    def __init__(self, project: Project, house: Wheelhouse, world: World, rules: Rules) -> None:
        self._project = project
        self._house = house
        self._world = world
        self._rules = rules
        self._nodes: dict[NormalizedName, _Node] = {}
        self._pending: list[NormalizedName] = []
        self._missing: dict[tuple[str, str], Finding] = {}

    def run(self) -> Closure:
        self._require("the plugin", self._project.requires, NO_EXTRA)
        while self._pending:
            self._visit(self._pending.pop(0))
        picked = {name: node.picked for name, node in self._nodes.items() if node.picked is not None}
        return Closure(picked=picked, missing=tuple(self._missing.values()))

    def _require(self, who: str, requirements: Sequence[Requirement], extras: Iterable[str]) -> None:
        for written in requirements:
            for requirement in self._overridden(written, extras):
                name = canonicalize_name(requirement.name)
                node = self._nodes.setdefault(name, _Node())
                node.needs.append((who, requirement))
                node.extras |= {canonicalize_name(extra) for extra in requirement.extras}
                self._pending.append(name)

    def _overridden(self, requirement: Requirement, extras: Iterable[str]) -> Iterable[Requirement]:
        """Return what is really asked for: nothing, the requirement, or what overrides it."""
        others = self._rules.overrides.get(canonicalize_name(requirement.name))
        if others is None:
            return (requirement,) if self._world.applies(requirement.marker, extras) else ()
        # uv keeps nothing of an overridden requirement's marker but the extra that it hangs on.
        if "extra" in str(requirement.marker or "") and not self._world.applies(requirement.marker, extras):
            return ()
        return [other for other in others if self._world.applies(other.marker)]

    def _visit(self, name: NormalizedName) -> None:
        node = self._nodes[name]
        if name == self._project.name:
            wanted = frozenset(node.extras)
            if node.walked != wanted:
                node.walked = wanted
                for extra in sorted(wanted):
                    self._require("the plugin", self._project.extras.get(NormalizedName(extra), ()), NO_EXTRA)
            return
        wheel = self._pick(name, node)
        extras = frozenset(node.extras)
        if wheel is None or (wheel == node.picked and node.walked == extras):
            return
        node.picked, node.walked = wheel, extras
        requires = self._rules.metadata.get(name, wheel.requires)
        self._require(f"{wheel.name} {wheel.version}", requires, extras or NO_EXTRA)

    def _pick(self, name: NormalizedName, node: _Node) -> BundledWheel | None:
        who, last = node.needs[-1]
        asked = f"{last.name}{last.specifier}"
        url = next((need for need in node.needs if need[1].url is not None), None)
        if url is not None:
            self._miss("direct-reference", name, f"{url[0]} wants {name} from {url[1].url}")
            return None
        bundled = self._house.of(name)
        if not bundled and name in self._house.damaged:
            return None  # a finding of its own
        if not bundled:
            sdist = self._house.sdists.get(name)
            if sdist is not None:
                self._miss("source-build-needed", name, f"{name}: {sdist}, wanted by {who}")
            else:
                self._miss("missing-wheel", name, f"{asked}, wanted by {who}")
            return None
        allowed = [wheel for wheel in bundled if self._is_allowed(name, node, wheel.version)]
        if not allowed:
            versions = ", ".join(sorted({str(wheel.version) for wheel in bundled}))
            wanted = "; ".join(
                dict.fromkeys(f"{asker} wants {need.name}{need.specifier}" for asker, need in node.needs)
            )
            self._miss("missing-wheel", name, f"{name}: {versions} is there; {wanted}")
            return None
        target = self._world.target
        fitting = [wheel for wheel in allowed if target is None or wheel.fits(target)]
        if target is not None and not fitting:
            tags = frozenset().union(*(wheel.tags for wheel in allowed))
            there = ", ".join(wheel.path for wheel in allowed)
            self._miss(explain_refused_tags(tags, target), name, f"for {target.architecture}: {there}")
            return None
        wheel = max(fitting, key=lambda wheel: wheel.version)
        python = wheel.requires_python
        if target is not None and python is not None and not python.contains(target.python, prereleases=True):
            self._miss("python-version-mismatch", name, f"{wheel.filename} needs Python {python}, not {target.python}")
        return wheel

    def _is_allowed(self, name: NormalizedName, node: _Node, version: Version) -> bool:
        constraints = (
            each.specifier
            for each in self._rules.constraints.get(name, ())
            if self._world.applies(each.marker) and each.url is None
        )
        specifiers: Iterable[SpecifierSet] = (*(need.specifier for _, need in node.needs), *constraints)
        return all(specifier.contains(version, prereleases=True) for specifier in specifiers)

    def _miss(self, slug: str, name: NormalizedName, detail: str) -> None:
        finding = Finding(diagnosis=Diagnosis(slug=slug, message=detail), bites=NOTHING, subject=name)
        self._missing.setdefault((slug, name), finding)

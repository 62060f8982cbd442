"""What is verified against: daemon release x settings x target x backend."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..difypkg.daemons import Branch, Release, Settings, distinct_branches, newest, plan_branch, releases
from ..difypkg.target import Target
from .report import Check, ScenarioReport

DEAD_MIRROR: Final = "http://127.0.0.1:9/simple"
"""A mirror that never answers: with one set, an offline package must not ask it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run: `launch` says that the plugin is started as well; `uv` is the version to install with, where known."""

    release: Release
    settings: Settings
    target: Target
    backend: str
    launch: bool
    uv: str | None = None

    @property
    def set_variables(self) -> tuple[str, ...]:
        """The names of the variables that the operator set; empty for the defaults."""
        return ("PIP_MIRROR_URL",) if self.settings.mirror else ()

    @property
    def title(self) -> str:
        """What it is about, on one line."""
        return self.report().title

    def report(self, *checks: Check) -> ScenarioReport:
        """Return the report of this scenario with these checks, and nothing else yet."""
        return ScenarioReport(
            backend=self.backend,
            daemon=str(self.release),
            architecture=self.target.architecture,
            settings=self.set_variables,
            checks=checks,
        )


def plan_scenarios(
    files: Collection[str],
    *,
    backend: str,
    targets: Sequence[Target],
    chosen: Iterable[Release] = (),
    settings: Settings,
    matrix: bool = False,
) -> tuple[Scenario, ...]:
    """Return the scenarios for a package with these files.

    Without `chosen`, each install branch of all releases once, and one start, on the newest; `matrix` adds each branch
    on the oldest release that has it (another uv) and, for both, a mirror that is set.
    """
    named = tuple(dict.fromkeys(chosen))
    found = named or distinct_branches(files, settings) or (newest(),)
    starting = frozenset(named or found[-1:])
    if matrix:
        found = tuple(dict.fromkeys((*(() if named else _oldest_of_branches(files, settings)), *found)))
    scenarios = [
        Scenario(
            release=release,
            settings=settings,
            target=target,
            backend=backend,
            launch=release in starting,
            uv=release.uv or newest().uv,
        )
        for target in targets
        for release in sorted(found, key=lambda each: each.version)
    ]
    return tuple(_with_mirrors(scenarios) if matrix else scenarios)


def _with_mirrors(scenarios: Iterable[Scenario]) -> Iterator[Scenario]:
    for scenario in scenarios:
        yield scenario
        if not scenario.settings.mirror:
            settings = replace(scenario.settings, mirror=DEAD_MIRROR)
            yield replace(scenario, settings=settings, launch=False)


def _oldest_of_branches(files: Collection[str], settings: Settings) -> Iterator[Release]:
    seen: set[Branch] = set()
    for release in releases():
        branch = plan_branch(release, settings, files)
        if branch is not None and branch not in seen:
            seen.add(branch)
            yield release

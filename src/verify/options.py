"""How to verify, and what a verification tells while it works."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from ..difypkg.daemons import Release, Settings
from ..difypkg.target import Target
from ..sandbox.isolation import Isolation
from ..uvrun.environment import IndexSettings
from .report import ScenarioReport
from .scenario import Scenario
from .trust import NO_TRUST, Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRead:
    """The package was read: its identity, and how many scenarios will run."""

    identity: str
    scenarios: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchStarted:
    """Something is being fetched, once: `what` names it, such as `uv 0.12.2`."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioStarted:
    """A scenario is at work."""

    scenario: Scenario


Event: TypeAlias = PackageRead | FetchStarted | ScenarioStarted | ScenarioReport
"""What a verification tells while it works; reports come as scenarios end, from several threads."""

Listener: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """How to verify.

    `backend` is a name of `backends.BACKENDS`. Without `releases` each install branch of all of them is run. Without
    `targets` the package's own are taken: those of its record, else those of `candidates` that its wheels are for.
    `version` is difyoff's own. `image` is the container image in place of the release's: the release that its tag names
    is the one, then. `pull` says when to ask a registry, `platform` is Docker's word (`linux/arm64`). `isolation` is
    for tests: None takes the strongest that holds. `trust` says whom the package must come from. `allow_stand_in` lets
    another uv, or the newest known rules, stand in for a release's own. `strict` refuses also what the daemon installs
    and difyoff would not have made.
    """

    cache: Path
    index: IndexSettings
    version: str
    backend: str = "local"
    releases: tuple[Release, ...] = ()
    targets: tuple[Target, ...] = ()
    candidates: tuple[Target, ...] = ()
    settings: Settings = field(default_factory=Settings)
    matrix: bool = False
    trust_plugin: bool = False
    allow_stand_in: bool = False
    strict: bool = False
    image: str | None = None
    pull: Literal["never", "missing", "always"] = "missing"
    platform: str | None = None
    isolation: Isolation | None = None
    trust: Trust = NO_TRUST


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """What a backend gets to work with: a folder of its own, and who listens.

    `vetted` says that the audit has found nothing against the package.
    """

    scratch: Path
    listen: Listener = lambda _: None
    vetted: bool = False

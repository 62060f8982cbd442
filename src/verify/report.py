"""What a verification found, as values; the JSON report is made of these and nothing else."""

import json
import platform
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, TypeAlias

from ..difypkg.diagnosis import Diagnosis, Exit
from ..difypkg.edits import Edit
from ..difypkg.record import TargetRecord
from ..difypkg.site import SiteSetting

SCHEMA_VERSION: Final = 1

Verdict: TypeAlias = Literal["passed", "failed", "error", "not-verified"]
"""`error`: the verification itself cannot be trusted. `not-verified`: this machine could not run it."""

Status: TypeAlias = Literal["passed", "failed", "error", "skipped"]

_GRAVEST_FIRST: Final[tuple[Status, ...]] = ("error", "failed", "skipped", "passed")
_WORST_FIRST: Final[tuple[Verdict, ...]] = ("error", "failed", "not-verified", "passed")

EXIT_CODES: Final[dict[Verdict, Exit]] = {
    "passed": Exit.DONE,
    "failed": Exit.NO,
    "error": Exit.MACHINE,
    "not-verified": Exit.MACHINE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: `name` is a short phrase, `seconds` how long it took.

    A failed check has a diagnosis; a skipped one has its reason as `message`, and is never a pass. Without a `required`
    one nothing is verified. `branches` are the ways to install on which a failed check of the audit counts.
    """

    name: str
    status: Status
    required: bool = False
    message: str = ""
    diagnosis: Diagnosis | None = None
    evidence: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationRecord:
    """How the network was cut, and the proof: what the canary met when it tried to resolve and to connect."""

    rung: str
    proved: bool
    host_protected: bool
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioReport:
    """One scenario: a daemon release with its settings on an architecture and a backend, and its checks.

    `branch` and `command` are what the release runs to install, `installed` what that brings (`name==version`). `uv`
    and `python` are the versions that ran, `image` the container image's reference and digest. `verdict` is the worst
    of the checks; a scenario whose required checks did not run is not verified.
    """

    backend: str
    daemon: str | None
    architecture: str
    branch: str | None = None
    command: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    installed: tuple[str, ...] = ()
    uv: str | None = None
    python: str | None = None
    image: str | None = None
    isolation: IsolationRecord | None = None
    checks: tuple[Check, ...] = ()
    findings: tuple[Diagnosis, ...] = ()
    seconds: float = 0.0
    verdict: Verdict = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "verdict", _verdict(self.checks))

    @property
    def title(self) -> str:
        """What it is about, on one line; the audit is about every release and target."""
        if self.backend == "audit" or self.daemon is None:
            return self.backend
        architecture = () if self.architecture == "amd64" else (self.architecture,)
        variables = (f"{name} set" for name in self.settings)
        return ", ".join((self.backend, f"daemon {self.daemon}", *architecture, *variables))


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledDistribution:
    """One wheel of a package: `size` in bytes, `sha256` in hex.

    `licence` is what its metadata says, an SPDX expression where `licence_is_expression`. `origin` is where it was
    fetched, or what it was built from where `built`, by the package's record. `requires` are the normalised names that
    it asks for on the package's first target, without extras.
    """

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    licence: str | None
    licence_is_expression: bool
    origin: str | None
    built: bool
    requires: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSize:
    """A size of the package and the release's default limit for it, both in bytes."""

    name: Literal["packed", "unpacked", "upload"]
    size: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a package holds.

    `release` is the daemon release that limits and settings are those of. `source` is the plugin that it was made from
    and `tools` what made it, by its record. `signature` says whether there is one; no key is asked. `requires` are the
    normalised names that the plugin itself asks for, `permissions` the rights that its manifest claims.
    """

    release: str
    targets: tuple[TargetRecord, ...]
    source: str | None
    tools: str | None
    signature: str
    requires: tuple[str, ...]
    permissions: tuple[str, ...]
    minimum_dify: str | None
    wheels: tuple[BundledDistribution, ...]
    edits: tuple[Edit, ...]
    sizes: tuple[MeasuredSize, ...]
    site: tuple[SiteSetting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """The machine that verified: its name, its system (`Linux 6.1.0 x86_64`), and the Python that difyoff runs on."""

    name: str
    system: str
    python: str


def describe_host() -> HostRecord:
    """Return what this machine is."""
    system = platform.uname()
    return HostRecord(
        name=system.node,
        system=f"{system.system} {system.release} {system.machine}",
        python=platform.python_version(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """The whole report on one package.

    `not_checked` says in words what no scenario looked at. `inventory` is None where the package cannot be read.
    `began` is when the verification began (ISO 8601, UTC), `host` where it ran.
    """

    package: str
    sha256: str
    identity: str | None
    verdict: Verdict
    scenarios: tuple[ScenarioReport, ...]
    findings: tuple[Diagnosis, ...] = ()
    not_checked: tuple[str, ...] = ()
    difyoff: str = ""
    inventory: Inventory | None = None
    began: str = ""
    host: HostRecord | None = None
    schema_version: int = field(default=SCHEMA_VERSION)

    @property
    def exit_code(self) -> Exit:
        """The exit code of the verdict."""
        return EXIT_CODES[self.verdict]

    def first_failure(self) -> Diagnosis | None:
        """Return the diagnosis of the first check that failed, else of what kept one from running, else None."""
        checks = [check for scenario in self.scenarios for check in scenario.checks if check.diagnosis]
        checks.sort(key=lambda check: _GRAVEST_FIRST.index(check.status))
        return checks[0].diagnosis if checks else None


def check_stand_in(name: str, message: str, *, allowed: bool, diagnosis: Diagnosis | None = None) -> Check:
    """Return the check that something stood in for the release's own: without `allowed`, nothing is verified then."""
    if allowed:
        return Check(name=name, required=True, status="passed", message=message)
    message = f"{message}; `--allow-stand-in` accepts that"
    return Check(name=name, required=True, status="skipped", message=message, diagnosis=diagnosis)


def worst_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the gravest verdict; `not-verified` where there is none at all."""
    return min(verdicts, key=_WORST_FIRST.index, default="not-verified")


def _verdict(checks: Collection[Check]) -> Verdict:
    statuses = {check.status for check in checks}
    if "error" in statuses:
        return "error"
    if "failed" in statuses:
        return "failed"
    missing = any(check.required and check.status == "skipped" for check in checks)
    return "passed" if "passed" in statuses and not missing else "not-verified"


def to_json(report: VerificationReport) -> str:
    """Return the report as JSON text."""
    return json.dumps(asdict(report), indent=2, ensure_ascii=False)

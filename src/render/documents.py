"""What the commands print and report: one document of one shape for each, failures included.

`{schema_version, command, exit_code, results[]}`; the schemas in `difyoff/render/schemas/` are made from these classes.
"""

from dataclasses import dataclass
from typing import Final, Literal

from ..difypkg.diagnosis import Diagnosis
from ..difypkg.edits import Edit
from ..difypkg.logs.reading import Failure, UnknownError
from ..difypkg.place import FetchedFrom
from ..difypkg.record import BuildRecord, TargetRecord
from ..signing.signoff import Ballot
from ..verify.report import VerificationReport
from .compare import Change

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageDocument:
    """A package file: sizes in bytes, `unpacked_size` as the daemon sums it."""

    path: str
    sha256: str
    size: int
    unpacked_size: int
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelDocument:
    """A bundled wheel; `built` says how it was built on this machine, null for one that was fetched."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    origin: str
    architectures: tuple[str, ...]
    built: BuildRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDocument:
    """A variable to set on the site before uploading, the services that read it, and why."""

    name: str
    value: str
    where: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeDocument:
    """The size verdict against the site's limit, in bytes."""

    verdict: Literal["under", "over", "open"]
    limit: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What `build` made of one plugin; of a failure only `input`, `status`, `exit_code` and `diagnosis` are there.

    `verification` is the report of `--verify`. A package that did not pass is not published; `aside` is where it lies.
    `origin` is where the plugin was fetched from, `app` the copy of the app that names it, null where there is none.
    """

    input: str
    status: Literal["written", "up to date", "refused", "not verified", "failed"]
    exit_code: int
    identity: str | None = None
    package: PackageDocument | None = None
    targets: tuple[TargetRecord, ...] = ()
    daemon: str | None = None
    resolution: str | None = None
    wheels: tuple[WheelDocument, ...] = ()
    edits: tuple[Edit, ...] = ()
    findings: tuple[Diagnosis, ...] = ()
    size: SizeDocument | None = None
    site: tuple[SettingDocument, ...] = ()
    verification: VerificationReport | None = None
    aside: str | None = None
    origin: FetchedFrom | None = None
    app: str | None = None
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResult:
    """What `fetch` brought: `path` is the file or folder, `identity` that of its files as a package."""

    input: str
    status: Literal["written", "up to date", "failed"]
    exit_code: int
    path: str | None = None
    sha256: str | None = None
    identity: str | None = None
    origin: FetchedFrom | None = None
    findings: tuple[Diagnosis, ...] = ()
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetEditResult:
    """What `add` or `remove` did to a set for one plugin; `config` is the set's file."""

    input: str
    status: Literal["added", "there already", "removed", "failed"]
    exit_code: int
    config: str | None = None
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockResult:
    """What `lock` pinned of one plugin: `source` is located in its place, `resolved` whether its wheels are pinned."""

    input: str
    status: Literal["locked", "failed"]
    exit_code: int
    source: str | None = None
    identity: str | None = None
    sha256: str | None = None
    resolved: bool = False
    findings: tuple[Diagnosis, ...] = ()
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutdatedResult:
    """How far a plugin of the set is behind: `version` is the one that the set names, None for the latest.

    `minimum_dify` is what the latest version asks for.
    """

    input: str
    status: Literal["current", "outdated", "not told", "failed"]
    exit_code: int
    plugin_id: str | None = None
    version: str | None = None
    latest: str | None = None
    latest_identifier: str | None = None
    minimum_dify: str | None = None
    findings: tuple[Diagnosis, ...] = ()
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeDocument:
    """One thing that differs between two versions of a plugin."""

    what: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeResult:
    """What `upgrade` did to one plugin: `old` and `new` are what the set said and says.

    Nothing is replaced unless the new version was built and verified; `build` is its result.
    """

    input: str
    status: Literal["upgraded", "current", "not told", "refused", "failed", "restored"]
    exit_code: int
    old: str | None = None
    new: str | None = None
    changes: tuple[ChangeDocument, ...] = ()
    build: BuildResult | None = None
    findings: tuple[Diagnosis, ...] = ()
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferDocument:
    """A plugin of the marketplace; `installs` as it counts them."""

    plugin_id: str
    version: str
    installs: int
    status: str
    brief: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What the marketplace finds for some words: at most the first page of `total`."""

    input: str
    status: Literal["found", "nothing found", "failed"]
    exit_code: int
    plugins: tuple[OfferDocument, ...] = ()
    total: int = 0
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePlan:
    """What one daemon release runs to install the package; no command where it finds nothing to install from."""

    daemon: str
    uv: str | None
    branch: str | None
    dependency_file: str | None
    command: tuple[str, ...]
    within_size_limit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureDocument:
    """The signature in a package, not checked against a key; `time` in seconds since 1970."""

    time: int
    bits: int
    category: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectResult:
    """What `inspect` found in one package or folder."""

    input: str
    status: Literal["read", "failed"]
    exit_code: int
    identity: str | None = None
    sha256: str | None = None
    size: int | None = None
    unpacked_size: int | None = None
    files: int | None = None
    kinds: tuple[str, ...] = ()
    dependency_files: tuple[str, ...] = ()
    signature: SignatureDocument | None = None
    offline: tuple[str, ...] = ()
    made_from: str | None = None
    targets: tuple[TargetRecord, ...] = ()
    wheels: int = 0
    releases: tuple[ReleasePlan, ...] = ()
    findings: tuple[Diagnosis, ...] = ()
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureResult:
    """Why a command ended before it came to any of its inputs."""

    exit_code: int
    diagnosis: Diagnosis
    input: str = ""
    status: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureDocument:
    """The document of a command that ended before it came to any of its inputs; it fits that command's schema."""

    command: str
    exit_code: int
    results: tuple[FailureResult, ...]
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildDocument:
    """The document of `build`."""

    results: tuple[BuildResult, ...]
    exit_code: int
    command: Literal["build"] = "build"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchDocument:
    """The document of `fetch`."""

    results: tuple[FetchResult, ...]
    exit_code: int
    command: Literal["fetch"] = "fetch"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class AddDocument:
    """The document of `add`."""

    results: tuple[SetEditResult, ...]
    exit_code: int
    command: Literal["add"] = "add"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDocument:
    """The document of `remove`."""

    results: tuple[SetEditResult, ...]
    exit_code: int
    command: Literal["remove"] = "remove"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class LockDocument:
    """The document of `lock`."""

    results: tuple[LockResult, ...]
    exit_code: int
    command: Literal["lock"] = "lock"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class OutdatedDocument:
    """The document of `outdated`."""

    results: tuple[OutdatedResult, ...]
    exit_code: int
    command: Literal["outdated"] = "outdated"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeDocument:
    """The document of `upgrade`."""

    results: tuple[UpgradeResult, ...]
    exit_code: int
    command: Literal["upgrade"] = "upgrade"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchDocument:
    """The document of `search`."""

    results: tuple[SearchResult, ...]
    exit_code: int
    command: Literal["search"] = "search"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectDocument:
    """The document of `inspect`."""

    results: tuple[InspectResult, ...]
    exit_code: int
    command: Literal["inspect"] = "inspect"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """One package's report, null where there is none because `diagnosis` kept everything from running."""

    input: str
    exit_code: int
    report: VerificationReport | None = None
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyDocument:
    """The document of `verify`."""

    results: tuple[VerifyResult, ...]
    exit_code: int
    command: Literal["verify"] = "verify"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseResult:
    """What a log tells. `diagnosis` is the main failure's; `sure` is false where the text does not prove it.

    `plugins` are those named near it. `complete` is false where reading ended before the log did. `findings` come from
    comparing it with a package. `failures` are all of them, in the order of the log; `normal` are lines that look like
    failures and are none; `unknown` are errors that no rule knows.
    """

    input: str
    exit_code: int
    diagnosis: Diagnosis
    sure: bool = True
    complete: bool = True
    plugins: tuple[str, ...] = ()
    findings: tuple[Diagnosis, ...] = ()
    failures: tuple[Failure, ...] = ()
    normal: tuple[Failure, ...] = ()
    unknown: tuple[UnknownError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseDocument:
    """The document of `diagnose`."""

    results: tuple[DiagnoseResult, ...]
    exit_code: int
    command: Literal["diagnose"] = "diagnose"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class KeygenResult:
    """A key pair that was made: the paths of its files."""

    exit_code: int
    private_key: str | None = None
    public_key: str | None = None
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeygenDocument:
    """The document of `keygen`."""

    results: tuple[KeygenResult, ...]
    exit_code: int
    command: Literal["keygen"] = "keygen"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class SignResult:
    """A signed copy of a package with its SHA-256, its provenance, and what the site must set to accept it."""

    input: str
    exit_code: int
    package: str | None = None
    sha256: str | None = None
    provenance: str | None = None
    site: tuple[SettingDocument, ...] = ()
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignDocument:
    """The document of `sign`."""

    results: tuple[SignResult, ...]
    exit_code: int
    command: Literal["sign"] = "sign"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class SignoffResult:
    """A decision that was written, or the decisions that were found on a package and whether each counts."""

    input: str
    exit_code: int
    decision: str | None = None
    ballots: tuple[Ballot, ...] = ()
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignoffDocument:
    """The document of `signoff`."""

    results: tuple[SignoffResult, ...]
    exit_code: int
    command: Literal["signoff"] = "signoff"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffDocument:
    """The document of `report diff`: what changed between two reports."""

    results: tuple[Change, ...]
    exit_code: int
    command: Literal["report"] = "report"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainResult:
    """The page of a diagnosis; `stops_with` is the exit code where it stops the work, 0 where it never does."""

    exit_code: int
    slug: str
    title: str
    text: str
    stops_with: int
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainDocument:
    """The document of `explain`."""

    results: tuple[ExplainResult, ...]
    exit_code: int
    command: Literal["explain"] = "explain"
    schema_version: int = SCHEMA_VERSION

"""Sign-off: a person's decision on one package, bound to its bytes and to those of the report that was read.

Beside `NAME.difypkg` lies the folder `NAME.difypkg.signoff` with, for each person, the decision as JSON and its SSH
signature, the reports, and a README.txt that says how to check all of it with coreutils and OpenSSH alone.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.files import output_errors, write_atomically
from .ssh import PRINCIPAL, SshKey, sign_as_person, signers_of

FORMAT: Final = "difyoff-signoff"
NAMESPACE: Final = "difyoff-signoff"
"""The namespace of the SSH signatures: a signature made for anything else does not count here."""
SCHEMA_VERSION: Final = 1

Ruling: TypeAlias = Literal["approve", "reject"]
RULINGS: Final[tuple[Ruling, ...]] = get_args(Ruling)

_FOLDER: Final = ".signoff"
_REJECTED: Final = ".rejected"
_LARGEST: Final = 1 << 20
_README: Final = """\
Decisions on {name}

NAME.json is a person's decision, NAME.json.sig its signature, the other files are the reports that were read.
To check them by hand, with a file `allowed_signers` that you got from your own side (ssh-keygen(1), "ALLOWED SIGNERS"):

  1. sha256sum ../{name}
     must print the "sha256" under "package" in every NAME.json.
  2. sha256sum REPORT
     must print the "sha256" under "report".
  3. ssh-keygen -Y verify -f allowed_signers -I NAME -n {namespace} -s NAME.json.sig < NAME.json
     must print: Good "{namespace}" signature for NAME ...

A package with one valid "reject" must not be installed, whoever approved it.
With difyoff: difyoff signoff check {name} --allowed-signers allowed_signers
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFile:
    """A file that a decision is bound to: its name and the SHA-256 of its content, in hex."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person decided. `date` is in UTC (ISO 8601), `verdict` what the report says, None where it is not JSON."""

    package: SignedFile
    report: SignedFile
    verdict: str | None
    decision: Ruling
    by: str
    date: str
    comment: str = ""
    format: str = field(default=FORMAT)
    schema_version: int = field(default=SCHEMA_VERSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """One decision found beside a package: whether it counts, and why not where it does not."""

    file: str
    by: str
    decision: str
    counts: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the decisions on a package come to: approved by at least `required` people, and rejected by none."""

    ballots: tuple[Ballot, ...]
    required: int

    @property
    def approved(self) -> bool:
        """Whether the package may be installed."""
        valid = [ballot for ballot in self.ballots if ballot.counts]
        people = {ballot.by for ballot in valid if ballot.decision == "approve"}
        return len(people) >= self.required and not any(ballot.decision == "reject" for ballot in valid)


def folder_of(package: Path) -> Path:
    """Return the folder that holds the decisions on a package."""
    return package.with_name(package.name.removesuffix(_REJECTED) + _FOLDER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a person thinks of a package: `date` is the moment, in UTC (ISO 8601)."""

    ruling: Ruling
    by: str
    date: str
    comment: str = ""


def decide(package: Path, report: Path, opinion: Opinion, key: SshKey) -> Path:
    """Write a person's signed decision beside a package and return its file; a rejected package loses its name.

    Raises `DifyoffError`: `wrong-signer-name`, `report-does-not-match` for a
    report on something else, or one whose verdict an approval would contradict; `file-not-found`, `ssh-key-unusable`,
    `output-not-writable`.
    """
    if not PRINCIPAL.fullmatch(opinion.by):
        raise DifyoffError(
            Diagnosis(
                slug="wrong-signer-name",
                message=f"{opinion.by!r} is not a name that an allowed-signers file can hold",
                hint="Name yourself as that file does, for instance by your mail address: `--as NAME`.",
            )
        )
    digest = _sha256(package)
    verdict, seen = _read_verdict(report, digest), _sha256(report)
    if opinion.ruling == "approve" and verdict not in ("passed", None):
        raise _unfit(f"{report.name} says {verdict!r}, so the package cannot be approved on it")
    decision = Decision(
        package=SignedFile(name=package.name, sha256=digest),
        report=SignedFile(name=f"{seen[:12]}-{report.name}", sha256=seen),
        verdict=verdict,
        decision=opinion.ruling,
        by=opinion.by,
        date=opinion.date,
        comment=opinion.comment,
    )
    content = (json.dumps(asdict(decision), indent=2, ensure_ascii=False) + "\n").encode()
    signature = sign_as_person(content, key, namespace=NAMESPACE)
    folder = folder_of(package)
    with output_errors(folder):
        folder.mkdir(exist_ok=True)
        write_atomically(folder / "README.txt", _README.format(name=package.name, namespace=NAMESPACE))
        shutil.copyfile(report, folder / decision.report.name)
        # The signature first: a decision without one never counts.
        write_atomically(folder / f"{opinion.by}.json.sig", signature.decode("ascii"))
        write_atomically(folder / f"{opinion.by}.json", content.decode())
        if opinion.ruling == "reject" and not package.name.endswith(_REJECTED):
            package.rename(package.with_name(package.name + _REJECTED))
    return folder / f"{opinion.by}.json"


def check_decisions(package: Path, *, allowed: Path, required: int) -> Tally:
    """Check every decision beside a package against an allowed-signers file.

    Raises `DifyoffError`: `file-not-found`, and `command-not-started` without OpenSSH.
    """
    _sha256(allowed)  # a missing file is not the same as one that allows nobody
    digest = _sha256(package)
    return Tally(ballots=tuple(_ballots(folder_of(package), digest, allowed)), required=required)


def _ballots(folder: Path, digest: str, allowed: Path) -> Iterator[Ballot]:
    for file in sorted(folder.glob("*.json")):
        if not file.with_name(f"{file.name}.sig").is_file():
            continue  # a report in JSON
        by, decision, reason = _judge(file, digest, allowed)
        yield Ballot(file=file.name, by=by, decision=decision, counts=not reason, reason=reason)


def _judge(file: Path, digest: str, allowed: Path) -> tuple[str, str, str]:
    """Return who decided what in a file, and why it does not count; no reason where it does."""
    try:
        content, signature = _bounded(file), _bounded(file.with_name(f"{file.name}.sig"))
        data: Any = json.loads(content)
        by, decision = str(data["by"]), str(data["decision"])
        package, report = str(data["package"]["sha256"]), data["report"]
        report_name, report_digest = str(report["name"]), str(report["sha256"])
        known = (data["format"], data["schema_version"]) == (FORMAT, SCHEMA_VERSION) and decision in RULINGS
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return file.stem, "unreadable", "it is not a decision of difyoff"
    signers = signers_of(content, signature, allowed=allowed, namespace=NAMESPACE)
    if not signers:
        return by, decision, "its signature is not valid, or not of an allowed signer"
    if by not in signers:
        return by, decision, f"it is signed by {', '.join(signers)}, not by {by}"
    if not known:
        return by, decision, "a newer difyoff wrote it"
    if package != digest:
        return by, decision, "it is about another package, or the package was changed since"
    return by, decision, _report_fault(file.parent, report_name, report_digest)


def _report_fault(folder: Path, name: str, digest: str) -> str:
    if "/" in name or not (folder / name).is_file():
        return f"its report {name!r} is not there"
    return "" if _sha256(folder / name) == digest else f"its report {name} was changed since"


def _read_verdict(report: Path, digest: str) -> str | None:
    """Return the verdict on a package in a report, None for one that is not JSON but names the package's hash."""
    content = _content(report)
    if digest.encode() not in content:
        raise _unfit(f"{report.name} is not about this package: it does not name its sha256 {digest}")
    try:
        data: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    verdicts = {str(each.get("verdict")) for each in _reports(data) if each.get("sha256") == digest}
    if len(verdicts) != 1:
        raise _unfit(f"{report.name} holds no single verdict on this package")
    return verdicts.pop()


def _reports(data: Any) -> Iterator[dict[str, Any]]:
    """Yield the verification reports in the JSON of `verify`, of `build --verify`, or in a report by itself."""
    if not isinstance(data, dict):
        return
    if "verdict" in data and "scenarios" in data:
        yield data
    for result in data.get("results") or () if isinstance(data.get("results"), list) else ():
        for key in ("report", "verification"):
            if isinstance(result, dict) and isinstance(result.get(key), dict):
                yield result[key]


def _unfit(message: str) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="report-does-not-match",
            message=message,
            hint="Verify this very file and name that report: `difyoff verify PACKAGE --report REPORT.json`.",
        )
    )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DifyoffError:
    return DifyoffError(
        Diagnosis(slug="file-not-found", message=f"{path} cannot be read: {error.strerror}", hint="Check the path.")
    )


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(path.name)
    return content

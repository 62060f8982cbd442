"""Sign-off, with real OpenSSH: what counts, and that the far side needs no difyoff to see it."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.signing.signoff import NAMESPACE, Opinion, Ruling, Tally, check_decisions, decide, folder_of
from difyoff.signing.ssh import SshKey

DATE = "2026-11-25T12:00:00+00:00"
ANN, BEN = "ann@site.example", "ben@site.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    folder: Path
    package: Path
    report: Path
    allowed: Path

    def decide(self, ruling: Ruling, by: str, *, key: str | None = None, report: Path | None = None) -> Path:
        opinion = Opinion(ruling=ruling, by=by, date=DATE)
        return decide(
            self.package,
            report or self.report,
            opinion,
            SshKey(path=self.folder / (key or by), environ=os.environ),
        )

    def check(self, required: int = 1) -> Tally:
        return check_decisions(self.package, allowed=self.allowed, required=required)


def _sha256(path: Path) -> str:
    return subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout.split()[0]


def _report(path: Path, package: Path, verdict: str = "passed") -> Path:
    report = {"verdict": verdict, "sha256": _sha256(package), "scenarios": []}
    path.write_text(json.dumps({"command": "verify", "results": [{"report": report}]}))
    return path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    for name in (ANN, BEN, "mallory"):
        arguments = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(tmp_path / name)]
        subprocess.run(arguments, check=True)
    allowed = tmp_path / "allowed_signers"
    keys = {name: (tmp_path / f"{name}.pub").read_text() for name in (ANN, BEN)}
    allowed.write_text("".join(f"{name} {key}" for name, key in keys.items()))
    package = tmp_path / "a-b_1-offline.difypkg"
    package.write_bytes(b"a package")
    return Site(folder=tmp_path, package=package, report=_report(tmp_path / "report.json", package), allowed=allowed)


def _slug(action: object) -> str:
    with pytest.raises(DifyoffError) as caught:
        action()  # type: ignore[operator]
    return caught.value.diagnosis.slug


def test_a_package_is_approved_by_as_many_people_as_are_required(site: Site) -> None:
    assert not site.check().approved
    site.decide("approve", ANN)
    assert site.check().approved
    assert not site.check(required=2).approved
    site.decide("approve", ANN)
    assert not site.check(required=2).approved, "one person is one person"
    site.decide("approve", BEN)
    assert site.check(required=2).approved


def test_the_far_side_checks_it_with_openssh_and_coreutils(site: Site) -> None:
    site.decide("approve", ANN)
    folder = folder_of(site.package)
    decision = json.loads((folder / f"{ANN}.json").read_text())
    assert decision["package"]["sha256"] == _sha256(site.package)
    assert decision["report"]["sha256"] == _sha256(folder / decision["report"]["name"])
    arguments = ["-f", site.allowed, "-I", ANN, "-n", NAMESPACE, "-s", folder / f"{ANN}.json.sig"]
    with (folder / f"{ANN}.json").open() as content:
        done = subprocess.run(["ssh-keygen", "-Y", "verify", *map(str, arguments)], check=True, stdin=content)
    assert done.returncode == 0
    assert ANN not in (folder / "README.txt").read_text()


def test_a_rejection_takes_the_name_and_outweighs_every_approval(site: Site) -> None:
    site.decide("approve", ANN)
    site.decide("reject", BEN)
    assert not site.package.exists()
    rejected = site.package.with_name(site.package.name + ".rejected")
    outcome = check_decisions(rejected, allowed=site.allowed, required=1)
    assert [ballot.counts for ballot in outcome.ballots] == [True, True]
    assert not outcome.approved


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize("changed", ["package", "report", "decision", "signature", "decision's name", "no report"])
def test_one_changed_byte_is_noticed(site: Site, changed: str) -> None:
    decision = site.decide("approve", ANN)
    report = folder_of(site.package) / json.loads(decision.read_text())["report"]["name"]
    if changed == "package":
        _append(site.package)
    elif changed == "report":
        _append(report)
    elif changed == "no report":
        report.unlink()
    elif changed == "decision":
        _append(decision)
    elif changed == "signature":
        mark = decision.with_name(f"{decision.name}.sig")
        text = mark.read_text().splitlines()
        text[2] = text[2][::-1]
        mark.write_text("\n".join(text) + "\n")
    else:
        decision.write_text(decision.read_text().replace(ANN, BEN))
    outcome = site.check()
    assert not outcome.approved
    assert all(ballot.reason for ballot in outcome.ballots)


def test_only_allowed_signers_count_and_only_under_their_own_name(site: Site) -> None:
    site.decide("approve", "mallory")
    site.decide("approve", ANN, key="mallory")
    site.decide("approve", BEN, key=ANN)
    outcome = site.check()
    assert not outcome.approved
    assert {ballot.by: ballot.counts for ballot in outcome.ballots} == {"mallory": False, ANN: False, BEN: False}
    assert f"not by {BEN}" in next(ballot.reason for ballot in outcome.ballots if ballot.by == BEN)


def test_a_signature_for_another_purpose_does_not_count(site: Site) -> None:
    decision = site.decide("approve", ANN)
    decision.with_name(f"{decision.name}.sig").unlink()
    arguments = ["-f", site.folder / ANN, "-n", "git", decision]
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", *map(str, arguments)], check=True, capture_output=True)
    assert not site.check().approved


@pytest.mark.parametrize("verdict", ["failed", "error", "not-verified"])
def test_what_was_not_verified_is_not_approved(site: Site, verdict: str) -> None:
    report = _report(site.report, site.package, verdict)
    assert _slug(lambda: site.decide("approve", ANN, report=report)) == "report-does-not-match"
    site.decide("reject", ANN, report=report)


def test_a_report_on_something_else_is_refused(site: Site) -> None:
    other = site.folder / "other.difypkg"
    other.write_bytes(b"another package")
    for report in (_report(site.folder / "other.json", other), site.package):
        assert _slug(lambda report=report: site.decide("approve", ANN, report=report)) == "report-does-not-match"
    assert not folder_of(site.package).exists()


def test_faults_of_the_signer_are_named(site: Site) -> None:
    assert _slug(lambda: site.decide("approve", "Ann Smith", key=ANN)) == "wrong-signer-name"
    assert _slug(lambda: site.decide("approve", "../ann", key=ANN)) == "wrong-signer-name"
    assert _slug(lambda: site.decide("approve", ANN, key="absent")) == "ssh-key-unusable"
    assert _slug(lambda: site.decide("approve", ANN, report=site.folder / "absent.json")) == "file-not-found"
    locked = [str(site.folder / "locked")]
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", *locked], check=True)
    assert _slug(lambda: site.decide("approve", ANN, key="locked")) == "ssh-key-unusable"
    assert not folder_of(site.package).exists()


def test_an_agent_signs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    started = subprocess.run(["ssh-agent", "-s"], check=True, capture_output=True, text=True).stdout
    for line in started.splitlines():
        name, equals, rest = line.partition("=")
        if equals:
            monkeypatch.setenv(name, rest.partition(";")[0])
    try:
        subprocess.run(["ssh-add", "-q", site.folder / ANN], check=True, capture_output=True)
        (site.folder / ANN).unlink()
        site.decide("approve", ANN, key=f"{ANN}.pub")
    finally:
        subprocess.run(["ssh-agent", "-k"], check=True, capture_output=True)
    assert site.check().approved

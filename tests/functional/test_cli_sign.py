"""`keygen`, `sign` and `signoff` as users run them."""

import json
import stat
import subprocess
from pathlib import Path

import pytest

from difyoff.difypkg.archive import Archive
from difyoff.difypkg.identity import checksum
from difyoff.signing.keys import read_public_key
from difyoff.signing.packages import check_signature
from difyoff.signing.provenance import check_provenance
from kit.broken import build_good
from kit.cli import Run, difyoff
from kit.documents import check_document
from kit.index import Index
from kit.plugins import write_plugin


@pytest.fixture(scope="module")
def good(index: Index, lock_uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_good(tmp_path_factory.mktemp("good"), index, lock_uv)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    run = difyoff("keygen", "-o", "site", "--json", cwd=folder)
    assert run.code == 0
    check_document(run.stdout, "keygen")
    return folder


def _ssh_key(folder: Path) -> Path:
    key = folder / "person"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return key


def _signed(run: Run) -> Path:
    assert run.code == 0, run.stderr
    return Path(run.stdout.splitlines()[0])


def test_a_key_pair_is_made_once(keys: Path) -> None:
    private = keys / "site.private.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes()
    run = difyoff("keygen", "-o", "site", cwd=keys)
    assert run.code == 1
    assert "error[output-exists]" in run.stderr
    assert private.read_bytes() == before


def test_a_signed_copy_lies_beside_the_package(good: Path, keys: Path, tmp_path: Path) -> None:
    run = difyoff("sign", "--key", keys / "site.private.pem", "-o", tmp_path, good, cwd=tmp_path)
    package = _signed(run)
    assert package == tmp_path / f"{good.name.removesuffix('.difypkg')}.signed.difypkg"
    with Archive(package) as archive:
        assert check_signature(archive, [read_public_key(keys / "site.public.pem")]).state == "confirmed"
    assert "THIRD_PARTY_SIGNATURE_VERIFICATION_ENABLED=true" in run.stderr
    assert "BEGIN RSA" not in run.stdout + run.stderr


def test_a_signed_package_is_still_a_good_one(good: Path, keys: Path, tmp_path: Path, cache: Path) -> None:
    package = _signed(difyoff("sign", "--key", keys / "site.private.pem", "-o", tmp_path, good, cwd=tmp_path))
    run = difyoff("verify", "--daemon", "0.5.3", package, cwd=tmp_path)
    assert run.code == 0, run.stderr


@pytest.mark.parametrize(("daemon", "word"), [("0.6.10", ""), ("0.5.3", "before 1.14.1"), ("0.0.6", "FORCE")])
def test_the_site_is_told_by_its_release(good: Path, keys: Path, tmp_path: Path, daemon: str, word: str) -> None:
    key = f"--key={keys / 'site.private.pem'}"
    run = difyoff("sign", key, "--daemon", daemon, "--json", "-o", tmp_path, good, cwd=tmp_path)
    result = check_document(run.stdout, "sign")["results"][0]
    assert word in json.dumps(result["site"])


def test_nothing_is_overwritten_unasked(good: Path, keys: Path, tmp_path: Path) -> None:
    arguments = ("sign", "--key", keys / "site.private.pem", "-o", tmp_path, good)
    package = _signed(difyoff(*arguments, cwd=tmp_path))
    before = package.read_bytes()
    run = difyoff(*arguments, cwd=tmp_path)
    assert (run.code, package.read_bytes()) == (1, before)
    assert difyoff(*arguments, "--force", cwd=tmp_path).code == 0
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_build_is_signed_and_the_same_when_it_is_built_again(
    index: Index, keys: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    plugin = write_plugin(tmp_path / "plugin")
    arguments = ("build", "--sign", keys / "site.private.pem", "--json", plugin)
    first, second = (difyoff(*arguments, cwd=tmp_path) for _ in range(2))
    assert [run.result["status"] for run in (first, second)] == ["written", "up to date"], first.stderr
    package = first.result["package"]
    assert second.result["package"] == package
    with Archive(tmp_path / package["path"]) as archive:
        assert check_signature(archive, [read_public_key(keys / "site.public.pem")]).state == "confirmed"
        assert package["identity"].endswith(checksum(archive.digests()))
    names = [setting["name"] for setting in first.result["site"]]
    assert "FORCE_VERIFYING_SIGNATURE" not in names
    assert "THIRD_PARTY_SIGNATURE_VERIFICATION_ENABLED" in names


@pytest.mark.parametrize("asked", ["its key", "another key", "unsigned"])
def test_verify_asks_for_the_signature(good: Path, keys: Path, tmp_path: Path, cache: Path, asked: str) -> None:
    package = good
    if asked != "unsigned":
        package = _signed(difyoff("sign", "--key", keys / "site.private.pem", "-o", tmp_path, good, cwd=tmp_path))
    difyoff("keygen", "-o", "other", cwd=tmp_path)
    key = tmp_path / "other.public.pem" if asked == "another key" else keys / "site.public.pem"
    run = difyoff("verify", "--daemon", "0.5.3", "--public-key", key, package, cwd=tmp_path)
    assert (run.code == 0) == (asked == "its key"), run.stderr
    assert ("error[bad-signature]" in run.stderr) == (asked != "its key")


def test_verify_asks_for_the_provenance(good: Path, keys: Path, tmp_path: Path, cache: Path) -> None:
    key, public = keys / "site.private.pem", keys / "site.public.pem"
    run = difyoff("sign", "--key", key, "--provenance", "-o", tmp_path, good, cwd=tmp_path)
    package, proof = map(Path, run.stdout.splitlines())
    asked = ("verify", "--daemon", "0.5.3", "--public-key", public, "--provenance", proof, package)
    assert difyoff(*asked, cwd=tmp_path).code == 0
    proof.write_bytes(proof.read_bytes().replace(b'"sig": "', b'"sig": "AAAA'))
    run = difyoff(*asked, cwd=tmp_path)
    assert (run.code, "error[provenance-not-proved]" in run.stderr) == (1, True), run.stderr


@pytest.mark.parametrize("kind", ["rsa", "ssh"])
def test_provenance_is_signed_by_either_key(good: Path, keys: Path, tmp_path: Path, kind: str) -> None:
    person = _ssh_key(tmp_path)
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ann {person.with_suffix('.pub').read_text()}")
    how: list[str | Path] = (
        ["--key", keys / "site.private.pem", "--provenance"] if kind == "rsa" else ["--ssh-key", person]
    )
    run = difyoff("sign", *how, "-o", tmp_path, good, cwd=tmp_path)
    assert run.code == 0, run.stderr
    *signed, proof = map(Path, run.stdout.splitlines())
    package = signed[0] if signed else good
    public = [read_public_key(keys / "site.public.pem")]
    assert check_provenance(package, proof.read_bytes(), keys=public, allowed=allowed).signers


def test_a_decision_is_made_and_checked(good: Path, tmp_path: Path, cache: Path) -> None:
    package = tmp_path / good.name
    package.write_bytes(good.read_bytes())
    person = _ssh_key(tmp_path)
    (tmp_path / "allowed").write_text(f"ann {person.with_suffix('.pub').read_text()}")
    assert difyoff("verify", "--daemon", "0.5.3", package, "--report", "r.json", cwd=tmp_path).code == 0
    check = ("signoff", "check", package, "--allowed-signers", "allowed")
    assert difyoff(*check, cwd=tmp_path).code == 1
    decision = ("--decision", "approve", "--key", person, "--as", "ann", "--comment", "looked at it")
    run = difyoff("signoff", "--report", "r.json", *decision, package, "--json", cwd=tmp_path)
    assert run.code == 0, run.stderr
    check_document(run.stdout, "signoff")
    assert difyoff(*check, cwd=tmp_path).stdout.strip() == str(package)
    run = difyoff(*check, "--require", "2", "--json", cwd=tmp_path)
    assert run.code == 1
    (ballot,) = check_document(run.stdout, "signoff")["results"][0]["ballots"]
    assert (ballot["by"], ballot["counts"]) == ("ann", True)
    package.write_bytes(package.read_bytes() + b" ")
    assert "error[not-approved]" in difyoff(*check, cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["sign", "absent.difypkg"], 2, "--key signs the package"),
        (["sign", "--key", "absent.pem", "absent.difypkg"], 4, "error[key-unusable]"),
        (["sign", "--key", "env:ABSENT", "absent.difypkg"], 4, "ABSENT"),
        (["signoff", "absent.difypkg"], 2, "--report"),
        (["signoff", "check", "absent.difypkg"], 2, "--allowed-signers"),
        (["signoff", "check", "absent.difypkg", "--allowed-signers", "absent"], 4, "error[file-not-found]"),
        (["keygen", "-o", "/proc/none/site"], 5, "error[output-not-writable]"),
    ],
)
def test_faults_of_users_are_named(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    run = difyoff(*arguments, cwd=tmp_path)
    assert (run.code, words in run.stderr, "Traceback" in run.stderr) == (code, True, False), run.stderr

"""Provenance: the same statement for the same package, and public tools that check it."""

import base64
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._key import SSlibKey

from difyoff.difypkg.archive import writing
from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.difypkg.edits import Edit
from difyoff.difypkg.record import (
    RECORD,
    BuildRecord,
    FileRecord,
    Record,
    SourceRecord,
    TargetRecord,
    WheelRecord,
    dump_record,
)
from difyoff.signing.keys import make_key_pair
from difyoff.signing.provenance import (
    NAMESPACE,
    check_provenance,
    key_id,
    pre_authentication,
    sign_provenance_with_rsa,
    sign_provenance_with_ssh,
    state_provenance,
)
from difyoff.signing.ssh import SshKey

KEY = make_key_pair()
RECORDED = Record(
    source=SourceRecord(identity="a/b:1@" + "0" * 64, sha256="1" * 64),
    targets=(TargetRecord(architecture="amd64", python="3.12.3", glibc="2.39"),),
    resolution="uv.lock",
    wheels=(
        WheelRecord(
            filename="x-1-py3-none-any.whl",
            sha256="2" * 64,
            size=3,
            origin="https://files.example/x-1-py3-none-any.whl",
            architectures=("amd64",),
        ),
        WheelRecord(
            filename="y-1-py3-none-any.whl",
            sha256="3" * 64,
            size=3,
            origin="y",
            architectures=("amd64",),
            built=BuildRecord(
                source="files:0", python="3.12", machine="x86_64", requirements=("z==1",), source_date_epoch=315532800
            ),
        ),
    ),
    edits=(Edit(file="uv.lock", what="written", why="offline"),),
    files=(FileRecord(path="main.py", sha256="4" * 64, size=1),),
    difyoff="0.1.0",
    uv="0.9.26",
)


def write(path: Path, record: Record | None = RECORDED) -> Path:
    files = {"main.py": b" "} | ({RECORD: dump_record(record)} if record else {})
    with path.open("wb") as stream, writing(stream) as archive:
        for name, content in files.items():
            archive.add(name, (content,), len(content))
    return path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write(tmp_path / "a-b_1-offline.difypkg")


def test_the_statement_says_what_went_in_and_stays_the_same(package: Path) -> None:
    statement = json.loads(state_provenance(package))
    assert state_provenance(package) == state_provenance(package)
    digest = subprocess.run(["sha256sum", package], check=True, capture_output=True, text=True).stdout.split()[0]
    assert statement["subject"] == [{"name": package.name, "digest": {"sha256": digest}}]
    assert statement["predicate"]["buildDefinition"]["resolvedDependencies"] == [
        {"name": RECORDED.source.identity, "digest": {"sha256": "1" * 64}},
        {
            "name": "x-1-py3-none-any.whl",
            "digest": {"sha256": "2" * 64},
            "uri": "https://files.example/x-1-py3-none-any.whl",
        },
        {
            "name": "y-1-py3-none-any.whl",
            "digest": {"sha256": "3" * 64},
            "annotations": {"built-from": "files:0", "built-with": ["z==1"]},
        },
    ]


def test_a_dsse_tool_confirms_what_an_rsa_key_signed(package: Path) -> None:
    content = sign_provenance_with_rsa(state_provenance(package), KEY)
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    key = SSlibKey(key_id(KEY.public_key()), "rsa", "rsa-pkcs1v15-sha256", {"public": pem})
    assert Envelope.from_dict(json.loads(content)).verify([key], 1)
    data = json.loads(content)
    data["payload"] = base64.b64encode(base64.b64decode(data["payload"]) + b" ").decode()
    with pytest.raises(VerificationError):
        Envelope.from_dict(data).verify([key], 1)


def test_openssh_confirms_what_a_person_signed(package: Path, tmp_path: Path) -> None:
    name, key = "ann@site.example", tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    allowed = tmp_path / "allowed"
    allowed.write_text(f"{name} {key.with_suffix('.pub').read_text()}")
    content = sign_provenance_with_ssh(state_provenance(package), SshKey(path=key, environ=os.environ))
    assert check_provenance(package, content, allowed=allowed).signers == (name,)
    data = json.loads(content)
    covered, mark = tmp_path / "covered", tmp_path / "mark"
    covered.write_bytes(pre_authentication(base64.b64decode(data["payload"])))
    mark.write_bytes(base64.b64decode(data["signatures"][0]["sig"]))
    arguments = ["-Y", "verify", "-f", allowed, "-I", name, "-n", NAMESPACE, "-s", mark]
    with covered.open() as stdin:
        subprocess.run(["ssh-keygen", *map(str, arguments)], check=True, stdin=stdin, capture_output=True)


def test_what_proves_nothing_is_said(package: Path, tmp_path: Path) -> None:
    public = [KEY.public_key()]
    content = sign_provenance_with_rsa(state_provenance(package), KEY)
    assert check_provenance(package, content, keys=public).signers == (key_id(public[0]),)
    assert "none of its signatures" in check_provenance(package, content).reason
    assert "none of its signatures" in check_provenance(package, content, keys=[make_key_pair().public_key()]).reason
    other = write(tmp_path / "other.difypkg", replace(RECORDED, uv="0.12.2"))
    assert "another package" in check_provenance(other, content, keys=public).reason
    lied = state_provenance(package).replace(b"0.9.26", b"0.9.27")
    assert "something else" in check_provenance(package, sign_provenance_with_rsa(lied, KEY), keys=public).reason
    for damaged in (b"", b"{}", b"[]", b"null", b"[" * 100_000, content[:-20], b"\xff"):
        assert "not a DSSE envelope" in check_provenance(package, damaged, keys=public).reason
    for kind in ("payloadType", "payload", "signatures"):
        data = json.loads(content) | {kind: "other"}
        assert check_provenance(package, json.dumps(data).encode(), keys=public).reason


def test_a_package_without_a_record_has_no_provenance(tmp_path: Path) -> None:
    with pytest.raises(DifyoffError) as caught:
        state_provenance(write(tmp_path / "plain.difypkg", None))
    assert caught.value.diagnosis.slug == "record-missing"

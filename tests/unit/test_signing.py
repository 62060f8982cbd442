"""Keys and signatures, both ways with OpenSSL; with the daemon's own command line where a test machine has it."""

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from difyoff.difypkg.archive import Archive, writing
from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.difypkg.signature import VERIFICATION
from difyoff.signing.keys import make_key_pair, read_private_key, read_public_key, write_key_pair
from difyoff.signing.packages import category_of, check_signature, sign_package

TIME = 1_750_000_000
FILES = {"main.py": b"print()", "manifest.yaml": b"name: x\n", "wheels/a-1-py3-none-any.whl": b"PK"}
DAEMON = os.environ.get("DIFYOFF_TEST_DAEMON_BIN", "")
"""A folder with the daemon's own `commandline-RELEASE`."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_key_pair(make_key_pair(), tmp_path_factory.mktemp("keys") / "site")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_key_pair(make_key_pair(), tmp_path_factory.mktemp("keys") / "other")


def write(path: Path, files: dict[str, bytes], comment: bytes = b"") -> Path:
    with path.open("wb") as stream, writing(stream, comment=comment) as archive:
        for name, content in files.items():
            archive.add(name, (content,), len(content))
    return path


def sign(folder: Path, pair: tuple[Path, Path], files: dict[str, bytes] = FILES) -> Path:
    source, target = write(folder / "plain.difypkg", files), folder / "signed.difypkg"
    sign_package(source, target, read_private_key(str(pair[0]), {}), category="community", time=TIME)
    return target


def state(package: Path, *keys: Path) -> str:
    with Archive(package) as archive:
        return check_signature(archive, [read_public_key(key) for key in keys]).state


def refusal(place: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(DifyoffError) as caught:
        read_private_key(place, environ or {})
    assert caught.value.diagnosis.slug == "key-unusable"
    return caught.value.diagnosis.message


# --- Keys ------------------------------------------------------------------------------------------------------------


def test_the_private_key_is_for_its_owner_alone(pair: tuple[Path, Path]) -> None:
    assert stat.S_IMODE(pair[0].stat().st_mode) == 0o600
    assert pair[0].read_text().startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert pair[1].read_text().startswith("-----BEGIN RSA PUBLIC KEY-----\n")


def test_openssl_reads_both_keys(pair: tuple[Path, Path]) -> None:
    for arguments in (["-in", pair[0], "-check"], ["-in", pair[1], "-RSAPublicKey_in"]):
        subprocess.run(["openssl", "rsa", "-noout", *map(str, arguments)], check=True, capture_output=True)


@pytest.mark.parametrize("kind", [0, 1])
def test_no_key_is_overwritten(pair: tuple[Path, Path], tmp_path: Path, kind: int) -> None:
    there = tmp_path / pair[kind].name
    there.write_text("precious")
    with pytest.raises(DifyoffError) as caught:
        write_key_pair(read_private_key(str(pair[0]), {}), tmp_path / "site")
    assert caught.value.diagnosis.slug == "output-exists"
    assert [path.read_text() for path in tmp_path.glob("*.pem")] == ["precious"]


def test_a_key_comes_from_a_variable(pair: tuple[Path, Path]) -> None:
    key = read_private_key("env:SITE_KEY", {"SITE_KEY": pair[0].read_text()})
    assert key.key_size == 4096
    assert "is not set" in refusal("env:SITE_KEY")


def _encrypted(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret"))


def test_what_the_daemon_would_not_read_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    key = read_private_key(str(pair[0]), {})
    pem = pair[0].read_bytes()
    members = {
        "PKCS#8": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "OpenSSH": key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        "another algorithm": ed25519.Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        "a password": _encrypted(key),
        "the public key": pair[1].read_bytes(),
        "a blank line after it": pem + b"\n",
        "two keys": pem + pem,
        "cut short": pem[:200],
        "damaged": re.sub(rb"\n[A-Za-z0-9+/]{64}\n", b"\n", pem, count=3),
        "empty": b"",
        "not text": bytes(range(256)),
        "too large": b"-" * 100_000,
    }
    for name, content in members.items():
        file = tmp_path / "key.pem"
        file.write_bytes(content)
        message = refusal(str(file))
        assert "secret" not in message, name
        assert pem.decode()[100:140] not in message, name
    assert "No such file" in refusal(str(tmp_path / "absent.pem"))
    with pytest.raises(DifyoffError):
        read_public_key(pair[0])


# --- Signatures ------------------------------------------------------------------------------------------------------


def test_a_signature_is_confirmed_by_its_own_key_alone(
    pair: tuple[Path, Path], other: tuple[Path, Path], tmp_path: Path
) -> None:
    package = sign(tmp_path, pair)
    assert state(package, pair[1]) == "confirmed"
    assert state(package, other[1]) == "not confirmed"
    assert state(package, other[1], pair[1]) == "confirmed"
    assert state(package) == "not confirmed"
    assert state(tmp_path / "plain.difypkg", pair[1]) == "unsigned"


def test_every_changed_file_is_noticed(pair: tuple[Path, Path], tmp_path: Path) -> None:
    package = sign(tmp_path, pair)
    with Archive(package) as archive:
        content = {member.path: archive.read(member.path) for member in archive.members}
        comment = archive.comment
    for path in content:
        changed = write(tmp_path / "changed.difypkg", content | {path: content[path] + b" "}, comment)
        assert state(changed, pair[1]) == "not confirmed", path
    fewer = {path: content[path] for path in content if path != "main.py"}
    assert state(write(tmp_path / "fewer.difypkg", fewer, comment), pair[1]) == "not confirmed"
    assert state(write(tmp_path / "same.difypkg", content, comment), pair[1]) == "confirmed"
    later = comment.replace(str(TIME).encode(), str(TIME + 1).encode())
    assert state(write(tmp_path / "later.difypkg", content, later), pair[1]) == "not confirmed"


def test_signing_again_replaces_the_signature(
    pair: tuple[Path, Path], other: tuple[Path, Path], tmp_path: Path
) -> None:
    first = sign(tmp_path, other)
    second = tmp_path / "again.difypkg"
    sign_package(first, second, read_private_key(str(pair[0]), {}), category="partner", time=TIME)
    with Archive(second) as archive:
        assert [member.path for member in archive.members].count(VERIFICATION) == 1
        check = check_signature(archive, [read_public_key(pair[1])])
    assert (check.state, check.category) == ("confirmed", "partner")


def test_the_category_follows_the_author() -> None:
    assert [category_of(author) for author in ("langgenius", "LangGenius", "acme")] == [
        "langgenius",
        "langgenius",
        "community",
    ]


def test_the_daemon_confirms_our_signature_and_we_confirm_its_own(pair: tuple[Path, Path], tmp_path: Path) -> None:
    programs = sorted(Path(DAEMON).glob("commandline-*")) if DAEMON else []
    if not programs:
        pytest.skip("DIFYOFF_TEST_DAEMON_BIN names no folder with the daemon's command line")
    ours = sign(tmp_path, pair)
    for program in programs:
        # It ends with 0 whatever it finds.
        said = subprocess.run(
            [program, "signature", "verify", ours, "-p", pair[1]], check=False, capture_output=True, text=True
        )
        assert "verified successfully" in said.stdout + said.stderr, said
        plain = write(tmp_path / f"{program.name}.difypkg", FILES)
        subprocess.run([program, "signature", "sign", plain, "-p", pair[0]], check=True, capture_output=True)
        assert state(plain.with_name(f"{program.name}.signed.difypkg"), pair[1]) == "confirmed"

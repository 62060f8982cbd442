"""RSA key pairs as the daemon reads them: PKCS#1 in one PEM block with nothing after it.

Imitates pkg/utils/encryption/rsa.go and cmd/commandline/signature/generate.go, 0.6.10, but for the mode of the private
key's file, which is 0600 here.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.files import output_errors

BITS: Final = 4096
"""The size of the keys that `dify signature generate` makes."""

ENVIRONMENT: Final = "env:"
"""In the place of a private key's file: `env:NAME` takes the key itself from that variable."""

_BLOCK: Final = re.compile(rb"\s*-----BEGIN RSA (PRIVATE|PUBLIC) KEY-----.*?-----END RSA \1 KEY-----\n?", re.DOTALL)
_LARGEST: Final = 1 << 16


def make_key_pair() -> RSAPrivateKey:
    """Return a new private key of `BITS` bits; its public key is part of it."""
    return generate_private_key(public_exponent=65537, key_size=BITS)


def write_key_pair(key: RSAPrivateKey, stem: Path) -> tuple[Path, Path]:
    """Write `STEM.private.pem` (0600) and `STEM.public.pem`; return both paths.

    Raises `DifyoffError`: `output-exists` where one of them is there, for a key that is lost is lost for good;
    `output-not-writable`.
    """
    private, public = (stem.with_name(f"{stem.name}.{kind}.pem") for kind in ("private", "public"))
    private_text = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public_text = key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    for path in (private, public):
        if path.exists():
            raise DifyoffError(
                Diagnosis(
                    slug="output-exists",
                    message=f"{path} exists; a key that is overwritten cannot be brought back",
                    hint="Choose another name with `-o NAME`.",
                )
            )
    with output_errors(private):
        stem.parent.mkdir(parents=True, exist_ok=True)
        _write_new(private, private_text, 0o600)
        _write_new(public, public_text, 0o644)
    return private, public


def read_private_key(place: str, environ: Mapping[str, str]) -> RSAPrivateKey:
    """Read a private key from a file, or with `env:NAME` from that variable of `environ`.

    Raises `DifyoffError` (`key-unusable`) for anything but an RSA private key in the daemon's form.
    """
    if place.startswith(ENVIRONMENT):
        name = place.removeprefix(ENVIRONMENT)
        if name not in environ:
            raise _unusable(f"the variable {name}", "it is not set")
        return _private_key(environ[name].encode(), f"the variable {name}")
    return _private_key(_content(Path(place)), place)


def read_public_key(path: Path) -> RSAPublicKey:
    """Read a public key. Raises `DifyoffError` (`key-unusable`) for what the daemon would not read either."""
    content = _content(path)
    _check_block(content, "PUBLIC", str(path))
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable(str(path), "its content is not a key") from error
    if not isinstance(key, RSAPublicKey):
        raise _unusable(str(path), "it is not an RSA key")
    return key


def sign_bytes(key: RSAPrivateKey, content: bytes) -> bytes:
    """Return the RSASSA-PKCS1-v1_5 signature with SHA-256 (RFC 8017 §8.2)."""
    return key.sign(content, PKCS1v15(), SHA256())


def confirms(key: RSAPublicKey, signature: bytes, content: bytes) -> bool:
    """Say whether a signature of `content` was made with the private half of a key."""
    try:
        key.verify(signature, content, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _private_key(content: bytes, where: str) -> RSAPrivateKey:
    _check_block(content, "PRIVATE", where)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not the library's words: they may quote what was read.
        raise _unusable(where, "its content is not a key, or is protected by a password") from None
    if not isinstance(key, RSAPrivateKey):
        raise _unusable(where, "it is not an RSA key")
    return key


def _check_block(content: bytes, kind: str, where: str) -> None:
    """Hold a PEM text to the daemon's rules: Go's `pem.Decode` finds the block, and nothing may follow it."""
    match = _BLOCK.match(content)
    if match is None or match[1].decode() != kind:
        raise _unusable(where, f"it does not begin with `-----BEGIN RSA {kind} KEY-----`")
    if match.end() != len(content):
        raise _unusable(where, "there is more after the key, at which the daemon stops")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise _unusable(str(path), error.strerror or "it cannot be read") from error
    if len(content) > _LARGEST:
        raise _unusable(str(path), "it is too large for a key")
    return content


def _write_new(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _unusable(where: str, why: str) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="key-unusable",
            message=f"{where} is not a key that packages are signed with: {why}",
            hint="Make a pair with `difyoff keygen`, or with `dify signature generate`.",
        )
    )

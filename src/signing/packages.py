"""Sign a package, and check a package's signature, as the daemon does.

Imitates pkg/plugin_packager/signer/withkey/sign_with_key.go and pkg/plugin_packager/decoder/verifier.go, 0.6.10.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from ..difypkg.archive import Archive, writing
from ..difypkg.signature import (
    VERIFICATION,
    Category,
    read_signature,
    signature_comment,
    signed_bytes,
    verification_file,
)
from .keys import confirms, sign_bytes

State: TypeAlias = Literal["confirmed", "not confirmed", "unsigned"]
"""`confirmed` by one of the keys, by none of them, or no signature that the daemon could read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureCheck:
    """What the keys say of a package: the `category` it claims, None where it names none."""

    state: State
    category: str | None = None


def category_of(author: str) -> Category:
    """Return the category to sign an author's plugins with.

    From 0.6.1 on the daemon takes a bundled package by `langgenius` only with the category of that name
    (internal/service/unauthorized_langgenius.go).
    """
    return "langgenius" if author.lower() == "langgenius" else "community"


def sign_package(source: Path, target: Path, key: RSAPrivateKey, *, category: Category, time: int) -> None:
    """Write a signed copy of a package to `target`, a new file; `time` is in seconds since 1970.

    An older signature and its category go. The files keep their order, for the signature depends on it. Raises
    `DifyoffError`: what `Archive` raises. Raises `OSError` where the target cannot be written.
    """
    verification = verification_file(category)
    with Archive(source) as archive, target.open("wb") as stream:
        members = [member for member in archive.members if member.path != VERIFICATION]
        digests = archive.digests()
        order = [digests[member.path] for member in members]
        value = sign_bytes(key, signed_bytes((*order, hashlib.sha256(verification).digest()), time))
        with writing(stream, comment=signature_comment(value, time)) as writer:
            for member in members:
                writer.add(member.path, archive.chunks(member.path), member.size)
            writer.add(VERIFICATION, (verification,), len(verification))


def check_signature(archive: Archive, keys: Sequence[RSAPublicKey]) -> SignatureCheck:
    """Say whether one of the keys confirms a package's signature. Raises `DifyoffError`: what `Archive` raises."""
    verification = archive.read(VERIFICATION) if VERIFICATION in archive else None
    signature = read_signature(archive.comment, verification)
    if signature is None:
        return SignatureCheck(state="unsigned")
    digests = archive.digests()
    content = signed_bytes((digests[member.path] for member in archive.members), signature.time)
    confirmed = any(confirms(key, signature.value, content) for key in keys)
    return SignatureCheck(state="confirmed" if confirmed else "not confirmed", category=signature.category)

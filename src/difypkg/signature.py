"""The signature of a package: JSON in the zip comment (pkg/plugin_packager/signer/withkey/sign_with_key.go, 0.6.10)."""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

VERIFICATION: Final = ".verification.dify.json"
"""The file that names the signer's category, since 0.1.2."""

Category: TypeAlias = Literal["langgenius", "partner", "community"]
"""Whom a signature says that a package comes from (pkg/plugin_packager/decoder/entities.go, 0.6.10)."""

CATEGORIES: Final[tuple[Category, ...]] = get_args(Category)

_INT64: Final = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature as it stands in a package; whether a key confirms it is not known here.

    `time` is in seconds since 1970, `value` the signature's bytes, `category` what the package claims.
    """

    time: int
    value: bytes
    category: str | None

    @property
    def bits(self) -> int:
        """The length of the signature."""
        return len(self.value) * 8


def read_signature(comment: bytes, verification: bytes | None) -> Signature | None:
    """Return the signature in a zip comment, None where there is none that the daemon could read."""
    try:
        data = json.loads(comment)
        value = base64.b64decode(data["signature"], validate=True)
        time = data["time"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(time, int) or not -_INT64 <= time < _INT64:
        return None
    return Signature(time=time, value=value, category=_category(verification)) if value else None


def signature_comment(value: bytes, time: int) -> bytes:
    """Return the zip comment that carries a signature of these bytes, made at `time` (seconds since 1970)."""
    signature = base64.b64encode(value).decode("ascii")
    return json.dumps({"signature": signature, "time": time}, separators=(",", ":")).encode("ascii")


def verification_file(category: Category) -> bytes:
    """Return the content of `VERIFICATION` for a category."""
    return json.dumps({"authorized_category": category}, separators=(",", ":")).encode("ascii")


def signed_bytes(digests: Iterable[bytes], time: int) -> bytes:
    """Return what a signature covers: the files' SHA-256 digests in the archive's order, then the time in decimal.

    Names are not covered (pkg/plugin_packager/decoder/verifier.go, 0.6.10): two files of a signed package could be
    exchanged. The checksum in its identifier covers them.
    """
    return b"".join(digests) + str(time).encode("ascii")


def _category(verification: bytes | None) -> str | None:
    try:
        category = json.loads(verification or b"")["authorized_category"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return str(category)

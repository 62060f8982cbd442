"""The signature of a package: JSON in the zip comment (pkg/plugin_packager/signer/withkey/sign_with_key.go, 0.6.10)."""

import base64
import json
from dataclasses import dataclass
from typing import Final

VERIFICATION: Final = ".verification.dify.json"
"""The file that names the signer's category, since 0.1.2."""


_INT64: Final = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature as it stands in a package; whether a key confirms it is not known here.

    `time` is in seconds since 1970, `bits` the length of the signature, `category` what the package claims.
    """

    time: int
    bits: int
    category: str | None


def read_signature(comment: bytes, verification: bytes | None) -> Signature | None:
    """Return the signature in a zip comment, None where there is none that the daemon could read."""
    try:
        data = json.loads(comment)
        raw = base64.b64decode(data["signature"], validate=True)
        time = data["time"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(time, int) or not -_INT64 <= time < _INT64:
        return None
    return Signature(time=time, bits=len(raw) * 8, category=_category(verification)) if raw else None


def _category(verification: bytes | None) -> str | None:
    try:
        category = json.loads(verification or b"")["authorized_category"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return str(category)

"""Whom a package is trusted for: keys that confirm its signature, people who vouch for its provenance."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..difypkg.diagnosis import Diagnosis
from .finding import Finding
from .package import Package

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # slow to import, and seldom needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What is asked of a package: nothing where all is empty.

    One of `public_keys` must confirm its signature. `provenance` is the DSSE envelope on it, to be signed by one of the
    keys or by a person whom `allowed_signers` (ssh-keygen(1)) names.
    """

    public_keys: "tuple[RSAPublicKey, ...]" = ()
    provenance: Path | None = None
    allowed_signers: Path | None = None


NO_TRUST: Final = Trust()
"""Nothing is asked."""


def find_unconfirmed_signature(package: Package, trust: Trust) -> Iterator[Finding]:
    """Yield that no key confirms the package's signature (`bad-signature`)."""
    from ..signing.packages import check_signature

    state = check_signature(package.archive, trust.public_keys).state
    if state != "confirmed":
        yield Finding(
            diagnosis=Diagnosis(
                slug="bad-signature",
                message="the package has no signature"
                if state == "unsigned"
                else "none of the given keys confirms the package's signature",
                note="A daemon that verifies signatures refuses the upload.",
                hint="Sign the package with `difyoff sign`, or name the key that it was signed with.",
            )
        )


def find_unproved_provenance(package: Package, trust: Trust) -> Iterator[Finding]:
    """Yield why an envelope proves nothing of the package (`provenance-not-proved`)."""
    from ..signing.provenance import check_provenance

    assert trust.provenance is not None
    try:
        content = trust.provenance.read_bytes()
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
    else:
        allowed = trust.allowed_signers
        reason = check_provenance(package.path, content, keys=trust.public_keys, allowed=allowed).reason
    if reason:
        yield Finding(
            diagnosis=Diagnosis(
                slug="provenance-not-proved",
                message=f"{trust.provenance.name} does not prove where the package comes from: {reason}",
                hint="Get the provenance that was written with this package, or write it with `difyoff sign`.",
            )
        )

"""Between a packed package and its verification: the signature of a site's own key."""

import hashlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..difypkg.archive import Archive
from ..difypkg.files import output_errors, temporary_name
from ..difypkg.identity import identify
from ..difypkg.manifest import MANIFEST, read_manifest
from ..difypkg.signature import VERIFICATION, read_signature
from ..repack.pack import Packed
from ..repack.publication import Draft
from ..signing.keys import read_private_key
from ..signing.packages import category_of, check_signature, sign_package

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """The signature of a build's packages, a stage of their publication."""

    key: "RSAPrivateKey"

    @property
    def public_key(self) -> "RSAPublicKey":
        """The key that confirms the signatures."""
        return self.key.public_key()

    def __call__(self, draft: Draft) -> Draft:
        """Sign a packed package under its temporary name. Raises `disk-full`, `output-not-writable`."""
        assert draft.packed is not None
        with Archive(draft.temporary) as archive:
            manifest = read_manifest(archive.read(MANIFEST))
        with temporary_name(draft.path) as signed, output_errors(draft.path):
            sign_package(
                draft.temporary, signed, self.key, category=category_of(manifest.author), time=self._time(draft.path)
            )
            signed.replace(draft.temporary)
        with Archive(draft.temporary) as archive, draft.temporary.open("rb") as stream:
            packed = Packed(
                path=draft.temporary,
                sha256=hashlib.file_digest(stream, "sha256").hexdigest(),
                size=draft.temporary.stat().st_size,
                unpacked_size=archive.size,
                identity=identify(manifest, archive.digests()),
                signed=True,
            )
        return replace(draft, packed=packed)

    def _time(self, path: Path) -> int:
        """Return the moment to sign with: that of our own signature on the file that is there, else now.

        So the same package is the same file when it is built again.
        """
        if not path.is_file():
            return int(time.time())
        with Archive(path) as archive:
            verification = archive.read(VERIFICATION) if VERIFICATION in archive else None
            there = read_signature(archive.comment, verification)
            ours = check_signature(archive, [self.public_key]).state == "confirmed"
        return there.time if there is not None and ours else int(time.time())


def open_signer(place: str) -> Signer:
    """Return the signer with a key from a file or a variable (`env:NAME`). Raises `DifyoffError` (`key-unusable`)."""
    return Signer(key=read_private_key(place, os.environ))

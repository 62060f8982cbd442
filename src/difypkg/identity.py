"""Who a package is: `author/name:version@checksum`, by the daemon's algorithm."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .manifest import Manifest

IDENTIFIER_PATTERN: Final = re.compile(
    r"(?:(?P<author>[a-z0-9_-]{1,64})/)?(?P<name>[a-z0-9_-]{1,255})"
    r":(?P<version>[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}(?:-\w{1,16})?)@(?P<checksum>[a-f0-9]{32,64})",
    re.ASCII,
)
"""pkg/entities/plugin_entities/identity.go, 0.6.10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The daemon's unique identifier of a package."""

    author: str
    name: str
    version: str
    checksum: str

    def __str__(self) -> str:
        return f"{self.author}/{self.name}:{self.version}@{self.checksum}"


def checksum(digests: Mapping[str, bytes]) -> str:
    """Return the package checksum from each file's path and SHA-256 digest (32 bytes).

    SHA-256 over SHA-256(path) followed by SHA-256(content), paths in byte order, in every release the same:
    pkg/plugin_packager/decoder/checksum.go. Order, compression, times and the signature comment do not count.
    """
    total = hashlib.sha256()
    for key in sorted(path.encode() for path in digests):
        total.update(hashlib.sha256(key).digest())
        total.update(digests[key.decode()])
    return total.hexdigest()


def identify(manifest: "Manifest", digests: Mapping[str, bytes]) -> Identity:
    """Return the identity of a package: its manifest, and each file's path and SHA-256 digest (32 bytes)."""
    return Identity(author=manifest.author, name=manifest.name, version=manifest.version, checksum=checksum(digests))

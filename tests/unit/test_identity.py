"""Identities, with checksums that the daemon's own command line computed."""

from hashlib import sha256

import pytest

from difyoff.difypkg.identity import IDENTIFIER_PATTERN, Identity, checksum
from kit.plugins import skeleton


def digests(files: dict[str, str]) -> dict[str, bytes]:
    return {path: sha256(text.encode()).digest() for path, text in files.items()}


def test_the_checksum_is_the_daemons() -> None:
    """`dify plugin checksum` of 0.3.1 and 0.6.10 say this of a folder with these files."""
    files = skeleton() | {"b": "B", "a/b": "ab", "a.b": "dot", "é": "e", "\U0001f40d": "s"}

    assert checksum(digests(files)) == "3150abc6a229f077c619031966cdbf5e5328ada6445da7d9d38baa86220a234b"


def test_order_does_not_count_and_names_do() -> None:
    one = digests({"a": "1", "b": "2"})

    assert checksum(dict(reversed(one.items()))) == checksum(one)
    assert checksum(digests({"a": "2", "b": "1"})) != checksum(one)
    assert checksum({}) == sha256(b"").hexdigest()


def test_an_identity_reads_as_the_daemon_writes_it() -> None:
    identity = Identity(author="difyoff", name="tiny", version="0.1.0", checksum="0" * 64)

    assert str(identity) == f"difyoff/tiny:0.1.0@{'0' * 64}"
    match = IDENTIFIER_PATTERN.fullmatch(str(identity))
    assert match is not None
    assert match["author"] == "difyoff"


@pytest.mark.parametrize("text", ["a/b:1@" + "0" * 64, "a/b:1.0@" + "0" * 31, "A/b:1.0@" + "0" * 64, "a/b:1.0", ""])
def test_no_identity(text: str) -> None:
    assert IDENTIFIER_PATTERN.fullmatch(text) is None

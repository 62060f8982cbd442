"""Signatures as they stand in packages; none is checked against a key here."""

import base64
import json

import pytest

from difyoff.difypkg.signature import Signature, read_signature


def comment(signature: object = base64.b64encode(bytes(512)).decode(), time: object = 1_750_000_000) -> bytes:
    return json.dumps({"signature": signature, "time": time}).encode()


def test_reads_a_signature_and_its_category() -> None:
    found = read_signature(comment(), b'{"authorized_category": "langgenius"}')

    assert found == Signature(time=1_750_000_000, value=bytes(512), category="langgenius")


@pytest.mark.parametrize("verification", [None, b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_the_category_may_be_missing(verification: bytes | None) -> None:
    found = read_signature(comment(), verification)

    assert found is not None
    assert found.category is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"{}",
        b"[]",
        b"null",
        b"5",
        b"\xff\xfe",
        b"[" * 100_000,
        comment(signature=""),
        comment(signature="not base64!"),
        comment(signature=None),
        comment(signature=["a"]),
        comment(time="soon"),
        comment(time=None),
        comment(time=1e400),
        comment(time=1.5),
        comment(time=1 << 63),
    ],
)
def test_what_is_no_signature(content: bytes) -> None:
    assert read_signature(content, None) is None

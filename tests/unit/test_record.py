"""The record in an offline package."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.difypkg.edits import Edit
from difyoff.difypkg.record import (
    BuildRecord,
    FileRecord,
    Record,
    SourceRecord,
    TargetRecord,
    WheelRecord,
    dump_record,
    load_record,
)

RECORD = Record(
    source=SourceRecord(identity=f"difyoff/tiny:0.1.0@{'0' * 64}", sha256=None),
    targets=(TargetRecord(architecture="amd64", python="3.12.3", glibc="2.39"),),
    resolution="uv.lock",
    wheels=(
        WheelRecord(filename="a-1-py3-none-any.whl", sha256="1" * 64, size=1, origin="x", architectures=("amd64",)),
        WheelRecord(
            filename="b-1-py3-none-any.whl",
            sha256="2" * 64,
            size=2,
            origin="https://files.example/b-1.tar.gz",
            architectures=("amd64", "arm64"),
            built=BuildRecord(
                source="3" * 64, python="3.12.3", machine="x86_64", requirements=("c==1",), source_date_epoch=0
            ),
        ),
    ),
    edits=(Edit(file="uv.lock", what="hashes — added", why="uv enforces them"),),
    files=(FileRecord(path="é", sha256="4" * 64, size=0),),
    difyoff="1.0",
    uv="0.9.26",
)


def test_what_is_dumped_is_loaded() -> None:
    assert load_record(dump_record(RECORD)) == RECORD


def test_the_bytes_are_canonical() -> None:
    content = dump_record(RECORD)

    assert dump_record(load_record(content)) == content
    assert "é".encode() in content
    assert content.endswith(b"}\n")
    assert b"\r" not in content


def changed(**values: object) -> bytes:
    return json.dumps(json.loads(dump_record(RECORD)) | values).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        dump_record(RECORD)[:-20],
        changed(files=None),
        changed(files=[{"path": "a"}]),
        changed(targets="amd64"),
        changed(schema_version=2),
        changed(schema_version=None),
    ],
)
def test_what_is_no_record_is_refused(content: bytes) -> None:
    with pytest.raises(DifyoffError) as caught:
        load_record(content)

    assert caught.value.diagnosis.slug == "record-unreadable"


def test_a_newer_record_asks_for_a_newer_difyoff() -> None:
    with pytest.raises(DifyoffError) as caught:
        load_record(changed(schema_version=2))

    assert "schema 2" in caught.value.diagnosis.message
    assert caught.value.diagnosis.hint is not None


@given(st.text(), st.integers(0), st.lists(st.text(), max_size=3))
def test_any_text_survives(text: str, size: int, extra: list[str]) -> None:
    record = replace(
        RECORD,
        resolution=text,
        files=(FileRecord(path=text, sha256=text, size=size),),
        edits=tuple(Edit(file=each, what=text, why=each) for each in extra),
    )

    assert load_record(dump_record(record)) == record


def test_every_changed_bit_of_a_record_is_found() -> None:
    content = dump_record(RECORD)
    for bit in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DifyoffError):
            load_record(bytes(flipped))


def test_a_record_without_its_own_hash_is_held_to_its_form() -> None:
    """As difyoff wrote records at first."""
    plain = {key: value for key, value in json.loads(dump_record(RECORD)).items() if key != "sha256"}
    content = (json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    assert load_record(content) == RECORD
    for other in (content.replace(b"\n", b"\n "), content.replace(b'"uv":', b'"uv2":'), content[:-1]):
        with pytest.raises(DifyoffError):
            load_record(other)


def test_what_was_changed_by_hand_is_told_as_such() -> None:
    with pytest.raises(DifyoffError) as caught:
        load_record(changed(resolution="another"))

    assert caught.value.diagnosis.slug == "package-altered"

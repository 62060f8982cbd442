"""Archives: read as every reader reads them, or refused; written with the same bytes each time.

What the hostile ones expect was compared with the daemon's own reader: nothing is read here with another content.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difyoff.difypkg.archive import Archive, check_names, file_chunks, writing
from difyoff.difypkg.archives.faults import ArchiveFault
from difyoff.difypkg.archives.profiles import DIFYPKG
from difyoff.difypkg.archives.zipreader import ZipReader
from difyoff.difypkg.diagnosis import DifyoffError, Exit, page
from kit.hostile import ARCHIVES, Hostile, by_name, many, zipped
from kit.rawzip import Raw, archive, zip64_end


def contents(file: Path) -> dict[str, bytes]:
    with Archive(file) as archive:
        return {member.path: archive.read(member.path) for member in archive.members}


@pytest.mark.parametrize("hostile", ARCHIVES, ids=lambda hostile: hostile.name)
def test_a_hostile_archive_is_refused_or_read_as_everybody_reads_it(hostile: Hostile, tmp_path: Path) -> None:
    file = tmp_path / "hostile.difypkg"
    file.write_bytes(hostile.make())

    hint: str | None = None
    try:
        seen: str | dict[str, bytes] = contents(file)
    except DifyoffError as refusal:
        seen = refusal.diagnosis.slug
        hint = refusal.diagnosis.hint

    assert seen == hostile.expected
    assert isinstance(seen, dict) or (page(seen).exit_code is Exit.NOT_A_PLUGIN and hint)
    if isinstance(seen, dict):
        assert list(seen) == list(hostile.expected)
        with zipfile.ZipFile(file) as archive:
            files = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
        assert files == seen


def test_a_refusal_says_where_and_how_two_readers_differ(tmp_path: Path) -> None:
    file = tmp_path / "hostile.difypkg"
    file.write_bytes(by_name(ARCHIVES)["A18 two names"].make())

    with pytest.raises(DifyoffError) as caught:
        Archive(file)

    assert caught.value.diagnosis.context == (
        "at byte 30: name in the local header",
        "The central directory, which the daemon reads, says 'a'.",
        "The local header, which a streaming reader sees, says 'b'.",
    )


@pytest.mark.parametrize(
    ("name", "finding"), [("A16d two alphabets", "two alphabets"), ("A52b another order", "another order")]
)
def test_what_is_unusual_is_said(name: str, finding: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.difypkg"
    file.write_bytes(by_name(ARCHIVES)[name].make())

    with Archive(file) as archive:
        assert [each.slug for each in archive.findings] == ["unusual-archive"]
        assert finding in archive.findings[0].message


@pytest.mark.parametrize("length", [1, 2, 3])
def test_zip64_counts_where_it_is_needed_and_true(length: int) -> None:
    """An archive of more than 2 GiB has zip64 records; here the profile says that it is needed from the first byte."""
    profile = replace(DIFYPKG, zip64_from=0)
    plain = zip64_end(archive([Raw(name=b"a", data=b"x" * length)]))

    assert [entry.path for entry in ZipReader(io.BytesIO(plain), profile).entries] == ["a"]
    for lie in ({"named": 0}, {"more": b"data"}, {"count": 2, "here": 2}, {"offset": 1}, {"disk": 1}):
        untrue = zip64_end(archive([Raw(name=b"a", data=b"x" * length)]), **lie)
        with pytest.raises(ArchiveFault):
            ZipReader(io.BytesIO(untrue), profile)


def test_reading_ends_when_its_time_is_over() -> None:
    with pytest.raises(ArchiveFault) as caught:
        ZipReader(io.BytesIO(PLAIN), replace(DIFYPKG, seconds=-1))

    assert caught.value.slug == "zip-bomb"


def test_many_entries_stay_cheap(tmp_path: Path) -> None:
    file = tmp_path / "many.difypkg"
    file.write_bytes(many(20_000))

    with Archive(file) as archive_read:
        assert len(archive_read.members) == 20_000


PLAIN = bytes(
    zipped(
        ("manifest.yaml", b"version: 0.0.1\n"),
        ("provider/p.yaml", b"tools: []\n" * 20),
        ("data", bytes(range(256))),
        method=zipfile.ZIP_DEFLATED,
        comment=b'{"signature": "", "time": 1}',
    )
)


@pytest.mark.parametrize("length", range(0, len(PLAIN), len(PLAIN) // 64))
def test_a_truncated_archive_is_refused(length: int, tmp_path: Path) -> None:
    file = tmp_path / "cut.difypkg"
    file.write_bytes(PLAIN[:length])

    with pytest.raises(DifyoffError) as caught:
        contents(file)

    assert caught.value.diagnosis.slug in {"not-a-zip", "corrupt-archive"}


@given(flips=st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 7)), min_size=1, max_size=4))
def test_flipped_bits_give_a_diagnosis_or_true_content(
    flips: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(PLAIN)
    for position, bit in flips:
        data[position] ^= 1 << bit
    file = tmp_path_factory.mktemp("flipped") / "flipped.difypkg"
    file.write_bytes(data)
    try:
        seen = contents(file)
    except DifyoffError:
        return

    assert seen == {
        "manifest.yaml": b"version: 0.0.1\n",
        "provider/p.yaml": b"tools: []\n" * 20,
        "data": bytes(range(256)),
    }


names = st.lists(
    st.text(st.characters(exclude_categories=("Cc", "Cf", "Co"), codec="utf-8"), min_size=1, max_size=12),
    min_size=1,
    max_size=4,
).map("/".join)


def allowed(files: dict[str, bytes]) -> bool:
    try:
        check_names(files, "a test")
    except DifyoffError:
        return False
    return True


@given(files=st.dictionaries(names, st.binary(max_size=300), max_size=8).filter(allowed))
def test_what_is_written_is_read_and_the_same_bytes_come_twice(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("written") / "package.difypkg"

    file.write_bytes(written(files.items()))

    assert contents(file) == files
    with Archive(file) as archive:
        assert archive.size == sum(map(len, files.values()))
        assert archive.digests() == {path: hashlib.sha256(data).digest() for path, data in files.items()}
        assert not archive.directory_entries
    assert written(files.items()) == file.read_bytes()


def written(files: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with writing(buffer) as archive:
        for path, data in sorted(files):
            archive.add(path, iter([data[:7], data[7:]]), len(data))
    return buffer.getvalue()


def test_the_written_bytes_are_known() -> None:
    """The same bytes on every machine, in every Python: a change here changes every package ever made."""
    package = written([("manifest.yaml", b"version: 0.0.1\n"), ("wheels/é.whl", b"PK")])

    assert hashlib.sha256(package).hexdigest() == "d98cad6e459af7b876b682cdfe9c552be8daaf7ca0f15af376e9416360fdfc2a"


def test_a_failure_leaves_no_readable_archive() -> None:
    buffer = io.BytesIO()

    def broken() -> Iterator[bytes]:
        yield b"x"
        raise RuntimeError

    with pytest.raises(RuntimeError), writing(buffer) as archive:
        archive.add("a", broken(), 2)

    assert not zipfile.is_zipfile(buffer)


@pytest.mark.parametrize(("name", "slug"), [("absent.difypkg", "file-not-found"), (".", "file-not-readable")])
def test_what_is_no_file_is_said_to_be_none(name: str, slug: str, tmp_path: Path) -> None:
    with pytest.raises(DifyoffError) as caught:
        Archive(tmp_path / name)

    assert caught.value.diagnosis.slug == slug


def test_notes_what_the_daemon_trips_over(tmp_path: Path) -> None:
    file = tmp_path / "odd.difypkg"
    file.write_bytes(zipped(("sub/", b""), ("a", b"x"), comment=b"{}"))

    with Archive(file) as archive:
        assert archive.directory_entries == ("sub/",)
        assert archive.comment == b"{}"
        assert "a" in archive
        assert "b" not in archive
        with pytest.raises(KeyError):
            archive.read("b")


def test_a_large_file_comes_in_pieces(tmp_path: Path) -> None:
    data = bytes(1_000_000)
    file = tmp_path / "large"
    file.write_bytes(data)

    pieces = list(file_chunks(file))

    assert len(pieces) > 1
    assert b"".join(pieces) == data

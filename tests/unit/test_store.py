"""The wheel store as a folder: names, modes, links, damage, leftovers."""

import errno
import hashlib
import os
import sys
from pathlib import Path

import pytest

from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.transfer.store import WheelStore

BODY = b"wheel" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> WheelStore:
    return WheelStore(tmp_path / "store")


@pytest.fixture
def full(store: WheelStore, tmp_path: Path) -> WheelStore:
    (tmp_path / "built.whl").write_bytes(BODY)
    assert store.add_file(tmp_path / "built.whl") == SHA256
    return store


def test_a_file_lies_under_its_hash_read_only(full: WheelStore) -> None:
    path = full.root / "sha256" / SHA256[:2] / SHA256
    assert full.path(SHA256) == path
    assert full.has(SHA256)
    assert not full.has("0" * 64)
    assert path.read_bytes() == BODY
    assert path.stat().st_mode & 0o777 == 0o444
    assert list(full.root.glob("partial/*")) == []


def test_backups_leave_the_store_out(full: WheelStore) -> None:
    assert (full.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


def test_adding_the_same_file_again_changes_nothing(full: WheelStore, tmp_path: Path) -> None:
    assert full.add_file(tmp_path / "built.whl") == SHA256
    assert full.path(SHA256).read_bytes() == BODY


def test_placing_links(full: WheelStore, tmp_path: Path) -> None:
    full.place(SHA256, tmp_path / "placed.whl")
    assert (tmp_path / "placed.whl").samefile(full.path(SHA256))


def test_placing_copies_where_no_link_can_be_had(
    full: WheelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(source: Path, destination: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", no_link)
    full.place(SHA256, tmp_path / "placed.whl")
    assert (tmp_path / "placed.whl").read_bytes() == BODY
    assert not (tmp_path / "placed.whl").samefile(full.path(SHA256))


def test_placing_never_overwrites(full: WheelStore, tmp_path: Path) -> None:
    (tmp_path / "placed.whl").write_text("mine")
    with pytest.raises(FileExistsError):
        full.place(SHA256, tmp_path / "placed.whl")
    assert (tmp_path / "placed.whl").read_text() == "mine"


@pytest.mark.parametrize("damage", [BODY[:-1], b"?" + BODY[1:], b""], ids=["cut short", "bit rot", "empty"])
def test_a_damaged_file_is_put_aside(full: WheelStore, damage: bytes) -> None:
    assert full.intact(SHA256) == len(BODY)
    full.path(SHA256).chmod(0o644)
    full.path(SHA256).write_bytes(damage)
    assert full.intact(SHA256) is None
    assert not full.has(SHA256)
    assert [path.read_bytes() for path in full.root.glob("damaged/*")] == [damage]
    assert full.clean() == len(damage)
    assert list(full.root.glob("damaged/*")) == []


def test_a_partial_file_is_taken_up_by_the_next(store: WheelStore) -> None:
    with store.partial("sha256-x") as part:
        part.write(BODY[:100])
    assert store.begun("sha256-x") == 100
    with store.partial("sha256-x", ["md5"]) as part:
        assert part.resumed
        part.write(BODY[100:])
        assert part.digest("md5") == hashlib.md5(BODY).hexdigest()
        assert store.commit(part) == SHA256
    assert store.path(SHA256).read_bytes() == BODY
    assert store.begun("sha256-x") == 0


def test_a_partial_file_has_one_writer(store: WheelStore) -> None:
    with store.partial("sha256-x") as first:
        first.write(b"first")
        with store.partial("sha256-x") as second:
            assert second.size == 0
            second.write(b"second")
            assert store.clean() == 0  # both are in use
        assert [path.read_bytes() for path in store.root.glob("partial/*")] == [b"first"]
    assert store.clean() == len(b"first")
    assert list(store.root.glob("partial/*")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there every partial file is private")
def test_a_name_whose_holder_finishes_meanwhile_is_not_written_to(
    store: WheelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    with store.partial("sha256-x") as part:
        part.write(BODY)
    flock = fcntl.flock

    def finish_first(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        with store.partial("sha256-x") as other:
            store.commit(other)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", finish_first)
    with store.partial("sha256-x") as late:
        assert late.size == 0
        late.write(b"late")
    assert store.path(SHA256).read_bytes() == BODY


def test_an_error_of_the_reader_is_not_the_stores(store: WheelStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.add_file(tmp_path / "missing.whl")
    with pytest.raises(OSError, match="boom"), store.partial("sha256-x"):
        raise OSError(errno.EIO, "boom")


def test_a_full_disk_is_a_diagnosis(store: WheelStore) -> None:
    with pytest.raises(DifyoffError) as raised, store.partial("sha256-x", needed=1234):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert raised.value.diagnosis.slug == "disk-full"
    assert "1,234 bytes are needed" in raised.value.diagnosis.message

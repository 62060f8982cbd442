"""Wheels: what contradicts itself is refused, as `installer` refuses it and beyond; real wheels are accepted."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from installer.sources import WheelFile

from difyoff.difypkg.archives import wheel as module
from difyoff.difypkg.archives.wheel import Waiver, check_wheel
from kit.hostile_wheels import DATA, NAME, WHEELS, HostileWheel, made
from kit.wheels import NATIVE, native_wheels, wheel


@pytest.mark.parametrize("hostile", WHEELS, ids=lambda hostile: hostile.name)
def test_a_wheel_that_contradicts_itself_is_told(hostile: HostileWheel) -> None:
    report = check_wheel(io.BytesIO(hostile.make()), hostile.filename)

    assert {fault.kind for fault in report.faults} == hostile.expected, report.faults


@pytest.mark.parametrize("hostile", WHEELS, ids=lambda hostile: hostile.name)
def test_what_installer_refuses_is_refused(hostile: HostileWheel, tmp_path: Path) -> None:
    """`installer` is the reference for RECORD; it reads by `zipfile`, and has no rule for much of what is here."""
    file = tmp_path / hostile.filename
    file.write_bytes(hostile.make())
    try:
        with WheelFile.open(file) as opened:
            opened.validate_record(validate_contents=True)
            assert opened.dist_info_filenames
    except Exception:
        assert check_wheel(io.BytesIO(file.read_bytes()), hostile.filename).faults


@pytest.mark.parametrize(
    "distribution",
    [
        wheel("tiny", "1.0"),
        wheel("Tiny.Pkg", "1.0+local", filename_name="Tiny.Pkg"),
        wheel("tiny", "1.0", extras={"more": ["idna"]}, requires=["greenlet; python_version > '3'"]),
        *native_wheels("tiny-native", "1.0", tags=NATIVE),
    ],
    ids=lambda distribution: distribution.filename,
)
def test_a_good_wheel_is_accepted(distribution: object) -> None:
    report = check_wheel(io.BytesIO(distribution.data), distribution.filename)  # type: ignore[attr-defined]

    assert (report.faults, report.code, report.notes) == ((), (), ())


def test_code_that_runs_by_itself_is_named() -> None:
    files = {
        "hook.pth": b"import os\n",
        "paths.pth": b"./lib\n",
        f"{DATA}/purelib/more.pth": b"import\tsys\n",
        f"{DATA}/scripts/tool": b"#!python\n",
    }

    assert set(check_wheel(io.BytesIO(made(files)), NAME).code) == {
        *("hook.pth", f"{DATA}/purelib/more.pth", f"{DATA}/scripts/tool"),
    }


def test_a_wider_tag_is_a_note() -> None:
    """Playwright's wheels are for one platform by their name, and for any by their WHEEL."""
    report = check_wheel(io.BytesIO(made()), "tiny_pkg-1.0-py3-none-manylinux1_x86_64.whl")

    assert report.notes == ("its file name is for manylinux1_x86_64, its WHEEL for any platform",)


def test_a_known_wheel_is_waived_by_its_hash_and_for_these_faults_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data = made(unlisted={"evil.py": b""}, listed=lambda text: b"gone.py,,\n" + text)
    sha256 = hashlib.sha256(data).hexdigest()
    known = {sha256: Waiver(filename=NAME, kinds=frozenset({"record-missing"}), why="a test")}
    monkeypatch.setattr(module, "waivers", lambda: known)

    report = check_wheel(io.BytesIO(data), NAME, sha256)

    assert [fault.kind for fault in report.faults] == ["record-absent"]
    assert [fault.kind for fault in report.waived] == ["record-missing"]
    assert not check_wheel(io.BytesIO(data), NAME, "0" * 64).waived


GOOD = made({"tiny_pkg/data.bin": bytes(range(256)) * 4})


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 7)), min_size=1, max_size=3))
def test_a_changed_wheel_is_refused_or_says_the_same(flips: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for position, bit in flips:
        data[position] ^= 1 << bit
    report = check_wheel(io.BytesIO(data), NAME)

    if not report.faults:
        with zipfile.ZipFile(io.BytesIO(data)) as changed, zipfile.ZipFile(io.BytesIO(GOOD)) as good:
            assert {name: changed.read(name) for name in changed.namelist()} == {
                name: good.read(name) for name in good.namelist()
            }

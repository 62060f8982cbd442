"""What libraries need, read off files made by hand and off this machine's own."""

import io
import platform
import sys
import sysconfig
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difyoff.verify.contents.elf import NotElfError, SharedObject, read_elf
from difyoff.verify.contents.members import Forward, Unreadable
from kit.elf import shared_object


def _read(data: bytes) -> SharedObject:
    return read_elf(io.BytesIO(data))


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize(
    ("versions", "glibc"),
    [
        (["GLIBC_2.17"], (2, 17)),
        (["GLIBC_2.9", "GLIBC_2.28", "GLIBC_2.3.4"], (2, 28)),
        (["GLIBCXX_3.4.30", "GCC_3.0"], None),
        (["GLIBC_PRIVATE", "GLIBC_2.2.5"], (2, 2)),
    ],
)
def test_the_newest_glibc_symbol_counts(versions: list[str], glibc: tuple[int, int] | None, wide: bool) -> None:
    assert _read(shared_object("x86_64", versions, wide=wide)).glibc == glibc


@pytest.mark.parametrize(("machine", "told"), [("x86_64", "x86_64"), ("aarch64", "aarch64"), ("i386", "machine 3")])
def test_the_machine_is_told_as_uname_tells_it(machine: str, told: str) -> None:
    assert _read(shared_object(machine, ["GLIBC_2.17"])).machine == told


def test_tables_far_into_the_file_are_found() -> None:
    assert _read(shared_object("x86_64", ["GLIBC_2.34"], padding=1 << 20)).glibc == (2, 34)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"INPUT(-lm)\n" * 4, b"\x7fELF" + bytes(60)])
def test_what_is_no_library_is_told(data: bytes) -> None:
    with pytest.raises(NotElfError):
        _read(data)


@given(st.data())
def test_a_damaged_library_is_read_or_told_and_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(shared_object("x86_64", ["GLIBC_2.17", "GLIBC_2.34"]))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    with suppress(NotElfError):
        _read(bytes(whole[:cut]))


def test_a_place_beyond_every_file_is_told() -> None:
    whole = bytearray(shared_object("x86_64", ["GLIBC_2.17"]))
    whole[32:40] = b"\xff" * 8  # where the segments are listed
    with pytest.raises(NotElfError):
        _read(bytes(whole))


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="needs a Linux with glibc")
def test_this_python_s_own_modules_run_on_this_machine() -> None:
    modules = list(Path(sysconfig.get_path("platstdlib"), "lib-dynload").glob("*.so"))
    host = tuple(map(int, platform.libc_ver()[1].split(".")))
    seen = []
    for module in modules:
        with module.open("rb") as file:
            seen.append(read_elf(file))
    assert {library.machine for library in seen} <= {platform.machine()}
    assert all(library.glibc is None or library.glibc <= host for library in seen)
    assert not modules or any(library.glibc for library in seen)


@given(
    st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 220), st.integers(0, 40)), max_size=8), st.integers(1, 9)
)
def test_what_is_read_forward_is_what_a_file_gives(data: bytes, reads: list[tuple[int, int]], piece: int) -> None:
    forward = Forward(lambda: (data[start : start + piece] for start in range(0, len(data), piece)), times=9)
    for offset, size in reads:
        forward.seek(offset)
        assert forward.read(size) == data[offset : offset + size]


def test_a_file_is_begun_a_few_times_and_no_more() -> None:
    forward = Forward(lambda: iter([b"ab", b"cd"]), times=2)
    assert forward.read(4) == b"abcd"
    forward.seek(0)
    assert forward.read(4) == b"abcd"
    forward.seek(0)
    with pytest.raises(Unreadable):
        forward.read(1)


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="needs a Linux with glibc")
def test_real_libraries_are_begun_often_enough() -> None:
    for module in Path(sysconfig.get_path("platstdlib"), "lib-dynload").glob("*.so"):
        data = module.read_bytes()
        pieces = partial(map, lambda start, data=data: data[start : start + 4096], range(0, len(data), 4096))
        assert read_elf(Forward(pieces)) == _read(data)

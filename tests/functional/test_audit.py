"""The audit over good packages, over every one of the shelf, and over what is no offline package at all."""

import io
import json
import re
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from difyoff.difypkg.daemons import Branch, Layout, Release, Settings, plan, releases
from difyoff.difypkg.diagnosis import DifyoffError, page
from difyoff.difypkg.target import TARGETS, Target
from difyoff.verify.audit.api import Audit
from difyoff.verify.audit.api import audit as audit_package
from difyoff.verify.package import open_package
from kit.broken import EVERY, SHELF, Broken, Files, build_good, read, sealed, write
from kit.elf import back_and_forth, shared_object
from kit.index import Index
from kit.locks import write_lock
from kit.plugins import pack, write_plugin
from kit.wheels import wheel, zipped

_SEEN = ("0.3.1", "0.5.2", "0.5.3", "0.5.5", "0.6.3", "0.6.10")
_NOWHERE = Layout(plugin=Path(), working_path=Path(), uv=Path(), path="")


@pytest.fixture(scope="module")
def good(index: Index, lock_uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_good(tmp_path_factory.mktemp("good"), index, lock_uv)


@pytest.fixture(scope="module")
def both(index: Index, lock_uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_good(tmp_path_factory.mktemp("both"), index, lock_uv, arch=("amd64", "arm64"))


def audit(package: Path, *, limit: int | None = None, targets: tuple[Target, ...] = ()) -> Audit:
    with open_package(package, targets=targets, candidates=tuple(TARGETS.values())) as read:
        return audit_package(read, limit=limit)


def _branch(release: Release, files: Iterable[str]) -> Branch | None:
    return plan(release, Settings(), files, _NOWHERE).branch


def _slugs(seen: Audit, *branches: Branch | None) -> list[str]:
    return [check.diagnosis.slug for check in seen.checks(branches or None) if check.diagnosis is not None]


def test_a_good_package_passes_every_check(good: Path) -> None:
    seen = audit(good)
    assert {check.status for check in seen.checks()} == {"passed"}, seen.checks()
    assert seen.findings() == ()
    assert seen.package.targets == (TARGETS["amd64"],)
    assert seen.package.manifest is not None
    assert str(seen.package.identity).startswith("difyoff/tiny:0.1.0@")
    assert seen.package.size == good.stat().st_size
    assert seen.package.unpacked_size < seen.package.size
    assert "wheels/idna-3.20-py3-none-any.whl" in seen.package.digests


def test_a_package_for_both_architectures_passes_for_both(both: Path) -> None:
    seen = audit(both)
    assert {check.status for check in seen.checks()} == {"passed"}, seen.checks()
    assert seen.package.targets == tuple(TARGETS.values())


def test_a_package_without_one_of_two_architectures_wheels_is_refused(both: Path, tmp_path: Path) -> None:
    files = {
        path: data
        for path, data in read(both).items()
        if not (path.startswith("wheels/greenlet") and "aarch64" in path)
    }
    seen = audit(write(files, tmp_path / "one-missing.difypkg"))
    assert _slugs(seen, "requirements") == ["wrong-platform"]
    assert _slugs(seen, "sync-frozen") == ["missing-wheel"]


def test_a_package_is_refused_for_another_architecture(good: Path) -> None:
    seen = audit(good, targets=(TARGETS["arm64"],))
    assert set(_slugs(seen)) == {"wrong-platform"}
    assert all(audit(good, targets=(TARGETS["amd64"],)).checks())


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_package_packed_by_another_tool_passes(good: Path, tmp_path: Path, compression: int) -> None:
    for path, data in read(good).items():
        (tmp_path / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / path).write_bytes(data)
    again = pack(tmp_path / "tree", tmp_path / "again.difypkg", compression=compression)
    assert _slugs(audit(again)) == []
    assert audit(again).package.identity == audit(good).package.identity


@pytest.mark.parametrize("broken", SHELF, ids=lambda broken: broken.name)
def test_the_shelf_is_refused_where_it_should_be(broken: Broken, good: Path, tmp_path: Path) -> None:
    seen = audit(broken.write(good, tmp_path))

    met = {_branch(release, seen.package.digests) for release in releases()}
    for branch in met:
        failed = _slugs(seen, branch)
        if broken.is_refused_by_audit(branch):
            assert failed[0] == broken.slug, f"{branch}: {failed}"
        else:
            assert failed == [], f"{branch}: {failed}"
    refused = {branch for branch in met if broken.is_refused_by_audit(branch)}
    assert (_slugs(seen) != []) is bool(refused)
    if refused and refused != met:
        (passing, *_) = met - refused
        assert broken.slug in [finding.slug for finding in seen.findings([passing])]


@pytest.mark.parametrize("broken", SHELF, ids=lambda broken: broken.name)
def test_the_audit_disagrees_with_the_daemon_only_where_the_shelf_says_why(
    broken: Broken, good: Path, tmp_path: Path
) -> None:
    """The audit never lets pass what the daemon's install refuses; it may refuse more, for a reason."""
    files = audit(broken.write(good, tmp_path)).package.digests
    for release in (each for each in releases() if str(each) in _SEEN):
        branch = _branch(release, files)
        ready, refused = broken.is_ready(release, branch), broken.is_refused_by_audit(branch)
        assert ready or refused or not broken.starts, f"{release} refuses it, and the audit does not"
        assert not (ready and refused) or broken.why, f"{release} takes it, and the audit does not"


def test_a_fault_of_some_releases_names_them(good: Path, tmp_path: Path) -> None:
    by_name = {broken.name: broken for broken in SHELF}
    for name, where in {
        "lock-pins-remote-urls": "bites daemons from 0.5.5 on",
        "dev-group-unavailable": "bites daemons 0.5.3 to 0.5.4",
        "index-not-disabled-locked": "bites daemons up to 0.5.2, and with a mirror set from 0.6.3 on",
    }.items():
        (failed, *_) = [check for check in audit(by_name[name].write(good, tmp_path)).checks() if check.diagnosis]
        assert failed.diagnosis is not None
        assert failed.diagnosis.context[-1] == where


def test_every_diagnosis_has_a_page_and_a_way_on(good: Path, tmp_path: Path) -> None:
    for broken in SHELF:
        for check in audit(broken.write(good, tmp_path)).checks():
            if check.diagnosis is not None:
                assert page(check.diagnosis.slug).title
                assert check.diagnosis.hint, check


@pytest.mark.parametrize("requirements", [None, "dify_plugin>=0.9.0\n"])
def test_an_original_package_is_told_as_such(
    requirements: str | None, index: Index, uv_cache: Path, tmp_path: Path
) -> None:
    plugin = write_plugin(tmp_path / "tiny", requirements=requirements)
    write_lock(plugin, index, uv_cache)
    seen = audit(pack(plugin, tmp_path / "difyoff-tiny_0.1.0.difypkg"))
    first = next(check.diagnosis for check in seen.checks() if check.diagnosis)
    assert first.slug == "original-package"
    assert "uv.lock names" in first.context[0]
    assert "difyoff build difyoff-tiny_0.1.0.difypkg" in (first.hint or "")


def test_the_site_s_limit_counts(good: Path) -> None:
    size = good.stat().st_size
    assert _slugs(audit(good, limit=size)) == []
    assert _slugs(audit(good, limit=size - 1)) == ["size-limit"]


def _with_library(files: Files, library: bytes) -> Files:
    """Put a library into a native wheel, whose hash then changes wherever it is written."""
    (path,) = (path for path in files if path.startswith("wheels/greenlet-"))
    with zipfile.ZipFile(io.BytesIO(files[path])) as wheel:
        contents = {info.filename: wheel.read(info) for info in wheel.infolist()}
    contents["greenlet/_native.abi3.so"] = library
    return files | {path: zipped(contents)}


@pytest.mark.parametrize(
    ("library", "what"),
    [
        (shared_object("aarch64", ["GLIBC_2.17"]), "is for aarch64, not x86_64"),
        (shared_object("x86_64", ["GLIBC_2.2.5", "GLIBC_2.40"]), "needs glibc 2.40"),
    ],
)
def test_a_library_that_belies_its_wheel_s_name_is_refused(
    library: bytes, what: str, good: Path, tmp_path: Path
) -> None:
    seen = audit(write(_with_library(read(good), library), tmp_path / "belied.difypkg"))
    assert "wrong-platform" in _slugs(seen)
    assert any(what in check.message for check in seen.checks())


def test_a_library_for_the_image_s_glibc_passes(good: Path, tmp_path: Path) -> None:
    library = shared_object("x86_64", ["GLIBC_2.39", "GLIBCXX_3.4.30"])
    assert "wrong-platform" not in _slugs(audit(write(_with_library(read(good), library), tmp_path / "new.difypkg")))


def test_a_library_that_is_read_back_and_forth_is_refused(good: Path, tmp_path: Path) -> None:
    """Compressed, it would be unpacked from its beginning for every table: minutes for a package of few bytes."""
    package = write(_with_library(read(good), back_and_forth(4 << 20)), tmp_path / "slow.difypkg")
    assert _slugs(audit(package))[0] == "damaged-wheel"


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>" * 100, b"PK\5\6" + b"\xff" * 18])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_wheel_that_is_none_is_told(content: bytes, compression: int, good: Path, tmp_path: Path) -> None:
    files = read(good) | {"wheels/idna-3.20-py3-none-any.whl": content}
    slugs = _slugs(audit(write(files, tmp_path / "damaged.difypkg", compression=compression)))
    assert slugs[0] == "damaged-wheel"
    assert "missing-wheel" not in slugs


def test_what_signing_adds_is_no_change(good: Path, tmp_path: Path) -> None:
    files = read(good) | {".verification.dify.json": b'{"authorized_category":"community"}'}
    assert _slugs(audit(write(files, tmp_path / "signed.difypkg"))) == []


@pytest.mark.parametrize(
    ("key", "value"), [("sha256", "0" * 64), ("size", 1), ("filename", "other-1-py3-none-any.whl")]
)
def test_the_record_s_wheels_are_its_files(key: str, value: object, good: Path, tmp_path: Path) -> None:
    record = json.loads(read(good)["difyoff.json"])
    record["wheels"][0][key] = value
    seen = audit(write(read(good) | {"difyoff.json": sealed(record)}, tmp_path / "belied.difypkg"))
    assert _slugs(seen) == ["package-altered"]


def test_a_lock_without_hashes_is_no_proof(good: Path, tmp_path: Path) -> None:
    files = read(good)
    bare = re.sub(rb', hash = "[^"]+"', b"", files["uv.lock"])
    seen = audit(write(files | {"uv.lock": bare}, tmp_path / "bare.difypkg"))
    (check,) = (check for check in seen.checks() if check.name == "hashes written down")
    assert check.status == "skipped"
    assert "goes unnoticed" in check.message


@pytest.mark.parametrize(
    ("make", "slug"),
    [
        (lambda path: path.write_bytes(b"<html>"), "not-a-zip"),
        (lambda path: write({"readme.txt": b""}, path), "not-a-plugin"),
        (lambda path: write({"../manifest.yaml": b""}, path), "unsafe-path"),
        (lambda path: None, "file-not-found"),
    ],
)
def test_what_is_not_a_package_is_refused(make: Callable[[Path], object], slug: str, tmp_path: Path) -> None:
    make(tmp_path / "no.difypkg")
    with pytest.raises(DifyoffError) as caught:
        audit(tmp_path / "no.difypkg")
    assert caught.value.diagnosis.slug == slug


def test_code_that_a_wheel_runs_by_itself_is_named(good: Path, tmp_path: Path) -> None:
    files = read(good)
    path = next(path for path in files if path.startswith("wheels/idna-"))
    hooked = wheel("idna", "3.20", files={"hook.pth": "import os\n"}).data
    seen = audit(write(files | {path: hooked}, tmp_path / "hooked.difypkg"))
    assert [finding.slug for finding in seen.findings()] == ["unusual-wheel"]
    assert seen.findings()[0].message == "idna-3.20-py3-none-any.whl: hook.pth runs at every start of Python"


def test_a_second_entry_of_a_name_is_refused(good: Path, tmp_path: Path) -> None:
    """The daemon reads the first; another reader would take the second, tampered one."""
    again = tmp_path / "again.difypkg"
    again.write_bytes(good.read_bytes())
    with zipfile.ZipFile(again, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("wheels/idna-3.20-py3-none-any.whl", b"evil")
    with pytest.raises(DifyoffError) as caught:
        audit(again)
    assert caught.value.diagnosis.slug == "duplicate-entry"


def test_memory_does_not_grow_with_the_package(good: Path, tmp_path: Path) -> None:
    large = 64 << 20
    package = write(read(good) | {"data.bin": bytes(large)}, tmp_path / "large.difypkg")
    tracemalloc.start()
    try:
        audit(package, limit=2 * large)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < large / 2


def test_a_damaged_archive_is_told(good: Path, tmp_path: Path) -> None:
    data = bytearray(good.read_bytes())
    place = data.index(b"from dify_plugin import DifyPluginEnv")
    data[place] ^= 1
    (tmp_path / "flipped.difypkg").write_bytes(data)
    with pytest.raises(DifyoffError) as caught:
        audit(tmp_path / "flipped.difypkg")
    assert caught.value.diagnosis.slug == "corrupt-archive"


def test_the_shelf_covers_every_branch() -> None:
    assert set().union(*(broken.audit for broken in SHELF)) == EVERY

"""What makes a verdict: what was asked was run and seen, and where reading and running disagree, running decides."""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from difyoff.difypkg.daemons import release, releases
from difyoff.difypkg.target import TARGETS
from difyoff.sandbox.isolation import choose_isolation
from difyoff.uvrun.environment import read_index_settings
from difyoff.uvrun.uv import LOCK_UV
from difyoff.verify.api import verify
from difyoff.verify.options import Event, VerifyOptions
from difyoff.verify.report import ScenarioReport, VerificationReport
from kit.broken import SHELF, Files, build_good, read, write
from kit.index import Index
from kit.uvs import python312

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux can cut the network off"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the packages are for x86_64"),
    pytest.mark.skipif(choose_isolation() is None, reason="no isolation on this machine"),
]

BRANCHES = ("0.5.2", "0.5.3", "0.6.10")  # requirements, unfrozen, frozen


@pytest.fixture(scope="module")
def good(index: Index, lock_uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_good(tmp_path_factory.mktemp("good"), index, lock_uv)


@pytest.fixture
def options(cache: Path) -> VerifyOptions:
    """Verify on every branch with the one uv that every test has, as if it were each release's own."""
    return VerifyOptions(
        cache=cache,
        index=read_index_settings({}),
        version="0.0.0",
        releases=tuple(replace(release(each), uv=LOCK_UV) for each in BRANCHES),
        candidates=tuple(TARGETS.values()),
    )


def _of_others(files: Files) -> Files:
    """Return a package as another tool would have made it: without our record."""
    return {path: data for path, data in files.items() if path != "difyoff.json"}


def _write(files: Files, folder: Path) -> Path:
    return write(files, folder / "changed.difypkg")


def _edited(path: str, pattern: str, replacement: str) -> Callable[[Files], Files]:
    def edit(files: Files) -> Files:
        text, done = re.subn(pattern, replacement, files[path].decode(), flags=re.MULTILINE)
        assert done, path
        return files | {path: text.encode()}

    return edit


def _statuses(report: VerificationReport, name: str) -> dict[str | None, str]:
    return {each.daemon: check.status for each in report.scenarios for check in each.checks if check.name == name}


def _slugs(report: VerificationReport) -> set[str]:
    return {check.diagnosis.slug for each in report.scenarios for check in each.checks if check.diagnosis}


def _findings(report: VerificationReport) -> set[str]:
    return {finding.slug for each in report.scenarios for finding in each.findings}


# --- What was asked and could not be proved --------------------------------------------------------------------------


def test_another_uv_proves_nothing_unless_it_is_allowed(good: Path, options: VerifyOptions) -> None:
    other = replace(options, releases=(replace(release("0.6.10"), uv="0.0.0"),))
    report = verify(good, other)
    assert report.verdict == "not-verified"
    assert _slugs(report) == {"other-uv-version"}
    assert any("--allow-stand-in" in each for each in report.not_checked)
    allowed = verify(good, replace(other, allow_stand_in=True))
    assert allowed.verdict == "passed"
    assert _findings(allowed) == {"other-uv-version"}


def test_the_start_is_not_asked_for_on_every_release_and_those_left_out_are_named(
    good: Path, options: VerifyOptions
) -> None:
    every = replace(options, releases=(), allow_stand_in=True)
    report = verify(good, every)
    assert report.verdict == "passed"
    assert _statuses(report, "start") == {
        "0.5.2": "skipped",
        "0.5.3": "skipped",
        "0.5.4": "skipped",
        "0.6.10": "passed",
    }
    (left,) = [each for each in report.not_checked if each.startswith("the start")]
    assert left == "the start on daemon 0.5.2, 0.5.3, 0.5.4 (amd64): the same distributions start on 0.6.10"


def test_what_installs_other_distributions_is_started_too(good: Path, options: VerifyOptions, tmp_path: Path) -> None:
    """requirements.txt alone is cut: what the frozen branch starts says nothing of it."""
    files = _of_others(read(good))
    cut = files | {"requirements.txt": b"--no-index\n--find-links=./wheels/\nidna==3.20\n"}
    report = verify(_write(cut, tmp_path), replace(options, releases=(), allow_stand_in=True))
    assert report.verdict == "failed"
    starts = _statuses(report, "start")
    assert (starts["0.5.2"], starts["0.6.10"]) == ("failed", "passed")
    assert _slugs(report) == {"plugin-does-not-start"}


def test_an_old_sdk_is_patched_and_started(index: Index, lock_uv: Path, options: VerifyOptions, tmp_path: Path) -> None:
    package = build_good(tmp_path, index, lock_uv, pyproject=None, requirements="dify_plugin==0.0.1b65\n")
    report = verify(package, options)
    assert report.verdict == "passed"
    assert _statuses(report, "start") == dict.fromkeys(BRANCHES, "passed")
    assert _statuses(report, "SDK patch") == dict.fromkeys(BRANCHES, "passed")


# --- Reading and running ---------------------------------------------------------------------------------------------

_UV = r"^\[tool\.uv\]\n"
SUSPECTED: dict[str, Callable[[Files], Files]] = {
    "a required version that is met": _edited("pyproject.toml", _UV, '[tool.uv]\nrequired-version = ">=0.9"\n'),
    "offline": _edited("pyproject.toml", _UV, "[tool.uv]\noffline = true\n"),
    "an index strategy": _edited("pyproject.toml", _UV, '[tool.uv]\nindex-strategy = "unsafe-best-match"\n'),
    "native TLS": _edited("pyproject.toml", _UV, "[tool.uv]\nnative-tls = true\n"),
    "an explicit index that nothing uses": lambda files: (
        files
        | {
            "pyproject.toml": files["pyproject.toml"]
            + b'\n[[tool.uv.index]]\nname = "unused"\nurl = "https://index.example/simple"\nexplicit = true\n'
        }
    ),
    "a cache elsewhere": _edited("pyproject.toml", _UV, '[tool.uv]\ncache-dir = "../outside"\n'),
    "a compiled entry point": lambda files: {
        ("main.pyc" if path == "main.py" else path): (_compiled(data) if path == "main.py" else data)
        for path, data in files.items()
    },
}


_COMPILE = """
import importlib.util, marshal, sys
code = compile(sys.stdin.buffer.read(), "main.py", "exec")
sys.stdout.buffer.write(importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code))
"""


def _compiled(source: bytes) -> bytes:
    """Return the bytecode of CPython 3.12."""
    python = python312()
    assert python is not None
    return subprocess.run([python, "-c", _COMPILE], input=source, capture_output=True, check=True).stdout


@pytest.mark.parametrize("make", SUSPECTED.values(), ids=SUSPECTED)
def test_a_suspicion_that_no_run_confirms_is_a_finding(
    make: Callable[[Files], Files], good: Path, options: VerifyOptions, tmp_path: Path
) -> None:
    package = _write(make(_of_others(read(good))), tmp_path)
    events: list[Event] = []
    report = verify(package, options, listen=events.append)
    assert report.verdict == "passed", [(each.daemon, each.checks) for each in report.scenarios]
    shown = [each.verdict for each in events if isinstance(each, ScenarioReport)]
    assert set(shown) == {"passed"}
    # A required version that every release's uv meets is not even suspected.
    alone = verify(package, replace(options, backend="audit"))
    assert (alone.verdict == "failed") is bool(_findings(report))


CONFIRMED = ("missing-wheel", "wrong-python-tag", "build-backend-needed", "nothing-installed", "index-not-disabled")
ALONE = ("tampered-file", "size-limit", "asset-missing")


@pytest.mark.parametrize("name", [*CONFIRMED, *ALONE])
def test_what_a_run_confirms_or_cannot_see_is_refused(
    name: str, good: Path, options: VerifyOptions, tmp_path: Path
) -> None:
    (broken,) = (each for each in SHELF if each.name == name)
    report = verify(broken.write(good, tmp_path), options)
    assert report.verdict == "failed"
    assert broken.slug in _slugs(report)
    assert report.scenarios[0].verdict == "failed"


def test_a_required_version_counts_where_it_refuses_a_release_s_uv(
    good: Path, options: VerifyOptions, tmp_path: Path
) -> None:
    make = _edited("pyproject.toml", _UV, '[tool.uv]\nrequired-version = ">=0.12"\n')
    package = _write(make(_of_others(read(good))), tmp_path)
    audit = replace(options, backend="audit")
    assert verify(package, replace(audit, releases=(release("0.6.10"),))).verdict == "passed"
    assert verify(package, replace(audit, releases=(release("0.5.3"),))).verdict == "failed"
    assert verify(package, replace(audit, releases=releases())).verdict == "failed"


def test_hashes_that_are_lost_are_said_and_refused_where_somebody_is_strict(
    good: Path, options: VerifyOptions, tmp_path: Path
) -> None:
    """A project that was renamed after it was locked: uv resolves anew, from the same wheels."""
    make = _edited("pyproject.toml", r'^name = ".*"$', 'name = "renamed"')
    package = _write(make(_of_others(read(good))), tmp_path)
    unfrozen = replace(options, releases=options.releases[1:2])
    report = verify(package, unfrozen)
    assert report.verdict == "passed", report
    (finding,) = [each for scenario in report.scenarios for each in scenario.findings if each.slug == "lock-outdated"]
    assert "hashes are lost" in finding.message
    assert verify(package, replace(unfrozen, strict=True)).verdict == "failed"
    ours = _write(make(read(good)), tmp_path)
    assert verify(ours, unfrozen).verdict == "failed"


def test_a_project_that_uv_builds_by_itself_is_ready(good: Path, options: VerifyOptions, tmp_path: Path) -> None:
    files = _of_others(read(good))
    text = files["pyproject.toml"].decode().replace("package = false\n", "")
    text += '\n[build-system]\nrequires = ["uv_build>=0.9,<1"]\nbuild-backend = "uv_build"\n'
    text += '\n[tool.uv.build-backend]\nmodule-root = ""\nmodule-name = "tools"\n'
    lock = files["uv.lock"].decode().replace('{ virtual = "." }', '{ editable = "." }')
    changed = files | {"pyproject.toml": text.encode(), "uv.lock": lock.encode(), "tools/__init__.py": b""}
    report = verify(_write(changed, tmp_path), replace(options, releases=options.releases[1:]))
    assert report.verdict == "passed", [(each.daemon, each.checks) for each in report.scenarios]


@pytest.mark.parametrize("what", ["sha256", "size", "gone", "unlisted"])
def test_the_wheels_of_the_record_are_checked(what: str, good: Path, options: VerifyOptions, tmp_path: Path) -> None:
    files = read(good)
    record = json.loads(files["difyoff.json"])
    first = record["wheels"][0]
    if what == "unlisted":
        record["wheels"].pop(0)
    else:
        first |= {"sha256": {"sha256": "0" * 64}, "size": {"size": 1}, "gone": {"filename": "x-1-py3-none-any.whl"}}[
            what
        ]
    package = _write(files | {"difyoff.json": json.dumps(record).encode()}, tmp_path)
    report = verify(package, replace(options, backend="audit"))
    assert report.verdict == "failed"
    assert "package-altered" in _slugs(report)


def test_pure_wheels_without_a_record_are_for_what_the_package_is_confined_to(
    index: Index, lock_uv: Path, options: VerifyOptions, tmp_path: Path
) -> None:
    package = build_good(tmp_path, index, lock_uv, pyproject=None, requirements="dify_plugin==0.6.0b10\n")
    report = verify(_write(_of_others(read(package)), tmp_path), replace(options, backend="audit"))
    assert report.verdict == "passed", report

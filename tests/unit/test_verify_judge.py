"""What an outcome means: time-outs, other Pythons, what is installed, and a plugin that does not get ready."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from difyoff.difypkg.daemons import Layout, Plan, Settings, plan, release
from difyoff.difypkg.target import TARGETS
from difyoff.sandbox.process import Outcome
from difyoff.verify import judge
from difyoff.verify.expected import find_expected
from difyoff.verify.launch import Launch
from difyoff.verify.look import State
from difyoff.verify.package import Package, open_package
from kit.broken import write
from kit.plugins import skeleton

TARGET = TARGETS["amd64"]

PYPROJECT = """\
[project]
name = "tiny"
version = "0.1.0"
requires-python = "{python}"
dependencies = ["idna"]
"""

LOCK = """\
version = 1

[[package]]
name = "tiny"
version = "0.1.0"
source = { virtual = "." }
dependencies = [
    { name = "idna" },
    { name = "colorama", marker = "sys_platform == 'win32'" },
    { name = "httpx", extra = ["fast"] },
]

[[package]]
name = "idna"
version = "3.20"
source = { registry = "wheels" }

[[package]]
name = "colorama"
version = "0.4.6"
source = { registry = "wheels" }

[[package]]
name = "httpx"
version = "0.28.1"
source = { registry = "wheels" }

[package.optional-dependencies]
fast = [{ name = "brotli" }]

[[package]]
name = "brotli"
version = "1.2.0"
source = { registry = "wheels" }
"""


def _package(folder: Path, files: Mapping[str, str]) -> Package:
    own = {"manifest.yaml": skeleton()["manifest.yaml"], **files}
    path = write({name: text.encode() for name, text in own.items()}, folder / "tiny.difypkg")
    with open_package(path, targets=[TARGET]) as package:
        return package


def _plan(package: Package, version: str = "0.6.10") -> Plan:
    layout = Layout(plugin=Path("/p"), working_path=Path("/"), uv=Path("/uv"), path="/bin")
    return plan(release(version), Settings(), package.digests, layout)


def _outcome(**fields: Any) -> Outcome:
    defaults: dict[str, Any] = {"code": 1, "stdout": "", "stderr": "", "seconds": 0.1}
    return Outcome(**(defaults | fields))


def _state(package: Package, **fields: Any) -> State:
    files = {path: package.sizes[path] if path.endswith(".whl") else mark for path, mark in package.digests.items()}
    seen: dict[str, Any] = {
        "python": "3.12.1",
        "distributions": {"idna": "3.20", "httpx": "0.28.1", "brotli": "1.2.0"},
        "files": files,
        "strays": [],
        "cached": True,
        "troubles": [],
    }
    return State(**(seen | fields))


def _slugs(state: State, package: Package, version: str = "0.6.10") -> set[str]:
    checks = judge.check_installed(state, package, _plan(package, version), TARGET, _outcome(code=0))
    return {check.diagnosis.slug for check in checks if check.diagnosis}


@pytest.fixture
def locked(tmp_path: Path) -> Package:
    return _package(tmp_path, {"pyproject.toml": PYPROJECT.format(python=">=3.12"), "uv.lock": LOCK})


def test_a_lock_is_walked_by_markers_and_extras(locked: Package) -> None:
    wanted = find_expected(locked, _plan(locked), TARGET)
    assert wanted.complete
    assert {name: str(versions) for name, versions in wanted.versions.items()} == {
        "idna": "==3.20",
        "httpx": "==0.28.1",
        "brotli": "==1.2.0",
    }


def test_requirements_count_by_their_markers(tmp_path: Path) -> None:
    text = "--no-index\nidna==3.20 --hash=sha256:00\nx==1 ; platform_machine == 'aarch64' --hash=sha256:00\n"
    package = _package(tmp_path, {"requirements.txt": text})
    assert set(find_expected(package, _plan(package), TARGET).versions) == {"idna"}
    assert set(find_expected(package, _plan(package), TARGETS["arm64"]).versions) == {"idna", "x"}


@pytest.mark.parametrize(
    ("changed", "slug"),
    [
        ({}, None),
        ({"distributions": {}}, "nothing-installed"),
        ({"distributions": {"idna": "3.20", "httpx": "0.28.1"}}, "install-differs"),
        ({"distributions": {"idna": "3.19", "httpx": "0.28.1", "brotli": "1.2.0"}}, "install-differs"),
        ({"distributions": {"idna": "3.20", "httpx": "0.28.1", "brotli": "1.2.0", "six": "1"}}, "install-differs"),
        ({"python": "3.13.0"}, "python-version-mismatch"),
        ({"python": None}, "python-version-mismatch"),
        ({"strays": ["/elsewhere"]}, "configuration-redirects"),
        ({"cached": False}, "configuration-redirects"),
        ({"troubles": ["pipe is a pipe"]}, "strange-files"),
    ],
)
def test_what_an_install_leaves_behind(locked: Package, changed: dict[str, Any], slug: str | None) -> None:
    assert _slugs(_state(locked, **changed), locked) == ({slug} if slug else set())


def test_a_lock_of_bundled_wheels_must_stay_as_it_is(locked: Package) -> None:
    state = _state(locked, files={**_state(locked).files, "uv.lock": "another"})
    assert _slugs(state, locked) == {"lock-outdated"}
    assert judge.find_tolerated(state, locked, _outcome(code=0)) == ()


@pytest.mark.parametrize(
    ("changed", "slug"),
    [
        ({"files": {"uv.lock": "another"}}, "lock-outdated"),
        ({"strays": ["/elsewhere"]}, "configuration-redirects"),
        ({"cached": False}, "configuration-redirects"),
    ],
)
def test_what_the_daemon_does_not_mind_is_a_finding_where_nobody_is_strict(
    locked: Package, changed: dict[str, Any], slug: str
) -> None:
    state = _state(locked)
    state = state._replace(**(changed | ({"files": {**state.files, **changed["files"]}} if "files" in changed else {})))
    outcome = _outcome(code=0)
    checks = list(judge.check_installed(state, locked, _plan(locked), TARGET, outcome, strict=False))
    assert {check.status for check in checks} == {"passed"}
    assert [finding.slug for finding in judge.find_tolerated(state, locked, outcome, strict=False)] == [slug]
    assert judge.find_tolerated(state, locked, outcome) == ()


def test_a_lock_of_remote_files_may_be_resolved_anew(tmp_path: Path) -> None:
    remote = LOCK + '\nwheels = [{ url = "https://files.example/brotli.whl" }]\n'
    package = _package(tmp_path, {"pyproject.toml": PYPROJECT.format(python=">=3.12"), "uv.lock": remote})
    state = _state(package, files={**_state(package).files, "uv.lock": "another"})
    assert _slugs(state, package) == set()
    assert [finding.slug for finding in judge.find_tolerated(state, package, _outcome(code=0))] == ["lock-outdated"]


@pytest.mark.parametrize(("python", "gap"), [(">=3.12.2", True), (">=3.12", False), (">=3.13", False)])
def test_a_machine_may_be_older_than_the_image(tmp_path: Path, python: str, gap: bool) -> None:
    package = _package(tmp_path, {"pyproject.toml": PYPROJECT.format(python=python)})
    assert (judge.explain_python_gap(package, _plan(package), TARGET, "3.12.1") is not None) is gap


def test_a_python_that_fits_here_only_is_refused(tmp_path: Path) -> None:
    package = _package(tmp_path, {"pyproject.toml": PYPROJECT.format(python="<3.12.2")})
    assert _slugs(_state(package), package) == {"python-version-mismatch"}


@pytest.mark.parametrize(("stopped", "setting"), [("silence", "PYTHON_ENV_INIT_TIMEOUT"), ("timeout", "TIMEOUT")])
def test_a_time_out_is_no_failure_of_uv(locked: Package, stopped: str, setting: str) -> None:
    step = _plan(locked).steps[1]
    diagnosis = judge.explain_failure(_outcome(code=-15, stopped=stopped, stderr="No solution found"), step, locked)
    assert diagnosis is not None
    assert diagnosis.slug == "install-timed-out"
    assert setting in str(diagnosis.hint)


def test_words_of_uv_that_no_rule_knows_are_shown(locked: Package) -> None:
    diagnosis = judge.explain_failure(
        _outcome(stderr="DEBUG x\nerror: the moon is full\n"), _plan(locked).steps[1], locked
    )
    assert diagnosis is not None
    assert (diagnosis.slug, diagnosis.context) == ("install-failed", ("error: the moon is full",))


@pytest.mark.parametrize("setting", ["no-binary = true", 'cache-dir = "/x"'])
def test_settings_that_stand_behind_a_failure_are_named(tmp_path: Path, setting: str) -> None:
    package = _package(tmp_path, {"requirements.txt": "idna\n", "uv.toml": setting + "\n"})
    diagnosis = judge.explain_failure(_outcome(stderr="error: the moon is full"), _plan(package).steps[1], package)
    assert diagnosis is not None
    assert diagnosis.slug == "configuration-redirects"
    assert setting.split(" ", maxsplit=1)[0] in diagnosis.message


@pytest.mark.parametrize(
    ("launch", "word"),
    [
        (Launch(ready=False, seconds=1, code=3, stderr="ImportError: x"), "exit code 3"),
        (Launch(ready=False, seconds=1, code=-9), "signal 9"),
        (Launch(ready=False, seconds=1, code=None), "heartbeat"),
    ],
)
def test_how_a_plugin_did_not_start(launch: Launch, word: str) -> None:
    check = judge.check_not_started(launch, limit=120, attempts=(), imported=_outcome(code=0))
    assert check.diagnosis is not None
    assert check.diagnosis.slug == "plugin-does-not-start"
    assert word in check.diagnosis.message
    assert check.diagnosis.context == tuple(filter(None, [launch.stderr]))


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("Traceback (most recent call last):\n  File x\nImportError: no y\n", "ImportError: no y"),
        ("Traceback (most recent call last):\n  x\nImportError: no y\nwarn: UserWarning: z\n", "ImportError: no y"),
        (
            (
                "Traceback (most recent call last):\n  x\nModuleNotFoundError: No module named 'y'\n"
                "Exception ignored in: <function f>\nTraceback (most recent call last):\n  x\nTypeError: z\n"
            ),
            "ModuleNotFoundError: No module named 'y'",
        ),
        (
            (
                "Traceback (most recent call last):\n  x\nKeyError: 1\n\nDuring handling of it, another"
                " exception occurred:\n\nTraceback (most recent call last):\n  x\nValueError: 2\n"
            ),
            "ValueError: 2",
        ),
        ("x.py:1: UserWarning: z\n", None),
        ("", None),
    ],
)
def test_the_reason_is_found_among_warnings_and_noise(stderr: str, reason: str | None) -> None:
    assert judge.find_reason(stderr) == reason


def test_encodings_that_only_the_image_has_are_no_failure() -> None:
    attempts = ("resolve openaipublic.blob.core.windows.net:443",)
    launch = Launch(ready=False, seconds=1, code=1)
    check = judge.check_not_started(launch, limit=120, attempts=attempts, imported=_outcome(code=0))
    assert check.status == "skipped"
    others = (*attempts, "resolve models.example:443")
    assert judge.check_not_started(launch, limit=120, attempts=others, imported=_outcome(code=0)).status == "failed"


def test_a_plugin_that_does_not_compile_is_refused_where_the_daemon_stops() -> None:
    layout = Layout(plugin=Path("p"), working_path=Path(), uv=Path("uv"), path="")
    failed = Outcome(code=1, stdout="*** Error compiling './main.py'...\n", stderr="", seconds=0.1)

    def compiled(version: str) -> tuple[str, str | None]:
        step = next(
            step
            for step in plan(release(version), Settings(), ["requirements.txt"], layout).steps
            if step.kind == "compile"
        )
        check = judge.check_compiled(failed, step)
        return check.status, check.diagnosis.slug if check.diagnosis else None

    assert compiled("0.0.4") == ("failed", "plugin-does-not-compile")
    assert compiled("0.0.6") == ("passed", None)

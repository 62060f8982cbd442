"""The seam for backends: one module and one line of the table, and everything else knows it."""

import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from difyoff.cli.main import run
from difyoff.difypkg.daemons import newest
from difyoff.difypkg.diagnosis import Exit
from difyoff.difypkg.target import TARGETS
from difyoff.uvrun.environment import read_index_settings
from difyoff.verify import backends
from difyoff.verify.api import verify
from difyoff.verify.options import Event, ScenarioStarted, VerifyOptions
from difyoff.verify.package import open_package
from difyoff.verify.report import ScenarioReport
from difyoff.verify.runner import run_scenarios
from difyoff.verify.scenario import Scenario
from kit import dummy_backend
from kit.broken import SHELF, build_good
from kit.index import Index


@pytest.fixture(scope="module")
def good(index: Index, lock_uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_good(tmp_path_factory.mktemp("good"), index, lock_uv)


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VerifyOptions:
    monkeypatch.setitem(backends.BACKENDS, "dummy", "a service that answers")
    monkeypatch.setitem(sys.modules, "difyoff.verify.backends.dummy", dummy_backend)
    return VerifyOptions(
        cache=tmp_path / "cache",
        index=read_index_settings({}),
        version="0.0.0",
        backend="dummy",
        releases=(newest(),),
        candidates=tuple(TARGETS.values()),
    )


def _answer(package: Path, *words: str) -> None:
    dummy_backend.SERVICE[hashlib.sha256(package.read_bytes()).hexdigest()] = list(words)


def test_a_backend_that_uploads_and_polls_is_one_module_and_one_line(good: Path, options: VerifyOptions) -> None:
    _answer(good, "pending", "pending", "running")
    report = verify(good, options)
    assert [(each.backend, each.verdict) for each in report.scenarios] == [("audit", "passed"), ("dummy", "passed")]
    assert [each.message for each in report.scenarios[1].checks] == ["3 polls"]


def test_a_backend_that_cannot_run_verifies_nothing(good: Path, options: VerifyOptions) -> None:
    _answer(good)
    report = verify(good, options)
    assert report.verdict == "not-verified"
    assert report.exit_code is Exit.MACHINE
    failure = report.first_failure()
    assert failure is not None
    assert failure.message == "the service does not answer"


_WITH_DUMMY = """
import sys
from difyoff.verify import backends
from kit import dummy_backend
backends.BACKENDS["dummy"] = "a service that answers"
sys.modules["difyoff.verify.backends.dummy"] = dummy_backend
from difyoff.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def test_the_command_line_knows_every_backend_of_the_table(good: Path, tmp_path: Path) -> None:
    argv = [
        "verify",
        "--backend",
        "dummy",
        "--daemon",
        str(newest()),
        "--cache-dir",
        str(tmp_path),
        "--json",
        str(good),
    ]
    done = subprocess.run(
        [sys.executable, "-c", _WITH_DUMMY, *argv],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.MACHINE, done.stderr
    assert json.loads(done.stdout)["results"][0]["report"]["scenarios"][1]["backend"] == "dummy"


def test_the_audit_works_alone(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "--backend", "audit", str(good), "--cache-dir", str(tmp_path / "cache"), "--json"]) == 0
    output = capsys.readouterr()
    (result,) = json.loads(output.out)["results"]
    assert [each["backend"] for each in result["report"]["scenarios"]] == ["audit"]
    assert "not checked: the install and the start" in output.err
    (broken,) = (each for each in SHELF if each.name == "missing-wheel")
    package = broken.write(good, tmp_path)
    assert run(["verify", "--backend", "audit", str(package), "--cache-dir", str(tmp_path / "cache")]) == Exit.NO


# --- The runner ------------------------------------------------------------------------------------------------------


class _Waiting:
    """A backend of which one scenario is interrupted while the other waits for the word to stop."""

    name = "waiting"
    at_once = 2

    def __init__(self) -> None:
        self.given_up = threading.Event()
        self._started = threading.Barrier(2, timeout=60)

    def plan(self, _: object) -> tuple[Scenario, ...]:
        return ()

    def run(self, _: object, scenario: Scenario, stop: threading.Event) -> ScenarioReport:
        self._started.wait()
        if scenario.launch:
            raise KeyboardInterrupt
        assert stop.wait(60)
        self.given_up.set()
        raise KeyboardInterrupt


@pytest.mark.skipif("__import__('os').cpu_count() == 1", reason="two scenarios need two processors")
def test_ctrl_c_ends_every_scenario(good: Path, options: VerifyOptions) -> None:
    backend = _Waiting()
    with open_package(good, candidates=options.candidates) as package:
        first, second = (
            Scenario(
                release=newest(), settings=options.settings, target=package.targets[0], backend="waiting", launch=launch
            )
            for launch in (True, False)
        )
        with pytest.raises(KeyboardInterrupt):
            run_scenarios(backend, package, (first, second), lambda _: None)
    assert backend.given_up.is_set()


def test_every_scenario_is_announced_before_its_report(good: Path, options: VerifyOptions) -> None:
    _answer(good, "running")
    events: list[Event] = []
    verify(good, options, listen=events.append)
    seen = [type(each) for each in events if isinstance(each, ScenarioStarted | ScenarioReport)]
    assert seen == [ScenarioStarted, ScenarioReport] * 2

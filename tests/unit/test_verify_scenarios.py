"""Which scenarios are run, what a report's verdict is, and what wheels' names say."""

import json

import pytest
from packaging.markers import Marker
from packaging.utils import parse_wheel_filename

from difyoff.difypkg.archives.wheel import WheelReport
from difyoff.difypkg.daemons import Settings, newest, release
from difyoff.difypkg.diagnosis import Diagnosis
from difyoff.difypkg.record import Record, SourceRecord, TargetRecord
from difyoff.difypkg.target import TARGETS, Target
from difyoff.verify.contents.wheels import BundledWheel, Wheelhouse
from difyoff.verify.package import choose_targets
from difyoff.verify.report import Check, ScenarioReport, Status, Verdict, VerificationReport, to_json, worst_verdict
from difyoff.verify.scenario import Scenario, plan_scenarios

EVERY_FILE = ("requirements.txt", "pyproject.toml", "uv.lock")


def _planned(
    files: tuple[str, ...] = EVERY_FILE, *, matrix: bool = False, chosen: tuple[str, ...] = ()
) -> list[Scenario]:
    found = plan_scenarios(
        files,
        backend="local",
        targets=[TARGETS["amd64"]],
        chosen=[release(each) for each in chosen],
        settings=Settings(),
        matrix=matrix,
    )
    return list(found)


def test_each_branch_once_and_one_start() -> None:
    found = _planned()
    assert [str(each.release) for each in found] == ["0.5.2", "0.5.3", "0.5.4", str(newest())]
    assert [each.launch for each in found] == [False, False, False, True]


def test_a_package_of_requirements_has_one_branch() -> None:
    (only,) = _planned(("requirements.txt",))
    assert only.release is newest()
    assert only.launch


def test_a_package_of_nothing_is_still_looked_at() -> None:
    assert [each.release for each in _planned(())] == [newest()]


def test_named_releases_are_all_started() -> None:
    found = _planned(chosen=("0.6.3", "0.3.1", "0.6.3"))
    assert [(str(each.release), each.launch) for each in found] == [("0.3.1", True), ("0.6.3", True)]


def test_the_matrix_adds_mirrors_and_other_releases() -> None:
    plain, matrix = _planned(), _planned(matrix=True)
    assert {each.release for each in plain} < {each.release for each in matrix}
    assert sum(each.launch for each in matrix) == 1
    mirrored = {each.release for each in matrix if each.settings.mirror}
    assert mirrored == {each.release for each in matrix}


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "skipped"], "passed"),
        (["passed", "failed"], "failed"),
        (["failed", "error"], "error"),
        (["skipped"], "not-verified"),
        ([], "not-verified"),
    ],
)
def test_the_worst_check_decides(statuses: list[Status], verdict: Verdict) -> None:
    checks = tuple(Check(name=str(number), status=status) for number, status in enumerate(statuses))
    assert ScenarioReport(backend="local", daemon="0.6.10", architecture="amd64", checks=checks).verdict == verdict


def test_what_is_required_and_did_not_run_is_not_verified() -> None:
    checks = (Check(name="isolation", status="passed"), Check(name="install", status="skipped", required=True))
    report = ScenarioReport(backend="local", daemon="0.6.10", architecture="amd64", checks=checks)
    assert report.verdict == "not-verified"


def test_a_report_is_json_with_its_verdicts() -> None:
    failure = Diagnosis(slug="missing-wheel", message="there is no idna")
    scenario = ScenarioReport(
        backend="local",
        daemon="0.6.10",
        architecture="amd64",
        checks=(
            Check(name="start", status="skipped", message="why", diagnosis=Diagnosis(slug="other", message="later")),
            Check(name="install", status="failed", diagnosis=failure),
        ),
    )
    report = VerificationReport(
        package="x.difypkg", sha256="", identity=None, verdict=worst_verdict([scenario.verdict]), scenarios=(scenario,)
    )
    assert report.first_failure() == failure
    data = json.loads(to_json(report))
    assert data["schema_version"] == 1
    assert data["scenarios"][0]["verdict"] == data["verdict"] == "failed"


WHEELS = (
    "idna-3.20-py3-none-any.whl",
    "gevent-26.5.0-cp312-cp312-manylinux_2_28_x86_64.whl",
    "greenlet-3.5.1-cp312-cp312-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "jiter-0.15.0-cp312-cp312-manylinux2014_aarch64.manylinux_2_17_aarch64.whl",
)


BOTH = tuple(TARGETS.values())


def _house(*names: str) -> Wheelhouse:
    return Wheelhouse(wheels=tuple(map(_wheel, names)))


def _wheel(filename: str) -> BundledWheel:
    name, version, _, tags = parse_wheel_filename(filename)
    return BundledWheel(
        path=f"wheels/{filename}",
        name=name,
        version=version,
        tags=tags,
        sha256="",
        size=0,
        requires=(),
        requires_python=None,
        libraries=(),
        report=WheelReport(filename=filename),
    )


def test_architectures_are_read_off_native_wheels() -> None:
    assert choose_targets(None, _house(*WHEELS[:2]), (), BOTH) == (TARGETS["amd64"],)
    assert choose_targets(None, _house(WHEELS[0], WHEELS[3]), (), BOTH) == (TARGETS["arm64"],)
    assert choose_targets(None, _house(WHEELS[1], WHEELS[3]), (), BOTH) == BOTH


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_pure_wheels_are_for_what_the_package_is_confined_to(arch: str) -> None:
    confined = Marker(f"sys_platform == 'linux' and platform_machine == '{TARGETS[arch].machine}'")
    assert choose_targets(None, _house(WHEELS[0]), (confined,), BOTH) == (TARGETS[arch],)
    assert len(choose_targets(None, _house(WHEELS[0]), (), BOTH)) == 1


def test_a_record_names_its_target_whole() -> None:
    own = Target(architecture="arm64", python="3.12.9", glibc=(2, 40))
    assert choose_targets(_record(own), _house(WHEELS[0]), (), BOTH) == (own,)


def _record(*targets: Target) -> Record:
    return Record(
        source=SourceRecord(identity="", sha256=None),
        targets=tuple(map(TargetRecord.of, targets)),
        resolution="",
        wheels=(),
        edits=(),
        files=(),
        difyoff="",
        uv="",
    )


def test_the_glibc_that_is_needed_is_the_least_that_a_wheel_names() -> None:
    needed = [_wheel(name).needed_glibc for name in WHEELS]
    assert needed == [(0, 0), (2, 28), (2, 24), (2, 17)]

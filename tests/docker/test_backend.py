"""Packages through the docker backend: good ones pass, every broken one is refused as on any other backend."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from testcontainers.core.container import DockerContainer

from difyoff.difypkg.daemons import Settings, release
from difyoff.difypkg.target import TARGETS
from difyoff.uvrun.environment import read_index_settings
from difyoff.verify.backends.docker.backend import open_backend, release_of
from difyoff.verify.options import Listener, VerifyOptions, Workplace
from difyoff.verify.package import open_package
from difyoff.verify.report import ScenarioReport
from difyoff.verify.runner import run_scenarios
from difyoff.verify.scenario import Scenario
from kit import engine
from kit.broken import SHELF, Broken, read, write
from kit.cli import difyoff

_OWN_CODE = "daemon's own code"
_UNREAD = "declaration-invalid"  # the audit alone reads what a declaration says
_REFUSED = [each for each in SHELF if ("sync-frozen" in each.daemon or not each.starts) and each.slug != _UNREAD]
_NOT_EXTRACTED = {"directory-entry", "manifest-invalid"}
_MISSING_LIBRARY = "import ctypes\nctypes.CDLL('libdifyoff-not-there.so.3')\n"


def _verify(
    package: Path, image: str, scratch: Path, *, daemon: str = "0.6.10", settings: Settings | None = None
) -> ScenarioReport:
    scenario = Scenario(
        release=release(daemon), settings=settings or Settings(), target=TARGETS["amd64"], backend="docker", launch=True
    )
    (report,) = _run(package, image, scratch, [scenario])
    return report


def _run(
    package: Path, image: str, scratch: Path, scenarios: Sequence[Scenario], listen: Listener = lambda _: None
) -> tuple[ScenarioReport, ...]:
    options = VerifyOptions(
        cache=scratch, index=read_index_settings({}), version="0.0.0", backend="docker", image=image, pull="never"
    )
    with open_package(package, targets=[TARGETS["amd64"]]) as read:
        return run_scenarios(open_backend(options, Workplace(scratch=scratch)), read, scenarios, listen)


def _slug(report: ScenarioReport) -> str | None:
    return next((check.diagnosis.slug for check in report.checks if check.diagnosis), None)


def _with(good: Path, folder: Path, **files: str) -> Path:
    changed = read(good) | {name.replace("_", "."): text.encode() for name, text in files.items()}
    return write(changed, folder / "changed.difypkg")


def test_a_good_package_passes(daemon_image: str, good: Path, tmp_path: Path) -> None:
    report = _verify(good, daemon_image, tmp_path)
    assert report.verdict == "passed", report
    assert report.isolation is not None
    assert report.isolation.proved
    assert report.branch == "sync-frozen"
    assert report.command[1:4] == ("sync", "--no-dev", "--frozen")
    assert daemon_image in (report.image or "")
    assert {"install", "distributions", "files", "start"} <= {each.name for each in report.checks}


@pytest.mark.skipif(engine.REAL_IMAGE is not None, reason="a real image is of one release")
@pytest.mark.parametrize(
    ("daemon", "branch"), [("0.3.1", "requirements"), ("0.5.3", "sync"), ("0.5.4", "sync-offline")]
)
def test_a_good_package_passes_by_every_other_way_to_install(
    good: Path, tmp_path: Path, daemon: str, branch: str
) -> None:
    report = _verify(good, engine.image(daemon), tmp_path, daemon=daemon)
    assert (report.verdict, report.branch) == ("passed", branch), report
    assert report.uv == release(daemon).uv


@pytest.mark.parametrize("broken", _REFUSED, ids=lambda each: each.name)
def test_a_broken_package_is_refused_by_its_own_name(
    daemon_image: str, good: Path, tmp_path: Path, broken: Broken
) -> None:
    package = broken.write(good, tmp_path)
    if broken.slug in _NOT_EXTRACTED:
        with open_package(package) as read:
            assert not read.can_be_extracted
        return
    report = _verify(package, daemon_image, tmp_path, settings=Settings(init_timeout=20))
    assert (report.verdict, _slug(report)) == ("failed", broken.slug), report.checks


def test_a_stand_in_never_passes_for_the_real_image(good: Path, tmp_path: Path) -> None:
    report = _verify(good, engine.image("0.6.10", variant="plain"), tmp_path)
    assert "stand-in" in (report.image or "")
    assert "stand-in-image" in {finding.slug for finding in report.findings}


@pytest.mark.skipif(engine.REAL_IMAGE is not None, reason="the real image is of its own release")
def test_an_image_with_another_uv_is_believed_and_told(daemon_image: str, good: Path, tmp_path: Path) -> None:
    report = _verify(good, daemon_image, tmp_path, daemon="0.5.5")
    differs = next(finding for finding in report.findings if finding.slug == "image-differs")
    assert f"uv {release('0.6.10').uv}, not {release('0.5.5').uv}" in differs.context
    assert report.uv == release("0.6.10").uv
    assert report.verdict == "passed"


def test_a_system_library_that_the_image_lacks_is_named(daemon_image: str, good: Path, tmp_path: Path) -> None:
    main = read(good)["main.py"].decode()
    report = _verify(_with(good, tmp_path, main_py=_MISSING_LIBRARY + main), daemon_image, tmp_path)
    failed = next(check.diagnosis for check in report.checks if check.diagnosis)
    assert (report.verdict, failed.slug) == ("failed", "system-library-missing")
    assert "libdifyoff-not-there.so.3" in failed.message


def test_a_network_that_is_left_on_is_an_error(
    daemon_image: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = DockerContainer.with_kwargs
    monkeypatch.setattr(
        DockerContainer, "with_kwargs", lambda self, **kwargs: honest(self, **(kwargs | {"network": "host"}))
    )
    report = _verify(good, daemon_image, tmp_path)
    assert (report.verdict, _slug(report)) == ("error", "network-not-isolated")
    assert report.isolation is not None
    assert not report.isolation.proved


def test_without_the_image_nothing_is_verified(good: Path, tmp_path: Path) -> None:
    report = _verify(good, "image.example/none:1", tmp_path)
    assert (report.verdict, _slug(report)) == ("not-verified", "image-absent")


def test_scenarios_run_beside_each_other(daemon_image: str, good: Path, tmp_path: Path) -> None:
    scenarios = [
        Scenario(release=release("0.6.10"), settings=settings, target=TARGETS["amd64"], backend="docker", launch=False)
        for settings in (Settings(), Settings(mirror="http://127.0.0.1:9/simple"), Settings(ignore_lock=True))
    ]
    told: list[object] = []
    reports = _run(good, daemon_image, tmp_path, scenarios, told.append)
    assert [report.verdict for report in reports] == ["passed"] * 3, reports
    assert [report.branch for report in reports] == ["sync-frozen", "requirements", "sync"]
    assert sum(isinstance(each, ScenarioReport) for each in told) == 3


# --- The daemon's own code, its recorded answers given by a double ---------------------------------------------------


def test_the_daemon_s_own_code_is_asked_too(image_with_double: str, good: Path, tmp_path: Path) -> None:
    report = _verify(good, image_with_double, tmp_path)
    own = next(check for check in report.checks if check.name == _OWN_CODE)
    assert (own.status, report.verdict) == ("passed", "passed")


@pytest.mark.parametrize(
    ("says", "slug"),
    [
        ("failed to install dependencies: Hash mismatch for `idna==3.20`", "tampered-wheel"),
        ("neither pyproject.toml nor requirements.txt found", "no-dependency-file"),
        ("the moon is in the wrong house", "daemon-refuses"),
    ],
)
def test_what_the_daemon_s_own_code_refuses_is_diagnosed(
    image_with_double: str, good: Path, tmp_path: Path, says: str, slug: str
) -> None:
    report = _verify(_with(good, tmp_path, double_txt=says), image_with_double, tmp_path)
    own = next(check for check in report.checks if check.name == _OWN_CODE)
    assert own.diagnosis is not None
    assert (own.status, report.verdict) == ("failed", "failed")
    assert own.diagnosis.slug == slug
    assert (
        says.partition(" for")[0] in "\n".join((own.diagnosis.message, *own.diagnosis.context))
        or slug != "daemon-refuses"
    )


def test_the_command_line_verifies_in_an_image(daemon_image: str, good: Path, tmp_path: Path) -> None:
    done = difyoff(
        *("verify", "--backend", "docker", "--daemon", "0.6.10", "--image", daemon_image, "--json", good), cwd=tmp_path
    )
    assert done.code == 0, done.stderr
    (scenario,) = [each for each in json.loads(done.stdout)["results"][0]["report"]["scenarios"] if each["image"]]
    assert (scenario["backend"], scenario["verdict"]) == ("docker", "passed")


def test_an_image_s_tag_names_its_release() -> None:
    assert str(release_of("langgenius/dify-plugin-daemon:0.5.3-local")) == "0.5.3"
    assert str(release_of("mirror.example:5000/x/dify-plugin-daemon:0.6.10-local-linux-arm64")) == "0.6.10"
    assert release_of("langgenius/dify-plugin-daemon:main-local") is None
    assert release_of("sha256:0123") is None

"""The pytest plugin and the example suite, in test runs of their own."""

import json
import shutil
import xml.etree.ElementTree as ET
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from difyoff.cli.site import SETTINGS
from kit.broken import SHELF, build_good
from kit.index import Index
from kit.plugins import write_plugin

pytest_plugins = ["pytester"]

_EXAMPLE = Path(__file__).parents[2] / "examples" / "gate"
_INSTALLED = any(each.value == "difyoff.cli.pytest_plugin" for each in entry_points(group="pytest11"))
_PLUGIN = () if _INSTALLED else ("-p", "difyoff.cli.pytest_plugin")
_ONE_TEST = "def test_package(difyoff_verify):\n    assert difyoff_verify({package!r}).verdict == 'passed'\n"
_DAEMON = "0.5.3"  # its uv is the one that every test has


@pytest.fixture(scope="module")
def good(index: Index, lock_uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_good(tmp_path_factory.mktemp("good"), index, lock_uv)


@pytest.fixture(autouse=True)
def _machine(cache: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another uv than the cache has is asked of this index, which has none: the installed one stands in.
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    monkeypatch.setenv("DIFYOFF_ALLOW_STAND_IN", "1")


def _broken(good: Path, folder: Path, name: str) -> Path:
    return next(each for each in SHELF if each.name == name).write(good, folder)


def _run(pytester: pytest.Pytester, *arguments: str | Path) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*_PLUGIN, "-p", "no:cacheprovider", *map(str, arguments), timeout=240)


def test_a_good_package_passes(pytester: pytest.Pytester, good: Path) -> None:
    pytester.makepyfile(_ONE_TEST.format(package=str(good)))
    _run(pytester, "--difyoff-daemon", _DAEMON).assert_outcomes(passed=1)


def test_a_broken_package_fails_with_its_diagnosis_and_the_fix(
    pytester: pytest.Pytester, good: Path, tmp_path: Path
) -> None:
    pytester.makepyfile(_ONE_TEST.format(package=str(_broken(good, tmp_path, "missing-wheel"))))
    result = _run(pytester, "--difyoff-daemon", _DAEMON)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["missing-wheel.difypkg: failed", "error[[]missing-wheel]: *", "  fix: *", "  seen by: *"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*difyoff_verify(*")


def test_what_is_no_package_fails_with_its_diagnosis(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(_ONE_TEST.format(package="none.difypkg"))
    result = _run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["none.difypkg*", "error[[]file-not-found]: *"])


@pytest.mark.parametrize(("environment", "outcome"), [("", "skipped"), ("true", "failed")])
def test_a_missing_engine_skips_here_and_fails_in_ci(
    pytester: pytest.Pytester, good: Path, monkeypatch: pytest.MonkeyPatch, environment: str, outcome: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{pytester.path}/none.sock")
    monkeypatch.setenv("CI", environment)
    pytester.makepyfile(_ONE_TEST.format(package=str(good)))
    result = _run(pytester, "-rs", "--difyoff-backend=docker", "--difyoff-daemon", _DAEMON)
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["*Docker engine does not answer*"])


def test_settings_stand_in_the_configuration_file(pytester: pytest.Pytester, good: Path) -> None:
    pytester.makeini("[pytest]\ndifyoff_daemon = 0.5.3\ndifyoff_backend = abacus\n")
    pytester.makepyfile(_ONE_TEST.format(package=str(good)))
    _run(pytester).stdout.fnmatch_lines(["*difyoff_backend: 'abacus' is not one of audit, local, docker*"])
    _run(pytester, "--difyoff-backend=local").assert_outcomes(passed=1)


def test_the_report_is_in_the_junit_file(pytester: pytest.Pytester, good: Path) -> None:
    pytester.makepyfile(_ONE_TEST.format(package=str(good)))
    _run(pytester, "--difyoff-daemon", _DAEMON, "--junitxml=gate.xml", "-o", "junit_family=xunit2")
    found = {
        str(each.get("name")): str(each.get("value")) for each in ET.parse(pytester.path / "gate.xml").iter("property")
    }
    assert found["difyoff_verdict"] == "passed"
    assert json.loads(found["difyoff_report"])["sha256"] == found["difyoff_sha256"]


def test_properties_are_no_warning_in_any_family(pytester: pytest.Pytester, good: Path) -> None:
    pytester.makepyfile(_ONE_TEST.format(package=str(good)))
    result = _run(pytester, "--difyoff-backend=audit", "--junitxml=gate.xml", "-o", "junit_family=xunit2", "-Werror")
    result.assert_outcomes(passed=1)
    assert "difyoff_identity" in (pytester.path / "gate.xml").read_text()


@pytest.mark.parametrize("way", ["option", "ini", "variable"])
def test_every_setting_of_the_site_reaches_the_gate(
    pytester: pytest.Pytester, good: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    pytester.makepyfile(_ONE_TEST.format(package=str(good)))
    values = {"backend": "audit", "max-size": "1K", "arch": "amd64", "daemon": "0.5.3 0.6.10", "matrix": "true"}
    arguments = []
    if way == "option":
        arguments = [
            "--difyoff-matrix",
            *(f"--difyoff-{name}={each}" for name, each in values.items() if name != "matrix"),
        ]
    elif way == "ini":
        lines = [f"difyoff_{name.replace('-', '_')} = {each}" for name, each in values.items()]
        pytester.makeini("\n".join(["[pytest]", *lines]))
    else:
        for name, each in values.items():
            monkeypatch.setenv(f"DIFYOFF_{name.replace('-', '_').upper()}", each)

    result = _run(pytester, *arguments)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["error[[]size-limit]: *"])


def test_help_names_every_setting(pytester: pytest.Pytester) -> None:
    text = _run(pytester, "--help").stdout.str()

    assert [name for name in SETTINGS if f"--difyoff-{name}" not in text] == []
    assert [each.parameter for each in SETTINGS.values() if f"difyoff_{each.parameter} (" not in text] == []


@pytest.mark.parametrize(
    ("name", "value"), [("arch", "mips"), ("max-size", "much"), ("index-url", "x"), ("matrix", "?")]
)
def test_a_wrong_value_is_named(pytester: pytest.Pytester, good: Path, name: str, value: str) -> None:
    pytester.makeini(f"[pytest]\ndifyoff_{name.replace('-', '_')} = {value}\n")
    pytester.makepyfile(_ONE_TEST.format(package=str(good)))

    _run(pytester).stdout.fnmatch_lines([f"*difyoff_{name.replace('-', '_')}: '{value}' is n*"])


def test_an_unknown_variable_is_told(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFYOFF_PYTEST_DAEMON", "0.5.3")
    pytester.makepyfile("def test_nothing(): pass")

    _run(pytester).stdout.fnmatch_lines(["difyoff: DIFYOFF_PYTEST_DAEMON is set*Did you mean DIFYOFF_DAEMON?"])


def test_a_mark_runs_a_test_for_each_release(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.difyoff_daemons("0.5.2", "0.6.10")
        def test_marked(difyoff_daemon, difyoff_verify):
            assert difyoff_daemon in ("0.5.2", "0.6.10")

        def test_unmarked(difyoff_daemon):
            assert difyoff_daemon is None
        """
    )
    result = _run(pytester, "-v", "--strict-markers")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*test_marked[[]0.5.2]*", "*test_marked[[]0.6.10]*"])


def test_nothing_heavy_is_loaded_before_it_is_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_light():
            heavy = {"difyoff.verify", "testcontainers", "docker", "pydantic", "urllib3", "rich"}
            assert heavy.isdisjoint(sys.modules)
        """
    )
    _run(pytester).assert_outcomes(passed=1)


def test_modules_of_the_tests_own_keep_their_names(pytester: pytest.Pytester, good: Path) -> None:
    pytester.makepyfile(
        verify="def helper(): return 'verify'",
        repack="def helper(): return 'repack'",
        test_names="""
            import difypkg, repack, verify

            def test_own(difyoff_verify):
                assert (verify.helper(), repack.helper(), difypkg.NAME) == ("verify", "repack", "difypkg")
        """,
        test_it=_ONE_TEST.format(package=str(good)),
    )
    pytester.mkpydir("difypkg").joinpath("__init__.py").write_text("NAME = 'difypkg'", encoding="utf-8")
    _run(pytester, "--difyoff-daemon", _DAEMON).assert_outcomes(passed=2)


def test_it_runs_under_xdist(pytester: pytest.Pytester, good: Path) -> None:
    pytester.makepyfile(test_one=_ONE_TEST.format(package=str(good)), test_two=_ONE_TEST.format(package=str(good)))
    _run(pytester, "-n", "2", "--difyoff-daemon", _DAEMON).assert_outcomes(passed=2)


def test_packages_are_tests_themselves(pytester: pytest.Pytester, good: Path) -> None:
    folder = pytester.mkdir("packages")
    shutil.copy(good, folder / "good.difypkg")
    shutil.copy(_broken(good, pytester.path, "missing-wheel"), folder / "bad.difypkg")
    (pytester.path / "missing-wheel.difypkg").unlink()
    assert "collected 0 items" in _run(pytester, "packages").stdout.str()
    result = _run(pytester, "packages", "--difyoff-packages", "--difyoff-daemon", _DAEMON, "-v", "-rf")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines_random([f"packages/good.difypkg::{_DAEMON} PASSED*", "error[[]missing-wheel]: *"])
    result.stdout.no_fnmatch_line("*Traceback*")
    _run(pytester, "packages", "--difyoff-packages", "--difyoff-daemon", _DAEMON, "-k", "good").assert_outcomes(
        passed=1
    )


def test_a_plugin_is_built_for_a_test(pytester: pytest.Pytester) -> None:
    write_plugin(pytester.path / "plugin")
    pytester.makepyfile(
        """
        def test_build(difyoff_build, difyoff_verify):
            package = difyoff_build("plugin")
            assert package.name.endswith("-offline.difypkg")
            assert difyoff_verify(package).verdict == "passed"

        def test_absent(difyoff_build):
            difyoff_build("absent.difypkg")
        """
    )
    result = _run(pytester, "--difyoff-daemon", _DAEMON)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["absent.difypkg cannot be built", "error[[]*", "  fix: *"])


def test_an_upgrade_fails_only_for_what_gets_worse(pytester: pytest.Pytester, good: Path) -> None:
    bad = _broken(good, pytester.path, "missing-wheel")
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.parametrize(("old", "new"), [("good", "good"), ("bad", "good"), ("bad", "bad"), ("good", "bad")])
        def test_upgrade(old, new, difyoff_upgrade):
            paths = dict(good={str(good)!r}, bad={str(bad)!r})
            difyoff_upgrade(paths[old], paths[new])
        """
    )
    result = _run(pytester, "--difyoff-daemon", _DAEMON, "-v")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        ["missing-wheel.difypkg is worse than *", "  verdict: verified -> refused", "error[[]missing-wheel]: *"]
    )


def test_without_an_engine_a_test_of_the_image_is_skipped_and_fails_in_ci(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    pytester.makepyfile("def test_image(difyoff_daemon_image): assert difyoff_daemon_image")
    _run(pytester).assert_outcomes(skipped=1)
    monkeypatch.setenv("CI", "true")
    _run(pytester).assert_outcomes(errors=1)


# --- The example -----------------------------------------------------------------------------------------------------


@pytest.fixture
def gate(pytester: pytest.Pytester) -> Path:
    """A copy of the example suite, to be filled with packages."""
    shutil.copytree(_EXAMPLE, pytester.path, dirs_exist_ok=True)
    packages = pytester.path / "packages"
    packages.mkdir()
    return packages


def test_the_example_lets_good_packages_through(pytester: pytest.Pytester, gate: Path, good: Path) -> None:
    shutil.copy(good, gate)
    _run(pytester).assert_outcomes(passed=3)


def test_the_example_fails_readably_on_broken_packages(pytester: pytest.Pytester, gate: Path, good: Path) -> None:
    for name in ("missing-wheel", "tampered-wheel", "start-import-error"):
        _broken(good, gate, name)
    result = _run(pytester, "-rf")
    result.assert_outcomes(passed=1, failed=6)
    result.stdout.fnmatch_lines_random(
        ["error[[]missing-wheel]: *", "error[[]tampered-wheel]: *", "error[[]plugin-does-not-start]: *"]
    )


def test_the_example_catches_an_upgrade_that_breaks(pytester: pytest.Pytester, gate: Path, good: Path) -> None:
    # A pyproject.toml without [project], which releases up to 0.5.2 do not read.
    _broken(good, gate, "nothing-installed")
    result = _run(pytester, "-v", "-k", "installs", "--difyoff-daemon", "0.5.2 0.6.10")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines_random(["*0.5.2-nothing-installed* PASSED *", "*0.6.10-nothing-installed* FAILED *"])


def test_the_example_does_not_pass_without_packages(pytester: pytest.Pytester, gate: Path) -> None:
    _run(pytester).assert_outcomes(failed=1, skipped=2)

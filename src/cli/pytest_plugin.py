"""The pytest plugin: fixtures that build, verify and compare packages, and packages that are tests themselves.

`@pytest.mark.difyoff_daemons` runs a test once for each release; `--difyoff-packages` collects `*.difypkg`.

It is loaded into every pytest run of an environment that has difyoff, so nothing heavy is imported before it is used.
"""

import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

from .site import SETTINGS, SITE_VARIABLES, Setting, make_site

if TYPE_CHECKING:
    from ..difypkg.diagnosis import Diagnosis
    from ..render.compare import Change
    from ..verify.options import VerifyOptions
    from ..verify.report import VerificationReport

_MARK: Final = "difyoff_daemons"
_PACKAGES: Final = "--difyoff-packages"


class Verify(Protocol):
    """What the fixture `difyoff_verify` gives."""

    def __call__(self, package: str | os.PathLike[str]) -> "VerificationReport":
        """Verify a package and return the report of one that passes; any other fails the test, with its diagnosis.

        Where this machine cannot verify (no Docker engine, no way to cut the network off) the test is skipped, and
        where `CI` is set it fails.
        """


class Build(Protocol):
    """What the fixture `difyoff_build` gives."""

    def __call__(self, plugin: str | os.PathLike[str]) -> Path:
        """Build a plugin, named as on the command line, and return its package; a failure fails the test."""


class Upgrade(Protocol):
    """What the fixture `difyoff_upgrade` gives."""

    def __call__(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> "tuple[Change, ...]":
        """Verify two packages and return what changes; the test fails if any of it is worse."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add every setting of a site as an option, and as a value of the configuration file."""
    group = parser.getgroup("difyoff", "verification of Dify plugin packages")
    group.addoption(
        _PACKAGES, action="store_true", help="Collect *.difypkg files, each a test for each daemon release."
    )
    for setting in SETTINGS.values():
        many = " Several are separated by blanks." if setting.many else ""
        text = f"{setting.text}{many} Also {setting.variable}.".replace("%", "%%")
        if setting.kind == "flag":
            group.addoption(_option(setting), action="store_true", default=None, help=text)
        else:
            group.addoption(_option(setting), metavar=setting.metavar or setting.name.upper(), help=text)
        parser.addini(_ini(setting), text)


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker."""
    text = f"{_MARK}(*releases): run the test once for each daemon release; without any, for those of difyoff_daemon"
    config.addinivalue_line("markers", text)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a package, where that is asked for."""
    if file_path.suffix != ".difypkg" or not parent.config.getoption(_PACKAGES):
        return None
    from .pytest_items import PackageFile

    file: PackageFile = PackageFile.from_parent(parent, path=file_path)
    file.releases = tuple(_value(parent.config, SETTINGS["daemon"]) or ())
    file.verify = _verify
    return file


def pytest_report_header() -> list[str]:
    """Tell of `DIFYOFF_*` variables that nothing reads."""
    if SITE_VARIABLES.issuperset(name for name in os.environ if name.startswith("DIFYOFF_")):
        return []
    from .main import tell_unknown_variables

    return [f"difyoff: {finding.message}. {finding.hint}" for finding in tell_unknown_variables()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a marked test once for each of its releases."""
    mark = metafunc.definition.get_closest_marker(_MARK)
    if mark is not None and "difyoff_daemon" in metafunc.fixturenames:
        releases = mark.args or _value(metafunc.config, SETTINGS["daemon"])
        if releases:
            metafunc.parametrize("difyoff_daemon", releases, indirect=True)


@pytest.fixture
def difyoff_daemon(request: pytest.FixtureRequest) -> str | None:
    """The daemon release this test runs for; None where it is not marked."""
    return getattr(request, "param", None)


@pytest.fixture
def difyoff_verify(request: pytest.FixtureRequest, difyoff_daemon: str | None) -> Verify:
    """Verify packages as the command line does; what is found goes into the JUnit report as properties."""

    def verify_package(package: str | os.PathLike[str]) -> "VerificationReport":
        __tracebackhide__ = True
        return _verify(request.node, Path(package), difyoff_daemon)

    return verify_package


@pytest.fixture
def difyoff_upgrade(request: pytest.FixtureRequest, difyoff_daemon: str | None) -> Upgrade:
    """Compare the package of today with that of tomorrow: only what gets worse fails."""

    def compare_packages(old: str | os.PathLike[str], new: str | os.PathLike[str]) -> "tuple[Change, ...]":
        __tracebackhide__ = True
        from ..render.compare import compare
        from ..render.documents import VerifyDocument, VerifyResult

        made = []
        for path in (Path(old), Path(new)):
            report = _judge(request.config, path, difyoff_daemon)
            result = VerifyResult(input=path.name, exit_code=report.exit_code, report=report)
            made.append(VerifyDocument(results=(result,), exit_code=report.exit_code))
        changes = compare(*made)
        lines = [f"{change.what}: {change.old} -> {change.new}" for change in changes if change.worse]
        if lines:
            head = f"{Path(new).name} is worse than {Path(old).name}"
            last = made[1].results[0].report
            assert last is not None
            told = () if last.verdict == "passed" else _explain(Path(new), last)
            pytest.fail("\n".join((head, *(f"  {line}" for line in lines), *told)), pytrace=False)
        return changes

    return compare_packages


@pytest.fixture
def difyoff_build(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    """Build plugins as the command line does, into a folder of the test's own."""

    def build_plugin(plugin: str | os.PathLike[str]) -> Path:
        __tracebackhide__ = True
        from .main import run

        given = {name: _value(request.config, setting) for name, setting in SETTINGS.items()}
        options = [f"--{name}={given[name]}" for name in ("arch", "target", "index-url") if given[name]]
        said = io.StringIO()
        with redirect_stdout(said):
            run(["build", "--quiet", "--json", *options, "-o", str(tmp_path / "packages"), "--", os.fspath(plugin)])
        result = json.loads(said.getvalue())["results"][0]
        if result.get("package") is None:
            diagnosis = result["diagnosis"]
            lines = (f"error[{diagnosis['slug']}]: {diagnosis['message']}", *diagnosis.get("context", ()))
            pytest.fail("\n".join((f"{plugin} cannot be built", *lines, f"  fix: {diagnosis['hint']}")), pytrace=False)
        return Path(result["package"]["path"])

    return build_plugin


@pytest.fixture
def difyoff_daemon_image(request: pytest.FixtureRequest, difyoff_daemon: str | None) -> str:
    """The daemon image of the test's release, or the one that `difyoff_image` names.

    Without an engine that has it the test is skipped, and where `CI` is set it fails.
    """
    from ..difypkg import daemons
    from ..difypkg.diagnosis import DifyoffError
    from ..sandbox.engine import REPOSITORY, connect, find_image

    asked = difyoff_daemon or next(iter(_value(request.config, SETTINGS["daemon"]) or ()), None)
    release = daemons.release(asked) if asked else daemons.newest()
    reference = str(_value(request.config, SETTINGS["image"]) or f"{REPOSITORY}:{release}-local")
    try:
        with connect() as client:
            find_image(client, reference, pull="never", platform=_value(request.config, SETTINGS["platform"]))
    except DifyoffError as error:
        end = pytest.fail if os.environ.get("CI") else pytest.skip
        end("\n".join(_lines(error.diagnosis)))
    return reference


def _verify(node: pytest.Item, path: Path, daemon: str | None) -> "VerificationReport":
    """Verify a package for an item; fail or skip it, or return the report of a package that passes."""
    __tracebackhide__ = True
    from ..verify.report import to_json
    from .secrecy import without_secrets

    report = _judge(node.config, path, daemon)
    for name, value in (
        ("difyoff_package", path.name),
        ("difyoff_sha256", report.sha256),
        ("difyoff_identity", report.identity),
        ("difyoff_verdict", report.verdict),
        ("difyoff_report", to_json(without_secrets(report))),
    ):
        node.user_properties.append((name, value))  # as record_property, which warns under xunit2
    if report.verdict == "not-verified" and not os.environ.get("CI"):
        reason = report.first_failure()
        pytest.skip(f"{path.name} is not verified: {reason.message if reason else '; '.join(report.not_checked)}")
    if report.verdict != "passed":
        pytest.fail("\n".join(_explain(path, report)), pytrace=False)
    return report


def _judge(config: pytest.Config, path: Path, daemon: str | None) -> "VerificationReport":
    __tracebackhide__ = True
    from ..difypkg.diagnosis import DifyoffError
    from ..verify.api import verify

    try:
        return verify(path, _options(config, daemon))
    except DifyoffError as error:
        pytest.fail("\n".join((f"{path.name} cannot be verified", *_lines(error.diagnosis))), pytrace=False)


def _options(config: pytest.Config, daemon: str | None) -> "VerifyOptions":
    from ..uvrun.environment import read_index_settings
    from .proof import make_verify_options, read_trust

    values = {name: _value(config, setting) for name, setting in SETTINGS.items()}
    if daemon is not None:
        values |= {"daemon": [daemon], "dify": None}
    site = make_site(values)
    index = read_index_settings(os.environ, index_url=site.index_url)
    return make_verify_options(site, index, backend=site.backend, trust=read_trust(site))


def _value(config: pytest.Config, setting: Setting) -> Any:
    """Return a setting's value from the options, else the configuration file, else the environment."""
    text, name = config.getoption(_option(setting)), _option(setting)
    if text is None:
        text, name = config.getini(_ini(setting)) or None, _ini(setting)
    if text is None:
        text, name = os.environ.get(setting.variable) or None, setting.variable
    if text is None or isinstance(text, bool):
        return text
    try:
        return [setting.parse(word) for word in text.split()] if setting.many else setting.parse(text)
    except ValueError as error:
        raise pytest.UsageError(f"{name}: {error}") from error


def _option(setting: Setting) -> str:
    return f"--difyoff-{setting.name}"


def _ini(setting: Setting) -> str:
    return f"difyoff_{setting.parameter}"


def _explain(path: Path, report: "VerificationReport") -> Iterator[str]:
    """Yield what a failure shows: the verdict, each diagnosis once with the scenarios it is from, the findings."""
    yield f"{path.name}: {report.verdict}"
    seen: dict[str, tuple[Diagnosis, list[str]]] = {}
    for scenario in report.scenarios:
        where = scenario.backend if scenario.daemon is None else f"{scenario.backend}, daemon {scenario.daemon}"
        for check in scenario.checks:
            if check.diagnosis is not None:
                seen.setdefault(check.diagnosis.slug, (check.diagnosis, []))[1].append(where)
    for diagnosis, places in seen.values():
        yield from _lines(diagnosis)
        yield f"  seen by: {'; '.join(dict.fromkeys(places))}"


def _lines(diagnosis: "Diagnosis") -> Iterator[str]:
    yield f"error[{diagnosis.slug}]: {diagnosis.message}"
    yield from (f"  {line}" for line in diagnosis.context)
    if diagnosis.note:
        yield f"  note: {diagnosis.note}"
    if diagnosis.hint:
        yield f"  fix: {diagnosis.hint}"
    yield f"  `difyoff explain {diagnosis.slug}` says more"

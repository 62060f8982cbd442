"""The pytest plugin: `difyoff_verify` proves a package, `@pytest.mark.difyoff_daemons` does so on several releases.

It is loaded into every pytest run of an environment that has difyoff, so nothing heavy is imported before it is used.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import pytest

if TYPE_CHECKING:
    from ..difypkg.diagnosis import Diagnosis
    from ..verify.options import VerifyOptions
    from ..verify.report import VerificationReport

_MARK: Final = "difyoff_daemons"
_OPTIONS: Final = {
    "backend": "How far the proof goes: audit, local or docker. Default: local.",
    "daemon": "Daemon releases to verify on, such as '0.5.3 0.6.10'. Default: one for each way to install.",
    "image": "The image for the docker backend, instead of the release's own.",
}


class Verify(Protocol):
    """What the fixture `difyoff_verify` gives."""

    def __call__(self, package: str | os.PathLike[str]) -> "VerificationReport":
        """Verify a package and return the report of one that passes; any other fails the test, with its diagnosis.

        Where this machine cannot verify (no Docker engine, no way to cut the network off) the test is skipped, and
        where `CI` is set it fails.
        """


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their twins in the configuration file."""
    group = parser.getgroup("difyoff", "verification of Dify plugin packages")
    for name, text in _OPTIONS.items():
        group.addoption(f"--difyoff-{name}", metavar=name.upper(), help=text)
        parser.addini(f"difyoff_{name}", text)


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker."""
    text = f"{_MARK}(*releases): run the test once for each daemon release; without any, for those of difyoff_daemon"
    config.addinivalue_line("markers", text)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a marked test once for each of its releases."""
    mark = metafunc.definition.get_closest_marker(_MARK)
    if mark is not None and "difyoff_daemon" in metafunc.fixturenames:
        releases = mark.args or _setting(metafunc.config, "daemon").split()
        if releases:
            metafunc.parametrize("difyoff_daemon", releases, indirect=True)


@pytest.fixture
def difyoff_daemon(request: pytest.FixtureRequest) -> str | None:
    """The daemon release this test runs for; None where it is not marked."""
    return getattr(request, "param", None)


@pytest.fixture
def difyoff_verify(
    request: pytest.FixtureRequest, difyoff_daemon: str | None, record_property: Callable[[str, object], None]
) -> Verify:
    """Verify packages as the command line does; what is found goes into the JUnit report as properties."""
    daemons = [difyoff_daemon] if difyoff_daemon else _setting(request.config, "daemon").split()

    def verify_package(package: str | os.PathLike[str]) -> "VerificationReport":
        __tracebackhide__ = True
        path = Path(package)
        from ..difypkg.diagnosis import DifyoffError
        from ..verify.api import verify
        from ..verify.report import to_json

        try:
            report = verify(path, _options(request.config, daemons))
        except DifyoffError as error:
            pytest.fail("\n".join((f"{path.name} cannot be verified", *_lines(error.diagnosis))), pytrace=False)
        for name, value in (
            ("difyoff_package", path.name),
            ("difyoff_sha256", report.sha256),
            ("difyoff_identity", report.identity),
            ("difyoff_verdict", report.verdict),
            ("difyoff_report", to_json(report)),
        ):
            record_property(name, value)
        if report.verdict == "not-verified" and not os.environ.get("CI"):
            reason = report.first_failure()
            pytest.skip(f"{path.name} is not verified: {reason.message if reason else '; '.join(report.not_checked)}")
        if report.verdict != "passed":
            pytest.fail("\n".join(_explain(path, report)), pytrace=False)
        return report

    return verify_package


def _options(config: pytest.Config, daemons: Sequence[str]) -> "VerifyOptions":
    from .. import __version__
    from ..difypkg.daemons import release
    from ..difypkg.target import TARGETS
    from ..uvrun.environment import read_index_settings
    from ..verify.backends import BACKENDS, DEFAULT
    from ..verify.options import VerifyOptions
    from .site import default_cache

    backend = _setting(config, "backend") or DEFAULT
    if backend not in BACKENDS:
        raise pytest.UsageError(f"difyoff_backend is {backend!r}; it is one of {', '.join(BACKENDS)}")
    return VerifyOptions(
        cache=Path(os.environ.get("DIFYOFF_CACHE_DIR") or default_cache()).absolute(),
        index=read_index_settings(os.environ),
        version=__version__,
        backend=backend,
        releases=tuple(map(release, daemons)),
        candidates=tuple(TARGETS.values()),
        image=_setting(config, "image") or None,
    )


def _setting(config: pytest.Config, name: str) -> str:
    return str(config.getoption(f"--difyoff-{name}") or config.getini(f"difyoff_{name}") or "")


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

"""The rung `local`: real uv, real isolation, tiny packages. What the audit thinks of them is left out."""

import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from difyoff.cli.targets import TargetFile, write_target
from difyoff.difypkg.daemons import Settings, release
from difyoff.difypkg.diagnosis import Exit
from difyoff.difypkg.target import TARGETS, Architecture
from difyoff.sandbox.isolation import LADDER, NOT_ISOLATED, Isolation, choose_isolation, find_obstacle
from difyoff.uvrun.environment import read_index_settings
from difyoff.uvrun.uv import LOCK_UV
from difyoff.verify.backends import local
from difyoff.verify.options import VerifyOptions, Workplace
from difyoff.verify.package import open_package
from difyoff.verify.report import Check, ScenarioReport
from difyoff.verify.runner import run_scenarios
from difyoff.verify.scenario import Scenario
from kit.broken import SHELF, Broken, read, write
from kit.cli import difyoff
from kit.index import Index
from kit.offline import build_offline

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux can cut the network off"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the packages are for x86_64"),
]

RELEASES = ("0.5.2", "0.5.3", "0.6.10")  # requirements, unfrozen, frozen
PATIENCE = 5  # seconds a plugin is waited for that never gets ready

Verify = Callable[..., tuple[ScenarioReport, ...]]


@pytest.fixture(scope="module")
def good(index: Index, lock_uv: Path, uv_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that installs and starts everywhere."""
    folder = tmp_path_factory.mktemp("good")
    return build_offline(folder, index, cache=_knowing(lock_uv, folder), uv_cache=uv_cache)


@pytest.fixture(scope="module")
def for_both(index: Index, lock_uv: Path, uv_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for both architectures."""
    folder = tmp_path_factory.mktemp("both")
    return build_offline(folder, index, cache=_knowing(lock_uv, folder), uv_cache=uv_cache, arch="all")


def _knowing(lock_uv: Path, folder: Path) -> Path:
    """Return an empty cache that knows the uv which writes our locks."""
    (folder / "cache" / "uv").mkdir(parents=True)
    (folder / "cache" / "uv" / LOCK_UV).symlink_to(lock_uv.parent.parent, target_is_directory=True)
    return folder / "cache"


@pytest.fixture
def check(cache: Path, tmp_path: Path) -> Verify:
    """Verify a package locally with one uv, whatever the release's own; start it where `launch` says so."""

    def verify(
        package: Path,
        *,
        releases: Sequence[str] = RELEASES,
        launch: bool = False,
        settings: Settings | None = None,
        architecture: Architecture = "amd64",
        isolation: Isolation | None = None,
        trust_plugin: bool = False,
        vetted: bool = False,
    ) -> tuple[ScenarioReport, ...]:
        if choose_isolation() is None and isolation is None:
            pytest.skip("no isolation on this machine")
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        scenarios = [
            Scenario(
                release=release(version),
                settings=settings or Settings(),
                target=TARGETS[architecture],
                backend="local",
                launch=launch,
                uv=LOCK_UV,
            )
            for version in releases
        ]
        options = VerifyOptions(
            cache=cache,
            index=read_index_settings({}),
            version="0.0.0",
            isolation=isolation,
            trust_plugin=trust_plugin,
        )
        backend = local.open_backend(options, Workplace(scratch=scratch, vetted=vetted))
        with open_package(package, targets=[TARGETS[architecture]]) as read:
            return run_scenarios(backend, read, scenarios, lambda _: None)

    return verify


def _changed(good: Path, folder: Path, **files: str) -> Path:
    """Return a package with other contents for some files, named by their path with `__` for a dot."""
    contents = {path.replace("__", "."): text.encode() for path, text in files.items()}
    return write(read(good) | contents, folder / "changed.difypkg")


def _named(report: ScenarioReport, name: str) -> Check:
    return next(each for each in report.checks if each.name == name)


def _slugs(report: ScenarioReport) -> set[str]:
    return {each.diagnosis.slug for each in report.checks if each.diagnosis}


def test_installs_by_every_branch_and_starts(good: Path, check: Verify) -> None:
    reports = check(good, launch=True)
    assert [report.verdict for report in reports] == ["passed"] * 3, reports
    assert [report.branch for report in reports] == ["requirements", "sync", "sync-frozen"]
    for report in reports:
        assert report.isolation is not None
        assert report.isolation.proved
        assert report.uv == LOCK_UV
        assert _named(report, "start").status == "passed"
        assert _named(report, "distributions").message


def test_a_mirror_that_is_set_is_not_asked(good: Path, check: Verify) -> None:
    settings = Settings(mirror="http://127.0.0.1:9/simple")
    reports = check(good, settings=settings)
    assert [(report.branch, report.verdict) for report in reports] == [
        ("requirements", "passed"),
        ("sync", "passed"),
        ("requirements", "passed"),
    ]


def test_leaves_nothing_behind(good: Path, check: Verify, tmp_path: Path, cache: Path) -> None:
    before = {path.name for path in cache.iterdir()}
    check(good)
    # The scratch folder is the whole run's and goes with it; in it are the links that its scenarios share.
    assert {path.name.partition("-")[0] for path in (tmp_path / "scratch").iterdir()} == {"programs"}
    assert {path.name for path in cache.iterdir()} == before


def test_another_architecture_is_installed_and_not_started(for_both: Path, check: Verify) -> None:
    for report in check(for_both, architecture="arm64", launch=True):
        assert report.verdict == "passed"
        assert TARGETS["arm64"].uv_platform in report.command
        assert _named(report, "start").status == "skipped"
        assert "x86_64" in _named(report, "start").message


# --- Isolation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rung", LADDER, ids=lambda rung: f"{rung.name}{'' if rung.host_protected else '-unprotected'}")
def test_every_rung_of_the_ladder(good: Path, check: Verify, rung: Isolation) -> None:
    if reason := find_obstacle(rung):
        pytest.skip(f"{rung.name} cannot be had here: {reason}")
    (report,) = check(good, releases=["0.6.10"], launch=True, isolation=rung, vetted=True)
    assert report.verdict == "passed", report
    assert report.isolation is not None
    assert report.isolation.rung == rung.name
    assert _named(report, "start").status == ("passed" if rung.host_protected else "skipped")


def test_an_unprotected_host_is_for_trusted_plugins(good: Path, check: Verify) -> None:
    rung = LADDER[-1]
    if reason := find_obstacle(rung):
        pytest.skip(f"{rung.name} cannot be had here: {reason}")
    (refused,) = check(good, releases=["0.6.10"], isolation=rung)
    assert refused.verdict == "not-verified"
    (trusted,) = check(good, releases=["0.6.10"], isolation=rung, launch=True, trust_plugin=True)
    assert _named(trusted, "start").status == "passed"


def test_with_the_network_on_nothing_is_proved(good: Path, check: Verify) -> None:
    for report in check(good, isolation=NOT_ISOLATED):
        assert report.verdict == "error"
        assert _slugs(report) == {"network-not-isolated"}
        assert report.isolation is not None
        assert not report.isolation.proved


def test_without_any_isolation_nothing_is_run(good: Path, check: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    if choose_isolation() is None:
        pytest.skip("no isolation on this machine")
    monkeypatch.setattr(local, "choose_isolation", lambda: None)
    for report in check(good):
        assert report.verdict == "not-verified"
        assert _slugs(report) == {"isolation-unavailable"}


def test_configuration_above_the_work_folder_is_out_of_reach(good: Path, check: Verify, tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text('no-index = "this is no boolean"\n')
    (report,) = check(good, releases=["0.6.10"])
    hidden = report.isolation is not None and report.isolation.rung != "seccomp"
    assert report.verdict == ("passed" if hidden else "not-verified")


# --- The start -------------------------------------------------------------------------------------------------------


def test_a_plugin_sees_the_daemons_environment_only(
    good: Path, check: Verify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "secret")
    show = "import os, sys\nsys.exit(' '.join(sorted(os.environ)))\n"
    (report,) = check(_changed(good, tmp_path, main__py=show), releases=["0.6.10"], launch=True)
    diagnosis = _named(report, "start").diagnosis
    assert diagnosis is not None
    words = " ".join(diagnosis.context).split()
    assert {"HOME", "INSTALL_METHOD", "PATH"} <= set(words)
    assert "SECRET_OF_THE_HOST" not in words


def test_a_plugin_is_started_as_python_m_starts_it(good: Path, check: Verify, tmp_path: Path) -> None:
    show = (
        "import os, sys\n"
        "home = os.getcwd()\n"
        "same = sys.argv == [__file__] and sys.path[0] == home and __file__ == os.path.join(home, 'main.py')\n"
        "sys.exit(f'{__name__} {__spec__.name} {same}')\n"
    )
    (report,) = check(_changed(good, tmp_path, main__py=show), releases=["0.6.10"], launch=True)
    diagnosis = _named(report, "start").diagnosis
    assert diagnosis is not None
    assert diagnosis.context[-1] == "__main__ main True"


def test_tells_what_a_plugin_wanted_of_the_network(good: Path, check: Verify, tmp_path: Path) -> None:
    wants = (
        "import socket, sys\n"
        "for way in (lambda: socket.getaddrinfo('models.example', 443), lambda: socket.getaddrinfo('localhost', 80),\n"
        "            lambda: socket.create_connection(('192.0.2.7', 80), 1)):\n"
        "    try:\n        way()\n    except OSError:\n        pass\n"
        "sys.exit(3)\n"
    )
    (report,) = check(_changed(good, tmp_path, main__py=wants), releases=["0.6.10"], launch=True)
    diagnosis = _named(report, "start").diagnosis
    assert diagnosis is not None
    said = "\n".join(diagnosis.context)
    assert "models.example" in said
    assert "192.0.2.7" in said
    assert "localhost" not in said


# --- The shelf -------------------------------------------------------------------------------------------------------

STRICTER = {
    # The daemon lets it write where it likes.
    ("configuration-redirects-cache", "requirements"): "configuration-redirects",
    ("configuration-redirects-cache", "sync"): "configuration-redirects",
    ("configuration-redirects-cache", "sync-frozen"): "configuration-redirects",
}
"""Where we refuse what the daemon would install, and with which diagnosis."""

IN_UVS_WORDS = {"configuration-redirects-sources": "direct-reference"}
"""What uv makes of a fault that the audit calls by another name."""

_UNREAD = ("directory-entry", "manifest-invalid", "repeated-key-in-a-provider")  # the audit alone reads so far
IN_REACH = [each for each in SHELF if each.name not in _UNREAD]


@pytest.mark.parametrize("broken", IN_REACH, ids=lambda broken: broken.name)
def test_refuses_what_the_daemon_refuses(broken: Broken, good: Path, check: Verify, tmp_path: Path) -> None:
    package = broken.write(good, tmp_path)
    launch = broken.finding or not broken.starts
    for report in check(package, launch=launch, settings=Settings(init_timeout=PATIENCE)):
        stricter = STRICTER.get((broken.name, str(report.branch)))
        refused = report.branch is None or report.branch in broken.daemon or not broken.starts
        assert report.verdict == ("failed" if refused or stricter else "passed"), report
        if refused or stricter:
            assert _slugs(report) == {stricter or IN_UVS_WORDS.get(broken.name, broken.slug)}, report
        elif broken.finding:
            assert broken.slug in {finding.slug for finding in report.findings}


# --- Targets ---------------------------------------------------------------------------------------------------------

PURE = """\
[project]
name = "tiny"
version = "0.1.0"
requires-python = ">=3.12"
dependencies = ["dify_plugin==0.6.0b10"]
"""
"""A plugin with pure wheels only: nothing in their names says for which machine its package is."""


def test_a_package_of_pure_wheels_is_verified_for_the_machine_it_was_made_for(
    index: Index, lock_uv: Path, uv_cache: Path, tmp_path: Path, cache: Path
) -> None:
    package = build_offline(
        tmp_path, index, cache=_knowing(lock_uv, tmp_path), uv_cache=uv_cache, arch="arm64", pyproject=PURE
    )  # fmt: skip
    run = difyoff("verify", package, "--daemon", "0.5.3", "--json", cwd=tmp_path)
    assert run.code == 0, run.stderr
    assert {each["architecture"] for each in run.result["report"]["scenarios"]} == {"arm64"}


def test_a_target_file_is_what_a_package_is_verified_for(good: Path, tmp_path: Path, cache: Path) -> None:
    own = TargetFile(architecture="amd64", python="3.12.9", glibc=(2, 39))
    write_target(tmp_path / "own.json", own)
    asked = _changed(
        good, tmp_path, pyproject__toml=read(good)["pyproject.toml"].decode().replace(">=3.12", ">=3.12.9")
    )
    run = difyoff("verify", asked, "--backend", "audit", "--target", "own.json", "--json", cwd=tmp_path)
    names = {check["name"]: check["status"] for check in run.result["report"]["scenarios"][0]["checks"]}
    assert names["Python version"] == "passed", run.stderr
    run = difyoff("verify", asked, "--backend", "audit", "--json", cwd=tmp_path)
    assert "3.12.3" in run.stderr
    assert difyoff("verify", asked, "--target", "own.json", "--arch", "arm64", cwd=tmp_path).code == Exit.USAGE


# --- A plugin that means harm ----------------------------------------------------------------------------------------

_WRITES = """\
import os, pathlib
work = pathlib.Path(os.getcwd()).parents[1]
attempts = work / "network-attempts"
attempts.unlink(missing_ok=True)
{}
"""


@pytest.mark.parametrize(
    "what",
    [
        "attempts.symlink_to({host!r})",
        "os.mkfifo(attempts)",
        "attempts.symlink_to('/dev/zero')",
        "attempts.mkdir()",
        "attempts.write_bytes(b'\\xff' * 10_000_000)",
        "home = os.getcwd(); [(os.mkdir('d'), os.chdir('d')) for _ in range(2000)]; os.chdir(home)",
        "os.mkfifo('pipe'); os.mkdir('d'); os.chmod('d', 0)",
        "os.truncate(os.open('sparse', os.O_CREAT | os.O_WRONLY), 1 << 40)",
    ],
)
def test_what_a_plugin_leaves_neither_hangs_nor_leaks(
    what: str, good: Path, check: Verify, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host = tmp_path / "secret"
    host.write_text("resolve the-secret.example:443\n")
    lines = _WRITES.format(what.format(host=str(host)))
    (report,) = check(
        _changed(good, tmp_path, main__py=lines + read(good)["main.py"].decode()), releases=["0.6.10"], launch=True
    )
    assert report.verdict == "passed", report
    assert "the-secret" not in str(report)
    assert {path.name.partition("-")[0] for path in (tmp_path / "scratch").iterdir()} == {"programs"}


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_line_longer_than_the_daemon_reads_ends_the_plugin(
    stream: str, good: Path, check: Verify, tmp_path: Path
) -> None:
    long = f"import sys\nprint('x' * (5 << 20), file=sys.{stream}, flush=True)\n"
    main = read(good)["main.py"].decode()
    (report,) = check(_changed(good, tmp_path, main__py=long + main), releases=["0.6.10"], launch=True)
    diagnosis = _named(report, "start").diagnosis
    assert diagnosis is not None
    assert "5 MiB" in diagnosis.message
    shorter = long.replace("(5 << 20)", "((5 << 20) - 2)")
    (report,) = check(_changed(good, tmp_path, main__py=shorter + main), releases=["0.6.10"], launch=True)
    assert report.verdict == "passed", report


@pytest.mark.parametrize(
    ("files", "refused"),
    [
        ({".venv/x.txt": ""}, {"0.5.2", "0.5.3"}),
        ({".venv/bin/python": ""}, set()),
        ({".venv/dify/plugin.json": "{}"}, {"0.5.2", "0.5.3"}),
        ({".venv/bin/python": "", ".venv/dify/plugin.json": "{}"}, {"0.5.2", "0.5.3", "0.6.10"}),
        ({".uv-cache/x": ""}, set()),
    ],
)
def test_a_venv_in_the_package_is_what_the_release_makes_of_it(
    files: dict[str, str], refused: set[str], good: Path, check: Verify, tmp_path: Path
) -> None:
    contents = {path: text.encode() for path, text in files.items()}
    package = write(read(good) | contents, tmp_path / "with-venv.difypkg")
    reports = check(package, launch=True)
    assert {each.daemon for each in reports if each.verdict == "failed"} == refused, reports
    assert {slug for each in reports for slug in _slugs(each)} == ({"copied-venv"} if refused else set())

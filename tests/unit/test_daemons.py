"""The table of daemon releases, against the contract read from the daemon's source."""

from dataclasses import fields
from pathlib import Path, PurePosixPath

import pytest
from packaging.version import Version

from difyoff.difypkg.daemons import (
    Layout,
    Plan,
    Release,
    Settings,
    Step,
    distinct_branches,
    newest,
    plan,
    release,
    release_for_dify,
    releases,
)
from difyoff.difypkg.diagnosis import DifyoffError, Exit

ALL = frozenset({"pyproject.toml", "uv.lock", "requirements.txt"})
MIRROR = "http://mirror.example/simple"
ROOT = PurePosixPath("/app/storage/cwd")
LAYOUT = Layout(
    plugin=ROOT / "author/name-0.0.1@abc",
    working_path=ROOT,
    uv=PurePosixPath("/usr/local/bin/uv"),
    path="/usr/local/bin:/usr/bin:/bin",
    entrypoint="main",
)

OLD_PIP = "pip install -r requirements.txt"
PIP = "pip install -r requirements.txt -vvv"
SYNC = "sync --no-dev -v"
OFFLINE = "sync --no-dev -v --offline"
FROZEN = "sync --no-dev --frozen -v"

# First and last release of each stretch; the install argv for all three files without and with a mirror; uv's cache.
STRETCHES = [
    ("0.0.4", "0.4.1", OLD_PIP, f"pip install -i {MIRROR} -r requirements.txt", None),
    ("0.5.0", "0.5.2", PIP, f"pip install -i {MIRROR} -r requirements.txt -vvv", None),
    ("0.5.3", "0.5.3", SYNC, f"sync --no-dev -i {MIRROR} -v", None),
    ("0.5.4", "0.5.4", OFFLINE, f"sync --no-dev -i {MIRROR} -v --offline", LAYOUT.plugin / ".uv-cache"),
    ("0.5.5", "0.5.8", FROZEN, f"sync --no-dev --frozen -i {MIRROR} -v", LAYOUT.plugin / ".uv-cache"),
    ("0.5.9", "0.6.2", FROZEN, f"sync --no-dev --frozen -i {MIRROR} -v", ROOT / ".uv-cache"),
    ("0.6.3", "0.6.10", FROZEN, f"pip install -i {MIRROR} -r requirements.txt -vvv", ROOT / ".uv-cache"),
]


def plan_of(version: str, files: frozenset[str] = ALL, settings: Settings | None = None, *, fresh: bool = True) -> Plan:
    return plan(release(version), settings or Settings(), files, LAYOUT, fresh_upload=fresh)


def step_of(plan: Plan, kind: str) -> Step:
    return next(step for step in plan.steps if step.kind == kind)


def install(version: str, files: frozenset[str] = ALL, settings: Settings | None = None, *, fresh: bool = True) -> str:
    """The install command after uv itself."""
    argv = step_of(plan_of(version, files, settings, fresh=fresh), "install").argv
    assert argv[0] == "/usr/local/bin/uv"
    return " ".join(argv[1:])


def between(first: str, last: str) -> list[Release]:
    return [each for each in releases() if Version(first) <= each.version <= Version(last)]


def test_every_published_release_is_there_in_order() -> None:
    versions = [each.version for each in releases()]
    assert versions == sorted(versions)
    assert len(versions) == len(set(versions)) == 40
    assert (str(versions[0]), str(versions[-1])) == ("0.0.4", "0.6.10")
    assert release("0.3.0b1").version < release("0.3.0").version
    dates = [each.date for each in releases() if each.date]
    assert dates == sorted(dates)
    assert len(dates) == len(versions)


@pytest.mark.parametrize(
    ("version", "uv"),
    [("0.0.4", "0.6.5"), ("0.3.1", "0.8.22"), ("0.4.1", "0.9.7"), ("0.5.3", "0.9.26"), ("0.5.5", "0.11.2")],
)
def test_the_uv_in_an_image(version: str, uv: str) -> None:
    assert release(version).uv == uv


def test_uv_never_goes_back() -> None:
    versions = [Version(each.uv) for each in releases() if each.uv]
    assert versions == sorted(versions)
    assert newest().uv == "0.12.2"


def test_the_stretches_cover_every_release() -> None:
    covered = [each for first, last, *_ in STRETCHES for each in between(first, last)]
    assert covered == list(releases())


@pytest.mark.parametrize(("first", "last", "argv", "argv_with_mirror", "cache"), STRETCHES)
def test_install_command(first: str, last: str, argv: str, argv_with_mirror: str, cache: PurePosixPath | None) -> None:
    for each in between(first, last):
        assert install(str(each)) == argv
        assert install(str(each), settings=Settings(mirror=MIRROR)) == argv_with_mirror
        environment = step_of(plan_of(str(each)), "install").environment
        expected = {"VIRTUAL_ENV": str(LAYOUT.plugin / ".venv"), "PATH": LAYOUT.path}
        assert environment == expected | ({"UV_CACHE_DIR": str(cache)} if cache else {})


@pytest.mark.parametrize(
    ("version", "files", "branch"),
    [
        ("0.5.2", {"pyproject.toml", "uv.lock"}, None),
        ("0.5.3", {"pyproject.toml", "uv.lock"}, "sync"),
        ("0.5.4", {"requirements.txt"}, "requirements"),
        ("0.6.10", {"requirements.txt", "uv.lock"}, "requirements"),
        ("0.6.10", {"pyproject.toml", "requirements.txt"}, "sync"),
        ("0.6.10", {"pyproject.toml", "uv.lock"}, "sync-frozen"),
        ("0.6.10", {"uv.lock", "main.py"}, None),
        ("0.0.4", set(), None),
    ],
)
def test_branch(version: str, files: set[str], branch: str | None) -> None:
    made = plan_of(version, frozenset(files))
    assert made.branch == branch
    assert bool(made.steps) is (branch is not None)


def test_with_a_mirror_requirements_go_first_since_0_6_3() -> None:
    mirror = Settings(mirror=MIRROR)
    assert plan_of("0.6.2", settings=mirror).dependency_file == "pyproject.toml"
    assert plan_of("0.6.3", settings=mirror).dependency_file == "requirements.txt"
    assert plan_of("0.6.3", frozenset({"pyproject.toml"}), mirror).dependency_file == "pyproject.toml"


def test_ignore_lock_counts_since_0_5_8() -> None:
    ignore = Settings(ignore_lock=True)
    assert plan_of("0.5.7", settings=ignore).branch == "sync-frozen"
    assert plan_of("0.5.8", settings=ignore).branch == "sync"
    assert install("0.5.8", settings=ignore) == SYNC


def test_only_0_5_4_asks_when_the_upload_was() -> None:
    late = {str(each) for each in releases() if install(str(each), fresh=False) != install(str(each))}
    assert late == {"0.5.4"}
    assert plan_of("0.5.4", fresh=False).branch == "sync"


@pytest.mark.parametrize(
    ("version", "extra", "expected"),
    [
        ("0.4.1", "--a  --b", ["--a", "", "--b"]),
        ("0.5.4", "--a  --b", ["--a", "", "--b", "--offline"]),
        ("0.5.5", " --a \t --b ", ["--a", "--b"]),
        ("0.5.5", "--frozen --a", ["--a"]),
    ],
)
def test_extra_arguments(version: str, extra: str, expected: list[str]) -> None:
    argv = step_of(plan_of(version, settings=Settings(extra_args=extra)), "install").argv
    assert list(argv[-len(expected) :]) == expected
    assert argv.count("--frozen") <= 1


def test_without_a_lock_extra_arguments_keep_frozen() -> None:
    files = frozenset({"pyproject.toml"})
    assert install("0.6.10", files, Settings(extra_args="--frozen")) == f"{SYNC} --frozen"


def test_steps_and_their_order() -> None:
    steps = plan_of("0.6.10").steps
    assert [step.kind for step in steps] == ["venv", "install", "compile", "import", "launch"]
    python = str(LAYOUT.plugin / ".venv/bin/python")
    venv, installing, compiling, importing, launch = steps
    assert venv.argv == ("/usr/local/bin/uv", "venv", ".venv", "--python", "3.12")
    assert compiling.argv == (python, "-m", "compileall", "-x", r"\.venv|\.uv-cache", ".")
    assert importing.argv == (python, "-c", "import dify_plugin")
    assert launch.argv == (python, "-m", "main")
    assert launch.environment["INSTALL_METHOD"] == "local"
    assert [step.inherits for step in steps] == [True, False, True, True, True]
    assert [step.fatal for step in steps] == [True, True, False, False, True]
    assert {step.cwd for step in steps} == {LAYOUT.plugin}
    assert (installing.silence, installing.total) == (120, 600)


def test_steps_of_old_releases() -> None:
    assert step_of(plan_of("0.0.6"), "venv").argv[1:] == ("venv", ".venv")
    assert step_of(plan_of("0.0.7"), "venv").argv[1:] == ("venv", ".venv", "--python", "3.12")
    assert step_of(plan_of("0.0.5"), "compile").fatal
    assert not step_of(plan_of("0.0.6"), "compile").fatal
    assert step_of(plan_of("0.5.8"), "compile").argv[1:] == ("-m", "compileall", ".")
    assert not step_of(plan_of("0.4.1"), "launch").fatal
    assert step_of(plan_of("0.5.0"), "launch").fatal


def test_time_outs() -> None:
    hurried = Settings(init_timeout=30, install_timeout=60)
    assert step_of(plan_of("0.5.4", settings=hurried), "install").total == 600
    installing = step_of(plan_of("0.5.5", settings=hurried), "install")
    assert (installing.silence, installing.total) == (30, 60)
    assert step_of(plan_of("0.5.5", settings=hurried), "launch").total == 30
    assert step_of(plan_of("0.5.5", settings=Settings(init_timeout=900)), "launch").total == 120
    assert (release("0.4.1").install_timer, release("0.4.1").attempts, release("0.4.1").watchdog) == (240, 4, 0)
    assert (release("0.5.0").install_timer, release("0.5.0").attempts, release("0.5.0").watchdog) == (0, 1, 60)


@pytest.mark.parametrize(
    ("column", "first", "last"),
    [
        ("guards_langgenius", "0.3.1", "0.4.1"),
        ("third_party_keys", "0.0.7", "0.6.10"),
        ("has_commandline", "0.5.8", "0.6.10"),
        ("honours_ignore_lock", "0.5.8", "0.6.10"),
        ("mirror_prefers_requirements", "0.6.3", "0.6.10"),
        ("waits_for_heartbeat", "0.5.0", "0.6.10"),
        ("compile_is_fatal", "0.0.4", "0.0.5"),
    ],
)
def test_window(column: str, first: str, last: str) -> None:
    assert [each for each in releases() if getattr(each, column)] == between(first, last)


def test_facts_of_images_and_defaults() -> None:
    assert {str(each) for each in releases() if each.pid1 == "daemon"} == {"0.5.8", "0.5.9"}
    assert {str(each) for each in releases() if each.pid1 == "tini"} == {
        str(each) for each in between("0.6.0", "0.6.10")
    }
    assert {each.max_package_size for each in releases()} == {50 * 1024 * 1024}
    assert {each.init_timeout for each in releases()} == {120}
    assert (release("0.0.7").sdk_patched_below, release("0.0.8").sdk_patched_below) == ("0.0.1b70", "0.1.1")


def test_forwarded_variables() -> None:
    assert release("0.0.5").forwarded == ()
    assert set(release("0.0.8").forwarded) == {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
    assert set(release("0.6.4").forwarded) - set(release("0.6.3").forwarded) == {
        "UV_INDEX_NEXUS_USERNAME",
        "UV_INDEX_NEXUS_PASSWORD",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (ALL, ["0.5.2", "0.5.3", "0.5.4", "0.6.10"]),
        ({"requirements.txt"}, ["0.6.10"]),
        ({"pyproject.toml"}, ["0.5.4", "0.6.10"]),
        ({"pyproject.toml", "uv.lock"}, ["0.5.3", "0.5.4", "0.6.10"]),
        ({"main.py"}, []),
    ],
)
def test_distinct_branches(files: set[str], expected: list[str]) -> None:
    assert [str(each) for each in distinct_branches(files)] == expected


def test_distinct_branches_with_a_mirror() -> None:
    assert [str(each) for each in distinct_branches(ALL, Settings(mirror=MIRROR))] == [
        "0.5.3",
        "0.5.4",
        "0.6.2",
        "0.6.10",
    ]


def test_a_newer_release_has_the_newest_rules() -> None:
    newer = release("0.7.0")
    assert (newer.known, newer.date, newer.uv, newer.dify) == (False, None, None, ())
    assert install("0.7.0") == install("0.6.10")
    assert all(each.known for each in releases())
    itself = {"version", "date", "uv", "dify", "known"}
    rules = [each.name for each in fields(newer) if each.name not in itself]
    assert [getattr(newer, name) for name in rules] == [getattr(newest(), name) for name in rules]


@pytest.mark.parametrize("version", ["0.0.3", "0.5.10", "0.5.3-local", "latest", ""])
def test_an_unknown_release(version: str) -> None:
    with pytest.raises(DifyoffError) as raised:
        release(version)
    assert raised.value.diagnosis.slug == "unknown-daemon-release"
    assert raised.value.exit_code is Exit.USAGE
    assert raised.value.diagnosis.context


def test_near_matches_are_named() -> None:
    with pytest.raises(DifyoffError) as raised:
        release("0.5.3-local")
    assert "0.5.3" in raised.value.diagnosis.context[0]


@pytest.mark.parametrize(
    ("dify", "daemon"),
    [("1.13.0", "0.5.3"), ("1.13.2", "0.5.3"), ("1.10.1-fix.1", "0.4.1"), ("1.16.0", "0.6.3"), ("1.5.0", "0.1.2")],
)
def test_the_release_that_dify_ships(dify: str, daemon: str) -> None:
    assert str(release_for_dify(dify)) == daemon


@pytest.mark.parametrize("dify", ["0.15.3", "1.14.0", "9.0.0", "main"])
def test_a_dify_version_that_nobody_looked_at(dify: str) -> None:
    with pytest.raises(DifyoffError) as raised:
        release_for_dify(dify)
    assert raised.value.diagnosis.slug == "unknown-daemon-release"


def test_the_page_agrees_with_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "daemon-releases.md"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| 0.")]
    expected = [
        f"| {each} | {each.date} | {each.uv} | {', '.join(each.dify)} | `{install(str(each))}` |" for each in releases()
    ]
    assert rows == expected

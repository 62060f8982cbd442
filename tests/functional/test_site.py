"""What a site is, said once: as an option, as a variable, and in pytest."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from difyoff.cli.commands import build as build_command
from difyoff.cli.commands import verify as verify_command
from difyoff.cli.main import run
from difyoff.cli.site import SETTINGS, SITE_VARIABLES, make_site, parse_size
from difyoff.difypkg.target import TARGETS
from kit.cli import difyoff
from kit.documents import check_document
from kit.plugins import pack, write_plugin

MIB = 1 << 20
VALUES = {
    "daemon": "0.5.3 0.6.10",
    "dify": "1.13.0",
    "arch": "all",
    "target": "arm64",
    "max-size": "200M",
    "mirror": "https://mirror.example/simple",
    "ignore-lock": "1",
    "index-url": "https://index.example/simple",
    "backend": "audit",
    "image": "daemon:local",
    "pull": "never",
    "platform": "linux/arm64",
    "matrix": "true",
    "public-key": "site.public.pem",
    "allow-stand-in": "1",
    "strict": "on",
    "trust-plugin": "yes",
    "cache-dir": "/var/tmp/cache",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return pack(write_plugin(tmp_path / "plugin"), tmp_path / "tiny.difypkg")


def test_every_setting_has_a_value_here() -> None:
    assert VALUES.keys() == SETTINGS.keys()


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("command", [build_command.command, verify_command.command], ids=["build", "verify"])
def test_a_setting_is_one_option_and_one_variable(
    command: click.Command, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = SETTINGS[name]
    options = [each for each in command.params if f"--{name}" in each.opts]
    if not options:
        assert (command.name, name) in {*(("build", "backend"), ("verify", "index-url"), ("build", "public-key"))}
        return
    typed = [f"--{name}"] if setting.kind == "flag" else [f"--{name}", VALUES[name].split()[0]]
    from_option = command.make_context("x", ["P", *typed]).params[setting.parameter]
    monkeypatch.setenv(setting.variable, VALUES[name].split()[0])
    from_variable = command.make_context("x", ["P"]).params[setting.parameter]

    assert setting.variable == f"DIFYOFF_{name.upper().replace('-', '_')}"
    assert from_option == from_variable
    assert from_option not in (None, (), False)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("52428800", 50 * MIB),
        ("50M", 50 * MIB),  # as nginx and Docker read it
        ("50m", 50 * MIB),
        ("50MiB", 50 * MIB),
        ("50 MiB", 50 * MIB),
        ("60MB", 60_000_000),
        ("1G", 1 << 30),
        ("0.5G", 1 << 29),
        ("200K", 200 << 10),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "-5M", "fifty", "50 megabytes", "0", "1e9", "50MM", "inf", "\u0665M", "0.0000001"]
)
def test_what_is_not_a_size(text: str, tmp_path: Path) -> None:
    done = difyoff("build", "P", f"--max-size={text}", cwd=tmp_path)

    assert done.code == 2
    assert "is not a size" in done.stderr


@pytest.mark.parametrize("url", ["notaurl", "index.example/simple", "http:/index", "ftp://index.example", "https://"])
def test_what_is_not_an_index_is_a_wrong_use(url: str, tmp_path: Path) -> None:
    done = difyoff("build", "P", "--index-url", url, cwd=tmp_path)

    assert done.code == 2
    assert "is not a URL" in done.stderr


def test_a_target_is_known_by_its_name() -> None:
    for name, target in TARGETS.items():
        assert make_site({"target": name}).targets == (target,)
    assert make_site({"arch": "all"}).targets == tuple(TARGETS.values())
    assert make_site({}).targets == ()


WITHOUT_EFFECT = [
    (["verify", "P", "--image", "x"], "--backend docker"),
    (["verify", "P", "--pull", "never"], "--backend docker"),
    (["verify", "P", "--platform", "linux/arm64"], "--backend docker"),
    (["verify", "P", "--backend", "audit", "--image", "x"], "--backend docker"),
    (["verify", "P", "--backend", "docker", "--trust-plugin"], "--backend local"),
    (["verify", "P", "--backend", "audit", "--trust-plugin"], "--backend local"),
    (["verify", "P", "--arch", "arm64", "--target", "arm64"], "exclude each other"),
    (["build", "P", "--image", "x"], "--verify=docker"),
    (["build", "P", "--verify", "--image", "x"], "--verify=docker"),
    (["build", "P", "--pull", "never"], "--build-in docker"),
    (["build", "P", "--platform", "linux/arm64"], "--build-in docker"),
    (["build", "P", "--matrix"], "--verify"),
    (["build", "P", "--mirror", "https://mirror.example/simple"], "--verify"),
    (["build", "P", "--ignore-lock"], "--verify"),
    (["build", "P", "--build-image", "x"], "--build-in docker"),
    (["build", "--verify", "docker", "P"], "--verify=docker"),
    (["build", "P", "--verify", "audit"], "--verify=audit"),
]


@pytest.mark.parametrize(("arguments", "way"), WITHOUT_EFFECT, ids=lambda value: " ".join(value))
def test_an_option_without_effect_is_refused_with_the_way_to_say_it(
    arguments: list[str], way: str, tmp_path: Path
) -> None:
    done = difyoff(*arguments, "--json", cwd=tmp_path)

    assert done.code == 2, done.stderr
    assert done.result["diagnosis"]["slug"] == "wrong-use"
    assert way in done.stderr


def test_a_variable_is_said_for_all_commands_so_it_may_have_no_effect(package: Path, tmp_path: Path) -> None:
    site = {"DIFYOFF_IMAGE": "x", "DIFYOFF_PULL": "never", "DIFYOFF_MATRIX": "1", "DIFYOFF_BACKEND": "audit"}

    done = difyoff("verify", package, "--json", cwd=tmp_path, env=site)

    assert done.code == 1  # not an offline package: it was read, and nothing stood in the way of that
    assert done.result["report"]["scenarios"]


def test_a_variable_of_a_command_does_what_its_option_does(package: Path, tmp_path: Path) -> None:
    # DIFYOFF_BUILD_VERIFY once did nothing, and said nothing.
    env = {"DIFYOFF_BUILD_VERIFY": "abacus"}

    assert "--verify" in difyoff("build", package, cwd=tmp_path, env=env).stderr
    assert difyoff("inspect", package, cwd=tmp_path, env={"DIFYOFF_INSPECT_JSON": "1"}).document["command"] == "inspect"
    failed = difyoff("inspect", cwd=tmp_path, env={"DIFYOFF_INSPECT_JSON": "1"})
    assert (failed.code, failed.result["diagnosis"]["slug"]) == (2, "wrong-use")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("DIFYOFF_BUILD_VERIFY_BACKEND", "DIFYOFF_BACKEND"),
        ("DIFYOFF_BUILD_VERIFI", "DIFYOFF_BUILD_VERIFY"),
        ("DIFYOFF_VERIFY_DAEMON", "DIFYOFF_DAEMON"),
        ("DIFYOFF_ARHC", "DIFYOFF_ARCH"),
        ("DIFYOFF_MAXSIZE", "DIFYOFF_MAX_SIZE"),
        ("DIFYOFF_INSPECT_JSO", "DIFYOFF_INSPECT_JSON"),
        ("DIFYOFF_CACHE", "DIFYOFF_CACHE_DIR"),
    ],
)
def test_an_unknown_variable_is_told_with_the_nearest(name: str, nearest: str, package: Path, tmp_path: Path) -> None:
    done = difyoff("inspect", package, "-q", cwd=tmp_path, env={name: "1"})

    assert done.code == 0
    assert f"finding[unknown-variable]: {name} is set" in done.stderr
    assert f"Did you mean {nearest}?" in done.stderr


def test_known_variables_are_not_told(package: Path, tmp_path: Path) -> None:
    env = {SETTINGS[name].variable: value for name, value in VALUES.items() if name != "cache-dir"}

    done = difyoff("inspect", package, cwd=tmp_path, env=env | {"DIFYOFF_BUILD_SUFFIX": "-x", "DIFYOFF_TEST_X": "1"})

    assert len(SITE_VARIABLES) == len(SETTINGS)
    assert (done.code, done.stderr) == (0, "")


def test_the_help_of_a_command_names_each_option_s_variable(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("build", "verify", "inspect", "diagnose"):
        assert run([command, "--help"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert f"DIFYOFF_{command.upper()}_JSON" in text
        assert text.count("[env var: ") + text.count("; env var: ") >= text.count(" --") - text.count("=docker") - 20


@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "0<&-", "2>&- 1>&- 0<&-"])
def test_closed_streams_are_no_crash(closed: str, package: Path, tmp_path: Path) -> None:
    script = f'exec "$@" {closed}'
    argv = ["sh", "-c", script, "sh", sys.executable, "-m", "difyoff", "inspect", str(package)]

    assert subprocess.run(argv, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    assert subprocess.run([*argv[:-1], "absent"], cwd=tmp_path, capture_output=True, check=False).returncode == 4


def test_an_early_reader_does_not_change_the_verdict(package: Path, tmp_path: Path) -> None:
    script = '"$@" | true; exit ${PIPESTATUS[0]}'
    argv = ["bash", "-c", script, "bash", sys.executable, "-m", "difyoff"]

    for arguments, code in ((["inspect", package], 0), (["verify", package, "--backend=audit", "--json"], 1)):
        done = subprocess.run([*argv, *map(str, arguments)], cwd=tmp_path, capture_output=True, check=False)
        assert (done.returncode, b"Traceback" in done.stderr) == (code, False)


@pytest.mark.parametrize("after", [0.02, 0.05, 0.1, 0.2, 0.3])
def test_ctrl_c_while_starting_is_no_traceback(after: float, package: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "difyoff", "inspect", *[str(package)] * 200, "--json"]
    process = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    if process.returncode == -signal.SIGINT or "difyoff" not in err + out:
        return  # Python itself had not come to us yet
    assert "Traceback" not in err
    assert process.returncode in (0, 130)


@pytest.mark.parametrize(
    ("error", "slug", "code"),
    [(KeyboardInterrupt(), "interrupted", 130), (ZeroDivisionError("x"), "internal-error", 70)],
)
def test_whatever_ends_a_run_there_is_one_document(
    error: BaseException, slug: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("difyoff.cli.commands.inspect.open_plugin", fail)

    assert run(["inspect", "P", "--json"]) == code
    captured = capsys.readouterr()
    document = check_document(captured.out, "inspect")
    assert document["exit_code"] == code
    assert document["results"][0]["diagnosis"]["slug"] == slug
    assert "Traceback" not in captured.err

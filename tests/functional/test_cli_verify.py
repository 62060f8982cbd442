"""`difyoff verify`, `build --verify` and `diagnose`, as their users run them."""

import json
import os
import platform
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from difyoff.cli.main import run as run_here
from difyoff.difypkg.diagnosis import Exit
from difyoff.sandbox.isolation import choose_isolation
from difyoff.verify.backends import local
from kit.broken import SHELF, read, write
from kit.cli import Run, difyoff
from kit.index import Index
from kit.locks import write_lock
from kit.offline import build_offline
from kit.plugins import skeleton, write_plugin

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux can cut the network off"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the packages are for x86_64"),
    pytest.mark.skipif(choose_isolation() is None, reason="no isolation on this machine"),
]

RELEASE = "0.5.3"  # the one whose uv the tests have: it writes our locks


@pytest.fixture(scope="module")
def good(index: Index, lock_uv: Path, uv_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that installs and starts."""
    folder = tmp_path_factory.mktemp("good")
    return build_offline(folder, index, cache=_knowing(lock_uv, folder / "cache"), uv_cache=uv_cache)


def _knowing(lock_uv: Path, cache: Path) -> Path:
    release = lock_uv.parent.parent
    (cache / "uv").mkdir(parents=True)
    (cache / "uv" / release.name).symlink_to(release, target_is_directory=True)
    return cache


@pytest.fixture
def plugin(index: Index, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a plugin whose `main.py` begins with the given lines."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)

    def make(prefix: str = "") -> Path:
        folder = write_plugin(tmp_path / "tiny", files={"main.py": prefix + skeleton()["main.py"]})
        write_lock(folder, index, uv_cache)
        return folder

    return make


def _broken(name: str, good: Path, folder: Path) -> Path:
    (broken,) = (each for each in SHELF if each.name == name)
    return broken.write(good, folder)


def _verify(*arguments: str | Path, cwd: Path) -> Run:
    return difyoff("verify", "--daemon", RELEASE, *arguments, cwd=cwd)


# --- verify ----------------------------------------------------------------------------------------------------------


def test_a_good_package_is_verified(good: Path, cache: Path, tmp_path: Path) -> None:
    run = _verify(good, "--report", tmp_path / "report.json", cwd=tmp_path)
    assert run.code == 0, run.stderr
    assert run.stdout == f"{good}\n"
    assert "no network (proved)" in run.stderr
    assert "not checked:" in run.stderr
    document = json.loads((tmp_path / "report.json").read_text())
    (result,) = document["results"]
    assert (document["schema_version"], document["command"], document["exit_code"]) == (1, "verify", 0)
    assert result["report"]["verdict"] == "passed"
    audited, local = result["report"]["scenarios"]
    assert (audited["backend"], local["backend"], local["daemon"]) == ("audit", "local", RELEASE)
    assert local["isolation"]["proved"] is True
    assert {check["name"]: check["status"] for check in local["checks"]}["start"] == "passed"


def test_a_bad_one_is_refused_with_what_uv_says(good: Path, cache: Path, tmp_path: Path) -> None:
    run = _verify(_broken("wrong-python-tag", good, tmp_path), "--json", cwd=tmp_path)
    assert run.code == Exit.NO
    assert "error[wrong-python-tag]" in run.stderr
    assert "refused" in run.stderr
    assert {scenario["verdict"] for scenario in run.result["report"]["scenarios"]} == {"failed"}


def test_without_a_release_every_branch_is_run(good: Path, cache: Path, tmp_path: Path, index: Index) -> None:
    run = difyoff("verify", good, "--allow-stand-in", "--json", cwd=tmp_path, env={"UV_DEFAULT_INDEX": index.url})
    assert run.code == 0, run.stderr
    assert "the start on daemon 0.5.2, 0.5.3, 0.5.4 (amd64): the same distributions start on 0.6.10" in run.stderr
    local = [each for each in run.result["report"]["scenarios"] if each["backend"] == "local"]
    assert [each["branch"] for each in local] == ["requirements", "sync", "sync-offline", "sync-frozen"]
    starts = [check["status"] for each in local for check in each["checks"] if check["name"] == "start"]
    assert starts == ["skipped", "skipped", "skipped", "passed"]
    # The index here has no uv: the installed one stands in, which is said and was allowed.
    assert "stands in for uv" in run.stderr
    assert {finding["slug"] for each in local[:1] for finding in each["findings"]} == {"other-uv-version"}


@pytest.mark.parametrize("content", [b"", b"<html>404</html>"])
def test_what_is_no_package_is_told_in_the_document(content: bytes, cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.difypkg"
    file.write_bytes(content)
    run = _verify(file, "--json", cwd=tmp_path)
    assert run.code in (Exit.NO, Exit.NOT_A_PLUGIN)
    assert "not-a-zip" in run.stdout
    assert "Traceback" not in run.stderr


def test_of_several_the_worst_counts(good: Path, cache: Path, tmp_path: Path) -> None:
    run = _verify(good, _broken("missing-wheel", good, tmp_path), cwd=tmp_path)
    assert run.code == Exit.NO
    assert run.stdout == f"{good}\n"


def test_after_several_packages_each_is_named_with_what_became_of_it(good: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "page.difypkg").write_bytes(b"<html>")
    broken = _broken("missing-wheel", good, tmp_path)
    run = difyoff("verify", "--backend", "audit", good, broken, tmp_path / "page.difypkg", cwd=tmp_path)
    assert run.code == Exit.NOT_A_PLUGIN
    assert [" ".join(line.split()) for line in run.stderr.splitlines()[-3:]] == [
        f"verified {good.name}",
        f"refused {broken.name} missing-wheel",
        "unusable page.difypkg not-a-zip",
    ]


def test_a_report_says_when_and_where(good: Path, cache: Path, tmp_path: Path) -> None:
    run = difyoff("verify", "--backend", "audit", good, "--json", cwd=tmp_path)
    report = run.result["report"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", report["began"])
    assert report["host"]["name"] == platform.node()
    assert platform.machine() in report["host"]["system"]


def test_the_commands_shown_are_the_daemon_s_own(good: Path, cache: Path, tmp_path: Path) -> None:
    run = _verify(good, "-v", cwd=tmp_path)
    assert re.search(r"^ +\S+/uv sync --no-dev -v\b.*\(exit 0", run.stderr, re.MULTILINE)
    assert re.search(r"^ +\S+/python -m main +\(started\)", run.stderr, re.MULTILINE)
    assert "difyoff.sandbox.launcher" not in run.stderr
    assert '"namespaces"' not in run.stderr


def test_on_a_terminal_every_scenario_at_work_has_a_line(good: Path, cache: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "difyoff", "verify", "--daemon", RELEASE, str(good)]
    environment = {key: value for key, value in os.environ.items() if key != "CI"} | {"TERM": "xterm"}
    with subprocess.Popen(argv, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=theirs) as child:
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # the other end is closed
            while piece := os.read(ours, 1 << 16):
                seen += piece
    os.close(ours)
    assert child.returncode == 0
    assert re.search(rb"at work +audit", seen)
    assert re.search(rb"at work +local, daemon " + RELEASE.encode(), seen)


def test_the_sites_limit_decides_on_the_size(good: Path, cache: Path, tmp_path: Path) -> None:
    assert _verify(good, "--max-size", "50MiB", cwd=tmp_path).code == 0
    run = _verify(good, "--max-size", "1k", cwd=tmp_path)
    assert run.code == Exit.NO
    assert "error[size-limit]" in run.stderr


def test_an_unknown_release_is_told_in_the_document(good: Path, cache: Path, tmp_path: Path) -> None:
    run = difyoff("verify", good, "--daemon", "0.0.0.1", "--json", cwd=tmp_path)
    assert run.result["diagnosis"]["slug"] == "unknown-daemon-release"
    assert run.code == run.document["exit_code"] != 0


# --- build --verify --------------------------------------------------------------------------------------------------

ORDERS = [
    ["build", "--verify", "PLUGIN", "-o", "out", "--daemon", RELEASE],
    ["build", "PLUGIN", "--verify", "-o", "out", "--daemon", RELEASE],
    ["build", "-o", "out", "--daemon", RELEASE, "PLUGIN", "--verify"],
    ["build", "-o", "out", "--verify=local", "--dify", "1.13.0", "PLUGIN"],
    ["build", "-o", "out", "--daemon", RELEASE, "--verify", "--", "PLUGIN"],
]


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_verify_never_eats_the_next_word(
    order: list[str], plugin: Callable[..., Path], cache: Path, tmp_path: Path
) -> None:
    source = plugin()
    run = difyoff(*(source if word == "PLUGIN" else word for word in order), cwd=tmp_path)
    assert run.code == 0, run.stderr
    assert "no network (proved)" in run.stderr
    assert len(list((tmp_path / "out").glob("*.difypkg"))) == 1


def test_an_unknown_backend_is_a_fault_of_usage(tmp_path: Path, cache: Path) -> None:
    assert difyoff("build", "x.difypkg", "--verify=magic", cwd=tmp_path).code == Exit.USAGE


def test_a_refused_package_stays_aside(plugin: Callable[..., Path], cache: Path, tmp_path: Path) -> None:
    source = plugin("import a_module_that_is_not_there\n")
    run = difyoff("build", source, "--verify", "--daemon", RELEASE, "-o", "out", "--json", cwd=tmp_path)
    assert run.code == Exit.NO
    assert run.result["status"] == "refused"
    assert run.result["diagnosis"]["slug"] == "plugin-does-not-start"
    assert "a_module_that_is_not_there" in run.stderr
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name.rpartition(".difypkg")[2] for name in names] == [".rejected", ".rejected.json"]
    report = json.loads((tmp_path / "out" / names[1]).read_text())
    assert report["verdict"] == "failed"
    assert run.result["aside"].endswith(names[0])


def test_an_unverified_package_is_not_published(
    plugin: Callable[..., Path], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "choose_isolation", lambda: None)
    out = tmp_path / "out"
    code = run_here(["build", str(plugin()), "--verify", "--daemon", RELEASE, "-o", str(out)])
    assert code == Exit.MACHINE
    names = sorted(path.name for path in out.iterdir())
    assert [name.rpartition(".difypkg")[2] for name in names] == [".unverified", ".unverified.json"]
    assert json.loads((out / names[1]).read_text())["verdict"] == "not-verified"


def test_a_package_that_is_offline_already_is_verified_too(good: Path, cache: Path, tmp_path: Path) -> None:
    bad = write(read(good) | {"main.py": b"raise SystemExit(3)\n"}, tmp_path / "altered.difypkg")
    run = difyoff("build", bad, "--verify", "--daemon", RELEASE, "-o", "out", "--json", cwd=tmp_path)
    assert run.code == Exit.NO
    assert bad.is_file()


# --- diagnose --------------------------------------------------------------------------------------------------------

LOG = """\
plugin_daemon-1  | 2026/03/01 10:00:00 install_to_local.go:53: [ERROR]launch local plugin failed: plugin \
{identity}: failed to install dependencies: exit status 1, output: \
\u00d7 No solution found when resolving dependencies:
plugin_daemon-1  |   \u2570\u2500\u25b6 Because idna was not found in the cache and you require idna, \
we can conclude that your requirements are unsatisfiable.
"""


def test_diagnoses_a_file_and_standard_input(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_text(LOG.format(identity="difyoff/tiny:0.1.0@" + 64 * "a"))
    run = difyoff("diagnose", log, "--json", cwd=tmp_path)
    assert run.code == 0
    assert run.document["command"] == "diagnose"
    assert run.result["diagnosis"]["context"]
    assert f"error[{run.result['diagnosis']['slug']}]" in run.stderr


def test_compares_a_log_with_the_package(good: Path, tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_text(LOG.format(identity="difyoff/tiny:0.1.0@" + 64 * "a"))
    run = difyoff("diagnose", log, "--package", good, "--json", cwd=tmp_path)
    assert [finding["slug"] for finding in run.result["findings"]] == ["original-installed"]


def test_says_when_no_cause_is_found(tmp_path: Path) -> None:
    run = difyoff("diagnose", "-", cwd=tmp_path)
    assert run.code == Exit.NO
    assert "cause-not-found" in run.stderr


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    run = difyoff("diagnose", "nothing.log", "--json", cwd=tmp_path)
    assert run.code != 0
    assert "Traceback" not in run.stderr
    assert run.document["exit_code"] == run.code


def test_a_daemon_newer_than_this_difyoff_is_taken_for_the_newest_and_said_so(
    good: Path, lock_uv: Path, tmp_path: Path
) -> None:
    cache = _knowing(lock_uv, tmp_path / "cache")
    asked = ("verify", good, "--daemon", "99.0.0", "--cache-dir", cache, "--json")
    run = difyoff(*asked, cwd=tmp_path)
    assert run.code == Exit.MACHINE
    assert run.result["report"]["verdict"] == "not-verified"
    assert "rules of daemon 0.6.10 stand in for those of 99.0.0" in run.stderr
    run = difyoff(*asked, "--allow-stand-in", cwd=tmp_path)
    assert run.code == 0, run.stderr
    assert "rules of daemon 0.6.10 stand in for those of 99.0.0" in run.stderr
    assert [finding["slug"] for finding in run.result["report"]["findings"]] == ["newer-daemon"]

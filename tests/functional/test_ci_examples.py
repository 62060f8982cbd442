"""What a continuous integration runs: the steps of action.yml and of the examples, as a runner would run them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit.cli import Run
from kit.index import Index
from kit.plugins import write_plugin

ROOT = Path(__file__).parents[2]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with a `difyoff` that is this one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    file = folder / "difyoff"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m difyoff "$@"\n')
    file.chmod(0o755)
    return folder


@pytest.fixture
def plugins(tmp_path: Path, index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    return [write_plugin(tmp_path / name, name=name) for name in ("one", "two words")[:1]]


def _shell(script: str, program: Path, cwd: Path, **environment: str) -> Run:
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=cwd,
        env=os.environ | environment | {"PATH": f"{program}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return Run(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def _yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_action_builds_verifies_and_reports(plugins: list[Path], program: Path, tmp_path: Path) -> None:
    action = _yaml("action.yml")
    step = action["runs"]["steps"][1]
    inputs = {name: str(each.get("default", "")) for name, each in action["inputs"].items()}
    inputs |= {"plugins": "\n".join(map(str, plugins)) + "\n\n", "daemon": "0.5.3"}
    environment = {name: inputs[value.split("inputs.")[1].split()[0]] for name, value in step["env"].items()}
    summary = tmp_path / "summary.md"
    environment |= {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "CI": "true"}
    run = _shell(step["run"], program, tmp_path, **environment)
    assert run.code == 0, run.stderr
    written = sorted(path.name for path in (tmp_path / "packages").iterdir())
    assert written[0].endswith("-offline.difypkg")
    assert written[1:] == ["report.html", "report.json", "report.sarif", "report.xml"]
    assert "one" in summary.read_text(encoding="utf-8")
    assert "::notice title=" in run.stderr


def test_the_action_fails_with_the_package(program: Path, tmp_path: Path) -> None:
    step = _yaml("action.yml")["runs"]["steps"][1]
    environment = {"PLUGINS": "absent.difypkg", "OUTPUT": "p", "DAEMON": "", "ARCH": "amd64", "BACKEND": "local"}
    run = _shell(step["run"], program, tmp_path, SIGNING_KEY="", GITHUB_ACTIONS="true", **environment)
    assert run.code == 4, run.stderr
    assert "::error title=" in run.stderr
    assert (tmp_path / "p" / "report.xml").is_file()


def test_the_gitlab_job(plugins: list[Path], program: Path, tmp_path: Path) -> None:
    job = _yaml("examples/gitlab/.gitlab-ci.yml")["offline-packages"]
    (tmp_path / "plugins.txt").write_text("".join(f"{plugin}\n" for plugin in plugins))
    script = "\n".join(line for line in job["script"] if not line.startswith("pip install"))
    run = _shell(script, program, tmp_path, DAEMON="0.5.3")
    assert run.code == 0, run.stderr
    kept = {"packages": (tmp_path / "packages").is_dir()}
    assert kept == dict.fromkeys(job["artifacts"]["paths"], True)
    assert (tmp_path / job["artifacts"]["reports"]["junit"]).is_file()


def test_the_kubernetes_job(plugins: list[Path], program: Path, tmp_path: Path) -> None:
    (container,) = _yaml("examples/kubernetes/job.yaml")["spec"]["template"]["spec"]["containers"]
    (tmp_path / "plugins.txt").write_text("".join(f"{plugin}\n" for plugin in plugins))
    (script,) = container["args"]
    run = _shell(script.replace("/plugins/", "").replace("/packages", "packages"), program, tmp_path, DAEMON="0.5.3")
    assert run.code == 0, run.stderr
    assert list((tmp_path / "packages").glob("*.difypkg"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_that_shell(program: Path, tmp_path: Path, shell: str) -> None:
    run = _shell(f"difyoff completion {shell}", program, tmp_path)
    assert (run.code, "_DIFYOFF_COMPLETE" in run.stdout) == (0, True)
    if shell == "bash":
        asked = 'eval "$(difyoff completion bash)"; complete -p difyoff'
        assert "difyoff" in _shell(asked, program, tmp_path).stdout


def test_a_package_cannot_write_annotations(program: Path, tmp_path: Path) -> None:
    package = tmp_path / "a\n::error title=x::y.difypkg"
    package.write_bytes(b"::set-output name=x::y\n")
    run = _shell(f"difyoff verify '{package}'", program, tmp_path, GITHUB_ACTIONS="true")
    assert not [line for line in run.stderr.splitlines() if line.startswith(("::error title=x", "::set-output"))]

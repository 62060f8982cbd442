"""Wheels are judged before they go into a package, by what they say of themselves."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from difyoff.difypkg.archives import wheel as rules
from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.difypkg.target import TARGETS
from difyoff.repack.inspection import inspect_wheels
from difyoff.repack.wheels import Wheel, wheel_record
from difyoff.transfer.store import WheelStore
from kit.cli import difyoff
from kit.index import serve
from kit.packages import standard_set
from kit.plugins import write_plugin
from kit.wheels import Distribution, wheel


def planted(distribution: Distribution) -> Distribution:
    """Return a wheel with a file that its RECORD does not name."""
    content = io.BytesIO(distribution.data)
    with zipfile.ZipFile(content, "a") as opened:
        opened.writestr("planted.py", "import os\n")
    return replace(distribution, data=content.getvalue())


def stored(distribution: Distribution, store: WheelStore, folder: Path) -> Wheel:
    file = folder / distribution.filename
    file.write_bytes(distribution.data)
    return Wheel(
        name=distribution.project,
        version=distribution.version,
        filename=distribution.filename,
        sha256=store.add_file(file),
        size=len(distribution.data),
        origin="https://files.example/",
        targets=frozenset({TARGETS["amd64"]}),
    )


def test_a_wheel_that_contradicts_itself_is_not_packed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = write_plugin(tmp_path / "tiny", pyproject=None, requirements="dify_plugin\nleaky==1.0\n")
    with serve([*standard_set(), planted(wheel("leaky", "1.0"))]) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        run = difyoff("build", plugin, "-o", tmp_path / "out", "--json", cwd=tmp_path)
    assert run.code == 1, run.stderr
    (result,) = json.loads(run.stdout)["results"]
    assert result["diagnosis"]["slug"] == "untrue-wheel"
    assert "planted.py" in result["diagnosis"]["message"]
    assert not list(tmp_path.glob("out/*.difypkg"))


def test_code_that_a_wheel_runs_by_itself_is_a_finding_of_every_build(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = write_plugin(tmp_path / "tiny", pyproject=None, requirements="dify_plugin\nhooked==1.0\n")
    with serve([*standard_set(), wheel("hooked", "1.0", files={"hook.pth": "import os\n"})]) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        for out in ("cold", "warm"):
            run = difyoff("build", plugin, "-o", tmp_path / out, "--json", cwd=tmp_path)
            assert run.code == 0, run.stderr
            (result,) = json.loads(run.stdout)["results"]
            findings = {finding["slug"]: finding["message"] for finding in result["findings"]}
            assert "hook.pth runs at every start of Python" in findings["unusual-wheel"]


def test_a_wheel_is_judged_once_and_again_by_other_rules(tmp_path: Path) -> None:
    store = WheelStore(tmp_path / "store")
    seen = [stored(wheel("tiny", "1.0", files={"hook.pth": "import os\n"}), store, tmp_path)]
    _, findings = inspect_wheels(seen, store)
    store.path(seen[0].sha256).chmod(0o644)
    store.path(seen[0].sha256).write_bytes(b"not read again")

    assert inspect_wheels(seen, store)[1] == findings != ()
    store.remember(seen[0].sha256, "{")
    with pytest.raises(DifyoffError, match="cannot be trusted"):
        inspect_wheels(seen, store)
    store.remember(seen[0].sha256, '{"rules": 0}')
    with pytest.raises(DifyoffError, match="cannot be trusted"):
        inspect_wheels(seen, store)


def test_a_wheel_is_judged_anew_under_another_name(tmp_path: Path) -> None:
    store = WheelStore(tmp_path / "store")
    seen = stored(wheel("tiny", "1.0"), store, tmp_path)
    inspect_wheels([seen], store)

    with pytest.raises(DifyoffError, match="WHEEL and its file name"):
        inspect_wheels([replace(seen, filename="tiny-1.0-py2-none-any.whl")], store)


def test_a_waived_wheel_is_told_and_stands_in_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = WheelStore(tmp_path / "store")
    bad = stored(planted(wheel("tiny", "1.0")), store, tmp_path)
    known = rules.Waiver(filename=bad.filename, kinds=frozenset({"record-missing"}), why="a test")
    monkeypatch.setattr(rules, "waivers", lambda: {bad.sha256: known})

    for _ in ("new", "remembered"):
        (judged,), findings = inspect_wheels([bad], store)
        assert [finding.slug for finding in findings] == ["unusual-wheel"]
        assert wheel_record(judged).waived == ("it has files that its RECORD does not name: planted.py",)


def test_what_is_remembered_goes_with_its_wheel(tmp_path: Path) -> None:
    store = WheelStore(tmp_path / "store")
    kept, gone = (stored(wheel(name, "1.0"), store, tmp_path) for name in ("kept", "gone"))
    inspect_wheels([kept, gone], store)
    store.path(gone.sha256).unlink()

    store.prune(30)

    assert store.recall(kept.sha256) is not None
    assert store.recall(gone.sha256) is None

"""`difyoff inspect`: who a package is, what it holds, and what each daemon release would run."""

import base64
import json
import zipfile
from pathlib import Path

import pytest

from difyoff.difypkg.daemons import releases
from difyoff.difypkg.identity import IDENTIFIER_PATTERN
from kit.cli import difyoff
from kit.documents import check_document
from kit.index import Index
from kit.locks import write_lock
from kit.plugins import pack, write_plugin


def signed(signature: object, time: object) -> bytes:
    return json.dumps({"signature": signature, "time": time}).encode()


SIGNATURE = base64.b64encode(bytes(512)).decode()


def test_a_folder_and_its_package_are_the_same_plugin(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "plugin")
    package = pack(folder, tmp_path / "tiny.difypkg")

    run = difyoff("inspect", folder, package, "--json", cwd=tmp_path)

    one, two = check_document(run.stdout, "inspect")["results"]
    assert run.code == 0
    assert run.stderr == ""
    assert one["identity"] == two["identity"]
    assert IDENTIFIER_PATTERN.fullmatch(one["identity"])
    assert one["unpacked_size"] == two["unpacked_size"] == sum(file.stat().st_size for file in folder.rglob("*.*"))
    assert (one["size"], one["sha256"]) == (None, None)
    assert two["size"] == package.stat().st_size
    assert one["kinds"] == ["tools"]
    assert one["dependency_files"] == ["pyproject.toml"]
    assert one["offline"] == []
    assert one["signature"] is None


def test_every_release_has_its_plan(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "plugin", requirements="idna\n", files={"uv.lock": "version = 1\n"})

    run = difyoff("inspect", folder, "--json", cwd=tmp_path)

    plans = check_document(run.stdout, "inspect")["results"][0]["releases"]
    assert [plan["daemon"] for plan in plans] == [str(release) for release in releases()]
    by_release = {plan["daemon"]: plan for plan in plans}
    assert by_release["0.5.2"]["dependency_file"] == "requirements.txt"
    assert by_release["0.6.10"]["dependency_file"] == "pyproject.toml"
    assert "--frozen" in by_release["0.6.10"]["command"]
    assert all(plan["within_size_limit"] for plan in plans)


def test_a_release_that_finds_nothing_to_install_from_is_told(tmp_path: Path) -> None:
    run = difyoff("inspect", write_plugin(tmp_path / "plugin"), cwd=tmp_path)

    assert "nothing: it finds no dependency file" in run.stdout


def test_the_size_limit_is_told(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "plugin")
    with (folder / "model.bin").open("wb") as stream:
        stream.truncate(60 << 20)

    assert "over the default size limit" in difyoff("inspect", folder, cwd=tmp_path).stdout


def test_what_people_read(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "plugin", files={".verification.dify.json": '{"authorized_category": "partner"}'})
    package = pack(folder, tmp_path / "tiny.difypkg", comment=signed(SIGNATURE, 1_750_000_000))

    run = difyoff("inspect", package, cwd=tmp_path)

    assert run.code == 0
    assert run.stderr == ""
    for words in (
        "difyoff/tiny:0.1.0@",
        "kinds         tools",
        "4096 bits of 2025-06-15, category partner (not checked against a key)",
        "offline       no: installing it needs a package index",
        "uv sync --no-dev",
    ):
        assert words in run.stdout


@pytest.mark.parametrize("time", [-(1 << 63), (1 << 63) - 1, 1 << 40, -1])
def test_a_signature_of_an_impossible_time_is_shown(time: int, tmp_path: Path) -> None:
    package = pack(write_plugin(tmp_path / "plugin"), tmp_path / "tiny.difypkg", comment=signed(SIGNATURE, time))

    run = difyoff("inspect", package, cwd=tmp_path)

    assert run.code == 0, run.stderr
    assert "4096 bits" in run.stdout


def test_what_difyoff_made_says_what_it_was_made_from(
    index: Index, cache: Path, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    folder = write_plugin(tmp_path / "plugin")
    write_lock(folder, index, uv_cache)
    built = difyoff("build", folder, "--arch", "all", "--json", "-o", "out", cwd=tmp_path)
    (made,) = check_document(built.stdout, "build")["results"]
    package = tmp_path / made["package"]["path"]

    run = difyoff("inspect", package, "--json", "--report", "report.json", cwd=tmp_path)

    (seen,) = check_document(run.stdout, "inspect")["results"]
    assert seen["identity"] == made["package"]["identity"] != made["identity"]
    assert seen["made_from"] == made["identity"]
    assert seen["sha256"] == made["package"]["sha256"]
    assert (seen["size"], seen["unpacked_size"]) == (made["package"]["size"], made["package"]["unpacked_size"])
    assert seen["wheels"] == len(made["wheels"])
    assert [target["architecture"] for target in seen["targets"]] == ["amd64", "arm64"]
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == run.stdout
    words = difyoff("inspect", package, cwd=tmp_path).stdout
    assert f"by difyoff for amd64 and arm64, {seen['wheels']} wheels, from {made['identity']}" in words


def test_the_work_of_another_tool_is_recognised(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "plugin", requirements="--no-index --find-links=./wheels/\nidna==3.10\n")
    (folder / "wheels").mkdir()
    with zipfile.ZipFile(folder / "wheels/idna-3.10-py3-none-any.whl", "w") as wheel:
        wheel.writestr("idna.py", "")

    run = difyoff("inspect", folder, cwd=tmp_path)

    assert (
        "offline       by another tool: wheels/ holds 1 wheels; requirements.txt begins with '--no-index" in run.stdout
    )
    build = difyoff("build", folder, "--json", "-o", "out", cwd=tmp_path)
    assert build.code == 4
    assert build.result["diagnosis"]["slug"] == "already-offline"


def test_a_failure_in_between_stops_nothing(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "plugin")

    run = difyoff("inspect", folder, "absent.difypkg", folder, cwd=tmp_path)

    assert run.code == 4
    assert run.stdout.count("difyoff/tiny:0.1.0@") == 2
    assert run.stderr.startswith("error[file-not-found]: absent.difypkg")

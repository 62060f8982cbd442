"""What users do wrong or meet: a diagnosis with its exit code and one document, never a traceback."""

import glob
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from difyoff.difypkg.diagnosis import page
from kit.cli import Run, difyoff
from kit.documents import check_document
from kit.index import Index, serve
from kit.packages import standard_set
from kit.plugins import PYPROJECT, pack, skeleton, write_plugin
from kit.wheels import core_metadata, sdist, wheel


@dataclass(frozen=True)
class Fault:
    """A plugin with a fault: how to make it, in an empty folder, and the slug that names it."""

    slug: str
    make: Callable[[Path], Path]
    finding: bool = False


def folder(files: dict[str, str | bytes | None]) -> Callable[[Path], Path]:
    return lambda where: write_plugin(where / "plugin", files=files)


def package(*again: tuple[str, bytes], files: dict[str, str | bytes | None] | None = None) -> Callable[[Path], Path]:
    return lambda where: pack(write_plugin(where / "plugin", files=files), where / "tiny.difypkg", again=again)


def changed(old: bytes, new: bytes) -> Callable[[Path], Path]:
    """Change bytes of a package whose files are stored."""

    def make(where: Path) -> Path:
        made = pack(write_plugin(where / "plugin"), where / "tiny.difypkg", compression=zipfile.ZIP_STORED)
        data = made.read_bytes()
        assert old in data
        made.write_bytes(data.replace(old, new))
        return made

    return make


def text(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(where: Path) -> Path:
        (where / name).write_bytes(content)
        return where / name

    return make


def linked(link: str, to: str) -> Callable[[Path], Path]:
    def make(where: Path) -> Path:
        plugin = write_plugin(where / "plugin")
        (plugin / link).symlink_to(to)
        return plugin

    return make


def lzma(where: Path) -> Path:
    return pack(write_plugin(where / "plugin"), where / "tiny.difypkg", compression=zipfile.ZIP_LZMA)


def with_directories(where: Path) -> Path:
    return pack(write_plugin(where / "plugin"), where / "tiny.difypkg", directories=True)


MANIFEST = skeleton()["manifest.yaml"]

FAULTS = (
    Fault("file-not-found", lambda where: where / "absent.difypkg"),
    Fault("not-a-zip", text("page.difypkg", b"<!doctype html><title>Log in</title>")),
    Fault("not-a-zip", text("empty.difypkg", b"")),
    Fault("corrupt-archive", changed(b"# Tiny", b"# Tidy")),
    Fault("unsafe-path", package(("../evil", b""))),
    Fault("unsafe-path", folder({"aux.py": ""})),
    Fault("duplicate-entry", package(("main.py", b""))),
    Fault("unsupported-archive", lzma),
    Fault("zip-bomb", package(("zeros", bytes(80 << 20)))),
    Fault("not-a-plugin", folder({"manifest.yaml": None})),
    Fault("not-a-plugin", lambda where: where),
    Fault("manifest-invalid", folder({"manifest.yaml": MANIFEST.replace("author: difyoff", "author: Some One")})),
    Fault("declaration-invalid", folder({"tools/hello.yaml": "parameters: [{required: 'true'}]\n"})),
    Fault("asset-missing", folder({"_assets/icon.svg": None})),
    Fault("no-dependency-file", folder({"pyproject.toml": None})),
    Fault("text-unreadable", folder({"requirements.txt": b"caf\xe9\n"})),
    Fault("toml-unreadable", folder({"pyproject.toml": "[project\n"})),
    Fault("record-unreadable", folder({"difyoff.json": "{}"})),
    Fault("linked-folder", linked("data", "_assets")),
    Fault("directory-entry", with_directories, finding=True),
    Fault("unusual-archive", package(("m\u0430in.py", b"")), finding=True),
    Fault("not-python", folder({"package.json": "{}"}), finding=True),
    Fault("secrets-left-out", folder({".env": "KEY=1\n"}), finding=True),
    Fault("clutter-left-out", folder({"__pycache__/main.cpython-312.pyc": b"\0"}), finding=True),
    Fault("special-file-left-out", linked("dangling", "nowhere"), finding=True),
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.slug)
def test_a_faulty_plugin_is_named(fault: Fault, tmp_path: Path) -> None:
    where = tmp_path / "made"
    where.mkdir()

    run = difyoff("inspect", fault.make(where), "--json", cwd=tmp_path)

    document = check_document(run.stdout, "inspect")
    (result,) = document["results"]
    slugs = [finding["slug"] for finding in result["findings"]]
    if fault.finding:
        assert fault.slug in slugs
        assert run.code == 0
        assert f"finding[{fault.slug}]: " in run.stderr
    else:
        assert result["diagnosis"]["slug"] == fault.slug
        assert run.code == page(fault.slug).exit_code
        assert run.stderr.startswith(f"error[{fault.slug}]: ")
    assert run.code == result["exit_code"] == document["exit_code"]
    assert "Traceback" not in run.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "plugin")
    (plugin / "main.py").chmod(0)

    run = difyoff("inspect", plugin, cwd=tmp_path)

    assert run.code == page("file-not-readable").exit_code
    assert run.stderr.startswith("error[file-not-readable]: ")


def test_a_folder_that_is_named_as_a_package(tmp_path: Path) -> None:
    (tmp_path / "x.difypkg").mkdir()

    assert "error[not-a-plugin]" in difyoff("build", "x.difypkg", cwd=tmp_path).stderr


def test_a_name_of_a_hostile_archive_does_not_steer_the_terminal(tmp_path: Path) -> None:
    made = pack(write_plugin(tmp_path / "plugin"), tmp_path / "tiny.difypkg", again=[("../\x1b[2Jx\x07", b"")])

    run = difyoff("inspect", made, cwd=tmp_path, env={"FORCE_COLOR": "1"})

    assert "unsafe-path" in run.stderr
    assert "\x1b[2J" not in run.stderr
    assert "\x07" not in run.stderr


def test_a_command_that_is_nearly_one_is_told_with_it(tmp_path: Path) -> None:
    run = difyoff("biuld", "x", cwd=tmp_path)
    assert (run.code, "Did you mean build?" in run.stderr) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["build"],
        ["build", "--no-such-option", "x"],
        ["build", "--arch", "riscv64", "x"],
        ["build", "--max-size", "big", "x"],
        ["inspect"],
        ["explain", "a", "b"],
        ["verify", "--backend", "cloud", "x"],
    ],
    ids=" ".join,
)
def test_a_wrong_use_is_told_with_the_way_to_the_help(words: list[str], tmp_path: Path) -> None:
    run = difyoff(*words, cwd=tmp_path)

    assert run.code == page("wrong-use").exit_code == 2
    assert run.stdout == ""
    assert "Usage: difyoff" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("command", ["build", "inspect", "verify"])
def test_a_wrong_use_gives_a_document_too_where_one_is_asked_for(command: str, tmp_path: Path) -> None:
    run = difyoff(command, "--json", "--no-such-option", cwd=tmp_path)

    document = check_document(run.stdout, command)
    assert document["exit_code"] == run.code == 2
    assert document["results"][0]["diagnosis"]["slug"] == "wrong-use"


def test_an_unknown_daemon_release(tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "plugin")

    run = difyoff("build", plugin, "--daemon", "newest", "--json", cwd=tmp_path)

    assert run.code == page("unknown-daemon-release").exit_code
    assert check_document(run.stdout, "build")["results"][0]["diagnosis"]["slug"] == "unknown-daemon-release"


def test_a_damaged_target_file(tmp_path: Path) -> None:
    (tmp_path / "target.json").write_text("{}", encoding="utf-8")

    run = difyoff("target", "show", "target.json", cwd=tmp_path)

    assert run.code == page("target-unreadable").exit_code
    assert run.stderr.startswith("error[target-unreadable]: ")


# --- What goes wrong while building ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    """The standard index, and distributions that bring faults."""
    gcc = "error: command 'gcc' failed: No such file or directory"
    with serve(standard_set()) as served:
        url = f"http://{served.address}/files/sixfold/sixfold-1.0.0-py3-none-any.whl"
        served.distributions += [
            sdist("nocompiler", "1.0.0", backend=f'def build_wheel(*args):\n    raise SystemExit("{gcc}")\n'),
            wheel("pointer", "1.0.0", requires=[f"sixfold @ {url}"]),
            replace(wheel("liar", "1.0.0", requires=["idna==1"]), metadata=core_metadata("liar", "1.0.0")),
        ]
        yield served


@pytest.fixture
def build(index: Index, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Build plugins by the command line, from the index."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    return lambda *words: difyoff("build", "--json", "-o", tmp_path / "out", *words, cwd=tmp_path)


def slug_of(run: Run) -> str:
    (result,) = check_document(run.stdout, "build")["results"]
    assert result["status"] == "failed", run.stderr
    assert "Traceback" not in run.stderr
    slug = str(result["diagnosis"]["slug"])
    assert run.code == page(slug).exit_code
    return slug


@pytest.mark.parametrize(
    ("requirement", "slug"),
    [
        ("idna==99", "unsatisfiable"),
        ("no-such-distribution", "unsatisfiable"),
        ("idna === = 1", "resolution-failed"),
        ("nocompiler", "no-compiler"),
        ("pointer @ @FILES@/pointer/pointer-1.0.0-py3-none-any.whl", "transitive-direct-reference"),
        ("gone @ git+file:///nowhere/at/all", "git-source-unreachable"),
    ],
)
def test_requirements_that_cannot_be_had(
    requirement: str, slug: str, index: Index, build: Callable[..., Run], tmp_path: Path
) -> None:
    if slug.startswith("git") and shutil.which("git") is None:
        pytest.skip("this machine has no git")
    plugin = write_plugin(tmp_path / "plugin", pyproject=None, requirements=f"dify_plugin\n{requirement}\n")
    requirements = plugin / "requirements.txt"
    requirements.write_text(requirements.read_text().replace("@FILES@", f"http://{index.address}/files"))

    assert slug_of(build(plugin)) == slug
    assert not list(tmp_path.glob("out/*"))


def test_a_wheel_that_wants_something_else_than_its_index_says(build: Callable[..., Run], tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "plugin", pyproject=PYPROJECT.replace('",\n]', '", "liar", "idna",\n]', 1))

    assert slug_of(build(plugin)) == "relock-failed"


def test_another_package_of_that_name_is_not_replaced(build: Callable[..., Run], tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "plugin", pyproject=None, requirements="dify_plugin\n")
    first = build(plugin)
    made = Path(check_document(first.stdout, "build")["results"][0]["package"]["path"])
    bytes_before = made.read_bytes()

    assert build(plugin).result["status"] == "up to date"
    (plugin / "README.md").write_text("# Changed\n", encoding="utf-8")
    assert slug_of(build(plugin)) == "output-exists"
    assert made.read_bytes() == bytes_before
    assert build(plugin, "--force").result["status"] == "written"
    assert made.read_bytes() != bytes_before
    assert list((tmp_path / "out").iterdir()) == [made]


def test_an_output_folder_that_cannot_be(build: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    plugin = write_plugin(tmp_path / "plugin", pyproject=None, requirements="dify_plugin\n")

    assert slug_of(build(plugin, "-o", tmp_path / "file/out")) == "output-not-writable"


def test_of_several_plugins_the_others_are_built_and_the_worst_code_counts(
    build: Callable[..., Run], tmp_path: Path
) -> None:
    one = write_plugin(tmp_path / "one", name="one", pyproject=None, requirements="dify_plugin\n")
    broken = write_plugin(tmp_path / "broken", name="broken", pyproject=PYPROJECT.replace("]", "", 1))
    impossible = write_plugin(tmp_path / "impossible", name="im", pyproject=None, requirements="idna==99\n")
    two = write_plugin(tmp_path / "two", name="two", pyproject=None, requirements="dify_plugin\n")

    run = build(one, broken, tmp_path / "absent.difypkg", impossible, two, "--report", tmp_path / "deep/report.json")

    document = check_document(run.stdout, "build")
    assert [result["status"] for result in document["results"]] == ["written", "failed", "failed", "failed", "written"]
    assert run.code == document["exit_code"] == 4
    assert (tmp_path / "deep/report.json").read_text(encoding="utf-8") == run.stdout
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep/report.json"]


def test_paths_alone_are_data(build: Callable[..., Run], tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "plugin", pyproject=None, requirements="dify_plugin\n")

    run = difyoff("build", plugin, "-q", "-o", "out", cwd=tmp_path)

    assert run.code == 0
    assert [(tmp_path / line).is_file() for line in run.stdout.splitlines()] == [True]


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    plugin = write_plugin(tmp_path / "plugin")

    run = difyoff("inspect", plugin, "--report", "file/report.json", cwd=tmp_path)

    assert run.code == page("output-not-writable").exit_code
    assert "error[output-not-writable]: file/report.json" in run.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_a_build_with_nothing_left(
    index: Index, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    plugin = write_plugin(tmp_path / "plugin", pyproject=None, requirements="dify_plugin\nslow\n")
    wait = "import pathlib, time\npathlib.Path('started').touch()\ntime.sleep(600)\n"  # beside itself: it is isolated
    index.distributions.append(sdist("slow", "1.0.0", backend=wait))
    process = subprocess.Popen(
        [sys.executable, "-m", "difyoff", "build", str(plugin), "-o", "out"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not glob.glob(f"{cache}/**/started", recursive=True) and process.poll() is None:  # noqa: PTH207
        time.sleep(0.05)

    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert not list(tmp_path.glob("out/*"))
    assert not list(cache.glob("runs/*"))

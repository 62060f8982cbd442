"""`build --build-in docker`: what exists as source only is built in the image, on a network of the build's own."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound

from difyoff.sandbox.leftovers import RUN, is_leftover, labels
from kit import engine
from kit.cli import Run, difyoff
from kit.elf import shared_object
from kit.index import Index, serve
from kit.packages import standard_set
from kit.plugins import write_plugin
from kit.wheels import BACKEND, Distribution, sdist, wheel

# Says in the wheel what it sees while it builds, and names the wheel as one of compiled code is named.
_TELLING = f"""\
import importlib.util, json, os, pathlib
BACKEND = {BACKEND!r}
exec(BACKEND)
NATIVE = True
_build = build_wheel

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    seen = {{
        "app": os.path.isdir("/app"),
        "tool": importlib.util.find_spec("buildtool") is not None,
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "secrets": [name for name in os.environ if "INDEX" in name or "PASSWORD" in name],
    }}
    module = next(pathlib.Path().glob("*/__init__.py"))
    module.write_text("SEEN = " + repr(json.dumps(seen)))
    return _build(wheel_directory)
"""


@pytest.fixture(scope="module")
def sources() -> Iterator[Index]:
    """The standard index, and sources that need an image to be built in."""
    telling = _requiring(sdist("telling", "1.0", backend=_TELLING), "buildtool")
    helpless = _requiring(sdist("helpless", "1.0"), "wikipedia")
    tool = wheel("buildtool", "1.0", requires=["idna"])
    with serve([*standard_set(), telling, helpless, tool]) as served:
        yield served


@pytest.fixture
def build(
    daemon_image: str, sources: Index, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Run]:
    """Build a plugin that requires what is named, in the daemon's image."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", sources.url)

    def run(requirement: str, *words: str | Path) -> Run:
        plugin = write_plugin(tmp_path / "tiny", pyproject=None, requirements=f"dify_plugin\n{requirement}\n")
        arguments = ("--json", "--force", "--pull", "never", "-o", tmp_path / "out", *words)
        return difyoff("build", plugin, "--build-in", "docker", "--build-image", daemon_image, *arguments, cwd=tmp_path)

    return run


@pytest.fixture
def foreign() -> Iterator[str]:
    """The architecture of `difyoff/foreign:test`, an image whose programs this machine cannot run."""
    engine.need_engine()
    architecture, machine = ("arm64", "aarch64") if os.uname().machine == "x86_64" else ("amd64", "x86_64")
    layer = _tar({"bin/bash": shared_object(machine, ["GLIBC_2.17"])})
    layers = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}
    config = {"architecture": architecture, "os": "linux", "config": {}, "rootfs": layers}
    manifest = [{"Config": "config.json", "RepoTags": ["difyoff/foreign:test"], "Layers": ["layer.tar"]}]
    files = {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    with engine.engine() as client:
        client.images.load(_tar({**files, "layer.tar": layer}))
        yield architecture
        client.images.remove("difyoff/foreign:test")


def _tar(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def _requiring(source: Distribution, requirement: str) -> Distribution:
    """Return a source that is built with the help of a distribution."""
    changed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(source.data)) as old,
        tarfile.open(fileobj=changed, mode="w") as new,
    ):
        for member in old:
            content = old.extractfile(member).read()  # type: ignore[union-attr]
            content = content.replace(b"requires = []", f'requires = ["{requirement}"]'.encode())
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    return replace(source, data=gzip.compress(changed.getvalue(), mtime=0))


def _wheel(run: Run, name: str) -> Any:
    assert run.code == 0, run.stderr
    return next(each for each in run.result["wheels"] if each["name"] == name)


def _slug(run: Run) -> str:
    return str(run.result["diagnosis"]["slug"])


def _digest(reference: str) -> str:
    with engine.engine() as client:
        image = client.images.get(reference)
    digests = [entry.partition("@")[2] for entry in image.attrs.get("RepoDigests") or []]
    return str(next(iter(digests), image.id))


def _left() -> list[str]:
    """Return what builds that have ended left in the engine; other tests' builds may be running."""
    with engine.engine() as client:
        containers = client.containers.list(all=True, filters={"label": RUN}, ignore_removed=True)
        networks = client.networks.list(filters={"label": RUN, "name": "difyoff-build-"})
    building = [one for one in containers if one.attrs["HostConfig"]["NetworkMode"] != "none"]
    owned = [(one.name, one.labels) for one in building] + [(one.name, one.attrs["Labels"]) for one in networks]
    return [str(name) for name, found in owned if is_leftover(found)]


def test_a_source_is_built_in_the_image_and_the_record_says_so(
    build: Callable[..., Run], daemon_image: str, tmp_path: Path
) -> None:
    run = build("wikipedia")
    built = _wheel(run, "wikipedia")["built"]
    assert built["image"] == _digest(daemon_image)
    with zipfile.ZipFile(run.result["package"]["path"]) as package:
        record = json.loads(package.read("difyoff.json"))
    (recorded,) = (each["built"] for each in record["wheels"] if each["filename"].startswith("wikipedia"))
    assert recorded == built
    assert _left() == []


def test_compiled_code_is_the_images(build: Callable[..., Run]) -> None:
    run = build("telling")
    built = _wheel(run, "telling")
    assert built["filename"].startswith("telling-1.0-cp312-cp312-linux_")
    with (
        zipfile.ZipFile(run.result["package"]["path"]) as package,
        package.open(f"wheels/{built['filename']}") as file,
        zipfile.ZipFile(file) as opened,
    ):
        namespace: dict[str, str] = {}
        exec(opened.read("telling/__init__.py"), namespace)
    seen = json.loads(namespace["SEEN"])
    assert seen == {"app": True, "tool": True, "interfaces": ["eth0", "lo"], "secrets": []}
    assert built["built"]["requirements"] == ["buildtool==1.0", "idna==3.20"]


def test_what_was_built_in_the_image_passes_the_sealed_proof(build: Callable[..., Run], daemon_image: str) -> None:
    run = build("telling", "--daemon", "0.6.10", "--verify=docker", "--image", daemon_image)
    assert _wheel(run, "telling")["built"]["image"] == _digest(daemon_image)
    assert run.result["verification"]["verdict"] == "passed"


def test_what_a_build_needs_is_carried_in_as_wheels_only(build: Callable[..., Run]) -> None:
    run = build("helpless")
    assert (run.code, _slug(run)) == (1, "source-build-failed")
    assert "wikipedia" in "\n".join(run.result["diagnosis"]["context"])


def test_the_record_never_has_the_wheel_of_another_image(
    build: Callable[..., Run], daemon_image: str, image_with_double: str
) -> None:
    images = [
        _wheel(build("wikipedia", *words), "wikipedia")["built"]["image"]
        for words in ((), ("--build-image", image_with_double))
    ]
    assert images == [_digest(daemon_image), _digest(image_with_double)]


def test_without_a_compiler_inside_it_is_said(build: Callable[..., Run], daemon_image: str) -> None:
    if engine.REAL_IMAGE is not None:
        pytest.skip("the real image has a compiler")
    run = build("crcmod")
    assert (run.code, _slug(run)) == (5, "no-compiler")
    assert daemon_image in run.result["diagnosis"]["message"]
    assert _left() == []


def test_a_build_that_fails_is_told_in_its_own_words(build: Callable[..., Run]) -> None:
    run = build("wontbuild")
    assert (run.code, _slug(run)) == (1, "source-build-failed")
    assert "this backend gives up" in "\n".join(run.result["diagnosis"]["context"])
    assert _left() == []


def test_another_architecture_than_the_images_is_refused(build: Callable[..., Run]) -> None:
    run = build("wikipedia", "--arch", "arm64", "--platform", "linux/arm64")
    assert (run.code, _slug(run)) == (5, "image-wrong-architecture")


def test_a_machine_that_cannot_run_the_image_is_told(build: Callable[..., Run], foreign: str) -> None:
    run = build("wikipedia", "--arch", foreign, "--build-image", "difyoff/foreign:test")
    assert (run.code, _slug(run)) == (5, "image-wrong-architecture")
    assert _left() == []


def test_gc_removes_the_networks_of_the_dead(tmp_path: Path) -> None:
    engine.need_engine()
    dead = dict(labels(os.getpid())) | {"io.difyoff.process": f"{os.getpid()} 1"}
    with engine.engine() as client:
        networks = {
            "dead": client.networks.create("difyoff-test-dead", labels=dead),
            "living": client.networks.create("difyoff-test-living", labels=dict(labels(os.getpid()))),
            "another's": client.networks.create("difyoff-test-other"),
        }
        try:
            assert difyoff("cache", "gc", "--cache-dir", tmp_path / "cache", cwd=tmp_path).code == 0
            there = {network.id for network in client.networks.list()}
            assert [name for name, network in networks.items() if network.id in there] == ["living", "another's"]
        finally:
            for network in networks.values():
                with suppress(NotFound):
                    network.remove()


def test_nothing_to_build_asks_no_engine(build: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    assert build("idna").code == 0


def test_an_image_without_a_build_in_it_is_a_wrong_use(tmp_path: Path) -> None:
    assert difyoff("build", "--build-image", "image.example/x", "plugin", cwd=tmp_path).code == 2

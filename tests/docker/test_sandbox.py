"""The container itself: cut off, fed, limited, and gone afterwards."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest
from docker.errors import NotFound
from docker.models.containers import Container
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from difyoff.difypkg.daemons import Step
from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.sandbox import container, output, proof
from difyoff.sandbox.engine import DaemonImage, connect, find_image
from difyoff.sandbox.leftovers import RUN, labels, remove_leftovers
from difyoff.verify.backends.docker import sandbox
from difyoff.verify.backends.docker.sandbox import DaemonSandbox
from difyoff.verify.package import open_package
from kit import engine
from kit.cli import difyoff

_LIFE = 300
_ENTER = """\
import sys
from difyoff.sandbox.engine import connect, find_image
from difyoff.verify.backends.docker.sandbox import DaemonSandbox
with connect() as client:
    image = find_image(client, sys.argv[1], pull="never", platform=None)
with DaemonSandbox(image, life=300) as box:
    print(box.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def image(daemon_image: str) -> DaemonImage:
    with connect() as client:
        return find_image(client, daemon_image, pull="never", platform=None)


@pytest.fixture(scope="module")
def box(image: DaemonImage) -> Iterator[DaemonSandbox]:
    with DaemonSandbox(image, life=_LIFE) as entered:
        yield entered


def _step(
    *argv: str, environment: dict[str, str] | None = None, silence: int | None = None, total: int | None = 60
) -> Step:
    return Step(
        kind="install",
        argv=argv,
        cwd=PurePosixPath("/app"),
        environment=environment or {},
        inherits=environment is None,
        silence=silence,
        total=total,
    )


def _is_there(name: str) -> bool:
    with engine.engine() as client:
        try:
            client.containers.get(name)
        except NotFound:
            return False
        return True


def test_a_container_has_no_network_and_proves_it(box: DaemonSandbox) -> None:
    assert box.isolation.proved
    assert "engine: network mode none" in box.isolation.evidence
    assert "interfaces: lo" in box.isolation.evidence


def test_a_container_is_held_short(box: DaemonSandbox) -> None:
    with engine.engine() as client:
        host = client.containers.get(box.name).attrs["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["PidsLimit"] > 0
    assert host["Memory"] > 0
    assert host["Binds"] is None
    assert not host["Privileged"]


def test_a_step_gets_exactly_its_environment(box: DaemonSandbox) -> None:
    outcome = box.run(_step("/usr/bin/env", environment={"VIRTUAL_ENV": "/x y", "PATH": "/usr/bin"}))
    assert sorted(outcome.stdout.splitlines()) == ["PATH=/usr/bin", "VIRTUAL_ENV=/x y"]


def test_a_step_that_inherits_has_the_image_s(box: DaemonSandbox) -> None:
    assert "UV_PATH=" in box.run(_step("/usr/bin/env")).stdout


def test_streams_and_exit_codes_are_told_apart(box: DaemonSandbox) -> None:
    outcome = box.run(_step("sh", "-c", "echo out; echo err >&2; exit 3"))
    assert (outcome.code, outcome.stdout, outcome.stderr, outcome.stopped) == (3, "out\n", "err\n", None)


def test_a_step_ends_at_its_limit(box: DaemonSandbox) -> None:
    assert box.run(_step("sleep", "100", total=1)).stopped == "timeout"


def test_a_step_ends_at_its_silence(box: DaemonSandbox) -> None:
    outcome = box.run(_step("sh", "-c", "echo once; sleep 100", silence=1))
    assert (outcome.stopped, outcome.stdout) == ("silence", "once\n")


def test_output_is_kept_at_both_ends_only(box: DaemonSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LIMIT", 4096)
    outcome = box.run(_step("sh", "-c", "echo first; yes | head -c 1000000; echo last"))
    assert outcome.stdout.startswith("first\n")
    assert outcome.stdout.endswith("last\n")
    assert len(outcome.stdout) < 8192


def test_a_package_is_put_in_as_the_daemon_extracts_it(image: DaemonImage, good: Path, tmp_path: Path) -> None:
    with open_package(good) as package, DaemonSandbox(image, life=_LIFE) as own:
        package.extract(tmp_path / "tree")
        own.put(package, tmp_path / "tree")
        seen = own.look(own.home / "none")
        listed = own.run(_step("find", str(own.layout.plugin), "-type", "f", "-printf", "%P %m %U\n")).stdout
    assert set(seen.files) == set(package.digests)
    assert {path: seen.files[path] for path in ("main.py", "uv.lock")} == {
        path: package.digests[path] for path in ("main.py", "uv.lock")
    }
    assert sorted(listed.splitlines()) == sorted(f"{path} 644 0" for path in package.digests)
    assert seen.strays == []


def test_the_first_process_is_not_a_plugin_s_parent(box: DaemonSandbox) -> None:
    assert box.run(_step("sh", "-c", "echo $PPID")).stdout.strip() != "1"


def test_memory_that_runs_out_is_not_the_package_s_fault(image: DaemonImage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_MEMORY", "64m")
    with DaemonSandbox(image, life=_LIFE) as own, pytest.raises(DifyoffError) as caught:
        own.run(_step("python3.12", "-c", "b'x' * (400 << 20)"))
    assert caught.value.diagnosis.slug == "out-of-memory"


def test_a_container_that_is_taken_away_is_told(image: DaemonImage) -> None:
    def take_away(own: DaemonSandbox) -> None:
        with engine.engine() as client, own.start(_step("sleep", "100")) as process:
            client.containers.get(own.name).remove(force=True)
            assert list(process.lines(timeout=60)) == []

    with DaemonSandbox(image, life=_LIFE) as own, pytest.raises(DifyoffError) as caught:
        take_away(own)
    assert caught.value.diagnosis.slug == "container-ended"


def test_nothing_is_left_after_use(image: DaemonImage) -> None:
    with DaemonSandbox(image, life=_LIFE) as own:
        name = own.name
        assert _is_there(name)
    assert not _is_there(name)


def test_it_is_removed_when_the_test_of_its_isolation_fails(
    image: DaemonImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = DaemonSandbox(image, life=_LIFE)
    monkeypatch.setattr(container.Container, "prove_isolation", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), own:
        pass
    assert not _is_there(own.name)


# --- The traps -------------------------------------------------------------------------------------------------------


def test_a_process_s_own_containers_are_left_their_settings(
    image: DaemonImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = os.environ.get("DOCKER_HOST")
    monkeypatch.setattr(testcontainers_config, "hub_image_name_prefix", "mirror.example/")
    before = testcontainers_config.ryuk_disabled
    with DaemonSandbox(image, life=_LIFE):
        assert testcontainers_config.ryuk_disabled == before
        assert os.environ.get("DOCKER_HOST") == host


@pytest.fixture
def bridge() -> Iterator[str]:
    """A network with a way out of the container, though not out of this machine."""
    engine.need_engine()
    with engine.engine() as client:
        network = client.networks.create("difyoff-test-bridge", driver="bridge", check_duplicate=True)
        yield str(network.name)
        network.remove()


def _refused(image: DaemonImage) -> str:
    with pytest.raises(DifyoffError) as caught, DaemonSandbox(image, life=_LIFE):
        pass
    assert caught.value.diagnosis.slug == "network-not-isolated"
    return "\n".join(caught.value.diagnosis.context)


def test_an_attached_network_is_noticed(image: DaemonImage, bridge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = DockerContainer.with_kwargs
    monkeypatch.setattr(
        DockerContainer, "with_kwargs", lambda self, **kwargs: honest(self, **(kwargs | {"network": bridge}))
    )
    assert f"network mode '{bridge}'" in _refused(image)


def test_a_second_with_kwargs_is_noticed(image: DaemonImage, bridge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call throws the first away; where we run in a container ourselves, the outer network is joined."""
    honest, start = DockerContainer.with_kwargs, DockerContainer.start
    monkeypatch.setattr("testcontainers.core.docker_client.get_docker_host", lambda: None)
    monkeypatch.setattr("testcontainers.core.docker_client.DockerClient.find_host_network", lambda _: bridge)
    kept = {"entrypoint": ["bash"], "stdin_open": True, "auto_remove": True}
    monkeypatch.setattr(DockerContainer, "start", lambda self: start(honest(self, **kept)))
    if not os.environ.get("DOCKER_HOST"):
        assert f"network mode '{bridge}'" in _refused(image)
    else:  # the client is made where the variable says, before the network is looked for
        assert "network mode" in _refused(image)


def test_an_engine_that_reports_another_mode_is_not_believed(
    image: DaemonImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Container.reload

    def lying(container: Container) -> None:
        honest(container)
        container.attrs["HostConfig"]["NetworkMode"] = "default"

    monkeypatch.setattr(Container, "reload", lying)
    assert "network mode 'default'" in _refused(image)


def test_a_network_that_only_the_canary_sees_is_noticed(image: DaemonImage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_NAME", "localhost")  # resolves without any network
    assert "localhost resolves" in _refused(image)


# --- Killed ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def orphan(image: DaemonImage) -> str:
    """The container of a difyoff that is killed while it verifies."""
    with subprocess.Popen(
        [sys.executable, "-c", _ENTER, image.reference], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert _is_there(name)
        process.kill()
    return name


def test_a_container_ends_by_itself_when_difyoff_is_killed(orphan: str) -> None:
    with engine.engine() as client, suppress(NotFound):
        client.containers.get(orphan).wait(condition="removed", timeout=60)
    assert not _is_there(orphan)


@pytest.fixture
def bystander(image: DaemonImage) -> Iterator[str]:
    with engine.engine() as client:
        container = client.containers.create(image.id, command=["true"], network_mode="none", labels={"owner": "else"})
        yield str(container.name)
        container.remove(force=True)


def _abandoned(image: DaemonImage, changes: dict[str, str]) -> str:
    own = dict(labels(os.getpid())) | changes
    with engine.engine() as client:
        return str(client.containers.create(image.id, command=["true"], network_mode="none", labels=own).name)


def test_gc_removes_ours_whose_owner_is_gone_and_nothing_else(
    image: DaemonImage, box: DaemonSandbox, bystander: str, tmp_path: Path
) -> None:
    dead = _abandoned(image, {"io.difyoff.process": f"{os.getpid()} 1"})
    before_boot = _abandoned(image, {"io.difyoff.boot": "another"})
    elsewhere = _abandoned(image, {"io.difyoff.host": "another.example", "io.difyoff.process": "1 1"})
    try:
        done = difyoff("cache", "gc", "--cache-dir", tmp_path / "cache", cwd=tmp_path)
        assert done.code == 0
        assert [name for name in (dead, before_boot, elsewhere, box.name, bystander) if _is_there(name)] == [
            elsewhere,
            box.name,
            bystander,
        ]
    finally:
        with engine.engine() as client:
            client.containers.get(elsewhere).remove()


def test_ours_are_known_by_label(box: DaemonSandbox) -> None:
    with engine.engine() as client:
        names = [container.name for container in client.containers.list(filters={"label": RUN})]
    assert box.name in names
    assert box.name not in remove_leftovers()


# --- What the engine refuses -----------------------------------------------------------------------------------------


def test_no_engine_is_told(tmp_path: Path) -> None:
    done = difyoff("target", "probe", "any", cwd=tmp_path, env={"DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"})
    assert done.code == 5
    assert "error[docker-unavailable]" in done.stderr


def test_an_image_that_is_absent_is_not_pulled(daemon_image: str, tmp_path: Path) -> None:
    done = difyoff("target", "probe", "--pull=never", "image.example/none:1", cwd=tmp_path)
    assert done.code == 5
    assert "error[image-absent]" in done.stderr


def test_an_image_that_no_registry_gives_is_told(daemon_image: str, tmp_path: Path) -> None:
    done = difyoff("target", "probe", "--pull=always", "image.example/none:1", cwd=tmp_path)
    assert done.code == 6
    assert "error[image-not-pulled]" in done.stderr


def test_an_image_of_another_architecture_is_told(daemon_image: str, tmp_path: Path) -> None:
    done = difyoff("target", "probe", "--platform=linux/s390x", "--pull=never", daemon_image, cwd=tmp_path)
    assert done.code == 5
    assert "error[image-wrong-architecture]" in done.stderr


def test_an_image_without_uv_is_unusable(daemon_image: str, tmp_path: Path) -> None:
    with engine.engine() as client:
        container = client.containers.create(daemon_image, network_mode="none")
        container.commit("difyoff/test", "without-uv", changes=["ENV UV_PATH=/not/there"])
        container.remove()
    try:
        done = difyoff("target", "probe", "difyoff/test:without-uv", cwd=tmp_path)
    finally:
        with engine.engine() as client:
            client.images.remove("difyoff/test:without-uv")
    assert done.code == 5
    assert "error[image-unusable]" in done.stderr
    assert "/not/there" in done.stderr


def test_a_target_is_read_off_an_image(daemon_image: str, tmp_path: Path) -> None:
    probed = difyoff("target", "probe", daemon_image, "-o", "site.json", cwd=tmp_path)
    assert (probed.code, probed.stdout) == (0, "site.json\n"), probed.stderr
    shown = difyoff("target", "show", "site.json", "--json", cwd=tmp_path)
    target = json.loads(shown.stdout)
    assert target["image"] == daemon_image
    assert target["digest"].startswith("sha256:")
    assert "libc.so.6" in target["libraries"]
    assert {"sh", "bash", "python3.12"} <= set(target["programs"])
    assert "libmagic.so.1" not in target["libraries"]
    assert target["markers"]["python_full_version"] == target["python"]
    major, minor = target["glibc"]
    assert f"cp312-cp312-manylinux_{major}_{minor}_{target['markers']['platform_machine']}" in target["tags"]

"""One program in a container of an image: files in, one folder out, and nothing left behind."""

import os
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from secrets import token_hex
from time import monotonic
from typing import IO, Final

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.models.networks import Network

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from .engine import DaemonImage, connect, told
from .leftovers import labels
from .process import Outcome

_TIMED_OUT: Final = 124  # what timeout(1) ends with
_GRACE: Final = 10  # seconds between TERM and KILL
_LINES: Final = 1000  # of the output, the last ones
_OTHER_MACHINE: Final = re.compile(r"exec format error", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to run in an image, as root without capabilities.

    `folder` is copied to `/PREFIX`, its modes and links kept; the regular files in `output`, a path inside, are what
    the job is for. `limit` is in seconds. `platform` is Docker's (`linux/arm64`), None for the engine's own.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    prefix: PurePosixPath
    cwd: PurePosixPath
    output: PurePosixPath
    limit: int
    platform: str | None = None


def run_job(image: DaemonImage, job: Job, *, into: Path) -> Outcome:
    """Run a job in a container on a network of its own, and copy what it leaves in its output folder to `into`.

    Container and network go when it ends. Killed with -9 we leave a container that its own time limit ends and `cache
    gc` removes. Raises `DifyoffError`: `image-wrong-architecture`, or what `told` raises.
    """
    with connect() as client, _network(client) as network, told(f"a container of {image.reference}"):
        container = client.containers.create(
            image.id,
            list(job.argv),
            # coreutils' own limit: it holds, too, when nobody waits for the end any more.
            entrypoint=["timeout", "-k", str(_GRACE), str(job.limit)],
            environment=dict(job.environment),
            working_dir=str(job.cwd),
            network=network.id,
            labels=dict(labels(os.getpid())),
            user="0:0",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            platform=job.platform,
        )
        try:
            with tempfile.TemporaryFile(dir=job.folder.parent) as archive:
                _pack(job, archive)
                container.put_archive("/", archive)
            outcome = _run(container, job.limit)
            _refuse_other_machine(image, outcome)
            if outcome.ok:
                _copy_out(container, job.output, into)
        finally:
            with suppress(APIError):
                container.remove(force=True, v=True)
    return outcome


@contextmanager
def _network(client: docker.DockerClient) -> Iterator[Network]:
    network = client.networks.create(f"difyoff-build-{token_hex(6)}", driver="bridge", labels=dict(labels(os.getpid())))
    try:
        yield network
    finally:
        with suppress(APIError):
            network.remove()


def _pack(job: Job, archive: IO[bytes]) -> None:
    def root(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(job.folder, str(job.prefix.relative_to("/")), filter=root)
    archive.seek(0)


def _run(container: Container, limit: int) -> Outcome:
    began = monotonic()
    container.start()
    code = int(container.wait(timeout=limit + 2 * _GRACE)["StatusCode"])
    stdout, stderr = (
        container.logs(stdout=out, stderr=not out, tail=_LINES).decode("utf-8", "backslashreplace")
        for out in (True, False)
    )
    return Outcome(
        code=128 - code if code > 128 else code,
        stdout=stdout,
        stderr=stderr,
        seconds=monotonic() - began,
        stopped="timeout" if code == _TIMED_OUT else None,
    )


def _refuse_other_machine(image: DaemonImage, outcome: Outcome) -> None:
    """Raise where the first program did not start: older engines say it on its stderr."""
    if not outcome.ok and _OTHER_MACHINE.search(outcome.stderr):
        raise DifyoffError(
            Diagnosis(
                slug="image-wrong-architecture",
                message=f"the engine's machine cannot run {image.reference}, which is made for {image.architecture}",
                context=tuple(outcome.stderr.strip().splitlines()[-3:]),
            )
        )


def _copy_out(container: Container, folder: PurePosixPath, into: Path) -> None:
    """Copy the regular files directly in a folder of a container."""
    try:
        stream, _ = container.get_archive(str(folder))
    except NotFound:  # nothing was made
        return
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=into) as archive:
        for chunk in stream:
            archive.write(chunk)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if member.isreg() and len(path.parts) == 2 and (content := tar.extractfile(member)):
                    with content, (into / path.name).open("wb") as file:
                        while chunk := content.read(1 << 20):
                            file.write(chunk)

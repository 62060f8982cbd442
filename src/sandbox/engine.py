"""The Docker engine and the daemon's images: found, pulled where asked, and their errors as diagnoses."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from docker.models.images import Image
from requests.exceptions import RequestException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.docker_client import DockerClient

from ..difypkg.diagnosis import Diagnosis, DifyoffError

Pull = Literal["never", "missing", "always"]

REPOSITORY: Final = "langgenius/dify-plugin-daemon"
STAND_IN: Final = "io.difyoff.stand-in"
"""Label of an image that only looks like the daemon's."""

_TIMEOUT: Final = 600  # seconds for one answer of the engine; a large package is one request
_START_HINT: Final = (
    "start Docker, or point DOCKER_HOST at an engine (`docker version` must name a server); without one, verify with"
    " `--backend local` and build without `--build-in`"
)
USE_DAEMON_IMAGE: Final = "Name the daemon's image, or one made from it."
_ERRORS: Final = (
    (r"no space left on device|disk quota exceeded", "disk-full", "the Docker engine's disk is full"),
    (
        r"exec format error|no matching manifest for|does not match the (specified|wanted) platform",
        "image-wrong-architecture",
        "the image is for another architecture than asked for, or this machine cannot run it",
    ),
    (r"permission denied.*(docker|podman).*sock", "docker-unavailable", "this user may not use the Docker engine"),
    (
        r"executable file not found",
        "image-unusable",
        "the image lacks programs that every Debian system has",
    ),
    (r"connection refused|connection aborted|no such file", "docker-unavailable", "the Docker engine does not answer"),
)
_lock: Final = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonImage:
    """An image that the engine has: `reference` as asked for, `digest` the registry's or else the image's own id."""

    reference: str
    id: str
    digest: str
    architecture: str
    stand_in: bool

    def __str__(self) -> str:
        return f"{self.reference} ({self.digest}{', a stand-in' if self.stand_in else ''})"


@contextmanager
def restrain_testcontainers() -> Iterator[None]:
    """Keep testcontainers from what it does on its own: start Ryuk, log in to a registry, and set `DOCKER_HOST`.

    All three are settings of the whole process, which may be somebody's test run with containers of its own.
    """
    with _lock:
        config, host = testcontainers_config, os.environ.get("DOCKER_HOST")
        ryuk_disabled, login = config.ryuk_disabled, config._docker_auth_config
        config.ryuk_disabled, config._docker_auth_config = True, None
        try:
            yield
        finally:
            config.ryuk_disabled, config._docker_auth_config = ryuk_disabled, login
            if host is None:
                os.environ.pop("DOCKER_HOST", None)
            else:
                os.environ["DOCKER_HOST"] = host


@contextmanager
def connect() -> Iterator[docker.DockerClient]:
    """Connect to the engine that `DOCKER_HOST` or the Docker context names, else to the local one.

    Raises `DifyoffError` (`docker-unavailable`) where none answers, and what `translate_errors` makes of later errors.
    """
    with translate_errors("the Docker engine"):
        with restrain_testcontainers():
            client = DockerClient(timeout=_TIMEOUT).client
        try:
            yield client
        finally:
            client.close()


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turn what the engine says about `what` into a `DifyoffError`."""
    try:
        yield
    except (DockerException, RequestException, OSError) as error:
        raise DifyoffError(_diagnosis(error, what)) from error


def find_image(client: docker.DockerClient, reference: str, *, pull: Pull, platform: str | None) -> DaemonImage:
    """Return the image of a reference (tag, digest or id), pulled where `pull` says so.

    `platform` is Docker's (`linux/arm64`), None for any. Raises `DifyoffError`: `image-absent`,
    `image-not-pulled`, `image-wrong-architecture`, or what `translate_errors` raises.
    """
    image = None
    if pull != "always":
        with suppress(ImageNotFound):
            image = client.images.get(reference)
    if image is None:
        image = _pull(client, reference, platform, allowed=pull != "never")
    found = str(image.attrs.get("Architecture"))
    if platform is not None and found != platform.split("/")[1]:
        raise DifyoffError(
            Diagnosis(
                slug="image-wrong-architecture",
                message=f"{reference} is here for {found}, and {platform} is asked for",
                hint=f"Fetch it: `docker pull --platform {platform} {reference}`.",
            )
        )
    digests = [entry.partition("@")[2] for entry in image.attrs.get("RepoDigests") or []]
    return DaemonImage(
        reference=reference,
        id=str(image.id),
        digest=next(iter(digests), str(image.id)),
        architecture=found,
        stand_in=STAND_IN in image.labels,
    )


def _pull(client: docker.DockerClient, reference: str, platform: str | None, *, allowed: bool) -> Image:
    if not allowed:
        raise DifyoffError(
            Diagnosis(
                slug="image-absent",
                message=f"the engine does not have the image {reference}, and it may not be pulled",
                hint=f"Fetch it (`docker pull {reference}`), or carry it over with `docker save` and `docker load`.",
            )
        )
    try:
        return client.images.pull(reference, platform=platform)
    except (APIError, RequestException) as error:
        diagnosis = _diagnosis(error, reference)
        if diagnosis.slug != "docker-failed":
            raise DifyoffError(diagnosis) from error
        raise DifyoffError(
            Diagnosis(
                slug="image-not-pulled",
                message=f"the image {reference} is not here and cannot be pulled",
                context=(_words(error),),
                hint="Check that the tag exists and that the registry answers, or name another image with `--image`.",
            )
        ) from error


def _diagnosis(error: Exception, what: str) -> Diagnosis:
    words = _words(error)
    for pattern, slug, message in _ERRORS:
        if re.search(pattern, words, re.IGNORECASE):
            hint = {"docker-unavailable": _START_HINT, "image-unusable": USE_DAEMON_IMAGE}.get(slug)
            return Diagnosis(slug=slug, message=message, context=(words,), hint=hint)
    if isinstance(error, DockerException) and not isinstance(error, APIError):
        return Diagnosis(
            slug="docker-unavailable", message="no Docker engine can be used", context=(words,), hint=_START_HINT
        )
    return Diagnosis(slug="docker-failed", message=f"the Docker engine failed over {what}", context=(words,))


def _words(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)

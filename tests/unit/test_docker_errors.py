"""What an engine says, told as a diagnosis, and what is asked of its client; no engine is needed."""

import os
from importlib.metadata import requires, version

import pytest
from docker.errors import APIError, DockerException
from packaging.requirements import Requirement
from testcontainers.core.config import testcontainers_config

from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.sandbox.engine import restrain_testcontainers, translate_errors


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (APIError("write /var/lib/docker: no space left on device"), "disk-full"),
        (APIError("exec /usr/bin/bash: exec format error"), "image-wrong-architecture"),
        (DockerException("permission denied while trying to connect to docker.sock"), "docker-unavailable"),
        (APIError('exec: "bash": executable file not found in $PATH'), "image-unusable"),
        (DockerException("Error while fetching server API version"), "docker-unavailable"),
        (APIError("something that nobody has seen before"), "docker-failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_engine_says_is_told(error: DockerException, slug: str) -> None:
    with pytest.raises(DifyoffError) as raised, translate_errors("a container"):
        raise error

    assert raised.value.diagnosis.slug == slug
    assert raised.value.diagnosis.context


def test_testcontainers_is_bound_to_releases_that_have_the_private_field() -> None:
    """A release without it would log in to a registry and start a container of its own, with nobody the wiser."""
    needed = {each.name: each.specifier for each in map(Requirement, requires("difyoff") or ())}
    assert version("testcontainers") in needed["testcontainers"]
    assert "4.16" not in needed["testcontainers"], "try the Docker tests with the release before it is let in"
    assert {"docker", "requests"} <= needed.keys()
    fields = testcontainers_config.__dataclass_fields__
    assert "_docker_auth_config" in fields


def test_testcontainers_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testcontainers_config, "_docker_auth_config", "the user's")
    monkeypatch.setenv("DOCKER_HOST", "unix:///the/users.sock")
    with restrain_testcontainers():
        assert testcontainers_config.ryuk_disabled
        assert testcontainers_config.docker_auth_config is None
        os.environ["DOCKER_HOST"] = "unix:///another.sock"
    assert testcontainers_config._docker_auth_config == "the user's"
    assert os.environ["DOCKER_HOST"] == "unix:///the/users.sock"

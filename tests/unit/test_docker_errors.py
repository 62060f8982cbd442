"""What an engine says, told as a diagnosis; no engine is needed."""

import pytest
from docker.errors import APIError, DockerException

from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.sandbox.engine import told


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (APIError("write /var/lib/docker: no space left on device"), "disk-full"),
        (APIError("exec /usr/bin/bash: exec format error"), "image-wrong-architecture"),
        (DockerException("permission denied while trying to connect to docker.sock"), "docker-unavailable"),
        (DockerException("Error while fetching server API version"), "docker-unavailable"),
        (APIError("something that nobody has seen before"), "docker-failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_engine_says_is_told(error: DockerException, slug: str) -> None:
    with pytest.raises(DifyoffError) as raised, told("a container"):
        raise error

    assert raised.value.diagnosis.slug == slug
    assert raised.value.diagnosis.context

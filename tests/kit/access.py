"""A way to the sources for tests: a cache of their own, and the findings that were told."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from difyoff.difypkg.diagnosis import Diagnosis, DifyoffError
from difyoff.difypkg.place import PluginPlace
from difyoff.sources.settings import read_source_settings
from difyoff.sources.shelf import Shelf
from difyoff.sources.source import Access
from difyoff.sources.table import locate
from difyoff.transfer.client import Client


@contextmanager
def access_to(
    environment: Mapping[str, str], cache: Path, *, dify: str | None = None, offline: bool = False
) -> Iterator[tuple[Access, list[Diagnosis]]]:
    findings: list[Diagnosis] = []
    client = Client(version="1.2.3", timeout=5, offline=offline)
    yield (
        Access(
            settings=read_source_settings(environment, dify=dify),
            client=client,
            shelf=Shelf(cache),
            listen=findings.append,
        ),
        findings,
    )
    client.close()


def located(text: str, access: Access) -> PluginPlace:
    place = locate(text, access)
    assert isinstance(place, PluginPlace)
    return place


def refused(text: str, access: Access) -> Diagnosis:
    with pytest.raises(DifyoffError) as error:
        locate(text, access)
    return error.value.diagnosis


def slugs(findings: list[Diagnosis]) -> list[str]:
    return [finding.slug for finding in findings]

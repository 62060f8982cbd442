"""The gate before the transfer: every package installs and starts without a network, on every daemon release."""

import os
from pathlib import Path

import pytest

PACKAGES = sorted(Path(os.environ.get("PACKAGES", "packages")).glob("*.difypkg"))


def test_there_are_packages():
    """An empty gate lets nothing through."""
    assert PACKAGES, "put the packages that difyoff built into packages/, or name a folder: PACKAGES=/some/folder"


@pytest.mark.difyoff_daemons
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_package_installs_and_starts(package, difyoff_verify):
    """The daemon's own install and start, in isolation."""
    report = difyoff_verify(package)
    assert report.identity

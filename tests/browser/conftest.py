"""Chromium. Without it these tests are skipped; with `DIFYOFF_TEST_BROWSER=required` they fail."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

# What is needed for Chromium to keep to itself.
_QUIET = (
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"),
    "--disable-component-update",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("DIFYOFF_TEST_BROWSER") == "required":
            pytest.fail("there is no Chromium, and DIFYOFF_TEST_BROWSER says that there must be")
        pytest.skip("there is no Chromium on this machine")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(_QUIET))
        yield started
        started.close()

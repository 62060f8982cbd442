"""The documentation, opened from a folder as inside an air gap: all of it is there, and its search finds words."""

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder


@pytest.mark.parametrize(
    ("words", "page"),
    [("missing wheel", "diagnoses/missing-wheel.html"), ("升级", "zh/how-to/gate-an-upgrade.html")],
    ids=["English", "Chinese"],
)
def test_the_search_finds_a_page_and_nothing_is_fetched(browser: Browser, site: Path, words: str, page: str) -> None:
    tab = browser.new_page(viewport={"width": 1400, "height": 900})
    tab.set_default_timeout(60_000)
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: asked.append(f"error: {error}"))
    tab.goto((site / "index.html").as_uri())
    search = tab.get_by_role("textbox", name="Search")
    search.fill(words)
    search.press("End")  # the site reads the field when a key comes up, and filling it presses none
    found = tab.locator(f"a.md-search-result__link[href*='{page}']")
    expect(found.first).to_be_attached(timeout=60_000)

    assert [each for each in asked if not each.startswith((site.as_uri(), "data:", "blob:"))] == []
    tab.close()


@pytest.mark.parametrize("page", ["index.html", "reference/commands.html", "zh/how-to/from-the-shell-script.html"])
def test_a_narrow_screen_does_not_scroll_sideways(browser: Browser, site: Path, page: str) -> None:
    tab = browser.new_page(viewport={"width": 360, "height": 800})
    tab.goto((site / page).as_uri())

    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    tab.close()

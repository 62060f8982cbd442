"""The page in a real browser: nothing runs, nothing is asked for, and everybody can read it."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from difyoff.render.api import find_format
from difyoff.render.documents import VerifyDocument
from kit.reports import BROKEN, FAILED, NOT_RUN, PASSED, document, hostile, report

DOCUMENTS = {
    "one package": document(report(PASSED)),
    "a set": document(report(PASSED), report(FAILED), report(BROKEN), report(NOT_RUN)),
    "hostile": hostile(),
}


def _open(browser: Browser, made: VerifyDocument, folder: Path, *, width: int = 1400, dark: bool = False) -> Page:
    form = find_format(Path("report.html"))
    assert form is not None
    file = folder / "report.html"
    file.write_text(form.render(made), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
    page.set_default_timeout(60_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: asked.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: asked.append(f"error: {error}"))
    page.goto(file.as_uri())
    assert asked == [file.as_uri()]
    return page


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("width", [360, 1400])
def test_no_request_no_error_and_no_scrolling_sideways(browser: Browser, tmp_path: Path, name: str, width: int) -> None:
    page = _open(browser, DOCUMENTS[name], tmp_path, width=width)
    assert page.title().startswith("difyoff verify")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(browser: Browser, tmp_path: Path, name: str, dark: bool) -> None:
    page = _open(browser, DOCUMENTS[name], tmp_path, dark=dark)
    # The page forbids scripts, axe's own too: it reads what the browser made of the page.
    found = page.context.browser.new_page(  # type: ignore[union-attr]
        color_scheme="dark" if dark else "light", bypass_csp=True
    )
    found.goto(page.url)
    results = Axe().run(found)
    assert results.violations_count == 0, results.generate_report()
    found.close()
    page.close()


def test_the_language_is_switched_by_keyboard_without_a_script(browser: Browser, tmp_path: Path) -> None:
    page = _open(browser, DOCUMENTS["one package"], tmp_path)
    assert page.get_by_text("What was proved").is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.get_by_text("已证明的内容").is_visible()
    assert not page.get_by_text("What was proved").is_visible()
    page.close()


def test_a_page_made_to_attack_runs_nothing_and_answers(browser: Browser, tmp_path: Path) -> None:
    page = _open(browser, hostile(findings=100_000), tmp_path)
    assert "owned" not in page.title().removeprefix(page.title().split(":")[0] + ":").split("<")[0]
    assert page.evaluate("document.scripts.length + document.images.length") == 0
    page.get_by_role("heading", level=1).scroll_into_view_if_needed()
    page.close()


def test_it_prints_on_paper_with_every_table_open(browser: Browser, tmp_path: Path) -> None:
    page = _open(browser, DOCUMENTS["one package"], tmp_path)
    page.emulate_media(media="print")
    assert page.get_by_text("wheel-19 1").is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    page.close()

"""Every diagnosis has a page, a line in docs/diagnoses.md and a test that names it, and nothing has one without.

`pytest tests/unit/test_pages.py --update-golden` writes docs/diagnoses.md.
"""

import re
from functools import cache
from pathlib import Path

import pytest

from difyoff.difypkg.diagnosis import Exit, page, slugs

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "diagnoses.md"
HEAD = """\
# Diagnoses

Every error and finding of difyoff has a name, the word in brackets: `error[not-a-zip]`. `difyoff explain NAME` prints
its page. The last column is the exit code when it stops the work; a finding that never does has none.

| name | what it says | exit |
|---|---|---|
"""


@cache
def sources() -> str:
    """Return the text of everything that can raise a diagnosis."""
    files = [path for suffix in ("py", "toml") for path in (ROOT / "src").rglob(f"*.{suffix}")]
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(files))


@cache
def mentions() -> str:
    """Return the tests' text, what the fixtures expect, and the fixtures' names, which begin with a slug."""
    here = Path(__file__)
    tests = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py") if path != here]
    fixtures = [path for path in (ROOT / "fixtures").rglob("*") if path.is_file()]
    expected = [path.read_text(encoding="utf-8") for path in fixtures if path.name == "expected.json"]
    return "\n".join([*tests, *expected, *(path.name for path in fixtures)])


def test_every_slug_that_is_raised_has_a_page() -> None:
    raised = set(re.findall(r'\bslug ?= ?"([^"]+)"', sources()))

    assert len(raised) > 50
    assert raised - set(slugs()) == set()


def test_every_page_is_of_a_slug_that_is_raised() -> None:
    assert [slug for slug in slugs() if f'"{slug}"' not in sources()] == []


def test_every_slug_is_named_by_a_test_or_a_fixture() -> None:
    assert [slug for slug in slugs() if not re.search(rf"(?<![\w-]){slug}(?![\w-])", mentions())] == []


@pytest.mark.parametrize("slug", slugs())
def test_a_page_says_what_it_means_and_what_to_do(slug: str) -> None:
    found = page(slug)
    lines = (ROOT / "src/difypkg/pages" / f"{slug}.md").read_text(encoding="utf-8").split("\n")

    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
    assert lines[0] == f"# {found.title}"
    assert not found.title.endswith(".")
    assert (found.exit_code in {Exit.BUG, Exit.INTERRUPTED}) == (slug in {"internal-error", "interrupted"})
    assert lines[2] == ""
    assert "**What to do.**" in found.text
    assert lines[-1] == ""


def test_an_unknown_slug_has_no_page() -> None:
    for slug in ("nothing", "", "../diagnosis", "NOT-A-ZIP"):
        with pytest.raises(KeyError):
            page(slug)


def test_the_list_for_readers_is_complete(pytestconfig: pytest.Config) -> None:
    rows = [f"| `{slug}` | {page(slug).title} | {page(slug).exit_code.value or ''} |\n" for slug in slugs()]
    text = HEAD + "".join(rows)
    if pytestconfig.getoption("--update-golden"):
        DOCUMENT.write_text(text, encoding="utf-8")

    assert DOCUMENT.read_text(encoding="utf-8") == text, "write it with --update-golden"

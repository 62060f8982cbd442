"""What README and the site say and what the code does are the same. `--update-golden` writes README's tables."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from difyoff.cli.main import COMMANDS, open_command
from difyoff.cli.site import SETTINGS, SITE_VARIABLES
from difyoff.cli.variables import variables
from difyoff.difypkg.diagnosis import WORST_FIRST, Exit, page, slugs

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = [
    *sorted(ROOT.glob("README*.md")),
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
CHINESE = sorted((ROOT / "docs" / "zh").rglob("*.md"))
VARIABLE = re.compile(r"\bDIFYOFF_[A-Z_]*[A-Z]\b")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
CALL = re.compile(r"\bdifyoff(?: -[-\w]+)* (?P<command>[a-z]+)(?P<rest>[^`\n]*)")
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*[a-z])(?![\w-])")


def exit_table() -> str:
    return "".join(f"| {code.value} | {code.meaning} |\n" for code in Exit)


def settings_table() -> str:
    return "".join(f"| `--{each.name}` | `{each.variable}` | {each.text} |\n" for each in SETTINGS.values())


TABLES = {
    "| code | meaning |\n|---|---|\n": exit_table(),
    "| option | variable | meaning |\n|---|---|---|\n": settings_table(),
}


@pytest.mark.parametrize(("head", "table"), TABLES.items(), ids=["exit codes", "settings"])
def test_a_table_is_the_one_in_the_code(head: str, table: str, pytestconfig: pytest.Config) -> None:
    before, _, rest = README.read_text(encoding="utf-8").partition(head)
    if pytestconfig.getoption("--update-golden"):
        after = rest[rest.index("\n\n") + 1 :]
        README.write_text(before + head + table + after, encoding="utf-8")

    assert rest.startswith(table), "write it with --update-golden"


def test_the_order_of_exit_codes_is_the_one_in_the_code() -> None:
    order = [str(code.value) for code in WORST_FIRST if code is not Exit.DONE]

    assert f"the worst counts: {order[0]}, then {', '.join(order[1:])}." in README.read_text(encoding="utf-8")


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from commands(each, f"{path} {name}")


ALL = dict(pair for name in COMMANDS for pair in commands(open_command(name), name))


def options_of(command: click.Command) -> set[str]:
    options = [each for each in command.params if isinstance(each, click.Option)]
    return {"--help", *(name for each in options for name in (*each.opts, *each.secondary_opts))}


def calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of difyoff that a text names in code, and the options it is given there."""
    text = text.replace("\\\n", " ")  # a command that goes on in the next line
    for code in re.findall(r"`(difyoff[^`\n]+)`|^(?: {4,}(?:\$ )?|\$ (?!pip ).*?)(difyoff .+)$", text, re.MULTILINE):
        for match in CALL.finditer(code[0] or code[1]):
            first = next(iter(match["rest"].split()), "")
            name = match["command"]
            name = f"{name} {first}" if f"{name} {first}" in ALL else name
            name = "signoff decide" if name == "signoff" and first else name  # `decide` may be left out
            yield name, OPTION.findall(match["rest"].partition(" difyoff ")[0])


def texts() -> Iterator[tuple[str, str]]:
    yield from ((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in DOCUMENTS)
    yield from ((slug, page(slug).text) for slug in slugs())


def test_every_command_and_option_that_is_named_exists() -> None:
    missing = []
    found = 0
    for where, text in texts():
        for name, options in calls(text):
            found += 1
            if name not in ALL:
                missing.append(f"{where}: difyoff {name}")
            else:
                missing += [f"{where}: difyoff {name} {each}" for each in options if each not in options_of(ALL[name])]

    assert found > 40
    assert missing == []


def test_every_variable_of_ours_that_is_named_exists() -> None:
    known = SITE_VARIABLES.union(*(variables(open_command(name)) for name in COMMANDS))
    named = {(where, name) for where, text in texts() for name in VARIABLE.findall(text)}
    tests_own = {"DIFYOFF_TEST_ENGINE", "DIFYOFF_TEST_DAEMON_BIN", "DIFYOFF_DAEMON_IMAGE"}

    assert len(named) > 10
    assert {(where, name) for where, name in named if name not in known | tests_own} == set()


def test_every_fixture_and_option_of_pytest_that_is_named_exists() -> None:
    plugin = (ROOT / "src/cli/pytest_plugin.py").read_text(encoding="utf-8")
    known = {"--difyoff-packages", *(f"--difyoff-{name}" for name in SETTINGS)}
    known |= {f"difyoff_{each.parameter}" for each in SETTINGS.values()} | {"difyoff_daemons"}
    known |= set(re.findall(r"^def (difyoff_\w+)", plugin, re.MULTILINE)) | {"difyoff_name"}
    named = {
        (where, name)
        for where, text in texts()
        for name in re.findall(r"--difyoff-[a-z-]+[a-z]|\bdifyoff_[a-z_]+[a-z]\b", text)
    }

    assert len(named) > 5
    assert {(where, name) for where, name in named if name not in known} == set()


def test_every_diagnosis_that_a_page_links_or_shows_exists() -> None:
    linked, shown = r"\[`([a-z-]+)`\]\([./]*diagnoses\.md\)", r"(?:error|finding)\[([a-z-]+)\]"
    slug_of = re.compile(rf"{linked}|{shown}|difyoff explain ([a-z-]+)`?$", re.MULTILINE)
    named = {(where, next(filter(None, groups))) for where, text in texts() for groups in slug_of.findall(text)}

    assert len(named) > 5
    assert {(where, slug) for where, slug in named if slug not in slugs()} == set()


def commands_shown(path: Path) -> list[str]:
    """Return the lines of a page that are typed in, without their comments."""
    lines = re.findall(r"^\$ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"\s+# .*", "", line) for line in lines]


def test_every_tutorial_and_how_to_has_a_chinese_twin() -> None:
    docs = ROOT / "docs"
    pages = {str(path.relative_to(docs)) for kind in ("tutorial", "how-to") for path in (docs / kind).glob("*.md")}

    assert {str(path.relative_to(docs / "zh")) for path in CHINESE} == pages | {"index.md"}


@pytest.mark.parametrize("path", CHINESE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_chinese_page_shows_the_commands_of_its_twin(path: Path) -> None:
    twin = ROOT / "docs" / path.relative_to(ROOT / "docs" / "zh")

    assert commands_shown(path) == commands_shown(twin)


def test_the_chinese_readme_has_every_exit_code_and_command() -> None:
    text = (ROOT / "README.zh.md").read_text(encoding="utf-8")

    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == [str(code.value) for code in Exit]
    assert [name for name in COMMANDS if f"difyoff {name}" not in text and f"`{name}`" not in text] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file(path: Path) -> None:
    made = {ROOT / "docs/reference/commands.md"}  # by docs/hooks/reference.py
    found = [(path.parent / link).resolve() for link in LINK.findall(path.read_text(encoding="utf-8"))]

    assert [each for each in found if not each.exists() and each not in made] == []


def test_every_option_that_a_page_names_is_one_of_ours_or_of_a_tool_it_names() -> None:
    ours = set().union(*map(options_of, ALL.values())) | {"--version"}
    foreign = {
        *("--frozen", "--offline", "--no-dev", "--no-index", "--find-links", "--no-color", "--proxy", "--python"),
        *("--group", "--python-platform", "--no-trunc", "--previous", "--since", "--network", "--version", "--clear"),
        *("--rm", "--install", "--entrypoint", "--privileged", "--trusted-host", "--extra-index-url", "--hash"),
        *("--locked", "--check", "--editable", "--allow-insecure-host", "--native-tls"),
    }
    unknown = {
        f"{slug}: {each}" for slug in slugs() for each in OPTION.findall(page(slug).text) if each not in ours | foreign
    }

    assert unknown == set()


def test_every_claim_of_security_names_tests_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    claims = re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:]
    named = [re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", claim) for claim in claims]
    assert all(named)
    absent = [
        f"{file}::{test}"
        for file, test in (each for tests in named for each in tests)
        if f"def {test}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert absent == []

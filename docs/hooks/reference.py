"""What the site takes from the code: commands from click, tables from their own homes, the pages of diagnoses.

A page asks for a table with a line `<!-- NAME -->`, NAME being a key of `TABLES`.
"""

import re
from collections.abc import Iterator
from importlib.resources import files as resources
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from difyoff.cli.main import COMMANDS, open_command
from difyoff.cli.site import SETTINGS, SITE_VARIABLES
from difyoff.difypkg.diagnosis import Exit, page, slugs
from difyoff.render.api import FORMATS

_PLACE = re.compile(r"^<!-- (.+) -->$", re.MULTILINE)
_LOADED = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^>]*>""")


def write_commands() -> str:
    """Return the page of all commands, as click describes them."""
    head = "# Commands\n\nThis page is made from the code: it is what `difyoff COMMAND --help` prints.\n"
    return head + "".join(f"\n{each}" for name in COMMANDS for each in _describe(open_command(name), f"difyoff {name}"))


def _describe(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
    yield f"## {path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _describe(each, f"{path} {name}")


def list_variables() -> str:
    """Return a table of every variable of a command's own options."""
    rows: list[str] = []

    def add(command: click.Command, path: str) -> None:
        for option in (each for each in command.params if isinstance(each, click.Option) and not each.hidden):
            names = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
            rows.extend(
                f"| `{name}` | `{path}` | `{max(option.opts, key=len)}` |"
                for name in names
                if name not in SITE_VARIABLES
            )
        if isinstance(command, click.Group):
            for name, each in command.commands.items():
                add(each, f"{path} {name}")

    for name in COMMANDS:
        add(open_command(name), f"difyoff {name}")
    return "| variable | command | option |\n|---|---|---|\n" + "\n".join(rows)


def list_settings() -> str:
    """Return the table of what a site is."""
    rows = [f"| `--{each.name}` | `{each.variable}` | {each.text} |" for each in SETTINGS.values()]
    return "| option | variable | meaning |\n|---|---|---|\n" + "\n".join(rows)


def list_exit_codes() -> str:
    """Return the table of exit codes."""
    return "| code | meaning |\n|---|---|\n" + "\n".join(f"| {code.value} | {code.meaning} |" for code in Exit)


def list_schemas() -> str:
    """Return the list of JSON schemas that ship in the package."""
    names = sorted(each.name for each in resources("difyoff.render").joinpath("schemas").iterdir())
    return "\n".join(f"* `difyoff/render/schemas/{name}`" for name in names if name.endswith(".json"))


def list_suffixes() -> str:
    """Return the suffixes of reports."""
    return ", ".join(f"`{suffix}`" for suffix in FORMATS)


TABLES = {
    "exit codes": list_exit_codes,
    "settings": list_settings,
    "variables": list_variables,
    "schemas": list_schemas,
    "report suffixes": list_suffixes,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    files.append(File.generated(config, "reference/commands.md", content=write_commands()))
    for slug in slugs():
        found = page(slug)
        code = f" · exit code {found.exit_code.value}" if found.exit_code else ""
        text = f"# {found.title}\n\n`{slug}`{code}\n\n{found.text}\n"
        inclusion = InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, f"diagnoses/{slug}.md", content=text, inclusion=inclusion))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in tables; in the list of diagnoses, link each to its page."""
    if page.file.src_uri == "diagnoses.md":
        return re.sub(r"^\| `([a-z0-9-]+)` \|", r"| [`\1`](diagnoses/\1.md) |", markdown, flags=re.MULTILINE)
    return _PLACE.sub(lambda match: TABLES[match[1]](), markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Fail where a page would load something from elsewhere: the site is read where there is no elsewhere."""
    for path in Path(config.site_dir).rglob("*.html"):
        found = _LOADED.search(path.read_text(encoding="utf-8"))
        if found:
            raise PluginError(f"{path}: loads from elsewhere: {found[0]}")

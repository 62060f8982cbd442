"""The command group. Commands are imported when they run, so that `--help` stays quick."""

import errno
import io
import os
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Final

import click

from .. import __version__
from ..difypkg.diagnosis import Diagnosis, DifyoffError, Exit
from .console import say, show_error, show_finding
from .secrecy import without_secrets
from .site import SITE_VARIABLES
from .variables import PREFIX, is_set, name_variables, unknown_variables

COMMANDS: Final = {
    "build": "Make offline packages of plugins.",
    "fetch": "Fetch plugins as they are, by name, URL or app.",
    "search": "Find plugins of the marketplace.",
    "add": "Add plugins to the set of difyoff.toml.",
    "remove": "Remove plugins from the set of difyoff.toml.",
    "lock": "Pin every plugin of the set, and what it resolves to, in difyoff.lock.",
    "outdated": "Show which plugins of the set have a newer version.",
    "upgrade": "Move plugins of the set to newer versions, or back.",
    "verify": "Prove that packages install and start without a network.",
    "inspect": "Show what a package holds and what each daemon release does with it.",
    "diagnose": "Name the cause of a failed install in a log.",
    "explain": "Print the page of a diagnosis.",
    "target": "Show what packages are made for, and read it off an image.",
    "keygen": "Make the key pair that a site signs its packages with.",
    "sign": "Sign packages with a site's own key, and state their provenance.",
    "signoff": "Decide on a package with your SSH key, or check the decisions on it.",
    "report": "Show reports, join them, or say what changed between two.",
    "cache": "Show, tidy or empty the cache.",
    "completion": "Print the completion script of a shell.",
}
"""Each command and its line in the help; the module of that name in `difyoff.cli.commands` holds it as `command`."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return open_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = [] if args[0] in COMMANDS else get_close_matches(args[0], COMMANDS, n=1)
        if near:
            ctx.fail(f"There is no command {args[0]!r}. Did you mean {near[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def open_command(name: str) -> click.Command:
    """Return a command by its name, its options with their variables."""
    command = import_module(f"difyoff.cli.commands.{name}").command
    assert isinstance(command, click.Command)
    name_variables(command, f"{PREFIX}_{name.upper()}")
    return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="difyoff %(version)s")
def cli() -> None:
    """Make Dify plugins installable without a network, and prove it before they cross the air gap."""


def run(arguments: Sequence[str]) -> Exit | int:
    """Run the command line and return its exit code. No error of a user ends in a traceback."""
    try:
        for finding in tell_unknown_variables():
            show_finding(finding)
        result = cli.main(list(arguments), prog_name="difyoff", standalone_mode=False)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        for line in shown.getvalue().splitlines():
            say(line)
        return _fail(arguments, Diagnosis(slug="wrong-use", message=error.format_message()), Exit.USAGE)
    except DifyoffError as error:
        show_error(error.diagnosis)
        return _fail(arguments, error.diagnosis, error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return interrupted(arguments)
    except SystemExit as error:
        # click ends so after shell completion, and with 1 where whoever read our output has gone
        return Exit.MACHINE if error.code else Exit.DONE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            return _our_bug(arguments, error)
        _forget_stdout()
        say("error[disk-full]: the output cannot be written: its disk is full")
        return Exit.MACHINE
    except Exception as error:
        return _our_bug(arguments, error)
    return result if isinstance(result, int) else Exit.DONE


def interrupted(arguments: Sequence[str]) -> Exit:
    """Say that the run was interrupted; return the exit code."""
    say("interrupted")
    return _fail(arguments, Diagnosis(slug="interrupted", message="the run was interrupted"), Exit.INTERRUPTED)


def tell_unknown_variables() -> Iterator[Diagnosis]:
    """Yield a finding for each `DIFYOFF_*` variable that no option has."""
    if not SITE_VARIABLES.issuperset(name for name in os.environ if name.startswith(f"{PREFIX}_")):
        yield from unknown_variables(os.environ, {name: partial(open_command, name) for name in COMMANDS})


def _fail(arguments: Sequence[str], diagnosis: Diagnosis, code: Exit) -> Exit:
    """Print the document that `--json` promises, where a command ended before it had any result; return the code."""
    command = next((word for word in arguments if word in COMMANDS), "")
    if "--json" in arguments or is_set(os.environ, f"{PREFIX}_{command.upper()}_JSON"):
        from ..render.documents import FailureDocument, FailureResult
        from .reports import emit

        result = FailureResult(exit_code=code, diagnosis=diagnosis)
        emit(FailureDocument(command=command, exit_code=code, results=(result,)), as_json=True, reports=())
    return code


def _forget_stdout() -> None:
    # What is still buffered would fail again as the interpreter ends, and take our exit code with it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _our_bug(arguments: Sequence[str], error: Exception) -> Exit:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="difyoff-", suffix=".log", delete=False, encoding="utf-8") as log:
        text = "".join(traceback.format_exception(error))
        log.write(without_secrets(f"difyoff {__version__}, Python {sys.version}\n{sys.argv}\n{text}"))
    message = f"this is a fault of difyoff: {type(error).__name__}: {error}"
    say(f"error[internal-error]: {message}")
    say(f"  fix: Report it with {log.name}.")
    diagnosis = Diagnosis(slug="internal-error", message=message, hint=f"Report it with {log.name}.")
    return _fail(arguments, diagnosis, Exit.BUG)

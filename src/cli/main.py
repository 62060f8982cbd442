"""The command group. Commands are imported when they run, so that `--help` stays quick."""

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from .. import __version__
from ..difypkg.diagnosis import Diagnosis, DifyoffError, Exit

_COMMANDS: Final = {
    "build": "Make offline packages of plugins.",
    "fetch": "Fetch plugins as they are, by name, URL or app.",
    "search": "Find plugins of the marketplace.",
    "verify": "Prove that packages install and start without a network.",
    "inspect": "Show what a package holds and what each daemon release does with it.",
    "diagnose": "Name the cause of a failed install in a log.",
    "explain": "Print the page of a diagnosis.",
    "target": "Show what packages are made for, and read it off an image.",
    "keygen": "Make the key pair that a site signs its packages with.",
    "sign": "Sign packages with a site's own key, and state their provenance.",
    "signoff": "Decide on a package with your SSH key, or check the decisions on it.",
    "cache": "Show, tidy or empty the cache.",
}
"""Each command and its line in the help; the module of that name in `difyoff.cli.commands` holds it as `command`."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"difyoff.cli.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "auto_envvar_prefix": "DIFYOFF"},
)
@click.version_option(__version__, "-V", "--version", message="difyoff %(version)s")
def cli() -> None:
    """Make Dify plugins installable without a network, and prove it before they cross the air gap."""


def run(arguments: Sequence[str]) -> Exit | int:
    """Run the command line and return its exit code. No error of a user ends in a traceback."""
    try:
        result = cli.main(list(arguments), prog_name="difyoff", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        _print_failure(arguments, Diagnosis(slug="wrong-use", message=error.format_message()), Exit.USAGE)
        return Exit.USAGE
    except DifyoffError as error:
        from .console import show_error

        show_error(error.diagnosis)
        _print_failure(arguments, error.diagnosis, error.exit_code)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except SystemExit:
        return Exit.DONE  # click ends so where whoever read our output has gone, and after shell completion
    except OSError as error:
        if error.errno != errno.ENOSPC:
            return _our_bug(error)
        _forget_stdout()
        click.echo("error[disk-full]: the output cannot be written: its disk is full", err=True)
        return Exit.MACHINE
    except Exception as error:
        return _our_bug(error)
    return result if isinstance(result, int) else Exit.DONE


def _print_failure(arguments: Sequence[str], diagnosis: Diagnosis, code: Exit) -> None:
    """Print the document that `--json` promises, where a command ended before it had any result."""
    if "--json" not in arguments:
        return
    from ..render.documents import FailureDocument, FailureResult
    from .reports import emit

    command = next((word for word in arguments if word in _COMMANDS), "")
    result = FailureResult(exit_code=code, diagnosis=diagnosis)
    emit(FailureDocument(command=command, exit_code=code, results=(result,)), as_json=True, reports=())


def _forget_stdout() -> None:
    # What is still buffered would fail again as the interpreter ends, and take our exit code with it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _our_bug(error: Exception) -> Exit:
    with tempfile.NamedTemporaryFile("w", prefix="difyoff-", suffix=".log", delete=False, encoding="utf-8") as log:
        log.write(f"difyoff {__version__}, Python {sys.version}\n{sys.argv}\n")
        traceback.print_exception(error, file=log)
    click.echo(f"error[internal-error]: this is a fault of difyoff: {type(error).__name__}: {error}", err=True)
    click.echo(f"  fix: please report it with {log.name}", err=True)
    return Exit.BUG

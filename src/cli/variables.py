"""The `DIFYOFF_*` variables: each option has one, and a name that no option has is told."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches

import click

from ..difypkg.diagnosis import Diagnosis
from .site import SITE_VARIABLES

PREFIX = "DIFYOFF"
_OF_TESTS = "DIFYOFF_TEST_"


def name_variables(command: click.Command, prefix: str) -> None:
    """Give every option of a command its variable, named for the option; those of the site have theirs."""
    for option in _options(command):
        if option.envvar is None:
            option.envvar = variable_of(option, prefix)
        option.allow_from_autoenv = False
        option.show_envvar = True
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            name_variables(each, f"{prefix}_{name.upper().replace('-', '_')}")


def variable_of(option: click.Option, prefix: str) -> str:
    """Return the variable of a command's own option: `DIFYOFF_BUILD_OUTPUT_DIR` for `--output-dir` of `build`."""
    longest = max(option.opts, key=len)
    return f"{prefix}_{longest.lstrip('-').upper().replace('-', '_')}"


def _options(command: click.Command) -> Iterator[click.Option]:
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            yield param


def variables(command: click.Command) -> Iterator[str]:
    """Yield the variables of a command and of its subcommands."""
    for option in _options(command):
        yield from [option.envvar] if isinstance(option.envvar, str) else (option.envvar or ())
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from variables(each)


def unknown_variables(
    environ: Mapping[str, str], commands: Mapping[str, Callable[[], click.Command]]
) -> Iterator[Diagnosis]:
    """Yield a finding for each `DIFYOFF_*` name that nothing reads; `commands` open the commands by name."""
    known = set(SITE_VARIABLES)
    unknown = [name for name in environ if name.startswith(f"{PREFIX}_") and name not in known]
    opened: set[str] = set()
    for name in [each for each in unknown if not each.startswith(_OF_TESTS)]:
        for command in sorted(commands, key=lambda each: not name.startswith(f"{PREFIX}_{each.upper()}_")):
            if name in known:
                break
            if command not in opened:
                opened.add(command)
                known.update(variables(commands[command]()))
        if name not in known:
            yield unknown_variable(name, known)


def unknown_variable(name: str, known: Iterable[str]) -> Diagnosis:
    """Return the finding on one name, with the nearest one that is read."""
    names = sorted(known)
    ends = [each for each in names if name.endswith(each.removeprefix(PREFIX))]  # a command's name was put before it
    begins = [each for each in names if each.startswith(f"{name}_")]
    near = (*ends, *begins, *get_close_matches(name, names, n=1, cutoff=0.75))
    help_ = "Each option's variable is named in the command's help, `difyoff build --help`."
    return Diagnosis(
        slug="unknown-variable",
        message=f"{name} is set, and difyoff does not read a variable of that name",
        hint=f"Did you mean {near[0]}?" if near else help_,
    )


def is_set(environ: Mapping[str, str], name: str) -> bool:
    """Say whether a variable switches a flag on, as click reads it."""
    return environ.get(name, "").lower() in ("1", "true", "t", "yes", "y", "on")

"""`difyoff completion SHELL`: print the script that completes difyoff's commands and options in a shell."""

import click
from click.shell_completion import get_completion_class

from ...difypkg.diagnosis import Exit
from ..console import put

_VARIABLE = "_DIFYOFF_COMPLETE"  # where click looks when a shell asks


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the completion script of a SHELL.

    \b
    bash:  difyoff completion bash > ~/.local/share/bash-completion/completions/difyoff
    zsh:   difyoff completion zsh > ~/.zfunc/_difyoff
    fish:  difyoff completion fish > ~/.config/fish/completions/difyoff.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    group = click.get_current_context().find_root().command
    put(kind(group, {}, "difyoff", _VARIABLE).source().rstrip())
    return Exit.DONE

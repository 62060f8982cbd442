"""`python -m difyoff` and the console script."""

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    _open_closed_streams()
    try:
        from .sandbox.signals import handle_signals

        handle_signals()
        from .cli.main import run

        code = int(run(sys.argv[1:]))
    except KeyboardInterrupt:  # before the command line was there to catch it
        from .cli.main import interrupted

        code = interrupted(sys.argv[1:])
    sys.exit(code)


def _open_closed_streams() -> None:
    """Lead streams that the caller closed (`2>&-`) to nowhere, so that no file of ours takes their number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


if __name__ == "__main__":
    main()

"""`python -m difyoff` and the console script."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from .sandbox.signals import handle_signals

        handle_signals()
        from .cli.main import run

        code = int(run(sys.argv[1:]))
    except KeyboardInterrupt:  # before the command line was there to catch it
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()

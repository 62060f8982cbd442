"""The command line: parsing, console, progress and exit codes."""

__version__ = "0.1.0"

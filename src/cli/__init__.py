"""The command line and the pytest plugin: parsing, console, progress and exit codes."""

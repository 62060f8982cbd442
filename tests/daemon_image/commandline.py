#!/usr/bin/python3.12
"""A double of the daemon's `/app/commandline plugin run -r json PACKAGE`: it says what that was recorded to say.

What it makes of a package stands in the package's `double.txt`: a cause it fails with, or `hang`. Without one the
plugin is ready, and like the daemon's own it then runs on. It installs nothing.
"""

import json
import sys
import time
import zipfile


def main() -> None:
    """Answer in lines of JSON, as cmd/commandline/run/run.go (0.6.10) does."""
    command, package = sys.argv[1:-1], sys.argv[-1]
    if command != ["plugin", "run", "-r", "json"]:
        sys.exit(f"unknown command {command}")
    _say("info", info="loading plugin")
    with zipfile.ZipFile(package) as archive:
        cause = archive.read("double.txt").decode().strip() if "double.txt" in archive.namelist() else ""
    sys.stderr.write("a line of the daemon's log\n")
    if cause and cause != "hang":
        _say("error", error=f"{cause}\ninitialize python environment error")
        sys.exit(1)
    if not cause:
        _say("plugin_ready", info="plugin loaded")
    while True:
        time.sleep(60)


def _say(kind: str, **response: str) -> None:
    sys.stdout.write(json.dumps({"invoke_id": "", "type": kind, "response": response}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

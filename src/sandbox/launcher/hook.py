"""The interpreter that uv runs build backends with: each call of one is isolated. `uvrun.guarded` puts it in place.

What the backend gets is a few variables by allow-list, and to write to its own virtual environment, the source tree and
the folder of the wheel. It has no network, no secrets and an empty home; uv itself installs what it requires.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

WORK: Final = "DIFYOFF_WORK"
"""The variable that names the folder of the plugin at work; a backend that runs in it may write to all of it."""

NOT_ISOLATED: Final = "difyoff: this machine has no isolation for a build backend"
"""What stands on stderr, and so in uv's words, where a backend was not run."""

_INSIDE: Final = "DIFYOFF_ISOLATED"
_KEPT: Final = (
    *("PATH", "LC_ALL", "VIRTUAL_ENV", "PYTHONIOENCODING", "PYTHONUNBUFFERED"),
    *("SOURCE_DATE_EPOCH", "CFLAGS", "CXXFLAGS"),
)
# The call that uv 0.9.26 writes into the code it runs; a path is there as a string of Rust, close to one of JSON.
_WHEEL_FOLDER: Final = re.compile(r'\.build_(?:wheel|sdist|editable)\(("(?:[^"\\]|\\.)*")')


def main(arguments: Sequence[str]) -> NoReturn:
    """Run `python ARGUMENT...` as `INVOKED` asks: `arguments` are the configuration file, `INVOKED` and those."""
    configuration, invoked, *rest = arguments
    settings = json.loads(Path(configuration).read_text(encoding="utf-8"))
    environment = Path(invoked).parents[1]
    program = environment / "bin" / ".python"
    if _INSIDE not in os.environ and not program.is_symlink():
        program.symlink_to(settings["python"])
    argv = (str(program), *rest)
    if _INSIDE in os.environ or settings["trusted"]:
        os.execv(program, argv)
    refusals = []
    for launcher in settings["launchers"]:
        command = _command(launcher, argv, environment)
        refusal = _refusal(_command(launcher, (str(program), "-I", "-S", "-c", ""), environment))
        if refusal is None:
            os.execve(command[0], command, _variables(environment))
        refusals.append(refusal)
    print(f"{NOT_ISOLATED} ({'; '.join(refusals) or 'none that protects it'})", file=sys.stderr)  # noqa: T201
    sys.exit(125)


def _command(launcher: Sequence[str], argv: Sequence[str], environment: Path) -> tuple[str, ...]:
    *program, specification = launcher
    fields: dict[str, Any] = json.loads(specification)
    fields["writable"] = [str(path) for path in _writable(argv, environment)]
    return (*program, json.dumps(fields), *argv)


def _writable(argv: Sequence[str], environment: Path) -> Iterator[Path]:
    yield environment
    here = Path.cwd()
    work = os.environ.get(WORK)
    yield Path(work) if work and here.is_relative_to(work) else here
    for match in _WHEEL_FOLDER.finditer(argv[-1]):
        yield Path(json.loads(match[1]))


def _variables(environment: Path) -> dict[str, str]:
    home, temporary = environment / "home", environment / "tmp"
    for folder in (home, temporary):
        folder.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "HOME": str(home), "TMPDIR": str(temporary), _INSIDE: "1"}


def _refusal(probe: Sequence[str]) -> str | None:
    """Return why a launcher does not isolate, None where it does."""
    done = subprocess.run(probe, capture_output=True, text=True, stdin=subprocess.DEVNULL, env={"PATH": os.defpath})
    lines = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else lines[-1] if lines else f"exit code {done.returncode}"

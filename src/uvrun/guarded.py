"""An interpreter for uv that isolates every build backend it is asked to run, and can pass for another patch release.

uv makes a virtual environment for each source that it builds, links its interpreter to the one that it was given, and
calls the backend's hooks with it. So the one that it is given decides how backends run, whether uv builds a wheel or
only looks for a source's metadata while it resolves.
"""

import hashlib
import json
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Final

from ..sandbox.isolation import LADDER
from .interpreters import Python

# uv reads the version off `platform`, which reads it off this text (uv 0.9.26, get_interpreter_info.py).
_PATCH: Final = "import sys; sys.version = {version!r} + ' ' + sys.version.partition(' ')[2]; \
sys.executable = sys._base_executable = {program!r}\n"
_SHIM: Final = """\
#!/bin/sh
case "$0" in {program}) exec {asked} "$@" ;; esac
exec {python} -I -S -c {boot} {packages} {configuration} "$0" "$@"
"""
_BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); from difyoff.sandbox.launcher.hook import main; main(sys.argv[2:])"
)


def guard_python(python: Python, *, version: str, cache: Path, trusted: bool) -> Path:
    """Return the path of the interpreter to give uv in place of `python`; it says that it is of `version`.

    It is made in `cache` the first time. With `trusted`, backends run as they would without it.
    """
    real = python.path.resolve()
    launchers = [rung.wrap((), readable=(real.parents[1], cache / "guarded")) for rung in LADDER if rung.host_protected]
    settings = {"python": str(real), "version": version, "trusted": trusted, "launchers": launchers}
    text = json.dumps(settings)
    folder = cache / "guarded" / hashlib.sha256(text.encode()).hexdigest()[:16]
    program = folder / "bin" / f"python{python.minor[0]}.{python.minor[1]}"
    if program.is_file():
        return program
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        _furnish(made, folder, python, version, text)
        made.replace(folder)
    except OSError:
        if not program.is_file():  # else another process was faster
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return program


def _furnish(made: Path, folder: Path, python: Python, version: str, settings: str) -> None:
    """Lay out the folder that will be `folder`: a prefix with the real library, and what answers uv's questions."""
    name = f"python{python.minor[0]}.{python.minor[1]}"
    real = python.path.resolve()
    for each in ("bin", "asked/bin", f"asked/lib/{name}/site-packages"):
        (made / each).mkdir(parents=True)
    # A virtual environment finds its standard library and headers beside the interpreter that it was made from.
    for each in ("lib", "include"):
        (made / each).symlink_to(real.parents[1] / each)
    (made / "asked" / "bin" / "python").symlink_to(real)
    (made / "asked" / "pyvenv.cfg").write_text(f"home = {real.parent}\n", encoding="utf-8")
    program = folder / "bin" / name
    patch = _PATCH.format(version=version, program=str(program))
    (made / "asked" / "lib" / name / "site-packages" / "asked.pth").write_text(patch, encoding="utf-8")
    (made / "settings.json").write_text(settings, encoding="utf-8")
    launcher = LADDER[0].wrap(())
    shim = made / "bin" / name
    words = {
        "program": str(program),
        "asked": str(folder / "asked" / "bin" / "python"),
        "python": launcher[0],
        "boot": _BOOT,
        "packages": launcher[-2],
        "configuration": str(folder / "settings.json"),
    }
    shim.write_text(_SHIM.format(**{key: shlex.quote(word) for key, word in words.items()}), encoding="utf-8")
    shim.chmod(0o755)

"""What a plugin that runs on this machine takes from it, and would not find in the daemon's image."""

import os
import re
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..difypkg.diagnosis import Diagnosis
from ..difypkg.image import ImageContents
from .contents.elf import Links, NotElfError, read_links

_MISSING: Final = re.compile(r"(lib\S+\.so[.\d]*): cannot open shared object file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Borrowed:
    """A shared library of this machine: the `name` that the dynamic linker knows it by, and its file."""

    name: str
    path: Path


def find_borrowed(mapped: Iterable[Path], image: ImageContents, *, package: Path, python: Path) -> tuple[Borrowed, ...]:
    """Return the libraries that a plugin asked for and the image does not have, of the files `mapped` by it.

    `package` is the folder that holds the plugin with its environment, `python` the interpreter's own. What a library
    of this machine, or the interpreter, needs in turn is no business of the plugin's: the image's own need their own.
    """
    of_package: list[Links] = []
    of_machine: list[tuple[Path, Links]] = []
    excused: set[str] = set()
    for path in mapped:
        links = _read(path)
        if links is None:
            continue
        if path.is_relative_to(package):
            of_package.append(links)
        elif path.is_relative_to(python) and not _is_system(python):
            excused.update(links.needed)
        else:
            of_machine.append((path, links))
            excused.update(links.needed)
    wanted = {name for links in of_package for name in links.needed}
    return tuple(
        Borrowed(name=links.soname or path.name, path=path)
        for path, links in sorted(of_machine)
        if _is_foreign(links.soname or path.name, image.libraries)
        and (links.soname in wanted or links.soname not in excused)
    )


def find_missing_library(text: str) -> str | None:
    """Return the name of the library that the dynamic linker did not find, by its own words; None without these."""
    match = _MISSING.search(text)
    return match[1] if match else None


def explain_missing_library(name: str, *context: str) -> Diagnosis:
    """Return why a plugin does not start that needs a library of the image's which that has not."""
    return Diagnosis(
        slug="system-library-missing",
        message=f"the plugin needs {name}, which the daemon's image does not have",
        context=context,
        hint="Add the library to an image of your own made from the daemon's (`FROM langgenius/dify-plugin-daemon:…`),"
        " or ask the plugin's author for a wheel that carries it.",
    )


def explain_borrowed(names: str) -> Diagnosis:
    """Return the finding that a plugin opens libraries of this machine, and starts without them."""
    return Diagnosis(
        slug="library-of-this-machine",
        message=f"the plugin opens {names}, which the daemon's image does not have; it starts without, too",
        note="What it does with the library will not work on the site.",
        hint="Try what the plugin does with it in the daemon's image, or add the library to an image of your own.",
    )


def link_programs(image: ImageContents, path: Collection[str], into: Path) -> None:
    """Fill a folder with links to those programs on a search path that the image has, too."""
    into.mkdir(parents=True, exist_ok=True)
    left = set(image.programs)
    for folder in map(Path, path):
        if folder.is_dir():
            here = left.intersection(os.listdir(folder))  # noqa: PTH208
            for name in here:
                (into / name).symlink_to(folder / name)
            left -= here


def _is_foreign(name: str, libraries: Collection[str]) -> bool:
    # What does not begin so is a module of something else's (Python's own, iconv's), and loaded by its path.
    return name.startswith("lib") and ".so" in name and name not in libraries


def _is_system(folder: Path) -> bool:
    return folder in (Path("/"), Path("/usr"))


def _read(path: Path) -> Links | None:
    """Read a shared object; the plugin may have put anything in its place meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            return read_links(file) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
        except (NotElfError, OSError):
            return None

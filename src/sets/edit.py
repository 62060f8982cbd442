"""Add plugins to a set and remove them, comments and layout kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import tomlkit
from tomlkit.items import Array, Table

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.files import write_atomically
from .config import CONFIG

_NEW: Final = """\
# The plugins of a site; `difyoff build` makes them all.

[site]
# dify = "1.13.3"
# arch = ["amd64"]

[build]
output = "packages"
plugins = []
"""


def add_plugins(path: Path, plugins: Sequence[str]) -> tuple[str, ...]:
    """Add plugins at the end of a set's list, which is made if it is not there; return those that were added."""
    text = path.read_text(encoding="utf-8") if path.exists() else _NEW
    document = tomlkit.parse(text)
    listed = _list(document)
    added = tuple(each for each in dict.fromkeys(plugins) if each not in listed)
    many = len(listed) + len(added) > 1
    for each in added:
        if many:
            listed.multiline(True)
        listed.append(each)
    if added:
        write_atomically(path, tomlkit.dumps(document))
    return added


def remove_plugins(path: Path, plugins: Sequence[str]) -> tuple[str, ...]:
    """Remove plugins, named as they are written or by `author/name`. Raises `not-in-set`."""
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    listed = _list(document)
    removed = []
    for plugin in plugins:
        places = [place for place, each in enumerate(listed) if plugin in (each, str(each).partition(":")[0])]
        if not places:
            from difflib import get_close_matches

            near = get_close_matches(plugin, [str(each) for each in listed], n=3, cutoff=0.3)
            raise DifyoffError(
                Diagnosis(
                    slug="not-in-set",
                    message=f"{plugin} is not a plugin of {path}",
                    hint=f"Name it as it is written there: {' or '.join(near)}." if near else None,
                )
            )
        for place in reversed(places):
            removed.append(str(listed[place]))
            del listed[place]
    write_atomically(path, tomlkit.dumps(document))
    return tuple(removed)


def replace_plugin(path: Path, old: str, new: str) -> None:
    """Write one plugin of the list in another way, in its place."""
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    listed = _list(document)
    listed[[str(each) for each in listed].index(old)] = new
    write_atomically(path, tomlkit.dumps(document))


def _list(document: tomlkit.TOMLDocument) -> Array:
    build = document.setdefault("build", tomlkit.table())
    assert isinstance(build, Table)
    plugins = build.setdefault("plugins", tomlkit.array())
    plugins = build["plugins"]
    assert isinstance(plugins, Array)
    return plugins


def new_config(folder: Path) -> Path:
    """Return where a new set of a folder is written."""
    return folder / CONFIG

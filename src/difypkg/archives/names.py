"""Which names an archive's files may have: those that every system and every reader takes for the same file.

The daemon cleans a path (`path.Join`, pkg/plugin_packager/decoder/zip.go, 0.6.10), CPython takes it as it is, macOS
and Windows fold letter case and Unicode forms, and Windows cannot hold some names at all.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from .faults import ArchiveFault
from .profiles import Profile

_PLAIN: Final = re.compile(r"[A-Za-z0-9_+@=,()\[\]{}~!#$%&'^;. /-]+")
"""Characters that need no look at Unicode."""
_DEVICES: Final = re.compile(
    r"(?:con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]) *(?:\.|$)", re.IGNORECASE
)
_FORBIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co"})
"""Control, format (zero width, direction), surrogate and private characters: a name with one shows as another."""
_SCRIPTS: Final = ("LATIN", "CYRILLIC", "GREEK")


def check_path(path: str, profile: Profile, offset: int | None = None) -> None:
    """Refuse a path that some reader or system takes for another. A folder's final slash is not part of it."""
    if reason := _reason(path, profile):
        raise ArchiveFault(
            "unsafe-path",
            f"it holds a file that {reason}: {_shortened(path)!r}",
            offset=offset,
            field="name",
            readings=("The daemon refuses, cleans or misplaces such a name, and other programs do otherwise.",),
        )


def _reason(path: str, profile: Profile) -> str | None:
    parts = path.split("/")
    return _unclean(path, parts) or _oversized(path, parts, profile) or _unshowable(path, parts, profile)


def _unclean(path: str, parts: list[str]) -> str | None:
    if not path:
        return "has no name"
    if path.startswith("/"):
        return "has an absolute path"
    if ".." in parts:
        return "leads out of its folder"
    if "" in parts or "." in parts:
        return "has a path that is not clean"
    return "has a backslash in its name" if "\\" in path else None


def _oversized(path: str, parts: list[str], profile: Profile) -> str | None:
    if len(path.encode("utf-8", "surrogatepass")) > profile.path or len(parts) > profile.depth:
        return f"has a path of more than {profile.path:,} bytes or {profile.depth} folders"
    if any(len(part.encode("utf-8", "surrogatepass")) > profile.component for part in parts):
        return f"has a name of more than {profile.component} bytes"
    return None


def _unshowable(path: str, parts: list[str], profile: Profile) -> str | None:
    if not _PLAIN.fullmatch(path):
        for character in path:
            if unicodedata.category(character) in _FORBIDDEN:
                return f"has the invisible character U+{ord(character):04X} in its name"
        if profile.portable and ":" in path:
            return "has a colon in its name, which Windows takes for a drive or a stream"
    if profile.portable and any(part.endswith((".", " ")) or _DEVICES.match(part) for part in parts):
        return "has a name that Windows cannot hold"
    return None


def check_unique(paths: Iterable[str], folders: Iterable[str], *, fold: bool = True) -> None:
    """Refuse two files that are one for some system (`fold`: Linux is not the only one), and a file as a folder."""
    seen: dict[str, str] = {}
    for path in paths:
        key = _folded(path) if fold else path
        if key not in seen:
            seen[key] = path
        else:
            other = seen[key]
            if other == path:
                raise ArchiveFault(
                    "duplicate-entry",
                    f"{path} is there more than once",
                    readings=("The daemon reads the first one.", "Python and unzip read the last one."),
                )
            raise ArchiveFault(
                "duplicate-entry",
                f"{other!r} and {path!r} differ only in letter case or Unicode form",
                readings=("Linux keeps two files.", "macOS and Windows keep one, the last."),
            )
    parents = {parent for path in seen for parent in _parents(path)} | {
        _folded(folder) if fold else folder for folder in folders
    }
    for path in parents & seen.keys():
        raise ArchiveFault("unsafe-path", f"{seen[path]!r} is both a file and a folder: it cannot be unpacked")


def _folded(path: str) -> str:
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def mixes_scripts(path: str) -> bool:
    """Say whether one word of a path has letters of Latin and of an alphabet that looks like it."""
    if path.isascii():
        return False
    for word in re.split(r"[\W\d_]+", path):
        names = {unicodedata.name(letter, "").partition(" ")[0] for letter in word}
        if len(names.intersection(_SCRIPTS)) > 1:
            return True
    return False


def _shortened(path: str) -> str:
    return path if len(path) <= 120 else f"{path[:117]}..."

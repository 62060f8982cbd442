"""The ignore rules of the daemon's own packager.

`dify plugin package` reads `.difyignore`, or else `.gitignore`, of the plugin's root only, and drops a path when *any*
pattern excludes it: a negation (`!keep`) rescues nothing (pkg/plugin_packager/decoder/fs.go, 0.6.10). The patterns are
those of the Git library that it uses, which differ from git's own in places.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .gopath import BadPatternError, matches

IGNORE_FILES = (".difyignore", ".gitignore")
"""The ignore files by precedence: the first that can be read is the only one."""


@dataclass(frozen=True, slots=True)
class IgnorePattern:
    """One excluding line of an ignore file, with its number (from 1)."""

    line: int
    text: str

    def excludes(self, parts: Sequence[str], *, is_directory: bool) -> bool:
        """Say whether the pattern excludes the path of these components."""
        text = self.text if self.text.endswith("\\ ") else self.text.rstrip(" ")
        only_directories = text.endswith("/")
        text = text[:-1] if only_directories else text
        try:
            if "/" in text:
                return _matches_path(text.split("/"), list(parts), not_directory=only_directories and not is_directory)
            return _matches_name(text, parts, not_directory=only_directories and not is_directory)
        except BadPatternError:
            return False


def parse_ignore_file(text: str) -> tuple[IgnorePattern, ...]:
    """Return the excluding patterns of an ignore file; comments, blanks and negations exclude nothing."""
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return tuple(IgnorePattern(number, line) for number, line in lines if line and line[0] not in "#!")


def _matches_name(pattern: str, parts: Sequence[str], *, not_directory: bool) -> bool:
    for index, name in enumerate(parts):
        if matches(pattern, name):
            return not (not_directory and index == len(parts) - 1)
    return False


def _matches_path(pattern: Sequence[str], parts: list[str], *, not_directory: bool) -> bool:
    matched = anywhere = False
    for index, segment in enumerate(pattern):
        if segment == "":
            anywhere = False
        elif segment == "**":
            if index == len(pattern) - 1:
                break
            anywhere = True
        elif "**" in segment or not parts:
            return False
        elif anywhere:
            anywhere = False
            while parts:
                if matches(segment, parts.pop(0)):
                    matched = True
                    break
            else:
                matched = False
        else:
            if not matches(segment, parts.pop(0)):
                return False
            matched = True
    return matched and not (not_directory and not parts)

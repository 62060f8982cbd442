"""Plugins that a log names, and whether one of them is the package at hand."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ..diagnosis import Diagnosis
from ..identity import Identity

_AUTHOR_NAME = r"(?P<author>[a-z0-9_-]{1,64})/(?P<name>[a-z0-9_-]{1,255}?)"
_VERSION = r"(?P<version>\d{1,4}(?:\.\d{1,4}){1,3}(?:-\w{1,16})?)"
_CHECKSUM = r"@(?P<checksum>[a-f0-9]{32,64})"
_PATTERNS: Final = (
    re.compile(rf"(?<![\w/-]){_AUTHOR_NAME}:{_VERSION}{_CHECKSUM}(?!\w)", re.ASCII),
    re.compile(rf"(?<![\w-]){_AUTHOR_NAME}-{_VERSION}{_CHECKSUM}(?!\w)", re.ASCII),  # the folder below `cwd`
    re.compile(rf"plugin[\w ]{{0,20}}[ =:]\"?{_AUTHOR_NAME}:{_VERSION}(?![\w@.-])(?P<checksum>)", re.ASCII),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPlugin:
    """A plugin that a log names; `checksum` is empty where it only gives the version."""

    author: str
    name: str
    version: str
    checksum: str

    @property
    def release(self) -> str:
        """Author, name and version, which a log gives everywhere."""
        return f"{self.author}/{self.name}:{self.version}"

    def __str__(self) -> str:
        return self.release + (f"@{self.checksum}" if self.checksum else "")


@dataclass(frozen=True, slots=True)
class Mention:
    """A plugin named at an offset of a text."""

    start: int
    plugin: SeenPlugin


def find_mentions(text: str) -> list[Mention]:
    """Return where a text names plugins, in its order."""
    if "@" not in text and "plugin" not in text:
        return []
    return sorted(
        (
            Mention(match.start(), SeenPlugin(**match.groupdict()))
            for pattern in _PATTERNS
            for match in pattern.finditer(text)
        ),
        key=lambda mention: mention.start,
    )


def nearest(mentions: Iterable[Mention], place: int) -> Iterator[SeenPlugin]:
    """Yield the plugins named, nearest to a place first, those with a checksum before the others."""
    ordered = sorted(mentions, key=lambda mention: (not mention.plugin.checksum, abs(mention.start - place)))
    yield from dict.fromkeys(mention.plugin for mention in ordered)


def compare_identity(seen: Iterable[SeenPlugin], package: Identity) -> Diagnosis | None:
    """Return the finding that a log is about another package of the same author, name and version than `package`.

    None if the log names the package itself, or nothing of its name with a checksum.
    """
    same = [
        plugin
        for plugin in seen
        if plugin.checksum
        and (plugin.author, plugin.name, plugin.version) == (package.author, package.name, package.version)
    ]
    if not same or any(plugin.checksum == package.checksum for plugin in same):
        return None
    return Diagnosis(
        slug="original-installed",
        message=f"the log is about another package than this one: {same[0]} was installed, most likely the original",
        context=(f"in the log: {same[0]}", f"this file: {package}"),
        hint="Remove that plugin in Dify, upload this file, and compare the identifier that Dify shows.",
    )

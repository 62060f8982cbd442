"""Why an install failed, read off a log of the daemon, of `docker compose logs`, or off what the console shows.

The log is read once, in blocks, with the end of each block looked at again together with the next: memory stays the
same however long it is. Of several failures the last one counts, that being the one people ask about.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Protocol

from .diagnosis import Diagnosis
from .identity import Identity
from .logwrap import PIECE, unwrap
from .textrules import Finding, FlatText, Rule, find, flatten, load_rules
from .uvtext import uv_rules

LIMIT: Final = 256 * 1024 * 1024
"""Characters of a log that are read; an endless one ends there. A short line costs as much as one of 100 characters."""

_LEAST: Final = 100

_BLOCK: Final = 64 * 1024
_OVERLAP: Final = 100  # lines of a block that are looked at again with the next
_PLUGINS: Final = 8
_AUTHOR_NAME = r"(?P<author>[a-z0-9_-]{1,64})/(?P<name>[a-z0-9_-]{1,255}?)"
_VERSION = r"(?P<version>\d{1,4}(?:\.\d{1,4}){1,3}(?:-\w{1,16})?)"
_CHECKSUM = r"@(?P<checksum>[a-f0-9]{32,64})"
_PLUGIN_PATTERNS: Final = (
    re.compile(rf"(?<![\w/-]){_AUTHOR_NAME}:{_VERSION}{_CHECKSUM}(?!\w)", re.ASCII),
    re.compile(rf"(?<![\w-]){_AUTHOR_NAME}-{_VERSION}{_CHECKSUM}(?!\w)", re.ASCII),  # the folder below `cwd`
    re.compile(rf"plugin[\w ]{{0,20}}[ =:]\"?{_AUTHOR_NAME}:{_VERSION}(?![\w@.-])(?P<checksum>)", re.ASCII),
)
_NOTHING: Final = Diagnosis(
    slug="cause-not-found",
    message="no line of this text is a failure that difyoff knows",
    hint="take the daemon's whole log of the install (`docker compose logs --no-color plugin_daemon`) and look for"
    " lines with `error:`, `Caused by:` or `failed to`; or run `difyoff verify PACKAGE`",
)


class _Readable(Protocol):
    def readline(self, size: int = ..., /) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPlugin:
    """A plugin that a log names; `checksum` is empty where it only gives the version."""

    author: str
    name: str
    version: str
    checksum: str

    def __str__(self) -> str:
        return f"{self.author}/{self.name}:{self.version}" + (f"@{self.checksum}" if self.checksum else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDiagnosis:
    """What a log tells.

    `cause` holds the evidence in its context. `sure` is False where the text does not decide by itself. `plugins` are
    those named near the cause, nearest first (without a cause: the last ones named). `complete` is False if reading
    stopped at the limit or was interrupted.
    """

    cause: Diagnosis
    sure: bool
    plugins: tuple[SeenPlugin, ...]
    complete: bool


def diagnose_log(lines: Iterable[str], *, limit: int = LIMIT) -> LogDiagnosis:
    """Read the lines of a log, at most `limit` characters, and return what it tells.

    An interruption (`KeyboardInterrupt`) of the input ends the reading, not the diagnosis: somebody follows a log.
    """
    reader = _Reader()
    complete = True
    try:
        for line in lines:
            limit -= max(len(line), _LEAST)
            if limit < 0:
                complete = False
                break
            reader.read(line)
    except KeyboardInterrupt:
        complete = False
    return reader.result(complete=complete)


def log_lines(stream: _Readable) -> Iterator[str]:
    """Yield the lines of a binary stream as text, long ones in pieces: a line without an end needs no memory."""
    while line := stream.readline(PIECE):
        yield line.decode("utf-8", errors="replace").rstrip("\r\n")


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
        hint="remove that plugin in Dify, upload this file, and compare the identifier that Dify shows",
    )


@cache
def _rules() -> tuple[Rule, ...]:
    rules = (*uv_rules().rules, *load_rules("daemonlog.toml").rules)
    return tuple(sorted(rules, key=lambda rule: not rule.sure))


@dataclass(slots=True)
class _Reader:
    """The state of one reading: the block at hand, the best finding so far, plugins seen last."""

    block: list[str] = field(default_factory=list)
    size: int = 0
    finding: Finding | None = None
    plugins: tuple[SeenPlugin, ...] = ()

    def read(self, line: str) -> None:
        for text in unwrap(line):
            self.block.append(text)
            self.size += len(text) + 1
            if self.size > _BLOCK:
                self.judge()
                self.block = self.block[-_OVERLAP:]
                while (size := sum(map(len, self.block))) > _BLOCK // 4:
                    del self.block[: len(self.block) // 2 + 1]
                self.size = size

    def judge(self) -> None:
        flat = flatten(self.block)
        finding = find(_rules(), flat)
        if finding and (finding.sure or not (self.finding and self.finding.sure)):
            self.finding = finding
            self.plugins = _plugins(flat, finding.start) or self.plugins
        elif not self.finding:
            self.plugins = _plugins(flat, len(flat.text)) or self.plugins

    def result(self, *, complete: bool) -> LogDiagnosis:
        self.judge()
        return LogDiagnosis(
            cause=self.finding.diagnosis if self.finding else _NOTHING,
            sure=bool(self.finding and self.finding.sure),
            plugins=self.plugins,
            complete=complete,
        )


def _plugins(flat: FlatText, place: int) -> tuple[SeenPlugin, ...]:
    if "@" not in flat.text and "plugin" not in flat.text:
        return ()
    found = [
        (abs(match.start() - place), match) for pattern in _PLUGIN_PATTERNS for match in pattern.finditer(flat.text)
    ]
    nearest = sorted(found, key=lambda item: (not item[1]["checksum"], item[0]))
    plugins = dict.fromkeys(SeenPlugin(**match.groupdict()) for _, match in nearest)
    return tuple(plugins)[:_PLUGINS]

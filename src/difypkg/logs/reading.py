"""A whole log, read once in bounded memory: each failure in it with its cause, how sure that is, and the fix.

Failures that repeat are counted. What only follows from a failure whose cause is in the log is left out, and so is a
guess where the same failure is told surely elsewhere.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ..diagnosis import Diagnosis
from ..redaction import redact
from ..textrules import CONFIDENCES, Confidence, Role, clip
from .failures import Found, Sighting, find_failures
from .plugins import Mention, SeenPlugin, find_mentions, nearest
from .records import Record, read_records

LIMIT: Final = 512 * 1024 * 1024
"""Characters of a log that are read; an endless one ends there. A short line costs as much as one of 100 characters."""

_LEAST: Final = 100
_BATCH: Final = 64 * 1024  # characters of records that are judged together
_FAILURES: Final = 200
_UNKNOWN: Final = 20
_PENDING: Final = 16
_PLUGINS: Final = 8
_TEXT_WIDTH: Final = 300
_GRAVE: Final = frozenset({"ERROR", "CRITICAL", "FATAL", "PANIC", "EMERG", "ALERT", "CRIT"})
_BEGINS: Final = re.compile(r"init environment for plugin |installing plugin dependencies|new plugin logged in")
_ENDS: Final = re.compile(r"has exited|local runtime ready|plugin \S{1,400} started|local runtime start failed")
_PENDING_FAILURE: Final = re.compile(r"init environment failed|^installing ")
_COUNTED: Final = re.compile(r"[0-9a-f]{6,}|\d+")
_NOTHING: Final = Diagnosis(
    slug="cause-not-found",
    message="no line of this text is a failure that difyoff knows",
    hint="Take the daemon's whole log of the install (`docker compose logs --no-color plugin_daemon`) and look for"
    " lines with `error:`, `Caused by:` or `failed to`; or run `difyoff verify PACKAGE`.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line of the log, from 1, and its time as written (empty where there is none)."""

    line: int
    time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure of a log, or for `role` `normal` lines that look like one.

    `component` is whose log tells it (empty where that is not known), `concerns` the part of the site to be mended.
    `asker` and `asked` say who asked whom, where one asked another. `plugins`: the one it is about, or several between
    which the log does not decide. `count` is how often it was told, between the places `first` and `last`.
    """

    diagnosis: Diagnosis
    confidence: Confidence
    role: Role
    concerns: str
    component: str
    asker: str | None
    asked: str | None
    plugins: tuple[SeenPlugin, ...]
    count: int
    first: Place
    last: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownError:
    """A line that its writer calls an error and no rule knows."""

    text: str
    component: str
    count: int
    first: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What a log tells.

    `failures` are in the order of the log. `plugins` are those named near the main one, nearest first (without a
    failure: the last ones named). `complete` is False if reading stopped at the limit or was interrupted.
    """

    failures: tuple[Failure, ...]
    normal: tuple[Failure, ...]
    unknown: tuple[UnknownError, ...]
    plugins: tuple[SeenPlugin, ...]
    complete: bool

    @property
    def main(self) -> Failure | None:
        """The failure that people ask about: of the surest causes the last one."""
        return max(self.failures, key=lambda failure: (*_weight(failure), failure.last.line), default=None)

    @property
    def cause(self) -> Diagnosis:
        """The main failure's diagnosis; `cause-not-found` without one."""
        return self.main.diagnosis if self.main else _NOTHING

    @property
    def sure(self) -> bool:
        """Say whether the log proves its main cause."""
        return self.main is not None and self.main.confidence == "sure"


def diagnose_log(lines: Iterable[str], *, limit: int = LIMIT) -> LogReport:
    """Read the lines of a log, at most `limit` characters, and return what it tells.

    An interruption (`KeyboardInterrupt`) of the input ends the reading, not the diagnosis: somebody follows a log.
    """
    reader = _Reader()
    source = _Source(lines, limit)
    for batch in _batches(read_records(source)):
        for found in find_failures(batch):
            reader.read(found)
    return reader.report(complete=source.complete)


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += sum(map(len, record.lines))
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    yield batch


class _Source:
    """The lines up to the limit or to an interruption."""

    def __init__(self, lines: Iterable[str], limit: int) -> None:
        self._lines = lines
        self._left = limit
        self.complete = True

    def __iter__(self) -> Iterator[str]:
        try:
            for line in self._lines:
                self._left -= max(len(line), _LEAST)
                if self._left < 0:
                    self.complete = False
                    return
                yield line
        except KeyboardInterrupt:
            self.complete = False


@dataclass(slots=True)
class _Seen:
    """A failure so far."""

    sighting: Sighting
    plugins: tuple[SeenPlugin, ...]
    count: int
    first: Place
    last: Place


_Key = tuple[str, str, str, str]


@dataclass(slots=True)
class _Reader:
    failures: dict[_Key, _Seen] = field(default_factory=dict)
    normal: dict[_Key, _Seen] = field(default_factory=dict)
    unknown: dict[str, UnknownError] = field(default_factory=dict)
    pending: dict[str, dict[SeenPlugin, None]] = field(default_factory=dict)
    named: tuple[SeenPlugin, ...] = ()

    def read(self, found: Found) -> None:
        record, flat, sightings = found.record, found.flat, found.sightings
        mentions = find_mentions(flat.text)
        self._follow(record, flat.text, mentions)
        place = Place(line=record.line, time=record.time)
        for sighting in sightings:
            plugins = sighting.plugins
            if not plugins and _PENDING_FAILURE.search(flat.text):
                plugins = tuple(self.pending.get(record.source, ()))[:_PLUGINS]
            self._add(self.normal if sighting.role == "normal" else self.failures, sighting, plugins, place)
        if mentions:
            self.named = tuple(dict.fromkeys((*nearest(mentions, len(flat.text)), *self.named)))[:_PLUGINS]
        if not sightings and record.whole and record.level in _GRAVE:
            self._wonder(record, flat.text, place)

    def _follow(self, record: Record, text: str, mentions: list[Mention]) -> None:
        """Keep in mind which plugins a daemon is at work on: up to 0.4.1 it does not name them in its errors."""
        if not mentions or not record.whole:
            return
        at_work = self.pending.setdefault(record.source, {})
        for mention in mentions[:1]:
            if _BEGINS.search(text):
                at_work.pop(mention.plugin, None)
                at_work[mention.plugin] = None
            elif _ENDS.search(text):
                for plugin in [each for each in at_work if each.release == mention.plugin.release]:
                    del at_work[plugin]
        while len(at_work) > _PENDING:
            del at_work[next(iter(at_work))]

    def _add(self, seen: dict[_Key, _Seen], sighting: Sighting, plugins: tuple[SeenPlugin, ...], place: Place) -> None:
        about = " ".join(sorted(plugin.release for plugin in plugins))
        message = "" if sighting.role == "normal" else _COUNTED.sub("#", sighting.diagnosis.message)
        key = (sighting.diagnosis.slug, sighting.component, about, message or sighting.diagnosis.message)
        known = seen.get(key)
        if known is not None:
            known.count += 1
            known.last = place
            known.sighting = sighting
            known.plugins = max(plugins, known.plugins, key=lambda each: sum(bool(plugin.checksum) for plugin in each))
        elif len(seen) < _FAILURES:
            seen[key] = _Seen(sighting, plugins, 1, place, place)

    def _wonder(self, record: Record, text: str, place: Place) -> None:
        shown = redact(clip(text, _TEXT_WIDTH))
        key = _COUNTED.sub("#", shown[:120])
        known = self.unknown.get(key)
        if known is not None or len(self.unknown) < _UNKNOWN:
            first, count = (known.first, known.count + 1) if known else (place, 1)
            self.unknown[key] = UnknownError(text=shown, component=record.component, count=count, first=first)

    def report(self, *, complete: bool) -> LogReport:
        failures = _told(map(_failure, self.failures.values()))
        main = LogReport(failures=failures, normal=(), unknown=(), plugins=(), complete=True).main
        return LogReport(
            failures=failures,
            normal=tuple(map(_failure, self.normal.values())),
            unknown=tuple(self.unknown.values()),
            plugins=tuple(dict.fromkeys((*(main.plugins if main else ()), *self.named)))[:_PLUGINS],
            complete=complete,
        )


def _failure(seen: _Seen) -> Failure:
    sighting = seen.sighting
    return Failure(
        diagnosis=sighting.diagnosis,
        confidence=sighting.confidence,
        role=sighting.role,
        concerns=sighting.concerns,
        component=sighting.component,
        asker=sighting.asker,
        asked=sighting.asked,
        plugins=seen.plugins,
        count=seen.count,
        first=seen.first,
        last=seen.last,
    )


def _told(failures: Iterable[Failure]) -> tuple[Failure, ...]:
    """Leave out what a surer failure of the same plugin explains, and put the rest in the log's order."""
    every = list(failures)
    kept = [each for each in every if not any(_explains(other, each) for other in every if other is not each)]
    return tuple(sorted(kept, key=lambda each: each.first.line))


def _explains(cause: Failure, other: Failure) -> bool:
    if cause.role != "cause" or _weight(cause) <= _weight(other) or not _same_plugin(cause, other):
        return False
    if cause.confidence == "possible":
        return False
    same = not cause.component or not other.component or cause.component == other.component
    return other.role == "consequence" or (other.confidence == "possible" and same)


def _same_plugin(one: Failure, other: Failure) -> bool:
    """Say whether two failures may be about one plugin: they name a common one, or one of them names none."""
    releases = {plugin.release for plugin in one.plugins}
    return not one.plugins or not other.plugins or any(plugin.release in releases for plugin in other.plugins)


def _weight(failure: Failure) -> tuple[int, int]:
    return (failure.role == "cause", -CONFIDENCES.index(failure.confidence))

"""From a record to the failures in it: rules searched in its text, and of those that see the same one the best."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Final

from ..diagnosis import Diagnosis
from ..textrules import CONFIDENCES, ROLES, Confidence, FlatText, Role, Rule, flatten, load_rules
from ..uvtext import uv_rules
from .plugins import Mention, SeenPlugin, find_mentions, nearest
from .records import Record

_FILES: Final = ("normal", "site", "package", "start", "undecided")
_NEAR: Final = 1500  # characters: one failure, as told by the innermost and by what is wrapped around it
_MATCHES: Final = 64
_CONTENT: Final = (
    (re.compile(r"/app/storage/cwd/|dify-plugin-daemon|plugin_daemon"), "plugin_daemon"),
    (re.compile(r'File "/app/api/|/app/api/\.venv/'), "api"),
    (re.compile(r"\[error\] \d+#\d+:|nginx: \["), "nginx"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A rule that speaks of a record.

    `component` is the one that said it, empty where that is not known; `concerns` the one to be mended. `plugins` are
    those it may be about: one, or several between which the text does not decide, or none.
    """

    diagnosis: Diagnosis
    confidence: Confidence
    role: Role
    concerns: str
    component: str
    asker: str | None
    asked: str | None
    plugins: tuple[SeenPlugin, ...]


@cache
def log_rules() -> tuple[Rule, ...]:
    """Return the rules for logs; of two that see the same failure the one that comes first speaks."""
    normal, *others = (load_rules(f"logs/rules/{name}.toml").rules for name in _FILES)
    return (*normal, *uv_rules().rules, *(rule for rules in others for rule in rules))


@dataclass(frozen=True, slots=True)
class _Match:
    order: int
    rule: Rule
    match: re.Match[str]
    plugin: SeenPlugin | None

    @property
    def rank(self) -> tuple[int, int, int]:
        return ROLES.index(self.rule.role), CONFIDENCES.index(self.rule.confidence), self.order


@dataclass(frozen=True, slots=True)
class Found:
    """A record, its text as one line, and what the rules say of it."""

    record: Record
    flat: FlatText
    sightings: tuple[Sighting, ...]


def find_failures(records: Sequence[Record]) -> Iterator[Found]:
    """Yield each record with what the rules say of it.

    A record that stands as a whole has one failure at most, and normal lines in it; a text without heads may have
    several, apart from each other or about different plugins. Records come in numbers, because most of them have none
    of the rules' words: these are looked for once in the text of all.
    """
    flats = [flatten(record.lines) for record in records]
    rules = _rules_with_words("\n".join(flat.text for flat in flats))
    for record, flat in zip(records, flats, strict=True):
        yield Found(record, flat, tuple(_sightings(record, flat, rules)) if rules else ())


def _rules_with_words(text: str) -> list[tuple[int, Rule]]:
    present = {key for key in _keys() if key in text}
    return [(order, rule) for order, rule in enumerate(log_rules()) if not present.isdisjoint(rule.keys)]


@cache
def _keys() -> frozenset[str]:
    return frozenset(key for rule in log_rules() for key in rule.keys)


def _sightings(record: Record, flat: FlatText, rules: Sequence[tuple[int, Rule]]) -> list[Sighting]:
    if not flat.text:
        return []
    component = record.component or _component_by_content(flat.text)
    here = [each for each in rules if not each[1].where or not component or component in each[1].where]
    normal, text = _normal(here, flat.text)
    found = [
        (order, rule, match)
        for order, rule in here
        if rule.role != "normal"
        for match in islice(rule.matches(text), _MATCHES)
    ]
    if not found and not normal:
        return []
    mentions = find_mentions(flat.text)
    matches = [_Match(order, rule, match, next(nearest(mentions, match.start()), None)) for order, rule, match in found]
    best = [min(group, key=lambda each: (each.rank, -each.match.start())) for group in _groups(matches, record.whole)]
    if record.whole and len(best) > 1:
        best = [min(best, key=lambda each: (each.rank[:2], -each.match.start()))]
    return [_sighting(each, flat, component, mentions) for each in (*normal, *best)]


def _normal(rules: Sequence[tuple[int, Rule]], text: str) -> tuple[list[_Match], str]:
    """Return what is normal in a text, and the text with it blanked out."""
    found: list[_Match] = []
    blanked = text
    for order, rule in rules:
        if rule.role == "normal":
            for match in islice(rule.matches(text), _MATCHES):
                found.append(_Match(order, rule, match, None))
                blanked = blanked[: match.start()] + " " * (match.end() - match.start()) + blanked[match.end() :]
    return found, blanked


def _groups(matches: Iterable[_Match], whole: bool) -> list[list[_Match]]:
    """Put together the matches that speak of one failure: near each other, and about one plugin."""
    groups: list[list[_Match]] = []
    end = 0
    for each in sorted(matches, key=lambda each: each.match.start()):
        same = bool(groups) and each.match.start() <= end + _NEAR
        if same and not whole:
            same = each.plugin is None or groups[-1][0].plugin is None or each.plugin == groups[-1][0].plugin
        if same:
            groups[-1].append(each)
        else:
            groups.append([each])
        end = max(end, each.match.end())
    return groups


def _sighting(found: _Match, flat: FlatText, component: str, mentions: list[Mention]) -> Sighting:
    rule = found.rule
    values = rule.values(found.match)
    plugins = tuple(nearest(mentions, found.match.start()))
    return Sighting(
        diagnosis=rule.diagnosis(found.match, flat),
        confidence=rule.confidence,
        role=rule.role,
        concerns=rule.concerns,
        component=component,
        asker=rule.asker.format_map(values) if rule.asker else None,
        asked=rule.asked.format_map(values) if rule.asked else None,
        plugins=plugins[:1] if rule.role != "normal" else (),
    )


def _component_by_content(text: str) -> str:
    return next((component for pattern, component in _CONTENT if pattern.search(text)), "")

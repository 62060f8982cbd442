"""Rules that read a diagnosis off text: the engine behind `uvtext` and `logs`.

Text is *flattened* first: uv wraps its sentences at 80 columns, frames them (`│`, `╰─▶`) or does not, by version; a
terminal adds colours, a verbose run the resolver's own log. What is left is one line, which rules search, with a way
back to the lines it came from. Rules are data, in TOML files beside this module.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, get_args

from .diagnosis import REBUILD, Diagnosis
from .redaction import redact

_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_FRAME: Final = " \t│├╰╭─▶\N{MULTIPLICATION SIGN}"
_TRACING: Final = re.compile(r"(?:TRACE|DEBUG) ")
_TRACED: Final = re.compile(r"(?:Caused by: ?|\d+: |$)")
_NEAR: Final = 1500  # characters: one failure, as told by uv and by what is wrapped around it
_EVIDENCE_LINES: Final = 8
_EVIDENCE_WIDTH: Final = 300
_VALUE_WIDTH: Final = 160

Confidence: TypeAlias = Literal["sure", "likely", "possible"]
"""`sure`: the text itself proves it. `likely`: it is nearly always so. `possible`: the text does not decide."""

Role: TypeAlias = Literal["cause", "consequence", "normal"]
"""A `consequence` follows from something else; `normal` looks like a failure and is none."""

Side: TypeAlias = Literal["installing", "resolving"]
"""Who ran uv: the daemon over a package, or difyoff with an index."""

CONFIDENCES: Final[tuple[Confidence, ...]] = get_args(Confidence)
ROLES: Final[tuple[Role, ...]] = get_args(Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one sentence means.

    `pattern` is searched in flat text that holds one of `keys`; each of `also` must be found somewhere in the same
    text, in any order, and none of `unless`. `message`, `hint`, `asker` and `asked` may name the pattern's groups in
    braces. A rule that is less sure speaks only where no surer one does. `holds` looks closer at a match than a
    pattern can. `where` are the components in whose records the rule holds (empty: in all); `concerns` is the part of
    the site that is to be mended.
    """

    slug: str
    keys: tuple[str, ...]
    pattern: re.Pattern[str]
    message: str
    hint: str
    note: str | None = None
    confidence: Confidence = "sure"
    role: Role = "cause"
    concerns: str = "package"
    asker: str | None = None
    asked: str | None = None
    where: tuple[str, ...] = ()
    also: tuple[re.Pattern[str], ...] = ()
    unless: tuple[re.Pattern[str], ...] = ()
    holds: Callable[[re.Match[str]], bool] | None = None

    @property
    def sure(self) -> bool:
        """Say whether a match proves what the rule says."""
        return self.confidence == "sure"

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """Yield every place where the rule holds."""
        if not any(key in text for key in self.keys):
            return
        asked = False
        for match in self.pattern.finditer(text):
            if not asked:
                if not all(pattern.search(text) for pattern in self.also):
                    return
                if any(pattern.search(text) for pattern in self.unless):
                    return
                asked = True
            if self.holds is None or self.holds(match):
                yield match

    def last_match(self, text: str) -> re.Match[str] | None:
        """Return the last place where the rule holds."""
        found = None
        for found in self.matches(text):  # noqa: B007 - the last one is wanted
            pass
        return found

    def diagnosis(self, match: re.Match[str], flat: "FlatText") -> Diagnosis:
        """Return what the rule says of one match."""
        values = self.values(match)
        return Diagnosis(
            slug=self.slug,
            message=self.message.format_map(values),
            context=flat.lines_of(match.start(), match.end()),
            note=self.note,
            hint=self.hint.format_map(values),
        )

    def values(self, match: re.Match[str]) -> Mapping[str, str]:
        """Return the groups of a match, clipped and without passwords; `?` for one that took no part."""
        return {
            name: redact(clip(value.strip('`"').rstrip(".,:;"), _VALUE_WIDTH)) if value else "?"
            for name, value in match.groupdict().items()
        }


@dataclass(frozen=True, slots=True)
class FlatText:
    """Lines joined by blanks; `starts` are their offsets in `text`."""

    lines: Sequence[str]
    text: str
    starts: Sequence[int]

    def lines_of(self, start: int, end: int) -> tuple[str, ...]:
        """Return the lines that the characters from `start` to `end` come from: a few, clipped, without passwords."""
        first = bisect_right(self.starts, start) - 1
        last = min(bisect_right(self.starts, max(start, end - 1)), first + _EVIDENCE_LINES)
        lines = list(self.lines[first:last])
        before = start - self.starts[first] - _EVIDENCE_WIDTH // 4
        if len(lines[0]) > _EVIDENCE_WIDTH and before > 0:  # the place in a long line, not its beginning
            lines[0] = "…" + lines[0][before:]
        return tuple(redact(clip(line, _EVIDENCE_WIDTH)) for line in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A diagnosis read off text, whether it is `sure`, and its offset in the flat text."""

    diagnosis: Diagnosis
    sure: bool
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """Rules, the more telling ones first, and the phrases that their hints share."""

    rules: tuple[Rule, ...]
    phrases: Mapping[str, str]


def load_rules(
    file: str, checks: Mapping[str, Callable[[re.Match[str]], bool]] = MappingProxyType({}), side: Side = "installing"
) -> RuleSet:
    """Read a table of rules; `checks` are the functions that its rules name under `holds`.

    A sentence may mean one thing on the side that installs and another on the side that resolves: a rule's `resolving`
    table holds what differs, a rule without one says nothing there, and `installing = false` is for resolving alone.
    """
    table = tomllib.loads((files("difyoff.difypkg") / file).read_text(encoding="utf-8"))
    phrases = {"rebuild": REBUILD}
    for name, phrase in table.get("phrases", {}).items():
        phrases[name] = _filled(phrase, phrases, "{%s}")
    fragments = table.get("fragments", {})
    rules = tuple(
        Rule(
            **{
                **row,
                "keys": tuple(row["keys"]),
                "pattern": re.compile(_filled(row["pattern"], fragments, "%%%s%%")),
                "hint": _filled(row["hint"], phrases, "{%s}"),
                "where": tuple(row.get("where", ())),
                "also": tuple(map(re.compile, row.get("also", ()))),
                "unless": tuple(map(re.compile, row.get("unless", ()))),
                "holds": checks[row["holds"]] if "holds" in row else None,
            }
        )
        for row in _rows(table["rule"], side)
    )
    return RuleSet(rules=rules, phrases=MappingProxyType(phrases))


def _rows(table: Iterable[dict[str, Any]], side: Side) -> Iterator[dict[str, Any]]:
    for row in table:
        installing, resolving = row.pop("installing", True), row.pop("resolving", None)
        if side == "installing" and installing:
            yield row
        elif side == "resolving" and (resolving is not None or not installing):
            words = row | (resolving or {})
            yield words | {"note": words.get("note") or None}


def flatten(lines: Iterable[str]) -> FlatText:
    """Join lines to one, without frames, colours and the resolver's own log (`DEBUG`, `TRACE`)."""
    kept = [line for line in map(_plain, _untraced(lines)) if line]
    starts: list[int] = []
    offset = 0
    for line in kept:
        starts.append(offset)
        offset += len(line) + 1
    return FlatText(kept, " ".join(kept), starts)


def find(rules: Sequence[Rule], flat: FlatText) -> Finding | None:
    """Return what the rules say of the last failure in the text; of rules that see the same one the first speaks."""
    if not flat.text:
        return None
    found = [(rule, match) for rule in rules if (match := rule.last_match(flat.text))]
    for sure in (True, False):
        matches = [(rule, match) for rule, match in found if rule.sure is sure]
        if matches:
            last = max(match.end() for _, match in matches)
            rule, match = next((rule, match) for rule, match in matches if match.end() > last - _NEAR)
            return Finding(diagnosis=rule.diagnosis(match, flat), sure=sure, start=match.start())
    return None


def clip(text: str, width: int) -> str:
    """Shorten text to `width` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _filled(text: str, values: Mapping[str, str], mark: str) -> str:
    for name, value in values.items():
        text = text.replace(mark % name, value)
    return text


def _untraced(lines: Iterable[str]) -> Iterator[str]:
    tracing = False
    for line in lines:
        bare = line.strip()
        # "Resolving despite existing lockfile" is told in the resolver's log only.
        if _TRACING.match(bare) and "existing lockfile" not in bare:
            tracing = True
        elif not (tracing and _TRACED.match(bare)):
            tracing = False
            yield line


def _plain(line: str) -> str:
    return " ".join(_ESCAPES.sub("", line).strip().lstrip(_FRAME).split())

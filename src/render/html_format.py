"""One page of HTML that needs nothing else: no script, no request, English and Chinese, for a screen and for paper.

Everything that comes from a package is hostile text. It is escaped by the template engine; characters that would steer
a reader's eye (bidirectional overrides, controls) are written out.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from .. import __version__
from ..difypkg.diagnosis import Diagnosis
from ..difypkg.sizes import human_size
from ..verify.report import Inventory, ScenarioReport, VerificationReport
from .api import Document
from .entries import Entry, entries_of, failures_of, findings_of, scenario_name
from .words import WORDS

State: TypeAlias = Literal["passed", "failed", "error", "not-verified", "skipped"]

_NOTHING: Final = "\N{EN DASH}"
_GENERATOR: Final = b'<meta name="generator" content="difyoff '
_MARKS: Final[dict[State, str]] = {
    "passed": "\N{CHECK MARK}",
    "failed": "\N{BALLOT X}",
    "error": "!",
    "not-verified": "?",
    "skipped": "\N{EN DASH}",
}
# Controls, and what changes the direction of the text around it (UAX #9).
_STEERING: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_MOST_FINDINGS: Final = 200
_MOST_LINES: Final = 100
_LONGEST: Final = 500
"""Bounds for what a page shows: a package made to attack it has a hundred thousand findings. JSON has them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One field of the table of packages and releases, and where its evidence is."""

    state: State
    anchor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioRow:
    """One scenario of a package; `isolated` is None where no network had to be cut off."""

    name: str
    state: State
    install: str
    start: str
    isolated: bool | None
    uv: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of what is known of a package; `name` is a key of the words."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One step of the daemon and how many seconds it took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A size against its limit, in bytes, and both in words."""

    name: str
    size: int
    limit: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """What the page says of one package."""

    name: str
    state: State
    report: VerificationReport | None
    facts: tuple[Fact, ...]
    failures: tuple[Diagnosis, ...]
    findings: tuple[Diagnosis, ...]
    findings_total: int
    scenarios: tuple[ScenarioRow, ...]
    timeline: tuple[Moment, ...]
    sizes: tuple[Size, ...]
    inventory: Inventory | None

    @property
    def longest(self) -> float:
        """The longest step of the time line, in seconds."""
        return max((moment.seconds for moment in self.timeline), default=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One package in the table of all."""

    entry: Article
    cells: tuple[Cell, ...]


def render(document: Document) -> str:
    """Return the document as a page."""
    articles = list(map(_article, entries_of(document)))
    columns = _columns(articles)
    states = [article.state for article in articles]
    return (
        _environment()
        .get_template("report.html")
        .render(
            document=document,
            title=articles[0].name if len(articles) == 1 else f"{len(articles)} packages",
            entries=articles,
            columns=columns,
            matrix=[
                Row(entry=article, cells=tuple(_cell(article, index, column) for column in columns))
                for index, article in enumerate(articles, 1)
            ],
            totals=[(state, states.count(state)) for state in _MARKS if state in states],
            marks=_MARKS,
            version=__version__,
            css=Markup(_resource("report.css")),
        )
    )


def recognises(content: bytes) -> bool:
    """Say whether the content is such a page."""
    return _GENERATOR in content[:600]


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_readable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["t"] = _translated
    environment.filters["lines"] = _joined
    environment.filters["size"] = human_size
    environment.filters["host"] = _host
    return environment


def _resource(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _readable(value: object) -> object:
    """Write out what would steer the reader's eye, and cut what no reader reads."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = value if len(value) <= _LONGEST * _MOST_LINES else value[: _LONGEST * _MOST_LINES] + "…"
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _translated(key: str) -> Markup:
    english, chinese = WORDS[key]
    return Markup('<span class="en" lang="en">{}</span><span class="zh" lang="zh">{}</span>').format(english, chinese)


def _joined(lines: Sequence[str]) -> str:
    shown = [line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…" for line in lines[:_MOST_LINES]]
    return "\n".join([*shown, *([f"… {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else [])])


def _host(origin: str) -> str:
    """Return the host of a wheel's URL: the rest of it only repeats the file's name and hash."""
    return urlsplit(origin).hostname or origin


def _article(entry: Entry) -> Article:
    findings, report = findings_of(entry), entry.report
    inventory = report.inventory if report else None
    return Article(
        name=entry.name,
        state=report.verdict if report is not None else "failed" if entry.exit_code == 1 else "not-verified",
        report=report,
        facts=tuple(_facts(report)),
        failures=failures_of(entry),
        findings=findings[:_MOST_FINDINGS],
        findings_total=len(findings),
        scenarios=tuple(map(_scenario_row, report.scenarios)) if report else (),
        timeline=tuple(_timeline(report)) if report else (),
        inventory=inventory,
        sizes=tuple(_sizes(inventory)) if inventory else (),
    )


def _facts(report: VerificationReport | None) -> Iterator[Fact]:
    if report is None or report.inventory is None:
        return
    inventory = report.inventory
    targets = (f"{each.architecture}, CPython {each.python}, glibc {each.glibc}" for each in inventory.targets)
    yield Fact(name="target", value="; ".join(targets))
    if inventory.source:
        yield Fact(name="source", value=inventory.source)
    if inventory.tools:
        yield Fact(name="tools", value=inventory.tools)
    yield Fact(name="signature", value=inventory.signature)


def _sizes(inventory: Inventory) -> Iterator[Size]:
    for each in inventory.sizes:
        text = f"{human_size(each.size)} / {human_size(each.limit)}"
        yield Size(name=each.name, size=each.size, limit=each.limit, text=text)


def _scenario_row(scenario: ScenarioReport) -> ScenarioRow:
    said = {check.name: check.message for check in scenario.checks if check.status == "passed"}
    skipped = {check.name: check.message for check in scenario.checks if check.status == "skipped"}
    audit = scenario.backend == "audit"
    return ScenarioRow(
        name=scenario_name(scenario),
        state=scenario.verdict,
        install=f"{len(said)} checks" if audit else said.get("distributions", _NOTHING),
        start=said.get("start") or skipped.get("start") or _NOTHING,
        isolated=None if scenario.isolation is None else scenario.isolation.proved,
        uv=scenario.uv,
    )


def _timeline(report: VerificationReport) -> Iterator[Moment]:
    """Yield the steps of the scenario in which the plugin was started."""
    for scenario in report.scenarios:
        if any((check.name, check.status) == ("start", "passed") for check in scenario.checks):
            for check in scenario.checks:
                if check.seconds >= 0.05:
                    yield Moment(name=check.name, seconds=round(check.seconds, 2))
            return


def _columns(articles: Iterable[Article]) -> tuple[str, ...]:
    """Return the daemon releases of all reports, oldest first as the reports have them."""
    scenarios = (scenario for article in articles if article.report for scenario in article.report.scenarios)
    return tuple(dict.fromkeys(scenario.daemon for scenario in scenarios if scenario.daemon))


def _cell(article: Article, number: int, release: str) -> Cell:
    """Return the gravest verdict of a package's scenarios on one release."""
    scenarios = article.report.scenarios if article.report else ()
    found = [
        Cell(state=scenario.verdict, anchor=f"p{number}s{index}")
        for index, scenario in enumerate(scenarios, 1)
        if scenario.daemon == release
    ]
    gravest: tuple[State, ...] = ("error", "failed", "not-verified", "passed")
    return min(found, key=lambda cell: gravest.index(cell.state), default=Cell(state="skipped"))

"""From the lines of a log to records: what one component said at one time, freed of all that stands around it.

A line is first *transported* (docker compose, `kubectl logs --prefix`, container runtimes and people put names and
dates before it), then it has the *head* of what wrote it: Go's `log`, slog (text or JSON), gin, Python's logging,
Celery, nginx, PostgreSQL, Redis, Squid, the kernel. A line without a head continues the record that its component has
open: a traceback, uv's sentences, a goroutine's stack. The daemon's HTTP replies hold JSON within JSON.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

LONGEST: Final = 400
"""Lines of a record; a longer one is continued by another, which begins with the last lines of the first."""

_SIZE: Final = 128 * 1024
_PIECE: Final = 32 * 1024
_SEAM: Final = 2 * 1024  # characters of a long line that are looked at again with its next piece
_OVERLAP: Final = 40
_STREAMS: Final = 64
_DEPTH: Final = 6
_LAYERS: Final = 4
_TEXTS: Final = 2000
_LONG: Final = 1500  # a log that lost its line ends is one long line
_CUT: Final = 16 * 1024 - 1  # docker's json-file driver cuts longer lines

HOST: Final = "host"
_COMPONENTS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), component)
    for pattern, component in (
        (r"plugin[-_]?(?:daemon|manager|connector)", "plugin_daemon"),
        (r"worker|beat|celery", "worker"),
        (r"ssrf|squid", "ssrf_proxy"),
        (r"sandbox", "sandbox"),
        (r"weaviate|qdrant|milvus|pgvector|opensearch|elasticsearch|chroma|oceanbase|etcd|couchbase", "vector_store"),
        (r"redis|valkey", "redis"),
        (r"postgres|mysql|(?:^|[-_])db(?:$|[-_])", "db"),
        (r"minio|(?:^|[-_])s3(?:$|[-_])", "storage"),
        (r"nginx|ingress|gateway|traefik|caddy", "nginx"),
        (r"(?:^|[-_])api(?:$|[-_])", "api"),
        (r"(?:^|[-_])web(?:$|[-_])", "web"),
    )
)
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_DATE: Final = re.compile(
    r"\[?(?P<time>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9}){0,2}(?: ?(?:Z|[+-]\d\d:?\d\d)\b)?)\]?"
    r"(?=[ \t|]|$)[ \t]{0,9}"
)
_NAME: Final = re.compile(r"(?P<source>[A-Za-z0-9][\w.-]{0,99}) {0,60}\| ?")
_POD: Final = re.compile(r"\[(?P<source>pods?/[^\]\s]{1,200})\] ?")
_STERN: Final = re.compile(r"[a-z0-9-]{3,100}-[a-z0-9]{5,10}(?:-[a-z0-9]{5})? (?P<source>[a-z0-9-]{2,63}) (?=[\d{\[])")
_RUNTIME: Final = re.compile(r"std(?:out|err) (?P<part>[FP]) ")
_NUMBERED: Final = re.compile(r"[-_]\d{1,3}$")
_PG_LEVELS: Final = "LOG|FATAL|ERROR|PANIC|WARNING|DETAIL|HINT|STATEMENT"
_LEVELS: Final = r"TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|PANIC"
_HEADS: Final = tuple(
    (first, re.compile(pattern), component)
    for first, pattern, component in (
        (
            "A",
            r"(?P<level>[A-Z]{4,8}) (?P<service>[\w-]{1,60}) (?P<caller>[\w./-]{1,80}\.go:\d{1,6}) ",
            "plugin_daemon",
        ),
        (
            "A",
            rf"(?P<level>{_LEVELS}) \[[^\]]{{0,100}}\] \[[\w./-]{{1,80}}:\d{{1,6}}\] {{0,2}}(?:[\w-]{{0,60}} ?- )?",
            "",
        ),
        ("A", rf"(?P<level>{_LEVELS}) \[[\w./-]{{1,80}}:\d{{1,6}}\] ", ""),
        ("/", r"/app/internal/(?P<caller>[\w./]{1,80}\.go:\d{1,6}) ?", "plugin_daemon"),
        (
            "a",
            rf"(?P<caller>[\w./-]{{1,80}}\.go:\d{{1,6}}):? {{0,3}}(?:\x1b\[\d+m)?(?:\[(?P<level>{_LEVELS})\])?",
            "plugin_daemon",
        ),
        ("[", r"\[(?P<level>emerg|alert|crit|error|warn|notice|info)\] \d{1,9}#\d{1,9}: ", "nginx"),
        ("a", rf"\[(?P<pid>\d{{1,9}})\](?::)? (?P<level>{_PG_LEVELS}): ", "db"),
        (
            "A",
            rf"[A-Z]{{2,5}} \[(?P<pid>\d{{1,9}})\](?: \S{{1,80}})? (?P<level>{_PG_LEVELS}): ",
            "db",
        ),
        ("[", rf"\[\d{{1,9}}\] \[(?P<level>{_LEVELS})\] ", "api"),
        ("a", r"kernel: ", HOST),
        ("|", r"\| ?(?P<level>FATAL|ERROR|WARNING): ", "ssrf_proxy"),
    )
)
_BARE_HEADS: Final = (
    (re.compile(r"\[GIN(?:-debug)?\] "), ""),
    (re.compile(r"\[gnet\] "), "plugin_daemon"),
    (
        re.compile(
            rf"\[(?P<time>\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d{{3}}): (?P<level>{_LEVELS})/[\w-]{{1,40}}\] (?!\s|$)"
        ),
        "worker",
    ),
    (re.compile(r"time=(?P<time>\S{1,40}) level=(?P<level>\w{1,9}) "), ""),
    (re.compile(r"\d{1,7}:[MSCX] (?P<time>\d\d \w{3} \d{4} [\d:.]{8,12}) [*#.-] "), "redis"),
    (re.compile(r"[\d.:a-f]{3,45} - \S{1,60} \[[^\]]{10,40}\] \""), "nginx"),
    (re.compile(r"\d{10}\.\d{3} {1,7}\d{1,9} [\d.:a-f]{3,45} (?=[A-Z_]{3,30}/\d{3} )"), "ssrf_proxy"),
    (re.compile(r"(?P<time>[A-Z][a-z]{2} [ \d]\d [\d:]{8}) \S{1,80} kernel: "), HOST),
    (re.compile(r"\[[ \d]{1,9}\.\d{6}\] (?=\w)"), HOST),
)
_LEVEL_WORD: Final = re.compile(rf"\[?(?P<level>{_LEVELS})(?:\]:?|:?(?=[ \t]|$))[ \t]{{0,9}}")
_QUIET: Final = re.compile(
    r"\[GIN\] [^|]{0,60}\| {0,3}[123]\d\d \||HTTP request (?=.*status=[23]\d\d)|\"? HTTP/[12](?:\.[01])?\"? [23]\d\d\b"
    r"|HTTP/1\.[01] [23]\d\d [A-Z]"
)
_NEWLINE: Final = re.compile(r"\\{1,9}[nr]")
_BLANK: Final = re.compile(r"\\{1,9}t")
_CODE: Final = re.compile(r"\\{1,9}u([0-9a-fA-F]{4})")
_QUOTED: Final = re.compile(r"\\{1,9}([\"'/])")
_STACK: Final = frozenset({"stack_trace", "traceback", "exc_info", "exception", "stack"})
_NOT_TEXT: Final = frozenset(
    {
        *(
            "ts",
            "time",
            "timestamp",
            "date",
            "asctime",
            "level",
            "levelname",
            "severity",
            "service",
            "caller",
            "logger",
        ),
        *("name", "stream", "type", "event", "code", "error_type", "invoke_id", "session_id", "trace_id", "span_id"),
        *("tenant_id", "user_id", "user_type", "task_id", "req_id", "request_id", "threadname", "filename", "lineno"),
    }
)
_LOG_KEYS: Final = frozenset({"message", "msg", "log", "event"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one component said at one time.

    `component` is empty where neither a name nor the form tells it; `time` and `level` are as written, empty where
    there are none. `line` counts from 1. `whole` says that a head of its own stands before it: what is in it belongs
    together. `lines` are its text without heads, escapes taken back.
    """

    component: str
    source: str
    time: str
    level: str
    line: int
    whole: bool
    lines: tuple[str, ...]


@dataclass(slots=True)
class _Open:
    """A record that may still go on."""

    component: str
    time: str
    level: str
    line: int
    whole: bool
    lines: list[str] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class _Head:
    """What a line begins with; `lines` is the text after it. `starts` is false where only a date or level was seen."""

    component: str = ""
    time: str = ""
    level: str = ""
    starts: bool = False
    quiet: bool = False
    lines: tuple[str, ...] = ()


def read_records(lines: Iterable[str]) -> Iterator[Record]:
    """Yield the records of a log, each when it is complete; access lines of requests that succeeded are left out."""
    streams: dict[str, _Open] = {}
    partial: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        source, time, text, part = _carried(line)
        if part or source in partial:  # a container runtime cuts long lines
            text = partial.pop(source, "") + text
            if part and len(text) < _SIZE * 8:
                partial[source] = text
                continue
        yield from _read(streams, source, time, text, number)
    for source, text in partial.items():
        yield from _read(streams, source, "", text, 0)
    for source, record in streams.items():
        yield _closed(source, record)


def _read(streams: dict[str, _Open], source: str, time: str, text: str, number: int) -> Iterator[Record]:
    head = _head(text, time)
    record = streams.get(source)
    if record is not None and (head.starts or head.quiet):
        del streams[source]
        yield _closed(source, record)
        record = None
    if head.quiet or not head.lines:
        return
    if record is None:
        component = component_of(source) or head.component
        record = _Open(component, head.time or time, head.level, number, head.starts)
        streams[source] = record
    if len(streams) > _STREAMS:
        oldest = next(iter(streams))
        yield _closed(oldest, streams.pop(oldest))
    for line in _pieces(head.lines):
        record.lines.append(line)
        record.size += len(line) + 1
        if len(record.lines) >= LONGEST or record.size >= _SIZE:
            yield _closed(source, record)
            kept = record.lines[-_OVERLAP:]
            while kept and sum(map(len, kept)) > _SIZE // 4:
                del kept[: len(kept) // 2 + 1]
            record.lines, record.size = kept, sum(map(len, kept))


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if len(line) <= _PIECE:
            yield line
        else:
            yield from (line[start : start + _PIECE] for start in range(0, len(line), _PIECE - _SEAM))


def _closed(source: str, record: _Open) -> Record:
    return Record(
        component=record.component,
        source=source,
        time=record.time,
        level=record.level,
        line=record.line,
        whole=record.whole,
        lines=tuple(record.lines),
    )


def component_of(name: str) -> str:
    """Return the component that a container or pod of this name is; empty where it is not told."""
    return next((component for pattern, component in _COMPONENTS if pattern.search(name)), "") if name else ""


def _carried(line: str) -> tuple[str, str, str, bool]:
    """Take off what carried a line: return its source, its time, its text, and whether the runtime cut it there."""
    text = _ESCAPES.sub("", line) if not line.isprintable() else line
    source = time = ""
    for _ in range(_LAYERS):
        text = text.lstrip(" ") if source == "" else text
        first = text[:1]
        if first.isdigit() and (match := _RUNTIME_LINE.match(text)):
            return source, time or match["time"], text[match.end() :], match["part"] == "P"
        if first == "[" and (match := _POD.match(text)):
            source, text = match["source"], text[match.end() :]
        elif first == "{" and (log := _container_log(text)):
            time, text = log
            if len(text) > _CUT and not text.endswith("\n"):
                return source, time, text, True
            text = text.rstrip("\r\n")
        elif not source and first.isalnum() and (match := _named(text)):
            source, text = match["source"], text[match.end() :]
        elif first.isdigit() and (match := _DATE.match(text)) and (name := _named(text[match.end() :])) and not source:
            source, time, text = name["source"], match["time"], text[match.end() + name.end() :]
        else:
            break
    return source, time, text, False


_RUNTIME_LINE: Final = re.compile(_DATE.pattern + _RUNTIME.pattern)


def _named(text: str) -> re.Match[str] | None:
    match = _NAME.match(text) or _STERN.match(text)
    if match and (_NUMBERED.search(match["source"]) or component_of(match["source"])):
        return match
    return None


def _container_log(text: str) -> tuple[str, str] | None:
    """Return time and text of a line of docker's json-file driver."""
    if '"log"' not in text or '"stream"' not in text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("log"), str):
        return None
    return str(value.get("time", "")), value["log"]


def _head(text: str, time: str) -> _Head:
    if len(text) < _LONG and _QUIET.search(text):
        return _Head(quiet=True)
    bare = text.lstrip(" \t")
    head = _Head(time=time)
    if not (indented := len(text) - len(bare) > 1):
        for _ in range(3):
            match = _DATE.match(bare)
            if match is None:
                break
            head.time, bare = match["time"], bare[match.end() :]
        bare = _read_head(head, bare)
    if bare and bare[0] in "{[" and bare.rstrip()[-1:] in "}]" and (found := _json_lines(bare, head)) is not None:
        head.lines = found
        return head
    if not head.starts and not indented and (match := _LEVEL_WORD.match(bare)):
        head.level, bare = match["level"], bare[match.end() :]
        bare = bare.removeprefix("data: ")
    head.lines = tuple(_unescaped(bare if head.starts or not indented else text))
    return head


def _read_head(head: _Head, text: str) -> str:
    """Take off the head of a line, if it has one, and return what is left."""
    if head.time:
        first = text[:1]
        kind = "A" if first.isupper() else "a" if first.isalnum() or first == "[" else first
        for start, pattern, component in _HEADS:
            if (start in (kind, first)) and (match := pattern.match(text)):
                return _begun(head, match, component, text)
    for pattern, component in _BARE_HEADS:
        if match := pattern.match(text):
            return _begun(head, match, component, text)
    if match := _HEADS[0][1].match(text):  # slog's line with its date cut off
        return _begun(head, match, "plugin_daemon", text)
    return text


def _begun(head: _Head, match: re.Match[str], component: str, text: str) -> str:
    groups = match.groupdict()
    head.starts = True
    head.component = component_of(groups.get("service") or "") or component
    head.level = (groups.get("level") or "").upper()
    head.time = groups.get("time") or head.time
    return text[match.end() :]


def _json_lines(text: str, head: _Head) -> tuple[str, ...] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None  # cut short, or not JSON after all
    if isinstance(value, dict) and _LOG_KEYS & value.keys():
        level = value.get("level") or value.get("severity") or value.get("levelname")
        if level is not None:
            head.starts = True
            head.level = str(level).upper()[:20]
            head.time = head.time or str(value.get("ts") or value.get("time") or value.get("timestamp") or "")[:40]
            caller = str(value.get("caller", ""))
            head.component = component_of(str(value.get("service", ""))) or (
                "plugin_daemon" if ".go:" in caller else ""
            )
    lines: list[str] = []
    for string in _strings(value):
        for line in string.split("\n"):
            lines.extend(_inner(line, _DEPTH))
        if len(lines) > _TEXTS:
            break
    return tuple(line for line in lines if line)


def _inner(text: str, depth: int) -> Iterator[str]:
    """Yield the lines of a text that may be JSON again."""
    bare = text.strip()
    if depth and bare[:1] in "{[" and bare[-1:] in "}]":
        try:
            value = json.loads(bare)
        except (ValueError, RecursionError):
            pass
        else:
            for string in _strings(value):
                for line in string.split("\n"):
                    yield from _inner(line, depth - 1)
            return
    yield from _unescaped(text)


def _strings(value: object) -> Iterator[str]:
    """Yield the texts of a JSON value in its order, identities of plugins marked as such."""
    pending: list[tuple[str, object]] = [("", value)]
    while pending:
        key, item = pending.pop()
        if isinstance(item, str):
            if key in _STACK and "goroutine" in item[:2000]:
                continue  # the daemon's own stack says nothing
            yield f"plugin={item}" if key.startswith("plugin") and len(item) < 512 and "\n" not in item else item
        elif isinstance(item, int) and key in ("status", "status_code", "exit_code"):
            yield f"{key}={item}"
        elif isinstance(item, list):
            pending.extend((key, part) for part in reversed(item))
        elif isinstance(item, dict):
            pending.extend((name, part) for name, part in reversed(item.items()) if name.lower() not in _NOT_TEXT)


def _unescaped(text: str) -> list[str]:
    if "%2F" in text and "%3A" in text:
        text = unquote(text, errors="replace")
    if "\\" not in text:
        return text.split("\n")
    text = _CODE.sub(lambda match: chr(int(match[1], 16)), text)
    return _QUOTED.sub(r"\1", _BLANK.sub(" ", _NEWLINE.sub("\n", text))).split("\n")

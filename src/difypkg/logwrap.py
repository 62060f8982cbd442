"""What stands around a message in a log, taken off: compose's prefix, dates, levels, JSON, escapes.

The daemon writes `2025/11/05 12:00:00 full_duplex.go:65: [ERROR]...` up to 0.4.1, then text with `key="value"` or JSON
objects; its HTTP replies hold JSON within JSON; docker, Kubernetes and people put their own prefixes before all that.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

PIECE: Final = 64 * 1024
"""Characters of a line that are looked at together; a longer line comes in pieces."""

_DEPTH: Final = 6
_COMPOSE: Final = re.compile(r"[\w.-]{1,100} {0,60}\| ?")
_DATE: Final = r"\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|[+-]\d\d:?\d\d))?\]?[ \t]{0,9}"
_LEVEL: Final = r"\[?(?:ERROR|WARN|WARNING|INFO|CRITICAL|FATAL|PANIC)\]?(?::?[ \t]{1,9}|(?<=\])|$)"
_CALLER: Final = r"dify-plugin-daemon \S{1,80} |[\w/]{1,80}\.go:\d{1,6}:? |std(?:out|err) [FP] |data: ?"
_PREFIX: Final = re.compile(rf"(?:\x1b\[[\d;]{{0,9}}m|{_DATE}|{_LEVEL}|{_CALLER}){{1,9}}")
_NEWLINE: Final = re.compile(r"\\{1,9}[nr]")
_BLANK: Final = re.compile(r"\\{1,9}t")
_CODE: Final = re.compile(r"\\{1,9}u([0-9a-fA-F]{4})")
_QUOTED: Final = re.compile(r"\\{1,9}([\"'/])")
_NOT_TEXT: Final = {
    *("ts", "time", "timestamp", "date", "level", "severity", "service", "caller", "logger", "stream", "type", "event"),
    *("code", "error_type", "invoke_id", "session_id", "trace_id", "span_id", "tenant_id", "user_id", "user_type"),
    *("task_id", "stack_trace", "traceback"),
}


def unwrap(line: str) -> Iterator[str]:
    """Yield the lines of text that one line of a log holds."""
    for start in range(0, max(len(line), 1), PIECE):
        yield from _unwrap(line[start : start + PIECE], _DEPTH)


def _unwrap(text: str, depth: int) -> Iterator[str]:
    text = text.strip()
    compose = _COMPOSE.match(text)
    if compose:
        text = text[compose.end() :].lstrip(" ")
    prefix = _PREFIX.match(text)
    if prefix:
        text = text[prefix.end() :]
    if depth and text[:1] in "{[" and text[-1:] in "}]":
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            pass  # cut short, or not JSON after all
        else:
            for string in _strings(value):
                for line in string.splitlines():
                    yield from _unwrap(line, depth - 1)
            return
    yield from _unescaped(text).splitlines()


def _strings(value: object) -> Iterator[str]:
    """Yield the texts of a JSON value in its order, identities of plugins marked as such."""
    pending: list[tuple[str, object]] = [("", value)]
    while pending:
        key, item = pending.pop()
        if isinstance(item, str):
            yield f"plugin={item}" if key.startswith("plugin") and len(item) < 512 and "\n" not in item else item
        elif isinstance(item, list):
            pending.extend((key, part) for part in reversed(item))
        elif isinstance(item, dict):
            pending.extend((name, part) for name, part in reversed(item.items()) if name.lower() not in _NOT_TEXT)


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    text = _CODE.sub(lambda match: chr(int(match[1], 16)), text)
    return _QUOTED.sub(r"\1", _BLANK.sub(" ", _NEWLINE.sub("\n", text)))

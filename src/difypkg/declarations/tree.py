"""YAML text to a tree of nodes, as gopkg.in/yaml.v3 3.0.1 hands one to the daemon.

libyaml reads the events: it and yaml.v3 are two copies of one scanner that drifted apart. What only libyaml takes is
refused here, and what only yaml.v3 takes is put in another form first (`_repair`). Only the first document counts.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from .scalars import MERGE, NULL, NULLS, STR

SCALAR: Final = 1
SEQUENCE: Final = 2
MAPPING: Final = 3
ALIAS: Final = 4

DEPTH_MAX: Final = 1_000
"""Levels of nesting that are read: libyaml's own limit from 0.2.6 on. yaml.v3 goes to 10,000; no plugin goes to 20."""

NODES_MAX: Final = 200_000
"""Nodes of one file that are kept, some 50 MB of them. The largest file of an official plugin has 11,000."""

_LONG_TAG: Final = "tag:yaml.org,2002:"
_LOADER: Final[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # without a compiler PyYAML has its slow one only


class YamlError(ValueError):
    """Text that the daemon's YAML parser refuses, at a line and a column counted from 1 (0 where nobody knows)."""

    def __init__(self, problem: str, line: int = 0, column: int = 0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line
        self.column = column


class BudgetError(YamlError):
    """More to read than a plugin ever has."""


class Budget:
    """Steps left for all files of one package: a node read is one, and so is a node decoded."""

    def __init__(self, steps: int = 2_000_000) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Take steps. Raises `BudgetError` when none are left."""
        self._left -= steps
        if self._left < 0:
            raise BudgetError(
                "there is more in the files than difyoff reads: aliases that multiply, or far too much text"
            )


class Node:
    """One node: what it is, where it stands (line and column from 1), what it holds.

    `children` of a mapping alternate keys and values. `tag` is short (`!!str`), None for a plain scalar whose value
    decides. `target` is what an alias points to, and `value` of one its name.
    """

    # Not a dataclass: a model plugin has 50,000 of them, and a frozen one takes three times as long to make.
    __slots__ = ("children", "column", "kind", "line", "tag", "target", "value")

    def __init__(self, kind: int, tag: str | None, value: str, line: int, column: int, children: "list[Node]") -> None:
        self.kind = kind
        self.tag = tag
        self.value = value
        self.line = line
        self.column = column
        self.children = children
        self.target: Node | None = None

    @property
    def is_null(self) -> bool:
        """Whether the decoder passes it by."""
        return self.tag == NULL


def pairs(mapping: Node) -> Iterator[tuple[Node, Node]]:
    """Return a mapping's keys and values."""
    return zip(mapping.children[::2], mapping.children[1::2], strict=True)


_NO_CHILDREN: Final[list[Node]] = []
"""What scalars and aliases share; nothing is ever put in."""


def read_tree(content: bytes, budget: Budget) -> Node | None:
    """Return the root of the first document, None where there is none. Raises `YamlError`."""
    text = None
    if _BOM in content[3:]:  # yaml.v3 takes one for a letter where a line begins with it, too
        text = _decode(content)
        text = text.replace("\ufeff", _LETTER) if text is not None else None
    for _ in range(_REPAIRS_MAX):
        try:
            return _Composer(content if text is None else text.encode(), budget, repaired=text is not None).root()
        except yaml.MarkedYAMLError as error:
            text = _decode(content) if text is None else text
            repaired = _repair(text, error) if text is not None else None
            if repaired is None:
                raise _yaml_error(error, text) from error
            text = repaired
        except yaml.reader.ReaderError as error:
            raise YamlError(f"it holds bytes that YAML does not allow: {error.reason}") from error
        except UnicodeDecodeError as error:
            raise YamlError("it is not text in UTF-8 or UTF-16") from error
    raise YamlError("it is written in a way that difyoff does not follow")


def to_values(root: Node) -> Any:
    """Return a tree as mappings, lists and texts: every scalar stays the text it is. Raises `YamlError`."""
    made: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in made:
            continue
        made[id(node)] = node.value if node.kind == SCALAR else {} if node.kind == MAPPING else []
        waiting += node.children if node.target is None else [node.target]
    nodes, seen = [root], set[int]()
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        nodes += node.children if node.target is None else [node.target]
        values = [made[id(child.target or child)] for child in node.children]
        if node.kind == SEQUENCE:
            made[id(node)] += values
        elif node.kind == MAPPING:
            if not all(isinstance(key, str) for key in values[::2]):
                raise YamlError("a list or a mapping cannot be a key", node.line, node.column)
            made[id(node)].update(zip(values[::2], values[1::2], strict=True))
    return made[id(root.target or root)]


class _Composer:
    """Makes nodes of events, without recursion."""

    def __init__(self, content: bytes, budget: Budget, *, repaired: bool) -> None:
        self._content = content
        self._loader = _LOADER(content)
        self._budget = budget
        self._anchors: dict[str, Node] = {}
        self._repaired = repaired
        self._has_slash = b"\\/" in content
        self._has_question = b"?" in content
        self._text: str | None = None

    def root(self) -> Node | None:
        """Return the first document's root."""
        next_event = self._loader.get_event
        next_event()  # the start of the stream
        start = next_event()
        if not isinstance(start, yaml.DocumentStartEvent):
            return None
        if start.version == (1, 2):
            raise YamlError("it says %YAML 1.2, and the daemon's parser knows 1.1 only")
        root = self._compose(next_event)
        self._look_ahead(next_event())
        return root

    def _compose(self, next_event: Any) -> Node:
        """Build the tree that the next events describe."""
        stack: list[Node] = []
        flow = count = 0
        is_simple = not (self._repaired or self._has_slash or self._has_question)
        while True:
            event = next_event()
            kind = type(event)
            count += 1
            if count > NODES_MAX:
                raise BudgetError(f"it has more than {NODES_MAX:,} values, which difyoff does not read")
            if kind is yaml.ScalarEvent:
                is_bare = is_simple and event.tag is None and event.anchor is None
                node = self._bare(event) if is_bare else self._scalar(event, flow)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                node = self._collection(event, MAPPING if kind is yaml.MappingStartEvent else SEQUENCE)
                if stack:
                    stack[-1].children.append(node)
                stack.append(node)
                flow += bool(flow or event.flow_style)  # everything inside [] and {} is flow
                if len(stack) > DEPTH_MAX:
                    raise YamlError(f"it is nested deeper than {DEPTH_MAX:,} levels", node.line, node.column)
                continue
            elif kind is yaml.AliasEvent:
                node = self._alias(event)
            else:  # the end of a collection
                node = stack.pop()
                flow -= flow > 0
                if not stack:
                    self._budget.spend(count)
                    return node
                continue
            if not stack:
                return node
            stack[-1].children.append(node)

    def _collection(self, event: Any, kind: int) -> Node:
        mark = event.start_mark
        node = Node(kind, _short_tag(event.tag), "", mark.line + 1, mark.column + 1, [])
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    @staticmethod
    def _bare(event: Any) -> Node:
        """Return the node of a scalar without tag and anchor in a text without peculiarities, as nearly all are."""
        value, mark = event.value, event.start_mark
        tag = None
        if event.style in _QUOTED:
            tag = STR
        elif value in NULLS:
            tag = NULL
        elif value == "<<":
            tag = MERGE
        return Node(SCALAR, tag, value, mark.line + 1, mark.column + 1, _NO_CHILDREN)

    def _scalar(self, event: Any, flow: int) -> Node:
        value, mark, tag = event.value, event.start_mark, event.tag
        plain = event.implicit[0] and event.style not in _QUOTED
        if tag is not None:
            tag = _short_tag(tag)
        if tag is None:
            if not plain:
                tag = STR
            elif value in NULLS:
                tag = NULL
            elif value == "<<":
                tag = MERGE
        if self._repaired:
            value = value.replace(_COLON, ":").replace(_QUOTE, "'").replace(_LETTER, "\ufeff")
        if flow and plain and self._has_question and "?" in value:
            raise YamlError("a text without quotes in [] or {} holds a question mark", mark.line + 1, mark.column + 1)
        if self._has_slash and event.style == '"':
            self._refuse_slash(event)
        node = Node(SCALAR, tag, value, mark.line + 1, mark.column + 1, _NO_CHILDREN)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        mark = event.start_mark
        node = Node(ALIAS, None, event.anchor, mark.line + 1, mark.column + 1, _NO_CHILDREN)
        node.target = self._anchors.get(event.anchor)
        if node.target is None:
            raise YamlError(f"the alias *{event.anchor} has no anchor above it", node.line, node.column)
        return node

    def _refuse_slash(self, event: Any) -> None:
        if self._text is None:
            self._text = _decode(self._content) or ""
        if _ESCAPED_SLASH.match(self._text[event.start_mark.index : event.end_mark.index]):
            line, column = event.start_mark.line + 1, event.start_mark.column + 1
            raise YamlError(r"a text in double quotes holds \/, which the parser does not know", line, column)

    def _look_ahead(self, end: Any) -> None:
        """Refuse what no scanner takes within two tokens after the document: yaml.v3 reads on so far."""
        if not _MARKER.search(self._content):
            return
        tokens = (
            token
            for token in yaml.scan(self._content, Loader=_LOADER)
            if token.start_mark.index >= end.start_mark.index
        )
        for token in tokens:
            if isinstance(token, yaml.DocumentStartToken | yaml.DocumentEndToken):
                next(tokens, None)
                next(tokens, None)
                return


def _short_tag(tag: str | None) -> str | None:
    if tag is None or tag == "!":
        return None
    return f"!!{tag.removeprefix(_LONG_TAG)}" if tag.startswith(_LONG_TAG) else tag


_COLON: Final = "\ue000"
_QUOTE: Final = "\ue001\ue002"
_LETTER: Final = "\ue003"
_BOM: Final = "\ufeff".encode()
_QUOTED: Final = ("'", '"', "|", ">")
_MARKER: Final = re.compile(rb"^(?:---|\.\.\.)", re.MULTILINE)
_REPAIRS_MAX: Final = 200
_ESCAPED_SLASH: Final = re.compile(r'[^"]*"(?:[^\\]|\\[^/])*?\\/', re.DOTALL)
_COMMENT_AFTER_TAB: Final = re.compile(r"[ \t]*#")


def _repair(text: str, error: yaml.MarkedYAMLError) -> str | None:
    """Return the text with what stopped libyaml put in a form that it takes, None where yaml.v3 stops there, too."""
    mark = error.problem_mark
    if mark is None:
        return None
    at = mark.index
    if error.problem == "found unexpected ':'" and text[at] == ":":  # {a:, b:}
        return text[:at] + _COLON + text[at + 1 :]
    if error.problem == "found unknown escape character" and text.startswith("\\'", at):
        return text[:at] + _QUOTE + text[at + 2 :]
    if error.problem == "found character that cannot start any token" and (match := _COMMENT_AFTER_TAB.match(text, at)):
        before = text[:at].rstrip().rpartition("\n")[2]
        if "#" in before:  # yaml.v3 reads comments in one go, whatever stands before their second line
            return text[:at] + " " * (match.end() - at - 1) + text[match.end() - 1 :]
    return None


def _decode(content: bytes) -> str | None:
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return None


def _yaml_error(error: yaml.MarkedYAMLError, text: str | None) -> YamlError:
    mark = error.problem_mark or error.context_mark
    problem = " ".join(part for part in (error.context, error.problem) if part)
    if mark is None:
        return YamlError(problem)
    if "nesting" in str(error.problem):
        problem = f"it is nested deeper than {DEPTH_MAX:,} levels"
    if text is not None and text[mark.index : mark.index + 1] == "\t":
        problem = "a tab stands where YAML takes spaces only"
    return YamlError(problem, mark.line + 1, mark.column + 1)

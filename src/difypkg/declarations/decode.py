"""One interpreter of the declared types: walks a file's nodes as the daemon's decoder does and tells every fault.

Follows `decode.go` of gopkg.in/yaml.v3 3.0.1 and the `UnmarshalYAML` methods of pkg/entities/plugin_entities, 0.6.10
(the same in every release that has the type). The decoder collects type errors and goes on, and so does this.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from . import scalars
from .scalars import BOOL, FLOAT, INT, MERGE, NULL, STR, TIMESTAMP, ScalarError, resolve, resolve_tagged
from .tree import ALIAS, MAPPING, SCALAR, SEQUENCE, Budget, BudgetError, Node, YamlError, pairs, read_tree
from .types import TEXT, AnyType, Field, ListType, Raw, Record, Scalar, Type, records

MODEL_KINDS: Final = ("llm", "text_embedding", "tts", "speech2text", "moderation", "rerank")
_TEMPLATES: Final = frozenset(
    {
        "temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "max_tokens", "response_format",
        "json_schema",
    }
)  # fmt: skip

_NO_FIELDS: Final = Record("")
_ALIASES_FREE: Final = 100
_STEPS_FREE: Final = 1_000
_FEW_STEPS: Final = 400_000
_MANY_STEPS: Final = 4_000_000

Step: TypeAlias = Literal["decode", "judge", "store"]

Values: TypeAlias = dict[str, Any]
"""What was read: a record as a mapping by its keys, texts as `str`, `bool`, files that are named as `FileName`."""


@dataclass(frozen=True, slots=True)
class FileName:
    """The name of another file, and where it stands."""

    path: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that the daemon refuses; line and column count from 1, 0 where it concerns the whole file.

    `step` is that of the upload: files are decoded, the manifest is judged, and all of it is stored in the database as
    JSON. `advice` is the next step where there is a plain one; `since` and `until` are the first and the last release
    that refuse it, None where every one does.
    """

    line: int
    column: int
    message: str
    step: Step = "decode"
    advice: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One file as read, and all that is wrong with it; `places` has line and column of its first keys' values."""

    values: Values
    places: Mapping[str, tuple[int, int]]
    problems: tuple[Problem, ...]


def read_declaration(content: bytes, wanted: Type, budget: Budget) -> Declaration:
    """Read one YAML file of a type. What is missing has no key in `values`, and a list's are left out.

    Raises `BudgetError` where the budget ends.
    """
    decoder = _Decoder(budget)
    value = None
    try:
        root = read_tree(content, budget)
        value = decoder.decode(root, wanted) if root is not None else None
    except BudgetError:
        raise
    except YamlError as error:
        decoder.give_up(error)
    return Declaration(
        values=value if isinstance(value, dict) else {},
        places=decoder.places,
        problems=tuple(sorted(decoder.problems, key=lambda each: (each.line, each.column))),
    )


class _Frame:
    """A collection on the way through `_walk`."""

    __slots__ = ("alias_steps", "node", "rest", "steps")

    def __init__(self, node: Node, rest: Iterator[Node]) -> None:
        self.node = node
        self.rest = rest
        self.steps = 1
        self.alias_steps = 0

    def add(self, steps: int, alias_steps: int) -> None:
        self.steps += steps
        self.alias_steps += alias_steps


class _Decoder:
    def __init__(self, budget: Budget) -> None:
        self.problems: list[Problem] = []
        self.places: dict[str, tuple[int, int]] = {}
        self._budget = budget
        self._path: list[str | int] = []
        self._since: str | None = None
        self._until: str | None = None
        self._steps = 0
        self._alias_steps = 0
        self._alias_depth = 0
        self._open: set[tuple[int, int]] = set()
        self._decoded: dict[tuple[int, int], tuple[Any, int]] = {}
        self._walked: dict[int, tuple[int, int]] = {}

    # One node, whatever is wanted.

    def decode(self, node: Node, wanted: Type) -> Any:
        """Read a node as a type; None where it is null, or is not of the type."""
        if isinstance(wanted, AnyType):
            self._count(*self._walk(node))
            return None
        self._count(1)
        if isinstance(wanted, Raw):
            return node
        if node.kind == ALIAS:
            return self._alias(node, wanted)
        if node.tag == NULL:
            self._check_scalar(node)
            return None
        if isinstance(wanted, Scalar):
            return self._scalar(node, wanted)
        if isinstance(wanted, Record):
            return self._record(node, wanted)
        if isinstance(wanted, ListType):
            return self._list(node, wanted)
        return self._map(node)

    def _alias(self, node: Node, wanted: Type) -> Any:
        target = node.target
        assert target is not None
        key = id(wanted), id(target)
        if key in self._open:
            raise YamlError(f"the anchor {node.value!r} contains itself", node.line, node.column)
        if key in self._decoded:
            value, steps = self._decoded[key]
            self._alias_depth += 1
            self._count(steps)
            self._alias_depth -= 1
            return value
        self._open.add(key)
        self._alias_depth += 1
        before = self._steps
        value = self.decode(target, wanted)
        self._alias_depth -= 1
        self._open.remove(key)
        self._decoded[key] = value, self._steps - before
        return value

    def _count(self, steps: int, alias_steps: int = 0) -> None:
        # yaml.v3 refuses a document when too much of its decoding comes from aliases (`allowedAliasRatio`).
        self._steps += steps
        self._alias_steps += steps if self._alias_depth else alias_steps
        if self._alias_steps <= _ALIASES_FREE or self._steps <= _STEPS_FREE:
            return
        over = min(max(self._steps - _FEW_STEPS, 0) / (_MANY_STEPS - _FEW_STEPS), 1)
        if self._alias_steps / self._steps > 0.99 - 0.89 * over:
            raise YamlError("nearly all of it comes from aliases, which the daemon's parser takes for an attack")

    # Scalars.

    def _scalar(self, node: Node, wanted: Scalar) -> Any:
        name = wanted.name
        if node.kind == MAPPING and name in ("time", "decimal"):  # Go structs, though without a field that YAML may set
            self._record(node, _NO_FIELDS)
            return None
        if node.kind != SCALAR:
            self._wrong(node, wanted.wanted)
            return None
        tag = node.tag
        if name == "text" and (tag is None or tag in (STR, MERGE)):
            return node.value
        try:
            found, value = (tag, node.value) if tag in (STR, MERGE) else self._resolve(node)
        except ScalarError as error:
            self._problem(node, f"{self._where()}{error}")
            return None
        if name == "text":
            return value if found == scalars.BINARY else node.value
        if not _FITS[name](found, value, node.value):
            self._wrong(node, wanted.wanted)
            return None
        if name == "float":
            self._check_finite(node, value)
        return value is True or value in scalars.TRUE_WORDS if name == "bool" else None

    def _resolve(self, node: Node) -> scalars.Resolved:
        return resolve(node.value) if node.tag is None else resolve_tagged(node.tag, node.value)

    # Lists and mappings.

    def _list(self, node: Node, wanted: ListType) -> list[Any]:
        if node.kind != SEQUENCE:
            self._wrong(node, "a list")
            return []
        values = []
        for index, child in enumerate(node.children):
            self._path.append(index)
            value = self.decode(child, wanted.item)
            self._path.pop()
            if value is not None:
                values.append(value)
        return values

    def _map(self, node: Node) -> None:
        if node.kind != MAPPING:
            self._wrong(node, "a mapping")
            return
        self._count(*self._walk(node, texts=True))

    def _record(
        self, node: Node, record: Record, merged: set[str] | None = None, values: Values | None = None
    ) -> Values:
        values = {} if values is None else values
        if node.kind != MAPPING:
            self._wrong(node, "a mapping")
            return values
        is_unique = self._unique(node)
        fields, seen = record.fields, set[str]()
        for name, key, value in self._named(node):
            if merged is not None:
                if name in merged:
                    continue
                merged.add(name)
            field = fields.get(name)
            if field is None:
                continue
            if name in seen:
                if is_unique:  # two keys, one of them an alias, are the same field
                    self._problem(key, f"{self._where()}{name} is set more than once")
                continue
            seen.add(name)
            if not self._path:
                self.places[name] = value.line, value.column
            if field.type is TEXT and value.kind == SCALAR and (value.tag is None or value.tag == STR):
                values[name] = value.value
            else:
                values[name] = self._value(name, value, field)
        merge = next((value for key, value in pairs(node) if key.tag == MERGE), None)
        if merge is not None:
            self._merge(node, merge, merged, lambda source, names: self._record(source, record, names, values))
        if merged is None and (rule := _RULES.get(record.name)):
            rule(self, node, values)
        return values

    def _named(self, node: Node) -> Iterator[tuple[str, Node, Node]]:
        """Yield each key that is a text, as text and as node, and its value."""
        self._count(len(node.children))  # of the values, those that are texts are not counted again
        for key, value in pairs(node):
            if key.kind == SCALAR and (key.tag is None or key.tag == STR):
                yield key.value, key, value
            elif key.tag != MERGE and (name := self.decode(key, TEXT)) is not None:
                yield name, key, value

    def _value(self, name: str, value: Node, field: Field) -> Any:
        if field.since is not None or field.until is not None:
            return self._limited_value(name, value, field)
        self._path.append(name)
        read = self.decode(value, field.type)
        self._path.pop()
        return read

    def _limited_value(self, name: str, value: Node, field: Field) -> Any:
        """Read what some releases do not: those read on where the others give the file up."""
        before = self._since, self._until, self._alias_depth, set(self._open), len(self._path)
        self._since, self._until = field.since or self._since, field.until or self._until
        self._path.append(name)
        read = None
        try:
            read = self.decode(value, field.type)
        except BudgetError:
            raise
        except YamlError as error:
            self.give_up(error)
        self._since, self._until, self._alias_depth, self._open, depth = before
        del self._path[depth:]
        return read

    def give_up(self, error: YamlError) -> None:
        """Tell what the daemon reads no further than."""
        self.problems.append(
            Problem(
                line=error.line,
                column=error.column,
                message=f"not valid YAML: {error.problem}",
                since=self._since,
                until=self._until,
            )
        )

    def _unique(self, node: Node) -> bool:
        """Tell which keys are there more than once; say whether none is."""
        children = node.children
        if len({key.value for key in children[::2]}) * 2 == len(children):
            return True
        known = len(self.problems)
        lines: dict[tuple[int, str], int] = {}
        for index in range(0, len(children), 2):
            key = children[index]
            name = (key.kind, key.value)  # to yaml.v3 all lists and mappings are one key
            if name in lines:
                message = f"{self._where()}the key {key.value!r} is set again, first in line {lines[name]}"
                self._problem(key, message, "Keep one of them.")
            lines.setdefault(name, key.line)
        return len(self.problems) == known

    def _merge(
        self, parent: Node, merge: Node, merged: set[str] | None, read: Callable[[Node, set[str]], object]
    ) -> None:
        """Read what `<<` brings in; a key that was there before wins."""
        if merged is None:
            merged = {key.value for key in parent.children[::2] if key.kind == SCALAR and self._is_text(key)}
            self._count(len(parent.children) // 2)
        for source in self._sources(merge):
            target = source.target or source
            key = 0, id(target)
            if key in self._open:
                raise YamlError(f"the anchor {source.value!r} contains itself", source.line, source.column)
            self._open.add(key)
            self._alias_depth += source.kind == ALIAS
            self._count(1)
            read(target, merged)
            self._alias_depth -= source.kind == ALIAS
            self._open.remove(key)

    def _is_text(self, key: Node) -> bool:
        return key.tag == STR or (key.tag is None and resolve(key.value)[0] == STR)

    # Anything: no type is wanted, and still keys must be unique and tags must fit. It can be deep, so: no recursion.

    def _walk(self, root: Node, *, texts: bool = False) -> tuple[int, int]:
        """Return the decoder's steps for a node of any type, and how many of them come from aliases.

        With `texts`, the root is a mapping from texts.
        """
        if root.kind == SCALAR:
            self._check_scalar(root)
            return 1, 0
        if id(root) in self._walked:
            return self._walked[id(root)]
        stack = [self._frame(root, texts=texts)]
        while True:
            frame = stack[-1]
            child = next(frame.rest, None)
            if child is not None:
                if child.kind == SCALAR:
                    self._check_scalar(child)
                    frame.steps += 1
                elif id(child) in self._walked:
                    frame.add(*self._walked[id(child)])
                else:
                    stack.append(self._frame(child, texts=False))
                continue
            stack.pop()
            self._open.remove((1, id(frame.node)))
            steps = frame.steps, frame.steps - 1 if frame.node.kind == ALIAS else frame.alias_steps
            self._walked[id(frame.node)] = steps
            if not stack:
                return steps
            stack[-1].add(*steps)

    def _frame(self, node: Node, *, texts: bool) -> "_Frame":
        key = 1, id(node)
        if key in self._open:
            raise YamlError("an anchor contains itself", node.line, node.column)
        self._open.add(key)
        self._budget.spend(len(node.children) + 1)
        if node.kind == ALIAS:
            assert node.target is not None
            return _Frame(node, iter((node.target,)))
        return _Frame(node, self._entries(node, texts=texts) if node.kind == MAPPING else iter(node.children))

    def _check_scalar(self, node: Node) -> None:
        if node.tag in (STR, MERGE) or (node.tag is None and node.value[-3:].lower() not in ("inf", "nan")):
            return
        try:
            found, value = self._resolve(node)
        except ScalarError as error:
            self._problem(node, f"{self._where()}{error}")
        else:
            if found == FLOAT:
                self._check_finite(node, value)

    def _check_finite(self, node: Node, value: Any) -> None:
        if not math.isfinite(value):
            self._problem(node, f"{self._where()}{node.value} is a number that JSON does not have", step="store")

    def _entries(self, node: Node, *, texts: bool) -> Iterator[Node]:
        """Yield what the decoder reads of a mapping: keys, values, and what is merged into it."""
        self._unique(node)
        for key, value in pairs(node):
            if key.tag == MERGE:
                yield from self._sources(value)
                continue
            named = key.target if key.kind == ALIAS and key.target is not None else key
            if named.kind != SCALAR:
                self._problem(key, f"{self._where()}a list or a mapping cannot be a key")
            elif not texts and not self._is_text(named) and "model_properties" not in self._path:
                message = f"{self._where()}the key {named.value!r} is not a text, and JSON has no other keys"
                self._problem(key, message, "Put it in quotes.", step="store")
            yield key
            if not (texts and named.is_null):
                yield value

    def _sources(self, merge: Node) -> list[Node]:
        sources = merge.children if merge.kind == SEQUENCE else [merge]
        for source in sources:
            target = source.target if source.kind == ALIAS else source
            if target is None or target.kind != MAPPING:
                raise YamlError("<< takes a mapping, or a list of mappings", source.line, source.column)
        return sources

    # What the daemon's own UnmarshalYAML methods do.

    def _apart(self, node: Node | None, wanted: Type) -> Any:
        """Read a raw node, as `Node.Decode` does: with a count of its own."""
        if node is None:
            return None
        before = self._steps, self._alias_steps, self._alias_depth
        self._steps = self._alias_steps = self._alias_depth = 0
        value = self.decode(node, wanted)
        self._steps, self._alias_steps, self._alias_depth = before
        return value

    def configs(self, node: Node | None) -> None:
        """Read the settings of a tool or datasource provider: a list, or a mapping by name."""
        config = records()["ProviderConfig"]
        if node is None or node.kind != MAPPING:
            self._apart(node, ListType(config))
            return
        for child in node.children:  # keys and values alike, and what is neither scalar nor mapping is passed by
            if child.kind == MAPPING:
                self._apart(child, config)

    def named_configs(self, node: Node | None) -> None:
        """Read the settings of a trigger provider: the same, and a mapping must hold mappings."""
        if node is None or node.kind != MAPPING:
            self.configs(node)
            return
        for key, value in pairs(node):
            if key.kind != SCALAR:
                self._problem(key, f"{self._where()}the name of a setting is not a text")
            elif value.kind != MAPPING:
                with self._at(key.value):
                    self._wrong(value, "a mapping")
            else:
                with self._at(key.value):
                    self._apart(value, records()["ProviderConfig"])

    def files(self, values: Values, key: str, inline: str) -> None:
        """Read a list of files, or of what such a file would hold; anything else is passed by."""
        node = values.get(key)
        names = []
        for index, child in enumerate(node.children if node is not None and node.kind == SEQUENCE else ()):
            if child.kind == SCALAR:
                names.append(FileName(child.value, child.line, child.column))
            elif child.kind == MAPPING:
                with self._at(key, index):
                    self._apart(child, records()[inline])
        values[key] = names

    def endpoints(self, values: Values) -> None:
        """Read the endpoints: after the first declaration in place that is wrong, the daemon reads no further."""
        node = values.get("endpoints")
        names = []
        for child in node.children if node is not None and node.kind == SEQUENCE else ():
            if child.kind == SCALAR:
                names.append(FileName(child.value, child.line, child.column))
                continue
            if not self._reads(child, records()["Endpoint"]):
                break
        values["endpoints"] = names

    def _reads(self, node: Node, wanted: Type) -> bool:
        """Say whether a node reads without a fault, and keep none."""
        trial = _Decoder(self._budget)
        try:
            trial.decode(node, wanted)
        except BudgetError:
            raise
        except YamlError:
            return False
        return not trial.problems

    def models(self, values: Values) -> None:
        """Read where a model provider's models are: patterns and position files by kind, or models in place."""
        node = values.get("models")
        patterns: list[FileName] = []
        positions: dict[str, FileName] = {}
        if node is not None and node.kind == MAPPING:
            for kind, key, value in _model_files(node):
                if key == "position":
                    positions[kind] = FileName(value.value, value.line, value.column)
                elif key == "predefined" and value.kind == SEQUENCE:
                    patterns += (FileName(each.value, each.line, each.column) for each in value.children)
        elif node is not None and node.kind == SEQUENCE:
            with self._at("models"):
                self._apart(node, ListType(records()["Model"]))
        values["models"] = patterns
        values["position files"] = positions

    def template(self, node: Node, values: Values) -> None:
        """Check the template that a parameter rule takes its defaults from."""
        if (name := values.get("use_template")) and name not in _TEMPLATES:
            self._problem(
                node, f"{self._where()}use_template is {name!r}, which is not one of {', '.join(sorted(_TEMPLATES))}"
            )

    def tool_provider(self, node: Node, values: Values) -> None:
        """Read a tool provider's settings and tools."""
        schema, older = values.get("credentials_schema"), values.get("credentials_for_provider")
        name = "credentials_schema" if schema is not None and schema.children else "credentials_for_provider"
        with self._at(name):
            self.configs(schema if name == "credentials_schema" else older)
        self.files(values, "tools", "Tool")

    def datasource_provider(self, node: Node, values: Values) -> None:
        """Read a datasource provider's settings and datasources."""
        with self._at("credentials_schema"):
            self.configs(values.get("credentials_schema"))
        self.files(values, "datasources", "Datasource")

    def trigger_provider(self, node: Node, values: Values) -> None:
        """Read a trigger provider's settings, how it subscribes, and its events."""
        with self._at("subscription_schema"):
            self.named_configs(values.get("subscription_schema"))
        constructor = values.get("subscription_constructor")
        if constructor is not None and constructor.kind == MAPPING:
            with self._at("subscription_constructor"):
                self._apart(constructor, records()["SubscriptionConstructor"])
        self.files(values, "events", "Event")

    def constructor(self, node: Node, values: Values) -> None:
        """Read how a trigger subscribes."""
        with self._at("parameters"):
            self._apart(values.get("parameters"), ListType(records()["EventParameter"]))
        with self._at("credentials_schema"):
            self.named_configs(values.get("credentials_schema"))
        with self._at("oauth_schema"):
            self._apart(values.get("oauth_schema"), records()["OAuth"])

    # Telling.

    @contextmanager
    def _at(self, *steps: str | int) -> Iterator[None]:
        self._path += steps
        yield
        del self._path[len(self._path) - len(steps) :]

    def _field(self) -> str:
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self._path)
        return "".join(steps).removeprefix(".")

    def _where(self) -> str:
        return f"{self._field()}: " if self._path else ""

    def _wrong(self, node: Node, wanted: str) -> None:
        field = self._field() or "the file"
        self._problem(
            node, f"{field} is {self._found(node)}, and the daemon reads {wanted} there", _advice(node, wanted)
        )

    def _found(self, node: Node) -> str:
        if node.kind == SEQUENCE:
            return "a list"
        if node.kind == MAPPING:
            return "a mapping"
        shown = node.value if len(node.value) <= 40 else f"{node.value[:37]}..."
        tag = node.tag or resolve(node.value)[0]
        return f"the {_NAMES.get(tag, 'text')} {shown!r}" if tag not in (BOOL, INT, FLOAT) else f"{_NAMES[tag]} {shown}"

    def _problem(self, node: Node, message: str, advice: str | None = None, *, step: Step = "decode") -> None:
        self.problems.append(
            Problem(
                line=node.line,
                column=node.column,
                message=message,
                step=step,
                advice=advice,
                since=self._since,
                until=self._until,
            )
        )


_NAMES: Final = {STR: "text", INT: "the number", FLOAT: "the number", BOOL: "the truth value", TIMESTAMP: "time"}


def _advice(node: Node, wanted: str) -> str | None:
    if node.kind != SCALAR:
        return None
    if node.tag != STR:
        return "Write true or false." if wanted == "true or false" else None
    found, _ = resolve(node.value)
    if wanted == "true or false":
        return "Remove the quotes." if found == BOOL else "Write true or false."
    if "number" in wanted and found in (INT, FLOAT):
        return "Remove the quotes."
    return None


def _model_files(node: Node) -> Iterator[tuple[str, str, Node]]:
    for kind, section in pairs(node):
        if kind.value in MODEL_KINDS and section.kind == MAPPING:
            for key, value in pairs(section):
                yield kind.value, key.value, value


def _fits_int(tag: str, value: Any, text: str) -> bool:
    return (tag == INT and value <= scalars.MAX_INT) or (tag == FLOAT and value <= float(scalars.MAX_INT))


def _fits_uint(tag: str, value: Any, text: str) -> bool:
    return (tag == INT and value >= 0) or (tag == FLOAT and value <= float(scalars.MAX_UINT))


_FITS: Final[Mapping[str, Callable[[str, Any, str], bool]]] = {
    "bool": lambda tag, value, text: tag == BOOL or value in scalars.TRUE_WORDS | scalars.FALSE_WORDS,
    "int": _fits_int,
    "uint": _fits_uint,
    "float": lambda tag, value, text: tag in (INT, FLOAT),
    "decimal": lambda tag, value, text: scalars.is_decimal(value if tag == scalars.BINARY else text),
    "time": lambda tag, value, text: tag == TIMESTAMP or scalars.is_rfc3339(value if tag == scalars.BINARY else text),
}

_RULES: Final[Mapping[str, Callable[[_Decoder, Node, Values], None]]] = {
    "ToolProvider": _Decoder.tool_provider,
    "DatasourceProvider": _Decoder.datasource_provider,
    "TriggerProvider": _Decoder.trigger_provider,
    "SubscriptionConstructor": _Decoder.constructor,
    "AgentStrategyProvider": lambda decoder, node, values: decoder.files(values, "strategies", "AgentStrategy"),
    "EndpointProvider": lambda decoder, node, values: decoder.endpoints(values),
    "ModelProvider": lambda decoder, node, values: decoder.models(values),
    "ParameterRule": _Decoder.template,
}

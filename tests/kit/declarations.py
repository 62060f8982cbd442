"""Plugins whose YAML files are whole, each declared field there, and the same with one thing changed.

A case says which file and field was changed and how; what the daemon makes of it is for the daemon to say
(`benchmarks/decoder.py` asks it, `fixtures/declarations/` keeps some of its answers).
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, TypeAlias

from packaging.version import Version

from difyoff.difypkg.declarations.decode import read_declaration
from difyoff.difypkg.declarations.tree import Budget
from difyoff.difypkg.declarations.types import AnyType, ListType, MapType, Raw, Record, Scalar, Type, records
from difyoff.difypkg.manifest import DeclarationFault, Manifest, file_faults, manifest_faults

Tree: TypeAlias = "dict[str, Tree] | list[Tree] | str"
"""A YAML file before it is written: mappings, lists, and scalars as they stand in the file."""

Path: TypeAlias = tuple[str | int, ...]

_LEAVES: Final = {
    "text": "plain text", "bool": "true", "int": "3", "uint": "2048", "float": "0.5", "decimal": "'0.01'",
    "time": "'2025-06-01T12:00:00Z'",
}  # fmt: skip

KINDS: Final = {
    "tools": ("ToolProvider", "Tool"),
    "endpoints": ("EndpointProvider", "Endpoint"),
    "models": ("ModelProvider", "Model"),
    "agent_strategies": ("AgentStrategyProvider", "AgentStrategy"),
    "datasources": ("DatasourceProvider", "Datasource"),
    "triggers": ("TriggerProvider", "Event"),
}
_MANIFEST: Final = Manifest(
    author="difyoff",
    name="tiny",
    version="0.0.1",
    runner="python",
    entrypoint="main",
    architectures=(),
    minimum_dify_version=None,
    permissions=(),
    icons=(),
    providers={},
)
FILES: Final = {
    "Manifest": "manifest.yaml",
    "Position": "items/_position.yaml",
    **{provider: "provider/p.yaml" for provider, _ in KINDS.values()},
    **{item: "items/a.yaml" for _, item in KINDS.values()},
}

# Values that replace a field's own, by name.
VALUES: Final[Mapping[str, str]] = {
    "text": "abc", "quoted true": '"true"', "quoted false": "'false'", "quoted number": '"5"',
    "quoted float": "'0.5'", "one": "1", "zero": "0", "yes": "yes", "quoted yes": '"yes"', "Off": "Off",
    "TRUE": "TRUE", "tRUE": "tRUE", "y": "y", "empty text": '""', "list": "[abc]", "empty list": "[]",
    "list of lists": "[[1, 2]]", "list of mappings": "[{a: b}]", "list with null": "[~, abc]", "mapping": "{a: b}",
    "empty mapping": "{}", "deep mapping": "{a: {b: [c, {d: e}]}}", "null": "null", "tilde": "~", "nothing": "",
    "NULL": "NULL", "negative": "-3", "plus": "+3", "float": "1.5", "whole float": "2.0", "exponent": "1e3",
    "point": ".5", "huge": "99999999999999999999", "int64": "9223372036854775807",
    "above int64": "9223372036854775808", "uint64": "18446744073709551615", "below int64": "-9223372036854775809",
    "hex": "0x1F", "octal": "0o17", "old octal": "017", "no octal": "08", "binary": "0b101", "underscores": "1_000",
    "infinite": ".inf", "minus infinite": "-.inf", "not a number": ".nan", "out of range": "1e999",
    "negative float": "-1.5", "date": "2025-06-01", "time": "2025-06-01 12:00:00",
    "time with zone": "2025-06-01T12:00:00+08:00", "quoted time": '"2025-06-01T12:00:00Z"',
    "quoted date": '"2025-06-01"', "short time": "2025-06-01T12:00", "no such day": "2025-02-30",
    "comma time": "'2025-06-01T12:00:00,5Z'", "lower time": "2025-6-1t1:2:3Z", "time in words": "yesterday",
    "unicode": "é世界", "emoji": "'🙂'", "quoted emoji escape": '"\\U0001F642"', "anchor": "&here abc",
    "anchored list": "&here [abc]", "alias to nothing": "*nowhere", "merge sign": "<<", "int tag": '!!int "5"',
    "wrong int tag": "!!int abc", "str tag": "!!str 5", "bool tag": "!!bool true", "wrong bool tag": "!!bool yes",
    "float tag": "!!float 5", "null tag": "!!null ''", "wrong null tag": "!!null abc",
    "binary tag": "!!binary aGVsbG8=", "wrong binary tag": "!!binary '???'", "own tag": "!mine abc", "bang": "! 5",
    "literal": "|\n                abc\n", "folded": ">-\n                true\n",
    "twice in mapping": "{a: 1, a: 2}", "deep twice": "{x: {a: 1, a: 2}}", "list as key": "{[a]: b}",
    "number as key": "{1: b}", "null as key": "{~: b}", "question mark in flow": "[http://a/?b=c]",
    "escaped slash": '"a\\/b"', "escaped quote": '"it\\\'s"', "colon in flow": "{a:, b: c}",
    "colon and number in flow": "{a:1}", "unclosed": "[abc", "unclosed quote": '"abc', "tab before": "\tabc",
    "tab in flow": "[a,\tb]", "two words and colon": "a: b", "at sign": "@abc", "percent": "%abc",
    "comment": "# abc", "dash": "- abc", "surrogate": '"\\ud800"', "self": "&loop [*loop]",
    "aliases in mapping": "{a: &a {b: 1}, c: *a, d: {<<: *a, b: 2}}", "merge of a list": "{<<: [{a: 1}, {b: 2}]}",
    "merge of a text": "{<<: abc}", "mixed keys": "{a: {1: x, b: y, true: z}}",
}  # fmt: skip

# What is done to the whole file, by name.
WHOLE: Final = (
    "empty", "comment only", "text only", "list only", "null only", "byte order mark", "utf-16", "latin-1",
    "two documents", "broken second document", "yaml 1.1", "yaml 1.2", "tag directive", "nul byte",
    "control character", "document end", "many keys", "alias bomb", "deep list", "carriage returns only",
    "next line sign",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A plugin with one thing changed: in which record's file, at which field, of what type, how."""

    kind: str
    record: str
    path: Path
    type: str
    change: str

    @property
    def name(self) -> str:
        """The case in one line."""
        return f"{self.record} {'.'.join(map(str, self.path))} ({self.type}): {self.change}"

    @property
    def content(self) -> bytes:
        """The file that was changed."""
        tree = whole_plugin(self.kind)[FILES[self.record]]
        if not self.path:
            return _whole(write(tree), self.change)
        if self.change in VALUES:
            return write(tree, self.path, "value", VALUES[self.change]).encode()
        return write(tree, self.path, self.change).encode()

    @property
    def files(self) -> dict[str, bytes]:
        """The whole plugin."""
        return _written(self.kind) | {FILES[self.record]: self.content, "_assets/icon.svg": b"", "main.py": b""}


@cache
def whole_plugin(kind: str) -> dict[str, Tree]:
    """Return a plugin of a kind with every declared field of every one of its files."""
    provider, item = KINDS[kind]
    files = {
        "manifest.yaml": _manifest(kind),
        FILES[provider]: sample(records()[provider]),
        FILES[item]: sample(records()[item]),
    }
    return files | ({FILES["Position"]: ["one", "two"]} if kind == "models" else {})


def sample(wanted: Type) -> Tree:
    """Return a value of a type with everything in it."""
    if isinstance(wanted, Scalar):
        return _LEAVES[wanted.name]
    if isinstance(wanted, AnyType):
        return "1"
    if isinstance(wanted, MapType):
        return {"type": "object", "properties": {"a": {"type": "string"}}}
    if isinstance(wanted, ListType):
        return [sample(wanted.item)]
    assert isinstance(wanted, Record)
    if wanted.name == "ParameterRule":
        return _fields_of(wanted) | {"use_template": "temperature"}
    return _fields_of(wanted)


def _fields_of(wanted: Record) -> dict[str, Tree]:
    raw = _raw(wanted.name) if any(isinstance(field.type, Raw) for field in wanted.fields.values()) else {}
    return {
        key: raw[key] if isinstance(field.type, Raw) else sample(field.type) for key, field in wanted.fields.items()
    }


def _raw(record: str) -> dict[str, Tree]:
    """Return what a record has where it has rules of its own."""
    config = sample(records()["ProviderConfig"])
    match record:
        case "ToolProvider":
            return {
                "credentials_schema": {"key": config},
                "credentials_for_provider": {"key": config},
                "tools": ["items/a.yaml", sample(records()["Tool"])],
            }
        case "DatasourceProvider":
            return {"credentials_schema": [config], "datasources": ["items/a.yaml", sample(records()["Datasource"])]}
        case "AgentStrategyProvider":
            return {"strategies": ["items/a.yaml", sample(records()["AgentStrategy"])]}
        case "EndpointProvider":
            return {"endpoints": ["items/a.yaml", sample(records()["Endpoint"])]}
        case "TriggerProvider":
            return {
                "subscription_schema": {"key": config},
                "subscription_constructor": sample(records()["SubscriptionConstructor"]),
                "events": ["items/a.yaml", sample(records()["Event"])],
            }
        case "SubscriptionConstructor":
            return {
                "parameters": [sample(records()["EventParameter"])],
                "credentials_schema": [config],
                "oauth_schema": sample(records()["OAuth"]),
            }
        case "ModelProvider":
            return {"models": {"llm": {"position": "items/_position.yaml", "predefined": ["items/*.yaml"]}}}
        case _:
            return {}


def _manifest(kind: str) -> Tree:
    fields = records()["Manifest"].fields
    tree = {key: sample(field.type) for key, field in fields.items() if key not in _INLINE}
    return tree | {
        "version": "0.0.1", "type": "plugin", "author": "difyoff", "name": "tiny", "icon": "icon.svg",
        "icon_dark": "icon.svg", "plugins": {kind: ["provider/p.yaml"]},
    }  # fmt: skip


_INLINE: Final = ("tool", "endpoint", "model", "agent_strategy", "datasource", "trigger")


@cache
def _written(kind: str) -> dict[str, bytes]:
    return {path: write(tree).encode() for path, tree in whole_plugin(kind).items()}


def cases() -> Iterator[Case]:
    """Yield every case: each field of each file, each value and change; and each whole file."""
    for kind, (provider, item) in KINDS.items():
        changed = [
            provider,
            item,
            *(["Position"] if kind == "models" else []),
            *(["Manifest"] if kind == "tools" else []),
        ]
        for record in changed:
            for path, wanted in _fields(whole_plugin(kind)[FILES[record]], record):
                for change in (*VALUES, *CHANGES):
                    yield Case(kind=kind, record=record, path=path, type=wanted, change=change)
            for change in WHOLE:
                yield Case(kind=kind, record=record, path=(), type="file", change=change)


def chosen(count: int, seed: int) -> list[Case]:
    """Return so many cases: first each change on each type of field of each record, then others."""
    everything = list(cases())
    random.Random(seed).shuffle(everything)
    seen: set[tuple[str, str, str]] = set()
    first: list[Case] = []
    rest: list[Case] = []
    for case in everything:
        key = case.record, case.type, case.change
        (rest if key in seen else first).append(case)
        seen.add(key)
    return (first + rest)[:count]


def find_faults(files: Mapping[str, bytes]) -> tuple[DeclarationFault, ...]:
    """Return what difyoff says of the decoding of a plugin's files; later steps of the upload are left out."""
    faults = [fault for fault in manifest_faults(files["manifest.yaml"]) if fault.step == "decode"]
    if not faults:
        plugins = read_declaration(files["manifest.yaml"], records()["Manifest"], Budget()).values.get("plugins") or {}
        named = replace(_MANIFEST, providers={kind: tuple(plugins.get(kind) or ()) for kind in KINDS})
        faults += file_faults(named, files.keys(), lambda path: files[path])
    return tuple(fault for fault in faults if fault.step == "decode")


def is_refused(faults: Iterable[DeclarationFault], release: str) -> bool:
    """Say whether a release of the daemon refuses a plugin with these faults."""
    return any(fault.concerns(Version(release)) for fault in faults)


def _fields(tree: Tree, record: str) -> Iterator[tuple[Path, str]]:
    """Yield the path of every field, with the word for its type."""
    root: Type = records()[record] if record != "Position" else ListType(Scalar("text", "a text"))
    yield from _below(tree, (), root)


def _below(tree: Tree, path: Path, wanted: Type | None) -> Iterator[tuple[Path, str]]:
    if path:
        yield path, word(wanted)
    if isinstance(tree, dict):
        for key, value in tree.items():
            field = wanted.fields.get(key) if isinstance(wanted, Record) else None
            yield from _below(value, (*path, key), field.type if field else None)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _below(value, (*path, index), wanted.item if isinstance(wanted, ListType) else None)


def word(wanted: Type | None) -> str:
    """Return the word for a type."""
    if isinstance(wanted, Scalar):
        return wanted.name
    if isinstance(wanted, ListType):
        return f"list of {word(wanted.item)}"
    return {Record: "record", AnyType: "any", MapType: "map", Raw: "raw", type(None): "inside raw"}[type(wanted)]


def write(tree: Tree, path: Path = (), change: str = "", value: str = "") -> str:
    """Write a tree as YAML, the field at `path` changed."""
    return "".join(_lines(tree, path, change, value, ""))


def _lines(tree: Tree, path: Path, change: str, value: str, indent: str) -> Iterator[str]:
    entries: Sequence[tuple[str | int, Tree]]
    entries = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))
    for key, child in entries:
        here = path[:1] == (key,)
        label = f"{key}:" if isinstance(tree, dict) else "-"
        if here and len(path) == 1:
            yield from _changed(label, child, change, value, indent)
        else:
            yield from _entry(label, child, path[1:] if here else (), change, value, indent)


def _entry(label: str, child: Tree, path: Path, change: str, value: str, indent: str) -> Iterator[str]:
    if isinstance(child, str):
        yield f"{indent}{label} {child}\n"
    elif not child:
        yield f"{indent}{label} {'{}' if isinstance(child, dict) else '[]'}\n"
    else:
        yield f"{indent}{label}\n"
        yield from _lines(child, path, change, value, indent + "  ")


def _changed(label: str, child: Tree, change: str, value: str, indent: str) -> Iterator[str]:
    if change == "value":
        yield f"{indent}{label} {value}\n"
        return
    whole = "".join(_entry(label, child, (), "", "", indent))
    yield CHANGES[change](_Line(indent=indent, label=label, whole=whole))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A field as written: the blanks before it, its key with the colon (or a dash), and the whole of it."""

    indent: str
    label: str
    whole: str

    @property
    def key(self) -> str:
        return self.label.rstrip(":")

    @property
    def is_key(self) -> bool:
        return self.label.endswith(":")

    @property
    def body(self) -> str:
        return self.whole[len(self.indent) + len(self.label) :]

    def beside(self, entry: str) -> str:
        """Return the field and one more after it."""
        return f"{self.whole}{self.indent}{entry}\n"


# What is done to a field's line or to the mapping around it, by name.
CHANGES: Final[Mapping[str, Callable[[_Line], str]]] = {
    "missing": lambda line: f"{line.indent}{'difyoff: 1' if line.is_key else '- 1'}\n",
    "twice": lambda line: line.whole * 2,
    "twice with other value": lambda line: line.beside(f"{line.label} other"),
    "unknown key": lambda line: line.beside("difyoff: {a: [1, ~]}"),
    "unknown key twice": lambda line: line.beside("difyoff: 1") + f"{line.indent}difyoff: 2\n",
    "unknown key holding a repeated one": lambda line: line.beside("difyoff: {a: 1, a: 2}"),
    "tab as indentation": lambda line: "\t" + line.whole.lstrip(" "),
    "tab before colon": lambda line: line.indent + (f"{line.key}\t:" if line.is_key else "-\t") + line.body,
    "upper case key": lambda line: f"{line.indent}{line.label.upper()}{line.body}",
    "quoted key": lambda line: f'{line.indent}"{line.key}":{line.body}' if line.is_key else line.whole,
    "number key": lambda line: line.beside("1: 2"),
    "null key": lambda line: line.beside("~: 2"),
    "list key": lambda line: line.beside(f"? [a]\n{line.indent}: 2"),
    "merge of a good mapping": lambda line: f"{line.indent}<<: {{difyoff: 1}}\n{line.whole}",
    "merge of a wrong mapping": lambda line: (
        f"{line.indent}<<: {{{line.key}: [[1]], difyoff: [1], label: 5, required: [2]}}\n{line.whole}"
    ),
    "merge of itself": lambda line: f"{line.indent}<<: {{{line.key}: [[1]]}}\n{line.indent}difyoff: 1\n",
    "comment above": lambda line: f"{line.indent}# comment\n{line.whole}",
    "tabbed comment above": lambda line: f"# comment\n\t# comment\n{line.whole}",
    "trailing tab": lambda line: line.whole.replace("\n", "\t\n", 1),
    "trailing comment": lambda line: line.whole.replace("\n", " # comment\n", 1),
    "no blank after colon": lambda line: f"{line.indent}{line.label}{line.body.lstrip(' ')}",
    "windows line ends": lambda line: line.whole.replace("\n", "\r\n"),
    "anchor and alias": lambda line: (
        f"{line.indent}{'difyoff:' if line.is_key else '-'} &anchor{line.body}{line.indent}{line.label} *anchor\n"
    ),
}


def _whole(text: str, change: str) -> bytes:
    texts = {
        "empty": "", "comment only": "# comment\n", "text only": "text\n", "list only": "- a\n", "null only": "~\n",
        "two documents": f"{text}---\na: [1]\n", "broken second document": f"{text}---\na: [1\n",
        "yaml 1.1": f"%YAML 1.1\n---\n{text}", "yaml 1.2": f"%YAML 1.2\n---\n{text}",
        "tag directive": f"%TAG !e! tag:example.org,2025:\n---\n{text}", "nul byte": f"{text}# \x00\n",
        "control character": f"{text}difyoff: \x01\n", "document end": f"{text}...\n",
        "many keys": text + "".join(f"difyoff{number}: {number}\n" for number in range(3_000)),
        "alias bomb": f"{text}difyoff: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"difyoff{n}: &a{n} [{','.join([f'*a{n - 1}' if n > 1 else '*a'] * 9)}]\n" for n in range(1, 9)),
        "deep list": f"{text}difyoff: {'[' * 900}{']' * 900}\n",
        "carriage returns only": text.replace("\n", "\r"), "next line sign": text.replace("\n", "\x85"),
    }  # fmt: skip
    if change in texts:
        return texts[change].encode()
    encoded = {
        "byte order mark": b"\xef\xbb\xbf" + text.encode(),
        "utf-16": text.encode("utf-16"),
        "latin-1": f"{text}# é\n".encode("latin-1"),
    }
    return encoded[change]

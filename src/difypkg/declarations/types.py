"""The types of `types.toml`, read once."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, TypeAlias

ScalarName: TypeAlias = Literal["text", "bool", "int", "uint", "float", "decimal", "time"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value; `wanted` says it in words."""

    name: ScalarName
    wanted: str


@dataclass(frozen=True, slots=True)
class AnyType:
    """Whatever YAML has."""


@dataclass(frozen=True, slots=True)
class MapType:
    """A mapping from texts to anything."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A node left as it is."""


@dataclass(frozen=True, slots=True)
class ListType:
    """A list of one type."""

    item: "Type"


@dataclass(eq=False, slots=True)
class Record:
    """A mapping with known keys; others are ignored."""

    name: str
    fields: dict[str, "Field"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record: its type, and the first and last daemon release that reads it (None: every one)."""

    type: "Type"
    since: str | None = None
    until: str | None = None


Type: TypeAlias = Scalar | AnyType | MapType | Raw | ListType | Record

TEXT: Final = Scalar("text", "a text")
ANY: Final = AnyType()
TEXTS: Final = ListType(TEXT)
_BUILT_IN: Final[dict[str, Type]] = {
    "text": TEXT,
    "bool": Scalar("bool", "true or false"),
    "int": Scalar("int", "a whole number"),
    "uint": Scalar("uint", "a whole number from 0 up"),
    "float": Scalar("float", "a number"),
    "decimal": Scalar("decimal", "a number"),
    "time": Scalar("time", "a time, such as 2025-06-01T12:00:00Z"),
    "any": ANY,
    "map": MapType(),
    "raw": Raw(),
}


@cache
def records() -> Mapping[str, Record]:
    """Return every record by its name."""
    data = tomllib.loads((files(__package__) / "types.toml").read_text(encoding="utf-8"))
    found = {name: Record(name) for name in data}
    for name, record in found.items():
        record.fields.update({key: _field(value, found) for key, value in data[name].items()})
    return found


def _field(value: Any, found: Mapping[str, Record]) -> Field:
    if isinstance(value, str):
        return Field(_type(value, found))
    return Field(_type(value["type"], found), since=value.get("since"), until=value.get("until"))


def _type(text: str, found: Mapping[str, Record]) -> Type:
    if text.startswith("["):
        return ListType(_type(text[1:-1], found))
    return _BUILT_IN.get(text) or found[text]

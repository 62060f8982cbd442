"""A copy of an exported app that names other packages: `dependencies` is edited as text, all other bytes stay."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.identity import IDENTIFIER_PATTERN, Identity
from ..difypkg.manifest import parse_yaml
from .marketplace import PREFIX
from .source import Member

_KEY: Final = "dependencies"
_BOM: Final = "\ufeff"
_Loader: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

Edit = tuple[int, int, str]
"""From which to which character a text is replaced, and by what."""


def read_dependency(item: Any) -> Member | None:
    """Return the plugin of one entry of `dependencies`, None where it is of no known form."""
    value = item.get("value") if isinstance(item, dict) else None
    if not isinstance(value, dict):
        return None
    match item.get("type"), value:
        case "marketplace", {"marketplace_plugin_unique_identifier": str(identifier)} if plugin_id_of(identifier):
            return Member(source=PREFIX + identifier, plugin_id=plugin_id_of(identifier))
        case "github", {
            "repo": str(repo),
            "version": str(tag),
            "package": str(asset),
            "github_plugin_unique_identifier": str(identifier),
        } if plugin_id_of(identifier):
            repo = repo.removeprefix("https://github.com/").strip("/")
            return Member(
                source=f"github:{repo}@{tag}/{asset}", plugin_id=plugin_id_of(identifier), expected=identifier
            )
        case "package", {"plugin_unique_identifier": str(identifier)} if plugin_id_of(identifier):
            source = PREFIX + identifier.partition("@")[0]
            return Member(source=source, plugin_id=plugin_id_of(identifier), expected=identifier)
        case _:
            pass
    return None


def plugin_id_of(identifier: str) -> str | None:
    """Return `author/name` of an identifier, None where it is not a whole one."""
    match = IDENTIFIER_PATTERN.fullmatch(identifier)
    return f"{match['author']}/{match['name']}" if match and match["author"] else None


def rewrite(content: bytes, name: str, built: Mapping[str, Identity]) -> bytes:
    """Return an app with `type: package` and the identifier of each built plugin, by id (`author/name`).

    An entry of the list is replaced, a plugin that is not listed is added to it. Raises `not-an-app` for a text whose
    list cannot be edited in place.
    """
    text = content.decode("utf-8")
    mark = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    newline = "\r\n" if "\r\n" in text else "\n"
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _cannot(name, str(error)) from error
    assert isinstance(root, yaml.MappingNode)
    left = dict(built)
    edits = _edits(text, root, left)
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new.replace("\n", newline) + text[end:]
    result = (mark + text).encode()
    _check(content, result, name, built)
    return result


def _edits(text: str, root: yaml.MappingNode, left: dict[str, Identity]) -> list[Edit]:
    """Return what to change; `left` loses what is listed and keeps nothing that is not added."""
    value = next((value for key, value in root.value if key.value == _KEY), None)
    if value is None:
        before = next((key.start_mark.index for key, _ in root.value if key.value == "kind"), None)
        lead = "" if before is not None or text.endswith("\n") or not text else "\n"
        at = len(text) if before is None else before
        return [(at, at, f"{lead}{_KEY}:\n{_block(left.values(), '')}\n")] if left else []
    if isinstance(value, yaml.SequenceNode) and value.value and not value.flow_style:
        return _block_edits(text, value, left)
    kept = value.value if isinstance(value, yaml.SequenceNode) else []
    lines = [_item(taken, "") if (taken := _take(item, left)) else f"- {_source(text, item)}" for item in kept]
    lines += [_block(left.values(), "")] if left else []
    if not lines:
        return []
    key = next(key for key, _ in root.value if key.value == _KEY)
    start = text.index(":", key.end_mark.index) + 1
    end = value.end_mark.index if isinstance(value, yaml.SequenceNode) or value.value else start
    return [(start, end, "\n" + "\n".join(lines))]


def _block_edits(text: str, value: yaml.SequenceNode, left: dict[str, Identity]) -> list[Edit]:
    edits: list[Edit] = []
    for item in value.value:
        if identity := _take(item, left):
            indent = " " * item.start_mark.column
            edits.append((item.start_mark.index, _end(item), _item(identity, indent).removeprefix("- ")))
    if left:
        dash = " " * value.start_mark.column
        last = _end(value.value[-1])
        line = text.find("\n", last)
        at = len(text) if line < 0 else line
        at -= at > 0 and text[at - 1 : at] == "\r"
        edits.append((at, at, "\n" + _block(left.values(), dash)))
    return edits


def _take(item: yaml.Node, left: dict[str, Identity]) -> Identity | None:
    member = read_dependency(_Loader("").construct_document(item))
    return left.pop(member.plugin_id, None) if member is not None and member.plugin_id else None


def _end(node: yaml.Node) -> int:
    """Return where a node's last text ends; a block's own mark is where the next one begins."""
    if isinstance(node, yaml.ScalarNode) or getattr(node, "flow_style", False):
        return node.end_mark.index
    last = node.value[-1] if node.value else None
    if last is None:
        return node.end_mark.index
    return max(_end(each) for each in (last if isinstance(last, tuple) else (last,)))


def _source(text: str, node: yaml.Node) -> str:
    return " ".join(text[node.start_mark.index : node.end_mark.index].split())


def _block(identities: Any, dash: str) -> str:
    return "\n".join(dash + _item(identity, f"{dash}  ") for identity in identities)


def _item(identity: Identity, indent: str) -> str:
    indent = indent or "  "
    return (
        f"- current_identifier: null\n{indent}type: package\n{indent}value:\n"
        f"{indent}  plugin_unique_identifier: {identity}\n{indent}  version: null"
    )


def _check(before: bytes, after: bytes, name: str, built: Mapping[str, Identity]) -> None:
    """Refuse a copy that says anything else than the original but for the plugins that were built."""
    try:
        old, new = parse_yaml(before, name), parse_yaml(after, name)
    except DifyoffError as error:
        raise _cannot(name, error.diagnosis.message) from error
    listed = new.pop(_KEY, None) or []
    old.pop(_KEY, None)
    named = {each["value"]["plugin_unique_identifier"] for each in listed if each.get("type") == "package"}
    if old != new or not {str(identity) for identity in built.values()} <= named:
        raise _cannot(name, "the list of `dependencies` is written in an unusual way")


def _cannot(name: str, why: str) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="not-an-app",
            message=f"no copy of {name} can be made: {why.splitlines()[0]}",
            hint="Import the app into Dify, export it again, and build from that file.",
        )
    )

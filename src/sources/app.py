"""A Dify app or pipeline as exported (DSL): every plugin that its `dependencies` and its nodes name.

Dify lists in `dependencies` what it collects from some kinds of nodes (api/services/app_dsl_service.py) and leaves out
others, such as agents, triggers and data sources, so nodes are read too. On import it compares whole identifiers (the
daemon's internal/service/manage_plugin.go), so that a repacked plugin counts as missing: `Collection.rewrite` gives the
app with the identifiers of the packages that were made.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.manifest import parse_yaml
from . import marketplace
from .appcopy import plugin_id_of, read_dependency, rewrite
from .local import exists
from .source import Access, Collection, Member

_SUFFIXES: Final = (".yml", ".yaml")
_KINDS: Final = ("app", "rag_pipeline")
_PART: Final = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)
_NOT_PLUGINS: Final = frozenset({"api", "workflow", "mcp", "app", "dataset-retrieval"})
"""Kinds of tools that are not plugins: made in Dify itself, or servers that speak MCP."""
_BUILT_IN: Final = frozenset({"time", "audio", "code", "webscraper"})
"""Tools that are part of Dify."""
_RENAMED: Final = {
    ("model", "google"): "gemini",
    **{("tool", name): f"{name}_tool" for name in ("jina", "siliconflow", "stepfun", "gitee_ai")},
}
"""Names of the time before plugins, and the plugins of today (Dify's core/plugin/entities/provider_ids.py)."""
_NONE: Final = frozenset({"", "null", "~", "Null", "NULL"})

Kind = Literal["tool", "model", "plugin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A plugin that a part of the app names: `identifier` where the part has the whole one, else by its id.

    With `plugin_id` None the plugin could not be told from `said`, for this `reason`.
    """

    where: str
    said: str
    plugin_id: str | None = None
    identifier: str | None = None
    reason: str = ""


def claims(text: str, access: Access) -> bool:
    """Say whether a text is the path of a YAML file."""
    return text.lower().endswith(_SUFFIXES) and exists(text) and not Path(text).is_dir()


def locate(text: str, access: Access) -> Collection:
    """Return the plugins of the app."""
    content = _read(Path(text))
    data = _parse(content, text)
    listed, problems = _listed(data)
    uses = tuple(read_uses(data))
    members = {member.plugin_id: member for member in reversed(listed)}
    unlisted: dict[str, Use] = {}
    for use in uses:
        if use.plugin_id is not None and use.plugin_id not in members:
            known = unlisted.get(use.plugin_id)
            if known is None or (use.identifier and not known.identifier):
                unlisted[use.plugin_id] = use
    added = [
        Member(source=marketplace.PREFIX + (use.identifier or name), plugin_id=name) for name, use in unlisted.items()
    ]
    findings = (*problems, *_unlisted_findings(text, unlisted), *_untold_findings(text, uses))
    if not listed and not added:
        findings += (Diagnosis(slug="app-without-plugins", message=f"{text} names no plugins"),)
    return Collection(
        name=text,
        members=(*dict.fromkeys(members[each.plugin_id] for each in listed), *added),
        findings=findings,
        rewrite=lambda built: rewrite(content, text, built),
    )


def read_uses(data: Mapping[str, Any]) -> Iterator[Use]:
    """Yield what every part of an app but its `dependencies` names, each thing once."""
    seen: set[Use] = set()
    for key, value in data.items():
        if key != "dependencies":
            for use in _walk(value, str(key), set()):
                if use not in seen:
                    seen.add(use)
                    yield use


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DifyoffError(
            Diagnosis(slug="file-not-readable", message=f"{path} cannot be read: {error.strerror}")
        ) from error


def _parse(content: bytes, name: str) -> Mapping[str, Any]:
    try:
        data = parse_yaml(content, name)
    except DifyoffError as error:
        raise _not_an_app(name, error.diagnosis.message, *error.diagnosis.context) from error
    if not isinstance(data, dict) or data.get("kind") not in _KINDS:
        raise _not_an_app(name, f"its `kind` is not one of {', '.join(_KINDS)}")
    return data


def _not_an_app(name: str, why: str, *context: str) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="not-an-app",
            message=f"{name} is not an app that Dify exported: {why}",
            context=context,
            hint="Export the app with Dify's `Export DSL`, and name that file.",
        )
    )


def _listed(data: Mapping[str, Any]) -> tuple[list[Member], list[Diagnosis]]:
    members: list[Member] = []
    problems: list[Diagnosis] = []
    dependencies = data.get("dependencies")
    for item in dependencies if isinstance(dependencies, list) else ():
        if (member := read_dependency(item)) is not None:
            members.append(member)
        else:
            problems.append(
                Diagnosis(
                    slug="app-plugin-unknown",
                    message="an entry of the app's `dependencies` is not understood",
                    context=(str(item)[:200],),
                    hint="Install that plugin on the site by hand.",
                )
            )
    return members, problems


def _walk(value: Any, where: str, seen: set[int]) -> Iterator[Use]:
    stack = [(value, where)]
    while stack:
        each, place = stack.pop()
        if not isinstance(each, dict | list) or id(each) in seen:
            continue  # an alias leads to what was read already
        seen.add(id(each))
        if isinstance(each, list):
            stack += [(item, place) for item in reversed(each)]
            continue
        if isinstance(each.get("title"), str) and isinstance(each.get("type"), str):
            place = f"{each['type']} node {each['title']!r}"
        yield from _uses(each, place)
        stack += [(item, place) for item in reversed(each.values())]


def _uses(part: Mapping[str, Any], where: str) -> Iterator[Use]:
    """Yield what one mapping names by its own keys."""
    identifier = _text(part, "plugin_unique_identifier")
    if identifier and (plugin_id := plugin_id_of(identifier)):
        yield Use(where=where, said=identifier, plugin_id=plugin_id, identifier=identifier)
        return
    if plugin_id := _text(part, "plugin_id"):
        yield _named("plugin", plugin_id, where)
        return
    if strategy := _text(part, "agent_strategy_provider_name"):
        yield _named("tool", strategy, where)
    tool = _text(part, "provider_id") or _text(part, "provider_name")
    kind = _text(part, "provider_type") or (_text(part, "type") if "tool_name" in part else None)
    if tool and kind and kind not in _NOT_PLUGINS and not (kind == "builtin" and tool in _BUILT_IN):
        yield _named("tool", tool, where)
    if isinstance(part.get("provider"), str) and ("name" in part or "model" in part):
        if provider := _text(part, "provider"):
            yield _named("model", provider, where)
        elif _text(part, "name") or _text(part, "model"):
            yield Use(
                where=where, said=f"model {_text(part, 'name') or _text(part, 'model')}", reason="it has no provider"
            )
    for key in ("reranking_provider_name", "embedding_provider_name"):
        if provider := _text(part, key):
            yield _named("model", provider, where)


def _text(part: Mapping[str, Any], key: str) -> str | None:
    value = part.get(key)
    return value if isinstance(value, str) and value not in _NONE else None


def _named(kind: Kind, said: str, where: str) -> Use:
    parts = said.split("/")
    if not all(_PART.fullmatch(part) for part in parts):
        return Use(where=where, said=said, reason="it is not the name of a plugin's provider")
    if len(parts) == 3 or (len(parts) == 2 and kind == "plugin"):
        return Use(where=where, said=said, plugin_id="/".join(parts[:2]))
    if len(parts) == 1:
        return Use(where=where, said=said, plugin_id=f"langgenius/{_RENAMED.get((kind, said), said)}")
    return Use(where=where, said=said, reason="it is neither a provider nor author/plugin/provider")


def _unlisted_findings(name: str, unlisted: Mapping[str, Use]) -> Iterator[Diagnosis]:
    if unlisted:
        yield Diagnosis(
            slug="app-plugin-unlisted",
            message=f"{name} uses {len(unlisted)} plugins that its `dependencies` do not list",
            context=tuple(
                f"{plugin_id}{'' if use.identifier else ', its latest version'}: {use.where}"
                for plugin_id, use in unlisted.items()
            ),
            note="Dify's export leaves out the plugins of some kinds of nodes, and of apps older than plugins.",
            hint="Check that the app works with these versions.",
        )


def _untold_findings(name: str, uses: tuple[Use, ...]) -> Iterator[Diagnosis]:
    untold = [use for use in uses if use.plugin_id is None]
    if untold:
        yield Diagnosis(
            slug="app-plugin-unknown",
            message=f"{len(untold)} parts of {name} do not say which plugin they use",
            context=tuple(f"{use.where}: {use.said}: {use.reason}" for use in untold),
            hint="Look at these nodes in Dify, and add their plugins by name.",
        )

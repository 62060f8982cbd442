"""Two versions of a plugin side by side, as an operator must judge them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..difypkg.manifest import MANIFEST, parse_yaml
from ..repack.resolution import Resolution
from ..repack.source import Plugin

_FORMS: Final = (
    *("credentials_for_provider", "credential_form_schemas", "credentials_schema", "client_schema", "settings"),
)
"""Where a provider's file asks for credentials or settings: a mapping by name, or a list of entries with one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What counts of one version. `permissions` are enforced at run time; `pins` maps a distribution to its version."""

    version: str
    identifier: str
    signature: str
    minimum_dify: str
    kinds: tuple[str, ...]
    permissions: frozenset[str]
    endpoints: frozenset[str]
    credentials: frozenset[str]
    pins: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that differs, in words."""

    what: str
    old: str
    new: str


def read_facts(plugin: Plugin, resolution: Resolution) -> Facts:
    """Read an open plugin. Raises `manifest-invalid` for YAML that cannot be read."""
    manifest = parse_yaml(plugin.files[MANIFEST].read(), MANIFEST)
    resource = manifest.get("resource") if isinstance(manifest, dict) else None
    signature = plugin.signature
    return Facts(
        version=plugin.manifest.version,
        identifier=str(plugin.identity),
        signature="none" if signature is None else f"{signature.bits} bits, {signature.category or 'no category'}",
        minimum_dify=plugin.manifest.minimum_dify_version or "none",
        kinds=plugin.manifest.kinds,
        permissions=frozenset(_granted(resource.get("permission") if isinstance(resource, dict) else None)),
        endpoints=frozenset(_endpoints(plugin)),
        credentials=frozenset(
            name
            for kind, files in plugin.manifest.providers.items()
            for file in files
            for name in _credentials(_yaml(plugin, file), kind)
        ),
        pins={pin.name: pin.version or "from source" for pin in resolution.pins},
    )


def compare_facts(old: Facts, new: Facts) -> tuple[Change, ...]:
    """Return what differs, the weightiest first; the version and the identifier always."""
    changes = [Change(what="version", old=old.version, new=new.version)]
    for what in ("permissions", "endpoints", "credentials"):
        before, after = getattr(old, what), getattr(new, what)
        if before != after:
            changes.append(Change(what=what, old=_list(before - after, "-"), new=_list(after - before, "+")))
    for what, before, after in (
        ("minimum Dify", old.minimum_dify, new.minimum_dify),
        ("kinds", ", ".join(old.kinds), ", ".join(new.kinds)),
        ("signature", old.signature, new.signature),
    ):
        if before != after:
            changes.append(Change(what=what, old=before, new=after))
    for name in sorted(old.pins.keys() | new.pins.keys()):
        before, after = old.pins.get(name, "-"), new.pins.get(name, "-")
        if before != after:
            changes.append(Change(what=name, old=before, new=after))
    changes.append(Change(what="identifier", old=old.identifier, new=new.identifier))
    return tuple(changes)


def _list(names: frozenset[str], mark: str) -> str:
    return ", ".join(f"{mark}{name}" for name in sorted(names))


def _granted(permission: Any, prefix: str = "") -> Iterator[str]:
    """Yield what a permission's mapping grants: `tool`, `model.llm`, `storage 1048576`."""
    if not isinstance(permission, dict):
        return
    for key, value in permission.items():
        if isinstance(value, dict):
            if _true(value.get("enabled")):
                yield f"{prefix}{key}"
                yield from _granted({k: v for k, v in value.items() if k != "enabled"}, f"{prefix}{key}.")
        elif key == "size":
            yield f"{prefix}{key} {value}"
        elif _true(value):
            yield f"{prefix}{key}"


def _true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() in ("true", "yes", "on", "y"))


def _endpoints(plugin: Plugin) -> Iterator[str]:
    for group in plugin.manifest.providers.get("endpoints", ()):
        listed = _yaml(plugin, group).get("endpoints")
        for file in listed if isinstance(listed, list) else ():
            endpoint = _yaml(plugin, str(file))
            yield f"{endpoint.get('method', '?')} {endpoint.get('path', '?')}"


def _credentials(data: Any, prefix: str) -> Iterator[str]:
    stack = [data]
    while stack:
        each = stack.pop()
        if isinstance(each, list):
            stack += each
        elif isinstance(each, dict):
            for key, value in each.items():
                if key in _FORMS:
                    for name, entry in _entries(value):
                        needed = isinstance(entry, dict) and _true(entry.get("required"))
                        yield f"{prefix}.{name}{' (required)' if needed else ''}"
                else:
                    stack.append(value)


def _entries(form: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(form, dict):
        yield from ((str(name), entry) for name, entry in form.items())
    elif isinstance(form, list):
        for entry in form:
            if isinstance(entry, dict) and (name := entry.get("name") or entry.get("variable")):
                yield str(name), entry


def _yaml(plugin: Plugin, path: str) -> Mapping[str, Any]:
    data = parse_yaml(plugin.files[path].read(), path) if path in plugin.files else None
    return data if isinstance(data, dict) else {}

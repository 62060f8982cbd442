"""`manifest.yaml` and the files it names, by the rules the daemon applies at upload.

Three validators exist (the daemon's, its packager's, the SDK's); the daemon's is the one that decides whether a package
can be uploaded: pkg/plugin_packager/decoder/helper.go, pkg/entities/plugin_entities/plugin_declaration.go and
internal/core/plugin_manager/media_transport/assets.go, release 0.6.10.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from .diagnosis import Diagnosis, DifyoffError
from .gopath import BadPatternError, compile_pattern

MANIFEST: Final = "manifest.yaml"
ASSETS: Final = "_assets/"

_AUTHOR: Final = re.compile(r"[a-z0-9_-]{1,64}")
_NAME: Final = re.compile(r"[a-z0-9_-]{1,128}")
_VERSION: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}(-\w{1,16})?", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIMESTAMP: Final = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}"
    r"( \d{1,2}:\d{1,2}:\d{1,2}(\.\d*)?|[Tt]\d{1,2}:\d{1,2}:\d{1,2}(\.\d*)?(Z|[+-]\d{2}:\d{2}))?",
    re.ASCII,
)
_NUMBER: Final = re.compile(r"[+-]?(0[xob][0-9a-fA-F_]+|[0-9][0-9_]*(\.[0-9_]*)?(e[+-]?[0-9]+)?)", re.IGNORECASE)
_TRUTHS: Final = frozenset({"true", "True", "TRUE", "false", "False", "FALSE", "yes", "Yes", "YES", "no", "No", "NO",
                            "on", "On", "ON", "off", "Off", "OFF", "y", "Y", "n", "N"})  # fmt: skip

_LISTED: Final = {
    "tools": "tools",
    "endpoints": "endpoints",
    "models": "models",
    "agent_strategies": "strategies",
    "datasources": "datasources",
    "triggers": "events",
}
"""Kind of plugin, and the key under which its provider file lists further files."""

_MODEL_TYPES: Final = ("llm", "text_embedding", "tts", "speech2text", "moderation", "rerank")
_LANGUAGES: Final = ("en_US", "zh_Hans", "ja_JP", "pt_BR")

_NESTING_MAX: Final = 10_000
"""The limit of yaml.v3, the daemon's parser."""

_YamlMapping: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What difyoff needs of a plugin's manifest.

    `kinds` holds the kinds with provider files (`tools`, `models`, ...), by which the daemon sorts plugins. `runner` is
    the language (the daemon runs `python` only), `entrypoint` the module that it starts. `permissions` are those of
    `resource.permission` that are granted, as `model.llm`.
    """

    author: str
    name: str
    version: str
    runner: str
    entrypoint: str
    architectures: tuple[str, ...]
    minimum_dify_version: str | None
    permissions: tuple[str, ...]
    icons: tuple[str, ...]
    providers: Mapping[str, tuple[str, ...]]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of plugin that it provides."""
        return tuple(kind for kind, files in self.providers.items() if files)


class _Mapping(dict[Any, Any]):
    """A YAML mapping that remembers which keys came more than once."""

    repeated: frozenset[str] = frozenset()


class _RawLoader(yaml.CBaseLoader if hasattr(yaml, "CBaseLoader") else yaml.BaseLoader):  # type: ignore[misc, unused-ignore]
    """Scalars stay the text they are, as yaml.v3 hands them to a Go struct."""


def _construct_mapping(loader: yaml.BaseLoader, node: yaml.MappingNode) -> Iterator[_Mapping]:
    mapping = _Mapping()
    yield mapping  # before its content, so that an alias may refer to it
    mapping.update(loader.construct_mapping(node))
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    mapping.repeated = frozenset(key for key in keys if keys.count(key) > 1)


_RawLoader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def _invalid(message: str, *context: str) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="manifest-invalid",
            message=message,
            context=context,
            note="The daemon refuses an upload of this package; this is a fault of the plugin.",
            hint="Ask the plugin's author for a corrected package.",
        )
    )


def parse_yaml(content: bytes, path: str) -> Any:
    """Parse one YAML file as the daemon does. Raises `manifest-invalid`."""
    try:
        _refuse_deep(content)
        return next(yaml.load_all(content, Loader=_RawLoader), None)  # the daemon reads the first document only
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _invalid(f"{path} is not valid YAML", *str(error).splitlines()[:6]) from error


def _refuse_deep(content: bytes) -> None:
    # The C composer recurses without a limit. Each level but an indented one costs a character of these.
    if sum(map(content.count, (b"[", b"{", b"-", b"?"))) < _NESTING_MAX:
        return
    depth = 0
    for event in yaml.parse(content, Loader=_RawLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _NESTING_MAX:
            raise ValueError(f"nested deeper than {_NESTING_MAX:,} levels")


def read_manifest(content: bytes) -> Manifest:
    """Read `manifest.yaml` and check it by the daemon's rules. Raises `manifest-invalid`."""
    data = parse_yaml(content, MANIFEST)
    if not isinstance(data, _Mapping):
        raise _invalid(f"{MANIFEST} is not a mapping")
    _refuse_repeated(data, MANIFEST)
    author, name, version = (_text(data, key) for key in ("author", "name", "version"))
    if not _AUTHOR.fullmatch(author):
        raise _invalid(f"author {author!r} does not match ^[a-z0-9_-]{{1,64}}$")
    if _UUID.fullmatch(author):
        raise _invalid(f"author {author!r} is a UUID, which the daemon keeps for plugins under development")
    if not _NAME.fullmatch(name):
        raise _invalid(f"name {name!r} does not match ^[a-z0-9_-]{{1,128}}$")
    if not _VERSION.fullmatch(version):
        raise _invalid(f"version {version!r} is not two to four numbers with dots and an optional -suffix")
    created = _text(data, "created_at")
    if created and not _TIMESTAMP.fullmatch(created):
        raise _invalid(f"created_at {created!r} is not a time")
    _check_resource(_section(data, "resource"))
    meta = _section(data, "meta")
    runner = _section(meta, "runner")
    plugins = _section(data, "plugins")
    providers = {kind: _texts(plugins, kind) for kind in _LISTED}
    _check_kinds(tuple(kind for kind, files in providers.items() if files))
    return Manifest(
        author=author,
        name=name,
        version=version,
        runner=_text(runner, "language"),
        entrypoint=_text(runner, "entrypoint"),
        architectures=_texts(meta, "arch"),
        minimum_dify_version=_text(meta, "minimum_dify_version") or None,
        permissions=_granted(_section(_section(data, "resource"), "permission")),
        icons=tuple(icon for icon in (_text(data, "icon"), _text(data, "icon_dark")) if icon),
        providers=providers,
    )


def check_files(manifest: Manifest, paths: Collection[str], read: Callable[[str], bytes]) -> None:
    """Check that everything the manifest names is there: provider files, what those name, and every icon.

    `paths` are all files of the package, `read` returns one's content. Raises `manifest-invalid` for a missing or
    unreadable file and `asset-missing` for an icon that does not lie under `_assets/`.
    """

    def load(path: str, named_by: str) -> _YamlMapping:
        if path not in paths:
            raise _invalid(f"{named_by} names {path}, which is not in the package")
        data = parse_yaml(read(path), path)
        return data if isinstance(data, dict) else {}

    icons = [(icon, MANIFEST) for icon in manifest.icons]
    for kind, files in manifest.providers.items():
        for file in files:
            provider = load(file, MANIFEST)
            if kind == "models":
                _check_model_files(provider, file, paths, load)
            else:
                for listed in _listed_files(provider, _LISTED[kind]):
                    content = load(listed, file)
                    if kind == "datasources":
                        icons += [(icon, listed) for icon in _identity_icons(content)[:1]]
            # Several provider files of one kind may be named; only the last one's icons are kept by the daemon.
            if file == files[-1]:
                found = _model_icons(provider) if kind == "models" else _identity_icons(provider)
                icons += [(icon, file) for icon in found if kind != "endpoints"]
    for icon, named_by in icons:
        if ASSETS + icon not in paths:
            raise DifyoffError(
                Diagnosis(
                    slug="asset-missing",
                    message=f"{named_by} names the icon {icon}, and {ASSETS}{icon} is not in the package",
                    note="The daemon copies every icon at upload and refuses the package where one is missing.",
                    hint="Add the file, or check that no ignore rule drops it.",
                )
            )


def _check_resource(resource: _YamlMapping) -> None:
    memory = _text(resource, "memory")
    if memory and not _NUMBER.fullmatch(memory):
        raise _invalid(f"resource.memory {memory!r} is not a number of bytes")
    permission = _section(resource, "permission")
    for group in permission:
        for key, value in _section(permission, group).items():
            if key != "size" and isinstance(value, str) and value not in ("", "null", "~", *_TRUTHS):
                raise _invalid(f"resource.permission.{group}.{key} {value!r} is neither true nor false")


def _granted(permission: _YamlMapping) -> tuple[str, ...]:
    """Return the rights that are granted: the daemon holds a plugin to them while it runs."""
    rights = (f"{group}.{key}" for group in permission for key, on in _section(permission, group).items() if _is_on(on))
    return tuple(sorted(rights))


def _is_on(value: object) -> bool:
    return str(value).lower() == "true"


def _check_kinds(kinds: tuple[str, ...]) -> None:
    if not kinds:
        raise _invalid("plugins names no provider file: at least one of " + ", ".join(_LISTED) + " is needed")
    if len(kinds) > 1 and set(kinds) != {"tools", "endpoints"}:
        raise _invalid("plugins mixes " + " and ".join(kinds) + "; only tools and endpoints may stand together")


def _check_model_files(
    provider: _YamlMapping, file: str, paths: Collection[str], load: Callable[[str, str], _YamlMapping]
) -> None:
    models = provider.get("models")
    if not isinstance(models, dict):
        return
    for model_type in _MODEL_TYPES:
        section = models.get(model_type)
        if not isinstance(section, dict):
            continue
        if isinstance(position := section.get("position"), str):
            load(position, file)
        for pattern in section.get("predefined") or ():
            try:
                glob = compile_pattern(str(pattern))
            except BadPatternError as error:
                raise _invalid(f"{file} holds the malformed pattern {pattern!r}") from error
            for path in paths:
                if glob.fullmatch(path) and not path.endswith("_position.yaml"):
                    load(path, file)


def _listed_files(provider: _YamlMapping, key: str) -> Iterator[str]:
    listed = provider.get(key)
    yield from (item for item in listed if isinstance(item, str)) if isinstance(listed, list) else ()


def _identity_icons(provider: _YamlMapping) -> list[str]:
    identity = _section(provider, "identity")
    return [icon for key in ("icon", "icon_dark") if (icon := _text(identity, key))]


def _model_icons(provider: _YamlMapping) -> list[str]:
    sections = (_section(provider, key) for key in ("icon_small", "icon_large", "icon_small_dark", "icon_large_dark"))
    return [icon for section in sections for language in _LANGUAGES if (icon := _text(section, language))]


def _section(data: _YamlMapping, key: str) -> _YamlMapping:
    value = data.get(key)
    if isinstance(value, _Mapping):
        _refuse_repeated(value, key)
        return value
    if value in (None, "", "null", "~"):
        return {}
    raise _invalid(f"{key} is not a mapping")


def _refuse_repeated(mapping: _Mapping, where: str) -> None:
    if mapping.repeated:
        raise _invalid(f"{where} sets {', '.join(sorted(mapping.repeated))} more than once")


def _text(data: _YamlMapping, key: str) -> str:
    value = data.get(key)
    if value is None or value in ("null", "~"):
        return ""
    if not isinstance(value, str):
        raise _invalid(f"{key} is not a text")
    return value


def _texts(data: _YamlMapping, key: str) -> tuple[str, ...]:
    value = data.get(key)
    if value in (None, "", "null", "~"):
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _invalid(f"{key} is not a list of texts")
    return tuple(value)

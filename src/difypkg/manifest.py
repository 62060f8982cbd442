"""`manifest.yaml` and the files it names, by the rules the daemon applies at upload.

Three validators exist (the daemon's, its packager's, the SDK's); the daemon's is the one that decides whether a package
can be uploaded: pkg/plugin_packager/decoder/helper.go, pkg/entities/plugin_entities/plugin_declaration.go and
internal/core/plugin_manager/media_transport/assets.go, release 0.6.10.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from packaging.version import Version

from .declarations.decode import Declaration, FileName, Problem, Step, Values, read_declaration
from .declarations.tree import Budget, BudgetError, YamlError, read_tree, to_values
from .declarations.types import TEXTS, Type, records
from .diagnosis import Diagnosis, DifyoffError
from .gopath import BadPatternError, compile_pattern

MANIFEST: Final = "manifest.yaml"
ASSETS: Final = "_assets/"

_AUTHOR: Final = re.compile(r"[a-z0-9_-]{1,64}")
_NAME: Final = re.compile(r"[a-z0-9_-]{1,128}")
_VERSION: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}(-\w{1,16})?", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_LANGUAGES: Final = ("en_US", "zh_Hans", "ja_JP", "pt_BR")
_OLDEST: Final = Version("0.3.0")
_SHOWN: Final = 20
"""Faults that one error lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A kind of plugin: its provider files' record, the key that lists further files, and the record of those."""

    provider: str
    listed: str
    item: str
    inline: str
    """The manifest's key under which a provider may stand in place."""


_KINDS: Final = {
    "tools": _Kind(provider="ToolProvider", listed="tools", item="Tool", inline="tool"),
    "endpoints": _Kind(provider="EndpointProvider", listed="endpoints", item="Endpoint", inline="endpoint"),
    "models": _Kind(provider="ModelProvider", listed="models", item="Model", inline="model"),
    "agent_strategies": _Kind(
        provider="AgentStrategyProvider", listed="strategies", item="AgentStrategy", inline="agent_strategy"
    ),
    "datasources": _Kind(provider="DatasourceProvider", listed="datasources", item="Datasource", inline="datasource"),
    "triggers": _Kind(provider="TriggerProvider", listed="events", item="Event", inline="trigger"),
}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclarationFault:
    """Something for which the daemon refuses an upload, at a step of it (see `declarations.decode.Problem`).

    `since` and `until` are the first and the last release that do, None where every one does that knows this kind of
    plugin. It is there `everywhere` where all releases in use do.
    """

    diagnosis: Diagnosis
    step: Step = "decode"
    since: str | None = None
    until: str | None = None

    @property
    def everywhere(self) -> bool:
        """Whether every release from 0.3.0 (September 2025) on refuses it."""
        return self.until is None and (self.since is None or Version(self.since) <= _OLDEST)

    def concerns(self, release: Version) -> bool:
        """Say whether a release refuses it."""
        return (self.since is None or Version(self.since) <= release) and (
            self.until is None or release <= Version(self.until)
        )


def read_manifest(content: bytes) -> Manifest:
    """Read `manifest.yaml` and check it by the daemon's rules. Raises `manifest-invalid`, which lists every fault."""
    try:
        declaration = read_declaration(content, records()["Manifest"], Budget())
    except BudgetError as error:
        raise DifyoffError(_too_much(MANIFEST, error)) from error
    if faults := _manifest_faults(declaration):
        raise DifyoffError(_together([fault.diagnosis for fault in faults]))
    values = declaration.values
    meta, plugins = _section(values, "meta"), _section(values, "plugins")
    runner = _section(meta, "runner")
    return Manifest(
        author=_text(values, "author"),
        name=_text(values, "name"),
        version=_text(values, "version"),
        runner=_text(runner, "language"),
        entrypoint=_text(runner, "entrypoint"),
        architectures=tuple(meta.get("arch") or ()),
        minimum_dify_version=_text(meta, "minimum_dify_version") or None,
        permissions=_granted(_section(_section(values, "resource"), "permission")),
        icons=tuple(icon for icon in (_text(values, "icon"), _text(values, "icon_dark")) if icon),
        providers={kind: tuple(plugins.get(kind) or ()) for kind in _KINDS},
    )


def parse_yaml(content: bytes, path: str) -> Any:
    """Return the first document of a YAML file as mappings, lists and texts. Raises `manifest-invalid`."""
    try:
        root = read_tree(content, Budget())
        return to_values(root) if root is not None else None
    except YamlError as error:
        place = f"{path}:{error.line}:{error.column}" if error.line else path
        diagnosis = Diagnosis(slug="manifest-invalid", message=f"{place}: not valid YAML: {error.problem}")
        raise DifyoffError(diagnosis) from error


def manifest_faults(content: bytes) -> tuple[DeclarationFault, ...]:
    """Return every fault of `manifest.yaml`: those for which `read_manifest` raises, one by one."""
    try:
        return _manifest_faults(read_declaration(content, records()["Manifest"], Budget()))
    except BudgetError as error:
        return (DeclarationFault(diagnosis=_too_much(MANIFEST, error)),)


def check_files(manifest: Manifest, paths: Collection[str], read: Callable[[str], bytes]) -> tuple[Diagnosis, ...]:
    """Check what the manifest names, by `file_faults`, and return what some releases only refuse.

    Raises `DifyoffError` for what every release refuses: `manifest-invalid`, `declaration-invalid`, `asset-missing`.
    """
    faults = tuple(file_faults(manifest, paths, read))
    if fatal := [fault.diagnosis for fault in faults if fault.everywhere]:
        raise DifyoffError(_together(fatal))
    return tuple(fault.diagnosis for fault in faults)


def file_faults(manifest: Manifest, paths: Collection[str], read: Callable[[str], bytes]) -> Iterator[DeclarationFault]:
    """Yield every fault of what the manifest names: provider files, what those name, and every icon.

    `paths` are all files of the package, `read` returns one's content.
    """
    reader = _Files(paths, read)
    icons = [(icon, MANIFEST) for icon in manifest.icons]
    try:
        for kind, files in manifest.providers.items():
            for file in files:
                found = reader.provider(kind, file)
                # Several provider files of one kind may be named; only the last one's icons are kept by the daemon.
                icons += (each for each in found if each[1] != file or file == files[-1])
    except BudgetError as error:
        reader.faults.append(DeclarationFault(diagnosis=_too_much("the package", error)))
    yield from reader.faults
    for icon, named_by in dict.fromkeys(icons):
        if ASSETS + icon not in paths:
            yield DeclarationFault(
                step="store",
                diagnosis=Diagnosis(
                    slug="asset-missing",
                    message=f"{named_by} names the icon {icon}, and {ASSETS}{icon} is not in the package",
                    note="The daemon copies every icon at upload and refuses the package where one is missing.",
                    hint="Add the file, or check that no ignore rule drops it.",
                ),
            )


class _Files:
    """Reads a package's declarations, each file once for a type, and keeps what is wrong with them."""

    def __init__(self, paths: Collection[str], read: Callable[[str], bytes]) -> None:
        self.faults: list[DeclarationFault] = []
        self._paths = paths
        self._read = read
        self._budget = Budget()
        self._values: dict[tuple[str, int], Values] = {}

    def provider(self, kind: str, file: str) -> Iterator[tuple[str, str]]:
        """Read a provider file and the files that it names; yield the icons, each with the file that names it."""
        words = _KINDS[kind]
        values = self._load(file, records()[words.provider], named_by=MANIFEST)
        if kind == "models":
            self._models(values, file)
            yield from ((icon, file) for icon in _model_icons(values))
            return
        for name in values.get(words.listed) or ():
            item = self._load(name, records()[words.item], named_by=file)
            if kind == "datasources":
                yield from ((icon, name.path) for icon in _identity_icons(item)[:1])
        if kind != "endpoints":
            yield from ((icon, file) for icon in _identity_icons(values))

    def _models(self, values: Values, file: str) -> None:
        for position in (values.get("position files") or {}).values():
            self._load(position, TEXTS, named_by=file)
        for pattern in values.get("models") or ():
            try:
                glob = compile_pattern(pattern.path)
            except BadPatternError:
                problem = _at(pattern, f"the pattern {pattern.path!r} is malformed")
                self.faults.append(_fault(file, problem))
                continue
            for path in self._paths:
                if glob.fullmatch(path) and not path.endswith("_position.yaml"):
                    self._load(path, records()["Model"], named_by=file)

    def _load(self, name: "str | FileName", wanted: Type, *, named_by: str) -> Values:
        path = name if isinstance(name, str) else name.path
        if (known := self._values.get((path, id(wanted)))) is not None:
            return known
        if path in self._paths:
            declaration = read_declaration(self._read(path), wanted, self._budget)
            self.faults += (_fault(path, problem) for problem in declaration.problems)
            values = declaration.values
        else:
            self.faults.append(_missing(name, named_by))
            values = {}
        self._values[path, id(wanted)] = values
        return values


def _manifest_faults(declaration: Declaration) -> tuple[DeclarationFault, ...]:
    problems = declaration.problems + tuple(_rule_problems(declaration))
    return tuple(_fault(MANIFEST, problem) for problem in problems)


def _rule_problems(declaration: Declaration) -> Iterator[Problem]:
    """Yield what breaks the rules of `ManifestValidate` and of the unique identifier."""
    values = declaration.values
    if not values and declaration.problems:
        return
    author, name, version = (_text(values, key) for key in ("author", "name", "version"))

    def problem(key: str, message: str) -> Problem:
        line, column = declaration.places.get(key, (0, 0))
        return Problem(line=line, column=column, message=message, step="judge")

    told = {key for key in declaration.places if values.get(key) is None}
    if not _AUTHOR.fullmatch(author):
        yield problem("author", f"author {author!r} does not match ^[a-z0-9_-]{{1,64}}$")
    if _UUID.fullmatch(author):
        yield problem("author", f"author {author!r} is a UUID, which the daemon keeps for plugins under development")
    if not _NAME.fullmatch(name):
        yield problem("name", f"name {name!r} does not match ^[a-z0-9_-]{{1,128}}$")
    if not _VERSION.fullmatch(version):
        yield problem("version", f"version {version!r} is not two to four numbers with dots and an optional -suffix")
    if "plugins" not in told or not declaration.problems:
        plugins = _section(values, "plugins")
        kinds = [kind for kind, words in _KINDS.items() if plugins.get(kind) or values.get(words.inline) is not None]
        if not kinds:
            yield problem(
                "plugins", "plugins names no provider file: at least one of " + ", ".join(_KINDS) + " is needed"
            )
        if len(kinds) > 1 and set(kinds) != {"tools", "endpoints"}:
            mixed = " and ".join(kinds)
            yield problem("plugins", f"plugins mixes {mixed}; only tools and endpoints may stand together")


def _fault(path: str, problem: Problem) -> DeclarationFault:
    return DeclarationFault(
        diagnosis=Diagnosis(
            slug="manifest-invalid" if path == MANIFEST else "declaration-invalid",
            message=f"{path}:{problem.line}:{problem.column}: {problem.message}"
            if problem.line
            else f"{path}: {problem.message}",
            note=_note(problem.since, problem.until),
            hint=problem.advice or "Correct the line, or ask the plugin's author for a corrected package.",
        ),
        step=problem.step,
        since=problem.since,
        until=problem.until,
    )


def _note(since: str | None, until: str | None) -> str:
    if since is None and until is None:
        return "The daemon refuses an upload of this package; this is a fault of the plugin."
    first = f"from {since} " if since else ""
    last = f"to {until}" if until else "on"
    return f"Daemons {first}{last} refuse an upload of this package; this is a fault of the plugin."


def _missing(name: "str | FileName", named_by: str) -> DeclarationFault:
    if isinstance(name, str):
        return _fault(named_by, Problem(line=0, column=0, message=f"names {name}, which is not in the package"))
    return _fault(named_by, _at(name, f"names {name.path or 'a file without a name'}, which is not in the package"))


def _at(name: FileName, message: str) -> Problem:
    return Problem(line=name.line, column=name.column, message=message)


def _too_much(path: str, error: BudgetError) -> Diagnosis:
    return Diagnosis(
        slug="declaration-invalid",
        message=f"{path}: {error.problem}",
        note="The daemon may take it; difyoff does not read on.",
        hint="Ask the plugin's author for a corrected package.",
    )


def _together(diagnoses: Sequence[Diagnosis]) -> Diagnosis:
    """Return several diagnoses as one: the first, with every message in its context."""
    first, others = diagnoses[0], len(diagnoses) - 1
    if not others:
        return first
    listed = [each.message for each in diagnoses[:_SHOWN]]
    if others >= _SHOWN:
        listed.append(f"and {others + 1 - _SHOWN} more")
    return Diagnosis(
        slug=first.slug,
        message=f"{first.message} (and {others} more)",
        context=tuple(listed),
        note=first.note,
        hint=first.hint,
    )


def _granted(permission: Values) -> tuple[str, ...]:
    """Return the rights that are granted: the daemon holds a plugin to them while it runs."""
    rights = (f"{group}.{key}" for group in permission for key, on in _section(permission, group).items() if on is True)
    return tuple(sorted(rights))


def _identity_icons(provider: Values) -> list[str]:
    identity = _section(provider, "identity")
    return [icon for key in ("icon", "icon_dark") if (icon := _text(identity, key))]


def _model_icons(provider: Values) -> list[str]:
    sections = (_section(provider, key) for key in ("icon_small", "icon_large", "icon_small_dark", "icon_large_dark"))
    return [icon for section in sections for language in _LANGUAGES if (icon := _text(section, language))]


def _section(values: Values, key: str) -> Values:
    section: Values = values.get(key) or {}
    return section


def _text(values: Values, key: str) -> str:
    text: str = values.get(key) or ""
    return text

"""The offline shape of `pyproject.toml`: edited in place, so that what is not named here keeps its bytes."""

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import tomlkit
from packaging.utils import canonicalize_name
from tomlkit.items import Array, Table

from .edits import Edit
from .names import PYPROJECT, WHEELS
from .pep508 import parse_requirement
from .target import Target

KEPT_SETTINGS: Final = ("override-dependencies", "constraint-dependencies", "dependency-metadata", "conflicts")
"""The keys of `[tool.uv]` that stay: they shape the resolution and cannot send uv elsewhere."""

_WHY_DROPPED: Final = {
    "sources": "uv would fetch these dependencies from elsewhere than the bundled wheels",
    "index": "the bundled wheels are the only index",
    "index-url": "the bundled wheels are the only index",
    "extra-index-url": "the bundled wheels are the only index",
    "dev-dependencies": "the daemon installs no development dependencies, and uv would look for them to lock",
    "default-groups": "the groups it names are gone",
    "required-version": "each daemon release brings its own uv",
    "no-binary": "it would make uv build from source",
    "managed": "it can make uv pass over the project",
    "python-preference": "the daemon prepares the Python",
    "cache-dir": "it would make uv write outside the plugin's folder",
    "pip": "it would redirect `uv pip install`",
    "workspace": "workspace members are bundled as wheels",
}
_WHY_UNKNOWN: Final = "only settings known to be harmless offline stay"


def environment_marker(target: Target) -> str:
    """Return the marker of a target for `tool.uv.environments`: all of its minor Python release, CPython only.

    Both names of the implementation are needed, or uv also resolves for PyPy; a range of one patch release would make
    uv re-resolve when the image's patch release changes.
    """
    major, minor = target.python_minor
    return (
        f"sys_platform == 'linux' and platform_machine == '{target.machine}'"
        f" and python_full_version >= '{major}.{minor}' and python_full_version < '{major}.{minor + 1}'"
        " and implementation_name == 'cpython' and platform_python_implementation == 'CPython'"
    )


def exclusion(name: str) -> str:
    """Return the override that keeps a distribution out of every environment."""
    return f"{name}; python_version < '0'"


def pep440_version(version: str) -> str:
    """Return a manifest's version without the suffix that the daemon allows and PEP 440 does not know."""
    return version.partition("-")[0]


def resolvable_pyproject(text: str, targets: Sequence[Target], version: str, constraints: Sequence[str] = ()) -> str:
    """Return the file as it is resolved anew where there is no fresh lock: for the targets alone, without groups.

    Sources and indexes stay: on the connected side they say where the plugin's dependencies come from. `constraints`
    are added to the plugin's own.
    """
    document = _parse(text)
    document["project"].setdefault("requires-python", f">={targets[0].python_version}")
    list(_fix_version(document["project"], version))
    document.pop("dependency-groups", None)
    uv = _tool_uv(document)
    uv.pop("dev-dependencies", None)
    uv.pop("default-groups", None)
    if constraints:
        uv["constraint-dependencies"] = _array([*uv.get("constraint-dependencies", ()), *constraints])
    uv["environments"] = _array(environment_marker(target) for target in targets)
    uv["package"] = False
    return _dumps(document, text)


def offline_pyproject(
    text: str,
    *,
    targets: Sequence[Target],
    version: str,
    pins: Mapping[str, str],
    overrides: Sequence[str] = (),
    own_wheel: tuple[str, str] | None = None,
) -> tuple[str, tuple[Edit, ...]]:
    """Return the offline text of a `pyproject.toml` with a `[project]` table, and the edits made.

    `version` stands in for a dynamic one. `pins` gives the version of every bundled distribution by normalised name:
    direct references become pins on it. `overrides` are entries to add to `override-dependencies`. `own_wheel` is the
    (name, version) of the project itself where it is bundled as a wheel: the project then takes another name, since
    a project cannot depend on itself.
    """
    document = _parse(text)
    edits = [
        *_edit_project(document["project"], version, pins, targets[0].python_version),
        *_drop_groups(document),
        *(_depend_on_own_wheel(document["project"], own_wheel) if own_wheel is not None else ()),
        *_edit_settings(document, targets, pins, overrides),
    ]
    return _dumps(document, text), tuple(edits)


def _parse(text: str) -> tomlkit.TOMLDocument:
    return tomlkit.parse(text.replace("\r\n", "\n"))  # tomlkit keeps a CR inside texts, where TOML has none


def _dumps(document: tomlkit.TOMLDocument, original: str) -> str:
    text = tomlkit.dumps(document)
    plain = document.unwrap()
    if tomllib.loads(text) != plain:
        # Dotted keys at the top level: tomlkit puts a new table where it swallows the keys that follow.
        text = tomlkit.dumps(plain)
    return text.replace("\n", "\r\n") if "\r\n" in original else text


def _edit(what: str, why: str) -> Edit:
    return Edit(file=PYPROJECT, what=what, why=why)


def _edit_project(project: Any, version: str, pins: Mapping[str, str], python: str) -> Iterator[Edit]:
    if "requires-python" not in project:
        project["requires-python"] = requires = f">={python}"
        yield _edit(f"project.requires-python set to {requires}", "uv resolves for every Python without it")
    yield from _fix_version(project, version)
    yield from _pin_references(project.get("dependencies"), "project.dependencies", pins)
    yield from _edit_extras(project, pins)


def _fix_version(project: Any, version: str) -> Iterator[Edit]:
    dynamic = project.get("dynamic")
    if dynamic is not None and "version" in dynamic:
        project["version"] = version
        dynamic.remove("version")
        if not dynamic:
            del project["dynamic"]
        yield _edit(f"project.version set to {version}", "a dynamic version makes uv build the project")


def _edit_extras(project: Any, pins: Mapping[str, str]) -> Iterator[Edit]:
    extras = project.get("optional-dependencies")
    if extras is None:
        return
    needed = _own_extras(project, extras)
    dropped = [extra for extra in extras if canonicalize_name(extra) not in needed]
    for extra in dropped:
        del extras[extra]
    if dropped and not extras:
        del project["optional-dependencies"]
    if dropped:
        yield _edit(
            f"project.optional-dependencies: {', '.join(dropped)} removed",
            "uv locks every extra, and the wheels of these are not bundled",
        )
    for extra in extras:
        yield from _pin_references(extras[extra], f"project.optional-dependencies.{extra}", pins)


def _own_extras(project: Any, extras: Mapping[str, Any]) -> frozenset[str]:
    """Return the extras that the project's own dependencies name, directly or through each other."""
    by_name = {canonicalize_name(extra): lines for extra, lines in extras.items()}
    own_name = canonicalize_name(str(project.get("name", "")))
    needed: set[str] = set()
    pending = list(project.get("dependencies") or ())
    while pending:
        requirement = parse_requirement(str(pending.pop()))
        if requirement is None or canonicalize_name(requirement.name) != own_name:
            continue
        for extra in {canonicalize_name(extra) for extra in requirement.extras} - needed:
            needed.add(extra)
            pending += list(by_name.get(extra, ()))
    return frozenset(needed)


def _pin_references(lines: Any, where: str, pins: Mapping[str, str]) -> Iterator[Edit]:
    """Replace each direct reference in an array of requirements by a pin on the bundled wheel."""
    for index, line in enumerate(lines or ()):
        pinned = pin_reference(str(line), pins)
        if pinned is not None:
            lines[index] = pinned
            yield _edit(f"{where}: direct reference replaced by {pinned}", "uv would fetch the URL; its wheel is here")


def pin_reference(line: str, pins: Mapping[str, str]) -> str | None:
    """Return `name[extras]==version; marker` for a direct reference (PEP 508), None for any other requirement."""
    requirement = parse_requirement(line)
    if requirement is None or requirement.url is None:
        return None
    version = pins.get(canonicalize_name(requirement.name))
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    marker = f"; {requirement.marker}" if requirement.marker is not None else ""
    return f"{requirement.name}{extras}{f'=={version}' if version is not None else ''}{marker}"


def _drop_groups(document: tomlkit.TOMLDocument) -> Iterator[Edit]:
    groups = document.pop("dependency-groups", None)
    if groups is not None:
        yield _edit(
            f"dependency-groups ({', '.join(groups) or 'empty'}) removed",
            "uv locks every group, and the wheels of these are not bundled",
        )


def _depend_on_own_wheel(project: Any, own_wheel: tuple[str, str]) -> Iterator[Edit]:
    name, version = own_wheel
    project["name"] = f"{name}-plugin"
    project.setdefault("dependencies", tomlkit.array()).append(f"{name}=={version}")
    yield _edit(
        f"project renamed to {name}-plugin and made to depend on {name}=={version}",
        "the project's own modules do not lie at the plugin's root; they are bundled as a wheel",
    )


def _edit_settings(
    document: tomlkit.TOMLDocument, targets: Sequence[Target], pins: Mapping[str, str], overrides: Collection[str]
) -> Iterator[Edit]:
    uv = _tool_uv(document)
    for key in [key for key in uv if key not in KEPT_SETTINGS]:
        del uv[key]
        yield _edit(f"tool.uv.{key} removed", _WHY_DROPPED.get(key, _WHY_UNKNOWN))
    for key in KEPT_SETTINGS[:2]:
        yield from _pin_references(uv.get(key), f"tool.uv.{key}", pins)
    if overrides:
        listed = uv.setdefault("override-dependencies", tomlkit.array())
        for override in overrides:
            listed.append(override)
            yield _edit(f"tool.uv.override-dependencies: {override!r} added", _why_override(override))
    uv["no-index"] = True
    uv["find-links"] = _array([f"./{WHEELS}/"])
    uv["package"] = False
    uv["environments"] = _array(environment_marker(target) for target in targets)
    yield _edit("tool.uv.no-index and find-links set", "every dependency comes from the bundled wheels")
    yield _edit("tool.uv.package set to false", "uv would build the plugin itself, with a build backend")
    yield _edit(
        "tool.uv.environments set to " + " and ".join(target.architecture for target in targets),
        "uv would look for the wheels of other platforms and Pythons",
    )


def _why_override(override: str) -> str:
    if override == exclusion(override.partition(";")[0]):
        return "uv asks for it although no target installs it"
    return "another distribution refers to it by URL; its wheel is bundled"


def _tool_uv(document: tomlkit.TOMLDocument) -> Any:
    """Return the `[tool.uv]` table as one table, whichever way the file spells it."""
    tool = document.setdefault("tool", tomlkit.table(is_super_table=True))
    uv = tool.get("uv")
    if isinstance(uv, Table) and not uv.is_super_table():
        return uv
    table = tomlkit.table()
    for key, value in dict(uv or {}).items():
        table[key] = value
    if uv is not None:
        del tool["uv"]
    tool["uv"] = table
    return tool["uv"]


def _array(values: Any) -> Array:
    array = tomlkit.array()
    array.extend(values)
    return array

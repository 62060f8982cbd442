"""Plugin + targets -> Resolution: PEP 751 through uv, selection by `packaging.pylock`."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.names import LOCK, PYPROJECT, REQUIREMENTS, UV_TOML
from ..difypkg.pyproject import pep440_version, resolvable_pyproject
from ..difypkg.redaction import redact
from ..difypkg.target import TARGETS, Architecture, Target
from ..sandbox.process import Outcome
from ..uvrun.environment import IndexSettings
from .resolution import (
    ArchiveSource,
    FolderSource,
    GitSource,
    Origin,
    Pin,
    Resolution,
    Source,
    WheelSource,
)
from .source import Plugin
from .tools import Tools

_REFERENCE: Final = re.compile(r'^name = "([^"]+)"\n(?:version = .*\n)?source = \{ url = "([^"]+)"', re.MULTILINE)
_PROJECT_INDEX_KEYS: Final = ("index", "index-url", "extra-index-url", "find-links", "index-strategy")
_INDEX_OPTIONS: Final = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--trusted-host")
_EXPORT: Final = (
    "export",
    "--frozen",
    "--no-dev",
    "--no-emit-project",
    "--offline",
    "--format",
    "pylock.toml",
    "--quiet",
)
_COMPILE: Final = ("pip", "compile", "--universal", "--python-version", "3.12", "--format", "pylock.toml", "--quiet")


def resolve(plugin: Plugin, targets: Sequence[Target], tools: Tools) -> tuple[Resolution, tuple[Diagnosis, ...]]:
    """Return the pins of the plugin's closure on the targets, and findings.

    A fresh lock is followed pin for pin; a stale or absent one, or requirements alone, are resolved now. Where the user
    configured an index, every file comes from it. Raises `DifyoffError`: `unsatisfiable`, `index-unreachable`,
    `git-source-unreachable`, `no-wheel-for-target`, `pin-not-on-index`, `resolution-failed`.
    """
    work = tools.folder("resolve")
    _write_inputs(plugin, work)
    findings: tuple[Diagnosis, ...] = ()
    if plugin.dependencies.project is None:
        origin: Origin = REQUIREMENTS
        lock = _compile_requirements(plugin, work, tools)
        findings = (_resolved_now(f"there is no lock: {REQUIREMENTS} was resolved now"),)
    else:
        fresh = plugin.dependencies.lock is not None and _is_fresh(plugin.dependencies.lock, work, tools)
        origin = LOCK
        if not fresh:
            origin, finding = _renew_lock(plugin, targets, work, tools)
            findings = (finding,)
        lock = _export(work, tools)
    pins = select(lock, targets, work)
    if origin == LOCK and tools.index.configured:
        pins = _find_on_index(pins, work, tools)
    return Resolution(pins=pins, origin=origin), findings


def _write_inputs(plugin: Plugin, work: Path) -> None:
    """Write what uv reads: the dependency files, or the whole plugin where they refer to its folders."""
    dependencies = plugin.dependencies
    whole = (
        "build-system" in (dependencies.pyproject or {})
        or any({"path", "workspace"} & source.keys() for source in _sources(dependencies.tool_uv))
        or any(
            line.startswith(("-r", "-c", "-e", "--", ".")) or "file:" in line for line in dependencies.requirement_lines
        )
        or "file:" in (dependencies.pyproject_text or "")
    )
    for path, file in plugin.files.items():
        if whole or path == UV_TOML:
            target = work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as stream:
                stream.writelines(file.chunks())
    # As text: uv reads other encodings in requirements.txt only.
    texts = {PYPROJECT: dependencies.pyproject_text, LOCK: dependencies.lock, REQUIREMENTS: dependencies.requirements}
    for name, text in texts.items():
        if text is not None:
            (work / name).write_text(text, encoding="utf-8", newline="")


def _sources(tool_uv: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    sources = tool_uv.get("sources")
    for source in sources.values() if isinstance(sources, dict) else ():
        yield from (each for each in (source if isinstance(source, list) else [source]) if isinstance(each, dict))


def _is_fresh(lock: str, work: Path, tools: Tools) -> bool:
    # Offline: asked online behind a mirror, every lock of another index looks stale.
    check = ("lock", "--check", "--offline", "--quiet")
    if tools.closed(*check, cwd=work).ok:
        return True
    references = _REFERENCE.findall(lock)
    if not references:
        return False
    # uv 0.9.26 wants the metadata behind each direct reference in its cache before it calls such a lock fresh.
    (work / "references.txt").write_text("".join(f"{name} @ {url}\n" for name, url in references), encoding="utf-8")
    compiled = ("--no-deps", "--python", str(tools.python), "references.txt", "--output-file", "pylock.references.toml")
    return tools.resolving(*_COMPILE, *compiled, cwd=work).ok and tools.closed(*check, cwd=work).ok


def _renew_lock(plugin: Plugin, targets: Sequence[Target], work: Path, tools: Tools) -> tuple[Origin, Diagnosis]:
    text = plugin.dependencies.pyproject_text or ""
    version = pep440_version(plugin.manifest.version)
    (work / PYPROJECT).write_text(resolvable_pyproject(text, targets, version), encoding="utf-8", newline="")
    stale = (work / LOCK).exists()
    arguments = ("lock", "--quiet", "--python", str(tools.python))
    index = _with_project_index(plugin, tools.index)
    outcome = tools.resolving(*arguments, cwd=work, index=index)
    if not outcome.ok and stale:
        # A lock that uv cannot read at all is no help; one that it can keeps the versions that still fit.
        (work / LOCK).unlink()
        outcome = tools.resolving(*arguments, cwd=work, index=index)
    _check(outcome, f"{PYPROJECT} cannot be resolved")
    if stale:
        return "uv.lock, renewed", _resolved_now(
            f"{LOCK} does not fit {PYPROJECT}; it was renewed, which may have changed versions", slug="stale-lock"
        )
    return PYPROJECT, _resolved_now(f"there is no {LOCK}: {PYPROJECT} was resolved now")


def _resolved_now(message: str, slug: str = "resolved-now") -> Diagnosis:
    return Diagnosis(
        slug=slug,
        message=message,
        note="The same plugin may get other versions tomorrow.",
        hint="A plugin with an up-to-date uv.lock gives the same package every time.",
    )


def _with_project_index(plugin: Plugin, settings: IndexSettings) -> IndexSettings:
    """Return the index settings to resolve with: the user's, else the plugin's own."""
    own: dict[str, Any] = {}
    if not settings.configured:
        own = {key: value for key, value in plugin.dependencies.tool_uv.items() if key in _PROJECT_INDEX_KEYS}
        if UV_TOML in plugin.files:
            table = tomllib.loads(plugin.files[UV_TOML].read().decode())
            own |= {key: value for key, value in table.items() if key in _PROJECT_INDEX_KEYS}
    return replace(settings, config={**own, **settings.config}) if own else settings


def _compile_requirements(plugin: Plugin, work: Path, tools: Tools) -> Pylock:
    index = _with_project_index(plugin, tools.index)
    if tools.index.configured:
        lines = (line for line in plugin.dependencies.requirement_lines if not line.startswith(_INDEX_OPTIONS))
        (work / REQUIREMENTS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    arguments = (*_COMPILE, "--python", str(tools.python), REQUIREMENTS, "--output-file", "pylock.toml")
    _check(tools.resolving(*arguments, cwd=work, index=index), f"{REQUIREMENTS} cannot be resolved")
    return load_lock(work / "pylock.toml")


def _export(work: Path, tools: Tools) -> Pylock:
    outcome = tools.closed(*_EXPORT, "--output-file", "pylock.toml", cwd=work)
    _check(outcome, f"{LOCK} cannot be read")
    return load_lock(work / "pylock.toml")


def _find_on_index(pins: Sequence[Pin], work: Path, tools: Tools) -> tuple[Pin, ...]:
    """Return the pins with the same files from the user's index: same names, versions, file names and hashes."""
    several = {name for name, count in Counter(pin.name for pin in pins).items() if count > 1}
    lines = []
    for pin in pins:
        if not pin.direct:
            machines = (f"platform_machine == '{TARGETS[each].machine}'" for each in sorted(pin.architectures))
            lines.append(f"{pin.name}=={pin.version}" + (f" ; {' or '.join(machines)}" if pin.name in several else ""))
    (work / "pins.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    file = work / "pylock.index.toml"
    arguments = (*_COMPILE, "--no-deps", "--python", str(tools.python), "pins.txt", "--output-file", file.name)
    outcome = tools.resolving(*arguments, cwd=work)
    if not outcome.ok and not _unreachable(outcome):
        raise _not_on_index("the configured index lacks a release that the plugin's lock pins", _last_lines(outcome))
    _check(outcome, "the lock's pins cannot be looked up on the configured index")
    offered: dict[object, Source] = {}
    for package in load_lock(file).packages:
        for each in (*(package.wheels or ()), *((package.sdist,) if package.sdist is not None else ())):
            offered[_file_key(each.filename)] = _source(each, work)
    return tuple(pin if pin.direct else _from_index(pin, offered) for pin in pins)


def _file_key(filename: str) -> object:
    """Return what a file name says, however it is spelled: uv normalises it in one kind of lock and not in another."""
    try:
        if filename.endswith(".whl"):
            return parse_wheel_filename(filename)
        return (*parse_sdist_filename(filename), filename.endswith(".zip"))
    except (InvalidWheelFilename, InvalidSdistFilename):
        return filename


def _from_index(pin: Pin, offered: Mapping[object, Source]) -> Pin:
    source = pin.source
    assert isinstance(source, WheelSource | ArchiveSource)
    found = offered.get(_file_key(source.filename))
    if not isinstance(found, WheelSource | ArchiveSource):
        raise _not_on_index(f"the configured index lacks {source.filename}, which the plugin's lock pins")
    for algorithm in source.hashes.keys() & found.hashes.keys():
        if source.hashes[algorithm] != found.hashes[algorithm]:
            raise _not_on_index(
                f"the configured index has another {source.filename} than the one that the plugin's lock pins",
                (f"lock:  {algorithm} {source.hashes[algorithm]}", f"index: {algorithm} {found.hashes[algorithm]}"),
            )
    return replace(pin, source=replace(source, url=found.url, size=source.size or found.size))


def _not_on_index(message: str, context: tuple[str, ...] = ()) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="pin-not-on-index",
            message=message,
            context=context,
            note="Another release or file is never taken in its place.",
            hint="Sync the mirror with the lock's releases, or build where the lock's own index can be reached.",
        )
    )


def load_lock(file: Path) -> Pylock:
    """Read a lock of PEP 751 that uv wrote. Raises `DifyoffError` (`resolution-failed`)."""
    try:
        return Pylock.from_dict(tomllib.loads(file.read_text(encoding="utf-8")))
    except (ValueError, PylockValidationError) as error:
        raise DifyoffError(
            Diagnosis(slug="resolution-failed", message="uv wrote a lock that cannot be read", context=(str(error),))
        ) from error


def select(lock: Pylock, targets: Sequence[Target], folder: Path) -> tuple[Pin, ...]:
    """Pick each target's files of a lock that lies in `folder`, and merge those that several targets share.

    Raises `DifyoffError` (`no-wheel-for-target`).
    """
    merged: dict[tuple[str, str | None, str], Pin] = {}
    for target in targets:
        try:
            chosen = list(lock.select(environment=target.environment, tags=target.tags))
        except PylockSelectError as error:
            raise DifyoffError(
                Diagnosis(
                    slug="no-wheel-for-target",
                    message=f"no file of the lock installs on {target.architecture}, CPython {target.python}",
                    context=(str(error),),
                    hint="Ask the plugin's author for a lock made for Linux and Python 3.12.",
                )
            ) from error
        for package, file in chosen:
            pin = _pin(package, _source(file, folder), target.architecture)
            key = (pin.name, pin.version, str(pin.source))
            known = merged.get(key)
            merged[key] = replace(pin, architectures=pin.architectures | known.architectures) if known else pin
    return tuple(sorted(merged.values(), key=lambda pin: (pin.name, pin.version or "", str(pin.source))))


def _pin(package: Package, source: Source, architecture: Architecture) -> Pin:
    return Pin(
        name=package.name,
        version=None if package.version is None else str(package.version),
        source=source,
        architectures=frozenset({architecture}),
        direct=package.vcs is not None or package.directory is not None or package.archive is not None,
    )


def _source(file: PackageVcs | PackageDirectory | PackageArchive | PackageWheel | PackageSdist, folder: Path) -> Source:
    """Translate a file of a lock that lies in `folder`, to which its paths are relative."""
    if isinstance(file, PackageDirectory):
        return FolderSource(path=file.path)
    url = file.url or str(folder / (file.path or ""))
    if isinstance(file, PackageVcs):
        return GitSource(url=url, commit=file.commit_id, subdirectory=file.subdirectory)
    subdirectory = file.subdirectory if isinstance(file, PackageArchive) else None
    filename = unquote(urlsplit(url).path).rpartition("/")[2] if isinstance(file, PackageArchive) else file.filename
    hashes = dict(file.hashes)
    if filename.endswith(".whl"):
        return WheelSource(filename=filename, url=url, size=file.size, hashes=hashes)
    return ArchiveSource(filename=filename, url=url, size=file.size, hashes=hashes, subdirectory=subdirectory)


def _unreachable(outcome: Outcome) -> bool:
    signs = (
        "dns error",
        "error sending request",
        "Failed to fetch",
        "Could not connect",
        "operation timed out",
        "client error",
    )
    return any(sign in outcome.stderr for sign in signs)


def _check(outcome: Outcome, what: str) -> None:
    """Turn uv's failure into a diagnosis."""
    if outcome.ok:
        return
    slug, hint = "resolution-failed", "The lines above are uv's own words."
    if "Git operation failed" in outcome.stderr or "failed to clone" in outcome.stderr:
        slug, hint = (
            "git-source-unreachable",
            "Check that git is installed and that the repository can be reached from here.",
        )
    elif "URL dependencies must be expressed as direct requirements" in " ".join(outcome.stderr.split()):
        slug, hint = "transitive-direct-reference", "Name the reference among the plugin's own dependencies."
    elif _unreachable(outcome):
        slug, hint = (
            "index-unreachable",
            "Check the network, the proxy and --index-url; the README says what is honoured.",
        )
    elif "No solution found" in outcome.stderr or "not found in the package registry" in outcome.stderr:
        slug, hint = (
            "unsatisfiable",
            "No set of releases fits these requirements: this is a fault of the plugin or its index.",
        )
    raise DifyoffError(Diagnosis(slug=slug, message=what, context=_last_lines(outcome), hint=hint))


def _last_lines(outcome: Outcome) -> tuple[str, ...]:
    return tuple(line for line in redact(outcome.stderr).strip().splitlines()[-12:] if line.strip())

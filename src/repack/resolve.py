"""Plugin + targets -> Resolution: PEP 751 through uv, from the plugin's own lock wherever that is fresh."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from packaging.pylock import Pylock
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from ..difypkg.diagnosis import Diagnosis, DifyoffError, Exit
from ..difypkg.manifest import MANIFEST, parse_yaml
from ..difypkg.names import LOCK, PYPROJECT, REQUIREMENTS, UV_TOML
from ..difypkg.pyproject import pep440_version, resolvable_pyproject
from ..difypkg.target import Target
from ..sandbox.process import Outcome
from ..transfer.client import origin as origin_of
from ..uvrun.environment import IndexSettings, credentials
from .inputs import not_in_plugin, own_file, unexpanded, write_inputs
from .options import Options
from .pins import load_lock, merge, select, source_of
from .resolution import ArchiveSource, MadeBefore, Origin, Pin, PinSource, Resolution, WheelSource
from .source import Plugin
from .uvfaults import check, fault, last_lines
from .workshop import Workshop

_REFERENCE: Final = re.compile(r'^name = "([^"]+)"\n(?:version = .*\n)?source = \{ url = "([^"]+)"', re.MULTILINE)
_CONSTRAINTS: Final = ".constraints-of-the-user.txt"
_PROJECT_INDEX_KEYS: Final = ("index", "index-url", "extra-index-url", "find-links", "index-strategy")
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


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One plugin's resolution: `work` is the folder in which uv finds the dependency files."""

    plugin: Plugin
    options: Options
    workshop: Workshop
    work: Path

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets to resolve for."""
        return self.options.targets

    @cached_property
    def newest(self) -> tuple[str, ...]:
        """What limits uv to releases that were there at a time. Raises `DifyoffError` (`manifest-invalid`)."""
        date = self.options.exclude_newer
        if date == "created":
            date = _created(self.plugin)
        return ("--exclude-newer", date) if date else ()

    @cached_property
    def python(self) -> Path:
        """The interpreter that uv resolves with."""
        requires = (self.plugin.dependencies.project or {}).get("requires-python")
        return self.workshop.python(self.targets[0], requires)

    def compile(self, file: str, *options: str, index: IndexSettings | None = None, output: str) -> Outcome:
        """Resolve a requirements file for the targets' Python, into a lock of PEP 751."""
        return self.workshop.resolving(
            *("pip", "compile", "--format", "pylock.toml", "--quiet", "--python", str(self.python)),
            *("--python-version", self.targets[0].python_version, *options, file, "--output-file", output),
            cwd=self.work,
            index=index,
        )


def resolve(plugin: Plugin, options: Options, workshop: Workshop, *, before: MadeBefore | None = None) -> Resolution:
    """Return the pins of the plugin's closure on the targets.

    A fresh lock is followed pin for pin; a stale or absent one, or requirements alone, are resolved now, unless that
    was done `before`. Where the user configured an index, every file comes from it. Raises `DifyoffError`:
    `no-wheel-for-target`, `pin-not-on-index`, `resolution-failed`, and what uv's words mean (`difypkg/uvtext.toml`).
    """
    job = _Job(plugin=plugin, options=options, workshop=workshop, work=workshop.folder("resolve"))
    inputs = write_inputs(plugin, job.work, index_configured=workshop.index.configured)
    findings = inputs.findings
    origin: Origin
    if before is not None:
        origin, pins = before.origin, tuple(_placed(pin, job) for pin in before.pins)
    elif plugin.dependencies.project is None:
        origin = REQUIREMENTS
        pins = _compile_requirements(job, sealed=inputs.sealed)
        findings += (_resolved_now(f"there is no lock: {REQUIREMENTS} was resolved now"),)
    else:
        fresh = plugin.dependencies.lock is not None and _is_fresh(plugin.dependencies.lock, job)
        origin = LOCK
        if not fresh:
            origin, finding = _renew_lock(job)
            findings += (finding,)
        pins = select(_export(job), options.targets, job.work)
    pins = tuple(_with_own_file(pin, job) for pin in pins)
    if origin == LOCK:
        _refuse_other_files(pins, job)
    made = None if origin == LOCK else MadeBefore(pins=tuple(_kept(pin, job) for pin in pins), origin=origin)
    if (origin == LOCK or before is not None) and workshop.index.configured:
        pins = _find_on_index(pins, job)
    if origin == LOCK:
        pins, found = _find_wheels(pins, job)
        findings += found
    logins = _logins(inputs.index_urls, job)
    pins = tuple(_with_login(pin, logins) for pin in pins)
    return Resolution(pins=pins, origin=origin, findings=findings, made=made)


def _kept(pin: Pin, job: _Job) -> Pin:
    """Return a pin that holds wherever the plugin lies: a file of the plugin is named by its path in it."""
    source = pin.source
    if isinstance(source, WheelSource | ArchiveSource) and (path := own_file(source.url, job.work)) is not None:
        return replace(pin, source=replace(source, url=path))
    return pin


def _placed(pin: Pin, job: _Job) -> Pin:
    """Return a kept pin for this run's folder."""
    source = pin.source
    if isinstance(source, WheelSource | ArchiveSource) and "://" not in source.url:
        return replace(pin, source=replace(source, url=str(job.work / source.url)))
    return pin


def _is_fresh(lock: str, job: _Job) -> bool:
    # Offline: asked online behind a mirror, every lock of another index looks stale.
    if _lock_is_kept(job):
        return True
    references = _REFERENCE.findall(lock)
    if not references:
        return False
    # uv 0.9.26 wants the metadata behind each direct reference in its cache before it calls such a lock fresh.
    lines = "".join(f"{name} @ {url}\n" for name, url in references)
    (job.work / "references.txt").write_text(unexpanded(lines), encoding="utf-8")
    return job.compile(
        "references.txt", "--universal", "--no-deps", output="pylock.references.toml"
    ).ok and _lock_is_kept(job)


def _lock_is_kept(job: _Job) -> bool:
    return job.workshop.closed("lock", "--check", "--offline", "--quiet", cwd=job.work, python=job.python).ok


def _renew_lock(job: _Job) -> tuple[Origin, Diagnosis]:
    text = job.plugin.dependencies.pyproject_text or ""
    version = pep440_version(job.plugin.manifest.version)
    text = resolvable_pyproject(text, job.targets, version, job.options.constraints)
    (job.work / PYPROJECT).write_text(unexpanded(text), encoding="utf-8", newline="")
    stale = (job.work / LOCK).exists()
    outcome = _lock(job)
    if not outcome.ok and stale:
        # A lock that uv cannot read at all is no help; one that it can keeps the versions that still fit.
        (job.work / LOCK).unlink()
        outcome = _lock(job)
    check(outcome, f"{PYPROJECT} cannot be resolved")
    if stale:
        return "uv.lock, renewed", _resolved_now(
            f"{LOCK} does not fit {PYPROJECT}; it was renewed, which may have changed versions", slug="stale-lock"
        )
    return PYPROJECT, _resolved_now(f"there is no {LOCK}: {PYPROJECT} was resolved now")


def _lock(job: _Job) -> Outcome:
    index = _with_project_index(job)
    arguments = ("lock", "--quiet", "--python", str(job.python), *job.newest)
    return job.workshop.resolving(*arguments, cwd=job.work, index=index)


def _created(plugin: Plugin) -> str:
    text = str((parse_yaml(plugin.files[MANIFEST].read(), MANIFEST) or {}).get("created_at"))
    try:
        created = datetime.fromisoformat(text)
    except ValueError as error:
        raise DifyoffError(
            Diagnosis(
                slug="manifest-invalid",
                message=f"{MANIFEST} does not say when the plugin was made: created_at is {text}",
                hint="Give --exclude-newer a date.",
            )
        ) from error
    return (created if created.tzinfo else created.replace(tzinfo=UTC)).isoformat()


def _resolved_now(message: str, slug: str = "resolved-now") -> Diagnosis:
    return Diagnosis(
        slug=slug,
        message=message,
        note="The same plugin may get other versions tomorrow.",
        hint="A plugin with an up-to-date uv.lock gives the same package every time.",
    )


def _with_project_index(job: _Job) -> IndexSettings:
    """Return the index settings to resolve with: the user's, else the plugin's own."""
    settings, plugin = job.workshop.index, job.plugin
    own: dict[str, Any] = {}
    if not settings.configured:
        own = {key: value for key, value in plugin.dependencies.tool_uv.items() if key in _PROJECT_INDEX_KEYS}
        if UV_TOML in plugin.files:
            table = tomllib.loads(plugin.files[UV_TOML].read().decode())
            own |= {key: value for key, value in table.items() if key in _PROJECT_INDEX_KEYS}
    return replace(settings, config={**own, **settings.config}) if own else settings


def _compile_requirements(job: _Job, *, sealed: bool) -> tuple[Pin, ...]:
    """Resolve the requirements for every platform, or where no index may be asked for each target alone.

    Wheels that a plugin brings are seldom there for Windows, too.
    """
    index = _with_project_index(job)
    options = [("--python-platform", target.uv_platform) for target in job.targets] if sealed else [("--universal",)]
    limits: tuple[str, ...] = job.newest
    if job.options.constraints:
        (job.work / _CONSTRAINTS).write_text("\n".join(job.options.constraints) + "\n", encoding="utf-8")
        limits += ("--constraints", _CONSTRAINTS)
    pins: list[Pin] = []
    for number, each in enumerate(options):
        name = f"pylock.{number}.toml"
        check(job.compile(REQUIREMENTS, *each, *limits, index=index, output=name), f"{REQUIREMENTS} cannot be resolved")
        pins += select(load_lock(job.work / name), job.targets[number:][:1] if sealed else job.targets, job.work)
    return merge(pins)


def _export(job: _Job) -> Pylock:
    outcome = job.workshop.closed(*_EXPORT, "--output-file", "pylock.toml", cwd=job.work, python=job.python)
    check(outcome, f"{LOCK} cannot be read")
    return load_lock(job.work / "pylock.toml")


def _with_own_file(pin: Pin, job: _Job) -> Pin:
    """Return a pin on a file of the plugin with that file's size and hash, which a lock may leave out.

    Raises `DifyoffError`: `path-outside-plugin`, `no-wheel-for-target`.
    """
    source = pin.source
    if not isinstance(source, WheelSource | ArchiveSource) or (path := own_file(source.url, job.work)) is None:
        return pin
    if path not in job.plugin.files:
        raise not_in_plugin(path, LOCK)
    file = job.plugin.files[path]
    hashes = source.hashes or {"sha256": file.sha256}
    source = replace(source, url=str(job.work / path), size=file.size, hashes=hashes)
    if not isinstance(source, WheelSource):
        return replace(pin, source=source)
    try:
        name, version, _, tags = parse_wheel_filename(source.filename)
    except InvalidWheelFilename as error:
        raise _own_wheel_unfit(source.filename, "its name is not a wheel's") from error
    for target in pin.targets:
        if tags.isdisjoint(target.tags):
            raise _own_wheel_unfit(source.filename, f"it is not made for {target.architecture} and {target.python}")
    if name != pin.name:
        raise _own_wheel_unfit(source.filename, f"it is not {pin.name}")
    return replace(pin, source=source, version=pin.version or str(version))


def _refuse_other_files(pins: Sequence[Pin], job: _Job) -> None:
    """Refuse files of this machine that the plugin's own lock names."""
    for pin in pins:
        if isinstance(pin.source, WheelSource | ArchiveSource):
            url = pin.source.url
            if not url.startswith(("http://", "https://")) and own_file(url, job.work) is None:
                raise not_in_plugin(url, LOCK)


def _own_wheel_unfit(filename: str, why: str) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="no-wheel-for-target",
            message=f"the plugin brings {filename} and asks for it, and {why}",
            hint="Ask the plugin's author for a wheel for Linux and Python 3.12, or name a release on an index.",
        )
    )


def _is_own(pin: Pin, job: _Job) -> bool:
    return isinstance(pin.source, WheelSource | ArchiveSource) and own_file(pin.source.url, job.work) is not None


def _find_on_index(pins: Sequence[Pin], job: _Job) -> tuple[Pin, ...]:
    """Return the pins with the same files from the user's index: same names, versions, file names and hashes."""
    several = {name for name, count in Counter(pin.name for pin in pins).items() if count > 1}
    lines = []
    for pin in pins:
        if not (pin.direct or _is_own(pin, job)):
            machines = sorted(f"platform_machine == '{target.machine}'" for target in pin.targets)
            lines.append(f"{pin.name}=={pin.version}" + (f" ; {' or '.join(machines)}" if pin.name in several else ""))
    (job.work / "pins.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    outcome = job.compile("pins.txt", "--universal", "--no-deps", output="pylock.index.toml")
    if not outcome.ok:
        error = fault(outcome, "the lock's pins cannot be looked up on the configured index")
        if error.exit_code is Exit.NETWORK:
            raise error
        raise _not_on_index("the configured index lacks a release that the plugin's lock pins", last_lines(outcome))
    offered: dict[object, PinSource] = {}
    for package in load_lock(job.work / "pylock.index.toml").packages:
        for each in (*(package.wheels or ()), *((package.sdist,) if package.sdist is not None else ())):
            offered[_file_key(each.filename)] = source_of(each, job.work)
    return tuple(pin if pin.direct or _is_own(pin, job) else _from_index(pin, offered) for pin in pins)


def _find_wheels(pins: Sequence[Pin], job: _Job) -> tuple[tuple[Pin, ...], tuple[Diagnosis, ...]]:
    """Return the pins with the index's wheels in place of sources, where the lock has no wheel for the target.

    uv leaves the wheels of Pythons that a project excludes out of its lock; the same release may have one that fits.
    """
    sources = [pin for pin in pins if isinstance(pin.source, ArchiveSource) and not (pin.direct or _is_own(pin, job))]
    if not sources:
        return tuple(pins), ()
    lines = "".join(f"{pin.name}=={pin.version}\n" for pin in sources)
    (job.work / "sources.txt").write_text(lines, encoding="utf-8")
    index = _with_project_index(job)
    if not job.compile("sources.txt", "--universal", "--no-deps", index=index, output="pylock.sources.toml").ok:
        return tuple(pins), ()  # then it is built
    offered = select(load_lock(job.work / "pylock.sources.toml"), job.targets, job.work)
    wheels = {
        pin.name: [each for each in offered if each.name == pin.name and each.version == pin.version] for pin in sources
    }
    kept: list[Pin] = []
    findings: list[Diagnosis] = []
    for pin in pins:
        found = wheels.get(pin.name, []) if pin in sources else []
        if not found or not all(isinstance(each.source, WheelSource) for each in found):
            kept.append(pin)
            continue
        kept += [replace(each, targets=each.targets & pin.targets) for each in found if each.targets & pin.targets]
        findings.append(_wheel_finding(pin, found))
    return merge(kept), tuple(findings)


def _wheel_finding(pin: Pin, found: Sequence[Pin]) -> Diagnosis:
    files = [each.source for each in (pin, *found) if isinstance(each.source, WheelSource | ArchiveSource)]
    return Diagnosis(
        slug="wheel-not-in-lock",
        message=f"{LOCK} has no wheel of {pin.name} {pin.version} for the target; the index has one, which is used",
        context=tuple(
            f"{'lock: ' if number == 0 else 'index:'} {file.filename} {algorithm} {digest}"
            for number, file in enumerate(files)
            for algorithm, digest in sorted(file.hashes.items())
        ),
        note="It is the same release. Its hash is the index's word, not the lock's.",
    )


def _logins(urls: Iterable[str], job: _Job) -> Mapping[str, tuple[str, str]]:
    """Return the users and passwords of the plugin's own indexes by origin; none where the user configured an index."""
    if job.workshop.index.configured:
        return {}
    found = {
        f"{each.scheme}://{each.host}:{each.port}" if each.port else f"{each.scheme}://{each.host}": each
        for each in reversed(credentials(_with_project_index(job)))
    }
    logins = {origin_of(url): (each.user, each.password) for url, each in found.items()}
    for url in urls:
        parts = urlsplit(url)
        if parts.hostname and (parts.username or parts.password):
            logins.setdefault(origin_of(url), (unquote(parts.username or ""), unquote(parts.password or "")))
    return logins


def _with_login(pin: Pin, logins: Mapping[str, tuple[str, str]]) -> Pin:
    """Return a pin whose file is asked for with the login of its origin, which no other origin gets."""
    source = pin.source
    if not isinstance(source, WheelSource | ArchiveSource) or not source.url.startswith(("http://", "https://")):
        return pin
    parts = urlsplit(source.url)
    login = logins.get(origin_of(source.url))
    if login is None or parts.username is not None:
        return pin
    user, password = (quote(each, safe="") for each in login)
    return replace(pin, source=replace(source, url=parts._replace(netloc=f"{user}:{password}@{parts.netloc}").geturl()))


def _file_key(filename: str) -> object:
    """Return what a file name says, however it is spelled: uv normalises it in one kind of lock and not in another."""
    try:
        if filename.endswith(".whl"):
            return parse_wheel_filename(filename)
        return (*parse_sdist_filename(filename), filename.endswith(".zip"))
    except (InvalidWheelFilename, InvalidSdistFilename):
        return filename


def _from_index(pin: Pin, offered: Mapping[object, PinSource]) -> Pin:
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

"""Plugin + wheels -> the offline shape: the files of the package and every edit that made them."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ..difypkg.archive import file_chunks
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.edits import Edit
from ..difypkg.ignore import IGNORE_FILES, parse_ignore_file
from ..difypkg.names import LOCK, PYPROJECT, REQUIREMENTS, UV_TOML, WHEELS
from ..difypkg.pyproject import exclusion, offline_pyproject, pep440_version
from ..difypkg.requirements import PinnedWheels, offline_requirements
from ..difypkg.signature import VERIFICATION
from ..difypkg.target import Target
from ..difypkg.uvtext import missing_distributions
from ..sandbox.process import Outcome
from ..transfer.store import WheelStore
from .gather import Wheelhouse
from .source import Plugin, PluginFile, file_of
from .wheels import Wheel, direct_requirements
from .workshop import Workshop

_DROPPED: Final = {
    VERIFICATION: "it belongs to the signature, which a changed package loses",
    ".python-version": "it would make uv leave the Python that the daemon prepared",
    UV_TOML: "it would overrule the settings in pyproject.toml",
}
_WHEEL_PATH: Final = re.compile(r'(?<=\{ )path = "([^"]+)"(?= \})')
_MOST_OVERRIDES: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The files of an offline package but for its record, and the edits, in the order of the files."""

    files: Mapping[str, PluginFile]
    edits: tuple[Edit, ...]

    @property
    def summary(self) -> str:
        """The files edited, in one line."""
        counts = Counter(edit.file for edit in self.edits)
        return ", ".join(f"{file} ({count} edits)" if count > 1 else file for file, count in counts.items())


def shape(plugin: Plugin, wheelhouse: Wheelhouse, targets: Sequence[Target], workshop: Workshop) -> Shape:
    """Return the offline shape of a plugin. Raises `DifyoffError`: `relock-failed`, `transitive-direct-reference`."""
    wheels, store = wheelhouse.wheels, workshop.store
    files = dict(plugin.files)
    edits: list[Edit] = []
    for path, why in _DROPPED.items():
        if files.pop(path, None) is not None:
            edits.append(Edit(file=path, what="removed", why=why))
    if plugin.dependencies.project is not None:
        pyproject, lock, made = _lock(plugin, wheelhouse, targets, workshop)
        files[PYPROJECT], files[LOCK] = file_of(pyproject), file_of(lock)
        edits += made
    else:
        _refuse_direct_requirements(wheels, store)
        edits += _drop_unused(plugin, files)
    requirements = offline_requirements(_pinned(wheels), targets)
    files[REQUIREMENTS] = file_of(requirements)
    edits.append(
        Edit(
            file=REQUIREMENTS,
            what=f"{'rewritten' if REQUIREMENTS in plugin.files else 'written'}: --no-index, {len(wheels)} hashed pins",
            why="daemons up to 0.5.2, and from 0.6.3 on with a mirror, install from it",
        )
    )
    for name in IGNORE_FILES:
        if name in files:
            content, made = _unignore(name, files[name].read())
            files[name] = file_of(content)
            edits += made
    edits += _remove_wheels(plugin, files, wheels)
    for wheel in wheels:
        chunks = partial(file_chunks, store.path(wheel.sha256))
        files[f"{WHEELS}/{wheel.filename}"] = PluginFile(size=wheel.size, sha256=wheel.sha256, chunks=chunks)
    return Shape(files=dict(sorted(files.items())), edits=tuple(edits))


def _remove_wheels(plugin: Plugin, files: dict[str, PluginFile], wheels: Sequence[Wheel]) -> Iterator[Edit]:
    """Remove the plugin's own wheels: those that are installed lie in `wheels/`, where uv must not find others."""
    bundled = {wheel.sha256 for wheel in wheels}
    for path in sorted(plugin.files):
        folder, _, name = path.rpartition("/")
        if not name.endswith(".whl"):
            continue
        if plugin.files[path].sha256 in bundled:
            del files[path]
            if folder != WHEELS:
                yield Edit(file=path, what=f"moved to {WHEELS}/", why="uv installs from there")
        elif folder == WHEELS:
            del files[path]
            yield Edit(file=path, what="removed", why="no target installs it, and uv would take it into account")


def _drop_unused(plugin: Plugin, files: dict[str, PluginFile]) -> Iterator[Edit]:
    """Remove what a newer daemon would install from, and find nothing in."""
    reasons = {
        PYPROJECT: "it has no [project] table: a daemon from 0.5.3 on would install nothing from it, and say success"
        if plugin.dependencies.pyproject is not None
        else "no daemon can install from it",
        LOCK: f"it belongs to a {PYPROJECT} that says what to install, and there is none",
    }
    for path, why in reasons.items():
        if files.pop(path, None) is not None:
            yield Edit(file=path, what="removed", why=why)


def _pinned(wheels: Sequence[Wheel]) -> list[PinnedWheels]:
    releases: dict[tuple[str, str], list[Wheel]] = {}
    for wheel in wheels:
        releases.setdefault((wheel.name, wheel.version), []).append(wheel)
    return [
        PinnedWheels(
            name=name,
            version=version,
            hashes=tuple(wheel.sha256 for wheel in group),
            targets=frozenset(each for wheel in group for each in wheel.targets),
        )
        for (name, version), group in releases.items()
    ]


def _lock(
    plugin: Plugin, wheelhouse: Wheelhouse, targets: Sequence[Target], workshop: Workshop
) -> tuple[str, str, tuple[Edit, ...]]:
    """Edit the pyproject and lock it against the wheels, with a hash beside each."""
    wheels, store = wheelhouse.wheels, workshop.store
    python = workshop.python(targets[0], (plugin.dependencies.project or {}).get("requires-python"))
    work = workshop.folder("offline")
    (work / WHEELS).mkdir()
    for wheel in wheels:
        store.place(wheel.sha256, work / WHEELS / wheel.filename)
    pins = {wheel.name: wheel.version for wheel in wheels}
    overrides = _reference_overrides(wheels, store)
    while True:
        text, edits = offline_pyproject(
            plugin.dependencies.pyproject_text or "",
            targets=targets,
            version=pep440_version(plugin.manifest.version),
            pins=pins,
            overrides=overrides,
            own_wheel=(wheelhouse.own.name, wheelhouse.own.version) if wheelhouse.own else None,
        )
        (work / PYPROJECT).write_text(text, encoding="utf-8", newline="")
        outcome = workshop.closed("lock", "--offline", "--quiet", cwd=work, python=python)
        if outcome.ok:
            break
        # A distribution that uv looks for although no target installs it.
        absent = next((name for name in missing_distributions(outcome.stderr) if name not in pins), None)
        if absent is None or exclusion(absent) in overrides or len(overrides) > _MOST_OVERRIDES:
            raise _relock_failed(outcome)
        overrides = [*overrides, exclusion(absent)]
    lock = _with_hashes((work / LOCK).read_text(encoding="utf-8"), wheels)
    _check_lock(tomllib.loads(lock), wheels)
    (work / LOCK).write_text(lock, encoding="utf-8", newline="")
    outcome = workshop.closed("lock", "--check", "--offline", "--quiet", cwd=work, python=python)
    if not outcome.ok:
        raise _relock_failed(outcome)
    had_lock = plugin.dependencies.lock is not None
    edit = Edit(
        file=LOCK,
        what=f"{'rewritten' if had_lock else 'written'}: {len(wheels)} wheels by path and hash",
        why="a frozen install fetches what the lock names, from nowhere else",
    )
    return text, lock, (*edits, edit)


def _reference_overrides(wheels: Sequence[Wheel], store: WheelStore) -> list[str]:
    """Return the overrides that lead references by URL, in wheels' own metadata, to the bundled wheels."""
    # uv lets metadata refer by URL only to what the plugin itself does: without that, no wheel need be read.
    direct = {wheel.name: wheel.version for wheel in wheels if wheel.direct}
    referred = {name for wheel in wheels if direct for name in direct_requirements(store.path(wheel.sha256))}
    return [f"{name}=={direct[name]}" for name in sorted(referred & direct.keys())]


def _refuse_direct_requirements(wheels: Sequence[Wheel], store: WheelStore) -> None:
    overrides = _reference_overrides(wheels, store)
    if overrides:
        raise DifyoffError(
            Diagnosis(
                slug="transitive-direct-reference",
                message=f"a dependency refers by URL to {overrides[0].partition('==')[0]}, which uv would fetch",
                note=f"A plugin with {REQUIREMENTS} alone has no place to say otherwise.",
                hint=f"Give the plugin a {PYPROJECT} with its dependencies; there the reference can be overridden.",
            )
        )


def _relock_failed(outcome: Outcome) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="relock-failed",
            message="uv cannot lock the plugin against its own wheels",
            context=tuple(line for line in outcome.stderr.strip().splitlines()[-12:] if line.strip()),
            hint="Please report this plugin: its dependencies have a form that difyoff does not handle yet.",
        )
    )


def _with_hashes(lock: str, wheels: Sequence[Wheel]) -> str:
    """Write the hash beside every wheel's path: uv writes none for local wheels, but enforces one that is there."""
    hashes = {wheel.filename: wheel.sha256 for wheel in wheels}
    return _WHEEL_PATH.sub(lambda match: f'{match[0]}, hash = "sha256:{hashes[match[1].rpartition("/")[2]]}"', lock)


def _check_lock(lock: Mapping[str, Any], wheels: Sequence[Wheel]) -> None:
    """Check that the lock holds the bundled wheels, all of them and with hashes, and nothing else."""
    listed = {
        (package["name"], package["version"], file["path"].rpartition("/")[2], file.get("hash"))
        for package in lock["package"]
        for file in package.get("wheels", ())
    }
    bundled = {(wheel.name, wheel.version, wheel.filename, f"sha256:{wheel.sha256}") for wheel in wheels}
    if listed != bundled:
        difference = sorted(f"{entry[2]} (lock)" for entry in listed - bundled)
        difference += sorted(f"{entry[2]} (wheels)" for entry in bundled - listed)
        raise DifyoffError(
            Diagnosis(
                slug="relock-failed",
                message="the new lock and the wheels of the closure differ",
                context=tuple(difference[:12]),
                hint="Please report this plugin: its dependencies have a form that difyoff does not handle yet.",
            )
        )


def _unignore(name: str, content: bytes) -> tuple[bytes, tuple[Edit, ...]]:
    """Take the lines out of an ignore file that would drop the package's new files when it is packed again."""
    patterns = parse_ignore_file(content.decode("utf-8", "surrogateescape"))
    added = ((WHEELS, "x-1-py3-none-any.whl"), (LOCK,), (PYPROJECT,), (REQUIREMENTS,), ("difyoff.json",))
    dropping = [
        pattern
        for pattern in patterns
        if any(
            pattern.excludes(parts[:depth], is_directory=depth < len(parts))
            for parts in added
            for depth in range(1, len(parts) + 1)
        )
    ]
    numbers = {pattern.line for pattern in dropping}
    lines = content.split(b"\n")
    kept = b"\n".join(line for number, line in enumerate(lines, 1) if number not in numbers)
    why = "packing the plugin again would drop files that the offline package needs"
    return kept, tuple(Edit(file=name, what=f"{pattern.text!r} removed", why=why) for pattern in dropping)

"""What a package tells uv besides its dependencies: `[tool.uv]`, `uv.toml`, `.python-version`, build system, Python."""

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from packaging.markers import InvalidMarker, Marker

from ...difypkg.dependencies import DependencyFiles
from ...difypkg.diagnosis import REBUILD, Diagnosis
from ...difypkg.names import LOCK, PYPROJECT, UV_TOML
from ...difypkg.target import Target, admits
from ..contents.lock import Lock
from ..contents.requirements import RequirementsFile
from .closure import world_of
from .faults import EVERY, FROZEN, NOTHING, REQUIREMENTS, RESOLVING, SYNC, Branches, Fault

_HARMLESS: Final = frozenset(
    {
        *("no-index", "find-links", "package", "environments", "required-environments", "dependency-metadata"),
        *("override-dependencies", "constraint-dependencies", "build-constraint-dependencies", "conflicts"),
        *("prerelease", "resolution", "fork-strategy", "link-mode", "compile-bytecode"),
        *("no-build", "no-build-package", "no-sources"),
    }
)
"""The settings that neither lead uv elsewhere nor make it write elsewhere; `dev-dependencies` count as a group."""

_WHY: Final[Mapping[str, tuple[str, Branches]]] = {
    "sources": ("takes dependencies from elsewhere than the wheels of the package", RESOLVING),
    "index": ("names an index", RESOLVING),
    "index-url": ("names an index", RESOLVING),
    "extra-index-url": ("names an index", RESOLVING),
    "workspace": ("makes uv look for further projects", SYNC),
    "default-groups": ("installs a group that the daemon leaves out", SYNC),
    "managed": ("makes uv pass over the project", SYNC),
    "pip": ("redirects `uv pip install`", REQUIREMENTS),
    "required-version": ("refuses the uv of some daemons", EVERY),
    "no-binary": ("makes uv build from source", EVERY),
    "no-binary-package": ("makes uv build from source", EVERY),
    "cache-dir": ("makes uv write outside the plugin's folder", EVERY),
    "python-preference": ("makes uv look for another Python", EVERY),
    "python-downloads": ("makes uv look for another Python", EVERY),
    "exclude-newer": ("makes uv pass over wheels without a date, as those of a package are", EVERY),
}
_UNKNOWN: Final = ("is none of those known to be harmless offline", EVERY)
_PYTHON_REQUEST: Final = re.compile(r"(?:(?:cpython|cp|python)[@-]?)?(?P<version>\d+(?:\.\d+){0,2}|[<>=!~].*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class UvSettings:
    """What holds for uv in the plugin's folder: those of `uv.toml` where there is one, else those of `[tool.uv]`.

    `environments` are the markers that a resolution is confined to; none where it is not.
    """

    tables: Mapping[str, Mapping[str, Any]]
    no_index: bool
    find_links: tuple[str, ...]
    environments: tuple[Marker, ...]

    @property
    def project(self) -> Mapping[str, Any]:
        """The `[tool.uv]` table: what concerns the project is read from nowhere else."""
        return self.tables.get(PYPROJECT, {})


def read_settings(files: DependencyFiles, uv_toml: Mapping[str, Any] | None) -> UvSettings:
    """Read the settings of both places."""
    tables: dict[str, Mapping[str, Any]] = {PYPROJECT: files.tool_uv} if files.pyproject is not None else {}
    if uv_toml is not None:
        tables[UV_TOML] = uv_toml
    ruling = uv_toml if uv_toml is not None else files.tool_uv
    links = ruling.get("find-links")
    environments = files.tool_uv.get("environments")
    markers = [environments] if isinstance(environments, str) else environments
    return UvSettings(
        tables=tables,
        no_index=ruling.get("no-index") is True,
        find_links=tuple(map(str, links)) if isinstance(links, list) else (),
        environments=tuple(_markers(markers)) if isinstance(markers, list) else (),
    )


def _markers(texts: Sequence[object]) -> Iterator[Marker]:
    for text in texts:
        try:
            yield Marker(str(text))
        except InvalidMarker:
            continue


def folder(link: str) -> str | None:
    """Return the folder of the package that a find-links entry names, None for a place outside of it."""
    path = posixpath.normpath(link.removeprefix("file:"))
    return None if "://" in link or path.startswith(("/", "..")) else path


def redirections(settings: UvSettings, requirements: RequirementsFile | None) -> Iterator[Fault]:
    """Yield what would lead uv elsewhere or make it write elsewhere (`configuration-redirects`)."""
    found: dict[Branches, list[str]] = {}
    for file, table in settings.tables.items():
        for key in table:
            if key not in _HARMLESS and key != "dev-dependencies":
                what, bites = _WHY.get(key, _UNKNOWN)
                found.setdefault(bites, []).append(f"{file}: {key} {what}")
        outside = [
            f"{file}: find-links leads to {link}" for link in table.get("find-links") or () if not folder(str(link))
        ]
        found.setdefault(EVERY, []).extend(outside)
    if requirements is not None:
        outside = [
            f"requirements.txt: find-links leads to {link}" for link in requirements.find_links if not folder(link)
        ]
        found.setdefault(REQUIREMENTS, []).extend(outside)
    for bites, lines in found.items():
        if lines:
            yield _redirection(lines, bites)


def _redirection(lines: list[str], bites: Branches) -> Fault:
    return Fault(
        diagnosis=Diagnosis(
            slug="configuration-redirects",
            message=f"the package configures uv: {lines[0]}",
            context=tuple(lines[:12]) if len(lines) > 1 else (),
            hint=REBUILD,
        ),
        bites=bites,
    )


def open_indexes(
    files: DependencyFiles, settings: UvSettings, requirements: RequirementsFile | None
) -> Iterator[Fault]:
    """Yield where uv would ask an index (`index-not-disabled`). A lock as it should be spares uv the question."""
    if settings.no_index:
        return
    if requirements is not None and not requirements.no_index:
        yield _index_open("requirements.txt", "`--no-index`", REQUIREMENTS)
    if files.project is not None and files.lock is None:
        yield _index_open(PYPROJECT, "`no-index = true` under `[tool.uv]`", RESOLVING)


def _index_open(file: str, what: str, bites: Branches) -> Fault:
    return Fault(
        diagnosis=Diagnosis(
            slug="index-not-disabled",
            message=f"uv would ask a package index: {file} does not switch it off with {what}",
            note="Wheels in the package and find-links do not keep uv from asking the index too.",
            hint=REBUILD,
        ),
        bites=bites,
    )


def missing_folders(
    settings: UvSettings, requirements: RequirementsFile | None, paths: Collection[str]
) -> Iterator[Fault]:
    """Yield the folders of wheels that are named and not there (`find-links-missing`)."""
    named = [(link, PYPROJECT if UV_TOML not in settings.tables else UV_TOML, EVERY) for link in settings.find_links]
    named += [(link, "requirements.txt", REQUIREMENTS) for link in (requirements.find_links if requirements else ())]
    missing: dict[str, tuple[str, Branches]] = {}
    for link, file, bites in named:
        place = folder(link)
        if place is not None and place != "." and not any(path.startswith(f"{place}/") for path in paths):
            known = missing.get(place, (file, NOTHING))
            missing[place] = known[0], known[1] | bites
    for place, (file, bites) in missing.items():
        yield Fault(
            diagnosis=Diagnosis(
                slug="find-links-missing",
                message=f"the package has no folder {place}/, which {file} names",
                hint=f"An ignore file with a line such as `wheels/` made the packager leave it out. {REBUILD}",
            ),
            bites=bites,
        )


def built_project(files: DependencyFiles, settings: UvSettings, lock: Lock | None) -> Iterator[Fault]:
    """Yield that uv would build the plugin itself (`build-backend-needed`)."""
    if files.project is None:
        return
    is_package = settings.project.get("package", "build-system" in (files.pyproject or {}))
    # A frozen install goes by what the lock says of the project, not by the project.
    bites = (RESOLVING if is_package else NOTHING) | (
        FROZEN if lock and lock.project and lock.project.is_built else NOTHING
    )
    if bites:
        yield Fault(
            diagnosis=Diagnosis(
                slug="build-backend-needed",
                message="uv builds the plugin itself, and what that needs is not in the package",
                context=("[build-system] makes the project one that is built",)
                if "build-system" in (files.pyproject or {})
                else (),
                hint=f"With `package = false` in `[tool.uv]` it is not built. {REBUILD}",
            ),
            bites=bites,
        )


def wrong_python(files: DependencyFiles, texts: Mapping[str, str], targets: Sequence[Target]) -> Iterator[Fault]:
    """Yield what asks for another Python than the daemon's (`python-version-mismatch`).

    `texts` are the version files that there are.
    """
    python = targets[0].python
    wanted = (files.project or {}).get("requires-python")
    if wanted is not None and not admits(str(wanted), python):
        yield _python_fault(f"{PYPROJECT} asks for Python {wanted}", python)
    for name, text in texts.items():
        lines = [line.strip() for line in text.splitlines()]
        request = next((line for line in lines if line and not line.startswith("#")), "")
        if request and not _is_request_for(request, python):
            yield _python_fault(f"{name} asks for Python {request}", python)


def _is_request_for(request: str, python: str) -> bool:
    """Say whether uv's request for a Python, `3.12`, `cpython@3.12.3`, `>=3.11`, is met by the version."""
    match = _PYTHON_REQUEST.fullmatch(request.lower())
    if match is None:
        return False
    version = match["version"] or ""
    if version[:1] in "<>=!~":
        return not version or admits(version, python)
    return python.split(".")[: version.count(".") + 1] == version.split(".")


def _python_fault(message: str, python: str) -> Fault:
    return Fault(
        diagnosis=Diagnosis(
            slug="python-version-mismatch",
            message=f"{message}; the daemon's image runs {python}",
            note="uv leaves the environment that the daemon prepared, and looks for another Python.",
            hint=REBUILD,
        ),
        bites=SYNC,
    )


def foreign_environments(settings: UvSettings, lock: Lock | None, targets: Sequence[Target]) -> Iterator[Fault]:
    """Yield that the package is confined to other machines than its targets (`wrong-platform`)."""
    for target in targets:
        world = world_of(target)
        bites = NOTHING
        if not world.within(settings.environments):
            bites |= RESOLVING
        if lock is not None and not world.within(lock.markers):
            bites |= FROZEN
        if bites:
            yield Fault(
                diagnosis=Diagnosis(
                    slug="wrong-platform",
                    message=f"the package was made for another machine than {target.architecture}",
                    context=tuple(map(str, settings.environments or (lock.markers if lock else ()))),
                    note=f"`environments` under `[tool.uv]` and {LOCK} confine it.",
                    hint="rebuild with `difyoff build --arch amd64`, `arm64` or `all`",
                ),
                bites=bites,
            )

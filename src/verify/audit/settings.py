"""What a package tells uv besides its dependencies: `[tool.uv]`, `uv.toml`, `.python-version`, build system, Python."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from ...difypkg.daemons import Release
from ...difypkg.dependencies import DependencyFiles
from ...difypkg.diagnosis import REBUILD, Diagnosis
from ...difypkg.names import LOCK, PYPROJECT, REQUIREMENTS, UV_TOML
from ...difypkg.target import Target, admits
from ..contents.lock import Lock
from ..contents.requirements import RequirementsFile
from ..contents.settings import UvSettings, find_folder
from ..contents.world import world_of
from ..finding import EVERY, FROZEN, NOTHING, RESOLVING, SYNC, Branches, Finding
from ..finding import REQUIREMENTS as REQUIREMENTS_BRANCH

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
    "pip": ("redirects `uv pip install`", REQUIREMENTS_BRANCH),
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


def find_redirections(
    settings: UvSettings, requirements: RequirementsFile | None, counting: Sequence[Release] = ()
) -> Iterator[Finding]:
    """Yield what would lead uv elsewhere or make it write elsewhere (`configuration-redirects`).

    `counting` are the releases with which uv must put up.
    """
    found: dict[Branches, list[str]] = {}
    for file, table in settings.tables.items():
        for key in table:
            if key == "required-version" and not _refused(table[key], counting):
                continue
            if key not in _HARMLESS and key != "dev-dependencies":
                what, bites = _WHY.get(key, _UNKNOWN)
                found.setdefault(bites, []).append(f"{file}: {key} {what}")
        outside = [
            f"{file}: find-links leads to {link}"
            for link in table.get("find-links") or ()
            if not find_folder(str(link))
        ]
        found.setdefault(EVERY, []).extend(outside)
    if requirements is not None:
        outside = [
            f"{REQUIREMENTS}: find-links leads to {link}" for link in requirements.find_links if not find_folder(link)
        ]
        found.setdefault(REQUIREMENTS_BRANCH, []).extend(outside)
    for bites, lines in found.items():
        if lines:
            yield _redirection(lines, bites)


def _refused(required: object, counting: Sequence[Release]) -> list[Release]:
    """Return the releases whose uv a `required-version` refuses; a bare version is that version."""
    text = str(required)
    specifier = text if text[:1] in "<>=!~" else f"=={text}"
    return [each for each in counting if each.uv is None or not admits(specifier, each.uv)]


def _redirection(lines: list[str], bites: Branches) -> Finding:
    return Finding(
        diagnosis=Diagnosis(
            slug="configuration-redirects",
            message=f"the package configures uv: {lines[0]}",
            context=tuple(lines[:12]) if len(lines) > 1 else (),
            hint=REBUILD,
        ),
        bites=bites,
    )


def find_open_indexes(
    files: DependencyFiles, settings: UvSettings, requirements: RequirementsFile | None
) -> Iterator[Finding]:
    """Yield where uv would ask an index (`index-not-disabled`). A lock as it should be spares uv the question."""
    if settings.no_index:
        return
    if requirements is not None and not requirements.no_index:
        yield _index_open(REQUIREMENTS, "`--no-index`", REQUIREMENTS_BRANCH)
    if files.project is not None and files.lock is None:
        yield _index_open(PYPROJECT, "`no-index = true` under `[tool.uv]`", RESOLVING)


def _index_open(file: str, what: str, bites: Branches) -> Finding:
    return Finding(
        diagnosis=Diagnosis(
            slug="index-not-disabled",
            message=f"uv would ask a package index: {file} does not switch it off with {what}",
            note="Wheels in the package and find-links do not keep uv from asking the index too.",
            hint=REBUILD,
        ),
        bites=bites,
    )


def find_missing_folders(
    settings: UvSettings, requirements: RequirementsFile | None, paths: Collection[str]
) -> Iterator[Finding]:
    """Yield the folders of wheels that are named and not there (`find-links-missing`)."""
    named = [(link, PYPROJECT if UV_TOML not in settings.tables else UV_TOML, EVERY) for link in settings.find_links]
    named += [(link, REQUIREMENTS, REQUIREMENTS_BRANCH) for link in (requirements.find_links if requirements else ())]
    missing: dict[str, tuple[str, Branches]] = {}
    for link, file, bites in named:
        place = find_folder(link)
        if place is not None and place != "." and not any(path.startswith(f"{place}/") for path in paths):
            known = missing.get(place, (file, NOTHING))
            missing[place] = known[0], known[1] | bites
    for place, (file, bites) in missing.items():
        yield Finding(
            diagnosis=Diagnosis(
                slug="find-links-missing",
                message=f"the package has no folder {place}/, which {file} names",
                hint=f"An ignore file with a line such as `wheels/` made the packager leave it out. {REBUILD}",
            ),
            bites=bites,
        )


def find_built_project(files: DependencyFiles, settings: UvSettings, lock: Lock | None) -> Iterator[Finding]:
    """Yield that uv would build the plugin itself (`build-backend-needed`)."""
    if files.project is None:
        return
    is_package = settings.project.get("package", "build-system" in (files.pyproject or {}))
    # A frozen install goes by what the lock says of the project, not by the project.
    bites = (RESOLVING if is_package else NOTHING) | (
        FROZEN if lock and lock.project and lock.project.is_built else NOTHING
    )
    if bites:
        yield Finding(
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


def find_wrong_python(files: DependencyFiles, texts: Mapping[str, str], targets: Sequence[Target]) -> Iterator[Finding]:
    """Yield what asks for another Python than the targets' (`python-version-mismatch`).

    `texts` are the version files that there are.
    """
    wanted = (files.project or {}).get("requires-python")
    for python in dict.fromkeys(target.python for target in targets):
        if wanted is not None and not admits(str(wanted), python):
            yield _python_finding(f"{PYPROJECT} asks for Python {wanted}", python)
        for name, text in texts.items():
            lines = [line.strip() for line in text.splitlines()]
            request = next((line for line in lines if line and not line.startswith("#")), "")
            if request and not _is_request_for(request, python):
                yield _python_finding(f"{name} asks for Python {request}", python)


def _is_request_for(request: str, python: str) -> bool:
    """Say whether uv's request for a Python, `3.12`, `cpython@3.12.3`, `>=3.11`, is met by the version."""
    match = _PYTHON_REQUEST.fullmatch(request.lower())
    if match is None:
        return False
    version = match["version"] or ""
    if version[:1] in "<>=!~":
        return not version or admits(version, python)
    return python.split(".")[: version.count(".") + 1] == version.split(".")


def _python_finding(message: str, python: str) -> Finding:
    return Finding(
        diagnosis=Diagnosis(
            slug="python-version-mismatch",
            message=f"{message}; the daemon's image runs {python}",
            note="uv leaves the environment that the daemon prepared, and looks for another Python.",
            hint=REBUILD,
        ),
        bites=SYNC,
    )


def find_foreign_environments(settings: UvSettings, lock: Lock | None, targets: Sequence[Target]) -> Iterator[Finding]:
    """Yield that the package is confined to other machines than its targets (`wrong-platform`)."""
    for target in targets:
        world = world_of(target)
        bites = NOTHING
        if not world.is_within(settings.environments):
            bites |= RESOLVING
        if lock is not None and not world.is_within(lock.markers):
            bites |= FROZEN
        if bites:
            yield Finding(
                diagnosis=Diagnosis(
                    slug="wrong-platform",
                    message=f"the package was made for another machine than {target.architecture}",
                    context=tuple(map(str, settings.environments or (lock.markers if lock else ()))),
                    note=f"`environments` under `[tool.uv]` and {LOCK} confine it.",
                    hint="Rebuild with `difyoff build --arch amd64`, `arm64` or `all`.",
                ),
                bites=bites,
            )

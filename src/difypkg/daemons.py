"""What each release of the plugin daemon does with a package: data (`daemons.toml`) and one pure function, `plan`.

Imitates `internal/core/local_runtime/setup_python_environment.go` and `subprocess.go` of the daemon (up to 0.4.1
`internal/core/plugin_manager/local_runtime/`), 0.0.4 to 0.6.10.
"""

import datetime
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from importlib.resources import files as resources
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from packaging.version import InvalidVersion, Version

from .diagnosis import Diagnosis, DifyoffError
from .names import LOCK, PYPROJECT, REQUIREMENTS

Branch: TypeAlias = Literal["requirements", "sync", "sync-offline", "sync-frozen"]
"""The ways a daemon installs: which file it reads, and whether uv may resolve or look at a network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release of the daemon, its image and its rules.

    `date` is its tag's; `uv` the version in its image; `dify` the Dify versions seen to ship it. Of a release newer
    than this table, `known` is false, these three are empty, and the rules are the newest.
    """

    version: Version
    date: datetime.date | None = None
    uv: str | None = None
    dify: tuple[str, ...] = ()
    known: bool = True

    dependency_files: tuple[str, ...]
    """What it installs from: the first of these that exists."""
    mirror_prefers_requirements: bool
    """With a mirror, `requirements.txt` goes first."""
    venv: tuple[str, ...]
    """uv's arguments that make the virtual environment."""
    replaces_venv: bool
    """A `.venv` in the package without `bin/python` is replaced; before, the daemon stops at it."""
    pip: tuple[str, ...]
    """uv's arguments that install `requirements.txt`, with places to fill."""
    sync: tuple[str, ...]
    """uv's arguments that install `pyproject.toml`, with places to fill; none before 0.5.3."""
    honours_ignore_lock: bool
    """`PLUGIN_IGNORE_UV_LOCK` takes `--frozen` away."""
    extra_split: Literal["blank", "whitespace"]
    """How `PIP_EXTRA_ARGS` becomes words: at each blank, empty words included, or at any whitespace."""
    forwarded: tuple[str, ...]
    """Variables that reach the install step from the daemon's environment where they are set."""
    cache: Literal["user", "plugin", "shared"]
    """uv's cache: its default place, `.uv-cache` in the plugin's folder, or in the working path."""
    compile: tuple[str, ...]
    """Arguments of the compile step, after the virtual environment's Python."""
    compile_is_fatal: bool
    sdk_patched_below: str
    """The daemon overwrites files of `dify_plugin` below this version."""
    init_timeout: int
    """Default of `PYTHON_ENV_INIT_TIMEOUT`: seconds without output until uv is killed."""
    uv_timeout: int
    """Seconds until uv is killed whatever it prints; a constant."""
    install_timeout: int
    """Default of `PLUGIN_INSTALL_TIMEOUT` in seconds (its unit is minutes); 0 before 0.5.5, which has none."""
    install_timer: int
    """Seconds until the task ends as a success with nothing installed; a constant, 0 where there is none."""
    watchdog: int
    """Seconds past `PYTHON_ENV_INIT_TIMEOUT` when a running task is marked as failed; 0 where nothing watches."""
    heartbeat_timeout: int
    """Seconds without a sign of life until a plugin is killed; a constant."""
    waits_for_heartbeat: bool
    """An install succeeds with the plugin's first heartbeat, not with its environment."""
    attempts: int
    """How often a failing environment is tried."""
    max_package_size: int
    """Default of `MAX_PLUGIN_PACKAGE_SIZE` in bytes, for the file and for the sum of its uncompressed entries."""
    third_party_keys: bool
    """Signatures of keys other than the official one can be allowed."""
    guards_langgenius: bool
    """A changed package by `langgenius` is refused at upload unless `ENFORCE_LANGGENIUS_PLUGIN_SIGNATURES=false`."""
    pid1: Literal["shell", "daemon", "tini"]
    """The image's first process; where it is the daemon, SDKs take it for dead and stop."""
    has_commandline: bool
    """The image holds `/app/commandline`, whose `plugin run` is the daemon's own install."""
    nginx_max_body: int
    """Default of `NGINX_CLIENT_MAX_BODY_SIZE` in bytes in the Dify versions of its time."""

    def __str__(self) -> str:
        return str(self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator sets on the daemon; as it stands, the release's defaults.

    `mirror` is `PIP_MIRROR_URL`, `ignore_lock` `PLUGIN_IGNORE_UV_LOCK`, `extra_args` `PIP_EXTRA_ARGS`,
    `max_package_size` `MAX_PLUGIN_PACKAGE_SIZE` (bytes), `verify_signature` `FORCE_VERIFYING_SIGNATURE`,
    `verify_langgenius` `ENFORCE_LANGGENIUS_PLUGIN_SIGNATURES`; `init_timeout` (`PYTHON_ENV_INIT_TIMEOUT`) and
    `install_timeout` (`PLUGIN_INSTALL_TIMEOUT`) are seconds.
    """

    mirror: str | None = None
    ignore_lock: bool = False
    extra_args: str = ""
    max_package_size: int | None = None
    verify_signature: bool = True
    verify_langgenius: bool = True
    init_timeout: int | None = None
    install_timeout: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things lie, and what is run.

    `plugin` is the folder the package was extracted to, `working_path` the daemon's `PLUGIN_WORKING_PATH`, `path` its
    `PATH`, `entrypoint` the manifest's `meta.runner.entrypoint`.
    """

    plugin: PurePath
    working_path: PurePath
    uv: PurePath
    path: str
    entrypoint: str = "main"

    @property
    def virtual_environment(self) -> PurePath:
        """The plugin's `.venv`."""
        return self.plugin / ".venv"

    @property
    def python(self) -> PurePath:
        """The Python of the plugin's virtual environment."""
        return self.virtual_environment / "bin" / "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of the daemon, run in `cwd`.

    `environment` is complete, or, where `inherits`, what is added to the daemon's own. A failure is passed over unless
    `fatal`. `silence` and `total` are seconds: without output, and in all.
    """

    kind: Literal["venv", "install", "compile", "import", "launch"]
    argv: tuple[str, ...]
    cwd: PurePath
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    inherits: bool = True
    fatal: bool = True
    silence: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of one release for one package; `branch` is none, and there are no steps, where it finds no file."""

    release: Release
    branch: Branch | None
    dependency_file: str | None = None
    steps: tuple[Step, ...] = ()


@cache
def releases() -> tuple[Release, ...]:
    """Return every known release, oldest first."""
    data = tomllib.loads((resources("difyoff.difypkg") / "daemons.toml").read_text(encoding="utf-8"))
    changes = [(Version(change.pop("since")), change) for change in data["change"]]
    return tuple(_release(entry, changes) for entry in data["release"])


def _release(entry: dict[str, Any], changes: list[tuple[Version, dict[str, Any]]]) -> Release:
    version = Version(entry.pop("version"))
    columns: dict[str, Any] = {}
    for since, change in changes:
        if since <= version:
            columns |= change
    columns |= entry
    frozen: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in columns.items()
    }
    return Release(version=version, **frozen)


def newest() -> Release:
    """Return the newest known release."""
    return releases()[-1]


def release(version: str) -> Release:
    """Return the release of a version, `0.5.3`.

    One newer than all we know has the newest rules and `known` false. Raises `DifyoffError` (`unknown-daemon-release`)
    for anything else.
    """
    try:
        wanted = Version(version)
    except InvalidVersion:
        raise _unknown(version, "daemon", [str(each) for each in releases()]) from None
    for each in releases():
        if each.version == wanted:
            return each
    if wanted > newest().version:
        return replace(newest(), version=wanted, date=None, uv=None, dify=(), known=False)
    raise _unknown(version, "daemon", [str(each) for each in releases()])


def release_for_dify(version: str) -> Release:
    """Return the release that a Dify version ships, `1.13.0`.

    A version not seen has the release of its neighbours where both ship the same, and a fix (`1.10.1-fix.1`) that of
    the version it fixes. Raises `DifyoffError` (`unknown-daemon-release`) otherwise.
    """
    ships = {Version(dify): each for each in releases() for dify in each.dify}
    try:
        wanted = Version(version.partition("-fix")[0])
    except InvalidVersion:
        raise _unknown(version, "Dify", [str(each) for each in ships]) from None
    before = max((each for each in ships if each <= wanted), default=None)
    after = min((each for each in ships if each >= wanted), default=None)
    if before is None or after is None or ships[before] is not ships[after]:
        raise _unknown(version, "Dify", [str(each) for each in ships])
    return ships[before]


def _unknown(version: str, of: str, known: list[str]) -> DifyoffError:
    near = get_close_matches(version, known, n=4, cutoff=0.5) or known[-4:]
    return DifyoffError(
        Diagnosis(
            slug="unknown-daemon-release",
            message=f"{version!r} is not a {of} release that difyoff knows.",
            context=(f"near it: {', '.join(near)}", f"known: {known[0]} to {known[-1]}"),
            hint=f"Name the daemon release, such as `--daemon {newest()}`: it is the tag of the plugin daemon's image.",
        )
    )


def plan(
    release: Release, settings: Settings, files: Iterable[str], layout: Layout, *, fresh_upload: bool = True
) -> Plan:
    """Return what a release runs for a plugin that has these files at its root, in a folder with no `.venv`.

    `files` may name more than the three that count. `fresh_upload` says that the package was uploaded less than ten
    seconds ago, as it is when somebody installs what they have just uploaded; only 0.5.4 asks. No forwarded variable
    is assumed to be set. The daemon's clocks run over several steps in places (install, compile and import up to
    0.4.1, compile and import since); here each step has the whole of it.
    """
    present = frozenset(files)
    dependency_file = _dependency_file(release, settings, present)
    if dependency_file is None:
        return Plan(release=release, branch=None)
    template = release.sync if dependency_file == PYPROJECT else release.pip
    frozen = _is_frozen(release, settings, present)
    arguments = _fill(template, release, settings, frozen=frozen, offline=fresh_upload)
    init_timeout = release.init_timeout if settings.init_timeout is None else settings.init_timeout
    return Plan(
        release=release,
        branch=plan_branch(release, settings, present, fresh_upload=fresh_upload),
        dependency_file=dependency_file,
        steps=(
            Step(kind="venv", argv=(str(layout.uv), *release.venv), cwd=layout.plugin),
            Step(
                kind="install",
                argv=(str(layout.uv), *arguments),
                cwd=layout.plugin,
                environment=MappingProxyType(_install_environment(release, layout)),
                inherits=False,
                silence=init_timeout,
                total=_install_total(release, settings),
            ),
            Step(
                kind="compile",
                argv=(str(layout.python), *release.compile),
                cwd=layout.plugin,
                fatal=release.compile_is_fatal,
                total=release.uv_timeout,
            ),
            Step(
                kind="import",
                argv=(str(layout.python), "-c", "import dify_plugin"),
                cwd=layout.plugin,
                fatal=False,
                total=release.uv_timeout,
            ),
            Step(
                kind="launch",
                argv=(str(layout.python), "-m", layout.entrypoint),
                cwd=layout.plugin,
                environment=MappingProxyType({"INSTALL_METHOD": "local", "PATH": layout.path}),
                fatal=release.waits_for_heartbeat,
                silence=release.heartbeat_timeout,
                total=min(release.heartbeat_timeout, init_timeout) if release.waits_for_heartbeat else None,
            ),
        ),
    )


def plan_branch(
    release: Release, settings: Settings, files: Collection[str], *, fresh_upload: bool = True
) -> Branch | None:
    """Return how a release installs a plugin with these files at its root, None where it finds none to install from.

    The parameters are those of `plan`.
    """
    dependency_file = _dependency_file(release, settings, files)
    if dependency_file is None:
        return None
    if dependency_file == REQUIREMENTS:
        return "requirements"
    if "{frozen}" in release.sync and _is_frozen(release, settings, files):
        return "sync-frozen"
    if "{offline}" in release.sync and fresh_upload:
        return "sync-offline"
    return "sync"


def distinct_branches(files: Iterable[str], settings: Settings | None = None) -> tuple[Release, ...]:
    """Return the newest release of each branch that a package with these files meets, oldest first.

    Two releases are one branch where uv reads the same file and is held alike (`--frozen`, `--offline`): flags of
    verbosity, the place of the cache and forwarded variables change nothing about what an offline package needs.
    Releases that find no file to install from are no branch.
    """
    present = frozenset(files)
    newest_of: dict[Branch, Release] = {}
    for each in releases():
        branch = plan_branch(each, settings or Settings(), present)
        if branch is not None:
            newest_of[branch] = each
    return tuple(sorted(newest_of.values(), key=lambda each: each.version))


def _dependency_file(release: Release, settings: Settings, present: Collection[str]) -> str | None:
    # detectDependencyFileType, 0.5.3 and on; before, createVirtualEnvironment looks for requirements.txt alone.
    if release.mirror_prefers_requirements and settings.mirror and REQUIREMENTS in present:
        return REQUIREMENTS
    return next((name for name in release.dependency_files if name in present), None)


def _is_frozen(release: Release, settings: Settings, present: Collection[str]) -> bool:
    return LOCK in present and not (release.honours_ignore_lock and settings.ignore_lock)


def _fill(
    template: tuple[str, ...], release: Release, settings: Settings, *, frozen: bool, offline: bool
) -> tuple[str, ...]:
    # preparePipArgs and prepareSyncArgs; Go's strings.Split at " " keeps empty words, as str.split(" ") does.
    extra = settings.extra_args.split(" " if release.extra_split == "blank" else None) if settings.extra_args else []
    if frozen and "{frozen}" in template:
        extra = [word for word in extra if word != "--frozen"]
    places = {
        "{mirror}": ("-i", settings.mirror) if settings.mirror else (),
        "{extra}": tuple(extra),
        "{frozen}": ("--frozen",) if frozen else (),
        "{offline}": ("--offline",) if offline else (),
    }
    return tuple(word for part in template for word in places.get(part, (part,)))


def _install_environment(release: Release, layout: Layout) -> dict[str, str]:
    # buildUVCommandEnv: the daemon's own environment does not reach uv; HOME, UV_* and PIP_* least of all.
    environment = {"VIRTUAL_ENV": str(layout.virtual_environment), "PATH": layout.path}
    if release.cache != "user":
        home = layout.plugin if release.cache == "plugin" else layout.working_path
        environment["UV_CACHE_DIR"] = str(home / ".uv-cache")
    return environment


def _install_total(release: Release, settings: Settings) -> int:
    if not release.install_timeout:
        return release.uv_timeout
    return min(release.uv_timeout, settings.install_timeout or release.install_timeout)

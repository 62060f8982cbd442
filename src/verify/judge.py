"""What the outcome of a daemon's step means: pure functions from what was seen to a diagnosis or a check."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

from ..difypkg.daemons import Plan, Release, Step
from ..difypkg.diagnosis import REBUILD, Diagnosis
from ..difypkg.names import LOCK, PYPROJECT
from ..difypkg.target import Target, admits
from ..difypkg.textrules import flatten
from ..difypkg.uvtext import diagnose_uv
from ..sandbox.process import Outcome
from ..uvrun.uv import explain_machine_fault
from .contents.wheels import BundledWheel
from .expected import find_expected
from .launch import LONGEST_LINE, Launch
from .look import State
from .package import Package
from .report import Check

_REDIRECTING: Final = ("cache-dir", "no-cache", "pip", "python-preference", "python-downloads")
_WHEELS_REFUSED: Final = ("no-binary", "no-binary-package")
_VAGUE: Final = frozenset({None, "cache-not-writable", "disk-full", "nothing-installed"})
_LINES: Final = 8
_SHUTDOWN: Final = ("Exception ignored in", "Exception in thread", "Error in atexit", "Exception ignored on")
_EXCEPTION: Final = re.compile(r"[A-Za-z_][\w.]*(:\s|$)")
_CLEARED: Final = (".venv/", ".uv-cache/")  # the daemon's and uv's own, whatever the package has there
_TOKENISER_STORE: Final = "openaipublic.blob.core.windows.net"
"""Where tiktoken fetches its encodings; the image carries them (TIKTOKEN_CACHE_DIR), this machine does not."""


def explain_no_dependency_file(release: Release) -> Diagnosis:
    """Return the diagnosis of a package that a release finds nothing to install from."""
    names = " or ".join(release.dependency_files)
    return Diagnosis(
        slug="no-dependency-file",
        message=f"the package has no {names}, which daemon {release} installs from",
        hint=REBUILD,
    )


def explain_failure(outcome: Outcome, step: Step, package: Package) -> Diagnosis | None:
    """Return why uv failed, None where it did not: from its words, or as `install-failed` with its last lines."""
    if outcome.ok:
        return None
    if outcome.stopped:
        return _timed_out(outcome, step)
    text = f"{outcome.stdout}\n{outcome.stderr}"
    known = diagnose_uv(text, wheels=package.wheel_names)
    lines = tuple(flatten(text.splitlines()).lines[-_LINES:])
    slug = known.slug if known else None
    keys = package.settings.name_set(_REDIRECTING) if slug in _VAGUE else ()
    keys += package.settings.name_set(_WHEELS_REFUSED) if slug in _VAGUE | {"missing-wheel"} else ()
    if keys:
        return _redirected(f"uv's settings in the package name {', '.join(keys)}, and uv fails", lines)
    if fault := explain_machine_fault(outcome):
        return fault
    if known:
        return known
    return Diagnosis(
        slug="install-failed",
        message=f"`uv {' '.join(step.argv[1:3])}` fails with exit code {outcome.code}",
        context=lines,
        hint=REBUILD,
    )


def _timed_out(outcome: Outcome, step: Step) -> Diagnosis:
    if outcome.stopped == "silence":
        limit, setting = f"{step.silence} s without output", "PYTHON_ENV_INIT_TIMEOUT"
    else:
        limit, setting = f"{step.total} s in all", "PLUGIN_INSTALL_TIMEOUT"
    return Diagnosis(
        slug="install-timed-out",
        message=f"uv was ended as the daemon ends it, after {limit}; whether it would have succeeded is not known",
        context=tuple(flatten(outcome.stderr.splitlines()).lines[-_LINES:]),
        hint=f"Raise {setting} on the daemon, or verify on a faster machine.",
    )


def explain_python_gap(package: Package, plan: Plan, target: Target, python: str) -> str | None:
    """Return why this machine's patch release of CPython cannot stand for the target's, None where it can."""
    wanted = _requires_python(package, plan)
    if wanted is None or not target.admits(wanted) or admits(wanted, python):
        return None
    return f"the package asks for Python {wanted}; the daemon's {target.python} fits, this machine's {python} does not"


def check_installed(
    state: State, package: Package, plan: Plan, target: Target, outcome: Outcome, *, strict: bool = True
) -> Iterator[Check]:
    """Judge what a successful install left behind: which Python, which distributions, which files.

    With `strict` it is a failure, too, what the daemon does not mind: another lock, writing elsewhere.
    """
    for name, diagnosis, message in (
        ("python", _wrong_python(state, package, plan, target), f"CPython {state.python}"),
        ("distributions", *_distributions(state, package, plan, target)),
        ("files", _find_changed(state, package, outcome, strict=strict), "uv changed no file of the package"),
    ):
        yield Check(
            name=name,
            required=True,
            status="failed" if diagnosis else "passed",
            message="" if diagnosis else message,
            diagnosis=diagnosis,
        )


def _wrong_python(state: State, package: Package, plan: Plan, target: Target) -> Diagnosis | None:
    major, minor = target.python_minor
    wanted = _requires_python(package, plan)
    if not (state.python or "").startswith(f"{major}.{minor}."):
        seen = f"uv left the daemon's virtual environment for CPython {state.python}"
    elif wanted is not None and not target.admits(wanted):
        seen = f"the package asks for Python {wanted}, which the daemon's {target.python} is not"
    else:
        return None
    return Diagnosis(
        slug="python-version-mismatch",
        message=seen,
        note=f"The daemon's image has CPython {target.python} only, and without a network no other can be fetched.",
        hint=REBUILD,
    )


def _distributions(state: State, package: Package, plan: Plan, target: Target) -> tuple[Diagnosis | None, str]:
    if not state.distributions:
        nothing = Diagnosis(
            slug="nothing-installed",
            message=f"uv reports success and has installed nothing from {plan.dependency_file}",
            note="The daemon takes this for an install; the plugin then fails at `import dify_plugin`.",
            hint=REBUILD,
        )
        return nothing, ""
    wanted = find_expected(package, plan, target, lock=LOCK not in _changed_files(state, package))
    differences = wanted.differences(state.distributions)
    if not differences:
        count = len(state.distributions)
        return None, f"{count} of {len(wanted.versions) if wanted.complete else count} installed"
    return Diagnosis(
        slug="install-differs",
        message=f"what is installed is not what {LOCK if wanted.complete else plan.dependency_file} names",
        context=differences[:_LINES],
        hint=REBUILD,
    ), ""


def _find_changed(state: State, package: Package, outcome: Outcome, *, strict: bool) -> Diagnosis | None:
    """Return why what was left behind is a failure; what the daemon does not mind is one where `strict`."""
    if state.troubles:
        return Diagnosis(
            slug="strange-files",
            message=f"the install left what difyoff does not read: {state.troubles[0]}",
            context=tuple(state.troubles[1:]),
            note="No wheel leaves such files. A package that is built from source while it is installed may.",
            hint="Find out which dependency does, and do not install the package.",
        )
    changed = [path for path in _changed_files(state, package) if path != LOCK]
    if changed:
        return _redirected("uv changes files of the package", tuple(changed[:_LINES]))
    return next(iter(_find_side_effects(state, package, outcome)), None) if strict else None


def find_tolerated(state: State, package: Package, outcome: Outcome, *, strict: bool = True) -> tuple[Diagnosis, ...]:
    """Return what an install did besides and the daemon does not mind, as findings; none where they are failures."""
    if strict:
        return (_resolved_anew(package, outcome),) if _is_remote_lock_replaced(state, package) else ()
    return tuple(_find_side_effects(state, package, outcome))


def _find_side_effects(state: State, package: Package, outcome: Outcome) -> Iterator[Diagnosis]:
    if LOCK in _changed_files(state, package) and not _is_remote_lock_replaced(state, package):
        yield _resolved_anew(package, outcome)
    if state.strays:
        yield _redirected("uv writes outside the plugin's folder", tuple(state.strays[:_LINES]))
    if not state.cached:
        yield _redirected("uv keeps its cache elsewhere than the daemon", package.settings.name_set(_REDIRECTING))


def _is_remote_lock_replaced(state: State, package: Package) -> bool:
    """Tell whether uv wrote another lock because the old one names files on a network: it has to resolve again then."""
    remote = package.lock is None or package.lock.is_remote
    return remote and LOCK in _changed_files(state, package)


def _resolved_anew(package: Package, outcome: Outcome) -> Diagnosis:
    why = diagnose_uv(f"{outcome.stdout}\n{outcome.stderr}", wheels=package.wheel_names)
    return Diagnosis(
        slug="lock-outdated",
        message=f"uv does not accept {LOCK} as it is and writes another: its hashes are lost in this branch",
        context=why.context if why and why.slug == "lock-outdated" else (),
        note="What it resolves instead has no hashes, so a tampered wheel would be installed.",
        hint=REBUILD,
    )


def _changed_files(state: State, package: Package) -> list[str]:
    recorded = {
        path: package.sizes[path] if path.endswith(".whl") else digest for path, digest in package.digests.items()
    }
    return sorted(
        path for path, mark in recorded.items() if state.files.get(path) != mark and not path.startswith(_CLEARED)
    )


def check_sdk_patch(outcome: Outcome) -> Check:
    """Say what became of the daemon's patches of an old SDK."""
    done, missing = _read_patched(outcome.stdout)
    words = [f"patched as the daemon does: {', '.join(done)}"] if done else []
    if missing or not done:
        words.append(f"{missing or 'dify_plugin'} cannot be patched; the daemon goes on without")
    return Check(name="SDK patch", status="passed", message="; ".join(words), seconds=outcome.seconds)


def _read_patched(output: str) -> tuple[list[str], str | None]:
    try:
        seen = json.loads(output.strip().rpartition("\n")[2])
        return list(map(str, seen["done"])), seen["missing"]
    except (ValueError, KeyError, TypeError):  # the plugin's own code is imported on the way, and may say anything
        return [], None


def explain_refused_venv(release: Release) -> Diagnosis:
    """Return the diagnosis of a package with a `.venv` at which a release stops."""
    return Diagnosis(
        slug="copied-venv",
        message=f"the package has a .venv without bin/python, at which daemon {release} stops",
        note="Daemons from 0.5.4 on replace it.",
        hint=REBUILD,
    )


def explain_believed_venv() -> Diagnosis:
    """Return the diagnosis of a package with a `.venv` that the daemon takes for its own."""
    return Diagnosis(
        slug="copied-venv",
        message="the package has a .venv with dify/plugin.json, which the daemon takes for one that it made itself",
        note="It installs nothing, and the interpreter in a package cannot be executed.",
        hint=REBUILD,
    )


def check_compiled(outcome: Outcome, step: Step) -> Check:
    """Judge the compile step, whose failure most releases pass over."""
    if outcome.ok:
        return Check(name="compile", status="passed", seconds=outcome.seconds)
    lines = [line for line in outcome.stdout.splitlines() if not line.startswith(("Listing", "Compiling"))]
    if not step.fatal:
        return Check(
            name="compile",
            status="passed",
            message="some files do not compile; the daemon passes over that",
            evidence=tuple(lines[:_LINES]),
            seconds=outcome.seconds,
        )
    return Check(
        name="compile",
        status="failed",
        diagnosis=Diagnosis(
            slug="plugin-does-not-compile",
            message="some files of the plugin or its dependencies do not compile, at which this daemon release stops",
            context=tuple(lines[:_LINES]),
            hint="Use daemon 0.0.6 or newer.",
        ),
        seconds=outcome.seconds,
    )


def find_network_at_start(attempts: Sequence[str]) -> tuple[Diagnosis, ...]:
    """Return the finding that a plugin wanted the network before it was ready; none where it did not."""
    if not attempts:
        return ()
    return (
        Diagnosis(
            slug="network-at-start",
            message="the plugin tries to reach the network while it starts; it gets ready without",
            context=tuple(attempts[:_LINES]),
            note="What it wanted is not in the package and will be missing on the site.",
            hint="Check whether these hosts can be reached from the site, or ask the plugin's author.",
        ),
    )


def check_not_started(launch: Launch, *, limit: int, attempts: Sequence[str], imported: Outcome) -> Check:
    """Judge a plugin that did not get ready within `limit` seconds."""
    hosts = {attempt.split()[1].partition(":")[0] for attempt in attempts if " " in attempt}
    if hosts == {_TOKENISER_STORE}:
        return Check(
            name="start",
            status="skipped",
            message="the plugin wants tiktoken's encodings while it starts; the daemon's image carries them, this"
            " machine does not",
            evidence=tuple(attempts),
            seconds=launch.seconds,
        )
    if launch.too_long:
        how = f"the plugin writes a line of {LONGEST_LINE >> 20} MiB or more, at which the daemon ends it"
    elif launch.code is None:
        how = f"the plugin is not ready after {limit} s: it gives no heartbeat"
    elif launch.code < 0:
        how = f"the plugin is ended by signal {-launch.code} before it is ready"
    else:
        how = f"the plugin ends with exit code {launch.code} before it is ready"
    if reason := find_reason(launch.stderr):
        how += f": {reason}"
    if not imported.ok and not imported.stopped:
        how += "; dify_plugin itself cannot be imported"
    wanted = tuple(f"it tried to {attempt}" for attempt in attempts[:_LINES])
    return Check(
        name="start",
        status="failed",
        diagnosis=Diagnosis(
            slug="plugin-does-not-start",
            message=how,
            context=(*(launch.stderr or "\n".join(launch.said)).splitlines()[-2 * _LINES :], *wanted),
            note="It wants the network while it starts, which the site does not have." if wanted else None,
            hint="Ask the plugin's author, or see whether the original plugin starts where there is a network.",
        ),
        evidence=launch.said,
        seconds=launch.seconds,
    )


def find_reason(stderr: str) -> str | None:
    """Return the last line of the last traceback that ended the program, None where there is none.

    What Python and its libraries write while they shut down, and warnings, come after it or between, and are not it.
    """
    reason = None
    ignored = False
    in_traceback = False
    for line in stderr.splitlines():
        if line.startswith("Traceback (most recent call last)"):
            in_traceback = not ignored
            ignored = False
        elif line.startswith(_SHUTDOWN):
            ignored = True
        elif in_traceback and line and not line[0].isspace():
            in_traceback = False
            if _EXCEPTION.match(line):
                reason = line.strip()[:200]
    return reason


def explain_glibc_gap(wheels: Sequence[BundledWheel], target: Target, glibc: tuple[int, int] | None) -> str | None:
    """Return why this machine's C library cannot run the wheels, None where it can."""
    needed = max((wheel.needed_glibc for wheel in wheels if wheel.fits(target)), default=(0, 0))
    if needed <= (glibc or (0, 0)):
        return None
    here = f"has {glibc[0]}.{glibc[1]}" if glibc else "has another C library"
    return f"a wheel needs glibc {needed[0]}.{needed[1]}; this machine {here}"


def _redirected(message: str, context: Sequence[str]) -> Diagnosis:
    return Diagnosis(slug="configuration-redirects", message=message, context=tuple(context), hint=REBUILD)


def _requires_python(package: Package, plan: Plan) -> str | None:
    """Return the project's `requires-python`, where the branch looks at it at all."""
    return package.requires_python if plan.dependency_file == PYPROJECT else None

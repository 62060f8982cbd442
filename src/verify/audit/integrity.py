"""Whether the files are those that the lock, the requirements and the record say."""

from collections.abc import Iterator, Mapping
from typing import Final

from packaging.utils import canonicalize_name

from ...difypkg.diagnosis import Diagnosis
from ...difypkg.names import LOCK, REQUIREMENTS, WHEELS
from ...difypkg.record import RECORD
from ...difypkg.signature import VERIFICATION
from ...difypkg.target import Target
from ..finding import EVERY, SYNC, Branches, Finding
from ..finding import REQUIREMENTS as REQUIREMENTS_BRANCH
from ..package import Package
from .closure import Closure
from .wording import merge

_SHOWN: Final = 12


def find_changed_wheels(package: Package, closures: Mapping[Target, Closure]) -> Iterator[Finding]:
    """Yield the wheels that are not those whose hash is written down (`tampered-wheel`).

    `closures` are what requirements.txt takes, by target.
    """
    yield from merge([*_against_lock(package), *_against_requirements(package, closures), *_against_record(package)])


def _against_lock(package: Package) -> Iterator[Finding]:
    for file in package.lock.files if package.lock else ():
        there = package.digests.get(file.path or "")
        if there is not None and file.sha256 is not None and there != file.sha256:
            yield _tampered(file.path or "", LOCK, file.sha256, there, bites=SYNC)


def _against_requirements(package: Package, closures: Mapping[Target, Closure]) -> Iterator[Finding]:
    for closure in closures.values():
        for name, wheel in closure.picked.items():
            allowed = package.requirements.hashes.get(name) if package.requirements else None
            if allowed is not None and wheel.sha256 not in allowed:
                yield _tampered(wheel.path, REQUIREMENTS, min(allowed), wheel.sha256, bites=REQUIREMENTS_BRANCH)


def _against_record(package: Package) -> Iterator[Finding]:
    for file in package.record.files if package.record else ():
        there = package.digests.get(file.path)
        if file.path.endswith(".whl") and there is not None and there != file.sha256:
            yield _tampered(file.path, RECORD, file.sha256, there, bites=EVERY)


def _tampered(path: str, file: str, expected: str, there: str, *, bites: Branches) -> Finding:
    message = f"{path}: {file} says sha256 {expected}, the file has {there}"
    return Finding(diagnosis=Diagnosis(slug="tampered-wheel", message=message), bites=bites, subject=path)


def list_unhashed(package: Package) -> tuple[str, ...]:
    """Return what is asked for without a hash, a line each: a changed wheel would go unnoticed."""
    files = package.lock.files if package.lock else ()
    lines = [f"{LOCK}: {file.path}" for file in files if file.path is not None and file.sha256 is None]
    if package.requirements is not None:
        names = dict.fromkeys(canonicalize_name(each.name) for each in package.requirements.requires)
        lines += [f"{REQUIREMENTS}: {name}" for name in names if name not in package.requirements.hashes]
    return tuple(lines)


def find_changed_files(package: Package) -> Iterator[Finding]:
    """Yield what was changed, added or removed since difyoff made the package (`package-altered`).

    Wheels that were changed are found by `find_changed_wheels`; what signing adds is not a change.
    """
    if package.record is None:
        return
    recorded = {file.path: file.sha256 for file in package.record.files}
    lines = [f"{path} is gone" for path in recorded if path not in package.digests and not path.endswith(".whl")]
    lines += [
        f"{path} was {'changed' if path in recorded else 'added'}"
        for path, digest in package.digests.items()
        if recorded.get(path) != digest
        and path not in (RECORD, VERIFICATION)
        and not (path in recorded and path.endswith(".whl"))
    ]
    lines += _list_wrong_wheels(package)
    if lines:
        yield Finding(
            diagnosis=Diagnosis(
                slug="package-altered",
                message=f"the package is not as difyoff made it: {lines[0]}"
                + (f", and {len(lines) - 1} more" if len(lines) > 1 else ""),
                context=tuple(lines[:_SHOWN]),
                note="The daemon would not notice.",
                hint="Change the original plugin and build it again with `difyoff build`; if nobody did, find out who.",
            )
        )


def _list_wrong_wheels(package: Package) -> Iterator[str]:
    """Yield what the record says of the wheels and is not so, where its own list of files does not say it."""
    if package.record is None:
        return
    listed = {file.path: file.sha256 for file in package.record.files}
    by_name = {path.removeprefix(f"{WHEELS}/"): path for path in package.digests if path.startswith(f"{WHEELS}/")}
    for wheel in package.record.wheels:
        path = by_name.pop(wheel.filename, None)
        if path is None:
            if f"{WHEELS}/{wheel.filename}" not in listed:  # else it is missing, which is a finding of its own
                yield f"{wheel.filename} is gone, which the record lists as a wheel"
        elif (digest := package.digests[path]) == listed.get(path) and (  # else it is tampered with
            (digest, package.sizes[path]) != (wheel.sha256, wheel.size)
        ):
            yield f"{path} is not the wheel that the record lists"
    yield from (f"{path} is not among the wheels of the record" for path in by_name.values() if path in listed)

"""What a check finds, and which of the daemon's install branches it bites."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from ...difypkg.daemons import Branch, Settings, plan_branch, releases
from ...difypkg.diagnosis import Diagnosis

Branches: TypeAlias = frozenset[Branch | None]
"""Ways a daemon installs; None is that of a release which finds no file to install from."""

REQUIREMENTS: Final[Branches] = frozenset({"requirements"})
RESOLVING: Final[Branches] = frozenset({"sync", "sync-offline"})
"""uv holds the lock against pyproject.toml, and resolves anew where they differ."""
FROZEN: Final[Branches] = frozenset({"sync-frozen"})
"""uv takes the lock as it is."""
SYNC: Final = RESOLVING | FROZEN
EVERY: Final[Branches] = REQUIREMENTS | SYNC | {None}
NOTHING: Final[Branches] = frozenset()
"""No branch: worth telling, and no more."""

_MIRROR: Final = Settings(mirror="mirror")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong; it stops an install on the branches that it `bites`."""

    diagnosis: Diagnosis
    bites: Branches = EVERY


def met(files: Iterable[str]) -> Branches:
    """Return the branches that a package with these files meets on some release, with a mirror or without."""
    present = frozenset(files)
    return frozenset(
        plan_branch(release, settings, present) for release in releases() for settings in (Settings(), _MIRROR)
    )


def telling_where(fault: Fault, files: Collection[str]) -> Fault:
    """Return the fault with the releases that it bites as a last line of its context, unless it bites all."""
    everywhere = met(files)
    if not fault.bites & everywhere or everywhere <= fault.bites:
        return fault
    line = f"bites {_releases(fault.bites, frozenset(files))}"
    return replace(fault, diagnosis=replace(fault.diagnosis, context=(*fault.diagnosis.context, line)))


def _releases(bites: Branches, files: frozenset[str]) -> str:
    plain = [plan_branch(release, Settings(), files) in bites for release in releases()]
    mirror = [plan_branch(release, _MIRROR, files) in bites for release in releases()]
    parts = [f"daemons {_ranges(plain)}"] if any(plain) else []
    if only := [with_one and not without for with_one, without in zip(mirror, plain, strict=True)]:
        parts += [f"with a mirror set {_ranges(only)}"] if any(only) else []
    return ", and ".join(parts)


def _ranges(chosen: list[bool]) -> str:
    """Name the releases chosen: `up to 0.5.2`, `0.5.3 to 0.5.4`, `from 0.6.3 on`."""
    known = releases()
    spans: list[tuple[int, int]] = []
    for index, is_chosen in enumerate(chosen):
        if not is_chosen:
            continue
        if spans and spans[-1][1] == index - 1:
            spans[-1] = spans[-1][0], index
        else:
            spans.append((index, index))
    names = []
    for first, last in spans:
        if last == len(known) - 1:
            names.append(f"from {known[first]} on")
        elif first == 0:
            names.append(f"up to {known[last]}")
        else:
            names.append(f"{known[first]} to {known[last]}" if last > first else str(known[first]))
    return " and ".join(names)

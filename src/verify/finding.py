"""What the reading of a package finds, and on which of the daemon's install branches it counts.

A *finding* is made of reading alone. The audit turns each into a failed *check* where it counts on a branch that was
asked for, and into a finding of the report elsewhere; both carry a *diagnosis*, which is what people read.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from ..difypkg.daemons import Branch, Settings, plan_branch, releases
from ..difypkg.diagnosis import Diagnosis

Branches: TypeAlias = frozenset[Branch | None]
"""Ways a daemon installs; None is that of a release which finds no file to install from."""

REQUIREMENTS: Final[Branches] = frozenset({"requirements"})
RESOLVING: Final[Branches] = frozenset({"sync", "sync-offline"})
"""uv holds the lock against pyproject.toml, and resolves again where they differ."""
FROZEN: Final[Branches] = frozenset({"sync-frozen"})
"""uv takes the lock as it is."""
SYNC: Final = RESOLVING | FROZEN
EVERY: Final[Branches] = REQUIREMENTS | SYNC | {None}
NOTHING: Final[Branches] = frozenset()
"""No branch: worth knowing, and no more."""

_MIRROR: Final = Settings(mirror="mirror")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong; it stops an install on the branches that it `bites`.

    `subject` is the distribution or the file that it is about, where it is about one: `wording.merge` makes one finding
    of many that differ in their subject only, and each one's message becomes a line of evidence.
    """

    diagnosis: Diagnosis
    bites: Branches = EVERY
    subject: str = ""

    @property
    def slug(self) -> str:
        """The diagnosis's name."""
        return self.diagnosis.slug


def find_branches(files: Iterable[str]) -> Branches:
    """Return the branches that a package with these files meets on some release, with a mirror or without."""
    present = frozenset(files)
    return frozenset(
        plan_branch(release, settings, present) for release in releases() for settings in (Settings(), _MIRROR)
    )


def name_releases(finding: Finding, files: Collection[str]) -> Finding:
    """Return the finding with the releases that it bites as a last line of its evidence, unless it bites all."""
    everywhere = find_branches(files)
    if not finding.bites & everywhere or everywhere <= finding.bites:
        return finding
    line = f"bites {_list_releases(finding.bites, frozenset(files))}"
    return replace(finding, diagnosis=replace(finding.diagnosis, context=(*finding.diagnosis.context, line)))


def _list_releases(bites: Branches, files: frozenset[str]) -> str:
    plain = [plan_branch(release, Settings(), files) in bites for release in releases()]
    mirror = [plan_branch(release, _MIRROR, files) in bites for release in releases()]
    parts = [f"daemons {_list_ranges(plain)}"] if any(plain) else []
    if only := [with_one and not without for with_one, without in zip(mirror, plain, strict=True)]:
        parts += [f"with a mirror set {_list_ranges(only)}"] if any(only) else []
    return ", and ".join(parts)


def _list_ranges(chosen: list[bool]) -> str:
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

"""What changed between two reports, and what of it is worse: the question of everyone who upgrades."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from packaging.version import InvalidVersion, Version

from ..verify.report import Inventory, VerificationReport
from .api import Document
from .entries import Entry, entries_of, findings_of

_NETWORK: Final = "network-at-start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing about a plugin (`author/name`) that changed: `old` and `new` in words; `worse` stops an upgrade."""

    plugin: str
    what: str
    old: str
    new: str
    worse: bool


def compare(old: Document, new: Document) -> tuple[Change, ...]:
    """Return what changed from one report to another, plugin by plugin.

    Worse are: a verdict that is no longer "verified", a plugin that is gone, rights that are claimed anew, a size that
    is over its limit now, a higher least Dify version, and a network that is wanted at the start now.
    """
    before, after = _by_plugin(old), _by_plugin(new)
    return tuple(change for name in sorted(before.keys() | after.keys()) for change in _changes(name, before, after))


def _by_plugin(document: Document) -> dict[str, Entry]:
    return {_plugin(entry): entry for entry in entries_of(document)}


def _plugin(entry: Entry) -> str:
    identity = entry.report.identity if entry.report else None
    return identity.partition(":")[0] if identity else entry.name


def _changes(name: str, before: Mapping[str, Entry], after: Mapping[str, Entry]) -> Iterator[Change]:
    old, new = before.get(name), after.get(name)
    if old is None or new is None:
        entry = new or old
        assert entry is not None
        gone = new is None
        old_words, new_words = (_version(entry), "gone") if gone else ("absent", _version(entry))
        bad = gone or new_words == "gone" or _is_unproved(entry)
        yield Change(plugin=name, what="plugin", old=old_words, new=new_words, worse=bad)
        return
    if _version(old) != _version(new):
        yield Change(plugin=name, what="version", old=_version(old), new=_version(new), worse=False)
    if old.verdict != new.verdict:
        worse = _is_unproved(new) and not _is_unproved(old)
        yield Change(plugin=name, what="verdict", old=old.verdict, new=new.verdict, worse=worse)
    wanted = (_wants_network(old), _wants_network(new))
    if wanted[0] != wanted[1]:
        words = {True: "wanted", False: "not wanted"}
        yield Change(plugin=name, what="network at start", old=words[wanted[0]], new=words[wanted[1]], worse=wanted[1])
    if old.report and new.report and old.report.inventory and new.report.inventory:
        yield from _inventory_changes(name, old.report.inventory, new.report.inventory)


def _is_unproved(entry: Entry) -> bool:
    return entry.report is None or entry.report.verdict != "passed"


def _version(entry: Entry) -> str:
    identity = entry.report.identity if entry.report else None
    return identity.partition(":")[2].partition("@")[0] if identity else "unknown"


def _wants_network(entry: Entry) -> bool:
    return any(finding.slug == _NETWORK for finding in findings_of(entry))


def _inventory_changes(name: str, old: Inventory, new: Inventory) -> Iterator[Change]:
    claimed, dropped = set(new.permissions) - set(old.permissions), set(old.permissions) - set(new.permissions)
    if claimed or dropped:
        yield Change(
            plugin=name,
            what="permissions",
            old=", ".join(old.permissions) or "none",
            new=", ".join(new.permissions) or "none",
            worse=bool(claimed),
        )
    if old.minimum_dify != new.minimum_dify:
        yield Change(
            plugin=name,
            what="least Dify version",
            old=old.minimum_dify or "any",
            new=new.minimum_dify or "any",
            worse=_is_higher(new.minimum_dify, old.minimum_dify),
        )
    sizes = {size.name: size for size in old.sizes}
    for size in new.sizes:
        known = sizes.get(size.name)
        if known is not None and known.size != size.size:
            over = size.size > size.limit and not known.size > known.limit
            words = (f"{known.size:,} bytes", f"{size.size:,} bytes" + (" (over the limit)" if over else ""))
            yield Change(plugin=name, what=f"size, {size.name}", old=words[0], new=words[1], worse=over)
    moved = _moved_wheels(old, new)
    if moved:
        yield Change(plugin=name, what="wheels", old=f"{len(old.wheels)}", new="; ".join(moved), worse=False)


def _moved_wheels(old: Inventory, new: Inventory) -> list[str]:
    before = {wheel.name: wheel.version for wheel in old.wheels}
    after = {wheel.name: wheel.version for wheel in new.wheels}
    return [
        f"{name} {before.get(name, 'absent')} -> {after.get(name, 'gone')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _is_higher(new: str | None, old: str | None) -> bool:
    try:
        return new is not None and (old is None or Version(new) > Version(old))
    except InvalidVersion:
        return new != old


def verdict_of(report: VerificationReport, release: str) -> str:
    """Return the gravest verdict of a report's scenarios on one daemon release, or `-` where there is none."""
    order = ("error", "failed", "not-verified", "passed")
    found = [scenario.verdict for scenario in report.scenarios if scenario.daemon == release]
    return min(found, key=order.index, default="-")

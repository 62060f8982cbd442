"""Which plugins of a set have moved on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..difypkg.diagnosis import Diagnosis
from ..sources import marketplace
from ..sources.source import Access
from ..sources.versions import sort_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far one plugin of a set is behind. `version` is the one that the set names, None for the latest.

    `state` is `not told` for what is not of the marketplace, or not there any more.
    """

    text: str
    state: Literal["current", "outdated", "not told"]
    plugin_id: str | None = None
    version: str | None = None
    latest: marketplace.Latest | None = None
    findings: tuple[Diagnosis, ...] = ()


def compare(plugins: Sequence[str], access: Access) -> tuple[Standing, ...]:
    """Compare the versions that a set names with the marketplace's latest, in one request."""
    named = {text: marketplace.read_reference(text, access.settings.marketplace) for text in plugins}
    wanted = sorted({each.plugin_id for each in named.values() if each is not None})
    latest = marketplace.latest_versions(wanted, access) if wanted else {}
    return tuple(_standing(text, named[text], latest, access.settings.dify) for text in plugins)


def _standing(
    text: str, named: marketplace.Reference | None, known: Mapping[str, marketplace.Latest], site: str | None
) -> Standing:
    latest = known.get(named.plugin_id) if named is not None else None
    if named is None or latest is None:
        return Standing(text=text, state="not told", plugin_id=named.plugin_id if named else None)
    findings = (
        marketplace.status_finding(named.plugin_id, latest.status, None, latest.alternative),
        marketplace.newer_dify(f"{named.plugin_id}:{latest.version}", latest.minimum_dify, site),
    )
    behind = named.exact and named.version is not None and sort_key(named.version) < sort_key(latest.version)
    replaced = latest.version == named.version and not latest.identifier.endswith(named.checksum or "")
    return Standing(
        text=text,
        state="outdated" if behind or replaced else "current",
        plugin_id=named.plugin_id,
        version=named.version,
        latest=latest,
        findings=tuple(finding for finding in findings if finding is not None),
    )

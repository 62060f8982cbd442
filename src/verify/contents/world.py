"""Where an install would happen: the markers that are true there, and the wheel tags that count."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from packaging.markers import Marker
from packaging.tags import Tag

from ...difypkg.target import Target

NO_EXTRA: Final = frozenset({""})


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where an install would happen: its markers and, where it is to happen, the `target` whose tags count."""

    environment: Mapping[str, str]
    target: Target | None = None

    def applies(self, marker: Marker | None, extras: Iterable[str] = NO_EXTRA) -> bool:
        """Say whether a marker is true here, for one of the extras."""
        return marker is None or any(marker.evaluate({**self.environment, "extra": extra}) for extra in extras)

    def is_within(self, markers: Sequence[Marker]) -> bool:
        """Say whether one of the markers is true here; none at all confines nothing."""
        return not markers or any(map(self.applies, markers))


def world_of(target: Target) -> World:
    """Return the world of a target."""
    return World(environment=cast("Mapping[str, str]", target.environment), target=target)


def explain_refused_tags(tags: Iterable[Tag], target: Target) -> str:
    """Return why the target takes none of these tags: `wrong-platform` if only that is wrong, or `wrong-python-tag`."""
    fits = {(tag.interpreter, tag.abi) for tag in target.tags}
    return "wrong-platform" if any((tag.interpreter, tag.abi) in fits for tag in tags) else "wrong-python-tag"

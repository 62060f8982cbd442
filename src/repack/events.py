"""What a build reports while it works; the command line shows it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..difypkg.diagnosis import Diagnosis
from ..difypkg.identity import Identity
from ..transfer.fetch import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginOpened:
    """A plugin was read: who it is, and what was found on the way."""

    identity: Identity
    findings: tuple[Diagnosis, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A part of the work that is finished, in words."""

    name: Literal["uv", "resolved", "fetched", "built", "edited", "packed"]
    text: str


Event = PluginOpened | Done | Progress | Diagnosis
"""A plugin read, a part done, progress of a fetch, or a finding as soon as it is known."""

Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing."""

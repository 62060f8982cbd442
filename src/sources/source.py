"""What every kind of source is and works with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..difypkg.diagnosis import Diagnosis, not_in_store
from ..difypkg.identity import Identity
from ..difypkg.place import PluginPlace
from ..transfer.client import Client
from .settings import SourceSettings
from .shelf import Shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How sources are reached: the client, what was fetched before, and where findings go.

    Where the client is offline, nothing is asked of the network. `on_fetch` is told the name of a plugin before its
    files are fetched.
    """

    settings: SourceSettings
    client: Client
    shelf: Shelf
    listen: Callable[[Diagnosis], None] = lambda finding: None
    on_fetch: Callable[[str], None] = lambda name: None

    @property
    def offline(self) -> bool:
        """Whether the network may not be used."""
        return self.client.offline

    def need_network(self, name: str) -> None:
        """Raise `not-in-store` where the network may not be used for what is called `name`."""
        if self.offline:
            raise not_in_store((name,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One plugin of a collection: what to locate it by, and the plugin's id (`author/name`) where that is known.

    `expected` is the identifier that the collection names it by, where `source` does not contain it.
    """

    source: str | PluginPlace
    plugin_id: str | None = None
    expected: str | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.source if isinstance(self.source, str) else self.source.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Several plugins under one name: an app, a bundle.

    `rewrite` returns the file that names them with the packages made of them, by plugin id, None where there is
    nothing of the kind.
    """

    name: str
    members: tuple[Member, ...]
    findings: tuple[Diagnosis, ...] = ()
    rewrite: Callable[[Mapping[str, Identity]], bytes] | None = field(default=None, repr=False)


class Source(Protocol):
    """A kind of place that plugins come from."""

    def claims(self, text: str, access: Access, /) -> bool:
        """Say whether a text is of this kind, from the text and the files of this machine alone."""

    def locate(self, text: str, access: Access, /) -> PluginPlace | Collection:
        """Bring what the text names onto this machine. Raises `DifyoffError`."""

"""The kinds of sources, and the one way in: whatever a user names becomes a plugin on this machine, or several."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.place import PluginPlace
from . import app, bundle, github, local, marketplace, web
from .source import Access, Collection, Member, Source

COLLECTIONS: Final[tuple[Source, ...]] = (app, bundle)
"""The kinds that stand for several plugins; both are files of this machine."""

SOURCES: Final[tuple[Source, ...]] = (*COLLECTIONS, local, github, marketplace, web)
"""The first that claims a text has it: what exists on this machine wins over every name."""


def find_collection(text: str, access: Access) -> Collection | None:
    """Return the plugins that an app or a bundle names, None for what stands for one plugin."""
    for source in COLLECTIONS:
        if source.claims(text, access):
            found = source.locate(text, access)
            return found if isinstance(found, Collection) else None
    return None


def locate(text: str, access: Access, sources: Sequence[Source] = SOURCES) -> PluginPlace | Collection:
    """Bring what a text names onto this machine. Raises `DifyoffError`, `file-not-found` for what nobody claims."""
    for source in sources:
        if source.claims(text, access):
            return source.locate(text, access)
    raise DifyoffError(
        Diagnosis(
            slug="file-not-found",
            message=f"{text} does not exist",
            hint="Name a .difypkg, a plugin folder, author/name[:version], github:owner/repo, a URL or an app.",
        )
    )


def locate_member(member: Member, access: Access, sources: Sequence[Source] = SOURCES) -> PluginPlace:
    """Bring one plugin of a collection onto this machine; report where it is not the one that was meant."""
    if isinstance(member.source, PluginPlace):
        return member.source
    place = locate(member.source, access, sources)
    if isinstance(place, Collection):
        raise DifyoffError(Diagnosis(slug="not-a-plugin", message=f"{member.name} is a collection within a collection"))
    found = place.origin.identifier if place.origin is not None else None
    if member.expected is not None and found is not None and found != member.expected:
        access.listen(
            Diagnosis(
                slug="other-package-of-version",
                message=f"{place.name} is not the very package that the app was made with: its checksum differs",
                context=(f"app      {member.expected}", f"fetched  {found}"),
                note="The app's was uploaded as a file; the marketplace has its own package of that version.",
                hint="Check that the app works with it, or build from the file that was uploaded.",
            )
        )
    return place


def plugin_key(text: str, access: Access) -> str:
    """Return a name for what a text stands for that stays when its version moves: `author/name`, a repository."""
    if (named := marketplace.read_reference(text, access.settings.marketplace)) is not None:
        return named.plugin_id
    if (found := github.read_reference(text, access.settings.github_server)) is not None:
        return str(replace(found, ref=None, asset=None)) if not found.split else text
    return text

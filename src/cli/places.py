"""What commands take as PLUGIN, brought onto this machine by `difyoff.sources`."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from .. import __version__
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.files import output_errors, temporary_name
from ..difypkg.identity import IDENTIFIER_PATTERN, Identity
from ..render.documents import BuildResult
from ..repack.options import Options
from ..sandbox.cache import use_cache
from ..sources.settings import read_source_settings
from ..sources.shelf import Shelf
from ..sources.source import Access, Collection, Member
from ..sources.table import find_collection
from ..sources.versions import sort_key
from ..transfer.client import Client
from .console import say, show_error, show_finding, show_stage

offline_option = click.option(
    "--offline", is_flag=True, help="Take everything from the cache, and list what it does not have."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One plugin that was asked for, by itself or as a member of a collection."""

    member: Member
    collection: Collection | None = None

    @property
    def name(self) -> str:
        """What results call it."""
        return self.member.name


class Told:
    """Keeps the findings of sources for the result that they belong to; shows them, and errors, where it is `loud`."""

    def __init__(self, *, loud: bool = True) -> None:
        self.loud = loud
        self._findings: list[Diagnosis] = []

    def __call__(self, finding: Diagnosis) -> None:
        """Keep a finding, and show it."""
        self._findings.append(finding)
        if self.loud:
            show_finding(finding)

    def error(self, diagnosis: Diagnosis) -> None:
        """Show what stopped the work on a plugin."""
        if self.loud:
            show_error(diagnosis)

    def take(self) -> tuple[Diagnosis, ...]:
        """Return what was told since the last time."""
        taken = tuple(self._findings)
        self._findings.clear()
        return taken


@contextmanager
def open_access(
    cache: Path, *, dify: Sequence[str], offline: bool, listen: Callable[[Diagnosis], None], quiet: bool = False
) -> Iterator[Access]:
    """Yield the way to the sources; of several versions of Dify the oldest decides what is the latest plugin."""
    client = Client(version=__version__, offline=offline)
    try:
        with use_cache(cache.expanduser().absolute()):
            yield Access(
                settings=read_source_settings(os.environ, dify=min(dify, key=sort_key, default=None)),
                client=client,
                shelf=Shelf(cache.expanduser().absolute()),
                listen=listen,
                on_fetch=lambda name: None if quiet else show_stage("fetching", name),
            )
    finally:
        client.close()


def expand(text: str, access: Access) -> tuple[Wish, ...]:
    """Return the plugins that a text stands for, not located yet. Raises `DifyoffError`."""
    collection = find_collection(text, access)
    if collection is None:
        return (Wish(member=Member(source=text)),)
    for finding in collection.findings:
        access.listen(finding)
    return tuple(Wish(member=member, collection=collection) for member in collection.members)


def write_copy(made: Sequence[tuple[Wish, BuildResult]], options: Options) -> Path | None:
    """Write the copy of an app that names the packages that were made of its plugins; return its path.

    None for what is not an app, and where a plugin could not be built: such a copy would name what is not there. Raises
    `DifyoffError`: `not-an-app`, `output-exists`, `output-not-writable`.
    """
    collection = made[0][0].collection if made else None
    if collection is None or collection.rewrite is None:
        return None
    if len(made) < len(collection.members):
        say(f"{collection.name} is not copied: only a part of its plugins is built here")
        return None
    failed = [wish.name for wish, result in made if result.package is None]
    if failed:
        say(f"{collection.name} is not copied: {len(failed)} of its {len(made)} plugins were not built")
        return None
    built: dict[str, Identity] = {}
    for wish, result in made:
        assert result.package is not None
        match = IDENTIFIER_PATTERN.fullmatch(result.package.identity)
        assert match is not None
        identity = Identity(**match.groupdict())
        built[wish.member.plugin_id or f"{identity.author}/{identity.name}"] = identity
    content = collection.rewrite(built)
    source = Path(collection.name)
    path = options.output / f"{source.stem}{options.suffix or '-offline'}{source.suffix}"
    if path.exists() and path.read_bytes() != content and not options.force:
        raise DifyoffError(
            Diagnosis(
                slug="output-exists",
                message=f"{path} exists and differs",
                hint="Use --force to replace it, or another folder with -o.",
            )
        )
    with temporary_name(path) as temporary, output_errors(path):
        temporary.write_bytes(content)
        temporary.replace(path)
    show_stage("app", f"{path.name} names the {len(built)} packages: import it in place of {source.name}")
    return path

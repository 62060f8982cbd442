"""`difyoff fetch`: bring plugins onto this machine as they are."""

import hashlib
import shutil
from pathlib import Path
from typing import Literal

import click

from ...difypkg.archive import Archive
from ...difypkg.diagnosis import Diagnosis, DifyoffError, Exit, worst
from ...difypkg.files import output_errors, temporary_name
from ...difypkg.identity import Identity, identify
from ...difypkg.manifest import MANIFEST, read_manifest
from ...difypkg.place import PluginPlace
from ...render.documents import FetchDocument, FetchResult
from ...sources.shelf import tree_digests
from ...sources.source import Access
from ...sources.table import locate_member
from ..console import put, say, show_error
from ..options import common, site_options
from ..places import Told, Wish, expand, offline_option, open_access
from ..reports import check_reports, emit
from ..site import Site

_State = Literal["written", "up to date"]


@click.command("fetch")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-o",
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="the current folder",
    help="Where the plugins are written.",
)
@offline_option
@click.option("--force", is_flag=True, help="Replace an existing file that differs.")
@site_options("dify", "cache-dir")
@common
def command(
    sources: tuple[str, ...],
    output_dir: Path,
    offline: bool,
    force: bool,
    site: Site,
    as_json: bool,
    reports: tuple[Path, ...],
    quiet: bool,
) -> int:
    """Fetch each SOURCE as it is: a package keeps every byte, a source folder every file.

    SOURCE is author/name[:version] of the marketplace, github:owner/repo[@tag][/asset], github:owner/repo@ref//folder,
    a URL, or an exported app, whose plugins are all fetched. What was fetched once is taken from the cache.
    """
    check_reports(reports, (Path(source) for source in sources))
    told = Told()
    results: list[FetchResult] = []
    with open_access(site.cache, dify=site.dify, offline=offline, listen=told, quiet=quiet) as access:
        for source in sources:
            for result in _fetch(source, access, told, output_dir, force=force):
                results.append(result)
                if result.path and not quiet:
                    say(f"{result.status}  {result.identity}")
                if result.path and not as_json:
                    put(result.path)
    code = worst(Exit(result.exit_code) for result in results)
    emit(FetchDocument(results=tuple(results), exit_code=code), as_json=as_json, reports=reports)
    return code


def _fetch(source: str, access: Access, told: Told, output: Path, *, force: bool) -> list[FetchResult]:
    try:
        wishes = expand(source, access)
    except DifyoffError as error:
        return [_failed(source, error, told)]
    return [_fetch_one(wish, access, told, output, force=force) for wish in wishes]


def _fetch_one(wish: Wish, access: Access, told: Told, output: Path, *, force: bool) -> FetchResult:
    try:
        place = locate_member(wish.member, access)
        identity, sha256 = _read(place)
        path = output / f"{identity.author}-{identity.name}_{identity.version}{'' if sha256 is None else '.difypkg'}"
        state = _copy(place.path, path, force=force)
    except DifyoffError as error:
        return _failed(wish.name, error, told)
    return FetchResult(
        input=wish.name,
        status=state,
        exit_code=Exit.DONE,
        path=str(path),
        sha256=sha256,
        identity=str(identity),
        origin=place.origin,
        findings=told.take(),
    )


def _failed(name: str, error: DifyoffError, told: Told) -> FetchResult:
    show_error(error.diagnosis)
    return FetchResult(
        input=name, status="failed", exit_code=error.exit_code, findings=told.take(), diagnosis=error.diagnosis
    )


def _read(place: PluginPlace) -> tuple[Identity, str | None]:
    """Return who a plugin is, and the SHA-256 of a package."""
    if place.path.is_dir():
        manifest = place.path / MANIFEST
        if not manifest.is_file():
            raise _not_a_plugin(place)
        return identify(read_manifest(manifest.read_bytes()), tree_digests(place.path)), None
    with Archive(place.path) as archive:
        if MANIFEST not in archive:
            raise _not_a_plugin(place)
        identity = identify(read_manifest(archive.read(MANIFEST)), archive.digests())
    with place.path.open("rb") as stream:
        return identity, hashlib.file_digest(stream, "sha256").hexdigest()


def _not_a_plugin(place: PluginPlace) -> DifyoffError:
    return DifyoffError(Diagnosis(slug="not-a-plugin", message=f"{place.name} does not have a {MANIFEST} at its root"))


def _copy(source: Path, path: Path, *, force: bool) -> _State:
    """Copy a file or a folder under its final name, whole or not at all."""
    if path.exists():
        if _same(source, path):
            return "up to date"
        if not force:
            raise DifyoffError(
                Diagnosis(
                    slug="output-exists",
                    message=f"{path} exists and differs",
                    hint="Use --force to replace it, or another folder with -o.",
                )
            )
    with temporary_name(path) as temporary, output_errors(path):
        if source.is_dir():
            temporary.unlink()
            try:
                shutil.copytree(source, temporary)
                if path.exists():
                    shutil.rmtree(path)
                temporary.rename(path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        else:
            shutil.copyfile(source, temporary)
            temporary.replace(path)
    return "written"


def _same(one: Path, other: Path) -> bool:
    if one.is_dir() != other.is_dir():
        return False
    if one.is_dir():
        return tree_digests(one) == tree_digests(other)
    with one.open("rb") as first, other.open("rb") as second:
        return hashlib.file_digest(first, "sha256").digest() == hashlib.file_digest(second, "sha256").digest()

"""A package or a source archive behind any `https://` URL; `#subdirectory=FOLDER` names a folder of an archive."""

import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import parse_qs, unquote, urldefrag, urlsplit

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.manifest import MANIFEST
from ..difypkg.place import FetchedFrom, PluginPlace
from ..difypkg.redaction import public_url
from ..transfer.receive import Remote
from .answers import MissingError, NotModifiedError, refuse
from .download import PACKAGE_LIMIT, download
from .marketplace import unchecked
from .shelf import Kept
from .source import Access
from .trees import BROKEN, choose_folder, has_top, keep_folder, tar_entries, zip_entries

_GZIP: Final = b"\x1f\x8b"


def claims(text: str, access: Access) -> bool:
    """Say whether a text is a URL."""
    return text.lower().startswith(("http://", "https://"))


def locate(text: str, access: Access) -> PluginPlace:
    """Fetch what is behind the URL, unless the server says that it is what was fetched before."""
    url, fragment = urldefrag(text)
    folder = parse_qs(fragment).get("subdirectory", [""])[0].strip("/")
    name = public_url(url)
    file = _file(url, access)
    return access.shelf.place(
        kept_plugin(file, folder, name, access), f"{name}#subdirectory={folder}" if folder else name
    )


def _file(url: str, access: Access) -> Kept:
    name = public_url(url)
    key = f"url {_without_user(url)}"
    before = access.shelf.recall(key)
    if before is not None and access.offline:
        return before
    conditional = {"If-None-Match": before.validator} if before is not None and before.validator else {}
    remote = Remote(url=url, name=name, limit=PACKAGE_LIMIT, checkable=False, headers=conditional, refuse=refuse)
    try:
        sha256, headers = download(access, remote, key=None)
    except NotModifiedError:
        assert before is not None
        return before
    except MissingError as error:
        raise DifyoffError(
            Diagnosis(
                slug="url-not-found",
                message=f"the server does not have {name}: {error}",
                hint="Check the URL in a browser on this machine.",
            )
        ) from error
    kept = Kept(
        kind="file",
        digest=sha256,
        filename=PurePosixPath(unquote(urlsplit(url).path)).name or "plugin.difypkg",
        origin=FetchedFrom(kind="url", url=name, sha256=sha256),
        validator=headers.get("ETag", ""),
    )
    access.shelf.remember(key, kept)
    access.listen(unchecked(name, "a URL says nothing of the file's content"))
    return kept


def kept_plugin(file: Kept, folder: str, name: str, access: Access) -> Kept:
    """Return a fetched file as the plugin it is, or the plugin's folder in it where it is a source archive."""
    path = access.shelf.files.path(file.digest)
    if not folder and _is_package(path):
        return file
    with access.shelf.new_tree() as target:
        try:
            with path.open("rb") as stream:
                gzipped = stream.read(2) == _GZIP
            if gzipped:
                with tarfile.open(path, "r:gz") as archive:
                    strip = has_top(archive.getnames())
                    tree = keep_folder(tar_entries(archive, strip=strip), PurePosixPath(folder), target, name)
            else:
                with zipfile.ZipFile(path) as zipped:
                    tree = keep_folder(zip_entries(zipped), PurePosixPath(folder), target, name)
        except BROKEN as error:
            raise _not_an_archive(name, path, error) from error
        if not (target / MANIFEST).is_file():
            base = urldefrag(name)[0]
            raise choose_folder(name, folder, tree.plugins, lambda each: f"{base}#subdirectory={each}")
        tell_left_out(tree.left_out, name, access)
        return access.shelf.keep_tree(target, PurePosixPath(folder).name or Path(file.filename).stem, file.origin)


def tell_left_out(left_out: list[str], name: str, access: Access) -> None:
    """Report the links of a source folder that lead out of it."""
    if left_out:
        access.listen(
            Diagnosis(
                slug="special-file-left-out",
                message=f"{left_out[0]} of {name} is left out: it is a link that leads out of the folder",
                context=tuple(left_out[:5]),
            )
        )


def _is_package(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return MANIFEST in archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return False


def _not_an_archive(name: str, path: Path, error: Exception) -> DifyoffError:
    with path.open("rb") as stream:
        head = stream.read(24)
    return DifyoffError(
        Diagnosis(
            slug="not-a-zip",
            message=f"{name} is neither a .difypkg nor a zip or tar.gz archive",
            context=(f"first bytes: {head!r}", str(error)),
            hint="Name the URL of the file itself, not of a page about it.",
        )
    )


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

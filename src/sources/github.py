"""GitHub, or an Enterprise server: a release's package, a source folder, or a package committed in the tree.

    github:owner/repo[@tag][/asset.difypkg]      a release (the latest one without a tag)
    github:owner/repo@ref//path                  a folder of the tree, or a .difypkg in it
    https://github.com/owner/repo/…              pages of releases, trees and files

All of the text behind `@` is a tag first: tags have slashes, and a leading `v` is often forgotten. Without a token,
files come from where browsers get them, which has no quota; the API (60 requests an hour) only says what there is.
"""

import gzip
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import quote, unquote, urlsplit

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.manifest import MANIFEST
from ..difypkg.place import FetchedFrom, PluginPlace
from ..difypkg.redaction import public_url
from ..transfer.errors import TransientError
from ..transfer.receive import Remote, retried
from ..transfer.store import CHUNK
from .answers import MissingError, refuse, unreachable
from .download import PACKAGE_LIMIT, ask, download
from .marketplace import unchecked
from .shelf import Kept
from .source import Access
from .trees import BROKEN, Tree, choose_folder, keep_folder, tar_entries
from .web import tell_left_out

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

PREFIX: Final = "github:"
_PACKAGE: Final = ".difypkg"
_RAW_HOST: Final = "raw.githubusercontent.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What is asked of GitHub: `ref` is a tag, branch or commit, `path` one of the tree, "" its top folder.

    With `split` the ref and the path are still together in `ref`, as in the URL of a tree or file, where nothing tells
    a slash of the one from a slash of the other.
    """

    owner: str
    repo: str
    ref: str | None = None
    asset: str | None = None
    path: str | None = None
    split: bool = False

    @property
    def repository(self) -> str:
        """`owner/repo`."""
        return f"{self.owner}/{self.repo}"

    def __str__(self) -> str:
        ref = f"@{self.ref}" if self.ref else ""
        tail = f"//{self.path}" if self.path is not None else f"/{self.asset}" if self.asset else ""
        return f"{PREFIX}{self.repository}{ref}{tail}"


def claims(text: str, access: Access) -> bool:
    """Say whether a text is of GitHub."""
    return text.startswith(PREFIX) or read_reference(text, access.settings.github_server) is not None


def read_reference(text: str, server: str) -> Reference | None:
    """Return what a text asks of GitHub, None where it is something else."""
    if text.startswith(PREFIX):
        return _read_name(text.removeprefix(PREFIX))
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https"):
        return None
    path = unquote(parts.path).strip("/")
    if parts.netloc.lower() == _RAW_HOST:
        owner, _, rest = path.partition("/")
        repo, _, rest = rest.partition("/")
        rest = rest.removeprefix("refs/heads/").removeprefix("refs/tags/")
        return Reference(owner=owner, repo=repo, ref=rest, split=True) if rest else None
    base = urlsplit(server)
    if parts.netloc.lower().removeprefix("www.") != base.netloc.lower():
        return None
    return _read_page(path.removeprefix(base.path.strip("/")).strip("/"))


def locate(text: str, access: Access) -> PluginPlace:
    """Bring what the text names onto this machine."""
    wanted = read_reference(text, access.settings.github_server)
    if wanted is None:
        raise DifyoffError(
            Diagnosis(
                slug="not-on-github",
                message=f"{text!r} does not name a repository",
                hint="Write github:owner/repo, github:owner/repo@tag/asset.difypkg or github:owner/repo@ref//folder.",
            )
        )
    key = _key(access, str(wanted))
    if access.offline:
        if (kept := access.shelf.recall(key)) is None:
            access.need_network(str(wanted))
        assert kept is not None
        return access.shelf.place(kept, str(wanted))
    kept, name = _find(wanted, access)
    access.shelf.remember(key, kept)
    return access.shelf.place(kept, name)


def _read_name(text: str) -> Reference | None:
    text, tree, path = text.partition("//")
    repository, _, ref = text.partition("@")
    owner, _, repo = repository.partition("/")
    if not ref and repo.endswith(_PACKAGE) and "/" in repo:  # github:owner/repo/asset.difypkg
        repo, _, asset = repo.partition("/")
        return Reference(owner=owner, repo=repo, asset=asset)
    if not owner or not repo or "/" in repo:
        return None
    return Reference(owner=owner, repo=repo, ref=ref or None, path=path.strip("/") if tree else None)


def _read_page(path: str) -> Reference | None:
    match path.split("/", 3):
        case [owner, repo] if owner and repo:
            return Reference(owner=owner, repo=repo.removesuffix(".git"))
        case [owner, repo, "releases"] | [owner, repo, "releases", "latest"]:
            return Reference(owner=owner, repo=repo)
        case [owner, repo, "releases", rest] if rest.startswith("latest/download/"):
            return Reference(owner=owner, repo=repo, asset=rest.removeprefix("latest/download/"))
        case [owner, repo, "releases", rest] if rest.startswith("tag/"):
            return Reference(owner=owner, repo=repo, ref=rest.removeprefix("tag/"))
        case [owner, repo, "releases", rest] if rest.startswith("download/") and rest.count("/") > 1:
            tag, _, asset = rest.removeprefix("download/").rpartition("/")
            return Reference(owner=owner, repo=repo, ref=tag, asset=asset)
        case [owner, repo, "tree" | "blob" | "raw", rest]:
            rest = rest.removeprefix("refs/heads/").removeprefix("refs/tags/")
            return Reference(owner=owner, repo=repo, ref=rest, split=True)
        case _:
            return None


def _find(wanted: Reference, access: Access) -> tuple[Kept, str]:
    if wanted.split:
        wanted, commit = _split(wanted, access)
        return _from_tree(wanted, commit, access)
    if wanted.path is not None:
        return _from_tree(wanted, _commit(wanted, access), access)
    release, wanted = _release(wanted, access)
    if release is not None and (asset := _asset(release, wanted)) is not None:
        named = replace(wanted, ref=str(release.get("tag_name")), asset=str(asset.get("name")))
        return _fetch_asset(named, asset, access), str(named)
    return _from_source(wanted, access)


def _key(access: Access, what: str) -> str:
    return f"github {access.settings.github_server} {what}"


def _api(access: Access, path: str, *, name: str) -> Any:
    return ask(access, f"{access.settings.github_api}/{path}", name=name, headers=_api_headers(access))


def _api_headers(access: Access, accept: str = "application/vnd.github+json") -> dict[str, str]:
    token = access.settings.github_token
    return {
        "Accept": accept,
        "X-GitHub-Api-Version": "2022-11-28",
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }


def _release(wanted: Reference, access: Access) -> tuple[Mapping[str, Any] | None, Reference]:
    """Return the release that is meant, None where there is none, and what is wanted of it."""
    repos = f"repos/{wanted.repository}/releases"
    if wanted.ref is None:
        try:
            return _api(access, f"{repos}/latest", name=str(wanted)), wanted
        except MissingError:
            return _first(access, repos, wanted), wanted
    tries = [wanted]
    tag, slash, asset = wanted.ref.rpartition("/")
    if slash and asset.endswith(_PACKAGE) and wanted.asset is None:
        tries.append(replace(wanted, ref=tag, asset=asset))
    for each in tries:
        for name in _spellings(str(each.ref)):
            try:
                return _api(access, f"{repos}/tags/{quote(name, safe='/')}", name=str(wanted)), each
            except MissingError:
                continue
    return None, tries[-1]


def _first(access: Access, repos: str, wanted: Reference) -> Mapping[str, Any] | None:
    """Return the newest release where none counts as the latest: all of them are for trial."""
    try:
        releases = _api(access, f"{repos}?per_page=100", name=str(wanted))
    except MissingError as error:
        raise _not_on_github(wanted, access, f"there is no repository {wanted.repository}", (), str(error)) from error
    return next((each for each in releases if not each.get("draft")), None) if isinstance(releases, list) else None


def _spellings(tag: str) -> Iterator[str]:
    yield tag
    head, slash, last = tag.rpartition("/")
    yield head + slash + (last[1:] if last.startswith("v") else f"v{last}")


def _asset(release: Mapping[str, Any], wanted: Reference) -> Mapping[str, Any] | None:
    """Return the release's package, None where it has none. Raises `choose-asset`."""
    assets = [each for each in release.get("assets") or () if isinstance(each, dict)]
    packages = [each for each in assets if str(each.get("name")).endswith(_PACKAGE)]
    named = [each for each in assets if each.get("name") == wanted.asset]
    if named or (wanted.asset is None and len(packages) <= 1):
        return next(iter(named or packages), None)
    if wanted.asset is None:
        stems = {str(each.get("name")).removesuffix(_PACKAGE): each for each in packages}
        if (same := stems.get(wanted.repo)) is not None:
            return same
    tag = release.get("tag_name")
    names = [str(each.get("name")) for each in packages]
    near = get_close_matches(wanted.asset or wanted.repo, names, n=len(names) or 1, cutoff=0.0)
    problem = f"does not have {wanted.asset}" if wanted.asset else f"has {len(names)} packages"
    raise DifyoffError(
        Diagnosis(
            slug="choose-asset",
            message=f"release {tag} of {wanted.repository} {problem}",
            context=tuple(str(replace(wanted, ref=str(tag), asset=name)) for name in near[:10]),
            hint=f"Name one of its packages, such as {replace(wanted, ref=str(tag), asset=near[0])}."
            if near
            else f"It has no package; name a folder of its source: {PREFIX}{wanted.repository}@{tag}//FOLDER.",
        )
    )


def _fetch_asset(named: Reference, asset: Mapping[str, Any], access: Access) -> Kept:
    digest = str(asset.get("digest") or "")
    sha256 = digest.removeprefix("sha256:") if digest.startswith("sha256:") else None
    size = asset.get("size")
    public = (
        f"{access.settings.github_server}/{named.repository}/releases/download/{quote(named.ref or '')}/{named.asset}"
    )
    state = f"{asset.get('id')} {asset.get('updated_at')} {size}"
    key = _key(access, f"{named} {sha256 or state}")
    if (kept := access.shelf.recall(key)) is not None:
        return kept
    if access.settings.github_token:
        url = f"{access.settings.github_api}/repos/{named.repository}/releases/assets/{asset.get('id')}"
        headers = _api_headers(access, "application/octet-stream")
    else:
        url, headers = str(asset.get("browser_download_url") or public), {}
    kept = _fetch_file(
        Remote(
            url=url,
            name=str(named),
            size=size if isinstance(size, int) else None,
            limit=PACKAGE_LIMIT,
            headers=headers,
            checkable=sha256 is not None,
            refuse=refuse,
        ),
        named,
        public,
        access,
        sha256=sha256,
    )
    if sha256 is None:
        access.listen(unchecked(str(named), "GitHub lists no digest of this file"))
    access.shelf.remember(key, kept)
    return kept


def _fetch_file(
    remote: Remote,
    named: Reference,
    public: str,
    access: Access,
    *,
    sha256: str | None = None,
    commit: str | None = None,
) -> Kept:
    try:
        found, _ = download(access, remote, key=f"sha256-{sha256}" if sha256 else None, sha256=sha256)
    except MissingError as error:
        raise _not_on_github(named, access, f"{named} is not there", (), str(error)) from error
    checked: Literal["digest"] | None = "digest" if sha256 else None
    origin = FetchedFrom(kind="github", url=public_url(public), sha256=found, commit=commit, checked=checked)
    return Kept(kind="file", digest=found, filename=PurePosixPath(named.asset or named.path or "").name, origin=origin)


def _split(wanted: Reference, access: Access) -> tuple[Reference, str]:
    """Part the ref from the path, the shortest ref that exists first; return the commit too."""
    parts = (wanted.ref or "").split("/")
    for count in range(1, len(parts) + 1):
        each = replace(wanted, ref="/".join(parts[:count]), path="/".join(parts[count:]), split=False)
        try:
            return each, _ask_commit(each, access)
        except MissingError:
            continue
    raise _no_ref(replace(wanted, split=False), access)


def _commit(wanted: Reference, access: Access) -> str:
    """Return the commit of a ref, of the default branch without one."""
    for ref in _spellings(wanted.ref) if wanted.ref else (None,):
        try:
            return _ask_commit(replace(wanted, ref=ref), access)
        except MissingError:
            continue
    raise _no_ref(wanted, access)


def _ask_commit(wanted: Reference, access: Access) -> str:
    ref = quote(wanted.ref or "HEAD", safe="/")
    answer = _api(access, f"repos/{wanted.repository}/commits/{ref}", name=str(wanted))
    if not isinstance(answer, dict) or not isinstance(answer.get("sha"), str):
        raise MissingError("the answer names no commit")
    return str(answer["sha"])


def _no_ref(wanted: Reference, access: Access) -> DifyoffError:
    try:
        listed = _api(access, f"repos/{wanted.repository}/tags?per_page=100", name=str(wanted))
    except MissingError as error:
        return _not_on_github(wanted, access, f"there is no repository {wanted.repository}", (), str(error))
    tags = [str(each.get("name")) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    near = get_close_matches(wanted.ref or "", tags, n=5, cutoff=0.0)
    what = f"{wanted.repository} has neither a release, a tag, a branch nor a commit {wanted.ref}"
    return _not_on_github(wanted, access, what, near, "")


def _not_on_github(wanted: Reference, access: Access, message: str, near: Sequence[str], said: str) -> DifyoffError:
    token = "with the token given" if access.settings.github_token else "without a token"
    return DifyoffError(
        Diagnosis(
            slug="not-on-github",
            message=message,
            context=(
                f"asked {access.settings.github_api} {token}{f': {said}' if said else ''}",
                *((f"nearest tags: {', '.join(near)}",) if near else ()),
            ),
            note="GitHub says so of a private repository, too, to whoever may not read it.",
            hint=f"Use {replace(wanted, ref=near[0], asset=None)}."
            if near
            else "Check the name; for a private repository set GITHUB_TOKEN to a token that may read it.",
        )
    )


def _from_tree(wanted: Reference, commit: str, access: Access) -> tuple[Kept, str]:
    """Return a folder or a committed package of the tree at a commit."""
    name = str(wanted)
    key = _key(access, str(replace(wanted, ref=commit)))
    if (kept := access.shelf.recall(key)) is not None:
        return kept, name
    path = wanted.path or ""
    server, repository = access.settings.github_server, wanted.repository
    if path.endswith(_PACKAGE):
        public = f"{server}/{repository}/raw/{commit}/{quote(path)}"
        if access.settings.github_token:
            url = f"{access.settings.github_api}/repos/{repository}/contents/{quote(path)}?ref={commit}"
            headers = _api_headers(access, "application/vnd.github.raw+json")
        else:
            url, headers = public, {}
        remote = Remote(url=url, name=name, limit=PACKAGE_LIMIT, headers=headers, checkable=False, refuse=refuse)
        kept = _fetch_file(remote, wanted, public, access, commit=commit)
    else:
        kept = _fetch_folder(wanted, commit, access)
    access.shelf.remember(key, kept)
    return kept, name


def _fetch_folder(wanted: Reference, commit: str, access: Access) -> Kept:
    """Keep one folder of the repository's archive, which goes by as a stream."""
    name, server = str(wanted), access.settings.github_server
    if access.settings.github_token:
        url = f"{access.settings.github_api}/repos/{wanted.repository}/tarball/{commit}"
        headers = _api_headers(access)
    else:
        url, headers = f"{server}/{wanted.repository}/archive/{commit}.tar.gz", {}
    folder = PurePosixPath(wanted.path or "")
    origin = FetchedFrom(
        kind="github",
        url=public_url(f"{server}/{wanted.repository}/tree/{commit}{f'/{wanted.path}' if wanted.path else ''}"),
        commit=commit,
    )

    def once() -> Kept:
        with (
            access.shelf.new_tree() as target,
            access.client.open(url, headers=headers, refuse=refuse) as response,
        ):
            try:
                tree = _unpack(response, folder, target, name)
            except BROKEN as error:
                raise TransientError(f"the archive is cut off or damaged: {error}") from error
            if not (target / MANIFEST).is_file():
                raise choose_folder(
                    f"{PREFIX}{wanted.repository}@{wanted.ref or commit[:12]}",
                    wanted.path or "",
                    tree.plugins,
                    lambda each: str(replace(wanted, ref=wanted.ref or commit[:12], path=each)),
                )
            tell_left_out(tree.left_out, name, access)
            return access.shelf.keep_tree(target, folder.name or wanted.repo, origin)

    access.need_network(name)
    access.on_fetch(name)
    try:
        return retried(once, gave_up=lambda tries, error: unreachable(name, url, tries, error))
    except MissingError as error:
        raise _not_on_github(wanted, access, f"{name} cannot be downloaded", (), str(error)) from error


def _unpack(response: "BaseHTTPResponse", folder: PurePosixPath, target: Path, name: str) -> Tree:
    # Not tarfile's own gzip: that one takes a stream that was cut off between two files for a whole one.
    with gzip.GzipFile(fileobj=cast("IO[bytes]", response)) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            tree = keep_folder(tar_entries(archive), folder, target, name)
        while stream.read(CHUNK):
            pass  # to the checksum at its end
    return tree


def _from_source(wanted: Reference, access: Access) -> tuple[Kept, str]:
    """Find the plugin in the tree where no release has a package."""
    commit = _commit(wanted, access)
    try:
        listed = _api(access, f"repos/{wanted.repository}/git/trees/{commit}?recursive=1", name=str(wanted))
    except MissingError as error:
        raise _not_on_github(wanted, access, f"the tree of {wanted} is not there", (), str(error)) from error
    paths = [str(each.get("path")) for each in listed.get("tree") or () if isinstance(each, dict)]
    packages = [path for path in paths if path.endswith(_PACKAGE)]
    if wanted.asset is not None:
        packages = [path for path in packages if PurePosixPath(path).name == wanted.asset]
    elif MANIFEST in paths:
        return _from_tree(replace(wanted, path=""), commit, access)
    if len(packages) == 1:
        return _from_tree(replace(wanted, path=packages[0], asset=None), commit, access)
    folders = [str(PurePosixPath(path).parent) for path in paths if PurePosixPath(path).name == MANIFEST]
    raise choose_folder(
        f"{PREFIX}{wanted.repository}{f'@{wanted.ref}' if wanted.ref else ''}, which has no release with a package,",
        "",
        packages + folders,
        lambda each: str(replace(wanted, ref=wanted.ref or commit[:12], path=each, asset=None)),
    )

"""Dify's marketplace, or a private one in its place: `author/name[:version[@checksum]]`, and pages of its site.

Answers as recorded in August 2026. A successful one is `{code: 0, data, msg}`, that of private servers may lack code
and msg. What is called a checksum is the daemon's own over the package's files; a private server was seen to put the
file's SHA-256 there.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from ..difypkg.archive import Archive
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.identity import checksum
from ..difypkg.place import FetchedFrom, PluginPlace
from ..difypkg.redaction import public_url
from ..transfer.receive import Remote
from .answers import MissingError, refuse, unexpected
from .download import PACKAGE_LIMIT, ask, download
from .shelf import Kept
from .source import Access
from .versions import PATTERN, fits, nearest, newest, sort_key

PREFIX: Final = "marketplace:"
_NAME: Final = re.compile(
    rf"(?P<author>[a-z0-9_-]{{1,64}})/(?P<name>[a-z0-9_-]{{1,255}})"
    rf"(?::(?P<version>{PATTERN.pattern})(?:@(?P<checksum>[0-9a-f]{{32,64}}))?)?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What is asked of a marketplace: `version` may be a pattern, and None is the latest."""

    author: str
    name: str
    version: str | None = None
    checksum: str | None = None

    @property
    def plugin_id(self) -> str:
        """`author/name`."""
        return f"{self.author}/{self.name}"

    @property
    def exact(self) -> bool:
        """Whether it names one version."""
        return bool(self.version and (match := PATTERN.fullmatch(self.version)) and match["exact"])

    def __str__(self) -> str:
        version = f":{self.version}" if self.version else ""
        return f"{self.plugin_id}{version}{f'@{self.checksum}' if self.checksum else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A plugin that a search found: `installs` as the marketplace counts them."""

    plugin_id: str
    version: str
    installs: int
    brief: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """What a marketplace has of a plugin now; `minimum_dify` is what its latest version asks for."""

    version: str
    identifier: str
    status: str
    alternative: str | None
    minimum_dify: str | None


def read_reference(text: str, marketplace: str) -> Reference | None:
    """Return what a text asks of the marketplace, None where it is something else.

    It is a name, a percent-encoded identifier, or the URL of a plugin's page or download at this marketplace.
    """
    if text.startswith(("http://", "https://")):
        return _read_url(text, marketplace)
    match = _NAME.fullmatch(unquote(text.removeprefix(PREFIX)))
    if match is None:
        return None
    return Reference(
        author=match["author"].lower(),
        name=match["name"].lower(),
        version=match["version"],
        checksum=match["checksum"] and match["checksum"].lower(),
    )


def claims(text: str, access: Access) -> bool:
    """Say whether a text names a plugin of the marketplace."""
    return text.startswith(PREFIX) or read_reference(text, access.settings.marketplace) is not None


def locate(text: str, access: Access) -> PluginPlace:
    """Bring the named plugin onto this machine."""
    wanted = read_reference(text, access.settings.marketplace)
    if wanted is None:  # said to be of the marketplace, and not so written
        raise DifyoffError(
            Diagnosis(
                slug="plugin-not-found",
                message=f"{text!r} is not a plugin's name",
                hint="Write author/name or author/name:version, such as langgenius/openai:1.0.4.",
            )
        )
    if wanted.checksum and (kept := access.shelf.recall(_key(access, str(wanted)))):
        return access.shelf.place(kept, str(wanted))
    if access.offline:
        return _remembered(wanted, access)
    if wanted.checksum:
        return access.shelf.place(_pinned(wanted, access), str(wanted))
    detail = _detail(wanted, access)
    _tell_status(wanted, detail, access)
    identifier = _choose(wanted, detail, access)
    found = read_reference(identifier, access.settings.marketplace) or wanted
    recalled = access.shelf.recall(_key(access, identifier)) if found.checksum else None
    kept = recalled or _fetch(identifier, found, access)
    access.shelf.remember(_key(access, str(wanted)), kept)
    access.shelf.remember(_key(access, found.plugin_id + (f":{found.version}" if found.version else "")), kept)
    return access.shelf.place(kept, f"{found.plugin_id}:{found.version}" if found.version else identifier)


def search(words: str, access: Access) -> tuple[tuple[Offer, ...], int]:
    """Return the plugins that the marketplace finds for some words, the most installed first, and how many it has."""
    body = {
        "page": 1,
        "page_size": 40,
        "query": words,
        "sort_by": "install_count",
        "sort_order": "DESC",
    }
    try:
        data = _ask(access, "plugins/search/advanced", name="the search", body=body)
    except MissingError as error:
        raise unexpected(access.settings.marketplace, f"it does not know the search ({error})", b"") from error
    plugins = [each for each in data.get("plugins") or () if isinstance(each, dict)]
    total = data.get("total")
    return tuple(map(_offer, plugins)), total if isinstance(total, int) else len(plugins)


def latest_versions(plugin_ids: Sequence[str], access: Access) -> Mapping[str, Latest]:
    """Return what is the latest of many plugins, in one request; a plugin that the marketplace lacks is left out."""
    try:
        data = _ask(access, "plugins/batch", name="the plugins of the set", body={"plugin_ids": list(plugin_ids)})
    except MissingError as error:
        raise unexpected(access.settings.marketplace, f"it does not know the request ({error})", b"") from error
    return {
        str(each.get("plugin_id")): Latest(
            version=str(each.get("latest_version") or ""),
            identifier=str(each.get("latest_package_identifier") or ""),
            status=str(each.get("status") or "active"),
            alternative=str(each.get("alternative_plugin_id") or "") or None,
            minimum_dify=_minimum(each),
        )
        for each in data.get("plugins") or ()
        if isinstance(each, dict)
    }


def _read_url(text: str, marketplace: str) -> Reference | None:
    parts, base = urlsplit(text), urlsplit(marketplace)
    if parts.netloc.rpartition("@")[2].lower() != base.netloc.rpartition("@")[2].lower():
        return None
    path = unquote(parts.path.removeprefix(base.path)).strip("/").split("/")
    match path:
        case ["api", "v1", "plugins", "download" | "download-url"]:
            named = parse_qs(parts.query).get("unique_identifier", [""])[0]
        case ["plugin" | "plugins", author, name] | ["api", "v1", "plugins", author, name]:
            named = f"{author}/{name}"
        case ["plugin" | "plugins", author, name, version] | [
            "api",
            "v1",
            "plugins",
            author,
            name,
            version,
            "download",
        ]:
            named = f"{author}/{name}:{version}"
        case _:
            return None
    return read_reference(named, marketplace) if "://" not in named else None


def _key(access: Access, what: str) -> str:
    return f"marketplace {public_url(access.settings.marketplace)} {what}"


def _remembered(wanted: Reference, access: Access) -> PluginPlace:
    kept = access.shelf.recall(_key(access, str(wanted)))
    if kept is None:
        access.need_network(str(wanted))
    assert kept is not None
    return access.shelf.place(kept, (kept.origin.identifier or str(wanted)).partition("@")[0])


def _ask(access: Access, path: str, *, name: str, body: object = None) -> Mapping[str, Any]:
    """Return the `data` of an answer. Raises `MissingError` and the errors of `download.ask`."""
    url = f"{access.settings.marketplace}/api/v1/{path}"
    answer = ask(access, url, name=name, headers={"X-Dify-Version": access.settings.dify_header}, body=body)
    if not isinstance(answer, dict):
        raise unexpected(url, "it is not an object", str(answer).encode())
    if answer.get("code", 0) != 0:
        raise MissingError(str(answer.get("msg")))
    data = answer.get("data", answer)
    if not isinstance(data, dict):
        raise unexpected(url, "its data are not an object", str(answer).encode())
    return data


def _detail(wanted: Reference, access: Access) -> Mapping[str, Any]:
    try:
        data = _ask(access, f"plugins/{wanted.plugin_id}", name=wanted.plugin_id)
    except MissingError as error:
        raise _not_found(wanted, access, str(error)) from error
    detail = data.get("plugin", data)
    return detail if isinstance(detail, dict) else {}


def _not_found(wanted: Reference, access: Access, said: str) -> DifyoffError:
    try:
        known = [offer.plugin_id for offer in search(wanted.name, access)[0]]
    except DifyoffError:
        known = []  # what was asked for is not there, whatever else is wrong
    by_name = {each.partition("/")[2]: each for each in reversed(known)}
    near = get_close_matches(wanted.plugin_id, known, n=5, cutoff=0.5)
    near += [by_name[name] for name in get_close_matches(wanted.name, by_name, n=5) if by_name[name] not in near]
    return DifyoffError(
        Diagnosis(
            slug="plugin-not-found",
            message=f"the marketplace does not have a plugin {wanted.plugin_id}",
            context=(f"{public_url(access.settings.marketplace)}: {said}", *(f"near: {each}" for each in near[:5])),
            note="There is no file or folder of that path here, either.",
            hint=f"Use {near[0]}, or look for it with `difyoff search {wanted.name}`."
            if near
            else f"Look for it with `difyoff search {wanted.name}`.",
        )
    )


def status_finding(plugin_id: str, status: str, reason: str | None, alternative: str | None) -> Diagnosis | None:
    """Return what a plugin's status on the marketplace means, None for one that is active."""
    if status == "active":
        return None
    return Diagnosis(
        slug="plugin-deleted" if status == "deleted" else "plugin-deprecated",
        message=f"{plugin_id} is {status} on the marketplace",
        context=(f"reason: {reason}",) if reason else (),
        hint=f"Use {alternative}, which the marketplace names in its place."
        if alternative
        else "Ask its author, or look for another plugin with `difyoff search`.",
    )


def newer_dify(plugin: str, minimum: str | None, site: str | None) -> Diagnosis | None:
    """Return the finding for a plugin that asks for a newer Dify than the site has, None where it does not."""
    if minimum is None or site is None or fits(minimum, site):
        return None
    return Diagnosis(
        slug="newer-dify-needed",
        message=f"{plugin} asks for Dify {minimum} or newer; the site has {site}",
        note="Dify installs it all the same and may fail when it is used.",
        hint="Choose an older version of the plugin, or upgrade Dify first.",
    )


def _tell_status(wanted: Reference, detail: Mapping[str, Any], access: Access) -> None:
    status = str(detail.get("status") or "active")
    finding = status_finding(
        wanted.plugin_id, status, detail.get("deprecated_reason"), detail.get("alternative_plugin_id")
    )
    if finding is not None and status == "deleted" and not wanted.exact:
        raise DifyoffError(finding)
    if finding is not None:
        access.listen(finding)


def _choose(wanted: Reference, detail: Mapping[str, Any], access: Access) -> str:
    """Return the identifier of the version to fetch."""
    if wanted.version is None:
        identifier = detail.get("latest_package_identifier")
        minimum = _minimum(detail)
        site = access.settings.dify
        if not isinstance(identifier, str):
            raise unexpected(access.settings.marketplace, f"{wanted.plugin_id} has no latest version", b"")
        if site is not None and (finding := newer_dify(identifier.partition("@")[0], minimum, site)) is not None:
            if (older := _latest_for(site, wanted, access)) is not None:
                return older
            access.listen(finding)
        return identifier
    if wanted.exact:
        return _exact(wanted, access)
    versions = _versions(wanted, access)
    found = newest((str(each.get("version")) for each in versions), wanted.version)
    if found is None:
        raise _version_not_found(wanted, access)
    return next(str(each.get("unique_identifier")) for each in versions if each.get("version") == found)


def _exact(wanted: Reference, access: Access) -> str:
    try:
        data = _ask(access, f"plugins/{wanted.plugin_id}/{wanted.version}", name=str(wanted))
    except MissingError as error:
        raise _version_not_found(wanted, access) from error
    version = data.get("version", data)
    identifier = version.get("unique_identifier") if isinstance(version, dict) else None
    if not isinstance(identifier, str) or not isinstance(version, dict):
        raise unexpected(access.settings.marketplace, f"{wanted} has no identifier", str(data).encode())
    finding = newer_dify(identifier.partition("@")[0], _minimum(version), access.settings.dify)
    if finding is not None:
        access.listen(finding)
    return identifier


def _versions(wanted: Reference, access: Access) -> Sequence[Mapping[str, Any]]:
    try:
        data = _ask(access, f"plugins/{wanted.plugin_id}/versions?page=1&page_size=100", name=wanted.plugin_id)
    except MissingError:
        return ()
    return [each for each in data.get("versions") or () if isinstance(each, dict)]


def _version_not_found(wanted: Reference, access: Access) -> DifyoffError:
    known = [str(each.get("version")) for each in _versions(wanted, access)]
    near = nearest(wanted.version or "", known)
    last = max(known, key=sort_key, default=None)
    return DifyoffError(
        Diagnosis(
            slug="version-not-found",
            message=f"the marketplace does not have version {wanted.version} of {wanted.plugin_id}",
            context=(f"nearest: {', '.join(near)}", f"latest: {last}") if known else (),
            hint=f"Use {wanted.plugin_id}:{near[0]}." if near else f"Use {wanted.plugin_id} for the latest version.",
        )
    )


def _latest_for(site: str, wanted: Reference, access: Access) -> str | None:
    """Return the identifier of the newest version that the site's Dify is new enough for."""
    fitting = {
        str(each.get("version")): str(each.get("unique_identifier"))
        for each in _versions(wanted, access)
        if (minimum := _minimum(each)) is None or fits(minimum, site)
    }
    return fitting[max(fitting, key=sort_key)] if fitting else None


def _minimum(data: Mapping[str, Any]) -> str | None:
    parts = [data.get(f"minimum_dify_version_{part}") for part in ("major", "minor", "patch")]
    numbers = [part for part in parts if isinstance(part, int)]
    return ".".join(map(str, numbers)) if len(numbers) == len(parts) and any(numbers) else None


def _pinned(wanted: Reference, access: Access) -> Kept:
    """Fetch by a whole identifier; where that fails, find out whether the version has another one by now."""
    try:
        return _fetch(str(wanted), wanted, access)
    except DifyoffError as error:
        if error.diagnosis.slug not in ("identifier-mismatch", "download-gone"):
            raise
        detail = _detail(wanted, access)
        if detail.get("status") == "deleted":
            _tell_status(Reference(author=wanted.author, name=wanted.name), detail, access)
        now = _exact(wanted, access)
        if now == str(wanted):
            raise
        raise DifyoffError(
            Diagnosis(
                slug="version-overwritten",
                message=f"{wanted.plugin_id}:{wanted.version} has been published again with other files",
                context=(f"wanted {wanted}", f"now    {now}"),
                note="The marketplace lets a published version be replaced, and does not keep the old files.",
                hint=f"Compare the two, then use {now}.",
            )
        ) from error


def _fetch(identifier: str, wanted: Reference, access: Access) -> Kept:
    """Download a package and check it against its identifier. Raises `download-gone` and the errors of `download`."""
    base = f"{access.settings.marketplace}/api/v1/plugins"
    name, _, expected = identifier.partition("@")
    version_url = f"{base}/{wanted.plugin_id}/{wanted.version}"
    remote = Remote(
        url=f"{base}/download?unique_identifier={quote(identifier, safe='')}"
        if expected
        else f"{version_url}/download",
        name=name,
        limit=PACKAGE_LIMIT,
        headers={"X-Dify-Version": access.settings.dify_header},
        checkable=bool(expected),
        refuse=refuse,
    )
    found = _Found()

    def judge(path: Path) -> Diagnosis | None:
        found.read(path)
        if not expected or expected in (found.checksum, found.sha256):
            return None
        return Diagnosis(
            slug="identifier-mismatch",
            message=f"{name} is not the package that its identifier names: its checksum differs",
            context=(public_url(remote.url), f"identifier {expected}", f"received   {found.checksum}"),
            hint="Try again; if it stays so, the marketplace or a proxy changes packages: ask who runs it.",
        )

    try:
        sha256, _ = download(access, remote, key=f"identifier-{expected}" if expected else None, judge=judge)
    except MissingError as error:
        raise DifyoffError(
            Diagnosis(
                slug="download-gone",
                message=f"the marketplace lists {name} and does not have its package",
                context=(f"{public_url(remote.url)}: {error}",),
                hint="Use another version, or ask who runs the marketplace.",
            )
        ) from error
    checked: Literal["checksum", "sha256"] | None = None
    if expected:
        checked = "checksum" if expected == found.checksum else "sha256"
    _tell_check(name, checked, access)
    origin = FetchedFrom(
        kind="marketplace", url=public_url(version_url), sha256=sha256, identifier=identifier, checked=checked
    )
    filename = f"{wanted.author}-{wanted.name}_{wanted.version}.difypkg"
    kept = Kept(kind="file", digest=sha256, filename=filename, origin=origin)
    access.shelf.remember(_key(access, identifier), kept)
    return kept


def _tell_check(name: str, checked: str | None, access: Access) -> None:
    if checked == "sha256":
        access.listen(
            Diagnosis(
                slug="checksum-of-file",
                message=f"{name}: the marketplace's identifier contains the file's SHA-256, which matches",
                note="Dify's own marketplace puts the checksum there that the daemon computes over the files.",
            )
        )
    elif checked is None:
        access.listen(unchecked(name, "the marketplace's identifier contains no checksum"))


class _Found:
    """What a package that has come is, by the daemon's checksum and by the file's SHA-256."""

    checksum = ""
    sha256 = ""

    def read(self, path: Path) -> None:
        with path.open("rb") as stream:
            self.sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        with Archive(path) as archive:
            self.checksum = checksum(archive.digests())


def unchecked(name: str, why: str) -> Diagnosis:
    """Return the finding for a download that could be compared with nothing."""
    return Diagnosis(
        slug="unchecked-download",
        message=f"{name} could not be checked: {why}",
        hint="Compare its SHA-256 with its author's before you rely on it.",
    )


def _offer(data: Mapping[str, Any]) -> Offer:
    installs, brief = data.get("install_count"), data.get("brief")
    text = (brief.get("en_US") or next(iter(brief.values()), "")) if isinstance(brief, dict) else ""
    return Offer(
        plugin_id=str(data.get("plugin_id") or f"{data.get('org')}/{data.get('name')}"),
        version=str(data.get("latest_version") or ""),
        installs=installs if isinstance(installs, int) else 0,
        brief=" ".join(str(text).split()),
        status=str(data.get("status") or "active"),
    )

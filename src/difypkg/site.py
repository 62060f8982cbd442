"""What a site must set before it takes this very package: names as Dify's `.env` has them, values, and why.

Imitates the upload checks of the daemon (`internal/server/controllers/plugins.go`,
`internal/service/plugin_decoder.go`, `pkg/plugin_packager/decoder/zip.go`, 0.0.4 to 0.6.10) and the names and defaults
of Dify's `docker/docker-compose.yaml`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from packaging.version import Version

from .daemons import Release
from .diagnosis import Diagnosis
from .sizes import MIB, human_size

# uv says nothing while it unpacks. 2 MiB of wheels a second is what a slow network volume still does.
_UNPACKED_PER_SECOND: Final = 2 * MIB
# The upload is a multipart form: headers and a boundary around the file.
_FORM_OVERHEAD: Final = 4096
_COMPOSE_HANDS_KEYS_ON: Final = Version("0.6.0")

Service = Literal["plugin_daemon", "api", "nginx"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSetting:
    """One variable of Dify's `.env`, the services that read it, and why it is needed.

    Where a site's compose file does not hand a variable on to a service, it goes into that service's `environment`.
    """

    name: str
    value: str
    where: tuple[Service, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeVerdict:
    """Whether a package passes a site's size limits; sizes and `limit` in bytes.

    `verdict` is `open` where what is known so far is within the limit and more is to come; `text` says it in words, and
    `settings` are those to raise.
    """

    verdict: Literal["under", "over", "open"]
    file_size: int
    unpacked_size: int
    limit: int
    text: str
    settings: tuple[SiteSetting, ...]


def site_settings(
    release: Release,
    *,
    author: str,
    file_size: int,
    unpacked_size: int,
    wheels_size: int,
    signed: bool,
    limit: int | None = None,
) -> tuple[SiteSetting, ...]:
    """Return what must be set before a package can be uploaded to a release and installed there.

    `file_size` is that of the package, `unpacked_size` the sum of its uncompressed entries, `wheels_size` that of the
    wheels in it, all in bytes; `signed` says that it was signed again, with a key of the site's own. `limit` is the
    site's own size limit, where it has raised it.
    """
    limit = limit or release.max_package_size
    return (
        *signature_settings(release, author=author, signed=signed),
        *_size_settings(
            release, file_size=file_size, unpacked_size=unpacked_size, limit=limit or release.max_package_size
        ),
        *_timeout_settings(release, wheels_size),
    )


def site_findings(release: Release, *, wheels_size: int) -> tuple[Diagnosis, ...]:
    """Return what no setting helps against: `install-may-time-out`, for much to unpack on daemons up to 0.4.1."""
    needed = wheels_size // _UNPACKED_PER_SECOND
    if not release.install_timer or needed <= release.install_timer:
        return ()
    return (
        Diagnosis(
            slug="install-may-time-out",
            message=f"daemon {release} gives an install {release.install_timer} s, and this one may take longer.",
            context=(f"{human_size(wheels_size)} of wheels, up to {needed} s on a slow disk",),
            note="The limit is a constant of daemons up to 0.4.1; past it the console shows success and no plugin.",
            hint="Install on a fast local disk, or upgrade the daemon to 0.5.0 or newer.",
        ),
    )


def size_verdict(
    release: Release, *, file_size: int, unpacked_size: int, limit: int | None = None, complete: bool = True
) -> SizeVerdict:
    """Return whether a package of these sizes passes `limit` bytes (the release's default if none is given).

    With `complete` false the sizes are lower bounds, because some are not known yet. Equal to the limit passes, as in
    the daemon.
    """
    limit = release.max_package_size if limit is None else limit
    largest = max(file_size, unpacked_size)
    at_least = "" if complete else "at least "
    size = f"{at_least}{human_size(file_size)} packed, {at_least}{human_size(unpacked_size)} unpacked"
    verdict: Literal["under", "over", "open"] = "over" if largest > limit else "under" if complete else "open"
    relation = {
        "over": f"{at_least}{human_size(largest - limit)} over the limit of {human_size(limit)}",
        "under": f"within the limit of {human_size(limit)}",
        "open": f"so far within the limit of {human_size(limit)}",
    }[verdict]
    return SizeVerdict(
        verdict=verdict,
        file_size=file_size,
        unpacked_size=unpacked_size,
        limit=limit,
        text=f"{size}: {relation}",
        settings=tuple(_size_settings(release, file_size=file_size, unpacked_size=unpacked_size, limit=limit)),
    )


def signature_settings(release: Release, *, author: str, signed: bool) -> tuple[SiteSetting, ...]:
    """Return what a site must set for the signature of a package: none, or `signed` by a key of the site's own."""
    return tuple(_signature_settings(release, author=author, signed=signed))


def _signature_settings(release: Release, *, author: str, signed: bool) -> Iterator[SiteSetting]:
    if signed and release.third_party_keys:
        # Dify's compose file hands these two on from 1.14.1 on, which ships daemon 0.6.0.
        by_hand = "; Dify before 1.14.1 does not hand it on: add it to `environment` of plugin_daemon"
        handed_on = release.version >= _COMPOSE_HANDS_KEYS_ON
        yield SiteSetting(
            name="THIRD_PARTY_SIGNATURE_VERIFICATION_ENABLED",
            value="true",
            where=("plugin_daemon",),
            reason=f"the package has a signature by your own key, not the official one{'' if handed_on else by_hand}",
        )
        yield SiteSetting(
            name="THIRD_PARTY_SIGNATURE_VERIFICATION_PUBLIC_KEYS",
            value="/app/storage/keys/YOUR_KEY.public.pem",
            where=("plugin_daemon",),
            reason="the public key, by its path inside the container; one unreadable path refuses every package"
            + ("" if handed_on else by_hand),
        )
    else:
        yield SiteSetting(
            name="FORCE_VERIFYING_SIGNATURE",
            value="false",
            where=("plugin_daemon",),
            reason="the package is changed, so its signature is gone"
            if not signed
            else f"daemon {release} knows no key but the official one",
        )
    if release.guards_langgenius and author.lower() == "langgenius":
        yield SiteSetting(
            name="ENFORCE_LANGGENIUS_PLUGIN_SIGNATURES",
            value="false",
            where=("plugin_daemon",),
            reason="daemons 0.3.1 to 0.4.1 refuse every changed package by langgenius, whoever signed it",
        )


def _size_settings(release: Release, *, file_size: int, unpacked_size: int, limit: int) -> Iterator[SiteSetting]:
    if (largest := max(file_size, unpacked_size)) > limit:
        which = "unpacked" if unpacked_size > file_size else "packed"
        yield SiteSetting(
            name="PLUGIN_MAX_PACKAGE_SIZE",
            value=str(_round_up(largest, 50 * MIB)),
            where=("plugin_daemon", "api"),
            reason=f"the package is {human_size(largest)} ({largest} bytes) {which}, the limit {human_size(limit)}; "
            "the daemon reads it as MAX_PLUGIN_PACKAGE_SIZE",
        )
    if (body := file_size + _FORM_OVERHEAD) > release.nginx_max_body:
        yield SiteSetting(
            name="NGINX_CLIENT_MAX_BODY_SIZE",
            value=f"{max(_round_up(body, 50 * MIB), _round_up(limit, MIB)) // MIB}M",
            where=("nginx",),
            reason=f"the upload is {human_size(file_size)}; Dify's default is {human_size(release.nginx_max_body)}",
        )


def _timeout_settings(release: Release, wheels_size: int) -> Iterator[SiteSetting]:
    needed = wheels_size // _UNPACKED_PER_SECOND
    # No use beyond uv_timeout: the daemon kills uv then, whatever it prints.
    if needed > release.init_timeout:
        yield SiteSetting(
            name="PLUGIN_PYTHON_ENV_INIT_TIMEOUT",
            value=str(min(_round_up(needed, 60), release.uv_timeout)),
            where=("plugin_daemon",),
            reason=f"unpacking {human_size(wheels_size)} of wheels may take {needed} s without a word from uv, which"
            f" the daemon kills after {release.init_timeout} s; the daemon reads it as PYTHON_ENV_INIT_TIMEOUT",
        )


def _round_up(amount: int, step: int) -> int:
    return -(-amount // step) * step

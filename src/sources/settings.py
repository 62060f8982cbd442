"""What the user's environment says about the places that plugins come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

MARKETPLACE: Final = "https://marketplace.dify.ai"
"""Dify's default of `MARKETPLACE_API_URL` (docker/.env.example)."""

_SERVER: Final = "https://github.com"
_API: Final = "https://api.github.com"
_ANY_DIFY: Final = "999.0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """Base URLs without a slash at the end, and what goes with requests.

    `github_token` is for the API alone. `dify` is the site's version of Dify, by which the marketplace chooses what is
    the latest, None where it is not known.
    """

    marketplace: str = MARKETPLACE
    github_server: str = _SERVER
    github_api: str = _API
    github_token: str | None = field(default=None, repr=False)
    dify: str | None = None

    @property
    def dify_header(self) -> str:
        """The value of `X-Dify-Version`; the marketplace's own site sends 999.0.0 for every version."""
        return self.dify or _ANY_DIFY


def read_source_settings(environment: Mapping[str, str], *, dify: str | None = None) -> SourceSettings:
    """Return the settings of an environment.

    `MARKETPLACE_API_URL` is Dify's variable. `GITHUB_API_URL` and `GITHUB_SERVER_URL` are those of GitHub Actions; some
    plugin tools put the server's URL into the first, which is accepted. Each follows from the other (GitHub Enterprise
    Server has its API at `/api/v3`). A token is `GITHUB_TOKEN` or `GH_TOKEN`, for an Enterprise server
    `GH_ENTERPRISE_TOKEN` or `GITHUB_ENTERPRISE_TOKEN` before them.
    """
    server, api = _github(environment.get("GITHUB_SERVER_URL", ""), environment.get("GITHUB_API_URL", ""))
    enterprise = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN") if server != _SERVER else ()
    tokens = (environment.get(name) for name in (*enterprise, "GITHUB_TOKEN", "GH_TOKEN"))
    return SourceSettings(
        marketplace=(environment.get("MARKETPLACE_API_URL") or MARKETPLACE).rstrip("/").removesuffix("/api/v1"),
        github_server=server,
        github_api=api,
        github_token=next((token for token in tokens if token), None),
        dify=dify,
    )


def _github(server: str, api: str) -> tuple[str, str]:
    server, api = server.rstrip("/"), api.rstrip("/")
    if api and urlsplit(api).hostname in ("github.com", "www.github.com"):
        server, api = server or _SERVER, ""
    if not server and api:
        server = _SERVER if api == _API else api.removesuffix("/api/v3")
    server = server or _SERVER
    return server, api or (_API if server == _SERVER else f"{server}/api/v3")

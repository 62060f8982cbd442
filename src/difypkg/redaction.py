"""Secrets kept out of what is shown."""

import re
from typing import Final
from urllib.parse import urlsplit

_USERINFO: Final = re.compile(r"(?<=://)[^\s/?#@'\"]*(?:@[^\s/?#@'\"]*)*@")


def redact(text: str) -> str:
    """Blank the user and password of every URL in a text."""
    return _USERINFO.sub("****@", text)


def public_url(url: str) -> str:
    """Return a URL fit for a message: no user, no password, no query (signed links carry their secret there)."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="…" if parts.query else "", fragment="").geturl()

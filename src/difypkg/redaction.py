"""Secrets kept out of what is shown and written.

There are two nets. `redact` blanks what has the form of a secret, wherever it stands. `Secrets` holds the very values
that this machine was told, in every spelling, and takes them out of everything that leaves the process.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

BLANK: Final = "****"

# A password may hold `/`, `#` or `?`, though a URL may not: then a colon that no port follows gives it away.
_USERINFO: Final = re.compile(
    r"(?<=://)(?:[^\s/?#@'\"]*(?:@[^\s/?#@'\"]*)*@|[^\s/?#@:'\"]*:(?!\d{1,5}(?:[/?#]|$))[^\s@'\"]*@)"
)
_WORD: Final = r"token|secret|passw(?:or)?d|passphrase|signature|credentials?|api[_-]?key|access[_-]?key|auth"
_PARAMETER: Final = re.compile(rf"(?<=[?&])(?P<name>(?:[\w.-]*(?:{_WORD})|sig|key))=[^\s&#'\"]+", re.IGNORECASE)
_HEADER: Final = re.compile(r"(?P<name>\bauthorization['\"]?\s*[:=]\s*['\"]?(?:\w+ )?)[\w+/=.~-]{8,}", re.IGNORECASE)
_SECRET_NAME: Final = re.compile(rf"(?:^|_)(?:{_WORD}|pat)(?:$|_)", re.IGNORECASE)
_NOT_SECRET: Final = re.compile(r"_(?:FILE|DIR|PATH|SOCK|URL|ID)$", re.IGNORECASE)
_CHOICES: Final = frozenset({"true", "false", "yes", "no", "on", "off", "none", "never", "always", "auto"})
_ENTRY: Final = re.compile(r"\s+|,(?=\w+://)")
_SCHEME: Final = re.compile(r"[\"'=]*\w*(?::/{0,3}|/{1,3})(?=[^/])")
_PORT_OR_PATH: Final = re.compile(r"[^/?#:]*(?::\d{1,5})?[/?#]")
_SHORTEST: Final = 4  # shorter ones would blank parts of ordinary words; `redact` still sees them in URLs


def redact(text: str) -> str:
    """Blank what has the form of a secret: users and passwords of URLs, tokens in their queries, authorisations."""
    text = _USERINFO.sub(f"{BLANK}@", text)
    text = _PARAMETER.sub(rf"\g<name>={BLANK}", text)
    return _HEADER.sub(rf"\g<name>{BLANK}", text)


def public_url(url: str) -> str:
    """Return a URL fit for a message: no user, no password, no query (signed links carry their secret there)."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="…" if parts.query else "", fragment="").geturl()


class Secrets:
    """Known secrets; `remove` takes them out of a text, in every spelling that our outputs use."""

    def __init__(self, values: Iterable[str]) -> None:
        long = (value for value in values if len(value) >= _SHORTEST)
        spellings = {spelling for value in long for spelling in _spellings(value)}
        longest_first = sorted(spellings, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_bounded, longest_first))) if spellings else None

    def remove(self, text: str) -> str:
        """Return a text without the secrets, and without what has their form."""
        text = redact(text)
        return self._pattern.sub(BLANK, text) if self._pattern else text


def collect_secrets(environ: Mapping[str, str], texts: Iterable[str] = ()) -> Iterator[str]:
    """Yield the secrets in an environment, in further texts (arguments, configuration files), and in netrc.

    Of the environment these are the values of variables that are named as secrets are, and what URLs hold.
    """
    for name, value in environ.items():
        if _SECRET_NAME.search(name) and not _NOT_SECRET.search(name) and not _is_a_choice(value):
            yield value
        if "@" in value and name.lower().endswith("proxy"):
            yield from _userinfo(_SCHEME.sub("", value, count=1))  # a scheme that is missing or misspelt hides nothing
        yield from _secrets_of_urls(value)
    for text in texts:
        yield from _secrets_of_urls(text)
    yield from _netrc_secrets(environ)


def _is_a_choice(value: str) -> bool:
    return value.isdecimal() or value.lower() in _CHOICES or (value.startswith("/") and Path(value).exists())


def _secrets_of_urls(text: str) -> Iterator[str]:
    for word in _ENTRY.split(text):
        _, found, rest = word.partition("://")
        if found:
            yield from _userinfo(rest)
            yield from (match[0].partition("=")[2] for match in _PARAMETER.finditer(rest))


def _userinfo(rest: str) -> Iterator[str]:
    """Yield what is secret before the last `@` of a URL without its scheme."""
    userinfo, found, _ = rest.rpartition("@")
    if not found or _PORT_OR_PATH.match(userinfo):
        return  # it stands in the path, as in `git+https://host/repository@tag`
    user, colon, password = userinfo.partition(":")
    secret = password if colon else user
    yield from (userinfo, secret, *re.split(r"[/?#@]", secret))  # whoever takes it for a URL's end tells of a part


def _netrc_secrets(environ: Mapping[str, str]) -> Iterator[str]:
    home = environ.get("HOME")
    place = environ.get("NETRC") or (f"{home}/.netrc" if home else None)
    if place is None or not Path(place).is_file():
        return
    import netrc

    try:
        hosts = netrc.netrc(place).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return  # nothing is taken from it either
    yield from (password for _, _, password in hosts.values() if password)


def _spellings(secret: str) -> Iterator[str]:
    import base64
    import json

    plain = unquote(secret)
    for each in {secret, plain}:
        yield from (each, quote(each, safe=""), json.dumps(each)[1:-1], repr(each)[1:-1])
    if ":" in plain:
        yield base64.b64encode(plain.encode()).decode()


def _bounded(secret: str) -> str:
    before = r"(?<![A-Za-z0-9])" if secret[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if secret[-1].isalnum() else ""
    return f"{before}{re.escape(secret)}{after}"

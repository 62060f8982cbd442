"""The two environments uv runs in, each made by allow-list: nothing of the caller's reaches uv by accident.

*Closed*, for re-locking and freshness checks, has no index, no credentials and no configuration but the project's own.
*Resolving* has what the user configured to reach package indexes, and nothing that steers which versions are chosen.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.redaction import redact

_QUIET: Final = {"UV_NO_PROGRESS": "1", "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never", "LC_ALL": "C.UTF-8"}

_INDEX_VARIABLES: Final = frozenset(
    {"UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"}
)
_INDEX_ORDER: Final = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_DEFAULT_INDEX: Final = frozenset({"UV_DEFAULT_INDEX", "UV_INDEX_URL"})
_PROXIES: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"})
_MIRRORS: Final = {
    "UV_PYTHON_INSTALL_MIRROR": "python-install-mirror",
    "UV_PYTHON_DOWNLOADS_JSON_URL": "python-downloads-json-url",
}
_CONNECTION_VARIABLES: Final = frozenset(
    {
        *("UV_INDEX_STRATEGY", "UV_KEYRING_PROVIDER", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("SSL_CERT_DIR", "UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS_JSON_URL"),
    }
)
_PATH_VARIABLES: Final = frozenset(
    {"NETRC", "SSL_CERT_FILE", "SSL_CLIENT_CERT", "UV_CREDENTIALS_DIR", "UV_PYTHON_INSTALL_DIR"}
)
# What netrc, keyring's backends and git (for a dependency from a repository) need to find the user's secrets.
_USER_VARIABLES: Final = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"),
        *("DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO"),
    }
)
_INDEX_CREDENTIAL: Final = re.compile(r"UV_INDEX_\w+_(USERNAME|PASSWORD)")

_INDEX_KEYS: Final = ("index", "index-url", "extra-index-url", "no-index", "find-links")
_INDEX_FIELDS: Final = frozenset(
    {"name", "url", "explicit", "default", "format", "authenticate", "ignore-error-codes", "cache-control"}
)
_CONNECTION_KEYS: Final = ("index-strategy", "keyring-provider", "allow-insecure-host", "python-install-mirror")
_PROXY_KEYS: Final = {"http-proxy": "HTTP_PROXY", "https-proxy": "HTTPS_PROXY", "no-proxy": "NO_PROXY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """What the user configured for reaching package indexes on this connected side.

    `config` is the allow-listed part of uv's configuration files, as one `uv.toml`; paths in it are absolute.
    `environment` is the allow-listed part of the environment. Both may hold secrets and stay out of the `repr`. With
    `offline` nothing is asked of any index: what is cached must do. `own` is what this machine is configured with,
    where an index was named in its place.
    """

    config: Mapping[str, Any] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    offline: bool = False
    own: "IndexSettings | None" = field(default=None, repr=False)

    @property
    def configured(self) -> bool:
        """Whether the user chose where packages come from; if so, the public URLs in a lock are not contacted."""
        chosen = any(self.config.get(key) for key in _INDEX_KEYS if key != "index")
        return chosen or bool(_INDEX_VARIABLES & self.environment.keys()) or any(_open_indexes(self.config))


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """User and password for one origin: scheme, host and port (None for the scheme's own)."""

    scheme: str
    host: str
    port: int | None
    user: str
    password: str = field(repr=False)


def closed(*, home: Path, cache: Path) -> dict[str, str]:
    """Return the environment for work that must not depend on who runs it; `home` is a private folder, made if need be.

    uv's only configuration is then the project's own `[tool.uv]` or `uv.toml`, so do not add `--config-file`, which
    would shut that out too. uv 0.9.26 has no switch for the system's configuration alone, but it reads the first file
    that it finds: an empty one under `XDG_CONFIG_DIRS` hides `/etc/uv/uv.toml`. uv also walks up from a project that
    has no configuration of its own: work where no folder above has any.
    """
    shadow = home / "etc" / "uv" / "uv.toml"
    shadow.parent.mkdir(parents=True, exist_ok=True)
    shadow.touch()
    return {
        **_QUIET,
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CONFIG_DIRS": str(home / "etc"),
        "UV_CACHE_DIR": str(cache),
    }


def resolving(settings: IndexSettings, *, home: Path, cache: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the environment for work that talks to package indexes, and the arguments that uv must get with it.

    The arguments name a configuration file, written to the private folder `home` (its owner alone may read it), that
    replaces every configuration uv would discover: user's, system's and the settings in a project's `[tool.uv]` (not
    its dependencies, sources and overrides). So the user's real `HOME`, which netrc, keyring and git need, is harmless.
    Certificates come from the system's store.

    uv puts the value of a variable in place of `${NAME}` in what it reads: a plugin's requirements, and the metadata
    of what they refer to. So nothing secret stays in a variable of such a name: what is one goes into the file, and
    proxies into the variables in lower case, which uv does not expand.
    """
    home.mkdir(parents=True, exist_ok=True)
    file = home / "resolving.toml"
    file.touch(mode=0o600)
    config = _whole_config(settings)
    file.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in config.items()), encoding="utf-8")
    environment = {
        **_without_secrets(settings.environment),
        **_QUIET,
        "UV_CACHE_DIR": str(cache),
        "UV_NATIVE_TLS": "1",  # called UV_SYSTEM_CERTS by later releases
        "UV_SYSTEM_CERTS": "1",
        **({"UV_OFFLINE": "1"} if settings.offline else {}),
    }
    return environment, ("--config-file", str(file))


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _INDEX_VARIABLES | _PROXIES | _MIRRORS.keys() and not _INDEX_CREDENTIAL.fullmatch(name)
    }
    for name in sorted(_PROXIES & environment.keys()):
        kept[name.lower()] = kept.get(name.lower()) or environment[name]
    return kept


def _whole_config(settings: IndexSettings) -> dict[str, Any]:
    """Return the configuration with what the environment says of indexes, in uv's order, and their passwords."""
    environment, config = settings.environment, dict(settings.config)
    indexes: list[dict[str, Any]] = []
    for variable in _INDEX_ORDER:
        default = {"default": True} if variable in _DEFAULT_INDEX else {}
        for name, url in _entries(variable, environment.get(variable, "")):
            indexes.append({**({"name": name} if name else {}), "url": url, **default})
    indexes += config.get("index", ())
    if indexes:
        config["index"] = [index | {"url": _with_password(index, environment)} for index in indexes]
    links = [url for _, url in _entries("UV_FIND_LINKS", environment.get("UV_FIND_LINKS", ""))]
    if links:
        config["find-links"] = [*links, *config.get("find-links", ())]
    for variable, key in _MIRRORS.items():
        if variable in environment:
            config[key] = environment[variable]
    return config


def _with_password(index: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Return the URL of an index with the user and password that the environment has for its name."""
    url = str(index["url"])
    user, password = _named_login(index.get("name", ""), environment)
    if not (user or password):
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=f"{quote(user)}:{quote(password)}@{parts.netloc.rpartition('@')[2]}").geturl()


def _named_login(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    if not name:
        return "", ""
    variable = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
    return environment.get(f"{variable}_USERNAME", ""), environment.get(f"{variable}_PASSWORD", "")


def read_index_settings(environ: Mapping[str, str], *, index_url: str | None = None) -> IndexSettings:
    """Read what the user configured for package indexes, as uv itself finds and combines it.

    `index_url` (our own `--index-url`) takes the place of every configured index, with the credentials kept. Raises
    `DifyoffError` (`uv-configuration-unreadable`) for a configuration file that is not TOML.
    """
    environment = {}
    for name, value in environ.items():
        if name in _CONNECTION_VARIABLES | _USER_VARIABLES or _INDEX_CREDENTIAL.fullmatch(name):
            environment[name] = value
        elif name in _PATH_VARIABLES and value:
            environment[name] = str(Path(value).absolute())  # uv will run in another folder
        elif name in _INDEX_VARIABLES and value and not index_url:
            environment[name] = _absolute_entries(name, value)
    config: dict[str, Any] = {}
    for layer in _config_layers(environ):
        for key in (*_INDEX_KEYS, *_CONNECTION_KEYS):
            if isinstance(layer.get(key), list):
                config[key] = [*config.get(key, []), *layer[key]]
            elif key in layer:
                config.setdefault(key, layer[key])
        for key, variable in _PROXY_KEYS.items():
            if key in layer and variable.lower() not in environment:
                environment.setdefault(variable, ",".join(layer[key]) if key == "no-proxy" else layer[key])
    if index_url:
        config = {key: value for key, value in config.items() if key not in _INDEX_KEYS}
        config["index"] = [{"url": _absolute(index_url, Path.cwd()), "default": True}]
    own = read_index_settings(environ) if index_url else None
    return IndexSettings(config=config, environment=environment, own=own)


def home_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's home folder; one that does not exist where the user has none, as in a container with any id."""
    try:
        return Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        return Path("/nonexistent")


def credentials(settings: IndexSettings) -> tuple[Credential, ...]:
    """Return the users and passwords that the index URLs and `UV_INDEX_NAME_USERNAME`/`_PASSWORD` give, in uv's order.

    For our own HTTP client; netrc is that client's affair.
    """
    found = []
    for name, url in _index_urls(settings):
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:  # not a URL: uv will say so
            continue
        user, password = _named_login(name, settings.environment)
        if not (user or password):
            user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if host and (user or password):
            found.append(Credential(scheme=parts.scheme, host=host, port=port, user=user, password=password))
    return tuple(found)


def _config_layers(environ: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """Yield the configuration tables that uv would combine, strongest first (`FilesystemOptions`, uv 0.9.26).

    A file's `[pip]` table is stronger than its top level for `uv pip`, and we let it be so for every command: a mirror
    that is configured there alone is the only way out.
    """
    if environ.get("UV_CONFIG_FILE"):
        files = [Path(environ["UV_CONFIG_FILE"])]
    elif environ.get("UV_NO_CONFIG", "").lower() in {"1", "true", "yes", "y", "on", "t"}:
        files = []
    else:
        user = environ.get("XDG_CONFIG_HOME") or str(home_folder(environ) / ".config")
        system = [*(environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"), "/etc"]
        system_files = [Path(folder, "uv", "uv.toml") for folder in system if folder]
        files = [file for file in (Path(user, "uv", "uv.toml"),) if os.access(file, os.R_OK)]
        files += [file for file in system_files if os.access(file, os.R_OK)][:1]
    tables = [_read_config(file) for file in files]
    yield from (table.get("pip", {}) for table in tables)
    yield from tables


def _read_config(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        for options in (table, table.get("pip", {})):
            _make_absolute(options, file.absolute().parent)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:  # not TOML, or not the shape uv takes
        raise DifyoffError(
            Diagnosis(
                slug="uv-configuration-unreadable",
                message=f"uv's configuration file cannot be read: {file}",
                context=(redact(str(error)),),
                hint="Repair the file, or set UV_NO_CONFIG=1 to go on without it.",
            )
        ) from error
    return table


def _make_absolute(options: dict[str, Any], folder: Path) -> None:
    """Resolve paths among the index options against the folder of their file, as uv does."""
    for key in ("find-links", "extra-index-url"):
        if key in options:
            options[key] = [_absolute(url, folder) for url in options[key]]
    if "index-url" in options:
        options["index-url"] = _absolute(options["index-url"], folder)
    if "index" in options:
        options["index"] = [
            {field: value for field, value in index.items() if field in _INDEX_FIELDS}
            | {"url": _absolute(index["url"], folder)}
            for index in options["index"]
        ]


def _absolute(url: str, folder: Path) -> str:
    return url if "://" in url else os.path.normpath(folder / url)


def _absolute_entries(variable: str, value: str) -> str:
    entries = ((name, _absolute(url, Path.cwd())) for name, url in _entries(variable, value))
    return _separator(variable).join(f"{name}={url}" if name else url for name, url in entries)


def _entries(variable: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield (name or "", URL or path) of each entry of one of uv's index variables."""
    for entry in value.split(_separator(variable)):
        if match := re.fullmatch(r"(?:([\w.-]+)=)?(.+)", entry.strip()):
            yield match[1] or "", match[2]


def _separator(variable: str) -> str:
    return "," if variable == "UV_FIND_LINKS" else " "


def _open_indexes(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    # An explicit index serves only the packages that name it, which an offline package never does.
    return (index for index in config.get("index", []) if not index.get("explicit"))


def _index_urls(settings: IndexSettings) -> Iterator[tuple[str, str]]:
    """Yield (name or "", URL) of every index and find-links page, the environment's first."""
    for variable in sorted(_INDEX_VARIABLES & settings.environment.keys()):
        yield from _entries(variable, settings.environment[variable])
    for index in settings.config.get("index", []):
        yield index.get("name", ""), index["url"]
    for url in (settings.config.get("index-url"), *settings.config.get("extra-index-url", [])):
        yield "", url or ""
    for url in settings.config.get("find-links", []):
        yield "", url


def _toml(value: Any) -> str:
    """Write a value as TOML on one line; JSON's strings, numbers and booleans are TOML's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")

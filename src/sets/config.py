"""`difyoff.toml`: which plugins a site runs, and what the site is."""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError

CONFIG: Final = "difyoff.toml"
BUILD_KEYS: Final = ("output", "plugins", "suffix", "verify")
_TABLES: Final = ("site", "build")
_PATTERN: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetConfig:
    """A set as it is written. `path` is its file, `site` the values by the names of site settings.

    `output` is absolute. `verify` is a backend, or True for the site's. `plugins` are what `sources.table.locate`
    takes, in the order of the file, relative paths as they are written.
    """

    path: Path
    site: Mapping[str, Any]
    plugins: tuple[str, ...]
    output: Path | None = None
    suffix: str | None = None
    verify: str | bool = False

    @property
    def folder(self) -> Path:
        """The folder that relative paths start from."""
        return self.path.parent

    def expanded(self) -> tuple[str, ...]:
        """Return the plugins with patterns of paths filled in, and paths from the current folder.

        Raises `set-invalid` for a pattern that nothing fits.
        """
        return tuple(dict.fromkeys(each for plugin in self.plugins for each in self._expand(plugin)))

    def portable(self, text: str) -> str:
        """Return a plugin as the lock names it: a path under the set's folder from there."""
        path = Path(text)
        return f"./{path.relative_to(self.folder).as_posix()}" if path.is_relative_to(self.folder) else text

    def local(self, text: str) -> str:
        """Return what the lock names for this machine."""
        return str(self.folder / text) if text.startswith("./") else text

    def _expand(self, plugin: str) -> tuple[str, ...]:
        if ":" in plugin or plugin == "-":
            return (plugin,)
        if _PATTERN.search(plugin):
            found = tuple(str(path) for path in sorted(self.folder.glob(plugin)))
            if not found:
                raise _invalid(self.path, f"nothing fits {plugin!r}", "Correct the pattern, or remove the line.")
            return found
        path = self.folder / plugin
        return (str(path),) if plugin.startswith((".", "/", "~")) or path.exists() else (plugin,)


def find_config(start: Path) -> Path | None:
    """Return the `difyoff.toml` of a folder or the nearest one above, None where there is none."""
    return next((folder / CONFIG for folder in (start, *start.parents) if (folder / CONFIG).is_file()), None)


def read_config(path: Path, site_keys: Collection[str]) -> SetConfig:
    """Read a set. Raises `set-invalid` for what is not TOML, a key that is not known, or a value of a wrong type."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DifyoffError(
            Diagnosis(slug="file-not-readable", message=f"{path} cannot be read: {error.strerror}")
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(path, f"it is not TOML: {error}", "Correct the line that the message names.") from error
    _check_keys(path, data, _TABLES, "")
    site, build = (_table(path, data, name) for name in _TABLES)
    _check_keys(path, site, site_keys, "site.")
    _check_keys(path, build, BUILD_KEYS, "build.")
    output = _text(path, build, "output")
    verify = build.get("verify", False)
    if not isinstance(verify, bool | str):
        raise _wrong_type(path, "build.verify", "true, false or a backend")
    return SetConfig(
        path=path.absolute(),
        site={name: _site_value(path, name, value) for name, value in site.items()},
        plugins=_plugins(path, build),
        output=path.absolute().parent / output if output is not None else None,
        suffix=_text(path, build, "suffix"),
        verify=verify,
    )


def _plugins(path: Path, build: Mapping[str, Any]) -> tuple[str, ...]:
    plugins = build.get("plugins", [])
    if not isinstance(plugins, list) or not all(isinstance(each, str) and each for each in plugins):
        raise _wrong_type(path, "build.plugins", "a list of texts")
    return tuple(plugins)


def _site_value(path: Path, name: str, value: Any) -> Any:
    """Return a site's value as its option takes it: text, or a list of texts; `true` for a flag."""
    if name == "arch" and isinstance(value, list):
        if not value or not all(isinstance(each, str) for each in value):
            raise _wrong_type(path, "site.arch", "a list of architectures")
        return value[0] if len(set(value)) == 1 else "all"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return str(value)
    raise _wrong_type(path, f"site.{name}", "a text, a number, true or false, or a list of texts")


def _table(path: Path, data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise _wrong_type(path, name, "a table")
    return table


def _text(path: Path, table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise _wrong_type(path, f"build.{key}", "a text")
    return value


def _check_keys(path: Path, table: Mapping[str, Any], known: Collection[str], prefix: str) -> None:
    for key in table:
        if key not in known:
            near = get_close_matches(key.replace("_", "-"), known, n=1) or get_close_matches(key, known, n=1)
            hint = f"Write `{prefix}{near[0]}`." if near else f"Use one of these: {', '.join(sorted(known))}."
            raise _invalid(path, f"`{prefix}{key}` is not a key of it", hint)


def _wrong_type(path: Path, key: str, wanted: str) -> DifyoffError:
    return _invalid(path, f"`{key}` must be {wanted}", "Correct the value; docs/how-to/sets.md has an example.")


def _invalid(path: Path, what: str, hint: str) -> DifyoffError:
    return DifyoffError(Diagnosis(slug="set-invalid", message=f"{path} is not a set of plugins: {what}", hint=hint))

"""`difyoff.lock`: what every plugin of a set is, byte for byte, and what it resolves to.

It is TOML, a line for each distribution, so that a diff shows what has moved. Of a resolution it keeps the files that
the set's targets install.
"""

import json
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, get_args
from urllib.parse import urlsplit

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.files import write_atomically
from ..difypkg.place import PluginPlace
from ..difypkg.record import TargetRecord
from ..difypkg.target import Target
from ..repack.options import Options
from ..repack.resolution import (
    ArchiveSource,
    FolderSource,
    GitSource,
    MadeBefore,
    Origin,
    Pin,
    PinSource,
    Resolution,
    WheelSource,
)
from ..repack.source import Plugin, open_plugin

LOCK: Final = "difyoff.lock"
_VERSION: Final = 1
_HEAD: Final = "# Made by `difyoff lock` from difyoff.toml: change that one, and lock again.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One plugin: `name` is what the set, or an app of it, calls it; `source` what is located in its place.

    `identity` is that of its files, `sha256` that of a package. `resolution` is None where its own lock says it.
    """

    name: str
    source: str
    identity: str
    sha256: str | None
    commit: str | None = None
    resolution: MadeBefore | None = None


def pin(name: str, place: PluginPlace, plugin: Plugin, resolution: Resolution) -> Locked:
    """Return the lock's entry of a located and resolved plugin, which `name` is for the set."""
    origin = place.origin
    source = name
    if origin is not None and origin.kind == "marketplace" and origin.identifier and "@" in origin.identifier:
        source = f"marketplace:{origin.identifier}"
    elif origin is not None and origin.kind == "github":
        source = place.name
        if origin.commit is not None:
            head, _, path = place.name.partition("//")
            source = f"{head.partition('@')[0]}@{origin.commit}//{path}"
    return Locked(
        name=name,
        source=source,
        identity=str(plugin.identity),
        sha256=plugin.sha256,
        commit=origin.commit if origin is not None else None,
        resolution=resolution.made,
    )


def check_drift(entries: Mapping[str, Locked], names: Collection[str], path: Path) -> None:
    """Refuse a lock of another set than this. Raises `lock-drift`."""
    missing = [name for name in names if name not in entries]
    surplus = [name for name in entries if name not in names]
    if missing or surplus:
        raise DifyoffError(
            Diagnosis(
                slug="lock-drift",
                message=f"{path} is not of this set: {len(missing)} plugins are not locked, {len(surplus)} are gone",
                context=(*(f"not locked: {name}" for name in missing), *(f"gone: {name}" for name in surplus)),
                hint="Run `difyoff lock`.",
            )
        )


def check_place(entry: Locked, place: PluginPlace, options: Options) -> None:
    """Refuse a plugin that is not the one that was locked. Raises `lock-drift`."""
    with open_plugin(place, with_env=options.with_env) as plugin:
        if str(plugin.identity) == entry.identity and entry.sha256 in (None, plugin.sha256):
            return
        raise DifyoffError(
            Diagnosis(
                slug="lock-drift",
                message=f"{entry.name} is not what was locked",
                context=(f"locked {entry.identity}", f"now    {plugin.identity}"),
                hint="Run `difyoff lock` to take what is there now.",
            )
        )


def read_lock(path: Path, targets: Sequence[Target]) -> dict[str, Locked]:
    """Read a lock that was made for these targets, by name.

    Raises `lock-drift` where there is none, or one for other targets, and `set-invalid` for one that cannot be read.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        if data["version"] != _VERSION:
            raise ValueError(f"it has version {data['version']}, this difyoff reads {_VERSION}")
        made_for = [TargetRecord(**each) for each in data["targets"]]
        if made_for != [TargetRecord.of(target) for target in targets]:
            raise DifyoffError(
                Diagnosis(
                    slug="lock-drift",
                    message=f"{path} was made for other machines: {', '.join(each.architecture for each in made_for)}",
                    hint="Run `difyoff lock`.",
                )
            )
        by_name: dict[str, Target] = {target.architecture: target for target in targets}
        return {each["name"]: _read(each, by_name) for each in data["plugin"]}
    except FileNotFoundError as error:
        raise DifyoffError(
            Diagnosis(slug="lock-drift", message=f"{path} does not exist", hint="Run `difyoff lock`.")
        ) from error
    except OSError as error:
        raise DifyoffError(
            Diagnosis(slug="file-not-readable", message=f"{path} cannot be read: {error.strerror}")
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DifyoffError(
            Diagnosis(
                slug="set-invalid",
                message=f"{path} cannot be read: {error}",
                hint="Run `difyoff lock` to write it again.",
            )
        ) from error


def write_lock(path: Path, entries: Iterable[Locked], targets: Sequence[Target]) -> None:
    """Write a lock that was made for these targets, in the order of the names."""
    made_for = [asdict(TargetRecord.of(target)) for target in targets]
    text = _HEAD + f"version = {_VERSION}\ntargets = {_inline(made_for)}\n"
    for entry in sorted(entries, key=lambda each: each.name):
        text += "\n[[plugin]]\n" + "".join(_lines(entry))
    write_atomically(path, text)


def _lines(entry: Locked) -> Iterator[str]:
    for key in ("name", "source", "identity", "sha256", "commit"):
        if (value := getattr(entry, key)) is not None:
            yield f"{key} = {_inline(value)}\n"
    if entry.resolution is not None:
        yield f"resolved-from = {_inline(entry.resolution.origin)}\n"
        yield "files = [\n"
        for pin_ in entry.resolution.pins:
            yield f"  {_inline(_pin_data(pin_))},\n"
        yield "]\n"


def _read(entry: Mapping[str, Any], targets: Mapping[str, Target]) -> Locked:
    before = None
    if "files" in entry:
        origin = entry["resolved-from"]
        if origin not in get_args(Origin):
            raise ValueError(f"{origin!r} is not what a resolution is made from")
        before = MadeBefore(pins=tuple(_read_pin(each, targets) for each in entry["files"]), origin=origin)
    return Locked(
        name=entry["name"],
        source=entry["source"],
        identity=entry["identity"],
        sha256=entry.get("sha256"),
        commit=entry.get("commit"),
        resolution=before,
    )


def _pin_data(pin_: Pin) -> dict[str, Any]:
    source = pin_.source
    data: dict[str, Any] = {
        "name": pin_.name,
        "version": pin_.version,
        "on": sorted(target.architecture for target in pin_.targets),
        "direct": pin_.direct or None,
    }
    if isinstance(source, WheelSource | ArchiveSource):
        data |= {"file": source.filename, "size": source.size, "hashes": dict(source.hashes)}
        data["url"] = _without_user(source.url)
        data["subdirectory"] = source.subdirectory if isinstance(source, ArchiveSource) else None
    elif isinstance(source, GitSource):
        data |= {"git": _without_user(source.url), "commit": source.commit, "subdirectory": source.subdirectory}
    else:
        data["folder"] = source.path
    return {key: value for key, value in data.items() if value is not None}


def _read_pin(data: Mapping[str, Any], targets: Mapping[str, Target]) -> Pin:
    source: PinSource
    if "folder" in data:
        source = FolderSource(path=data["folder"])
    elif "git" in data:
        source = GitSource(url=data["git"], commit=data["commit"], subdirectory=data.get("subdirectory"))
    elif data["file"].endswith(".whl"):
        source = WheelSource(filename=data["file"], url=data["url"], size=data.get("size"), hashes=dict(data["hashes"]))
    else:
        source = ArchiveSource(
            filename=data["file"],
            url=data["url"],
            size=data.get("size"),
            hashes=dict(data["hashes"]),
            subdirectory=data.get("subdirectory"),
        )
    return Pin(
        name=data["name"],
        version=data.get("version"),
        source=source,
        targets=frozenset(targets[name] for name in data["on"]),
        direct=data.get("direct", False),
    )


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _inline(value: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_inline(each)}" for key, each in value.items()) + " }"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, int):
        return str(value)
    raise TypeError(f"{value!r} has no place in a lock")


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else json.dumps(key)

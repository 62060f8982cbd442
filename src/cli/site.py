"""What a site is, said once: one table for the options, the `DIFYOFF_*` variables and the pytest plugin.

Nothing heavy is imported here: every pytest run of an environment that has difyoff reads the table.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from ..difypkg.daemons import Release, Settings
    from ..difypkg.target import Target

Kind: TypeAlias = Literal["text", "choice", "size", "url", "path", "flag"]
Need: TypeAlias = Literal["verification", "container", "this machine"]
Pull: TypeAlias = Literal["never", "missing", "always"]

_PREFIX: Final = "DIFYOFF_"
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_SIZE: Final = re.compile(
    r"\s*(?P<number>\d{1,18}(?:\.\d{1,9})?)\s*(?P<unit>[kmg]?)(?P<kind>ib|b|)\s*", re.ASCII | re.IGNORECASE
)
_URL: Final = re.compile(r"(?:https?://[^\s/]+|file://)\S*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that a site is.

    It is `--NAME` on the command line, `DIFYOFF_NAME` in the environment, and `--difyoff-NAME` or `difyoff_name` in
    pytest. `many` takes several values. `needs` is what it takes to have an effect.
    """

    name: str
    text: str
    kind: Kind = "text"
    metavar: str | None = None
    choices: Callable[[], Sequence[str]] = tuple
    many: bool = False
    default: str | None = None
    default_text: str | None = None
    needs: Need | None = None

    @property
    def parameter(self) -> str:
        """The name as a Python identifier."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The variable of the environment."""
        return _PREFIX + self.parameter.upper()

    def parse(self, text: str) -> Any:
        """Return the value of a text. Raises `ValueError` with what is wrong with it."""
        if self.kind == "size":
            return parse_size(text)
        if self.kind == "choice" and text not in self.choices():
            raise ValueError(f"{text!r} is not one of {', '.join(self.choices())}")
        if self.kind == "url" and not _URL.fullmatch(text):
            raise ValueError(f"{text!r} is not a URL, such as https://index.example/simple")
        if self.kind == "path":
            return Path(text)
        if self.kind == "flag":
            return _truth(text)
        return text


def _backends() -> Sequence[str]:
    from ..verify.backends import BACKENDS

    return tuple(BACKENDS)


def _architectures() -> Sequence[str]:
    from ..difypkg.target import ARCHITECTURES

    return (*ARCHITECTURES, "all")


SETTINGS: Final[Mapping[str, Setting]] = {
    each.name: each
    for each in (
        Setting(name="daemon", metavar="RELEASE", many=True, text="The site's daemon release."),
        Setting(name="dify", metavar="VERSION", many=True, text="The daemon release that this version of Dify ships."),
        Setting(
            name="arch", kind="choice", choices=_architectures, text="The architecture of the site's machines, or both."
        ),
        Setting(
            name="target",
            metavar="FILE|NAME",
            text="A target file that `target probe` saved, or a name of `target list`, in place of --arch.",
        ),
        Setting(
            name="max-size",
            kind="size",
            metavar="SIZE",
            default_text="the daemon's, 50MiB",
            text="The site's size limit for a package, PLUGIN_MAX_PACKAGE_SIZE.",
        ),
        Setting(
            name="mirror", kind="url", metavar="URL", needs="verification", text="The site's mirror, PIP_MIRROR_URL."
        ),
        Setting(
            name="ignore-lock", kind="flag", needs="verification", text="The site sets PLUGIN_IGNORE_UV_LOCK=true."
        ),
        Setting(
            name="index-url",
            kind="url",
            metavar="URL",
            text="Fetch every file from this index, whatever the plugin's lock names.",
        ),
        Setting(
            name="backend",
            kind="choice",
            choices=_backends,
            default="local",
            text="How far the proof goes: the package is read only, or the daemon's steps run on this machine or in"
            " its image.",
        ),
        Setting(
            name="image",
            metavar="REF",
            needs="container",
            text="Use this image, by tag, digest or id, in place of the daemon release's own.",
        ),
        Setting(
            name="pull",
            kind="choice",
            choices=lambda: ("never", "missing", "always"),
            default="missing",
            needs="container",
            text="When to get the image from its registry.",
        ),
        Setting(
            name="platform",
            metavar="OS/ARCH",
            needs="container",
            text="The image's platform in Docker's words, such as linux/arm64.",
        ),
        Setting(
            name="matrix",
            kind="flag",
            needs="verification",
            text="Add a mirror that is set, and the oldest release of each way to install.",
        ),
        Setting(
            name="public-key",
            kind="path",
            metavar="FILE",
            many=True,
            text="One of these keys, which the site trusts, must confirm the package's signature.",
        ),
        Setting(
            name="allow-stand-in",
            kind="flag",
            needs="verification",
            text="Accept another uv, or the newest known rules, in place of the daemon release's own.",
        ),
        Setting(
            name="strict",
            kind="flag",
            needs="verification",
            text="Refuse also what the daemon installs all the same, such as a lock whose hashes do not count.",
        ),
        Setting(
            name="trust-plugin",
            kind="flag",
            needs="this machine",
            text="Run what the plugin and its dependencies bring even where nothing protects this machine from it.",
        ),
        Setting(
            name="cache-dir",
            kind="path",
            metavar="DIRECTORY",
            default_text="the user's cache folder",
            text="Where wheels, uv releases and what was built here are kept.",
        ),
    )
}


SITE_VARIABLES: Final = frozenset(setting.variable for setting in SETTINGS.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A site as it was said, with the parts of the proof that belong to it.

    Nothing in `releases` or `targets` leaves the choice to what is built or verified. `dify` are the versions that
    were named, whose releases are among `releases`. `image` is a reference, `pull`
    says when to ask its registry, `platform` is Docker's word. `cache` is absolute.
    """

    releases: "tuple[Release, ...]"
    dify: tuple[str, ...]
    targets: "tuple[Target, ...]"
    settings: "Settings"
    index_url: str | None
    backend: str
    image: str | None
    pull: Pull
    platform: str | None
    matrix: bool
    public_keys: tuple[Path, ...]
    allow_stand_in: bool
    strict: bool
    trust_plugin: bool
    cache: Path


def make_site(values: Mapping[str, Any]) -> Site:
    """Return the site of parsed values by the names of the table; what is not there has its default.

    Raises `DifyoffError` (`unknown-daemon-release`, `target-unreadable`).
    """
    from ..difypkg import daemons
    from ..difypkg.daemons import Settings

    given = {name: values.get(name) for name in SETTINGS}
    releases = (
        *map(daemons.release, given["daemon"] or ()),
        *map(daemons.release_for_dify, given["dify"] or ()),
    )
    return Site(
        releases=tuple(dict.fromkeys(releases)),
        dify=tuple(given["dify"] or ()),
        targets=_targets(given["arch"], given["target"]),
        settings=Settings(
            mirror=given["mirror"], ignore_lock=bool(given["ignore-lock"]), max_package_size=given["max-size"]
        ),
        index_url=given["index-url"],
        backend=given["backend"] or "local",
        image=given["image"],
        pull=given["pull"] or "missing",
        platform=given["platform"],
        matrix=bool(given["matrix"]),
        public_keys=tuple(given["public-key"] or ()),
        allow_stand_in=bool(given["allow-stand-in"]),
        strict=bool(given["strict"]),
        trust_plugin=bool(given["trust-plugin"]),
        cache=_cache(given["cache-dir"]),
    )


def _targets(architecture: str | None, target: str | None) -> "tuple[Target, ...]":
    from ..difypkg.target import ARCHITECTURES, TARGETS
    from .targets import read_target

    if target is not None:
        return (TARGETS[target] if target in TARGETS else read_target(Path(target)).target,)
    names = ARCHITECTURES if architecture == "all" else (architecture,)
    return tuple(TARGETS[name] for name in ARCHITECTURES if name in names)


def _cache(folder: Path | None) -> Path:
    return (default_cache() if folder is None else folder).expanduser().absolute()


def default_cache() -> Path:
    """Return the user's cache folder. Raises `DifyoffError` (`store-not-writable`) where the user has no home."""
    from platformdirs import user_cache_path

    from ..difypkg.diagnosis import Diagnosis, DifyoffError
    from ..sandbox.cache import CHANGE_CACHE

    try:
        return user_cache_path("difyoff")
    except RuntimeError as error:
        raise DifyoffError(
            Diagnosis(
                slug="store-not-writable",
                message="this user has no home folder, so there is no place for the cache",
                hint=CHANGE_CACHE,
            )
        ) from error


def parse_size(text: str) -> int:
    """Return the bytes of a size. `K`, `M` and `G` are powers of 1024, as nginx and Docker read them; `MB` is 10^6.

    Raises `ValueError` with what is wrong.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size; write it as 52428800, 50M, 50MiB or 52.4MB")
    decimal = match["unit"] and match["kind"].lower() == "b"
    factor = _UNITS[match["unit"].lower() + ("b" if decimal else "")]
    number = match["number"]
    size = int(number) * factor if number.isdecimal() else int(float(number) * factor)
    if size < 1:
        raise ValueError(f"{text!r} is not a size: it must be at least one byte")
    return size


def _truth(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")

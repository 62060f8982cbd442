"""What the daemon's image has beside Python: the libraries that its linker finds and the programs on its PATH."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from packaging.version import Version

from .daemons import Release
from .target import Architecture, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContents:
    """Names of shared libraries (`libssl.so.3`) and of programs (`ffmpeg`) that an image has."""

    libraries: frozenset[str]
    programs: frozenset[str]


def image_contents(release: Release, target: Target) -> ImageContents:
    """Return what the image has: the target's own, where they were read off one, else the release's published one."""
    published = _published(release, target.architecture)
    return ImageContents(
        libraries=published.libraries if target.libraries is None else target.libraries,
        programs=published.programs if target.programs is None else target.programs,
    )


@cache
def _published(release: Release, architecture: Architecture) -> ImageContents:
    """Read `image.toml`."""
    libraries: set[str] = set()
    programs: set[str] = set()
    for change in tomllib.loads((files("difyoff.difypkg") / "image.toml").read_text(encoding="utf-8"))["change"]:
        if Version(change["since"]) <= release.version:
            libraries.update(change["libraries"].split())
            programs.update(change["programs"].split())
    return ImageContents(
        libraries=frozenset(_for(architecture, libraries)), programs=frozenset(_for(architecture, programs))
    )


def _for(architecture: Architecture, names: Iterable[str]) -> Iterable[str]:
    if architecture == "amd64":
        return names
    loader = {"ld-linux-x86-64.so.2": "ld-linux-aarch64.so.1"}
    return (loader.get(name, name.replace("x86_64", "aarch64")) for name in names)

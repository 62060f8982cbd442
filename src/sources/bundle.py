"""A bundle of Dify's (`.difybndl`): its packages, and what it names of the marketplace and GitHub.

A zip with `manifest.yaml` and `_assets/`; pkg/bundle_packager and pkg/entities/bundle_entities/dependency.go, 0.6.10.
"""

import re
from pathlib import Path
from typing import Any, Final

from ..difypkg.archive import Archive
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.manifest import ASSETS, MANIFEST, parse_yaml
from ..difypkg.place import PluginPlace
from .local import exists
from .marketplace import PREFIX, read_reference
from .source import Access, Collection, Member

_SUFFIX: Final = ".difybndl"
_REPOSITORY: Final = re.compile(r"(?P<owner>[^/:]+)/(?P<repo>[^/:]+)[:/](?P<tag>[^/:]+)[/:](?P<asset>[^/:]+)")


def claims(text: str, access: Access) -> bool:
    """Say whether a text is the path of a bundle."""
    return text.endswith(_SUFFIX) and exists(text)


def locate(text: str, access: Access) -> Collection:
    """Return the bundle's members; packages within it go into the store."""
    with Archive(Path(text)) as archive:
        if MANIFEST not in archive:
            raise _not_a_bundle(text, f"it has no {MANIFEST}")
        manifest = parse_yaml(archive.read(MANIFEST), f"{MANIFEST} of {text}")
        listed = manifest.get("dependencies") if isinstance(manifest, dict) else None
        if not isinstance(listed, list) or not listed:
            raise _not_a_bundle(text, "its manifest names no plugins")
        return Collection(name=text, members=tuple(_member(text, each, archive, access) for each in listed))


def _member(bundle: str, item: Any, archive: Archive, access: Access) -> Member:
    value = item.get("value") if isinstance(item, dict) else None
    match item.get("type") if isinstance(value, dict) else None, value:
        case "package", {"path": str(path)} if f"{ASSETS}{path}" in archive:
            return Member(source=_packed(f"{ASSETS}{path}", f"{path} of {bundle}", archive, access))
        case "marketplace", {"marketplace_pattern": str(pattern)}:
            text = PREFIX + pattern
            if read_reference(text, access.settings.marketplace) is not None:
                return Member(source=text)
        case "github", {"repo_pattern": str(pattern)} if match := _REPOSITORY.fullmatch(pattern):
            asset = "" if "*" in match["asset"] else f"/{match['asset']}"
            return Member(source=f"github:{match['owner']}/{match['repo']}@{match['tag']}{asset}")
        case _:
            pass
    raise _not_a_bundle(bundle, f"this entry of its manifest is not understood: {item}")


def _packed(path: str, name: str, archive: Archive, access: Access) -> PluginPlace:
    with access.shelf.files.partial(None) as part:
        for chunk in archive.chunks(path):
            part.write(chunk)
        return PluginPlace(path=access.shelf.files.path(access.shelf.files.commit(part)), name=name)


def _not_a_bundle(name: str, why: str) -> DifyoffError:
    return DifyoffError(
        Diagnosis(
            slug="not-a-bundle",
            message=f"{name} is not a bundle of plugins: {why}",
            hint="Make it with `dify bundle`, or name the plugins one by one.",
        )
    )

"""`requirements.txt` as `uv pip install -r` reads it: what it asks for, by which hashes, and where it sends uv."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename

from ...difypkg.pep508 import parse_requirement

_HASH: Final = re.compile(r"\s--hash[=\s]\s*(\S+)")
_INDEX: Final = ("-i", "--index-url", "--extra-index-url")
_LINKS: Final = ("-f", "--find-links")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementsFile:
    """What the file says. `hashes` are the SHA-256 (hex) allowed for a name; `unread` the lines we do not follow."""

    requires: tuple[Requirement, ...]
    hashes: Mapping[NormalizedName, frozenset[str]]
    no_index: bool
    find_links: tuple[str, ...]
    indexes: tuple[str, ...]
    editable: tuple[str, ...]
    unread: tuple[str, ...]


def read_requirements(lines: Sequence[str]) -> RequirementsFile:
    """Read the lines of the file, comments and continuations dealt with."""
    requires: list[Requirement] = []
    hashes: dict[NormalizedName, frozenset[str]] = {}
    options: dict[str, list[str]] = {"index": [], "links": [], "editable": []}
    unread: list[str] = []
    no_index = False
    for line in lines:
        if line.startswith("-"):
            name, value = _option(line)
            if name == "--no-index":
                no_index = True
                # Some tools write two options on one line.
                links = re.search(r"--find-links[=\s]\s*(\S+)", line)
                options["links"] += [links[1]] if links else []
            elif kind := _kind(name):
                options[kind].append(value)
            elif name in ("-r", "--requirement", "-c", "--constraint", "--no-binary"):
                unread.append(line)
            continue
        requirement = _requirement(_HASH.sub("", line).strip())
        if requirement is None:
            unread.append(line)
            continue
        requires.append(requirement)
        digests = {digest.partition(":")[2] for digest in _HASH.findall(line) if digest.startswith("sha256:")}
        if digests:
            key = canonicalize_name(requirement.name)
            hashes[key] = hashes.get(key, frozenset()) | digests
    return RequirementsFile(
        requires=tuple(requires),
        hashes=hashes,
        no_index=no_index,
        find_links=tuple(options["links"]),
        indexes=tuple(options["index"]),
        editable=tuple(options["editable"]),
        unread=tuple(unread),
    )


def _kind(name: str) -> str | None:
    kinds = {"index": _INDEX, "links": _LINKS, "editable": ("-e", "--editable")}
    return next((kind for kind, names in kinds.items() if name in names), None)


def _option(line: str) -> tuple[str, str]:
    words = line.split()
    name, _, value = words[0].partition("=")
    return name, value or (words[1] if len(words) > 1 else "")


def _requirement(text: str) -> Requirement | None:
    if (requirement := parse_requirement(text)) is not None:
        return requirement
    # A wheel by its path in the package, as some tools write it.
    try:
        name, version, _, _ = parse_wheel_filename(text.removeprefix("file:").rpartition("/")[2])
    except InvalidWheelFilename:
        return None
    return Requirement(f"{name}=={version}")

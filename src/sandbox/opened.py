"""What a process of this machine has open: the files that it and all below it run code from (Linux)."""

import re
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Final

_CODE: Final = re.compile(r"^\S+ r-x\S \S+ \S+ [1-9]\d* +(/.*?)(?: \(deleted\))?$", re.MULTILINE)


def list_mapped(pid: int) -> frozenset[Path]:
    """Return the files mapped as code by a process and its descendants, by the names that they have for them.

    What may not be read, or has just ended, counts nothing.
    """
    found: set[Path] = set()
    for each in _family(pid):
        with suppress(OSError):
            maps = Path(f"/proc/{each}/maps").read_text(encoding="utf-8", errors="surrogateescape")
            found.update(map(Path, _CODE.findall(maps)))
    return frozenset(found)


def _family(pid: int) -> list[int]:
    children = defaultdict(list)
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # proc(5): the fields after the name, which may hold blanks and brackets; the second is the parent.
            fields = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            children[int(fields[1])].append(int(status.parent.name))
    family = [pid]
    for each in family:
        family += children[each]
    return family

"""A `.difypkg` or a plugin folder of this machine, and `-`, a package on standard input."""

import sys
from pathlib import Path
from typing import Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.place import PluginPlace, local_place
from ..transfer.store import CHUNK
from .download import PACKAGE_LIMIT
from .marketplace import read_reference
from .source import Access

STDIN: Final = "-"


def claims(text: str, access: Access) -> bool:
    """Say whether a text is `-` or the path of something that exists."""
    return text == STDIN or exists(text)


def exists(text: str) -> bool:
    """Say whether there is a file or folder of that path, or something else under its name."""
    try:
        return bool(text) and (Path(text).exists() or Path(text).is_symlink())
    except (OSError, ValueError):  # too long for a path, or no text for one
        return False


def locate(text: str, access: Access) -> PluginPlace:
    """Return the file or folder; what comes on standard input goes into the store first."""
    if text == STDIN:
        return PluginPlace(path=_stdin(access), name="standard input")
    if read_reference(text, access.settings.marketplace) is not None:
        access.listen(
            Diagnosis(
                slug="path-before-name",
                message=f"{text} is taken as the path that exists here, not as a plugin of the marketplace",
                hint=f"Write marketplace:{text} for the plugin.",
            )
        )
    return local_place(Path(text))


def _stdin(access: Access) -> Path:
    with access.shelf.files.partial(None) as part:
        while chunk := sys.stdin.buffer.read(CHUNK):
            part.write(chunk)
            if part.size > PACKAGE_LIMIT:
                raise DifyoffError(
                    Diagnosis(
                        slug="download-too-large",
                        message=f"standard input has more than {PACKAGE_LIMIT:,} bytes",
                        hint="Pipe one .difypkg into difyoff.",
                    )
                )
        return access.shelf.files.path(access.shelf.files.commit(part))

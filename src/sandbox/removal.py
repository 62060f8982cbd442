"""Remove a folder that a sandboxed process could write to: however deep it is, and whatever modes its folders have."""

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex


def remove_tree(folder: Path) -> None:
    """Remove a folder and all that is in it, as far as this user may; links are removed, not followed.

    Nobody may be writing to it any more. Every folder is moved to the top before it is emptied, so that neither depth
    nor the length of a path matters.
    """
    with suppress(OSError):
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _empty(top)
        finally:
            os.close(top)
        folder.rmdir()


def _empty(top: int) -> None:
    prefix = f".{token_hex(8)}-"  # one that is not there
    pending, number = _clear(top, top, prefix, 0)
    while pending:
        name = pending.pop()
        with suppress(OSError):
            os.chmod(name, 0o700, dir_fd=top)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            try:
                found, number = _clear(below, top, prefix, number)
                pending += found
            finally:
                os.close(below)
            os.rmdir(name, dir_fd=top)


def _clear(folder: int, top: int, prefix: str, number: int) -> tuple[list[str], int]:
    """Unlink the files of a folder and move its folders to the top, under names of our own; return these."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    moved = []
    for name, is_folder in found:
        with suppress(OSError):
            if not is_folder:
                os.unlink(name, dir_fd=folder)
            elif folder == top:
                moved.append(name)
            else:
                number += 1
                new = f"{prefix}{number}"
                os.chmod(name, 0o700, dir_fd=folder)
                os.rename(name, new, src_dir_fd=folder, dst_dir_fd=top)
                moved.append(new)
    return moved, number

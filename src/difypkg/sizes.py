"""Sizes in words, everywhere the same: in MiB, as Dify states its limits."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB


def human_size(size: int) -> str:
    """Return a size in bytes in words: `13.7 MiB`, `24 KiB`, `980 bytes`."""
    if size >= MIB // 10:
        return f"{size / MIB:.1f} MiB"
    return f"{size / KIB:.0f} KiB" if size >= KIB else f"{size} bytes"

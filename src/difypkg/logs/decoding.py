"""From the bytes of a log to its lines: gzip, byte order marks, UTF-16, and the line ends of every system."""

import codecs
import re
import zlib
from collections.abc import Iterator
from typing import Final, Protocol

from ..diagnosis import Diagnosis, DifyoffError

LONGEST: Final = 8 * 1024 * 1024
"""Characters of a line; a longer one comes in pieces."""

_BLOCK: Final = 256 * 1024
_SAMPLE: Final = 4096
_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_GZIP: Final = b"\x1f\x8b"
_ARCHIVES: Final = {
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ": "an xz file",
    b"(\xb5/\xfd": "a zstd file",
    b"BZh": "a bzip2 file",
}


class Readable(Protocol):
    """A binary stream, such as an open file or stdin."""

    def read1(self, size: int = ..., /) -> bytes:
        """Return at most `size` bytes, what there is now; none at the end."""


def log_lines(stream: Readable) -> Iterator[str]:
    """Yield the lines of a log without their ends.

    Raises `DifyoffError`: `file-not-readable` for an archive. A gzip file that is cut short ends where it is cut.
    """
    rest: list[str] = []
    size = 0
    for text in _texts(stream):
        if "\n" not in text and "\r" not in text:
            if text:
                rest.append(text)
                size += len(text)
        else:
            first, *lines, last = _LINE_END.split("".join((*rest, text)))
            rest, size = [], 0
            yield first
            yield from lines
            if last:
                rest, size = [last], len(last)
        if size >= LONGEST:
            yield "".join(rest)
            rest, size = [], 0
    if rest:
        yield "".join(rest)


def _texts(stream: Readable) -> Iterator[str]:
    """Yield decoded text; a block never ends between `\\r` and `\\n`."""
    blocks = _unpacked(stream)
    start = b""
    for block in blocks:
        start += block
        if len(start) >= _SAMPLE:
            break
    decoder = codecs.getincrementaldecoder(_encoding(start))(errors="replace")
    held = ""
    for block in _chain(start, blocks):
        text = held + decoder.decode(block)
        held = "\r" if text.endswith("\r") else ""
        yield text[: len(text) - len(held)]
    yield held + decoder.decode(b"", final=True)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _encoding(start: bytes) -> str:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = start[:_SAMPLE]
    zeros = [sample[parity::2].count(0) for parity in (0, 1)]
    if zeros[1] > len(sample) // 5 and zeros[1] > 4 * zeros[0]:  # PowerShell's `>`, with the mark cut off
        return "utf-16-le"
    if zeros[0] > len(sample) // 5 and zeros[0] > 4 * zeros[1]:
        return "utf-16-be"
    return "utf-8-sig"


def _unpacked(stream: Readable) -> Iterator[bytes]:
    first = stream.read1(_BLOCK)
    while first and len(first) < max(map(len, _ARCHIVES)):  # a pipe may give less than a signature
        more = stream.read1(_BLOCK)
        if not more:
            break
        first += more
    for magic, name in _ARCHIVES.items():
        if first.startswith(magic):
            raise DifyoffError(
                Diagnosis(
                    slug="file-not-readable",
                    message=f"the log is {name}, not text",
                    hint="Unpack it and diagnose the text files in it; gzip is read as it is.",
                )
            )
    blocks = _chain(first, iter(lambda: stream.read1(_BLOCK), b""))
    yield from _gunzipped(blocks) if first.startswith(_GZIP) else blocks


def _gunzipped(blocks: Iterator[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    for packed in blocks:
        while packed:
            try:
                unpacked = unpacker.decompress(packed, _BLOCK)
            except zlib.error:  # damaged: what was read until here counts
                return
            if unpacked:
                yield unpacked
            if unpacker.eof:  # log rotation appends members
                packed = unpacker.unused_data
                unpacker = zlib.decompressobj(wbits=31)
            else:
                packed = unpacker.unconsumed_tail
    yield unpacker.flush()

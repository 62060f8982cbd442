"""Report formats by the suffix of the file: one protocol, one table.

A format is a module with the two functions of `Format`. A new one is that module and a line in `FORMATS`.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, cast


class Document(Protocol):
    """What every command's document has; `difyoff.render.documents` holds the classes."""

    @property
    def schema_version(self) -> int:
        """The version of the document's JSON schema."""

    @property
    def command(self) -> str:
        """The command that made it; empty where none was recognised."""

    @property
    def exit_code(self) -> int:
        """The worst exit code of the results."""

    @property
    def results(self) -> Sequence[object]:
        """One result for each input."""


class Format(Protocol):
    """One format of a report."""

    def render(self, document: Document) -> str:
        """Return a document as text that ends with a line feed."""

    def recognises(self, content: bytes) -> bool:
        """Say whether a file's content is a report of this format that difyoff wrote."""


FORMATS: Final[dict[str, str]] = {
    ".json": "difyoff.render.json_format",
    ".cdx.json": "difyoff.render.cyclonedx_format",
    ".html": "difyoff.render.html_format",
    ".xml": "difyoff.render.junit_format",
    ".sarif": "difyoff.render.sarif_format",
    ".md": "difyoff.render.markdown_format",
}
"""The module of each suffix; it is imported when a report of it is written."""


def find_format(path: Path) -> Format | None:
    """Return the format that a file's name asks for, None where there is no such format."""
    names = sorted((suffix for suffix in FORMATS if path.name.lower().endswith(suffix)), key=len)
    return cast("Format", import_module(FORMATS[names[-1]])) if names else None

"""What a continuous integration shows of a run by itself: GitHub's step summary and annotations."""

import os
from pathlib import Path

from ..difypkg.diagnosis import Diagnosis
from ..difypkg.files import output_errors
from ..render.api import Document
from ..render.entries import entries_of, failures_of, findings_of
from .console import say


def announce(document: Document) -> None:
    """Add a document to the step's summary and annotate the run, where GitHub Actions runs it.

    Raises `DifyoffError` (`disk-full`, `output-not-writable`) where the summary cannot be written.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for entry in entries_of(document):
        for diagnosis in failures_of(entry):
            say(_annotation("error" if entry.exit_code else "warning", entry.name, diagnosis))
        for finding in findings_of(entry):
            say(_annotation("notice", entry.name, finding))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        from ..render.markdown_format import render

        path = Path(summary)
        with output_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(render(document))


def _annotation(level: str, name: str, diagnosis: Diagnosis) -> str:
    """Return a workflow command; a package's text cannot begin one of its own."""
    title = f"{diagnosis.slug}: {name}".replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    text = diagnosis.message if not diagnosis.hint else f"{diagnosis.message}\nFix: {diagnosis.hint}"
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{level} title={title.replace(':', '%3A').replace(',', '%2C')}::{text}"

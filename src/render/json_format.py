"""The JSON document, keys in the order of its class; its schemas lie in `difyoff/render/schemas/`."""

import json
from dataclasses import asdict
from typing import Any

from .api import Document


def render(document: Document) -> str:
    """Return the document's JSON."""
    data: Any = document
    return json.dumps(asdict(data), indent=2, ensure_ascii=False) + "\n"


def recognises(content: bytes) -> bool:
    """Say whether the content is such a document."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and {"schema_version", "command", "exit_code", "results"} <= data.keys()

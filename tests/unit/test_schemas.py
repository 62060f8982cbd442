"""The schemas that the package carries fit the documents that the commands print.

`pytest tests/unit/test_schemas.py --update-golden` writes src/render/schemas/.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from kit.documents import DOCUMENTS, schema


@pytest.mark.parametrize("command", DOCUMENTS)
def test_the_schema_is_up_to_date(command: str, pytestconfig: pytest.Config) -> None:
    file = files("difyoff.render") / "schemas" / f"{command}.json"
    if pytestconfig.getoption("--update-golden"):
        Path(str(file)).write_text(schema(command), encoding="utf-8")

    assert file.read_text(encoding="utf-8") == schema(command), "write it with --update-golden"


@pytest.mark.parametrize("command", DOCUMENTS)
def test_every_document_has_the_same_head(command: str) -> None:
    definitions = json.loads(schema(command))["$defs"]
    documents = {
        name: each for name, each in definitions.items() if name.endswith("Document") and "command" in _keys(each)
    }

    assert len(documents) == 2
    for document in documents.values():
        assert {"schema_version", "command", "exit_code", "results"} == _keys(document) == set(document["required"])


def _keys(definition: dict[str, Any]) -> set[str]:
    return set(definition["properties"])


@pytest.mark.parametrize("command", DOCUMENTS)
def test_every_result_says_how_it_ended(command: str) -> None:
    definitions = json.loads(schema(command))["$defs"]

    for name, definition in definitions.items():
        if name.endswith("Result"):
            assert {"exit_code", "diagnosis"} <= _keys(definition)


def test_no_other_schema_is_shipped() -> None:
    shipped = {entry.name for entry in (files("difyoff.render") / "schemas").iterdir() if entry.name.endswith(".json")}

    assert shipped == {f"{command}.json" for command in DOCUMENTS}

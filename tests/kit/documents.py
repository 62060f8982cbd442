"""The JSON documents of the commands, by the classes that they are made from."""

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from difyoff.render.documents import (
    AddDocument,
    BuildDocument,
    DiagnoseDocument,
    DiffDocument,
    ExplainDocument,
    FailureDocument,
    FetchDocument,
    InspectDocument,
    KeygenDocument,
    LockDocument,
    OutdatedDocument,
    RemoveDocument,
    SearchDocument,
    SignDocument,
    SignoffDocument,
    UpgradeDocument,
    VerifyDocument,
)

DOCUMENTS: dict[str, Any] = {
    "build": BuildDocument,
    "add": AddDocument,
    "fetch": FetchDocument,
    "lock": LockDocument,
    "outdated": OutdatedDocument,
    "remove": RemoveDocument,
    "search": SearchDocument,
    "upgrade": UpgradeDocument,
    "diagnose": DiagnoseDocument,
    "explain": ExplainDocument,
    "inspect": InspectDocument,
    "keygen": KeygenDocument,
    "report": DiffDocument,
    "sign": SignDocument,
    "signoff": SignoffDocument,
    "verify": VerifyDocument,
}
"""Each command's document; of a failure before there is any result, `FailureDocument` stands in its place."""


class _Written(GenerateJsonSchema):
    """The schema of what is written: every key is there, whatever it would be by default."""

    def field_is_required(self, *_: Any, **__: Any) -> bool:
        return True

    def field_title_should_be_set(self, _: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def schema(command: str) -> str:
    """Return the text of a command's JSON schema (draft 2020-12)."""
    made = TypeAdapter(DOCUMENTS[command] | FailureDocument).json_schema(
        mode="serialization", schema_generator=_Written
    )
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"difyoff {command} --json"}
    return json.dumps(head | made, indent=1, ensure_ascii=False) + "\n"


def check_document(text: str, command: str) -> Any:
    """Check that a text is one document of the command, nothing missing and nothing more; return it parsed."""
    document = json.loads(text)
    assert document["command"] == command
    assert document["schema_version"] == 1
    assert document in (_known(text, DOCUMENTS[command]), _known(text, FailureDocument))
    return document


def _known(text: str, document: Any) -> Any:
    """Return what a class knows of the text, None where it is no such document."""
    adapter = TypeAdapter(document)
    try:
        return json.loads(adapter.dump_json(adapter.validate_json(text)))
    except ValidationError:
        return None

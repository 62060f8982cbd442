"""The JSON documents of the commands, by the classes that they are made from."""

import json
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from difyoff.commands.diagnose import DiagnoseDocument
from difyoff.commands.verify import VerifyDocument
from difyoff.documents import BuildDocument, FailureDocument, InspectDocument

DOCUMENTS: dict[str, TypeAdapter[Any]] = {
    "build": TypeAdapter(BuildDocument | FailureDocument),
    "diagnose": TypeAdapter(DiagnoseDocument | FailureDocument),
    "inspect": TypeAdapter(InspectDocument | FailureDocument),
    "verify": TypeAdapter(VerifyDocument | FailureDocument),
}


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
    made = DOCUMENTS[command].json_schema(mode="serialization", schema_generator=_Written)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"difyoff {command} --json"}
    return json.dumps(head | made, indent=1, ensure_ascii=False) + "\n"


def check_document(text: str, command: str) -> Any:
    """Check that a text is one document of the command, nothing missing and nothing more; return it parsed."""
    document = json.loads(text)
    assert document["command"] == command
    assert document["schema_version"] == 1
    known = DOCUMENTS[command].validate_json(text)
    assert json.loads(DOCUMENTS[command].dump_json(known)) == document
    return document

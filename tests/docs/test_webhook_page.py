"""The page about webhooks says what is sent."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collectors_dagster.integrations.notify.message import AlertMessage

PAGE = Path(__file__).resolve().parents[2] / "docs" / "webhook.md"


def rows(schema: dict[str, Any], definitions: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Return one table row per field, with the fields inside it below."""
    for name, field in schema["properties"].items():
        yield f"| `{prefix}{name}` | {kind(field, definitions)} | {field['description']} |"
        inside = definitions.get(reference(field))
        if inside and "properties" in inside:
            yield from rows(inside, definitions, f"{prefix}{name}{'[]' if 'items' in field else ''}.")


def reference(field: dict[str, Any]) -> str:
    """Return the name of the part a field holds."""
    choices = [field, field.get("items", {}), *field.get("anyOf", [])]
    return next((one["$ref"].rpartition("/")[2] for one in choices if "$ref" in one), "")


def kind(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Return a field's type in words."""
    if "anyOf" in field:
        return " or ".join(kind(choice, definitions) for choice in field["anyOf"])
    inside = definitions.get(reference(field), {})
    if "enum" in inside:
        return ", ".join(f"`{value}`" for value in inside["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return "list"
    return "object" if inside else str(field.get("format") or field["type"])


def test_table_lists_every_field_with_its_type_and_meaning() -> None:
    schema = AlertMessage.model_json_schema(mode="serialization")
    written = [line for line in PAGE.read_text().splitlines() if line.startswith("| `") and line.count("|") == 4]
    assert written == list(rows(schema, schema["$defs"]))


def test_example_is_a_body_and_complete() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    body = json.loads(example)
    assert AlertMessage.model_validate(body).model_dump(mode="json") == body

"""Where a payload differs from the shape that the contract gives it."""

from collections.abc import Iterator, Mapping
from typing import Any

from duomi_api.contract import SCHEMAS

TASK_SCHEMA: Mapping[str, Any] = SCHEMAS["GET /v1/videos/tasks/{task_id}"]["200"]

_NAMES: Mapping[type, str] = {list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


def differences(value: object, schema: Mapping[str, Any], pointer: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the JSON pointer, a text, and whether the generated model cannot hold it, for each difference."""
    if value is None:
        if not schema.get("nullable") and schema.get("type") is not None and "null" not in _types(schema):
            yield pointer, f"is null, the contract says {'/'.join(_types(schema))}", True
        return
    kind = "object" if isinstance(value, Mapping) else _NAMES.get(type(value), type(value).__name__)
    if isinstance(value, float) and value.is_integer():
        kind = "integer"
    allowed = _types(schema)
    if allowed and kind not in allowed and not (kind == "integer" and "number" in allowed):
        yield pointer, f"is {_brief(value)}, the contract says {'/'.join(allowed)}", True
        return
    if "enum" in schema and value not in schema["enum"]:
        yield pointer, f"is {_brief(value)}, which the contract does not list", False
    if isinstance(value, Mapping):
        properties: Mapping[str, Any] = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{pointer}/{escape(name)}", "is missing", True
        for name, child in properties.items():
            if name in value:
                yield from differences(value[name], child, f"{pointer}/{escape(name)}")
    elif isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from differences(item, schema["items"], f"{pointer}/{number}")


def escape(token: str) -> str:
    """Write one name as a segment of a JSON pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    kind = schema.get("type", ())
    return (kind,) if isinstance(kind, str) else tuple(kind)


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

"""Make example values that conform to a schema."""

from __future__ import annotations

from typing import Any

from contract.document import resolve
from contract.facts import simplify, type_of

# A recursive schema has no full value, so deeper levels are left out.
DEPTH = 8
_FORMATS = {
    "date-time": "2025-01-0{}T00:00:00+00:00",
    "date": "2025-01-0{}",
    "uuid": "00000000-0000-4000-8000-00000000000{}",
}


def example(document: dict[str, Any], node: Any, variant: int = 1, path: str = "", depth: int = 0) -> Any:
    """Return a value for a schema, with every field; each `variant` (1 to 9) gives another value."""
    schema, _, _ = simplify(document, *resolve(document, node, path))
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        values = [value for value in schema["enum"] if value is not None]
        return values[(variant - 1) % len(values)]
    for keyword in ("oneOf", "anyOf"):
        if schema.get(keyword):
            return example(document, schema[keyword][0], variant, path, depth + 1)
    match type_of(schema):
        case "object":
            fields = {} if depth >= DEPTH else schema.get("properties", {})
            return {
                name: example(document, child, variant, f"{path}/{name}", depth + 1) for name, child in fields.items()
            }
        case "array" if depth >= DEPTH:
            return []
        case "array":
            return [example(document, schema.get("items", {}), variant, f"{path}/0", depth + 1)]
        case "integer":
            return 10 * (1 + sum(map(ord, path)) % 9) + variant
        case "number":
            return 10.5 + variant
        case "boolean":
            return variant % 2 == 1
        case "null":
            return None
        case _:
            known = _FORMATS.get(schema.get("format", ""))
            return f"{path.rpartition(' ')[2]} {variant}" if known is None else known.format(variant)

"""Read schemas as the generator reads them: their alternatives, the kinds of value they allow, and their fields."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import attrs

from contract.document import ContractError, entries, escape, followed, mapping, resolve

# The forms of text that the generated code reads as another type.
FORMATS = {"date-time", "date", "uuid", "binary"}
_PLAIN = ("boolean", "number", "integer", "null", "array", "object")


@attrs.frozen
class Field:
    """A field of an object; it is `contested` if several parts of an allOf make other values of it."""

    schema: Any
    pointer: str
    required: bool
    contested: bool


def label_table(listed: Any) -> dict[str, str]:
    """Read `x-apifox-enum` as a table from value to label, which is a name, or else a description, without empty labels."""
    found: dict[str, str] = {}
    for _, entry in entries(listed):
        texts = [mapping(entry).get(key) for key in ("name", "label", "description")]
        if label := next((text.strip() for text in texts if isinstance(text, str) and text.strip()), ""):
            found[str(entry.get("value"))] = label
    return found


def text_of(value: Any) -> str:
    """Return a value as a query, a header or an enum says it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def values_of(schema: Mapping[str, Any]) -> Any:
    """Return the values that a schema lists, or its constant, or None."""
    return schema.get("enum", [schema["const"]] if "const" in schema else None)


def normal(document: Mapping[str, Any], node: Any, pointer: str = "") -> tuple[dict[str, Any], str]:
    """Return a schema without references and `nullable`, as the generator's model of OpenAPI has it, and its pointer."""
    seen: set[str] = set()
    while True:
        found, pointer = resolve(document, node, pointer)
        schema = dict(mapping(found))
        kinds = schema.get("type")
        several = {key: schema[key] for key in ("allOf", "anyOf", "oneOf") if schema.get(key)}
        if schema.pop("nullable", False):
            if kinds:
                return {**schema, "type": [*(kinds if isinstance(kinds, list) else [kinds]), "null"]}, pointer
            return {"oneOf": [several, {"type": "null"}]} if several else schema, pointer
        parts = [(part, f"{pointer}/{key}/{n}") for key, listed in several.items() for n, part in enumerate(listed)]
        if len(parts) != 1 or "$ref" not in parts[0][0] or pointer in seen:
            return schema, pointer
        seen.add(pointer)
        node, pointer = parts[0]


def variants(schema: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the alternatives of a schema in the generator's order, each with the end of its pointer, if it has any."""
    kinds = schema.get("type")
    if schema.get("enum") or kinds == "boolean":
        return []
    alone = {key: value for key, value in schema.items() if key not in {"anyOf", "oneOf", "default"}}
    listed = [("", {**alone, "type": kind}) for kind in kinds] if isinstance(kinds, list) else []
    return [
        (f"/{key}/{n}", each) for key in ("anyOf", "oneOf") for n, each in enumerate(schema.get(key) or [])
    ] + listed


def leaves(
    document: Mapping[str, Any], node: Any, pointer: str = "", seen: set[str] | None = None
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the schemas without alternatives that a schema allows, each with its pointer."""
    seen = set() if seen is None else seen
    schema, pointer = normal(document, node, pointer)
    found = variants(schema)
    if not found:
        yield schema, pointer
    elif pointer not in seen:  # a schema that stands inside itself adds nothing to itself
        seen.add(pointer)
        for end, each in found:
            yield from leaves(document, each, pointer + end, seen)


def kinds_of(document: Mapping[str, Any], node: Any) -> set[str]:
    """Return the kinds of value that the generator makes of a schema."""
    return {kind for schema, _ in leaves(document, node) for kind in kinds(schema)}


def kinds(schema: Mapping[str, Any]) -> set[str]:
    """Return the kinds of value that the generator makes of a schema without alternatives."""
    kind = schema.get("type")
    if schema.get("enum") and kind != "boolean":
        return {"null" if value is None else "enum" for value in schema["enum"]}
    if schema.get("const") is not None and kind != "boolean":
        return {f"const {json.dumps(schema['const'], ensure_ascii=False)}"}
    if kind == "string":
        return ({str(schema.get("format"))} & FORMATS) or {"string"}
    if kind in _PLAIN:
        return {kind}
    return {"object"} if schema.get("allOf") or (kind is None and schema.get("properties")) else {"any"}


def fields_of(document: Mapping[str, Any], schema: dict[str, Any], pointer: str = "") -> dict[str, Field]:
    """Return the fields of an object schema by name."""
    parts = list(_parts(document, schema, pointer, set()))
    required = {name for part, _ in parts for name in part.get("required") or []}
    found = [(name, child, at) for part, at in parts for name, child in (part.get("properties") or {}).items()]
    last = {name: child for name, child, _ in found}
    contested = {
        name
        for name, child, _ in found
        if child != last[name]
        and ((one := kinds_of(document, child)) != kinds_of(document, last[name]) or one & {"array", "enum", "object"})
    }
    return {
        name: Field(child, f"{at}/properties/{escape(name)}", name in required, name in contested)
        for name, child, at in found
    }


def object_of(document: Mapping[str, Any], node: Any) -> dict[str, Any]:
    """Return all the fields of an object, which may be an allOf, as one object's; none if something is wrong with it."""
    fields: dict[str, Field] = {}
    with suppress(ContractError, AttributeError, TypeError):
        fields = fields_of(document, followed(document, node))
    source = {name: field.schema for name, field in fields.items()}
    return {"properties": source, "required": [name for name, field in fields.items() if field.required]}


def _parts(
    document: Mapping[str, Any], schema: dict[str, Any], pointer: str, seen: set[str]
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the parts of an allOf, and then the schema itself, each with its pointer."""
    if pointer not in seen:
        seen.add(pointer)
        for number, part in enumerate(schema.get("allOf") or []):
            yield from _parts(document, *normal(document, part, f"{pointer}/allOf/{number}"), seen)
        yield schema, pointer

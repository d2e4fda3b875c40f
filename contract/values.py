"""Read schemas as the generator reads them: the kinds of value they allow, and example values."""

from __future__ import annotations

import datetime as dt
import enum
import io
import itertools
import json
import types
import typing
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from contract.document import resolve

# A recursive schema has no full value, so deeper levels are left out; each model is proven by its own example.
DEPTH = 6
SHOWN = 3
MOST_PARTS = 2_000
_FORMATS = {"date-time": "date-time", "date": "date", "uuid": "uuid", "binary": "binary"}
_SAMPLES = {
    "date-time": "2025-01-02T00:00:00+00:00", "date": "2025-01-02", "uuid": "00000000-0000-4000-8000-000000000001",
}  # fmt: skip
_PYTHON: Mapping[Any, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", dt.datetime: "date-time", dt.date: "date",
    uuid.UUID: "uuid", Any: "any", type(None): "null", None: "null",
}  # fmt: skip


def normal(document: dict[str, Any], node: Any) -> dict[str, Any]:
    """Return a schema without references and `nullable`, as the generator's model of OpenAPI has it."""
    schema, _ = resolve(document, node, "")
    schema = dict(schema) if isinstance(schema, dict) else {}
    several = [*schema.get("allOf", []), *schema.get("anyOf", []), *schema.get("oneOf", [])]
    null = {"type": "null"}
    if schema.pop("nullable", False):
        kind = schema.get("type")
        if kind:
            kinds = kind if isinstance(kind, list) else [kind]
            schema["type"] = kinds if "null" in kinds else [*kinds, "null"]
        elif schema.get("oneOf"):
            schema["oneOf"] = [*schema["oneOf"], null]
        elif schema.get("anyOf"):
            schema["anyOf"] = [*schema["anyOf"], null]
        elif schema.get("allOf"):
            schema["oneOf"] = [null, {"allOf": schema.pop("allOf")}]
    elif len(several) == 1 and "$ref" in several[0]:
        return {**normal(document, several[0]), **({"default": schema["default"]} if "default" in schema else {})}
    return schema


def variants(schema: Mapping[str, Any]) -> list[Any]:
    """Return the alternatives of a schema, in the generator's order, or nothing if it has none."""
    kinds = schema.get("type")
    alone = {key: value for key, value in schema.items() if key not in {"anyOf", "oneOf", "default"}}
    listed = [{**alone, "type": kind} for kind in kinds] if isinstance(kinds, list) else []
    if schema.get("enum") and kinds != "boolean":
        return []
    return [*(schema.get("anyOf") or []), *(schema.get("oneOf") or []), *listed]


def kinds_of(document: dict[str, Any], node: Any, depth: int = 0) -> set[str]:
    """Return the kinds of value that the generator makes of a schema."""
    schema = normal(document, node)
    kind = schema.get("type")
    if kind == "boolean":
        return {"boolean"}
    if schema.get("enum"):
        values = [value for value in schema["enum"] if value is not None]
        return ({"enum"} if values else set()) | ({"null"} if len(values) < len(schema["enum"]) else set())
    found = variants(schema)
    if found:
        return set().union(*(kinds_of(document, each, depth + 1) for each in found)) if depth < DEPTH else {"any"}
    if schema.get("const") is not None:
        return {f"const {json.dumps(schema['const'], ensure_ascii=False)}"}
    if kind == "string":
        return {_FORMATS.get(str(schema.get("format")), "string")}
    if kind in {"number", "integer", "null", "array"}:
        return {kind}
    return (
        {"object"}
        if kind == "object" or schema.get("allOf") or (kind is None and schema.get("properties"))
        else {"any"}
    )


def fields_of(document: dict[str, Any], schema: dict[str, Any], depth: int = 0) -> tuple[dict[str, Any], set[str]]:
    """Return the fields of an object schema with those of its allOf, and the names that are required."""
    fields: dict[str, Any] = {}
    required: set[str] = set()
    for part in schema.get("allOf") or [] if depth < DEPTH else []:
        inner, names = fields_of(document, normal(document, part), depth + 1)
        fields, required = {**fields, **inner}, required | names
    return {**fields, **(schema.get("properties") or {})}, required | set(schema.get("required") or [])


def contested(document: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    """Return the names of fields that stand in several parts of an allOf, not alike."""
    parts = [normal(document, part) for part in schema.get("allOf") or []]
    tables = [fields_of(document, part)[0] for part in parts] + [schema.get("properties") or {}]
    names = [name for table in tables for name in table]
    return {n for n in names if any(a[n] != b[n] for a in tables for b in tables if n in a and n in b)}


def example(
    document: dict[str, Any], node: Any, path: str = "", depth: int = 0, spent: Iterator[int] | None = None
) -> Any:
    """Return a JSON value for a schema, with the fields of its upper levels; binary values are bytes."""
    spent = spent or itertools.count()
    if next(spent) > MOST_PARTS:
        raise LookupError(f"an example of it has more than {MOST_PARTS} parts")
    schema = normal(document, node)
    values = [value for value in schema.get("enum") or [] if value is not None]
    if values and schema.get("type") != "boolean":
        return values[-1]
    found = [each for each in variants(schema) if normal(document, each).get("type") != "null"]
    if found and depth < 2 * DEPTH:
        return example(document, found[0], path, depth + 1, spent)
    if schema.get("const") is not None:
        return schema["const"]
    (kind,) = kinds_of(document, {key: value for key, value in schema.items() if key not in {"anyOf", "oneOf"}}) or {""}
    match kind:
        case "object":
            fields, required = fields_of(document, schema)
            chosen = fields if depth < SHOWN else {name: child for name, child in fields.items() if name in required}
            return {n: example(document, child, f"{path}/{n}", depth + 1, spent) for n, child in chosen.items()}
        case "array":
            items = schema.get("items") or next(iter(schema.get("prefixItems") or [{}]))
            return [] if depth >= DEPTH else [example(document, items, f"{path}/0", depth + 1, spent)]
        case "integer" | "number":
            return 10 + sum(map(ord, path)) % 9
        case "boolean":
            return True
        case "null":
            return None
        case "binary":
            return b"x"
        case _:
            return _SAMPLES.get(kind, f"{path.rpartition('/')[2]} 1")


def members(hint: Any) -> list[Any]:
    """Return the members of a union, without the generator's `Unset`."""
    union = typing.get_origin(hint) in {typing.Union, types.UnionType}
    return [
        member for member in (typing.get_args(hint) if union else (hint,)) if getattr(member, "__name__", "") != "Unset"
    ]


def kind_of_member(member: Any) -> str:
    """Return the kind of value of one member of an annotation."""
    if typing.get_origin(member) is list:
        return "array"
    if typing.get_origin(member) is typing.Literal:
        return f"const {json.dumps(typing.get_args(member)[0], ensure_ascii=False)}"
    if isinstance(member, type) and issubclass(member, enum.Enum):
        return "enum"
    if hasattr(member, "from_dict"):
        return "object"
    return "binary" if hasattr(member, "to_tuple") else _PYTHON.get(member, str(member))


def pythonic(given: Any, hint: Any) -> Any:
    """Turn a JSON value into what a generated function takes."""
    value: Any = given
    for member in members(hint):
        kind = kind_of_member(member)
        if kind == "enum" and not isinstance(value, dict | list):
            return member(value)
        if kind == "object" and isinstance(value, dict):
            return member.from_dict(value)
        if kind in {"date-time", "date"}:
            return member.fromisoformat(value)
        if kind == "uuid":
            return uuid.UUID(str(value))
        if kind == "binary" and isinstance(value, bytes):
            return member(payload=io.BytesIO(value))
        if kind == "array" and isinstance(value, list):
            return [pythonic(item, typing.get_args(member)[0]) for item in value]
    return value


def holds_bytes(value: Any) -> bool:
    """Tell whether bytes are anywhere in a value."""
    if isinstance(value, dict | list):
        return any(holds_bytes(child) for child in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, bytes)


def plain(value: Any) -> Any:
    """Return what a generated function returned as a JSON value."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if hasattr(value, "payload"):
        return value.payload.getvalue()
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, uuid.UUID):
        return str(value)
    return [plain(item) for item in value] if isinstance(value, list) else value


def examples(holder: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield the examples that stand beside a media type, each with the end of its pointer."""
    if holder.get("example") is not None:
        yield holder["example"], "example"
    if isinstance(holder.get("examples"), dict):
        for name, entry in holder["examples"].items():
            if isinstance(entry, dict) and entry.get("value") is not None:
                yield entry["value"], f"examples/{name}/value"

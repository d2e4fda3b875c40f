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
# The forms of text that the generated code reads as another type.
FORMATS = {"date-time", "date", "uuid", "binary"}
_SAMPLES: Mapping[str, Any] = {
    "date-time": "2025-01-02T00:00:00+00:00", "date": "2025-01-02", "uuid": "00000000-0000-4000-8000-000000000001",
    "binary": b"x", "boolean": True, "null": None,
}  # fmt: skip
_PYTHON: Mapping[Any, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", dt.datetime: "date-time", dt.date: "date",
    uuid.UUID: "uuid", Any: "any", type(None): "null", None: "null",
}  # fmt: skip


class UnprovenError(Exception):
    """It cannot be told what the package should do."""


def normal(document: dict[str, Any], node: Any, depth: int = 0) -> dict[str, Any]:
    """Return a schema without references and `nullable`, as the generator's model of OpenAPI has it."""
    schema, _ = resolve(document, node, "")
    schema = dict(schema) if isinstance(schema, dict) else {}
    kinds = schema.get("type")
    several = {key: schema[key] for key in ("allOf", "anyOf", "oneOf") if schema.get(key)}
    if schema.pop("nullable", False):
        if kinds:
            return {**schema, "type": [*(kinds if isinstance(kinds, list) else [kinds]), "null"]}
        return {"oneOf": [several, {"type": "null"}]} if several else schema
    parts = list(itertools.chain(*several.values()))
    alone = len(parts) == 1 and "$ref" in parts[0] and depth < DEPTH
    return normal(document, parts[0], depth + 1) if alone else schema


def variants(schema: Mapping[str, Any]) -> list[Any]:
    """Return the alternatives of a schema, in the generator's order, or nothing if it has none."""
    kinds = schema.get("type")
    if schema.get("enum") or kinds == "boolean":
        return []
    alone = {key: value for key, value in schema.items() if key not in {"anyOf", "oneOf", "default"}}
    listed = [{**alone, "type": kind} for kind in kinds] if isinstance(kinds, list) else []
    return [*(schema.get("anyOf") or []), *(schema.get("oneOf") or []), *listed]


def leaves(document: dict[str, Any], node: Any, pointer: str = "", depth: int = 0) -> Iterator[tuple[Any, str]]:
    """Yield the schemas without alternatives that a schema allows, each with its pointer."""
    _, pointer = resolve(document, node, pointer)
    schema = normal(document, node)
    found = variants(schema) if depth < DEPTH else []
    for each in found:
        yield from leaves(document, each, pointer, depth + 1)
    if not found:
        yield schema, pointer


def kinds_of(document: dict[str, Any], node: Any) -> set[str]:
    """Return the kinds of value that the generator makes of a schema."""
    return {kind for schema, _ in leaves(document, node) for kind in _kinds(schema)}


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    kind = schema.get("type")
    if schema.get("enum") and kind != "boolean":
        return {"null" if value is None else "enum" for value in schema["enum"]}
    if schema.get("const") is not None and kind != "boolean":
        return {f"const {json.dumps(schema['const'], ensure_ascii=False)}"}
    if kind == "string":
        return ({str(schema.get("format"))} & FORMATS) or {"string"}
    if kind in {"boolean", "number", "integer", "null", "array", "object"}:
        return {kind}
    return {"object"} if schema.get("allOf") or (kind is None and schema.get("properties")) else {"any"}


def fields_of(document: dict[str, Any], schema: dict[str, Any]) -> tuple[dict[str, Any], set[str], set[str]]:
    """Return the fields of an object schema, the names that are required, and those that its allOf contests."""
    parts = list(_parts(document, schema))
    found = [(name, child) for part in parts for name, child in (part.get("properties") or {}).items()]
    fields = dict(found)
    required = {name for part in parts for name in part.get("required") or []}
    return fields, required, {name for name, child in found if child != fields[name]}


def _parts(document: dict[str, Any], schema: dict[str, Any], depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the parts of an allOf, and then the schema itself."""
    for part in schema.get("allOf") or [] if depth < DEPTH else []:
        yield from _parts(document, normal(document, part), depth + 1)
    yield schema


def example(
    document: dict[str, Any], node: Any, path: str = "", depth: int = 0, spent: Iterator[int] | None = None
) -> Any:
    """Return a JSON value for a schema, with the fields of its upper levels; binary values are bytes."""
    spent = spent or itertools.count()
    if next(spent) > MOST_PARTS:
        raise UnprovenError(f"an example of it has more than {MOST_PARTS} parts")
    allowed = [schema for schema, _ in leaves(document, node) if schema.get("type") != "null"]
    # Beside a constant the generated code may take no other value.
    schema: dict[str, Any] = min(allowed, key=lambda each: "const" not in each, default={"type": "null"})
    kind = min(_kinds(schema))
    if kind == "enum":
        return next(value for value in reversed(schema["enum"]) if value is not None)
    if kind.startswith("const "):
        return schema["const"]
    match kind:
        case "object":
            fields, required, contested = fields_of(document, schema)
            if any(kinds_of(document, fields[name]) & {"object", "array"} for name in contested):
                raise UnprovenError(f"several parts of allOf describe {', '.join(sorted(contested))}"[:200])
            chosen = fields if depth < SHOWN else {name: child for name, child in fields.items() if name in required}
            return {n: example(document, child, f"{path}/{n}", depth + 1, spent) for n, child in chosen.items()}
        case "array":
            items = schema.get("items") or next(iter(schema.get("prefixItems") or [{}]))
            return [] if depth >= DEPTH else [example(document, items, f"{path}/0", depth + 1, spent)]
        case "integer" | "number":
            return 10 + sum(map(ord, path)) % 9
        case _:
            return _SAMPLES.get(kind, f"{path.rpartition('/')[2]} 1")


def by_kind(hint: Any) -> dict[str, list[Any]]:
    """Return the members of an annotation by the kind of value that each is, without the generator's `Unset`."""
    found: dict[str, list[Any]] = {}
    union = typing.get_origin(hint) in {typing.Union, types.UnionType}
    for member in typing.get_args(hint) if union else (hint,):
        if getattr(member, "__name__", "") != "Unset":
            found.setdefault(_kind(member), []).append(member)
    return found


def _kind(member: Any) -> str:
    if typing.get_origin(member) is list:
        return "array"
    if typing.get_origin(member) is typing.Literal:
        return f"const {json.dumps(typing.get_args(member)[0], ensure_ascii=False)}"
    if isinstance(member, type) and issubclass(member, enum.Enum):
        return "enum"
    if hasattr(member, "from_dict"):
        return "object"
    return "binary" if hasattr(member, "to_tuple") else _PYTHON.get(member, str(member))


def pythonic(value: Any, hint: Any) -> Any:
    """Turn a JSON value into what a generated function takes, of several types into the first that it fits."""
    found = by_kind(hint)
    if isinstance(value, str) and "string" in found:
        return value
    errors: list[Exception] = []
    for kind, members in found.items():
        try:
            match kind, value:
                case "enum", str() | int() | float():
                    return members[0](value)
                case "object", dict():
                    return members[0].from_dict(value)
                case "date-time" | "date", _:
                    return members[0].fromisoformat(value)
                case "uuid", _:
                    return uuid.UUID(str(value))
                case "binary", bytes():
                    return members[0](payload=io.BytesIO(value))
                case "array", list():
                    return [pythonic(item, typing.get_args(members[0])[0]) for item in value]
                case _:
                    pass
        except (TypeError, ValueError) as error:
            errors.append(error)
    if errors and not any(
        kind in {"any", "boolean", "integer", "number"} or kind.startswith("const ") for kind in found
    ):
        raise errors[0]
    return value


def holds_bytes(value: Any) -> bool:
    """Tell whether bytes are anywhere in a value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, bytes) or any(map(holds_bytes, inner))


def plain(value: Any) -> Any:
    """Return what a generated function returned as a JSON value."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if hasattr(value, "payload"):
        return value.payload.getvalue()
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return value.value
    return str(value) if isinstance(value, uuid.UUID) else value


def examples(holder: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield the examples that stand beside a media type, each with the end of its pointer."""
    named = {f"examples/{name}/value": entry for name, entry in (holder.get("examples") or {}).items()}
    for end, entry in {"example": {"value": holder.get("example")}, **named}.items():
        if entry.get("value") is not None:
            yield entry["value"], end

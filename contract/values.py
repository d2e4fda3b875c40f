"""Make example values of schemas, and turn them into what the generated code takes and back."""

from __future__ import annotations

import datetime as dt
import enum
import io
import itertools
import json
import types
import typing
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from contract.schemas import fields_of, kinds, leaves

# Deeper than this only required fields are shown, and lists are empty, since a schema may stand inside itself.
SHOWN, DEPTH = 3, 6
MOST_PARTS = 2_000
_SAMPLES: Mapping[str, Any] = {
    "date-time": "2025-01-02T00:00:00+00:00", "date": "2025-01-02", "uuid": "00000000-0000-4000-8000-000000000001",
    "binary": b"x", "boolean": True, "null": None,
}  # fmt: skip
_PYTHON: Mapping[Any, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", dt.datetime: "date-time", dt.date: "date",
    uuid.UUID: "uuid", Any: "any", type(None): "null", None: "null",
}  # fmt: skip
# The kinds that a JSON value may be of.
_TAKEN: Mapping[type, set[str]] = {
    type(None): {"any", "null"}, bool: {"any", "boolean"}, int: {"any", "integer", "number", "enum"}, float: {"any", "number"},
    str: {"any", "string", "enum", "date-time", "date", "uuid", "binary"}, list: {"any", "array"}, dict: {"any", "object"},
}  # fmt: skip

# How the generated code reads a text of such a kind.
_FORMS: Mapping[str, Callable[[str], Any]] = {
    "date": dt.date.fromisoformat, "date-time": dt.datetime.fromisoformat, "uuid": uuid.UUID,
}  # fmt: skip


class UnprovenError(Exception):
    """It cannot be told what the package should do."""


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
    kind = min(kinds(schema))
    if kind == "enum":
        return next(value for value in reversed(schema["enum"]) if value is not None)
    if kind.startswith("const "):
        return schema["const"]
    match kind:
        case "object":
            fields = fields_of(document, schema)
            for name, field in fields.items():
                if field.contested:
                    raise UnprovenError(f"the field {name} stands in several parts of allOf"[:200])
            return {
                name: example(document, field.schema, f"{path}/{name}", depth + 1, spent)
                for name, field in fields.items()
                if depth < SHOWN or field.required
            }
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
    for kind, member in [(kind, member) for kind, members in found.items() for member in members]:
        try:
            match kind, value:
                case "enum", str() | int() | float():
                    return member(value)
                case "object", dict():
                    return member.from_dict(value)
                case "date-time" | "date", _:
                    return member.fromisoformat(value)
                case "uuid", _:
                    return uuid.UUID(str(value))
                case "binary", bytes():
                    return member(payload=io.BytesIO(value))
                case "array", list():
                    return [pythonic(item, typing.get_args(member)[0]) for item in value]
                case _:
                    pass
        except (KeyError, TypeError, ValueError) as error:
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


def misfit(document: dict[str, Any], node: Any, value: Any, path: str = "") -> str | None:
    """Return where in a JSON value a schema does not hold, and why, or None if its types hold."""
    every = [schema for schema, _ in leaves(document, node)]
    found = {kind: schema for schema in every for kind in kinds(schema)}
    if not any(_fits(kind, value) for kind in found):
        return f"{path or '/'} is {json.dumps(value, ensure_ascii=False)[:80]}, not {' or '.join(sorted(found))}"
    inside: list[tuple[Any, Any, str]] = []
    if isinstance(value, list) and "array" in found:
        inside = [(found["array"].get("items", {}), each, f"{path}/{n}") for n, each in enumerate(value)]
    elif isinstance(value, dict) and "object" in found and len(every) == 1:
        fields = fields_of(document, found["object"])
        for name, field in fields.items():
            if field.required and name not in value:
                return f"{path}/{name} is missing"
        inside = [(field.schema, value[name], f"{path}/{name}") for name, field in fields.items() if name in value]
    return next((said for each in inside if (said := misfit(document, *each))), None)


def _fits(kind: str, value: Any) -> bool:
    """Tell whether a JSON value is of a kind."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind in _FORMS and isinstance(value, str):
        with suppress(ValueError):
            _FORMS[kind](value)
            return True
        return False
    return kind in _TAKEN.get(type(value), ()) or kind.startswith("const ")


def examples(holder: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield the examples that stand beside a media type, each with the end of its pointer; JSON may be written as text."""
    named = {f"examples/{name}/value": entry for name, entry in (holder.get("examples") or {}).items()}
    for end, entry in {"example": {"value": holder.get("example")}, **named}.items():
        shown = entry.get("value")
        if isinstance(shown, str) and shown.lstrip()[:1] in {"{", "["}:
            with suppress(ValueError):
                shown = json.loads(shown)
        if shown is not None:
            yield shown, end

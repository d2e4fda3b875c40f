"""Read a contract as a tree of parts that can be compared: each has a place, aspects, and parts inside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from contract.dialect import label_table
from contract.document import escape, operations, place, resolve

_CONSTRAINTS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
    "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "default", "readOnly", "writeOnly",
)  # fmt: skip


@attrs.frozen
class Part:
    """A part of a contract; its `role` is document, operation, parameter, body, response or header.

    `inside` yields its parts by name, since a schema may stand inside itself.
    """

    what: str
    role: str
    pointer: str
    aspects: Mapping[str, Any] = attrs.field(factory=dict)
    inside: Callable[[], Iterator[tuple[str, Part]]] = lambda: iter(())


@attrs.frozen
class Difference:
    """One aspect of one part with two different values; a value is None if it is missing."""

    part: Part
    aspect: str
    old: Any
    new: Any


def compare(old: Part, new: Part, seen: set[Any] | None = None) -> Iterator[Difference]:
    """Yield the differences, except those inside a part that is new, removed or of another type."""
    seen = set() if seen is None else seen
    key = (old.what, old.role, old.pointer, new.pointer)
    if key in seen:
        return
    seen.add(key)
    for aspect in {**old.aspects, **new.aspects}:
        before, after = old.aspects.get(aspect), new.aspects.get(aspect)
        if repr(before) != repr(after) and _written(before) != _written(after):
            yield Difference(new, aspect, before, after)
    if old.aspects.get("type") != new.aspects.get("type"):
        return
    before, after = dict(old.inside()), dict(new.inside())
    for name in {**before, **after}:
        if name in before and name in after:
            yield from compare(before[name], after[name], seen)
        elif name in before:
            yield Difference(before[name], "is", before[name].what, None)
        else:
            yield Difference(after[name], "is", None, after[name].what)


def _written(value: Any) -> str:
    """Return a value as JSON, where 1 is not true."""
    return json.dumps(value, sort_keys=True, default=str)


def of_document(document: dict[str, Any]) -> Part:
    """Read the parts of a contract."""
    info, servers = document.get("info", {}), document.get("servers") or []

    def inside() -> Iterator[tuple[str, Part]]:
        texts = _text(info) + [server.get("description") for server in servers]
        yield "info", Part("document", "document", "/info", {"version": info.get("version"), "text": texts})
        urls = [server.get("url") for server in servers]
        variables = [server["variables"] for server in servers if server.get("variables")]
        yield "servers", Part("server", "document", "/servers", {"server": urls, "variables": variables})
        for path, method, operation in operations(document):
            yield f"{method} {path}", _operation(document, path, method, operation)

    return Part("document", "document", "", inside=inside)


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> Part:
    pointer = place(path, method)
    aspects = {
        "security": _security(document, operation),
        "servers": [s.get("url") for s in operation.get("servers") or document["paths"][path].get("servers") or []],
        "deprecated": operation.get("deprecated", False),
        "status": operation.get("x-apifox-status"),
        "operationId": operation.get("operationId"),
        "text": [*_text(operation), *operation.get("tags", [])],
    }

    def inside() -> Iterator[tuple[str, Part]]:
        for parameter, where in parameters(document, path, operation, pointer):
            yield f"{parameter['in']} parameter {parameter['name']}", _parameter(document, parameter, where)
        if "requestBody" in operation:
            body, where = resolve(document, operation["requestBody"], f"{pointer}/requestBody")
            more = {"required": bool(body.get("required", False)), "text": _text(body)}
            yield "request", Part("request body", "body", where, more, lambda: _content(document, body, where, "body"))
        for status, response in operation.get("responses", {}).items():
            answer, where = resolve(document, response, f"{pointer}/responses/{escape(status)}")
            yield f"response {status}", _answer(document, answer, where)

    return Part("operation", "operation", pointer, aspects, inside)


def _parameter(document: dict[str, Any], parameter: dict[str, Any], pointer: str) -> Part:
    content: Mapping[str, Any] = next(iter((parameter.get("content") or {}).values()), {})
    schema: dict[str, Any] = parameter.get("schema") or content.get("schema") or {}
    aspects = {
        "required": bool(parameter.get("required", False)),
        "deprecated": parameter.get("deprecated", False) or schema.get("deprecated", False),
        "status": parameter.get("x-apifox-status"),
        "text": _text(parameter),
    }
    # The parameter has the texts of its schema, too.
    return Part("parameter", "parameter", pointer, aspects, lambda: iter([
        ("schema", _schema(document, schema, f"{pointer}/schema", "parameter", texts=False))
    ]))  # fmt: skip


def _answer(document: dict[str, Any], answer: dict[str, Any], pointer: str) -> Part:
    def inside() -> Iterator[tuple[str, Part]]:
        for header in answer.get("headers") or {}:
            yield f"header {header.lower()}", Part("header", "header", f"{pointer}/headers/{escape(header)}")
        yield from _content(document, answer, pointer, "response")

    return Part("response", "response", pointer, {"text": _text(answer)}, inside)


def _content(
    document: dict[str, Any], holder: Mapping[str, Any], pointer: str, role: str
) -> Iterator[tuple[str, Part]]:
    for media, content in (holder.get("content") or {}).items():
        at = f"{pointer}/content/{escape(media)}"
        body = [("body", _schema(document, content["schema"], f"{at}/schema", role))] if "schema" in content else []
        yield media, Part("media type", role, at, {}, lambda body=body: iter(body))  # type: ignore[misc]


def parameters(
    document: dict[str, Any], path: str, operation: dict[str, Any], pointer: str
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the parameters of an operation and of its path, each with its pointer."""
    outer = pointer.rpartition("/")[0]
    shared = document["paths"][path].get("parameters", [])
    found: dict[tuple[str, str], tuple[dict[str, Any], str]] = {}
    for entries, base in ((shared, outer), (operation.get("parameters", []), pointer)):
        for number, entry in enumerate(entries):
            parameter, where = resolve(document, entry, f"{base}/parameters/{number}")
            found[parameter["in"], parameter["name"]] = parameter, where
    yield from found.values()


def _security(document: dict[str, Any], operation: dict[str, Any]) -> list[Any]:
    schemes = document.get("components", {}).get("securitySchemes", {})
    wanted = operation.get("security", document.get("security", []))
    return [{name: [scopes, schemes.get(name)] for name, scopes in option.items()} for option in wanted]


def _text(node: Mapping[str, Any]) -> list[Any]:
    return [node.get(key) or "" for key in ("title", "summary", "description")]


def _schema(document: dict[str, Any], node: Any, pointer: str, role: str, *, texts: bool = True) -> Part:
    """Read a schema, the same whether it stands in place or behind a reference."""
    schema, pointer, nullable = simplify(document, node, pointer)
    kind, enum, extras = type_of(schema), schema.get("enum"), schema.get("additionalProperties")
    aspects = {
        "type": kind,
        "nullable": nullable,
        # The order of the values has no meaning.
        "enum": None if enum is None else sorted((value for value in enum if value is not None), key=json.dumps),
        "const": schema.get("const"),
        "labels": label_table(schema.get("x-apifox-enum")) or None,
        "format": schema.get("format"),
        "constraints": {key: schema[key] for key in _CONSTRAINTS if key in schema} or None,
        "extras": extras is not False if kind == "object" else None,
    }
    if texts:
        more = {"deprecated": schema.get("deprecated", False), "status": schema.get("x-apifox-status")}
        aspects |= {"text": _text(schema), **more}

    def inside() -> Iterator[tuple[str, Part]]:
        required = schema.get("required", [])
        for name, child in schema.get("properties", {}).items():
            at = f"{pointer}/properties/{escape(name)}"
            held = [("schema", _schema(document, child, at, role))]
            yield f"field {name}", Part("field", role, at, {"required": name in required}, lambda held=held: iter(held))  # type: ignore[misc]
        for key, of in (("items", "array"), ("additionalProperties", "object")):
            if kind == of:
                inner = schema.get(key)
                yield key, _schema(document, inner if isinstance(inner, dict) else {}, f"{pointer}/{key}", role)
        for key in ("oneOf", "anyOf"):
            for number, child in enumerate(schema.get(key, [])):
                made = _schema(document, child, f"{pointer}/{key}/{number}", role)
                yield f"variant {number}", attrs.evolve(made, what="variant")

    return Part("body", role, pointer, aspects, inside)


def simplify(document: dict[str, Any], node: Any, pointer: str) -> tuple[dict[str, Any], str, bool]:
    """Resolve a schema, separate its null, and merge `allOf`; return it, its pointer, and whether null is allowed."""
    schema, pointer = resolve(document, node, pointer)
    schema = schema if isinstance(schema, dict) else {}
    nullable = bool(schema.get("nullable", False))
    if isinstance(schema.get("type"), list) and "null" in schema["type"]:
        rest = [kind for kind in schema["type"] if kind != "null"]
        schema, nullable = {**schema, "type": rest[0] if len(rest) == 1 else rest}, True
    if None in schema.get("enum", []):
        nullable = True
    for keyword in ("oneOf", "anyOf"):
        variants = schema.get(keyword)
        if not isinstance(variants, list):
            continue
        rest = [v for v in variants if not (isinstance(v, dict) and v.get("type") == "null")]
        nullable = nullable or len(rest) < len(variants)
        if len(rest) == 1:
            at = f"{pointer}/{keyword}/{variants.index(rest[0])}"
            inner, pointer, inner_nullable = simplify(document, rest[0], at)
            return inner, pointer, nullable or inner_nullable
        schema = {**schema, keyword: rest} if len(rest) < len(variants) else schema
    if isinstance(schema.get("allOf"), list):
        parts = [simplify(document, part, f"{pointer}/allOf") for part in schema["allOf"]]
        nullable = nullable or (bool(parts) and all(part[2] for part in parts))
        schema = _merged([part[0] for part in parts], schema)
    return schema, pointer, nullable


def _merged(parts: list[dict[str, Any]], schema: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    rest = {key: value for key, value in schema.items() if key != "allOf"}
    for part in (*parts, rest):
        merged = {
            **merged,
            **part,
            "properties": {**merged.get("properties", {}), **part.get("properties", {})},
            "required": [*merged.get("required", []), *part.get("required", [])],
        }
    return merged


def type_of(schema: Mapping[str, Any]) -> str:
    """Return the JSON schema type of a schema, or `any` if it has none."""
    kind = schema.get("type")
    if isinstance(kind, list):
        return "|".join(sorted(kind))
    if isinstance(kind, str):
        return kind
    for keyword, implied in (("properties", "object"), ("items", "array"), ("oneOf", "union"), ("anyOf", "union")):
        if schema.get(keyword):
            return implied
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return "string" if values and all(isinstance(value, str) for value in values) else "any"

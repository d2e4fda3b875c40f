"""Read a contract as facts that can be compared: each has a place, an aspect and a value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from contract.dialect import label_table
from contract.document import escape, operations, resolve

CONSTRAINTS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
    "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "default", "readOnly", "writeOnly",
)  # fmt: skip


@attrs.frozen
class Place:
    """A part of a contract; its `role` is document, operation, parameter, body, response or header."""

    name: str
    parent: str
    pointer: str
    role: str


@attrs.define
class Facts:
    """Places by name, and the value of each aspect of each place."""

    places: dict[str, Place] = attrs.field(factory=dict)
    values: dict[tuple[str, str], Any] = attrs.field(factory=dict)

    def add(self, name: str, parent: str, pointer: str, role: str, **aspects: Any) -> None:
        """Add a place, or more aspects of one; a `_` in an aspect's name means a space."""
        self.places.setdefault(name, Place(name, parent, pointer, role))
        for aspect, value in aspects.items():
            self.values[name, aspect.replace("_", " ")] = value


@attrs.frozen
class Difference:
    """One aspect of one place with two different values; a value is None if it is missing."""

    place: Place
    aspect: str
    old: Any
    new: Any


def compare(old: Facts, new: Facts) -> Iterator[Difference]:
    """Yield the differences, except those inside a place that is new or removed."""
    for name, aspect in dict.fromkeys([*old.values, *new.values]):
        before, after = old.values.get((name, aspect)), new.values.get((name, aspect))
        if before == after and _written(before) == _written(after):
            continue
        known = [facts.places[name] for facts in (new, old) if name in facts.places]
        place = next((candidate for candidate in known if candidate.pointer), known[0])
        one_sided = (name, "is") not in old.values or (name, "is") not in new.values
        if (one_sided and aspect != "is") or not (place.parent in old.places and place.parent in new.places):
            continue
        if _ancestor_is_one_sided(old, new, place):
            continue
        yield Difference(place, aspect, before, after)


def _written(value: Any) -> str:
    """Return a value as JSON, where 1 is not true."""
    return json.dumps(value, sort_keys=True, default=str)


def _ancestor_is_one_sided(old: Facts, new: Facts, place: Place) -> bool:
    name = place.parent
    while name:
        parent = old.places.get(name) or new.places[name]
        if ((name, "is") in old.values) != ((name, "is") in new.values) or _type(old, name) != _type(new, name):
            return True
        name = parent.parent
    return False


def _type(facts: Facts, name: str) -> object:
    return facts.values.get((name, "type"))


def of_document(document: dict[str, Any]) -> Facts:
    """Read the facts of a contract."""
    facts = Facts()
    info = document.get("info", {})
    servers = document.get("servers") or []
    facts.add("", "", "", "document")
    facts.add(
        "contract", "", "/info", "document", **{"is": "document"}, version=info.get("version"),
        text=_text(info) + [server.get("description") for server in servers],
    )  # fmt: skip
    facts.add("server", "", "/servers", "document", **{"is": "server"}, server=[s.get("url") for s in servers],
              variables=[s.get("variables") for s in servers if s.get("variables")])  # fmt: skip
    for path, method, operation in operations(document):
        _operation(document, facts, path, method, operation)
    return facts


def _operation(document: dict[str, Any], facts: Facts, path: str, method: str, operation: dict[str, Any]) -> None:
    name = f"{method.upper()} {path}"
    pointer = f"/paths/{escape(path)}/{method}"
    facts.add(
        name, "", pointer, "operation", **{"is": "operation"},
        security=_security(document, operation),
        servers=[s.get("url") for s in operation.get("servers") or document["paths"][path].get("servers") or []],
        deprecated=operation.get("deprecated", False),
        status=operation.get("x-apifox-status"),
        operationId=operation.get("operationId"),
        text=[*_text(operation), *operation.get("tags", [])],
    )  # fmt: skip
    for parameter, where in parameters(document, path, operation, pointer):
        place = f"{name} {parameter['in']} parameter {parameter['name']}"
        facts.add(
            place, name, where, "parameter", **{"is": "parameter"},
            required=bool(parameter.get("required", False)),
            deprecated=parameter.get("deprecated", False) or _schema_of(parameter).get("deprecated", False),
            status=parameter.get("x-apifox-status"),
            text=_text(parameter),
        )  # fmt: skip
        Schemas(document, facts, "parameter").add(place, name, _schema_of(parameter), f"{where}/schema", "parameter")
    if "requestBody" in operation:
        body, where = resolve(document, operation["requestBody"], f"{pointer}/requestBody")
        place = f"{name} request"
        required = bool(body.get("required", False))
        facts.add(place, name, where, "body", **{"is": "request body"}, required=required, text=_text(body))
        _content(document, facts, body, (place, where, "body"))
    for status, response in operation.get("responses", {}).items():
        answer, where = resolve(document, response, f"{pointer}/responses/{status}")
        place = f"{name} response {status}"
        facts.add(place, name, where, "response", **{"is": "response"}, text=_text(answer))
        for header in answer.get("headers") or {}:
            at = f"{where}/headers/{escape(header)}"
            facts.add(f"{place} header {header.lower()}", place, at, "header", **{"is": "header"})
        _content(document, facts, answer, (place, where, "response"))


def _content(document: dict[str, Any], facts: Facts, holder: Mapping[str, Any], at: tuple[str, str, str]) -> None:
    place, where, role = at
    for media, content in (holder.get("content") or {}).items():
        inner = f"{place} {media}"
        pointer = f"{where}/content/{escape(media)}"
        facts.add(inner, place, pointer, role, **{"is": "media type"})
        if "schema" in content:
            Schemas(document, facts, role).add(f"{inner} ", inner, content["schema"], f"{pointer}/schema", "body")


def _schema_of(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parameter's schema, its own or that of its content."""
    content: Mapping[str, Any] = next(iter((parameter.get("content") or {}).values()), {})
    schema: dict[str, Any] = parameter.get("schema") or content.get("schema") or {}
    return schema


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


@attrs.frozen
class Schemas:
    """Adds the facts of schemas, the same for a schema in place and one behind a reference."""

    document: dict[str, Any]
    facts: Facts
    role: str

    def add(self, name: str, parent: str, node: Any, pointer: str, kind: str, above: tuple[str, ...] = ()) -> None:
        """Add the facts of a schema and of all schemas inside it."""
        schema, pointer, nullable = simplify(self.document, node, pointer)
        if pointer in above:
            self.facts.add(name, parent, pointer, self.role, type="recursive", nullable=nullable)
            return
        above = (*above, pointer)
        if kind == "body":
            self.facts.add(name, parent, pointer, self.role, **{"is": "body"})
        enum = schema.get("enum")
        self.facts.add(
            name, parent, pointer, self.role, type=type_of(schema), nullable=nullable,
            enum=None if enum is None else [value for value in enum if value is not None],
            const=schema.get("const"),
            labels=label_table(schema.get("x-apifox-enum")) or None,
            format=schema.get("format"),
            constraints={key: schema[key] for key in CONSTRAINTS if key in schema} or None,
            extras=schema.get("additionalProperties") is not False if type_of(schema) == "object" else None,
        )  # fmt: skip
        if kind != "parameter":
            self.facts.values.setdefault((name, "text"), _text(schema))
            self.facts.values.setdefault((name, "deprecated"), schema.get("deprecated", False))
            self.facts.values.setdefault((name, "status"), schema.get("x-apifox-status"))
        if isinstance(schema.get("additionalProperties"), dict):
            extra, _, _ = simplify(self.document, schema["additionalProperties"], "")
            self.facts.values[name, "extras type"] = type_of(extra)
        required = schema.get("required", [])
        for field, child in schema.get("properties", {}).items():
            inner = f"{name}.{field}"
            at = f"{pointer}/properties/{escape(field)}"
            self.facts.add(inner, name, at, self.role, **{"is": "field"}, required=field in required)
            self.add(inner, name, child, at, "field", above)
        if isinstance(schema.get("items"), dict):
            self.facts.add(f"{name}[]", name, f"{pointer}/items", self.role, **{"is": "item"})
            self.add(f"{name}[]", name, schema["items"], f"{pointer}/items", "item", above)
        for keyword in ("oneOf", "anyOf"):
            for number, child in enumerate(schema.get(keyword, [])):
                inner = f"{name}<{number}>"
                self.facts.add(inner, name, f"{pointer}/{keyword}/{number}", self.role, **{"is": "variant"})
                self.add(inner, name, child, f"{pointer}/{keyword}/{number}", "variant", above)


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
            inner, pointer, inner_nullable = simplify(document, rest[0], f"{pointer}/{keyword}/0")
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
    for keyword, implied in (("properties", "object"), ("items", "array"), ("oneOf", "oneOf"), ("anyOf", "anyOf")):
        if schema.get(keyword):
            return implied
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return "string" if values and all(isinstance(value, str) for value in values) else "any"

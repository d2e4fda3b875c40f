"""Read a contract as a tree of parts that can be compared: each has a place, aspects, and parts inside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import attrs

from contract.dialect import label_table
from contract.document import entries, escape, mapping, operations, place, resolve, unescape

_CONSTRAINTS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
    "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "default", "readOnly", "writeOnly",
)  # fmt: skip


# The pointers of the fields that a schema has from the parts of its allOf.
_PLACES = "x-duomi-places"


@attrs.frozen
class Part:
    """A part of a contract; its `role` is document, operation, parameter, body, response or header."""

    document: dict[str, Any]
    what: str
    role: str
    pointer: str
    node: dict[str, Any]
    aspects: Mapping[str, Any]

    def new(self, what: str, node: Any, pointer: str, role: str = "", **aspects: Any) -> Part:
        """Return a part inside this one, of the same role if no other is given."""
        return Part(self.document, what, role or self.role, pointer, node, aspects)

    def schema(self, node: Any, pointer: str, what: str = "body", *, texts: bool = True) -> Part:
        """Read a schema, the same whether it stands in place or behind a reference."""
        schema, pointer, nullable = simplify(self.document, node, pointer)
        kind, enum = type_of(schema), schema.get("enum", [schema["const"]] if "const" in schema else None)
        aspects: dict[str, Any] = {
            "type": kind,
            "nullable": nullable,
            # The order of the values has no meaning.
            "enum": None if enum is None else sorted((value for value in enum if value is not None), key=json.dumps),
            "labels": label_table(schema.get("x-apifox-enum")) or None,
            "format": schema.get("format"),
            "constraints": {key: schema[key] for key in _CONSTRAINTS if key in schema} or None,
            "extras": schema.get("additionalProperties") is not False if kind == "object" else None,
        }
        return self.new(what, schema, pointer, **aspects, **(_said(schema) if texts else {}))

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The parts inside by name, read once."""
        return dict(self.inside())

    def inside(self) -> Iterator[tuple[str, Part]]:
        """Yield the parts inside by name, each read when it is asked for, since a schema may stand inside itself."""
        node, at = self.node, self.pointer
        match self.what:
            case "document":
                info, servers = node.get("info", {}), node.get("servers") or []
                texts = [*_said(info)["text"], *(server.get("description") for server in servers)]
                yield "info", self.new("info", {}, "/info", version=info.get("version"), text=texts)
                urls = [server.get("url") for server in servers]
                variables = [server["variables"] for server in servers if server.get("variables")]
                yield "servers", self.new("server", {}, "/servers", server=urls, variables=variables)
                for path, method, operation in operations(node):
                    yield f"{method} {path}", self.operation(path, operation, place(path, method))
            case "operation":
                for parameter, where in parameters(self.document, unescape(at.split("/")[2]), node, at):
                    name = f"{parameter.get('in')} parameter {parameter.get('name')}"
                    yield name, self.parameter(parameter, where)
                if "requestBody" in node:
                    body, where = resolve(self.document, node["requestBody"], f"{at}/requestBody")
                    needed = bool(body.get("required"))
                    yield "request", self.new("request body", body, where, "body", required=needed, **_said(body))
                for status, response in entries(node.get("responses")):
                    answer, where = resolve(self.document, response, f"{at}/responses/{escape(status)}")
                    yield f"response {status}", self.new("response", answer, where, "response", **_said(answer))
            case "parameter":
                # The parameter has the texts of its schema, too.
                yield "schema", self.schema(node.get("schema", {}), f"{at}/schema", texts=False)
            case "request body" | "response":
                for header in node.get("headers") or {}:
                    yield f"header {header.lower()}", self.new("header", {}, f"{at}/headers/{escape(header)}", "header")
                for media, content in entries(node.get("content")):
                    yield media, self.new("media type", content, f"{at}/content/{escape(media)}")
            case "media type" if "schema" in node:
                yield "body", self.schema(node["schema"], f"{at}/schema")
            case "field":
                yield "schema", self.schema(node, at)
            case "body" | "variant":
                yield from self.inside_schema()
            case _:
                pass

    def operation(self, path: str, operation: dict[str, Any], pointer: str) -> Part:
        """Read an operation."""
        servers = operation.get("servers") or self.document["paths"][path].get("servers") or []
        schemes = mapping(mapping(self.document.get("components")).get("securitySchemes"))
        wanted = operation.get("security", self.document.get("security", []))
        aspects = {
            "security": [{name: [scopes, schemes.get(name)] for name, scopes in option.items()} for option in wanted],
            "servers": [server.get("url") for server in servers],
            "operationId": operation.get("operationId"),
        }
        return self.new("operation", operation, pointer, "operation", **aspects, **_said(operation))

    def parameter(self, parameter: dict[str, Any], pointer: str) -> Part:
        """Read a parameter."""
        aspects = _said(parameter) | {"required": bool(parameter.get("required"))}
        aspects["deprecated"] = aspects["deprecated"] or parameter.get("schema", {}).get("deprecated", False)
        return self.new("parameter", parameter, pointer, "parameter", **aspects)

    def inside_schema(self) -> Iterator[tuple[str, Part]]:
        """Yield the fields, the items or the variants of a schema."""
        for name, child in self.node.get("properties", {}).items():
            at, required = _place(self.node, self.pointer, name), name in self.node.get("required", [])
            yield f"field {name}", self.new("field", child, at, required=required)
        for key, kind in (("items", "array"), ("additionalProperties", "object")):
            if self.aspects["type"] == kind:
                yield key, self.schema(mapping(self.node.get(key)), f"{self.pointer}/{key}")
        for key in ("oneOf", "anyOf"):
            named: Counter[str] = Counter()
            for number, child in enumerate(self.node.get(key, [])):
                variant = self.schema(child, f"{self.pointer}/{key}/{number}", "variant")
                # Their order has no meaning.
                name = str(mapping(child).get("$ref") or variant.aspects["type"])
                named[name] += 1
                yield f"variant {name} {named[name]}", variant


def of_document(document: dict[str, Any]) -> Part:
    """Read the parts of a contract."""
    return Part(document, "document", "document", "", document, {})


def _said(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return what any part may say about itself."""
    texts = [node.get(key) or "" for key in ("title", "summary", "description")]
    status = node.get("x-apifox-status")
    return {"deprecated": node.get("deprecated", False), "status": status, "text": [*texts, *node.get("tags", [])]}


@attrs.frozen
class Difference:
    """One aspect of one part with two different values; a value is None if it is missing."""

    part: Part
    aspect: str
    old: Any
    new: Any


def compare(old: Part, new: Part, seen: dict[Any, Any] | None = None) -> Iterator[Difference]:
    """Yield the differences, except those inside a part that is new, removed or of another type."""
    seen = {} if seen is None else seen
    # What surrounds a schema decides whether it is required and may be null; all else stands in it.
    around = [part.aspects.get(aspect) for part in (old, new) for aspect in ("required", "nullable")]
    key = (old.what, old.role, id(old.node), id(new.node), *around)
    if key in seen:
        return
    seen[key] = old, new  # which keeps the nodes, and so their identities
    for aspect in {**old.aspects, **new.aspects}:
        before, after = old.aspects.get(aspect), new.aspects.get(aspect)
        if repr(before) != repr(after) and _written(before) != _written(after):
            yield Difference(new, aspect, before, after)
    if old.aspects.get("type") != new.aspects.get("type"):
        return
    before, after = old.parts, new.parts
    for name in {**before, **after}:
        if name in before and name in after:
            yield from compare(before[name], after[name], seen)
        else:
            part = before.get(name) or after[name]
            said = name if part.what == "parameter" else part.what
            yield Difference(part, "is", *((said, None) if name in before else (None, said)))


def _written(value: Any) -> str:
    """Return a value as JSON, where 1 is not true."""
    return json.dumps(value, sort_keys=True, default=str)


def parameters(
    document: dict[str, Any], path: str, operation: dict[str, Any], pointer: str
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the parameters of an operation and of its path, each with its pointer."""
    outer = pointer.rpartition("/")[0]
    shared = document["paths"][path].get("parameters") or []
    found: dict[tuple[str, str], tuple[dict[str, Any], str]] = {}
    for listed, base in ((shared, outer), (operation.get("parameters") or [], pointer)):
        for number, entry in enumerate(listed):
            parameter, where = resolve(document, entry, f"{base}/parameters/{number}")
            found[str(parameter.get("in")), str(parameter.get("name"))] = parameter, where
    yield from found.values()


def simplify(
    document: dict[str, Any], node: Any, pointer: str, around: tuple[str, ...] = ()
) -> tuple[dict[str, Any], str, bool]:
    """Resolve a schema, separate its null, and merge `allOf`; return it, its pointer, and whether null is allowed."""
    schema, pointer = resolve(document, node, pointer)
    schema = {} if pointer in around else mapping(schema)
    around = (*around, pointer)
    kind = schema.get("type")
    nullable = (
        bool(schema.get("nullable")) or None in schema.get("enum", []) or (isinstance(kind, list) and "null" in kind)
    )
    for keyword in ("oneOf", "anyOf"):
        variants = schema.get(keyword)
        if not isinstance(variants, list):
            continue
        rest = [variant for variant in variants if mapping(variant).get("type") != "null"]
        nullable = nullable or len(rest) < len(variants)
        if len(rest) == 1:
            at = f"{pointer}/{keyword}/{variants.index(rest[0])}"
            inner, pointer, inner_nullable = simplify(document, rest[0], at, around)
            return inner, pointer, nullable or inner_nullable
        schema = {**schema, keyword: rest}
    if isinstance(schema.get("allOf"), list):
        parts = [simplify(document, part, f"{pointer}/allOf/{n}", around) for n, part in enumerate(schema["allOf"])]
        nullable = nullable or (bool(parts) and all(part[2] for part in parts))
        alone = {key: value for key, value in schema.items() if key != "allOf"}
        merged: list[tuple[dict[str, Any], str]] = [*((part, at) for part, at, _ in parts), (alone, pointer)]
        places = {name: _place(part, at, name) for part, at in merged for name in part.get("properties", {})}
        properties = {name: child for part, _ in merged for name, child in part.get("properties", {}).items()}
        required = [name for part, _ in merged for name in part.get("required", [])]
        schema = {key: value for part, _ in merged for key, value in part.items()}
        schema |= {"properties": properties, "required": required, _PLACES: places}
    return schema, pointer, nullable


def _place(schema: Mapping[str, Any], pointer: str, name: str) -> str:
    """Return the pointer of a field, which may stand in a part of an allOf."""
    return schema.get(_PLACES, {}).get(name) or f"{pointer}/properties/{escape(name)}"


def type_of(schema: Mapping[str, Any]) -> str:
    """Return the JSON schema type of a schema without its null, or `any` if it has none."""
    kind = schema.get("type")
    if isinstance(kind, list):
        return "|".join(sorted(str(each) for each in kind if each != "null"))
    if isinstance(kind, str):
        return kind
    for keyword, implied in (("properties", "object"), ("items", "array"), ("oneOf", "union"), ("anyOf", "union")):
        if schema.get(keyword):
            return implied
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return "string" if values and all(isinstance(value, str) for value in values) else "any"

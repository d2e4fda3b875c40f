"""Read a contract as a tree of parts that can be compared: each has a place, aspects, and parts inside it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import attrs

from contract.document import entries, escape, mapping, operation_name, operations, place, resolve, unescape
from contract.schemas import fields_of, label_table, leaves, normal, values_of

_CONSTRAINTS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
    "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "default", "readOnly", "writeOnly",
)  # fmt: skip
# What only a person can judge.
_CONDITIONS = (
    "not", "if", "then", "else", "contains", "minContains", "maxContains", "prefixItems", "patternProperties", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties", "dependentRequired", "dependentSchemas", "contentEncoding",
)  # fmt: skip
_Inside = Iterator[tuple[str, "Part"]]


def _nothing() -> _Inside:
    return iter(())


@attrs.frozen(slots=False)
class Part:
    """A part of a contract, `sent` by callers or read; what is inside is read when it is asked for, since it may have no end."""

    what: str
    pointer: str
    aspects: Mapping[str, Any]
    inside: Callable[[], _Inside] = _nothing
    sent: bool = False

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The parts inside by name."""
        return dict(self.inside())


def of_document(document: dict[str, Any]) -> Part:
    """Read the parts of a contract."""
    return Part("document", "", {}, _Reader(document).contract)


@attrs.frozen
class _Reader:
    document: dict[str, Any]

    def contract(self) -> _Inside:
        info, servers = self.document.get("info", {}), self.document.get("servers") or []
        texts = [*_said(info)["text"], *(server.get("description") for server in servers)]
        yield "info", Part("info", "/info", {"version": info.get("version"), "text": texts})
        variables = [server["variables"] for server in servers if server.get("variables")]
        aspects = {"server": [server.get("url") for server in servers], "variables": variables}
        yield "servers", Part("server", "/servers", aspects)
        for path, method, operation in operations(self.document):
            yield f"{method} {path}", self.operation(path, operation, place(path, method))

    def operation(self, path: str, operation: dict[str, Any], at: str) -> Part:
        servers = operation.get("servers") or self.document["paths"][path].get("servers") or []
        schemes = mapping(mapping(self.document.get("components")).get("securitySchemes"))
        wanted = operation.get("security", self.document.get("security", []))
        aspects = {
            "security": [{name: [scopes, schemes.get(name)] for name, scopes in option.items()} for option in wanted],
            "servers": [server.get("url") for server in servers],
            "operationId": operation_name(operation),
        }
        return Part("operation", at, aspects | _said(operation), partial(self.in_operation, path, operation, at))

    def in_operation(self, path: str, operation: dict[str, Any], at: str) -> _Inside:
        for parameter, where in parameters(self.document, path, operation, at):
            name, schema = f"{parameter.get('in')} parameter {parameter.get('name')}", parameter.get("schema", {})
            aspects = _said(parameter) | {"required": bool(parameter.get("required"))}
            aspects["style"] = {key: parameter[key] for key in ("style", "explode") if key in parameter} or None
            aspects["deprecated"] = aspects["deprecated"] or schema.get("deprecated", False)
            # The parameter has the texts of its schema, too.
            inside = partial(self.schema, schema, f"{where}/schema", sent=True, texts=False)
            yield name, Part("parameter", where, aspects, inside, sent=True)
        if "requestBody" in operation:
            body, where = resolve(self.document, operation["requestBody"], f"{at}/requestBody")
            aspects = _said(body) | {"required": bool(body.get("required"))}
            inside = partial(self.content, body, where, sent=True)
            yield "request", Part("request body", where, aspects, inside, sent=True)
        for status, response in entries(operation.get("responses")):
            answer, where = resolve(self.document, response, f"{at}/responses/{escape(status)}")
            yield f"response {status}", Part("response", where, _said(answer), partial(self.content, answer, where))

    def content(self, holder: dict[str, Any], at: str, *, sent: bool = False) -> _Inside:
        for header in holder.get("headers") or {}:
            yield f"header {header.lower()}", Part("header", f"{at}/headers/{escape(header)}", {})
        for media, content in entries(holder.get("content")):
            where = f"{at}/content/{escape(media)}"
            body = (
                partial(self.schema, content["schema"], f"{where}/schema", sent=sent)
                if "schema" in content
                else _nothing
            )
            aspects = {"style": content.get("encoding") or None} if sent else {}
            yield media.partition(";")[0], Part("media type", where, aspects, body, sent)

    def schema(self, node: Any, at: str, name: str = "body", *, sent: bool, texts: bool = True) -> _Inside:
        """Yield the part that a schema is, the same whether it stands in place or behind a reference."""
        every = list(leaves(self.document, node, at))
        found = [each for each in every if each[0].get("type") != "null"]
        alone = len(found) == 1
        schema, at = found[0] if alone else normal(self.document, node, at)
        kind, enum, title = type_of(schema), values_of(schema), str(schema.get("title") or "")
        component = unescape(at.rpartition("/")[2]) if re.fullmatch("/components/schemas/[^/]+", at) else ""
        # The generator calls a class by its title, which generate.sh takes out of an operation if it is not ASCII.
        is_name = (kind == "object" or enum is not None) and (title.isascii() or at.startswith("/components/"))
        aspects: dict[str, Any] = {
            "type": kind,
            "nullable": len(found) < len(every) or None in schema.get("enum", ()),
            # The order of the values has no meaning.
            "enum": None if enum is None else sorted((value for value in enum if value is not None), key=json.dumps),
            "labels": label_table(schema.get("x-apifox-enum")) or None,
            "format": schema.get("format"),
            "constraints": {key: schema[key] for key in _CONSTRAINTS if key in schema} or None,
            "conditions": {key: schema[key] for key in _CONDITIONS if key in schema} or None,
            "extras": schema.get("additionalProperties") is not False if kind == "object" else None,
            "title": (title or component or None) if is_name else None,
            **(_said({**schema, "title": ""} if is_name else schema) if texts else {}),
        }
        inside = partial(self.in_schema, schema, kind, at) if alone else partial(self.variants, found)
        yield name, Part(name.partition(" ")[0], at, aspects, partial(inside, sent=sent), sent)

    def in_schema(self, schema: dict[str, Any], kind: str, at: str, *, sent: bool) -> _Inside:
        for key, holder in (("items", "array"), ("additionalProperties", "object")):
            if kind == holder:
                yield from self.schema(mapping(schema.get(key)), f"{at}/{key}", sent=sent)
        for name, field in fields_of(self.document, schema, at).items():
            inside = partial(self.schema, field.schema, field.pointer, sent=sent)
            yield f"field {name}", Part("field", field.pointer, {"required": field.required}, inside, sent)

    def variants(self, found: list[tuple[Any, str]], *, sent: bool) -> _Inside:
        named: Counter[str] = Counter()
        for schema, at in found:
            # Their order has no meaning.
            name = at if at.startswith("/components/") else type_of(schema)
            named[name] += 1
            yield from self.schema(schema, at, f"variant {name} {named[name]}", sent=sent)


def _said(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return what any part may say about itself."""
    texts = [node.get(key) or "" for key in ("title", "summary", "description")]
    status = node.get("x-apifox-status")
    return {"deprecated": node.get("deprecated", False), "status": status, "text": [*texts, *node.get("tags", [])]}


def parameters(
    document: dict[str, Any], path: str, operation: dict[str, Any], pointer: str
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the parameters of an operation and of its path, each with its pointer."""
    found: dict[tuple[str, str], tuple[dict[str, Any], str]] = {}
    for holder, base in ((document["paths"][path], pointer.rpartition("/")[0]), (operation, pointer)):
        for number, entry in enumerate(holder.get("parameters") or []):
            parameter, where = resolve(document, entry, f"{base}/parameters/{number}")
            found[str(parameter.get("in")), str(parameter.get("name"))] = parameter, where
    yield from found.values()


def type_of(schema: Mapping[str, Any]) -> str:
    """Return the JSON schema type of a schema without its null, or `any` if it has none."""
    kind = schema.get("type")
    if schema.get("oneOf") or schema.get("anyOf"):
        return "union"
    if isinstance(kind, list):
        return "|".join(sorted(str(each) for each in kind if each != "null"))
    if isinstance(kind, str):
        return kind
    for keyword, implied in (("properties", "object"), ("allOf", "object"), ("items", "array")):
        if schema.get(keyword):
            return implied
    values = values_of(schema)
    return "string" if values and all(isinstance(value, str) for value in values) else "any"

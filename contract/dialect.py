"""Say what Apifox and Apidog write as OpenAPI says it, with a note for each rewriting."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import attrs

from contract.document import METHODS, ContractError, escape, lookup, schemas_in
from contract.values import kinds_of

_TYPES: Mapping[str, dict[str, Any]] = {
    "file": {"type": "string", "format": "binary"}, "binary": {"type": "string", "format": "binary"},
    "date": {"type": "string", "format": "date"}, "datetime": {"type": "string", "format": "date-time"},
    "int": {"type": "integer"}, "int32": {"type": "integer"}, "int64": {"type": "integer"}, "long": {"type": "integer"},
    "float": {"type": "number"}, "double": {"type": "number"}, "decimal": {"type": "number"},
    "bool": {"type": "boolean"}, "str": {"type": "string"}, "text": {"type": "string"}, "enum": {"type": "string"},
    "list": {"type": "array"}, "dict": {"type": "object"}, "map": {"type": "object"}, "json": {"type": "object"},
    "any": {}, "": {}, "none": {"type": "null"}, "undefined": {},
}  # fmt: skip
_FLAT = {"string", "integer", "number", "boolean"}
# What the generator writes there as the vendor reads it, if it is of one type.
_WRITTEN = {
    "path": {"string", "integer", "number", "enum", "uuid", "date", "any"},
    "header": {"string", "integer", "number", "boolean", "enum"},
    "cookie": {"string"},
}
_MANY = ("allOf", "anyOf", "oneOf", "prefixItems")
_FORMS = {"multipart/form-data", "application/x-www-form-urlencoded"}
BYTES = "application/octet-stream"


def media_kind(media: str, overrides: Mapping[str, str]) -> str:
    """Return a media type as the generator reads it, without parameters."""
    return overrides.get(media, media).partition(";")[0].strip()


def is_modelled(kind: str, *, body: bool) -> bool:
    """Tell whether the generator models a media type, in a request body or in a response."""
    if kind in {"application/json", BYTES} or (kind.count("/") == 1 and kind.endswith("+json")):
        return True
    return kind in _FORMS if body else kind.startswith("text/")


def label_table(entries: Any) -> dict[str, str]:
    """Read `x-apifox-enum` as a table from value to label, without empty labels."""
    if not isinstance(entries, list):
        return {}
    named_ones = ((e.get("value"), e.get("name")) for e in entries if isinstance(e, dict))
    return {str(value): name.strip() for value, name in named_ones if isinstance(name, str) and name.strip()}


def translate(document: dict[str, Any], overrides: Mapping[str, str] | None = None) -> tuple[dict[str, Any], list[str]]:
    """Return the document as OpenAPI says it, and a line for each rewriting."""
    work = _Translation(_plain_extensions(document), overrides or {})
    work.run()
    return work.document, list(dict.fromkeys(work.notes))


def _plain_extensions(node: Any) -> Any:
    """Give Apidog's extensions the names of Apifox's, which mean the same."""
    if isinstance(node, dict):
        return {re.sub(r"^x-apidog-", "x-apifox-", key): _plain_extensions(child) for key, child in node.items()}
    return [_plain_extensions(child) for child in node] if isinstance(node, list) else node


@attrs.frozen
class _Translation:
    document: dict[str, Any]
    overrides: Mapping[str, str]
    notes: list[str] = attrs.field(factory=list)
    seen: set[int] = attrs.field(factory=set)

    def note(self, pointer: str, text: str) -> None:
        self.notes.append(f"NOTE   {pointer}: {text}")

    def run(self) -> None:
        """Rewrite the whole document."""
        document = self.document
        if str(document.get("openapi")).count(".") < 2:
            document["openapi"] = f"{document['openapi']}.0"
        components = _mapping(document, "components")
        for name, scheme in _entries(components.get("securitySchemes"), "/components/securitySchemes"):
            kinds = {"apiKey", "http", "oauth2", "openIdConnect", "mutualTLS"}
            if scheme.get("type") not in kinds and str(scheme.get("type")).lower() in {"bearer", "basic"}:
                self.note(f"{name}/type", f"{scheme['type']!r} is said as http, {scheme['type']}")
                scheme.update(type="http", scheme=scheme["type"])
        for pointer, schema in _entries(components.get("schemas"), "/components/schemas"):
            self.schema(schema, pointer)
        for pointer, body in _entries(components.get("requestBodies"), "/components/requestBodies"):
            self.body(body, pointer)
        for pointer, answer in _entries(components.get("responses"), "/components/responses"):
            self.content(answer, pointer, body=False)
        for pointer, parameter in _entries(components.get("parameters"), "/components/parameters"):
            self.parameter(parameter, pointer)
        paths = _mapping(document, "paths")
        for path in [path for path, item in paths.items() if not isinstance(item, dict)]:
            self.note(f"/paths/{escape(path)}", "is no path, and is left out")
            del paths[path]
        names: set[str] = set()
        for path, item in paths.items():
            self.parameters(item, f"/paths/{escape(path)}")
            for method in METHODS:
                if isinstance(item.get(method), dict):
                    self.operation(path, method, item, names)

    def operation(self, path: str, method: str, item: dict[str, Any], names: set[str]) -> None:
        operation, pointer = item[method], f"/paths/{escape(path)}/{method}"
        name = operation.get("operationId")
        if isinstance(name, str) and name:
            spelling = re.sub(r"[\W_]", "", name.lower())
            if spelling in names:
                self.note(f"{pointer}/operationId", f"{name!r} is another operation's name, too, and is left out")
                del operation["operationId"]
            names.add(spelling)
        self.parameters(operation, pointer)
        self.path_parameters(path, item, operation, pointer)
        if isinstance(operation.get("requestBody"), dict):
            self.body(operation["requestBody"], f"{pointer}/requestBody")
        answers = _mapping(operation, "responses")
        for status in list(answers):
            if not re.fullmatch(r"[1-9][0-9]{2}|[1-5](xx|XX)|default", status):
                # Apifox writes a second answer of one status as `x-200:name`.
                self.note(f"{pointer}/responses/{escape(status)}", "is no status, so it is left out")
                del answers[status]
            elif re.fullmatch(r"[1-5]xx", status):
                answers[status.upper()] = answers.pop(status)
        for where, answer in _entries(answers, f"{pointer}/responses"):
            self.content(answer, where, body=False)

    def parameters(self, holder: dict[str, Any], pointer: str) -> None:
        if holder.get("parameters") is None:
            holder.pop("parameters", None)
        if not isinstance(holder.get("parameters"), list):
            return
        kept: dict[Any, Any] = {}
        for number, entry in enumerate(holder["parameters"]):
            where = f"{pointer}/parameters/{number}"
            if not isinstance(entry, dict):
                self.note(where, "is no parameter, and is left out")
                continue
            self.parameter(entry, where)
            found = lookup(self.document, entry["$ref"]) if isinstance(entry.get("$ref"), str) else (entry,)
            real = found[0] if found and isinstance(found[0], dict) else {"name": number}
            key = (real.get("in"), real.get("name"))
            if key in kept:
                self.note(where, f"there is a {key[0]} parameter {key[1]!r} before it, so it is left out")
            kept.setdefault(key, entry)
        holder["parameters"] = list(kept.values())

    def parameter(self, parameter: dict[str, Any], pointer: str) -> None:
        if "$ref" in parameter:
            self.reference(parameter, pointer)
            return
        if parameter.get("in") == "path" and parameter.get("required") is not True:
            self.note(f"{pointer}/required", "a path parameter is required")
            parameter["required"] = True
        if not isinstance(parameter.get("schema"), dict):
            self.note(f"{pointer}/schema", "is missing; the value is text")
            parameter["schema"] = {"type": "string"}
        self.schema(parameter["schema"], f"{pointer}/schema")
        self.written(parameter, pointer)

    def written(self, parameter: dict[str, Any], pointer: str) -> None:
        """Say as text what the generator does not write into a path, a query, a header or a cookie."""
        try:
            kinds = kinds_of(self.document, parameter["schema"])
        except (ContractError, AttributeError, TypeError):
            return  # validation tells what is wrong with it
        where = parameter.get("in")
        if "binary" in kinds or (where in _WRITTEN and (len(kinds) > 1 or kinds - _WRITTEN[where])):
            self.note(
                f"{pointer}/schema",
                f"the generator does not write {'|'.join(sorted(kinds))} into a {where}; it is text",
            )
            parameter["schema"] = {"type": "string"}

    def path_parameters(self, path: str, item: dict[str, Any], operation: dict[str, Any], pointer: str) -> None:
        entries = [*(item.get("parameters") or []), *(operation.get("parameters") or [])]
        found = [lookup(self.document, e["$ref"]) if "$ref" in e else (e,) for e in entries]
        described = {p[0].get("name") for p in found if p and isinstance(p[0], dict) and p[0].get("in") == "path"}
        for name in dict.fromkeys(re.findall(r"\{([^{}]+)\}", path)):
            if name not in described:
                self.note(f"{pointer}/parameters", f"{name!r} is not described; it is text")
                extra = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                operation["parameters"] = [*(operation.get("parameters") or []), extra]

    def body(self, body: dict[str, Any], pointer: str) -> None:
        if "$ref" in body:
            self.reference(body, pointer)
        else:
            _mapping(body, "content")
            self.content(body, pointer, body=True)

    def content(self, holder: dict[str, Any], pointer: str, *, body: bool) -> None:
        """Rewrite the media types of a request body or a response."""
        self.reference(holder, pointer)
        content = holder.get("content")
        if not isinstance(content, dict):
            return
        kinds = {media: media_kind(media, self.overrides) for media in content}
        modelled = [media for media, kind in kinds.items() if is_modelled(kind, body=body)]
        for media in list(content):
            where = f"{pointer}/content/{escape(media)}"
            if not isinstance(content[media], dict):
                content[media] = {}
            others = modelled if body else modelled[:1]
            if others and media not in others:
                self.note(where, f"is not modelled, {others[0]} is")
                del content[media]
                continue
            entry = content[media]
            if body and not isinstance(entry.get("schema"), dict):
                self.note(f"{where}/schema", "is missing; the body may be anything")
                entry["schema"] = {}
            if isinstance(entry.get("schema"), dict):
                self.schema(entry["schema"], f"{where}/schema")
                self.fitting(entry, kinds[media], f"{where}/schema", body=body)

    def fitting(self, entry: dict[str, Any], kind: str, pointer: str, *, body: bool) -> None:
        """Give bytes, text and forms a schema that they can have."""
        schema = entry["schema"]
        found = lookup(self.document, schema["$ref"]) if isinstance(schema.get("$ref"), str) else (schema,)
        real: Any = found[0] if found and isinstance(found[0], dict) else {}
        if kind == BYTES and real.get("format") != "binary":
            self.note(pointer, f"{kind} is bytes")
            entry["schema"] = {"type": "string", "format": "binary"}
        elif kind.startswith("text/") and (real.get("type") != "string" or real.get("format") == "binary"):
            self.note(pointer, f"{kind} is text, handed out as it came")
            entry["schema"] = {"type": "string"}
        elif kind.endswith("json"):
            for inner, where in schemas_in(schema, pointer):
                if inner.get("format") == "binary":
                    self.note(f"{where}/format", "JSON holds no bytes, so it is text")
                    del inner["format"]
        elif kind in _FORMS and not (real.get("type") == "object" or real.get("properties") or real.get("allOf")):
            self.note(pointer, "a form is an object")
            entry["schema"] = {"type": "object"}
        elif kind in _FORMS and real.get("nullable"):
            self.note(pointer, "a form cannot be null")
            entry["schema"] = {key: value for key, value in real.items() if key != "nullable"}
        if not body and (not schema or real.get("type") == "null"):
            self.note(pointer, "says nothing about the body; it may be anything")
            entry["schema"] = {}

    def schema(self, schema: dict[str, Any], pointer: str) -> None:
        """Rewrite a schema and all that is in it, each once."""
        if id(schema) in self.seen:
            return
        self.seen.add(id(schema))
        if "$ref" in schema:
            self.reference(schema, pointer)
            return
        for rule in (self.types, self.constants, self.enums, self.required, self.all_of, self.refs):
            rule(schema, pointer)
        for holder, key, where in self.children(schema, pointer):
            if holder[key] is None or holder[key] is True:
                self.note(where, "says nothing; it may be anything")
                holder[key] = {}
            if isinstance(holder[key], dict):
                self.schema(holder[key], where)

    def children(self, schema: dict[str, Any], pointer: str) -> Iterator[tuple[Any, Any, str]]:
        if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
            said = "is no schema" if "items" in schema else "is missing"
            schema.pop("items", None)
            if not schema.get("prefixItems"):
                self.note(f"{pointer}/items", f"{said}; an item may be anything")
                schema["items"] = {}
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                yield schema, key, f"{pointer}/{key}"
        for key in _MANY:
            if isinstance(schema.get(key), list):
                yield from ((schema[key], n, f"{pointer}/{key}/{n}") for n in range(len(schema[key])))
        if isinstance(schema.get("properties"), dict):
            fields = schema["properties"]
            yield from ((fields, name, f"{pointer}/properties/{escape(name)}") for name in list(fields))

    def reference(self, node: dict[str, Any], pointer: str) -> None:
        """Decode a percent-encoded reference."""
        reference = node.get("$ref")
        if not isinstance(reference, str) or lookup(self.document, reference) is not None:
            return
        if lookup(self.document, unquote(reference)) is not None:
            self.note(f"{pointer}/$ref", f"{reference} is percent-encoded")
            node["$ref"] = unquote(reference)

    def types(self, schema: dict[str, Any], pointer: str) -> None:
        kind = schema.get("type")
        known = _TYPES.get(kind.lower()) if isinstance(kind, str) else None
        if isinstance(kind, str) and kind not in _FLAT | {"object", "array", "null"}:
            if known is None and kind.lower() in _FLAT | {"object", "array", "null"}:
                known = {"type": kind.lower()}
            if known is not None:
                self.note(f"{pointer}/type", f"{kind!r} is said as {known.get('type', 'any')}")
                schema.pop("type")
                schema.update(known)

    def constants(self, schema: dict[str, Any], pointer: str) -> None:
        """Say a constant that the generator makes no Python of as a value of its type."""
        value = schema.get("const")
        if isinstance(value, bool | list | dict):
            kind = {bool: "boolean", list: "array", dict: "object"}[type(value)]
            self.note(f"{pointer}/const", f"is said as {kind}")
            del schema["const"]
            schema["type"] = kind

    def enums(self, schema: dict[str, Any], pointer: str) -> None:
        """Make an enum's values those of its type, each once."""
        values = schema.get("enum")
        if values is None:
            return
        if not isinstance(values, list) or not values:
            self.note(f"{pointer}/enum", "lists nothing, and is left out")
            del schema["enum"]
            return
        kinds = {schema["type"]} if isinstance(schema.get("type"), str) else set(schema.get("type") or ())
        said = [value for value in values if value is not None]
        if not said:
            self.note(f"{pointer}/enum", "lists null only")
            del schema["enum"]
            schema["type"] = "null"
            return
        convert: Callable[[Any], Any] | None = None
        if "boolean" not in kinds:
            if any(isinstance(value, float | bool | dict | list) for value in said) and "string" not in kinds:
                self.note(f"{pointer}/enum", "the generator lists only texts and whole numbers, so any value is taken")
                del schema["enum"]
                return
            numbers = all(re.fullmatch(r"-?[0-9]+", str(value)) for value in said)
            mixed = len({type(value) for value in said}) > 1
            if "integer" in kinds and numbers:
                convert = int
            elif "string" in kinds or mixed:
                convert = _text
        if convert is not None and [convert(value) for value in said] != said:
            self.note(f"{pointer}/enum", f"its values are said as {'numbers' if convert is int else 'texts'}")
            values = [None if value is None else convert(value) for value in values]
        unique = list({repr(value): value for value in values}.values())
        if len(unique) < len(values):
            self.note(f"{pointer}/enum", "lists a value twice")
        if schema.get("nullable") is True and None not in unique:
            self.note(f"{pointer}/enum", "null is one of its values")
            unique.append(None)
        schema["enum"] = unique

    def required(self, schema: dict[str, Any], pointer: str) -> None:
        names = schema.get("required")
        if names is None:
            schema.pop("required", None)
        elif not isinstance(names, list):
            self.note(f"{pointer}/required", "is no list of names, and is left out")
            del schema["required"]

    def all_of(self, schema: dict[str, Any], pointer: str) -> None:
        """Take apart an allOf inside another, which the generator would leave out."""
        parts = schema.get("allOf")
        if isinstance(parts, list):
            flat: list[Any] = []
            for part in parts:
                inner = part.get("allOf") if isinstance(part, dict) else None
                rest = (
                    {key: value for key, value in part.items() if key != "allOf"} if isinstance(inner, list) else part
                )
                flat += [*(inner if isinstance(inner, list) else []), *([rest] if rest else [])]
            if flat != parts:
                self.note(f"{pointer}/allOf", "holds another allOf, which is taken apart")
                schema["allOf"] = flat
                self.all_of(schema, pointer)

    def refs(self, schema: dict[str, Any], pointer: str) -> None:
        """Add the fields of the schemas that `x-apifox-refs` names."""
        refs = schema.get("x-apifox-refs")
        if not isinstance(refs, dict):
            return
        for key, entry in refs.items():
            reference = entry.get("$ref") if isinstance(entry, dict) else None
            if not isinstance(reference, str):
                continue
            where = f"{pointer}/x-apifox-refs/{escape(key)}"
            found = lookup(self.document, reference) or lookup(self.document, unquote(reference))
            if found is None or not isinstance(found[0], dict):
                self.note(where, f"{reference} leads nowhere, so its fields are not known")
                continue
            source = found[0]
            if source is schema:
                continue
            self.schema(source, reference.removeprefix("#"))
            self.borrow(schema, source, entry, where)

    def borrow(self, schema: dict[str, Any], source: dict[str, Any], entry: dict[str, Any], where: str) -> None:
        overrides = entry.get("x-apifox-overrides")
        changed = overrides if isinstance(overrides, dict) else {}
        offered = source.get("properties")
        fields = {**(offered if isinstance(offered, dict) else {}), **changed}
        own = schema.get("properties") if isinstance(schema.get("properties"), dict) else {}
        new = {name: copy.deepcopy(f) for name, f in fields.items() if f is not None and name not in (own or {})}
        if new:
            self.note(where, f"its fields are taken: {', '.join(new)[:100]}")
            schema.setdefault("type", "object")
            schema["properties"] = {**new, **(own or {})}
            needed = entry["required"] if isinstance(entry.get("required"), list) else source.get("required") or []
            mine = schema.get("required") or []
            required = [*mine, *(name for name in needed if name in new and name not in mine)]
            if required:
                schema["required"] = required


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mapping(holder: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the mapping below a key, and make an empty one of anything else."""
    if not isinstance(holder.get(key), dict):
        holder[key] = {}
    found: dict[str, Any] = holder[key]
    return found


def _entries(mapping: Any, pointer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in list(mapping.items()) if isinstance(mapping, dict) else ():
        if isinstance(value, dict):
            yield f"{pointer}/{escape(name)}", value

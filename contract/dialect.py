"""Say what Apifox and Apidog write as OpenAPI says it, with a note for each rewriting."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, TypeAlias
from urllib.parse import unquote

import attrs

from contract.document import (
    INSIDE,
    METHODS,
    ContractError,
    addresses,
    copied,
    entries,
    escape,
    followed,
    in_braces,
    lookup,
    mapping,
    operations,
    place,
    unescape,
    walk,
)
from contract.schemas import fields_of, kinds, kinds_of, leaves, object_of, text_of

_PLAIN = ("string", "integer", "number", "boolean", "object", "array", "null")
_TYPES: Mapping[str, dict[str, Any]] = {
    **{kind: {"type": kind} for kind in _PLAIN},
    "file": {"type": "string", "format": "binary"}, "binary": {"type": "string", "format": "binary"},
    "date": {"type": "string", "format": "date"}, "datetime": {"type": "string", "format": "date-time"},
    "int": {"type": "integer"}, "int32": {"type": "integer"}, "int64": {"type": "integer"}, "long": {"type": "integer"},
    "float": {"type": "number"}, "double": {"type": "number"}, "decimal": {"type": "number"},
    "bool": {"type": "boolean"}, "str": {"type": "string"}, "text": {"type": "string"}, "enum": {"type": "string"},
    "list": {"type": "array"}, "dict": {"type": "object"}, "map": {"type": "object"}, "json": {"type": "object"},
    "any": {}, "": {}, "none": {"type": "null"}, "undefined": {},
}  # fmt: skip
_CONSTANTS: Mapping[type, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", list: "array", dict: "object",
}  # fmt: skip
# What gives a schema a shape.
_SHAPES = {"$ref", "type", "enum", "const", "allOf", "anyOf", "oneOf", "properties", "items", "additionalProperties"}
# What the generator writes there as the vendor reads it, if it is of one type.
_WRITTEN = {
    "path": {"string", "integer", "number", "enum", "uuid", "date", "any"},
    "header": {"string", "integer", "number", "boolean", "enum"},
    "cookie": {"string"},
}
# PHP writes an empty one of these as an empty list.
_HOLDERS = {key for inside in INSIDE.values() for key in inside}
# What no code is made of, and what holds it.
_ASIDE: Mapping[str, type] = {"headers": dict, "info": dict, "security": list, "servers": list, "tags": list}
FORM = "application/x-www-form-urlencoded"
FORMS = ("multipart/form-data", FORM)
BYTES = "application/octet-stream"


def media_kind(media: str, overrides: Mapping[str, str]) -> str:
    """Return a media type as the generator reads it, without parameters."""
    return overrides.get(media, media).partition(";")[0].strip()


def is_modelled(kind: str, *, body: bool) -> bool:
    """Tell whether the generator models a media type, in a request body or in a response."""
    if kind in {"application/json", BYTES} or (kind.count("/") == 1 and kind.endswith("+json")):
        return True
    return kind in FORMS if body else kind.startswith("text/")


def translate(document: dict[str, Any], overrides: Mapping[str, str] | None = None) -> tuple[dict[str, Any], list[str]]:
    """Return the document as OpenAPI says it, and a line for each rewriting."""
    work = _Translation(json.loads(json.dumps(document), object_hook=_plain_extensions), overrides or {})
    for rules in work.PASSES:
        work.rewrite(rules, work.document)
    return work.document, list(dict.fromkeys(work.notes))


def _plain_extensions(node: dict[str, Any]) -> dict[str, Any]:
    """Give Apidog's extensions the names of Apifox's, which mean the same."""
    return {re.sub(r"^x-apidog-", "x-apifox-", key): child for key, child in node.items()}


# Each rewriting's place inside the part, what is said about it, and REVIEW if the client does not do what the page says.
Notes: TypeAlias = Iterator[tuple[str, str] | tuple[str, str, str]]
Rules: TypeAlias = Mapping[str, tuple[Callable[..., Notes], ...]]


@attrs.frozen
class _Translation:
    document: dict[str, Any]
    overrides: Mapping[str, str]
    notes: list[str] = attrs.field(factory=list)
    names: set[str] = attrs.field(factory=set)
    done: dict[Any, Any] = attrs.field(factory=dict)
    forms: set[int] = attrs.field(factory=set)
    read: set[int] = attrs.field(factory=set)
    lifted: dict[str, str] = attrs.field(factory=dict)

    def rewrite(self, rules: Rules, node: Any, kind: str = "document", pointer: str = "") -> None:
        """Follow the rules in a part and all that is in it, each once."""
        for inner, part, where in walk(node, kind, pointer, schemas="schema" in rules):
            for rule in (type(self).reference, *rules.get("any", ()), *rules.get(inner, ())):
                if ("$ref" in part) == (rule is type(self).reference) and (rule, id(part)) not in self.done:
                    self.done[rule, id(part)] = part
                    for inside, text, *verdict in rule(self, part):
                        self.notes.append(f"{(verdict or ['NOTE'])[0]:<6} {where}{inside}: {text}")

    def reference(self, node: dict[str, Any]) -> Notes:
        """Decode a percent-encoded reference, and keep what stands beside it."""
        reference = str(node["$ref"])
        if lookup(self.document, reference) is None and lookup(self.document, unquote(reference)) is not None:
            yield "/$ref", f"{reference} is percent-encoded"
            reference = node["$ref"] = unquote(reference)
        target = lookup(self.document, reference)
        if target and isinstance(target[0], dict) and not re.fullmatch("#/components/[^/]+/[^/]+", reference):
            yield from self.elsewhere(node, reference, target[0])
        if "$ref" in node and (beside := [key for key in ("nullable", "properties") if node.get(key)]):
            yield "/$ref", f"has {' and '.join(beside)} beside it, as an allOf has"
            node["allOf"] = [{"$ref": node.pop("$ref")}]

    def elsewhere(self, node: dict[str, Any], reference: str, target: dict[str, Any]) -> Notes:
        """Make a component of a schema that a reference finds elsewhere, and put any other part in the place of the reference."""
        at, _, last = reference.rpartition("/")
        if last == "requestBody" or at.rpartition("/")[2] in {"parameters", "responses"}:
            del node["$ref"]
            node.update(copied(target))
            yield "/$ref", f"{reference} is no component, so it is copied"
            return
        schemas = self.document.setdefault("components", {}).setdefault("schemas", {})
        if reference not in self.lifted:
            ways = {*_HOLDERS, "application", "json"}
            words = [word for word in re.findall(r"[^\W\d]\w*", reference) if word not in ways]
            names = ["_".join(words[-count:]) for count in range(min(2, len(words)) or 1, len(words) + 1)]
            self.lifted[reference] = next((name for name in names if name not in schemas), f"part_{len(self.lifted)}")
            if holder := lookup(self.document, at):
                # In its old place it would be made a class once more.
                key: Any = int(last) if isinstance(holder[0], list) else unescape(last)
                holder[0][key] = {"$ref": f"#/components/schemas/{escape(self.lifted[reference])}"}
            schemas[self.lifted[reference]] = target
            self.rewrite(self.SAID, target, "schema", f"/components/schemas/{self.lifted[reference]}")
        yield "/$ref", f"{reference} is no component, so it is made one: {self.lifted[reference]}"
        node["$ref"] = f"#/components/schemas/{escape(self.lifted[reference])}"

    def shapes(self, part: dict[str, Any]) -> Notes:
        """Leave out what says nothing, and what has no shape that it can have where no code is made of it."""
        for key, value in list(part.items()):
            is_nothing = value is None and key not in {"const", "default", "example"}
            if is_nothing or (value == [] and key in _HOLDERS):
                del part[key]
            elif key in _ASIDE and not isinstance(value, _ASIDE[key]):
                yield f"/{key}", f"is no {'list' if _ASIDE[key] is list else 'mapping'}, and is left out"
                del part[key]
            elif key in {"security", "servers"}:
                part[key] = [each for _, each in entries(value) if isinstance(each, dict)]

    def version(self, document: dict[str, Any]) -> Notes:
        if str(document.get("openapi")).count(".") < 2:
            document["openapi"] = f"{document['openapi']}.0"
        for number, server in entries(document.get("servers")):
            if not addresses({"servers": [server]}):
                yield f"/servers/{number}", f"{mapping(server).get('url')!r} has no host, so it is left out"
                document["servers"].remove(server)
        components = document["components"] = mapping(document.get("components"))
        paths = document["paths"] = mapping(document.get("paths"))
        for name, scheme in entries(components.get("securitySchemes")):
            if isinstance(scheme, dict) and str(scheme.get("type")).lower() in {"bearer", "basic"}:
                where = f"/components/securitySchemes/{escape(name)}/type"
                yield where, f"{scheme['type']!r} is said as http, {scheme['type']}"
                scheme.update(type="http", scheme=scheme["type"])
            kind = {str(mapping(scheme).get(key)) for key in ("type", "scheme", "name")}
            if not kind & {"oauth2", "openIdConnect", "bearer", "Bearer", "Authorization"}:
                said = (
                    "the generated AuthenticatedClient sends no such key; give it to the client's own httpx arguments"
                )
                yield f"/components/securitySchemes/{escape(name)}", said, "REVIEW"
        for path, item in entries(paths):
            if "#" in path:
                yield f"/paths/{escape(path)}", "no request has what stands behind #", "REVIEW"
            if path.startswith(("http://", "https://")):
                yield (
                    f"/paths/{escape(path)}",
                    "is a whole address, which is asked with the key, whatever the server",
                    "REVIEW",
                )
            if found := followed(document, item):
                paths[path] = copied(found) if found is not item else item
            else:
                yield f"/paths/{escape(path)}", "is no path, and is left out"
                del paths[path]

    def titles(self, document: dict[str, Any]) -> Notes:
        """Leave out a title by which two classes would have one name."""
        schemas = mapping(document["components"].get("schemas"))
        # A reference is a class of its own, too.
        real = {name: followed(document, each) for name, each in schemas.items()}
        classes = {name: each for name, each in real.items() if _is_object(each) or each.get("enum")}
        said = {name: re.sub(r"[\W_]", "", str(each.get("title") or name)).lower() for name, each in classes.items()}
        times = Counter(said.values())
        for name, each in classes.items():
            if each.get("title") and times[said[name]] > 1:
                yield f"/components/schemas/{escape(name)}/title", "another schema has it, too, so it is left out"
                del each["title"]

    def operation(self, operation: dict[str, Any]) -> Notes:
        name = operation.get("operationId")
        if not isinstance(name, str):
            operation.pop("operationId", None)
        elif name:
            spelling = re.sub(r"[\W_]", "", name.lower())
            if spelling in self.names:
                yield "/operationId", f"{name!r} is another operation's name, too, and is left out"
                del operation["operationId"]
            self.names.add(spelling)
        answers = {status: mapping(answer) for status, answer in mapping(operation.get("responses")).items()}
        operation["responses"] = answers
        for status in list(answers):
            if not re.fullmatch(r"[1-9][0-9]{2}|[1-5](xx|XX)|default", status):
                # Apifox writes a second answer of one status as `x-200:name`.
                yield f"/responses/{escape(status)}", "is no status, so it is left out"
                del answers[status]
            elif status.endswith("xx"):
                answers[status.upper()] = answers.pop(status)

    def servers(self, holder: dict[str, Any]) -> Notes:
        if holder.get("servers"):
            yield (
                "/servers",
                "the generated function asks the client's own server; give it a client of this one",
                "REVIEW",
            )

    def parameter(self, parameter: dict[str, Any]) -> Notes:
        if parameter.get("in") == "header" and str(parameter.get("name")).lower() == "content-type":
            parameter["name"] = "Content-Type"  # as the generated code writes it for a body
        if parameter.get("in") == "path" and parameter.get("required") is not True:
            yield "/required", "a path parameter is required"
            parameter["required"] = True
        if not isinstance(parameter.get("schema"), dict):
            yield "/schema", "is missing; the value is text"
            parameter["schema"] = {"type": "string"}

    def body(self, body: dict[str, Any]) -> Notes:
        body["content"] = mapping(body.get("content"))
        yield from self.content(body, body=True)
        for media, entry in body["content"].items():
            if not isinstance(entry.get("schema"), dict):
                yield f"/content/{escape(media)}/schema", "is missing; the body may be anything"
                entry["schema"] = {}

    def content(self, holder: dict[str, Any], *, body: bool) -> Notes:
        """Leave the media types that are modelled, if there are any: all of a body, and one of a response."""
        content = {media: mapping(entry) for media, entry in mapping(holder.get("content")).items()}
        for media in [media for media in content if "/" in media and media.lower() != media not in self.overrides]:
            yield f"/content/{escape(media)}", "is said in small letters"
            content[media.lower()] = content.pop(media)
        modelled = [media for media in content if is_modelled(media_kind(media, self.overrides), body=body)]
        for media in () if body else modelled:
            content[media].setdefault("schema", {})

        is_choice = body and len(modelled) > 1

        def order(media: str) -> tuple[bool, bool, bool]:
            """Put JSON first, unless there are files in it."""
            kind = media_kind(media, self.overrides)
            is_json = kind.endswith("json")
            files = is_json and is_choice and self.holds_bytes(content[media].get("schema"))
            return files, kind != "application/json", not is_json

        modelled.sort(key=order)
        kept = modelled if body and self.differ([content[media] for media in modelled]) else modelled[:1]
        if len(kept) > 1 and holder.get("required"):
            yield "/required", "the generator cannot ask for one of several bodies, so it need not be given"
            holder["required"] = False
        for media in [media for media in content if kept and media not in kept]:
            said = "is left out" if media in modelled else "is not modelled"
            yield f"/content/{escape(media)}", f"{said}, {kept[0]} is taken"
            del content[media]
        if content:
            holder["content"] = content

    def reached(
        self, schema: Any, pointer: str = "", seen: set[int] | None = None
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """Yield a schema and all that are in it or behind its references, of which those that were seen are left out."""
        seen = set() if seen is None else seen
        left = [(schema, pointer)]
        while left:
            schema, pointer = left.pop()
            for _, node, at in walk(schema, "schema", pointer):
                if "$ref" in node:
                    target = followed(self.document, node)
                    left += [] if id(target) in seen else [(target, str(node["$ref"])[1:])]
                    seen.add(id(target))
                else:
                    yield node, at

    def holds_bytes(self, schema: Any) -> bool:
        """Tell whether there are bytes in a schema."""
        return any(
            node.get("format") == "binary" or str(node.get("type")) in {"file", "binary"}
            for node, _ in self.reached(schema)
        )

    def differ(self, bodies: list[dict[str, Any]]) -> bool:
        """Tell whether each of several bodies is an object of its own, by which the generated code tells them apart."""
        real = [followed(self.document, body.get("schema")) for body in bodies]
        return all(_is_object(each) and real.count(each) == 1 for each in real)

    def types(self, schema: dict[str, Any]) -> Notes:
        kind = schema.get("type")
        if isinstance(kind, list) and None in kind:
            yield "/type", "null is said as 'null'"
            schema["type"] = ["null" if each is None else each for each in kind]
        elif kind == []:
            del schema["type"]
        if kind in ("null", ["null"]) and (schema.get("anyOf") or schema.get("oneOf")):
            yield "/type", "null stands beside alternatives, and is one of them"
            kind = None
            del schema["type"]
            schema["nullable"] = True
        if schema.get("contentMediaType") == BYTES and not schema.keys() & {"format", "contentEncoding"}:
            yield "/contentMediaType", "is said as the format binary"
            schema["format"] = "binary"
        known = _TYPES.get(kind.lower()) if isinstance(kind, str) else None
        if known is not None and known != {"type": kind}:
            yield "/type", f"{kind!r} is said as {known.get('type', 'any')}"
            del schema["type"]
            schema.update(known)

    def constants(self, schema: dict[str, Any]) -> Notes:
        """Say constants that are alternatives as an enum, and one that the generator makes no Python of as its type."""
        for key in ("anyOf", "oneOf"):
            listed = [mapping(part) for _, part in entries(schema.get(key))]
            said = [part for part in listed if "const" in part]
            rest = [part for part in listed if "const" not in part and part.get("type") != "null"]
            if len(listed) > 1 and said and not rest and len({type(part["const"]) for part in said} & {str, int}) == 1:
                yield f"/{key}", "lists constants, which are said as an enum"
                names = [{"value": part["const"], "name": part.get("title", part.get("description"))} for part in said]
                schema["enum"] = [part["const"] for part in said] + [None] * (len(said) < len(listed))
                schema.setdefault("x-apifox-enum", names)
                del schema[key]
            elif len(listed) > 1 and said:
                for part in said:
                    kind = _CONSTANTS.get(type(part["const"]))
                    yield f"/{key}", f"{part['const']!r} is one of other values, so any {kind or 'value'} is taken"
                    del part["const"]
                    part.update({"type": kind} if kind else {})
        value, kinds = schema.get("const"), schema.get("type")
        may_be_null = schema.get("nullable") is True or (isinstance(kinds, list) and "null" in kinds)
        if may_be_null and isinstance(value, str | int) and not isinstance(value, bool):
            yield "/const", "may be null, so it is said as an enum"
            schema["enum"] = [schema.pop("const"), None]
        elif isinstance(value, bool | list | dict):
            schema["type"] = _CONSTANTS[type(value)]
            yield "/const", f"is said as {schema['type']}"
            del schema["const"]

    def enums(self, schema: dict[str, Any]) -> Notes:
        """Make an enum's values those of its type, each once."""
        if schema.get("enum") is None:
            return
        if (texts := mapping(mapping(schema.get("x-apifox")).get("enumDescriptions"))) and not schema.get(
            "x-apifox-enum"
        ):
            yield "/x-apifox/enumDescriptions", "are labels, as x-apifox-enum has them"
            schema["x-apifox-enum"] = [{"value": value, "name": text} for value, text in texts.items()]
        if schema.get("type") in ("array", "object"):
            yield "/enum", f"lists no {schema['type']}s, and is left out"
            del schema["enum"]
            return
        values = schema["enum"] if isinstance(schema["enum"], list) else []
        kinds = schema["type"] if isinstance(schema.get("type"), list) else [schema.get("type")]
        said = [value for value in values if value is not None]
        if not said:
            yield "/enum", "lists null only" if values else "lists nothing, and is left out"
            del schema["enum"]
            schema |= {"type": "null"} if values else {}
            return
        convert: Callable[[Any], Any] | None = None
        if "boolean" not in kinds:
            if "string" not in kinds and any(isinstance(value, float | bool | dict | list) for value in said):
                yield "/enum", "the generator lists only texts and whole numbers, so any value is taken"
                del schema["enum"]
                return
            if "integer" in kinds and all(re.fullmatch(r"-?[0-9]+", str(value)) for value in said):
                convert = int
            elif "string" in kinds or len({type(value) for value in said}) > 1:
                convert = text_of
        if convert is not None and [convert(value) for value in said] != said:
            yield "/enum", f"its values are said as {'numbers' if convert is int else 'texts'}"
            values = [None if value is None else convert(value) for value in values]
            if "default" in schema:
                alike = [value for value in values if str(value) == str(schema["default"])]
                schema["default"] = (alike or [schema["default"]])[0]
        unique = list({repr(value): value for value in values}.values())
        if len(unique) < len(values):
            yield "/enum", "lists a value twice"
        if schema.get("nullable") is True and None not in unique:
            yield "/enum", "null is one of its values"
            unique.append(None)
        if None in unique and len(unique) > 1:
            # The generator makes two of it by itself; beside null it would make three.
            schema.pop("nullable", None)
            kinds = [kind for kind in kinds if kind != "null"]
            schema.update({"type": kinds[0]} if len(kinds) == 1 and kinds[0] else {})
        schema["enum"] = unique

    def required(self, schema: dict[str, Any]) -> Notes:
        if not isinstance(schema.get("required", []), list) and schema.pop("required") is not None:
            yield "/required", "is no list of names, and is left out"
        if (fields := mapping(schema.get("properties"))) and not schema.keys() & {"allOf", "anyOf", "oneOf"}:
            for _, name in entries(schema.get("required")):
                if isinstance(name, str) and name not in fields:
                    yield "/required", f"{name!r} is not described, so the client does not know of it"

    def all_of(self, schema: dict[str, Any]) -> Notes:
        """Take apart an allOf inside another, which the generator would leave out, and take the null off a part."""
        parts = schema["allOf"] if isinstance(schema.get("allOf"), list) else []
        texts = [part for part in parts if isinstance(part, dict) and not part.keys() & {*_SHAPES, "required"}]
        if texts and len(texts) < len(parts):
            yield "/allOf", "has texts in a part of their own, which stand beside it"
            parts = schema["allOf"] = [part for part in parts if part not in texts]
            for part in texts:
                schema.update({**part, **schema})
        found = [followed(self.document, part) for part in parts]
        kinds = {str(real["type"]) for real in found if real.get("type")}
        if len(kinds) == 1 and not any(_is_object(real) for real in found) and "$ref" not in mapping(parts[0]):
            yield "/allOf", "is no object, so its parts are said as one"
            del schema["allOf"]
            for real in found:
                schema.update({**copied(real), **schema})
            return
        for number, real in enumerate(found if len(found) > 1 else ()):
            if real.get("oneOf") or real.get("anyOf"):
                yield f"/allOf/{number}", "the generator leaves alternatives out that are part of an object", "REVIEW"
            if real.get("nullable") is True:
                yield f"/allOf/{number}", "a part of an object cannot be null"
                parts[number] = copied({key: value for key, value in real.items() if key != "nullable"})
        if parts and (flat := [inner for part in parts for inner in _taken_apart(part)]) != parts:
            yield "/allOf", "holds another allOf, which is taken apart"
            schema["allOf"] = flat

    def required_of_others(self, schema: dict[str, Any]) -> Notes:
        """Require what a referenced part of an allOf requires of the others, since the generator drops it."""
        parts = entries(schema.get("allOf"))
        for number, part in parts if len(parts) > 1 or schema.get("properties") else ():
            real = followed(self.document, part) if "$ref" in mapping(part) else {}
            needed = [name for _, name in entries(real.get("required")) if isinstance(name, str)]
            if not set(needed) - mapping(real.get("properties")).keys():
                continue
            known = {*object_of(self.document, real)["properties"], *schema.get("required", [])}
            if lost := [name for name in needed if name not in known]:
                yield f"/allOf/{number}", f"requires fields of the other parts: {', '.join(lost)}"
                schema["required"] = [*schema.get("required", []), *lost]

    def one_of_one(self, schema: dict[str, Any]) -> Notes:
        """Put the one alternative of a schema in its place, since the generator writes a union of one."""
        while one := [key for key in ("anyOf", "oneOf") if _is_alone(schema.get(key))]:
            schema.update(schema.pop(one[0])[0])
        return iter(())

    def beside(self, schema: dict[str, Any]) -> Notes:
        """Join the fields beside an allOf of one reference with its own, since the generator would leave them out."""
        has_fields = bool(schema.get("properties"))
        listed = [mapping(part) for _, part in entries(schema.get("allOf"))]
        if (
            has_fields
            and len(listed) == 1
            and "$ref" in listed[0]
            and _is_object(real := followed(self.document, listed[0]))
        ):
            yield "/allOf", "has fields beside it, so all stand in one object"
            del schema["allOf"]
            _borrowed(schema, object_of(self.document, real), {})
        for key in ("anyOf", "oneOf"):
            listed = [mapping(part) for _, part in entries(schema.get(key))]
            if listed and not any(part.keys() & _SHAPES for part in listed):
                yield f"/{key}", "says only which fields go together, and is left out"
                del schema[key]
            elif listed and has_fields:
                yield "/properties", f"the generator leaves fields out that stand beside {key}", "REVIEW"

    def tags(self, schema: dict[str, Any]) -> Notes:
        """Say as a constant the one value of a field by which the objects of a union differ, since enums are open."""
        for key in ("anyOf", "oneOf"):
            listed = [followed(self.document, part) for _, part in entries(schema.get(key))]
            fields = [mapping(part.get("properties")) for part in listed if _is_object(part)]
            for name in fields[0] if len(fields) > 1 else ():
                found = [mapping(each.get(name)) for each in fields]
                values = [field.get("enum", [field.get("const")]) for field in found]
                if all(isinstance(each, list) and len(each) == 1 and isinstance(each[0], str) for each in values):
                    for field in [field for field in found if "enum" in field]:
                        yield f"/{key}", f"{name!r} has one value in each, which is said as a constant"
                        field["const"] = field.pop("enum")[0]

    def refs(self, schema: dict[str, Any]) -> Notes:
        """Add the fields of the schemas that `x-apifox-refs` names."""
        for key, entry in entries(schema.get("x-apifox-refs")):
            reference = mapping(entry).get("$ref")
            if not isinstance(reference, str):
                continue
            where = f"/x-apifox-refs/{escape(key)}"
            found = lookup(self.document, reference) or lookup(self.document, unquote(reference))
            if found is None or not isinstance(found[0], dict):
                yield where, f"{reference} leads nowhere, so its fields are not known"
            elif found[0] is not schema:
                self.rewrite(self.SAID, found[0], "schema", reference.removeprefix("#"))
                if new := _borrowed(schema, object_of(self.document, found[0]), entry):
                    yield where, f"its fields are taken: {', '.join(new)[:100]}"

    def parts(self, schema: dict[str, Any]) -> Notes:
        """Let a part that has no description be anything."""
        kind = schema.get("type")
        if "array" in (kind if isinstance(kind, list) else [kind]) and not isinstance(schema.get("items"), dict):
            said = "is no schema" if "items" in schema else "is missing"
            schema.pop("items", None)
            if not schema.get("prefixItems"):
                yield "/items", f"{said}; an item may be anything"
                schema["items"] = {}
        for key in ("allOf", "anyOf", "oneOf", "prefixItems", "properties"):
            for name, part in entries(schema.get(key)):
                if part is False and key == "properties":
                    yield f"/{key}/{escape(name)}", "may never be given, and is left out"
                    del schema[key][name]
                elif part in (None, True, []):
                    yield f"/{key}/{escape(name)}", "says nothing; it may be anything"
                    schema[key][name] = {}

    def written(self, parameter: dict[str, Any]) -> Notes:
        """Say as text what the generator does not write into a path, a query, a header or a cookie."""
        schema, where = parameter["schema"], str(parameter.get("in"))
        real, why = followed(self.document, schema), ""
        if where == "path" and real.get("default") is not None:
            why = "a path parameter is always given"
        elif where in {"header", "cookie"} and not str(real.get("default")).isascii():
            why = f"a {where} is ASCII"
        if why:
            yield "/schema/default", f"{why}, so its default is left out"
            schema = parameter["schema"] = {key: value for key, value in real.items() if key != "default"}
        found, style = self.kinds(schema), (parameter.get("explode", True), parameter.get("style", "form"))
        several = (
            where == "query" and self.is_flat(schema) and (style == (True, "form") or not found & {"array", "object"})
        )
        if "binary" in found or not (several or (len(found) < 2 and found <= _WRITTEN.get(where, set()))):
            like = "" if style == (True, "form") or where != "query" else " in this style"
            yield "/schema", f"the generator does not write {'|'.join(sorted(found))} into a {where}{like}; it is text"
            parameter["schema"] = {"type": "string"}

    def is_flat(self, schema: Any, holders: frozenset[str] = frozenset({"array", "object"})) -> bool:
        """Tell whether the generator writes a value into a query or a form by its parts, and nothing of it as Python does."""
        with suppress(ContractError, AttributeError, TypeError):  # validation tells what is wrong with it
            several = list(leaves(self.document, schema))
            taken = holders if len(several) == 1 else holders - {"object"}
            for leaf, _ in several:
                found = kinds(leaf) & {"array", "binary", "object"}
                fields = (
                    [field.schema for field in fields_of(self.document, leaf).values()] if "object" in found else []
                )
                inside = [leaf.get("items", {})] if "array" in found else fields
                rest = frozenset({"array"} if "object" in found else ())
                if not found <= taken or not all(self.is_flat(each, rest) for each in inside):
                    return False
        return True

    def in_forms(self) -> set[int]:
        """Return the schemas of all parts of forms."""
        if not self.forms:
            bodies = [followed(self.document, each.get("requestBody")) for _, _, each in operations(self.document)]
            media = [entry for body in bodies for entry in mapping(body.get("content")).items()]
            forms = [mapping(entry).get("schema") for kind, entry in media if media_kind(kind, self.overrides) in FORMS]
            self.forms.update({id(node) for schema in forms for node, _ in self.reached(schema)} | {0})
        return self.forms

    def kinds(self, schema: Any) -> set[str]:
        """Return the kinds of value that a schema allows; none if something is wrong with it, which validation tells."""
        with suppress(ContractError, AttributeError, TypeError):
            return kinds_of(self.document, schema)
        return set()

    def fitting(self, holder: dict[str, Any], *, body: bool) -> Notes:
        """Give bytes, text and forms a schema that they can have."""
        for media, entry in mapping(holder.get("content")).items():
            kind, where = media_kind(media, self.overrides), f"/content/{escape(media)}/schema"
            schema = entry.get("schema")
            if not isinstance(schema, dict):
                continue
            real, found = followed(self.document, schema), self.kinds(schema)
            if not body and kind.endswith("json") and (found == {"null"} or (found == {"any"} and "type" not in real)):
                yield where, "says nothing about the body; it may be anything"
                entry["schema"] = {}
            elif kind == BYTES and real.get("format") != "binary":
                yield where, f"{kind} is bytes"
                entry["schema"] = {"type": "string", "format": "binary"}
            elif kind.startswith("text/") and (real.get("type") != "string" or real.get("format") == "binary"):
                yield where, f"{kind} is text, handed out as it came"
                entry["schema"] = {"type": "string"}
            elif kind.endswith("json"):
                for inner, at in self.reached(schema, where, self.read):
                    if inner.get("format") == "binary" and id(inner) not in self.in_forms():
                        place_of = (f"{at}/format", "it") if at.startswith(where) else (where, at)
                        yield place_of[0], f"JSON holds no bytes, so {place_of[1]} is text"
                        del inner["format"]
            elif kind in FORMS and not _is_object(real):
                yield where, "a form is an object"
                entry["schema"] = {"type": "object"}
            elif kind == FORM and not self.is_flat(schema):
                said = "the generator writes files and what is nested in a form as Python does; make it a text"
                yield where, said, "REVIEW"
            elif kind in FORMS and real.get("nullable"):
                yield where, "a form cannot be null"
                entry["schema"] = {key: value for key, value in real.items() if key != "nullable"}

    def parameters(self, holder: dict[str, Any]) -> Notes:
        """Leave one parameter of each place and name, and of headers and cookies those that HTTP can send."""
        if not isinstance(holder.get("parameters"), list):
            return
        kept: dict[Any, Any] = {}
        for number, entry in enumerate(holder["parameters"]):
            if not isinstance(entry, dict):
                yield f"/parameters/{number}", "is no parameter, and is left out"
                continue
            real = followed(self.document, entry)
            where, name = str(real.get("in")), str(real.get("name", number))
            key = (where, name.lower() if where == "header" else name)
            if where in {"header", "cookie"} and not name.isascii():
                yield f"/parameters/{number}", f"a {where} has an ASCII name, so {name!r} is left out"
                continue
            if key == ("header", "content-type") and holder.get("requestBody") and real.get("required"):
                yield f"/parameters/{number}", "the body says its type, so it need not be given"
                entry = {**real, "required": False}  # noqa: PLW2901
            if key in kept:
                said = f"there is a {where} parameter {name!r} before it, so it is left out"
                yield f"/parameters/{number}", said
            kept.setdefault(key, entry)
        holder["parameters"] = list(kept.values())

    def own_parts(self, document: dict[str, Any]) -> Notes:
        """Give the objects of a union a component each, if the generator would make the classes in them twice."""
        schemas = mapping(document["components"].get("schemas"))
        for name, schema in list(schemas.items()):
            if not isinstance(schema, dict):
                continue
            kinds = schema.get("type")
            may_be_null = schema.get("nullable") is True or (isinstance(kinds, list) and "null" in kinds)
            if may_be_null and _is_object(schema) and not schema.keys() & {"anyOf", "oneOf"}:
                inner = {key: value for key, value in schema.items() if key != "nullable"} | {"type": "object"}
                listed, key = [inner, {"type": "null"}], "anyOf"
            else:
                key = next((key for key in ("anyOf", "oneOf") if schema.get(key)), "")
                listed = [mapping(part) for _, part in entries(schema.get(key))]
            taken = False
            for number, part in enumerate(listed):
                own = f"{name}_type_{number}"
                if _is_object(part) and own not in schemas and self.holds_classes(name, part):
                    yield f"/components/schemas/{escape(name)}", f"its object is a component of its own, {own}"
                    schemas[own], listed[number], taken = part, {"$ref": f"#/components/schemas/{own}"}, True
            if taken:
                rest = {key: value for key, value in schema.items() if key in {"description", "default"}}
                schemas[name] = {**rest, key: listed} | ({"nullable": True} if may_be_null else {})

    def holds_classes(self, name: str, schema: dict[str, Any]) -> bool:
        """Tell whether a class of its own is made of something in an object, or the object stands in itself."""
        inside = [node for _, node, at in walk(schema, "schema") if at]
        return any(
            node.get("$ref") == f"#/components/schemas/{name}" or node.keys() & {"properties", "enum", "anyOf", "oneOf"}
            for node in inside
        )

    def path_names(self, document: dict[str, Any]) -> Notes:
        """Give what a path has in braces a name that the generator takes; it is never sent."""
        for path in list(document["paths"]):
            new: dict[str, str] = {}
            for name in in_braces(path):
                # Some write the form of a value behind its name.
                words = "_".join(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", name.partition(":")[0])) or "part"
                if not re.fullmatch(r"[A-Za-z_-][A-Za-z0-9_-]*", name):
                    new[name] = words if words not in {*in_braces(path), *new.values()} else f"{words}_{len(new)}"
            said = path
            for name, other in new.items():
                said = said.replace(f"{{{name}}}", f"{{{other}}}")
            if said == path or said in document["paths"]:
                continue
            yield f"/paths/{escape(path)}", f"is said as {said}"
            new = {name.partition(":")[0]: other for name, other in new.items()} | new
            item = document["paths"][path]
            for holder in (item, *(item[method] for method in METHODS if method in item)):
                for number, entry in entries(holder.get("parameters")):
                    real = followed(document, entry)
                    if real.get("in") == "path" and real.get("name") in new:
                        holder["parameters"][number] = {**real, "name": new[real["name"]]}
            document["paths"] = {said if each == path else each: found for each, found in document["paths"].items()}

    def path_parameters(self, document: dict[str, Any]) -> Notes:
        """Describe as text what a path has in braces and no parameter describes."""
        for path, method, operation in operations(document):
            listed = [*entries(document["paths"][path].get("parameters")), *entries(operation.get("parameters"))]
            real = [followed(document, entry) for _, entry in listed]
            described = [parameter.get("name") for parameter in real if parameter.get("in") == "path"]
            for name in in_braces(path):
                if name not in described:
                    yield f"{place(path, method)}/parameters", f"{name!r} is not described; it is text"
                    extra = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                    operation["parameters"] = [*(each for _, each in entries(operation.get("parameters"))), extra]

    SAID: ClassVar[Rules] = {
        "any": (shapes,),
        "document": (version,),
        "path": (servers,),
        "operation": (operation, servers),
        "parameter": (parameter,),
        "body": (body,),
        "response": (partial(content, body=False),),
        "schema": (
            one_of_one,
            types,
            constants,
            enums,
            required,
            all_of,
            required_of_others,
            refs,
            beside,
            tags,
            parts,
        ),
    }
    PASSES: ClassVar[tuple[Rules, ...]] = (
        SAID,
        {"parameter": (written,), "body": (partial(fitting, body=True),), "response": (partial(fitting, body=False),)},
        {
            "document": (titles, own_parts, path_names, path_parameters),
            "path": (parameters,),
            "operation": (parameters,),
        },
    )


def _is_object(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "object" or bool(schema.get("properties") or schema.get("allOf"))


def _is_alone(listed: Any) -> bool:
    """Tell whether a list of alternatives has one, which stands in place."""
    return isinstance(listed, list) and len(listed) == 1 and isinstance(listed[0], dict) and "$ref" not in listed[0]


def _taken_apart(part: Any) -> list[Any]:
    inner = part.get("allOf") if isinstance(part, dict) else None
    if not isinstance(inner, list):
        return [part] if part else []
    rest = {key: value for key, value in part.items() if key != "allOf"}
    return [each for one in (*inner, rest) for each in _taken_apart(one)]


def _borrowed(schema: dict[str, Any], source: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Add the fields of another schema, and return those that are new."""
    own, fields = mapping(schema.get("properties")), mapping(source.get("properties"))
    fields = fields | mapping(entry.get("x-apifox-overrides"))
    new = copied({name: field for name, field in fields.items() if field is not None and name not in own})
    if new:
        needed = entry["required"] if isinstance(entry.get("required"), list) else source.get("required") or []
        mine = schema.get("required") or []
        required = [*mine, *(name for name in new if name in needed and name not in mine)]
        schema.update({"type": "object"} | schema | {"properties": {**new, **own}})
        schema.update({"required": required} if required else {})
    return new

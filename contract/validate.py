"""Fit a contract to what the generator needs, and reject what it would drop or garble, with a way out."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from openapi_python_client import schema as oai
from openapi_python_client.config import Config
from openapi_python_client.parser import GeneratorData
from openapi_python_client.parser.errors import GeneratorError, ParseError
from openapi_python_client.parser.properties import EnumProperty, Schemas, property_from_data
from openapi_python_client.parser.properties.schemas import Class
from openapi_python_client.strings import ClassName, PythonIdentifier, snake_case
from pydantic import ValidationError

from contract.dialect import BYTES
from contract.document import (
    ContractError,
    copied,
    escape,
    lookup,
    operations,
    place,
    resolve,
    schemas,
    target,
    unnamed_path,
)
from contract.values import kinds_of, normal, variants

_POINTER = "x-duomi-pointer"
# No code is made of these, so a mistake in one of them is no reason to reject a page.
_ASIDE = {
    "example", "examples", "externalDocs", "contact", "license", "links", "callbacks", "security", "securitySchemes",
    "discriminator", "xml", "servers", "tags", "encoding", "headers", "multipleOf", "maximum", "minimum", "deprecated",
    "exclusiveMaximum", "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems",
    "maxProperties", "minProperties", "readOnly", "writeOnly", "style", "explode", "allowReserved", "allowEmptyValue",
}  # fmt: skip
_MAPS = {"properties", "paths", "responses", "content", "schemas", "parameters", "requestBodies"}
_DEFAULTS: dict[str, Any] = {"description": "", "title": "", "version": "1.0.0", "info": {}}
# What a value without parts is made of.
_SCALAR = {"type", "nullable", "format", "enum", "const", "x-enum-varnames"}
_AS_THEY_ARE = {"any", "boolean", "integer", "null", "number", "string"}
# What every generated module imports under its own name.
_TAKEN = {
    "Any", "AuthenticatedClient", "BytesIO", "Client", "File", "FileTypes", "HTTPStatus", "IntEnum", "Literal", "Mapping",
    "RequestFiles", "Response", "Self", "StrEnum", "T", "TypeVar", "UNSET", "UUID", "Unset",
}  # fmt: skip


def fit(document: dict[str, Any], config: Config) -> tuple[dict[str, Any], list[str]]:
    """Return the document without what the generator does not need and cannot read, and a line for each change."""
    document = copied(document)
    notes: list[str] = []
    errors = list(_structure(document))
    for _ in range(20):
        repaired = [line for error in errors if (line := _repair(document, error))]
        if not repaired:
            break
        notes += repaired
        errors = list(_structure(document))
    if not errors:
        for schema, pointer in schemas(document):
            notes += _fit_schema(document, schema, pointer, config)
        for path, method, operation in operations(document):
            with suppress(ContractError):  # validation tells of a reference that leads nowhere
                notes += _fit_body(document, operation.get("requestBody"), f"{place(path, method)}/requestBody")
    return document, notes


def _structure(document: dict[str, Any]) -> Iterator[Any]:
    """Yield what the generator's own model of OpenAPI says against a document."""
    try:
        oai.OpenAPI.model_validate(document)
    except ValidationError as error:
        yield from error.errors(include_url=False)


def _walk(document: Any, location: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return the keys of a location that are in the document, and the values at each."""
    keys: list[Any] = []
    values = [document]
    for part in location:
        here = values[-1]
        known = part in here if isinstance(here, dict) else isinstance(here, list) and isinstance(part, int)
        if known and (isinstance(here, dict) or part < len(here)):
            keys.append(part)
            values.append(here[part])
    return keys, values


def _pointer_of(keys: Sequence[Any]) -> str:
    return "".join(f"/{escape(key)}" for key in keys)


def _repair(document: dict[str, Any], error: Any) -> str | None:
    """Change what stands aside of all code, and return a line about it."""
    keys, values = _walk(document, error["loc"])
    pointer = _pointer_of(keys)
    missing, last = error["type"] == "missing", error["loc"][-1]
    named = [number for number in range(1, len(keys)) if keys[number - 1] in _MAPS]
    aside = next((n for n, key in enumerate(keys) if key in _ASIDE and n not in named), None)
    if missing and last in _DEFAULTS and aside is None and isinstance(values[-1], dict):
        values[-1][last] = copy.deepcopy(_DEFAULTS[last])
        return f"NOTE   {pointer}/{last}: is missing; {_DEFAULTS[last]!r} is taken"
    if not keys:
        return None
    holder, key, value = values[-2], keys[-1], values[-1]
    if error["type"] == "string_type" and isinstance(value, int | float):
        holder[key] = str(value)
        return f"NOTE   {pointer}: is said as text"
    if aside is not None or (value is None and not missing):
        del holder[key]
        return f"NOTE   {pointer}: is left out, since it is not OpenAPI and no code is made of it"
    return None


def _fit_schema(document: dict[str, Any], schema: dict[str, Any], pointer: str, config: Config) -> Iterator[str]:
    values = [value for value in schema.get("enum") or [] if value is not None]
    if values and schema.get("type") != "boolean" and len({type(value) for value in values}) == 1:
        given = schema.get("x-enum-varnames")
        if not _are_names(values, given if isinstance(given, list) else []):
            schema["x-enum-varnames"] = _enum_names(values)
            if given is not None or _are_names(values, schema["x-enum-varnames"]):
                yield f"NOTE   {pointer}/enum: its names would collide, so they are numbered"
    if schema.get("default") is not None:
        parts = [part for key in ("allOf", "anyOf", "oneOf") for part in schema.get(key) or []]
        named = lookup(document, parts[0]["$ref"]) if len(parts) == 1 and "$ref" in parts[0] else None
        alone = {key: value for key, value in (named[0] if named else schema).items() if key in _SCALAR}
        fits = _is_built({**alone, "default": schema["default"]}, config) or not _is_built(alone, config)
        if (named or not parts) and not fits:
            yield f"NOTE   {pointer}/default: {schema['default']!r} is no such value, and is left out"[:300]
            del schema["default"]


def _fit_body(document: dict[str, Any], holder: Any, pointer: str) -> Iterator[str]:
    """Take the types off an optional body that is one of several scalars, since the generator makes no Python of it."""
    body, pointer = resolve(document, holder, pointer)
    for media, content in (body or {}).get("content", {}).items():
        real = normal(document, content.get("schema"))
        if not body.get("required") and variants(real) and kinds_of(document, real) <= _AS_THEY_ARE:
            content["schema"] = {}
            yield f"NOTE   {pointer}/content/{escape(media)}/schema: the generator cannot write it where it need not be sent, so it may be anything"


def _is_built(schema: dict[str, Any], config: Config) -> bool:
    data = oai.Schema.model_validate(schema)
    built, _ = property_from_data(
        name=oai.UntrustedString("x"), required=False, data=data, schemas=Schemas(), parent_name="X", config=config
    )
    return not isinstance(built, ParseError)


def _are_names(values: list[Any], names: list[Any]) -> bool:
    """Tell whether the generator gives each value of an enum a name of its own."""
    if names and not (len(names) == len(values) and all(isinstance(name, str) for name in names)):
        return False
    try:
        made = EnumProperty.values_from_list(values, Class(ClassName("X", ""), PythonIdentifier("x", "")), names)
    except ValueError:
        return False
    return len(made) == len(values) and all(name.isidentifier() for name in made)


def _enum_names(values: list[Any]) -> list[str]:
    names: list[str] = []
    for number, value in enumerate(values):
        name = snake_case(str(value)).upper() if str(value)[:1].isalpha() else f"VALUE_{number}"
        names.append(name if name.isidentifier() and name not in names else f"{name}_{number}".replace("__", "_"))
    return names


def validate(
    document: dict[str, Any], data: GeneratorData | Exception | GeneratorError, config: Config, name: str
) -> None:
    """Reject a contract that the generator would not take completely.

    Raises:
        ContractError: with a line for each trouble: its JSON pointer, and what would lift it.
    """
    lines = list(dict.fromkeys(f"{name}: {line}" for line in _troubles(document, data, config)))
    if lines:
        more = f"\n{len(lines) - 20} more of the kind" if len(lines) > 20 else ""
        raise ContractError("\n".join(lines[:20]) + more)


def _troubles(
    document: dict[str, Any], data: GeneratorData | Exception | GeneratorError, config: Config
) -> Iterator[str]:
    if not any(True for _ in operations(document)):
        yield "/paths: has no operation"
        return
    broken: dict[str, str] = {}
    for error in () if isinstance(data, GeneratorData) else _structure(document):
        keys, _ = _walk(document, error["loc"])
        pointer = _pointer_of([*keys, error["loc"][-1]] if error["type"] == "missing" else keys)
        broken.setdefault(pointer, error["msg"])
    yield from (f"{pointer or '/'}: {said}{way_out(document, pointer)}" for pointer, said in broken.items())
    lost = list(_lost_references(document, "", None))
    yield from (f"{pointer}/$ref: {ref!r} leads nowhere{way_out(document, pointer)}" for ref, pointer in lost)
    if broken or lost:
        return
    if isinstance(data, GeneratorData):
        yield from _generator_errors(document, data, config)
        yield from _names(document, data, config)
    else:
        yield from _crash(document, data, config)


def _lost_references(node: Any, pointer: str, document: Any) -> Iterator[tuple[str, str]]:
    root = node if document is None else document
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str) and _leads_nowhere(root, reference):
            yield reference, pointer
        for key, child in node.items():
            if key not in {"example", "examples", "default", "enum"} and not str(key).startswith("x-"):
                yield from _lost_references(child, f"{pointer}/{escape(key)}", root)
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from _lost_references(child, f"{pointer}/{number}", root)


def _leads_nowhere(document: dict[str, Any], reference: Any) -> bool:
    seen: set[Any] = set()
    while isinstance(reference, str):
        found = lookup(document, reference)
        if found is None or reference in seen:
            return True
        seen.add(reference)
        reference = found[0].get("$ref") if isinstance(found[0], dict) else None
    return False


def _crash(document: dict[str, Any], error: Exception | GeneratorError, config: Config) -> Iterator[str]:
    """Find the operations that the generator cannot read, one by one."""
    said = " ".join(str(getattr(error, "detail", None) or error).split())[:300]
    guilty = False
    for path, method, operation in operations(document):
        item = {key: value for key, value in document["paths"][path].items() if key == "parameters"}
        alone = {**document, "paths": {path: {**item, method: operation}}}
        try:
            read = GeneratorData.from_dict(alone, config=config)
        except Exception as inner:  # on invalid input the generator may raise any error
            guilty = True
            yield f"{place(path, method)}: the generator cannot read it: {inner}{way_out(document, place(path, method))}"
        else:
            guilty = guilty or isinstance(read, GeneratorError)
    if not guilty:
        yield f"/: the generator cannot read it: {said}"


def _generator_errors(document: dict[str, Any], data: GeneratorData, config: Config) -> Iterator[str]:
    if not _errors_of(data):
        return
    marked = copied(document)
    for schema, pointer in schemas(marked):
        schema[_POINTER] = pointer
    for path, method, operation in operations(marked):
        operation[_POINTER] = place(path, method)
        for status, answer in operation["responses"].items():
            answer[_POINTER] = f"{place(path, method)}/responses/{escape(status)}"
        if isinstance(operation.get("requestBody"), dict):
            operation["requestBody"][_POINTER] = f"{place(path, method)}/requestBody"
    again = GeneratorData.from_dict(marked, config=config)
    for error in _errors_of(again if isinstance(again, GeneratorData) else data):
        extra = getattr(error.data, "model_extra", None) or {}
        where = re.match(r"WARNING parsing (\w+) (.+) within ", error.header)
        pointer = str(extra.get(_POINTER) or (place(where[2], where[1].lower()) if where else "/components/schemas"))
        said = " ".join(f"{'' if where else error.header} {error.detail or ''}".split())
        # The generator shows some texts of the document as objects.
        said = re.sub(r"<\S*UntrustedString object at \w+>", "it", said)
        said = re.sub(r"Cannot parse response for status code it \((.*)\), response will.*", r"\1", said)
        yield f"{pointer}: {said[:400]}{_way_out(document, pointer, said)}"


def _errors_of(data: GeneratorData) -> list[ParseError]:
    return [*data.errors, *(e for c in data.endpoint_collections_by_tag.values() for e in c.parse_errors)]


def _way_out(document: dict[str, Any], pointer: str, said: str) -> str:
    media = re.search(r"Unsupported content[_ ]type (.+?)(?:\)|,|$)", said)
    if media:
        kind = media[1].split(",")[0].strip()
        response = "content_type " in said
        like = (
            "application/json"
            if kind in {"*/*", "json"}
            else "text/plain"
            if kind.endswith("xml") and response
            else BYTES
        )
        return f'; generator.yaml could lift it: content_type_overrides: {{"{kind}": {like}}}'
    if "duplicate models" in said or "conflicting enums" in said:
        return f'; overlay.yaml could lift it: {{target: "{_jsonpath(pointer)}", update: {{title: AnotherName}}}}'
    return way_out(document, pointer)


def _jsonpath(pointer: str) -> str:
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
    return "$" + "".join(f"[{t}]" if t.isdigit() and n and tokens[n - 1] in {"parameters", "allOf", "anyOf", "oneOf"}
                         else f".{t}" if re.fullmatch(r"[A-Za-z]\w*", t) else f"['{t}']" for n, t in enumerate(tokens))  # fmt: skip


def leave_out(path: str, method: str) -> str:
    """Return the line of overlay.yaml that leaves out an operation."""
    return f'overlay.yaml could leave it out: {{target: "{target(path, method)}", remove: true}}'


def way_out(document: dict[str, Any], pointer: str) -> str:
    """Return the line of overlay.yaml that leaves out the operation or the component at a pointer."""
    for path, method, _ in operations(document):
        if f"{pointer}/".startswith(f"{place(path, method)}/"):
            return f"; {leave_out(path, method)}"
    found = re.match(r"/(?:components/schemas|paths)/[^/]+", pointer)
    if found:
        empty = "" if pointer.startswith("/paths") else ".*"
        return f'; overlay.yaml could empty it: {{target: "{_jsonpath(found[0])}{empty}", remove: true}}'
    return ""


def _names(document: dict[str, Any], data: GeneratorData, config: Config) -> Iterator[str]:
    """Yield where two parts would share a file or a name."""
    modules: dict[str, str] = {}
    paths = {(method, unnamed_path(path)): path for path, method, _ in operations(document)}
    for tag, collection in data.endpoint_collections_by_tag.items():
        for endpoint in collection.endpoints:
            module = f"api/{tag}/{PythonIdentifier(endpoint.name, config.field_prefix)}.py"
            path = paths[endpoint.method, unnamed_path(endpoint.path.get_untrusted_value())]
            named = f"{endpoint.method.upper()} {path}"
            if module in modules:
                yield (
                    f"/paths: {modules[module]} and {named} would both be {module}; overlay.yaml could name one: "
                    f'{{target: "{target(path, endpoint.method)}", update: {{operationId: another_name}}}}'
                )
            modules.setdefault(module, named)
    classes: dict[str, str] = {}
    for item in (*data.models, *data.enums):
        name, module = str(item.class_info.name), str(item.class_info.module_name)
        line = f"; generator.yaml could lift it: class_overrides: {{{name}: {{class_name: {name}Model, module_name: {module}_model}}}}"
        if name in _TAKEN:
            yield f"/components/schemas/{escape(name)}: the generated code has a {name} of its own{line}"
        if module in classes:
            yield f"/components/schemas: {classes[module]} and {name} would share models/{module}.py{line}"
        classes.setdefault(module, name)

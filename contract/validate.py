"""Fit a contract to what the generator needs, and reject what it would drop or garble, with a way out."""

from __future__ import annotations

import ast
import copy
import hashlib
import itertools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from openapi_python_client import schema as oai
from openapi_python_client.config import Config
from openapi_python_client.parser import GeneratorData
from openapi_python_client.parser.errors import GeneratorError, ParseError
from openapi_python_client.parser.openapi import Endpoint
from openapi_python_client.parser.properties import EnumProperty, ModelProperty, Property, Schemas, property_from_data
from openapi_python_client.parser.properties.schemas import Class
from openapi_python_client.strings import ClassName, PythonIdentifier, snake_case
from pydantic import ValidationError

from contract.dialect import BYTES, FORMS
from contract.document import (
    INSIDE,
    PARTS,
    ContractError,
    condensed,
    copied,
    escape,
    operations,
    path_key,
    place,
    resolve,
    walk,
)
from contract.overlay import jsonpath, way_out
from contract.schemas import normal, text_of, variants

_POINTER = "x-duomi-pointer"
# What code is made of, besides; a mistake in anything else is no reason to reject a page.
_CODE = {"$ref", "openapi", "info", "type", "format", "enum", "const", "nullable", "required", "name", "in"}
_DEFAULTS: dict[str, Any] = {"description": "", "title": "", "version": "1.0.0", "info": {}}
# What a value without parts is made of.
_SCALAR = {"type", "nullable", "format", "enum", "const", "x-enum-varnames"}
# What file systems take, less the ending.
LONGEST_NAME = 250
# What every generated module imports under its own name.
_TAKEN = {
    "Any", "AuthenticatedClient", "BytesIO", "Client", "File", "FileTypes", "HTTPStatus", "IntEnum", "Literal", "Mapping",
    "RequestFiles", "Response", "Self", "StrEnum", "T", "TypeVar", "UNSET", "UUID", "Unset",
}  # fmt: skip


def fit(document: dict[str, Any], config: Config) -> list[str]:
    """Take out of a document what the generator does not need and cannot read, and return a line for each change."""
    notes: list[str] = []
    errors: list[Any] = []
    for _ in range(20):
        errors = list(_structure(document))
        repaired = [line for error in errors if (line := _repair(document, error))]
        notes += repaired
        if not repaired:
            break
    for kind, part, pointer in () if errors else walk(document):
        with suppress(ContractError):  # validation tells of a reference that leads nowhere
            if kind == "schema":
                notes += _fit_schema(document, part, pointer, config)
            elif kind == "body":
                notes += _fit_body(document, part, pointer)
    return notes


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
        with suppress(LookupError, TypeError):  # the generator's own name of one of several forms
            values.append(values[-1][part])
            keys.append(part)
    return keys, values


def _pointer_of(keys: Sequence[Any]) -> str:
    return "".join(f"/{escape(key)}" for key in keys)


def _repair(document: dict[str, Any], error: Any) -> str | None:
    """Change what stands aside of all code, and return a line about it."""
    keys, values = _walk(document, error["loc"])
    pointer = _pointer_of(keys)
    missing, last = error["type"] == "missing", error["loc"][-1]
    named = (key for before, key in pairwise(["", *keys]) if before not in PARTS and isinstance(key, str))
    aside = not _CODE.union(*INSIDE.values()).issuperset(named)
    if missing and last in _DEFAULTS and not aside and isinstance(values[-1], dict):
        values[-1][last] = copy.deepcopy(_DEFAULTS[last])
        return f"NOTE   {pointer}/{last}: is missing; {_DEFAULTS[last]!r} is taken"
    if not keys:
        return None
    holder, key, value = values[-2], keys[-1], values[-1]
    if error["type"] == "string_type" and isinstance(value, int | float):
        holder[key] = str(value)
        return f"NOTE   {pointer}: is said as text"
    if aside or (value is None and not missing):
        del holder[key]
        return f"NOTE   {pointer}: is left out, since it is not OpenAPI and no code is made of it"
    return None


def _fit_schema(document: dict[str, Any], schema: dict[str, Any], pointer: str, config: Config) -> Iterator[str]:
    values = [value for value in schema.get("enum") or [] if value is not None]
    if values and schema.get("type") != "boolean" and len({type(value) for value in values}) == 1:
        given = schema.get("x-enum-varnames")
        are_names = _are_names(values, given if isinstance(given, list) else [])
        # The generator would count the texts that begin with no letter.
        is_counted = not given and any(isinstance(value, str) and not value[:1].isalpha() for value in values)
        if is_counted or not are_names:
            schema["x-enum-varnames"] = _enum_names(values)
            if not are_names and (given is not None or _are_names(values, schema["x-enum-varnames"])):
                yield f"NOTE   {pointer}/enum: its names would collide, so each has a hash of its value"
    default = schema.get("default")
    if isinstance(default, dict | list):
        yield f"NOTE   {pointer}/default: the generated code has no such default, so it is left out"
        del schema["default"]
    elif default is not None:
        parts = [part for key in ("allOf", "anyOf", "oneOf") for part in schema.get(key) or []]
        named, _ = resolve(document, parts[0], pointer) if len(parts) == 1 and "$ref" in parts[0] else ({}, "")
        alone = {key: value for key, value in (named if parts else schema).items() if key in _SCALAR}
        made = _built({**alone, "default": default}, config)
        if not (made and _is_default(made, default)) and _built(alone, config):
            yield f"NOTE   {pointer}/default: {default!r} is no such value in code, and is left out"[:300]
            del schema["default"]


def _fit_body(document: dict[str, Any], body: dict[str, Any], pointer: str) -> Iterator[str]:
    content = body.get("content", {})
    if not body.get("required") and len(content) == 1:
        ((media, entry),) = content.items()
        if variants(normal(document, entry.get("schema"))[0]):
            body["required"] = True
            yield f"NOTE   {pointer}/content/{escape(media)}/schema: the generator cannot leave it out, so it must be given"


def _built(schema: dict[str, Any], config: Config) -> Property | None:
    """Return what the generator makes of a value without parts, or None."""
    data, name = oai.Schema.model_validate(schema), oai.UntrustedString("x")
    with suppress(Exception):  # on invalid input the generator may raise any error
        built, _ = property_from_data(
            name=name, required=False, data=data, schemas=Schemas(), parent_name="X", config=config
        )
        return None if isinstance(built, ParseError) else built
    return None


def _is_default(made: Property, default: Any) -> bool:
    """Tell whether the generated code has a default as the page has it, be it written as a text."""
    if made.default is None:
        return False
    code, said = made.default.python_code.as_unembedded_code(), text_of(default)
    try:
        value = ast.literal_eval(code)
    except (ValueError, SyntaxError):  # an enum's member, or a date; what is no number has no literal
        return code.strip("-") not in {"nan", "inf"}
    if isinstance(value, str | bool):
        return value == said if isinstance(value, str) else str(value).lower() == said.lower()
    with suppress(ValueError):
        return bool(value == default or value == float(said))
    return False


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
    """Return a name for each value of an enum, made of the value alone, so that no other value ever takes it."""
    names = [_enum_name(value) for value in values]
    # Python takes letters for the same if they are in this form.
    times = Counter(unicodedata.normalize("NFKC", name) for name in names)
    digests = [hashlib.sha256(str(value).encode()).hexdigest()[:4].upper() for value in values]
    return [
        name if times[unicodedata.normalize("NFKC", name)] == 1 and name.isidentifier() else f"{name}_{digest}"
        for name, digest in zip(names, digests, strict=True)
    ]


def _enum_name(value: Any) -> str:
    text = str(value)
    words = re.sub(r"\W+", "_", re.sub(r"^-(?=\d)", "NEGATIVE_", text)).strip("_")
    if not words:
        words = "_".join(f"{ord(sign):X}" for sign in text) or "EMPTY"
    return snake_case(text if text[:1].isalpha() else f"VALUE_{words}").upper()


def validate(
    document: dict[str, Any], data: GeneratorData | GeneratorError | Exception, config: Config, name: str
) -> GeneratorData:
    """Reject a contract that the generator would not take completely, or return what it makes of it.

    Raises:
        ContractError: with a line for each trouble: its JSON pointer, and what would lift it.
    """
    lines = [f"{name}: {line}" for line in condensed(dict.fromkeys(_troubles(document, data, config)))]
    if lines or not isinstance(data, GeneratorData):
        more = f"\n{len(lines) - 20} more of the kind" if len(lines) > 20 else ""
        raise ContractError("\n".join(lines[:20]) + more)
    return data


def _troubles(
    document: dict[str, Any], data: GeneratorData | GeneratorError | Exception, config: Config
) -> Iterator[str]:
    if not any(True for _ in operations(document)):
        yield "/paths: has no operation"
        return
    broken: dict[str, str] = {}
    for error in () if isinstance(data, GeneratorData) else _structure(document):
        keys, _ = _walk(document, error["loc"])
        broken.setdefault(
            _pointer_of([*keys, *error["loc"][-1:]] if error["type"] == "missing" else keys), error["msg"]
        )
    for _, part, pointer in walk(document):
        try:
            resolve(document, part, pointer)
        except ContractError as lost:
            broken[f"{pointer}/$ref"] = str(lost).partition(": ")[2]
    yield from (f"{pointer or '/'}: {said}{way_out(pointer)}" for pointer, said in broken.items())
    if broken:
        return
    if isinstance(data, GeneratorData):
        yield from _generator_errors(document, data, config)
        yield from _names(document, data, config)
    else:
        yield from _crash(document, data, config)


def _crash(document: dict[str, Any], error: Exception | GeneratorError, config: Config) -> Iterator[str]:
    """Find the operations that the generator cannot read, one by one."""
    guilty = False
    for path, method, operation in operations(document):
        shared = {key: value for key, value in document["paths"][path].items() if key == "parameters"}
        try:
            GeneratorData.from_dict({**document, "paths": {path: {**shared, method: operation}}}, config=config)
        except Exception as inner:  # on invalid input the generator may raise any error
            guilty = True
            yield f"{place(path, method)}: the generator cannot read it: {inner}{way_out(place(path, method))}"
    if not guilty:
        yield f"/: the generator cannot read it: {' '.join(str(error).split())[:300]}"


def _generator_errors(document: dict[str, Any], data: GeneratorData, config: Config) -> Iterator[str]:
    if not _errors_of(data):
        return
    marked = copied(document)
    for _, part, pointer in walk(marked):
        part[_POINTER] = pointer
    with patch.object(oai.UntrustedString, "__repr__", oai.UntrustedString.get_untrusted_value):
        again = GeneratorData.from_dict(marked, config=config)
    troubles: list[tuple[str, str, str]] = []
    said_by_all = json.dumps(document)
    numbers = (number for number in itertools.count(1) if f'"AnotherName{number}"' not in said_by_all)
    for number, error in zip(numbers, _errors_of(again if isinstance(again, GeneratorData) else data), strict=False):
        extra = getattr(error.data, "model_extra", None) or {}
        where = re.match(r"WARNING parsing (\w+) (.+) within ", error.header)
        said = " ".join(f"{'' if where else error.header} {error.detail or ''}".split())
        places = (f"/components/schemas/{escape(name)}" for name in document["components"].get("schemas", {}))
        named = max((at for at in places if f"{at}:" in said), key=len, default="/components/schemas")
        pointer = str(extra.get(_POINTER) or (place(where[2], where[1].lower()) if where else named))
        said = re.sub(r"Cannot parse response for status code \S+ \((.*)\), response will.*", r"\1", said)
        troubles.append((pointer, said, _way_out(pointer, said, number)))
    # What refers to a schema that was refused is right again with it.
    causes = [each for each in troubles if not each[1].startswith("Could not find reference")]
    yield from (f"{pointer}: {said[:400]}{way}" for pointer, said, way in causes or troubles)


def _errors_of(data: GeneratorData) -> list[ParseError]:
    return [*data.errors, *(e for c in data.endpoint_collections_by_tag.values() for e in c.parse_errors)]


def _way_out(pointer: str, said: str, number: int) -> str:
    media = re.search(r"Unsupported content[_ ]type (.+?)(?:\)|,|$)", said)
    if media:
        kind = media[1].strip()
        text = "text/plain" if kind.endswith("xml") and "content_type " in said else BYTES
        text = FORMS[0] if "form" in kind and "content_type " not in said else text
        like = "application/json" if kind in {"*/*", "json"} else text
        return f'; generator.yaml could lift it: content_type_overrides: {{"{kind}": {like}}}'
    if "duplicate models" in said and pointer.count("/") == 3 and pointer.startswith("/paths/"):
        return f'; overlay.yaml could lift it: {{target: "{jsonpath(pointer)}", update: {{operationId: another_name_{number}}}}}'
    if "duplicate models" in said or "conflicting enums" in said:
        return (
            f'; overlay.yaml could lift it: {{target: "{jsonpath(pointer)}", update: {{title: AnotherName{number}}}}}'
        )
    return way_out(pointer)


def modules(data: GeneratorData, config: Config) -> Iterator[tuple[tuple[str, str, frozenset[str]], str, Endpoint]]:
    """Yield the method and the key of the path, the module, and the generator's description of each operation."""
    for tag, collection in data.endpoint_collections_by_tag.items():
        for endpoint in collection.endpoints:
            module = f"{tag}.{PythonIdentifier(endpoint.name, config.field_prefix)}"
            names = [parameter.name.get_untrusted_value() for parameter in endpoint.path_parameters]
            yield (endpoint.method, *path_key(endpoint.path.get_untrusted_value(), names)), module, endpoint


def _names(document: dict[str, Any], data: GeneratorData, config: Config) -> Iterator[str]:
    """Yield where two parts would share a file or a name."""
    files: dict[str, str] = {}
    paths = {(method, *path_key(path)): path for path, method, _ in operations(document)}
    for key, module, endpoint in modules(data, config):
        file, named = f"api/{module.replace('.', '/')}.py", f"{endpoint.method.upper()} {paths[key]}"
        where = place(paths[key], endpoint.method)
        update = f'overlay.yaml could name it: {{target: "{jsonpath(where)}", update: {{operationId: another_name}}}}'
        if files.setdefault(file, named) != named:
            yield f"{where}: {files[file]} and {named} would both be {file}; {update}"
        if _is_too_long(module.rpartition(".")[2]):
            yield f"{where}: its file would have a name of more than {LONGEST_NAME} bytes; {update}"
    classes: dict[str, str] = {}
    for item in (*data.models, *data.enums):
        name, module = str(item.class_info.name), str(item.class_info.module_name)
        other = ("AnotherName", "another_name") if _is_too_long(module) else (f"{name}Model", f"{module}_model")
        line = f"; generator.yaml could lift it: class_overrides: {{{name}: {{class_name: {other[0]}, module_name: {other[1]}}}}}"
        if name in _TAKEN:
            yield f"/components/schemas/{escape(name)}: the generated code has a {name} of its own{line}"
        if classes.setdefault(module, name) != name:
            yield f"/components/schemas: {classes[module]} and {name} would share models/{module}.py{line}"
        if _is_too_long(module):
            yield f"/components/schemas: a file would have a name of more than {LONGEST_NAME} bytes{line}"


def properties(model: ModelProperty) -> list[Property]:
    """Return the generator's descriptions of a model's fields."""
    return [*(model.required_properties or []), *(model.optional_properties or [])]


def names_itself(model: ModelProperty) -> bool:
    """Tell whether the code of a model calls a variable as it calls the class, where a field is of the class."""
    name = str(model.class_info.name)
    fields = (field.get_type_string().as_unembedded_code() for field in properties(model))
    return name == str(model.class_info.module_name) and any(re.search(rf"\b{name}\b", field) for field in fields)


def _is_too_long(module: str) -> bool:
    return len(module.encode()) > LONGEST_NAME

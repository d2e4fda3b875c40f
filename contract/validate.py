"""Reject what the generator would drop or garble without an error."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from contract.document import ContractError, escape, operations, resolve
from contract.facts import parameters, simplify, type_of
from contract.names import label_table

_ONE_LINE = ("const", "default", "name", "operationId", "summary", "tags", "title", "url")
_BREAKS = frozenset({"Cc", "Zl", "Zp"})


def validate(document: dict[str, Any], name: str = "openapi.yaml") -> None:
    """Reject a contract that the generator would not take completely.

    Raises:
        ContractError: with the JSON pointer of the first problem.
    """
    for trouble in _troubles(document):
        raise ContractError(f"{name}: {trouble}")


def missing_labels(document: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each enum value without a label, if other values of the enum have one."""
    for node, pointer in _nodes(document, ""):
        if isinstance(node.get("enum"), list) and (labels := label_table(node.get("x-apifox-enum"))):
            for value in node["enum"]:
                if str(value) not in labels:
                    yield f"NOTE   {pointer}: {value!r} has no label; it is shown as it is"


def _troubles(document: dict[str, Any]) -> Iterator[str]:
    if not any(True for _ in operations(document)):
        yield "/paths: has no operation"
    for node, pointer in _nodes(document, ""):
        if isinstance(node.get("$ref"), str):
            try:
                resolve(document, node, pointer)
            except ContractError as error:
                yield str(error)
        yield from _text_troubles(node, pointer)
        values = node.get("enum")
        if isinstance(values, list) and isinstance(node.get("x-apifox-enum"), list):
            known = {str(value) for value in values}
            for entry in node["x-apifox-enum"]:
                value = entry.get("value") if isinstance(entry, dict) else entry
                if str(value) not in known:
                    yield f"{pointer}/x-apifox-enum: names {value!r}, which enum lacks"
    for path, method, operation in operations(document):
        pointer = f"/paths/{escape(path)}/{method}"
        yield from _parameter_troubles(document, path, operation, pointer)
        for status, holder in operation.get("responses", {}).items():
            response, where = resolve(document, holder, f"{pointer}/responses/{status}")
            media = list(response.get("content") or {})
            first: dict[str, Any] = next(iter((response.get("content") or {}).values()), {})
            if "schema" in first and type_of(simplify(document, first["schema"], "")[0]) == "any":
                yield f"{where}/content/{escape(media[0])}/schema: has no type, so the body would be dropped"
            if media and not any(_can_be_modelled(kind) for kind in media):
                yield f"{where}/content: {media[0]} cannot be modelled, only JSON, text and bytes can"


def _text_troubles(node: dict[str, Any], pointer: str) -> Iterator[str]:
    """Yield the texts that would become code or other text in the generated source."""
    names = [name for name in node if not _is_one_line(name)]
    for key in ("enum", *_ONE_LINE):
        values = node.get(key)
        names += [
            v for v in (values if isinstance(values, list) else [values]) if isinstance(v, str) and not _is_one_line(v)
        ]
    for name in names:
        yield f"{pointer}: {name!r} would become code: a name, a value, a title or a summary is one line"
    if '"""' in str(node.get("description")):
        yield f'{pointer}/description: """ would become code'


def _is_one_line(text: str) -> bool:
    return '"""' not in text and not any(unicodedata.category(character) in _BREAKS for character in text)


def _parameter_troubles(document: dict[str, Any], path: str, operation: dict[str, Any], pointer: str) -> Iterator[str]:
    in_path = {
        p["name"]: (p, where) for p, where in parameters(document, path, operation, pointer) if p["in"] == "path"
    }
    names = re.findall(r"\{([^}]*)\}", path)
    for name in names:
        if name not in in_path:
            yield f"{pointer}: the path parameter {name!r} is not described"
    for name, (parameter, where) in in_path.items():
        if name not in names:
            yield f"{where}: the path has no {{{name}}}"
        elif parameter.get("required") is not True:
            yield f"{where}: a path parameter must be required"


def _can_be_modelled(media: str) -> bool:
    kind = media.partition(";")[0].strip().lower()
    return (
        kind in {"application/json", "application/octet-stream"} or kind.startswith("text/") or kind.endswith("+json")
    )


def _nodes(node: Any, pointer: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield every mapping of a document except those in examples, each with its pointer."""
    if isinstance(node, dict):
        yield node, pointer
        for key, child in node.items():
            if key not in {"example", "examples", "default"}:
                yield from _nodes(child, f"{pointer}/{escape(str(key))}")
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from _nodes(child, f"{pointer}/{number}")

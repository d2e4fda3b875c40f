"""Add the missing names to the contract."""

import copy
import hashlib
import re
from collections.abc import Iterator
from typing import Any

from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext.parser import parse
from oas_patch.overlay import apply_overlay

from contract.document import ContractError, operations

_MADE = "x-duomi-made"


def named(document: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Return the document with the overlay applied; each action must find its target."""
    document = copy.deepcopy(document)
    for number, action in enumerate(overlay.get("actions", [])):
        target = action.get("target")
        try:
            found = parse(target).find(document)
        except (JSONPathError, TypeError, AttributeError) as error:
            raise ContractError(f"overlay.yaml: /actions/{number}: {target!r} is no JSONPath") from error
        if not found:
            raise ContractError(f"overlay.yaml: /actions/{number}: {target} matches nothing in the contract")
        document = apply_overlay(document, {"actions": [action]})
    for path, method, operation in operations(document):
        _make_ascii(path, method, operation)
    _drop_titles(document["paths"])
    return document


def _drop_titles(node: Any) -> None:
    """Drop titles that are not ASCII, so that the generator names the class after its operation."""
    if isinstance(node, dict):
        if isinstance(node.get("title"), str) and not node["title"].isascii():
            del node["title"]
        for child in node.values():
            _drop_titles(child)
    elif isinstance(node, list):
        for child in node:
            _drop_titles(child)


def unnamed(document: dict[str, Any]) -> Iterator[str]:
    """Yield an overlay line for each operation that has only a generated name."""
    for path, method, operation in operations(document):
        if operation.get(_MADE):
            target = f"$.paths['{path}'].{method}"
            yield f'overlay.yaml could name it: {{target: "{target}", update: {{operationId: {_suggestion(path, method)}}}}}'


def _make_ascii(path: str, method: str, operation: dict[str, Any]) -> None:
    """Drop an operationId that is not ASCII, so that the generator makes a name from the path."""
    given = str(operation.get("operationId") or "")
    if not re.search(r"[A-Za-z]", given) or not given.isascii():
        operation.pop("operationId", None)
        operation[_MADE] = True
        if not path.isascii():
            digest = hashlib.sha256(path.encode()).hexdigest()[:8]
            operation["operationId"] = f"{_suggestion(path, method)}_{digest}"


def _suggestion(path: str, method: str) -> str:
    verb = {"post": "create", "put": "replace", "patch": "update"}.get(method, method)
    words = [w for w in re.findall(r"[A-Za-z0-9]+", re.sub(r"\{[^}]*\}", "", path)) if not re.fullmatch(r"v\d+", w)]
    return "_".join([verb, *(word.lower() for word in words)])

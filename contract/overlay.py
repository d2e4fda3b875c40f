"""Add the missing names to the contract, and apply the maintainer's corrections."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from contract.document import ContractError, copied, operations, place, target

_MADE = "x-duomi-made"
_VERBS = {"post": "create", "put": "replace", "patch": "update", "delete": "delete"}
# Words that say already what is done.
_DOING = {"create", "generate", "generations", "get", "list", "query", "search", "upload", "update", "delete", "cancel"}


def named(document: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Return the document with the overlay applied; each action must find its target."""
    from jsonpath_ng.exceptions import JSONPathError  # noqa: PLC0415  (`contract diff` needs none of it)
    from jsonpath_ng.ext.parser import parse  # noqa: PLC0415
    from oas_patch.overlay import apply_overlay  # noqa: PLC0415

    document = copied(document)
    for number, action in enumerate(overlay.get("actions") or []):
        wanted = action.get("target")
        try:
            found = parse(wanted).find(document)
            if found:
                document = apply_overlay(document, {"actions": [action]})
        except (JSONPathError, TypeError, AttributeError, ValueError, KeyError) as error:
            raise ContractError(f"overlay.yaml: /actions/{number}: {wanted!r} is no JSONPath") from error
        if not found:
            raise ContractError(f"overlay.yaml: /actions/{number}: {wanted} matches nothing in the contract")
    for path, method, operation in operations(document):
        _make_ascii(path, method, operation)
    _drop_titles(document["paths"])
    return document


def left_out(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each operation that the overlay removes."""
    there = {(path, method) for path, method, _ in operations(after)}
    for path, method, _ in operations(before):
        if (path, method) not in there:
            yield f"NOTE   {place(path, method)}: left out by overlay.yaml; client.api still reaches it by its path"


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
    names = suggestions(document)
    for path, method, operation in operations(document):
        if operation.get(_MADE):
            name = names[path, method]
            yield f'overlay.yaml could name it: {{target: "{target(path, method)}", update: {{operationId: {name}}}}}'


def _make_ascii(path: str, method: str, operation: dict[str, Any]) -> None:
    """Drop an operationId that is not ASCII, so that the generator makes a name from the path."""
    given = str(operation.get("operationId") or "")
    if not re.search(r"[A-Za-z]", given) or not given.isascii():
        operation.pop("operationId", None)
        operation[_MADE] = True
        if not path.isascii():
            digest = hashlib.sha256(path.encode()).hexdigest()[:8]
            operation["operationId"] = f"{'_'.join(_words(path, method))}_{digest}"


def suggestions(document: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Return a name for each operation as a person would give it, each once."""
    taken = {str(o["operationId"]) for _, _, o in operations(document) if o.get("operationId") and not o.get(_MADE)}
    names: dict[tuple[str, str], str] = {}
    for path, method, operation in operations(document):
        if operation.get(_MADE) or not operation.get("operationId"):
            name = base = "_".join(_words(path, method))
            inner = "_".join(re.findall(r"[a-z0-9]+", " ".join(re.findall(r"\{([^}]*)\}", path)).lower()))
            number = 2
            if name in taken and inner:
                name = base = f"{base}_by_{inner}"
            while name in taken:
                name, number = f"{base}_{number}", number + 1
            taken.add(name)
            names[path, method] = name
    return names


def _words(path: str, method: str) -> list[str]:
    """Return a verb and the path's nouns: what stands before a parameter, or is created, is one thing of many."""
    parts = [part for part in path.strip("/").split("/") if not re.fullmatch(r"v\d+(beta|alpha)?\d*", part)]
    words: list[str] = []
    for number, part in enumerate(parts):
        found = [word.lower() for word in re.findall(r"[A-Za-z0-9]+", re.sub(r"\{[^}]*\}", "", part))]
        last = all(re.fullmatch(r"\{[^}]*\}", later) for later in parts[number + 1 :])
        one = method != "get" or number + 1 < len(parts)
        if found and (one or not last):
            found[-1] = _singular(found[-1])
        words += found
    if not parts or parts[-1].startswith("{") or method != "get":
        verb = _VERBS.get(method, method)
    else:
        verb = "list" if words and _singular(words[-1]) != words[-1] else "get"
    return words if words and words[0] in _DOING else [verb, *words]


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word

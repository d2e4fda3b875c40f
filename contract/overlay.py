"""Add the missing names to the contract, and apply the maintainer's corrections."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import Any

from contract.document import METHODS, ContractError, copied, escape, operation_name, operations, place, unescape, walk
from contract.document import parse as read_mapping

_MADE = "x-duomi-made"
_VERBS = {"post": "create", "put": "replace", "patch": "update", "delete": "delete"}
# Words that say already what is done.
_DOING = {"create", "generate", "generations", "get", "list", "query", "search", "upload", "update", "delete", "cancel"}


def overlay_of(root: Path) -> dict[str, Any]:
    """Read the maintainer's corrections, if there are any."""
    file = root / "overlay.yaml"
    return read_mapping(file.read_text(encoding="utf-8"), file.name) if file.exists() else {}


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
    _make_names(document)
    for kind, part, pointer in walk(document):
        # The generator names the class after its operation then.
        if kind == "schema" and pointer.startswith("/paths/") and not str(part.get("title", "")).isascii():
            del part["title"]
    return document


def updated(document: dict[str, Any], overlay: Mapping[str, Any]) -> set[str]:
    """Return the JSON pointers of what the overlay's updates say in a document."""
    if not overlay.get("actions"):
        return set()
    from jsonpath_ng.ext.parser import parse  # noqa: PLC0415  (`contract diff` needs none of it)

    found: set[str] = set()
    for action in overlay["actions"]:
        with suppress(Exception):  # `named` tells what is wrong with a target
            for match in parse(action["target"]).find(document) or ():
                found |= {f"{_pointer(match.full_path)}/{escape(key)}" for key in action.get("update", ())}
    return found


def _pointer(path: Any) -> str:
    """Return the place that a JSONPath found as a JSON pointer."""
    if hasattr(path, "left"):
        return f"{_pointer(path.left)}{_pointer(path.right)}"
    tokens: Any = getattr(path, "fields", ()) or getattr(path, "indices", ())
    return "".join(f"/{escape(token)}" for token in tokens)


def left_out(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each operation that the overlay removes."""
    there = {(path, method) for path, method, _ in operations(after)}
    for path, method, _ in operations(before):
        if (path, method) not in there:
            yield f"NOTE   {place(path, method)}: left out by overlay.yaml; client.api still reaches it by its path"


def unnamed(document: dict[str, Any]) -> Iterator[str]:
    """Yield an overlay line for each operation that has only a generated name, with one as a person would give it."""
    taken = {operation["operationId"] for _, _, operation in operations(document) if not operation.get(_MADE)}
    for path, method, operation in operations(document):
        if operation.get(_MADE):
            name = "_".join(_words(path, method))
            inner = re.findall(r"[a-z0-9]+", " ".join(re.findall(r"\{([^}]*)\}", path)).lower())
            if name in taken and inner:
                name = f"{name}_by_{'_'.join(inner)}"
            name = next(n for n in chain([name], (f"{name}_{number}" for number in count(2))) if n not in taken)
            taken.add(name)
            where = jsonpath(place(path, method))
            yield f'overlay.yaml could name it: {{target: "{where}", update: {{operationId: {name}}}}}'


def jsonpath(pointer: str) -> str:
    """Return a JSON pointer as the JSONPath that overlay.yaml takes."""
    path, before = "$", ""
    for token in map(unescape, pointer.split("/")[1:]):
        if token.isdigit() and before in {"parameters", "allOf", "anyOf", "oneOf"}:
            path += f"[{token}]"
        else:
            path += f".{token}" if re.fullmatch(r"[A-Za-z]\w*", token, re.ASCII) else f"['{token}']"
        before = token
    return path


def way_out(pointer: str) -> str:
    """Return the line of overlay.yaml that leaves out the operation or empties the component at a pointer."""
    if found := re.match(rf"/paths/[^/]+/({'|'.join(METHODS)})(?=/|$)", pointer):
        return f'; overlay.yaml could leave it out: {{target: "{jsonpath(found[0])}", remove: true}}'
    if found := re.match(r"/(components/schemas|paths)/[^/]+", pointer):
        empty = "" if found[1] == "paths" else ".*"
        return f'; overlay.yaml could empty it: {{target: "{jsonpath(found[0])}{empty}", remove: true}}'
    return ""


def _make_names(document: dict[str, Any]) -> None:
    """Let the generator name by its path an operation without an ASCII name, and add a hash if that is no name, or not unique."""
    from openapi_python_client.parser.openapi import generate_operation_id  # noqa: PLC0415
    from openapi_python_client.schema import UntrustedString  # noqa: PLC0415
    from openapi_python_client.strings import PythonIdentifier  # noqa: PLC0415

    made = {
        (path, method): PythonIdentifier(name, "") if (name := operation_name(operation))
        else generate_operation_id(path=UntrustedString(path), method=method, prefix="")
        for path, method, operation in operations(document)
    }  # fmt: skip
    times = Counter(made.values())
    for path, method, operation in operations(document):
        if operation_name(operation) is None:
            operation.pop("operationId", None)
            operation[_MADE] = True
            # None of those that share a name has it, so that a new path never takes that of an old one.
            if not path.isascii() or times[made[path, method]] > 1:
                digest = hashlib.sha256(path.encode()).hexdigest()[:8]
                operation["operationId"] = f"{'_'.join(_words(path, method))}_{digest}"


def _words(path: str, method: str) -> list[str]:
    """Return a verb and the path's nouns: what stands before a parameter, or is created, is one thing of many."""
    parts = [part for part in path.strip("/").split("/") if not re.fullmatch(r"v\d+(beta|alpha)?\d*", part)]
    words: list[str] = []
    for number, part in enumerate(parts, 1):
        found = [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", re.sub(r"\{[^}]*\}", "", part))]
        if found and (method != "get" or number < len(parts)):
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

"""Compare the contract with the generated package."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contract.calls import FUNCTIONS, load, same
from contract.document import ContractError, operations, resolve
from contract.facts import Difference, Facts, compare, of_document, parameters, simplify, type_of
from contract.package import expected_client_options, of_package

# The aspects of a contract that a package can show.
_SHOWN = {"is", "server", "required", "type", "nullable", "enum", "const", "labels", "extras"}
_HIDDEN = re.compile(r"^\S+ \S+ (request\b|response \S+ header )|<\d+>")
_TYPED_FORMATS = {"date-time", "date", "uuid", "binary"}


def check(document: dict[str, Any], folder: Path) -> Iterator[str]:
    """Yield a line for each difference between a named contract and the package in a folder."""
    expected = _expected(document)
    package = load(folder)
    try:
        found = of_package(document, package)
    except Exception as error:  # a package under test may raise any error
        raise ContractError(f"{folder}/duomi_api does not do as generated code does: {error!r}") from error
    for difference in compare(expected, found):
        yield line(difference)


def _expected(document: dict[str, Any]) -> Facts:
    """Return the facts that the package must show: those of the contract and those that it implies."""
    facts = of_document(document)
    values = dict(facts.values)
    facts.values = {key: value for key, value in values.items() if key[1] in _SHOWN and not _HIDDEN.search(key[0])}
    facts.values.pop(("contract", "is"), None)
    for (name, aspect), value in list(facts.values.items()):
        if aspect == "type" and values.get((name, "format")) in _TYPED_FORMATS:
            facts.values[name, aspect] = f"{value} {values[name, 'format']}"
        if aspect == "enum" and value is not None:
            facts.values[name, "names"], facts.values[name, "open"] = [], facts.values[name, "type"] == "string"
        if aspect == "extras" and value is None:
            del facts.values[name, aspect]
        if aspect == "extras" and value is not None:
            facts.values[name, "round trip"] = "equal"
        if aspect == "type" and value in {"oneOf", "anyOf"}:
            variants = (kind for (place, a), kind in values.items() if a == "type" and _is_variant(place, name))
            facts.values[name, aspect] = "|".join(sorted(set(variants)))
        if aspect == "is" and value == "field":
            wire = name.rpartition(".")[2]
            facts.values[name, "decoded"] = True
            if values.get((name, "const")) is None:
                facts.values[name, "reads"], facts.values[name, "writes"] = [same(wire)], [wire]
        if aspect == "is" and value == "body":
            facts.values[name, "decodes"] = "well"
    facts.add("server", "", "/servers", "document", written=True)
    if document.get("servers"):
        facts.values["server", "server"] = facts.values["server", "server"][:1]
    facts.add("client", "", "", "document", **{"is": "client"}, options=expected_client_options())
    for path, method, operation in operations(document):
        name = f"{method.upper()} {path}"
        facts.add(name, "", "", "operation", sync_async_mismatches=[], undocumented=[], own_ways=[], body="as given")
        facts.add(name, "", "", "operation", functions=_functions(document, operation))
        for parameter, _ in parameters(document, path, operation, ""):
            place = f"{name} {parameter['in']} parameter {parameter['name']}"
            part = {"header": "headers", "cookie": "headers"}.get(parameter["in"], parameter["in"])
            facts.values[place, "sent"] = [f"changes {part}"]
    return facts


def _is_variant(place: str, name: str) -> bool:
    return re.fullmatch(re.escape(name) + r"<\d+>", place) is not None


def _functions(document: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    """Return the functions that must exist: those that return a parsed response need one with a schema."""
    answers = (resolve(document, answer, "")[0] for answer in operation.get("responses", {}).values())
    media = (next(iter((answer.get("content") or {"": {}}).values())) for answer in answers)
    parsed = any(type_of(simplify(document, kind.get("schema", {}), "")[0]) != "any" for kind in media)
    return [name for name in FUNCTIONS if parsed or name.endswith("_detailed")]


def line(difference: Difference) -> str:
    """Say a difference in one line that begins with its JSON pointer."""
    place, aspect = difference.place, difference.aspect
    where = place.pointer or "/paths"
    if aspect == "is" and difference.new is None:
        return f"{where}: the {difference.old} is missing in the package"
    if aspect == "is" and difference.old is None:
        return f"{where}: the package has a {difference.new} that the contract lacks: {place.name.strip()}"
    old, new = _tell(difference.old, difference.new)
    return f"{where}: {aspect}: the contract says {old}, the package {new}"


def _tell(old: Any, new: Any) -> tuple[str, str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        old, new = {key: old.get(key) for key in keys}, {key: new.get(key) for key in keys}
    return tuple(json.dumps(value, ensure_ascii=False, default=str)[:300] for value in (old, new))  # type: ignore[return-value]

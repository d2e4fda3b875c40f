"""The contract against the generated package."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contract.document import operations
from contract.facts import Difference, Facts, compare, of_document, parameters
from contract.package import expected_client_options, load, of_package, same

# What of a contract a package can show.
_SHOWN = {"is", "server", "required", "type", "nullable", "enum", "labels", "extras"}
_HIDDEN = re.compile(r"^\S+ \S+ (request\b|response \S+ header )")
_TYPED_FORMATS = {"date-time", "date", "uuid"}


def check(document: dict[str, Any], folder: Path) -> Iterator[str]:
    """Yield a line for each difference between a contract, its names given, and the package in a folder."""
    expected = _expected(document)
    found = of_package(document, load(folder))
    for difference in compare(expected, found):
        yield line(difference)


def _expected(document: dict[str, Any]) -> Facts:
    """Return the facts that the package must show: the contract's, and that it does what the contract implies."""
    facts = of_document(document)
    values = dict(facts.values)
    facts.values = {key: value for key, value in values.items() if key[1] in _SHOWN and not _HIDDEN.search(key[0])}
    facts.values.pop(("contract", "is"), None)
    for (name, aspect), value in list(facts.values.items()):
        if aspect == "type" and values.get((name, "format")) in _TYPED_FORMATS:
            facts.values[name, aspect] = f"{value} {values[name, 'format']}"
        if aspect == "enum" and value is not None:
            facts.values[name, "names"], facts.values[name, "open"] = [], True
        if aspect == "extras" and value is None:
            del facts.values[name, aspect]
        if aspect == "extras" and value is not None:
            facts.values[name, "round trip"] = "equal"
        if aspect == "is" and value == "field":
            wire = name.rpartition(".")[2]
            facts.values[name, "reads"], facts.values[name, "writes"] = [same(wire)], [wire]
            facts.values[name, "decoded"] = True
        if aspect == "is" and value == "body":
            facts.values[name, "decodes"] = "well"
    facts.add("server", "", "/servers", "document", written=True)
    if document.get("servers"):
        facts.values["server", "server"] = facts.values["server", "server"][:1]
    facts.add("client", "", "", "document", **{"is": "client"}, options=expected_client_options())
    for path, method, operation in operations(document):
        name = f"{method.upper()} {path}"
        facts.add(name, "", "", "operation", twins=[], undocumented=[])
        for parameter, _ in parameters(document, path, operation, ""):
            place = f"{name} {parameter['in']} parameter {parameter['name']}"
            part = {"header": "headers", "cookie": "headers"}.get(parameter["in"], parameter["in"])
            facts.values[place, "sent"] = [f"changes {part}"]
    return facts


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

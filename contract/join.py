"""Join two descriptions of one thing as widely as a client needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from contract.document import ContractError, escape, lookup

_TEXTS = {"title", "summary", "description", "example", "examples", "tags", "operationId", "deprecated", "externalDocs"}
# What a client has to allow for is the wider of two; what it may rely on is what both have.
_LISTS = {"oneOf", "anyOf", "allOf", "prefixItems"}
_NUMBERS = {"integer", "number"}


@attrs.frozen
class Join:
    """Joins the parts of two pages, and records a REVIEW line for each that differs."""

    one: str
    two: str
    documents: tuple[Mapping[str, Any], Mapping[str, Any]]
    lines: list[str]

    def review(self, pointer: str, text: str) -> None:
        """Record a difference, and what is made of it."""
        self.lines.append(f"REVIEW {pointer}: {self.one} and {self.two} differ; {text}")

    def contradiction(self, pointer: str) -> ContractError:
        """Return the error of two parts that nothing is made of."""
        return ContractError(f"{self.one} and {self.two} contradict each other at {pointer}; make one of them agree")

    def mapping(
        self, old: dict[str, Any], new: Mapping[str, Any], pointer: str, each: Callable[[Any, Any, str], Any]
    ) -> dict[str, Any]:
        """Join two mappings of names: what is on one page only is taken from it."""
        joined = dict(old)
        for name, value in new.items():
            at = f"{pointer}/{escape(name)}"
            joined[name] = each(old[name], value, at) if name in old and old[name] != value else value
        return joined

    def path(self, old: Any, new: Any, pointer: str) -> Any:
        """Join two path items."""
        return self.mapping(old, new, pointer, self.operation)

    def operation(self, old: Any, new: Any, pointer: str) -> Any:
        """Join two operations, or another part of a path item."""
        if pointer.endswith("/parameters"):
            return self.parameters(old, new, pointer)
        if not (isinstance(old, dict) and isinstance(new, dict)):
            return old
        joined = {**new, **old}
        joined["parameters"] = self.parameters(
            old.get("parameters") or [], new.get("parameters") or [], f"{pointer}/parameters"
        )
        if not joined["parameters"]:
            del joined["parameters"]
        if "requestBody" in joined:
            at = f"{pointer}/requestBody"
            joined["requestBody"] = self.holder(old.get("requestBody") or {}, new.get("requestBody") or {}, at)
        joined["responses"] = self.mapping(
            old.get("responses") or {}, new.get("responses") or {}, f"{pointer}/responses", self.holder
        )
        return joined

    def parameters(self, old: list[Any], new: list[Any], pointer: str) -> list[Any]:
        """Join two lists of parameters by place and name; one that a page lacks need not be sent."""
        tables: list[dict[Any, Any]] = [{}, {}]
        for table, entries, document in zip(tables, (old, new), self.documents, strict=True):
            for entry in entries:
                real = self.followed(entry, document)
                table[real.get("in"), real.get("name")] = real
        joined: list[Any] = []
        for number, key in enumerate({**tables[0], **tables[1]}):
            both = [table.get(key) for table in tables]
            if both[0] is not None and both[1] is not None:
                joined.append(self.holder(both[0], both[1], f"{pointer}/{number}"))
                continue
            only: dict[str, Any] = dict(both[0] or both[1] or {})
            if only.get("required") and only.get("in") != "path":
                self.review(f"{pointer}/{number}", f"{key[1]!r} is on one only, so it need not be sent")
                only["required"] = False
            joined.append(only)
        return joined

    def holder(self, old: Any, new: Any, pointer: str) -> Any:
        """Join two parameters, request bodies or responses."""
        if old == new:
            return old
        old, new = self.followed(old, self.documents[0]), self.followed(new, self.documents[1])
        joined = {**new, **old}
        if old.get("required") != new.get("required") and "required" in joined:
            joined["required"] = bool(old.get("required")) and bool(new.get("required"))
            if bool(old.get("required")) != bool(new.get("required")):
                self.review(f"{pointer}/required", "it need not be sent")
        if "schema" in old and "schema" in new:
            joined["schema"] = self.schema(old["schema"], new["schema"], f"{pointer}/schema")
        if "content" in joined:
            contents = (old.get("content") or {}, new.get("content") or {})
            joined["content"] = self.mapping(contents[0], contents[1], f"{pointer}/content", self.holder)
        return joined

    def followed(self, node: Any, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a reference of a page names."""
        seen: list[Any] = []
        while isinstance(node, dict) and isinstance(node.get("$ref"), str) and node not in seen:
            seen.append(node)
            found = lookup(dict(document), node["$ref"])
            node = found[0] if found else {}
        return node if isinstance(node, dict) else {}

    def schema(self, old: Any, new: Any, pointer: str) -> Any:
        """Join two schemas: any value that fits one of them fits the result."""
        if not (isinstance(old, dict) and isinstance(new, dict)) or old == new or _same_reference(old, new):
            return old
        old, new = self.followed(old, self.documents[0]), self.followed(new, self.documents[1])
        joined: dict[str, Any] = {}
        for key in {**old, **new}:
            at = f"{pointer}/{escape(key)}"
            both = key in old and key in new
            if key in _TEXTS or key.startswith("x-") or (both and old[key] == new[key]):
                joined.setdefault(key, old.get(key, new.get(key)))
            elif key == "properties":
                joined[key] = self.mapping(old.get(key) or {}, new.get(key) or {}, at, self.schema)
            elif key == "required":
                joined[key] = [name for name in old.get(key) or [] if name in (new.get(key) or [])]
                self.review(at, f"required is what both require: {', '.join(joined[key]) or 'nothing'}")
            elif key == "type":
                joined |= self.type(old.get(key), new.get(key), at)
            elif key == "nullable":
                joined[key] = bool(old.get(key)) or bool(new.get(key))
                self.review(at, "null is allowed for")
            elif key in {"enum", "const"}:
                self.values(joined, old, new, at)
            elif both and isinstance(old[key], dict) and isinstance(new[key], dict):
                joined[key] = self.schema(old[key], new[key], at)
            elif key in _LISTS:
                raise self.contradiction(at)
            else:
                self.review(at, "neither holds")
        return joined

    def type(self, old: Any, new: Any, pointer: str) -> dict[str, Any]:
        """Join two types, of which only numbers have a wider one; a value without a type may be anything."""
        if old is None or new is None:
            kind = old or new
            self.review(pointer, "only one says the type")
            return {"type": kind} if kind in {"object", "array"} else {}
        if not (isinstance(old, str) and isinstance(new, str)) or {old, new} != _NUMBERS:
            raise self.contradiction(pointer)
        self.review(pointer, "it is a number")
        return {"type": "number"}

    def values(self, joined: dict[str, Any], old: dict[str, Any], new: dict[str, Any], pointer: str) -> None:
        """Put the values of both into one list."""
        first, second = (part.get("enum", [part["const"]] if "const" in part else None) for part in (old, new))
        if "enum" in joined:
            return
        if not (isinstance(first, list) and isinstance(second, list)):
            self.review(pointer, "any value is allowed for")
            return
        joined["enum"] = [*first, *(value for value in second if value not in first)]
        self.review(pointer, f"it lists the values of both: {joined['enum']}"[:300])
        one, two = old.get("x-apifox-enum"), new.get("x-apifox-enum")
        if isinstance(one, list) and isinstance(two, list):
            joined["x-apifox-enum"] = [*one, *(entry for entry in two if entry not in one)]


def _same_reference(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return "$ref" in old and old.get("$ref") == new.get("$ref")

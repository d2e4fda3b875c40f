"""Join two descriptions of one thing as widely as a client needs."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import attrs

from contract.document import INSIDE, entries, escape, followed, mapping
from contract.overlay import jsonpath
from contract.schemas import object_of, values_of

_TEXTS = {"title", "summary", "description", "example", "examples", "tags", "operationId", "deprecated", "externalDocs"}
# What a client has to allow for is the wider of two; what it may rely on is what both have.
_ALTERNATIVES = ("anyOf", "oneOf")
_LISTS = {*_ALTERNATIVES, "allOf", "prefixItems"}
_NUMBERS = {"integer", "number"}


@attrs.frozen
class Join:
    """Joins the parts of two pages, and records a REVIEW line for each that differs."""

    one: str
    two: str
    documents: tuple[Mapping[str, Any], Mapping[str, Any]]
    lines: list[str]
    lifted: AbstractSet[str] = frozenset()
    troubles: list[str] = attrs.field(factory=list)
    begun: set[Any] = attrs.field(factory=set)

    def review(self, pointer: str, text: str) -> None:
        """Record a difference, and what is made of it."""
        self.lines.append(f"REVIEW {pointer}: {self.one} and {self.two} differ; {text}")

    def contradict(self, pointer: str, value: Any = None) -> None:
        """Record that nothing is made of two parts, unless overlay.yaml says what it shall be."""
        parent, _, key = pointer.rpartition("/")
        if pointer not in self.lifted:
            update = f'overlay.yaml could lift it: {{target: "{jsonpath(parent)}", update: {{{key}: {value}}}}}'
            way = update if isinstance(value, str) else "make one of them agree"
            self.troubles.append(f"{self.one} and {self.two} contradict each other at {pointer}; {way}")

    def parts(self, kind: str, old: dict[str, Any], new: dict[str, Any], pointer: str) -> dict[str, Any]:
        """Join two mappings of names: what is on one page only is taken from it."""
        joined: dict[str, Any] = {}
        for name in {**old, **new}:
            both, at = [part[name] for part in (old, new) if name in part], f"{pointer}/{escape(name)}"
            joined[name] = self.part(kind, both[0], both[-1], at)
            if len(both) == 1 and kind == "schema" and pointer.endswith("/properties"):
                is_default = "/responses/" not in at and mapping(both[0]).get("default") is not None
                self.review(at, f"it is on one only{', so its default is not sent' if is_default else ''}")
                if is_default:
                    joined[name] = {key: value for key, value in both[0].items() if key != "default"}
        return joined

    def part(self, kind: str, old: Any, new: Any, pointer: str) -> Any:
        """Join two parts of a kind, or two references."""
        if not (isinstance(old, dict) and isinstance(new, dict)) or _reference(old) == _reference(new):
            return old
        both = str(old.get("$ref", id(old))), str(new.get("$ref", id(new)))
        if both in self.begun:  # the two stand inside themselves
            return old
        self.begun.add(both)
        joined = self.unlike(kind, followed(self.documents[0], old), followed(self.documents[1], new), pointer)
        self.begun.remove(both)
        return joined

    def unlike(self, kind: str, old: dict[str, Any], new: dict[str, Any], pointer: str) -> dict[str, Any]:
        """Join two parts of a kind that differ."""
        if kind == "schema":
            return self.schema(old, new, pointer)
        if kind == "parameter" and [old.get(key) for key in ("in", "name")] != [new.get(key) for key in ("in", "name")]:
            self.contradict(pointer)
            return old
        joined = {**old, **new, **old}
        for key in [key for key in ("security", "servers", "style", "explode") if old.get(key) != new.get(key)]:
            self.review(f"{pointer}/{key}", f"{joined[key]!r} is taken")
        if bool(old.get("required")) != bool(new.get("required")):
            self.review(f"{pointer}/required", "it need not be sent")
            joined["required"] = False
        inside = {**dict.fromkeys(joined if kind == "components" else (), "*schema"), **INSIDE[kind]}
        for key, inner in inside.items():
            first, second, at = old.get(key, {}), new.get(key, {}), f"{pointer}/{key}"
            if key not in joined:
                continue
            if key == "parameters" and kind != "components":
                joined[key] = self.parameters(first, second, at)
            elif inner.startswith("*"):
                joined[key] = self.parts(inner[1:], mapping(first), mapping(second), at)
            elif inner == "body" or (key in old and key in new):
                joined[key] = self.part(inner, first, second, at)
        return joined

    def parameters(self, old: Any, new: Any, pointer: str) -> Any:
        """Join two lists of parameters by place and name; one that a page lacks need not be sent."""
        if old == new:
            return old
        tables: list[dict[Any, Any]] = []
        for document, listed in zip(self.documents, (old, new), strict=True):
            real = [followed(document, entry) for _, entry in entries(listed)]
            tables.append({(str(entry.get("in")), str(entry.get("name"))): entry for entry in real})
        joined: list[Any] = []
        for number, key in enumerate({**tables[0], **tables[1]}):
            both, at = [table[key] for table in tables if key in table], f"{pointer}/{number}"
            if len(both) == 1 and both[0].get("required") and key[0] != "path":
                self.review(at, f"{key[1]!r} is on one only, so it need not be sent")
                both = [{**both[0], "required": False}]
            schema: dict[str, Any] = mapping(both[0].get("schema"))
            if len(both) == 1 and schema.get("default") is not None:
                self.review(at, f"{key[1]!r} is on one only, so its default is not sent")
                both = [{**both[0], "schema": {k: v for k, v in schema.items() if k != "default"}}]
            joined.append(self.part("parameter", both[0], both[-1], at))
        return joined

    def schema(self, old: dict[str, Any], new: dict[str, Any], pointer: str) -> dict[str, Any]:
        """Join two schemas: any value that fits one of them fits the result."""
        if any(_bare(old.get(key)) != _bare(new.get(key)) for key in _LISTS):
            old, new = (_flat(document, part) for document, part in zip(self.documents, (old, new), strict=True))
            if any(part.get(key) for part in (old, new) for key in _ALTERNATIVES):
                return self.alternatives(old, new, pointer)
        joined: dict[str, Any] = {}
        for key in {**old, **new}:
            at = f"{pointer}/{escape(key)}"
            both = key in old and key in new
            if key == "x-apifox-refs":
                first, second = mapping(old.get(key)), mapping(new.get(key))
                taken = [mapping(entry).get("$ref") for entry in first.values()]
                more = {f"{n} {self.two}": e for n, e in second.items() if mapping(e).get("$ref") not in taken}
                joined[key] = {**first, **more}
                if more:
                    self.review(at, "the fields of both are taken")
            elif key in _TEXTS or key.startswith("x-") or (both and old[key] == new[key]):
                joined.setdefault(key, old.get(key, new.get(key)))
            elif key == "properties":
                joined[key] = self.parts("schema", mapping(old.get(key)), mapping(new.get(key)), at)
            elif key == "required":
                both_need = [[name for _, name in entries(part.get(key))] for part in (old, new)]
                joined[key] = [str(name) for name in both_need[0] if name in both_need[1]]
                self.review(at, f"required is what both require: {', '.join(joined[key]) or 'nothing'}")
            elif key == "type":
                joined |= self.type(old.get(key), new.get(key), at)
            elif key == "nullable":
                joined[key] = bool(old.get(key)) or bool(new.get(key))
                self.review(at, "null is allowed for")
            elif key in {"enum", "const"}:
                self.values(joined, old, new, at)
            elif both and key in _LISTS and _bare(old[key]) == _bare(new[key]):
                joined[key] = old[key]
            elif both and isinstance(old[key], dict) and isinstance(new[key], dict):
                joined[key] = self.part("schema", old[key], new[key], at)
            elif key in _LISTS:
                self.contradict(at)
                joined[key] = old.get(key, new.get(key))
            else:
                self.review(at, "neither holds")
        return joined

    def alternatives(self, old: dict[str, Any], new: dict[str, Any], pointer: str) -> dict[str, Any]:
        """Put the alternatives of both into one list; a schema that has none is one."""
        joined, listed = dict[str, Any](), list[tuple[Any, Any]]()
        for document, part in zip(self.documents, (old, new), strict=True):
            key = next((key for key in _ALTERNATIVES if part.get(key)), None)
            alone = {name: value for name, value in part.items() if name not in {*_TEXTS, "nullable", "default"}}
            found = [(each, _bare(followed(document, each))) for _, each in entries(part[key] if key else [alone])]
            listed += [each for each in found if each[1] not in [known for _, known in listed]]
            joined = {n: v for n, v in part.items() if n not in (_ALTERNATIVES if key else alone)} | joined
        self.review(f"{pointer}/oneOf", "the alternatives of both are taken")
        if any(part.get("nullable") for part in (old, new)):
            joined["nullable"] = True
        if old.get("default") != new.get("default"):
            self.review(f"{pointer}/default", "neither holds")
            joined.pop("default", None)
        return {**joined, "oneOf": [each for each, _ in listed]}

    def type(self, old: Any, new: Any, pointer: str) -> dict[str, Any]:
        """Join two types, of which only numbers have a wider one; a value without a type may be anything."""
        listed = [each if isinstance(each, list) else [each] for each in (old, new) if each is not None]
        kinds = [{str(kind).lower() for kind in each} for each in listed]
        if len(kinds) == 1:
            self.review(pointer, "only one says the type")
            return {"type": old or new} if kinds[0] <= {"object", "array", "null"} else {}
        plain, null = [each - {"null"} for each in kinds], {"null"} & (kinds[0] | kinds[1])
        if plain[0] != plain[1] and not (plain[0] and plain[1] and plain[0] | plain[1] <= _NUMBERS):
            self.contradict(pointer, old)
            return {"type": old}
        joined = sorted((plain[0] if plain[0] == plain[1] else {"number"}) | null)
        if kinds[0] != kinds[1]:
            self.review(pointer, f"it is {' or '.join(joined)}")
        return {"type": joined if len(joined) > 1 else joined[0]}

    def values(self, joined: dict[str, Any], old: dict[str, Any], new: dict[str, Any], pointer: str) -> None:
        """Put the values of both into one list."""
        first, second = map(values_of, (old, new))
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


def _reference(part: dict[str, Any]) -> Any:
    """Return the reference that a part is, alone in an allOf or not, or else the part."""
    parts = part.get("allOf")
    alone = mapping(parts[0]) if isinstance(parts, list) and len(parts) == 1 else {}
    return part.get("$ref", alone.get("$ref", part))


def _flat(document: Mapping[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with the fields of its allOf in it, and with null said as `nullable`."""
    if schema.get("allOf") and (source := object_of(document, schema))["properties"]:
        schema = {**schema, "type": "object", **{key: found for key, found in source.items() if found}}
        del schema["allOf"]
    for key in _ALTERNATIVES:
        listed = [mapping(each) for _, each in entries(schema.get(key))]
        rest = [each for each in listed if each.get("type") not in ("null", ["null"])]
        if len(rest) == 1:
            schema = {k: v for k, v in schema.items() if k != key} | followed(document, rest[0])
            schema |= {"nullable": True} if len(listed) > 1 else {}
    kinds = schema.get("type")
    if isinstance(kinds, list) and len(kinds) == 2 and "null" in kinds:
        schema = {**schema, "type": next(kind for kind in kinds if kind != "null"), "nullable": True}
    return schema


def _bare(part: Any) -> Any:
    """Return a part without its texts and extensions, and its variants in an order of their own."""
    if isinstance(part, list):
        return sorted(map(_bare, part), key=repr)
    if not isinstance(part, dict):
        return part
    return {key: _bare(part[key]) for key in sorted(part) if key not in _TEXTS and not key.startswith("x-")}

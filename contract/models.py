"""Read the facts of a generated package's types, enums and models by running them."""

from __future__ import annotations

import datetime as dt
import enum
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs

from contract.calls import import_module, members_of, same
from contract.example import example
from contract.facts import Facts, simplify, type_of

PYTHON_TYPES: Mapping[Any, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", dt.datetime: "string date-time",
    dt.date: "string date", uuid.UUID: "string uuid", Any: "any", type(None): "null",
}  # fmt: skip


@attrs.frozen
class Values:
    """Adds the facts of values, from the annotations and the behaviour of the generated code."""

    document: dict[str, Any]
    package: types.ModuleType
    facts: Facts

    def add(self, place: str, parent: str, node: Any, hint: Any, above: tuple[Any, ...] = ()) -> None:
        """Add the facts of a value, from its annotation."""
        schema, _, _ = simplify(self.document, node, "")
        members = [member for member in members_of(hint) if member is not type(None)]
        nullable = type(None) in members_of(hint)
        kinds = sorted({_kind(member) for member in members})
        if len(kinds) != 1:
            self.facts.add(place, parent, "", "", type="|".join(kinds), nullable=nullable)
            return
        member = members[0]
        if typing.get_origin(member) is list:
            self.facts.add(place, parent, "", "", type="array", nullable=nullable)
            self.facts.add(f"{place}[]", place, "", "", **{"is": "item"})
            self.add(f"{place}[]", place, schema.get("items", {}), typing.get_args(member)[0], above)
        elif isinstance(member, type) and issubclass(member, enum.Enum):
            self.facts.add(place, parent, "", "", type=_kind(member), nullable=nullable, **_enum_facts(member))
        elif typing.get_origin(member) is typing.Literal:
            (value,) = typing.get_args(member)
            self.facts.add(place, parent, "", "", type=_kind(member), nullable=nullable, const=value)
        elif member in above:
            self.facts.add(place, parent, "", "", type="recursive", nullable=nullable)
        elif isinstance(member, type) and hasattr(member, "from_dict"):
            self.facts.add(place, parent, "", "", type="object", nullable=nullable)
            if type_of(schema) == "object":
                _Model(self, place, schema, member, (*above, member)).read()
        else:
            self.facts.add(place, parent, "", "", type=_kind(member), nullable=nullable)


def _kind(member: Any) -> str:
    """Return the JSON schema type of a member of an annotation."""
    if typing.get_origin(member) is list:
        return "array"
    if typing.get_origin(member) is typing.Literal:
        return PYTHON_TYPES[type(typing.get_args(member)[0])]
    if isinstance(member, type) and issubclass(member, enum.Enum):
        return "integer" if issubclass(member, int) else "string"
    if hasattr(member, "from_dict"):
        return "object"
    return "string binary" if hasattr(member, "payload") else PYTHON_TYPES.get(member, str(member))


def _enum_facts(member: type[enum.Enum]) -> dict[str, Any]:
    values = [item.value for item in member]
    names = [item.name for item in member]
    # The generator names a value without a leading letter VALUE_n.
    named = [same(n) == same(str(v)) or n.startswith("VALUE_") for n, v in zip(names, values, strict=True)]
    labels = {item.value: getattr(item, "label", item.value) for item in member}
    try:
        stranger = member("not in the contract")
        opened = stranger.value == "not in the contract" and stranger not in list(member)
    except ValueError:
        opened = False
    return {
        "enum": values,
        "labels": {value: label for value, label in labels.items() if label != value} or None,
        "names": [n for n, well in zip(names, named, strict=True) if not well],
        "open": opened,
    }


@attrs.frozen
class _Model:
    """Reads the facts of one generated class by decoding and encoding it."""

    values: Values
    place: str
    schema: dict[str, Any]
    cls: Any
    above: tuple[Any, ...]

    def read(self) -> None:
        """Add the facts of the class and of its fields."""
        facts, place = self.values.facts, self.place
        properties = self.schema.get("properties", {})
        full = example(self.values.document, self.schema, 1, place)
        trip = self._attempt(lambda: self.cls.from_dict(full).to_dict())
        facts.add(place, "", "", "", round_trip="equal" if trip == full else f"{trip!r}"[:200])
        extra = self._attempt(lambda: self.cls.from_dict({**full, "x-extra": [1]}).to_dict().get("x-extra"))
        facts.add(place, "", "", "", extras=extra == [1])
        fields = {same(f.name): f for f in attrs.fields(self.cls) if f.name != "additional_properties"}
        package = self.values.package
        hints = typing.get_type_hints(self.cls, localns=vars(import_module(f"{package.__name__}.models")))
        for name, child in properties.items():
            field = fields.pop(same(name), None)
            if field is None:
                continue
            inner = f"{place}.{name}"
            facts.add(inner, place, "", "", **{"is": "field"}, required=self._required(full, name, field))
            if "const" not in child:
                reads, writes = self._read_into(full, name, child), self._written_as(full, name, child)
                facts.add(inner, place, "", "", reads=reads, writes=writes)
            decoded = self._attempt(partial(self._read, full, field.name))
            facts.add(inner, place, "", "", decoded=_decoded(decoded, hints[field.name]))
            self.values.add(inner, place, child, hints[field.name], self.above)
        for field in fields.values():
            facts.add(f"{place}.{field.name}", place, "", "", **{"is": "field"})

    def _read(self, full: dict[str, Any], name: str) -> Any:
        return getattr(self.cls.from_dict(full), name)

    def _attempt(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def _required(self, full: dict[str, Any], name: str, field: Any) -> Any:
        less = {key: value for key, value in full.items() if key != name}
        try:
            back = self.cls.from_dict(less).to_dict()
            reading = False if back == less else f"absent becomes {back!r}"[:100]
        except KeyError:
            reading = True
        except Exception as error:
            return f"{type(error).__name__} where it is absent"
        making = field.default is attrs.NOTHING
        return reading if making == reading or isinstance(reading, str) else f"reading {reading}, making {making}"

    def _changed(self, name: str, full: dict[str, Any], child: Any) -> dict[str, Any]:
        other = example(self.values.document, child, 2, f"{self.place}/{name}")
        # If a schema has only one value, use an unknown enum value or an extra field.
        if other == full[name]:
            other = {**other, "x-other": 1} if isinstance(other, dict) else f"{other} 2"
        return {**full, name: other}

    def _read_into(self, full: dict[str, Any], name: str, child: Any) -> list[str]:
        one = self._attempt(lambda: self.cls.from_dict(full))
        two = self._attempt(lambda: self.cls.from_dict(self._changed(name, full, child)))
        if isinstance(one, str) or isinstance(two, str):
            return [one if isinstance(one, str) else two]
        changed = [f.name for f in attrs.fields(self.cls) if getattr(one, f.name) != getattr(two, f.name)]
        return [same(attribute) for attribute in changed]

    def _written_as(self, full: dict[str, Any], name: str, child: Any) -> list[str]:
        attribute = next(f.name for f in attrs.fields(self.cls) if same(f.name) == same(name))

        def write() -> list[str]:
            one, two = self.cls.from_dict(full), self.cls.from_dict(self._changed(name, full, child))
            before = one.to_dict()
            setattr(one, attribute, getattr(two, attribute))
            after = one.to_dict()
            return [key for key in {**before, **after} if before.get(key) != after.get(key)]

        result = self._attempt(write)
        return result if isinstance(result, list) else [result]


def _decoded(value: Any, hint: Any) -> bool:
    """Tell whether a decoded value has the type of its annotation."""
    kinds = tuple(typing.get_origin(m) or m for m in members_of(hint) if isinstance(typing.get_origin(m) or m, type))
    return not kinds or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)))

"""What a generated package does, found by running it: its requests, and what it makes of answers."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import enum
import importlib
import inspect
import pkgutil
import re
import sys
import types
import typing
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

import attrs
import httpx

from contract.document import ContractError, operations, resolve
from contract.example import example
from contract.facts import Facts, parameters, simplify, type_of
from contract.written import written

BASE = "https://contract.invalid"
PLAIN = "x{}x"
NASTY = ("a/b?c#d", "a b", "%2F", "é", "a&b=c", "a;b", "a:b@c", "~a+b,c")
REGISTERED = tuple(status.value for status in HTTPStatus if status >= 200)
PYTHON_TYPES: Mapping[Any, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", dt.datetime: "string date-time",
    dt.date: "string date", uuid.UUID: "string uuid", Any: "any", type(None): "null",
}  # fmt: skip


def load(folder: Path) -> types.ModuleType:
    """Import `duomi_api` from a folder, and never an installed one."""
    if "duomi_api" in sys.modules:
        raise ContractError("duomi_api is loaded already; the check wants a fresh process")
    sys.path.insert(0, str(folder.resolve()))
    try:
        package = importlib.import_module("duomi_api")
    except Exception as error:
        raise ContractError(f"{folder}/duomi_api cannot be imported: {type(error).__name__}: {error}") from error
    if Path(str(package.__file__)).resolve().parent != (folder / "duomi_api").resolve():
        raise ContractError(f"{folder} holds no duomi_api")
    return package


def endpoints(package: types.ModuleType) -> Iterator[types.ModuleType]:
    """Import every module below `api` and `models`, and yield those that have an operation."""
    for folder in ("models", "api"):
        root = importlib.import_module(f"{package.__name__}.{folder}")
        for found in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            module = importlib.import_module(found.name)
            if hasattr(module, "_get_kwargs"):
                yield module


def same(name: str) -> str:
    """Return a name without what the generator may change in it."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@attrs.define
class Capture:
    """Sends nothing: keeps the request, and answers with what was set."""

    status: int = 200
    content: bytes = b""
    media: str = "application/json"
    requests: list[httpx.Request] = attrs.field(factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Take a request, as httpx.MockTransport hands it over."""
        request.read()
        self.requests.append(request)
        return httpx.Response(self.status, content=self.content, headers={"content-type": self.media, "x-kept": "1"})

    def sync(self, package: types.ModuleType, **options: Any) -> Any:
        """Return a generated client for `sync*` functions."""
        client = package.Client(base_url=BASE, **options)
        return client.set_httpx_client(httpx.Client(base_url=BASE, transport=httpx.MockTransport(self)))

    def asyncio(self, package: types.ModuleType, **options: Any) -> Any:
        """Return a generated client for `asyncio*` functions."""
        client = package.Client(base_url=BASE, **options)
        return client.set_async_httpx_client(httpx.AsyncClient(base_url=BASE, transport=httpx.MockTransport(self)))


def wire(request: httpx.Request) -> dict[str, Any]:
    """Return what of a request a server sees, less what httpx adds."""
    path, _, query = request.url.raw_path.partition(b"?")
    plain = httpx.Client().build_request("GET", BASE).headers
    headers = {k: v for k, v in request.headers.items() if k not in plain and k != "content-length"}
    return {"method": request.method, "path": path.decode(), "query": query.decode(), "headers": headers} | {
        "body": request.content
    }


def pythonic(value: Any, hint: Any) -> Any:
    """Turn a JSON value into what a generated function wants."""
    text = str(value)
    for member in _members(hint):
        if isinstance(member, type) and issubclass(member, enum.Enum):
            return member(value)
        if isinstance(member, type) and isinstance(value, Mapping) and hasattr(member, "from_dict"):
            return member.from_dict(value)
        if member in {dt.datetime, dt.date}:
            return member.fromisoformat(text)
        if member is uuid.UUID:
            return uuid.UUID(text)
        if typing.get_origin(member) is list and isinstance(value, list):
            return [pythonic(item, typing.get_args(member)[0]) for item in value]
    return value


def _members(hint: Any) -> list[Any]:
    union = typing.get_origin(hint) in {typing.Union, types.UnionType}
    members = typing.get_args(hint) if union else (hint,)
    return [member for member in members if getattr(member, "__name__", "") != "Unset"]


class Operation:
    """One generated module, called with values that fit the contract."""

    def __init__(self, package: types.ModuleType, module: types.ModuleType) -> None:
        self.package = package
        self.module = module
        self.hints = typing.get_type_hints(module.sync_detailed)
        signature = inspect.signature(module.sync_detailed).parameters
        self.parameters = {name: p for name, p in signature.items() if name not in {"client", "body"}}

    def arguments(self) -> dict[str, Any]:
        """Return a plain value for each required parameter, numbered from 1."""
        required = [n for n, p in self.parameters.items() if p.default is inspect.Parameter.empty]
        return {name: PLAIN.format(number) for number, name in enumerate(required, 1)}

    def request(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the sync function sends."""
        capture = Capture(404)
        self.module.sync_detailed(client=capture.sync(self.package), **arguments)
        return wire(capture.requests[0])

    def template(self) -> tuple[str, str]:
        """Return the method, and the path with `{}` where an argument stands."""
        sent = self.request(self.arguments())
        return sent["method"], re.sub(PLAIN.format(r"\d+"), "{}", sent["path"])

    def outcome(self, function: str, capture: Capture, arguments: Mapping[str, Any], **options: Any) -> Any:
        """Return what a server sees and what comes back, of one of the four functions."""
        capture.requests.clear()
        called = getattr(self.module, function)
        try:
            if function.startswith("sync"):
                result = called(client=capture.sync(self.package, **options), **arguments)
            else:
                result = asyncio.run(called(client=capture.asyncio(self.package, **options), **arguments))
        except Exception as error:  # a package under test may raise anything, and what it raises is what is compared
            result = f"{type(error).__name__}: {error}"
        if function.endswith("_detailed") and not isinstance(result, str):
            whole = (result.status_code, result.content, result.headers.get("x-kept"))
            honest = whole == (capture.status, capture.content, "1")
            result = result.parsed if honest else f"Response{whole}"
        return [wire(request) for request in capture.requests], _plain(result)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return type(value).__name__, value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, list) else value


def of_package(document: dict[str, Any], package: types.ModuleType) -> Facts:
    """Read the facts of a generated package, along the contract that it should be of."""
    facts = Facts()
    facts.add("", "", "", "document")
    contract = importlib.import_module(f"{package.__name__}.contract")
    server = [contract.SERVER] if document.get("servers") else []
    facts.add("server", "", "", "document", **{"is": "server"}, server=server, written=_same_source(document, contract))
    facts.add("client", "", "", "document", **{"is": "client"}, options=_client_options(package))
    modules: dict[tuple[str, str], Operation] = {}
    for module in endpoints(package):
        operation = Operation(package, module)
        modules[operation.template()] = operation
    for path, method, node in operations(document):
        found = modules.pop((method.upper(), re.sub(r"\{[^}]*\}", "{}", path)), None)
        if found is not None:
            _Reader(document, package, facts, found).read(path, method, node)
    for (method, path), operation in modules.items():
        facts.add(f"{method} {path} ({operation.module.__name__})", "", "", "operation", **{"is": "operation"})
    return facts


def _same_source(document: dict[str, Any], contract: types.ModuleType) -> bool:
    expected: dict[str, Any] = {}
    exec(written(document), expected)  # noqa: S102  (the source that this project writes itself)
    return bool(expected["SCHEMAS"] == contract.SCHEMAS)


def _client_options(package: types.ModuleType) -> dict[str, Any]:
    """Return what each generated client gives httpx, by default and with every option set."""
    seen: dict[str, Any] = {}
    given: dict[str, Any] = {
        "cookies": {"c": "1"}, "headers": {"h": "1"}, "timeout": httpx.Timeout(12.5), "verify_ssl": False,
        "follow_redirects": True, "httpx_args": {"http2": False},
    }  # fmt: skip
    for name, extra in (("Client", {}), ("AuthenticatedClient", {"token": "t"})):
        for getter, target in (("get_httpx_client", "Client"), ("get_async_httpx_client", "AsyncClient")):
            for label, options in (("default", {}), ("given", given)):
                with mock.patch.object(package.client.httpx, target) as made:
                    getattr(getattr(package, name)(base_url=BASE, **extra, **copy.deepcopy(options)), getter)()
                seen[f"{name}.{getter} {label}"] = dict(made.call_args.kwargs)
    return seen


def expected_client_options() -> dict[str, Any]:
    """Return what the generator writes: verification on, no redirects, no time-out of its own."""
    plain: dict[str, Any] = {
        "base_url": BASE, "cookies": {}, "headers": {}, "timeout": None, "verify": True, "follow_redirects": False
    }  # fmt: skip
    given: dict[str, Any] = plain | {
        "cookies": {"c": "1"}, "headers": {"h": "1"}, "timeout": httpx.Timeout(12.5), "verify": False,
        "follow_redirects": True, "http2": False,
    }  # fmt: skip
    expected: dict[str, Any] = {}
    keys: dict[str, dict[str, str]] = {"Client": {}, "AuthenticatedClient": {"Authorization": "Bearer t"}}
    for name, key in keys.items():
        for getter in ("get_httpx_client", "get_async_httpx_client"):
            for label, options in {"default": plain, "given": given}.items():
                expected[f"{name}.{getter} {label}"] = options | {"headers": dict(options["headers"]) | key}
    return expected


@attrs.frozen
class _Reader:
    document: dict[str, Any]
    package: types.ModuleType
    facts: Facts
    operation: Operation

    def read(self, path: str, method: str, node: dict[str, Any]) -> None:
        """Add the facts of one operation."""
        name = f"{method.upper()} {path}"
        self.facts.add(name, "", "", "operation", **{"is": "operation"})
        given = self._parameters(name, path, node)
        twins: list[str] = []
        parsed = self._responses(name, node, given, twins)
        self.facts.add(name, "", "", "operation", twins=twins, undocumented=parsed)

    def _parameters(self, name: str, path: str, node: dict[str, Any]) -> dict[str, Any]:
        left = dict(self.operation.parameters)
        given: dict[str, Any] = {}
        known: list[tuple[str, dict[str, Any], str]] = []
        for parameter, _ in parameters(self.document, path, node, f"/paths/x/{name}"):
            wanted = {same(parameter["name"]), same(f"{parameter['name']}_{parameter['in']}")}
            match = next((python for python in left if same(python) in wanted), None)
            if match is None:
                continue
            place = f"{name} {parameter['in']} parameter {parameter['name']}"
            required = left.pop(match).default is inspect.Parameter.empty
            self.facts.add(place, name, "", "parameter", **{"is": "parameter"}, required=required)
            schema, _, _ = simplify(self.document, parameter.get("schema", {}), "")
            self.value(place, name, schema, self.operation.hints[match])
            hint = self.operation.hints[match]
            given[match] = pythonic(example(self.document, schema, 1, parameter["name"]), hint)
            known.append((match, parameter, place))
        for python in left:
            self.facts.add(f"{name} parameter {python}", name, "", "parameter", **{"is": "parameter"})
        for match, parameter, place in known:
            self.facts.add(place, name, "", "parameter", sent=self._sent(match, parameter, given))
        return given

    def _sent(self, python: str, parameter: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
        """Return where a parameter's value ends up, for plain values and for nasty ones."""
        schema, _, _ = simplify(self.document, parameter.get("schema", {}), "")
        hint = self.operation.hints[python]
        texts = type_of(schema) == "string" and str in _members(hint)
        nasty: tuple[Any, ...] = NASTY if parameter["in"] == "path" else ("a/b?c#d", "a&b=c")
        second = pythonic(example(self.document, schema, 2, parameter["name"]), hint)
        values: tuple[Any, ...] = nasty if texts else (second,)
        places: set[str] = set()
        for value in values:
            base, sent = self.operation.request(given), self.operation.request({**given, python: value})
            places |= {f"changes {key}" for key in base if base[key] != sent[key]}
            text = str(getattr(value, "value", value))
            if parameter["in"] == "path":
                whole = quote(text, safe="")
                places |= set() if whole in sent["path"].split("/") else {f"{text!r} is not quoted"}
            elif parameter["in"] == "header":
                found = sent["headers"].get(parameter["name"].lower())
                places |= set() if found == text else {f"header {parameter['name']} is {found!r}"}
            elif parameter["in"] == "query":
                values_sent = httpx.QueryParams(sent["query"]).get_list(parameter["name"])
                shown = text.lower() if isinstance(value, bool) else text
                places |= set() if values_sent == [shown] or isinstance(value, list) else {f"query has {values_sent}"}
        return sorted(places)

    def _responses(self, name: str, node: dict[str, Any], given: Mapping[str, Any], twins: list[str]) -> list[int]:
        documented: set[int] = set()
        sample: tuple[bytes, str] = (b"{}", "application/json")
        for status, holder in node.get("responses", {}).items():
            response, _ = resolve(self.document, holder, "")
            codes = _codes(str(status))
            documented |= set(codes)
            media, content = next(iter((response.get("content") or {"": {}}).items()))
            place = f"{name} response {status}"
            if "schema" not in content:
                self.facts.add(place, name, "", "response", **{"is": "response"})
                continue
            value = example(self.document, content["schema"])
            body = httpx.Response(200, json=value).content
            sample = (body, media)
            results = [self._all(Capture(code, body, media), given, twins) for code in codes[:3]]
            if any(result is None for result in results):
                continue
            failed = next((result for result in results if isinstance(result, str)), None)
            self.facts.add(place, name, "", "response", **{"is": "response"})
            self.facts.add(f"{place} {media}", place, "", "response", **{"is": "media type"})
            inner = f"{place} {media} "
            self.facts.add(inner, f"{place} {media}", "", "response", **{"is": "body"}, decodes=failed or "well")
            hint = self._body_hint(codes[0], body, media, given) if failed is None else self._promised()
            self.value(inner, f"{place} {media}", content["schema"], hint)
        others = [code for code in REGISTERED if code not in documented]
        parsed = [c for c in others if self._parsed(Capture(c, *sample), given) is not None]
        self._all(Capture(next(c for c in others if c >= 418), *sample), given, twins)
        self._all(Capture(next(c for c in others if c >= 418), *sample), given, twins, raise_on_unexpected_status=True)
        parsed_async = asyncio.run(self._parsed_async(others, sample, given))
        if parsed_async != parsed:
            twins.append(f"asyncio also parses {sorted(set(parsed_async) ^ set(parsed))[:5]}")
        return parsed

    def _promised(self) -> Any:
        """Return the annotation of what a response is parsed as, where decoding shows nothing."""
        return typing.get_type_hints(self.operation.module._parse_response)["return"]  # noqa: SLF001  (generated)

    def _body_hint(self, code: int, body: bytes, media: str, given: Mapping[str, Any]) -> Any:
        parsed = self._parsed(Capture(code, body, media), given)
        if isinstance(parsed, list) and parsed:
            return list[type(parsed[0])]  # type: ignore[misc]
        return type(parsed)

    def _parsed(self, capture: Capture, given: Mapping[str, Any]) -> Any:
        try:
            return self.operation.module.sync_detailed(client=capture.sync(self.package), **given).parsed
        except Exception as error:
            return str(error)

    async def _parsed_async(self, codes: list[int], sample: tuple[bytes, str], given: Mapping[str, Any]) -> list[int]:
        parsed: list[int] = []
        for code in codes:
            client = Capture(code, *sample).asyncio(self.package)
            try:
                result = (await self.operation.module.asyncio_detailed(client=client, **given)).parsed
            except Exception as error:
                result = str(error)
            parsed += [code] if result is not None else []
        return parsed

    def _all(self, capture: Capture, given: Mapping[str, Any], twins: list[str], **options: Any) -> Any:
        """Call all four functions; note where one differs from `sync_detailed`, and return what that gives."""
        first = self.operation.outcome("sync_detailed", capture, given, **options)
        for function in ("sync", "asyncio_detailed", "asyncio"):
            if hasattr(self.operation.module, function):
                other = self.operation.outcome(function, capture, given, **options)
                if other != first:
                    twins.append(f"{function} differs under status {capture.status}")
        return first[1]

    def value(self, place: str, parent: str, node: Any, hint: Any) -> None:
        """Add the facts of a value, by its annotation."""
        schema, _, _ = simplify(self.document, node, "")
        members = [member for member in _members(hint) if member is not type(None)]
        nullable = type(None) in _members(hint)
        if len(members) != 1:
            self.facts.add(place, parent, "", "", type="|".join(sorted(map(str, members))), nullable=nullable)
            return
        member = members[0]
        if typing.get_origin(member) is list:
            self.facts.add(place, parent, "", "", type="array", nullable=nullable)
            self.facts.add(f"{place}[]", place, "", "", **{"is": "item"})
            self.value(f"{place}[]", place, schema.get("items", {}), typing.get_args(member)[0])
        elif isinstance(member, type) and issubclass(member, enum.Enum):
            self.facts.add(place, parent, "", "", type="string", nullable=nullable, **_enum_facts(member))
        elif isinstance(member, type) and hasattr(member, "from_dict"):
            self.facts.add(place, parent, "", "", type="object", nullable=nullable)
            if type_of(schema) == "object":
                _Model(self, place, schema, member).read()
        else:
            self.facts.add(place, parent, "", "", type=PYTHON_TYPES.get(member, str(member)), nullable=nullable)


def _codes(status: str) -> list[int]:
    if status.endswith("XX"):
        return [int(status[0]) * 100 + code for code in (0, 1, 50)]
    return [int(status)] if status.isdigit() else list(REGISTERED)


def _enum_facts(member: type[enum.Enum]) -> dict[str, Any]:
    values = [item.value for item in member]
    names = [item.name for item in member]
    # A name that does not begin with a letter becomes VALUE_n.
    named = [same(n) == same(str(v)) or n.startswith("VALUE_") for n, v in zip(names, values, strict=True)]
    labels = {item.value: getattr(item, "label", None) for item in member}
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
    """One generated class, decoded and encoded."""

    reader: _Reader
    place: str
    schema: dict[str, Any]
    cls: Any

    def read(self) -> None:
        """Add the facts of the class and of its fields."""
        facts, place = self.reader.facts, self.place
        properties = self.schema.get("properties", {})
        full = example(self.reader.document, self.schema, 1, place)
        trip = self._attempt(lambda: self.cls.from_dict(full).to_dict())
        facts.add(place, "", "", "", round_trip="equal" if trip == full else f"{trip!r}"[:200])
        extra = self._attempt(lambda: self.cls.from_dict({**full, "x-extra": [1]}).to_dict().get("x-extra"))
        facts.add(place, "", "", "", extras=extra == [1])
        fields = {same(f.name): f for f in attrs.fields(self.cls) if f.name != "additional_properties"}
        package = self.reader.package
        hints = typing.get_type_hints(self.cls, localns=vars(importlib.import_module(f"{package.__name__}.models")))
        for name, child in properties.items():
            field = fields.pop(same(name), None)
            if field is None:
                continue
            inner = f"{place}.{name}"
            facts.add(inner, place, "", "", **{"is": "field"}, required=self._required(full, name, field))
            facts.add(
                inner,
                place,
                "",
                "",
                reads=self._read_into(full, name, child),
                writes=self._written_as(full, name, child),
            )
            decoded = self._attempt(partial(self._read, full, field.name))
            facts.add(inner, place, "", "", decoded=_decoded(decoded, hints[field.name]))
            self.reader.value(inner, place, child, hints[field.name])
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
        other = example(self.reader.document, child, 2, f"{self.place}/{name}")
        # One value alone cannot vary; an open enum takes a stranger, and an empty object an extra.
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
    """Tell whether a decoded value is of the type that its annotation promises."""
    kinds = tuple(typing.get_origin(m) or m for m in _members(hint) if isinstance(typing.get_origin(m) or m, type))
    return not kinds or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)))

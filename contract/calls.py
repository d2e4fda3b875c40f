"""Call a generated package, and record what a server would get and what the caller gets."""

from __future__ import annotations

import asyncio
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
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import attrs
import httpx

from contract.document import ContractError

BASE = "https://contract.invalid"
TIMEOUT = 12.5
FUNCTIONS = ("sync_detailed", "sync", "asyncio_detailed", "asyncio")
TRICKY_VALUES = ("a/b?c#d", "a b", "%2F", "é", "a&b=c", "a;b", "a:b@c", "~a+b,c", " A ")
REGISTERED = tuple(status.value for status in HTTPStatus if status >= 200)


def load(folder: Path) -> types.ModuleType:
    """Import `duomi_api` from a folder, never an installed one."""
    if "duomi_api" in sys.modules:
        raise ContractError("duomi_api is loaded already; the check wants a fresh process")
    sys.path.insert(0, str(folder.resolve()))
    package = import_module("duomi_api")
    if Path(str(package.__file__)).resolve().parent != (folder / "duomi_api").resolve():
        raise ContractError(f"{folder} holds no duomi_api")
    return package


def endpoints(package: types.ModuleType) -> Iterator[types.ModuleType]:
    """Import every module below `api` and `models`, and yield those with an operation."""
    for folder in ("models", "api"):
        root = import_module(f"{package.__name__}.{folder}")
        for found in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            module = import_module(found.name)
            if hasattr(module, "_get_kwargs"):
                yield module


def import_module(name: str) -> types.ModuleType:
    """Import a module of the package under test."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ContractError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def same(name: str) -> str:
    """Return a name without the characters that the generator may change."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@attrs.define
class Capture:
    """Records each request instead of sending it, and answers with the given values."""

    status: int = 200
    content: bytes = b""
    media: str = "application/json"
    requests: list[httpx.Request] = attrs.field(factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, as the handler of `httpx.MockTransport`."""
        request.read()
        self.requests.append(request)
        headers = {"content-type": self.media, "x-kept": "1", "location": f"{BASE}/elsewhere"}
        return httpx.Response(self.status, content=self.content, headers=headers)

    def sync(self, package: types.ModuleType, **options: Any) -> Any:
        """Return a generated client for `sync*` functions."""
        client = package.Client(base_url=BASE, **options)
        return client.set_httpx_client(
            httpx.Client(base_url=BASE, transport=httpx.MockTransport(self), timeout=TIMEOUT)
        )

    def asyncio(self, package: types.ModuleType, **options: Any) -> Any:
        """Return a generated client for `asyncio*` functions."""
        client = package.Client(base_url=BASE, **options)
        return client.set_async_httpx_client(
            httpx.AsyncClient(base_url=BASE, transport=httpx.MockTransport(self), timeout=TIMEOUT)
        )


@cache
def _plain_headers() -> frozenset[str]:
    """Return the names of the headers that httpx adds by itself."""
    return frozenset(httpx.Client().build_request("GET", BASE).headers)


def wire(request: httpx.Request) -> dict[str, Any]:
    """Return what a server gets of a request, without the headers that httpx adds."""
    path, _, query = request.url.raw_path.partition(b"?")
    headers = {k: v for k, v in request.headers.items() if k not in _plain_headers() and k != "content-length"}
    return {"method": request.method, "path": path.decode(), "query": query.decode(), "headers": headers} | {
        "body": request.content
    }


def pythonic(value: Any, hint: Any) -> Any:
    """Turn a JSON value into the type that a generated function expects."""
    text = str(value)
    for member in members_of(hint):
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


def _plausible(hint: Any, number: int) -> Any:
    """Return a value for a parameter, by its annotation alone."""
    member = members_of(hint)[0]
    if isinstance(member, type) and issubclass(member, enum.Enum):
        return next(iter(member))
    if isinstance(member, type) and hasattr(member, "from_dict"):
        return types.SimpleNamespace(to_dict=dict)
    if typing.get_origin(member) is list:
        return []
    known: dict[Any, Any] = {
        int: 9_000_000 + number, float: 9_000_000.5 + number, bool: True, bytes: b"x", uuid.UUID: uuid.UUID(int=number),
        dt.datetime: dt.datetime(2000, 1, 1 + number, tzinfo=dt.UTC), dt.date: dt.date(2000, 1, 1 + number),
    }  # fmt: skip
    return known.get(member, f"x{number}x")


def members_of(hint: Any) -> list[Any]:
    """Return the members of a union, without the generator's `Unset`."""
    union = typing.get_origin(hint) in {typing.Union, types.UnionType}
    members = typing.get_args(hint) if union else (hint,)
    return [member for member in members if getattr(member, "__name__", "") != "Unset"]


class Raised(str):
    """An error that the package under test raised, as text."""

    __slots__ = ()


class Operation:
    """One generated module, called with values that conform to the contract."""

    def __init__(self, package: types.ModuleType, module: types.ModuleType) -> None:
        self.package = package
        self.module = module
        self.hints = typing.get_type_hints(module.sync_detailed)
        signature = inspect.signature(module.sync_detailed).parameters
        self.parameters = {name: p for name, p in signature.items() if name not in {"client", "body"}}
        self.required = [n for n, p in signature.items() if p.default is inspect.Parameter.empty and n != "client"]

    def request(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request that the sync function sends."""
        capture = Capture(404)
        try:
            self.module.sync_detailed(client=capture.sync(self.package), **arguments)
        except ValueError:
            # The contract may require a body for a 404, but only the request matters here.
            if not capture.requests:
                raise
        return wire(capture.requests[0])

    def template(self) -> tuple[str, str]:
        """Return the method, and the path with `{}` for each argument."""
        values = {name: _plausible(self.hints[name], number) for number, name in enumerate(self.required)}
        sent = self.request(values)
        written = {quote(str(value), safe="") for value in values.values()}
        return sent["method"], "/".join("{}" if part in written else unquote(part) for part in sent["path"].split("/"))

    def outcome(self, function: str, capture: Capture, arguments: Mapping[str, Any], **options: Any) -> Any:
        """Return what the server gets and what the caller gets from one of the four functions."""
        capture.requests.clear()
        called = getattr(self.module, function)
        try:
            if function.startswith("sync"):
                result = called(client=capture.sync(self.package, **options), **arguments)
            else:
                result = asyncio.run(called(client=capture.asyncio(self.package, **options), **arguments))
            if function.endswith("_detailed"):
                whole = (result.status_code, result.content, result.headers.get("x-kept"))
                honest = whole == (capture.status, capture.content, "1")
                result = result.parsed if honest else Raised(f"Response{whole}")
            result = _plain(result)
        except Exception as error:  # a package under test may raise any error, and the errors are compared
            result = Raised(f"{type(error).__name__}: {error}")
        return [wire(request) for request in capture.requests], result

    def own_ways(self, arguments: Mapping[str, Any]) -> Iterator[str]:
        """Yield where a function ignores its client's settings for redirects and the timeout."""
        capture = Capture(302)
        for function in FUNCTIONS:
            if hasattr(self.module, function):
                self.outcome(function, capture, arguments)
                if len(capture.requests) != 1:
                    yield f"{function} follows redirects"
                if any(set(r.extensions["timeout"].values()) != {TIMEOUT} for r in capture.requests):
                    yield f"{function} has a time-out of its own"


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return type(value).__name__, value.to_dict()
    if hasattr(value, "payload"):
        return type(value).__name__, value.payload.getvalue()
    return [_plain(item) for item in value] if isinstance(value, list) else value

"""Prove that a generated package does what its contract says: types, enums, models, calls."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import itertools
import json
import sys
import types
import typing
import warnings
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, unquote

import attrs
import httpx
from openapi_python_client.parser.properties import Property

from contract.dialect import BYTES, label_table, media_kind
from contract.document import ContractError, escape, operations, place, resolve, unnamed_path
from contract.facts import parameters
from contract.names import Plan
from contract.values import (
    contested,
    example,
    examples,
    fields_of,
    holds_bytes,
    kind_of_member,
    kinds_of,
    members,
    normal,
    plain,
    pythonic,
    variants,
)

BASE = "https://contract.invalid"
_TRICKY = "a/b?c#d &=%2F é;:@+,"
_COUNT = itertools.count()
_FAILED = "NOTE   not proven: {}: the check itself failed"
_MISFIT = "REVIEW {}: the page's own example does not fit"


def check(made: Plan, folder: Path) -> tuple[list[str], list[str]]:
    """Return a line for each difference between a contract and the package in a folder, and what there is to note."""
    with warnings.catch_warnings(action="ignore"), patch.object(sys, "dont_write_bytecode", new=True):
        proof = _Proof(made, made.document, made.fields(), load(folder))
        proof.run()
    return list(dict.fromkeys(proof.lines)), list(dict.fromkeys(proof.notes))


def load(folder: Path) -> types.ModuleType:
    """Import the package in a folder under a name of its own, so that no other is taken for it."""
    parent = types.ModuleType(f"checked_{next(_COUNT)}")
    parent.__path__ = [str(folder)]
    sys.modules[parent.__name__] = parent
    try:
        for part in ("models", "client", "types", "contract"):
            importlib.import_module(f"{parent.__name__}.duomi_api.{part}")
    except Exception as error:  # a package under test may raise any error
        raise ContractError(f"{folder}/duomi_api cannot be imported: {type(error).__name__}: {error}") from error
    return sys.modules[f"{parent.__name__}.duomi_api"]


@attrs.frozen
class _Proof:
    made: Plan
    document: dict[str, Any]
    fields: dict[str, dict[str, Property]]
    package: types.ModuleType
    lines: list[str] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)
    proven: set[Any] = attrs.field(factory=set)

    def run(self) -> None:
        """Prove every operation, and the models that it uses."""
        modules = self.made.modules()
        for path, method, operation in operations(self.document):
            pointer = place(path, method)
            name, endpoint = modules[method, unnamed_path(path)]
            try:
                module = importlib.import_module(f"{self.package.__name__}.api.{name}")
            except Exception as error:  # a package under test may raise any error
                self.differ(pointer, f"its module cannot be imported: {type(error).__name__}: {error}")
                continue
            with self.noting(_FAILED, pointer):
                self.operation(path, operation, pointer, module, endpoint)

    def differ(self, pointer: str, text: str) -> None:
        self.lines.append(f"{pointer}: {text[:400]}")

    def unproven(self, pointer: str, text: str) -> None:
        self.notes.append(f"NOTE   not proven: {pointer}: {text[:300]}")

    @contextmanager
    def noting(self, text: str, pointer: str) -> Generator[None]:
        """Say in a note at a pointer which error there is, if any."""
        try:
            yield
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self.notes.append(f"{text.format(pointer)}: {said[:200]}")

    def operation(self, path: str, operation: dict[str, Any], pointer: str, module: Any, endpoint: Any) -> None:
        hints = typing.get_type_hints(module.sync_detailed)
        signature = inspect.signature(module.sync_detailed).parameters
        described = {(str(spot), p.name.get_untrusted_value()): p for spot, p in endpoint.iter_all_parameters()}
        given: dict[str, Any] = {}
        sent: list[tuple[dict[str, Any], Any]] = []
        for parameter, where in parameters(self.document, path, operation, pointer):
            spot, name, schema = parameter["in"], parameter["name"], parameter.get("schema", {})
            made = described.get((spot, name))
            if made is None or made.python_name not in signature:
                self.differ(where, f"the {spot} parameter {name} is missing in the package")
                continue
            needed = signature[made.python_name].default is inspect.Parameter.empty
            if needed != (bool(parameter.get("required")) and made.default is None):
                self.differ(where, f"required: the contract says {not needed}, the package {needed}")
            self.type(schema, hints[made.python_name], f"{where}/schema")
            value = example(self.document, schema, f"/{name}")
            if spot == "path" and kinds_of(self.document, schema) == {"string"}:
                value = _TRICKY
            given[made.python_name] = pythonic(value, hints[made.python_name])
            sent.append((parameter, value))
        body = self.body(operation, pointer, hints, given)
        requests = self.call(module, given, pointer)
        for request in itertools.chain(*requests.values()):
            self.request(path, sent, request, body, pointer)
            if body:
                self.sent_body(*body, request, f"{pointer}/requestBody")
        functions = [name for kind in requests for name in (f"{kind}_detailed", kind) if hasattr(module, name)]
        asks = [functools.partial(_ask, module, name, given, []) for name in functions]
        for status, holder in operation.get("responses", {}).items():
            answer, where = resolve(self.document, holder, f"{pointer}/responses/{escape(status)}")
            with self.noting(_FAILED, where):
                self.response(status, answer, where, module, asks, operation["responses"])

    def body(self, operation: Any, pointer: str, hints: Any, given: dict[str, Any]) -> tuple[str, Any] | None:
        """Add a body to the arguments, and return its media type and value, unless it may be of another type, too."""
        holder, where = resolve(self.document, operation.get("requestBody", {}), f"{pointer}/requestBody")
        found = holder.get("content") or {}
        if not found or "body" not in hints:
            if found:
                self.differ(where, "the request body is not taken by the package")
            return None
        media, content = next(iter(found.items()))
        at, schema = f"{where}/content/{escape(media)}", content.get("schema", {})
        if len(found) == 1:
            self.type(schema, hints["body"], f"{at}/schema")
        value = example(self.document, schema, "/body")
        given["body"] = pythonic(value, hints["body"])
        for shown, end in examples(content):
            with self.noting(_MISFIT, f"{at}/{end}"):
                pythonic(shown, hints["body"])
        return (media, value) if len(found) == 1 else None

    def call(self, module: Any, given: dict[str, Any], pointer: str) -> dict[str, list[httpx.Request]]:
        """Return what each kind of function sends, which is one request, and the same."""
        sent: dict[str, list[httpx.Request]] = {}
        for kind in ("sync", "asyncio"):
            requests: list[httpx.Request] = []
            try:
                # Python knows no status 599, but only the request matters here.
                _ask(module, f"{kind}_detailed", given, requests, status_code=599)
            except Exception as error:
                if not requests:
                    # httpx sends no file in an asynchronous request.
                    tell = self.differ if kind == "sync" else self.unproven
                    tell(pointer, f"{kind}_detailed cannot send it: {error}")
                    continue
            sent[kind] = requests
        said = [[(request.method, str(request.url)) for request in requests] for requests in sent.values()]
        if any(len(each) != 1 or each != said[0] for each in said):
            self.differ(pointer, f"asyncio sends something else than sync: {said}")
        return sent

    def request(self, path: str, sent: list[Any], request: httpx.Request, body: Any, pointer: str) -> None:
        expected, _, query = path.partition("?")
        for parameter, value in sent:
            spot, name = parameter["in"], parameter["name"]
            text = str(value).lower() if isinstance(value, bool) else str(value)
            said, found = f"the {spot} parameter {name} is", request.url.params.get_list(name)
            if spot == "path":
                expected = expected.replace(f"{{{name}}}", quote(text, safe=""))
            elif value is None or isinstance(value, list | dict) or (body and name.lower() == "content-type"):
                continue
            elif spot == "query" and found != [text]:
                self.differ(pointer, f"{said} sent as {found}, not {text!r}")
            elif spot == "cookie" and f"{name}={text}" not in request.headers.get("cookie", ""):
                self.differ(pointer, f"{said} not sent")
            elif spot == "header" and request.headers.get(name) != text:
                self.differ(pointer, f"{said} sent as {request.headers.get(name)!r}, not {text!r}")
        got = request.url.raw_path.decode().partition("?")
        parts = [list(map(unquote, each.removeprefix("/").split("/"))) for each in (got[0], expected)]
        if "://" not in expected and parts[0] != parts[1]:
            self.differ(pointer, f"the path is {got[0]!r}, not {expected!r}")
        if query and not any(p["in"] == "query" for p, _ in sent) and unquote(got[2]) != unquote(query):
            self.differ(pointer, f"the query is {got[2]!r}, not {query!r}")

    def sent_body(self, media: str, value: Any, request: httpx.Request, pointer: str) -> None:
        kind = media_kind(media, self.made.config.content_type_overrides)
        if not request.headers.get("content-type", "").startswith(media.partition(";")[0]):
            self.differ(pointer, f"is sent as {request.headers.get('content-type')}, not {media}")
        if kind.endswith("json"):
            # httpx sends no body for null.
            if json.loads(request.content or "null") != value:
                self.differ(pointer, f"is sent as {request.content[:200]!r}")
        elif kind == BYTES:
            if request.content != value:
                self.differ(pointer, "other bytes are sent")
        elif isinstance(value, dict):
            text = unquote(request.content.decode("utf-8", "replace").replace("+", " "))
            for name in [name for name, part in value.items() if part not in ([], None) and name not in text]:
                self.differ(pointer, f"the field {name} is not sent")

    def response(
        self,
        status: str,
        answer: dict[str, Any],
        where: str,
        module: Any,
        asks: list[Any],
        others: Collection[str],
    ) -> None:
        found: dict[str, Any] = answer.get("content") or {"": {}}
        media, content = next(iter(found.items()))
        if "schema" not in content:
            return
        code = next((code for code in HTTPStatus if _answers(code, others) == status), None)
        if code is None:
            self.unproven(where, f"Python knows no other status of {status}")
            return
        kind = media_kind(media, self.made.config.content_type_overrides)
        at = f"{where}/content/{escape(media)}"
        self.returned(content["schema"], module, f"{at}/schema", single=len(others) == 1)
        value = example(self.document, content["schema"], "/body")
        form = "content" if isinstance(value, bytes) else "text" if kind.startswith("text/") else "json"
        head = {"status_code": code, "headers": {"content-type": media}}
        wrong = [result for ask in asks if (result := plain(ask(**head, **{form: value}))) != value]
        # The generator hands out no answer that may be anything.
        if wrong and kinds_of(self.document, content["schema"]) != {"any"}:
            said = json.dumps(value, ensure_ascii=False, default=str)[:150]
            self.differ(f"{at}/schema", f"{said} is decoded as {wrong[0]!r}")
        for shown, end in examples(content) if asks and form == "json" and not wrong else ():
            with self.noting(_MISFIT, f"{at}/{end}"):
                asks[0](**head, json=shown)

    def returned(self, schema: Any, module: Any, pointer: str, *, single: bool) -> None:
        """Compare what a function returns with one of the answers, and prove the models in it."""
        hint = typing.get_type_hints(module._parse_response)["return"]
        expected = kinds_of(self.document, schema) - {"null"}
        found = {kind_of_member(member) for member in members(hint)} - {"null"}
        if expected != found if single else not expected <= found:
            self.differ(pointer, f"type: the contract says {_said(expected)}, the package {_said(found)}")
            return
        classes = [member for member in members(hint) if kind_of_member(member) == "object"]
        self.models(schema, classes, pointer)
        lists = [member for member in members(hint) if kind_of_member(member) == "array"]
        items = normal(self.document, schema).get("items")
        if expected == {"array"} and len(lists) == 1 and items:
            self.type(items, typing.get_args(lists[0])[0], f"{pointer}/items")

    def type(self, schema: Any, hint: Any, pointer: str) -> None:
        """Compare the annotation of a value with its schema, and prove the models in it."""
        expected, found = kinds_of(self.document, schema), {kind_of_member(member) for member in members(hint)}
        if expected != found:
            self.differ(pointer, f"type: the contract says {_said(expected)}, the package {_said(found)}")
            return
        real = normal(self.document, schema)
        for member in members(hint):
            match kind_of_member(member):
                case "array" if not variants(real) and not real.get("prefixItems"):
                    self.type(real.get("items") or {}, typing.get_args(member)[0], f"{pointer}/items")
                case "enum":
                    self.enum(real, member, pointer)
                case _:
                    pass
        self.models(schema, [member for member in members(hint) if kind_of_member(member) == "object"], pointer)

    def enum(self, schema: dict[str, Any], member: Any, pointer: str) -> None:
        values = [value for value in schema.get("enum") or [] if value is not None]
        if not values:
            return
        found = [item.value for item in member]
        if sorted(found, key=repr) != sorted(values, key=repr):
            self.differ(f"{pointer}/enum", f"the contract lists {values}, the package {found}")
            return
        labels = label_table(schema.get("x-apifox-enum"))
        for value in [value for value in values if labels and str(value) not in labels]:
            self.notes.append(f"NOTE   {pointer}: {value!r} has no label; it is shown as it is")
        for value, label in labels.items():
            shown = {str(item.value): getattr(item, "label", None) for item in member}
            if value not in shown:
                self.notes.append(f"NOTE   {pointer}/x-apifox-enum: names {value!r}, which enum lacks")
            elif shown[value] != label:
                self.differ(
                    f"{pointer}/x-apifox-enum", f"labels: {value!r} is {label!r}, in the package {shown[value]!r}"
                )

    def models(self, schema: Any, classes: list[Any], pointer: str) -> None:
        """Prove each model of a schema once, one of several by its fields."""
        for each, at in self.objects(schema, pointer):
            names = set(fields_of(self.document, each)[0])
            cls = classes[0] if len(classes) == 1 else None
            cls = next((c for c in classes if set(self.fields.get(c.__name__, {})) == names), cls)
            if cls is None or (len(classes) == 1 and len(list(self.objects(schema, pointer))) > 1):
                if classes and cls is None:
                    self.unproven(at, "which of several models it is")
                continue
            key = (cls, json.dumps(each, sort_keys=True, default=str))
            if key not in self.proven:
                self.proven.add(key)
                with self.noting(_FAILED, at):
                    self.model(each, cls, at)

    def objects(self, schema: Any, pointer: str, depth: int = 0) -> Iterator[tuple[dict[str, Any], str]]:
        _, pointer = resolve(self.document, schema, pointer)
        real = normal(self.document, schema)
        inner = variants(real)
        if not inner and kinds_of(self.document, real) == {"object"}:
            yield real, pointer
        for each in inner if depth < 6 else ():
            yield from self.objects(each, pointer, depth + 1)

    def model(self, schema: dict[str, Any], cls: Any, pointer: str) -> None:
        """Prove the fields of a model, and one value read and written."""
        fields, required = fields_of(self.document, schema)
        made, attributes = self.fields[cls.__name__], attrs.fields_dict(cls)
        hints = typing.get_type_hints(cls, localns=vars(self.package.models))
        unclear = contested(self.document, schema)
        for name, child in fields.items():
            at, described = f"{pointer}/properties/{escape(name)}", made.get(name)
            if name in unclear:
                self.unproven(pointer, f"the field {name} stands in several parts of allOf")
            elif described is None or described.python_name not in attributes:
                self.differ(at, f"the field is missing in {cls.__name__}")
            else:
                needed = attributes[described.python_name].default is attrs.NOTHING
                if needed != (name in required and described.default is None):
                    self.differ(at, f"required: the contract says {not needed}, the package {needed}")
                self.type(child, hints[described.python_name], at)
        full = example(self.document, schema, "")
        if not unclear and not holds_bytes(full) and cls.from_dict(full).to_dict() != full:
            self.differ(pointer, f"round trip: {full} becomes {cls.from_dict(full).to_dict()}")


def _said(kinds: set[str]) -> str:
    return "|".join(sorted(kinds))


def _answers(code: HTTPStatus, documented: Collection[str]) -> str:
    """Return which of the documented answers a status has."""
    return next((key for key in (str(code.value), f"{code.value // 100}XX") if key in documented), "default")


def _ask(module: Any, function: str, given: dict[str, Any], sent: list[httpx.Request], **answer: Any) -> Any:
    """Return what a function returns for an answer, and keep the requests that it sends."""

    def server(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(**answer)

    client, transport = module.Client(base_url=BASE), httpx.MockTransport(server)
    client.set_httpx_client(httpx.Client(base_url=BASE, transport=transport))
    client.set_async_httpx_client(httpx.AsyncClient(base_url=BASE, transport=transport))
    if hasattr(given.get("body"), "payload"):
        given["body"].payload.seek(0)
    returned = getattr(module, function)(client=client, **given)
    result = asyncio.run(returned) if inspect.iscoroutine(returned) else returned
    return result.parsed if function.endswith("_detailed") else result

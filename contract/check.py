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
from collections.abc import Collection, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, unquote

import attrs
import httpx

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


def check(made: Plan, folder: Path) -> tuple[list[str], list[str]]:
    """Return a line for each difference between a contract and the package in a folder, and what there is to note."""
    with warnings.catch_warnings(action="ignore"), patch.object(sys, "dont_write_bytecode", new=True):
        proof = _Proof(made, load(folder))
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
    package: types.ModuleType
    lines: list[str] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)
    proven: set[Any] = attrs.field(factory=set)
    fields: dict[str, dict[str, str]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "fields", self.made.fields())

    @property
    def document(self) -> dict[str, Any]:
        return self.made.document

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
            try:
                self.operation(path, operation, pointer, module, endpoint)
            except Exception as error:  # the check cannot tell, and says so
                self.unproven(pointer, error)

    def differ(self, pointer: str, text: str) -> None:
        self.lines.append(f"{pointer}: {text}")

    def unproven(self, pointer: str, error: Exception) -> None:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        self.notes.append(f"NOTE   not proven: {pointer}: the check itself failed: {said[:200]}")

    def operation(self, path: str, operation: dict[str, Any], pointer: str, module: Any, endpoint: Any) -> None:
        hints = typing.get_type_hints(module.sync_detailed)
        given: dict[str, Any] = {}
        sent: list[tuple[dict[str, Any], str, Any]] = []
        signature = inspect.signature(module.sync_detailed).parameters
        for parameter, where in parameters(self.document, path, operation, pointer):
            place_of = {(str(spot), p.name.get_untrusted_value()): p for spot, p in endpoint.iter_all_parameters()}
            made = place_of.get((parameter["in"], parameter["name"]))
            if made is None or str(made.python_name) not in signature:
                self.differ(where, f"the {parameter['in']} parameter {parameter['name']} is missing in the package")
                continue
            python, schema = str(made.python_name), parameter.get("schema", {})
            needed = signature[python].default is inspect.Parameter.empty
            if needed != (bool(parameter.get("required")) and made.default is None):
                self.differ(where, f"required: the contract says {not needed}, the package {needed}")
            self.type(schema, hints[python], f"{where}/schema")
            value = example(self.document, schema, f"/{parameter['name']}")
            if parameter["in"] == "path" and kinds_of(self.document, schema) == {"string"}:
                value = _TRICKY
            given[python] = pythonic(value, hints[python])
            sent.append((parameter, python, value))
        body = self.body(operation, pointer, hints, given)
        requests = self.call(module, given, pointer)
        for request in itertools.chain(*requests.values()):
            self.request(path, sent, request, body, pointer)
        functions = [name for kind in requests for name in (f"{kind}_detailed", kind) if hasattr(module, name)]
        asks = [functools.partial(_ask, module, name, given, []) for name in functions]
        for status, holder in operation.get("responses", {}).items():
            answer, where = resolve(self.document, holder, f"{pointer}/responses/{escape(status)}")
            try:
                self.response(status, answer, where, module, asks, operation["responses"])
            except Exception as error:  # the check cannot tell, and says so
                self.unproven(where, error)

    def body(
        self, operation: dict[str, Any], pointer: str, hints: Any, given: dict[str, Any]
    ) -> tuple[str, Any] | None:
        """Add a body to the arguments, and return its media type and value."""
        if "requestBody" not in operation:
            return None
        holder, where = resolve(self.document, operation["requestBody"], f"{pointer}/requestBody")
        for media, content in (holder.get("content") or {}).items():
            if "body" not in hints:
                self.differ(where, "the request body is not taken by the package")
                return None
            at = f"{where}/content/{escape(media)}"
            schema = content.get("schema", {})
            single = len(holder["content"]) == 1
            if single:
                self.type(schema, hints["body"], f"{at}/schema")
            value = example(self.document, schema, "/body")
            given["body"] = pythonic(value, hints["body"])
            for shown, end in examples(content):
                self.decoded(lambda shown=shown: pythonic(shown, hints["body"]), f"{at}/{end}")
            return (media, value) if single else None
        return None

    def decoded(self, action: Any, pointer: str) -> None:
        """Decode an example of the page; real pages contradict themselves."""
        try:
            action()
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
            self.notes.append(f"REVIEW {pointer}: the page's own example does not fit: {said}")

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
                    said = f"{pointer}: {kind}_detailed cannot send it: {error}"[:300]
                    # httpx sends no file in an asynchronous request.
                    self.lines.append(said) if kind == "sync" else self.notes.append(f"NOTE   not proven: {said}")
                    continue
            sent[kind] = requests
        said_by = [[(r.method, str(r.url)) for r in requests] for requests in sent.values()]
        if any(requests != said_by[0] or len(requests) != 1 for requests in said_by):
            self.differ(pointer, f"asyncio sends something else than sync: {said_by}"[:300])
        return sent

    def request(
        self, path: str, sent: list[Any], request: httpx.Request, body: tuple[str, Any] | None, pointer: str
    ) -> None:
        expected, _, query = path.partition("?")
        for parameter, _, value in sent:
            name, text = parameter["name"], _text(value)
            where = f"{pointer}: the {parameter['in']} parameter {name}"
            if parameter["in"] == "path":
                expected = expected.replace(f"{{{name}}}", quote(text, safe=""))
            elif isinstance(value, list | dict) or value is None:
                continue
            elif parameter["in"] == "query" and request.url.params.get_list(name) != [text]:
                self.lines.append(f"{where} is sent as {request.url.params.get_list(name)}, not {text!r}")
            elif parameter["in"] == "cookie" and f"{name}={text}" not in request.headers.get("cookie", ""):
                self.lines.append(f"{where} is not sent")
            elif parameter["in"] != "header" or (body and name.lower() == "content-type"):
                continue
            elif request.headers.get(name) != text:
                self.lines.append(f"{where} is sent as {request.headers.get(name)!r}, not {text!r}")
        got = request.url.raw_path.decode().partition("?")
        if "://" not in expected and _quoted(got[0]) != _quoted(
            expected if expected.startswith("/") else f"/{expected}"
        ):
            self.differ(pointer, f"the path is {got[0]!r}, not {expected!r}")
        if query and not any(p["in"] == "query" for p, _, _ in sent) and unquote(got[2]) != unquote(query):
            self.differ(pointer, f"the query is {got[2]!r}, not {query!r}")
        if body is not None:
            self.sent_body(body, request, pointer)

    def sent_body(self, body: tuple[str, Any], request: httpx.Request, pointer: str) -> None:
        media, value = body
        kind = media_kind(media, self.made.config.content_type_overrides)
        if not request.headers.get("content-type", "").startswith(media.partition(";")[0]):
            self.differ(f"{pointer}/requestBody", f"is sent as {request.headers.get('content-type')}, not {media}")
        if kind.endswith("json"):
            # httpx sends no body for null.
            if json.loads(request.content or "null") != value:
                self.differ(f"{pointer}/requestBody", f"is sent as {request.content[:200]!r}")
        elif kind == BYTES:
            if request.content != value:
                self.differ(f"{pointer}/requestBody", "other bytes are sent")
        elif isinstance(value, dict):
            text = unquote(request.content.decode("utf-8", "replace").replace("+", " "))
            for name in [name for name, part in value.items() if part not in ([], None) and name not in text]:
                self.differ(f"{pointer}/requestBody", f"the field {name} is not sent")

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
            self.notes.append(f"NOTE   not proven: {where}: Python knows no other status of {status}")
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
            self.differ(f"{at}/schema", f"{said} is decoded as {wrong[0]!r}"[:400])
        for shown, end in examples(content) if asks and form == "json" and not wrong else ():
            self.decoded(lambda shown=shown: asks[0](**head, json=shown), f"{at}/{end}")

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
            self.differ(f"{pointer}/enum", f"the contract lists {values}, the package {found}"[:400])
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
                    self.notes.append(f"NOTE   not proven: {at}: which of several models it is")
                continue
            key = (cls, json.dumps(each, sort_keys=True, default=str))
            if key not in self.proven:
                self.proven.add(key)
                try:
                    self.model(each, cls, at)
                except Exception as error:  # the check cannot tell, and says so
                    self.unproven(at, error)

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
        names, attributes = self.fields[cls.__name__], attrs.fields_dict(cls)
        hints = typing.get_type_hints(cls, localns=vars(self.package.models))
        unclear = contested(self.document, schema)
        for name in unclear:
            self.notes.append(f"NOTE   not proven: {pointer}: the field {name} stands in several parts of allOf")
        for name, child in ((name, child) for name, child in fields.items() if name not in unclear):
            at = f"{pointer}/properties/{escape(name)}"
            if name not in names or names[name] not in attributes:
                self.differ(at, f"the field is missing in {cls.__name__}")
                continue
            needed = attributes[names[name]].default is attrs.NOTHING
            if needed and name not in required:
                self.differ(at, "required: the contract says False, the package True")
            elif (
                not needed
                and name in required
                and normal(self.document, child).get("default") is None
                and kinds_of(self.document, child) != {"null"}
            ):
                self.differ(at, "required: the contract says True, the package False")
            self.type(child, hints[names[name]], at)
        full = example(self.document, schema, "")
        if not unclear and not holds_bytes(full) and cls.from_dict(full).to_dict() != full:
            self.differ(pointer, f"round trip: {full} becomes {cls.from_dict(full).to_dict()}"[:400])


def _said(kinds: set[str]) -> str:
    return "|".join(sorted(kinds))


def _answers(code: HTTPStatus, documented: Collection[str]) -> str:
    """Return which of the documented answers a status has."""
    return next((key for key in (str(code.value), f"{code.value // 100}XX") if key in documented), "default")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(path: str) -> str:
    """Return a path with one spelling of each character, and what separates its parts."""
    return "/".join(quote(unquote(part), safe="") for part in path.split("/"))


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

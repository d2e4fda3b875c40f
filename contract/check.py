"""Prove that a generated package does what its contract says: types, enums, models, calls."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import io
import itertools
import json
import sys
import types
import typing
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, unquote

import attrs
import httpx
from openapi_python_client.parser.properties import Property

from contract.dialect import BYTES, FORM, media_kind
from contract.document import ContractError, escape, operations, path_key, place, resolve
from contract.facts import parameters
from contract.names import Plan
from contract.schemas import fields_of, kinds, kinds_of, label_table, leaves, text_of
from contract.values import UnprovenError, by_kind, example, examples, holds_bytes, misfit, plain, pythonic

BASE = "https://contract.invalid"
_TRICKY = "a/b?c#d &=%2F é;:@+,"
_COUNT = itertools.count()


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
    proven: dict[Any, Any] = attrs.field(factory=dict)

    def run(self) -> None:
        """Prove every operation, and the models that it uses."""
        modules = self.made.modules()
        for path, method, operation in operations(self.document):
            pointer = place(path, method)
            name, endpoint = modules[method, *path_key(path)]
            try:
                module = importlib.import_module(f"{self.package.__name__}.api.{name}")
            except Exception as error:  # a package under test may raise any error
                self.differ(pointer, f"its module cannot be imported: {type(error).__name__}: {error}")
                continue
            with self.noting(pointer):
                self.operation(path, operation, pointer, module, endpoint)

    def differ(self, pointer: str, text: str) -> None:
        self.lines.append(f"{pointer}: {' '.join(text.split())[:400]}")

    def unproven(self, pointer: str, text: str) -> None:
        self.notes.append(f"NOTE   not proven: {pointer}: {text[:300]}")

    @contextmanager
    def noting(self, pointer: str) -> Generator[None]:
        """Say in a note at a pointer which error of the check's own there is, if any."""
        try:
            yield
        except UnprovenError as error:
            self.unproven(pointer, str(error))
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self.unproven(pointer, f"the check itself failed: {said[:200]}")

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
        for status in operation["responses"]:
            with self.noting(f"{pointer}/responses/{escape(status)}"):
                self.response(status, operation["responses"], pointer, module, asks)

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
        self.examples(content, at, lambda shown: pythonic(shown, hints["body"]))
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
                    if kind == "asyncio" and "sync request" in str(error):
                        lost = "httpx sends no open file in an asynchronous request; use the sync function"
                        self.notes.append(f"REVIEW {pointer}/requestBody: {lost}")
                        continue
                    # No header holds Chinese.
                    tell = self.differ if kind == "sync" and not isinstance(error, UnicodeError) else self.unproven
                    tell(pointer, f"{kind}_detailed cannot send it: {error}")
                    continue
            sent[kind] = requests
        said = [[(request.method, str(request.url)) for request in requests] for requests in sent.values()]
        if any(len(each) != 1 or each != said[0] for each in said):
            self.differ(pointer, f"asyncio sends something else than sync: {said}")
        return sent

    def request(self, path: str, sent: list[Any], request: httpx.Request, body: Any, pointer: str) -> None:
        expected, queries = path, list[tuple[str, Any]]()
        for parameter, value in sent:
            spot, name = parameter["in"], parameter["name"]
            text, said = text_of(value), f"the {spot} parameter {name} is"
            if spot == "path":
                expected = expected.replace(f"{{{name}}}", quote(text, safe=""))
            elif value is None or (body and name.lower() == "content-type"):
                continue
            elif spot == "query":
                queries += value.items() if isinstance(value, dict) else [(name, value)]
            elif spot == "cookie" and f"{name}={text}" not in request.headers.get("cookie", ""):
                self.differ(pointer, f"{said} not sent")
            elif spot == "header" and request.headers.get(name) != text:
                self.differ(pointer, f"{said} sent as {request.headers.get(name)!r}, not {text!r}")
        for key, part in queries:
            wanted = [text_of(each) for each in (part if isinstance(part, list) else [part])]
            # Two objects may have a field of one name.
            found, alone = request.url.params.get_list(key), [k for k, _ in queries].count(key) == 1
            if part is not None and found != wanted and alone:
                self.differ(pointer, f"the query parameter {key} is sent as {found}, not {wanted}")
        expected, _, query = expected.partition("#")[0].partition("?")
        got = request.url.raw_path.decode().partition("?")
        parts = [list(map(unquote, each.removeprefix("/").split("/"))) for each in (got[0], expected)]
        if "://" not in expected and parts[0] != parts[1]:
            self.differ(pointer, f"the path is {got[0]!r}, not {expected!r}")
        if query and unquote(query) not in unquote(got[2]):
            if any(parameter["in"] == "query" for parameter, _ in sent):
                self.notes.append(f"REVIEW {pointer}: the generated function sends no {query!r} beside its parameters")
            else:
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
            text = request.content.decode("utf-8", "replace")
            text = unquote(text.replace("+", " ") if kind == FORM else text)
            for name, part in [(name, part) for name, part in value.items() if part not in ([], None)]:
                if name not in text or (isinstance(part, bool | int | str) and text_of(part) not in text):
                    self.differ(pointer, f"the field {name} is not sent as {part!r}")

    def response(self, status: str, responses: dict[str, Any], pointer: str, module: Any, asks: list[Any]) -> None:
        """Prove that an answer of a status is decoded, and so are the page's own examples of it."""
        answer, where = resolve(self.document, responses[status], f"{pointer}/responses/{escape(status)}")
        media, content = next(iter((answer.get("content") or {"": {}}).items()))
        if "schema" not in content:
            return
        keys = {code: (f"{code:d}", f"{code // 100}XX") for code in HTTPStatus}
        codes = [code for code, each in keys.items() if next((k for k in each if k in responses), "default") == status]
        if not codes:
            self.unproven(where, f"Python knows no other status of {status}")
            return
        kind, schema = media_kind(media, self.made.config.content_type_overrides), content["schema"]
        at, hint = f"{where}/content/{escape(media)}", typing.get_type_hints(module._parse_response)["return"]
        self.type(schema, hint, f"{at}/schema", answers=len(responses))
        value = example(self.document, schema, "/body")
        form = "content" if isinstance(value, bytes) else "text" if kind.startswith("text/") else "json"
        if form == "json" and holds_bytes(value):
            self.unproven(f"{at}/schema", "JSON holds no bytes, so an answer with them cannot be read")
            return
        head = {"status_code": codes[0], "headers": {"content-type": media}}
        wrong = [result for ask in asks if (result := plain(ask(**head, **{form: value}))) != value]
        if wrong and kinds_of(self.document, schema) == {"any"}:
            said = "the generated function returns nothing that may be anything; read `content` of the detailed one"
            self.notes.append(f"REVIEW {at}/schema: {said}")
        elif wrong:
            said = json.dumps(value, ensure_ascii=False, default=str)[:150]
            self.differ(f"{at}/schema", f"{said} is decoded as {wrong[0]!r}")
        if asks and form == "json" and not wrong:
            self.examples(content, at, lambda shown: asks[0](**head, json=shown))

    def examples(self, content: dict[str, Any], pointer: str, read: Callable[[Any], Any]) -> None:
        """Note which of the page's own examples of a body do not fit, or the package does not read."""
        for shown, end in examples(content):
            said = misfit(self.document, content["schema"], shown)
            try:
                read(shown)
            except Exception as error:
                said = said or f"{type(error).__name__}: {error}"
            if said:
                line = f"REVIEW {pointer}/{end}: the page's own example does not fit: {said}"
                self.notes.append(" ".join(line.split())[:400])

    def type(self, schema: Any, hint: Any, pointer: str, *, answers: int = 0) -> None:
        """Compare the annotation of a value, or of so many answers or None, with a schema, and prove the models in it."""
        found, nothing = by_kind(hint), {"null"} if answers else set()
        two = [kinds_of(self.document, schema) - nothing, set(found) - nothing]
        if two[0] != two[1] if answers < 2 else not two[0] <= two[1]:
            said = ["|".join(sorted(each)) for each in two]
            self.differ(pointer, f"type: the contract says {said[0]}, the package {said[1]}")
            return
        once = list({repr(each): (each, at) for each, at in leaves(self.document, schema, pointer)}.values())
        objects: list[tuple[Any, str, Any]] = []
        for each, at in once:
            for kind in kinds(each) & set(found):
                match kind, found[kind]:
                    case "object", classes:
                        objects.append((each, at, self.models(each, classes, at)))
                    case "enum", classes:
                        self.enum(each, classes, at)
                    case "array", [member] if "prefixItems" not in each:
                        self.type(each.get("items", {}), typing.get_args(member)[0], f"{at}/items")
                    case _:
                        pass
        self.told_apart(objects)

    def told_apart(self, objects: list[tuple[Any, str, Any]]) -> None:
        """Note which objects of a union are read as another one, the first that takes them."""
        for number, (schema, pointer, _) in enumerate(objects):
            with suppress(UnprovenError):
                value = example(self.document, schema)
                for cls in [cls for _, _, cls in objects[:number] if cls]:
                    with suppress(Exception):  # of an object that it does not take
                        cls.from_dict(value)
                        self.notes.append(
                            f"REVIEW {pointer}: in an answer it is read as {cls.__name__}, which takes it, too"
                        )
                        break

    def enum(self, schema: dict[str, Any], classes: list[Any], pointer: str) -> None:
        """Compare an enum's values and labels; the generator makes two of one that may be null."""
        values = [value for value in schema["enum"] if value is not None]
        fitting = [cls for cls in classes if sorted((i.value for i in cls), key=repr) == sorted(values, key=repr)]
        if not fitting:
            said = f"the contract lists {values}, the package {[item.value for item in classes[0]]}"
            self.differ(f"{pointer}/enum", said)
            return
        labels = label_table(schema.get("x-apifox-enum"))
        for value in [value for value in values if labels and str(value) not in labels]:
            self.notes.append(f"NOTE   {pointer}: {value!r} has no label; it is shown as it is")
        for value, label in labels.items():
            shown = [item.label for cls in fitting for item in cls if str(item.value) == value]
            if not shown:
                self.notes.append(f"NOTE   {pointer}/x-apifox-enum: names {value!r}, which enum lacks")
            elif label not in shown:
                said = f"labels: {value!r} is {label!r}, in the package {shown[0]!r}"
                self.differ(f"{pointer}/x-apifox-enum", said)

    def models(self, schema: dict[str, Any], classes: list[Any], pointer: str) -> Any:
        """Prove an object once, and return its class: of several with its fields the first that is proven."""
        key = (repr(schema), *(cls.__name__ for cls in classes))
        if key not in self.proven:
            names, told, lines = set(fields_of(self.document, schema)), len(self.lines), list[str]()
            fitting = [cls for cls in classes if len(classes) == 1 or set(self.fields.get(cls.__name__, ())) == names]
            self.proven[key] = next(iter(fitting), None)  # it may stand inside itself
            if not fitting:
                self.unproven(pointer, "which of several models it is")
            for cls in fitting:
                with self.noting(pointer):
                    self.model(schema, cls, pointer)
                if len(self.lines) == told:
                    self.proven[key], lines = cls, []
                    break
                lines, self.lines[told:] = lines or self.lines[told:], []
            self.lines.extend(lines)
        return self.proven[key]

    def model(self, schema: dict[str, Any], cls: Any, pointer: str) -> None:
        """Prove the fields of a model, and one value read and written."""
        fields, told = fields_of(self.document, schema, pointer), len(self.lines)
        attributes = attrs.fields_dict(cls)
        hints = typing.get_type_hints(cls, localns=vars(self.package.models))
        for name, field in fields.items():
            made = self.fields[cls.__name__].get(name)
            if field.contested:
                self.unproven(pointer, f"the field {name} stands in several parts of allOf")
            elif made is None or made.python_name not in attributes:
                self.differ(field.pointer, f"the field is missing in {cls.__name__}")
            else:
                needed = attributes[made.python_name].default is attrs.NOTHING
                if needed != (field.required and made.default is None):
                    self.differ(field.pointer, f"required: the contract says {not needed}, the package {needed}")
                self.type(field.schema, hints[made.python_name], field.pointer)
        full = example(self.document, schema, "")
        if any(field.contested for field in fields.values()) or holds_bytes(full) or len(self.lines) > told:
            return
        if (back := _read_and_written(cls, full)) != full:
            self.differ(pointer, f"round trip: {full} becomes {back}")
        for name, field in fields.items():
            several = list(leaves(self.document, field.schema, field.pointer))
            for leaf, at in several if len(several) > 1 else ():
                with suppress(UnprovenError):
                    other = full | {name: example(self.document, leaf, f"/{name}")}
                    if not holds_bytes(other) and (back := _read_and_written(cls, other)) != other:
                        found = back[name] if isinstance(back, dict) and name in back else back
                        said = f"{other[name]!r} becomes {found!r}, since it is one of several types"
                        self.notes.append(f"REVIEW {at}: {said[:300]}")


def _read_and_written(cls: Any, value: dict[str, Any]) -> Any:
    """Return what a model makes of a value, or its error."""
    try:
        return cls.from_dict(value).to_dict()
    except Exception as error:  # a package under test may raise any error
        return f"{type(error).__name__}: {error}"


def _ask(module: Any, function: str, given: dict[str, Any], sent: list[httpx.Request], **answer: Any) -> Any:
    """Return what a function returns for an answer, and keep the requests that it sends."""

    def server(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(**answer)

    client, transport = module.Client(base_url=BASE), httpx.MockTransport(server)
    client.set_httpx_client(httpx.Client(base_url=BASE, transport=transport))
    client.set_async_httpx_client(httpx.AsyncClient(base_url=BASE, transport=transport))
    if isinstance(file := getattr(given.get("body"), "payload", None), io.BytesIO):
        file.seek(0)
    returned = getattr(module, function)(client=client, **given)
    result = asyncio.run(returned) if inspect.iscoroutine(returned) else returned
    return result.parsed if function.endswith("_detailed") else result

"""Read the facts of a generated package, operation by operation of its contract."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import inspect
import json
import re
import types
import typing
from collections.abc import Mapping
from typing import Any
from unittest import mock
from urllib.parse import quote

import attrs
import httpx

from contract.calls import (
    BASE,
    FUNCTIONS,
    REGISTERED,
    TRICKY_VALUES,
    Capture,
    Operation,
    Raised,
    endpoints,
    import_module,
    members_of,
    pythonic,
    same,
)
from contract.document import operations, resolve
from contract.example import example
from contract.facts import Facts, parameters, simplify, type_of
from contract.models import Values
from contract.written import answers


def of_package(document: dict[str, Any], package: types.ModuleType) -> Facts:
    """Return the facts of a generated package for the places of its contract."""
    facts = Facts()
    facts.add("", "", "", "document")
    contract = import_module(f"{package.__name__}.contract")
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
    return bool(answers(document) == contract.SCHEMAS)


def _client_options(package: types.ModuleType) -> dict[str, Any]:
    """Return the options that each generated client passes to httpx, by default and with every option set."""
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
    """Return the expected options: TLS verification, no redirects and no timeout by default."""
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
        sync_async_mismatches: list[str] = []
        parsed = self._responses(name, node, given, sync_async_mismatches)
        functions = [function for function in FUNCTIONS if hasattr(self.operation.module, function)]
        ways = list(self.operation.own_ways(given))
        self.facts.add(
            name,
            "",
            "",
            "operation",
            sync_async_mismatches=sync_async_mismatches,
            undocumented=parsed,
            functions=functions,
            own_ways=ways,
        )

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
            Values(self.document, self.package, self.facts).add(place, name, schema, self.operation.hints[match])
            hint = self.operation.hints[match]
            given[match] = pythonic(example(self.document, schema, 1, parameter["name"]), hint)
            known.append((match, parameter, place))
        self.facts.add(name, "", "", "operation", body=self._body(node, given))
        for python in left:
            self.facts.add(f"{name} parameter {python}", name, "", "parameter", **{"is": "parameter"})
        for match, parameter, place in known:
            self.facts.add(place, name, "", "parameter", sent=self._sent(match, parameter, given))
        return given

    def _body(self, node: dict[str, Any], given: dict[str, Any]) -> str:
        """Add a body to the arguments, and tell whether it is sent as given."""
        holder, _ = resolve(self.document, node.get("requestBody", {}), "")
        media, content = next(iter((holder.get("content") or {"": {}}).items()))
        if media != "" and "body" not in self.operation.hints:
            return "not taken"
        if not media.endswith("json"):
            return "as given"
        value = example(self.document, content.get("schema", {}), 1, "body")
        given["body"] = pythonic(value, self.operation.hints["body"])
        sent = self.operation.request(given)
        kind = sent["headers"].get("content-type", "")
        return "as given" if json.loads(sent["body"]) == value and kind == media else f"{kind}: {sent['body']!r}"

    def _sent(self, python: str, parameter: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
        """Return where a parameter's value is sent, for plain and for tricky values."""
        schema, _, _ = simplify(self.document, parameter.get("schema", {}), "")
        hint = self.operation.hints[python]
        texts = type_of(schema) == "string" and str in members_of(hint)
        tricky: tuple[Any, ...] = TRICKY_VALUES if parameter["in"] == "path" else ("a/b?c#d", "a&b=c")
        second = pythonic(example(self.document, schema, 2, parameter["name"]), hint)
        values: tuple[Any, ...] = tricky if texts else (second,)
        places: set[str] = set()
        for value in values:
            base, sent = self.operation.request(given), self.operation.request({**given, python: value})
            places |= {f"changes {key}" for key in base if base[key] != sent[key]}
            text = value.isoformat() if isinstance(value, dt.date) else str(getattr(value, "value", value))
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

    def _responses(
        self, name: str, node: dict[str, Any], given: Mapping[str, Any], sync_async_mismatches: list[str]
    ) -> list[int]:
        documented = {code for status in node.get("responses", {}) for code in _codes(str(status))}
        undocumented = [code for code in REGISTERED if code not in documented]
        sample: tuple[bytes, str] = (b"{}", "application/json")
        for status, holder in node.get("responses", {}).items():
            response, _ = resolve(self.document, holder, "")
            codes = _codes(str(status)) or undocumented
            media, content = next(iter((response.get("content") or {"": {}}).items()))
            place = f"{name} response {status}"
            if "schema" not in content:
                self.facts.add(place, name, "", "response", **{"is": "response"})
                continue
            value = example(self.document, content["schema"])
            body = httpx.Response(200, json=value).content
            sample = (body, media)
            results = [self._all(Capture(code, body, media), given, sync_async_mismatches) for code in codes[:3]]
            if any(result is None for result in results):
                continue
            failed = next((result for result in results if isinstance(result, Raised)), None)
            self.facts.add(place, name, "", "response", **{"is": "response"})
            self.facts.add(f"{place} {media}", place, "", "response", **{"is": "media type"})
            inner = f"{place} {media} "
            self.facts.add(inner, f"{place} {media}", "", "response", **{"is": "body"}, decodes=failed or "well")
            hint = self._body_hint(codes[0], body, media, given) if failed is None else self._promised()
            Values(self.document, self.package, self.facts).add(inner, f"{place} {media}", content["schema"], hint)
        return (
            []
            if "default" in node.get("responses", {})
            else self._undocumented(undocumented, sample, given, sync_async_mismatches)
        )

    def _undocumented(
        self, codes: list[int], sample: tuple[bytes, str], given: Mapping[str, Any], sync_async_mismatches: list[str]
    ) -> list[int]:
        """Return the statuses that are parsed although they are not in the contract."""
        parsed = [code for code in codes if self._parsed(Capture(code, *sample), given) is not None]
        stranger = Capture(next(code for code in codes if code >= 418), *sample)
        self._all(stranger, given, sync_async_mismatches)
        raised = self._all(stranger, given, sync_async_mismatches, raise_on_unexpected_status=True)
        if not str(raised).startswith("UnexpectedStatus"):
            sync_async_mismatches.append("an unexpected status is not raised where that is asked for")
        parsed_async = asyncio.run(self._parsed_async(codes, sample, given))
        if parsed_async != parsed:
            sync_async_mismatches.append(f"asyncio also parses {sorted(set(parsed_async) ^ set(parsed))[:5]}")
        return parsed

    def _promised(self) -> Any:
        """Return the annotation of the parsed response, for a response that cannot be decoded."""
        return typing.get_type_hints(self.operation.module._parse_response)["return"]

    def _body_hint(self, code: int, body: bytes, media: str, given: Mapping[str, Any]) -> Any:
        parsed = self._parsed(Capture(code, body, media), given)
        if isinstance(parsed, list) and parsed:
            return list[type(parsed[0])]  # type: ignore[misc]
        return type(parsed)

    def _parsed(self, capture: Capture, given: Mapping[str, Any]) -> Any:
        try:
            return self.operation.module.sync_detailed(client=capture.sync(self.package), **given).parsed
        except Exception as error:
            return Raised(error)

    async def _parsed_async(self, codes: list[int], sample: tuple[bytes, str], given: Mapping[str, Any]) -> list[int]:
        parsed: list[int] = []
        for code in codes:
            client = Capture(code, *sample).asyncio(self.package)
            try:
                result = (await self.operation.module.asyncio_detailed(client=client, **given)).parsed
            except Exception as error:
                result = Raised(error)
            parsed += [code] if result is not None else []
        return parsed

    def _all(self, capture: Capture, given: Mapping[str, Any], sync_async_mismatches: list[str], **options: Any) -> Any:
        """Call all four functions, record those that differ from `sync_detailed`, and return its result."""
        first = self.operation.outcome("sync_detailed", capture, given, **options)
        for function in FUNCTIONS[1:]:
            if hasattr(self.operation.module, function):
                other = self.operation.outcome(function, capture, given, **options)
                if other != first:
                    sync_async_mismatches.append(f"{function} differs under status {capture.status}")
        return first[1]


def _codes(status: str) -> list[int]:
    if status.endswith("XX"):
        return [code for code in REGISTERED if code // 100 == int(status[0])]
    return [int(status)] if status.isdigit() else []

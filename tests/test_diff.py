"""Each change of the contract has the right verdict: BREAK, REVIEW, NOTE or none."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from contract import commands
from contract import document as documents
from contract.diff import EXIT_CODES, Change, changes
from contract.facts import of_document

ROOT = Path(__file__).parent.parent
PATH = "/v1/videos/tasks/{task_id}"
CONTRACT = documents.read_contract(ROOT / "openapi.yaml")


class Doc:
    """A copy of the contract, with short names for its most changed parts."""

    def __init__(self) -> None:
        self.all: dict[str, Any] = copy.deepcopy(CONTRACT)

    @property
    def paths(self) -> dict[str, Any]:
        return self.all["paths"]  # type: ignore[no-any-return]

    @property
    def get(self) -> dict[str, Any]:
        return self.paths[PATH]["get"]  # type: ignore[no-any-return]

    @property
    def ok(self) -> dict[str, Any]:
        return self.get["responses"]["200"]  # type: ignore[no-any-return]

    @property
    def media(self) -> dict[str, Any]:
        return self.ok["content"]["application/json"]  # type: ignore[no-any-return]

    @property
    def schema(self) -> dict[str, Any]:
        return self.media["schema"]  # type: ignore[no-any-return]

    @property
    def fields(self) -> dict[str, Any]:
        return self.schema["properties"]  # type: ignore[no-any-return]

    @property
    def parameters(self) -> list[Any]:
        return self.get["parameters"]  # type: ignore[no-any-return]


Edit = Callable[[Doc], object]


def rename(mapping: dict[str, Any], old: str, new: str) -> None:
    mapping[new] = mapping.pop(old)


def query(**more: Any) -> dict[str, Any]:
    return {"name": "verbose", "in": "query", "schema": {"type": "boolean"}, **more}


def to_component(doc: Doc) -> None:
    doc.all["components"]["schemas"]["Task"] = doc.schema
    doc.media["schema"] = {"$ref": "#/components/schemas/Task"}


def wrap(doc: Doc) -> None:
    doc.media["schema"] = {"type": "object", "properties": {"code": {"type": "integer"}, "data": doc.schema}}


def as_31(doc: Doc) -> None:
    doc.all["openapi"] = "3.1.0"
    doc.fields["progress"]["type"] = ["integer"]


def post_body(doc: Doc, *, required: bool) -> None:
    schema = {"type": "object", "properties": {"note": {"type": "string"}}}
    doc.get["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}


CHANGES: dict[str, tuple[Edit, str | None]] = {
    "form of names": (lambda d: d.schema.update(propertyNames={"pattern": "^[a-z]+$"}), "REVIEW"),
    "fields by a pattern": (lambda d: d.schema.update(patternProperties={"^x-": {"type": "string"}}), "REVIEW"),
    "field that needs another": (lambda d: d.schema.update(dependentRequired={"data": ["message"]}), "REVIEW"),
    "no other fields": (lambda d: d.schema.update(additionalProperties=False), "REVIEW"),
    "condition": (
        lambda d: d.schema.update({"if": {"required": ["data"]}, "then": {"required": ["message"]}}),
        "REVIEW",
    ),
    "operation removed": (lambda d: d.paths.update({PATH: {}, "/v2": {"get": d.get}}), "BREAK"),
    "path parameter renamed": (lambda d: rename(d.paths, PATH, "/v1/videos/tasks/{id}"), "BREAK"),
    "method changed": (lambda d: rename(d.paths[PATH], "get", "post"), "BREAK"),
    "status removed": (lambda d: rename(d.get["responses"], "200", "201"), "BREAK"),
    "media type changed": (lambda d: rename(d.ok["content"], "application/json", "text/plain"), "BREAK"),
    "content removed": (lambda d: d.ok.pop("content"), "BREAK"),
    "field removed": (lambda d: d.fields.pop("message"), "BREAK"),
    "field renamed": (lambda d: rename(d.fields, "progress", "percent"), "BREAK"),
    "nested field removed": (lambda d: d.fields["data"]["properties"].pop("videos"), "BREAK"),
    "integer became string": (lambda d: d.fields["progress"].update(type="string"), "BREAK"),
    "integer became number": (lambda d: d.fields["progress"].update(type="number"), "BREAK"),
    "object became array": (lambda d: d.fields.update(data={"type": "array", "items": d.fields["data"]}), "BREAK"),
    "item became string": (
        lambda d: d.fields["data"]["properties"]["videos"].update(items={"type": "string"}),
        "BREAK",
    ),
    "body became array": (lambda d: d.media.update(schema={"type": "array", "items": d.schema}), "BREAK"),
    "body wrapped": (wrap, "BREAK"),
    "field became optional": (lambda d: d.schema["required"].remove("progress"), "BREAK"),
    "all fields became optional": (lambda d: d.schema.pop("required"), "BREAK"),
    "field became nullable": (lambda d: d.fields["data"].update(nullable=True), "BREAK"),
    "body became nullable": (lambda d: d.schema.update(nullable=True), "BREAK"),
    "parameter removed": (lambda d: d.parameters.pop(1), "BREAK"),
    "header renamed": (lambda d: d.parameters[1].update(name="X-Key"), "BREAK"),
    "parameter type changed": (lambda d: d.parameters[0]["schema"].update(type="integer"), "BREAK"),
    "parameter became required": (lambda d: d.parameters[1].update(required=True), "BREAK"),
    "required parameter added": (lambda d: d.parameters.append(query(required=True)), "BREAK"),
    "required body added": (lambda d: post_body(d, required=True), "BREAK"),
    "type became a union": (
        lambda d: d.fields.update(progress={"oneOf": [{"type": "integer"}, {"type": "string"}]}),
        "BREAK",
    ),
    "enum value added": (lambda d: d.fields["state"]["enum"].append("paused"), "REVIEW"),
    "enum value removed": (lambda d: d.fields["state"]["enum"].remove("pending"), "REVIEW"),
    "enum value renamed": (lambda d: d.fields["action"].update(enum=["generate", "remake"]), "REVIEW"),
    "enum became open": (lambda d: d.fields["action"].pop("enum"), "REVIEW"),
    "label changed": (lambda d: d.fields["state"]["x-apifox-enum"][0].update(name="排队"), "REVIEW"),
    "server changed": (lambda d: d.all["servers"][0].update(url="https://api.duomiapi.com"), "REVIEW"),
    "server added": (lambda d: d.all["servers"].append({"url": "https://two.duomiapi.com"}), "REVIEW"),
    "security added": (lambda d: d.get.update(security=[{"key": []}]), "REVIEW"),
    "operation deprecated": (lambda d: d.get.update(deprecated=True), "REVIEW"),
    "status of the page changed": (lambda d: d.get.update({"x-apifox-status": "deprecated"}), "REVIEW"),
    "parameter deprecated": (lambda d: d.parameters[1].update(deprecated=True), "REVIEW"),
    "operation added": (
        lambda d: d.paths.update({"/v1/credit": {"get": {"responses": {"200": {"description": ""}}}}}),
        "NOTE",
    ),
    "response added": (lambda d: d.get["responses"].update({"404": {"description": "none"}}), "NOTE"),
    "optional parameter added": (lambda d: d.parameters.append(query()), "NOTE"),
    "optional body added": (lambda d: post_body(d, required=False), "NOTE"),
    "field added": (lambda d: d.fields.update(cost={"type": "number"}), "NOTE"),
    "response header added": (lambda d: d.ok.update(headers={"X-Cost": {"schema": {"type": "string"}}}), "NOTE"),
    "operationId added": (lambda d: d.get.update(operationId="b"), "NOTE"),
    "title of a class added": (lambda d: d.fields["data"].update(title="Result"), "BREAK"),
    "Chinese title added": (lambda d: d.fields["data"].update(title="结果"), "NOTE"),
    "title of a text added": (lambda d: d.fields["message"].update(title="Text"), "NOTE"),
    "constraint added": (lambda d: d.fields["progress"].update(maximum=100), "NOTE"),
    "format added": (lambda d: d.fields["create_time"].update(format="int64"), "NOTE"),
    "text changed": (lambda d: d.get.update(summary="查询任务"), "NOTE"),
    "version changed": (lambda d: d.all["info"].update(version="1.1.0"), "NOTE"),
    "field became required": (
        lambda d: d.fields["data"]["properties"]["videos"]["items"].update(required=["url"]),
        "NOTE",
    ),
    "keys reordered": (lambda d: d.media.update(schema=dict(reversed(d.schema.items()))), None),
    "enum values reordered": (lambda d: d.fields["state"]["enum"].reverse(), None),
    "parameters reordered": (lambda d: d.parameters.reverse(), None),
    "order hints added": (lambda d: d.schema.update({"x-apifox-orders": []}), None),
    "link to the vendor's page changed": (lambda d: d.get.update({"x-run-in-apifox": "elsewhere"}), None),
    "example changed": (lambda d: d.parameters[0].update(example="other"), None),
    "moved to components": (to_component, None),
    "rewritten as OpenAPI 3.1": (as_31, None),
}


def found_between(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    return changes(of_document(old), of_document(new))


def verdicts(edit: Edit) -> list[str]:
    doc = Doc()
    edit(doc)
    return [change.verdict for change in found_between(CONTRACT, doc.all)]


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_has_its_verdict(name: str) -> None:
    """The worst verdict of each change is the expected one."""
    edit, expected = CHANGES[name]

    found = verdicts(edit)

    assert (found[0] if found else None) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["field removed", "enum value added", "field added", "example changed"])
def test_the_exit_code_is_that_of_the_worst_verdict(tmp_path: Path, name: str) -> None:
    """The command prints the changes and the version bump, and exits with the code of the worst verdict."""
    edit, expected = CHANGES[name]
    doc = Doc()
    edit(doc)
    (tmp_path / "new.json").write_text(json.dumps(doc.all), encoding="utf-8")
    command = [sys.executable, "-m", "contract", "diff", str(ROOT / "openapi.yaml"), str(tmp_path / "new.json")]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    as_json = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == as_json.returncode == (0 if expected is None else EXIT_CODES[expected])
    rows = [json.loads(line) for line in as_json.stdout.splitlines()]
    if expected is None:
        assert rows == []
        assert len(done.stdout.splitlines()) == 1
        assert not any(verdict in done.stdout for verdict in EXIT_CODES)
    else:
        assert rows[0].keys() == {"verdict", "pointer", "what", "old", "new", "meaning"}
        assert done.stdout.startswith(expected)
        assert "version bump: " in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"swagger": "2.0"}', "Swagger 2.0"), ('{"openapi": "2.5.0"}', "OpenAPI 2.5.0"), ("- a\n", "no mapping"),
        ("a: 1", "no OpenAPI document"), ("openapi: 3.0.1\npaths: {/a: {get: {parameters: 5}}}", "is not OpenAPI"),
        ("x\n```yaml\na: 1\n```\n```yaml\nb: 1\n```\n", "no OpenAPI document"),
    ],
)  # fmt: skip
def test_an_invalid_contract_is_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    """A document that is not a valid contract is exit 1 with one line."""
    (tmp_path / "new").write_text(text, encoding="utf-8")

    code = commands.run(["diff", str(ROOT / "openapi.yaml"), str(tmp_path / "new")])

    error = capsys.readouterr().err
    assert code == 1
    assert len(error.splitlines()) == 1
    assert message in error


def body_of(doc: Doc, encoding: dict[str, Any] | None = None, **more: Any) -> None:
    body = {"schema": {"type": "object", **more}, "encoding": encoding or {}}
    doc.get["requestBody"] = {"content": {"application/json": body}}


PAIRS: dict[str, tuple[Edit, Edit, str]] = {
    "null no longer accepted": (lambda d: body_of(d, nullable=True), body_of, "BREAK"),
    "null in a list of types": (lambda _: None, lambda d: d.fields["progress"].update(type=["integer", "null"]), "BREAK"),
    "null in a union": (
        lambda _: None, lambda d: d.fields.update(message={"oneOf": [{"type": "null"}, d.fields["message"]]}), "BREAK",
    ),
    "null accepted": (body_of, lambda d: body_of(d, nullable=True), "NOTE"),
    "constant changed": (lambda d: d.fields["message"].update(const="a"), lambda d: d.fields["message"].update(const="b"), "REVIEW"),
    "operationId changed": (lambda d: d.get.update(operationId="a"), lambda d: d.get.update(operationId="b"), "BREAK"),
    "value no longer taken": (
        lambda d: body_of(d, properties={"a": {"enum": ["x", "y"]}}), lambda d: body_of(d, properties={"a": {"enum": ["x"]}}), "BREAK",
    ),
    "another value taken": (
        lambda d: body_of(d, properties={"a": {"enum": ["x"]}}), lambda d: body_of(d, properties={"a": {"enum": ["x", "y"]}}), "REVIEW",
    ),
    "constant that is sent changed": (
        lambda d: body_of(d, properties={"a": {"const": "x"}}), lambda d: body_of(d, properties={"a": {"const": "y"}}), "BREAK",
    ),
    **{
        f"{old} becomes {new} in what is sent": (
            partial(body_of, properties={"a": old}), partial(body_of, properties={"a": new}), verdict,
        )
        for old, new, verdict in (
            ({"type": "integer"}, {"type": "number"}, "NOTE"),
            ({"type": "number"}, {"type": "integer"}, "BREAK"),
            ({"type": "string"}, {"type": ["string", "integer"]}, "NOTE"),
            ({"type": "string"}, {}, "NOTE"),
            ({"type": "string"}, {"oneOf": [{"type": "string"}, {"type": "array"}]}, "REVIEW"),
            ({"const": "a"}, {"enum": ["a", "b"]}, "REVIEW"),
            ({"type": "integer", "multipleOf": 4}, {"type": "integer", "multipleOf": 2}, "NOTE"),
            ({"type": "integer", "multipleOf": 2}, {"type": "integer", "multipleOf": 3}, "BREAK"),
            ({"type": "integer", "exclusiveMaximum": False}, {"type": "integer", "exclusiveMaximum": True}, "BREAK"),
            ({"type": "integer", "exclusiveMaximum": True}, {"type": "integer", "exclusiveMaximum": False}, "NOTE"),
            ({"type": "object"}, {"type": "object", "additionalProperties": False}, "BREAK"),
        )
    },
    "text that is read as another type": (
        lambda _: None, lambda d: d.fields["message"].update(format="date-time"), "BREAK",
    ),
    "one parameter in place of another": (
        lambda d: d.parameters.append({"name": "a", "in": "query", "schema": {"type": "string"}}),
        lambda d: d.parameters.append({"name": "b", "in": "query", "schema": {"type": "string"}}),
        "BREAK, NOTE",
    ),
    "an object that is sent may be anything": (
        lambda d: body_of(d, properties={"a": {"type": "object"}}), lambda d: body_of(d, properties={"a": {}}), "NOTE, NOTE",
    ),
    "text that is sent becomes a date": (
        lambda d: body_of(d, properties={"a": {"type": "string"}}),
        lambda d: body_of(d, properties={"a": {"type": "string", "format": "date"}}),
        "BREAK",
    ),
    "name that is no name in code": (lambda d: d.get.update(operationId="查询"), lambda d: d.get.update(operationId=""), ""),
    "parameters of a media type": (
        lambda _: None, lambda d: rename(d.ok["content"], "application/json", "application/json; charset=utf-8"), "",
    ),
    "form written in another way": (
        lambda d: body_of(d, properties={"a": {"type": "array"}}),
        lambda d: body_of(d, {"a": {"explode": False}}, properties={"a": {"type": "array"}}),
        "REVIEW",
    ),
    "list written in another way": (
        lambda d: d.parameters.append(query(explode=False)),
        lambda d: d.parameters.append(query(explode=False, style="pipeDelimited")),
        "REVIEW",
    ),
    "default of what is sent": (lambda d: body_of(d, default=1), lambda d: body_of(d, default=2), "REVIEW"),
    "limit on what is sent": (body_of, lambda d: body_of(d, maxProperties=3), "REVIEW"),
    "tighter limit on what is sent": (lambda d: body_of(d, maxProperties=3), lambda d: body_of(d, maxProperties=2), "BREAK"),
    "looser limit on what is sent": (lambda d: body_of(d, maxProperties=3), lambda d: body_of(d, maxProperties=4), "NOTE"),
    "other pattern of what is sent": (lambda d: body_of(d, pattern="a"), lambda d: body_of(d, pattern="b"), "BREAK"),
    "cookie required": (
        lambda d: d.parameters.append({"name": "c", "in": "cookie", "schema": {"type": "string"}}),
        lambda d: d.parameters.append({"name": "c", "in": "cookie", "required": True, "schema": {"type": "string"}}),
        "BREAK",
    ),
    "variant added to a union": (
        lambda d: d.fields["message"].update(anyOf=[{"type": "string"}, {"type": "integer"}]),
        lambda d: d.fields["message"].update(anyOf=[{"type": "string"}, {"type": "integer"}, {"type": "boolean"}]),
        "REVIEW",
    ),
    "response header removed": (lambda d: d.ok.update(headers={"X-A": {"schema": {"type": "string"}}}), lambda _: None, "NOTE"),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_a_change_between_two_edits_has_its_verdict(name: str) -> None:
    """A change that needs an edited old contract, too, has the expected verdict."""
    first, second, verdict = PAIRS[name]
    old, new = Doc(), Doc()
    first(old)
    second(new)

    found = found_between(old.all, new.all)
    assert ", ".join(change.verdict for change in found) == verdict, [change.line() for change in found]


@pytest.mark.parametrize(
    "field",
    [
        {"allOf": [{"$ref": "#/components/schemas/A"}], "description": "the one above"},
        {"allOf": [{"$ref": "#/components/schemas/A"}, {"type": "object", "properties": {"x": {}}}]},
        {"type": "array", "items": {"oneOf": [{"$ref": "#/components/schemas/A"}]}},
    ],
)  # fmt: skip
def test_a_schema_that_stands_inside_itself_is_read_to_its_end(field: dict[str, Any]) -> None:
    """However a schema refers to itself, its changes are told once."""
    old, new = Doc(), Doc()
    for doc, kind in ((old, "string"), (new, "integer")):
        own = {"type": "object", "properties": {"parent": copy.deepcopy(field), "name": {"type": kind}}}
        doc.all["components"] = {"schemas": {"A": own}}
        doc.fields["a"] = {"$ref": "#/components/schemas/A"}

    found = found_between(old.all, new.all)

    assert [change.pointer for change in found] == ["/components/schemas/A/properties/name"]
    assert found_between(old.all, old.all) == []


def test_the_order_of_variants_has_no_meaning() -> None:
    """The variants of a union are known by what they refer to, and otherwise by their type."""
    old, new = Doc(), Doc()
    variants: list[dict[str, Any]] = [{"$ref": f"#/components/schemas/{name}"} for name in "AB"] + [{"type": "string"}]
    for doc, order in ((old, variants), (new, variants[::-1])):
        doc.all["components"] = {
            "schemas": {name: {"type": "object", "properties": {name: {"type": "string"}}} for name in "AB"}
        }
        doc.fields["a"] = {"oneOf": copy.deepcopy(order)}

    assert found_between(old.all, new.all) == []


def test_a_change_of_a_request_body_is_told_at_the_body() -> None:
    """The pointer of a change inside a request body leads into the body, not into an answer of the operation."""
    old, new = Doc(), Doc()
    for doc, kind in ((old, "string"), (new, "integer")):
        body_of(doc, properties={"a": {"type": kind}})

    (change,) = found_between(old.all, new.all)

    assert change.pointer.endswith("/get/requestBody/content/application~1json/schema/properties/a")


def test_a_component_that_many_operations_use_changes_once() -> None:
    """A change of one pointer is one line, with the worst verdict, however many operations use it."""
    old, new = Doc(), Doc()
    for doc, kind in ((old, "string"), (new, "integer")):
        doc.all["components"]["schemas"]["Note"] = {"type": "object", "properties": {"a": {"type": kind}}}
        media = {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}}
        for name in ("b", "c"):
            doc.paths[f"/v1/{name}"] = {
                "post": {"requestBody": {"content": media}, "responses": {"200": {"description": "", "content": media}}}
            }

    (change,) = found_between(old.all, new.all)

    assert (change.verdict, change.pointer) == ("BREAK", "/components/schemas/Note/properties/a")


def test_the_worst_change_comes_first_though_its_component_changes_harmlessly_elsewhere() -> None:
    """A component that one use breaks and another does not is a BREAK, and stands before every REVIEW."""
    old, new = Doc(), Doc()
    for doc, required in ((old, []), (new, ["a"])):
        doc.all["components"]["schemas"]["Note"] = {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "required": required,
        }
        media = {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}}
        doc.paths["/v1/a"] = {"get": {"responses": {"200": {"description": "", "content": media}}}}
        doc.paths["/v1/b"] = {"post": {"requestBody": {"content": media}, "responses": {}}}
    new.fields["state"]["enum"].append("paused")

    found = found_between(old.all, new.all)

    assert [change.verdict for change in found] == ["BREAK", "REVIEW"]


def web(schemas: int, kind: str) -> dict[str, Any]:
    """Return a contract of as many operations as schemas, each of which names the three that follow it."""
    components: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for number in range(schemas):
        following = {f"f{n}": {"$ref": f"#/components/schemas/S{(number + n) % schemas}"} for n in (1, 2, 3)}
        components[f"S{number}"] = {"type": "object", "properties": {"id": {"type": kind}, **following}}
        media = {"application/json": {"schema": {"$ref": f"#/components/schemas/S{number}"}}}
        paths[f"/v1/a{number}"] = {"get": {"responses": {"200": {"description": "", "content": media}}}}
    return {"openapi": "3.0.1", "info": {}, "paths": paths, "components": {"schemas": components}}


def test_schemas_that_refer_to_each_other_are_compared_once_each() -> None:
    """Of 200 schemas in a web each is compared, and reported, once."""
    found = found_between(web(200, "string"), web(200, "integer"))

    assert [change.pointer for change in found] == [f"/components/schemas/S{n}/properties/id" for n in range(200)]


def test_the_same_union_in_another_keyword_is_no_change() -> None:
    """`oneOf` and `anyOf` are the same to the client, and the values of a map are compared like fields."""
    old, new = Doc(), Doc()
    for doc, key, kind in ((old, "oneOf", "string"), (new, "anyOf", "integer")):
        union = {key: [{"type": "null"}, {"type": "string"}, {"type": "integer"}]}
        doc.fields.update(
            one=union, map={"type": "object", "additionalProperties": {"type": "array", "items": {"type": kind}}}
        )

    (change,) = found_between(old.all, new.all)

    assert (change.verdict, change.pointer.rpartition("/properties/")[2]) == ("BREAK", "map/additionalProperties/items")

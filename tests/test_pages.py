"""Small pages, each with one thing that Apifox or Apidog writes, have the outcome that a maintainer needs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from checkout import ROOT, copy_to, tree
from duomi.simulator import EXAMPLE_ID, Script, Simulator
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from werkzeug import Request, Response

from contract import build as building
from contract import commands
from contract import generate as generation
from contract.check import check as hold
from contract.check import load
from contract.dialect import translate
from contract.diff import changes
from contract.document import ContractError, Page, copied, entries
from contract.facts import of_document
from contract.names import plan
from contract.pages import join, merge

PAGES = Path(__file__).parent / "pages"
THING = "/paths/~1v1~1things/get"
ANSWER = f"{THING}/responses/200/content/application~1json/schema"
Part = dict[str, Any]
TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
OBJECT = {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}
EMPTY = "overlay: 1.0.0\ninfo: {title: none, version: 1.0.0}\nactions: []\n"


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree whose overlay has no action, and whose generator.yaml has no override."""
    folder = copy_to(tmp_path_factory.mktemp("bare"))
    (folder / "overlay.yaml").write_text(EMPTY, encoding="utf-8")
    settings = yaml.safe_load((folder / "generator.yaml").read_text(encoding="utf-8"))
    del settings["class_overrides"]
    (folder / "generator.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


class Taken:
    """What `generate.sh --from` does with pages in a copy of the tree."""

    def __init__(self, bare: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.root = folder / "checkout"
        shutil.copytree(bare, self.root)
        monkeypatch.setattr(commands, "ROOT", self.root)
        monkeypatch.setattr(generation, "check_tools", lambda _root: None)  # because it takes longer than all the rest
        self.capsys = capsys

    def run(self, *pages: str | Path, only: bool = True) -> tuple[int, str, str]:
        files = [str(PAGES / page) for page in pages]
        code = commands.run(["generate", "--from", *files, *(["--only"] if only else [])])
        shown = self.capsys.readouterr()
        return code, shown.out, shown.err

    def text(self, pattern: str) -> str:
        (file,) = (self.root / "generated/duomi_api").glob(pattern)
        return file.read_text(encoding="utf-8")


@pytest.fixture
def taken(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Taken:
    return Taken(bare, tmp_path, monkeypatch, capsys)


# The pages, what the generated models or modules must have, and what the report must say.
TAKEN: dict[str, tuple[str, str]] = {
    "e1-intlabel-req.json": ('_LABELS: dict[int, str] = {8: "short", 16: "long"}', ""),
    "e1-intlabel-resp.json": ('_LABELS: dict[int, str] = {1: "waiting", 2: "done"}', ""),
    "e1-strlabel-int.json": ('_LABELS: dict[int, str] = {1: "waiting", 2: "done"}', ""),
    "e2-refs.json": ("code: str", f"NOTE   {ANSWER}/x-apifox-refs/01ABC: its fields are taken: code"),
    "e2b-refs-nowhere.json": ("data: str | Unset", f"NOTE   {ANSWER}/x-apifox-refs/01ABC: #/components/schemas/Gone"),
    "e2c-refs-only.json": ("code: str", f"NOTE   {ANSWER}/x-apifox-refs/01ABC: its fields are taken: code"),
    "e3-noserver.json": ("id: str", ""),
    "examples30.yaml": ("note: str | Unset", ""),
    "k1-content-type.json": ("content_type: str | Unset", ""),
    "k1b-content-type-get.json": ('headers["Content-Type"] = content_type', ""),
    "k2-accept.json": ('headers["Accept"] = accept', ""),
    "k2-host.json": ('headers["Host"] = host', ""),
    "k2-useragent.json": ('headers["User-Agent"] = user_agent', ""),
    "k3-any.json": ("extra: Any | Unset", ""),
    "k4-field.json": ("code: int = 0", ""),
    "k4-param.json": ("page: int = 1", ""),
    "k5-varnames.json": ('KIND_INT = "int64"', ""),
    "k6-multipart.json": ("file: File | Unset", ""),
    "k6b-octet.json": ("body: File", f"REVIEW {THING.replace('get', 'post')}/requestBody: httpx sends no open file"),
    "k6c-form.json": ("body.to_dict()", ""),
    "k6d-text.json": ("a: str | Unset", ""),
    "k7-queryobject.json": ("params.update(json_filter_)", ""),
    "k8-boolenum.json": ("ok: bool | Unset", ""),
    "k9-nullable-any.json": ("extra: Any | Unset", ""),
    "k11-tree.json": ("kids: list[", ""),
    "k13-oneint.json": ("VALUE_0 = 0", ""),
    "k13b-onestr.json": ('OK = "ok"', ""),
    "k14-two-media.json": ("a: str | Unset", f"NOTE   {THING}/responses/200/content/text~1event-stream: is left out, application/json is taken"),
    "k15-number-default-required.json": ("data: GetV1ThingsResponse200DataType0 | None", ""),
    "k17-nomedia-schema.json": ("class GetV1ThingsResponse200:", ""),
    "m-303.json": ("class Base:", ""),
    "m-h31.json": ("class Base:", ""),
    "m-srv.json": ("class Base:", ""),
    "r1-percent.json": ("class 结果:", f"NOTE   {ANSWER}/$ref: #/components/schemas/%E7%BB%93%E6%9E%9C is percent-encoded"),
    "r1b-percent-space.json": ("class TaskAnswer:", f"NOTE   {ANSWER}/$ref: #/components/schemas/Task%20Answer"),
    "r2d-xml2.json": ("a: str | Unset", "/requestBody/content/application~1xml: is not modelled, application/json is taken"),
    "r3-empty.json": ("Response[Any]", f"NOTE   {ANSWER}: says nothing about the body; it may be anything"),
    "s1-suggest.json": ("id: str | Unset", "update: {operationId: list_items}"),
    "v1-const.json": ('status: Literal["ok"] | Unset', ""),
    "v2-null.json": ("data: None | Unset", ""),
    "v2b-anyofnull.json": ("data: None | str | Unset", ""),
    "v2c-nullparam.json": ("q: None | str | Unset", ""),
    "v3-examples.json": ("note: str | Unset", ""),
    "v4-bearer.json": ("id: str", "NOTE   /components/securitySchemes/BearerAuth/type: 'bearer' is said as http"),
    "v5-security-x.json": ("id: str", f"NOTE   {THING}/security/0/x-apidog: is left out"),
    "v7-zhname30.json": ("class 结果:", ""),
    "v7-zhname31.json": ("class 结果:", ""),
    "v8-default.json": ("page: int | Unset = 1", ""),
    "v8b-default-field.json": ("level: int | Unset = 0", ""),
}  # fmt: skip


@pytest.mark.parametrize("page", TAKEN)
def test_a_page_is_taken(taken: Taken, page: str) -> None:
    """A page that the plain generator makes a complete client of is taken, with a note for each rewriting."""
    code_of, said = TAKEN[page]

    code, out, error = taken.run(page)

    assert (code, error) == (0, "")
    assert said in out
    assert out.splitlines()[0].startswith("BREAK: ")
    files = [file.read_text(encoding="utf-8") for file in (taken.root / "generated").rglob("*.py")]
    assert any(code_of in text for text in files)
    assert (taken.root / "openapi.yaml").read_text(encoding="utf-8").rstrip() == (
        PAGES / page
    ).read_text(encoding="utf-8").rstrip() or 'servers": []' in (PAGES / page).read_text(encoding="utf-8")  # fmt: skip


# The page, what the message has, and the setting in generator.yaml that it names.
REFUSED: dict[str, tuple[str, str]] = {
    "k10-Response.json": ("/components/schemas/Response: ", "{Response: {class_name: ResponseModel, module_name: response_model}}"),
    "k10-Client.json": ("/components/schemas/Client: ", "{Client: {class_name: ClientModel, module_name: client_model}}"),
    "k10-File.json": ("/components/schemas/File: ", "{File: {class_name: FileModel, module_name: file_model}}"),
    "k16-pdf.json": (f"{THING}/responses/200: ", '{"application/pdf": application/octet-stream}'),
    "r2-star.json": (f"{THING}/responses/200: ", '{"*/*": application/json}'),
    "r2b-video.json": (f"{THING}/responses/200: ", '{"video/mp4": application/octet-stream}'),
    "r2c-textbody.json": ("/paths/~1v1~1things/post: ", '{"text/plain": application/octet-stream}'),
    "star.yaml": (f"{THING}/responses/200: ", '{"*/*": application/json}'),
}  # fmt: skip


@pytest.mark.parametrize("page", REFUSED)
def test_a_refusal_names_the_line_that_lifts_it(taken: Taken, page: str) -> None:
    """A page that cannot be modelled is refused in one line; the setting that it names, written down, lifts it."""
    place, setting = REFUSED[page]
    before = tree(taken.root)

    code, out, error = taken.run(page)

    assert (code, out, len(error.splitlines())) == (1, "", 1)
    assert f"{PAGES / page}: {place}" in error
    assert setting in error
    assert tree(taken.root) == before
    (key,) = re.findall(r"generator.yaml could lift it: (\w+): ", error)
    with (taken.root / "generator.yaml").open("a", encoding="utf-8") as file:
        file.write(f"{key}: {setting}\n")
    assert taken.run(page)[0] == 0


def test_an_operation_that_cannot_be_modelled_can_be_left_out(taken: Taken) -> None:
    """An overlay action leaves one operation out, which the report lists, and the others are taken."""
    document = json.loads((PAGES / "r2c-textbody.json").read_text(encoding="utf-8"))
    other = json.loads((PAGES / "m-f1.json").read_text(encoding="utf-8"))
    document["paths"] |= other["paths"]
    document["components"] = other["components"]
    page = taken.root.parent / "two.json"
    page.write_text(json.dumps(document), encoding="utf-8")
    with (taken.root / "overlay.yaml").open("w", encoding="utf-8") as file:
        file.write(EMPTY.replace("[]", "[{target: \"$.paths['/v1/things'].post\", remove: true}]"))

    code, out, error = taken.run(page)

    assert (code, error) == (0, "")
    assert "NOTE   /paths/~1v1~1things/post: left out by overlay.yaml" in out
    assert not list((taken.root / "generated/duomi_api/api").rglob("*things*"))


JOINED: dict[tuple[str, str], str] = {
    ("m-f1.json", "m-f2.json"): "",
    ("m-c1.json", "m-c2.json"): "",
    ("m-g1.json", "m-g2.json"): "",
    ("m-f1.json", "m-303.json"): "",
    ("m-f1.json", "m-h31.json"): "",
}


@pytest.mark.parametrize("pages", JOINED)
def test_pages_that_say_it_in_other_words_are_one_contract(taken: Taken, pages: tuple[str, str]) -> None:
    """Other texts, tags and extensions on two pages are no contradiction."""
    code, out, error = taken.run(*pages)

    assert (code, error) == (0, "")
    assert " differ; " not in out
    assert {file.name for file in (taken.root / "pages").iterdir()} == set(pages)
    for page in pages:
        assert (taken.root / "pages" / page).read_text(encoding="utf-8") == (PAGES / page).read_text(encoding="utf-8")


def test_pages_of_one_name_are_kept_beside_each_other(taken: Taken) -> None:
    """Pages of two folders with the same name are both kept, also where the system does not tell capitals apart."""
    pages = []
    for folder, page in (("one", "m-f1.json"), ("two", "m-f2.json")):
        (taken.root.parent / folder).mkdir()
        pages.append(
            Path(shutil.copy(PAGES / page, taken.root.parent / folder / ("a.json" if folder == "one" else "A.json")))
        )

    code, _, error = taken.run(*pages)

    assert (code, error) == (0, "")
    kept = {file.name: file.read_bytes() for file in (taken.root / "pages").iterdir()}
    assert kept == {"a.json": pages[0].read_bytes(), "A-2.json": pages[1].read_bytes()}


LOCALS = [
    "headers",
    "params",
    "cookies",
    "body",
    "quote",
    "sync_detailed",
    "asyncio_detailed",
    "client",
    "url",
    "kwargs",
    "json",
]
FIELDS = [
    "cls", "d", "self", "field_dict", "additional_properties", "additional_keys", "to_dict", "from_dict", "cast", "isoparse", "prop", "prop_name",
]  # fmt: skip


@pytest.mark.parametrize("where", ["query", "header", "cookie", "path"])
def test_names_that_the_generated_code_uses_itself_are_free(taken: Taken, where: str) -> None:
    """A parameter or a field may have the name of anything in the generated code; the client that comes out works."""
    path = "/v1/things" + "".join(f"/{{{name}}}" for name in LOCALS if where == "path")
    time = {"type": "string", "format": "date-time"}
    fields: dict[str, Any] = {name: {"anyOf": [time, {"type": "integer"}]} for name in FIELDS} | {"at": time}
    body = {
        "type": "object",
        "properties": fields,
        "required": FIELDS,
        "additionalProperties": {"type": "string", "format": "date"},
    }
    content = {"application/json": {"schema": body}}
    parameters = [
        {"name": name, "in": place, "required": place in {where, "path"}, "schema": {"type": "string"}}
        for name in LOCALS
        for place in dict.fromkeys([where, "header"])
    ]
    operation = {
        "parameters": parameters,
        "requestBody": {"content": content},
        "responses": {"200": {"description": "", "content": content}},
    }
    document = {"openapi": "3.0.1", "info": {"title": "", "version": "1"}, "paths": {path: {"post": operation}}}
    page = taken.root.parent / "page.json"
    page.write_text(json.dumps(document), encoding="utf-8")

    code, out, error = taken.run(page)

    assert (code, error) == (0, "")
    assert "not proven" not in out


def test_schemas_inside_themselves_are_joined_under_other_names(taken: Taken) -> None:
    """Two pages may call one recursive schema by different names."""
    for name, field in (("Node", "a"), ("Tree", "b")):
        page = json.loads((PAGES / "m-f1.json").read_text(encoding="utf-8"))
        own = {"$ref": f"#/components/schemas/{name}"}
        fields = {"kids": {"type": "array", "items": own}, field: {"type": "string"}}
        page["components"] = {"schemas": {name: {"type": "object", "properties": fields}}}
        (operation,) = (item["get"] for item in page["paths"].values())
        operation["responses"]["200"]["content"] = {"application/json": {"schema": own}}
        (taken.root.parent / f"{name}.json").write_text(json.dumps(page), encoding="utf-8")

    code, _, error = taken.run(taken.root.parent / "Node.json", taken.root.parent / "Tree.json")

    assert (code, error) == (0, "")
    contract = yaml.safe_load((taken.root / "openapi.yaml").read_text(encoding="utf-8"))
    (operation,) = (item["get"] for item in contract["paths"].values())
    assert set(operation["responses"]["200"]["content"]["application/json"]["schema"]["properties"]) == {
        "kids",
        "a",
        "b",
    }


def test_a_page_says_which_of_two_objects_is_read(taken: Taken) -> None:
    """Where nothing tells the objects of a union apart, the report says as which one an answer is read."""
    one, two = ({"type": "object", "properties": {name: {"type": "string"}}} for name in ("data", "error"))
    page = json.loads((PAGES / "d-a1.json").read_text(encoding="utf-8"))
    (operation,) = (item["post"] for item in page["paths"].values())
    operation["responses"]["200"]["content"]["application/json"]["schema"] = {"oneOf": [one, two]}
    (taken.root.parent / "page.json").write_text(json.dumps(page), encoding="utf-8")

    code, out, error = taken.run(taken.root.parent / "page.json")

    assert (code, error) == (0, "")
    assert "/schema/oneOf/1: in an answer it is read as " in out


def test_a_page_says_which_of_several_types_does_not_come_back(taken: Taken) -> None:
    """Where the client turns one of several types into another, the report says so."""
    times = {"oneOf": [TEXT | {"format": "date-time"}, TEXT | {"format": "date"}]}
    page = json.loads((PAGES / "d-a1.json").read_text(encoding="utf-8"))
    (operation,) = (item["post"] for item in page["paths"].values())
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    schema["properties"] |= {"at": times, "many": {"oneOf": [TEXT, NUMBER, {"type": "array", "items": NUMBER}]}}
    (taken.root.parent / "page.json").write_text(json.dumps(page), encoding="utf-8")

    code, out, error = taken.run(taken.root.parent / "page.json")

    assert (code, error) == (0, "")
    (line,) = [line for line in out.splitlines() if "since it is one of several types" in line]
    assert line.startswith("REVIEW ")
    assert "/properties/at/oneOf/1: '2025-01-02' becomes '2025-01-02T00:00:00'" in line


def written(folder: Path, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> Path:
    """Write a page of one operation, and return its path."""
    page = folder / "page.json"
    document = {"openapi": "3.0.1", "info": {}, "paths": {"/v1/one": {method: operation}}}
    page.write_text(json.dumps(document | {"components": {"schemas": schemas}}), encoding="utf-8")
    return page


def answering(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"operationId": name, "responses": {"200": {"description": "", "content": content}}}


def test_a_form_says_true_and_leaves_null_out(taken: Taken) -> None:
    """A multipart form has booleans as JSON has them, numbers as text, and nothing for null."""
    text = TEXT | {"nullable": True}
    fields = {
        "on": {"type": "boolean"},
        "none": text,
        "any": {},
        "many": {"type": "array", "items": text},
        "n": {"const": 1},
    }
    form = {"multipart/form-data": {"schema": {"type": "object", "properties": fields}}}
    operation = {"operationId": "send", "requestBody": {"required": True, "content": form}, "responses": {}}

    code, out, error = taken.run(written(taken.root.parent, "post", operation, {}))

    assert (code, error, "not proven" in out) == (0, "", False)
    models = load(taken.root / "generated").models
    form = models.SendBody(on=True, none=None, any_=None, many=[None, "a"], n=1).to_multipart()
    assert [(name, content) for name, (_, content, _) in form] == [("on", b"true"), ("many", b"a"), ("n", b"1")]


def test_a_class_without_capitals_may_stand_inside_itself(taken: Taken) -> None:
    """A Chinese name is the same as a class and as a variable, and the client that comes out works all the same."""
    tree = {"$ref": "#/components/schemas/节点"}
    more = {"type": "object", "properties": {"x": {"type": "string"}}}
    schemas = {
        "节点": {"type": "object", "properties": {"子": {"type": "array", "items": tree}, "父": tree, "data": more}}
    }

    code, out, error = taken.run(written(taken.root.parent, "get", answering("get_tree", tree), schemas))

    assert (code, error, "not proven" in out) == (0, "", False)
    models = load(taken.root / "generated").models
    value = {"子": [{"子": [], "data": {"x": "a"}}], "父": {"父": {}}}
    assert models.节点.from_dict(value).to_dict() == value


def test_the_objects_of_a_union_are_told_apart_by_the_one_value_of_a_field(taken: Taken) -> None:
    """An enum of one value is open elsewhere, but between the objects of a union it decides."""
    schemas: dict[str, Any] = {
        kind: {
            "type": "object",
            "properties": {"type": {"type": "string", "enum": [kind.lower()]}, "url": {"type": "string"}},
            "required": ["type"],
        }
        for kind in ("Image", "Video", "Voice")
    }
    union = {"oneOf": [{"$ref": f"#/components/schemas/{kind}"} for kind in schemas]}
    answer = {"type": "object", "properties": {"parts": {"type": "array", "items": union}}}

    code, out, error = taken.run(written(taken.root.parent, "get", answering("get_parts", answer), schemas))

    assert (code, error) == (0, "")
    assert "/properties/parts/items/oneOf: 'type' has one value in each, which is said as a constant" in out
    models = load(taken.root / "generated").models
    parts = [{"type": kind.lower(), "url": "u"} for kind in reversed(schemas)]
    found = models.GetPartsResponse200.from_dict({"parts": parts}).parts
    assert [type(part).__name__ for part in found] == list(reversed(schemas))


REF = {"$ref": "#/components/schemas/A"}
INNER = {"type": "object", "properties": {"i": {"type": "object", "properties": {"z": TEXT}}, "again": REF}}
# A field, the component that it names, values that come back as they were, the type in the code, and what is said.
FIELDS_READ: dict[str, tuple[Part, Part, list[Any], str, str]] = {
    "an enum or null": (
        {"type": "string", "enum": ["a", "b"], "nullable": True}, {}, ["a", None],
        "x: GetOneResponse200XType1 | None | Unset", "/x/enum: null is one of its values",
    ),
    "an enum or null in a list of types": (
        {"type": ["string", "null"], "enum": ["a", "b", None]}, {}, ["b", None], "x: GetOneResponse200XType1 | None | Unset", "",
    ),
    "a constant or null": (
        {"type": "string", "const": "D", "nullable": True}, {}, ["D", None],
        "x: GetOneResponse200XType1 | None | Unset", "/x/const: may be null, so it is said as an enum",
    ),
    "text with a description of its own": (
        {"allOf": [REF, {"description": "d"}]}, {"type": "string"}, ["t"], "x: str | Unset", "/x/allOf: has texts in a part of their own",
    ),
    "an enum with null of its own": (
        {"allOf": [REF, {"nullable": True}]}, {"type": "string", "enum": ["a"]}, ["a", None], "x: A | None | Unset", "",
    ),
    "an object with a default": (
        {"allOf": [REF], "default": {"z": "d"}}, {"type": "object", "properties": {"z": TEXT}}, [{"z": "t"}],
        "x: A | Unset", "/x/default: the generated code has no such default",
    ),
    "a list or null without items": ({"type": ["array", "null"]}, {}, [[1, "t"], None], "x: list[Any] | None | Unset", "/x/items: is missing"),
    "null beside alternatives": (
        {"oneOf": [{"type": "string"}, {"type": "integer"}], "type": "null"}, {}, ["t", 1, None], "x: int | None | str | Unset", "/x/type: null stands",
    ),
    "an object or null, with an object in it and itself": (
        REF, {**INNER, "nullable": True}, [{"i": {"z": "t"}, "again": None}, None, {"again": {"i": {}}}],
        "x: AType0 | None | Unset", "/components/schemas/A: its object is a component of its own, A_type_0",
    ),
    "objects or null, with enums in them": (
        REF,
        {"oneOf": [{"type": "object", "properties": {"k": {"const": kind}, "v": {"enum": [kind, "c"]}}} for kind in "ab"], "nullable": True},
        [{"k": "b", "v": "b"}, None], "x: AType0 | AType1 | None | Unset", "its object is a component of its own",
    ),
    "fields beside a reference to a part": (
        {"$ref": "#/components/schemas/A/properties/i", "properties": {"b": TEXT}}, INNER, [{"z": "t", "b": "t"}],
        "x: GetOneResponse200X | Unset", "has fields beside it, so all stand in one object",
    ),
    "an object with an object in it, or text": (
        REF, {"oneOf": [INNER, {"type": "string"}]}, [{"i": {"z": "t"}, "again": "t"}, "t"], "x: AType0 | str | Unset", "A_type_0",
    ),
    "one of two constants that are true or false": (
        {"oneOf": [{"const": True}, {"const": False}]}, {}, [True, False], "x: bool | Unset", "/x/oneOf: True is one of other values, so any boolean",
    ),
    "a default with quotation marks, which the generator escapes twice": (
        {"type": "string", "default": 'say "hi"'}, {}, ['say "hi"'], "x: str | Unset = UNSET", "/x/default: 'say \"hi\"' is no such value in code",
    ),
    "texts that begin with no letter": (
        {"type": "string", "enum": ["9:16", "16:9", "", "b", "B", "1080P"]}, {}, ["9:16", "other"],
        'VALUE_9_16 = "9:16"', "/x/enum: its names would collide",
    ),
    "numbers that are not listed": ({"type": "integer", "enum": [3, -3]}, {}, [3, 7], "VALUE_NEGATIVE_3 = -3", ""),
    "a default of which the generator makes an error": (
        {"type": "integer", "default": "inf"}, {}, [1], "x: int | Unset", "/x/default: 'inf' is no such value",
    ),
    "a field beside a part that requires it": (
        {"allOf": [{"$ref": "#/components/schemas/Needs"}], "properties": {"id": TEXT, "m": TEXT}}, {}, [{"id": "t"}],
        "id: str\n", "/x/allOf: has fields beside it, so all stand in one object",
    ),
    "a number as text by default": ({"type": "number", "default": "5"}, {}, [5], "x: float | Unset = 5.0", ""),
    "NaN as a default": ({"type": "number", "default": "NaN"}, {}, [5], "x: float | Unset = UNSET", "'NaN' is no such value"),
    "a field that another part requires": (
        {"allOf": [REF, {"$ref": "#/components/schemas/Needs"}]}, {"type": "object", "properties": {"id": TEXT}}, [{"id": "t"}],
        "id: str\n", "/x/allOf/1: requires fields of the other parts: id",
    ),
    "a field that may never be given": (
        {"type": "object", "properties": {"never": False, "z": TEXT}}, {}, [{"z": "t"}], "z: str | Unset", "/x/properties/never: may never be given",
    ),
    "a file by its media type": (
        {"type": "string", "contentMediaType": "application/octet-stream"}, {}, ["t"], "x: str | Unset", "/x/contentMediaType: is said as the format",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS_READ)
def test_a_field_is_read_as_the_page_means_it(taken: Taken, name: str) -> None:
    """However a vendor's tool spells it, a field has the type that is meant, and its values come back."""
    field, component, values, hint, said = FIELDS_READ[name]
    answer = {"type": "object", "properties": {"x": field}}

    schemas = {"A": component, "Needs": {"type": "object", "required": ["id"]}}
    code, out, error = taken.run(written(taken.root.parent, "get", answering("get_one", answer), schemas))

    assert (code, error, "not proven" in out) == (0, "", False)
    assert said in out
    models = (taken.root / "generated/duomi_api/models").glob("*.py")
    assert hint in "".join(model.read_text(encoding="utf-8") for model in models)
    model = load(taken.root / "generated").models.GetOneResponse200
    assert [model.from_dict({"x": value}).to_dict()["x"] for value in values] == values


ELSEWHERE: dict[str, tuple[Part, str]] = {
    "a schema of another answer": (
        {"definitions": {"7": {"type": "object", "properties": {"again": {"$ref": "#/definitions/7"}, "a": TEXT}}}}, "#/definitions/7",
    ),
    "a part of a component": (
        {"components": {"schemas": {"B": {"type": "object", "properties": {"in": {"type": "object", "properties": {"a": TEXT}}}}}}},
        "#/components/schemas/B/properties/in",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_reference_may_lead_to_any_schema_of_the_page(taken: Taken, name: str) -> None:
    """What a reference finds outside of the components becomes one."""
    more, reference = ELSEWHERE[name]
    answer = {"type": "object", "properties": {"x": {"$ref": reference}}}
    page = written(taken.root.parent, "get", answering("get_one", answer), {})
    page.write_text(json.dumps(json.loads(page.read_text(encoding="utf-8")) | more), encoding="utf-8")

    code, out, error = taken.run(page)

    assert (code, error, "not proven" in out) == (0, "", False)
    assert f"{reference} is no component, so it is made one" in out
    model = load(taken.root / "generated").models.GetOneResponse200
    assert model.from_dict({"x": {"a": "t"}}).x.a == "t"


def test_a_parameter_or_an_answer_of_another_operation_is_copied(taken: Taken) -> None:
    """A reference to what is no schema and no component is the part that it finds."""
    page = written(taken.root.parent, "get", answering("get_one", OBJECT), {})
    document = json.loads(page.read_text(encoding="utf-8"))
    document["paths"]["/v1/one"]["get"]["parameters"] = [{"name": "q", "in": "query", "schema": TEXT}]
    place = "#/paths/~1v1~1one/get"
    two = {
        "operationId": "get_two",
        "parameters": [{"$ref": f"{place}/parameters/0"}],
        "responses": {"200": {"$ref": f"{place}/responses/200"}},
    }
    document["paths"]["/v1/two"] = {"get": two}
    page.write_text(json.dumps(document), encoding="utf-8")

    code, out, error = taken.run(page)

    assert (code, error) == (0, "")
    assert out.count("is no component, so it is copied") == 2
    assert "q: str | Unset" in taken.text("api/*/get_two.py")


LABELS: dict[str, Part] = {
    "descriptions": {"x-apifox-enum": [{"value": "a", "name": "", "description": "甲"}]},
    "labels": {"x-apidog-enum": [{"value": "a", "label": "甲"}]},
    "descriptions by value": {"x-apifox": {"enumDescriptions": {"a": "甲"}}},
}


@pytest.mark.parametrize("name", LABELS)
def test_an_enum_has_the_labels_of_the_page(taken: Taken, name: str) -> None:
    """Where a value has no name, what the page says of it in another place is its label."""
    answer = {"type": "object", "properties": {"x": {"type": "string", "enum": ["a"], **LABELS[name]}}}

    assert taken.run(written(taken.root.parent, "get", answering("get_one", answer), {}))[0] == 0

    assert load(taken.root / "generated").models.GetOneResponse200X("a").label == "甲"


FILES = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
# The media types of a body, the component that each has, what is sent, and what is said.
BODIES: dict[str, tuple[list[str], Part, str, str]] = {
    "JSON and a form with files": (
        ["application/json", "multipart/form-data"], FILES, "multipart/form-data", "application~1json: is left out, multipart/form-data",
    ),
    "JSON with files": (
        ["application/json"], FILES, "application/json", "JSON holds no bytes, so /components/schemas/A/properties/file is text",
    ),
    "JSON with a field `payload`": (["application/json"], {"type": "object", "properties": {"payload": OBJECT}}, "application/json", ""),
    "other JSON first": (
        ["application/*+json", "application/json-patch+json", "application/json"], OBJECT, "application/json", "*+json: is left out",
    ),
    "a Content-Type to give": (["application/json"], OBJECT, "application/json", "the body says its type, so it need not be given"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_sent_in_the_form_that_holds_it(taken: Taken, name: str) -> None:
    """Of several media types the one is sent that every server reads, and files are sent as files where they can be."""
    media, component, sent, said = BODIES[name]
    header = {"name": "Content-Type", "in": "header", "required": True, "schema": {"type": "string"}}
    body = {"required": True, "content": {each: {"schema": REF} for each in media}}
    operation = {
        "operationId": "send",
        "requestBody": body,
        "responses": {},
        "parameters": [header] * (said[:3] == "the"),
    }

    code, out, error = taken.run(written(taken.root.parent, "post", operation, {"A": component}))

    assert (code, error, "not proven" in out) == (0, "", False)
    assert said in out
    text = taken.text("api/*/send.py")
    assert ('"files"' in text, f'headers["Content-Type"] = "{sent}"' in text) == (
        sent.startswith("multi"),
        not sent.startswith("multi"),
    )


# The path, its parameters, the code that comes out, and what is said.
PARAMETERS_TAKEN: dict[str, tuple[str, list[Part], str, str]] = {
    "a header twice, in other letters": (
        "/a", [{"name": "X-A", "in": "header"}, {"name": "x-a", "in": "header"}], "x_a: str | Unset",
        "NOTE   /paths/~1a/get/parameters/1: there is a header parameter 'x-a' before it",
    ),
    "a header with a default in Chinese": (
        "/a", [{"name": "X-A", "in": "header", "schema": {"type": "string", "default": "Bearer 密钥"}}], "x_a: str | Unset = UNSET",
        "NOTE   /paths/~1a/get/parameters/0/schema/default: a header is ASCII, so its default is left out",
    ),
    "a query in the path, beside another": (
        "/a?action=list", [{"name": "page", "in": "query", "schema": {"type": "integer"}}], '"url": "/a?action=list"',
        "REVIEW /paths/~1a?action=list/get: the generated function sends no 'action=list' beside its parameters",
    ),
    "a query in the path": ("/a?action=list", [], '"url": "/a?action=list"', ""),
    "a whole address": (
        "https://elsewhere.example/a", [], '"url": "https://elsewhere.example/a"',
        "REVIEW /paths/https:~1~1elsewhere.example~1a: is a whole address, which is asked with the key",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS_TAKEN)
def test_a_parameter_that_http_sends_otherwise_is_told(taken: Taken, name: str) -> None:
    """What no request can say as the page says it is left out or told."""
    path, parameters, code_made, said = PARAMETERS_TAKEN[name]
    page = taken.root.parent / "page.json"
    operation = {"operationId": "ask", "parameters": parameters, "responses": {}}
    page.write_text(json.dumps({"openapi": "3.0.1", "info": {}, "paths": {path: {"get": operation}}}), encoding="utf-8")

    code, out, error = taken.run(page)

    assert (code, error) == (0, "")
    assert said in out
    assert code_made in taken.text("api/*/ask.py")


def test_paths_of_one_name_have_the_same_modules_in_any_order(taken: Taken) -> None:
    """Which of two paths has the plain name does not depend on the order in which the page lists them."""
    made = []
    for paths in (["/jobs", "/jobs/"], ["/jobs/", "/jobs"]):
        page = taken.root.parent / "page.json"
        operations: dict[str, Any] = {path: {"get": {"responses": {}}} for path in paths}
        page.write_text(json.dumps({"openapi": "3.0.1", "info": {}, "paths": operations}), encoding="utf-8")
        assert taken.run(page)[0] == 0
        folder = taken.root / "generated/duomi_api/api"
        made.append({file.stem: file.read_text(encoding="utf-8") for file in folder.glob("*/[a-z]*.py")})

    assert made[0] == made[1]


# An enum, and the enum of the same field later.
ENUMS_LATER = [
    (["<", ">"], ["<", ">", "="]),
    (["1"], ["1", "-1"]),
    (["a_b"], ["a_b", "A-b"]),
    (["HD"], ["hd", "HD"]),
    (["16:9", "1:1"], ["21:9", "1:1", "16:9"]),
    (["1"], ["１", "1"]),
    (["class", "mro"], ["mro", "class", "1", ""]),
    ([1, -1], [-1, 0, 1]),
]


@pytest.mark.parametrize(("before", "after"), ENUMS_LATER)
def test_a_value_never_takes_the_name_of_another(taken: Taken, before: list[Any], after: list[Any]) -> None:
    """A name in an enum means the same value after values were added or moved, or it is gone."""
    found: list[dict[str, Any]] = []
    for values in (before, after):
        schema = {"type": "object", "properties": {"x": {"enum": values}}}
        code, _, error = taken.run(written(taken.root.parent, "get", answering("get_one", schema), {}))
        assert (code, error) == (0, "")
        made = load(taken.root / "generated").models.GetOneResponse200X
        found.append({name: each.value for name, each in made.__members__.items()})

    assert sorted(map(str, found[1].values())) == sorted(map(str, after))
    assert all(found[1].get(name, value) == value for name, value in found[0].items())


def test_a_path_with_another_name_for_its_parameter_is_told(taken: Taken) -> None:
    """Where a page calls a path's parameter otherwise, both paths are made, and the report says so."""
    page = taken.root.parent / "page.md"
    text = (PAGES.parent / "query-task.md").read_text(encoding="utf-8")
    page.write_text(text.replace("task_id", "id"), encoding="utf-8")

    code, out, error = taken.run(page, only=False)

    assert (code, error) == (0, "")
    assert (
        "REVIEW /paths/~1v1~1videos~1tasks~1{task_id}: is /v1/videos/tasks/{id} with other names for its parameters"
        in out
    )


def test_a_key_that_stands_twice_is_an_error(taken: Taken) -> None:
    """Of two paths of one name a reader of YAML would lose one; keys that a merge brings do not count."""
    one = "  /a: {get: {responses: {}}}\n"
    text = f"openapi: 3.0.1\ninfo: {{}}\nx-a: &a {{<<: &b {{x: 1}}, x: 2}}\nx-c: {{<<: [*a, *b], x: 3}}\npaths:\n{one}"
    page = taken.root.parent / "page.yaml"
    page.write_text(text, encoding="utf-8")
    assert taken.run(page)[0] == 0

    page.write_text(text + one, encoding="utf-8")

    assert taken.run(page)[2] == f"{page}: not YAML: the key '/a' stands twice (line 7)\n"


@pytest.mark.parametrize("language", ["", "yaml", "json"])
def test_a_block_that_names_no_language_is_read_if_there_is_no_other(taken: Taken, language: str) -> None:
    """A page may put its contract between plain fences, and an example beside it."""
    page = taken.root.parent / "page.md"
    contract = {"openapi": "3.0.1", "info": {}, "paths": {"/a": {"get": {"operationId": "ask", "responses": {}}}}}
    block = f"```{language}\n{json.dumps(contract)}\n```\n"
    page.write_text(f"# A\n\n```\ncurl https://h\n```\n\n{block}", encoding="utf-8")

    assert taken.run(page)[0] == 0
    assert taken.text("api/*/ask.py")


# Paths, the name of each operation or none, its module without the number that a path makes, and what is said.
PATHS_TAKEN: dict[str, tuple[dict[str, str], list[str], str]] = {
    "a slash at the end": (
        {"/jobs": "", "/jobs/": ""}, ["list_jobs_", "list_jobs_"], "$.paths['/jobs/'].get\", update: {operationId: list_jobs_2}",
    ),
    "one name for two": (
        {"/a/{x}/b": "get_a_x_b", "/c": "get_a_x_b", "/a/x/b": ""}, ["get_a_x_b", "get_a_x_b_", "get_c"], "/paths/~1c/get/operationId: 'get_a_x_b' is another",
    ),
    "a fragment": ({"/jobs#sora": "getJobs"}, ["get_jobs"], "REVIEW /paths/~1jobs#sora: no request has what stands behind #"),
}  # fmt: skip


@pytest.mark.parametrize("name", PATHS_TAKEN)
def test_paths_that_differ_little_are_operations_of_their_own(taken: Taken, name: str) -> None:
    """Each path of a page is an operation with a module, whatever the page calls it."""
    paths, modules, said = PATHS_TAKEN[name]
    page = taken.root.parent / "page.json"
    operations: dict[str, Any] = {
        path: {"get": {"responses": {}} | ({"operationId": made} if made else {})} for path, made in paths.items()
    }
    page.write_text(json.dumps({"openapi": "3.0.1", "info": {}, "paths": operations}), encoding="utf-8")

    code, out, error = taken.run(page)

    assert (code, error) == (0, "")
    assert said in out
    made = [file.stem for file in (taken.root / "generated/duomi_api/api").glob("*/[a-z]*.py")]
    assert sorted(re.sub(r"_[0-9a-f]{8}$", "_", name) for name in made) == sorted(modules)


# The servers of a page, the server of the client, and what is said.
SERVERS: dict[str, tuple[list[Part], str, str]] = {
    "none with a host": ([{"url": ""}, {"url": "/api/v1"}], "https://duomiapi.com", "NOTE   /servers: no address has a host"),
    "one with a host": ([{"url": ""}, {"url": "https://duomiapi.com/v2"}], "https://duomiapi.com/v2", "NOTE   /servers/0: '' has no host"),
    "a host in a variable": (
        [{"url": "{base}/v3", "variables": {"base": {"default": "https://duomiapi.com"}}}], "https://duomiapi.com/v3", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_without_a_host_is_none(taken: Taken, name: str) -> None:
    """A page whose address has no host keeps the contract's server."""
    servers, server, said = SERVERS[name]
    page = written(taken.root.parent, "get", answering("get_one", OBJECT), {})
    page.write_text(json.dumps(json.loads(page.read_text(encoding="utf-8")) | {"servers": servers}), encoding="utf-8")

    code, out, error = taken.run(page)

    assert (code, error) == (0, "")
    assert said in out
    assert f'SERVER: Final[str] = "{server}"' in taken.text("contract.py")


def test_a_page_of_another_host_behind_one_without_is_refused(taken: Taken) -> None:
    """The host of a page is that of its first server that has one."""
    page = written(taken.root.parent, "get", answering("get_one", OBJECT), {})
    servers = [{"url": ""}, {"url": "https://b.example.com"}]
    page.write_text(json.dumps(json.loads(page.read_text(encoding="utf-8")) | {"servers": servers}), encoding="utf-8")

    code, out, error = taken.run(page, only=False)

    assert (code, out) == (1, "")
    assert "/servers: is of b.example.com, and the contract of duomiapi.com" in error


def test_two_schemas_of_one_title_have_their_own_names(taken: Taken) -> None:
    """FastAPI gives what is sent and what is answered one title; the components' names are their classes'."""
    schemas = {f"Item-{kind}": {"title": "Item", **OBJECT} for kind in ("Input", "Output")}
    answer = {"type": "object", "properties": {n: {"$ref": f"#/components/schemas/{n}"} for n in schemas}}

    code, out, error = taken.run(written(taken.root.parent, "get", answering("get_one", answer), schemas))

    assert (code, error) == (0, "")
    assert out.count("/title: another schema has it, too, so it is left out") == 2
    assert {"ItemInput", "ItemOutput"} <= set(load(taken.root / "generated").models.__all__)


def test_an_answer_that_no_function_returns_is_told(taken: Taken) -> None:
    """A page with an example and no schema says nothing of the type, and the report where the body is."""
    operation = {
        "operationId": "get_one",
        "responses": {"200": {"description": "", "content": {"application/json": {"example": {"a": 1}}}}},
    }

    code, out, _ = taken.run(written(taken.root.parent, "get", operation, {}))

    assert code == 0
    assert (
        "REVIEW /paths/~1v1~1one/get/responses/200/content/application~1json/schema: the generated function returns nothing that"
        in out
    )


EXAMPLES: dict[str, tuple[Any, str]] = {
    "JSON as text": ('{\n "a": "b"}', ""),
    "another type inside": ({"a": "2025-01-02", "list": [{"n": 5}]}, "/list/0/n is 5, not array"),
    "a number": ({"a": 1}, "/a is 1, not date"),
    "a field too few": ({}, "/a is missing"),
    "a date in another form": ({"a": "2025/01/02"}, '/a is "2025/01/02", not date'),
    "a number as text, which the model takes": ({"a": "2025-01-02", "count": "5"}, '/count is "5", not integer'),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_report_says_where_an_example_does_not_fit(taken: Taken, name: str) -> None:
    """A line about an example names the place in it, the value, and the types that the page gives."""
    example, said = EXAMPLES[name]
    item = {"type": "object", "properties": {"n": {"type": "array", "items": TEXT | {"format": "date"}}}}
    answer = {
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {"type": "string", "format": "date"},
            "count": {"type": "integer"},
            "list": {"type": "array", "items": item},
        },
    }
    operation = answering("get_one", answer)
    operation["responses"]["200"]["content"]["application/json"]["example"] = example

    code, out, _ = taken.run(written(taken.root.parent, "get", operation, {}))

    assert code == 0
    assert said in out


def test_a_line_that_holds_in_many_places_is_said_once(taken: Taken) -> None:
    """Of what a page writes everywhere the report shows one place, and how many more there are."""
    fields = {f"f{n}": {"type": "int"} for n in range(30)}

    _, out, _ = taken.run(
        written(taken.root.parent, "get", answering("get_one", {"type": "object", "properties": fields}), {})
    )

    assert "/properties/f0/type: 'int' is said as integer (and in 29 more places)" in out
    assert out.count("is said as integer") == 1


def test_names_that_lift_collisions_are_new_in_each_run(taken: Taken) -> None:
    """A maintainer who follows one line at a time is not given a name twice."""
    said: list[str] = []
    titles = [{"type": "object", "title": "T", "properties": {"a": TEXT}} for _ in range(3)]
    for applied in range(3):
        for number, each in enumerate(titles[:applied]):
            each["title"] = f"AnotherName{number + 1}"
        fields = {f"x{n}": each for n, each in enumerate(titles)}
        code, _, error = taken.run(
            written(taken.root.parent, "get", answering("get_one", {"type": "object", "properties": fields}), {})
        )
        said += re.findall(r"title: (AnotherName\d+)", error)[:1]
    assert (code, said) == (0, ["AnotherName1", "AnotherName2"])


def test_pages_with_servers_of_another_path_are_joined_with_a_line(taken: Taken) -> None:
    """Of two servers of one host the first is taken, and the report says so."""
    for name, url in (("one", "https://api.example.com/v1"), ("two", "https://api.example.com/v2/")):
        page = json.loads((PAGES / "m-f1.json").read_text(encoding="utf-8")) | {"servers": [{"url": url}]}
        (taken.root.parent / f"{name}.json").write_text(json.dumps(page), encoding="utf-8")

    code, out, error = taken.run(taken.root.parent / "one.json", taken.root.parent / "two.json")

    assert (code, error) == (0, "")
    assert "two.json differ; https://api.example.com/v1 is taken" in out


BASE, TREE, KIND = ({"$ref": f"#/components/schemas/{name}"} for name in ("Base", "Tree", "Kind"))
SCHEMAS_OF_ALL_KINDS: dict[str, Part] = {
    **{f"form {form}": TEXT | {"format": form} for form in ("date", "date-time", "uuid", "byte", "uri", "int32", "time")},
    **{f"type {kind}": {"type": kind} for kind in ("integer", "number", "boolean", "object", "null", "Integer", "file", "map")},
    "3.1's null": {"type": ["string", "null"]},
    "several types": {"type": ["array", "string", "null"], "items": NUMBER},
    "a list of dates": {"type": "array", "items": TEXT | {"format": "date"}},
    "a list in a list": {"type": "array", "items": {"type": "array", "items": OBJECT}},
    "a tuple": {"type": "array", "prefixItems": [TEXT, NUMBER]},
    "items that are false": {"type": "array", "items": False, "prefixItems": [TEXT]},
    "a map of text": {"type": "object", "additionalProperties": TEXT},
    "a map of maps": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": BASE}},
    "a map of dates": {"type": "object", "properties": {"a": TEXT}, "additionalProperties": TEXT | {"format": "date"}},
    "a map of anything": {"type": "object", "additionalProperties": True},
    "no more fields": OBJECT | {"additionalProperties": False},
    "one of two objects": {"oneOf": [OBJECT, {"type": "object", "properties": {"b": NUMBER}, "required": ["b"]}]},
    "one of a date and a number": {"anyOf": [TEXT | {"format": "date"}, NUMBER]},
    "one of a list and null": {"oneOf": [{"type": "null"}, {"type": "array", "items": BASE}]},
    "one of one": {"oneOf": [BASE]},
    "one of several, or null": {"oneOf": [BASE, NUMBER], "nullable": True},
    "any of several, or null": {"anyOf": [TEXT, NUMBER], "nullable": True},
    "all of": {"allOf": [BASE, OBJECT]},
    "all of one, with words": {"allOf": [BASE, {"description": "说明"}]},
    "all of one, or null": {"allOf": [BASE], "nullable": True},
    "all of one and a list of names": {"allOf": [BASE, {"required": ["id"]}]},
    "itself": TREE,
    "a shared enum": KIND,
    "a shared enum with a default": {"allOf": [KIND], "default": "x"},
    "an enum of numbers": {"type": "integer", "enum": [-1, 0, 1]},
    "an enum of signs": TEXT | {"enum": ["+", "-", "16:9", "甲", "", "😀", "None", "mro", "name"]},
    "an enum with null": {"enum": ["a", None]},
    "an enum with a capital": TEXT | {"enum": ["ok", "OK"]},
    **{f"constant {value!r}": {"const": value} for value in ("a", 3, True, [1], {"a": 1})},
    "a default date": TEXT | {"format": "date", "default": "2020-01-02"},
    "a default for null": {"type": "integer", "nullable": True, "default": 3},
    "a default that is none": {"type": "number", "default": "many"},
    "words only": {"description": "随便", "title": "标题"},
    "a number that has no type": {"minimum": 1, "exclusiveMinimum": True},
}  # fmt: skip


@pytest.mark.parametrize("version", ["3.0.1", "3.1.0"])
def test_every_kind_of_schema_is_taken_wherever_it_stands(taken: Taken, version: str) -> None:
    """A schema of any kind can be a field, a body, an answer and a parameter, and nothing of it is left unproven."""
    paths: dict[str, Any] = {}
    for number, schema in enumerate(SCHEMAS_OF_ALL_KINDS.values()):
        fields = {"type": "object", "properties": {"必填": schema, "optional": schema}, "required": ["必填"]}
        places = ["query", "header", "cookie", "path"]
        parameters = [{"name": place, "in": place, "required": place == "path", "schema": schema} for place in places]
        one, two = ({"application/json": {"schema": each}} for each in (schema, fields))
        answers = {"200": {"description": "", "content": one}, "default": {"description": "", "content": two}}
        paths |= {
            f"/a{number}/{{path}}": {
                "post": {"parameters": parameters, "requestBody": {"content": one}, "responses": answers}
            },
            f"/b{number}": {
                "put": {"requestBody": {"required": True, "content": two}, "responses": {"2XX": answers["200"]}}
            },
        }
    schemas = {
        "Base": {"type": "object", "properties": {"id": TEXT, "码": NUMBER}, "required": ["id"]},
        "Tree": {"type": "object", "properties": {"kids": {"type": "array", "items": TREE}, "parent": TREE}},
        "Kind": TEXT | {"enum": ["x", "y"], "x-apidog-enum": [{"value": "x", "name": "甲"}]},
    }
    document = {"openapi": version, "info": {}, "paths": paths, "components": {"schemas": schemas}}
    page = taken.root.parent / "page.json"
    page.write_text(json.dumps(document), encoding="utf-8")

    code, out, error = taken.run(page)

    assert (code, error) == (0, "")
    assert [line for line in out.splitlines() if "not proven" in line] == []


FORMS = ["multipart/form-data", "application/x-www-form-urlencoded"]


@pytest.mark.parametrize("media", FORMS)
def test_every_kind_of_form_is_taken(taken: Taken, media: str) -> None:
    """A form may be of any schema, referred to or in place, needed or not."""
    file = TEXT | {"format": "binary"}
    bodies: list[Part] = [
        OBJECT, {"type": "object"}, TEXT, OBJECT | {"nullable": True}, {"allOf": [BASE, OBJECT]}, BASE,
        *({"type": "object", "properties": {"x": {"type": kind, "items": TEXT}}} for kind in ("integer", "boolean", "array", "object", "file")),
        {"type": "object", "properties": {"n": {"const": 1}}, "required": ["n"]},
        {"type": "object", "properties": {"f": file, "many": {"type": "array", "items": file}, "at": TEXT | {"format": "date-time"}}},
    ]  # fmt: skip
    if media == "application/x-www-form-urlencoded":
        bodies.pop()
    paths = {
        f"/{required}{number}": {"post": {"requestBody": {"$ref": f"#/components/requestBodies/{required}{number}"}, "responses": {}}}
        for number in range(len(bodies)) for required in (True, False)
    }  # fmt: skip
    shared = {
        f"{required}{number}": {"required": required, "content": {media: {"schema": schema}, "text/x": None}}
        for number, schema in enumerate(bodies) for required in (True, False)
    }  # fmt: skip
    components = {"schemas": {"Base": OBJECT}, "requestBodies": shared}
    page = taken.root.parent / "page.json"
    page.write_text(
        json.dumps({"openapi": "3.0", "info": {}, "paths": paths, "components": components}), encoding="utf-8"
    )

    code, out, error = taken.run(page)

    assert (code, error) == (0, "")
    assert [line for line in out.splitlines() if "not proven" in line] == []


def test_types_that_cannot_be_joined_are_an_error(taken: Taken) -> None:
    """The error of a type that differs names both files and the pointer."""
    code, out, error = taken.run("m-d1.json", "m-d2.json")

    assert (code, out, len(error.splitlines())) == (1, "", 1)
    assert str(PAGES / "m-d1.json") in error
    assert str(PAGES / "m-d2.json") in error
    assert "/components/schemas/Base/properties/id/type" in error


@pytest.mark.parametrize("name", ["Base", "Base任务"])
def test_the_line_of_a_contradiction_lifts_it(taken: Taken, name: str) -> None:
    """Where two pages contradict each other overlay.yaml may say what shall be, in the words of the message."""
    pages = [taken.root.parent / page for page in ("m-d1.json", "m-d2.json")]
    for page in pages:
        page.write_text((PAGES / page.name).read_text(encoding="utf-8").replace("Base", name), encoding="utf-8")
    action = f"{{target: \"$.components.schemas['{name}'].properties.id\", update: {{description: d}}}}"
    (taken.root / "overlay.yaml").write_text(EMPTY.replace("[]", f"[{action}]"), encoding="utf-8")
    _, _, error = taken.run(*pages)
    line = re.search(r"overlay.yaml could lift it: (\{target: .*\})$", error.strip())
    assert line is not None
    for value in ("integer", "boolean"):
        action = re.sub(r"type: \w+", f"type: {value}", line[1])
        (taken.root / "overlay.yaml").write_text(EMPTY.replace("[]", f"[{action}]"), encoding="utf-8")

        code, _, error = taken.run(*pages)

        assert (code, error) == (0, "")
        assert f"id: {value[:3]}" in taken.text("models/base*.py").replace("boolean", "bool")


def test_all_contradictions_are_told_at_once(taken: Taken) -> None:
    """A line names each place in which two pages contradict each other."""
    for name, kind in (("a", "string"), ("b", "integer")):
        answer = {"type": "object", "properties": {field: {"type": kind} for field in "xy"}}
        page = written(taken.root.parent, "get", answering("get_one", answer), {})
        page.replace(page.with_name(f"{name}.json"))

    code, out, error = taken.run(*(taken.root.parent / f"{name}.json" for name in "ab"))

    assert (code, out) == (1, "")
    places = [line.partition(" at ")[2].partition(";")[0] for line in error.splitlines()]
    assert [place.rpartition("/properties")[2] for place in places] == ["/x/type", "/y/type"]


def test_bodies_that_differ_are_joined(taken: Taken) -> None:
    """Pages of one path with a model each become one operation that takes what either takes, and REVIEW lines say so."""
    page = json.loads((PAGES / "d-a1.json").read_text(encoding="utf-8"))
    for number, (values, required) in enumerate([(["a", "b"], ["kind", "prompt"]), (["b", "c"], ["kind"])]):
        body = page["paths"]["/v1/things"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        body["properties"]["kind"]["enum"] = values
        body["properties"][f"only{number}"] = {"type": "string"}
        body["required"] = required
        (taken.root.parent / f"{number}.json").write_text(json.dumps(page), encoding="utf-8")
        del body["properties"][f"only{number}"]

    code, out, error = taken.run(taken.root.parent / "0.json", taken.root.parent / "1.json")

    assert (code, error) == (0, "")
    body_text = taken.text("models/post_v1_things_body.py")
    assert "only0: str" in body_text
    assert "only1: str" in body_text
    assert all(f'"{value}"' in taken.text("models/post_v1_things_body_kind.py") for value in "abc")
    reviews = [line for line in out.splitlines() if line.startswith("REVIEW") and "differ" in line]
    assert [line.split(": ")[0].rpartition("/")[2] for line in reviews] == ["enum", "only0", "only1", "required"]
    assert all("0.json" in line and "1.json" in line for line in reviews)


SCHEMAS_JOINED: dict[str, tuple[Part, Part, Part]] = {
    "null of one page": ({"type": ["string", "null"]}, {"type": "String"}, {"type": ["null", "string"]}),
    "whole numbers and null": ({"type": ["integer", "null"]}, {"type": "number"}, {"type": ["null", "number"]}),
    "a type of one page alone, with null": ({"type": ["string", "null"]}, {"description": "x"}, {"description": "x"}),
    "schemas whose fields are taken": (
        {"x-apifox-refs": {"1": {"$ref": "#/a"}}},
        {"x-apifox-refs": {"1": {"$ref": "#/b"}}},
        {"x-apifox-refs": {"1": {"$ref": "#/a"}, "1 two.json": {"$ref": "#/b"}}},
    ),
    "numbers": ({"type": "integer"}, {"type": "number"}, {"type": "number"}),
    "null": ({"type": "string", "nullable": True}, {"type": "string"}, {"type": "string", "nullable": True}),
    "values": ({"enum": ["a"]}, {"enum": ["b", "a"]}, {"enum": ["a", "b"]}),
    "constants": ({"const": "a"}, {"const": "b"}, {"enum": ["a", "b"]}),
    "values and none": ({"type": "string", "enum": ["a"]}, {"type": "string"}, {"type": "string"}),
    "labels": (
        {"enum": [1], "x-apifox-enum": [{"value": 1, "name": "one"}]},
        {"enum": [2], "x-apifox-enum": [{"value": 2, "name": "two"}]},
        {"enum": [1, 2], "x-apifox-enum": [{"value": 1, "name": "one"}, {"value": 2, "name": "two"}]},
    ),
    "limits": ({"type": "string", "maxLength": 1}, {"type": "string", "maxLength": 2}, {"type": "string"}),
    "no type": ({"type": "string"}, {"description": "any"}, {"description": "any"}),
    "no type of an object": ({"type": "object"}, {"properties": {}}, {"type": "object", "properties": {}}),
    "items": (
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "number"}},
        {"type": "array", "items": {"type": "number"}},
    ),
    "null of one page, as an alternative": (
        {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "x"},
        {"type": "string"},
        {"description": "x", "type": "string", "nullable": True},
    ),
    "an allOf and fields": (
        {"allOf": [{"type": "object", "properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]},
        {"type": "object", "properties": {"a": {}, "c": {}}},
        {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "required": []},
    ),
    "alternatives": (
        {"oneOf": [{"type": "string"}, {"type": "array", "items": {}}]},
        {"anyOf": [{"type": "boolean"}, {"type": "string", "description": "x"}]},
        {"oneOf": [{"type": "string"}, {"type": "array", "items": {}}, {"type": "boolean"}]},
    ),
    "alternatives and one of them": (
        {"type": "string", "title": "x"},
        {"oneOf": [{"type": "string"}, {"type": "array", "items": {}}]},
        {"title": "x", "oneOf": [{"type": "string"}, {"type": "array", "items": {}}]},
    ),
    "alternatives with null and a default": (
        {"oneOf": [{"type": "string"}, {"type": "integer"}], "default": "x", "nullable": False},
        {"oneOf": [{"type": "string"}, {"type": "boolean"}], "nullable": True},
        {"oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "boolean"}], "nullable": True},
    ),
    "a reference": ({"$ref": "#/components/schemas/Base"}, {"type": "number"}, {"type": "number"}),
}


def joined(one: Part, two: Part) -> tuple[Part, list[str]]:
    """Join two pages of one operation, whose parts are given."""
    lines: list[str] = []
    base = {"openapi": "3.0.1", "components": {"schemas": {"Base": {"type": "integer"}}}}
    pages = [
        Page(f"{name}.json", "", base | {"paths": {"/v1/a": {"post": part}}})
        for name, part in (("one", one), ("two", two))
    ]
    return join(pages, lines)["paths"]["/v1/a"]["post"], lines


@pytest.mark.parametrize("name", SCHEMAS_JOINED)
def test_schemas_are_joined_as_widely_as_a_client_needs(name: str) -> None:
    """What fits one of two schemas fits the joined one, and a REVIEW line names both pages."""
    one, two, both = SCHEMAS_JOINED[name]

    operation, lines = joined(*({"requestBody": {"content": {"a/json": {"schema": part}}}} for part in (one, two)))

    assert operation["requestBody"]["content"]["a/json"]["schema"] == both
    assert lines
    assert all(re.match(r"REVIEW /paths/~1v1~1a/post/\S+: one.json and two.json differ; ", line) for line in lines)


def test_variants_in_another_order_with_other_texts_are_the_same() -> None:
    """Neither an order nor a text is a contradiction."""
    one: list[Part] = [{"type": "string", "description": "x"}, {"type": "array", "items": {}}]
    two: list[Part] = [{"type": "array", "items": {}}, {"type": "string"}]

    pages: list[Part] = [{"requestBody": {"content": {"a/json": {"schema": {"oneOf": each}}}}} for each in (one, two)]

    assert joined(*pages) == (pages[0], [])


def test_parameters_bodies_and_answers_are_joined() -> None:
    """What one page lacks need not be sent, and answers of either page are known."""
    there = {"name": "q", "in": "query", "required": True, "schema": {"type": "string"}}
    same = {"name": "id", "in": "query", "required": True, "schema": {"type": "integer"}}
    one = {"parameters": [there, same], "requestBody": {"required": True, "content": {}}, "responses": {"200": {}}}
    two = {"parameters": [same | {"required": False}], "responses": {"400": {}}}

    operation, lines = joined(one, two)

    assert [parameter["required"] for parameter in operation["parameters"]] == [False, False]
    assert operation["requestBody"]["required"] is False
    assert list(operation["responses"]) == ["200", "400"]
    assert [line.split(": ")[0].removeprefix("REVIEW /paths/~1v1~1a/post/") for line in lines] == [
        "parameters/0", "parameters/1/required", "requestBody/required",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "two"),
    [({"type": "string"}, {"type": "object"}), ({"anyOf": []}, {"anyOf": [{}]})],
)
def test_schemas_that_cannot_be_joined_are_an_error(one: Part, two: Part) -> None:
    """Types that have no wider one in common are an error with both pages and the pointer."""
    with pytest.raises(ContractError, match=r"one.json and two.json contradict each other at /paths/~1v1~1a/post/"):
        joined(*({"requestBody": {"content": {"a/json": {"schema": part}}}} for part in (one, two)))


def test_several_blocks_of_one_page_are_several_pages(taken: Taken) -> None:
    """Each yaml block of a Markdown page with a contract is a page."""
    blocks = ["m-f1.json", "m-d2.json"]
    text = "".join(f"```yaml\n{(PAGES / block).read_text(encoding='utf-8')}\n```\n" for block in blocks)
    page = taken.root.parent / "page.md"
    page.write_text(text.replace('"integer"', '"string"'), encoding="utf-8")

    code, _, error = taken.run(page)

    assert (code, error) == (0, "")
    contract = yaml.safe_load((taken.root / "openapi.yaml").read_text(encoding="utf-8"))
    assert list(contract["paths"]) == ["/v1/a", "/v1/b"]


@pytest.mark.parametrize("page", ["e3-noserver.json", "m-srv.json"])
@pytest.mark.parametrize("only", [True, False])
def test_a_page_without_a_server_keeps_the_old_one(taken: Taken, page: str, *, only: bool) -> None:
    """With `servers: []` the contract keeps its server, also if the page replaces all of its paths."""
    assert taken.run(page, only=only)[0] == 0

    assert 'SERVER: Final[str] = "https://duomiapi.com"' in taken.text("contract.py")


def test_a_page_of_another_host_needs_only(taken: Taken) -> None:
    """A page of another host is refused, and the message says that `--only` replaces all."""
    before = tree(taken.root)

    code, out, error = taken.run("d-a1.json", only=False)

    assert (code, out) == (1, "")
    assert "/servers: is of api.example.com, and the contract of duomiapi.com; --only replaces all" in error
    assert tree(taken.root) == before


@pytest.mark.parametrize(
    ("pair", "verdict", "said"),
    [
        ("a", "BREAK", '["fast", "slow"] -> ["fast"]'),
        ("b", "REVIEW", "does not come any more"),
        ("c", "REVIEW", '{"maxItems": 3}'),
        ("e", "NOTE", 'alike, old"] -> '),
    ],
)
def test_a_pair_of_pages_has_its_verdict(
    capsys: pytest.CaptureFixture[str], pair: str, verdict: str, said: str
) -> None:
    """`contract diff` of two pages begins with the verdict, and shows what differs."""
    commands.run(["diff", str(PAGES / f"d-{pair}1.json"), str(PAGES / f"d-{pair}2.json")])

    first, line = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{verdict}: 1 {verdict}; version bump: ")
    assert said in line


@pytest.fixture
def creating(checkout: Path) -> Callable[[str, Simulator], subprocess.CompletedProcess[str]]:
    """Run the commands of docs/creating.md in a copy of the tree, and return what runs a block of its Python."""
    shutil.copy(PAGES / "create-video.md", checkout)
    text = (ROOT / "docs/creating.md").read_text(encoding="utf-8")
    (commands_of_page,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    done = subprocess.run(["bash", "-ec", commands_of_page], cwd=checkout, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "update: {operationId: create_video_generation}" in done.stdout

    def run(start: str, simulator: Simulator) -> subprocess.CompletedProcess[str]:
        (block,) = [block for block in re.findall(r"```py\n(.*?)```", text, re.DOTALL) if start in block]
        with simulator.serve() as url:
            environment = os.environ | {
                "DUOMI_API_KEY": "sk-made-up-key", "DUOMI_BASE_URL": url, "DUOMI_POLL_INTERVAL": "0.01",
                "PYTHONPATH": f"{checkout / 'generated'}{os.pathsep}{ROOT / 'wrapper'}",
            }  # fmt: skip
            return subprocess.run(
                [sys.executable, "-c", block],
                cwd=checkout,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )

    return run


class Creating:
    """Answers what creates a video, and counts how often it is asked to."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.bodies: list[Any] = []

    def __call__(self, request: Request) -> Response | None:
        if request.method != "POST":
            return None
        self.bodies.append(request.json)
        return Response(json.dumps({"id": EXAMPLE_ID}), self.status, content_type="application/json")


@pytest.mark.slow
def test_a_video_is_created_as_the_page_says(
    creating: Callable[[str, Simulator], subprocess.CompletedProcess[str]], checkout: Path
) -> None:
    """The commands of the page add the operation, its ten lines create, wait and download, and the other recipe works."""
    answer = Creating(200)
    simulator = Simulator({EXAMPLE_ID: Script(pending=1, running=(50,))}, answer=answer)

    done = creating("create_video.sync_detailed", simulator)
    by_path = creating("get_httpx_client", simulator)

    assert (done.returncode, done.stderr) == (0, "")
    (saved,) = done.stdout.split()
    assert (checkout / saved).stat().st_size > 0
    assert (by_path.returncode, by_path.stderr) == (0, "")
    assert EXAMPLE_ID in by_path.stdout
    assert answer.bodies[0] == {"model": "small", "prompt": "A cat", "duration": 10}
    labels = (checkout / "generated/duomi_api/models/create_video_body_duration.py").read_text(encoding="utf-8")
    assert '{10: "短", 15: "长"}' in labels


@pytest.mark.slow
def test_a_video_is_created_once_whatever_the_answer(
    creating: Callable[[str, Simulator], subprocess.CompletedProcess[str]],
) -> None:
    """A POST that is answered 502 is sent once, because the task may exist."""
    answer = Creating(502)

    done = creating("create_video.sync_detailed", Simulator({}, answer=answer))

    assert done.returncode == 1
    assert "502" in done.stderr
    assert len(answer.bodies) == 1


BAD: dict[str, Callable[[], bytes]] = {
    "a YAML bomb": lambda: b"a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)
    ),
    "an alias of itself": lambda: b"openapi: 3.0.1\npaths: &a {b: *a}\n",
    "a Python tag": lambda: b"openapi: !!python/object/apply:os.system ['touch made']\n",
    "brackets": lambda: b"openapi: " + b"[" * 100_000,
    "braces": lambda: b'{"openapi":' * 100_000,
    "dashes": lambda: b"- " * 100_000,
    "indentation": lambda: b"".join(b" " * n + b"a:\n" for n in range(2_000)),
    "a deep schema": lambda: json.dumps(deep(200)).encode(),
    "a large file": lambda: b"openapi: 3.0.1\n" + b"# filled\n" * 10_000_000,
    "a lone surrogate": lambda: b'{"openapi": "3.0.1", "info": {"title": "\\ud800"}}',
    "not a number": lambda: b'{"openapi": "3.0.1", "paths": NaN}',
    "no UTF-8": lambda: b"openapi: \xff",
    "a list of operations": lambda: b"openapi: 3.0.1\npaths: {/a: {get: [1]}}",
    "lists for mappings": lambda: b"openapi: 3.0.1\npaths: {/a: {get: {responses: [], parameters: {}}}}\ncomponents: []",
}  # fmt: skip


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    answers = {"200": {"description": "", "content": {"application/json": {"schema": schema}}}}
    return {"openapi": "3.0.1", "info": {"title": "", "version": "1"}, "paths": {"/a": {"get": {"responses": answers}}}}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_line(checkout: Path, name: str) -> None:
    """Whatever a file holds, a run ends with exit 1 and one line in little time and memory, and no file changes."""
    page = checkout.parent / "page.yaml"
    page.write_bytes(BAD[name]())
    before = tree(checkout)
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)); "
    limit += "resource.setrlimit(resource.RLIMIT_CPU, (10, 10)); sys.argv = ['contract', 'generate', '--from', sys.argv[1]]; "
    limit += "runpy.run_module('contract', run_name='__main__')"

    done = subprocess.run(
        [sys.executable, "-P", "-c", limit, str(page)], cwd=checkout, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stderr[-2000:]
    assert str(page) in done.stderr
    assert tree(checkout) == before


NAMES = st.sampled_from(
    ["id", "类型", "create_time", "class", "a-b", "名称 1", "1st", "url", "UPPER", "from", "items", "_p"]
)
TEXTS = st.sampled_from(["", "说明", "two\nlines", 'a " and """ b', "back\\slash", "{x} `y`"])
VALUES = st.sampled_from([["a", "b"], ["甲", "乙"], ["16:9", "9:16"], ["a b", "c/d"], ["1", "2"], ["on", "None"]])
LEAVES = st.one_of(
    st.builds(lambda kind: {"type": kind}, st.sampled_from(["string", "integer", "number", "boolean", "null"])),
    st.builds(lambda form: {"type": "string", "format": form}, st.sampled_from(["date-time", "date", "uuid", "uri"])),
    st.builds(lambda v: {"type": "string", "enum": v, "x-apifox-enum": [{"value": v[0], "name": "标签"}]}, VALUES),
    st.builds(lambda v: {"type": "integer", "enum": v}, st.sampled_from([[1, 2], [0], [-1, 5]])),
    st.builds(lambda value: {"const": value}, st.sampled_from(["ok", 1, "中"])),
    st.builds(lambda text: {"description": text}, TEXTS),
    st.just({"$ref": "#/components/schemas/结果"}),
    st.just({"type": "string", "examples": ["hello"]}),
)


def _objects(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(NAMES, children, max_size=4)
    return st.one_of(
        st.builds(
            lambda f, text, n: {"type": "object", "properties": f, "description": text, "required": list(f)[:n]},
            fields, TEXTS, st.integers(0, 4),
        ),
        st.builds(lambda items: {"type": "array", "items": items}, children),
        st.builds(lambda key, parts: {key: parts}, st.sampled_from(["anyOf", "oneOf"]), st.lists(children, min_size=1, max_size=3)),
        st.builds(lambda child: {"type": "object", "additionalProperties": child}, children),
        st.builds(lambda f: {"allOf": [{"$ref": "#/components/schemas/结果"}, {"type": "object", "properties": f}]}, fields),
        st.builds(lambda f: {"type": "object", "properties": f, "nullable": True}, fields),
    )  # fmt: skip


SCHEMAS = st.recursive(LEAVES, _objects, max_leaves=8)


@st.composite
def contracts(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a contract of one operation, with the features that vendors' pages have."""
    scalars = st.sampled_from([{"type": "string"}, {"type": "integer", "default": 1}, {"type": "boolean"}, {"type": "array", "items": {"type": "string"}}])  # fmt: skip
    names = draw(st.lists(NAMES, unique=True, max_size=2))
    parameters = [
        {"name": name, "in": "query", "required": draw(st.booleans()), "schema": draw(scalars)} for name in names
    ]
    answers = {"200": {"description": "", "content": {"application/json": {"schema": draw(SCHEMAS)}}}}
    operation: dict[str, Any] = {
        "summary": draw(TEXTS),
        "tags": ["任务"],
        "parameters": parameters,
        "responses": answers,
    }
    if draw(st.booleans()):
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": draw(SCHEMAS)}}}
    return {
        "openapi": draw(st.sampled_from(["3.0.1", "3.1.0"])),
        "info": {"title": "", "version": "1.0.0"},
        "paths": {"/v1/things/{id}": {"post": operation | {"parameters": [*parameters, {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]}}},
        "components": {"schemas": {"结果": {"type": "object", "properties": {"id": {"type": "string"}}}}},
    }  # fmt: skip


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(contract=contracts(), data=st.data())
def test_what_the_plain_generator_takes_is_taken_and_held(
    bare: Path, contract: dict[str, Any], data: st.DataObject
) -> None:
    """Where the plain generator makes a client without a warning, the tool does, and names the line of any edit of it."""
    with tempfile.TemporaryDirectory() as folder:
        spec, made = Path(folder) / "contract.json", Path(folder) / "made"
        spec.write_text(json.dumps(contract), encoding="utf-8")
        command = ["openapi-python-client", "generate", "--fail-on-warning", "--meta", "none", "--path", str(spec)]
        plain = subprocess.run([*command, "--output-path", f"{folder}/plain"], capture_output=True, check=False)
        assume(plain.returncode == 0)

        planned = plan(bare, contract)
        building.build(planned, bare, made / "duomi_api")
        lines, notes = hold(planned, made)

        assert lines == []
        assert not [note for note in notes if "the check itself failed" in note]
        file = data.draw(st.sampled_from(sorted(made.rglob("*.py"))))
        text = file.read_text(encoding="utf-8").splitlines()
        number = data.draw(st.integers(0, len(text))) if text else 0
        file.write_text("\n".join([*text[:number], "edited = 1", *text[number + 1 :]]), encoding="utf-8")
        (found,) = building.stale_files(planned, bare, made / "duomi_api")
        assert found.startswith(f"{file.relative_to(made / 'duomi_api').as_posix()}:{number + 1}: ")


DOCUMENTS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(PAGES.glob("*.json"))]
ODD: list[Any] = [None, "", "x", 1.5, True, [], {}, [None], [{}], {"x": None}]


def places(part: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each mapping or list of a document, with each key in it."""
    for key, inner in entries(part):
        yield part, key
        yield from places(inner)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_stands_anywhere_in_a_page_it_is_taken_or_refused(
    bare: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A value of any shape in any place of a page, alone or beside the page as it was, is no failure of the tool."""
    before = data.draw(st.sampled_from(DOCUMENTS))
    after = copied(before)
    holder, key = data.draw(st.sampled_from(list(places(after))))
    holder[key] = data.draw(st.sampled_from(ODD))
    files = [tmp_path_factory.getbasetemp() / name for name in ("after.json", "before.json")]
    for file, document in zip(files, (after, before), strict=True):
        file.write_text(json.dumps(document), encoding="utf-8")

    with contextlib.suppress(ContractError):
        merged = merge(bare / "openapi.yaml", files[: data.draw(st.integers(1, 2))], only=True)
        plan(bare, merged.document)
        changes(*(of_document(translate(each)[0]) for each in (before, merged.document)))


def test_every_page_is_tried() -> None:
    """No page lies in the folder without a test."""
    paired = {page for pages in [*JOINED, ("m-d1.json", "m-d2.json")] for page in pages}
    paired |= {f"d-{pair}{number}.json" for pair in "abce" for number in (1, 2)}

    assert {file.name for file in PAGES.iterdir()} == {*TAKEN, *REFUSED, *paired, "create-video.md"}

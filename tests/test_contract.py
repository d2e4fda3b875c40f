"""The generated package conforms to the contract, and the wrapper knows every state of it."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import jsonschema
import pytest
from checkout import ROOT, check
from duomi import Task, TaskState
from duomi._payload import FAILED_STATES, SUCCEEDED_STATES, UNFINISHED_STATES
from duomi.simulator import EXAMPLE_ID, Script, Simulator
from duomi_api.contract import SCHEMAS, SERVER

from contract import document as documents
from contract.build import build
from contract.check import check as hold
from contract.document import ContractError
from contract.names import Plan, plan
from contract.values import example


def test_the_generated_package_conforms_to_the_contract() -> None:
    """`contract check` finds no difference."""
    done = check(ROOT / "generated")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_three_sets_of_states_partition_the_contract() -> None:
    """Every state of the contract is either succeeded, failed or unfinished."""
    sets = (SUCCEEDED_STATES, FAILED_STATES, UNFINISHED_STATES)
    undecided = set(TaskState) - frozenset().union(*sets)

    assert not undecided, f"decide in wrapper/duomi/_payload.py what these states mean: {', '.join(sorted(undecided))}"
    assert sum(map(len, sets)) == len(list(TaskState)), "a state is in two sets, or no longer in the contract"


def test_the_generated_server_is_the_contracts() -> None:
    """The default server of the package is the first one in openapi.yaml."""
    contract = documents.read_contract(ROOT / "openapi.yaml")

    assert contract["servers"][0]["url"] == SERVER


def schema() -> Any:
    contract = documents.read_contract(ROOT / "openapi.yaml")
    answer = contract["paths"]["/v1/videos/tasks/{task_id}"]["get"]["responses"]["200"]
    return answer["content"]["application/json"]["schema"]


@pytest.mark.parametrize("outcome", ["video", "error"])
def test_the_simulator_conforms_to_the_contract(outcome: Any) -> None:
    """Every default payload of the simulator conforms to openapi.yaml."""
    simulator = Simulator({EXAMPLE_ID: Script(outcome=outcome)})

    for poll in range(1, 6):
        payload = simulator.payload(EXAMPLE_ID, poll, "http://127.0.0.1")
        jsonschema.validate(payload, schema())
        assert Task.from_payload(payload).deviations == ()


def test_characters_have_the_deviations_of_the_live_api() -> None:
    """The contract does not describe characters, so a task with one has exactly two deviations."""
    payload = Simulator({EXAMPLE_ID: Script(outcome="character")}).payload(EXAMPLE_ID, 9, "")

    assert set(Task.from_payload(payload).deviations) == {
        "/data/videos: is missing", "/action: is 'characters', which the contract does not list",
    }  # fmt: skip


def test_the_schema_in_the_package_is_the_contracts() -> None:
    """The schema that `deviations` uses has the contract's fields, types and enums."""
    shape = SCHEMAS["GET /v1/videos/tasks/{task_id}"]["200"]

    assert shape["required"] == schema()["required"]
    assert {n: f["type"] for n, f in shape["properties"].items()} == {
        n: f["type"] for n, f in schema()["properties"].items()
    }
    assert json.dumps(shape["properties"]["state"]["enum"]) == json.dumps(schema()["properties"]["state"]["enum"])


def test_a_folder_without_a_package_is_an_error(tmp_path: Path) -> None:
    """A folder without a package is an error of one line, even if the package is installed."""
    done = check(tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert "holds no duomi_api" in done.stderr
    assert len(done.stderr.splitlines()) == 1


Edit = Callable[[dict[str, Any]], object]


def task(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"]["/v1/videos/tasks/{task_id}"]["get"]
    return found


def fields(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = task(document)["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    return found


def add_body(document: dict[str, Any]) -> None:
    task(document)["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}}


DIFFERENCES: dict[str, tuple[Edit, str]] = {
    "body": (add_body, "the request body is not taken"),
    "query": (
        lambda d: task(d)["parameters"].append({"name": "q", "in": "query", "schema": {"type": "string"}}),
        "the query parameter q is missing in the package",
    ),
    "required parameter": (lambda d: task(d)["parameters"][1].update(required=True), "required: the contract says True"),
    "parameter's type": (lambda d: task(d)["parameters"][1]["schema"].update(type="integer"), "says integer, the package string"),
    "field": (lambda d: fields(d).update(cost={"type": "number"}), "/properties/cost: the field is missing in VideoTask"),
    "field's type": (lambda d: fields(d)["progress"].update(type="string"), "/properties/progress: type: "),
    "format": (lambda d: fields(d)["message"].update(format="date-time"), "says date-time, the package string"),
    "constant": (lambda d: fields(d)["message"].update(const="ok"), 'says const "ok", the package string'),
    "nullable": (lambda d: fields(d)["message"].update(nullable=True), "says null|string, the package string"),
    "no type": (lambda d: fields(d)["message"].pop("type"), "says any, the package string"),
    "array": (lambda d: fields(d).update(message={"type": "array", "items": {"type": "string"}}), "says array"),
    "item": (
        lambda d: fields(d)["data"]["properties"]["videos"].update(items={"type": "string"}), "/properties/videos/items: type",
    ),
    "enum value": (lambda d: fields(d)["state"]["enum"].append("paused"), "/properties/state/enum: the contract lists"),
    "label": (lambda d: fields(d)["state"]["x-apifox-enum"][0].update(name="排队"), "labels: 'pending' is '排队'"),
    "optional field": (
        lambda d: task(d)["responses"]["200"]["content"]["application/json"]["schema"]["required"].remove("message"),
        "required: the contract says False, the package True",
    ),
    "required field": (
        lambda d: fields(d)["data"]["properties"]["videos"]["items"].update(required=["url"]),
        "required: the contract says True, the package False",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_check_holds_a_package_against_its_contract(name: str) -> None:
    """The check itself finds what the contract says and the package does not do, each at its pointer."""
    edit, said = DIFFERENCES[name]
    made = plan(ROOT, documents.read_contract(ROOT / "openapi.yaml"))
    document = copy.deepcopy(made.document)
    edit(document)

    lines, _ = hold(attrs.evolve(made, document=document), ROOT / "generated")

    assert lines
    assert all(line.startswith("/paths/~1v1~1videos~1tasks~1{task_id}/get") for line in lines)
    assert any(said in line for line in lines), lines


TEXT = {"type": "string"}
OBJECT = {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}


def operation(media: str, schema: Any, *places: str, name: str = "") -> dict[str, Any]:
    """Return an operation that sends a schema and answers an object, with a parameter in each place."""
    parameters = [{"name": place[0], "in": place, "schema": TEXT} for place in places]
    body = {"required": True, "content": {media: {"schema": schema}}}
    answers = {"200": {"description": "", "content": {"application/json": {"schema": OBJECT}}}}
    return {"post": {"operationId": name, "parameters": parameters, "requestBody": body, "responses": answers}}


RICH = {
    "openapi": "3.0.1",
    "info": {"title": "", "version": "1"},
    "paths": {
        "/json": operation("application/json", OBJECT, "query", "header", "cookie"),
        "/form?v=1": operation("application/x-www-form-urlencoded", OBJECT, name="send_form"),
        "/bytes": operation("application/octet-stream", TEXT | {"format": "binary"}),
    },
}


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    """A package of one operation for each kind of body, and its plan."""
    root = tmp_path_factory.mktemp("rich")
    shutil.copytree(ROOT / "templates", root / "templates")
    text = (ROOT / "generator.yaml").read_text(encoding="utf-8")
    (root / "generator.yaml").write_text(
        re.sub(r"class_overrides:.*?\npost", "post", text, flags=re.DOTALL), encoding="utf-8"
    )
    (root / "overlay.yaml").write_text("overlay: 1.0.0", encoding="utf-8")
    made = plan(root, RICH)
    build(made, root, root / "made/duomi_api")
    return made, root / "made"


# A file of the package, a text in it, what stands there instead, and what the check says.
BROKEN: dict[str, tuple[str, str, str, str]] = {
    "query": ("post_json", 'params["q"]', 'params["p"]', "the query parameter q is sent as [], not ['q 1']"),
    "header": ("post_json", 'headers["h"] = h', 'headers["h"] = "x"', "the header parameter h is sent as 'x', not 'h 1'"),
    "cookie": ("post_json", 'cookies["c"] = c', "pass", "the cookie parameter c is not sent"),
    "query in the path": ("send_form", "?v=1", "?v=2", "the query is 'v=2', not 'v=1'"),
    "path": ("post_bytes", '"/bytes"', '"/byte"', "the path is '/byte', not '/bytes'"),
    "content type": ("post_json", '= "application/json"', '= "text/json"', "is sent as text/json, not application/json"),
    "JSON": ("post_json", "body.to_dict()", "{}", "/requestBody: is sent as b'{}'"),
    "form": ("send_form", "body.to_dict()", "{}", "/requestBody: the field a is not sent as 'a 1'"),
    "bytes": ("post_bytes", "body.payload", 'b"y"', "/requestBody: other bytes are sent"),
    "request": ("post_json", '"method": "post"', '"method": int("x")', "sync_detailed cannot send it: invalid literal"),
    "async request": ("post_json", "client().request(**kwargs)", 'client().request(**(kwargs | {"method": "put"}))', "asyncio sends something else"),
    "import": ("post_json", "import httpx", "import nothing_such", "its module cannot be imported: ModuleNotFoundError"),
    "type of the answer": ("post_json", "-> PostJsonResponse200 | None:", "-> str | None:", "type: the contract says object, the package string"),
    "answer": ("post_json", "PostJsonResponse200.from_dict(response.json())", 'PostJsonResponse200(a="b")', "is decoded as {'a': 'b'}"),
    "model": ("post_json_body", '"a": a,', '"a": a + "b",', "round trip: {'a': 'a 1'} becomes {'a': 'a 1b'}"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_the_check_finds_what_a_package_does_wrong(rich: tuple[Plan, Path], tmp_path: Path, name: str) -> None:
    """The check runs the package, and says at its pointer what it does otherwise than the contract says."""
    module, old, new, said = BROKEN[name]
    made, folder = rich
    shutil.copytree(folder, tmp_path / "made")
    (file,) = (tmp_path / "made").rglob(f"{module}.py")
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")

    lines, _ = hold(made, tmp_path / "made")

    assert hold(made, folder)[0] == []
    assert any(said in line and line.startswith("/paths/") for line in lines), lines


def test_a_package_that_cannot_be_imported_is_an_error(rich: tuple[Plan, Path], tmp_path: Path) -> None:
    """A package that is no Python is an error of one line."""
    made, folder = rich
    shutil.copytree(folder, tmp_path / "made")
    (tmp_path / "made/duomi_api/client.py").write_text("def", encoding="utf-8")

    with pytest.raises(ContractError, match="made/duomi_api cannot be imported: SyntaxError"):
        hold(made, tmp_path / "made")


def test_the_page_s_own_examples_are_decoded(tmp_path: Path) -> None:
    """An example of the page that the new client cannot decode is a REVIEW line."""
    made = plan(ROOT, documents.read_contract(ROOT / "openapi.yaml"))
    document = copy.deepcopy(made.document)
    media = task(document)["responses"]["200"]["content"]["application/json"]
    media["example"] = {"id": "1"}
    media["examples"] = {"whole": {"value": example(document, media["schema"])}}

    lines, notes = hold(attrs.evolve(made, document=document), ROOT / "generated")

    assert lines == []
    (note,) = notes
    assert note.startswith("REVIEW ")
    assert "content/application~1json/example: the page's own example does not fit: /state is missing" in note


def test_a_field_in_two_parts_of_all_of_is_not_proven(tmp_path: Path) -> None:
    """Which of two descriptions of a field the generator takes is noted as not proven."""
    document = copy.deepcopy(documents.read_contract(ROOT / "openapi.yaml"))
    media = task(document)["responses"]["200"]["content"]["application/json"]
    other = {"message": {"type": "string", "enum": ["a", "b"]}, "id": {"type": "string", "description": "other words"}}
    media["schema"] = {"allOf": [media["schema"], {"type": "object", "properties": other}]}
    made = plan(ROOT, document)
    build(made, ROOT, tmp_path / "duomi_api")

    lines, notes = hold(made, tmp_path)

    assert lines == []
    assert [note for note in notes if "the field message stands in several parts of allOf" in note]
    assert not [note for note in notes if "the field id" in note]


def test_an_exception_of_the_check_is_no_fault_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the check itself fails, it says so in a note, and finds no difference."""

    def fail(*_: object) -> None:
        raise LookupError("of its own")

    monkeypatch.setattr("contract.check.kinds_of", fail)

    lines, notes = hold(plan(ROOT, documents.read_contract(ROOT / "openapi.yaml")), ROOT / "generated")

    assert lines == []
    assert (
        "NOTE   not proven: /paths/~1v1~1videos~1tasks~1{task_id}/get: the check itself failed: LookupError" in notes[0]
    )

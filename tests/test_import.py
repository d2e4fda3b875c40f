"""The import takes the vendor's pages unchanged, merges or rejects them, and changes all files or none."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT, command, tree
from checkout import generate as run
from openapi_python_client.parser import GeneratorData

from contract import build as building
from contract import commands
from contract import document as documents
from contract import generate as generation
from contract.build import answers, unsafe, written
from contract.diff import changes
from contract.document import ContractError
from contract.facts import of_document
from contract.names import Plan, plan, settings
from contract.overlay import named
from contract.pages import merge
from contract.scratch import scratch_folder
from contract.validate import validate
from contract.values import UnprovenError, example

PAGE = (Path(__file__).parent / "query-task.md").read_text(encoding="utf-8")
CONTRACT = documents.read_contract(ROOT / "openapi.yaml")
PATH = "/v1/videos/tasks/{task_id}"

Edit = Callable[[dict[str, Any]], object]


def edited(edit: Edit) -> dict[str, Any]:
    document = copy.deepcopy(CONTRACT)
    edit(document)
    return document


def task(document: dict[str, Any]) -> Any:
    return document["paths"][PATH]["get"]


def answer(document: dict[str, Any]) -> Any:
    return task(document)["responses"]["200"]["content"]["application/json"]["schema"]


def page(folder: Path, edit: Edit, name: str = "page.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(edited(edit), ensure_ascii=False), encoding="utf-8")
    return path


def credit(document: dict[str, Any]) -> None:
    """Make a page of another operation, as the vendor writes them: a Chinese tag and no name."""
    schema = {
        "title": "余额",
        "type": "object",
        "properties": {
            "balance": {"type": "number"},
            "由来": {"type": "array", "items": {"$ref": "#/components/schemas/Entry"}},
        },
        "required": ["balance"],
    }
    entry = {"allOf": [{"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}}]}
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": {"note": {"type": "string"}}}}}}
    parameter = {"name": "account", "in": "path", "required": True, "schema": {"type": "string"}}
    document["paths"] = {
        "/v1/credit/{account}": {
            "parameters": [parameter],
            "post": {
                "summary": "查询余额",
                "tags": ["API文档/账户"],
                "requestBody": body,
                "responses": {"200": {"description": "", "content": {"application/json": {"schema": schema}}}},
            },
        }
    }
    document["components"]["schemas"] = {"Entry": entry}


def unchanged(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("encode", "change"),
    [
        ("utf-8", unchanged),
        ("utf-8-sig", unchanged),
        ("utf-8", lambda text: text.replace("\n", "\r\n")),
        ("utf-8-sig", lambda text: text.replace("\n", "\r\n").rstrip()),
        ("utf-8", lambda text: text.rstrip().removesuffix("```").rstrip("\n") + "\n\n```"),
        ("utf-8", lambda text: text.replace("```yaml", "~~~yml").replace("```", "~~~")),
        ("utf-8", lambda text: text[text.index("openapi:") : text.rindex("```")]),
    ],
    ids=["as exported", "BOM", "CRLF", "BOM, CRLF, no last newline", "no last newline", "tildes", "plain YAML"],
)
def test_the_contract_of_a_page_is_taken_unchanged(tmp_path: Path, encode: str, change: Callable[[str], str]) -> None:
    """In every form of export the YAML block of a page becomes openapi.yaml, byte for byte."""
    exported = tmp_path / "page.md"
    exported.write_bytes(change(PAGE).encode(encode))

    text = merge(ROOT / "openapi.yaml", [exported], only=False).text

    assert text.encode() == (ROOT / "openapi.yaml").read_bytes()


def test_a_json_export_is_read_as_a_contract(tmp_path: Path) -> None:
    """A JSON export of the contract has the same content as the YAML one."""
    text = merge(ROOT / "openapi.yaml", [page(tmp_path, lambda _: None)], only=False).text

    assert json.loads(text) == CONTRACT


@pytest.mark.slow
def test_the_same_page_changes_nothing(checkout: Path) -> None:
    """The page that openapi.yaml was made from is reported as no change, and no file changes."""
    before = tree(checkout)
    (checkout.parent / "query-task.md").write_text(PAGE.rstrip(), encoding="utf-8", newline="\r\n")

    done = run(checkout, "--from", "query-task.md", cwd=checkout.parent)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert tree(checkout) == before


@pytest.mark.slow
def test_a_page_with_a_new_operation_is_added(checkout: Path) -> None:
    """A new operation has an ASCII name, the old one stays, and the report suggests a better name."""
    new = page(checkout.parent, credit)
    modules = checkout / "generated/duomi_api/api/videos"

    done = run(checkout, "--from", new)

    assert done.returncode == 0, done.stderr
    assert "NOTE   /paths/~1v1~1credit~1{account}/post" in done.stdout
    (suggested,) = re.findall(r"overlay.yaml could name it: (.*)", done.stdout)
    assert suggested == "{target: \"$.paths['/v1/credit/{account}'].post\", update: {operationId: create_credit}}"
    assert "version bump: patch, or minor" in done.stdout
    assert {p.name for p in modules.glob("*.py")} == {"__init__.py", "get_video_task.py", "post_v1_credit_account.py"}
    assert all(name.isascii() for name in tree(checkout))
    taken = tree(checkout)
    assert run(checkout, "--from", new).returncode == 0
    assert tree(checkout) == taken
    overlay = checkout / "overlay.yaml"
    overlay.write_text(f"{overlay.read_text(encoding='utf-8')}  - {suggested}\n", encoding="utf-8")
    again = run(checkout)
    assert (again.returncode, again.stderr) == (0, "")
    assert (modules / "create_credit.py").is_file()


@pytest.mark.slow
def test_only_with_an_unused_overlay_action_is_an_error(checkout: Path) -> None:
    """With `--only` the other operations are removed, and an overlay action without a target is an error."""
    before = tree(checkout)

    done = run(checkout, "--from", page(checkout.parent, credit), "--only")

    assert done.returncode == 1
    assert "matches nothing" in done.stderr
    assert tree(checkout) == before


@pytest.mark.slow
def test_a_new_state_is_imported_and_fails_one_test(checkout: Path) -> None:
    """A new state is a REVIEW that does not stop the import, and one test then says what to decide."""

    def pause(document: dict[str, Any]) -> None:
        answer(document)["properties"]["state"]["enum"].append("paused")

    for folder in ("wrapper", "tests"):
        shutil.copytree(ROOT / folder, checkout / folder)
    shutil.copy(ROOT / "pyproject.toml", checkout)

    done = run(checkout, "--from", page(checkout.parent, pause))

    assert done.returncode == 0, done.stderr
    assert "REVIEW" in done.stdout
    assert "'paused' has no label" in done.stdout
    test = "tests/test_contract.py::test_the_three_sets_of_states_partition_the_contract"
    test_command = [sys.executable, "-m", "pytest", "-q", "-vv", "-o", "pythonpath=. wrapper generated", test]
    failed = subprocess.run(test_command, cwd=checkout, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "decide in wrapper/duomi/_payload.py what these states mean: paused" in failed.stdout


def test_several_pages_are_merged(tmp_path: Path) -> None:
    """Each path, component and tag of several pages is once in the merged contract."""
    one, two = page(tmp_path, lambda d: d.update(tags=[{"name": "a"}]), "one.json"), page(tmp_path, credit, "two.json")

    document = documents.parse(merge(ROOT / "openapi.yaml", [one, two, one], only=True).text, "merged")

    assert list(document["paths"]) == [PATH, "/v1/credit/{account}"]
    assert list(document["components"]["schemas"]) == ["Entry"]
    assert document["tags"] == [{"name": "a"}]


def test_a_page_replaces_its_own_paths_only(tmp_path: Path) -> None:
    """A page replaces the paths that it has, and the other paths stay."""
    current = page(tmp_path, lambda _: None, "current.json")
    current.write_text(merge(current, [page(tmp_path, credit, "two.json")], only=False).text, encoding="utf-8")
    changed = page(tmp_path, lambda d: task(d).update(summary="新"))

    document = documents.parse(merge(current, [changed], only=False).text, "merged")

    assert list(document["paths"]) == [PATH, "/v1/credit/{account}"]
    assert task(document)["summary"] == "新"
    assert list(document["components"]["schemas"]) == ["Entry"]


@pytest.mark.parametrize(
    ("edit", "pointer"),
    [
        (lambda d: answer(d)["properties"]["progress"].update(type="string"), "/properties/progress/type"),
        (lambda d: answer(d)["properties"]["data"].update(prefixItems=[{}]), "/properties/data/prefixItems"),
        (lambda d: d.update(servers=[{"url": "https://elsewhere.example"}]), "/servers"),
    ],
)
def test_pages_that_contradict_each_other_are_rejected(tmp_path: Path, edit: Edit, pointer: str) -> None:
    """The error of a contradiction names both files and the place."""
    one, two = page(tmp_path, lambda _: None, "one.json"), page(tmp_path, edit, "two.json")

    with pytest.raises(ContractError) as caught:
        merge(ROOT / "openapi.yaml", [one, two], only=True)

    message = str(caught.value)
    assert all(word in message for word in ("one.json", "two.json", pointer)), message


def enum(*values: str) -> Edit:
    return lambda d: answer(d)["properties"]["state"].update({"enum": list(values), "x-apifox-enum": []})


CODE = 'x"""\nimport os\n"""'
CODE_LINE = 'x"\n__import__("os").system("true")\n"'

REJECTED: dict[str, tuple[Edit, str]] = {
    "no paths": (lambda d: d.update(paths={}), "/paths: has no operation"),
    "a path without an operation": (lambda d: d.update(paths={PATH: {}}), "/paths: has no operation"),
    "Swagger 2": (lambda d: (d.pop("openapi"), d.update(swagger="2.0")), "Swagger 2.0"),
    "OpenAPI 4": (lambda d: d.update(openapi="4.0.0"), "OpenAPI 4.0.0"),
    "unresolved $ref": (lambda d: answer(d)["properties"].update(id={"$ref": "#/components/schemas/No"}), "schemas/No"),
    "$ref to itself": (
        lambda d: (
            d["components"]["schemas"].update(A={"$ref": "#/components/schemas/A"}),
            answer(d)["properties"].update(id={"type": "string"}),
        ),
        "leads nowhere",
    ),
    "$ref to another file": (lambda d: answer(d)["properties"].update(id={"$ref": "other.yaml#/A"}), "other.yaml"),
    "XML body": (
        lambda d: task(d)["responses"]["200"].update(content={"application/xml": {"schema": {"type": "string"}}}),
        'content_type_overrides: {"application/xml": text/plain}',
    ),
    "path parameter that the path lacks": (
        lambda d: task(d)["parameters"][0].update(name="id"), "Path parameters do not match with path",
    ),
    "a type that is none": (
        lambda d: answer(d)["properties"]["progress"].update(type="percent"), "/properties/progress/type: Input should be",
    ),
    "a parameter of no schema": (
        lambda d: task(d)["parameters"][1].update(schema={"$ref": "#/components/schemas/No"}), "/parameters/1/schema/\\$ref: '#/components/schemas/No'",
    ),
    "two fields with one title": (
        lambda d: answer(d)["properties"].update({n: {"title": "X", "type": "object", "properties": {n: {}}} for n in "ab"}),
        "update: {title: AnotherName1}",
    ),
    "text instead of a schema": (lambda d: answer(d)["properties"].update(id="text"), "/properties/id: Input should be"),
    "two models with one name": (
        lambda d: d["components"]["schemas"].update({"FooBAR": {"type": "object"}, "FooBar": {"type": "object"}}),
        "class_overrides",
    ),
    "overlay action without a target": (
        lambda d: d.update(paths={"/v1/other/{task_id}": d["paths"][PATH]}),
        "overlay.yaml: /actions/2",
    ),
    "class override without a class": (lambda d: answer(d)["properties"].pop("action"), "generator.yaml"),
    "a value that the generator cannot write": (
        lambda d: answer(d)["properties"]["message"].update(enum=["a\nb"]), r"contract check: .*/message/enum: .*overlay.yaml could leave it out",
    ),
    "a path with a name in twice as many braces": (
        lambda d: d["paths"].update({"/v1/{{a}}": {"get": {"responses": {}}}}), r"/paths/~1v1~1\{\{a\}\}/get",
    ),
    "a name that no file can have": (
        lambda d: d["paths"].update({"/v1/x": {"get": {"operationId": "x" * 300, "responses": {"200": {"description": ""}}}}}),
        r"/paths/~1v1~1x/get: .* more than 250 bytes; overlay.yaml could name it: .*operationId: another_name",
    ),
    "a model with a name that no file can have": (
        lambda d: d["components"]["schemas"].update({"X" * 300: {"type": "object"}}),
        "more than 250 bytes; generator.yaml .* {class_name: AnotherName, module_name: another_name}",
    ),
    "an allOf whose parts contradict each other": (
        lambda d: d["components"].update(schemas={
            "A": {"type": "object", "properties": {"data": {"type": "object", "properties": {"x": {"type": "string"}}}}},
            "B": {"allOf": [{"$ref": "#/components/schemas/A"}, {"type": "object", "properties": {"data": {"type": "array"}}}]},
        }),
        r"/components/schemas/B: .*; overlay.yaml could empty it: {target: \"\$.components.schemas.B\.\*\"",
    ),
    "a body with the name of a component": (
        lambda d: (
            d["components"].update(schemas={"GetVideoTaskBody": {"type": "object", "properties": {"a": {"type": "string"}}}}),
            answer(d)["properties"].update(more={"$ref": "#/components/schemas/GetVideoTaskBody"}),
            task(d).update(requestBody={"content": {"application/json": {"schema": {"type": "object", "properties": {"b": {}}}}}}),
        ),
        r"update: {operationId: another_name_1}}",
    ),
    "allOf in a circle": (
        lambda d: (
            d["components"]["schemas"].update(A={"allOf": [{"$ref": "#/components/schemas/A"}]}),
        ),
        "/components/schemas/A/allOf/0: .*overlay.yaml could empty it",
    ),
    "two operations with one name": (
        lambda d: d["paths"].update({"/v1/x": {"get": {"operationId": "get_video_task", "responses": {"200": {"description": ""}}}}}),
        r"overlay.yaml could name it: \{target: \"\$.paths\['/v1/x'\].get\", update: \{operationId: another_name\}\}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REJECTED)
def test_a_page_that_cannot_be_generated_is_rejected(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A page that the generator would drop or garble is exit 1 with one line, and no file changes."""
    edit, message = REJECTED[name]
    path = page(checkout.parent, edit)
    monkeypatch.setattr(commands, "ROOT", checkout)
    monkeypatch.setattr(generation, "check_tools", lambda _root: None)  # because it takes longer than all the rest
    before = tree(checkout)

    code = commands.run(["generate", "--from", str(path), "--only"])

    error = capsys.readouterr().err
    assert code == 1
    assert len(error.splitlines()) == 1, error
    assert re.search(message, error), error
    assert tree(checkout) == before


CODES: dict[str, Edit] = {
    "summary": lambda d: task(d).update(summary=CODE),
    "a line of a summary": lambda d: task(d).update(summary=CODE_LINE),
    "description": lambda d: answer(d).update(description=CODE + "\\"),
    "title": lambda d: answer(d)["properties"]["data"]["properties"].update(
        more={"type": "object", "title": CODE_LINE}
    ),
    "enum value": lambda d: answer(d)["properties"]["message"].update(enum=["pending", 'x"+exit()+"']),
    "name of a field": lambda d: answer(d)["properties"].update({'x"]+exit()+["': {}}),
    "name of a parameter": lambda d: task(d)["parameters"][1].update(name='x"]+exit()+["'),
    "default": lambda d: answer(d)["properties"]["message"].update(default=CODE_LINE),
    "label": lambda d: answer(d)["properties"]["state"]["x-apifox-enum"][0].update(name=CODE_LINE + "{{ 7 }} %}"),
    "constant": lambda d: answer(d)["properties"]["message"].update(const=CODE_LINE),
    "server": lambda d: d["servers"][0].update(url="https://duomiapi.com" + CODE_LINE),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", CODES)
def test_a_text_does_not_become_code(checkout: Path, place: str) -> None:
    """Whatever a text says, it stays text: the page is taken, or refused in one line."""
    done = run(checkout, "--from", page(checkout.parent, CODES[place]), "--only")

    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or len(done.stderr.splitlines()) == 1, done.stderr
    assert list(unsafe(checkout / "generated/duomi_api")) == []


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"\x00", b"openapi: [", b"{", b"- a\n", b"a: &a [*a]\n"])
def test_a_file_that_is_not_a_page_is_rejected(tmp_path: Path, content: bytes) -> None:
    """The error of an invalid or missing file is one line that names the file."""
    path = tmp_path / "page.md"
    path.write_bytes(content)

    for given in (path, tmp_path / "missing.md", tmp_path):
        with pytest.raises(ContractError) as caught:
            merge(ROOT / "openapi.yaml", [given], only=False)
        assert str(given) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_failed_check_changes_no_file(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the contract check finds a difference, no file changes and nothing is reported."""

    def fail(_made: Plan, generated: Path) -> tuple[list[str], list[str]]:
        assert (generated / "duomi_api/api/videos/post_v1_credit_account.py").is_file()
        return ["/paths: a difference"], []

    monkeypatch.setattr(commands, "ROOT", checkout)
    monkeypatch.setattr(generation, "hold", fail)
    before = tree(checkout)

    code = commands.run(["generate", "--from", str(page(checkout.parent, credit))])

    shown = capsys.readouterr()
    assert (code, shown.out, shown.err) == (1, "", "contract check: /paths: a difference\n")
    assert tree(checkout) == before


def test_a_scratch_folder_of_a_killed_run_is_removed(checkout: Path) -> None:
    """A run removes the scratch folder of an earlier run that was killed."""
    (checkout / ".generate-killed").mkdir()

    assert run(checkout).returncode == 0
    assert not list(checkout.glob(".generate-*"))


def test_a_scratch_folder_is_removed_although_something_still_writes_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A formatter that outlives an interrupted run leaves nothing behind."""
    remove, left = shutil.rmtree, [tmp_path / "late"]

    def remove_while_it_writes(folder: Path, *, ignore_errors: bool) -> None:
        remove(folder, ignore_errors=ignore_errors)
        if left:
            folder.mkdir()
            (folder / left.pop().name).touch()

    monkeypatch.setattr(shutil, "rmtree", remove_while_it_writes)
    with scratch_folder(tmp_path):
        pass

    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "seconds"),
    [(n, s) for n in (signal.SIGINT, signal.SIGTERM) for s in (0.02, 0.4, 1.0, 1.6, 2.2)] + [(signal.SIGHUP, 2.6)],
)
def test_an_interrupted_run_changes_all_files_or_none(checkout: Path, number: signal.Signals, seconds: float) -> None:
    """A run that gets a signal exits with 1 and changes no file, or finishes completely."""
    before = tree(checkout)
    new = page(checkout.parent, credit)
    process = subprocess.Popen(
        command(checkout, "--from", new), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(seconds)

    process.send_signal(number)

    _, error = process.communicate(timeout=60)
    after = tree(checkout)
    assert "Traceback" not in error
    if process.returncode == 0:
        assert "generated/duomi_api/api/videos/post_v1_credit_account.py" in after
        assert run(checkout, "--check").returncode == 0
    else:
        assert after == before
        # A run that is killed before it has started prints nothing.
        assert (process.returncode, len(error.splitlines())) in {(1, 1), (-number, 0)}, error


KILLED = """
import os, pathlib, runpy, signal, sys
moves, replace = int(sys.argv.pop(1)), pathlib.Path.replace
def move(self, target):
    global moves
    if moves == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    moves -= 1
    return replace(self, target)
pathlib.Path.replace = move
runpy.run_module("contract", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("moves", range(4))
def test_a_run_that_is_killed_between_two_moves_can_be_repeated(checkout: Path, tmp_path: Path, moves: int) -> None:
    """A run that is killed before any of its moves leaves a tree where the next run ends as if nothing had been."""
    new = page(checkout.parent, credit)
    clean = tmp_path / "clean"
    shutil.copytree(checkout, clean)
    assert run(clean, "--from", new).returncode == 0
    arguments = [sys.executable, "-P", "-c", KILLED, str(moves), "generate", "--from", str(new)]

    killed = subprocess.run(arguments, cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)}, check=False)
    again = run(checkout, "--from", new)

    assert (killed.returncode, again.returncode, again.stderr) == (-signal.SIGKILL, 0, "")
    assert tree(checkout) == tree(clean)


@pytest.mark.slow
@pytest.mark.parametrize(
    "file", ["", "duomi_api/contract.py", "duomi_api/client.py", "duomi_api/api/videos/post_v1_credit_account.py"]
)
def test_a_run_that_is_killed_while_it_generates_has_changed_nothing(checkout: Path, file: str) -> None:
    """A run that is killed as soon as a file of its scratch folder is there leaves nothing but that folder."""
    before = tree(checkout)
    process = subprocess.Popen(command(checkout, "--from", page(checkout.parent, credit)), stdout=subprocess.DEVNULL)
    while not list(checkout.glob(f".generate-*/{file}")):
        assert process.poll() is None

    process.kill()

    assert process.wait(60) == -signal.SIGKILL
    assert {name: data for name, data in tree(checkout).items() if not name.startswith(".generate-")} == before
    assert run(checkout).returncode == 0
    assert tree(checkout) == before


@pytest.mark.slow
def test_a_page_with_many_openapi_features_is_accepted(checkout: Path) -> None:
    """The check finds no false difference in recursion, unions, constants, cookies, bodies or ranges of status."""
    done = run(checkout, "--from", ROOT / "tests/odd-page.yaml")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("BREAK")


def remove_servers(document: dict[str, Any]) -> None:
    document.pop("servers")


@pytest.mark.slow
def test_a_page_without_a_server_is_accepted(checkout: Path) -> None:
    """Without a server the contract keeps its own."""
    done = run(checkout, "--from", page(checkout.parent, remove_servers))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the contract says the same")


def credit_with(**more: Any) -> Edit:
    def edit(document: dict[str, Any]) -> None:
        credit(document)
        document.update(more)

    return edit


def test_a_page_without_servers_keeps_the_old_ones(tmp_path: Path) -> None:
    """If a page has no servers, the contract keeps its own."""

    def edit(document: dict[str, Any]) -> None:
        credit(document)
        del document["servers"]

    merged = documents.parse(merge(ROOT / "openapi.yaml", [page(tmp_path, edit)], only=False).text, "merged")

    assert merged["servers"] == CONTRACT["servers"]


def test_an_example_block_is_not_a_second_contract(tmp_path: Path) -> None:
    """A page may have an example in another block beside the contract."""
    example_page = tmp_path / "page.md"
    example_page.write_text(PAGE + '\n```json\n{"id": "x"}\n```\n', encoding="utf-8")

    assert (
        merge(ROOT / "openapi.yaml", [example_page], only=False).text.encode() == (ROOT / "openapi.yaml").read_bytes()
    )


def test_the_tags_of_other_pages_are_kept(tmp_path: Path) -> None:
    """A new page adds its tags to those of the paths that stay."""
    current = page(tmp_path, lambda d: d.update(tags=[{"name": "a"}]), "current.json")
    new = page(tmp_path, credit_with(tags=[{"name": "b"}]))

    merged = documents.parse(merge(current, [new], only=False).text, "merged")

    assert merged["tags"] == [{"name": "b"}, {"name": "a"}]


DIALECT: dict[str, tuple[Edit, str]] = {
    "path parameter missing": (lambda d: task(d)["parameters"].pop(0), "/parameters: 'task_id' is not described; it is text"),
    "path parameter not required": (
        lambda d: task(d)["parameters"][0].update(required=False), "/parameters/0/required: a path parameter is required",
    ),
    "parameter twice": (
        lambda d: task(d)["parameters"].append(task(d)["parameters"][1]), "/parameters/2: there is a header parameter 'Authorization'",
    ),
    "parameter without a schema": (lambda d: task(d)["parameters"][1].pop("schema"), "/parameters/1/schema: is missing"),
    "second answer of a status": (
        lambda d: task(d)["responses"].update({"x-200:失败": {"description": ""}}), "/responses/x-200:失败: is no status",
    ),
    "answer of no status": (lambda d: task(d)["responses"].update(ok={"description": ""}), "/responses/ok: is no status"),
    "parameters that are none": (lambda d: d["paths"].update({"/v1/x": {"get": {"parameters": None}}}), "/paths/~1v1~1x/get"),
    "number in a cookie": (
        lambda d: task(d)["parameters"].append({"name": "c", "in": "cookie", "schema": {"type": "integer"}}),
        "/parameters/2/schema: the generator does not write integer into a cookie; it is text",
    ),
    "time in a path": (
        lambda d: task(d)["parameters"][0]["schema"].update(format="date-time"), "does not write date-time into a path; it is text",
    ),
    "parts that stand elsewhere": (
        lambda d: (
            d["components"].update(
                parameters={"P": {"name": "p", "in": "query"}}, responses={"R": {"content": {"text/plain": {"schema": {}}}}},
                requestBodies={"B": {"content": {"application/json": {}}}},
            ),
            d["paths"].update({"/v1/x": {"post": {
                "parameters": [{"$ref": "#/components/parameters/P"}], "requestBody": {"$ref": "#/components/requestBodies/B"},
                "responses": {"200": {"$ref": "#/components/responses/R"}},
            }}}),
        ),
        "/components/requestBodies/B/content/application~1json/schema: is missing; the body may be anything",
    ),
    "a parameter that is none": (lambda d: task(d)["parameters"].append("x"), "/parameters/2: is no parameter"),
    "an answer that Python does not know": (
        lambda d: task(d)["responses"].update({"498": {"description": "", "content": {"application/json": {"schema": {}}}}}),
        "not proven: /paths/~1v1~1videos~1tasks~1{task_id}/get/responses/498: Python knows no other status",
    ),
    "a body of two kinds": (
        lambda d: d["paths"].update({"/v1/x": {"post": {"responses": {}, "requestBody": {"content": {
            kind: {"schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
            for kind in ("application/json", "application/x-www-form-urlencoded")
        }}}}}),
        "/paths/~1v1~1x/post",
    ),
    "names for other values": (
        lambda d: answer(d)["properties"].update(note={"enum": ["a"], "x-enum-varnames": ["a", "b"]}), "/note/enum: its names would collide",
    ),
    "a reference of Apifox's that is none": (
        lambda d: answer(d)["properties"].update(note={"type": "object", "x-apifox-refs": {"1": None}}), "/properties/note",
    ),
    "list in a header": (
        lambda d: task(d)["parameters"][1].update(schema={"type": "array", "items": {"type": "string"}}), "does not write array into a header",
    ),
    "file in a query": (
        lambda d: task(d)["parameters"].append({"name": "q", "in": "query", "schema": {"type": "string", "format": "binary"}}),
        "does not write binary into a query; it is text",
    ),
    "optional body of text or null": (
        lambda d: d["paths"].update({"/v1/x": {"post": {"requestBody": {"content": {"application/json": {"schema": {"type": "string", "nullable": True}}}}}}}),
        "/requestBody/content/application~1json/schema: the generator cannot leave it out, so it must be given",
    ),
    "answer of a range in small letters": (lambda d: task(d)["responses"].update({"4xx": {"description": ""}}), ""),
    "path that is none": (lambda d: d["paths"].update({"x-apifox-folder": "a"}), "/paths/x-apifox-folder: is no path"),
    "field that says nothing": (lambda d: answer(d)["properties"].update(note=None), "/properties/note: says nothing"),
    "array without items": (lambda d: answer(d)["properties"].update(note={"type": "array"}), "/properties/note/items: is missing"),
    "type of another language": (lambda d: answer(d)["properties"].update(note={"type": "Int"}), "'Int' is said as integer"),
    "required that is no list": (lambda d: answer(d)["properties"].update(note={"required": True}), "/required: is no list"),
    "constant that is true": (lambda d: answer(d)["properties"].update(note={"const": True}), "/const: is said as boolean"),
    "constant that is a list": (lambda d: answer(d)["properties"].update(note={"const": [1]}), "/const: is said as array"),
    "enum of null": (lambda d: answer(d)["properties"].update(note={"enum": [None]}), "/enum: lists null only"),
    "items that are no schema": (
        lambda d: answer(d)["properties"].update(note={"type": "array", "items": [{}]}), "/note/items: is no schema; an item may",
    ),
    "bytes as text": (
        lambda d: task(d)["responses"].update(
            {"400": {"description": "", "content": {"text/plain": {"schema": {"type": "string", "format": "binary"}}}}}
        ),
        "text/plain is text",
    ),
    "default of an object that may be null": (
        lambda d: answer(d)["properties"].update(note={"type": "object", "nullable": True, "default": {}}), "has no such default, so it is left out",
    ),
    "bytes in JSON": (
        lambda d: answer(d)["properties"].update(note={"type": "string", "format": "binary"}), "JSON holds no bytes",
    ),
    "empty enum": (lambda d: answer(d)["properties"].update(note={"enum": []}), "/properties/note/enum: lists nothing"),
    "value twice": (lambda d: answer(d)["properties"].update(note={"enum": ["a", "a"]}), "lists a value twice"),
    "numbers as text": (
        lambda d: answer(d)["properties"].update(note={"type": "integer", "enum": ["1", "2"]}), "its values are said as numbers",
    ),
    "mixed values": (lambda d: answer(d)["properties"].update(note={"enum": [1, "a"]}), "its values are said as texts"),
    "fractions": (lambda d: answer(d)["properties"].update(note={"type": "number", "enum": [0.5, 1]}), "any value is taken"),
    "enum that is null": (
        lambda d: answer(d)["properties"].update(note={"type": "string", "nullable": True, "enum": ["a"]}), "null is one of its values",
    ),
    "values with one name": (lambda d: answer(d)["properties"].update(note={"enum": ["a_b", "a-b"]}), "names would collide"),
    "default that is no such value": (
        lambda d: answer(d)["properties"].update(note={"type": "integer", "default": ""}), "/default: '' is no such value",
    ),
    "default of a schema elsewhere": (
        lambda d: (
            d["components"]["schemas"].update(Kind={"type": "string", "enum": ["a"]}),
            answer(d)["properties"].update(note={"allOf": [{"$ref": "#/components/schemas/Kind"}], "default": "b"}),
        ),
        "/default: 'b' is no such value",
    ),
    "label of an unknown value": (
        lambda d: answer(d)["properties"]["state"]["enum"].remove("running"), "names 'running', which enum lacks",
    ),
    "allOf in allOf": (
        lambda d: answer(d)["properties"].update(
            note={"allOf": [{"allOf": [{"type": "object", "properties": {"in": {"type": "string"}}}]}, {"properties": {"out": {}}}]}
        ),
        "/properties/note/allOf: holds another allOf",
    ),
    "text with an object": (
        lambda d: task(d)["responses"].update({"400": {"description": "", "content": {"text/plain": {"schema": {"type": "object"}}}}}),
        "text/plain is text",
    ),
    "bytes with an object": (
        lambda d: task(d)["responses"].update(
            {"400": {"description": "", "content": {"application/octet-stream": {"schema": {"type": "object"}}}}}
        ),
        "application/octet-stream is bytes",
    ),
    "operation without answers": (lambda d: d["paths"].update({"/v1/x": {"get": {}}}), "/paths/~1v1~1x/get"),
    "nothing in place of a list": (
        lambda d: (task(d).update(tags=[None], security=None, requestBody=None, servers="/"), answer(d).update(allOf=[])),
        "/get/servers: is no list, and is left out",
    ),
    "names in braces that are no words": (
        lambda d: d["paths"].update({
            "/v1/{任务 id}/{task.id}/{任务}": {"parameters": [{"name": "任务 id", "in": "path"}], "get": {"responses": {}}}
        }),
        "is said as /v1/{id}/{task_id}/{part}",
    ),
    "fields beside an allOf": (
        lambda d: (
            d["components"].update(schemas={"A": {"type": "object", "properties": {"a": {"type": "string"}}}}),
            answer(d)["properties"].update(
                note={"allOf": [{"$ref": "#/components/schemas/A"}], "properties": {"b": {"type": "integer"}}, "required": ["a"]}
            ),
        ),
        "/properties/note/allOf: has fields beside it, so all stand in one object",
    ),
    "alternatives of what is required": (
        lambda d: answer(d)["properties"].update(
            note={"properties": {"a": {}, "b": {}}, "oneOf": [{"required": ["a"]}, {"required": ["b"], "title": "b"}]}
        ),
        "/properties/note/oneOf: says only which fields go together",
    ),
    "fields beside alternatives": (
        lambda d: answer(d)["properties"].update(
            note={"properties": {"a": {}}, "oneOf": [{"type": "string"}, {"type": "object", "properties": {"c": {}}}]}
        ),
        "/properties/note/properties: the generator leaves fields out that stand beside oneOf",
    ),
    "objects in a list in a query": (
        lambda d: task(d)["parameters"].append(
            {"name": "q", "in": "query", "schema": {"type": "array", "items": {"type": "object", "properties": {"a": {}}}}}
        ),
        "/parameters/2/schema: the generator does not write array into a query; it is text",
    ),
    "a list with commas in a query": (
        lambda d: task(d)["parameters"].append(
            {"name": "q", "in": "query", "explode": False, "schema": {"type": "array", "items": {"type": "string"}}}
        ),
        "/parameters/2/schema: the generator does not write array into a query in this style; it is text",
    ),
    "a file in a form that is text": (
        lambda d: task(d).update(requestBody={"content": {"application/x-www-form-urlencoded": {"schema": {
            "type": "object", "properties": {"a": {"type": "string", "format": "binary"}}}}}}),
        "/schema: the generator writes files and what is nested in a form as Python does",
    ),
    "an object in an object in a form": (
        lambda d: task(d).update(requestBody={"content": {"application/x-www-form-urlencoded": {"schema": {
            "type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}}}}}}),
        "/schema: the generator writes files and what is nested in a form as Python does",
    ),
    "constants as alternatives": (
        lambda d: answer(d)["properties"].update(
            note={"type": "string", "oneOf": [{"const": "s", "title": "小"}, {"const": "l", "title": "大"}, {"type": "null"}]}
        ),
        "/properties/note/oneOf: lists constants, which are said as an enum",
    ),
    "a constant beside other values": (
        lambda d: answer(d)["properties"].update(note={"anyOf": [{"const": "auto"}, {"type": "integer"}]}),
        "/properties/note/anyOf: 'auto' is one of other values, so any string is taken",
    ),
    "an allOf that is no object": (
        lambda d: answer(d)["properties"].update(note={"allOf": [{"type": "string", "enum": ["a"]}, {"maxLength": 5}]}),
        "/properties/note/allOf: is no object, so its parts are said as one",
    ),
    "alternatives in an allOf": (
        lambda d: answer(d)["properties"].update(
            note={"allOf": [{"properties": {"a": {}}}, {"oneOf": [{"properties": {"b": {}}}, {"properties": {"c": {}}}]}]}
        ),
        "/properties/note/allOf/1: the generator leaves alternatives out",
    ),
    "a part of an allOf that may be null": (
        lambda d: answer(d)["properties"].update(
            note={"allOf": [{"type": "object", "properties": {"a": {}}, "nullable": True}, {"properties": {"b": {}}}]}
        ),
        "/properties/note/allOf/0: a part of an object cannot be null",
    ),
    "null beside a reference": (
        lambda d: (
            d["components"].update(schemas={"A": {"type": "object", "properties": {"a": {"type": "string"}}}}),
            answer(d)["properties"].update(note={"$ref": "#/components/schemas/A", "nullable": True}),
        ),
        "/properties/note/$ref: has nullable beside it, as an allOf has",
    ),
    "a required field that is not described": (
        lambda d: answer(d)["required"].append("more"), "/required: 'more' is not described, so the client does not know of it",
    ),
    "an answer without a type": (
        lambda d: task(d)["responses"].update({"404": {"content": {"application/json": {"schema": {"title": "x"}}}}}),
        "/responses/404/content/application~1json/schema: says nothing about the body",
    ),
    "a key in a query": (
        lambda d: d["components"].update(securitySchemes={"k": {"type": "apiKey", "in": "query", "name": "key"}}),
        "/components/securitySchemes/k: the generated AuthenticatedClient sends no such key",
    ),
    "another server for one operation": (
        lambda d: task(d).update(servers=[{"url": "https://upload.duomiapi.com"}]),
        "/get/servers: the generated function asks the client's own server",
    ),
    "fields of a schema of Apifox's that is an allOf": (
        lambda d: (
            d["components"].update(schemas={
                "A": {"type": "object", "properties": {"a": {}}},
                "B": {"allOf": [{"$ref": "#/components/schemas/A"}, {"type": "object", "properties": {"b": {}}}]},
            }),
            answer(d)["properties"].update(note={"type": "object", "x-apifox-refs": {"1": {"$ref": "#/components/schemas/B"}}}),
        ),
        "/properties/note/x-apifox-refs/1: its fields are taken: a, b",
    ),
    "a header with a Chinese name": (
        lambda d: task(d)["parameters"].append({"name": "密钥", "in": "header", "schema": {"type": "string"}}),
        "/parameters/2: a header has an ASCII name, so '密钥' is left out",
    ),
    "a default in a path": (
        lambda d: task(d)["parameters"][0]["schema"].update(default="a"),
        "/parameters/0/schema/default: a path parameter is always given",
    ),
    "a media type in capitals": (
        lambda d: task(d).update(requestBody={"content": {"Application/JSON; Charset=UTF-8": {"schema": {"type": "object"}}}}),
        "/content/Application~1JSON; Charset=UTF-8: is said in small letters",
    ),
    "a path that stands elsewhere": (
        lambda d: (
            d.update(elsewhere={"get": {"responses": {}}}), d["paths"].update({"/v1/{x}": {"$ref": "#/elsewhere"}}),
        ),
        "/paths/~1v1~1{x}/get/parameters: 'x' is not described",
    ),
    "a content type in small letters": (
        lambda d: d["paths"].update({
            "/v1/{x}": {"post": {
                "parameters": [{"name": "content-type", "in": "header", "schema": {"type": "string"}}],
                "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}, "responses": {},
            }}
        }),
        "'x' is not described",
    ),
    "many schemas inside each other": (
        lambda d: (
            d["components"]["schemas"].update({
                f"N{n}": {"type": "object", "properties": {"n": {"$ref": f"#/components/schemas/N{n + 1}"}}} for n in range(400)
            }),
            d["components"]["schemas"].update(N400={"type": "string", "x-apifox-enum": [], "enum": ["a", "a"]}),
            answer(d)["properties"].update(n={"$ref": "#/components/schemas/N0"}),
        ),
        "lists a value twice",
    ),
    "a text before JSON": (
        lambda d: task(d)["responses"]["200"].update(content={"text/plain": {"schema": {}}, **task(d)["responses"]["200"]["content"]}),
        "/content/text~1plain: is left out, application/json is taken",
    ),
    "bodies that the generator cannot tell apart": (
        lambda d: task(d).update(requestBody={"required": True, "content": {
            media: {"schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
            for media in ("application/x-www-form-urlencoded", "application/json", "application/*+json")
        }}),
        "/content/application~1x-www-form-urlencoded: is left out, application/json is taken",
    ),
    "one of several bodies is required": (
        lambda d: task(d).update(requestBody={"required": True, "content": {
            media: {"schema": {"type": "object", "properties": {name: {"type": "string"}}}}
            for name, media in (("a", "application/x-www-form-urlencoded"), ("b", "application/json"))
        }}),
        "/requestBody/required: the generator cannot ask for one of several bodies",
    ),
    "the values of the items of a list": (
        lambda d: answer(d)["properties"].update(note={"type": "array", "items": {"type": "string"}, "enum": ["a", "b"]}),
        "/properties/note/enum: lists no arrays",
    ),
    "values and a default of another type": (
        lambda d: answer(d)["properties"].update(note={"type": "integer", "enum": ["1", "2"], "default": "1"}),
        "/properties/note/enum: its values are said as numbers",
    ),
    "the form of a value in a path": (
        lambda d: d["paths"].update({r"/v1/{x:\d+}": {"get": {"parameters": [{"name": "x", "in": "path"}], "responses": {}}}}),
        "is said as /v1/{x}",
    ),
    "empty lists for mappings, as PHP writes them": (
        lambda d: answer(d)["properties"].update(note=[], more={"type": "object", "properties": [], "additionalProperties": []}),
        "/properties/note: says nothing",
    ),
    "two paths that differ in a name": (
        lambda d: d["paths"].update({
            f"/v1/x/{{{name}}}": {"get": {"responses": {"200": {"description": "", "content": {"application/json": {"schema": {
                "type": "object", "properties": {name: {"type": "string"}}}}}}}}}
            for name in ("id", "task_id")
        }),
        "'task_id' is not described",
    ),
    "a field with the name of its class": (
        lambda d: (
            d["components"]["schemas"].update({
                "状态": {"type": "string", "enum": ["a", "b", "b"]}, "节点": {"type": "object", "properties": {"值": {}}},
            }),
            answer(d)["properties"].update({n: {"$ref": f"#/components/schemas/{n}"} for n in ("状态", "节点")}),
        ),
        "lists a value twice",
    ),
    "a query behind a name in a path": (
        lambda d: d["paths"].update({"/v1/x?model=a&n={n}": {"get": {"responses": {}}}}), "'n' is not described",
    ),
    "bytes in a schema that is JSON elsewhere": (
        lambda d: (
            d["components"]["schemas"].update(
                Up={"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            ),
            answer(d)["properties"].update(up={"$ref": "#/components/schemas/Up"}),
        ),
        "/schema: JSON holds no bytes, so /components/schemas/Up/properties/file is text",
    ),
    "null among types": (
        lambda d: answer(d)["properties"]["message"].update(type=["string", None]), "/message/type: null is said as 'null'",
    ),
    "two operations with one name in the page": (
        lambda d: d["paths"].update({f"/v1/{n}": {"get": {"operationId": "doIt", "responses": {}}} for n in "ab"}),
        "'doIt' is another operation's name, too",
    ),
    "a number as a text": (lambda d: d["info"].update(version=1.0), "/info/version: is said as text"),
    "no description of an answer": (lambda d: task(d)["responses"]["200"].pop("description"), "/description: is missing"),
    "examples in a list": (lambda d: task(d)["parameters"][0].update(examples=["a"]), "/parameters/0/examples: is left out"),
    "limit that is none": (lambda d: answer(d)["properties"]["id"].update(maxLength="many"), "/maxLength: is left out"),
    "Apidog's words": (
        lambda d: answer(d)["properties"].update(note={"type": "integer", "enum": [1], "x-apidog-enum": [{"value": 1, "name": "one"}]}), "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIALECT)
def test_what_apifox_writes_is_said_as_openapi_says_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """What the vendor's tool writes in its own way is taken, and a note with the pointer says how it is read."""
    edit, said = DIALECT[name]
    monkeypatch.setattr(commands, "ROOT", checkout)
    monkeypatch.setattr(generation, "check_tools", lambda _root: None)

    code = commands.run(["generate", "--from", str(page(checkout.parent, edit))])

    shown = capsys.readouterr()
    assert (code, shown.err) == (0, "")
    # What the client does not do is a REVIEW, and a rewriting a NOTE.
    verdict = (
        "REVIEW "
        if "the generator leaves" in said or "the generator writes" in said or "the generated" in said
        else "NOTE "
    )
    assert any(line.startswith(verdict) and said in line for line in shown.out.splitlines()), shown.out


def test_a_reference_without_a_target_is_an_error() -> None:
    """A reference into a list is followed, and one to another file, in a circle or to nothing is an error."""
    document = {"a": [{"x": 1}], "b": {"$ref": "#/b"}}

    assert documents.resolve(document, {"$ref": "#/a/0"}, "/") == ({"x": 1}, "/a/0")
    for reference in ("#/b", "other.yaml", "#/a/7"):
        with pytest.raises(ContractError, match="leads nowhere"):
            documents.resolve(document, {"$ref": reference}, "/")


def test_a_crash_of_the_generator_names_the_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the generator raises an error of its own, the message names the operation that it cannot read."""
    original = GeneratorData.from_dict

    def crash(data: dict[str, Any], *, config: Any) -> Any:
        if "/v1/b" in data["paths"]:
            raise ValueError("cannot read")
        return original(data, config=config)

    answers = {"200": {"description": ""}}
    document = edited(
        lambda d: d.update(paths={"/v1/a": {"get": {"responses": answers}}, "/v1/b": {"get": {"responses": answers}}})
    )
    monkeypatch.setattr(GeneratorData, "from_dict", crash)

    with pytest.raises(
        ContractError, match=r"p: /paths/~1v1~1b/get: the generator cannot read it: cannot read; overlay.yaml"
    ):
        validate(document, ValueError("cannot read"), settings(ROOT), "p")


def test_all_troubles_are_told_at_once(tmp_path: Path) -> None:
    """A page with several mistakes is refused with a line for each."""

    def edit(document: dict[str, Any]) -> None:
        answer(document)["properties"]["progress"].update(type="percent")
        answer(document)["properties"].update(id="text", message={"$ref": "#/components/schemas/No"})

    with pytest.raises(ContractError) as caught:
        plan(ROOT, edited(edit), "page.json")

    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1].rpartition("/")[2] for line in lines] == ["id", "type", "$ref"]
    assert all(line.startswith("page.json: /paths/~1v1~1videos") and "overlay.yaml could" in line for line in lines)


def test_an_invalid_jsonpath_in_the_overlay_is_an_error() -> None:
    """The error of an invalid JSONPath has the number of its overlay action."""
    with pytest.raises(ContractError, match=r"/actions/0: .* is no JSONPath"):
        named({"paths": {}}, {"actions": [{"target": "$["}]})


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("class Video:\n  a = \n", "2 is no Python"),
        ("class Video: pass\nprint()\n", "2 would run code"),
        ("import os\n", "1 would run code"),
        ("from subprocess import run\n", "1 would run code"),
        ("def f() -> None:\n    eval('1')\n", "2 would run code"),
        ("def f(a: str) -> object:\n    return a.__class__\n", "2 would run code"),
        ("class Video:\n  a: int\n  exit()\n", "3 would run code"),
    ],
)
def test_code_that_no_template_writes_is_found(tmp_path: Path, code: str, fault: str) -> None:
    """Invalid Python, and code that the generator does not write, are found at the top, in classes and in functions."""
    (tmp_path / "video.py").write_text(code, encoding="utf-8")

    assert f"video.py:{fault}" in unsafe(tmp_path)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("api/videos/get_video_task.py:3 would run code", "/paths/~1v1~1videos~1tasks~1{task_id}/get: overlay.yaml could leave it out"),
        ("models/video.py:3 would run code", "openapi.yaml: look at its texts: the generated models/video.py:3"),
    ],
)  # fmt: skip
def test_code_in_a_generated_file_is_told_with_its_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, said: str
) -> None:
    """A package with code that no template writes is refused, and the error names the operation or the texts."""
    monkeypatch.setattr(building, "unsafe", lambda _folder, **_: [place])

    with pytest.raises(ContractError, match=re.escape(said)):
        building.build(plan(ROOT, CONTRACT), ROOT, tmp_path / "made")


def test_an_example_has_a_bounded_size() -> None:
    """A schema whose smallest value is huge has no example, and the check says that it cannot tell."""
    schemas: dict[str, Any] = {
        f"S{n}": {"type": "object", "required": ["a", "b"], "properties": {k: {"$ref": f"#/components/schemas/S{n + 1}"} for k in "ab"}}
        for n in range(40)
    }  # fmt: skip
    schemas["S40"] = {"type": "string"}

    with pytest.raises(UnprovenError, match="more than 2000 parts"):
        example({"components": {"schemas": schemas}}, schemas["S0"])


def test_a_missing_tool_or_another_generator_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that is not on PATH, and an interpreter with another generator, are errors that say so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ContractError, match=r"ruff .* is needed, and there is none"):
        generation.check_tools(ROOT)

    monkeypatch.setattr(generation, "version", lambda _name: "0.0.0")
    with pytest.raises(ContractError, match=r"openapi-python-client .* is needed, and there is 0.0.0"):
        generation.check_tools(ROOT)


def test_a_failed_generator_is_an_error_with_its_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a hook of the generator fails, the error has its message."""
    fake = tmp_path / "ruff"
    fake.write_text("#!/bin/sh\necho it broke >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(ContractError, match="openapi-python-client: ruff failed it broke"):
        building.build(plan(ROOT, documents.read_contract(ROOT / "openapi.yaml")), ROOT, tmp_path / "out")


def test_options_that_contradict_each_other_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """`--only` without `--from`, and `--check` with it, exit with 2."""
    for arguments in (["generate", "--only"], ["generate", "--check", "--from", "x"]):
        with pytest.raises(SystemExit) as caught:
            commands.run(arguments)
        assert caught.value.code == 2

    assert "--only goes with --from" in capsys.readouterr().err


def test_a_schema_of_type_null_has_an_example() -> None:
    """The example of a schema of type null is `None`."""
    assert example({}, {"type": "null"}) is None


def test_a_response_without_a_schema_has_no_body_facts() -> None:
    """A media type without a schema is no fact about a body."""
    document = edited(lambda d: task(d)["responses"]["200"]["content"]["application/json"].pop("schema"))

    assert answers(document) == ({}, {})
    (change,) = changes(of_document(CONTRACT), of_document(document))
    assert (change.what, change.old, change.new) == ("", "body", None)


def test_a_missing_python_package_is_one_line() -> None:
    """An interpreter without a package that the tool needs is exit 1, and one line says how to install it."""
    code = "import sys; sys.argv[1:] = ['check']; sys.modules['ruamel.yaml'] = None; from contract.__main__ import main; sys.exit(main())"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert "make setup" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "value",
    ["1e3", "0x1F", "0o7", "1_000", "12:30:00", "=", "<<", "on", "null", "~", "", "1.", ".inf", "2020-01-01", "&a", "- a",
     "a: b", "\u2028x", "x\u0085y", "a\nb", " a ", "0123", 1e22, 1e-7, 10**30, True, None, [], {}],
)  # fmt: skip
def test_a_value_is_the_same_after_it_was_written(value: Any) -> None:
    """What stands in a contract made of several pages is what stood in the pages, also if it looks like a number."""
    read = documents.parse(documents.dump({"a": value, str(value): 1}), "made")

    assert json.dumps(read) == json.dumps({"a": value, str(value): 1})


def test_schemas_that_refer_to_each_other_are_written_once_each() -> None:
    """Of 100 schemas in a web each stands once in `contract.py`, and one inside itself may be anything."""
    refs = [
        {f"f{n}": {"$ref": f"#/components/schemas/S{(number + n) % 100}"} for n in (0, 1, 2)} for number in range(100)
    ]
    schemas = {f"S{number}": {"type": "object", "properties": fields} for number, fields in enumerate(refs)}
    document = edited(
        lambda d: (
            d.update(components={"schemas": schemas}),
            task(d).update(responses={"200": {"content": {"a/json": {"schema": refs[0]["f0"]}}}}),
        )
    )

    made, named_ones = answers(document)

    assert made == {f"GET {PATH}": {"200": "_SCHEMA_99"}}
    assert len(named_ones) == 100
    assert named_ones["_SCHEMA_99"]["properties"] == {"f0": {}, "f1": "_SCHEMA_98", "f2": "_SCHEMA_97"}
    assert len(written(document)) < 20_000


def test_a_page_without_components_keeps_those_of_other_paths(tmp_path: Path) -> None:
    """A page without `components` keeps the components of the other paths."""
    contract = documents.read_contract(ROOT / "openapi.yaml")
    page = {key: value for key, value in contract.items() if key != "components"}
    item = contract["paths"]["/v1/videos/tasks/{task_id}"]
    contract = contract | {"components": {"schemas": {"Kept": {"type": "string"}}}}
    del contract["security"]
    contract["paths"] = contract["paths"] | {"/v2/videos/tasks/{task_id}": item}
    for name, content in (("old", contract), ("page", page)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    assert "Kept" in merge(tmp_path / "old.json", [tmp_path / "page.json"], only=False).text

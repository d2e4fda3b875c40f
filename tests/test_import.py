"""The import takes the vendor's pages unchanged, merges or rejects them, and changes all files or none."""

from __future__ import annotations

import copy
import json
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
from openapi_python_client.parser.errors import GeneratorError

from contract import commands
from contract import document as documents
from contract import generate as generation
from contract.document import ContractError
from contract.example import example
from contract.facts import of_document
from contract.names import Names, names
from contract.overlay import named
from contract.pages import merge
from contract.validate import validate
from contract.written import answers

PAGE = (Path(__file__).parent / "query-task.md").read_text(encoding="utf-8")
CONTRACT = documents.read(ROOT / "openapi.yaml")[0]
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

    text = merge(ROOT / "openapi.yaml", [exported], only=False)

    assert text.encode() == (ROOT / "openapi.yaml").read_bytes()


def test_a_json_export_is_read_as_a_contract(tmp_path: Path) -> None:
    """A JSON export of the contract has the same content as the YAML one."""
    text = merge(ROOT / "openapi.yaml", [page(tmp_path, lambda _: None)], only=False)

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

    document = documents.parse(merge(ROOT / "openapi.yaml", [one, two, one], only=True), Path("merged"))

    assert list(document["paths"]) == [PATH, "/v1/credit/{account}"]
    assert list(document["components"]["schemas"]) == ["Entry"]
    assert document["tags"] == [{"name": "a"}]


def test_a_page_replaces_its_own_paths_only(tmp_path: Path) -> None:
    """A page replaces the paths that it has, and the other paths stay."""
    current = page(tmp_path, lambda _: None, "current.json")
    current.write_text(merge(current, [page(tmp_path, credit, "two.json")], only=False), encoding="utf-8")
    changed = page(tmp_path, lambda d: task(d).update(summary="新"))

    document = documents.parse(merge(current, [changed], only=False), Path("merged"))

    assert list(document["paths"]) == [PATH, "/v1/credit/{account}"]
    assert task(document)["summary"] == "新"
    assert list(document["components"]["schemas"]) == ["Entry"]


@pytest.mark.parametrize(
    ("edit", "pointer"),
    [
        (lambda d: answer(d)["properties"]["progress"].update(type="string"), "/properties/progress/type"),
        (lambda d: answer(d)["properties"]["state"]["enum"].append("x"), "/properties/state/enum"),
        (lambda d: d.update(servers=[{"url": "https://elsewhere.example"}]), "/servers"),
        (lambda d: d.update(openapi="3.1.0"), "/openapi"),
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
    "no paths": (lambda d: d.update(paths={}), "/paths"),
    "a path without an operation": (lambda d: d.update(paths={PATH: {}}), "/paths"),
    "Swagger 2": (lambda d: (d.pop("openapi"), d.update(swagger="2.0")), "Swagger 2.0"),
    "OpenAPI 4": (lambda d: d.update(openapi="4.0.0"), "OpenAPI 4.0.0"),
    "unresolved $ref": (lambda d: answer(d)["properties"].update(id={"$ref": "#/components/schemas/No"}), "schemas/No"),
    "$ref to itself": (
        lambda d: (
            d["components"]["schemas"].update(A={"$ref": "#/components/schemas/A"}),
            answer(d)["properties"].update(id={"$ref": "#/components/schemas/A"}),
        ),
        "not valid",
    ),
    "$ref to another file": (lambda d: answer(d)["properties"].update(id={"$ref": "other.yaml#/A"}), "other.yaml"),
    "XML body": (
        lambda d: task(d)["responses"]["200"].update(content={"application/xml": {"schema": {"type": "string"}}}),
        "application/xml",
    ),
    "path parameter missing": (lambda d: task(d)["parameters"].pop(0), "task_id"),
    "path parameter not required": (lambda d: task(d)["parameters"][0].update(required=False), "required"),
    "path parameter that the path lacks": (lambda d: task(d)["parameters"][0].update(name="id"), "id"),
    "enum values that collide": (enum("a-b", "a_b"), "Duplicate key"),
    "enum values that differ by case": (enum("Done", "done"), "Duplicate key"),
    "label of an unknown value": (lambda d: answer(d)["properties"]["state"]["enum"].remove("running"), "running"),
    "overlay action without a target": (
        lambda d: d.update(paths={"/v1/other/{task_id}": d["paths"][PATH]}),
        "overlay.yaml: /actions/2",
    ),
    "class override without a class": (lambda d: answer(d)["properties"].pop("action"), "generator.yaml"),
    "two operations with one name": (
        lambda d: d["paths"].update({"/v1/x": {"get": {"operationId": "get_video_task", "responses": {"200": {"description": ""}}}}}),
        "2 operations would become 1 module",
    ),
    "code in a summary": (lambda d: task(d).update(summary=CODE), "would become code"),
    "a line break and a quote in a summary": (lambda d: task(d).update(summary=CODE_LINE), "would become code"),
    "code in a description": (lambda d: answer(d).update(description=CODE), "would become code"),
    "code in a title": (lambda d: answer(d).update(title=CODE_LINE), "would become code"),
    "code in an enum value": (enum("pending", CODE_LINE), "would become code"),
    "code in the name of a field": (lambda d: answer(d)["properties"].update({CODE_LINE: {}}), "would become code"),
    "code in a default": (
        lambda d: answer(d)["properties"]["message"].update(default=CODE_LINE, type="string"),
        "would become code",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REJECTED)
def test_a_page_that_cannot_be_generated_is_rejected(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A page that the generator would drop, garble or turn into code is exit 1 with one line, and no file changes."""
    edit, message = REJECTED[name]
    path = page(checkout.parent, edit)
    monkeypatch.setattr(commands, "ROOT", checkout)
    monkeypatch.setattr(generation, "check_tools", lambda _root: None)  # because it takes longer than all the rest
    monkeypatch.setattr(generation, "verify", lambda *_: pytest.fail("the package was accepted"))
    before = tree(checkout)

    code = commands.run(["generate", "--from", str(path), "--only"])

    error = capsys.readouterr().err
    assert code == 1
    assert len(error.splitlines()) == 1, error
    assert re.search(message, error), error
    assert tree(checkout) == before


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


@pytest.mark.slow
def test_a_failed_check_changes_no_file(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the contract check finds a difference, no file changes and nothing is reported."""

    def fail(_root: Path, _spec: Path, generated: Path) -> None:
        assert (generated / "duomi_api/api/videos/post_v1_credit_account.py").is_file()
        raise ContractError("contract check: a difference")

    monkeypatch.setattr(commands, "ROOT", checkout)
    monkeypatch.setattr(generation, "verify", fail)
    before = tree(checkout)

    code = commands.run(["generate", "--from", str(page(checkout.parent, credit))])

    shown = capsys.readouterr()
    assert (code, shown.out, shown.err) == (1, "", "contract check: a difference\n")
    assert tree(checkout) == before


def test_verify_raises_what_the_contract_check_finds(checkout: Path) -> None:
    """The error of a wrong package has the difference that the contract check finds."""
    target = checkout / "generated/duomi_api/models/task_state.py"
    target.write_text(target.read_text(encoding="utf-8").replace("已成功", "成功"), encoding="utf-8")

    with pytest.raises(ContractError, match="labels"):
        generation.verify(ROOT, ROOT / "openapi.yaml", checkout / "generated")


def test_a_scratch_folder_of_a_killed_run_is_removed(checkout: Path) -> None:
    """A run removes the scratch folder of an earlier run that was killed."""
    (checkout / ".generate-killed").mkdir()

    assert run(checkout).returncode == 0
    assert not list(checkout.glob(".generate-*"))


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
    """Without a server the check finds no difference, because the caller must give one."""
    done = run(checkout, "--from", page(checkout.parent, remove_servers))

    assert (done.returncode, done.stderr) == (0, "")
    assert "REVIEW /servers" in done.stdout


def credit_with(**more: Any) -> Edit:
    def edit(document: dict[str, Any]) -> None:
        credit(document)
        document.update(more)

    return edit


def test_a_page_of_another_openapi_version_is_rejected(tmp_path: Path) -> None:
    """OpenAPI 3.0 and 3.1 are not mixed in one contract, because the same words mean different things."""
    new = page(tmp_path, credit_with(openapi="3.1.0"))

    with pytest.raises(ContractError, match="--only replaces all"):
        merge(ROOT / "openapi.yaml", [new], only=False)


def test_a_page_without_servers_keeps_the_old_ones(tmp_path: Path) -> None:
    """If a page has no servers, the contract keeps its own."""

    def edit(document: dict[str, Any]) -> None:
        credit(document)
        del document["servers"]

    merged = documents.parse(merge(ROOT / "openapi.yaml", [page(tmp_path, edit)], only=False), Path("merged"))

    assert merged["servers"] == CONTRACT["servers"]


def test_an_example_block_is_not_a_second_contract(tmp_path: Path) -> None:
    """A page may have an example in another block beside the contract."""
    example_page = tmp_path / "page.md"
    example_page.write_text(PAGE + '\n```json\n{"id": "x"}\n```\n', encoding="utf-8")

    assert merge(ROOT / "openapi.yaml", [example_page], only=False).encode() == (ROOT / "openapi.yaml").read_bytes()


def test_the_tags_of_other_pages_are_kept(tmp_path: Path) -> None:
    """A new page adds its tags to those of the paths that stay."""
    current = page(tmp_path, lambda d: d.update(tags=[{"name": "a"}]), "current.json")
    new = page(tmp_path, credit_with(tags=[{"name": "b"}]))

    merged = documents.parse(merge(current, [new], only=False), Path("merged"))

    assert merged["tags"] == [{"name": "b"}, {"name": "a"}]


def test_an_error_that_no_openapi_validator_finds_is_rejected() -> None:
    """A path parameter without a description, and a body without a type, are errors with their place."""
    for edit, message in (
        (lambda d: task(d)["parameters"].pop(0), "'task_id' is not described"),
        (lambda d: task(d)["parameters"][0].update(name="id"), "not described"),
        (lambda d: task(d)["parameters"][0].update(required=False), "must be required"),
        (lambda d: d["paths"].update({"/v1/x": d["paths"].pop(PATH)}), "the path has no {task_id}"),
        (lambda d: task(d)["responses"]["200"]["content"]["application/json"].update(schema={}), "has no type"),
    ):
        with pytest.raises(ContractError, match=re.escape(message)):
            validate(edited(edit))


def test_a_reference_without_a_target_is_an_error() -> None:
    """A reference into a list is followed, and one to another file, in a circle or to nothing is an error."""
    document = {"a": [{"x": 1}], "b": {"$ref": "#/b"}}

    assert documents.resolve(document, {"$ref": "#/a/0"}, "/") == ({"x": 1}, "/a/0")
    for reference in ("#/b", "other.yaml", "#/a/7"):
        with pytest.raises(ContractError, match="leads nowhere"):
            documents.resolve(document, {"$ref": reference}, "/")


def test_an_error_of_the_generator_is_found_before_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that the generator would leave out, or cannot read, is an error before it writes a file."""
    named_contract = generation.load_named(ROOT, ROOT / "openapi.yaml")
    content = named_contract["paths"][PATH]["get"]["responses"]["200"]["content"]
    content["application/xml"] = content.pop("application/json")
    config = ROOT / "generator.yaml"
    with pytest.raises(ContractError, match="would leave something out"):
        names(named_contract, config)

    monkeypatch.setattr(GeneratorData, "from_dict", lambda *_a, **_k: GeneratorError(header="cannot", detail="read"))
    with pytest.raises(ContractError, match="cannot read"):
        names(named_contract, config)


def test_two_models_with_one_module_are_rejected() -> None:
    """Two classes that would overwrite each other are an error."""
    document = generation.load_named(ROOT, ROOT / "openapi.yaml")
    document["components"]["schemas"] = {"FooBAR": {"type": "object"}, "FooBar": {"type": "object"}}

    with pytest.raises(ContractError, match=r"openapi\.yaml"):
        names(document, ROOT / "generator.yaml")


def test_an_invalid_jsonpath_in_the_overlay_is_an_error() -> None:
    """The error of an invalid JSONPath has the number of its overlay action."""
    with pytest.raises(ContractError, match=r"/actions/0: .* is no JSONPath"):
        named({"paths": {}}, {"actions": [{"target": "$["}]})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: (t / "client.py").unlink(), "left out client.py"),
        (lambda t: (t / "models/video.py").unlink(), "left out the class Video"),
        (lambda t: (t / "models/video.py").write_text("class Video:\n  a = \n"), "is no Python"),
        (lambda t: (t / "models/video.py").write_text("class Video: pass\nprint()\n"), "would run code"),
        (lambda t: (t / "models/video.py").write_text("class Video:\n  import os\n  a = os.getcwd()\n"), "would run code"),
    ],
)  # fmt: skip
def test_an_incomplete_or_unsafe_package_is_rejected(
    tmp_path: Path, edit: Callable[[Path], object], message: str
) -> None:
    """A missing file or class, invalid Python, and code that would run on import are errors."""
    target = tmp_path / "duomi_api"
    shutil.copytree(ROOT / "generated/duomi_api", target)
    expected = names(generation.load_named(ROOT, ROOT / "openapi.yaml"), ROOT / "generator.yaml")
    edit(target)

    if "no Python" in message:
        target.joinpath("models/task_state.py").write_text("=")
        target.joinpath("models/video.py").write_text("class Video: pass\n")
        expected = Names({"video": "Video"}, expected.endpoints, {})

    with pytest.raises(ContractError, match=message):
        generation._account_for(expected, target)


def test_a_missing_tool_or_another_generator_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that is not on PATH, and an interpreter with another generator, are errors that say so."""
    monkeypatch.setattr(generation, "version", lambda _name: "0.0.0")
    with pytest.raises(ContractError, match="another openapi-python-client than PATH"):
        generation.check_tools(ROOT)

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ContractError, match="is not on PATH"):
        generation.check_tools(ROOT)


def test_a_failed_generator_is_an_error_with_its_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the generator fails, the error has its message."""
    fake = tmp_path / "openapi-python-client"
    fake.write_text("#!/bin/sh\necho it broke >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(ContractError, match="openapi-python-client: it broke"):
        generation.generate(ROOT, ROOT / "openapi.yaml", tmp_path / "out")


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

    assert answers(document) == {}
    assert not [name for name in of_document(document).places if name.endswith("application/json ")]


def test_a_missing_python_package_is_one_line() -> None:
    """An interpreter without a package that the tool needs is exit 1, and one line says how to install it."""
    code = "import sys; sys.modules['ruamel.yaml'] = None; from contract.__main__ import main; sys.exit(main())"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert "make setup" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_page_without_components_keeps_those_of_other_paths(tmp_path: Path) -> None:
    """A page without `components` keeps the components of the other paths."""
    contract, _ = documents.read(ROOT / "openapi.yaml")
    page = {key: value for key, value in contract.items() if key != "components"}
    item = contract["paths"]["/v1/videos/tasks/{task_id}"]
    contract = contract | {"components": {"schemas": {"Kept": {"type": "string"}}}}
    del contract["security"]
    contract["paths"] = contract["paths"] | {"/v2/videos/tasks/{task_id}": item}
    for name, content in (("old", contract), ("page", page)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    assert "Kept" in merge(tmp_path / "old.json", [tmp_path / "page.json"], only=False)

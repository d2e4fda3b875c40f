"""The vendor's pages, taken in: word for word, merged, refused, and all or nothing."""

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
def test_one_page_is_taken_word_for_word(tmp_path: Path, encode: str, change: Callable[[str], str]) -> None:
    """However a page was exported, its yaml block becomes openapi.yaml to the letter."""
    exported = tmp_path / "page.md"
    exported.write_bytes(change(PAGE).encode(encode))

    text = merge(ROOT / "openapi.yaml", [exported], only=False)

    assert text.encode() == (ROOT / "openapi.yaml").read_bytes()


def test_json_is_a_contract_too(tmp_path: Path) -> None:
    """A JSON export says the same, in its own words."""
    text = merge(ROOT / "openapi.yaml", [page(tmp_path, lambda _: None)], only=False)

    assert json.loads(text) == CONTRACT


@pytest.mark.slow
def test_the_same_page_changes_nothing(checkout: Path) -> None:
    """The page that openapi.yaml was made of is reported as no change, and leaves every byte."""
    before = tree(checkout)
    (checkout.parent / "query-task.md").write_text(PAGE.rstrip(), encoding="utf-8", newline="\r\n")

    done = run(checkout, "--from", "query-task.md", cwd=checkout.parent)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert tree(checkout) == before


@pytest.mark.slow
def test_another_page_joins_the_contract(checkout: Path) -> None:
    """A new operation comes out with ASCII names, its neighbour stays, and the report says how to name it well."""
    new = page(checkout.parent, credit)
    named = checkout / "generated/duomi_api/api/videos"

    done = run(checkout, "--from", new)

    assert done.returncode == 0, done.stderr
    assert "NOTE   /paths/~1v1~1credit~1{account}/post" in done.stdout
    (suggested,) = re.findall(r"overlay.yaml could name it: (.*)", done.stdout)
    assert suggested == "{target: \"$.paths['/v1/credit/{account}'].post\", update: {operationId: create_credit}}"
    assert "version bump: patch, or minor" in done.stdout
    assert {p.name for p in named.glob("*.py")} == {"__init__.py", "get_video_task.py", "post_v1_credit_account.py"}
    assert all(name.isascii() for name in tree(checkout))
    taken = tree(checkout)
    assert run(checkout, "--from", new).returncode == 0
    assert tree(checkout) == taken
    overlay = checkout / "overlay.yaml"
    overlay.write_text(f"{overlay.read_text(encoding='utf-8')}  - {suggested}\n", encoding="utf-8")
    again = run(checkout)
    assert (again.returncode, again.stderr) == (0, "")
    assert (named / "create_credit.py").is_file()


@pytest.mark.slow
def test_only_replaces_all(checkout: Path) -> None:
    """With `--only` what the pages do not have is gone, and an overlay that is left over is named."""
    before = tree(checkout)

    done = run(checkout, "--from", page(checkout.parent, credit), "--only")

    assert done.returncode == 1
    assert "matches nothing" in done.stderr
    assert tree(checkout) == before


@pytest.mark.slow
def test_a_new_state_is_taken_and_asks_for_a_decision(checkout: Path) -> None:
    """A new state is a REVIEW that does not stop the import; then one test is red, and says who must decide what."""

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
    red = subprocess.run(test_command, cwd=checkout, capture_output=True, text=True, check=False)
    assert red.returncode == 1
    assert "decide in wrapper/duomi/_task.py what these states mean: paused" in red.stdout


def test_pages_merge(tmp_path: Path) -> None:
    """Paths, components and tags of several pages stand in one contract, each once."""
    one, two = page(tmp_path, lambda d: d.update(tags=[{"name": "a"}]), "one.json"), page(tmp_path, credit, "two.json")

    document = documents.parse(merge(ROOT / "openapi.yaml", [one, two, one], only=True), Path("merged"))

    assert list(document["paths"]) == [PATH, "/v1/credit/{account}"]
    assert list(document["components"]["schemas"]) == ["Entry"]
    assert document["tags"] == [{"name": "a"}]


def test_paths_that_the_pages_have_are_replaced(tmp_path: Path) -> None:
    """The vendor's new word on a path counts; what it does not mention stays."""
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
def test_pages_that_contradict_each_other_are_refused(tmp_path: Path, edit: Edit, pointer: str) -> None:
    """A contradiction names both files and the place."""
    one, two = page(tmp_path, lambda _: None, "one.json"), page(tmp_path, edit, "two.json")

    with pytest.raises(ContractError) as caught:
        merge(ROOT / "openapi.yaml", [one, two], only=True)

    said = str(caught.value)
    assert all(word in said for word in ("one.json", "two.json", pointer)), said


def enum(*values: str) -> Edit:
    return lambda d: answer(d)["properties"]["state"].update({"enum": list(values), "x-apifox-enum": []})


EVIL = 'x"""\nimport os\n"""'
EVIL_LINE = 'x"\n__import__("os").system("true")\n"'

REFUSED: dict[str, tuple[Edit, str]] = {
    "no paths": (lambda d: d.update(paths={}), "/paths"),
    "no operation": (lambda d: d.update(paths={PATH: {}}), "/paths"),
    "Swagger 2": (lambda d: (d.pop("openapi"), d.update(swagger="2.0")), "Swagger 2.0"),
    "OpenAPI 4": (lambda d: d.update(openapi="4.0.0"), "OpenAPI 4.0.0"),
    "broken $ref": (lambda d: answer(d)["properties"].update(id={"$ref": "#/components/schemas/No"}), "schemas/No"),
    "$ref to itself": (
        lambda d: (
            d["components"]["schemas"].update(A={"$ref": "#/components/schemas/A"}),
            answer(d)["properties"].update(id={"$ref": "#/components/schemas/A"}),
        ),
        "not valid",
    ),
    "$ref to another file": (lambda d: answer(d)["properties"].update(id={"$ref": "other.yaml#/A"}), "other.yaml"),
    "xml body": (
        lambda d: task(d)["responses"]["200"].update(content={"application/xml": {"schema": {"type": "string"}}}),
        "application/xml",
    ),
    "path parameter missing": (lambda d: task(d)["parameters"].pop(0), "task_id"),
    "path parameter not required": (lambda d: task(d)["parameters"][0].update(required=False), "required"),
    "path parameter that the path lacks": (lambda d: task(d)["parameters"][0].update(name="id"), "id"),
    "enum values that collide": (enum("a-b", "a_b"), "Duplicate key"),
    "enum values that differ by case": (enum("Done", "done"), "Duplicate key"),
    "label of a value that is none": (lambda d: answer(d)["properties"]["state"]["enum"].remove("running"), "running"),
    "overlay that matches nothing": (
        lambda d: d.update(paths={"/v1/other/{task_id}": d["paths"][PATH]}),
        "overlay.yaml: /actions/2",
    ),
    "override that matches nothing": (lambda d: answer(d)["properties"].pop("action"), "generator.yaml"),
    "two operations of one name": (
        lambda d: d["paths"].update({"/v1/x": {"get": {"operationId": "get_video_task", "responses": {"200": {"description": ""}}}}}),
        "2 operations would become 1 module",
    ),
    "code in a summary": (lambda d: task(d).update(summary=EVIL), "would become code"),
    "a line break and a quote in a summary": (lambda d: task(d).update(summary=EVIL_LINE), "would become code"),
    "code in a description": (lambda d: answer(d).update(description=EVIL), "would become code"),
    "code in a title": (lambda d: answer(d).update(title=EVIL_LINE), "would become code"),
    "code in an enum value": (enum("pending", EVIL_LINE), "would become code"),
    "code in the name of a field": (lambda d: answer(d)["properties"].update({EVIL_LINE: {}}), "would become code"),
    "code in a default": (
        lambda d: answer(d)["properties"]["message"].update(default=EVIL_LINE, type="string"),
        "would become code",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_lost_or_run_is_refused(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """What the generator would drop, garble or make code of is exit 1, one line that names it, and nothing changed."""
    edit, said = REFUSED[name]
    path = page(checkout.parent, edit)
    monkeypatch.setattr(commands, "ROOT", checkout)
    monkeypatch.setattr(generation, "check_tools", lambda _root: None)  # which takes longer than all the rest
    monkeypatch.setattr(generation, "verify", lambda *_: pytest.fail("the package was accepted"))
    before = tree(checkout)

    code = commands.run(["generate", "--from", str(path), "--only"])

    error = capsys.readouterr().err
    assert code == 1
    assert len(error.splitlines()) == 1, error
    assert re.search(said, error), error
    assert tree(checkout) == before


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"\x00", b"openapi: [", b"{", b"- a\n", b"a: &a [*a]\n"])
def test_what_is_no_page_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file of any bytes, or none at all, is one line that names it."""
    path = tmp_path / "page.md"
    path.write_bytes(content)

    for given in (path, tmp_path / "missing.md", tmp_path):
        with pytest.raises(ContractError) as caught:
            merge(ROOT / "openapi.yaml", [given], only=False)
        assert str(given) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_nothing_is_touched_before_the_proof(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the contract check finds a difference, openapi.yaml and generated/ were not touched, and nothing was reported."""

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


def test_the_proof_is_the_contract_check(checkout: Path) -> None:
    """What the check says of a wrong package is the cause that the maintainer reads."""
    target = checkout / "generated/duomi_api/models/task_state.py"
    target.write_text(target.read_text(encoding="utf-8").replace("已成功", "成功"), encoding="utf-8")

    with pytest.raises(ContractError, match="labels"):
        generation.verify(ROOT, ROOT / "openapi.yaml", checkout / "generated")


def test_what_a_killed_run_left_is_removed(checkout: Path) -> None:
    """A run that was killed leaves a scratch folder, and the next run removes it."""
    (checkout / ".generate-killed").mkdir()

    assert run(checkout).returncode == 0
    assert not list(checkout.glob(".generate-*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "seconds"),
    [(n, s) for n in (signal.SIGINT, signal.SIGTERM) for s in (0.02, 0.4, 1.0, 1.6, 2.2)] + [(signal.SIGHUP, 2.6)],
)
def test_an_interrupt_leaves_everything_as_it_was(checkout: Path, number: signal.Signals, seconds: float) -> None:
    """A signal at any moment is exit 1 and one line, or comes too late; nothing is half done in either case."""
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
        # Whoever is hit before it has begun says nothing.
        assert (process.returncode, len(error.splitlines())) in {(1, 1), (-number, 0)}, error


@pytest.mark.slow
def test_a_page_of_all_that_openapi_allows_is_taken(checkout: Path) -> None:
    """Recursion, unions, constants, nullable, cookies, bodies, ranges of status: the check finds no lie where there is none."""
    done = run(checkout, "--from", ROOT / "tests/odd-page.yaml")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("BREAK")


def servers_gone(document: dict[str, Any]) -> None:
    document.pop("servers")


@pytest.mark.slow
def test_a_page_without_a_server_is_taken(checkout: Path) -> None:
    """The server is the caller's to give then, and the check finds no lie."""
    done = run(checkout, "--from", page(checkout.parent, servers_gone))

    assert (done.returncode, done.stderr) == (0, "")
    assert "REVIEW /servers" in done.stdout


def credit_and(**more: Any) -> Edit:
    def edit(document: dict[str, Any]) -> None:
        credit(document)
        document.update(more)

    return edit


def test_paths_of_another_openapi_version_do_not_stay(tmp_path: Path) -> None:
    """3.0 and 3.1 mean different things by the same words, so they are not mixed."""
    new = page(tmp_path, credit_and(openapi="3.1.0"))

    with pytest.raises(ContractError, match="--only replaces all"):
        merge(ROOT / "openapi.yaml", [new], only=False)


def test_a_page_without_servers_leaves_the_old_ones(tmp_path: Path) -> None:
    """What a page does not say of servers is as it was."""

    def edit(document: dict[str, Any]) -> None:
        credit(document)
        del document["servers"]

    merged = documents.parse(merge(ROOT / "openapi.yaml", [page(tmp_path, edit)], only=False), Path("merged"))

    assert merged["servers"] == CONTRACT["servers"]


def test_an_example_is_no_second_contract(tmp_path: Path) -> None:
    """A page may show an answer in a block of its own."""
    example_page = tmp_path / "page.md"
    example_page.write_text(PAGE + '\n```json\n{"id": "x"}\n```\n', encoding="utf-8")

    assert merge(ROOT / "openapi.yaml", [example_page], only=False).encode() == (ROOT / "openapi.yaml").read_bytes()


def test_tags_of_paths_that_stay_stay(tmp_path: Path) -> None:
    """What another page said of its tags is kept with its paths."""
    current = page(tmp_path, lambda d: d.update(tags=[{"name": "a"}]), "current.json")
    new = page(tmp_path, credit_and(tags=[{"name": "b"}]))

    merged = documents.parse(merge(current, [new], only=False), Path("merged"))

    assert merged["tags"] == [{"name": "b"}, {"name": "a"}]


def test_what_no_validator_finds_is_refused() -> None:
    """A path parameter that nobody describes, and a body without a type, are named with their place."""
    for edit, said in (
        (lambda d: task(d)["parameters"].pop(0), "'task_id' is not described"),
        (lambda d: task(d)["parameters"][0].update(name="id"), "not described"),
        (lambda d: task(d)["parameters"][0].update(required=False), "must be required"),
        (lambda d: d["paths"].update({"/v1/x": d["paths"].pop(PATH)}), "the path has no {task_id}"),
        (lambda d: task(d)["responses"]["200"]["content"]["application/json"].update(schema={}), "has no type"),
    ):
        with pytest.raises(ContractError, match=re.escape(said)):
            validate(edited(edit))


def test_references_are_followed_to_their_end() -> None:
    """A reference into a list is one, and one to another file or in a circle is none."""
    document = {"a": [{"x": 1}], "b": {"$ref": "#/b"}}

    assert documents.resolve(document, {"$ref": "#/a/0"}, "/") == ({"x": 1}, "/a/0")
    for reference in ("#/b", "other.yaml", "#/a/7"):
        with pytest.raises(ContractError, match="leads nowhere"):
            documents.resolve(document, {"$ref": reference}, "/")


def test_the_generators_own_errors_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the generator would leave out, or cannot read, is told before it writes a file."""
    named_contract = generation.load_named(ROOT, ROOT / "openapi.yaml")
    content = named_contract["paths"][PATH]["get"]["responses"]["200"]["content"]
    content["application/xml"] = content.pop("application/json")
    config = ROOT / "generator.yaml"
    with pytest.raises(ContractError, match="would leave something out"):
        names(named_contract, config)

    monkeypatch.setattr(GeneratorData, "from_dict", lambda *_a, **_k: GeneratorError(header="cannot", detail="read"))
    with pytest.raises(ContractError, match="cannot read"):
        names(named_contract, config)


def test_two_models_of_one_module_are_refused() -> None:
    """Two classes that would overwrite each other are named before they do."""
    document = generation.load_named(ROOT, ROOT / "openapi.yaml")
    document["components"]["schemas"] = {"FooBAR": {"type": "object"}, "FooBar": {"type": "object"}}

    with pytest.raises(ContractError, match=r"openapi\.yaml"):
        names(document, ROOT / "generator.yaml")


def test_an_overlay_that_is_no_jsonpath_is_named() -> None:
    """A slip in overlay.yaml is one line with the action's number."""
    with pytest.raises(ContractError, match=r"/actions/0: .* is no JSONPath"):
        named({"paths": {}}, {"actions": [{"target": "$["}]})


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda t: (t / "client.py").unlink(), "left out client.py"),
        (lambda t: (t / "models/video.py").unlink(), "left out the class Video"),
        (lambda t: (t / "models/video.py").write_text("class Video:\n  a = \n"), "is no Python"),
        (lambda t: (t / "models/video.py").write_text("class Video: pass\nprint()\n"), "would run code"),
        (lambda t: (t / "models/video.py").write_text("class Video:\n  import os\n  a = os.getcwd()\n"), "would run code"),
    ],
)  # fmt: skip
def test_what_came_out_is_accounted_for(tmp_path: Path, edit: Callable[[Path], object], said: str) -> None:
    """A file or a class that is missing, and code that would run on import, are found before the swap."""
    target = tmp_path / "duomi_api"
    shutil.copytree(ROOT / "generated/duomi_api", target)
    expected = names(generation.load_named(ROOT, ROOT / "openapi.yaml"), ROOT / "generator.yaml")
    edit(target)

    if "no Python" in said:
        target.joinpath("models/task_state.py").write_text("=")
        target.joinpath("models/video.py").write_text("class Video: pass\n")
        expected = Names({"video": "Video"}, expected.endpoints, {})
    with pytest.raises(ContractError, match=said):
        generation._account_for(expected, target)


def test_tools_that_are_missing_or_others_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tool on PATH, and an interpreter with another generator, are one line each."""
    monkeypatch.setattr(generation, "version", lambda _name: "0.0.0")
    with pytest.raises(ContractError, match="another openapi-python-client than PATH"):
        generation.check_tools(ROOT)

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ContractError, match="is not on PATH"):
        generation.check_tools(ROOT)


def test_a_generator_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the generator says when it gives up is what the maintainer reads."""
    fake = tmp_path / "openapi-python-client"
    fake.write_text("#!/bin/sh\necho it broke >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(ContractError, match="openapi-python-client: it broke"):
        generation.generate(ROOT, ROOT / "openapi.yaml", tmp_path / "out")


def test_only_goes_with_from(capsys: pytest.CaptureFixture[str]) -> None:
    """Options that make no sense together are a usage error."""
    for arguments in (["generate", "--only"], ["generate", "--check", "--from", "x"]):
        with pytest.raises(SystemExit) as caught:
            commands.run(arguments)
        assert caught.value.code == 2
    assert "--only goes with --from" in capsys.readouterr().err


def test_a_schema_of_nothing_but_null_has_an_example() -> None:
    """The check can make up a value for whatever a schema says."""
    assert example({}, {"type": "null"}) is None


def test_an_answer_without_a_schema_has_no_shape() -> None:
    """A media type alone is no fact about a body."""
    document = edited(lambda d: task(d)["responses"]["200"]["content"]["application/json"].pop("schema"))

    assert answers(document) == {}
    assert not [name for name in of_document(document).places if name.endswith("application/json ")]


def test_a_missing_tool_of_pythons_is_one_line() -> None:
    """Run by an interpreter without what it needs, the tool says what is missing."""
    code = "import sys; sys.modules['ruamel.yaml'] = None; from contract.__main__ import main; sys.exit(main())"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert "make setup" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_page_without_components_keeps_those_of_other_paths(tmp_path: Path) -> None:
    """A page that has no `components` joins a contract that has some."""
    contract, _ = documents.read(ROOT / "openapi.yaml")
    page = {key: value for key, value in contract.items() if key != "components"}
    item = contract["paths"]["/v1/videos/tasks/{task_id}"]
    contract = contract | {"components": {"schemas": {"Kept": {"type": "string"}}}}
    del contract["security"]
    contract["paths"] = contract["paths"] | {"/v2/videos/tasks/{task_id}": item}
    for name, content in (("old", contract), ("page", page)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    assert "Kept" in merge(tmp_path / "old.json", [tmp_path / "page.json"], only=False)

"""The documentation is right: its Python runs, its links lead somewhere, and its languages agree."""

from __future__ import annotations

import ast
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duomi
import httpx
import pytest
from duomi.simulator import EXAMPLE_ID, Script, Simulator
from sybil import Example, Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from test_messages import CLIPS, GET, SETTINGS, WAITS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SYBIL = Sybil(parsers=[PythonCodeBlockParser()], path=str(ROOT))
DONE = Script(pending=0, running=())
TASKS = {
    EXAMPLE_ID: DONE,
    "5dd1ef43-...": DONE,
    "91ab20c7-...": Script(pending=0, running=(), outcome="character"),
    "91ab20c7-0001": Script(pending=0, running=(), outcome="error", message="refused"),
    "91ab20c7-0002": Script(pending=0, running=(), outcome="error", message="refused"),
}


LINK = r"(?:\]\(|^\[[^\]]+\]: )(?!https?:|#)([^)#\s]+)"  # with its target behind it, or below the text


def blocks() -> Iterator[Any]:
    """Return the Python blocks of all pages, except examples, which have their own tests."""
    for page in PAGES:
        if page.name.startswith("notebooks"):
            continue  # its blocks are cells, one after another: see test_notebooks.py
        for example in SYBIL.parse(page):
            if not str(example.parsed).startswith(("--8<--", "# examples/")):
                yield pytest.param(example, id=f"{page.relative_to(ROOT)}:{example.line}")


@pytest.mark.parametrize("example", list(blocks()))
def test_each_python_block_runs(
    example: Example, duomi_simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each Python block runs by itself, and the tests that it defines pass."""
    duomi_simulator.tasks.update(TASKS)
    monkeypatch.chdir(tmp_path)
    names = example.namespace
    names.clear()

    example.evaluate()

    for name in [name for name in names if name.startswith("test_")]:
        duomi_simulator.answer = None
        given = {"duomi_simulator": duomi_simulator, "tmp_path": tmp_path}
        parameters = names[name].__code__.co_varnames[: names[name].__code__.co_argcount]
        names[name](**{each: given[each] for each in parameters})


def code_blocks(page: Path) -> list[str]:
    """Return the fenced and the indented blocks of a page."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return fenced + re.findall(r"(?:^    .*\n)+", rest, re.MULTILINE)


def test_both_readmes_have_the_same_code() -> None:
    """The English and the Chinese README show the same code and the same commands, comments aside."""
    english, chinese = (
        [re.sub(r"( +#.*|^#.*\n)", "", block, flags=re.MULTILINE) for block in code_blocks(ROOT / name)]
        for name in ("README.md", "README.zh-CN.md")
    )

    assert len(english) > 5
    assert english == chinese


def test_both_readmes_explain_the_same_errors() -> None:
    """The English and the Chinese README explain the same errors."""
    english, chinese = (
        re.findall(r"`(\w+Error)`", (ROOT / name).read_text(encoding="utf-8"))
        for name in ("README.md", "README.zh-CN.md")
    )

    assert sorted(set(english)) == sorted(set(chinese))


def test_commands_can_be_pasted_into_a_shell() -> None:
    """A comment stands above its command: behind it zsh would take it for arguments, and `?` for a pattern."""
    commands = [
        f"{page.name}: {line}"
        for page in PAGES
        for block in re.findall(
            r"^ *```(?:sh|bash)\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        for line in block.splitlines()
        if not line.lstrip().startswith("#")
    ]

    assert len(commands) > 100
    assert [line for line in commands if re.search(r"\s#|\?", line)] == []


def test_no_page_repeats_a_table_of_a_readme() -> None:
    """A row of a README's table stands on no page of the site: a page includes the table, so the two cannot differ."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")).splitlines()
    rows = [
        line
        for name in ("README.md", "README.zh-CN.md")
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]

    assert len(rows) > 50
    assert [row for row in rows if row in pages] == []


def test_each_page_is_there_in_both_languages() -> None:
    """Each English page has a Chinese one, and the other way round."""
    names = {page.name for page in (ROOT / "docs").glob("*.md")}
    english = {name for name in names if not name.endswith(".zh.md")}

    assert len(english) > 10
    assert names - english == {name.replace(".md", ".zh.md") for name in english}


@pytest.mark.parametrize("name", ["tasks.md", "tasks.zh.md"])
def test_the_page_of_states_has_each_label_and_each_word(name: str) -> None:
    """The page Tasks and states has the label of each state, and each word that is read as one."""
    from duomi._payload import _SYNONYMS

    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.MULTILINE)
    cells = [(duomi.TaskState(state), cell) for state, cell in rows if state in list(duomi.TaskState)]
    words = {word: state for state, cell in cells for word in re.findall(r"`(\w+)`", cell)}

    assert {state for state, cell in cells if cell == state.label} == set(duomi.TaskState)
    assert words | {state.value: state for state in duomi.TaskState} == _SYNONYMS


def test_chinese_pages_lead_to_chinese_pages() -> None:
    """A link from a Chinese page, or from the Chinese README, to a page of the site leads to a Chinese one."""
    links = {
        link
        for page in [ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.zh.md"))]
        for link in re.findall(LINK, page.read_text(encoding="utf-8"), re.MULTILINE)
        if re.match(r"(docs/)?[a-z][a-z-]*[.\w]*\.md$", link)
    }

    assert len(links) > 8
    assert [link for link in links if not link.endswith(".zh.md")] == []


def test_chinese_pages_name_what_english_pages_name() -> None:
    """Each name, option, file and value that an English page sets as code is on its Chinese page, too."""
    for english in sorted((ROOT / "docs").glob("*.md")):
        if not english.name.endswith(".zh.md"):
            text = re.sub(r"^ *```.*?^ *```$", "", english.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
            chinese = english.with_suffix(".zh.md").read_text(encoding="utf-8")
            names = re.findall(r"`([\w./-]+)`", text)
            assert [name for name in names if name not in chinese] == [], english.name


def without_docstrings(source: str) -> str:
    """Return what a program does, without its docstrings and comments."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
        ):
            del node.body[0]
    return ast.unparse(tree)


def test_chinese_pages_show_the_examples() -> None:
    """An example in a Chinese page, with Chinese comments, is the program in examples/."""
    shown = [
        (found[1], example.parsed)
        for page in sorted((ROOT / "docs").glob("*.zh.md"))
        for example in SYBIL.parse(page)
        if (found := re.match(r"# (examples/\S+)\n", str(example.parsed)))
    ]

    assert sorted(name for name, _ in shown) == [
        "examples/celery/clips.py",
        "examples/celery/simulator.py",
        "examples/celery/web.py",
        "examples/mcp/server.py",
        "examples/object_store.py",
        "examples/webhook.py",
    ]
    for name, text in shown:
        assert without_docstrings(text) == without_docstrings((ROOT / name).read_text(encoding="utf-8")), name


def test_other_languages_have_the_same_programs() -> None:
    """The programs for Node and PHP are the same in both languages, and in examples/, comments aside."""
    english, chinese = (
        [
            re.sub(r" +// .*", "", re.sub(r"^ *// .*\n", "", program, flags=re.MULTILINE))
            for program in re.findall(r"^```(?:js|php)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        ]
        for text in (
            (ROOT / "docs/other-languages.md")
            .read_text(encoding="utf-8")
            .replace(
                '--8<-- "examples/node/wait.mjs"\n', (ROOT / "examples/node/wait.mjs").read_text(encoding="utf-8")
            ),
            (ROOT / "docs/other-languages.zh.md").read_text(encoding="utf-8"),
        )
    )

    assert len(english) == 2
    assert english == chinese


@pytest.mark.parametrize("name", ["frameworks", "notebooks"])
def test_both_languages_of_a_page_have_the_same_code(name: str) -> None:
    """The blocks of a page are the same in both languages, comments aside."""
    english, chinese = (
        [re.sub(r" +#.*", "", block) for block in code_blocks(ROOT / "docs" / page)]
        for page in (f"{name}.md", f"{name}.zh.md")
    )

    assert len(english) > 2
    assert english == chinese


GAP = "…"  # what differs from message to message, on the page of messages
# Calls whose text a person reads, besides errors; and where parts of such a text are put together.
SAID_BY = {"error", "of_body", "_Transient", "_UrlExpired", "print_stderr", "info", "warning"}
SAID_IN = {"describe", "described", "why", "_meaning", "_resume"}
PARTS = {"how", "reason", "shown", "text", "what", "why"}


def explained() -> list[str]:
    """Return the messages that the Chinese page 错误与提示 explains."""
    page = (ROOT / "docs/errors.zh.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    return [found.strip() for cell in cells for _, found in re.findall(r"(`+)(.+?)\1(?!`)", cell)]


def texts(node: ast.AST) -> Iterator[str]:
    """Return the texts below a node, with gaps for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.sub(r"%[.\d]*[sdgrf]", GAP, node.value)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(value.value) if isinstance(value, ast.Constant) else GAP for value in node.values)
    elif not isinstance(node, ast.Call):
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def said(tree: ast.AST) -> Iterator[str]:
    """Return the texts in a module that a person gets to read."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args):
                if name in SAID_BY or (name.endswith("Error") and (hasattr(duomi, name) or hasattr(httpx, name))):
                    yield from (text for arg in args for text in texts(arg))
            case ast.FunctionDef(name=name) if name in SAID_IN:
                yield from (text for each in ast.walk(node) if isinstance(each, ast.Return) for text in texts(each))
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AugAssign(target=ast.Name(id=name)) if name in PARTS:
                yield from texts(node.value)
            case ast.AnnAssign(target=ast.Name(id="_MEANINGS")):
                yield from texts(node)
            case _:
                pass


def test_each_message_is_explained_in_chinese() -> None:
    """Each message of an error, of the command line and of the log stands on the page 错误与提示."""
    page = "\n".join(explained())
    missing = [
        f"{file.name}: {text}"
        for file in sorted((ROOT / "wrapper/duomi").rglob("*.py"))
        for text in said(ast.parse(file.read_text(encoding="utf-8")))
        for part in text.partition("\n")[0].split(GAP)
        if " " in part.strip(" :;,.()") and part.strip(" :;,.()") not in page
    ]

    assert missing == []


@pytest.mark.parametrize("table", [GET, WAITS, CLIPS, SETTINGS], ids=["calls", "waits", "clips", "settings"])
def test_each_message_of_the_tables_is_explained_in_chinese(table: dict[str, Any]) -> None:
    """The plain words of each message that tests play out stand on the page 错误与提示."""
    page = explained()
    assert len(page) > 100

    def is_explained(words: str) -> bool:
        general = re.sub(r"\bx\b|\d[\d.,]*", GAP, words)
        return any(
            general in each or any(len(part) > 8 and part in general for part in each.split(GAP)) for each in page
        )

    for name, row in table.items():
        plain = next(each for each in row if isinstance(each, list) and isinstance(each[0], str))
        words = [word for words in plain for word in words.split("|") if word != "x.mp4" and not word.startswith("GET")]
        assert any(map(is_explained, words)) or not words, name


def test_the_help_names_the_page_of_messages() -> None:
    """`duomi --help` names the Chinese page that explains each message."""
    done = subprocess.run(
        [sys.executable, "-m", "duomi", "--help"], capture_output=True, encoding="utf-8", check=True,
        env=os.environ | {"PYTHONUTF8": "1"},
    )  # fmt: skip

    assert "错误与提示 (docs/errors.zh.md)" in " ".join(done.stdout.split())
    assert (ROOT / "docs/errors.zh.md").read_text(encoding="utf-8").startswith("# 错误与提示\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_a_target(page: Path) -> None:
    """Each link to a file of the repository has an existing target."""
    links = re.findall(LINK, page.read_text(encoding="utf-8"), re.MULTILINE)

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.slow
def test_the_screens_are_up_to_date(tmp_path: Path) -> None:
    """Each screen of the documentation is what the command line prints now."""
    script = (ROOT / "docs/screens.py").read_text(encoding="utf-8")
    # Another run of these tests may have the port.
    (tmp_path / "screens.py").write_text(script.replace("8017", str(random.randrange(8_018, 10_000))), encoding="utf-8")
    subprocess.run([sys.executable, "screens.py"], cwd=tmp_path, check=True, capture_output=True)

    drawn = {path.name for path in (tmp_path / "screens").iterdir()}
    assert drawn == {path.name for path in (ROOT / "docs/screens").iterdir()}
    for name in drawn:
        words = [
            re.findall(r">([^<>]+)</text>", (folder / name).read_text(encoding="utf-8"))
            for folder in (tmp_path / "screens", ROOT / "docs/screens")
        ]
        assert [re.sub(r"[\d:]+", "0", word) for word in words[0]] == [
            re.sub(r"[\d:]+", "0", word) for word in words[1]
        ]

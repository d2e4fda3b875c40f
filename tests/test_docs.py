"""The documentation is right: its Python runs, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from duomi.simulator import CLIP, EXAMPLE_ID, Script, Simulator
from harness import until
from sybil import Example, Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from werkzeug import Response

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


def blocks() -> Iterator[Any]:
    """Return the Python blocks of all pages, except included files, which have their own tests."""
    for page in PAGES:
        if page.name.startswith("notebooks"):
            continue  # its blocks are cells, one after another: see test_notebooks.py
        for example in SYBIL.parse(page):
            if not str(example.parsed).startswith("--8<--"):
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
        [re.sub(r" +#.*", "", block) for block in code_blocks(ROOT / name)] for name in ("README.md", "README.zh-CN.md")
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_a_target(page: Path) -> None:
    """Each link to a file of the repository has an existing target."""
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.slow
def test_the_example_webhook_does_not_trust_a_callback(duomi_simulator: Simulator, tmp_path: Path) -> None:
    """The example webhook asks the API before it saves a clip, so a forged callback has no effect."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ids = ["good", "late", "running", "failed"]
    duomi_simulator.tasks |= {"good": DONE, "late": Script(pending=2, running=()), "running": Script(pending=10**6)}
    duomi_simulator.tasks |= {"failed": Script(pending=0, running=(), outcome="error", message="refused")}
    forged = {"id": "running", "state": "succeeded", "data": {"videos": [{"url": "https://example.org/evil.mp4"}]}}
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "examples"), "--port", str(port), "webhook:app"]
    transport = httpx.HTTPTransport(retries=10)  # until it listens
    with (
        subprocess.Popen(
            command, cwd=tmp_path, stderr=subprocess.PIPE, env=os.environ | {"RECONCILE_EVERY": "0.2"}
        ) as service,
        httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=30.0) as vendor,
    ):
        assert [vendor.put(f"/tasks/{task_id}").status_code for task_id in ids] == [201] * 4
        answers = [
            vendor.post("/duomi", json={"task_id": "good", "state": "succeeded"}),
            vendor.post("/duomi", json={"id": "good"}),
            vendor.post("/duomi", json={"code": 200, "data": {"task_id": "good", "status": "SUCCESS", "images": []}}),
            vendor.post("/duomi", json=forged),
            vendor.post("/duomi", json=forged | {"id": "unknown"}),
            vendor.post("/duomi", json=forged | {"id": ".."}),
            vendor.post("/duomi", json={"status": "done"}),
            vendor.post("/duomi", content=b"nonsense"),
            vendor.post("/duomi", content=b" " * 100_000),
        ]
        # Nobody calls back for this one.
        until(lambda: vendor.get("/tasks/late").json()["state"] == "succeeded")
        shown = [vendor.get(f"/tasks/{task_id}").json()["state"] for task_id in ids]
        duomi_simulator.answer = lambda _request: Response("", 301)
        answers.append(vendor.post("/duomi", json={"id": "good", "state": "succeeded"}))
        service.terminate()

    assert [answer.status_code for answer in answers] == [202, 202, 202, 202, 404, 404, 400, 400, 413, 503]
    assert shown == ["succeeded", "succeeded", "pending", "error"]
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == ["good.mp4", "late.mp4"]
    assert (tmp_path / "clips/good.mp4").read_bytes() == CLIP.read_bytes()


@pytest.mark.slow
def test_the_screens_are_up_to_date(tmp_path: Path) -> None:
    """Each screen of the documentation is what the command line prints now."""
    script = (ROOT / "docs/screens.py").read_text(encoding="utf-8")
    (tmp_path / "screens.py").write_text(script, encoding="utf-8")
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

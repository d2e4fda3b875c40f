"""The recipes in examples/ do what their pages promise, as real processes against the simulator."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import anyio
import boto3
import httpx
import pytest
from brokers import free_port
from duomi.simulator import CLIP, Script, Simulator
from harness import until
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import TextContent
from moto.server import ThreadedMotoServer
from werkzeug import Request, Response

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent / "examples"
DONE = Script(pending=0, running=())
NEVER = Script(pending=10**6)
REFUSED = Script(pending=0, running=(), outcome="error", message="refused")
TOKEN = {"Authorization": "Bearer t0ken"}


# The backend


class Backend:
    """Processes of the backend on one table, and its bucket."""

    def __init__(self, folder: Path, s3: str, closing_down: ExitStack) -> None:
        self._folder = folder
        self._closing_down = closing_down
        account = {
            "endpoint_url": s3,
            "aws_access_key_id": "a",
            "aws_secret_access_key": "b",
            "region_name": "us-east-1",
        }
        self.s3: Any = boto3.client("s3", **account)
        closing_down.callback(self.s3.close)
        self._environment = os.environ | {
            "AWS_ENDPOINT_URL_S3": s3,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "us-east-1",
            "BACKEND_TOKEN": "t0ken",
            "BUCKET": "clips",
        }

    def start(self, every: str = "0.2") -> tuple[httpx.Client, subprocess.Popen[bytes]]:
        port = free_port()
        program = ["-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", str(port), "webhook:app"]
        with (self._folder / "backend.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *program],
                cwd=self._folder,
                env=self._environment | {"RECONCILE_EVERY": every},
                stdout=log,
                stderr=log,
            )
        self._closing_down.callback(process.wait, 30)
        self._closing_down.callback(process.kill)
        transport = httpx.HTTPTransport(retries=20)  # until it listens
        web = httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=30.0)
        return self._closing_down.enter_context(web), process

    def sql(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self._folder / "tasks.sqlite", timeout=30.0, isolation_level=None)) as table:
            return table.execute(statement).fetchall()

    def keys(self) -> list[str]:
        return [each["Key"] for each in self.s3.list_objects_v2(Bucket="clips").get("Contents", [])]

    def log(self) -> str:
        return (self._folder / "backend.log").read_text(encoding="utf-8")


@pytest.fixture
def backend(duomi_simulator: Simulator, tmp_path: Path) -> Iterator[Backend]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    httpx.post(f"http://{host}:{port}/moto-api/reset").raise_for_status()  # of other tests' buckets
    with ExitStack() as closing_down:
        closing_down.callback(server.stop)
        yield Backend(tmp_path, f"http://{host}:{port}", closing_down)


def shown(web: httpx.Client, task_id: str) -> dict[str, Any]:
    found: dict[str, Any] = web.get(f"/tasks/{task_id}").json()
    return found


def test_the_backend_believes_no_callback(duomi_simulator: Simulator, backend: Backend) -> None:
    """A callback that lies, is foreign, is nonsense or comes twice changes nothing; what the API says is shown."""
    backend.s3.create_bucket(Bucket="clips")
    web, _ = backend.start()
    assert web.put("/tasks/good").status_code == 401
    assert web.put("/tasks/good", headers={"Authorization": "Bearer guess"}).status_code == 401
    early = web.post("/duomi", json={"id": "good"})
    duomi_simulator.tasks |= {
        "good": DONE, "running": Script(pending=0, running=(40,) * 10**5), "failed": REFUSED,
        "hero": Script(pending=0, running=(), outcome="character"),
    }  # fmt: skip
    noted = [web.put(f"/tasks/{task_id}", headers=TOKEN) for task_id in [*duomi_simulator.tasks, "good", "gone"]]
    forged = {"id": "running", "state": "succeeded", "data": {"videos": [{"url": "https://example.org/evil.mp4"}]}}
    taken = [
        web.post("/duomi", json={"task_id": "good", "state": "succeeded"}),
        web.post("/duomi", json={"task_id": "good", "state": "error"}),
        web.post("/duomi", json={"code": 200, "data": {"task_id": "good", "status": "SUCCESS", "images": []}}),
        web.post("/duomi", json=forged),
    ]
    refused = [
        web.post("/duomi", json=forged | {"id": "foreign"}),
        web.post("/duomi", json=forged | {"id": ".."}),
        web.post("/duomi", content=b'{"id": "\\ud800"}'),
        web.post("/duomi", content=b'{"id": "' + b"x" * 60_000 + b'"}'),
        web.post("/duomi", json={"status": "done"}),
        web.post("/duomi", json=["good"]),
        web.post("/duomi", content=b"nonsense"),
        web.post("/duomi", content=b"[" * 60_000),
        web.post("/duomi", content=b" " * 100_000),
    ]
    until(lambda: all(shown(web, task_id)["done"] for task_id in ("good", "failed", "hero")))
    until(lambda: shown(web, "running")["progress"] == 40 and duomi_simulator.polls("running") > 2)
    good, running, failed, hero = (shown(web, task_id) for task_id in ("good", "running", "failed", "hero"))

    assert early.status_code == 404
    assert {answer.status_code for answer in noted} == {201}
    assert [answer.status_code for answer in taken] == [202] * 4
    assert [answer.status_code for answer in refused] == [404, 404, 404, 404, 400, 400, 400, 400, 413]
    assert duomi_simulator.polls("foreign") == 0
    assert web.get("/tasks/foreign").status_code == 404
    assert (running["state"], running["label"], running["done"], running["clips"]) == ("running", "生成中", False, [])
    assert (failed["state"], failed["message"], failed["clips"]) == ("error", "refused", [])
    assert hero["characters"][0].startswith("character.")
    assert backend.keys() == ["good/0.mp4"]
    assert httpx.get(good["clips"][0]).content == CLIP.read_bytes()
    assert httpx.get(good["clips"][0].partition("?")[0]).status_code == 403


def test_the_backend_is_not_driven_by_callbacks(duomi_simulator: Simulator, backend: Backend) -> None:
    """Callbacks have a task asked for soon, but a flood of them does not flood the API."""
    duomi_simulator.tasks["running"] = NEVER
    web, _ = backend.start("3600")
    web.put("/tasks/running", headers=TOKEN)
    until(lambda: duomi_simulator.polls("running") >= 1)
    pauses: list[float] = []
    for _ in range(30):
        assert web.post("/duomi", json={"id": "running"}).status_code == 202
        pauses += backend.sql("SELECT due - asked FROM tasks")[0]
    until(lambda: duomi_simulator.polls("running") >= 2)

    assert min(pauses) == pytest.approx(2.0, abs=0.01)


def test_the_backend_survives_a_store_that_is_away(duomi_simulator: Simulator, backend: Backend) -> None:
    """A clip that cannot be stored is stored later, and only then the task is shown as done."""
    duomi_simulator.tasks["good"] = DONE
    web, _ = backend.start()
    web.put("/tasks/good", headers=TOKEN)

    until(lambda: "NoSuchBucket" in backend.log())
    before = shown(web, "good")
    backend.s3.create_bucket(Bucket="clips")
    until(lambda: shown(web, "good")["done"])

    assert (before["state"], before["done"]) == ("pending", False)
    assert backend.keys() == ["good/0.mp4"]


def test_the_backend_waits_for_a_late_clip(duomi_simulator: Simulator, backend: Backend) -> None:
    """A task that succeeded without a clip is asked for again, until the clip is there."""
    backend.s3.create_bucket(Bucket="clips")
    duomi_simulator.tasks["late"] = DONE
    empty = [{"id": "late", "state": "succeeded", "data": {"videos": []}}] * 2
    duomi_simulator.answer = lambda request: (
        Response(json.dumps(empty.pop()), content_type="application/json")
        if empty and request.path.startswith("/v1/")
        else None
    )
    web, _ = backend.start()
    web.put("/tasks/late", headers=TOKEN)

    until(lambda: shown(web, "late")["done"])

    assert (backend.keys(), empty) == (["late/0.mp4"], [])


def test_the_backend_dies_between_storing_and_noting(duomi_simulator: Simulator, backend: Backend) -> None:
    """A clip that was stored, but not noted, is noted by the next process, under the same key."""
    backend.s3.create_bucket(Bucket="clips")
    duomi_simulator.tasks["good"] = DONE
    web, process = backend.start()
    until(lambda: web.get("/tasks/none").status_code == 404)
    # Between the two, the process finds no way to note anything, and is killed.
    backend.sql(
        "CREATE TRIGGER wall BEFORE UPDATE OF held ON tasks WHEN NEW.held = 0 BEGIN SELECT RAISE(ABORT, 'not noted'); END"
    )
    backend.sql("CREATE TRIGGER gap BEFORE UPDATE OF done ON tasks BEGIN SELECT RAISE(ABORT, 'not noted'); END")
    web.put("/tasks/good", headers=TOKEN)
    until(backend.keys)
    until(lambda: "not noted" in backend.log())
    process.kill()
    process.wait(30)
    ((held, done),) = backend.sql("SELECT held, done FROM tasks")
    backend.sql("DROP TRIGGER wall")
    backend.sql("DROP TRIGGER gap")
    web, _ = backend.start()
    duomi_simulator.tasks["other"] = REFUSED
    web.put("/tasks/other", headers=TOKEN)
    until(lambda: shown(web, "other")["done"])
    polls = duomi_simulator.polls("good")
    # The lease is over.
    backend.sql("UPDATE tasks SET held = 0")
    until(lambda: shown(web, "good")["done"])

    assert (held > 0, done) == (True, 0)
    assert polls == 1
    assert backend.keys() == ["good/0.mp4"]


def test_two_processes_of_the_backend_share_the_tasks(duomi_simulator: Simulator, backend: Backend) -> None:
    """Of two processes with four threads each, one asks for a task at a time, whatever is called back meanwhile."""
    backend.s3.create_bucket(Bucket="clips")
    duomi_simulator.tasks |= {f"task-{number}": DONE for number in range(20)}
    webs = [backend.start()[0] for _ in range(2)]
    until(lambda: all(web.get("/tasks/none").status_code == 404 for web in webs))

    for number in range(20):
        webs[0].put(f"/tasks/task-{number}", headers=TOKEN)
        for web in webs:
            assert web.post("/duomi", json={"id": f"task-{number}"}).status_code == 202
    until(lambda: all(shown(webs[1], task_id)["done"] for task_id in duomi_simulator.tasks))

    assert len(backend.keys()) == 20
    assert [duomi_simulator.polls(task_id) for task_id in duomi_simulator.tasks] == [1] * 20


# Node


@pytest.fixture
def node() -> str:
    program = shutil.which("node")
    if program is None:
        pytest.fail("this test needs Node: apt-get install nodejs", pytrace=False)
    return program


def run_node(node: str, folder: Path, *ids: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [node, str(EXAMPLES / "node/wait.mjs"), str(folder), *ids],
        capture_output=True, encoding="utf-8", env=os.environ | environment, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ids", "code", "said", "saved"),
    [
        (["good"], 0, "done", 1),
        (["-good"], 0, "done", 1),
        (["$(touch x) '\""], 0, "done", 1),
        (["good", "bad"], 1, "a task failed or was empty", 1),
        (["-"], 2, "usage or configuration", 0),
        ([], 2, "usage: node wait.mjs FOLDER ID...", 0),
        (["unknown"], 3, "refused, unreachable, or not a task", 0),
        (["good", "broken"], 5, "a clip was not saved: try again", 1),
    ],
)
def test_node_gets_each_task_and_the_exit_code(
    ids: list[str], code: int, said: str, saved: int, node: str, duomi_simulator: Simulator, tmp_path: Path
) -> None:
    """The program for Node prints each task as it ends, and ends with duomi's own code and what it means."""
    duomi_simulator.tasks |= dict.fromkeys(("good", "-good", "$(touch x) '\"", "broken"), DONE) | {"bad": REFUSED}
    duomi_simulator.answer = lambda request: Response("<html>") if request.path == "/files/broken.mp4" else None

    done = run_node(node, tmp_path / "clips", *ids)

    assert (done.returncode, done.stderr.splitlines()[-1]) == (code, said)
    assert len(done.stdout.splitlines()) == len([each for each in ids if each != "-"])
    assert [path.read_bytes() for path in (tmp_path / "clips").glob("*")] == [CLIP.read_bytes()] * saved


def test_node_says_what_is_missing(node: str, tmp_path: Path) -> None:
    """Without a key, or without duomi, the program for Node says what to do."""
    (tmp_path / "node").symlink_to(node)

    no_key = run_node(node, tmp_path / "clips", "good", DUOMI_API_KEY="")
    no_duomi = run_node(node, tmp_path / "clips", "good", PATH=str(tmp_path))

    assert (no_key.returncode, no_duomi.returncode) == (2, 2)
    assert "DUOMI_API_KEY" in no_key.stderr
    assert no_duomi.stderr == 'duomi is not installed: pip install "duomi[cli]"\n'


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 143, "terminated")],
)
def test_node_passes_a_signal_on(
    number: signal.Signals, code: int, said: str, node: str, duomi_simulator: Simulator, tmp_path: Path
) -> None:
    """A task is told while another one continues, and a signal reaches duomi once, which tells how to resume."""
    duomi_simulator.tasks |= {"good": DONE, "slow": NEVER}
    program = [node, str(EXAMPLES / "node/wait.mjs"), str(tmp_path), "slow", "good"]
    # A group of its own stands for the programs of a terminal, all of which get a Ctrl-C.
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", start_new_session=True
    ) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        os.killpg(running.pid, number)
        _, told = running.communicate(timeout=60)

    assert first == f"good {tmp_path}/good.mp4\n"
    assert running.returncode == code
    assert f"{said}; the task continues. To resume:\nduomi wait --download {tmp_path} --json slow\n" in told
    assert told.endswith(f"{said}: wait again with the same ids\n")


# MCP

SECRET = "s1gnature"


class Talk:
    """What an MCP client is told, all of it."""

    def __init__(self, client: Client, heard: list[str]) -> None:
        self._client = client
        self.heard = heard
        self.progress: list[tuple[float, float | None]] = []

    async def call(self, tool: str, task_id: str) -> tuple[bool, Any]:
        """Return whether it is an error, and its text or its structured content."""
        result = await self._client.call_tool(tool, {"task_id": task_id}, progress_callback=self._tell)
        texts = [part.text for part in result.content if isinstance(part, TextContent)]
        return result.is_error, texts[0] if result.is_error else result.structured_content

    async def _tell(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append((progress, total))


def talk(folder: Path, script: Callable[[Talk], Awaitable[None]], *options: str, mode: str = "auto") -> Talk:
    """Run a script with the package's own client over stdio, and return all that it heard, and the log of the server."""
    environment = {name: os.environ[name] for name in ("DUOMI_API_KEY", "DUOMI_BASE_URL", "DUOMI_POLL_INTERVAL")}
    program = [str(EXAMPLES / "mcp/server.py"), str(folder), *options]
    parameters = StdioServerParameters(command=sys.executable, args=program, env=environment)
    heard: list[str] = []

    async def hear(message: object) -> None:
        # What is not of the protocol arrives as an exception.
        assert not isinstance(message, Exception), message
        heard.append(repr(message))

    async def main() -> Talk:
        with folder.with_suffix(".log").open("w", encoding="utf-8") as log:
            async with Client(stdio_client(parameters, log), message_handler=hear, mode=mode) as client:
                talk = Talk(client, heard)
                await script(talk)
        heard.append(folder.with_suffix(".log").read_text(encoding="utf-8"))
        return talk

    return anyio.run(main)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_mcp_client_looks_waits_and_downloads(mode: str, duomi_simulator: Simulator, tmp_path: Path) -> None:
    """The tools show a task, wait for it with rising progress, and save clips once, below one folder."""
    duomi_simulator.tasks |= {"good": Script(running=(10, 60, 30)), "slow": NEVER, "bad": REFUSED}
    duomi_simulator.tasks["hero"] = Script(pending=0, running=(), outcome="character")
    clips = tmp_path / "made/clips"
    clips.parent.mkdir()

    async def script(model: Talk) -> None:
        error, state = await model.call("get", "good")
        assert (error, state["state"], state["label"]) == (False, "pending", "队列中")
        error, state = await model.call("wait", "good")
        assert (error, state["state"], state["clips"], state["next"]) == (False, "succeeded", 1, "call download")
        assert model.progress == [(10, 100), (60, 100), (100, 100)]
        path = str(clips / "good.mp4")
        assert await model.call("download", "good") == (False, {"paths": [path], "next": "done"})
        await anyio.Path(path).write_bytes(b"kept")
        assert await model.call("download", "good") == (False, {"paths": [path], "next": "done"})
        error, state = await model.call("wait", "hero")
        assert (error, len(state["characters"]), state["next"]) == (False, 1, "done")
        for tool, task_id, text in (
            ("wait", "bad", "TaskFailedError: task bad failed: refused"),
            ("download", "slow", "DownloadError: task slow is not finished"),
            ("download", "hero", "DownloadError: task hero has no video"),
            ("get", "gone", "NotFoundError: no such task: gone"),
        ):
            error, told = await model.call(tool, task_id)
            assert (error, text in told) == (True, True)

    talk(clips, script, mode=mode)

    assert (clips / "good.mp4").read_bytes() == b"kept"
    assert [path.name for path in clips.iterdir()] == ["good.mp4"]


def test_a_wait_of_the_mcp_server_has_a_limit(duomi_simulator: Simulator, tmp_path: Path) -> None:
    """A task that is not finished in time is no error: the model is told to ask again."""
    duomi_simulator.tasks["slow"] = NEVER

    async def script(model: Talk) -> None:
        error, state = await model.call("wait", "slow")
        assert (error, state["state"], state["next"]) == (False, "pending", "not finished yet: call wait again")

    talk(tmp_path / "clips", script, "--limit", "2")


def test_no_id_leads_out_of_the_folder_of_the_mcp_server(duomi_simulator: Simulator, tmp_path: Path) -> None:
    """Whatever a model takes for an id, files are written in the one folder only, or nothing is."""
    ids = [
        "../evil",
        "../../etc/evil",
        "/evil",
        "a/../../evil",
        "C:\\evil",
        "~/evil",
        "con",
        "x" * 512,
        "e\u0301",
        "a b",
    ]
    duomi_simulator.tasks |= dict.fromkeys(ids, DONE)
    clips = tmp_path / "deep/er/clips"
    clips.parent.mkdir(parents=True)

    async def script(model: Talk) -> None:
        for task_id in ids:
            error, saved = await model.call("download", task_id)
            assert not error, saved
            assert [Path(path).parent for path in saved["paths"]] == [clips]
        for task_id in ("", " ", ".", "..", "x" * 513, "a\nb", "\0"):
            error, told = await model.call("download", task_id)
            assert (error, "ConfigurationError" in told) == (True, True)

    talk(clips, script)

    assert len(list(clips.iterdir())) == len(ids)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.parent != clips) == [
        "deep", "deep/er", "deep/er/clips", "deep/er/clips.log",
    ]  # fmt: skip


def test_the_mcp_server_tells_no_secret(duomi_simulator: Simulator, tmp_path: Path) -> None:
    """Neither the key nor a link is in a result, an error, a notification or the log, wherever the API puts them."""
    key = os.environ["DUOMI_API_KEY"]
    link = f"https://clips.example/1.mp4?e=1&sig={SECRET}"
    good = duomi_simulator.payload
    duomi_simulator.tasks |= {"good": DONE, "bad": REFUSED, "broken": DONE, "odd": NEVER, "hero": DONE}

    def misbehave(request: Request) -> Response | None:
        if request.path == "/files/broken.mp4":
            return Response(f"{link} {key}", 403)
        name = request.path.rpartition("/")[2]
        if name in ("401", "403", "404", "500"):
            body = {"message": f"{request.headers['Authorization']} may not see {link}", "url": link}
            return Response(json.dumps(body), int(name), content_type="application/json")
        if name == "page":
            return Response(f"<a href='{link}'>{key}</a>")
        if name not in duomi_simulator.tasks:
            return None
        payload = good(name, 1, request.host_url.rstrip("/"))
        payload["message"] = f"失败：见{link}，密钥 {key}，或 HTTPS:\\/\\/h\\/1.mp4?sig={SECRET}"
        for video in payload["data"].get("videos", []):
            video["url"] += f"?e=1&sig={SECRET}"
        if name == "odd":
            payload["state"] = f"see {link}"
        if name == "hero":
            payload["data"] = {"characters": [{"id": link}, {"id": key}]}
        return Response(json.dumps(payload), content_type="application/json")

    duomi_simulator.answer = misbehave
    told: list[Any] = []

    async def script(model: Talk) -> None:
        for tool, ids in (
            ("get", ["good", "bad", "odd", "hero", "401", "403", "404", "500", "page", key]),
            ("wait", ["good", "bad", "hero", "401", "403", "404", key]),
            ("download", ["good", "bad", "broken", "odd", "hero", key]),
        ):
            told.extend([await model.call(tool, task_id) for task_id in ids])

    heard = talk(tmp_path / "clips", script).heard

    results = json.dumps(told, ensure_ascii=False)
    # The log is broken into lines.
    everything = "".join([results, *heard]).replace(" ", "").replace("\n", "")
    assert [error for error, _ in told].count(False) == 7
    assert (tmp_path / "clips/good.mp4").read_bytes() == CLIP.read_bytes()
    assert "失败：见(link)" in results
    assert "undocumentedstate" in everything
    assert [secret for secret in ("://", "?e=", "http") if secret in results] == []
    assert [secret for secret in (key, SECRET) if secret in everything] == []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_mcp_server_answers_while_it_waits(mode: str, duomi_simulator: Simulator, tmp_path: Path) -> None:
    """Other calls are answered during a wait, and a wait that the client cancels asks no more."""
    duomi_simulator.tasks |= {"slow": NEVER, "good": DONE}

    async def script(model: Talk) -> None:
        async def polled(count: int) -> None:
            await anyio.to_thread.run_sync(until, lambda: duomi_simulator.polls("slow") >= count)

        async with anyio.create_task_group() as waiting:
            waiting.start_soon(model.call, "wait", "slow")
            await polled(3)
            assert (await model.call("get", "good"))[1]["state"] == "succeeded"
            await polled(duomi_simulator.polls("slow") + 3)
            waiting.cancel_scope.cancel()
        await model.call("get", "good")
        await model.call("get", "good")
        polls = duomi_simulator.polls("slow")
        for _ in range(50):
            await model.call("get", "good")
        assert duomi_simulator.polls("slow") == polls

    talk(tmp_path / "clips", script, mode=mode)


def test_the_mcp_server_saves_a_large_clip_between_calls(duomi_simulator: Simulator, tmp_path: Path) -> None:
    """A clip that takes longer than a call is saved meanwhile, once, and nothing of another is left behind."""
    duomi_simulator.tasks |= {"large": DONE, "endless": DONE}
    go_on, end, fetched = threading.Event(), threading.Event(), list[str]()

    def begin() -> Iterator[bytes]:
        yield CLIP.read_bytes()[:5_000]
        end.wait(60)

    def slowly(request: Request) -> Response | None:
        if request.path.startswith("/files/"):
            fetched.append(request.path)
        if request.path == "/files/large.mp4":
            go_on.wait(60)
        if request.path == "/files/endless.mp4":
            return Response(begin(), headers={"Content-Length": "10000"}, content_type="video/mp4")
        return None

    duomi_simulator.answer = slowly
    later = (False, {"paths": [], "next": "not saved yet: call download again"})

    async def script(model: Talk) -> None:
        assert await model.call("download", "large") == later
        assert await model.call("download", "large") == later
        assert await model.call("download", "endless") == later
        await anyio.to_thread.run_sync(until, lambda: any((tmp_path / "clips").glob("*.part")))
        go_on.set()
        while (told := await model.call("download", "large")) == later:
            pass
        assert told == (False, {"paths": [str(tmp_path / "clips/large.mp4")], "next": "done"})

    talk(tmp_path / "clips", script, "--limit", "0.2")
    end.set()

    assert fetched == ["/files/large.mp4", "/files/endless.mp4"]
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["large.mp4"]
    assert "never retrieved" not in (tmp_path / "clips.log").read_text(encoding="utf-8")


def test_the_mcp_server_does_not_start_without_a_key(tmp_path: Path) -> None:
    """Without a key the server says so on stderr, and nothing on stdout."""
    program = [sys.executable, str(EXAMPLES / "mcp/server.py"), str(tmp_path)]
    environment = os.environ | {"DUOMI_API_KEY": ""}

    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, input="")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("duomi: no API key")

"""The recipes in examples/ do what their pages promise, as real processes against the simulator."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from brokers import free_port
from duomi.simulator import CLIP, Script, Simulator
from harness import until
from moto.server import ThreadedMotoServer
from werkzeug import Response

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
            "RECONCILE_EVERY": "0.2",
        }

    def start(self) -> tuple[httpx.Client, subprocess.Popen[bytes]]:
        port = free_port()
        program = ["-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", str(port), "webhook:app"]
        with (self._folder / "backend.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *program], cwd=self._folder, env=self._environment, stdout=log, stderr=log
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

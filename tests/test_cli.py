"""The command, through a real process against the simulator."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from duomi import AsyncDuomi, Duomi, __version__, _commands
from duomi._screen import Screen
from duomi.simulator import CLIP, Script, Simulator
from faults import FaultServer, hang
from harness import KEY
from werkzeug import Request, Response

TASKS = {
    "video": Script(pending=0, running=()),
    "character": Script(pending=0, running=(), outcome="character"),
    "failed": Script(pending=0, running=(), outcome="error", message="refused"),
    "stuck": Script(pending=10_000),
    "-x": Script(pending=10_000),
}


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with Simulator(TASKS, api_key=KEY).serve() as url:
        yield url


def duomi(folder: Path, base_url: str, *arguments: str, key: str | None = KEY) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "DUOMI_API_KEY"} | {"DUOMI_BASE_URL": base_url}
    environment |= {} if key is None else {"DUOMI_API_KEY": key}
    command = [sys.executable, "-m", "duomi.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "code", "stdout", "stderr"),
    [
        (["get", "stuck"], 0, "pending 队列中", ""),
        (["get", "failed"], 0, "refused", ""),
        (["get", "unknown"], 3, "", "not found"),
        (["get", ".."], 2, "", "task id"),
        (["wait", "video", "character"], 0, "character.", ""),
        (["wait", "failed"], 1, "refused", ""),
        (["wait", "stuck", "--timeout", "0.2"], 4, "resume with", ""),
        (["check", "video"], 0, "", "as the contract has it"),
        (["check", "character"], 1, "/data/videos: is missing", ""),
        (["download", "stuck"], 5, "not finished", ""),
        (["nonsense"], 2, "", "Try 'duomi --help'"),
        (["get"], 2, "", "Try 'duomi get --help'"),
        (["--version"], 0, f"duomi {__version__}\n", ""),
        (["--version", "get"], 0, f"duomi {__version__}\n", ""),
    ],
)  # fmt: skip
def test_exit_codes(tmp_path: Path, base_url: str, arguments: list[str], code: int, stdout: str, stderr: str) -> None:
    """Each command ends with the code that design and `--help` promise, and says why."""
    done = duomi(tmp_path, base_url, *arguments)

    assert done.returncode == code, done.stderr
    assert stdout in done.stdout
    assert stderr in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr


def test_without_a_key_it_says_how_to_set_one(tmp_path: Path, base_url: str) -> None:
    """A missing key is exit 2 and the name of the variable."""
    done = duomi(tmp_path, base_url, "get", "video", key=None)

    assert done.returncode == 2
    assert "DUOMI_API_KEY" in done.stderr


def test_a_clip_is_downloaded_once(tmp_path: Path, base_url: str) -> None:
    """`download` saves the clip, and keeps a file that is there."""
    for _ in range(2):
        done = duomi(tmp_path, base_url, "download", "video", "-d", "clips", "--json")
        assert done.returncode == 0, done.stderr

    assert (tmp_path / "clips/video.mp4").read_bytes() == CLIP.read_bytes()
    assert "is kept" in done.stderr
    assert json.loads(done.stdout)["paths"] == ["clips/video.mp4"]
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["video.mp4"]


def test_json_has_one_object_a_line(tmp_path: Path, base_url: str) -> None:
    """`--json` prints the documented fields, and nothing else on stdout."""
    done = duomi(tmp_path, base_url, "wait", "video", "failed", "--json")

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    fields = {"id", "state", "progress", "message", "videos", "characters", "paths", "error", "raw"}
    assert all(row.keys() == fields for row in rows)
    assert [(row["id"], row["error"] is None) for row in rows] == [("video", True), ("failed", False)]


def test_the_demo_needs_nothing(tmp_path: Path) -> None:
    """`duomi demo` shows a clip, a character and a failure, and leaves a playable clip."""
    done = duomi(tmp_path, "http://127.0.0.1:1", "demo", key=None)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo/video-5dd1ef43.mp4").read_bytes() == CLIP.read_bytes()
    assert "guardrails" in done.stdout
    assert "character." in done.stdout


def start(folder: Path, base_url: str, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
    environment = os.environ | {"DUOMI_BASE_URL": base_url, "DUOMI_API_KEY": KEY, "COLUMNS": "60", "TERM": "xterm"}
    # Whoever started the tests may ignore SIGINT, and that would be inherited.
    heed = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from duomi.cli import main; main()"
    command = [sys.executable, "-c", heed, *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, **more)


@pytest.mark.parametrize(
    "arguments", [["wait", "stuck", "-x"], ["wait", "video", "stuck", "--timeout", "60", "--json"]]
)
def test_ctrl_c_prints_the_command_that_resumes(tmp_path: Path, base_url: str, arguments: list[str]) -> None:
    """Interrupted, it ends with 130, prints what it has, and the command that goes on with what is left."""
    words = [arguments[0], *arguments[1:]] if "-x" not in arguments else ["wait", "--", "stuck", "-x"]
    process = start(tmp_path, base_url, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(2.0)

    process.send_signal(signal.SIGINT)

    out, error = (text.decode() for text in process.communicate(timeout=20))
    assert process.returncode == 130, error
    resume = error.strip().splitlines()[-1]
    assert resume == ("duomi wait --timeout 60 --json stuck" if "--json" in arguments else "duomi wait -- stuck -x")
    assert ("video" in out) == ("--json" in arguments)


def test_ctrl_c_in_a_single_call(tmp_path: Path) -> None:
    """Interrupted in the middle of a request, it ends with 130 and no traceback."""
    with FaultServer([hang]) as server:
        process = start(tmp_path, server.url, "get", "x", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 10
        while not server.heads and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)

    assert process.returncode == 130
    assert b"Traceback" not in error


def test_bars_on_a_terminal(tmp_path: Path, base_url: str) -> None:
    """On a terminal there is a bar for each task, and a table."""
    ours, theirs = pty.openpty()
    process = start(tmp_path, base_url, "wait", "video", "failed", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65_536):
            shown += piece
    os.close(ours)

    assert process.wait(20) == 1
    assert "━" in shown.decode()
    assert "refused" in shown.decode()


def test_json_is_one_object_a_line(tmp_path: Path, base_url: str) -> None:
    """Every command speaks JSON, with the same keys."""
    for arguments in (["get", "video"], ["check", "character"], ["wait", "video", "failed"]):
        rows = [json.loads(line) for line in duomi(tmp_path, base_url, *arguments, "--json").stdout.splitlines()]
        assert len(rows) == len(arguments) - 1
        for row in rows:
            keys = {"id", "state", "progress", "message", "videos", "characters", "paths", "error", "raw"}
            assert set(row) - {"deviations"} == keys


def test_ids_come_from_stdin(tmp_path: Path, base_url: str) -> None:
    """`-` reads ids, one a line; none at all is a usage error."""
    for given, code in ((b"video\n\ncharacter\n", 0), (b"\n", 2)):
        process = start(
            tmp_path, base_url, "wait", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, error = process.communicate(given, timeout=20)
        assert process.returncode == code
        assert (b"character" in out) == (code == 0)
        assert (b"no task ids" in error) == (code == 2)


@pytest.mark.parametrize(
    ("module", "command", "extra"), [("typer", "get", "cli"), ("pytest_httpserver", "demo", "simulator")]
)
def test_a_missing_extra_is_named(tmp_path: Path, module: str, command: str, extra: str) -> None:
    """Without an extra, the command that needs it says how to install it."""
    code = f"import sys; sys.modules['{module}'] = None; sys.argv[1:] = ['{command}', 'x'][:{1 + (command == 'get')}]; from duomi.cli import main; main()"

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert f"duomi[{extra}]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_simulator_answers_like_the_api() -> None:
    """A wrong key, an unknown path, a range of a clip, and an answer of one's own are answered as by the live API."""

    def late(request: Request) -> Response | None:
        return Response("", 503) if request.path == "/late" else None

    with Simulator({"a": Script()}, api_key=KEY, answer=late).serve() as url, httpx.Client(base_url=url) as client:
        assert client.get("/v1/videos/tasks/a", headers={"Authorization": "wrong"}).json()["code"] == 403
        assert client.get("/v1/videos/tasks/a").json()["code"] == 403
        assert client.get("/v2").status_code == 404
        assert client.get("/files/b.mp4").status_code == 404
        assert client.get("/late").status_code == 503
        part = client.get("/files/a.mp4", headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, CLIP.read_bytes()[10:20])
        assert client.get("/files/a.mp4", headers={"Range": "bytes=10-", "If-Range": '"old"'}).status_code == 200

    simulator = Simulator({"a": Script()})
    with simulator.serve() as url, Duomi(KEY, base_url=url) as one:
        one.get_task("a")
        assert simulator.looks("a") == 1


def test_ctrl_c_after_the_last_end_has_nothing_to_resume(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Interrupted when all is done, it shows what there is, and no command."""

    async def interrupted(_job: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_commands, "_follow", interrupted)
    monkeypatch.chdir(tmp_path)
    job = _commands._Job(AsyncDuomi(KEY), [], None, Screen(json=False), ["duomi", "wait"])
    with pytest.raises(typer.Exit) as caught:
        _commands._wait(job)

    assert caught.value.exit_code == 130
    assert "resume" not in capsys.readouterr().err

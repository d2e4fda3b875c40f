"""The command line, in a real process with the simulator."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyte
import pytest
import typer
from duomi import (
    AsyncDuomi,
    DownloadError,
    Duomi,
    DuomiError,
    EmptyResultError,
    NotFoundError,
    Outcome,
    TaskTimeoutError,
    __version__,
)
from duomi._cli import jobs, main
from duomi._cli.screen import Screen, TaskResult, _end
from duomi.simulator import CLIP, Script, Simulator
from faults import FaultServer, answer, hang
from harness import KEY, payload, until
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
    command = [sys.executable, "-m", "duomi", *arguments]
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
        (["wait", "stuck", "--timeout", "0.2"], 4, "not finished after 0.2 s", "duomi wait --timeout 0.2 stuck"),
        (["check", "video"], 0, "", "as the contract has it"),
        (["check", "character"], 1, "/data/videos: is missing", ""),
        (["download", "stuck"], 5, "not finished", ""),
        (["nonsense"], 2, "", "Try 'duomi --help'"),
        (["get"], 2, "", "Try 'duomi get --help'"),
        (["--version"], 0, f"duomi {__version__}\n", ""),
        (["--version", "get"], 0, f"duomi {__version__}\n", ""),
    ],
)  # fmt: skip
def test_each_command_has_its_exit_code(
    tmp_path: Path, base_url: str, arguments: list[str], code: int, stdout: str, stderr: str
) -> None:
    """Each command ends with its documented exit code, and says why."""
    done = duomi(tmp_path, base_url, *arguments)

    assert done.returncode == code, done.stderr
    assert stdout in done.stdout
    assert stderr in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr


def test_a_missing_key_is_exit_2(tmp_path: Path, base_url: str) -> None:
    """Without a key the command exits with 2 and names the variable to set."""
    done = duomi(tmp_path, base_url, "get", "video", key=None)

    assert done.returncode == 2
    assert "DUOMI_API_KEY" in done.stderr


def test_an_existing_clip_is_not_downloaded_again(tmp_path: Path, base_url: str) -> None:
    """`download` saves the clip, and keeps a file that already exists."""
    for _ in range(2):
        done = duomi(tmp_path, base_url, "download", "video", "--directory", "clips", "--json")
        assert done.returncode == 0, done.stderr

    assert (tmp_path / "clips/video.mp4").read_bytes() == CLIP.read_bytes()
    assert "kept" in done.stderr
    assert json.loads(done.stdout)["paths"] == ["clips/video.mp4"]
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["video.mp4"]


def json_fields() -> set[str]:
    """Return the fields of `--json` that the documentation lists, except for that of `check` alone."""
    page = (Path(__file__).parent.parent / "docs/command-line.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*?) \|", page.partition("## `--json`")[2], re.MULTILINE)
    return set(re.findall(r"`(\w+)`", " ".join(rows))) - {"deviations"}


def test_wait_with_json_prints_only_the_documented_fields(tmp_path: Path, base_url: str) -> None:
    """`--json` prints one object for each task, with the documented fields, and nothing else on stdout."""
    done = duomi(tmp_path, base_url, "wait", "video", "failed", "--json")

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(row.keys() == json_fields() for row in rows)
    assert {row["task_id"]: row["error"] is None for row in rows} == {"video": True, "failed": False}
    assert len(rows) == 2


def test_the_demo_needs_no_key_and_no_network(tmp_path: Path) -> None:
    """`duomi demo` shows a clip, a character and a failure, saves the clip, and uses no proxy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
        done = duomi(tmp_path, "http://127.0.0.1:1", "demo", key=None)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo/video-5dd1ef43.mp4").read_bytes() == CLIP.read_bytes()
    assert "guardrails" in done.stdout
    assert "character." in done.stdout


def start(folder: Path, base_url: str, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
    environment = os.environ | {"DUOMI_BASE_URL": base_url, "DUOMI_API_KEY": KEY, "TERM": "xterm"}
    environment.setdefault("COLUMNS", "80")
    # The parent process may ignore SIGINT, and this process would inherit that.
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from duomi._cli import main; main()"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, **more)


@pytest.mark.parametrize(
    ("words", "resume"),
    [
        ("wait -- stuck -x", "duomi wait -- stuck -x"),
        ("wait video stuck --timeout 60 --json", "duomi wait --timeout 60 --json stuck"),
    ],
)
def test_ctrl_c_prints_the_command_to_resume(tmp_path: Path, words: str, resume: str) -> None:
    """After Ctrl-C a wait exits with 130, and prints its results and the command to resume the unfinished tasks."""
    simulator = Simulator(TASKS, api_key=KEY)
    with simulator.serve() as url:
        process = start(tmp_path, url, *words.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        out = process.stdout.readline() if "--json" in words else b""
        until(lambda: simulator.polls("stuck"))

        process.send_signal(signal.SIGINT)

        _, error = (text.decode() for text in process.communicate(timeout=20))

    assert process.returncode == 130, error
    assert (b'"video"' in out) == ("--json" in words)
    assert error.strip().splitlines()[-1] == resume


def test_ctrl_c_during_a_request_is_exit_130(tmp_path: Path) -> None:
    """After Ctrl-C during a request the command exits with 130, without a traceback."""
    with FaultServer([hang]) as server:
        process = start(tmp_path, server.url, "get", "x", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: server.heads)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)

    assert process.returncode == 130
    assert b"Traceback" not in error


def test_ctrl_c_during_the_import_is_exit_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C during the import of the command line it exits with 130, too."""

    class Interrupted:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "duomi._cli.commands":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "duomi._cli.commands", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    monkeypatch.setattr(sys, "argv", ["duomi", "get", "x"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 130


def on_a_terminal(folder: Path, base_url: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command on its own terminal, and return its exit code and its output."""
    ours, theirs = pty.openpty()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        process = start(folder, base_url, *arguments, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = read_terminal(ours)
    return process.wait(20), shown


def read_terminal(ours: int) -> str:
    """Return all that a terminal shows, and close it."""
    shown = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(ours, 65_536):
            shown += chunk
    os.close(ours)
    return shown.decode()


def test_a_terminal_shows_bars_and_a_table(tmp_path: Path, base_url: str) -> None:
    """On a terminal `wait` shows progress bars and the messages of its tasks."""
    code, shown = on_a_terminal(tmp_path, base_url, "wait", "video", "failed", COLUMNS="80")

    assert code == 1
    assert "━" in shown
    assert "refused" in shown


@pytest.mark.slow
def test_every_command_prints_the_same_json_keys(tmp_path: Path, base_url: str) -> None:
    """With `--json` every command prints one object a task, with the same keys."""
    for arguments in (["get", "video"], ["check", "character"], ["wait", "video", "failed"]):
        rows = [json.loads(line) for line in duomi(tmp_path, base_url, *arguments, "--json").stdout.splitlines()]
        assert len(rows) == len(arguments) - 1
        for row in rows:
            assert set(row) - {"deviations"} == json_fields()


def test_ids_are_read_from_stdin(tmp_path: Path, base_url: str) -> None:
    """`-` reads ids from stdin, one a line, and an empty input is a usage error."""
    for given, code in ((b"video\n\ncharacter\n", 0), (b"\n", 2)):
        process = start(
            tmp_path, base_url, "wait", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, error = process.communicate(given, timeout=20)
        assert process.returncode == code
        assert (b"character" in out) == (code == 0)
        assert (b"no task ids" in error) == (code == 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "command", "extra"), [("typer", "get", "cli"), ("pytest_httpserver", "demo", "simulator")]
)
def test_a_missing_extra_is_named(tmp_path: Path, module: str, command: str, extra: str) -> None:
    """A command without its extra exits with 2 and names the extra to install."""
    code = f"import sys; sys.modules['{module}'] = None; sys.argv[1:] = ['{command}', 'x'][:{1 + (command == 'get')}]; from duomi._cli import main; main()"

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert f"duomi[{extra}]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_simulator_answers_like_the_api() -> None:
    """The simulator answers a wrong key, an unknown path and a range of a clip as the live API does."""

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
    with simulator.serve() as url, Duomi(KEY, base_url=url) as client_of_simulator:
        client_of_simulator.get_task("a")
        assert simulator.polls("a") == 1


@pytest.mark.parametrize(("host", "own"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("localhost", "localhost")])
def test_the_simulator_has_a_url_that_a_client_takes(host: str, own: str) -> None:
    """A simulator on all addresses is asked on this machine's own; a taken port is an `OSError`; the log level is restored."""
    logger = logging.getLogger("werkzeug")
    level = logger.level
    with Simulator({"a": Script()}).serve(host=host) as url, Duomi(KEY, base_url=url) as client:
        assert url.startswith(f"http://{own}:")
        assert client.get_task("a").id == "a"
        with pytest.raises(OSError, match="in use"), Simulator().serve(host=host, port=int(url.rpartition(":")[2])):
            pass
    assert logger.level == level


def test_the_simulator_prints_what_another_terminal_needs(tmp_path: Path) -> None:
    """What `duomi simulator` prints, pasted into another terminal, waits for its tasks without a warning; Ctrl-C stops it."""
    with start(tmp_path, "", "simulator", stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        _, variables, command = (process.stderr.readline().decode() for _ in range(3))
        settings = variables.replace("INTERVAL=1", "INTERVAL=0.01")
        pasted = settings + command.replace("duomi", f"'{sys.executable}' -m duomi", 1)
        done = subprocess.run(["sh", "-c", pasted], cwd=tmp_path, capture_output=True, text=True, check=False)
        process.send_signal(signal.SIGINT)

    assert process.returncode == 130
    assert done.returncode == 1, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()[1:]] == [*["succeeded"] * 3, "error"]
    assert "duomi:" not in done.stderr


def test_ctrl_c_after_the_last_task_prints_no_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """After Ctrl-C when all tasks are finished there is no command to resume."""

    async def interrupted(_job: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "follow", interrupted)
    monkeypatch.chdir(tmp_path)
    job = jobs.Job(AsyncDuomi(KEY), [], None, Screen(json=False), ["duomi", "wait"])
    with pytest.raises(typer.Exit) as caught:
        jobs.finish(job)

    assert caught.value.exit_code == 130
    assert "resume" not in capsys.readouterr().err


@pytest.mark.slow
def test_no_color_turns_colours_off(tmp_path: Path, base_url: str) -> None:
    """With NO_COLOR set the output has bars but no colours."""
    _, coloured = on_a_terminal(tmp_path, base_url, "wait", "video")
    code, plain = on_a_terminal(tmp_path, base_url, "wait", "video", NO_COLOR="1")
    colours = re.compile(r"\x1b\[[0-9;]*3[0-9;]*m")

    assert code == 0
    assert colours.search(coloured)
    assert not colours.search(plain)
    assert "━" in plain


@pytest.mark.slow
def test_a_narrow_terminal_has_one_line_for_each_task(tmp_path: Path, base_url: str) -> None:
    """Below 60 columns there is no bar and no time, and no line wraps."""
    screen, code = shown_on(tmp_path, base_url, ["wait", "video", "failed"], columns=36, lines=24)

    assert code == 1
    assert "━" not in "".join(screen)
    assert any(re.fullmatch(r"failed +0% error 失\s?败\s*", line) for line in screen), screen


@pytest.mark.slow
def test_many_tasks_fit_on_a_low_terminal(tmp_path: Path) -> None:
    """With more tasks than lines there is one bar for all tasks."""
    ids = [f"task-{number}" for number in range(40)]
    with Simulator(dict.fromkeys(ids, Script(pending=0, running=())) | {"stuck": Script(pending=10**6)}).serve() as url:
        screen, code = shown_on(tmp_path, url, ["wait", *ids, "stuck", "--timeout", "2"], columns=80, lines=10)

    assert code == 4
    text = "\n".join(screen)
    assert re.search(r"41 tasks .*41/41", text), text
    assert re.search(r"stuck .*timed out", text) is None
    assert "duomi wait --timeout 2 stuck" in text


def shown_on(folder: Path, base_url: str, arguments: list[str], *, columns: int, lines: int) -> tuple[list[str], int]:
    """Return all lines that a terminal of this size has shown, and the exit code."""
    screen = pyte.HistoryScreen(columns, lines, history=1_000)
    code, text = on_a_terminal(folder, base_url, *arguments, LINES=str(lines), COLUMNS=str(columns))
    pyte.Stream(screen).feed(text)
    above = ["".join(line[column].data for column in range(columns)) for line in screen.history.top]
    return [*above, *screen.display], code


@pytest.mark.slow
def test_the_printed_command_resumes_the_wait(tmp_path: Path) -> None:
    """The command that is printed after Ctrl-C works when it is pasted into a shell."""
    polled, resumed = threading.Event(), threading.Event()

    def hold(_request: Request) -> Response | None:
        polled.set()
        return (
            None if resumed.is_set() else Response('{"id": "a b", "state": "running"}', content_type="application/json")
        )

    with Simulator({"a b": Script(pending=0, running=())}, answer=hold).serve() as url:
        process = start(
            tmp_path, url, "wait", "a b", "--download", "my clips", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert polled.wait(60)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
        resume = error.decode().strip().splitlines()[-1]
        resumed.set()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"DUOMI_BASE_URL": url, "DUOMI_API_KEY": KEY, "PATH": path}
        done = subprocess.run(resume, shell=True, cwd=tmp_path, env=environment, capture_output=True, check=False)

    assert resume == "duomi wait --download 'my clips' 'a b'"
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "my clips/a b.mp4").read_bytes() == CLIP.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(tmp_path: Path, base_url: str, shell: str) -> None:
    """The command answers the completion request of each shell with the matching options."""
    requests = {
        "bash": {"COMP_WORDS": "duomi wait --do", "COMP_CWORD": "2"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "duomi wait --do"},
        "fish": {"_TYPER_COMPLETE_ARGS": "duomi wait --do", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    environment = os.environ | {"_DUOMI_COMPLETE": f"complete_{shell}", "DUOMI_BASE_URL": base_url} | requests[shell]
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'duomi'; from duomi._cli import main; main()"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert "--download" in done.stdout, done.stderr
    assert "--timeout" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [["get", "video"], ["wait", "video", "--json"], ["check", "character"], ["--help"], ["--version"], ["wait", "-h"]],
)
def test_output_that_cannot_be_written_is_exit_2(tmp_path: Path, base_url: str, arguments: list[str]) -> None:
    """A full disk is exit 2 with one line, and a closed pipe is exit 2 without a line."""
    with Path("/dev/full").open("w") as full:
        process = start(tmp_path, base_url, *arguments, stdout=full, stderr=subprocess.PIPE)
        _, error = process.communicate(timeout=20)
    assert (process.returncode, error.decode()) == (2, "duomi: cannot write the output: No space left on device\n")

    with start(tmp_path, base_url, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        error = process.stderr.read()
    assert (process.returncode, error) == (2, b"")


@pytest.mark.slow
def test_chinese_is_escaped_on_an_ascii_output(tmp_path: Path, base_url: str) -> None:
    """If stdout is ASCII, the vendor's labels are printed as escapes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONIOENCODING", "ascii")
        done = duomi(tmp_path, base_url, "get", "stuck")

    assert done.returncode == 0, done.stderr
    assert "pending \\u961f" in done.stdout


@pytest.mark.slow
def test_a_demo_that_cannot_save_its_clip_is_exit_5(tmp_path: Path) -> None:
    """If the demo cannot save its clip, it exits with 5."""
    (tmp_path / "demo").touch()

    assert duomi(tmp_path, "http://127.0.0.1:1", "demo", key=None).returncode == 5


@pytest.mark.slow
def test_an_error_is_a_json_object_with_json(tmp_path: Path, base_url: str) -> None:
    """With `--json` every command prints an error as an object on stdout."""
    for command in ("get", "check", "wait", "download"):
        done = duomi(tmp_path, base_url, command, "unknown", "--json")
        assert (done.returncode, json.loads(done.stdout)["error"]["type"]) == (3, "NotFoundError")


@pytest.mark.slow
def test_a_log_line_is_shown_on_a_terminal(tmp_path: Path, base_url: str) -> None:
    """A line that is logged while the bars are shown stays on the screen."""
    for _ in range(2):
        screen, code = shown_on(tmp_path, base_url, ["download", "video"], columns=80, lines=24)

    assert code == 0
    assert any("already exists; kept" in line for line in screen), screen


@pytest.mark.slow
def test_the_module_short_help_and_a_byte_order_mark_work(tmp_path: Path, base_url: str) -> None:
    """`python -m duomi` is `duomi`, `-h` is `--help`, and a byte order mark on stdin is not part of an id."""
    for arguments in (["-h"], ["wait", "-h"]):
        command = [sys.executable, "-m", "duomi", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "Usage: duomi" in done.stdout

    process = start(tmp_path, base_url, "wait", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = process.communicate("\ufeffvideo\r\n".encode(), timeout=20)
    assert (process.returncode, b"video" in out) == (0, True)


@pytest.mark.parametrize("level", ["", "warning", "ERROR"])
def test_verbose_shows_retries_whatever_the_log_is_set_to(
    tmp_path: Path, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-v` is asked for at this moment, so it counts more than `DUOMI_LOG`."""
    monkeypatch.setenv("DUOMI_LOG", level)
    with FaultServer([answer(503, {}), answer(200, payload("succeeded"))]) as server:
        done = duomi(tmp_path, server.url, "get", "video", "-v")

    assert (done.returncode, "attempt 2 of 5" in done.stderr) == (0, True)


@pytest.mark.slow
def test_an_invalid_proxy_is_exit_2(tmp_path: Path) -> None:
    """A proxy that cannot be used is exit 2 without a traceback, for one task and for many."""
    (tmp_path / "socksio.py").write_text("raise ImportError")
    for command in ("get", "wait", "download"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
            patch.setenv("PYTHONPATH", str(tmp_path))
            done = duomi(tmp_path, "https://duomi.example", command, "video")
        assert done.returncode == 2
        assert "the proxy 127.0.0.1 cannot be used" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (TaskTimeoutError("t"), "timed out"),
        (EmptyResultError("t"), "empty"),
        (DownloadError("t"), "not saved"),
        (NotFoundError("t"), "refused"),
    ],
)
def test_the_bar_of_a_failed_task_has_a_word_for_it(error: DuomiError, word: str) -> None:
    """Beside the bar of a task that failed a word says why."""
    assert _end(TaskResult(Outcome("t", None, error), [])) == word

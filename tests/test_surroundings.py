"""The command line in bad surroundings: streams that are gone or full, signals, encodings, widths."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from duomi._core.names import quoted
from duomi.simulator import CLIP, Script, Simulator
from faults import Exchange, FaultServer, answer, hang, head
from harness import KEY, until
from test_cli import TASKS, duomi, on_a_terminal, read_terminal, shown_on, start

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with Simulator(TASKS, api_key=KEY).serve() as url:
        yield url


def half_a_clip(url: str) -> Any:
    """Answer a task whose clip stops half-way."""

    async def play(exchange: Exchange) -> bool | None:
        if "/v1/" in exchange.path:
            body = {
                "id": "x",
                "state": "succeeded",
                "data": {"videos": [{"url": f"http://{exchange.header('host')}/1.mp4"}]},
            }
            return await answer(200, body)(exchange)
        content = CLIP.read_bytes()
        await exchange.send(
            head(200, {"content-type": "video/mp4", "content-length": str(len(content))}), content[:9_000]
        )
        await hang(exchange)
        return None

    return play


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("words", ["wait x --download clips", "download x --directory clips"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_leaves_no_part_of_a_clip(tmp_path: Path, number: signal.Signals, words: str, times: int) -> None:
    """After a signal the exit code is 130 or 143, the command that resumes is printed, and no part of a clip is left."""
    with FaultServer([half_a_clip("")]) as server:
        process = start(
            tmp_path, server.url, *words.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # the tests may run under nohup
        )  # fmt: skip
        until(lambda: list((tmp_path / "clips").glob("*.part")) if (tmp_path / "clips").exists() else None)
        for _ in range(times):
            process.send_signal(number)
        _, error = process.communicate(timeout=20)

    assert process.returncode == (130 if number == signal.SIGINT else 143), error
    assert error.decode().strip().splitlines()[-1] == f"duomi {words.replace(' x', '')} x"
    assert b"Traceback" not in error
    assert list((tmp_path / "clips").iterdir()) == []


@pytest.mark.parametrize("command", ["get", "wait"])
def test_sigterm_ends_the_first_process_of_a_container(tmp_path: Path, command: str) -> None:
    """A process that would ignore SIGTERM without a handler ends with 143."""
    with FaultServer([hang]) as server:
        process = start(tmp_path, server.url, command, "x", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: server.heads)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=20)

    assert process.returncode == 143
    assert b"Traceback" not in error


def test_an_ignored_sighup_stays_ignored(tmp_path: Path) -> None:
    """Under nohup the wait goes on after the terminal was closed."""
    simulator = Simulator({"a": Script(pending=9, running=())}, api_key=KEY)
    with simulator.serve() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUOMI_POLL_INTERVAL", "0.2")
        ours, theirs = pty.openpty()
        process = start(
            tmp_path, url, "wait", "a", "--download", ".", stdin=theirs, stdout=theirs, stderr=theirs,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        )  # fmt: skip
        os.close(theirs)
        until(lambda: simulator.polls("a"))
        process.send_signal(signal.SIGHUP)
        os.close(ours)
        code = process.wait(60)

    assert code == 0
    assert (tmp_path / "a.mp4").read_bytes() == CLIP.read_bytes()


@pytest.mark.parametrize("stderr", ["full", "closed", "no reader"])
def test_a_stderr_that_takes_nothing_stops_no_wait(tmp_path: Path, stderr: str) -> None:
    """Warnings that cannot be written do not matter to data, clips and exit code."""

    (tmp_path / "video.mp4").write_bytes(b"mine")  # so that there is a warning
    with Simulator(TASKS, api_key=KEY).serve() as url:
        reading, writing = os.pipe()
        os.close(reading)
        arguments = ["wait", "video", "character", "--download", ".", "--json", "-v"]
        with Path("/dev/full").open("w") as full:
            ways: dict[str, dict[str, Any]] = {
                "full": {"stderr": full},
                "no reader": {"stderr": writing},
                "closed": {"preexec_fn": lambda: os.close(2)},
            }
            process = start(tmp_path, url, *arguments, stdout=subprocess.PIPE, **ways[stderr])
            os.close(writing)
            out, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert sorted(json.loads(line)["task_id"] for line in out.splitlines()) == ["character", "video"]


def test_without_stdin_ids_are_a_usage_error(tmp_path: Path, base_url: str) -> None:
    """`duomi wait - <&-` is exit 2 with one line."""
    process = start(tmp_path, base_url, "wait", "-", stderr=subprocess.PIPE, preexec_fn=lambda: os.close(0))
    _, error = process.communicate(timeout=20)

    assert (process.returncode, error) == (2, b"duomi: there is no stdin to read task ids from\n")


CODINGS = [
    "utf-16",
    "gbk",
    *(pytest.param(c, marks=pytest.mark.slow) for c in ("utf-8", "utf-8-sig", "utf-16-le", "utf-16-be")),
]


@pytest.mark.parametrize("coding", CODINGS)
def test_ids_are_read_in_the_encodings_of_windows(tmp_path: Path, coding: str) -> None:
    """PowerShell writes UTF-16, editors write marks, and a console may be in GBK."""
    ids = ["video", "\u89c6\u9891"]
    with Simulator(dict.fromkeys(ids, Script(pending=0, running=())), api_key=KEY).serve() as url:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONIOENCODING", "gbk")
            process = start(tmp_path, url, "wait", "-", "--json", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        out, _ = process.communicate("\r\n".join(ids).encode(coding), timeout=20)

    assert process.returncode == 0
    assert {json.loads(line)["task_id"] for line in out.splitlines()} == set(ids)


def test_ids_in_no_known_encoding_are_a_usage_error(tmp_path: Path, base_url: str) -> None:
    """Bytes that are no text are exit 2 with one line."""
    process = start(tmp_path, base_url, "wait", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    _, error = process.communicate(b"\xff\xfe\xfd", timeout=20)

    assert process.returncode == 2
    assert error.splitlines() == [b"duomi: the task ids on stdin are neither UTF-8 nor UTF-16"]


LONG = "https://clips.example/" + "a" * 300 + ".mp4?sig=" + "b" * 80


@pytest.mark.slow
@pytest.mark.parametrize("columns", [0, 20, 40, 80])
@pytest.mark.parametrize("forced", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_a_url_is_printed_in_one_piece(tmp_path: Path, columns: int, forced: dict[str, str]) -> None:
    """Neither colours that are forced nor a narrow terminal break a URL."""
    body = {"id": "x", "state": "succeeded", "data": {"videos": [{"url": LONG}]}}
    with FaultServer([answer(200, body)]) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in (forced | {"COLUMNS": str(columns)}).items():
            patch.setenv(name, value)
        piped = duomi(tmp_path, server.url, "get", "x").stdout
        waited = duomi(tmp_path, server.url, "wait", "x").stdout
        _, shown = on_a_terminal(tmp_path, server.url, "get", "x")

    assert LONG in piped
    assert LONG in waited
    assert LONG in shown


@pytest.mark.slow
def test_the_tests_pass_on_a_narrow_terminal(tmp_path: Path) -> None:
    """The tests of the command line pass in 40 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", str(ROOT / "tests/test_cli.py"), "-k", "not demo"],
        cwd=ROOT, env=environment | {"COLUMNS": "40"}, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = read_terminal(ours)

    assert process.wait(60) == 0, shown[-3_000:]


def test_a_folder_that_cannot_be_one_is_told_before_the_wait(tmp_path: Path) -> None:
    """A `--download` that is a file is exit 2, and nothing was asked."""
    simulator = Simulator(TASKS, api_key=KEY)
    (tmp_path / "file").write_bytes(b"")
    with simulator.serve() as url:
        for folder in ("file", "file/below"):
            done = duomi(tmp_path, url, "wait", "stuck", "--download", folder)
            assert done.returncode == 2
            assert "cannot be a folder" in done.stderr
        assert simulator.polls("stuck") == 0


def test_a_folder_of_nobody_is_told_before_the_wait(tmp_path: Path, base_url: str) -> None:
    """A `~name` of no user is one line and exit 2."""
    done = duomi(tmp_path, base_url, "wait", "stuck", "--download=~nobody-of-this-name/clips")

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "there is no such user's folder" in done.stderr


def test_a_closed_stdout_is_no_success(tmp_path: Path) -> None:
    """What cannot be written is exit 2, whether the output is full or closed."""
    with Simulator(TASKS, api_key=KEY).serve() as url:
        process = start(tmp_path, url, "get", "video", "--json", preexec_fn=lambda: os.close(1), stderr=subprocess.PIPE)
        _, error = process.communicate(timeout=60)

    assert process.returncode == 2
    assert b"cannot write the output: stdout is closed" in error


def test_a_tilde_is_the_home_folder(tmp_path: Path, base_url: str) -> None:
    """`--download=~/clips`, which no shell expands, is the home folder, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path / "home"))
        done = duomi(tmp_path, base_url, "wait", "video", "--download=~/clips")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "home/clips/video.mp4").exists()
    assert not (tmp_path / "~").exists()


def test_wait_overwrites_on_request(tmp_path: Path, base_url: str) -> None:
    """`wait --overwrite` replaces a file, and without it the file is kept."""
    (tmp_path / "video.mp4").write_bytes(b"mine")

    kept = duomi(tmp_path, base_url, "wait", "video", "-d", ".")
    assert (kept.returncode, (tmp_path / "video.mp4").read_bytes()) == (0, b"mine")
    replaced = duomi(tmp_path, base_url, "wait", "video", "-d", ".", "--overwrite")
    assert (replaced.returncode, (tmp_path / "video.mp4").read_bytes()) == (0, CLIP.read_bytes())


@pytest.mark.parametrize("json_", [[], ["--json"]])
def test_a_pipe_shows_progress_on_stderr(tmp_path: Path, json_: list[str]) -> None:
    """Where there are no bars, a line on stderr says how far a task is."""
    simulator = Simulator({"a": Script(pending=1, running=(10, 60))}, api_key=KEY)
    with simulator.serve() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUOMI_POLL_INTERVAL", "0.05")
        done = duomi(tmp_path, url, "wait", "a", *json_)

    assert done.returncode == 0, done.stderr
    assert [line.split(" ")[1] for line in done.stderr.splitlines()] == ["pending", "running"]


@pytest.mark.parametrize("verbose", [pytest.param([], marks=pytest.mark.slow), ["-v"]])
def test_verbose_shows_retries(tmp_path: Path, verbose: list[str]) -> None:
    """`-v` shows what is tried again, on every command."""
    for command in ("get", "check", "wait", "download"):
        with FaultServer([answer(503, {}), answer(200, {"id": "x", "state": "running"})]) as server:
            done = duomi(
                tmp_path, server.url, command, "x", *verbose, *(["--timeout", "0.1"] if command == "wait" else [])
            )
        if command != "wait":
            assert ("attempt 2 of 5" in done.stderr) == bool(verbose), done.stderr


def test_the_simulator_is_served(tmp_path: Path) -> None:
    """`duomi simulator` prints what to paste, and serves until Ctrl-C; a taken port is exit 2."""
    process = start(tmp_path, "http://127.0.0.1:1", "simulator", stderr=subprocess.PIPE)
    assert process.stderr is not None
    lines = [process.stderr.readline().decode() for _ in range(3)]
    url = lines[1].split("DUOMI_BASE_URL=")[1].split(" ")[0]
    done = duomi(tmp_path, url, "get", "video-5dd1ef43")
    taken = duomi(tmp_path, url, "simulator", "--port", url.rpartition(":")[2])
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

    assert (done.returncode, process.returncode) == (0, 130)
    assert taken.returncode == 2
    assert "cannot be had" in taken.stderr


WORDS = {
    # A word, and how a POSIX shell and one of Windows need it.
    "5dd1ef43-efeb": ("5dd1ef43-efeb", "5dd1ef43-efeb"),
    "a b": ("'a b'", '"a b"'),
    "a'b": ("'a'\"'\"'b'", '"a\'b"'),
    'a"b': ("'a\"b'", '"a\\"b"'),
    "C:\\clips": ("'C:\\clips'", "C:\\clips"),
    "\u957f": ("'\u957f'", '"\u957f"'),
    "": ("''", '""'),
}


@pytest.mark.parametrize("word", WORDS)
def test_the_command_to_resume_is_quoted_for_the_platform(word: str) -> None:
    """Windows has double quotes, which cmd and PowerShell both take."""
    assert (quoted(word, windows=False), quoted(word, windows=True)) == WORDS[word]


def test_help_is_there_without_docstrings(tmp_path: Path) -> None:
    """`python -OO` shows the same help, each command in one line that is not cut off."""
    texts = [
        subprocess.run(
            [sys.executable, *option, "-m", "duomi", *arguments], cwd=tmp_path, capture_output=True, text=True,
            check=True, env=os.environ | {"COLUMNS": "80"},
        ).stdout
        for option in ([], ["-OO"])
        for arguments in (["--help"], ["wait", "--help"])
    ]  # fmt: skip

    assert texts[:2] == texts[2:]
    assert "Wait until tasks are finished." in texts[0]
    assert "..." not in texts[0].partition("Commands:")[2].replace("ID...", "")


def test_no_line_wraps_in_forty_columns(tmp_path: Path, base_url: str) -> None:
    """A narrow terminal shows bars in one line each."""
    screen, code = shown_on(tmp_path, base_url, ["wait", "video", "failed"], columns=40, lines=24)

    assert code == 1
    assert any(line.startswith("failed") for line in screen)

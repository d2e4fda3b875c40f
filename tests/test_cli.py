"""The command, through a real process against the simulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from duomi import __version__
from duomi.simulator import CLIP, Script, Simulator
from harness import KEY

TASKS = {
    "video": Script(pending=0, running=()),
    "character": Script(pending=0, running=(), outcome="character"),
    "failed": Script(pending=0, running=(), outcome="error", message="refused"),
    "stuck": Script(pending=10_000),
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

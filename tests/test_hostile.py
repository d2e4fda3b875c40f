"""Whatever is passed to a public method, and wherever it runs, it returns or raises a `DuomiError`."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from duomi import AsyncDuomi, ConfigurationError, Duomi, DuomiError, Polling, Retry, Task
from faults import FaultServer, answer
from harness import KEY, payload

DONE = payload("succeeded") | {"data": {}}
VALUES: list[Any] = [
    None, 5, 1.5, -1, 0, True, math.nan, math.inf, 10**400, b"x", [], [None], {}, object(), "", " ", "\0", "..", "x" * 10**6,
    "\ud800", "a\nb", "a/b", lambda: None, print, Task.from_payload(DONE), Retry(), Polling(), Path(), ..., Duomi, DuomiError("x"),
]  # fmt: skip

METHODS: dict[str, Callable[[Any, Any], Any]] = {
    "get_task": lambda client, value: client.get_task(value),
    "wait": lambda client, value: client.wait(value, timeout=0),
    "wait timeout": lambda client, value: client.wait("a", timeout=value),
    "wait on_update": lambda client, value: client.wait("a", timeout=0, on_update=value),
    "wait polling": lambda client, value: client.wait("a", timeout=0, polling=value),
    "watch": lambda client, value: client.watch(value, timeout=0),
    "as_completed": lambda client, value: client.as_completed(value, timeout=0),
    "as_completed ids": lambda client, value: client.as_completed([value], timeout=0),
    "as_completed max_in_flight": lambda client, value: client.as_completed(["a"], timeout=0, max_in_flight=value),
    "as_completed on_update": lambda client, value: client.as_completed(["a"], timeout=0, on_update=value),
    "download": lambda client, value: client.download(value),
    "download directory": lambda client, value: client.download(Task.from_payload(DONE), value),
    "download if_exists": lambda client, value: client.download(Task.from_payload(DONE), if_exists=value),
    "download on_progress": lambda client, value: client.download(Task.from_payload(DONE), on_progress=value),
    "stream": lambda client, value: client.stream(value),
    "stream index": lambda client, value: client.stream(Task.from_payload(payload("succeeded")), index=value),
    "with_options timeout": lambda client, value: client.with_options(timeout=value),
    "with_options retry": lambda client, value: client.with_options(retry=value),
    "with_options polling": lambda client, value: client.with_options(polling=value),
    "with_options strict": lambda client, value: client.with_options(strict=value),
}
MAKERS: dict[str, Callable[[Any], Any]] = {
    "api_key": Duomi,
    "base_url": lambda value: Duomi(KEY, base_url=value),
    "timeout": lambda value: Duomi(KEY, timeout=value),
    "retry": lambda value: Duomi(KEY, retry=value),
    "polling": lambda value: Duomi(KEY, polling=value),
    "max_rate": lambda value: Duomi(KEY, max_rate=value),
    "strict": lambda value: Duomi(KEY, strict=value),
    "http_client": lambda value: Duomi(KEY, http_client=value),
    "async http_client": lambda value: AsyncDuomi(KEY, http_client=value),
    "attempts": lambda value: Retry(attempts=value),
    "backoff": lambda value: Retry(backoff=value),
    "max_backoff": lambda value: Retry(max_backoff=value),
    "max_retry_after": lambda value: Retry(max_retry_after=value),
    "interval": lambda value: Polling(interval=value),
    "polling timeout": lambda value: Polling(timeout=value),
    "outage": lambda value: Polling(outage=value),
    "stall": lambda value: Polling(stall=value),
    "from_payload": Task.from_payload,
    "from_json": Task.from_json,
    "from_payload task_id": lambda value: Task.from_payload(DONE, task_id=value),
}  # fmt: skip
# What a callback of the caller's raises is the caller's.
OWN = {"wait on_update", "as_completed on_update"}


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer([answer(200, payload("succeeded"))]) as server:
        yield server


@pytest.mark.parametrize("name", ["attempts", "backoff", "max_backoff", "max_retry_after", "outage"])
def test_a_setting_without_an_end_cannot_be_none(name: str) -> None:
    """`None` means something only where the documentation says so."""
    with pytest.raises(ConfigurationError, match="None"):
        MAKERS[name](None)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_returns_or_raises_a_duomi_error(
    name: str, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile argument of a sync method."""
    monkeypatch.chdir(tmp_path)
    with Duomi(KEY, base_url=server.url, retry=Retry(attempts=1)) as client:
        for value in VALUES:
            with contextlib.suppress(DuomiError, *((TypeError,) if name in OWN else ())):
                result = METHODS[name](client, value)
                if name.startswith(("watch", "as_completed")):
                    list(result)


@pytest.mark.parametrize("name", METHODS)
def test_an_async_method_returns_or_raises_a_duomi_error(
    name: str, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile argument of an async method."""
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        async with AsyncDuomi(KEY, base_url=server.url, retry=Retry(attempts=1)) as client:
            for value in VALUES:
                with contextlib.suppress(DuomiError, *((TypeError,) if name in OWN else ())):
                    result = METHODS[name](client, value)
                    if name.startswith(("watch", "as_completed")):
                        _ = [each async for each in result]
                    elif not name.startswith(("stream", "with_options")):
                        await result

    anyio.run(main)


@pytest.mark.parametrize("name", MAKERS)
def test_a_value_is_taken_or_refused_by_a_duomi_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile argument of what is made before a call."""
    monkeypatch.setenv("DUOMI_API_KEY", KEY)
    for value in VALUES:
        with contextlib.suppress(DuomiError):
            MAKERS[name](value)


CALLS = """
import sys, duomi
sys.path.insert(0, sys.argv[3])
done = {"id": "a", "state": "succeeded", "data": {"videos": [{"url": sys.argv[1] + "/1.mp4"}]}}
try:
    exec(sys.argv[2])
    with duomi.Duomi("sk-test-0123456789", base_url=sys.argv[1], retry=duomi.Retry(attempts=1)) as client:
        for call in (
            lambda: client.get_task("a"),
            lambda: client.wait("a", timeout=0),
            lambda: [outcome.error for outcome in client.as_completed(["a", "b"], timeout=0)],
            lambda: client.download(duomi.Task.from_payload(done), "."),
        ):
            try:
                print("ok", ascii(call()))
            except duomi.DuomiError as error:
                print(type(error).__name__, ascii(str(error)))
except duomi.DuomiError as error:
    print(type(error).__name__, ascii(str(error)))
"""
NO_FILES = "import ctypes; ctypes.CDLL('libgcc_s.so.1'); import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (7, 7)); import os; [os.open(os.devnull, 0) for _ in range(7 - len(os.listdir('/proc/self/fd')) + 1)]"
NO_THREADS = 'import threading; threading.Thread.start = lambda self: (_ for _ in ()).throw(RuntimeError("can\'t start new thread"))'

ENVIRONMENTS: dict[str, tuple[dict[str, str], str]] = {
    "no certificates": ({"SSL_CERT_FILE": "/nonexistent"}, ""),
    "a folder as certificates": ({"SSL_CERT_FILE": "/"}, ""),
    "an empty certificate": ({"SSL_CERT_FILE": "/dev/null"}, ""),
    "no certificate folder": ({"SSL_CERT_DIR": "/nonexistent"}, ""),
    "a proxy that is no URL": ({"HTTPS_PROXY": "http://[", "HTTP_PROXY": ":::", "NO_PROXY": ""}, ""),
    "exceptions from the proxy that are none": ({"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "::1/128,[::1],*,]["}, ""),
    "plain C": ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, ""),
    "no home": ({"HOME": "/nonexistent", "TMPDIR": "/nonexistent"}, ""),
    "a blank log level": ({"DUOMI_LOG": " "}, ""),
    "empty variables": ({"DUOMI_BASE_URL": "", "DUOMI_LOG": "", "DUOMI_POLL_INTERVAL": ""}, ""),
    "no streams": ({}, "import os; os.close(0); sys.stdin = sys.stderr = None"),
    "no threads": ({}, NO_THREADS),
    "no file descriptors": ({}, NO_FILES),
    "no current folder": ({}, "import os, tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)"),
    "little recursion": ({}, "sys.setrecursionlimit(140)"),
}  # fmt: skip


ASYNC_CALLS = """
import sys, threading, anyio, duomi
done = duomi.Task.from_payload({"id": "a", "state": "succeeded", "data": {"videos": [{"url": sys.argv[1] + "/1.mp4"}]}})

async def main():
    start = threading.Thread.start
    exec(sys.argv[2])
    async with duomi.AsyncDuomi("sk-test-0123456789", base_url=sys.argv[1], retry=duomi.Retry(attempts=1)) as client:
        for call in (client.get_task("a"), client.wait("a", timeout=0), client.download(done, sys.argv[4])):
            try:
                print("ok", ascii(await call))
            except duomi.DuomiError as error:
                print(type(error).__name__, ascii(str(error)))
    threading.Thread.start = start  # the event loop ends with a thread

anyio.run(main, backend=sys.argv[3])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_calls_without_threads_give_results_or_duomi_errors(
    backend: str, server: FaultServer, tmp_path: Path
) -> None:
    """Neither the resolver nor the disk gets a thread."""
    url = server.url.replace("127.0.0.1", "localhost")
    done = subprocess.run(
        [sys.executable, "-c", ASYNC_CALLS, url, NO_THREADS, backend, str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(" ")[0] for line in done.stdout.splitlines()] == [
        "APIConnectionError", "TaskTimeoutError", "ConfigurationError",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_gives_results_or_duomi_errors(name: str, server: FaultServer, tmp_path: Path) -> None:
    """A process in a hostile environment ends without a traceback."""
    environment, first = ENVIRONMENTS[name]
    clean = {
        key: value for key, value in os.environ.items() if "proxy" not in key.lower() and not key.startswith("COV")
    }
    done = subprocess.run(
        [sys.executable, "-c", CALLS, server.url, first, str(tmp_path)],
        env=clean | environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-2_000:]
    assert "Traceback" not in done.stderr
    assert len(done.stdout.splitlines()) in {1, 4}, done.stdout


def test_missing_certificates_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that leads nowhere is in the message."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    with Duomi(KEY, base_url="https://duomi.example") as client, pytest.raises(DuomiError, match="SSL_CERT_FILE"):
        client.get_task("a")

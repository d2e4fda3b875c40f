"""A wait survives transient faults, ends at a permanent one and at its deadline, and leaves no connection open."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import anyio
import attrs
import pytest
import typer
from duomi import (
    APIConnectionError,
    APIResponseError,
    AsyncDuomi,
    AuthenticationError,
    Duomi,
    DuomiError,
    EmptyResultError,
    NotFoundError,
    PermissionDeniedError,
    Polling,
    RateLimitError,
    Retry,
    ServerError,
    Task,
    TaskError,
    TaskFailedError,
    TaskStalledError,
    TaskTimeoutError,
)
from duomi._cli.jobs import Job, finish
from duomi._cli.screen import Screen
from duomi._core import reply
from faults import Exchange, FaultServer, Play, answer, compressed, half, hang, head, raw, then_hang
from harness import KEY, POLLING, TABLE_KINDS, Caller, payload, until

ID = "5dd1ef43-efeb-9017-be66-f37a9d4348ee"
KINDS = TABLE_KINDS
GOOD, DONE = answer(200, payload("running")), answer(200, payload("succeeded"))
EMPTY = answer(200, payload("succeeded-without-url") | {"id": ID})
PENDING = answer(200, payload("pending") | {"id": ID})
RESET = raw(reset=True)
TRANSIENT_FAULTS = [
    RESET, raw(), raw(b"\x00"), answer(502, {}), answer(520, b"<html>"), answer(429, {}), answer(200, b""), answer(200, {}),
    answer(200, {"code": 500}), half(b"{}" * 50), compressed(b"?"), answer(200, None), then_hang(head(200, {})),
]  # fmt: skip
QUICK = Retry(attempts=2, backoff=0.0)


@attrs.frozen
class WaitCase:
    """What the server plays, and how the wait ends: with `ends` or a result, `within` seconds, the last progress `seen`."""

    plays: Sequence[Play]
    ends: type[DuomiError] | None
    polling: Polling = POLLING
    retry: Retry = QUICK
    within: float = 5.0
    seen: int | None = None
    requests: int | None = None
    timeout: float = 30.0


DEADLINE = Polling(interval=0.01, timeout=0.7)
EXIT_CODES: dict[type[DuomiError] | None, int] = {
    None: 0, TaskFailedError: 1, EmptyResultError: 1, TaskTimeoutError: 4, TaskStalledError: 4,
}  # fmt: skip

WAITS: dict[str, WaitCase] = {
    "every transient fault in a row": WaitCase([GOOD, *TRANSIENT_FAULTS, GOOD, *TRANSIENT_FAULTS, DONE], None, timeout=0.2),
    "a long outage": WaitCase([GOOD, RESET], APIConnectionError, Polling(interval=0.01, outage=0.3), within=0.9),
    "a long outage of 503": WaitCase([GOOD, answer(503, {})], ServerError, Polling(interval=0.01, outage=0.3), within=3.0),
    "a long outage of HTML pages": WaitCase([GOOD, answer(200, b"<html>")], APIResponseError, Polling(interval=0.01, outage=0.3), within=0.9),
    "a good answer between two outages": WaitCase([GOOD, *[RESET] * 20, GOOD, *[RESET] * 20, DONE], None,
                                               Polling(interval=0.02, outage=1.0)),
    "an outage before the first good answer": WaitCase([RESET], APIConnectionError, requests=2),
    "401 in the middle": WaitCase([GOOD, answer(401, {})], AuthenticationError, requests=2),
    "an envelope 404 in the middle": WaitCase([GOOD, answer(200, {"code": 404})], NotFoundError, requests=4),
    "a 404 at first": WaitCase([answer(404, {}), DONE], None, requests=2),
    "a 404 at the deadline": WaitCase([answer(404, {})], NotFoundError, Polling(timeout=0.5), within=1.0),
    "a page with 403 in the middle": WaitCase([GOOD, answer(403, b"<html>", say="text/html"), DONE], None, requests=3),
    "a refusal in the middle": WaitCase([GOOD, answer(403, {"message": "no credit"})], PermissionDeniedError, requests=2),
    "a 401 in the middle": WaitCase([GOOD, answer(401, b"<html>", say="text/html")], AuthenticationError, requests=2),
    "a redirect in the middle": WaitCase([GOOD, answer(302, b"", location="https://h/"), DONE], None, requests=3),
    "three 429 at first": WaitCase([*[answer(429, {}, retry_after="0")] * 3, DONE], None, requests=4, within=9.0),
    "429 without a good answer": WaitCase([answer(429, {})], RateLimitError, Polling(interval=0.01, outage=1.0), within=8.0),
    "a 429 with a long Retry-After at the deadline": WaitCase([GOOD, answer(429, {}, retry_after="60")], TaskTimeoutError, DEADLINE, within=1.2, seen=45),
    "a Retry-After beyond the outage": WaitCase([GOOD, answer(429, {}, retry_after="60")], RateLimitError, Polling(interval=0.01, outage=0.5), within=1.2),
    "another id once": WaitCase([answer(200, payload("running") | {"id": "x"}), GOOD, DONE], None, requests=3),
    "another id always": WaitCase([answer(200, payload("succeeded") | {"id": "x"})], None, requests=2),
    "a failed task": WaitCase([GOOD, answer(200, payload("error-data-null") | {"id": ID})], TaskFailedError, requests=2),
    "the deadline while running": WaitCase([GOOD], TaskTimeoutError, DEADLINE, within=1.2, seen=45),
    "the deadline during a request": WaitCase([GOOD, hang], TaskTimeoutError, DEADLINE, within=1.2, seen=45),
    "the deadline during the first request": WaitCase([hang], TaskTimeoutError, DEADLINE, within=1.2),
    "the deadline during a body": WaitCase([GOOD, then_hang(head(200, {"content-length": "9"}))], TaskTimeoutError,
                                                 DEADLINE, within=1.2, seen=45),
    "the deadline during a back-off": WaitCase([GOOD, answer(503, {})], TaskTimeoutError, DEADLINE, Retry(attempts=9, backoff=60.0, max_backoff=60.0),
                                       within=1.2, seen=45),
    "the deadline during a Retry-After": WaitCase([GOOD, answer(429, {}, retry_after="50")], TaskTimeoutError, DEADLINE, within=1.2, seen=45),
    "the deadline during a Retry-After over its maximum": WaitCase([GOOD, answer(429, {}, retry_after="5000")], TaskTimeoutError, DEADLINE,
                                                           within=1.2, seen=45),
    "the deadline during a long interval": WaitCase([GOOD], TaskTimeoutError, Polling(interval=60.0, timeout=0.7), within=1.2, seen=45, requests=2),
    "a task that is finished at the deadline": WaitCase([GOOD, DONE], None, Polling(interval=60.0, timeout=0.7), within=1.2, requests=2),
    "a stalled task": WaitCase([PENDING], TaskStalledError, Polling(interval=0.05, stall=0.3), within=0.9),
    "a stalled task with a long interval": WaitCase([PENDING], TaskStalledError, Polling(interval=60.0, stall=0.3), within=0.9, requests=2),
    "an empty result at the deadline": WaitCase([EMPTY], EmptyResultError, DEADLINE, within=1.2),
    "an empty result, then an outage at the deadline": WaitCase([EMPTY, RESET], EmptyResultError, DEADLINE, within=1.2),
    "an empty result at first": WaitCase([EMPTY, DONE], None, requests=2),
}  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("kind", TABLE_KINDS)
@pytest.mark.parametrize("name", WAITS)
def test_one_wait(kind: str, name: str) -> None:
    """Each wait ends in time, with the right result or error and the last task seen."""
    row = WAITS[name]
    options = {"retry": row.retry, "polling": row.polling, "timeout": row.timeout}

    with FaultServer(row.plays) as server:
        began = time.monotonic()
        if row.ends is None:
            assert Caller(kind, server.url)("wait", ID, options=options).is_succeeded
        else:
            with pytest.raises(row.ends) as caught:
                Caller(kind, server.url)("wait", ID, options=options)
            assert type(caught.value) is row.ends
            if isinstance(caught.value, TaskTimeoutError):
                assert f"duomi wait {ID}" in str(caught.value)
                assert (caught.value.task is None) == (row.seen is None)
            if isinstance(caught.value, TaskError) and caught.value.task is not None and row.seen is not None:
                assert caught.value.task.progress == row.seen
        took = time.monotonic() - began

    assert took < row.within
    assert row.requests is None or len(server.heads) == row.requests


@pytest.mark.slow
@pytest.mark.parametrize("name", WAITS)
def test_one_wait_of_many(name: str) -> None:
    """`as_completed` ends each wait as `wait` does."""
    row = WAITS[name]

    with (
        FaultServer(row.plays) as server,
        Duomi(KEY, base_url=server.url, retry=row.retry, polling=row.polling, timeout=row.timeout) as client,
    ):
        (outcome,) = client.as_completed([ID])

    assert type(outcome.error) is (row.ends or type(None))
    assert row.seen is None or (outcome.task is not None and outcome.task.progress == row.seen)
    assert row.requests is None or len(server.heads) == row.requests


@pytest.mark.slow
@pytest.mark.parametrize("name", WAITS)
def test_one_wait_of_the_command_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`duomi wait` ends each wait as `wait` does, and its exit code tells how."""
    row = WAITS[name]

    with FaultServer(row.plays) as server:
        client = AsyncDuomi(KEY, base_url=server.url, retry=row.retry, polling=row.polling, timeout=row.timeout)
        with pytest.raises(typer.Exit) as caught:
            finish(Job(client, [ID], None, Screen(json=True), ["duomi", "wait"]))
    printed = json.loads(capsys.readouterr().out)

    assert (printed["error"] or {"type": None})["type"] == (row.ends and row.ends.__name__)
    assert caught.value.exit_code == EXIT_CODES.get(row.ends, 3)
    assert row.requests is None or len(server.heads) == row.requests


@pytest.mark.parametrize("kind", KINDS)
def test_a_timeout_without_a_good_answer_has_a_cause(kind: str) -> None:
    """If no poll succeeded, the timeout error has the last error as its cause."""
    options = {"polling": Polling(interval=0.01, timeout=0.3), "retry": Retry(attempts=10_000, backoff=0.01)}

    with FaultServer([RESET]) as server, pytest.raises(TaskTimeoutError) as caught:
        Caller(kind, server.url)("wait", ID, options=options)

    assert caught.value.task is None
    assert isinstance(caught.value.__cause__, APIConnectionError)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_in_on_update_ends_the_wait(kind: str) -> None:
    """A callback that raises ends the wait with its own error."""

    def fail(_task: Task) -> None:
        raise ZeroDivisionError

    with FaultServer([GOOD]) as server, pytest.raises(ZeroDivisionError):
        Caller(kind, server.url)("wait", ID, on_update=fail)


def test_an_undocumented_state_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each undocumented value is logged once as WARNING, in an envelope or not, and other deviations as DEBUG."""
    monkeypatch.setattr(reply, "_warned", set())
    caplog.set_level(logging.DEBUG, "duomi")
    undocumented = {"id": ID, "state": "dreaming"}
    script = [answer(200, {**undocumented, "progress": n}) for n in range(5)]
    script += [answer(200, {"code": 0, "data": {**undocumented, "progress": 77}}), answer(503, {}), DONE]

    with FaultServer(script) as server:
        Caller("sync", server.url)("wait", ID)

    logged = {level: [r.getMessage() for r in caplog.records if r.levelno == level] for level in (10, 20, 30)}
    assert len(logged[logging.WARNING]) == 1
    assert "dreaming" in logged[logging.WARNING][0]
    assert any("/data" in line for line in logged[logging.DEBUG])
    assert len(logged[logging.INFO]) == 1
    assert "503" in logged[logging.INFO][0]


def test_no_more_than_a_thousand_undocumented_values_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that invents new states forever does not fill the memory."""
    monkeypatch.setattr(reply, "_warned", set())

    for number in range(1_100):
        reply.log_deviations(Task.from_payload({"state": f"odd-{number}"}), str)

    assert len(reply._warned) == 1_000


INTERRUPTED = """
import duomi, signal, sys, warnings
signal.signal(signal.SIGINT, signal.default_int_handler)  # the parent process may ignore it
warnings.simplefilter("error")
sys.unraisablehook = lambda error: print("unraisable", error, flush=True)
client = duomi.Duomi("sk-test-0123456789", base_url=sys.argv[1], polling=duomi.Polling(interval=float(sys.argv[2])))
try:
    with client:
        client.wait("5dd1ef43-efeb-9017-be66-f37a9d4348ee", on_update=lambda task: print("seen", flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize(("plays", "interval"), [([GOOD], 60.0), ([GOOD, hang], 0.01)])
def test_ctrl_c_leaves_nothing_open(plays: list[Play], interval: float) -> None:
    """A Ctrl-C during a pause or a request ends the wait immediately, and no connection stays open."""
    with FaultServer(plays) as server:
        command = [sys.executable, "-X", "dev", "-c", INTERRUPTED, server.url, str(interval)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        assert process.stdout is not None
        assert process.stdout.readline() == "seen\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=10)
        wait_until_closed(server)

    assert (out, error) == ("interrupted\n", "")


def wait_until_closed(server: FaultServer) -> None:
    until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("second", [GOOD, hang, then_hang(head(200, {"content-length": "9"}), b"{")])
def test_cancellation_leaves_nothing_open(backend: str, second: Play) -> None:
    """A cancelled wait leaves no connection and no warning, during a pause, a request or a body."""

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url) as client:
            with anyio.move_on_after(0.3) as scope:
                await client.wait(ID, polling=Polling(interval=0.1))
            assert scope.cancelled_caught

    with FaultServer([GOOD, second]) as server:
        anyio.run(main, server.url, backend=backend)
        wait_until_closed(server)
        gc.collect()


@pytest.mark.parametrize("kind", KINDS)
def test_leaving_a_watch_leaves_nothing_open(kind: str) -> None:
    """Leaving the loop over a watch ends it and closes its connection."""

    async def leave(client: AsyncDuomi) -> None:
        watch: Any = client.watch(ID)
        async for _task in watch:
            break
        await watch.aclose()
        assert [task async for task in watch] == []

    with FaultServer([GOOD]) as server:
        if kind == "sync":
            with Duomi(KEY, base_url=server.url) as client:
                for _task in client.watch(ID):
                    break
        else:
            Caller(kind, server.url).with_api(lambda _client: None, leave)
        wait_until_closed(server)
        gc.collect()


def test_three_event_loops_in_a_row_work() -> None:
    """A client in each of three calls of `asyncio.run` gets its answer, and leaves no connection open."""

    async def main(url: str) -> str:
        async with AsyncDuomi(KEY, base_url=url) as client:
            return (await client.get_task(ID)).id

    with FaultServer([GOOD]) as server:
        assert [asyncio.run(main(server.url)) for _ in range(3)] == [
            json.loads(json.dumps(payload("running")))["id"]
        ] * 3
        wait_until_closed(server)
        gc.collect()


SOAK = 500


def soak_script(seed: int) -> tuple[Play, dict[str, int]]:
    """Serve tasks that take 6 polls, and play a fault at one request in five."""
    import random

    jitter = random.Random(seed)
    polls: dict[str, int] = {}

    async def play(exchange: Exchange) -> bool | None:
        task_id = exchange.path.rpartition("/")[2]
        if jitter.random() < 0.2:
            return await jitter.choice(TRANSIENT_FAULTS)(exchange)
        polls[task_id] = poll = polls.get(task_id, 0) + 1
        body: dict[str, Any] = {"id": task_id, "state": "running", "progress": poll * 10}
        if poll > 5:
            body |= {"state": "succeeded", "data": {"videos": [{"url": f"https://clips.example/{task_id}.mp4"}]}}
        return await answer(200, body)(exchange)

    return play, polls


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_five_hundred_waits_survive_random_faults(backend: str) -> None:
    """With 20 % random faults each of 500 concurrent waits ends with its own clip."""
    play, polls = soak_script(7)
    ended: dict[str, Task] = {}

    async def main(url: str) -> None:
        # Before the first good answer only `Retry` applies, and among 500 waits 5 faults in a row are not rare.
        retry, polling = Retry(attempts=12, backoff=0.05, max_backoff=0.5), Polling(interval=0.2, timeout=120.0)
        client = AsyncDuomi(KEY, base_url=url, retry=retry, polling=polling, timeout=10.0)

        async def wait(task_id: str) -> None:
            ended[task_id] = await client.wait(task_id)

        async with client, anyio.create_task_group() as group:
            for number in range(SOAK):
                group.start_soon(wait, f"task_{number}")

    with FaultServer([play]) as server:
        anyio.run(main, server.url, backend=backend)
        wait_until_closed(server)

    assert len(ended) == SOAK
    assert all(task.videos[0].url == f"https://clips.example/{name}.mp4" for name, task in ended.items())
    assert min(polls.values()) >= 6

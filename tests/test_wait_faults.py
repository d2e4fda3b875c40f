"""A wait outlasts what passes, ends at once at what does not, and is never late; what stops it leaves nothing open."""

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
from duomi import (
    APIConnectionError,
    APIResponseError,
    AsyncDuomi,
    AuthenticationError,
    Duomi,
    DuomiError,
    EmptyResultError,
    NotFoundError,
    Polling,
    Retry,
    ServerError,
    Task,
    TaskError,
    TaskFailedError,
    TaskStalledError,
    TaskTimeoutError,
)
from duomi._core import reply
from faults import Exchange, FaultServer, Play, answer, compressed, half, hang, head, raw, then_hang
from harness import KEY, POLLING, TABLE_KINDS, Caller, payload, until

ID = "5dd1ef43-efeb-9017-be66-f37a9d4348ee"
KINDS = TABLE_KINDS
GOOD, DONE = answer(200, payload("running")), answer(200, payload("succeeded"))
EMPTY = answer(200, payload("succeeded-without-url"))
PENDING = answer(200, payload("pending"))
RESET = raw(reset=True)
TROUBLES = [
    RESET, raw(), raw(b"\x00"), answer(502, {}), answer(520, b"<html>"), answer(429, {}), answer(200, b""), answer(200, {}),
    answer(200, {"code": 500}), half(b"{}" * 50), compressed(b"?"), answer(200, None), then_hang(head(200, {})),
]  # fmt: skip
QUICK = Retry(attempts=2, backoff=0.0)


@attrs.frozen
class Poller:
    """What the server plays, how is waited, and how the wait ends; `within` seconds, and `seen` is the last progress."""

    plays: Sequence[Play]
    ends: type[DuomiError] | None
    polling: Polling = POLLING
    retry: Retry = QUICK
    within: float = 5.0
    seen: int | None = None
    requests: int | None = None
    timeout: float = 30.0


DEADLINE = Polling(interval=0.01, timeout=0.7)

WAITS: dict[str, Poller] = {
    "every trouble in a row": Poller([GOOD, *TROUBLES, GOOD, *TROUBLES, DONE], None, timeout=0.2),
    "an outage that lasts": Poller([GOOD, RESET], APIConnectionError, Polling(interval=0.01, outage=0.3), within=0.9),
    "an outage of 503": Poller([GOOD, answer(503, {})], ServerError, Polling(interval=0.01, outage=0.3), within=0.9),
    "an outage of pages": Poller([GOOD, answer(200, b"<html>")], APIResponseError, Polling(interval=0.01, outage=0.3), within=0.9),
    "a good answer between two outages": Poller([GOOD, *[RESET] * 20, GOOD, *[RESET] * 20, DONE], None,
                                               Polling(interval=0.02, outage=1.0)),
    "an outage before the first good answer": Poller([RESET], APIConnectionError, requests=2),
    "401 in the middle": Poller([GOOD, answer(401, {})], AuthenticationError, requests=2),
    "an envelope 404 in the middle": Poller([GOOD, answer(200, {"code": 404})], NotFoundError, requests=2),
    "a failed task": Poller([GOOD, answer(200, payload("error-data-null"))], TaskFailedError, requests=2),
    "the deadline while running": Poller([GOOD], TaskTimeoutError, DEADLINE, within=1.2, seen=45),
    "the deadline in the middle of a request": Poller([GOOD, hang], TaskTimeoutError, DEADLINE, within=1.2, seen=45),
    "the deadline in the first request": Poller([hang], TaskTimeoutError, DEADLINE, within=1.2),
    "the deadline in the middle of a body": Poller([GOOD, then_hang(head(200, {"content-length": "9"}))], TaskTimeoutError,
                                                 DEADLINE, within=1.2, seen=45),
    "the deadline in a back-off": Poller([GOOD, answer(503, {})], TaskTimeoutError, DEADLINE, Retry(attempts=9, backoff=60.0, max_backoff=60.0),
                                       within=1.2, seen=45),
    "the deadline in a Retry-After": Poller([GOOD, answer(429, {}, retry_after="50")], TaskTimeoutError, DEADLINE, within=1.2, seen=45),
    "the deadline in a Retry-After that is too long": Poller([GOOD, answer(429, {}, retry_after="5000")], TaskTimeoutError, DEADLINE,
                                                           within=1.2, seen=45),
    "the deadline in a long interval": Poller([GOOD], TaskTimeoutError, Polling(interval=60.0, timeout=0.7), within=1.2, seen=45, requests=2),
    "a task that is done at the deadline": Poller([GOOD, DONE], None, Polling(interval=60.0, timeout=0.7), within=1.2, requests=2),
    "nothing moves": Poller([PENDING], TaskStalledError, Polling(interval=0.05, stall=0.3), within=0.9),
    "nothing moves in a long interval": Poller([PENDING], TaskStalledError, Polling(interval=60.0, stall=0.3), within=0.9, requests=2),
    "empty at the deadline": Poller([EMPTY], EmptyResultError, DEADLINE, within=1.2),
    "empty, then trouble at the deadline": Poller([EMPTY, RESET], EmptyResultError, DEADLINE, within=1.2),
    "empty at first": Poller([EMPTY, DONE], None, requests=2),
}  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("kind", TABLE_KINDS)
@pytest.mark.parametrize("name", WAITS)
def test_one_wait(kind: str, name: str) -> None:
    """Each wait ends as it must, in time, with what was last seen."""
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


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_a_wait_without_an_answer_has_its_cause(kind: str) -> None:
    """Where no look succeeded, the time-out carries the last error as its cause."""
    options = {"polling": Polling(interval=0.01, timeout=0.3), "retry": Retry(attempts=10_000, backoff=0.01)}

    with FaultServer([RESET]) as server, pytest.raises(TaskTimeoutError) as caught:
        Caller(kind, server.url)("wait", ID, options=options)

    assert caught.value.task is None
    assert isinstance(caught.value.__cause__, APIConnectionError)


@pytest.mark.parametrize("kind", KINDS)
def test_what_on_update_raises_is_passed_on(kind: str) -> None:
    """A callback that fails ends the wait with its own error."""

    def fail(_task: Task) -> None:
        raise ZeroDivisionError

    with FaultServer([GOOD]) as server, pytest.raises(ZeroDivisionError):
        Caller(kind, server.url)("wait", ID, on_update=fail)


def test_an_undocumented_state_is_told_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each undocumented value is a WARNING once, however often and inside of what it comes; the rest is DEBUG."""
    monkeypatch.setattr(reply, "_warned", set())
    caplog.set_level(logging.DEBUG, "duomi")
    odd = {"id": "t", "state": "dreaming"}
    script = [answer(200, {**odd, "progress": n}) for n in range(5)]
    script += [answer(200, {"code": 0, "data": {**odd, "progress": 77}}), answer(503, {}), DONE]

    with FaultServer(script) as server:
        Caller("sync", server.url)("wait", "t")

    levels = {level: [r.getMessage() for r in caplog.records if r.levelno == level] for level in (10, 20, 30)}
    assert len(levels[logging.WARNING]) == 1
    assert "dreaming" in levels[logging.WARNING][0]
    assert any("/data" in line for line in levels[logging.DEBUG])
    assert len(levels[logging.INFO]) == 1
    assert "503" in levels[logging.INFO][0]


def test_no_more_than_a_thousand_values_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that makes up states without end does not fill the memory."""
    monkeypatch.setattr(reply, "_warned", set())

    for number in range(1_100):
        reply.log_deviations(Task.from_payload({"state": f"odd-{number}"}), str)

    assert len(reply._warned) == 1_000


INTERRUPTED = """
import duomi, signal, sys, warnings
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
warnings.simplefilter("error")
sys.unraisablehook = lambda trouble: print("unraisable", trouble, flush=True)
client = duomi.Duomi("key", base_url=sys.argv[1], polling=duomi.Polling(interval=float(sys.argv[2])))
try:
    with client:
        client.wait("t", on_update=lambda task: print("seen", flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize(("plays", "interval"), [([GOOD], 60.0), ([GOOD, hang], 0.01)])
def test_ctrl_c_leaves_nothing_open(plays: list[Play], interval: float) -> None:
    """A Ctrl-C in a pause or in the middle of a request comes out at once, and no connection stays open."""
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
    """A wait that is cancelled, wherever it is, leaves no connection and no warning."""

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
def test_a_watch_that_is_left_leaves_nothing_open(kind: str) -> None:
    """Leaving the loop over a watch ends it."""

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


def test_three_loops_in_a_row() -> None:
    """A client for each of three `asyncio.run` leaves nothing behind for the next."""

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
    """Serve tasks that take 6 looks, and play a fault at one request in five."""
    import random

    jitter = random.Random(seed)
    polls: dict[str, int] = {}

    async def play(exchange: Exchange) -> bool | None:
        task_id = exchange.path.rpartition("/")[2]
        if jitter.random() < 0.2:
            return await jitter.choice(TROUBLES)(exchange)
        polls[task_id] = poll = polls.get(task_id, 0) + 1
        body: dict[str, Any] = {"id": task_id, "state": "running", "progress": poll * 10}
        if poll > 5:
            body |= {"state": "succeeded", "data": {"videos": [{"url": f"https://clips.example/{task_id}.mp4"}]}}
        return await answer(200, body)(exchange)

    return play, polls


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_five_hundred_waits_survive_a_storm(backend: str) -> None:
    """Through 20 % random faults every one of 500 waits at once ends with its own clip."""
    play, polls = soak_script(7)
    ended: dict[str, Task] = {}

    async def main(url: str) -> None:
        # Before a wait's first good answer `Retry` alone decides, and 5 faults in a row are not rare among 500 waits.
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

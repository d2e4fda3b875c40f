"""Many tasks at once: each comes out once, in the order of their ends, and what the server asks of one holds for all."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from duomi import (
    APIConnectionError,
    AsyncDuomi,
    AuthenticationError,
    ConfigurationError,
    Duomi,
    Outcome,
    Polling,
    Retry,
    TaskTimeoutError,
)
from duomi._core.poll import Poller
from duomi._core.reply import Reply, ReplyParser, read_task
from duomi._core.request import Runtime, Send, TimeLimit, request_flow
from duomi._core.scheduler import Job, Scheduler
from faults import Exchange, FaultServer, Play, answer, hang
from harness import KEY, POLLING, QUICK, TABLE_KINDS, until

KINDS = TABLE_KINDS


def done(task_id: str) -> dict[str, Any]:
    return {"id": task_id, "state": "succeeded", "data": {"videos": [{"url": f"https://h/{task_id}.mp4"}]}}


class Api:
    """Answers for a task as a function of its id and the number of the look says, and counts who asks at once.

    Nobody has an answer before `gathers` ask at once, and then `takes` seconds later.
    """

    def __init__(self, answer_for: Callable[[str, int], Play], takes: float = 0.0, gathers: int = 0) -> None:
        self.answer_for = answer_for
        self.takes = takes
        self.gathers = gathers
        self.gathered = asyncio.Event()
        self.polls: dict[str, int] = {}
        self.at: list[float] = []
        self.now = self.most = 0

    async def __call__(self, exchange: Exchange) -> bool | None:
        task_id = exchange.path.rpartition("/")[2]
        self.polls[task_id] = poll = self.polls.get(task_id, 0) + 1
        self.at.append(time.monotonic())
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now >= self.gathers:
            self.gathered.set()
        try:
            await self.gathered.wait()
            await asyncio.sleep(self.takes)
            return await self.answer_for(task_id, poll)(exchange)
        finally:
            self.now -= 1


def after(polls: int) -> Callable[[str, int], Play]:
    return lambda task_id, poll: answer(
        200, done(task_id) if poll > polls else {"id": task_id, "state": "running", "progress": poll}
    )


def collect(
    kind: str, url: str, task_ids: Any, *, options: dict[str, Any] | None = None, **keywords: Any
) -> list[Outcome]:
    """Run `as_completed` to its end, in the block."""
    given: dict[str, Any] = {"base_url": url, "retry": QUICK, "polling": POLLING} | (options or {})
    if kind == "sync":
        with Duomi(KEY, **given) as client, client.as_completed(task_ids, **keywords) as outcomes:
            return list(outcomes)

    async def main() -> list[Outcome]:
        async with AsyncDuomi(KEY, **given) as client, client.as_completed(task_ids, **keywords) as outcomes:
            return [outcome async for outcome in outcomes]

    return anyio.run(main, backend=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_task_comes_out_once(kind: str) -> None:
    """Each id, given twice or not, comes out exactly once, and the one that ends first comes first."""
    api = Api(lambda task_id, poll: after(1 if task_id == "b" else 12)(task_id, poll))

    with FaultServer([api]) as server:
        outcomes = collect(kind, server.url, iter(["a", "b", "c", "a", "b"]))

    assert outcomes[0].task_id == "b"
    assert sorted(outcome.task_id for outcome in outcomes) == ["a", "b", "c"]
    assert all(outcome.error is None and outcome.task and outcome.task.is_succeeded for outcome in outcomes)


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_is_what_wait_would_raise(kind: str) -> None:
    """Failed, unknown, empty and endless tasks each have their own error, and the last task seen."""
    plays: dict[str, Play] = {
        "failed": answer(200, {"id": "failed", "state": "error", "message": "no"}),
        "unknown": answer(404, {}),
        "empty": answer(200, {"id": "empty", "state": "succeeded"}),
        "endless": answer(200, {"id": "endless", "state": "running", "progress": 7}),
        "broken": answer(200, b"<html>"),
    }

    with FaultServer([Api(lambda task_id, _poll: plays[task_id])]) as server:
        outcomes = {o.task_id: o for o in collect(kind, server.url, plays, timeout=2.0)}

    kinds = {name: type(outcome.error).__name__ for name, outcome in outcomes.items()}
    assert kinds == {"failed": "TaskFailedError", "unknown": "NotFoundError", "empty": "EmptyResultError",
                     "endless": "TaskTimeoutError", "broken": "APIResponseError"}  # fmt: skip
    assert (outcomes["endless"].task or pytest.fail("seen")).progress == 7
    assert outcomes["unknown"].task is None
    assert "no" in str(outcomes["failed"].error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_is_refused_ends_all(kind: str) -> None:
    """After one 401 nobody else is asked for, and everybody has that error."""
    api = Api(lambda _task_id, _poll: answer(401, {}))

    with FaultServer([api]) as server:
        outcomes = collect(kind, server.url, map(str, range(500)), max_in_flight=4)

    assert len(outcomes) == 500
    assert {type(outcome.error) for outcome in outcomes} == {AuthenticationError}
    assert len(api.polls) <= 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_more_are_in_flight_than_allowed(kind: str) -> None:
    """`max_in_flight` bounds what the server sees at once; the sync client has at most 16 threads."""
    for allowed, expected in ((3, 3), (64, 16 if kind == "sync" else 64)):
        api = Api(after(1), takes=0.05, gathers=expected)
        with FaultServer([api]) as server:
            collect(kind, server.url, map(str, range(80)), max_in_flight=allowed, timeout=60.0)
        assert api.most == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_pauses_all(kind: str, status: int) -> None:
    """Told to wait by one answer nobody asks for that long, and then not everybody at once."""
    refused: list[float] = []

    def play(task_id: str, poll: int) -> Play:
        if not refused and poll == 2:
            refused.append(time.monotonic())
            return answer(status, {}, retry_after="1")
        return after(3)(task_id, poll)

    api = Api(play, takes=0.01)
    with FaultServer([api]) as server:
        options = {"retry": Retry(attempts=1)}
        outcomes = collect(kind, server.url, map(str, range(40)), options=options, max_in_flight=8)

    (told,) = refused
    assert len(outcomes) == 40
    assert all(outcome.error is None for outcome in outcomes)
    assert not any(told + 0.5 < at < told + 1.0 for at in api.at)
    first, second, *_ = sorted(at for at in api.at if at >= told + 1.0)
    assert second - first >= api.takes * 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_the_deadline_holds_for_all(kind: str) -> None:
    """`timeout` counts from the call: whoever is not finished then comes out then, looked at or not."""
    began = time.monotonic()

    with FaultServer([hang]) as server:
        outcomes = collect(kind, server.url, map(str, range(300)), timeout=0.7)

    assert time.monotonic() - began < 2.0
    assert len(outcomes) == 300
    assert {type(outcome.error) for outcome in outcomes} == {TaskTimeoutError}


@pytest.mark.parametrize("kind", KINDS)
def test_leaving_the_block_stops_everything(kind: str) -> None:
    """After the block nobody is asked for any more."""
    api = Api(lambda task_id, poll: after(0 if task_id == "0" else 1_000)(task_id, poll))

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url, polling=POLLING) as client:
            async with client.as_completed(map(str, range(50))) as outcomes:
                async for _ in outcomes:
                    break
            await anyio.sleep(1.0)  # what was under way arrives
            count.append(len(api.at))
            await anyio.sleep(0.2)

    count: list[int] = []
    with FaultServer([api]) as server:
        if kind == "sync":
            with Duomi(KEY, base_url=server.url, polling=POLLING) as client:
                with client.as_completed(map(str, range(50))) as outcomes:
                    next(outcomes)
                time.sleep(1.0)  # what was under way arrives
                count.append(len(api.at))
                time.sleep(0.2)
                assert list(outcomes) == []
        else:
            anyio.run(main, server.url, backend=kind)
        assert len(api.at) - count[0] <= 1

    gc.collect()


def test_an_iterator_that_is_dropped_stops_its_threads() -> None:
    """Whoever forgets to close gets rid of the threads all the same."""
    with FaultServer([Api(after(1_000))]) as server, Duomi(KEY, base_url=server.url, polling=POLLING) as client:
        outcomes = client.as_completed(["a", "b"], timeout=0.5)
        thread = threading.Thread(target=next, args=(outcomes,))
        thread.start()
        thread.join()
        del outcomes, thread
        gc.collect()

        until(lambda: not any(thread.name == "duomi" for thread in threading.enumerate()))


def test_asyncio_needs_no_block() -> None:
    """Under asyncio the iterator runs to its end without the block, and `aclose` ends it earlier."""

    async def main(url: str) -> int:
        async with AsyncDuomi(KEY, base_url=url, polling=POLLING) as client:
            count = len([outcome async for outcome in client.as_completed(["a", "b"])])
            outcomes = client.as_completed(["c", "d"])
            await anext(outcomes)
            await outcomes.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(outcomes)
            return count

    with FaultServer([Api(after(2))]) as server:
        assert asyncio.run(main(server.url)) == 2


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_slow_consumer_gets_all_the_same(backend: str) -> None:
    """Outcomes wait for whoever comes late, one for each task."""

    async def main(url: str) -> int:
        async with (
            AsyncDuomi(KEY, base_url=url, polling=POLLING) as client,
            client.as_completed(["a", "b"]) as outcomes,
        ):
            await anyio.sleep(0.4)
            return len([outcome async for outcome in outcomes])

    with FaultServer([Api(after(1))]) as server:
        assert anyio.run(main, server.url, backend=backend) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_blocks_own_error_comes_out_as_it_is(kind: str) -> None:
    """What the block raises is not wrapped in a group."""

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url) as client, client.as_completed(["a"]):
            raise ZeroDivisionError

    def fail(url: str) -> None:
        if kind == "sync":
            with Duomi(KEY, base_url=url) as client, client.as_completed(["a"]):
                raise ZeroDivisionError
        anyio.run(main, url, backend=kind)

    with FaultServer([hang]) as server, pytest.raises(ZeroDivisionError):
        fail(server.url)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_do_is_nothing(kind: str) -> None:
    """No ids, no outcomes."""
    assert collect(kind, "http://127.0.0.1:1", []) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_outage_before_the_first_answer(kind: str) -> None:
    """Where nobody listens, `Retry` alone decides, for each."""
    outcomes = collect(kind, "http://127.0.0.1:1", ["a", "b", "c"])

    assert [type(outcome.error) for outcome in outcomes] == [APIConnectionError] * 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("ids", "keywords"),
    [("abc", {}), (["a", ""], {}), ([7], {}), (["a"], {"max_in_flight": 0}), (["a"], {"max_in_flight": True}), (["a"], {"timeout": -1})],
)  # fmt: skip
def test_bad_arguments_are_refused(kind: str, ids: Any, keywords: dict[str, Any]) -> None:
    """What cannot be used is refused before anything is sent."""
    with pytest.raises(ConfigurationError):
        collect(kind, "http://127.0.0.1:1", ids, **keywords)


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_is_closed_meanwhile_is_told(kind: str) -> None:
    """Closing the client under the iterator is an error of the iterator's, and not an end without a word."""

    async def main(url: str) -> None:
        client = AsyncDuomi(KEY, base_url=url, polling=POLLING)
        async with client.as_completed(["a", "b"]) as outcomes:
            await client.aclose()
            await anext(outcomes)

    def closed(url: str) -> None:
        if kind == "sync":
            client = Duomi(KEY, base_url=url, polling=POLLING)
            outcomes = client.as_completed(["a", "b"])
            threading.Timer(0.1, client.close).start()
            next(outcomes)
        anyio.run(main, url, backend=kind)

    with FaultServer([Api(after(1_000))]) as server, pytest.raises(ConfigurationError, match="closed"):
        closed(server.url)


class World:
    """A board on a clock that moves only as the test says."""

    def __init__(self, ids: list[str], polling: Polling, *, allowed: int = 4, retry: Retry = QUICK) -> None:
        self.now = 0.0
        around = Runtime(lambda: self.now, lambda: 0.5)
        read = read_task("t", strict=False)
        judge = ReplyParser("GET /", str)

        def ask(_task_id: str, span: TimeLimit) -> Any:
            return request_flow(httpx.Request("GET", "https://h/"), judge, read, around, retry, 30.0, span)

        waits = [Poller(task_id, polling, polling.timeout or 1e9, 60.0) for task_id in ids]
        self.scheduler = Scheduler(waits, ask, around, allowed)

    def poll(self, entry: Job, status: int, body: bytes, **headers: str) -> Any:
        assert isinstance(self.scheduler.advance(entry, None), Send)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.scheduler.advance(entry, Reply(status, httpx.Headers(named), body))

    def pop(self) -> Job:
        found = self.scheduler.pop()
        assert isinstance(found, Job)
        return found


RUNNING = b'{"id": "t", "state": "running", "progress": 5}'


def test_what_is_not_due_is_waited_for() -> None:
    """Without anything due the scheduler says for how long."""
    world = World(["a", "b"], Polling(interval=5.0))
    for _ in range(2):
        assert world.poll(world.pop(), 200, RUNNING) is None

    assert world.scheduler.pop() == 5.0
    world.now = 5.0
    world.pop()


def test_after_a_pause_one_begins_and_more_follow() -> None:
    """When the pause is over one poll begins, and with each good answer one more may."""
    world = World([str(n) for n in range(8)], Polling(interval=0.0), allowed=4)
    assert world.poll(world.pop(), 429, b"{}", retry_after="10") is None
    assert world.scheduler.pop() == 10.0
    world.now = 10.0

    first = world.pop()
    assert world.scheduler.pop() == float("inf")
    assert world.poll(first, 200, RUNNING) is None
    world.pop(), world.pop()
    assert world.scheduler.pop() == float("inf")


def test_a_long_pause_is_cut_at_the_deadline() -> None:
    """A pause that the server asks for does not last longer than the wait."""
    world = World(["a", "b"], Polling(interval=0.0, timeout=20.0), retry=Retry(attempts=2))
    assert world.poll(world.pop(), 200, RUNNING) is None
    assert world.poll(world.pop(), 503, b"{}", retry_after="60") is None
    pause = world.scheduler.pop()
    assert pause == 19.6

    world.now = 20.0
    outcome = world.scheduler.pop()

    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.error, TaskTimeoutError)


def test_after_a_suspension_each_task_is_polled_once_more() -> None:
    """A process that slept past the deadline polls each task before it reports a timeout, and only once."""
    world = World(["a", "b"], Polling(interval=5.0, timeout=20.0))
    for _ in range(2):
        assert world.poll(world.pop(), 200, RUNNING) is None
    assert world.scheduler.pop() == 5.0

    world.now = 40.0
    outcomes = [world.poll(world.pop(), 200, RUNNING) for _ in range(2)]

    assert [type(outcome.error) for outcome in outcomes] == [TaskTimeoutError, TaskTimeoutError]
    assert world.scheduler.pop() is None


def test_with_no_time_at_all_each_task_is_looked_at_once() -> None:
    """`timeout=0` asks how all of them are now, as it does in `wait`."""
    done = answer(200, {"id": "a", "state": "succeeded", "data": {"videos": [{"url": "https://h/a.mp4"}]}})
    with FaultServer([done]) as server, Duomi(KEY, base_url=server.url) as client:
        outcomes = list(client.as_completed(["a", "b"], timeout=0))

    assert [outcome.error for outcome in outcomes] == [None, None]
    assert len(server.heads) == 2

"""`as_completed` returns each task once, in the order in which they end, and a Retry-After of one task pauses all."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
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
    EmptyResultError,
    Outcome,
    Polling,
    RateLimitError,
    Retry,
    Task,
    TaskTimeoutError,
)
from duomi._core.poll import Poller
from duomi._core.reply import Reply
from duomi._core.request import Send
from duomi._core.scheduler import Job, Scheduler
from faults import Exchange, FaultServer, Play, answer, hang
from harness import KEY, POLLING, QUICK, TABLE_KINDS, requests_on, until

KINDS = TABLE_KINDS


def done(task_id: str) -> dict[str, Any]:
    return {"id": task_id, "state": "succeeded", "data": {"videos": [{"url": f"https://h/{task_id}.mp4"}]}}


class Api:
    """Answers each poll by the task's id and the number of the poll, and counts the polls in flight.

    No poll is answered before `gathers` polls are in flight, and then each takes `takes` seconds.
    """

    def __init__(self, answer_for: Callable[[str, int], Play], takes: float = 0.0, gathers: int = 0) -> None:
        self.answer_for = answer_for
        self.takes = takes
        self.gathers = gathers
        self.gathered = asyncio.Event()
        self.polls: dict[str, int] = {}
        self.polled_at: list[float] = []
        self.in_flight = self.most_in_flight = 0

    async def __call__(self, exchange: Exchange) -> bool | None:
        task_id = exchange.path.rpartition("/")[2]
        self.polls[task_id] = poll = self.polls.get(task_id, 0) + 1
        self.polled_at.append(time.monotonic())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.in_flight >= self.gathers:
            self.gathered.set()
        try:
            await self.gathered.wait()
            await asyncio.sleep(self.takes)
            return await self.answer_for(task_id, poll)(exchange)
        finally:
            self.in_flight -= 1


def after(polls: int) -> Callable[[str, int], Play]:
    return lambda task_id, poll: answer(
        200, done(task_id) if poll > polls else {"id": task_id, "state": "running", "progress": poll}
    )


def collect(
    kind: str, url: str, task_ids: Any, *, options: dict[str, Any] | None = None, **keywords: Any
) -> list[Outcome]:
    """Run `as_completed` to its end, in a `with` block."""
    given: dict[str, Any] = {"base_url": url, "retry": QUICK, "polling": POLLING} | (options or {})
    if kind == "sync":
        with Duomi(KEY, **given) as client, client.as_completed(task_ids, **keywords) as outcomes:
            return list(outcomes)

    async def main() -> list[Outcome]:
        async with AsyncDuomi(KEY, **given) as client, client.as_completed(task_ids, **keywords) as outcomes:
            return [outcome async for outcome in outcomes]

    return anyio.run(main, backend=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_each_task_has_one_outcome(kind: str) -> None:
    """Each id has exactly one outcome, even if it is given twice, and the task that ends first comes first."""
    api = Api(lambda task_id, poll: after(1 if task_id == "b" else 12)(task_id, poll))

    with FaultServer([api]) as server:
        outcomes = collect(kind, server.url, iter(["a", "b", "c", "a", "b"]))

    assert outcomes[0].task_id == "b"
    assert sorted(outcome.task_id for outcome in outcomes) == ["a", "b", "c"]
    assert all(outcome.error is None and outcome.task and outcome.task.is_succeeded for outcome in outcomes)


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_is_what_wait_would_raise(kind: str) -> None:
    """Failed, unknown, empty, unfinished and broken tasks each have their own error, and the last task seen."""
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
def test_a_rejected_key_ends_all_tasks(kind: str) -> None:
    """After one 401 no other task is polled, and every task has that error."""
    api = Api(lambda _task_id, _poll: answer(401, {}))

    with FaultServer([api]) as server:
        outcomes = collect(kind, server.url, map(str, range(500)), max_in_flight=4)

    assert len(outcomes) == 500
    assert {type(outcome.error) for outcome in outcomes} == {AuthenticationError}
    assert len(api.polls) <= 8


class SlowCondition(threading.Condition):
    """All threads but the one that makes it pause when they have left it, each time longer."""

    def __init__(self, lock: Any) -> None:
        super().__init__(lock)
        self._maker = threading.get_ident()
        self._left = itertools.count(1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if threading.get_ident() != self._maker:
            time.sleep(0.02 * next(self._left))


def test_no_outcome_is_lost_when_the_last_tasks_end_together() -> None:
    """A thread that is slow to hand over what it found does not make the caller miss it."""
    with FaultServer([Api(after(0), gathers=3)]) as server, Duomi(KEY, base_url=server.url) as client:
        outcomes = client.as_completed(["a", "b", "c"])
        dispatcher: Any = outcomes._dispatcher
        dispatcher._due = SlowCondition(dispatcher._due._lock)
        found = list(outcomes)

    assert len(found) == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_max_in_flight_limits_concurrent_polls(kind: str) -> None:
    """The server never sees more polls at once than `max_in_flight`, and at most 16 of the sync client."""
    for allowed, expected in ((3, 3), (64, 16 if kind == "sync" else 64)):
        api = Api(after(1), takes=0.05, gathers=expected)
        with FaultServer([api]) as server:
            collect(kind, server.url, map(str, range(80)), max_in_flight=allowed, timeout=60.0)

        assert api.most_in_flight == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_pauses_all_tasks(kind: str, status: int) -> None:
    """After a Retry-After no task is polled for that long, and then the polls do not all start at once."""
    limited_at: list[float] = []

    def play(task_id: str, poll: int) -> Play:
        if not limited_at and poll == 2:
            limited_at.append(time.monotonic())
            return answer(status, {}, retry_after="1")
        return after(3)(task_id, poll)

    api = Api(play, takes=0.01)
    with FaultServer([api]) as server:
        options = {"retry": Retry(attempts=1)}
        outcomes = collect(kind, server.url, map(str, range(40)), options=options, max_in_flight=8)

    (pause_began,) = limited_at
    assert len(outcomes) == 40
    assert all(outcome.error is None for outcome in outcomes)
    assert not any(pause_began + 0.5 < at < pause_began + 1.0 for at in api.polled_at)
    first, second, *_ = sorted(at for at in api.polled_at if at >= pause_began + 1.0)
    assert second - first >= api.takes * 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_all_unfinished_tasks_end_at_the_deadline(kind: str) -> None:
    """`timeout` counts from the call, and every unfinished task then has a timeout error, even if it was never polled."""
    began = time.monotonic()

    with FaultServer([hang]) as server:
        outcomes = collect(kind, server.url, map(str, range(300)), timeout=2.0)

    assert time.monotonic() - began < 4.0
    assert len(outcomes) == 300
    assert {type(outcome.error) for outcome in outcomes} == {TaskTimeoutError}


@pytest.mark.parametrize("kind", KINDS)
def test_leaving_the_block_stops_all_polls(kind: str) -> None:
    """After the block no task is polled any more."""
    api = Api(lambda task_id, poll: after(0 if task_id == "0" else 1_000)(task_id, poll))

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url, polling=POLLING) as client:
            async with client.as_completed(map(str, range(50))) as outcomes:
                async for _ in outcomes:
                    break
            await anyio.sleep(1.0)  # requests in flight arrive
            count.append(len(api.polled_at))
            await anyio.sleep(0.2)

    count: list[int] = []
    with FaultServer([api]) as server:
        if kind == "sync":
            with Duomi(KEY, base_url=server.url, polling=POLLING) as client:
                with client.as_completed(map(str, range(50))) as outcomes:
                    next(outcomes)
                time.sleep(1.0)  # requests in flight arrive
                count.append(len(api.polled_at))
                time.sleep(0.2)
                assert list(outcomes) == []
        else:
            anyio.run(main, server.url, backend=kind)
        assert len(api.polled_at) - count[0] <= 1

    gc.collect()


def test_a_garbage_collected_iterator_stops_its_threads() -> None:
    """The threads stop when the iterator is garbage-collected, even if it was never closed."""
    with FaultServer([Api(after(1_000))]) as server, Duomi(KEY, base_url=server.url, polling=POLLING) as client:
        outcomes = client.as_completed(["a", "b"], timeout=0.5)
        thread = threading.Thread(target=next, args=(outcomes,))
        thread.start()
        thread.join()
        del outcomes, thread
        gc.collect()

        until(lambda: not any(thread.name == "duomi" for thread in threading.enumerate()))


def test_to_collect_an_iterator_waits_for_no_lock() -> None:
    """A garbage collection in a thread that holds a lock of a log, say, waits for no thread that logs."""
    held, release = threading.Event(), threading.Event()

    def hold(condition: threading.Condition) -> None:
        with condition:
            held.set()
            release.wait()

    with Duomi(KEY, base_url="http://127.0.0.1:9") as client:
        kept = [client.as_completed(["a"])]
        dispatcher = kept[0]._dispatcher
        threading.Thread(target=hold, args=(dispatcher._due,)).start()
        held.wait()
        collector = threading.Thread(target=kept.clear)
        collector.start()
        try:
            until(lambda: not collector.is_alive(), 10.0)
        finally:
            release.set()

    assert dispatcher._stopped


def test_asyncio_needs_no_with_block() -> None:
    """Under asyncio the iterator runs to its end without a block, and `aclose` ends it earlier."""

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
def test_a_slow_consumer_loses_no_outcome(backend: str) -> None:
    """A consumer that starts late still gets one outcome for each task."""

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
def test_an_error_in_the_block_is_raised_unchanged(kind: str) -> None:
    """An error that the block raises is not wrapped in an exception group."""

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
def test_no_ids_have_no_outcomes(kind: str) -> None:
    """An empty list of ids ends immediately, without an outcome."""
    assert collect(kind, "http://127.0.0.1:1", []) == []


@pytest.mark.parametrize("kind", KINDS)
def test_before_the_first_answer_only_retry_applies(kind: str) -> None:
    """If the server refuses connections, each task ends after the attempts of `Retry`."""
    outcomes = collect(kind, "http://127.0.0.1:1", ["a", "b", "c"])

    assert [type(outcome.error) for outcome in outcomes] == [APIConnectionError] * 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("ids", "keywords"),
    [("abc", {}), (["a", ""], {}), ([7], {}), (["a"], {"max_in_flight": 0}), (["a"], {"max_in_flight": True}), (["a"], {"timeout": -1})],
)  # fmt: skip
def test_invalid_arguments_are_rejected(kind: str, ids: Any, keywords: dict[str, Any]) -> None:
    """Invalid arguments raise `ConfigurationError` before any request is sent."""
    with pytest.raises(ConfigurationError):
        collect(kind, "http://127.0.0.1:1", ids, **keywords)


@pytest.mark.parametrize("kind", KINDS)
def test_closing_the_client_ends_the_iterator_with_an_error(kind: str) -> None:
    """If the client is closed during the iteration, the iterator raises an error and does not just stop."""

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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["wait", "as_completed"])
def test_closing_the_client_ends_a_long_pause(kind: str, method: str) -> None:
    """A wait that sleeps until its next poll ends soon after the client was closed, and not when it is due."""
    slow = Polling(interval=600.0, timeout=3_600.0)

    async def main(url: str) -> None:
        client = AsyncDuomi(KEY, base_url=url, polling=slow)

        async def close() -> None:
            await anyio.to_thread.run_sync(until, lambda: api.polls)
            await client.aclose()

        async with anyio.create_task_group() as group:
            group.start_soon(close)
            with pytest.raises(ConfigurationError, match="closed"):
                await (client.wait("a") if method == "wait" else anext(client.as_completed(["a"])))

    def blocking(url: str) -> None:
        client = Duomi(KEY, base_url=url, polling=slow)

        def close() -> None:
            until(lambda: api.polls)
            client.close()

        closing = threading.Thread(target=close)
        closing.start()
        with pytest.raises(ConfigurationError, match="closed"):
            client.wait("a") if method == "wait" else next(client.as_completed(["a"]))
        closing.join()

    api = Api(after(1_000))
    with FaultServer([api]) as server:
        blocking(server.url) if kind == "sync" else anyio.run(main, server.url, backend=kind)


def test_one_error_of_many_outcomes_keeps_a_short_traceback() -> None:
    """After a 401 all tasks that are left have one error, and raising it for each does not make it longer."""
    with FaultServer([answer(401, {})]) as server:
        outcomes = collect("sync", server.url, [str(number) for number in range(50)])
    lengths: list[int] = []
    for outcome in outcomes:
        with pytest.raises(AuthenticationError) as caught:
            outcome.result()
        lengths.append(len(caught.traceback))

    assert set(lengths) == {2}


@pytest.mark.parametrize("kind", KINDS)
def test_all_tasks_end_with_the_outage_of_a_server_that_only_limits(kind: str) -> None:
    """Tasks that had no turn yet do not wait longer than those that were refused."""
    with FaultServer([answer(429, {})]) as server:
        options = {"polling": Polling(interval=0.01, outage=0.5, timeout=600.0)}
        outcomes = collect(kind, server.url, [str(number) for number in range(40)], options=options)

    assert {type(outcome.error) for outcome in outcomes} == {RateLimitError}


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_may_be_closed_after_the_last_outcome(kind: str) -> None:
    """Who closes the client in the loop of its outcomes, after the last of them, meets no error."""

    async def main(url: str) -> int:
        client, seen = AsyncDuomi(KEY, base_url=url, polling=POLLING), 0
        async for _ in client.as_completed(["a", "b"]):
            seen += 1
            if seen == 2:
                await client.aclose()
                await anyio.sleep(0.01)
        return seen

    with FaultServer([Api(after(0))]) as server:
        if kind == "sync":
            client = Duomi(KEY, base_url=server.url, polling=POLLING)
            outcomes = client.as_completed(["a", "b"])
            assert len([next(outcomes), next(outcomes)]) == 2
            client.close()
            assert list(outcomes) == []
        else:
            assert anyio.run(main, server.url, backend=kind) == 2


def test_a_task_without_a_turn_says_what_had_it() -> None:
    """No rate limit is blamed where none was met."""
    with FaultServer([hang]) as server:
        outcomes = collect("sync", server.url, ["a", "b"], timeout=1.0, max_in_flight=1)

    assert "the other tasks left no turn for it" in str(outcomes[-1].error)


class World:
    """A scheduler on a clock that only the test moves."""

    def __init__(self, ids: list[str], polling: Polling, *, allowed: int = 4, retry: Retry = QUICK) -> None:
        self.now = 0.0
        pollers = [Poller(task_id, polling, polling.timeout or 1e9, 60.0) for task_id in ids]
        self.scheduler = Scheduler(pollers, requests_on(lambda: self.now, retry), allowed)

    def poll(self, job: Job, status: int, body: bytes, **headers: str) -> Any:
        assert isinstance(job.effect, Send)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body.replace(b'"t"', json.dumps(job.task_id).encode())
        return self.scheduler.advance(job, Reply(status, httpx.Headers(named), content))

    def pop(self) -> Job:
        job = self.scheduler.pop()
        assert isinstance(job, Job)
        return job


RUNNING = b'{"id": "t", "state": "running", "progress": 5}'


def test_the_scheduler_says_when_the_next_poll_is_due() -> None:
    """If no poll is due, the scheduler returns the seconds until the next one."""
    world = World(["a", "b"], Polling(interval=5.0))
    for _ in range(2):
        assert world.poll(world.pop(), 200, RUNNING) is None

    assert world.scheduler.pop() == 5.0
    world.now = 5.0
    world.pop()


def test_after_a_pause_one_poll_starts_and_the_others_follow_at_a_pace() -> None:
    """After a Retry-After one poll finds out whether the limit is over, and then they start one by one."""
    world = World([str(n) for n in range(8)], Polling(interval=0.0), allowed=4)
    assert world.poll(world.pop(), 429, b"{}", retry_after="10") is None
    assert world.scheduler.pop() == 10.0
    world.now = 10.0
    first = world.pop()

    assert isinstance(world.scheduler.pop(), float)
    done = {"id": first.task_id, "state": "running"}
    assert world.scheduler.advance(first, Reply(200, httpx.Headers(), json.dumps(done).encode())) is None
    assert world.scheduler.pop() == pytest.approx(1.0)
    world.now = 11.0
    world.pop()
    assert world.scheduler.pop() == pytest.approx(0.8, abs=0.2)


def test_a_long_pause_ends_at_the_deadline() -> None:
    """A Retry-After longer than the wait ends just before the deadline."""
    world = World(["a", "b"], Polling(interval=0.0, timeout=20.0), retry=Retry(attempts=2))
    assert world.poll(world.pop(), 200, RUNNING) is None
    assert world.poll(world.pop(), 503, b"{}", retry_after="60") is None
    pause = world.scheduler.pop()
    world.now = 20.0
    outcome = world.scheduler.pop()

    assert pause == 20.0
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.error, TaskTimeoutError)


@pytest.mark.parametrize("asleep", [True, False], ids=["asleep", "in the caller's code"])
def test_after_a_suspension_each_task_is_polled_once_more(*, asleep: bool) -> None:
    """A process suspended past the deadline polls each task once more before it reports a timeout."""
    world = World(["a", "b"], Polling(interval=5.0, timeout=20.0))
    for _ in range(2):
        assert world.poll(world.pop(), 200, RUNNING) is None
    if asleep:
        assert world.scheduler.pop() == 5.0

    world.now = 40.0
    outcomes = [world.poll(world.pop(), 200, RUNNING) for _ in range(2)]

    assert [type(outcome.error) for outcome in outcomes] == [TaskTimeoutError, TaskTimeoutError]
    assert world.scheduler.pop() is None


def test_a_timeout_of_zero_polls_each_task_once() -> None:
    """With `timeout=0` each task is polled once, as in `wait`."""

    async def done(exchange: Exchange) -> bool:
        task_id = exchange.path.rpartition("/")[2]
        body = {"id": task_id, "state": "succeeded", "data": {"videos": [{"url": "https://h/a.mp4"}]}}
        await answer(200, body)(exchange)
        return True

    with FaultServer([done]) as server, Duomi(KEY, base_url=server.url) as client:
        outcomes = list(client.as_completed(["a", "b"], timeout=0))

    assert [outcome.error for outcome in outcomes] == [None, None]
    assert len(server.heads) == 2


@pytest.mark.parametrize("seconds", [5.1, 5.6, 60.0])
def test_tasks_that_are_asked_for_late_are_polled_once(seconds: float) -> None:
    """If the first outcome is asked for after the deadline, each task is polled once, however late it is."""
    world = World(["a", "b"], Polling(timeout=5.0))
    world.now += seconds

    done = b'{"id": "t", "state": "succeeded", "data": {"videos": [{"url": "https://h/a.mp4"}]}}'
    outcomes = [world.poll(world.pop(), 200, done) for _ in range(2)]

    assert [outcome.error for outcome in outcomes] == [None, None]


def test_a_suspension_during_a_poll_polls_once_more() -> None:
    """An answer that was read long after the deadline is old, unless it is the end of the task."""
    world = World(["a", "b"], Polling(interval=5.0, timeout=20.0))
    first, second = world.pop(), world.pop()
    world.now = 40.0
    assert world.poll(first, 200, RUNNING) is None
    assert world.poll(second, 200, RUNNING) is None

    outcomes = [world.poll(world.pop(), 200, RUNNING) for _ in range(2)]

    assert [type(outcome.error) for outcome in outcomes] == [TaskTimeoutError, TaskTimeoutError]
    assert world.scheduler.pop() is None


def test_a_deadline_after_an_empty_result_is_an_empty_result() -> None:
    """A task that ended without a result did not time out."""
    task = Task.from_payload({"id": "a", "state": "succeeded", "data": {}})

    assert isinstance(Poller("a", Polling(), 60.0, 60.0).expired(task), EmptyResultError)

"""All calls of a client stay under the server's limit, whether it is known or not."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import anyio
import httpx
import pytest
from duomi import AsyncDuomi, ConfigurationError, Duomi, Outcome, Polling, RateLimitError, Retry
from duomi._core.poll import Poller
from duomi._core.rate import Rate
from duomi._core.reply import Reply
from duomi._core.scheduler import Job, Scheduler
from faults import Exchange, FaultServer, answer
from harness import KEY, TABLE_KINDS, payload, requests_on

KINDS = TABLE_KINDS
QUICK = Polling(interval=0.05, timeout=60.0)


class Limited:
    """Answers so many requests a second, with so many at once, and refuses the others."""

    def __init__(self, rate: float, burst: int, status: int = 429, **headers: Any) -> None:
        self.rate = rate
        self.burst = burst
        self.refusal = answer(status, {}, **headers)
        self.tokens = float(burst)
        self.at = 0.0
        self.requests: list[float] = []
        self.refused = 0
        self.polls: dict[str, int] = {}

    async def __call__(self, exchange: Exchange) -> bool:
        now = time.monotonic()
        self.requests.append(now)
        self.tokens = min(self.burst, self.tokens + self.rate * (now - (self.at or now)))
        self.at = now
        if self.tokens < 1:
            self.refused += 1
            await self.refusal(exchange)
            return True
        self.tokens -= 1
        task_id = exchange.path.rpartition("/")[2]
        polls = self.polls[task_id] = self.polls.get(task_id, 0) + 1
        body = payload("succeeded" if polls > 2 else "running") | {"id": task_id}
        await answer(200, body)(exchange)
        return True


def by_batch(url: str, ids: list[str]) -> list[Any]:
    with Duomi(KEY, base_url=url, polling=QUICK) as client:
        return [outcome.error for outcome in client.as_completed(ids)]


def by_async_batch(url: str, ids: list[str]) -> list[Any]:
    async def main() -> list[Any]:
        async with AsyncDuomi(KEY, base_url=url, polling=QUICK) as client:
            return [outcome.error async for outcome in client.as_completed(ids)]

    return asyncio.run(main())


def by_threads(url: str, ids: list[str]) -> list[Any]:
    """Wait for all of them in 16 threads that share a client and a copy of it."""
    errors: list[Any] = []
    left = iter(ids)
    with Duomi(KEY, base_url=url, polling=QUICK) as client:
        copy = client.with_options(timeout=20.0)

        def work(own: Duomi) -> None:
            for task_id in left:
                try:
                    own.wait(task_id)
                    errors.append(None)
                except Exception as error:
                    errors.append(error)

        threads = [threading.Thread(target=work, args=(client if n % 2 else copy,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    return errors


@pytest.mark.parametrize(
    "wait", [*(pytest.param(each, marks=pytest.mark.slow) for each in (by_batch, by_threads)), by_async_batch]
)
@pytest.mark.parametrize(
    "refusal",
    [{}, *(pytest.param(each, marks=pytest.mark.slow) for each in ({"retry_after": "0"}, {"status": 503}))],
    ids=str,
)
def test_no_wait_is_lost_to_a_rate_limit(wait: Callable[[str, list[str]], list[Any]], refusal: dict[str, Any]) -> None:
    """Every task under a rate limit is waited for, and few requests are refused."""
    limited = Limited(100.0, 10, **refusal)

    with FaultServer([limited]) as server:
        errors = wait(server.url, [str(n) for n in range(60)])

    assert errors == [None] * 60
    assert limited.refused <= 0.5 * len(limited.requests)


@pytest.mark.parametrize("kind", KINDS)
def test_max_rate_holds_for_all_calls_of_a_client(kind: str) -> None:
    """Neither single calls nor many tasks, nor a copy with other settings, start more requests than `max_rate`."""
    limited = Limited(1e9, 1_000)

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url, max_rate=50.0, polling=QUICK) as client:
            copy = client.with_options(strict=False)
            async with anyio.create_task_group() as group:
                for number in range(10):
                    group.start_soon((client if number % 2 else copy).get_task, str(number))
                async for outcome in client.as_completed([f"t{n}" for n in range(10)]):
                    assert outcome.error is None

    with FaultServer([limited]) as server:
        if kind == "sync":
            with Duomi(KEY, base_url=server.url, max_rate=50.0, polling=QUICK) as client:
                copy = client.with_options(strict=False)
                calls = [
                    threading.Thread(target=(client if n % 2 else copy).get_task, args=(str(n),)) for n in range(10)
                ]
                for call in calls:
                    call.start()
                assert [o.error for o in client.as_completed([f"t{n}" for n in range(10)])] == [None] * 10
                for call in calls:
                    call.join()
        else:
            anyio.run(main, server.url, backend=kind)

    assert len(limited.requests) == 40
    assert limited.requests[-1] - limited.requests[0] >= 39 / 50 * 0.98


@pytest.mark.parametrize("max_rate", [0, -1, math.nan, math.inf, "5", True])
def test_an_invalid_max_rate_is_rejected(max_rate: Any) -> None:
    """A rate that is not a number above 0 is a setting that cannot be used."""
    with pytest.raises(ConfigurationError, match="max_rate"):
        Duomi(KEY, max_rate=max_rate)


@pytest.mark.parametrize("name", ["timeout", "retry", "polling", "strict"])
def test_with_options_rejects_none(name: str) -> None:
    """An argument that is left out keeps its value, and None is no value."""
    with Duomi(KEY) as client, pytest.raises(ConfigurationError, match=name):
        client.with_options(**{name: None})  # type: ignore[arg-type]


def test_a_copy_shares_the_connections_and_closes_nothing() -> None:
    """A copy works on the lanes of its original, and closing it leaves the original open."""
    limited = Limited(1e9, 1_000)
    with FaultServer([limited]) as server, Duomi(KEY, base_url=server.url) as client:
        client.get_task("a")
        with client.with_options(retry=Retry(attempts=1)) as copy:
            copy.get_task("a")
        client.get_task("b")
        client.close()
        with pytest.raises(ConfigurationError, match="closed"):
            copy.get_task("a")

    assert server.connections == 1


def test_too_many_tasks_for_max_rate_are_told_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    """If the tasks cannot all be polled once, a WARNING says so, and a task without a turn says so, too."""
    caplog.set_level(logging.WARNING, "duomi")
    limited = Limited(1e9, 1_000)
    with FaultServer([limited]) as server, Duomi(KEY, base_url=server.url, max_rate=2.0) as client:
        outcomes = list(client.as_completed([str(n) for n in range(9)], timeout=1.0))

    assert "9 tasks cannot all be polled: max_rate 2/s allows 2 polls in 1 s" in caplog.text
    assert sum("max_rate 2/s allows 2 polls in 1 s" in str(outcome.error) for outcome in outcomes) >= 6


def test_a_call_that_would_queue_for_too_long_is_not_sent() -> None:
    """`get_task` raises at once if its turn comes later than `max_retry_after`."""
    limited = Limited(1e9, 1_000)
    with (
        FaultServer([limited]) as server,
        Duomi(KEY, base_url=server.url, max_rate=0.01, retry=Retry(max_retry_after=5.0)) as client,
    ):
        client.get_task("a")
        with pytest.raises(RateLimitError, match="not sent"):
            client.get_task("a")

    assert len(limited.requests) == 1


def test_the_rate_law_needs_no_lock_before_the_first_refusal() -> None:
    """A client that was never refused pays nothing for its rate."""
    locked: list[int] = []

    class Lock(nullcontext[None]):
        def __enter__(self) -> None:
            locked.append(1)

    rate = Rate(math.inf, Lock)
    for number in range(100):
        assert rate.delay(float(number)) == 0.0
        rate.end(rate.start(float(number)), number + 0.5, "answered")

    assert locked == []
    assert rate.answered_at == 99.5


def test_one_flood_of_refusals_is_one_lesson() -> None:
    """Refusals of requests that left before a cut prolong the pause at most, and do not cut again."""
    rate = Rate(math.inf, nullcontext)
    tickets = [rate.start(0.0) for _ in range(64)]
    for number, ticket in enumerate(tickets):
        rate.end(ticket, 0.1, "answered" if number < 10 else "refused")

    assert rate.delay(0.1) == pytest.approx(0.5)
    probe = rate.start(0.6)
    assert rate.delay(0.6) > 0
    rate.end(probe, 0.7, "answered")
    assert 0.9 * 0.95 * 11 <= 1 / (rate.delay(rate_start(rate, 0.7)) or 1) <= 12


def rate_start(rate: Rate, now: float) -> float:
    """Start a request at its turn, and return when that was."""
    now += rate.delay(now)
    rate.start(now)
    return now


def test_the_pause_doubles_while_probes_are_refused() -> None:
    """A server that refuses everything is asked less and less often."""
    rate, now, pauses = Rate(math.inf, nullcontext), 0.0, list[float]()
    for _ in range(12):
        rate.end(rate.start(now), now, "refused")
        pauses.append(rate.delay(now))
        now += pauses[-1]

    assert pauses[2:] == pytest.approx([0.5, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0, 5.0])


def test_a_lost_probe_lets_another_one_start() -> None:
    """A probe that is cancelled or times out does not block the client."""
    rate = Rate(math.inf, nullcontext)
    for ticket in [rate.start(0.0) for _ in range(5)]:
        rate.end(ticket, 0.1, "refused")
    probe = rate.start(1.0)
    assert rate.delay(1.0) > 0

    rate.end(probe, 1.5, "lost")

    assert rate.delay(1.5 + rate.delay(1.5)) == 0.0


def test_calls_take_their_turns_in_the_order_of_arrival() -> None:
    """The call that came first waits for the shortest time, and polls of many tasks come last."""
    rate = Rate(1.0, nullcontext)
    rate.start(0.0)
    first, second = rate.join(), rate.join()

    assert 0 < rate.delay(0.0, first) < rate.delay(0.0, second) < rate.delay(0.0)
    rate.leave(first)
    assert rate.delay(0.0, second) == rate.delay(0.0, None) - 0.5


def test_a_pace_that_is_not_used_hardly_rises() -> None:
    """While fewer requests start than the pace allows, only the turns that they took count."""
    rate = Rate(math.inf, nullcontext)
    now = 0.0
    for _ in range(20):
        rate.end(rate.start(now), now, "answered")
        now += 0.1
    rate.end(rate.start(now), now, "refused", 1.0)
    now += 1.0
    rate.end(rate.start(now), now, "answered")
    learnt = rate.pace_at(now)

    for _ in range(20):
        now += 10.0
        assert rate.delay(now) == 0.0
        rate.end(rate.start(now), now, "answered")
    unused = rate.pace_at(now)
    for _ in range(20):
        now += rate.delay(now)
        rate.end(rate.start(now), now, "answered")

    assert learnt < unused < 3 * learnt
    assert rate.pace_at(now) > unused


def simulate(count: int, polls: int, per_second: float, outage: float) -> tuple[list[Outcome], float]:
    """Wait for many tasks on a clock of its own, against a server that lets so many requests a second through."""
    now, tokens, asked, outcomes = 0.0, 10.0, dict[str, int](), list[Outcome]()
    requests = requests_on(lambda: now, Retry())
    polling = Polling(timeout=100_000.0, outage=outage)
    pollers = [Poller(str(n), polling, 100_000.0, 60.0) for n in range(count)]
    scheduler = Scheduler(pollers, requests, 64)
    under_way: deque[tuple[float, Job]] = deque()
    while (found := scheduler.pop()) is not None:
        if isinstance(found, Job):
            under_way.append((now + 0.05, found))
            continue
        if isinstance(found, Outcome):
            outcomes.append(found)
            continue
        until = min(now + found, under_way[0][0] if under_way else math.inf)
        tokens, now = min(10.0, tokens + per_second * (until - now)), until
        if under_way and under_way[0][0] <= now:
            _, job = under_way.popleft()
            reply = Reply(429, httpx.Headers(), b"{}")
            if tokens >= 1:
                tokens -= 1
                asked[job.task_id] = asked.get(job.task_id, 0) + 1
                body = payload("succeeded" if asked[job.task_id] >= polls else "running") | {"id": job.task_id}
                reply = Reply(200, httpx.Headers(), json.dumps(body).encode())
            ended = scheduler.advance(job, reply)
            if isinstance(ended, Outcome):
                outcomes.append(ended)
    return outcomes, now


@pytest.mark.parametrize(("count", "polls"), [(500, 3), pytest.param(10_000, 2, marks=pytest.mark.slow)])
def test_a_large_batch_loses_no_wait_to_a_low_limit(count: int, polls: int) -> None:
    """Many times more tasks than the limit lets through in `outage` seconds all end, in little more than it takes."""
    outcomes, seconds = simulate(count, polls, 10.0, outage=30.0)

    assert len(outcomes) == count
    assert {outcome.error for outcome in outcomes} == {None}
    assert seconds < 1.5 * count * polls / 10.0


def test_the_first_polls_of_a_batch_do_not_all_begin_before_the_first_answer() -> None:
    """16 are under way at first, also as some end, and one more each 5 ms."""
    now, began = 0.0, list[tuple[float, Job]]()
    pollers = [Poller(str(n), Polling(interval=5.0), 60.0, 60.0) for n in range(80)]
    scheduler = Scheduler(pollers, requests_on(lambda: now, Retry()), 64)
    while len(began) < 52:
        found = scheduler.pop()
        if isinstance(found, float):
            now += found
        elif isinstance(found, Job):
            began.append((now, found))
            for _, job in began[:16] if len(began) == 17 else ():
                body = payload("running") | {"id": job.task_id}
                scheduler.advance(job, Reply(200, httpx.Headers(), json.dumps(body).encode()))

    one_by_one = [0.005 * number for number in range(2, 21)]
    assert [at for at, _ in began] == pytest.approx([0.0] * 16 + [0.005] * 17 + one_by_one)


def test_last_polls_are_spread_before_the_deadline() -> None:
    """Under `max_rate` each task is polled once more in the time before the deadline, not all of them at once."""
    now, polled = 0.0, dict[str, list[float]]()
    requests = requests_on(lambda: now, Retry(), max_rate=1.0)
    polling = Polling(interval=500.0, timeout=1_000.0)
    scheduler = Scheduler([Poller(str(n), polling, 1_000.0, 60.0) for n in range(50)], requests, 64)
    while (found := scheduler.pop()) is not None:
        if isinstance(found, Job):
            polled.setdefault(found.task_id, []).append(now)
            body = payload("running") | {"id": found.task_id}
            scheduler.advance(found, Reply(200, httpx.Headers(), json.dumps(body).encode()))
        elif isinstance(found, float):
            now += found

    assert len(polled) == 50
    assert all(times[-1] > 940.0 for times in polled.values())


def test_a_call_that_is_left_in_the_queue_does_not_block_others() -> None:
    """A place whose call does not ask again is given up, and so is a probe that never ends."""
    rate = Rate(1.0, nullcontext)
    rate.start(0.0)
    left_behind, second = rate.join(), rate.join()
    asked_again = rate.delay(0.0, left_behind)
    assert rate.delay(asked_again, second) > 0

    assert rate.delay(asked_again + 1.1, second) == 0.0

    rate = Rate(math.inf, nullcontext)
    for ticket in [rate.start(0.0) for _ in range(5)]:
        rate.end(ticket, 0.1, "refused")
    rate.start(1.0, 30.0)
    assert rate.delay(5.0) > 0
    assert rate.delay(33.0) == 0.0


LEFT = """
import signal, sys, time
from duomi import Duomi, Retry

signal.signal(signal.SIGALRM, signal.default_int_handler)
client = Duomi("sk-test-0123456789", base_url=sys.argv[1], max_rate=1.0)
client.get_task("a")
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    client.wait("a")
except KeyboardInterrupt as error:
    kept = error  # as an interactive interpreter does
began = time.monotonic()
client.get_task("a")
print(time.monotonic() - began < 5.0)
"""


def test_an_interrupted_call_leaves_the_queue() -> None:
    """A Ctrl-C in a call that queues gives its place back, even if the exception is kept."""
    limited = Limited(1e9, 1_000)
    with FaultServer([limited]) as server:
        shown = subprocess.run(
            [sys.executable, "-c", LEFT, server.url], capture_output=True, text=True, timeout=60, check=True
        )

    assert shown.stdout == "True\n"


def test_each_task_is_polled_after_a_suspension_as_the_rate_allows() -> None:
    """A process that slept past the deadline polls every task once more, one by one."""
    now = 0.0
    requests = requests_on(lambda: now, Retry(), max_rate=10.0)
    polling = Polling(interval=5.0, timeout=60.0)
    scheduler = Scheduler([Poller(str(n), polling, 60.0, 60.0) for n in range(5)], requests, 64)
    polled: list[str] = []
    outcomes: list[Outcome] = []
    while (found := scheduler.pop()) is not None:
        if isinstance(found, Job):
            polled.append(found.task_id)
            body = payload("succeeded" if now > 100 else "running") | {"id": found.task_id}
            ended = scheduler.advance(found, Reply(200, httpx.Headers(), json.dumps(body).encode()))
            outcomes += [ended] if isinstance(ended, Outcome) else []
        elif isinstance(found, Outcome):
            outcomes.append(found)
        else:
            now = 1_000.0 if len(polled) == 5 and now < 100 else now + found

    assert [outcome.error for outcome in outcomes] == [None] * 5
    assert sorted(polled[5:]) == ["0", "1", "2", "3", "4"]

"""How the client finds an unknown rate limit: its law simulated against several kinds of limits, and with a real server.

`python rate.py --real` asks a server on loopback: 240 tasks of 3 polls, in each way of waiting, which takes half an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import itertools
import json
import math
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import attrs
from duomi import AsyncDuomi, Duomi, Polling
from duomi._core.rate import Rate
from figures import table
from limits import LATENCY, SERVERS, InFlight, Refusing

# Tasks, polls of each, and seconds between two polls of a task.
LOADS = ((240, 3, 5.0), (700, 1, 1.0), (120, 6, 2.0))
# Retry-After in seconds, and whether the refusal is a 429.
ANSWERS = ((None, True), (1.0, True), (0.0, True), (None, False))


@attrs.define
class Run:
    """What one simulated run brought: each request's time and whether it was refused, and when the last task ended."""

    requests: list[tuple[float, bool]] = attrs.field(factory=list)
    ended_at: float = 0.0

    @property
    def refused(self) -> float:
        """Refusals over requests."""
        return sum(refused for _, refused in self.requests) / len(self.requests)


def simulate(
    server: Any, rate: Rate, load: tuple[int, int, float], retry_after: float | None, *, is_sure: bool, workers: int
) -> Run:
    """Poll all tasks on a clock of its own; `workers` are under way at most."""
    tasks, polls, interval = load
    random_ = random.Random(tasks)
    run, in_flight, passed, now, number = Run(), 0, 0, 0.0, 0
    due = [(0.0, task, polls) for task in range(tasks)]
    events: list[tuple[float, int, str, tuple[Any, ...]]] = []
    wakes = math.inf

    def at(moment: float, what: str, *more: Any) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (moment, number, what, more))

    def start() -> None:
        nonlocal in_flight, wakes
        while due and in_flight < workers:
            moment = max(due[0][0], now + rate.delay(now))
            if moment > now + 1e-9:
                if moment < wakes:
                    wakes = moment
                    at(moment, "wake", moment)
                return
            _, task, left = heapq.heappop(due)
            in_flight += 1
            latency = LATENCY * random_.lognormvariate(0, 0.3) * (4 if isinstance(server, InFlight) else 1)
            at(now + 0.3 * latency, "arrive", rate.start(now), task, left, latency)

    start()
    while events:
        now, _, what, more = heapq.heappop(events)
        if what == "wake":
            if more[0] == wakes:
                wakes = math.inf
                start()
        elif what == "arrive":
            ticket, task, left, latency = more
            passes = server.lets_through(now, passed)
            passed += passes
            run.requests.append((now, not passes))
            at(now + (0.7 if passes else 0.2) * latency, "end", ticket, task, left, passes)
        else:
            ticket, task, left, passes = more
            in_flight -= 1
            passed -= passes
            if passes:
                rate.end(ticket, now, "answered")
                run.ended_at = now
                if left > 1:
                    heapq.heappush(due, (now + interval, task, left - 1))
            else:
                rate.end(ticket, now, "refused" if is_sure else "unavailable", retry_after)
                heapq.heappush(due, (now, task, left))
            start()
    return run


class _Server:
    """A server on loopback with a limit, in a thread of its own."""

    def __init__(self, limit: Any, headers: str, status: int) -> None:
        self._limit, self._began = limit, time.monotonic()
        self._refusal = f"HTTP/1.1 {status} No\r\n{headers}content-length: 2\r\n\r\n{{}}".encode()
        self._latency = 3 * LATENCY if isinstance(limit, InFlight) else 0.0
        self._polls: dict[bytes, int] = {}
        self.requests = self.refused = self._in_flight = 0

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                if not self._limit.lets_through(time.monotonic() - self._began, self._in_flight):
                    self.refused += 1
                    writer.write(self._refusal)
                    continue
                self._in_flight += 1
                await asyncio.sleep(self._latency)
                self._in_flight -= 1
                task_id = head.split(b" ", 2)[1].rpartition(b"/")[2]
                polls = self._polls[task_id] = self._polls.get(task_id, 0) + 1
                state = "succeeded" if polls > 2 else "running"
                body = json.dumps(
                    {"id": task_id.decode(), "state": state, "data": {"videos": [{"url": "https://h/1"}]}}
                )
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Serve, and yield the base URL."""
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=1024))
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))


def _in_batch(url: str, ids: list[str]) -> int:
    with Duomi("sk-benchmark", base_url=url, polling=Polling(interval=1.0)) as client:
        return sum(outcome.error is None for outcome in client.as_completed(ids))


def _in_async_batch(url: str, ids: list[str]) -> int:
    async def main() -> int:
        async with AsyncDuomi("sk-benchmark", base_url=url, polling=Polling(interval=1.0)) as client:
            return sum([outcome.error is None async for outcome in client.as_completed(ids)])

    return asyncio.run(main())


def _in_threads(url: str, ids: list[str]) -> int:
    with (
        Duomi("sk-benchmark", base_url=url, polling=Polling(interval=1.0)) as client,
        ThreadPoolExecutor(40) as threads,
    ):
        return sum(task.is_succeeded for task in threads.map(client.wait, ids))


def real() -> list[list[object]]:
    """Return a row for each limit and way of waiting."""
    rows: list[list[object]] = []
    answers = (("without Retry-After", "", 429), ("Retry-After: 1", "retry-after: 1\r\n", 429), ("503", "", 503))
    for name in list(SERVERS)[:5]:
        for (said, headers, status), way in itertools.product(answers, (_in_batch, _in_async_batch, _in_threads)):
            limit = SERVERS[name]()
            server = _Server(limit, headers, status)
            with server.serve() as url:
                began = time.monotonic()
                done = way(url, [str(number) for number in range(240)])
                seconds = time.monotonic() - began
            rows.append([name, said, way.__name__[4:], 240 - done, server.refused / server.requests,
                         seconds / limit.seconds_for(720)])  # fmt: skip
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _rate() -> Rate:
    return Rate(math.inf, nullcontext)


def _plot(path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "duomi"
    import matplotlib.pyplot as plt

    server = SERVERS["changing, 20, 5, 20/s"]()
    run = simulate(server, _rate(), (400, 3, 5.0), None, is_sure=True, workers=64)
    seconds = range(int(run.ended_at) + 1)
    figure, axes = plt.subplots(figsize=(8, 3.5), layout="constrained")
    for refused, name in ((False, "answered"), (True, "refused")):
        counts = [sum(int(at) == second and each == refused for at, each in run.requests) for second in seconds]
        axes.step(seconds, counts, where="post", label=name)
    axes.step(seconds, [5 if 20 <= second < 40 else 20 for second in seconds], "k--", where="post", label="limit")
    axes.set(ylim=(0, 40), xlabel="seconds", ylabel="requests per second")
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path, metavar="SVG")
    parser.add_argument("--real", action="store_true", help="ask a real server")
    given = parser.parse_args()
    if given.real:
        print(table(["limit", "refusal", "way", "waits lost", "refusals", "time over the limit's"], real()))
        return
    rows: list[list[object]] = []
    for name, make in SERVERS.items():
        refused, times = [], []
        for load, workers in itertools.product(LOADS, (64, 40)):
            free = simulate(Refusing(0.0), _rate(), load, None, is_sure=True, workers=workers).ended_at
            for retry_after, is_sure in ANSWERS:
                if name.startswith("2 %") and is_sure:
                    continue
                run = simulate(make(), _rate(), load, retry_after, is_sure=is_sure, workers=workers)
                refused.append(run.refused)
                times.append(run.ended_at / max(make().seconds_for(load[0] * load[1]), free))
        rows.append([name, statistics.mean(refused), max(refused), statistics.median(times), max(times)])
    print(f"{len(LOADS)} loads, with and without Retry-After, 429 and 503; simulated time:\n")
    print(table(["limit", "refusals over requests", "most", "time over what the limit needs", "most"], rows))
    if given.plot:
        _plot(given.plot)


if __name__ == "__main__":
    main()

"""Many polls at once: polls per second, CPU per poll, and memory per task, each figure in a fresh process."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from duomi import AsyncDuomi, Observation, Polling
from figures import fresh, table
from server import served

PATH = "/v1/videos/done/"
SIZES = (10, 100, 1_000, 10_000, 50_000)


async def eight_loops(url: str, count: int) -> None:
    """Poll in eight plain loops, with one pool for all."""
    left = iter(range(count))

    async def loop(client: httpx.AsyncClient) -> None:
        for number in left:
            json.loads((await client.get(f"{url}{PATH}{number}")).content)

    async with httpx.AsyncClient(headers={"Authorization": "sk-benchmark"}) as client:
        await asyncio.gather(*(loop(client) for _ in range(8)))


async def naive_gather(url: str, count: int) -> None:
    """Poll everything at once, with httpx's default pool."""
    async with httpx.AsyncClient(headers={"Authorization": "sk-benchmark"}, timeout=None) as client:
        answers = await asyncio.gather(*(client.get(f"{url}{PATH}{number}") for number in range(count)))
    for answer in answers:
        json.loads(answer.content)


async def as_completed(url: str, count: int) -> None:
    """Poll with duomi, with default settings."""
    async with AsyncDuomi("sk-benchmark", base_url=url) as client:
        outcomes = client.as_completed(map(str, range(count)))
        found = [outcome async for outcome in outcomes if outcome.error is None]
    if len(found) != count:
        raise SystemExit(f"{len(found)} of {count} tasks ended well")


WAYS: dict[str, Callable[[str, int], Awaitable[None]]] = {
    "eight loops of httpx `get` + `json.loads`": eight_loops,
    "naive `asyncio.gather`, httpx's default pool": naive_gather,
    "duomi `as_completed`, default settings": as_completed,
}


def measure(way: str, delay: float, count: int) -> dict[str, float]:
    """Return polls per second, and CPU seconds per poll, of this process."""
    with served(delay, "/v1/videos/tasks/" if WAYS[way] is as_completed else PATH) as url:
        began, cpu = time.perf_counter(), time.process_time()
        asyncio.run(WAYS[way](url, count))  # type: ignore[arg-type]
        return {"rate": count / (time.perf_counter() - began), "cpu": (time.process_time() - cpu) / count}


class Counting(Polling):
    """Polls again immediately, and counts."""

    polls = 0

    def delay(self, history: Sequence[Observation], typical: Sequence[float] = ()) -> float:  # noqa: ARG002  (the schedule passes it)
        """Count."""
        Counting.polls += len(history[-1:])
        return 0.0


async def _hold(url: str, count: int, polls: int) -> None:
    """Poll each task so often that all of its state is in memory."""
    polling = Counting(timeout=3_600.0)
    async with AsyncDuomi("sk-benchmark", base_url=url) as client:
        outcomes = client.as_completed(map(str, range(count)), polling=polling)
        first = asyncio.ensure_future(anext(outcomes))
        while Counting.polls < count * polls:
            await asyncio.sleep(0.05)
        first.cancel()


def memory(count: int, polls: int = 9) -> dict[str, float]:
    """Return the resident bytes of this process while it waits for so many tasks."""
    with served() as url:
        asyncio.run(_hold(url, count, polls))
    return {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0}


def _plot(sizes: dict[int, dict[str, float]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "duomi"
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    left.plot(list(sizes), [each["rate"] for each in sizes.values()], marker="o")
    left.set(xscale="log", ylim=0, xlabel="tasks", ylabel="polls per second")
    right.plot(list(sizes), [each["cpu"] * 1e6 for each in sizes.values()], marker="o", color="C1")
    right.set(xscale="log", ylim=0, xlabel="tasks", ylabel="CPU per poll, µs")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the tables; with --measure or --memory print one figure of this process as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "DELAY", "COUNT"))
    parser.add_argument("--memory", type=int, metavar="COUNT")
    parser.add_argument("--plot", type=Path, metavar="SVG")
    given: Any = parser.parse_args()
    if given.measure:
        way, delay, count = given.measure
        print(json.dumps(measure(way, float(delay), int(count))))
        return
    if given.memory:
        print(json.dumps(memory(given.memory)))
        return
    loops, naive, ours = WAYS
    plain = [fresh(__file__, "--measure", loops, 0, 10_000) for _ in range(3)]
    many = {size: fresh(__file__, "--measure", ours, 0, size) for size in SIZES}
    again = [fresh(__file__, "--measure", ours, 0, 10_000) for _ in range(3)]
    gathered = fresh(__file__, "--measure", naive, 0, 1_000)
    slow = {way: fresh(__file__, "--measure", way, 0.1, count) for way, count in ((loops, 400), (ours, 10_000))}
    few, lot = fresh(__file__, "--memory", 1_000)["bytes"], fresh(__file__, "--memory", 5_000)["bytes"]
    best = max(each["rate"] for each in plain)
    print("Polls per second, relative to the best of three runs of the eight loops:\n")
    rows: list[list[object]] = [
        [loops, 1.0, slow[loops]["rate"] / 640],
        [naive + ", 1,000 tasks", gathered["rate"] / best, ""],
    ]
    fastest = max(each["rate"] for each in again) / best
    rows.append([ours + ", 10,000 tasks", fastest, slow[ours]["rate"] / 640])
    print(table(["many polls at once", "loopback", "replies after 100 ms, relative to the limit of 640"], rows))
    print("\nBy the number of tasks:\n")
    print(table(["tasks", "polls per second, relative to 1,000 tasks", "CPU per poll, relative to 1,000 tasks"],
                [[f"{n:,}", each["rate"] / many[1_000]["rate"], each["cpu"] / many[1_000]["cpu"]] for n, each in many.items()]))  # fmt: skip
    growth = many[50_000]["cpu"] / many[1_000]["cpu"]
    held = (lot - few) / 4_000 / 1_000
    print()
    print(table(["figure", "measured"], [
        ["`as_completed` at 10,000 tasks relative to eight plain loops, polls per second", fastest],
        ["polls per second if replies take 100 ms, relative to the limit of 640", slow[ours]["rate"] / 640],
        ["CPU per poll at 50,000 tasks, relative to 1,000", growth],
        ["kB per waiting task, after nine polls of each", held],
    ]))  # fmt: skip
    if given.plot:
        _plot(many, given.plot)


if __name__ == "__main__":
    main()

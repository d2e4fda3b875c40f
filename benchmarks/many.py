"""Many looks at once: looks per second, CPU a look, and memory a task, each figure in a fresh process."""

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
    """Ask in eight plain loops, one pool for all."""
    left = iter(range(count))

    async def loop(client: httpx.AsyncClient) -> None:
        for number in left:
            json.loads((await client.get(f"{url}{PATH}{number}")).content)

    async with httpx.AsyncClient(headers={"Authorization": "key"}) as client:
        await asyncio.gather(*(loop(client) for _ in range(8)))


async def naive_gather(url: str, count: int) -> None:
    """Ask for everything at once, with httpx's default pool."""
    async with httpx.AsyncClient(headers={"Authorization": "key"}, timeout=None) as client:
        answers = await asyncio.gather(*(client.get(f"{url}{PATH}{number}") for number in range(count)))
    for answer in answers:
        json.loads(answer.content)


async def as_completed(url: str, count: int) -> None:
    """Ask as this client does, with default settings."""
    async with AsyncDuomi("key", base_url=url) as client, client.as_completed(map(str, range(count))) as outcomes:
        found = [outcome async for outcome in outcomes if outcome.error is None]
    if len(found) != count:
        raise SystemExit(f"{len(found)} of {count} tasks ended well")


WAYS: dict[str, Callable[[str, int], Awaitable[None]]] = {
    "eight loops of httpx `get` + `json.loads`": eight_loops,
    "naive `asyncio.gather`, httpx's default pool": naive_gather,
    "duomi `as_completed`, default settings": as_completed,
}


def measure(way: str, delay: float, count: int) -> dict[str, float]:
    """Return looks per second, and CPU seconds a look, of this process."""
    with served(delay, "/v1/videos/tasks/" if WAYS[way] is as_completed else PATH) as url:
        began, cpu = time.perf_counter(), time.process_time()
        asyncio.run(WAYS[way](url, count))  # type: ignore[arg-type]
        return {"rate": count / (time.perf_counter() - began), "cpu": (time.process_time() - cpu) / count}


class Counting(Polling):
    """Looks at once again, and counts."""

    polls = 0

    def delay(self, seen: Sequence[Observation]) -> float:
        """Count."""
        Counting.polls += len(seen[-1:])
        return 0.0


async def _hold(url: str, count: int, polls: int) -> None:
    """Look so often at each task, so that all that is remembered of it is there."""
    polling = Counting(timeout=3_600.0)
    async with AsyncDuomi("key", base_url=url) as client, client.as_completed(map(str, range(count)), polling=polling):
        while Counting.polls < count * polls:
            await asyncio.sleep(0.05)


def memory(count: int, polls: int = 9) -> dict[str, float]:
    """Return the resident bytes of this process while so many tasks are waited for."""
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
    left.set(xscale="log", ylim=0, xlabel="tasks", ylabel="looks per second")
    right.plot(list(sizes), [each["cpu"] * 1e6 for each in sizes.values()], marker="o", color="C1")
    right.set(xscale="log", ylim=0, xlabel="tasks", ylabel="CPU per look, µs")
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
    print("Looks per second, against the best of three runs of the eight loops:\n")
    rows: list[list[object]] = [
        [loops, 1.0, slow[loops]["rate"] / 640],
        [naive + ", 1,000 tasks", gathered["rate"] / best, ""],
    ]
    fastest = max(each["rate"] for each in again) / best
    rows.append([ours + ", 10,000 tasks", fastest, slow[ours]["rate"] / 640])
    print(table(["many looks at once", "loopback", "answers after 100 ms, over the limit of 640"], rows))
    print("\nBy the number of tasks:\n")
    print(table(["tasks", "looks per second, over 1,000 tasks", "CPU a look, over 1,000 tasks"],
                [[f"{n:,}", each["rate"] / many[1_000]["rate"], each["cpu"] / many[1_000]["cpu"]] for n, each in many.items()]))  # fmt: skip
    growth = many[50_000]["cpu"] / many[1_000]["cpu"]
    held = (lot - few) / 4_000 / 1_000
    print()
    print(table(["figure", "measured"], [
        ["`as_completed` at 10,000 tasks over eight plain loops, looks per second", fastest],
        ["looks per second where answers take 100 ms, over the limit of 640", slow[ours]["rate"] / 640],
        ["CPU a look at 50,000 tasks over at 1,000", growth],
        ["kB a waiting task, after nine looks at each", held],
    ]))  # fmt: skip
    if given.plot:
        _plot(many, given.plot)


if __name__ == "__main__":
    main()

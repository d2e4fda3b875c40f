"""How many requests each way of polling needs, and how late it notices that a job is finished, on made-up jobs."""

from __future__ import annotations

import argparse
import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from duomi import Observation, Polling
from figures import table
from traces import KINDS, Trace, traces

Delay = Callable[[Sequence[Observation], random.Random], float]
SEEDS = (11, 12, 13)
COUNT = 3_000


def adaptive(history: Sequence[Observation], jitter: random.Random, typical: Sequence[float] = ()) -> float:
    """Wait as duomi does by default, its jitter included."""
    return Polling().delay(history, typical) * (0.9 + 0.2 * jitter.random())


POLLERS: dict[str, Delay] = {
    "every 5 s": lambda _seen, _jitter: 5.0,
    "every 6 s +- 1.5 s (runwayml)": lambda _seen, jitter: jitter.uniform(4.5, 7.5),
    "every 2.5 s": lambda _seen, _jitter: 2.5,
    "every 8 s": lambda _seen, _jitter: 8.0,
    "1 s, doubled up to 30 s": lambda seen, _jitter: min(30.0, 2.0 ** min(len(seen) - 1, 5)),
    "duomi, default": adaptive,
}


def run(delay: Delay, trace: Trace, jitter: random.Random) -> tuple[int, float]:
    """Return how many requests a job needs, and how many seconds after its end the poller notices it."""
    at, polls = 0.0, 0
    seen: list[Observation] = []
    while True:
        polls += 1
        state, progress = trace.poll(at)
        if state == "succeeded":
            return polls, at - trace.ends_at
        seen = [*seen[:1], *seen[1:][-6:], Observation(at, state, progress)]
        at += delay(seen, jitter)


class Tally:
    """Requests and delays of one poller, for all jobs or for one kind."""

    def __init__(self) -> None:
        self.polls = 0
        self.late: list[float] = []

    def add(self, polls: int, late: float) -> None:
        """Add one job."""
        self.polls += polls
        self.late.append(late)

    @property
    def mean(self) -> float:
        """The mean delay in seconds."""
        return sum(self.late) / len(self.late)


def tallies() -> dict[str, dict[str, Tally]]:
    """Return the tallies of each poller by kind of job, and of all jobs under "all"."""
    found = {name: {kind: Tally() for kind in ("all", *KINDS)} for name in POLLERS}
    for seed in SEEDS:
        for trace in traces(seed, COUNT):
            for name, delay in POLLERS.items():
                polls, late = run(delay, trace, random.Random(seed))
                for kind in ("all", trace.kind):
                    found[name][kind].add(polls, late)
    return found


def product(lengths: Sequence[float], *, learn: bool) -> float:
    """Return requests times mean delay of jobs without progress, over the same product of a 5 s poller."""
    ours, fixed, typical = Tally(), Tally(), deque[float](maxlen=256)
    for number, length in enumerate(lengths):
        trace = Trace("absent", 0.0, length)
        known = tuple(typical) if learn else ()
        ours.add(*run(partial(adaptive, typical=known), trace, random.Random(number)))
        fixed.add(*run(lambda _seen, _jitter: 5.0, trace, random.Random(number)))
        typical.append(length)
    return ours.polls * ours.mean / (fixed.polls * fixed.mean)


def blind() -> list[list[object]]:
    """Return a row for each kind of batch of jobs without progress."""
    rows: list[list[object]] = []
    for name, count, spread in (("mixed lengths, sigma 0.65", 2_000, 0.65), ("one kind, sigma 0.3", 500, 0.3)):
        for median in (150.0, 400.0, 900.0):
            jitter = random.Random(int(median))
            lengths = [median * jitter.lognormvariate(0, spread) for _ in range(count)]
            rows.append([f"{name}, median {median:g} s", product(lengths, learn=False), product(lengths, learn=True)])
    return rows


def _plot(found: dict[str, dict[str, Tally]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "duomi"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, kinds in found.items():
        every = kinds["all"]
        axes.plot(every.mean, every.polls / len(every.late), "o", label=name)
    axes.set(xlim=0, ylim=0, xlabel="mean delay, s", ylabel="requests per job")
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path, metavar="SVG")
    given = parser.parse_args()
    found = tallies()
    base, other, *_, ours = found.values()
    print(f"{len(SEEDS) * COUNT:,} made-up jobs, seeds {', '.join(map(str, SEEDS))}:\n")
    print(table(["poller", "requests, relative to every 5 s", "mean delay, s", "worst delay, s"],
                [[name, kinds["all"].polls / base["all"].polls, kinds["all"].mean, max(kinds["all"].late)] for name, kinds in found.items()]))  # fmt: skip
    print("\nThe default schedule, by kind of job:\n")
    print(table(["kind", "requests, relative to every 5 s", "mean delay, s", "every 5 s: mean delay, s", "worst delay, s"],
                [[kind, ours[kind].polls / base[kind].polls, ours[kind].mean, base[kind].mean, max(ours[kind].late)] for kind in KINDS]))  # fmt: skip
    print("\nJobs without progress, requests times mean delay over the same product of a 5 s poller:\n")
    print(table(["jobs", "knowing nothing", "`typical` learnt as they end"], blind()))
    against = ours["all"].polls / base["all"].polls
    against_other = ours["all"].polls / other["all"].polls
    print()
    print(table(["figure", "measured"], [
        ["requests relative to a fixed 5 s poller", against],
        ["mean delay relative to a fixed 5 s poller", ours["all"].mean / base["all"].mean],
        ["worst delay, s", max(ours["all"].late)],
        ["requests relative to a 6 s +- 1.5 s poller", against_other],
    ]))  # fmt: skip
    if given.plot:
        _plot(found, given.plot)


if __name__ == "__main__":
    main()

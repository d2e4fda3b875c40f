"""How many requests each way of polling needs, and how late it notices that a job is finished, on made-up jobs."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from duomi import Observation, Polling
from figures import table
from traces import KINDS, Trace, traces

Delay = Callable[[Sequence[Observation], random.Random], float]
SEEDS = (11, 12, 13)
COUNT = 3_000


def adaptive(seen: Sequence[Observation], jitter: random.Random) -> float:
    """Wait as duomi does by default, its jitter included."""
    return Polling().delay(seen) * (0.9 + 0.2 * jitter.random())


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

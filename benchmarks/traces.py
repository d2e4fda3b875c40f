"""Made-up jobs: lognormal lengths, a queue before many of them, and six ways to report progress."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

import attrs

MEDIAN = 150.0
SPREAD = 0.6
QUEUED = 0.6
QUEUE_MEDIAN = 45.0
QUEUE_SPREAD = 1.0


def _stuck(share: float) -> float:
    return 95 * share / 0.3 if share < 0.3 else 95.0


KINDS: dict[str, Callable[[float], float | None]] = {
    "linear": lambda share: 100 * share,
    "saturating": lambda share: 100 * (1 - math.exp(-3 * share)),
    "five steps": lambda share: 20.0 * int(5 * share),
    "absent": lambda _share: None,
    "fast, then stuck at 95": _stuck,
    "slow, then fast": lambda share: 100 * share**3,
}


@attrs.frozen
class Trace:
    """One job: `queue` seconds pending, `length` seconds running, and how it reports progress."""

    kind: str
    queue: float
    length: float

    @property
    def ends_at(self) -> float:
        """The second at which the job is finished."""
        return self.queue + self.length

    def poll(self, at: float) -> tuple[str, int | None]:
        """Return the state and the progress that a poll at this second finds."""
        if at >= self.ends_at:
            return "succeeded", 100
        if at < self.queue:
            return "pending", None if self.kind == "absent" else 0
        progress = KINDS[self.kind]((at - self.queue) / self.length)
        return "running", None if progress is None else min(int(progress), 99)


def traces(seed: int, count: int) -> Iterator[Trace]:
    """Yield so many jobs, the kinds in turn."""
    jitter = random.Random(seed)
    kinds = list(KINDS)
    for number in range(count):
        queue = QUEUE_MEDIAN * jitter.lognormvariate(0, QUEUE_SPREAD) if jitter.random() < QUEUED else 0.0
        yield Trace(kinds[number % len(kinds)], queue, MEDIAN * jitter.lognormvariate(0, SPREAD))

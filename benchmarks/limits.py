"""Kinds of limits that servers have, on a clock of their own."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any


class Bucket:
    """Lets `rate(now)` requests a second through, and up to `burst` at once."""

    def __init__(self, rate: Callable[[float], float], burst: float) -> None:
        self._rate, self._burst, self._tokens, self._at = rate, burst, burst, 0.0

    def lets_through(self, now: float, _in_flight: int) -> bool:
        """Take a token, if there is one."""
        self._tokens = min(self._burst, self._tokens + self._rate(now) * (now - self._at))
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def seconds_for(self, count: int) -> float:
        """Return how long so many requests take at least."""
        now, passed = 0.0, self._burst
        while passed < count:
            passed += self._rate(now) * 0.01
            now += 0.01
        return now


class Window:
    """Lets so many requests through in each window of `seconds`; refused ones count, too."""

    def __init__(self, count: int, seconds: float) -> None:
        self._count, self._seconds, self._window, self._used = count, seconds, -1, 0

    def lets_through(self, now: float, _in_flight: int) -> bool:
        """Count a request."""
        window = int(now / self._seconds)
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        return self._used <= self._count

    def seconds_for(self, count: int) -> float:
        """Return how long so many requests take at least."""
        return (count - 1) // self._count * self._seconds


class InFlight:
    """Lets so many requests through at once."""

    def __init__(self, count: int, latency: float) -> None:
        self._count, self._latency = count, latency

    def lets_through(self, _now: float, in_flight: int) -> bool:
        """Look at how many are under way."""
        return in_flight < self._count

    def seconds_for(self, count: int) -> float:
        """Return how long so many requests take at least."""
        return count * self._latency / self._count


class Refusing:
    """Refuses a share of the requests at random."""

    def __init__(self, share: float) -> None:
        self._share, self._random = share, random.Random(7)

    def lets_through(self, _now: float, _in_flight: int) -> bool:
        """Draw."""
        return self._random.random() >= self._share

    def seconds_for(self, _count: int) -> float:
        """Return 0: it has no limit."""
        return 0.0


LATENCY = 0.05
SERVERS: dict[str, Callable[[], Any]] = {
    "token bucket, 20/s, burst 10": lambda: Bucket(lambda _: 20.0, 10.0),
    "leaky bucket, 20/s, no burst": lambda: Bucket(lambda _: 20.0, 1.0),
    "fixed window, 60 per 10 s": lambda: Window(60, 10.0),
    "5 in flight": lambda: InFlight(5, 3 * LATENCY),
    "changing, 20, 5, 20/s": lambda: Bucket(lambda now: 5.0 if 20 <= now < 40 else 20.0, 10.0),
    "2 % of 503 at random": lambda: Refusing(0.02),
    "no limit": lambda: Refusing(0.0),
}

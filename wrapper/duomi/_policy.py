"""The settings that decide: how often to ask again, how long to wait, when to give up."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import attrs
from duomi_api.models import TaskState

from duomi._errors import ConfigurationError

# The adaptive schedule; tried on the made-up jobs of benchmarks/traces.py.
QUEUED: Final = 30.0
YOUNG: Final = 15.0
YOUNG_UNTIL: Final = 30.0
SHARE_OF_REST: Final = 0.5
NEAR: Final = 90
BOUNDS: Final = (3.0, 20.0)
BOUNDS_NEAR: Final = (3.0, 6.0)
# Without progress: the mean delay that is aimed at, the bounds of a pause, and what is known before any task ended, as if
# so many tasks had taken 1 to 30 minutes.
MEAN_DELAY: Final = 2.85
BOUNDS_BLIND: Final = (2.0, 30.0)
PRIOR_MEAN: Final = math.log(330.0)
PRIOR_SPREAD: Final = 0.85
PRIOR_COUNT: Final = 2
NARROWEST: Final = 0.12
TYPICAL_KEPT: Final = 256
_LONGEST: Final = 1e9


def is_seconds(value: object) -> bool:
    """Tell whether a value is a number from 0 to 1e9; what is longer no clock can wait for."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LONGEST


def _seconds(_instance: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    if not is_seconds(value):
        raise ConfigurationError(f"{attribute.name} must be a number of seconds, 0 or more, not {value!r}")


def _seconds_or_none(instance: object, attribute: "attrs.Attribute[float]", value: float | None) -> None:
    if value is not None:
        _seconds(instance, attribute, value)


def _count(_instance: object, attribute: "attrs.Attribute[int]", value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{attribute.name} must be a whole number, 1 or more, not {value!r}")


@attrs.frozen
class Retry:
    """How one call is tried again after a temporary failure."""

    __module__ = "duomi"

    attempts: int = attrs.field(default=5, validator=_count)
    """How often a request is sent at most, the first time included."""
    backoff: float = attrs.field(default=0.5, validator=_seconds)
    """Seconds; the first pause is drawn from 0 to this, and the span doubles with each attempt."""
    max_backoff: float = attrs.field(default=8.0, validator=_seconds)
    """Seconds; the longest pause that is drawn."""
    max_retry_after: float = attrs.field(default=60.0, validator=_seconds)
    """Seconds; a longer `Retry-After` ends the retries at once."""

    def delay(self, attempt: int, retry_after: float | None, jitter: float) -> float | None:
        """Return the seconds to wait after an attempt that failed, or None to give up; `jitter` is 0 to 1.

        It is what the server asks for (`retry_after`, in seconds), and never shorter than our own back-off.
        """
        if attempt >= self.attempts or (retry_after is not None and retry_after > self.max_retry_after):
            return None
        return max(retry_after or 0.0, jitter * min(self.max_backoff, self.backoff * 2.0 ** min(attempt - 1, 60)))


@attrs.frozen
class Observation:
    """What one poll of a task showed."""

    __module__ = "duomi"

    at: float
    """The age of the task in seconds; if the answers do not tell it, seconds since the wait began."""
    state: str
    """The value of the task's state."""
    progress: int | None
    """Percent, if the API says."""


@attrs.frozen
class Polling:
    """How a wait polls its task."""

    __module__ = "duomi"

    interval: float | None = attrs.field(default=None, validator=_seconds_or_none)
    """Seconds between two polls; `None` for a schedule that follows the task's progress."""
    timeout: float | None = attrs.field(default=1800.0, validator=_seconds_or_none)
    """Seconds that a wait may take; `None` waits forever."""
    outage: float = attrs.field(default=300.0, validator=_seconds)
    """Seconds without a good answer, after a first one, that a wait tolerates."""
    stall: float | None = attrs.field(default=None, validator=_seconds_or_none)
    """Seconds without a change of state or progress that a wait accepts; `None` for any."""

    def delay(self, history: Sequence[Observation], typical: Sequence[float] = ()) -> float:
        """Return the seconds until the next poll.

        `history` is the first poll and the last 7, `typical` is how long earlier tasks took, in seconds.
        """
        if not history:
            return 0.0
        return adaptive_delay(history, tuple(typical)) if self.interval is None else self.interval


def adaptive_delay(history: Sequence[Observation], typical: tuple[float, ...] = ()) -> float:
    """Return the seconds until the next poll, from what was seen so far, the last poll included."""
    last = history[-1]
    if last.state == TaskState.PENDING.value:
        return QUEUED
    here = [poll for poll in history if poll.state == last.state]
    moves = _moves(here)
    if len(moves) < 2:
        blind = blind_delay(last.at, typical)
        is_young = last.progress is not None and last.at - here[0].at < YOUNG_UNTIL
        return min(YOUNG, blind) if is_young else blind
    rest = min(_rest(moves[0], moves[-1]), _rest(moves[-4 if len(moves) > 3 else 0], moves[-1]))
    rest -= last.at - moves[-1].at
    if rest <= 0:
        return blind_delay(last.at, typical)
    return _within(BOUNDS_NEAR if (last.progress or 0) >= NEAR else BOUNDS, SHARE_OF_REST * rest)


def blind_delay(age: float, typical: tuple[float, ...]) -> float:
    """Return the seconds until the next poll of a task of some age whose progress says nothing.

    For a given mean delay the fewest polls are made at a rate proportional to the square root of the hazard, which is the
    chance that the task ends in the next second. How long tasks take is taken for lognormal.
    """
    ages, polls = _expected_polls(typical)
    place = bisect_right(ages, age) - 1
    done = _interpolate(ages, polls, max(place, 0), age)
    after = bisect_right(polls, done + 1.0) - 1
    return _within(BOUNDS_BLIND, _interpolate(polls, ages, max(after, 0), done + 1.0) - age)


@lru_cache(maxsize=16)
def _expected_polls(typical: tuple[float, ...]) -> tuple[list[float], list[float]]:
    """Return ages in seconds, and how many polls the best schedule makes up to each."""
    logs = [math.log(max(each, 1.0)) for each in typical]
    count = len(logs) + PRIOR_COUNT
    mean = (sum(logs) + PRIOR_COUNT * PRIOR_MEAN) / count if len(logs) < 2 * PRIOR_COUNT else sum(logs) / len(logs)
    spread = sum((each - mean) ** 2 for each in logs) + PRIOR_COUNT * PRIOR_SPREAD**2
    sigma = max(NARROWEST, math.sqrt(spread / count))
    places = [(number - 64) / 12.0 for number in range(129)]
    ages = [math.exp(mean + sigma * place) for place in places]
    # Square roots of hazard, and the integral of sqrt(density * survival), which scales the rate.
    rates, scale = [], 0.0
    for place, age in zip(places, ages, strict=True):
        density = math.exp(-place * place / 2) / (math.sqrt(2 * math.pi) * sigma * age)
        survival = max(math.erfc(place / math.sqrt(2)) / 2, 1e-300)
        rates.append(math.sqrt(density / survival))
        scale += math.sqrt(density * survival) * sigma * age / 12.0
    polls = [0.0]
    for number in range(1, len(ages)):
        rate = (rates[number - 1] + rates[number]) / 2 * scale / (2 * MEAN_DELAY)
        polls.append(polls[-1] + rate * (ages[number] - ages[number - 1]))
    return ages, polls


def _interpolate(xs: list[float], ys: list[float], place: int, x: float) -> float:
    """Return the value at x of the line through the points at `place` and behind it."""
    place = min(place, len(xs) - 2)
    slope = (ys[place + 1] - ys[place]) / max(xs[place + 1] - xs[place], 1e-12)
    return ys[place] + slope * (x - xs[place])


def _moves(polls: Sequence[Observation]) -> list[Observation]:
    """Return the polls that found more progress than any before them."""
    moves: list[Observation] = []
    for poll in polls:
        if poll.progress is not None and (not moves or poll.progress > (moves[-1].progress or 0)):
            moves.append(poll)
    return moves


def _rest(first: Observation, last: Observation) -> float:
    """Return the seconds from the last poll to the end, if progress continues as between the two."""
    done, gained = last.progress or 0, (last.progress or 0) - (first.progress or 0)
    return (100 - done) * (last.at - first.at) / gained


def _within(bounds: tuple[float, float], seconds: float) -> float:
    return max(bounds[0], min(seconds, bounds[1]))

"""The settings that decide: how often to ask again, how long to wait, when to give up."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import attrs

from duomi._errors import ConfigurationError
from duomi._schedule import adaptive_delay


def is_seconds(value: object) -> bool:
    """Tell whether a value is a number of seconds that ends, 0 or more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max


def _seconds(_instance: object, attribute: attrs.Attribute[float], value: float | None) -> None:
    if value is None:
        return
    if not is_seconds(value):
        raise ConfigurationError(f"{attribute.name} must be a number of seconds, 0 or more, not {value!r}")


def _count(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{attribute.name} must be a whole number, 1 or more, not {value!r}")


@attrs.frozen
class Retry:
    """How one call is asked again after trouble that passes.

    Attributes:
        attempts: how often a request is sent at most, the first time included.
        backoff: seconds; the first pause is drawn from 0 to this, and the span doubles with each attempt.
        max_backoff: seconds; the longest pause that is drawn.
        max_retry_after: seconds; a longer `Retry-After` ends the retries at once.
    """

    attempts: int = attrs.field(default=5, validator=_count)
    backoff: float = attrs.field(default=0.5, validator=_seconds)
    max_backoff: float = attrs.field(default=8.0, validator=_seconds)
    max_retry_after: float = attrs.field(default=60.0, validator=_seconds)

    def pause(self, attempt: int, retry_after: float | None, luck: float) -> float | None:
        """Return the seconds to wait after an attempt that failed, or None to give up; `luck` is 0 to 1."""
        if attempt >= self.attempts or (retry_after is not None and retry_after > self.max_retry_after):
            return None
        if retry_after is not None:
            return retry_after
        return luck * min(self.max_backoff, self.backoff * 2.0 ** min(attempt - 1, 60))


def single_attempt(retry: Retry) -> Retry:
    """Return the same policy without another attempt, for what somebody else tries again."""
    return attrs.evolve(retry, attempts=1)


@attrs.frozen
class Observation:
    """What one look at a task showed.

    Attributes:
        at: seconds since the wait began.
        state: the value of the task's state.
        progress: percent, where the API said.
    """

    at: float
    state: str
    progress: int | None


@attrs.frozen
class Polling:
    """How a wait looks at its task.

    Attributes:
        interval: seconds between two looks; `None` for a schedule that follows the task's progress.
        timeout: seconds that a wait may take; `None` waits for ever.
        outage: seconds without a good answer, after a first one, that a wait outlasts.
        stall: seconds without a change of state or progress that a wait puts up with; `None` for any.
    """

    interval: float | None = attrs.field(default=None, validator=_seconds)
    timeout: float | None = attrs.field(default=1800.0, validator=_seconds)
    outage: float = attrs.field(default=300.0, validator=_seconds)
    stall: float | None = attrs.field(default=None, validator=_seconds)

    def delay(self, seen: Sequence[Observation]) -> float:
        """Return the seconds until the next look, from what was seen so far (the first look and the last 7)."""
        if not seen:
            return 0.0
        return adaptive_delay(seen) if self.interval is None else self.interval

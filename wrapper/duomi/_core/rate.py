"""All calls of a client: when the next request may start.

The server's limit is not known, so it is learnt from refusals. Nothing is held back before the first one. Then requests
start one by one, at a pace: a share of what got through, which rises slowly until the next refusal.
`benchmarks/rate.py` simulates this against several kinds of limits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, TypeAlias

# After a cut: this share of the measured rate. After a refusal among many good answers: this share of the pace, and the
# smaller one if the server asks for a pause, since each further refusal then costs all of that pause.
CUT: Final = 0.95
EASE: Final = 0.97
EASE_AFTER_PAUSE: Final = 0.85
SLOWEST: Final = 1.0
# How the pace rises: by so much a second from the start, the longer the faster, and steeply where the rate was
# hardly measured.
RISE: Final = 0.5
QUICKER: Final = 0.01
STEEP: Final = 0.5
STEEP_LASTS: Final = 20.0
# After a pause that the server asked for, the pace does not rise for so many times as long.
HOLD: Final = 5.0
# Back-off while refusals go on, in seconds.
BACKOFF: Final = (0.5, 0.5, 1.0, 2.0, 4.0, 5.0)
# So many refusals among the last 20 answers are a limit, and not chance. The larger number counts for a server that
# only says that it is unavailable; the smaller one counts for that, too, if they come in a row.
REFUSALS: Final = 3
FAILURES: Final = 5
IN_A_ROW: Final = (1 << REFUSALS) - 1
LAST: Final = (1 << 20) - 1
MEASURED: Final = 10.0
# Seconds after which a call that should have asked, or ended, is given up.
LATE: Final = 1.0

End: TypeAlias = Literal["answered", "refused", "unavailable", "lost"]


class Ticket:
    """A request that was started, to be handed back when it has ended."""

    __slots__ = ("ends_by", "started_at")

    def __init__(self, started_at: float, limit: float) -> None:
        self.started_at: float = started_at
        self.ends_by: float = started_at + limit


class Rate:
    """Says when the next request may start; times are seconds on the caller's clock.

    Args:
        max_rate: requests a second at most; `math.inf` for as many as the server lets through.
        make_lock: makes what guards it, for a client that many threads share. It is not taken before the first refusal.

    Attributes:
        answered_at: when the last good answer came.
        last_refusal: the error of the last answer that limited the rate.
        is_free: whether every request may start at once: nothing was refused, and there is no `max_rate`.
    """

    def __init__(self, max_rate: float, make_lock: Callable[[], AbstractContextManager[Any]]) -> None:
        self.max_rate = max_rate
        self._make_lock = make_lock
        self.reset()

    def reset(self) -> None:
        """Begin as in a new process."""
        self._lock = self._make_lock()
        self.answered_at: float = -math.inf
        self._pace = math.inf
        self._rises_from = 0.0
        self._is_steep = False
        self._next_at = -math.inf
        self._paused_until = -math.inf
        self._cut_at = -math.inf
        self._is_cut = False
        self._probe: Ticket | None = None
        self._backoffs = 0
        self._was_asked = False
        self._last = 0
        self._answers = 0.0
        self._measured_from = math.inf
        self._joined = 0
        self._queue: dict[int, float] = {}
        self.last_refusal: Exception | None = None
        self.is_free: bool = self.max_rate == math.inf

    def describe(self, now: float) -> str:
        """Say in a few words why requests wait."""
        if self.max_rate < math.inf and self._learnt_pace_at(now) >= self.max_rate:
            return f"no turn came under max_rate ({self.max_rate:g} requests a second)"
        return "no turn came under the server's rate limit"

    def gives_up_at(self, since: float, outage: float, now: float) -> float:
        """Return when a call ends that the server's limit lets wait: so long after any call was last answered well."""
        is_ours = self.max_rate < math.inf and self._learnt_pace_at(now) >= self.max_rate and self._paused_until <= now
        return math.inf if self.last_refusal is None or is_ours else max(since, self.answered_at) + outage

    def join(self) -> int:
        """Queue a call, and return its place."""
        with self._lock:
            self._joined += 1
            self._queue[self._joined] = math.inf
            return self._joined

    def leave(self, place: int) -> None:
        """Take a call out of the queue: its request starts, or it has given up."""
        with self._lock:
            self._queue.pop(place, None)

    def delay(self, now: float, place: int | None = None, *, share: float = 0.5) -> float:
        """Return the seconds until the request of a call may start; 0 if it may start now.

        A call that is not the first waits for a share of the time that its turn would take now, and asks again; one that
        does not ask again has left. Without a place all calls in the queue come first.
        """
        if self.is_free:
            return 0.0
        with self._lock:
            delay = max(self._next_at, self._paused_until) - now
            if self._is_cut and self._probe is not None:
                if now > self._probe.ends_by + LATE:
                    self._probe = None
                else:
                    delay = max(delay, 0.02)
            ahead = self._ahead_of(place, now)
            if ahead > 0:
                delay = max(delay, 0.0) + max(0.01, share * ahead / self.pace_at(now))
            delay = max(delay, 0.0)
            if place in self._queue:
                self._queue[place] = now + delay
            return delay

    def _ahead_of(self, place: int | None, now: float) -> int:
        """Return how many calls come before a place."""
        # A garbage collection between two lines may take a call out, too.
        while first := next(iter(self._queue), 0):
            if self._queue.get(first, -math.inf) + LATE >= now:
                break
            # It should have asked again: it was cancelled, or is not driven any more.
            self._queue.pop(first, None)
        if not self._queue or place is None:
            return len(self._queue)
        return max(0, min(place - first, len(self._queue) - 1))

    def start(self, now: float, limit: float = math.inf) -> Ticket:
        """Start a request that ends within so many seconds."""
        ticket = Ticket(now, limit)
        if self.is_free:
            if self._measured_from == math.inf:
                self._measured_from = now
            return ticket
        with self._lock:
            self._measured_from = min(self._measured_from, now)
            # While no request waited for its turn, nothing was learnt that lets the pace rise.
            self._rises_from += max(0.0, now - max(self._next_at, self._paused_until, self._rises_from))
            learnt = self._learnt_pace_at(now)
            gap = 1.0 / min(learnt, self.max_rate)
            # No saved-up burst: a late request catches up a tenth of a gap; max_rate always holds.
            self._next_at = max(self._next_at + gap, now + (0.9 if learnt < self.max_rate else 1.0) * gap)
            if self._is_cut and self._probe is None:
                self._probe = ticket
        return ticket

    def end(self, ticket: Ticket, now: float, end: End, retry_after: float | None = None) -> bool:
        """Take note of how a request ended; return whether the server limits the rate.

        A server that is unavailable (503) without saying for how long limits the rate only if that happens often.
        """
        if end == "answered":
            self.answered_at = now
            self._last = (self._last << 1) & LAST
            self._answers += 1
            if self.is_free:
                self._forget_old_answers(now)
                return False
        elif end == "lost" and self.is_free:
            return False
        with self._lock:
            is_probe = ticket is self._probe
            if is_probe:
                self._probe = None
            if end == "answered":
                self._after_answer(ticket, now)
            elif end != "lost":
                return self._after_refusal(ticket, now, retry_after, is_probe=is_probe, is_sure=end == "refused")
        return False

    def _after_answer(self, ticket: Ticket, now: float) -> None:
        if not self._is_cut or ticket.started_at < self._cut_at:
            self._forget_old_answers(now)
            return
        before = self._pace
        self._pace = max(SLOWEST, CUT * self._answers / max(1.0, now - self._measured_from))
        self._next_at = max(self._next_at, ticket.started_at + 1.0 / self._pace)
        # The pauses that the server asked for make the measured rate too low.
        self._is_steep = before == math.inf or self._was_asked
        self._rises_from = now
        self._measured_from, self._answers, self._last = now, 0.0, 0
        self._is_cut, self._backoffs = False, 0

    def _after_refusal(
        self, ticket: Ticket, now: float, retry_after: float | None, *, is_probe: bool, is_sure: bool
    ) -> bool:
        self._last = ((self._last << 1) | 1) & LAST
        asked = retry_after or 0.0
        self.is_free = self.is_free and not asked
        if asked:
            self._paused_until = max(self._paused_until, now + asked)
        if ticket.started_at < self._cut_at and not is_probe:
            # It left before the last cut, so it says nothing new.
            return is_sure or self._pace < math.inf
        is_known = self._pace < math.inf
        in_a_row = self._last & IN_A_ROW == IN_A_ROW
        few = self._last.bit_count() < (REFUSALS if is_sure else FAILURES) and not in_a_row
        if not self._is_cut and few and (is_known or not asked):
            if is_known:
                self._ease(now, asked)
            return is_sure or is_known
        if not self._is_cut:
            self._pace = self._learnt_pace_at(now)
            self._rises_from, self._was_asked = now, asked > 0
            self._cut_at, self._is_cut, self._backoffs, self.is_free = now, True, 0, False
        first = min(BACKOFF[0], 1.0 / self._pace)
        delay = BACKOFF[min(self._backoffs, len(BACKOFF) - 1)] if self._backoffs or not first else first
        self._backoffs += 1
        self._paused_until = max(self._paused_until, now + max(delay, asked))
        return True

    def _ease(self, now: float, asked: float) -> None:
        """Slow down a little after a refusal among many good answers."""
        self._pace = max(SLOWEST, self._learnt_pace_at(now) * (EASE_AFTER_PAUSE if asked else EASE))
        self._is_steep = False
        self._rises_from = now + HOLD * asked
        self._cut_at = now
        self._next_at += 1.0 / self._pace

    def pace_at(self, now: float) -> float:
        """Return how many requests a second may start; `math.inf` if nothing limits them."""
        return min(self._learnt_pace_at(now), self.max_rate)

    def _learnt_pace_at(self, now: float) -> float:
        since = max(0.0, now - self._rises_from)
        if self._is_steep:
            return self._pace * math.exp(STEEP * min(since, STEEP_LASTS))
        return self._pace * (1.0 + QUICKER * since * since) + RISE * since

    def _forget_old_answers(self, now: float) -> None:
        if now - self._measured_from > MEASURED:
            self._answers /= 2
            self._measured_from = now - MEASURED / 2

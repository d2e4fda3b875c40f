"""Who of many tasks is due when: a heap and the rules around it. No I/O, and no clock of its own.

A worker takes what is due, carries out what its flow wishes, and takes again; a look that must pause goes back on the
heap instead of keeping its worker. Of the workers that find nothing due one sleeps until something is, and the others
rest until they are called.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence

import attrs

from duomi._core.poll import (
    Answer,
    Failure,
    Poll,
    PollAgain,
    Poller,
    PollState,
    RequestFlow,
    Runtime,
    Send,
    Sleep,
    TimeLimit,
    raise_if_failed,
)
from duomi._core.request import Problem
from duomi._errors import AuthenticationError, DuomiError
from duomi._task import Outcome, Task


@attrs.define(eq=False)
class Job:
    """One task that is waited for; `flow` is a look that has begun and is not over."""

    wait: Poller
    state: PollState
    last: Task | None = None
    started_at: float = 0.0
    flow: RequestFlow[Task] | None = None


@attrs.frozen
class Rest:
    """Nothing is due: sleep until then, on the clock, or where it is `math.inf` until called."""

    until: float


class Scheduler:
    """Decides who is looked at next, and what follows from each look.

    Args:
        waits: one for each task, all with the same time limit.
        ask: makes the flow of one look at a task, for as long as it may take.
        around: the clock and the luck.
        max_in_flight: how many looks are under way at most.
    """

    def __init__(
        self,
        waits: Sequence[Poller],
        ask: Callable[[str, TimeLimit], RequestFlow[Task]],
        runtime: Runtime,
        max_in_flight: int,
    ) -> None:
        self._runtime = runtime
        self._ask = ask
        began = runtime.clock()
        state = PollState(began)
        self._heap: list[tuple[float, int, Job]] = [(began, n, Job(wait, state)) for n, wait in enumerate(waits)]
        self._pushed = len(waits)
        self._began = began
        self._ends_at = began + (waits[0].timeout if waits else 0.0)
        self.workers: int = min(max_in_flight, len(waits))
        self._allowed = self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._paused_until = began
        self._watched_until = math.inf
        self._refusal: AuthenticationError | None = None

    def take(self) -> Job | Outcome | Rest | None:
        """Return who is to be looked at, an outcome that needs no look, how long to rest, or None at the end."""
        if not self._heap:
            return Rest(math.inf) if self._in_flight else None
        now = self._runtime.clock()
        # With no time at all each task is looked at once, as `wait` does.
        over = now >= self._ends_at and (self._ends_at > self._began or self._heap[0][2].started_at > 0.0)
        if self._refusal is not None or over:
            _, _, job = heapq.heappop(self._heap)
            error = self._refusal or job.wait.expired(job.last)
            return Outcome(job.wait.task_id, job.last, error)
        due = self._heap[0][0]
        if self._paused_until > now or due > now:
            until = min(max(due, self._paused_until), self._ends_at)
            if until >= self._watched_until:
                return Rest(math.inf)
            self._watched_until = until
            return Rest(until)
        if self._in_flight >= self._allowed:
            return Rest(math.inf)
        self._in_flight += 1
        return heapq.heappop(self._heap)[2]

    def woke(self, rest: Rest) -> None:
        """Note that a worker rests no longer."""
        if rest.until == self._watched_until:
            self._watched_until = math.inf

    @property
    def wants_another(self) -> bool:
        """Whether a worker that rests should look: something waits, and nobody sleeps until it is due."""
        return bool(self._heap) and math.isinf(self._watched_until)

    def advance(self, job: Job, answer: Answer) -> Send | Outcome | None:
        """Go on with a look: return what it wishes to send, or how the task ended, or None where it must wait."""
        if job.flow is None:
            job.started_at = self._runtime.clock()
            job.flow = self._ask(job.wait.task_id, job.wait.span(job.state, job.started_at))
        try:
            effect = job.flow.send(answer)
        except StopIteration as end:
            job.flow = None
            self._in_flight -= 1
            return self._polled(job, end.value)
        if isinstance(effect, Sleep):
            self._in_flight -= 1
            self._pause(effect.seconds, for_all=effect.for_all)
            self._push(job, effect.seconds)
            return None
        return effect

    def _polled(self, job: Job, result: Task | Problem) -> Outcome | None:
        poll = Poll(job.started_at, self._runtime.clock(), result)
        job.state, decision = job.wait.step(job.state, poll, job.last, self._runtime.jitter())
        if isinstance(result, Task):
            job.last = result
            if poll.at >= self._paused_until:
                self._allowed = min(self._max_in_flight, self._allowed + 1)
        if isinstance(decision, PollAgain):
            self._pause(decision.seconds, for_all=isinstance(result, Problem) and result.is_for_all)
            self._push(job, decision.seconds)
            return None
        error: DuomiError | None = None
        if isinstance(decision, Failure):
            error = decision.error
            if isinstance(error, AuthenticationError):
                self._refusal = error
        else:
            try:
                raise_if_failed(decision)
            except DuomiError as failed:
                error = failed.with_traceback(None)
        return Outcome(job.wait.task_id, job.last, error)

    def _pause(self, seconds: float, *, for_all: bool) -> None:
        """Where the server asks for patience nobody asks it for that long; then one begins, and more follow as all is well."""
        if for_all:
            self._paused_until = max(self._paused_until, self._runtime.clock() + seconds)
            self._allowed = 1

    def _push(self, job: Job, seconds: float) -> None:
        self._pushed += 1
        heapq.heappush(self._heap, (self._runtime.clock() + seconds, self._pushed, job))

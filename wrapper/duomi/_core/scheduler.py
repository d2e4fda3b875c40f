"""Many tasks: whose turn it is.

A heap of jobs by the time at which each is due. A poll that must sleep goes back to the heap, so it occupies no
connection meanwhile.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence

import attrs

from duomi._core.poll import SUSPENDED, Failure, Poll, PollAgain, Poller, PollState, is_changed, raise_if_failed
from duomi._core.reply import Problem
from duomi._core.request import Answer, RequestFlow, Runtime, Send, Sleep, TimeLimit
from duomi._errors import AuthenticationError, DuomiError
from duomi._task import Outcome, Task


@attrs.define(eq=False)
class Job:
    """One task that is waited for.

    Attributes:
        poller: decides about its wait.
        state: what the wait remembers.
        last: the last task that was seen.
        changed: what the last poll found, if a person would see the difference.
        started_at: when the poll under way began.
        flow: the poll under way.
    """

    poller: Poller
    state: PollState
    last: Task | None = None
    changed: Task | None = None
    started_at: float = -math.inf
    flow: RequestFlow[Task] | None = None

    @property
    def task_id(self) -> str:
        """The id that was asked for."""
        return self.poller.task_id


class Scheduler:
    """Decides who is polled next, and what follows each poll.

    Args:
        pollers: one for each task, all with the same time limit.
        ask: makes the flow of one poll of a task, within a time limit.
        runtime: the clock and the jitter.
        max_in_flight: how many polls are under way at most.
    """

    def __init__(
        self,
        pollers: Sequence[Poller],
        ask: Callable[[str, TimeLimit], RequestFlow[Task]],
        runtime: Runtime,
        max_in_flight: int,
    ) -> None:
        self._runtime = runtime
        self._ask = ask
        began = runtime.clock()
        state = PollState(began)
        self._heap: list[tuple[float, int, Job]] = [(began, n, Job(each, state)) for n, each in enumerate(pollers)]
        self._pushed = len(pollers)
        self._ends_at = began + (pollers[0].timeout if pollers else 0.0)
        self._expected_by = math.inf
        # With no time at all each task is polled once, as `wait` does.
        self._resumed_at = began if self._ends_at == began else -math.inf
        self.max_in_flight = max_in_flight
        self._allowed = max_in_flight
        self._in_flight = 0
        self._paused_until = began
        self._refusal: AuthenticationError | None = None

    @property
    def is_done(self) -> bool:
        """Whether every task has ended."""
        return not self._heap and not self._in_flight

    def pop(self) -> Job | Outcome | float | None:
        """Return a job to poll, an outcome that needs no poll, the seconds until something is due, or None at the end.

        The seconds are `math.inf` if only the end of a poll under way can change anything.
        """
        if not self._heap:
            return math.inf if self._in_flight else None
        now = self._runtime.clock()
        if now >= self._ends_at and now > self._expected_by + SUSPENDED:
            # The process was suspended past the deadline; meanwhile the tasks may have finished.
            self._resumed_at = now
        self._expected_by = math.inf
        over = now >= self._ends_at and self._heap[0][2].started_at >= self._resumed_at
        if self._refusal is not None or over:
            _, _, job = heapq.heappop(self._heap)
            return Outcome(job.poller.task_id, job.last, self._refusal or job.poller.expired(job.last))
        due = max(self._heap[0][0], self._paused_until)
        if now < due and now < self._ends_at:
            self._expected_by = min(due, self._ends_at)
            return self._expected_by - now
        if self._in_flight >= self._allowed:
            return math.inf
        self._in_flight += 1
        return heapq.heappop(self._heap)[2]

    def advance(self, job: Job, answer: Answer) -> Send | Outcome | None:
        """Continue a poll: return what to send, or how the task ended, or None if it is polled again later."""
        if job.flow is None:
            job.started_at = self._runtime.clock()
            job.flow = self._ask(job.poller.task_id, job.poller.time_limit(job.state, job.started_at))
        job.changed = None
        try:
            effect = job.flow.send(answer)
        except StopIteration as end:
            job.flow = None
            self._in_flight -= 1
            return self._after_poll(job, end.value)
        if isinstance(effect, Sleep):
            self._in_flight -= 1
            self._pause(effect.seconds, for_all=effect.for_all)
            self._push(job, effect.seconds)
            return None
        return effect

    def _after_poll(self, job: Job, result: Task | Problem) -> Outcome | None:
        poll = Poll(job.started_at, self._runtime.clock(), result)
        if job.poller.was_suspended(job.state, poll):
            self._resumed_at = poll.ended_at
        job.state, decision = job.poller.step(job.state, poll, job.last, self._runtime.jitter())
        if isinstance(result, Task):
            if job.last is None or is_changed(result, job.last):
                job.changed = result
            job.last = result
            if poll.ended_at >= self._paused_until:
                self._allowed = min(self.max_in_flight, self._allowed + 1)
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
        return Outcome(job.poller.task_id, job.last, error)

    def _pause(self, seconds: float, *, for_all: bool) -> None:
        """Pause all tasks after a Retry-After; then one poll begins, and more follow as all goes well."""
        if for_all:
            self._paused_until = max(self._paused_until, self._runtime.clock() + seconds)
            self._allowed = 1

    def _push(self, job: Job, seconds: float) -> None:
        self._pushed += 1
        heapq.heappush(self._heap, (self._runtime.clock() + seconds, self._pushed, job))

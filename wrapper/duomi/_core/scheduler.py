"""Many tasks: whose turn it is.

A heap of jobs by the time at which each is due. A poll that must sleep goes back to the heap, so it occupies no
connection meanwhile.
"""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Sequence
from typing import Final

import attrs

from duomi._core.poll import SUSPENDED, Failure, Poll, PollAgain, Poller, PollState, is_changed, raise_if_failed
from duomi._core.reply import Problem
from duomi._core.request import Answer, RequestFlow, Requests, Send, Sleep
from duomi._errors import AuthenticationError, DuomiError
from duomi._payload import one_line
from duomi._task import Task

# So many polls are under way at first, and one more each so many seconds. So the first refusals come before all of
# them are.
AT_ONCE: Final = 16
APART: Final = 0.005

log = logging.getLogger("duomi")


@attrs.frozen(str=False)
class Outcome:
    """How one of many tasks ended."""

    __module__ = "duomi"

    task_id: str
    """The id that was asked for."""
    task: Task | None
    """The last task seen; `None` if no poll succeeded."""
    error: DuomiError | None
    """What `wait` would have raised; `None` if the task succeeded."""

    def result(self) -> Task:
        """Return the task, or raise the error, as a future does.

        Raises:
            DuomiError: what `wait` would have raised.
        """
        if self.error is not None:
            raise self.error.with_traceback(None)  # one error may be that of many outcomes
        if self.task is None:
            raise ValueError("an outcome has a task or an error")
        return self.task

    def __str__(self) -> str:
        """One line: the task, or why it did not end well."""
        return (
            str(self.task)
            if self.error is None
            else one_line(f"{self.task_id}: {type(self.error).__name__}: {self.error}")
        )


class Job:
    """One task that is waited for.

    Attributes:
        number: its place among the tasks.
        poller: decides about its wait.
        state: what the wait remembers.
        last: the last task that was seen.
        changed: what the last poll found, if a person would see the difference.
        started_at: when the poll under way began.
        sent_at: when a request was last sent for it.
        flow: the poll under way.
        effect: what the poll is to send.
    """

    __slots__ = ("changed", "effect", "flow", "last", "number", "poller", "sent_at", "started_at", "state")

    def __init__(self, number: int, poller: Poller, state: PollState) -> None:
        self.number: int = number
        self.poller: Poller = poller
        self.state: PollState = state
        self.last: Task | None = None
        self.changed: Task | None = None
        self.started_at: float = -math.inf
        self.sent_at: float = -math.inf
        self.flow: RequestFlow[Task] | None = None
        self.effect: Send | None = None

    @property
    def task_id(self) -> str:
        """The id that was asked for."""
        return self.poller.task_id


class Scheduler:
    """Decides who is polled next, and what follows each poll.

    Args:
        pollers: one for each task, all with the same time limit.
        requests: makes the flows, and has the rate of the client.
        max_in_flight: how many polls are under way at most.
    """

    def __init__(
        self,
        pollers: Sequence[Poller],
        requests: Requests,
        max_in_flight: int,
    ) -> None:
        self._requests = requests
        self._runtime = requests.runtime
        began = self._began = self._runtime.clock()
        self._outage = pollers[0].polling.outage if pollers else math.inf
        state = PollState(began)
        self._heap: list[tuple[float, int, Job]] = [(began, n, Job(n, each, state)) for n, each in enumerate(pollers)]
        self._pushed = len(pollers)
        self._ends_at = began + (pollers[0].timeout if pollers else 0.0)
        self._deadline_seen = False
        # With no time at all each task is polled once, as `wait` does.
        self._resumed_at = began if self._ends_at == began else -math.inf
        self.max_in_flight = max_in_flight
        self._in_flight = 0
        self._first_at = math.inf
        self._refusal: AuthenticationError | None = None

    @property
    def is_done(self) -> bool:
        """Whether every task has ended."""
        return not self._heap and not self._in_flight

    def pop(self) -> Job | Outcome | float | None:
        """Return a job whose poll begins, an outcome, the seconds until something is due, or None at the end.

        The seconds are `math.inf` if only the end of a poll under way can change anything.
        """
        while True:
            found = self._pop()
            if not isinstance(found, Job):
                return found
            # The request takes its turn now, before the next one is looked for.
            effect = self.advance(found, None)
            if isinstance(effect, Send):
                return found
            if effect is not None:
                return effect

    def _pop(self) -> Job | Outcome | float | None:
        if not self._heap:
            return math.inf if self._in_flight else None
        now = self._runtime.clock()
        if now >= self._ends_at and not self._deadline_seen:
            self._deadline_seen = True
            if now > self._ends_at + SUSPENDED or self._first_at == math.inf:
                # The process was suspended, or the caller asked for the first outcome, past the deadline; meanwhile the tasks
                # may have finished.
                self._resumed_at = now
        over = now >= self._ends_at and self._heap[0][2].sent_at >= self._resumed_at
        if self._refusal is not None or over:
            _, _, job = heapq.heappop(self._heap)
            had_turn, refusal = job.sent_at > -math.inf, self._requests.rate.last_refusal
            error = self._refusal or job.poller.expired(job.last, had_turn=had_turn, refusal=refusal)
            return Outcome(job.poller.task_id, job.last, error)
        if self._in_flight >= self.max_in_flight:
            return math.inf
        # Single calls of the client come first.
        turn = now + self._requests.rate.delay(now)
        self._first_at = min(self._first_at, now)
        if self._in_flight >= AT_ONCE:
            turn = max(turn, self._first_at + (self._in_flight - AT_ONCE + 1) * APART)
        turn = min(turn, max(now, self._requests.rate.gives_up_at(self._began, self._outage, now)))
        due = max(self._heap[0][0], turn) if now < self._ends_at else turn
        if now < due:
            return (min(due, self._ends_at) if now < self._ends_at else due) - now
        self._in_flight += 1
        return heapq.heappop(self._heap)[2]

    def advance(self, job: Job, answer: Answer) -> Send | Outcome | None:
        """Continue a poll: return what to send, or how the task ended, or None if it is polled again later."""
        if job.flow is None:
            job.started_at = self._runtime.clock()
            limit = job.poller.time_limit(job.state, job.started_at)
            job.flow = self._requests.poll(job.task_id, limit, in_batch=True)
        job.changed = job.effect = None
        try:
            effect = job.flow.send(answer)
        except StopIteration as end:
            job.flow = None
            self._in_flight -= 1
            return self._after_poll(job, end.value)
        if isinstance(effect, Sleep):
            log.debug("task %r sleeps %.1f s (%s)", job.task_id, effect.seconds, effect.reason)
            self._in_flight -= 1
            self._push(job, effect.seconds)
            return None
        job.effect, job.sent_at = effect, self._runtime.clock()
        return effect

    def _after_poll(self, job: Job, result: Task | Problem) -> Outcome | None:
        poll = Poll(job.started_at, self._runtime.clock(), result, self._requests.rate.answered_at)
        if job.poller.was_suspended(job.state, poll):
            self._resumed_at = poll.ended_at
        typical = self._requests.typical.of(result if isinstance(result, Task) else job.last)
        job.state, decision = job.poller.step(job.state, poll, job.last, self._runtime.jitter(), typical)
        if isinstance(result, Task):
            if job.last is None or is_changed(result, job.last):
                job.changed = result
            job.last = result
        if isinstance(decision, PollAgain):
            log.debug("task %r sleeps %.1f s (poll)", job.task_id, decision.seconds)
            self._push(job, decision.seconds)
            return None
        error: DuomiError | None = None
        if isinstance(decision, Failure):
            error = decision.error
            if isinstance(error, AuthenticationError):
                self._refusal = error
        else:
            self._requests.typical.add(decision, job.state.history)
            try:
                raise_if_failed(decision)
            except DuomiError as failed:
                error = failed.with_traceback(None)
        return Outcome(job.poller.task_id, job.last, error)

    def _push(self, job: Job, seconds: float) -> None:
        self._pushed += 1
        now = self._runtime.clock()
        due = now + seconds
        # Under a limited rate the last polls cannot all be made just before the deadline.
        spread_to = job.state.began + job.poller.last_poll_at - job.number / self._requests.rate.pace_at(now)
        if now < spread_to < due:
            due = spread_to
        heapq.heappush(self._heap, (due, self._pushed, job))

"""Every decision there is: when to ask again, how long to wait, when to give up.

Flows are generators: they yield what they wish for and are sent what came of it. They do no I/O and have no clock of
their own, so one flow serves the sync and the async client, and a test that feeds it by hand.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

import httpx

from duomi._core.request import Problem, Read, Reply, ReplyParser
from duomi._errors import DuomiError
from duomi._policy import Observation, Polling, Retry
from duomi._task import EmptyResultError, Task, TaskFailedError, TaskStalledError, TaskTimeoutError

T = TypeVar("T")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FINAL_POLL_MARGIN = 0.4
GRACE = 0.1
EMPTY_PAUSES = (1.0, 3.0, 6.0)
HISTORY_LAST = 7
STATE_KEPT = 40

log = logging.getLogger("duomi")


class Send(NamedTuple):
    """The wish to send a request; the answer is a `Reply` or the exception; `limit` seconds for all of it."""

    request: httpx.Request
    limit: float


class Sleep(NamedTuple):
    """The wish to wait for so many seconds; `for_all` where the server asks everybody for patience."""

    seconds: float
    for_all: bool = False


class Emit(NamedTuple):
    """The wish to hand a task to whoever watches."""

    task: Task


class TimeLimit(NamedTuple):
    """The moments on the clock after which no attempt but the first begins, and by which each attempt is over."""

    begins_by: float
    ends_at: float


FOREVER = TimeLimit(math.inf, math.inf)

Answer: TypeAlias = Reply | Exception | None
RequestFlow: TypeAlias = Generator[Send | Sleep, Answer, T | Problem]
WatchFlow: TypeAlias = Generator[Send | Sleep | Emit, Answer, None]


class Runtime(NamedTuple):
    """What a flow does not make itself: `clock` in monotonic seconds, `luck` from 0 to 1."""

    clock: Callable[[], float]
    jitter: Callable[[], float]


def request_flow(
    request: httpx.Request, judge: ReplyParser, read: Read[T], runtime: Runtime, retry: Retry, timeout: float,
    span: TimeLimit = FOREVER,
) -> RequestFlow[T]:  # fmt: skip
    """Send one request until it is answered, or until asking again is of no use.

    Any method but GET, HEAD and OPTIONS is sent again only where the server certainly did nothing with it: a repeated
    POST could buy a video twice.
    """
    safe = request.method in SAFE_METHODS
    attempt = 1
    while True:
        reply = yield Send(request, min(timeout, max(span.ends_at - runtime.clock(), GRACE)))
        if reply is None:
            raise TypeError("a flow that wishes to send must be sent a reply")
        answer = judge(reply, read)
        if not isinstance(answer, Problem):
            return answer
        pause = None
        if answer.transient and (safe or answer.not_sent or answer.is_rate_limit):
            pause = retry.delay(attempt, answer.retry_after, runtime.jitter())
        left = span.begins_by - runtime.clock()
        if pause is None or left <= 0:
            return answer
        pause = min(pause, left)
        log.info("%s; attempt %d of %d in %.1f s", answer.error, attempt + 1, retry.attempts, pause)
        yield Sleep(pause, for_all=answer.is_for_all)
        attempt += 1


class PollState(NamedTuple):
    """What a wait remembers between two looks; times are seconds on the clock of whoever keeps it.

    Attributes:
        began: when the wait began.
        history: the first look and the last 7, timed from `began`.
        moved_at: when state or progress last changed, timed from `began`.
        failing_since: when the first look of the present outage was begun, timed from `began`.
        empties: how many looks found the task done and without a result.
    """

    began: float
    history: tuple[Observation, ...] = ()
    last_change_at: float = 0.0
    outage_since: float | None = None
    empty_polls: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self._asdict() | {"history": [[poll.at, poll.state, poll.progress] for poll in self.history]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PollState:
        """Read what `to_json` wrote, in this version or in another that knows more or less."""
        known: dict[str, Any] = {name: values[name] for name in cls._fields if name in values}
        known["history"] = tuple(Observation(*poll[:3]) for poll in values.get("history", ()))
        return cls(**known)

    def with_task(self, at: float, task: Task) -> PollState:
        """Return the memory after a look that succeeded."""
        poll = Observation(at, task.state.value[:STATE_KEPT], task.progress)
        last = self.history[-1] if self.history else None
        moved = last is None or (last.state, last.progress) != (poll.state, poll.progress)
        return self._replace(
            history=(*self.history[:1], *self.history[1:][-HISTORY_LAST + 1 :], poll),
            last_change_at=at if moved else self.last_change_at,
            outage_since=None,
            empty_polls=self.empty_polls + (task.is_finished and not task.is_failed and not task.has_result),
        )


class Poll(NamedTuple):
    """One look at a task: when it was begun and when it was over, on the clock, and what came of it."""

    started_at: float
    at: float
    result: Task | Problem


class PollAgain(NamedTuple):
    """The verdict to look again after so many seconds."""

    seconds: float


class Failure(NamedTuple):
    """The verdict that the wait is over without a finished task."""

    error: DuomiError


Decision: TypeAlias = PollAgain | Task | Failure


class Poller(NamedTuple):
    """One wait: for which task, how it looks, how long it may take (`math.inf`: for ever).

    An outage before the first good answer ends it, unless it is `patient`: a look that is not tried again by itself needs that.
    """

    task_id: str
    polling: Polling
    timeout: float
    max_retry_after: float
    tolerate_initial_outage: bool = False

    @property
    def poll_by(self) -> float:
        """The latest moment at which a look begins, timed from the beginning: just before the deadline."""
        return self.timeout if math.isinf(self.timeout) else self.timeout - min(FINAL_POLL_MARGIN, self.timeout / 10)

    def span(self, state: PollState, now: float) -> TimeLimit:
        """Return how long a look that begins now may be tried again, and how long it may take."""
        begins_by = self.poll_by
        if state.history:
            outage_since = now - state.began if state.outage_since is None else state.outage_since
            begins_by = min(begins_by, outage_since + self.polling.outage)
        ends_at = min(self.timeout, begins_by + FINAL_POLL_MARGIN) + GRACE
        return TimeLimit(state.began + begins_by, state.began + ends_at)

    def expired(self, last: Task | None) -> DuomiError:
        """Return the error of a wait whose deadline has passed; `last` is the last task seen."""
        failure = self._empty(last) if last is not None and last.is_finished else self._timeout(last, None)
        return failure.error

    def step(self, state: PollState, poll: Poll, last: Task | None, jitter: float) -> tuple[PollState, Decision]:
        """Decide what follows from one look; `last` is the last task seen before it, `luck` is 0 to 1."""
        at = poll.at - state.began
        if isinstance(poll.result, Problem):
            return self._after_problem(state, poll, poll.result, last, jitter)
        task = poll.result
        state = state.with_task(at, task)
        if task.is_finished:
            if task.is_failed or task.has_result:
                return state, task
            if state.empty_polls > len(EMPTY_PAUSES) or at >= self.poll_by:
                return state, self._empty(task)
            return state, self._again(at, EMPTY_PAUSES[state.empty_polls - 1])
        if at >= self.poll_by:
            return state, self._timeout(task, None)
        stall = math.inf if self.polling.stall is None else self.polling.stall - (at - state.last_change_at)
        if stall <= 0:
            text = f"task {self.task_id}: no change of state or progress for {self.polling.stall:g} s ({_brief(task)})"
            return state, Failure(TaskStalledError(f"{text}; {_resume(self.task_id)}", self.task_id, dict(task.raw)))
        return state, self._again(at, min(self._delay(state, jitter), stall))

    def _after_problem(
        self, state: PollState, poll: Poll, problem: Problem, last: Task | None, jitter: float
    ) -> tuple[PollState, Decision]:
        at = poll.at - state.began
        if not problem.transient:
            return state, Failure(problem.to_exception())
        if at >= self.poll_by:
            ended = last is not None and last.is_finished
            return state, self._empty(last, problem) if last and ended else self._timeout(last, problem)
        if not state.history and not self.tolerate_initial_outage:
            return state, Failure(problem.to_exception())
        since = poll.started_at - state.began if state.outage_since is None else state.outage_since
        left = since + self.polling.outage - at
        if left <= 0:
            return state, Failure(problem.to_exception())
        asked = problem.retry_after
        pause = self._delay(state, jitter) if asked is None else min(asked, self.max_retry_after)
        return state._replace(outage_since=since), self._again(at, min(pause, left))

    def _delay(self, state: PollState, jitter: float) -> float:
        # Where nothing was seen, it is as if the task had just begun.
        delay = self.polling.delay(state.history or (Observation(0.0, "", None),))
        return delay if self.polling.interval is not None else delay * (0.9 + 0.2 * jitter)

    def _again(self, at: float, pause: float) -> PollAgain:
        return PollAgain(max(0.0, min(pause, self.poll_by - at)))

    def _timeout(self, task: Task | None, problem: Problem | None) -> Failure:
        shown = "never seen" if task is None else _brief(task)
        text = f"task {self.task_id}: not finished after {self.timeout:g} s ({shown}); {_resume(self.task_id)}"
        error = TaskTimeoutError(text, self.task_id, None if task is None else dict(task.raw))
        error.__cause__ = None if problem is None else problem.error
        return Failure(error)

    def _empty(self, task: Task, problem: Problem | None = None) -> Failure:
        text = f"task {self.task_id}: {_brief(task)}, but without a video or character"
        error = EmptyResultError(text, self.task_id, dict(task.raw))
        error.__cause__ = None if problem is None else problem.error
        return Failure(error)


def watch_flow(wait: Poller, ask: Callable[[TimeLimit], RequestFlow[Task]], runtime: Runtime) -> WatchFlow:
    """Look at a task until it is finished, and show each change; a task that failed is shown, not raised."""
    state = PollState(runtime.clock())
    last: Task | None = None
    shown: Task | None = None
    while True:
        started_at = runtime.clock()
        result = yield from ask(wait.span(state, started_at))
        state, decision = wait.step(state, Poll(started_at, runtime.clock(), result), last, runtime.jitter())
        if isinstance(result, Task):
            last = result
            if not result.is_finished and (shown is None or _visible(result) != _visible(shown)):
                shown = result
                yield Emit(result)
        if isinstance(decision, Task):
            yield Emit(decision)
            return
        if isinstance(decision, Failure):
            raise decision.error
        yield Sleep(decision.seconds)


def raise_if_failed(task: Task | None) -> Task:
    """Return the task that a watch ended with, or raise that it failed."""
    if task is None:
        raise TypeError("a watch ends with a task, or raises")
    if task.is_failed:
        text = f"task {task.task_id} failed: {task.message or 'the vendor gives no reason'}"
        raise TaskFailedError(text, task.task_id, dict(task.raw))
    return task


def _visible(task: Task) -> tuple[object, ...]:
    return task.state, task.progress, task.message, task.videos, task.characters


def _brief(task: Task) -> str:
    return f"{task.state.value}" + ("" if task.progress is None else f", {task.progress}%")


def _resume(task_id: str) -> str:
    import shlex  # noqa: PLC0415  (dear to import, and seldom needed)

    return f"the task goes on at the vendor's side; resume with `duomi wait {shlex.quote(task_id)}` or client.wait(...)"

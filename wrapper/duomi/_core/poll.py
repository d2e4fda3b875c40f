"""One task: when to poll again, and what ends the wait.

Flows yield effects (send, sleep, emit) and are sent their results, so one flow serves the sync and the async client, and
a test that feeds it by hand. Celery calls `Poller.step` directly, one poll per message.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self, TypeAlias

from duomi._core.names import quoted
from duomi._core.reply import BodyTooLargeError, Problem
from duomi._core.request import Answer, Requests, Send, Sleep, TimeLimit
from duomi._errors import DuomiError
from duomi._payload import NO_REASON, STATE_KEPT, one_line, read_http_date
from duomi._policy import Observation, Polling
from duomi._task import EmptyResultError, Task, TaskFailedError, TaskStalledError, TaskTimeoutError

FINAL_POLL_MARGIN: Final = 0.4
EMPTY_PAUSES: Final = (1.0, 3.0, 6.0)
NOT_FOUND_PAUSES: Final = (1.0, 2.0)
AFTER_PROBLEM: Final = 12.0
REFUSED_BACKOFF: Final = 0.5
REFUSED_BACKOFF_MAX: Final = 8.0
_GRACE: Final = 0.1
SUSPENDED: Final = 0.5
_LATE_POLL: Final = 5.0
_HISTORY_LAST: Final = 7
_DAY: Final = 86_400.0


class Emit(NamedTuple):
    """The effect of handing a task to the caller who watches it."""

    task: Task


WatchFlow: TypeAlias = Generator[Send | Sleep | Emit, Answer, None]


class PollState(NamedTuple):
    """What a wait remembers between two polls; seconds on the clock of its keeper.

    Attributes:
        began: when the wait began.
        history: the first poll and the last 7, by the age of the task.
        age: how old the task was when the wait began, in seconds; 0 if the answers do not tell it, None before the first.
        last_change_at: when state or progress last changed, timed from `began`.
        outage_since: when the first poll of the present outage began, timed from `began`.
        empty_polls: how many polls found the task finished without a result.
        refusals: how many polls in a row met a rate limit.
        not_found: how many polls in a row found no such task.
    """

    began: float
    history: tuple[Observation, ...] = ()
    last_change_at: float = 0.0
    outage_since: float | None = None
    empty_polls: int = 0
    refusals: int = 0
    not_found: int = 0
    age: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self._asdict() | {"history": [[each.at, each.state, each.progress] for each in self.history]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, in this version or in another one with more or fewer fields."""
        known: dict[str, Any] = {name: values[name] for name in cls._fields if name in values}
        known["history"] = tuple(Observation(*each[:3]) for each in values.get("history", ()))
        return cls(**known)

    def with_task(self, at: float, task: Task) -> Self:
        """Return the state after a poll that succeeded."""
        age = _age(task, at) if self.age is None else self.age
        observed = Observation(at + age, task.state.value[:STATE_KEPT], task.progress)
        last = self.history[-1] if self.history else None
        changed = last is None or (last.state, last.progress) != (observed.state, observed.progress)
        return self._replace(
            history=(*self.history[:1], *self.history[1:][-_HISTORY_LAST + 1 :], observed),
            last_change_at=at if changed else self.last_change_at,
            age=age,
            outage_since=None,
            refusals=0,
            not_found=0,
            empty_polls=self.empty_polls + (task.is_finished and not task.is_failed and not task.has_result),
        )


class Poll(NamedTuple):
    """One poll.

    Attributes:
        started_at: when it began, on the clock.
        ended_at: when it ended.
        result: the task, or the problem.
        answered_at: when any call of the client was last answered well.
    """

    started_at: float
    ended_at: float
    result: Task | Problem
    answered_at: float = -math.inf


class PollAgain(NamedTuple):
    """The decision to poll again after so many seconds."""

    seconds: float


class Failure(NamedTuple):
    """The decision that the wait ends without a finished task."""

    error: DuomiError


Decision: TypeAlias = PollAgain | Task | Failure


class Poller(NamedTuple):
    """Decides about one wait.

    Attributes:
        task_id: the id that was asked for.
        polling: how the wait polls.
        timeout: seconds that the wait may take; `math.inf` forever.
        max_retry_after: seconds; a longer Retry-After is cut to this.
        tolerate_initial_outage: whether an outage before the first good poll is tolerated, too. It must be if a poll is
            a single attempt.
        max_rate: requests a second that the client starts at most.
    """

    task_id: str
    polling: Polling
    timeout: float
    max_retry_after: float
    tolerate_initial_outage: bool = False
    max_rate: float = math.inf

    @property
    def last_poll_at(self) -> float:
        """The latest time at which a poll begins, from the beginning of the wait: just before its deadline."""
        return self.timeout if math.isinf(self.timeout) else self.timeout - min(FINAL_POLL_MARGIN, self.timeout / 10)

    def _was_last(self, at: float) -> bool:
        """Tell whether a poll that ended at a time was the last one; a clock counts in steps."""
        return at >= self.last_poll_at - 0.001

    def time_limit(self, state: PollState, now: float) -> TimeLimit:
        """Return how long a poll that begins now may be tried again, and when it must be over."""
        if now - state.began >= self.timeout:
            # The process was suspended past the deadline, or there is no time at all: one attempt.
            return TimeLimit(now, now + _LATE_POLL)
        begins_by = self.last_poll_at
        if state.history:
            outage_since = now - state.began if state.outage_since is None else state.outage_since
            begins_by = min(begins_by, outage_since + self.polling.outage)
        ends_at = min(self.timeout, begins_by + FINAL_POLL_MARGIN) + _GRACE
        began, deadline = state.began, state.began + self.timeout + _GRACE
        return TimeLimit(
            began + begins_by,
            began + ends_at,
            began + self.last_poll_at,
            deadline,
            _seen_at(state),
            self.polling.outage,
        )

    def expired(self, last: Task | None, *, had_turn: bool = True, refusal: Exception | None = None) -> DuomiError:
        """Return the error of a wait whose deadline has passed; `last` is the last task that was seen."""
        if last is not None and last.is_finished:
            return self._empty(last).error
        error = self._timed_out(last, None, had_turn=had_turn, refusal=refusal).error
        error.__cause__ = refusal
        return error

    def step(
        self, state: PollState, poll: Poll, last: Task | None, jitter: float, typical: Sequence[float] = ()
    ) -> tuple[PollState, Decision]:
        """Decide what follows one poll.

        `last` is the last task that was seen before it, `jitter` is 0 to 1, `typical` is how long earlier tasks took.
        """
        at = poll.ended_at - state.began
        if self.was_suspended(state, poll):
            return state, PollAgain(0.0)
        if isinstance(poll.result, Problem):
            return self._after_problem(state, poll, poll.result, last, jitter, typical)
        task = poll.result
        state = state.with_task(at, task)
        if task.is_finished:
            if task.is_failed or task.has_result:
                return state, task
            if state.empty_polls > len(EMPTY_PAUSES) or self._was_last(at):
                return state, self._empty(task)
            return state, self._again(at, EMPTY_PAUSES[state.empty_polls - 1])
        if self._was_last(at):
            return state, self._timed_out(task, None)
        stall = math.inf if self.polling.stall is None else self.polling.stall - (at - state.last_change_at)
        if stall <= 0:
            text = f"task {self.task_id}: no change of state or progress for {self.polling.stall:g} s ({_brief(task)})"
            return state, Failure(TaskStalledError(f"{text}; {_resume(self.task_id)}", self.task_id, dict(task.raw)))
        return state, self._again(at, min(self._delay(state, jitter, typical), stall))

    def was_suspended(self, state: PollState, poll: Poll) -> bool:
        """Tell whether the process slept past the deadline during a poll, so that its result is old."""
        if isinstance(poll.result, Task) and poll.result.is_finished:
            return False
        began_in_time = poll.started_at - state.began < self.last_poll_at
        return began_in_time and poll.ended_at - state.began > self.timeout + SUSPENDED > SUSPENDED

    def _after_problem(
        self, state: PollState, poll: Poll, problem: Problem, last: Task | None, jitter: float,
        typical: Sequence[float],
    ) -> tuple[PollState, Decision]:  # fmt: skip
        at = poll.ended_at - state.began
        if problem.is_rate_limit:
            return self._after_rate_limit(state, poll, problem, last, jitter)
        if problem.is_not_found:
            # A replica of the server may not have the task yet.
            times = state.not_found + 1
            if times > len(NOT_FOUND_PAUSES) or self._was_last(at):
                return state, Failure(problem.to_exception())
            return state._replace(not_found=times), self._again(at, NOT_FOUND_PAUSES[times - 1])
        # Once the task has been seen, too large an answer in its place is as temporary as any other.
        if not problem.transient and not (state.history and isinstance(problem.cause, BodyTooLargeError)):
            return state, Failure(problem.to_exception())
        if self._was_last(at):
            ended = last is not None and last.is_finished
            return state, self._empty(last, problem) if last and ended else self._timed_out(last, problem)
        if not state.history and not self.tolerate_initial_outage:
            return state, Failure(problem.to_exception())
        # To queue for the client's own rate is no outage.
        sent_at = poll.started_at if problem.sent_at is None else problem.sent_at
        since = sent_at - state.began if state.outage_since is None else state.outage_since
        left = since + self.polling.outage - at
        if left <= 0:
            return state, Failure(problem.to_exception())
        state = state._replace(outage_since=since, not_found=0, refusals=0)
        delay = self._delay(state, jitter, typical)
        if self.polling.interval is None:
            delay = min(delay, AFTER_PROBLEM)
        return state, self._again(at, min(max(delay, self._asked(problem)), left))

    def _after_rate_limit(
        self, state: PollState, poll: Poll, problem: Problem, last: Task | None, jitter: float
    ) -> tuple[PollState, Decision]:
        """Wait until the limit lets a poll through: it is an outage only if no call of the client is answered."""
        at = poll.ended_at - state.began
        since = max(_seen_at(state), poll.answered_at) - state.began
        left = since + self.polling.outage - at
        if left <= 0:
            said = str(problem.error).partition("; ")[2] or problem.error
            text = f"rate limited for {at - since:.0f} s without an answer; {said}"
            return state, Failure(problem.saying(text).to_exception())
        if self._was_last(at):
            return state, self._timed_out(last, problem, had_turn=not problem.not_sent, refusal=problem.error)
        backoff = jitter * min(REFUSED_BACKOFF * 2.0 ** min(state.refusals, 10), REFUSED_BACKOFF_MAX)
        delay = 0.0 if problem.not_sent else max(backoff, self._asked(problem))
        return state._replace(refusals=state.refusals + 1, not_found=0), self._again(at, min(delay, left))

    def _asked(self, problem: Problem) -> float:
        return min(problem.retry_after or 0.0, self.max_retry_after)

    def _delay(self, state: PollState, jitter: float, typical: Sequence[float]) -> float:
        # Without any observation it is as if the task had just begun.
        delay = self.polling.delay(state.history or (Observation(0.0, "", None),), typical)
        return delay if self.polling.interval is not None else delay * (0.9 + 0.2 * jitter)

    def _again(self, at: float, delay: float) -> PollAgain:
        return PollAgain(max(0.0, min(delay, self.last_poll_at - at)))

    def _timed_out(
        self, task: Task | None, problem: Problem | None, *, had_turn: bool = True, refusal: Exception | None = None
    ) -> Failure:
        shown = "no poll succeeded" if task is None else _brief(task)
        if not had_turn and self.max_rate < math.inf:
            polls = int(self.max_rate * self.timeout)
            shown += f"; max_rate {self.max_rate:g}/s allows {polls:,} polls in {self.timeout:,g} s"
        elif not had_turn and refusal is not None:
            shown += "; the server's rate limit left no turn for it"
        elif not had_turn:
            shown += "; the other tasks left no turn for it"
        text = f"task {self.task_id}: not finished after {self.timeout:g} s ({shown}); {_resume(self.task_id)}"
        error = TaskTimeoutError(text, self.task_id, None if task is None else dict(task.raw))
        error.__cause__ = None if problem is None else problem.error
        return Failure(error)

    def _empty(self, task: Task, problem: Problem | None = None) -> Failure:
        text = f"task {self.task_id}: {_brief(task)}, but without a video or character"
        error = EmptyResultError(text, self.task_id, dict(task.raw))
        error.__cause__ = None if problem is None else problem.error
        return Failure(error)


def _seen_at(state: PollState) -> float:
    """Return when a wait was last answered well, or began, on the clock."""
    seen_at = state.history[-1].at - (state.age or 0.0) if state.history else 0.0
    return state.began + max(0.0, seen_at)


def _age(task: Task, at: float) -> float:
    """Return how old a task was when its wait began: by the server's clock alone, and only if that makes sense."""
    sent_at = read_http_date(task._sent_at)
    if sent_at is None or task.created_at is None:
        return 0.0
    age = (sent_at - task.created_at).total_seconds()
    return max(0.0, age - at) if 0.0 <= age <= _DAY else 0.0


def watch_flow(poller: Poller, requests: Requests) -> WatchFlow:
    """Poll a task until it is finished, and emit each change; a task that failed is emitted, not raised."""
    runtime = requests.runtime
    state = PollState(runtime.clock())
    last: Task | None = None
    emitted: Task | None = None
    while True:
        started_at = runtime.clock()
        result = yield from requests.poll(poller.task_id, poller.time_limit(state, started_at))
        poll = Poll(started_at, runtime.clock(), result, requests.rate.answered_at)
        typical = requests.typical.of(result if isinstance(result, Task) else last)
        state, decision = poller.step(state, poll, last, runtime.jitter(), typical)
        decided_at = runtime.clock()
        if isinstance(result, Task):
            last = result
            if not result.is_finished and (emitted is None or is_changed(result, emitted)):
                emitted = result
                yield Emit(result)
        if isinstance(decision, Task):
            requests.typical.add(decision, state.history)
            yield Emit(decision)
            return
        if isinstance(decision, Failure):
            raise decision.error
        # What the caller did with the task is part of the pause.
        yield Sleep(max(0.0, decision.seconds - (runtime.clock() - decided_at)), "poll")


def is_changed(task: Task, before: Task) -> bool:
    """Tell whether a person would see a difference between two polls of one task."""
    return _visible(task) != _visible(before)


def raise_if_failed(task: Task | None) -> Task:
    """Return the task that a watch ended with, or raise that it failed."""
    if task is None:
        raise TypeError("a watch ends with a task, or raises")
    if task.is_failed:
        text = f"task {task.task_id} failed: {one_line(task.message) or NO_REASON}"
        raise TaskFailedError(text, task.task_id, dict(task.raw))
    return task


def _visible(task: Task) -> tuple[object, ...]:
    return task.state, task.progress, task.message, task.videos, task.characters


def _brief(task: Task) -> str:
    return one_line(task.state.value) + ("" if task.progress is None else f", {task.progress}%")


def _resume(task_id: str) -> str:
    return f"the task continues at the vendor; resume with `duomi wait {quoted(task_id)}` or client.wait(...)"

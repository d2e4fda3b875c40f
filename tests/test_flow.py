"""Flows make the right decisions; the tests feed them by hand, without network, sleep or event loop."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from duomi import (
    APIConnectionError,
    APIResponseError,
    DuomiError,
    EmptyResultError,
    NotFoundError,
    Observation,
    Polling,
    RateLimitError,
    Retry,
    ServerError,
    Task,
    TaskError,
    TaskFailedError,
    TaskStalledError,
    TaskTimeoutError,
)
from duomi._core.poll import Emit, Failure, Poll, PollAgain, Poller, PollState, raise_if_failed, watch_flow
from duomi._core.reply import Problem, Reply, ReplyParser, read_task, retry_after
from duomi._core.request import Runtime, Send, Sleep, request_flow
from duomi._payload import differences
from harness import payload

REQUEST = httpx.Request("GET", "https://duomiapi.com/v1/videos/tasks/t")
PARSER = ReplyParser("GET /v1/videos/tasks/t", str)


def reply(value: Any, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, httpx.Headers({"content-type": "application/json"} | named), json.dumps(value).encode())


class World:
    """Feeds a wait with replies, on a clock that moves only during sleeps and requests; each reply takes `takes` seconds."""

    def __init__(
        self, replies: Iterable[Any], polling: Polling, *, takes: float = 0.0, timeout: float | None = None
    ) -> None:
        self.now = 1_000.0
        self.takes = takes
        self.replies = list(replies)
        self.sleeps: list[float] = []
        self.emitted: list[Task] = []
        self.polled_at: list[float] = []
        runtime = Runtime(lambda: self.now, lambda: 0.5)
        retry = Retry(attempts=2, backoff=1.0)
        limit = polling.timeout if timeout is None else timeout
        poller = Poller("t", polling, math.inf if limit is None else limit, retry.max_retry_after)
        read = read_task("t", strict=False)
        self.flow = watch_flow(
            poller, lambda limit: request_flow(REQUEST, PARSER, read, runtime, retry, 30.0, limit), runtime
        )

    def run(self) -> World:
        answer: Any = None
        while True:
            try:
                effect = self.flow.send(answer)
            except StopIteration:
                return self
            answer = None
            match effect:
                case Sleep(seconds):
                    self.sleeps.append(seconds)
                    self.now += seconds
                case Emit(task):
                    self.emitted.append(task)
                case Send():
                    self.polled_at.append(self.now - 1_000.0)
                    self.now += min(self.takes, effect.limit)
                    answer = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def fail(self, kind: type[DuomiError]) -> Any:
        with pytest.raises(kind) as caught:
            self.run()
        return caught.value


RUNNING, DONE, EMPTY = reply(payload("running")), reply(payload("succeeded")), reply(payload("succeeded-without-url"))
RESET = httpx.ReadError("reset")


def test_a_wait_polls_before_it_sleeps() -> None:
    """A wait polls immediately, and does not sleep if the task is finished."""
    world = World([DONE], Polling()).run()

    assert (world.polled_at, world.sleeps) == ([0.0], [])


def test_a_wait_polls_once_more_just_before_its_deadline() -> None:
    """The last pause is cut short, so that one more poll happens before the deadline."""
    world = World([RUNNING], Polling(interval=7.0, timeout=10.0))

    error = world.fail(TaskTimeoutError)

    assert world.polled_at == pytest.approx([0.0, 7.0, 9.6])
    assert error.task.progress == 45
    assert "continues" in str(error)


def test_a_wait_continues_through_an_outage_after_a_good_answer() -> None:
    """A wait survives an outage longer than the retries of one call, up to `Polling.outage` seconds."""
    world = World([RUNNING, *[RESET] * 8, DONE], Polling(interval=5.0)).run()

    assert world.emitted[-1].is_succeeded


def test_a_long_outage_ends_the_wait_with_the_last_error() -> None:
    """After `Polling.outage` seconds without a good answer the wait raises the last error."""
    world = World([RUNNING, RESET], Polling(interval=5.0, outage=60.0))

    world.fail(APIConnectionError)

    assert 60.0 <= world.now - 1_000.0 - 5.0 <= 62.0


def test_tolerate_initial_outage_continues_before_the_first_good_answer() -> None:
    """With `tolerate_initial_outage` a wait pauses for a Retry-After or its schedule, up to `Polling.outage` seconds."""
    poller = Poller("t", Polling(outage=60.0), 600.0, 20.0, tolerate_initial_outage=True)
    limited = Reply(429, httpx.Headers({"retry-after": "700"}), b"{}")
    answers: list[Reply | Exception] = [RESET, limited, *[RESET] * 5]
    state, at, pauses = PollState(0.0), 0.0, list[float]()
    for answer in answers:
        problem = PARSER(answer, read_task("t", strict=False))
        state, decision = poller.step(PollState.from_json(state.to_json()), Poll(at, at, problem), None, 0.5)
        if isinstance(decision, Failure):
            break
        assert isinstance(decision, PollAgain)
        pauses.append(decision.seconds)
        at += decision.seconds

    assert isinstance(decision, Failure)
    assert pauses == [12.0, 20.0, 12.0, 12.0, 4.0]


def test_a_poll_state_of_another_version_is_read() -> None:
    """Unknown fields of a newer version are ignored, and missing fields of an older one have their defaults."""
    newer = PollState(5.0).with_task(1.0, Task.from_payload(payload("running"))).to_json() | {"colour": "red"}
    newer["history"] = [[*poll, "more"] for poll in newer["history"]]

    assert PollState.from_json(newer).history == (Observation(1.0, "running", 45),)
    assert PollState.from_json({"began": 5.0}) == PollState(5.0)


def test_before_the_first_good_answer_only_retry_applies() -> None:
    """If the service is down from the start, a wait ends after as many attempts as one call."""
    world = World([RESET], Polling())

    world.fail(APIConnectionError)

    assert len(world.polled_at) == 2


def test_a_timeout_without_a_good_answer_has_a_cause() -> None:
    """A wait that never saw its task raises a timeout without a task, caused by the last error."""
    world = World([RESET], Polling(timeout=0.4))

    error = world.fail(TaskTimeoutError)

    assert error.task is None
    assert isinstance(error.__cause__, APIConnectionError)


def test_a_permanent_error_ends_a_wait_immediately() -> None:
    """A 404 in the middle of a wait ends it without another poll."""
    world = World([RUNNING, reply({"code": 404, "msg": "gone"})], Polling())

    world.fail(NotFoundError)

    assert len(world.polled_at) == 2


def test_a_wait_sleeps_for_a_retry_after_up_to_its_maximum() -> None:
    """A wait sleeps as long as Retry-After says, but not longer than `max_retry_after`."""
    world = World([RUNNING, reply({}, 429, retry_after="3600"), DONE], Polling(interval=1.0)).run()

    assert world.sleeps == [1.0, 60.0]


def test_a_stalled_task_ends_the_wait() -> None:
    """If nothing changes for `stall` seconds, the wait ends and says that the task continues."""
    world = World([reply(payload("pending"))], Polling(interval=5.0, stall=12.0))

    error = world.fail(TaskStalledError)

    assert world.now - 1_000.0 == 12.0
    assert "continues" in str(error)


def test_an_empty_result_is_polled_again() -> None:
    """A finished task without a clip is polled again after 1, 3 and 6 seconds, and then the wait fails."""
    late = World([EMPTY, EMPTY, DONE], Polling()).run()
    never = World([EMPTY], Polling())
    never.fail(EmptyResultError)

    assert late.sleeps == [1.0, 3.0]
    assert never.sleeps == [1.0, 3.0, 6.0]


def test_a_deadline_after_an_empty_result_is_no_timeout() -> None:
    """A deadline after the task finished raises `EmptyResultError`, because nothing is running any more."""
    World([EMPTY], Polling(timeout=2.0)).fail(EmptyResultError)


def test_a_hanging_request_ends_at_the_deadline() -> None:
    """An attempt never gets more time than the wait has left."""
    world = World([TimeoutError()], Polling(timeout=10.0), takes=30.0)

    world.fail(TaskTimeoutError)

    assert world.now - 1_000.0 <= 10.5


def test_a_poll_state_stays_small_and_survives_json() -> None:
    """The state of a wait has a bounded size, and a round trip through JSON does not change it."""
    state = PollState(5.0)
    for poll in range(1_000):
        state = state.with_task(float(poll), Task.from_payload({"state": "running", "progress": poll % 100}))

    assert PollState.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert [observation.at for observation in state.history] == [0.0, *range(993, 1_000)]
    assert len(json.dumps(state.to_json())) < 600


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0), ("1.5", 1.5), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None), ("-1", None), ("nan", None),
        ("inf", None), ("1e309", None), ("9" * 400, None), ("", None), (" ", None), (None, None),
    ],
)  # fmt: skip
def test_an_invalid_retry_after_is_ignored(text: str | None, seconds: float | None) -> None:
    """Retry-After is read as seconds, decimals or an HTTP date, and anything else is ignored."""
    assert retry_after(text) == seconds


def test_back_off_doubles_up_to_its_maximum_with_full_jitter() -> None:
    """Back-off has full jitter, doubles with each attempt, and stops at its maximum."""
    retry = Retry(attempts=99)

    assert [retry.delay(attempt, None, 1.0) for attempt in (1, 2, 3, 4, 5, 6, 90)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert retry.delay(3, None, 0.0) == 0.0
    assert retry.delay(99, None, 1.0) is None


@pytest.mark.parametrize("error", [httpx.LocalProtocolError("x"), httpx.UnsupportedProtocol("x")])
def test_a_request_that_cannot_be_written_is_not_retried(error: Exception) -> None:
    """An error of our own request is permanent, because it would fail the same way again."""
    assert not PARSER.of_exception(error).transient


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimitError), (503, ServerError)])
def test_an_error_message_names_the_call_and_quotes_the_vendor(status: int, kind: type[DuomiError]) -> None:
    """An error message has the method, the path, the status and the vendor's own message."""
    problem = PARSER(reply({"error": {"message": "busy"}}, status), read_task("t", strict=False))

    assert isinstance(problem, Problem)
    assert type(problem.error) is kind
    assert str(problem.error) == f"GET /v1/videos/tasks/t: status {status}: busy"


def test_the_adaptive_schedule_stays_within_3_and_30_seconds() -> None:
    """The adaptive schedule is a pure function, and pauses between 3 and 30 seconds after any history."""
    import itertools

    states = ("pending", "running", "dreaming")
    values: tuple[int | None, ...] = (None, 0, 5, 50, 95, 100)
    for state, first, second, third in itertools.product(states, values, values, values):
        history = [Observation(4.0 * n, state, progress) for n, progress in enumerate((first, second, third, third))]

        assert 3.0 <= Polling().delay(history) <= 30.0
        assert Polling().delay(history) == Polling().delay(tuple(history))
    assert Polling().delay([]) == 0.0
    assert Polling(interval=7.0).delay([Observation(0.0, "pending", None)]) == 7.0


@pytest.mark.parametrize(
    ("history", "seconds"),
    [
        ([(0, "pending", 0)], 30.0),
        ([(0, "pending", 0), (30, "running", 0)], 12.0),
        ([(0, "running", None), (100, "running", None)], 4.5),
        ([(0, "running", None), (900, "running", None)], 6.0),
        ([(0, "running", 0), (40, "running", 50)], 16.0),
        ([(0, "running", 0), (40, "running", 20)], 20.0),
        ([(0, "running", 0), (40, "running", 98)], 3.0),
        ([(0, "running", 0), (90, "running", 90), (95, "running", 90)], 3.0),
        ([(0, "running", 0), (40, "running", 95), (160, "running", 95)], 4.8),
    ],
)
def test_the_adaptive_schedule_follows_the_history(
    history: list[tuple[float, str, int | None]], seconds: float
) -> None:
    """The schedule polls rarely in the queue, by the time left while progress moves, and by the age without progress."""
    assert Polling().delay([Observation(*poll) for poll in history]) == pytest.approx(seconds)


def test_a_flow_without_its_reply_raises_a_type_error() -> None:
    """A driver that forgets the reply, or a watch that ends without a task, raises TypeError."""
    runtime = Runtime(lambda: 0.0, lambda: 0.5)
    flow = request_flow(REQUEST, PARSER, read_task("t", strict=False), runtime, Retry(), 30.0)
    effect = next(flow)

    assert isinstance(effect, Send)
    with pytest.raises(TypeError, match="is a reply"):
        flow.send(None)
    with pytest.raises(TypeError, match="ends with a task"):
        raise_if_failed(None)


def test_a_null_that_the_contract_allows_is_no_difference() -> None:
    """If the contract allows null, a null is not a deviation."""
    assert list(differences(None, {"type": "string", "nullable": True}, "/a")) == []
    assert list(differences(None, {"type": ["string", "null"]}, "/a")) == []
    assert [pointer for pointer, *_ in differences(None, {"type": "string"}, "/a")] == ["/a"]


def test_a_payload_too_deep_for_json_is_rejected_without_a_crash() -> None:
    """A payload nested too deep to be written as JSON raises `APIResponseError` with an empty body."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(APIResponseError) as caught:
        Task.from_payload({"id": deep})

    assert caught.value.body == ""
    while deep:
        deep = deep[0]


def test_a_whole_float_is_no_deviation_from_an_integer() -> None:
    """A progress of 100.0 fits the contract, because JSON has one kind of number, and only the state is a deviation."""
    task = Task.from_payload(payload("succeeded") | {"state": "success", "progress": 100.0})

    assert [line.partition(":")[0] for line in task.deviations] == ["/state"]
    assert task.to_model().state.value == "success"


@pytest.mark.parametrize("kind", [TaskFailedError, TaskTimeoutError, TaskStalledError, EmptyResultError])
def test_an_error_created_again_from_its_args_has_the_same_task(kind: type[TaskError]) -> None:
    """A copy of a task error, by its args or by pickle, has the same task and id."""
    error = kind("text", "asked-for", payload("running"))

    for copy in (type(error)(*error.args), pickle.loads(pickle.dumps(error))):
        assert copy == error
        assert (copy.task, copy.task_id) == (Task.from_payload(payload("running"), task_id="asked-for"), "asked-for")

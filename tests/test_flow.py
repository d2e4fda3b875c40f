"""The decisions, fed by hand: no network, no sleeping, no event loop."""

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
JUDGE = ReplyParser("GET /v1/videos/tasks/t", str)


def reply(value: Any, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, httpx.Headers({"content-type": "application/json"} | named), json.dumps(value).encode())


class World:
    """Feeds a wait with replies, on a clock that moves only as the flow sleeps; each reply takes `takes` seconds."""

    def __init__(
        self, replies: Iterable[Any], polling: Polling, *, takes: float = 0.0, timeout: float | None = None
    ) -> None:
        self.now = 1_000.0
        self.takes = takes
        self.replies = list(replies)
        self.sleeps: list[float] = []
        self.shown: list[Task] = []
        self.asked: list[float] = []
        around = Runtime(lambda: self.now, lambda: 0.5)
        retry = Retry(attempts=2, backoff=1.0)
        limit = polling.timeout if timeout is None else timeout
        wait = Poller("t", polling, math.inf if limit is None else limit, retry.max_retry_after)
        read = read_task("t", strict=False)
        self.flow = watch_flow(wait, lambda span: request_flow(REQUEST, JUDGE, read, around, retry, 30.0, span), around)

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
                    self.shown.append(task)
                case Send():
                    self.asked.append(self.now - 1_000.0)
                    self.now += min(self.takes, effect.limit)
                    answer = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def fail(self, kind: type[DuomiError]) -> Any:
        with pytest.raises(kind) as caught:
            self.run()
        return caught.value


RUNNING, DONE, EMPTY = reply(payload("running")), reply(payload("succeeded")), reply(payload("succeeded-without-url"))
RESET = httpx.ReadError("reset")


def test_a_wait_looks_first_and_sleeps_then() -> None:
    """The first look is at once, and a finished task needs no sleep."""
    world = World([DONE], Polling()).run()

    assert (world.asked, world.sleeps) == ([0.0], [])


def test_a_wait_looks_a_last_time_just_before_its_deadline() -> None:
    """The deadline cuts the pause before it, and one more look is taken."""
    world = World([RUNNING], Polling(interval=7.0, timeout=10.0))

    error = world.fail(TaskTimeoutError)

    assert world.asked == pytest.approx([0.0, 7.0, 9.6])
    assert error.task.progress == 45
    assert "continues" in str(error)


def test_an_outage_after_a_good_answer_is_outlasted() -> None:
    """What one call cannot outlast, a wait does, for `Polling.outage` seconds."""
    world = World([RUNNING, *[RESET] * 8, DONE], Polling(interval=5.0)).run()

    assert world.shown[-1].is_succeeded


def test_an_outage_that_lasts_ends_with_its_last_error() -> None:
    """After `Polling.outage` seconds without a good answer the last error comes out."""
    world = World([RUNNING, RESET], Polling(interval=5.0, outage=60.0))

    world.fail(APIConnectionError)

    assert 60.0 <= world.now - 1_000.0 - 5.0 <= 62.0


def test_a_patient_wait_outlasts_an_outage_before_the_first_good_answer() -> None:
    """Where no flow repeats a look, a Retry-After is heeded, the schedule decides otherwise, and `outage` bounds it."""
    wait = Poller("t", Polling(outage=60.0), 600.0, 20.0, tolerate_initial_outage=True)
    limited = Reply(429, httpx.Headers({"retry-after": "700"}), b"{}")
    answers: list[Reply | Exception] = [RESET, limited, *[RESET] * 5]
    memory, at, pauses = PollState(0.0), 0.0, list[float]()
    for answer in answers:
        problem = JUDGE(answer, read_task("t", strict=False))
        memory, decision = wait.step(PollState.from_json(memory.to_json()), Poll(at, at, problem), None, 0.5)
        if isinstance(decision, Failure):
            break
        assert isinstance(decision, PollAgain)
        pauses.append(decision.seconds)
        at += decision.seconds

    assert isinstance(decision, Failure)
    assert pauses == [12.0, 20.0, 12.0, 12.0, 4.0]


def test_a_memory_of_another_version_is_read() -> None:
    """What a newer version adds is passed over, and what an older one lacks has its default."""
    newer = PollState(5.0).with_task(1.0, Task.from_payload(payload("running"))).to_json() | {"colour": "red"}
    newer["history"] = [[*poll, "more"] for poll in newer["history"]]

    assert PollState.from_json(newer).history == (Observation(1.0, "running", 45),)
    assert PollState.from_json({"began": 5.0}) == PollState(5.0)


def test_before_the_first_good_answer_retry_alone_decides() -> None:
    """A wait for a service that is down ends as one call does."""
    world = World([RESET], Polling())

    world.fail(APIConnectionError)

    assert len(world.asked) == 2


def test_a_deadline_without_a_good_answer_has_its_cause() -> None:
    """A wait that never saw its task says so, and why."""
    world = World([RESET], Polling(timeout=0.4))

    error = world.fail(TaskTimeoutError)

    assert error.task is None
    assert isinstance(error.__cause__, APIConnectionError)


def test_what_is_permanent_ends_a_wait_at_once() -> None:
    """A 404 in the middle of a wait is not waited out."""
    world = World([RUNNING, reply({"code": 404, "msg": "gone"})], Polling())

    world.fail(NotFoundError)

    assert len(world.asked) == 2


def test_a_retry_after_is_slept_within_its_bound() -> None:
    """A wait sleeps as long as it is told, and at most `max_retry_after`."""
    world = World([RUNNING, reply({}, 429, retry_after="3600"), DONE], Polling(interval=1.0)).run()

    assert world.sleeps == [1.0, 60.0]


def test_a_stall_is_told() -> None:
    """Nothing moves for `stall` seconds: the wait ends, and says that the task goes on."""
    world = World([reply(payload("pending"))], Polling(interval=5.0, stall=12.0))

    error = world.fail(TaskStalledError)

    assert world.now - 1_000.0 == 12.0
    assert "continues" in str(error)


def test_an_empty_result_is_looked_at_again() -> None:
    """A clip may come a little late: after 1, 3 and 6 s more it is given up."""
    assert World([EMPTY, EMPTY, DONE], Polling()).run().sleeps == [1.0, 3.0]

    world = World([EMPTY], Polling())
    world.fail(EmptyResultError)
    assert world.sleeps == [1.0, 3.0, 6.0]


def test_a_deadline_in_between_is_an_empty_result() -> None:
    """Nothing runs any more, so it is no time-out."""
    World([EMPTY], Polling(timeout=2.0)).fail(EmptyResultError)


def test_a_hanging_answer_does_not_pass_the_deadline() -> None:
    """Each attempt gets what is left of the wait."""
    world = World([TimeoutError()], Polling(timeout=10.0), takes=30.0)

    world.fail(TaskTimeoutError)

    assert world.now - 1_000.0 <= 10.5


def test_memory_is_small_and_survives_json() -> None:
    """What a wait remembers is bounded, and travels as plain JSON."""
    memory = PollState(5.0)
    for poll in range(1_000):
        memory = memory.with_task(float(poll), Task.from_payload({"state": "running", "progress": poll % 100}))

    assert PollState.from_json(json.loads(json.dumps(memory.to_json()))) == memory
    assert [seen.at for seen in memory.history] == [0.0, *range(993, 1_000)]
    assert len(json.dumps(memory.to_json())) < 600


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0), ("1.5", 1.5), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None), ("-1", None), ("nan", None),
        ("inf", None), ("1e309", None), ("9" * 400, None), ("", None), (" ", None), (None, None),
    ],
)  # fmt: skip
def test_retry_after_is_read_or_ignored(text: str | None, seconds: float | None) -> None:
    """Seconds, decimals and HTTP dates count; nonsense does not."""
    assert retry_after(text) == seconds


def test_back_off_is_drawn_from_a_doubling_span_with_a_cap() -> None:
    """Full jitter, exponential, capped."""
    retry = Retry(attempts=99)

    assert [retry.delay(attempt, None, 1.0) for attempt in (1, 2, 3, 4, 5, 6, 90)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert retry.delay(3, None, 0.0) == 0.0
    assert retry.delay(99, None, 1.0) is None


@pytest.mark.parametrize("error", [httpx.LocalProtocolError("x"), httpx.UnsupportedProtocol("x")])
def test_what_is_our_own_fault_is_not_repeated(error: Exception) -> None:
    """A request that cannot be written cannot be written the second time."""
    assert not JUDGE.of_exception(error).transient


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimitError), (503, ServerError)])
def test_messages_name_call_and_vendor(status: int, kind: type[DuomiError]) -> None:
    """A message names the method, the path, and what the vendor said."""
    problem = JUDGE(reply({"error": {"message": "busy"}}, status), read_task("t", strict=False))

    assert isinstance(problem, Problem)
    assert type(problem.error) is kind
    assert str(problem.error) == f"GET /v1/videos/tasks/t: status {status}: busy"


def test_the_schedule_is_a_pure_function_within_bounds() -> None:
    """Whatever was seen, the adaptive schedule waits some seconds, and not a minute."""
    import itertools

    states = ("pending", "running", "dreaming")
    values: tuple[int | None, ...] = (None, 0, 5, 50, 95, 100)
    for state, first, second, third in itertools.product(states, values, values, values):
        seen = [Observation(4.0 * n, state, progress) for n, progress in enumerate((first, second, third, third))]

        assert 3.0 <= Polling().delay(seen) <= 30.0
        assert Polling().delay(seen) == Polling().delay(tuple(seen))
    assert Polling().delay([]) == 0.0
    assert Polling(interval=7.0).delay([Observation(0.0, "pending", None)]) == 7.0


@pytest.mark.parametrize(
    ("seen", "seconds"),
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
def test_the_schedule_follows_what_was_seen(seen: list[tuple[float, str, int | None]], seconds: float) -> None:
    """In the queue seldom; while progress moves a share of what is left; without it like a plain poller."""
    assert Polling().delay([Observation(*poll) for poll in seen]) == pytest.approx(seconds)


def test_flows_want_what_they_asked_for() -> None:
    """A driver that forgets the reply, or a watch that ends with nothing, is a bug and says so."""
    around = Runtime(lambda: 0.0, lambda: 0.5)
    flow = request_flow(REQUEST, JUDGE, read_task("t", strict=False), around, Retry(), 30.0)
    assert isinstance(next(flow), Send)
    with pytest.raises(TypeError, match="is a reply"):
        flow.send(None)
    with pytest.raises(TypeError, match="ends with a task"):
        raise_if_failed(None)


def test_a_null_that_may_stand_is_no_difference() -> None:
    """Where a contract allows null, null is none of the deviations."""
    assert list(differences(None, {"type": "string", "nullable": True}, "/a")) == []
    assert list(differences(None, {"type": ["string", "null"]}, "/a")) == []
    assert [pointer for pointer, *_ in differences(None, {"type": "string"}, "/a")] == ["/a"]


def test_a_payload_that_cannot_be_shown_is_no_crash() -> None:
    """A webhook's body that is too deep to be written down again is refused all the same."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(APIResponseError) as caught:
        Task.from_payload({"id": deep})

    assert caught.value.body == ""
    while deep:
        deep = deep[0]


def test_a_whole_number_with_a_point_is_an_integer() -> None:
    """JSON has one kind of number, so 45.0 is as the contract has it; an undocumented state fits the open enum."""
    task = Task.from_payload(payload("succeeded") | {"state": "success", "progress": 100.0})

    assert [line.partition(":")[0] for line in task.deviations] == ["/state"]
    assert task.to_model().state.value == "success"


@pytest.mark.parametrize("kind", [TaskFailedError, TaskTimeoutError, TaskStalledError, EmptyResultError])
def test_an_error_made_anew_of_its_args_holds_the_same_task(kind: type[TaskError]) -> None:
    """Pickle and a task queue keep the last task seen, also where the class is a TimeoutError."""
    error = kind("text", "asked-for", payload("running"))

    for copy in (type(error)(*error.args), pickle.loads(pickle.dumps(error))):
        assert copy == error
        assert (copy.task, copy.task_id) == (Task.from_payload(payload("running"), task_id="asked-for"), "asked-for")

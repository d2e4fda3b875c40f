"""Flows make the right decisions; the tests feed them by hand, without network, sleep or event loop."""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from duomi import (
    APIConnectionError,
    APIResponseError,
    AuthenticationError,
    DuomiError,
    EmptyResultError,
    NotFoundError,
    Observation,
    PermissionDeniedError,
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
from duomi._core.reply import BodyTooLargeError, Problem, Reply, ReplyParser, read_task, retry_after
from duomi._core.request import Send, Sleep, TimeLimit
from duomi._core.typical import Typical
from duomi._payload import differences
from harness import payload, requests_on
from hypothesis import given
from hypothesis import strategies as st

REQUEST = httpx.Request("GET", "https://duomiapi.com/v1/videos/tasks/t")
PARSER = ReplyParser("GET /v1/videos/tasks/t", str)


def reply(value: Any, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, httpx.Headers({"content-type": "application/json"} | named), json.dumps(value).encode())


class World:
    """Feeds a wait with replies, on a clock that moves only during sleeps and requests; each reply takes `takes` seconds."""

    def __init__(
        self, replies: Iterable[Any], polling: Polling, *, takes: float = 0.0, timeout: float | None = None,
        max_rate: float | None = None,
    ) -> None:  # fmt: skip
        self.now = 1_000.0
        self.takes = takes
        self.reads = 0.0  # seconds that the caller takes for each task
        self.replies = list(replies)
        self.sleeps: list[float] = []
        self.emitted: list[Task] = []
        self.polled_at: list[float] = []
        retry = Retry(attempts=2, backoff=1.0)
        limit = polling.timeout if timeout is None else timeout
        poller = Poller(
            "t", polling, math.inf if limit is None else limit, retry.max_retry_after, max_rate=max_rate or math.inf
        )
        self.flow = watch_flow(poller, requests_on(lambda: self.now, retry, max_rate))

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
                    self.now += self.reads
                case Send():
                    self.polled_at.append(self.now - 1_000.0)
                    self.now += min(self.takes, effect.limit)
                    answer = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def fail(self, kind: type[DuomiError]) -> Any:
        with pytest.raises(kind) as caught:
            self.run()
        return caught.value


RUNNING, DONE, EMPTY = (
    reply(payload(name) | {"id": "t"}) for name in ("running", "succeeded", "succeeded-without-url")
)
RESET = httpx.ReadError("reset")


def test_a_wait_polls_before_it_sleeps() -> None:
    """A wait polls immediately, and does not sleep if the task is finished."""
    world = World([DONE], Polling()).run()

    assert (world.polled_at, world.sleeps) == ([0.0], [])


def test_what_the_caller_does_with_a_task_is_part_of_the_pause() -> None:
    """A slow caller does not move the polls, nor the deadline."""
    world = World([RUNNING], Polling(interval=2.5, timeout=3.0))
    world.reads = 2.0
    world.fail(TaskTimeoutError)

    slower = World([RUNNING], Polling(interval=1.0, timeout=3.0))
    slower.reads = 2.5
    slower.fail(TaskTimeoutError)

    assert world.polled_at == pytest.approx([0.0, 2.5, 2.7])
    assert slower.polled_at == pytest.approx([0.0, 2.5, 2.7])
    assert slower.now - 1_000.0 == pytest.approx(2.7)


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
    """A refusal of the API's own in the middle of a wait is not waited out."""
    world = World([RUNNING, reply({"code": 403, "msg": "no credit"})], Polling())

    world.fail(PermissionDeniedError)

    assert len(world.polled_at) == 2


def test_the_pause_is_never_shorter_than_our_own_back_off() -> None:
    """A server that asks for no pause at all does not make us ask at once."""
    retry = Retry(attempts=9)

    assert [retry.delay(attempt, 0.0, 1.0) for attempt in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert retry.delay(1, 7.0, 1.0) == 7.0


@pytest.mark.parametrize(
    ("value", "sent_at", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", 30.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", "Wed, 21 Oct 2099 07:27:58 GMT", 2.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2099 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "yesterday", 0.0),
        ("30", "Wed, 21 Oct 2099 07:28:00 GMT", 30.0),
    ],
)
def test_a_retry_after_date_is_compared_with_the_servers_own_date(value: str, sent_at: str, seconds: float) -> None:
    """A local clock that is wrong does no harm."""
    assert retry_after(value, sent_at) == seconds


def test_a_rate_limit_in_a_wait_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A wait that is held up by a rate limit says so at INFO, with the seconds until the next request."""
    caplog.set_level("INFO", "duomi")

    World([RUNNING, reply({}, 429, retry_after="7"), DONE], Polling(interval=1.0)).run()

    (line,) = caplog.messages
    assert line.startswith("rate limited; GET ")
    assert line.endswith("status 429; the next request in 7.0 s")


def test_a_wait_sleeps_for_a_retry_after_up_to_its_maximum() -> None:
    """A wait sleeps as long as Retry-After says, but not longer than `max_retry_after`."""
    world = World([RUNNING, reply({}, 429, retry_after="3600"), DONE], Polling(interval=1.0)).run()

    assert world.sleeps == [1.0, 60.0]


def test_a_stalled_task_ends_the_wait() -> None:
    """If nothing changes for `stall` seconds, the wait ends and says that the task continues."""
    world = World([reply(payload("pending") | {"id": "t"})], Polling(interval=5.0, stall=12.0))

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
    assert str(problem.error).partition("; ")[2] == f"GET /v1/videos/tasks/t: status {status}: busy"
    assert problem.error.is_transient


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
        ([(0, "running", 0), (40, "running", 50)], 20.0),
        ([(0, "running", 0), (40, "running", 80)], 5.0),
        ([(0, "running", 0), (40, "running", 20)], 20.0),
        ([(0, "running", 0), (40, "running", 98)], 3.0),
        ([(0, "running", 0), (90, "running", 90), (95, "running", 90)], 3.0),
    ],
)
def test_the_adaptive_schedule_follows_the_history(
    history: list[tuple[float, str, int | None]], seconds: float
) -> None:
    """The schedule polls rarely in the queue, and by the time left while progress moves."""
    assert Polling().delay([Observation(*poll) for poll in history]) == pytest.approx(seconds)


def blind(age: float, typical: Sequence[float] = ()) -> float:
    return Polling().delay([Observation(0.0, "running", None), Observation(age, "running", None)], typical)


def test_without_progress_the_schedule_goes_by_earlier_tasks() -> None:
    """A task is polled rarely before tasks of its kind end, often when they do, and less often again long after."""
    typical = [300.0 * 1.2 ** (n % 7 - 3) for n in range(60)]

    assert blind(30.0, typical) == 30.0
    assert blind(320.0, typical) < 7.0
    assert blind(30.0, typical) > 2 * blind(320.0, typical)
    assert blind(320.0) > blind(320.0, typical)


@given(
    st.floats(0.0, 1e9), st.lists(st.floats(0.0, 1e9), max_size=256), st.sampled_from([None, 0, 50, 100]),
    st.sampled_from(["pending", "running", "dreaming"]),
)  # fmt: skip
def test_the_schedule_is_bounded_whatever_earlier_tasks_took(
    age: float, typical: list[float], progress: int | None, state: str
) -> None:
    """No age and no durations give a pause outside of 2 to 30 seconds."""
    history = [Observation(0.0, state, progress), Observation(age, state, progress)]

    assert 2.0 <= Polling().delay(history, typical) <= 30.0


def test_a_wait_knows_the_age_of_its_task_by_the_servers_clock() -> None:
    """The answer's Date minus `create_time` is the age when the wait began; deadline and stall count from the wait."""
    created = 1_762_000_000
    running = {"id": "t", "state": "running", "create_time": created}
    date = formatdate(created + 500, usegmt=True)
    rows: list[tuple[dict[str, Any], str | None, float]] = [
        (running, date, 500.0), (running, None, 0.0), (running, "soon", 0.0), ({**running, "create_time": 0}, date, 0.0),
        ({**running, "create_time": created + 900}, date, 0.0), ({**running, "create_time": created - 90_000}, date, 0.0),
    ]  # fmt: skip
    for body, sent_at, age in rows:
        state = PollState(1_000.0).with_task(0.0, Task._of(body, body, None, sent_at))
        state = state.with_task(7.0, Task._of(body, body, None, formatdate(created + 90, usegmt=True)))

        assert (state.age, [each.at for each in state.history]) == (age, [age, age + 7.0])
        assert state.last_change_at == 0.0


def test_the_durations_of_finished_tasks_are_kept_by_kind() -> None:
    """The newest 256 durations of each action are kept, and a server cannot make up kinds without end."""
    typical = Typical()
    done = {"id": "t", "state": "succeeded", "create_time": 1_000, "data": {"videos": [{"url": "https://h/1.mp4"}]}}
    for number in range(300):
        typical.add(Task.from_payload({**done, "update_time": 1_100 + number, "action": "generate"}), ())
        typical.add(Task.from_payload({**done, "update_time": 1_100, "action": f"odd-{number}"}), ())
    pending = [Observation(0.0, "pending", None), Observation(42.0, "succeeded", None)]
    other = Typical()
    other.add(Task.from_payload({**done, "create_time": 0}), pending)
    other.add(Task.from_payload({**done, "create_time": 0}), pending[1:])
    other.add(Task.from_payload({"id": "t", "state": "error", "create_time": 1_000, "update_time": 1_100}), ())

    assert typical.of(Task.from_payload({**done, "action": "generate"})) == tuple(
        float(100 + n) for n in range(44, 300)
    )
    assert typical.of(Task.from_payload({**done, "action": "odd-299"})) == ()
    assert other.of(None) == (42.0,)


def test_a_flow_without_its_reply_raises_a_type_error() -> None:
    """A driver that forgets the reply, or a watch that ends without a task, raises TypeError."""
    flow = requests_on(lambda: 0.0, Retry()).get_task("t")
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


NOT_FOUND, GONE = reply({"message": "no such task"}, 404), reply({}, 410)
LIMITED = reply({"msg": "slow down"}, 429)
TOO_LARGE = Reply(200, httpx.Headers(), b"", BodyTooLargeError("the body has more than 10 MiB"))
FOREIGN = reply(payload("running") | {"id": "x"})
# The replies of a wait, and how it ends: an error, or None for a finished task; and how often it asked.
ENDS: dict[str, tuple[list[Any], type[DuomiError] | None, int]] = {
    "404 twice": ([NOT_FOUND, NOT_FOUND, DONE], None, 3),
    "404 three times": ([NOT_FOUND], NotFoundError, 3),
    "404 and 410 mixed": ([NOT_FOUND, GONE, NOT_FOUND], NotFoundError, 3),
    "404 twice, a good answer, 404 twice": ([NOT_FOUND, NOT_FOUND, RUNNING, NOT_FOUND, NOT_FOUND, DONE], None, 6),
    "404 twice, an outage, 404 twice": (
        [RUNNING, NOT_FOUND, NOT_FOUND, RESET, RESET, NOT_FOUND, NOT_FOUND, DONE],
        None,
        8,
    ),
    "404 twice, a rate limit, 404 twice": ([NOT_FOUND, NOT_FOUND, LIMITED, NOT_FOUND, NOT_FOUND, DONE], None, 6),
    "too large an answer": ([RUNNING, TOO_LARGE, DONE], None, 3),
    "too large an answer at first": ([TOO_LARGE], APIResponseError, 1),
    "an envelope 404 three times": ([RUNNING, reply({"code": 404})], NotFoundError, 4),
    "429 twenty times, then a task": ([*[LIMITED] * 20, DONE], None, 21),
    "an envelope 429": ([RUNNING, *[reply({"code": "429"})] * 6, DONE], None, 8),
    "503 with a Retry-After": ([*[reply({}, 503, retry_after="1")] * 6, DONE], None, 7),
    "401 as a page": ([RUNNING, Reply(401, httpx.Headers(), b"<html>")], AuthenticationError, 2),
    "403 as a page": ([RUNNING, Reply(403, httpx.Headers(), b"<html>"), DONE], None, 3),
    "403 with a message": ([RUNNING, reply({"message": "no credit"}, 403)], PermissionDeniedError, 2),
    "an envelope 403": ([RUNNING, reply({"code": 403})], PermissionDeniedError, 2),
    "a redirect": ([RUNNING, reply({}, 302), DONE], None, 3),
    "408, 425, 500, 530": ([RUNNING, *(reply({}, status) for status in (408, 425, 500, 530)), DONE], None, 6),
    "another id once": ([RUNNING, FOREIGN, RUNNING, DONE], None, 4),
    "two other ids": ([RUNNING, FOREIGN, reply(payload("running") | {"id": "y"}), DONE], None, 4),
    "another id always": ([reply(payload("succeeded") | {"id": "x"})], None, 2),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_ends_a_wait(name: str) -> None:
    """Each kind of answer ends a wait, or is waited out, as the table of the documentation says."""
    replies, error, requests = ENDS[name]
    world = World(replies, Polling(interval=5.0))

    if error is None:
        assert world.run().emitted[-1].is_finished
    else:
        assert type(world.fail(error)) is error
    assert len(world.polled_at) == requests


def test_to_queue_for_the_clients_own_rate_is_no_outage() -> None:
    """An outage begins when a request was sent, not when it began to wait for its turn."""
    world = World([RUNNING, reply({}, 500), DONE], Polling(interval=0.1, outage=1.0), max_rate=0.5)

    assert world.run().emitted[-1].is_finished


def test_a_rate_limit_ends_a_wait_only_after_an_outage() -> None:
    """A server that answers nothing but 429 ends the wait after `outage` seconds, and the error says so."""
    world = World([LIMITED], Polling(outage=60.0))

    error = world.fail(RateLimitError)

    assert 60.0 <= world.now - 1_000.0 <= 75.0
    assert re.match(r"rate limited for 6\d s without an answer; GET ", str(error))
    assert len(world.polled_at) <= 25


def test_a_retry_after_beyond_the_deadline_ends_with_a_timeout() -> None:
    """The wait sleeps until its last poll, and the cause of the timeout is the rate limit."""
    world = World([RUNNING, reply({}, 429, retry_after="3600")], Polling(interval=1.0, timeout=30.0))

    error = world.fail(TaskTimeoutError)

    assert world.now - 1_000.0 == pytest.approx(30.0, abs=0.5)
    assert isinstance(error.__cause__, RateLimitError)


@pytest.mark.parametrize(
    "replies", [[reply({}, 429, retry_after="3600")], [RUNNING, reply({}, 429, retry_after="3600")]]
)
def test_a_retry_after_beyond_the_outage_ends_with_the_outage(replies: list[Any]) -> None:
    """However long the server wants to be left alone, a wait without any answer ends after `outage` seconds."""
    world = World(replies, Polling(interval=1.0, outage=20.0))

    error = world.fail(RateLimitError)

    assert world.now - 1_000.0 == pytest.approx(20.0, abs=1.0)
    assert re.match(r"rate limited for (19|20) s without an answer; ", str(error))


def test_a_queued_poll_keeps_its_place_while_others_are_answered() -> None:
    """Under the server's limit a call gives up when no call of the client was answered for `outage` seconds, not earlier."""
    now = [0.0]
    requests = requests_on(lambda: now[0], Retry())
    requests.rate.end(requests.rate.start(0.0), 0.0, "refused", 60.0)
    requests.rate.last_refusal = RateLimitError("slow down")
    flow = requests.poll("a", TimeLimit(1_000.0, 1_000.0, since=0.0, outage=10.0))

    slept = [next(flow)]
    now[0], requests.rate.answered_at = 10.0, 8.0
    slept.append(flow.send(None))
    now[0] = 18.0
    with pytest.raises(StopIteration) as ended:
        flow.send(None)

    assert slept == [Sleep(10.0, "rate"), Sleep(8.0, "rate")]
    assert ended.value.value.error == RateLimitError("slow down")


def test_a_wait_without_a_turn_says_why() -> None:
    """A `max_rate` that is too low for the wait is named in its timeout."""
    world = World([RUNNING], Polling(interval=1.0, timeout=100.0), max_rate=0.05)

    error = world.fail(TaskTimeoutError)

    assert [round(at) for at in world.polled_at] == [0, 20, 40, 60, 80]
    assert "max_rate 0.05/s allows 5 polls in 100 s" in str(error)

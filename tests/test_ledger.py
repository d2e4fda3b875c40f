"""What the ledger of waits keeps, sends again and strikes out, with a real Redis."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from brokers import Broker, Workers, waiting, warnings_of
from celery import Celery, chord, states
from celery.contrib.testing.worker import start_worker
from celery.exceptions import Ignore, TimeLimitExceeded
from celery.worker import state as worker_state
from duomi import ConfigurationError, Polling, Task
from duomi._celery.ledger import MARK, BrokerAwayError, Ledger, read_mark
from duomi._celery.sweep import sweep
from duomi._celery.task import Turn
from duomi.celery import register
from duomi.simulator import Script, Simulator
from harness import until
from kombu import Producer
from kombu.exceptions import OperationalError
from werkzeug import Request

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning"),  # Celery's own calls of redis-py
    # A worker in this process leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]
pytest_plugins = ["broker_fixtures"]


class Service:
    """An application whose waits are overdue at once, and its broker."""

    def __init__(self, broker: Broker, **options: Any) -> None:
        self.redis: Any = broker.redis
        self.app: Any = Celery("own", broker=broker.url, backend=broker.url, broker_transport_options=options)
        task: Any = register(self.app, polling=Polling(interval=0.01), revive_after=0.001)
        self.task = task
        self.ledger: Ledger = task.ledger

    def entries(self) -> set[str]:
        """Return the marks of the waits that are in the ledger."""
        return set(self.redis.zrange("duomi.duomi.wait.due", 0, -1))

    def lose(self, queue: str = "celery") -> dict[str, Any]:
        """Take the one message off a queue, as a worker does that is killed then."""
        lost: dict[str, Any] = json.loads(self.redis.rpop(queue))
        assert not self.redis.exists(queue)
        return lost

    def overdue(self) -> bool:
        """Let the time pass in which a wait is not overdue."""
        now = self.redis.time()
        until(lambda: self.redis.time() > (now[0], now[1] + 5_000))
        return True

    def worker(self) -> Any:
        """Return a worker in this process, which takes no wait for lost."""
        self.ledger.grace = 60.0
        return start_worker(self.app, pool="solo", perform_ping_check=False, shutdown_timeout=30)


@pytest.fixture
def make_service(broker: Broker) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(**options: Any) -> Service:
        made.append(Service(broker, **options))
        return made[-1]

    yield make
    for service in made:
        service.app.close()


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    return make_service()


def content(message: dict[str, Any]) -> Any:
    return json.loads(b64decode(message["body"]))


def test_a_revived_message_is_the_lost_one(service: Service) -> None:
    """Queue, priority, headers, callbacks and error callbacks of a message that was lost come again."""
    callback = service.app.signature("save")
    sent = service.task.apply_async(
        ("one",), link=callback, link_error=callback, priority=6, headers={"tenant": "a"}, queue="waits", expires=60
    )
    queue = "waits\x06\x166"
    lost = service.lose(queue)
    service.overdue()

    assert sweep(service.ledger) == 1
    revived = service.lose(queue)

    assert content(revived) == content(lost)
    assert revived["headers"] == lost["headers"] | {"eta": None}
    assert (revived["headers"]["tenant"], revived["headers"]["id"]) == ("a", sent.id)
    assert revived["properties"]["priority"] == lost["properties"]["priority"] == 6
    assert revived["properties"]["correlation_id"] == sent.id


def test_a_revived_message_has_the_state_of_its_turn(service: Service) -> None:
    """A wait that is sent again goes on with what it remembers, and its `expires`, for the first poll only, is over."""
    service.task.apply_async(("one",), expires=60)
    lost = service.lose()
    mark, remembered = lost["headers"][MARK], {"state": {"began": 1.0, "refusals": 2}, "eta": 5.0}
    assert service.ledger.claim(mark, 0, {}, "holder") == "claimed"
    assert service.ledger.advance(mark, "holder", 1, remembered, 0.0)
    service.overdue()

    assert sweep(service.ledger) == 1
    revived = service.lose()

    assert content(revived)[:2] == [["one"], remembered]
    assert (revived["headers"]["retries"], revived["headers"]["expires"]) == (1, None)


def test_messages_of_other_serializers_are_revived(service: Service) -> None:
    """A pickled message is sent again as it was."""
    service.app.conf.accept_content = ["pickle"]
    service.task.apply_async(("one",), serializer="pickle")
    lost = service.lose()
    service.overdue()

    assert sweep(service.ledger) == 1
    assert service.lose()["content-type"] == lost["content-type"] == "application/x-python-serialize"


def test_each_key_has_the_prefix_of_the_broker(make_service: Callable[..., Service]) -> None:
    """Kombu's `global_keyprefix` stands before the ledger's keys, too."""
    service = make_service(global_keyprefix="shop-")
    service.task.delay("one")
    service.lose("shop-celery")
    service.overdue()

    assert sweep(service.ledger) == 1
    assert service.lose("shop-celery")
    assert all(key.startswith("shop-") for key in service.redis.scan_iter())


def test_a_turn_that_another_copy_took_is_over(service: Service) -> None:
    """A poll that took longer than it may neither sends the next message nor ends the wait."""
    service.task.delay("one")
    mark = service.lose()["headers"][MARK]
    slow = Turn(service.ledger, mark, 0, "slow")
    assert service.ledger.claim(mark, 0, {}, "slow") == "claimed"
    service.overdue()
    assert service.ledger.claim(mark, 0, {}, "quick") == "claimed"

    with pytest.raises(Ignore):
        slow.advance({}, 1.0)
    with pytest.raises(Ignore):
        slow.confirm()
    assert service.ledger.confirm(mark, "quick")


def test_a_poll_that_is_under_way_is_not_made_twice(service: Service) -> None:
    """While one copy of a message polls, another one ends; a newer turn is taken over."""
    service.task.delay("one")
    mark = service.lose()["headers"][MARK]
    service.ledger.grace = 60.0
    assert service.ledger.claim(mark, 0, {}, "first") == "claimed"

    assert service.ledger.claim(mark, 0, {}, "second") == "held"
    assert service.ledger.claim(mark, 1, {}, "second") == "claimed"
    assert service.ledger.claim(mark, 0, {}, "first") == "old"


def test_a_wait_that_was_sent_by_name_is_entered_at_its_first_poll(
    service: Service, simulated: Callable[..., Simulator]
) -> None:
    """A process without `register` sends an unmarked message; the next one is in the ledger."""
    simulator = simulated({"one": Script(running=tuple(range(1, 100)))})
    sender: Any = Celery("sender", broker=service.app.conf.broker_url)
    sender.send_task("duomi.wait", ("one",))
    assert service.entries() == set()
    with service.worker():
        until(lambda: simulator.polls("one") > 1)
        assert len(service.entries()) == 1
    sender.close()


def test_a_wait_in_the_future_is_not_overdue(service: Service) -> None:
    """A wait that was sent with a countdown is not sent again before its time."""
    service.task.apply_async(("one",), countdown=60)
    service.lose()
    service.overdue()

    assert sweep(service.ledger) == 0
    assert len(service.entries()) == 1


def test_a_backlog_is_no_loss(service: Service) -> None:
    """A message that is late in a queue with others is left there nine times, and then sent again once."""
    service.task.delay("one")
    for _ in range(9):
        service.overdue()
        assert sweep(service.ledger) == 0
    service.overdue()

    assert sweep(service.ledger) == 1
    assert service.redis.llen("celery") == 2


def test_each_revival_waits_twice_as_long(service: Service) -> None:
    """A wait that is lost again and again is sent again less and less often."""
    service.task.delay("one")
    service.ledger.grace = 100.0
    pauses = []
    for _ in range(8):
        mark = service.lose()["headers"][MARK]
        service.redis.zadd("duomi.duomi.wait.due", {mark: 1.0})
        sweep(service.ledger)
        score = service.redis.zscore("duomi.duomi.wait.due", mark)
        pauses.append(round((score / 1000.0 - service.redis.time()[0]) / 100.0))

    assert pauses == [2, 4, 8, 16, 32, 64, 64, 64]


def test_one_of_two_sweeps_sends_a_wait_again(service: Service) -> None:
    """Of two workers that find a wait overdue at once, one sends it again."""
    service.task.delay("one")
    service.lose()
    service.overdue()
    with service.app.producer_or_acquire() as producer:
        (first,) = service.ledger.overdue(10, producer)
        (second,) = service.ledger.overdue(10, producer)

        assert service.ledger.postpone(first, "revivals", 6, producer) == 1
        assert service.ledger.postpone(second, "revivals", 6, producer) == 0


def test_a_wait_whose_result_is_there_is_struck_out(service: Service) -> None:
    """A wait whose worker was killed after the result was stored is not told again; an older result counts for nothing."""
    sent = service.task.delay("one")
    mark = service.lose()["headers"][MARK]
    service.app.backend.store_result(sent.id, {}, states.SUCCESS)
    service.overdue()
    assert sweep(service.ledger) == 1
    service.lose()

    service.ledger.claim(mark, 0, {}, "holder")
    service.overdue()

    assert sweep(service.ledger) == 0
    assert service.entries() == set()


@pytest.mark.parametrize(
    ("state", "callbacks", "sent_again"),
    [
        (states.SUCCESS, {"link": True, "link_error": True}, 0),
        (states.FAILURE, {"link": True}, 0),
        (states.FAILURE, {"link_error": True}, 1),
        (states.SUCCESS, {"chord": True}, 1),
        (states.REVOKED, {"chord": True}, 0),
    ],
)
def test_a_wait_that_may_not_have_told_its_end_is_sent_again(
    service: Service, state: str, callbacks: dict[str, bool], sent_again: int
) -> None:
    """A result that is stored before its callbacks are told ends no wait: they are rather told twice than never."""
    callback = service.app.signature("save")
    sent = service.task.apply_async(("one",), **dict.fromkeys(callbacks, callback))
    service.ledger.claim(service.lose()["headers"][MARK], 0, {}, "holder")
    service.app.backend.store_result(sent.id, {}, state)
    service.overdue()

    assert sweep(service.ledger) == sent_again
    assert len(service.entries()) == sent_again


def test_a_hard_time_limit_ends_a_wait(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait whose poll Celery kills has failed, and is not sent again."""
    hold = threading.Event()
    simulated({"one": Script()}, lambda _request: hold.wait(5) and None)
    workers.start("-c", "1", "--time-limit", "1")
    result = waiting().delay("one")

    assert isinstance(result.get(60, propagate=False), TimeLimitExceeded)
    until(lambda: not broker.redis.zcard("duomi.duomi.wait.due"))
    hold.set()


def test_a_result_backend_that_cannot_be_read_ends_no_wait(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nobody can say whether a wait has ended, it is sent again."""
    service.task.delay("one")
    service.ledger.claim(service.lose()["headers"][MARK], 0, {}, "holder")

    def fail(_task_id: str) -> str:
        raise ConnectionError

    monkeypatch.setattr(service.app.backend, "get_state", fail)
    service.overdue()

    assert sweep(service.ledger) == 1


def test_a_message_that_cannot_be_sent_is_not_entered(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait whose sender got an error is struck out."""

    def fail(*_arguments: Any, **_options: Any) -> None:
        assert len(service.entries()) == 1
        raise OSError("the broker is away")

    monkeypatch.setattr(Producer, "publish", fail)
    with pytest.raises(OperationalError, match="away"):
        service.task.delay("one")

    assert service.entries() == set()


def test_a_message_to_another_broker_is_not_entered(service: Service) -> None:
    """A message that goes elsewhere by a connection of the caller's is none of this ledger's."""
    with service.app.connection_for_write("memory://") as elsewhere:
        service.task.apply_async(("one",), connection=elsewhere)

    assert service.entries() == set()


def test_other_brokers_have_no_ledger() -> None:
    """Without Redis nothing is marked and nothing is swept."""
    app: Any = Celery("without", broker="memory://")
    task: Any = register(app, queue="without-ledger")
    task.delay("one")
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30), app.connection() as connection:
        message = connection.default_channel.basic_get("without-ledger")

        assert not task.ledger.is_used
        assert MARK not in message.headers


def test_a_revoked_or_expired_wait_is_struck_out(service: Service, simulated: Callable[..., Simulator]) -> None:
    """A wait that is revoked, or has expired, is not sent again."""
    simulator = simulated({"one": Script(), "two": Script()})
    revoked = service.task.delay("one")
    expired = service.task.apply_async(("two",), expires=-1)
    assert len(service.entries()) == 2
    worker_state.revoked.add(revoked.id)  # as `revoke` does in each worker, without a race
    with service.worker():
        until(lambda: service.entries() == set())

    assert (simulator.polls("one"), simulator.polls("two")) == (0, 0)
    assert expired.state == states.REVOKED


def test_a_poll_that_is_terminated_with_its_worker_stays(service: Service) -> None:
    """The signal of a terminated request strikes a wait out only if it was revoked."""
    sent = service.task.delay("one")
    headers = service.lose()["headers"]

    class Context:
        id = sent.id

    context: Any = Context()
    context.headers = headers
    service.ledger.end_revoked(service.task, context, terminated=True)
    assert service.entries() == {headers[MARK]}
    context.headers = {}
    service.ledger.end_revoked(service.task, context)
    assert service.entries() == {headers[MARK]}


def test_an_ended_wait_leaves_nothing_but_a_mark_for_a_while(
    service: Service, simulated: Callable[..., Simulator]
) -> None:
    """After the end, well or badly, a late copy of a message ends at once, and the ledger is empty."""
    simulator = simulated({"one": Script(), "bad": Script(outcome="error", message="no")})
    sent = [service.task.delay(task_id) for task_id in ("one", "bad")]
    copies = service.redis.lrange("celery", 0, -1)
    with service.worker():
        assert Task.from_payload(sent[0].get(30)).is_succeeded
        assert isinstance(sent[1].get(30, propagate=False), Exception)
        polls = simulator.polls("one")
        service.redis.lpush("celery", *copies)
        until(lambda: service.redis.llen("celery") == 0 and not service.redis.exists("unacked"))

    assert simulator.polls("one") == polls
    keys = list(service.redis.scan_iter("duomi.*"))
    assert len(keys) == 2
    assert all(3_600 < service.redis.ttl(key) < 4 * 3_600 for key in keys)


def test_two_copies_of_a_wait_end_in_one(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a `visibility_timeout` far below the delay each message comes again and again, and is polled once."""
    monkeypatch.setenv("CLIPS_VISIBILITY_TIMEOUT", "1")
    monkeypatch.setenv("CLIPS_INTERVAL", "3")
    ids = [f"task-{number}" for number in range(5)]
    simulator = simulated(dict.fromkeys(ids, Script(pending=0, running=(40, 80))))
    for _ in range(2):
        workers.start("-P", "threads", "-c", "4")
    results = [waiting().delay(task_id) for task_id in ids]

    assert all(Task.from_payload(result.get(60)).is_succeeded for result in results)
    assert {simulator.polls(task_id) for task_id in ids} == {3}


def test_a_chord_survives_a_loss(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The callback of a chord gets all payloads, although the messages of two waits were lost."""
    import clips

    monkeypatch.setenv("CLIPS_REVIVE_AFTER", "1")
    simulated(dict.fromkeys("abc", Script()))
    result = chord([waiting().s(task_id) for task_id in "abc"])(clips.collect.s())
    broker.redis.ltrim("celery", 0, 0)
    workers.start("-P", "threads", "-c", "4")

    assert result.get(60) == ["a", "b", "c"]
    assert workers.log().count("is overdue: ") >= 2


def test_a_redis_that_allows_no_scripts_costs_one_warning(
    service: Service, simulated: Callable[..., Simulator], caplog: pytest.LogCaptureFixture
) -> None:
    """Without the right to run scripts waits go on as before, unprotected, and a WARNING says so."""
    simulated({"one": Script()})
    service.redis.execute_command("ACL SETUSER default -eval")
    try:
        with service.worker():
            assert Task.from_payload(service.task.delay("one").get(30)).is_succeeded
            assert sweep(service.ledger) == 0
    finally:
        service.redis.execute_command("ACL SETUSER default +@all")

    assert ["keeps no ledger" in text for text in warnings_of(caplog)] == [True]


def test_a_wait_goes_on_when_redis_loses_its_data(service: Service, simulated: Callable[..., Simulator]) -> None:
    """A wait that is polled while Redis loses all its data is entered again, and ends."""
    simulator = simulated({"one": Script()})

    def lose_all(_request: Request) -> None:
        service.redis.flushall()

    simulator.answer = lose_all
    with service.worker():
        assert Task.from_payload(service.task.delay("one").get(30)).is_succeeded


@pytest.mark.parametrize("method", ["claim", "advance", "confirm"])
def test_a_broker_that_is_away_repeats_the_message(
    service: Service, simulated: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """If the ledger cannot be reached, at any point of a poll, its message goes back to the queue."""
    simulated({"one": Script()})
    failures = [BrokerAwayError("away"), BrokerAwayError("away")]
    original = getattr(service.ledger, method)

    def away(*values: Any) -> Any:
        if failures:
            raise failures.pop()
        return original(*values)

    monkeypatch.setattr(service.ledger, method, away)
    with service.worker():
        assert Task.from_payload(service.task.delay("one").get(30)).is_succeeded

    assert not failures
    assert service.entries() == set()


def test_a_turn_whose_message_could_not_be_sent_is_given_back(
    service: Service, simulated: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that is repeated, since the next one could not be sent, has its turn again."""
    simulated({"one": Script()})
    send = service.app.amqp.send_task_message
    failures = [OSError("away")]

    def failing(producer: Any, name: str, message: Any, **options: Any) -> Any:
        if message.headers.get("retries") and failures:
            raise failures.pop()
        return send(producer, name, message, **options)

    monkeypatch.setattr(service.app.amqp, "send_task_message", failing)
    with service.worker():
        assert Task.from_payload(service.task.delay("one").get(30)).is_succeeded


def test_a_redis_that_is_away_is_waited_for(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """While Redis is down a sweep does nothing, an end is not written, and a claim says so."""
    app: Any = Celery("away", broker="redis://127.0.0.1:1/0", broker_connection_timeout=0.1)
    app.conf.broker_transport_options = {"max_retries": 0, "socket_connect_timeout": 0.1}
    ledger = Ledger(app, "duomi.wait", 1.0)

    assert sweep(ledger) == 0
    ledger.end("mark")
    assert not ledger.enter("mark", "{}", 0, 0.0, None)
    with pytest.raises(BrokerAwayError):
        ledger.claim("mark", 0, {}, "holder")
    told = [text.partition(":")[0] for text in warnings_of(caplog)]
    assert told == ["the ledger of waits could not be written", "a wait is not protected before its next poll"]


@pytest.mark.parametrize(
    "broken", ["{", "[]", "{}", '{"exchange": "", "routing_key": "celery", "headers": {}}', "pickled"]
)
def test_an_entry_that_cannot_be_read_is_struck_out(
    service: Service, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    """A hostile entry costs one WARNING, is not unpickled, and keeps no other from being sent again."""
    service.task.apply_async(("one",), serializer="pickle" if broken == "pickled" else None)
    mark = service.lose()["headers"][MARK]
    if broken != "pickled":
        service.redis.hset(f"duomi.duomi.wait.wait.{mark}", "message", broken)
    service.task.delay("two")
    service.lose()
    service.overdue()

    assert sweep(service.ledger) == 1
    assert content(service.lose())[0] == ["two"]
    assert mark not in service.entries()
    assert sum("cannot be read" in text for text in warnings_of(caplog)) == 1


def test_a_wait_that_another_worker_sends_again_is_left_to_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that comes second sends nothing."""
    service.task.delay("one")
    service.lose()
    service.overdue()
    monkeypatch.setattr(service.ledger, "postpone", lambda *_values: 0)

    assert sweep(service.ledger) == 0
    assert not service.redis.exists("celery")


def test_a_sweep_that_fails_is_tried_again(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that cannot be sent again now stops no worker, and stays in the ledger."""
    service.task.delay("one")
    service.lose()
    service.overdue()

    def fail(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(Producer, "publish", fail)

    assert sweep(service.ledger) == 0
    assert len(service.entries()) == 1
    assert "a sweep of waits failed" in warnings_of(caplog)[-1]


def test_an_entry_without_its_wait_is_removed(service: Service) -> None:
    """What is left in the order of waits without its message goes."""
    service.redis.zadd("duomi.duomi.wait.due", {"nothing": 1.0})

    assert sweep(service.ledger) == 0
    assert service.entries() == set()


@pytest.mark.parametrize("headers", [None, {}, {MARK: 5}, {MARK: ""}, {MARK: "x" * 1_000}])
def test_a_mark_that_makes_no_sense_is_none(headers: Any) -> None:
    """A hostile mark in a message is as none."""
    assert read_mark(headers) is None


@pytest.mark.parametrize("revive_after", [0.0, -1.0, float("nan"), float("inf"), "60", None])
def test_an_invalid_time_until_a_revival_is_rejected(revive_after: Any) -> None:
    """`revive_after` is a positive number of seconds."""
    with pytest.raises(ConfigurationError, match="revive_after"):
        register(Celery("invalid", broker="memory://"), revive_after=revive_after)


def test_the_progress_of_a_wait_can_be_read(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`AsyncResult(id).info` tells state, label, progress, message and when the next poll is."""
    monkeypatch.setenv("CLIPS_INTERVAL", "2")
    simulated({"one": Script(pending=0, running=(40,))})
    workers.start("-P", "solo")
    result = waiting().delay("one")
    until(lambda: result.state == "WAITING")
    info = result.info

    assert {name: info[name] for name in ("task_id", "state", "label", "progress", "message")} == {
        "task_id": "one",
        "state": "running",
        "label": Task.from_payload({"id": "one", "state": "running"}).state.label,
        "progress": 40,
        "message": "",
    }
    assert info["next_poll_at"].endswith("+00:00")
    assert Task.from_payload(result.get(60)).is_succeeded


def test_a_result_that_nobody_wants_is_not_stored(service: Service, simulated: Callable[..., Simulator]) -> None:
    """A wait that is sent with `ignore_result` stores no progress."""
    simulator = simulated({"one": Script()})
    result = service.task.apply_async(("one",), ignore_result=True)
    with service.worker():
        until(lambda: not service.entries())

    assert simulator.polls("one") == 4
    assert not service.redis.exists(f"celery-task-meta-{result.id}")


def test_progress_that_cannot_be_stored_ends_no_wait(
    service: Service, simulated: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """If the result backend is away between two polls, the wait continues, and a WARNING says so."""
    simulated({"one": Script()})

    def fail(**_progress: Any) -> None:
        raise ConnectionError("the backend is away")

    monkeypatch.setattr(service.task, "update_state", fail)
    with service.worker():
        assert Task.from_payload(service.task.delay("one").get(30)).is_succeeded

    assert {"the backend is away" in text for text in warnings_of(caplog)} == {True}

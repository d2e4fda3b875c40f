"""The ledger of waits with a Redis that forbids, forgets or is away, and with hostile entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from brokers import WITH_WORKER_HERE, Broker, Service, content, warnings_of
from celery import Celery
from duomi import ConfigurationError, Task
from duomi._celery.ledger import MARK, BrokerAwayError, Ledger, read_mark
from duomi._celery.sweep import sweep
from duomi.celery import register
from duomi.simulator import Script, Simulator
from kombu import Producer
from werkzeug import Request

pytestmark = WITH_WORKER_HERE
pytest_plugins = ["broker_fixtures"]


def test_a_redis_that_allows_no_scripts_costs_one_warning(
    service: Service, simulated: Callable[..., Simulator], caplog: pytest.LogCaptureFixture
) -> None:
    """Without the right to run scripts waits go on as before, unprotected, and a WARNING says so."""
    simulated({"one": Script()})
    service.redis.execute_command("ACL SETUSER default -eval")
    try:
        with service.worker():
            assert Task.from_payload(service.task.delay("one").get()).is_succeeded
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
        assert Task.from_payload(service.task.delay("one").get()).is_succeeded


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
        assert Task.from_payload(service.task.delay("one").get()).is_succeeded

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
        assert Task.from_payload(service.task.delay("one").get()).is_succeeded


def test_a_redis_that_is_away_is_waited_for(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """While Redis is down a sweep does nothing, an end is not written, and a claim says so."""
    app: Any = Celery("away", broker="redis://127.0.0.1:1/0", broker_connection_timeout=0.1)
    app.conf.broker_transport_options = {"max_retries": 0, "socket_connect_timeout": 0.1}
    ledger = Ledger(app, "duomi.wait", 1.0)

    assert sweep(ledger) == 0
    ledger.end("mark")
    assert not ledger.enter("mark", "{}", 0, 0.0, None)
    with pytest.raises(BrokerAwayError):
        ledger.claim("mark", 0, {}, "holder", 0.0)
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

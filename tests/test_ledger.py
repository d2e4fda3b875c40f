"""What the ledger of waits keeps, and what it sends again, with a real Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from brokers import WITH_WORKER_HERE, Broker, Service, Workers, content, until, waiting, worker_here
from celery import Celery, chord
from celery.exceptions import Ignore
from duomi import Task
from duomi._celery.ledger import MARK
from duomi._celery.sweep import sweep
from duomi._celery.task import Turn
from duomi.celery import register
from duomi.simulator import Script, Simulator
from kombu import Producer
from kombu.exceptions import OperationalError

pytestmark = WITH_WORKER_HERE
pytest_plugins = ["broker_fixtures"]


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
    assert service.ledger.claim(mark, 0, {}, "holder", 60.0) == "claimed"
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
    assert service.ledger.claim(mark, 0, {}, "slow", 0.0) == "claimed"
    service.overdue()
    assert service.ledger.claim(mark, 0, {}, "quick", 60.0) == "claimed"

    with pytest.raises(Ignore):
        slow.advance({}, 1.0)
    with pytest.raises(Ignore):
        slow.confirm()
    assert service.ledger.confirm(mark, "quick")


def test_a_poll_that_is_under_way_is_not_made_twice(service: Service) -> None:
    """While one copy of a message polls, another one ends; a newer turn is taken over."""
    service.task.delay("one")
    mark = service.lose()["headers"][MARK]
    assert service.ledger.claim(mark, 0, {}, "first", 60.0) == "claimed"

    assert service.ledger.claim(mark, 0, {}, "second", 60.0) == "held"
    assert service.ledger.claim(mark, 1, {}, "second", 60.0) == "claimed"
    assert service.ledger.claim(mark, 0, {}, "first", 60.0) == "old"


def test_a_wait_that_was_sent_by_name_is_entered_at_its_first_poll(
    service: Service, simulated: Callable[..., Simulator]
) -> None:
    """A process without `register` sends an unmarked message; the next one is in the ledger."""
    simulator = simulated({"one": Script(running=tuple(range(1, 100)) * 100)})
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
    with worker_here(app), app.connection() as connection:
        message = connection.default_channel.basic_get("without-ledger")

        assert not task.ledger.is_used
        assert MARK not in message.headers


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

    assert all(Task.from_payload(result.get()).is_succeeded for result in results)
    assert {simulator.polls(task_id) for task_id in ids} == {3}


def test_a_poll_may_take_twice_the_timeout_of_its_client(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll that takes longer than `revive_after` is not made twice, as its client may wait for it."""
    monkeypatch.setenv("CLIPS_REVIVE_AFTER", "0.5")
    simulator = simulated({"one": Script(pending=0, running=())}, lambda _request: time.sleep(3.0))
    workers.start("-P", "threads", "-c", "4")

    assert Task.from_payload(waiting().delay("one").get()).is_succeeded
    assert simulator.polls("one") == 1


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

    assert result.get() == ["a", "b", "c"]
    assert workers.log().count("is overdue: ") >= 2

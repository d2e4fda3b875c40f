"""What strikes a wait out of the ledger, and what does not, with a real Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from brokers import WITH_WORKER_HERE, Broker, Service, Workers, until, waiting
from celery import states
from celery.exceptions import TimeLimitExceeded
from celery.worker import state as worker_state
from duomi import Task
from duomi._celery.ledger import MARK
from duomi._celery.sweep import sweep
from duomi.simulator import Script, Simulator

pytestmark = WITH_WORKER_HERE
pytest_plugins = ["broker_fixtures"]


def test_a_wait_whose_result_is_there_is_struck_out(service: Service) -> None:
    """A wait whose worker was killed after the result was stored is not told again; an older result counts for nothing."""
    sent = service.task.delay("one")
    mark = service.lose()["headers"][MARK]
    service.app.backend.store_result(sent.id, {}, states.SUCCESS)
    service.overdue()
    assert sweep(service.ledger) == 1
    service.lose()

    service.ledger.claim(mark, 0, {}, "holder", 0.0)
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
    service.ledger.claim(service.lose()["headers"][MARK], 0, {}, "holder", 0.0)
    service.app.backend.store_result(sent.id, {}, state)
    service.overdue()

    assert sweep(service.ledger) == sent_again
    assert len(service.entries()) == sent_again


def test_a_hard_time_limit_ends_a_wait(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait whose poll Celery kills has failed, and is not sent again."""
    hold = threading.Event()
    simulated({"one": Script()}, lambda _request: hold.wait() and None)
    workers.start("-c", "1", "--time-limit", "1")
    result = waiting().delay("one")

    assert isinstance(result.get(propagate=False), TimeLimitExceeded)
    until(lambda: not broker.redis.zcard("duomi.duomi.wait.due"))
    hold.set()


def test_a_result_backend_that_cannot_be_read_ends_no_wait(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nobody can say whether a wait has ended, it is sent again."""
    service.task.delay("one")
    service.ledger.claim(service.lose()["headers"][MARK], 0, {}, "holder", 0.0)

    def fail(_task_id: str) -> str:
        raise ConnectionError

    monkeypatch.setattr(service.app.backend, "get_state", fail)
    service.overdue()

    assert sweep(service.ledger) == 1


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
        assert Task.from_payload(sent[0].get()).is_succeeded
        assert isinstance(sent[1].get(propagate=False), Exception)
        polls = simulator.polls("one")
        service.redis.lpush("celery", *copies)
        until(lambda: service.redis.llen("celery") == 0 and not service.redis.exists("unacked"))

    assert simulator.polls("one") == polls
    keys = list(service.redis.scan_iter("duomi.*"))
    assert len(keys) == 2
    assert all(3_600 < service.redis.ttl(key) < 4 * 3_600 for key in keys)

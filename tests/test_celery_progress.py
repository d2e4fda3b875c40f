"""What a wait on Celery tells between two polls, with a real Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from brokers import WITH_WORKER_HERE, Broker, Service, Workers, until, waiting, warnings_of
from duomi import Task
from duomi.simulator import Script, Simulator

pytestmark = WITH_WORKER_HERE
pytest_plugins = ["broker_fixtures"]


def test_the_progress_of_a_wait_can_be_read(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers
) -> None:
    """`AsyncResult(id).info` tells state, label, progress, message and when the next poll is."""
    simulated({"one": Script(pending=0, running=(40,) * 10_000)})
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
        assert Task.from_payload(service.task.delay("one").get()).is_succeeded

    assert {"the backend is away" in text for text in warnings_of(caplog)} == {True}

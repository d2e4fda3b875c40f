"""What a wait on Celery remembers in its messages, and hostile messages."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from brokers import Broker
from celery import Celery
from duomi import (
    Polling,
    Task,
)
from duomi._celery.message import dump_state, load_state
from duomi._core.poll import PollState
from duomi.celery import register
from duomi.simulator import Script, Simulator

pytestmark = [
    pytest.mark.slow,
    # A worker in this process leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]
pytest_plugins = ["broker_fixtures"]


HOSTILE: list[tuple[Any, Any]] = [
    (5, 105.0),
    ("began", 105.0),
    ([["began", 1.0]], 105.0),
    ({"history": []}, 105.0),
    ({"began": "now"}, 105.0),
    ({"began": True}, 105.0),
    ({"began": math.nan}, 105.0),
    ({"began": 10**400}, 105.0),
    ({"began": -1e308}, 105.0),
    ({"began": 100.0}, None),
    ({"began": 100.0}, "105"),
    ({"began": 100.0}, math.inf),
    ({"began": 100.0}, 99.0),
    ({"began": 100.0, "history": 5}, 105.0),
    ({"began": 100.0, "history": [[]]}, 105.0),
    ({"began": 100.0, "history": [{"at": 1.0}]}, 105.0),
    ({"began": 100.0, "history": [[1.0, ["running"], 5]]}, 105.0),
    ({"began": 100.0, "history": [[1.0, "running" * 100, 5]]}, 105.0),
    ({"began": 100.0, "history": [[1.0, "running", "5"]]}, 105.0),
    ({"began": 100.0, "history": [[1e308, "running", 5]]}, 105.0),
    ({"began": 100.0, "last_change_at": 1e9}, 105.0),
    ({"began": 100.0, "outage_since": math.nan}, 105.0),
    ({"began": 100.0, "age": -1e308}, 105.0),
    ({"began": 100.0, "age": "old"}, 105.0),
    ({"began": 100.0, "refusals": 1e308}, 105.0),
    ({"began": 100.0, "empty_polls": None}, 105.0),
    ({"began": 100.0, "not_found": 10**30}, 105.0),
]


@pytest.mark.parametrize(("state", "eta"), HOSTILE)
def test_a_state_that_makes_no_sense_begins_the_wait_again(
    state: Any, eta: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A hostile or unreadable state in a message costs one WARNING, and the wait begins again."""
    before = time.time()

    poll_state = load_state(state, eta)

    assert before <= poll_state.began <= time.time()
    assert poll_state == PollState(poll_state.began)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")  # as below
def test_a_hostile_message_is_one_poll_of_a_new_wait(broker: Broker, simulated: Callable[..., Simulator]) -> None:
    """A message with a hostile state and keywords of another version is polled to its end."""
    from celery.contrib.testing.worker import start_worker

    simulated({"one": Script(), "two": Script()})
    app = Celery("own", broker=broker.url, backend=broker.url)
    task = register(app, polling=Polling(interval=0.01))
    hostile = {"state": {"began": 1e308, "history": [["x"]]}, "eta": "soon", "colour": {"of": "money"}}
    results = [task.apply_async((task_id,), hostile) for task_id in ("one", "two")]
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        assert all(Task.from_payload(result.get(60)).is_succeeded for result in results)
    app.close()


@pytest.mark.parametrize("skew", [61.0, 3_700.0])
def test_clocks_that_differ_neither_end_nor_prolong_a_wait(monkeypatch: pytest.MonkeyPatch, skew: float) -> None:
    """The time spent travels in the message, whatever the clocks of two workers say."""
    now = [1_000_000.0]
    monkeypatch.setattr("duomi._celery.message.time.time", lambda: now[0])
    state = load_state(None, None)
    for poll in range(1, 31):
        now[0] += 1.0
        message = json.loads(json.dumps(dump_state(state, 9.0)))
        now[0] += 9.0 + (skew if poll % 2 else -skew)
        state = load_state(**message)

        assert now[0] - state.began == pytest.approx(poll * 10.0)


def test_a_clock_put_back_ends_no_wait(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A wait whose worker's clock is put back keeps what it remembers."""
    now = [1_000_000.0]
    monkeypatch.setattr("duomi._celery.message.time.time", lambda: now[0])
    state = load_state(None, None)
    now[0] -= 3_600.0
    message = dump_state(state._replace(refusals=3), 9.0)

    assert load_state(**message).refusals == 3
    assert not caplog.records

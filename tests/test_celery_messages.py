"""What a wait on Celery remembers in its messages, and hostile messages."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from brokers import Broker, Workers, application, messages, until, warnings_of, worker_here
from celery import Celery
from duomi import ConfigurationError, Polling, Task
from duomi._celery.ledger import MARK
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
    simulated({"one": Script(), "two": Script()})
    app = Celery("own", broker=broker.url, backend=broker.url)
    task = register(app, polling=Polling(interval=0.01))
    hostile = {"state": {"began": 1e308, "history": [["x"]]}, "eta": "soon", "colour": {"of": "money"}}
    results = [task.apply_async((task_id,), hostile) for task_id in ("one", "two")]
    with worker_here(app):
        assert all(Task.from_payload(result.get()).is_succeeded for result in results)
    app.close()


BODY: Final = [["one"], {}, {}]
# Body and headers of a message, and how its wait ends: well, with an error, or so that nobody can be told.
STRANGE: dict[str, tuple[Any, dict[str, Any], type[ConfigurationError] | str | None]] = {
    "as documented": (BODY, {}, "done"),
    "a keyword": ([[], {"task_id": "one"}, None], {}, "done"),
    "two ids": ([["one", "two"], {}, {}], {}, ConfigurationError),
    "no id": ([[], {}, {}], {}, ConfigurationError),
    "an id twice": ([["one"], {"task_id": "one"}, {}], {}, ConfigurationError),
    "a self": ([["one"], {"self": 1}, {}], {}, ConfigurationError),
    "a number for an id": ([[5], {}, {}], {}, ConfigurationError),
    "a list for an id": ([[["one"]], {}, {}], {}, ConfigurationError),
    "null for an id": ([[None], {}, {}], {}, ConfigurationError),
    "an id that is none": ([[".."], {}, {}], {}, ConfigurationError),
    "keywords in a list": ([["one"], [1], {}], {}, ConfigurationError),
    "keywords that are null": ([["one"], None, {}], {}, ConfigurationError),
    "arguments in a text": (["one", {}, {}], {}, ConfigurationError),
    "arguments in an object": ([{"one": 1}, {}, {}], {}, ConfigurationError),
    "arguments that are null": ([None, {}, {}], {}, ConfigurationError),
    "callbacks in a list": ([["one"], {}, [1]], {}, ConfigurationError),
    "callbacks in a text": ([["one"], {}, "x"], {}, ConfigurationError),
    "a number of callbacks": ([["one"], {}, {"callbacks": 5}], {}, ConfigurationError),
    "numbers for callbacks": ([["one"], {}, {"errbacks": [5]}], {}, ConfigurationError),
    "a text for a chain": ([["one"], {}, {"chain": "x"}], {}, ConfigurationError),
    "two parts": ([["one"], {}], {}, ConfigurationError),
    "an object": ({"a": 1}, {}, ConfigurationError),
    "a number": (5, {}, ConfigurationError),
    "null": (None, {}, ConfigurationError),
    "an older form": ({"id": "x", "task": "duomi.wait", "args": ["one"], "kwargs": [1]}, {}, ConfigurationError),
    "no JSON": (b"{", {}, None),
    "a text for the retries": (BODY, {"retries": "x"}, "done"),
    "fewer retries than none": (BODY, {"retries": -5}, "done"),
    "too many retries": (BODY, {"retries": 10**30}, "done"),
    "null for the retries, with a mark": (BODY, {"retries": None, MARK: "x"}, "done"),
    "a text for a time": (BODY, {"eta": "soon"}, ConfigurationError),
    "a list for an end": (BODY, {"expires": [1]}, ConfigurationError),
    "a text for the time limits": (BODY, {"timelimit": "x"}, ConfigurationError),
    "three time limits": (BODY, {"timelimit": [1, 2, 3]}, ConfigurationError),
    "texts for time limits": (BODY, {"timelimit": ["a", "b"]}, ConfigurationError),
    "a number for a mark": (BODY, {MARK: 5}, "done"),
    "a long mark": (BODY, {MARK: "x" * 1_000}, "done"),
    "a number for the Celery id": (BODY, {"id": 5}, None),
    "null for the Celery id": (BODY, {"id": None}, None),
    "a number of stamps": (BODY, {"stamped_headers": 5, "stamps": 5}, ConfigurationError),
}


def send_strange(app: Any) -> None:
    """Send each strange message, as another program may."""
    common = {"lang": "py", "task": "duomi.wait", "retries": 0, "ignore_result": False}
    with app.producer_or_acquire() as producer:
        for name, (body, headers, _ends) in STRANGE.items():
            producer.publish(
                body if isinstance(body, bytes) else json.dumps(body),
                routing_key="celery",
                content_type="application/json",
                content_encoding="utf-8",
                headers={"id": name, **common, **headers},
                correlation_id=name,
            )


def check_ends(app: Any, broker: Broker) -> None:
    """Check that each strange message ended as it must, and is gone."""
    for name, (_body, _headers, ends) in STRANGE.items():
        if ends == "done":
            assert Task.from_payload(app.AsyncResult(name).get()).is_succeeded, name
        elif ends is not None:
            assert type(app.AsyncResult(name).get(propagate=False)) is ends, name
    until(lambda: not messages(broker))


REFUSED = [name for name, (_body, headers, ends) in STRANGE.items() if ends is ConfigurationError or "id" in headers]
RECOUNTED = [name for name, (_body, headers, _ends) in STRANGE.items() if "retries" in headers]


def test_a_message_of_a_stranger_ends_no_worker(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers
) -> None:
    """Each message that another program may send is a wait, or ends with one WARNING and our error, and is gone."""
    simulated({"one": Script(pending=1, running=())})
    send_strange(application())
    worker = workers.start("-c", "1")
    check_ends(application(), broker)

    assert worker.poll() is None
    assert workers.log().count("] a message that is for no wait: ") == len(REFUSED)
    assert workers.log().count("] a message whose number of retries makes no sense") == len(RECOUNTED)


@pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")  # Celery's own calls of redis-py
def test_a_message_of_a_stranger_ends_no_worker_without_processes(
    broker: Broker, simulated: Callable[..., Simulator], caplog: pytest.LogCaptureFixture
) -> None:
    """The same in a worker that polls in its own process."""
    simulated({"one": Script(pending=1, running=())})
    send_strange(application())
    with worker_here(application()):
        check_ends(application(), broker)

    told = [text.partition(":")[0].partition(";")[0] for text in warnings_of(caplog)]
    assert told.count("a message that is for no wait") == len(REFUSED)
    assert told.count("a message whose number of retries makes no sense") == len(RECOUNTED)
    assert len(told) == len(REFUSED) + len(RECOUNTED)


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

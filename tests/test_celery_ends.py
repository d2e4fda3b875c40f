"""What ends a wait on Celery: the table of `test_wait_faults.py`, through one worker."""

from __future__ import annotations

import contextlib
import math
from functools import partial
from typing import Any, Final

import attrs
from brokers import KEY, WITH_WORKER_HERE, Broker, worker_here
from celery import Celery
from duomi import Duomi, Polling, Task, TaskError, TaskTimeoutError
from duomi.celery import register
from faults import FaultServer
from test_wait_faults import ID, WAITS

pytestmark = WITH_WORKER_HERE
pytest_plugins = ["broker_fixtures"]

OTHERWISE: Final = {
    "an outage before the first good answer",  # is waited out, as a poll is a single attempt
    "a good answer between two outages",  # takes longer than an outage may, as each poll is a message
}
ROWS: Final = {name: row for name, row in WAITS.items() if name not in OTHERWISE}


def slowed(polling: Polling) -> Polling:
    """Return the same with five times as long for what a message may delay."""
    limits = {name: getattr(polling, name) for name in ("timeout", "outage", "stall")}
    return attrs.evolve(polling, **{name: 5.0 * each for name, each in limits.items() if each and each < math.inf})


def test_what_ends_a_wait_on_celery(broker: Broker) -> None:
    """Each wait that ends in place ends the same way on Celery, with the same error and the last task seen."""
    app = Celery("table", broker=broker.url, backend=broker.url)
    servers: dict[str, FaultServer] = {}
    results: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        for name, row in ROWS.items():
            servers[name] = stack.enter_context(FaultServer(row.plays))
            client = partial(Duomi, KEY, base_url=servers[name].url, retry=row.retry, timeout=min(row.timeout, 5.0))
            results[name] = register(app, name=name, client=client, polling=slowed(row.polling)).delay(ID)
        stack.enter_context(worker_here(app, pool="threads", concurrency=16))
        for name, row in ROWS.items():
            ended = results[name].get(propagate=False)
            if row.ends is None:
                assert Task.from_payload(ended).is_succeeded, (name, ended)
                continue
            assert type(ended) is row.ends, (name, ended)
            assert type(ended)(*ended.args) == ended, name
            if isinstance(ended, TaskTimeoutError):
                assert (ended.task is None) == (row.seen is None), name
            if isinstance(ended, TaskError) and ended.task is not None and row.seen is not None:
                assert ended.task.progress == row.seen, name
    app.close()

    asked = {name: len(servers[name].heads) for name, row in ROWS.items() if row.requests is not None}
    assert asked == {name: row.requests for name, row in ROWS.items() if row.requests is not None}

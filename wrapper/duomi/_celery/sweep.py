"""The sweep: each worker looks from time to time for waits that are overdue, and sends them again."""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from celery import bootsteps
from celery.states import READY_STATES
from kombu.exceptions import ContentDisallowed, SerializationError
from kombu.serialization import loads, prepare_accept_content

from duomi._celery.ledger import BrokerAwayError, Ledger, Overdue

_EVERY: Final = 5.0
_AT_MOST: Final = 100
_PATIENCE: Final = 10
_DOUBLINGS: Final = 6
_UNREADABLE: Final = (AttributeError, ContentDisallowed, LookupError, SerializationError, TypeError, ValueError)

log: Final = logging.getLogger("duomi")


def make_step(ledger: Ledger) -> type[bootsteps.StartStopStep]:
    """Return the part of a worker that sweeps, beside the loop that takes messages."""

    class Sweep(bootsteps.StartStopStep):
        name = f"sweep of {ledger.name}"
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, parent: Any) -> None:
            if ledger.is_used:
                every = min(_EVERY, ledger.grace / 4.0)
                self.timer = parent.timer.call_repeatedly(every, sweep, (ledger,))

        def stop(self, parent: Any) -> None:  # noqa: ARG002  (Celery names it)
            timer: Any = getattr(self, "timer", None)
            if timer is not None:
                timer.cancel()

    return Sweep


def sweep(ledger: Ledger) -> int:
    """Send the waits again that are overdue, and return how many; what fails now is tried by the next sweep."""
    sent = 0
    try:
        with ledger.app.producer_or_acquire() as producer:
            for wait in ledger.overdue(_AT_MOST, producer):
                try:
                    sent += _revive(ledger, wait, producer)
                except _UNREADABLE as error:
                    log.warning("an entry of the ledger of waits cannot be read, and is struck out: %r", error)
                    ledger.forget(wait.mark)
    except BrokerAwayError:
        log.debug("no sweep: the broker is away")
    except Exception:
        log.warning("a sweep of waits failed", exc_info=True)
    return sent


def _revive(ledger: Ledger, wait: Overdue, producer: Any) -> bool:
    """Send a wait again, unless it has ended or may still be in its queue."""
    message, turn = json.loads(wait.message), int(wait.turn)
    channel: Any = producer.channel
    queues = channel._lookup(message["exchange"], message["routing_key"])
    if any(channel._size(queue) for queue in queues):
        times = ledger.postpone(wait, "backlog", 0, producer)
        if not times or times % _PATIENCE:
            return False
    elif not ledger.postpone(wait, "revivals", _DOUBLINGS, producer):
        return False
    if wait.was_polled and _has_ended(ledger, message["headers"]["id"]):
        ledger.end(wait.mark)
        return False
    body = bytes.fromhex(message["body"]) if message["is_hex"] else message["body"]
    # As if it came from the broker: a service that reads JSON only unpickles nothing from here either.
    accept = prepare_accept_content(ledger.app.conf.accept_content)
    args, kwargs, embed = loads(body, message["content_type"], message["encoding"], accept=accept)
    headers = message["headers"] | {"retries": turn, "eta": None}
    if turn:
        headers["expires"] = None
    log.warning("wait %s is overdue: its message was lost, or its worker; sent again", headers["id"])
    producer.publish(
        (args, {**kwargs, **json.loads(wait.kwargs)}, embed),
        exchange=message["exchange"],
        routing_key=message["routing_key"],
        serializer=message["serializer"],
        headers=headers,
        **message["properties"],
    )
    return True


def _has_ended(ledger: Ledger, task_id: str) -> bool:
    """Tell whether the result backend has the result of a wait whose worker died before it struck it out."""
    backend: Any = ledger.app.backend
    try:
        # Results that are messages themselves cannot be asked for here.
        return not backend.as_uri().startswith("rpc") and backend.get_state(task_id) in READY_STATES
    except Exception:
        return False

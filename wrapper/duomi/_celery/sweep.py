"""The sweep: each worker looks from time to time for waits that are overdue, and sends them again."""

from __future__ import annotations

import json
import logging
from typing import Any, Final, NamedTuple

from celery import bootsteps, states
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
                    lost = _read(ledger, wait)
                except _UNREADABLE as error:
                    log.warning("an entry of the ledger of waits cannot be read, and is struck out: %r", error)
                    ledger.forget(wait.mark)
                else:
                    sent += _revive(ledger, wait, lost, producer)
    except BrokerAwayError:
        log.debug("no sweep: the broker is away")
    except Exception:
        log.warning("a sweep of waits failed", exc_info=True)
    return sent


class _Lost(NamedTuple):
    """A message that was lost, ready to be sent again.

    Attributes:
        body: positional and keyword arguments, and the callbacks.
        options: what `Producer.publish` takes.
    """

    body: tuple[list[Any], dict[str, Any], dict[str, Any]]
    options: dict[str, Any]


def _read(ledger: Ledger, wait: Overdue) -> _Lost:
    message, turn = json.loads(wait.message), int(wait.turn)
    text = bytes.fromhex(message["body"]) if message["is_hex"] else message["body"]
    # As if it came from the broker: a service that reads JSON only unpickles nothing from here either.
    accept = prepare_accept_content(ledger.app.conf.accept_content)
    args, kwargs, embed = loads(text, message["content_type"], message["encoding"], accept=accept)
    headers = {**message["headers"], "id": message["headers"]["id"], "retries": turn, "eta": None}
    if turn:
        headers["expires"] = None
    where = {name: message[name] for name in ("exchange", "routing_key", "serializer")}
    return _Lost(
        (args, {**kwargs, **json.loads(wait.kwargs)}, {**embed}), message["properties"] | where | {"headers": headers}
    )


def _revive(ledger: Ledger, wait: Overdue, lost: _Lost, producer: Any) -> bool:
    """Send a wait again, unless it has ended or may still be in its queue."""
    channel: Any = producer.channel
    queues = channel._lookup(lost.options["exchange"], lost.options["routing_key"])
    if any(channel._size(queue) for queue in queues):
        times = ledger.postpone(wait, "backlog", 0, producer)
        if not times or times % _PATIENCE:
            return False
    elif not ledger.postpone(wait, "revivals", _DOUBLINGS, producer):
        return False
    task_id = lost.options["headers"]["id"]
    if wait.was_polled and _has_ended(ledger, task_id, lost.body[2]):
        ledger.end(wait.mark)
        return False
    log.warning("wait %s is overdue: its message was lost, or its worker; sent again", task_id)
    producer.publish(lost.body, **lost.options)
    return True


def _has_ended(ledger: Ledger, task_id: str, embed: dict[str, Any]) -> bool:
    """Tell whether a wait has its result, and has told it, though its worker died before it struck the wait out.

    Celery stores a result after the callbacks, but before error callbacks and the callback of a chord.
    """
    backend: Any = ledger.app.backend
    try:
        # Results that are messages themselves cannot be asked for here.
        state = states.PENDING if backend.as_uri().startswith("rpc") else backend.get_state(task_id)
    except Exception:
        return False
    if embed.get("chord") or (state == states.FAILURE and embed.get("errbacks")):
        return state == states.REVOKED
    return state in states.READY_STATES

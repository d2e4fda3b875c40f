"""A ledger of the waits under way, in the broker's own Redis.

Kombu takes a message off its list in Redis before it notes that it holds it, so a worker that is killed in between
loses the message. The ledger knows of each wait what its next message is and by when it must have been polled; a wait
that is overdue is sent again (`sweep.py`). Each poll has a number, its turn, and of several copies of a message only one
gets the turn. Brokers that lose nothing need none of this.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Final, NamedTuple

from celery import Celery
from celery.exceptions import OperationalError

from duomi._celery import scripts

MARK: Final = "duomi_wait"
_MARK_KEPT: Final = 64
_AFTERLIFE: Final = 3_600.0

log: Final = logging.getLogger("duomi")


class BrokerAwayError(Exception):
    """The ledger cannot be reached now."""


class Overdue(NamedTuple):
    """A wait whose message must have been lost; `score` is when it became overdue, as Redis writes it."""

    mark: str
    score: str
    message: bytes
    turn: bytes
    kwargs: bytes
    was_polled: bool


class Ledger:
    """The ledger of the waits of one registered Celery task.

    Attributes:
        name: the name of the Celery task.
        grace: seconds that a message may be late before its wait is sent again.
    """

    def __init__(self, app: Celery[Any], name: str, grace: float) -> None:
        self.app = app
        self.name = name
        self.grace = grace
        self._is_used: bool | None = None
        self._has_warned = False

    @property
    def is_used(self) -> bool:
        """Whether the broker is a Redis."""
        if self._is_used is None:
            connection: Any = self.app.connection_for_write()  # opens none
            self._is_used = bool(connection.get_transport_cls().driver_type == "redis")
        return self._is_used

    def enter(self, mark: str, message: str, turn: int, seconds: float, producer: Any) -> bool:
        """Enter a wait whose message is being sent, due in so many seconds; tell whether it is new."""
        try:
            return bool(self._call(scripts.ENTER, mark, message, turn, _ms(seconds + self.grace), producer=producer))
        except BrokerAwayError as error:
            # Sending the message will tell whether the broker is away.
            log.warning("a wait is not protected before its next poll: %s", error)
            return False

    def claim(self, mark: str, turn: int, kwargs: dict[str, Any], holder: str, seconds: float) -> str:
        """Take a turn for so many seconds: `claimed`; `over`, `old` or `held` if another copy of the message has it; or `unknown`."""
        return str(self._call(scripts.CLAIM, mark, turn, json.dumps(kwargs), holder, _ms(seconds)) or "unknown")

    def confirm(self, mark: str, holder: str) -> bool:
        """Tell whether a wait is still held, and hold it on."""
        return bool(self._call(scripts.CONFIRM, mark, holder, _ms(self.grace)))

    def advance(self, mark: str, holder: str, turn: int, kwargs: dict[str, Any], seconds: float) -> bool:
        """Begin the next turn, due in so many seconds; tell whether the wait was still held."""
        due = _ms(seconds + self.grace)
        return bool(self._call(scripts.ADVANCE, mark, holder, turn, json.dumps(kwargs), due))

    def undo(self, mark: str, holder: str, turn: int) -> None:
        """Give a turn back whose message is repeated."""
        self._try(scripts.UNDO, mark, holder, turn, _ms(self.grace))

    def end(self, mark: str) -> None:
        """Strike out a wait that has ended; for as long as copies of its messages may come, they end at once."""
        options: dict[str, Any] = self.app.conf.broker_transport_options or {}
        self._try(scripts.END, mark, _ms(2.0 * float(options.get("visibility_timeout", _AFTERLIFE)) + _AFTERLIFE))

    def end_revoked(self, sender: Any, request: Any, *, terminated: bool = False, **_signal: object) -> None:
        """Strike out a wait that was revoked or has expired; a worker that stops terminates its polls, too."""
        from celery.worker.state import revoked  # noqa: PLC0415  (only workers need it)

        mark = read_mark(request.headers)
        if mark is None or sender.name != self.name or sender.app is not self.app or not self.is_used:
            return
        if not terminated or request.id in revoked:
            self.end(mark)

    def end_failed(self, sender: Any, **_signal: object) -> None:
        """Strike out a wait that has failed and told so, which a hard time limit does without `after_return`."""
        mark = read_mark(sender.request.headers) if sender.name == self.name and sender.app is self.app else None
        if mark is not None and self.is_used:
            self.end(mark)

    def forget(self, mark: str) -> None:
        """Strike out a wait whose first message could not be sent, or cannot be read."""
        self._try(scripts.END, mark, 0)

    def overdue(self, limit: int, producer: Any) -> list[Overdue]:
        """Return the waits that have been overdue longest."""
        found: list[list[Any]] = self._call(scripts.OVERDUE, "", limit, producer=producer) or []
        return [
            Overdue(_text(mark), _text(score), message, turn or b"0", kwargs or b"{}", bool(polled))
            for mark, score, message, turn, kwargs, polled in found
        ]

    def postpone(self, wait: Overdue, reason: str, doublings: int, producer: Any) -> int:
        """Let a wait be overdue later, and return how often for this reason; 0 if it is no longer overdue."""
        values = (wait.score, reason, _ms(self.grace), doublings)
        return int(self._call(scripts.POSTPONE, wait.mark, *values, producer=producer) or 0)

    def _try(self, script: str, mark: str, *values: str | int) -> None:
        try:
            self._call(script, mark, *values)
        except BrokerAwayError as error:
            log.warning("the ledger of waits could not be written: %s", error)

    def _call(self, script: str, mark: str, *values: str | int, producer: Any = None) -> Any:
        """Run a script on the connection that sends the messages.

        Returns:
            What the script returns; None if Redis does not allow it, or is out of memory: the wait is unprotected.

        Raises:
            BrokerAwayError: Redis cannot be reached.
        """
        with self.app.producer_or_acquire(producer) as lent:
            try:
                channel: Any = lent.channel
                keys = self._keys(channel, mark)
                reply = channel.client.execute_command("EVAL", script, len(keys), *keys, mark, *values)
            except lent.connection.channel_errors as error:
                if not self._has_warned:
                    self._has_warned = True
                    log.warning("Redis keeps no ledger of waits, so a killed worker may lose one: %s", error)
                return None
            except (OperationalError, OSError, *lent.connection.connection_errors) as error:
                raise BrokerAwayError(repr(error)) from error
        return _text(reply) if isinstance(reply, bytes) else reply

    def _keys(self, channel: Any, mark: str) -> tuple[str, str, str]:
        # Kombu does not prefix the keys of a script.
        prefix = f"{channel.global_keyprefix}duomi.{self.name}"
        return f"{prefix}.due", f"{prefix}.wait.{mark}", f"{prefix}.over.{mark}"


def read_mark(headers: object) -> str | None:
    """Return the mark of a wait in the headers of its own that a message has."""
    mark = headers.get(MARK) if isinstance(headers, dict) else None
    return mark if isinstance(mark, str) and 0 < len(mark) <= _MARK_KEPT else None


def _ms(seconds: float) -> int:
    return max(0, int(seconds * 1000.0))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value

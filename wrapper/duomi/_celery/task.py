"""The class of a registered Celery task, and the turn that one execution of it takes."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from inspect import signature
from typing import Any, ClassVar, Final, NamedTuple, Self
from uuid import uuid4

from celery.exceptions import Ignore, InvalidTaskError, Reject
from celery.signals import before_task_publish
from celery.states import READY_STATES
from kombu.serialization import dumps
from kombu.utils.json import dumps as dump_json

from duomi._celery.ledger import MARK, BrokerAwayError, Ledger, read_mark
from duomi._celery.message import is_count, is_message
from duomi._config import check_task_id
from duomi._errors import ConfigurationError
from duomi._payload import one_line

log: Final = logging.getLogger("duomi")


class _Sending:
    """A message that is being sent, and the mark under which it was entered."""

    def __init__(self, ledger: Ledger, serializer: str, producer: Any) -> None:
        self.ledger = ledger
        self.serializer = serializer
        self.producer = producer
        self.entered: str | None = None


_sending: Final[ContextVar[_Sending | None]] = ContextVar("duomi_sending", default=None)


class WaitTask:
    """What a registered task adds to the application's own task class.

    It has a queue of its own, which Celery's own attribute `queue` will not give it much longer; and its messages are
    entered in the ledger as they are sent.
    """

    goes_to: ClassVar[str | None] = None
    ledger: ClassVar[Ledger]

    def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        if self.goes_to is not None and not {"queue", "exchange", "routing_key"} & options.keys():
            options["queue"] = self.goes_to
        task: Any = self
        app = task.app
        send: Any = super().apply_async  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
        # With a connection of the caller's own it goes to another broker.
        elsewhere = options.keys() & {"connection", "publisher"} or len(more) > 1
        if elsewhere or app.conf.task_always_eager or not self.ledger.is_used:
            return send(args, kwargs, *more, **options)
        serializer = options.get("serializer") or task.serializer or app.conf.task_serializer
        with app.producer_or_acquire(options.pop("producer", None)) as producer:
            sending = _Sending(self.ledger, serializer, producer)
            token = _sending.set(sending)
            try:
                return send(args, kwargs, *more, producer=producer, **options)
            except BaseException:
                if sending.entered is not None:
                    self.ledger.forget(sending.entered)
                raise
            finally:
                _sending.reset(token)

    def start_strategy(self, app: Any, consumer: Any, **options: Any) -> Any:
        """Return what takes the messages of a worker, less those by which Celery's own would end the worker."""
        handle = super().start_strategy(app, consumer, **options)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]

        def take(message: Any, *more: Any, **named: Any) -> None:
            try:
                if not is_message(message.headers, message.payload):
                    raise ValueError("a part of it is of another kind")
                handle(message, *more, **named)
            except (AttributeError, InvalidTaskError, LookupError, TypeError, ValueError) as error:
                text = f"a message that is for no wait: {one_line(str(error))}"
                log.warning("%s", text)
                with suppress(Exception):  # an id that is none, or a result backend that is away
                    app.backend.mark_as_failure(message.headers["id"], ConfigurationError(text))
                raise InvalidTaskError(text) from error

        return take

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Refuse a message that is for no wait, before it is called with what it holds.

        Raises:
            ConfigurationError: its arguments are not those of a wait, or its task id is none.
        """
        super().before_start(task_id, args, kwargs)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
        request: Any = self.request  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        run: Any = type(self).run  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        if not is_count(request.retries):
            log.warning("a message whose number of retries makes no sense; it counts as the first")
            request.retries = 0
        try:
            check_task_id(signature(run).bind(self, *args, **kwargs).arguments["task_id"])
        except (TypeError, ConfigurationError) as error:
            text = f"a message that is for no wait: {one_line(str(error))}"
            log.warning("%s", text)
            raise (error if isinstance(error, ConfigurationError) else ConfigurationError(text)) from None

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        super().after_return(status, retval, task_id, args, kwargs, einfo)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
        request: Any = self.request  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        mark = read_mark(request.headers)
        if status in READY_STATES and mark is not None and self.ledger.is_used:
            self.ledger.end(mark)


def _enter(sender: str, body: Any, headers: dict[str, Any], properties: dict[str, Any], **where: Any) -> None:
    """Mark a message that is being sent, and enter it in the ledger, unless it is the next one of an entered wait."""
    sending = _sending.get()
    if sending is None or sender != sending.ledger.name:
        return
    mark = read_mark(headers)
    if mark is None:
        mark = headers[MARK] = uuid4().hex
    content_type, encoding, text = dumps(body, sending.serializer)
    message = {
        "body": text if isinstance(text, str) else text.hex(),
        "is_hex": not isinstance(text, str),
        "content_type": content_type,
        "encoding": encoding,
        "serializer": sending.serializer,
        "headers": headers,
        "properties": properties,
        "exchange": getattr(where["exchange"], "name", where["exchange"]) or "",
        "routing_key": where["routing_key"],
    }
    seconds = 0.0
    if headers.get("eta"):
        seconds = (datetime.fromisoformat(headers["eta"]) - datetime.now(UTC)).total_seconds()
    turn = headers.get("retries") or 0
    if sending.ledger.enter(mark, dump_json(message), turn, max(0.0, seconds), sending.producer):
        sending.entered = mark


before_task_publish.connect(_enter, weak=False)


class Turn(NamedTuple):
    """The turn of one execution; without a mark the wait is unprotected, and every turn is its own.

    Attributes:
        seconds: how long the poll may take: until then nobody else polls.
    """

    ledger: Ledger
    mark: str | None
    number: int
    holder: str
    seconds: float = math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Give the turn back if its message is repeated: the broker is away, or this worker is stopped."""
        ends = error is None or (isinstance(error, Exception) and not isinstance(error, Reject | BrokerAwayError))
        if self.mark and not ends:
            self.ledger.undo(self.mark, self.holder, self.number)

    @classmethod
    def take(cls, ledger: Ledger, request: Any, kwargs: dict[str, Any], longest_poll: float) -> Turn:
        """Take the turn that a message has, for as long as a poll may take.

        Raises:
            Ignore: another copy of the message has it, or had it.
            BrokerAwayError: nobody can tell now.
        """
        mark = read_mark(request.headers) if ledger.is_used else None
        holder = uuid4().hex
        if mark is not None:
            seconds = max(ledger.grace, longest_poll)
            found = ledger.claim(mark, request.retries, kwargs, holder, seconds)
            if found in {"over", "old", "held"}:
                log.info("a message of a wait whose turn is %s: dropped", found)
                raise Ignore(found)
            if found == "claimed":
                return cls(ledger, mark, request.retries, holder, seconds)
        return cls(ledger, None, request.retries, holder)

    def advance(self, kwargs: dict[str, Any], seconds: float) -> None:
        """Begin the next turn, before its message is sent; raises as `take` does."""
        if self.mark and not self.ledger.advance(self.mark, self.holder, self.number + 1, kwargs, seconds):
            raise Ignore("another copy of this message polls")

    def confirm(self) -> None:
        """Check that this turn still has the wait, before it ends it; raises as `take` does."""
        if self.mark and not self.ledger.confirm(self.mark, self.holder):
            raise Ignore("another copy of this message polls")

"""What a reply means: an answer, or a problem that passes, or one that does not."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple, TypeAlias, TypeVar

import httpx

from duomi._errors import (
    BODY_LIMIT,
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    DuomiError,
    status_error_type,
)
from duomi._payload import DOCUMENTED_STATES, decode, find_task, refusal_code, vendor_message, whole_number
from duomi._task import Task

T = TypeVar("T")

STATES_WARNED_OF = 1_000
log = logging.getLogger("duomi")
_warned: set[str] = set()

# What stands between the caller and the vendor may ask for patience, too.
PASSING_STATUSES = frozenset({408, 425, 429})
_PASSING_CODES = frozenset({408, 429})
_REQUEST_IDS = ("x-request-id", "request-id", "x-trace-id", "cf-ray")


class BodyTooLargeError(Exception):
    """The body of an answer is larger than any task can be."""


class Reply(NamedTuple):
    """What one attempt brought: the head, and the body as far as it came."""

    status: int
    headers: httpx.Headers
    content: bytes
    broken: Exception | None = None


class Problem(NamedTuple):
    """An attempt that brought no answer; `passing` where the next one may, `unsent` where nothing left."""

    error: DuomiError
    transient: bool
    not_sent: bool = False
    cause: Exception | None = None

    @property
    def retry_after(self) -> float | None:
        """The pause that the server asks for, in seconds."""
        return self.error.retry_after if isinstance(self.error, APIStatusError) else None

    @property
    def is_rate_limit(self) -> bool:
        """Whether the server refused because of too many requests, so that it did nothing."""
        return isinstance(self.error, APIStatusError) and 429 in {self.error.status_code, self.error.code}

    @property
    def is_for_all(self) -> bool:
        """Whether the server asks everybody for patience, and not this request alone."""
        if self.retry_after is None or not isinstance(self.error, APIStatusError):
            return False
        return not {429, 503}.isdisjoint({self.error.status_code, self.error.code})

    def to_exception(self) -> DuomiError:
        """Return the error with its cause, to be raised; how the flow handed it over is nobody's business."""
        self.error.__cause__ = self.cause
        self.error.__suppress_context__ = True
        return self.error


Redact: TypeAlias = Callable[[str], str]
Read: TypeAlias = Callable[["ReplyParser", Reply], T | Problem]


class ReplyParser(NamedTuple):
    """Judges the replies to one request; `call` is its method and path, `conceal` takes the key out of a text, `host` should have answered."""

    call: str
    redact: Redact
    host: str = "the API"

    def of_exception(self, error: Exception) -> Problem:
        """Judge an attempt that brought no head."""
        text = self.redact(next(filter(None, map(str, _causes(error))), type(error).__name__))
        # A server may send the key back, and then a traceback that tells the cause would print it.
        cause = error if all(self.redact(str(each)) == str(each) for each in _causes(error)) else None
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            not_sent = isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
            return Problem(
                APITimeoutError(f"{self.call}: no answer from {self.host} in time: {text}"), True, not_sent, cause
            )
        not_sent = isinstance(error, httpx.ConnectError)
        return Problem(
            APIConnectionError(f"{self.call}: no answer from {self.host}: {text}"),
            not is_permanent(error),
            not_sent,
            cause,
        )

    def of_status(self, reply: Reply, payload: object, code: int | None = None) -> Problem:
        """Judge an answer that refuses, by its status or by an envelope's code."""
        message = self.redact(vendor_message(payload) or _plain_text(reply))
        vendor_code = (
            code if code is not None else whole_number(payload.get("code")) if isinstance(payload, Mapping) else None
        )
        said = f"status {reply.status}" + ("" if code is None else f" with code {code}")
        error = status_error_type(reply.status if code is None else code)(
            f"{self.call}: {said}" + (f": {message}" if message else ""),
            reply.status,
            vendor_code,
            message,
            self.shown(reply),
            next((self.redact(reply.headers[name]) for name in _REQUEST_IDS if name in reply.headers), None),
            retry_after(reply.headers.get("retry-after")),
        )
        transient = reply.status in PASSING_STATUSES if code is None else code in _PASSING_CODES
        return Problem(error, transient or (reply.status if code is None else code) >= 500)

    def of_body(self, reply: Reply, text: str, *, transient: bool = True, cause: Exception | None = None) -> Problem:
        """Judge an answer that is not what was asked for."""
        content_type = self.redact(reply.headers.get("content-type", ""))
        kind = content_type or "no content type"
        error = APIResponseError(
            f"{self.call}: status {reply.status}, {kind}: {text}", reply.status, content_type, self.shown(reply)
        )
        return Problem(error, transient, cause=cause)

    def shown(self, reply: Reply) -> str:
        """Return the beginning of a body, less the key."""
        # A key that straddles the cut must not leave its first half behind.
        head = reply.content[: BODY_LIMIT * 8].decode("utf-8", "replace")
        return self.redact(head)[:BODY_LIMIT]

    def __call__(self, reply: Reply | Exception, read: Read[T]) -> T | Problem:
        """Judge a reply: what `read` makes of an answer, or the problem."""
        if isinstance(reply, Exception):
            return self.of_exception(reply)
        if not 200 <= reply.status <= 299:
            return self.of_status(reply, decode(reply.content))
        if isinstance(reply.broken, BodyTooLargeError):
            return self.of_body(reply, str(reply.broken), transient=False, cause=reply.broken)
        if reply.broken is not None:
            return self.of_exception(reply.broken)._replace(not_sent=False)
        return read(self, reply)


def read_response(judge: ReplyParser, reply: Reply) -> Reply | Problem:
    """Read any answer: no envelope that refuses, and JSON where it says so."""
    if "json" not in reply.headers.get("content-type", "") or not reply.content:
        return reply
    payload = decode(reply.content)
    if isinstance(payload, ValueError):
        return judge.of_body(reply, "not JSON", cause=payload)
    code = refusal_code(payload)
    return reply if code is None else judge.of_status(reply, payload, code)


def read_task(task_id: str, *, strict: bool) -> Read[Task]:
    """Read an answer as a task, whatever content type it bears."""

    def read(judge: ReplyParser, reply: Reply) -> Task | Problem:
        payload = decode(reply.content)
        if isinstance(payload, ValueError):
            return judge.of_body(reply, "not JSON", cause=payload)
        code = refusal_code(payload)
        if code is not None:
            return judge.of_status(reply, payload, code)
        if reply.status != 200 or not isinstance(payload, Mapping) or find_task(payload) is None:
            return judge.of_body(reply, "no task")
        task = Task.from_payload(payload, task_id=task_id)
        note_deviations(task, judge.redact)
        if strict and task.deviations:
            return judge.of_body(reply, f"deviates from the contract: {task.deviations[0]}", transient=False)
        return task

    return read


def note_deviations(task: Task, redact: Callable[[str], str]) -> None:
    """Log an undocumented state once, and every other deviation for those who debug; `conceal` takes the key out."""
    value = str((find_task(task.raw) or {})["state"])
    if value not in DOCUMENTED_STATES and value not in _warned and len(_warned) < STATES_WARNED_OF:
        _warned.add(value)
        log.warning("%s", redact(f"undocumented state {value!r}, taken for {task.state.value!r}"))
    # Looking for deviations costs more than reading the task, so nobody looks who is not asked to.
    if log.isEnabledFor(logging.DEBUG):
        for line in task.deviations:
            log.debug("%s", redact(f"task {task.task_id!r} deviates from the contract: {line}"))


def is_permanent(error: Exception) -> bool:
    """Tell whether the next attempt would meet the same: a request that cannot be made, a host name, a certificate."""
    permanent = ssl.SSLCertVerificationError | UnicodeError
    unsendable = httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.InvalidURL
    return isinstance(error, unsendable) or any(isinstance(cause, permanent) for cause in _causes(error))


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Read a Retry-After header as seconds: a number or an HTTP date, 0 for one that is past."""
    text = (value or "").strip()
    if text.replace(".", "", 1).isdigit() and text.isascii():
        seconds = float(text)
        return seconds if seconds < float("inf") else None
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, IndexError, TypeError, OverflowError):
        return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _plain_text(reply: Reply) -> str:
    """Return a short body in plain text, which is a message too."""
    if not reply.headers.get("content-type", "").startswith("text/plain"):
        return ""
    return " ".join(reply.content[:200].decode("utf-8", "replace").split())

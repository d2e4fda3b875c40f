"""What a reply means: a task, or a problem that may pass, or one that does not."""

import logging
import math
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self, TypeAlias, TypeVar

import httpx
from duomi_api.contract import SCHEMAS

from duomi._errors import (
    BODY_LIMIT,
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    DuomiError,
    status_error_type,
)
from duomi._payload import (
    DOCUMENTED_STATES,
    STATE_KEPT,
    decode,
    differences,
    find_task,
    one_line,
    read_http_date,
    refusal_code,
    vendor_message,
    whole_number,
)
from duomi._task import Task

T = TypeVar("T")

# A gateway between the caller and the vendor may ask for a pause, too.
TRANSIENT_STATUSES = frozenset({408, 425, 429})
NOT_FOUND_STATUSES = frozenset({404, 410})
# Only who knows the API refuses in its own words; a CDN, a firewall or a captive portal sends pages.
_REFUSALS = ("message", "msg", "error", "code")
_REQUEST_IDS = ("x-request-id", "request-id", "x-trace-id", "cf-ray")
_COMPRESSIONS = frozenset({
    "gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcb", "dcz", "bzip2", "xz", "lzma", "pack200-gzip",
    "exi",
})  # fmt: skip
_STATES_WARNED_OF: Final = 1_000
_CONNECTING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
_MEANINGS: Mapping[int, str] = {
    401: "the key is refused",
    403: "not allowed with this key, or its credit is used up",
    404: "not found",
    410: "not found any more",
    429: "rate limited",
}
# What speaks HTTP for this package.
_LIBRARIES: Final = {"httpx", "httpcore", "h11", "h2", "anyio"}
# How the note begins that a driver adds to what went wrong behind a proxy.
PROXY: Final = "the proxy "

log = logging.getLogger("duomi")
_warned: set[str] = set()


class BodyTooLargeError(Exception):
    """The body of a reply is larger than any task can be."""


class Reply(NamedTuple):
    """What one attempt brought: the head, and the body as far as it came; `broken` if it is not complete."""

    status: int
    headers: httpx.Headers
    content: bytes
    broken: Exception | None = None


class Problem(NamedTuple):
    """An attempt without a usable answer.

    Attributes:
        error: what the caller is told.
        transient: whether the next attempt may succeed.
        not_sent: whether nothing left this machine.
        cause: what the transport raised.
        is_rate_limit: whether it counts as a limit of the rate, and so not as a failure.
        sent_at: when its first attempt was sent, on the clock.
    """

    error: DuomiError
    transient: bool
    not_sent: bool = False
    cause: Exception | None = None
    is_rate_limit: bool = False
    sent_at: float | None = None

    @property
    def retry_after(self) -> float | None:
        """The pause that the server asks for, in seconds."""
        return self.error.retry_after if isinstance(self.error, APIStatusError) else None

    @property
    def status(self) -> int:
        """The status that the answer has or means; 0 if there was none."""
        if not isinstance(self.error, APIStatusError):
            return 0
        return self.error.code or 200 if self.error.status_code == 200 else self.error.status_code

    @property
    def is_not_found(self) -> bool:
        """Whether the API does not know the task, or does not know it yet."""
        return self.status in NOT_FOUND_STATUSES

    def asks_too_much(self, max_retry_after: float) -> Self:
        """Return the same, which says that it asks for too long a pause."""
        text = asked_too_much(self.retry_after or 0.0, max_retry_after)
        first, _, rest = str(self.error).partition("; ")
        return self.saying(f"{first}; {text}; {rest}")

    def after(self, attempts: int) -> Self:
        """Return the same, which says how often it was tried."""
        first, mark, rest = str(self.error).partition("; ")
        return self.saying(f"{first}, after {attempts} attempts{mark}{rest}")

    def saying(self, text: str) -> Self:
        """Return the same with another message."""
        return self._replace(error=type(self.error)(text, *self.error.args[1:]))

    def to_exception(self) -> DuomiError:
        """Return the error with its cause, ready to be raised."""
        self.error.__cause__ = self.cause
        self.error.__suppress_context__ = True
        return self.error


Redact: TypeAlias = Callable[[str], str]
Read: TypeAlias = Callable[["ReplyParser", Reply], T | Problem]


class ReplyParser(NamedTuple):
    """Parses the replies to one request.

    Attributes:
        call: the method and path, for messages.
        redact: takes the key out of a text.
        host: who should have answered.
        task_id: the id that is asked for, if it is.
    """

    call: str
    redact: Redact
    host: str = "the API"
    task_id: str | None = None

    def __call__(self, reply: Reply | Exception, read: Read[T], limit: float = math.inf) -> T | Problem:
        """Return what `read` makes of a reply that had to come within `limit` seconds, or the problem with it."""
        if isinstance(reply, Exception):
            return self.of_exception(reply, limit)
        if not 200 <= reply.status <= 299:
            return self.of_status(reply, decode(reply.content))
        if isinstance(reply.broken, BodyTooLargeError):
            return self.of_body(reply, str(reply.broken), transient=False, cause=reply.broken)
        if reply.broken is not None:
            return self.of_exception(reply.broken, limit)._replace(not_sent=False)
        return read(self, reply)

    def of_exception(self, error: Exception, limit: float = math.inf) -> Problem:
        """Return the problem of an attempt that brought no head."""
        for each in _causes(error):
            # Its frames hold the request, and so the key; a server may send the key back, and a library quote it.
            each.__traceback__ = None
            if type(each).__module__.partition(".")[0] in _LIBRARIES:
                each.args = tuple(self.redact(part) if isinstance(part, str) else part for part in each.args)
        text = self.redact(described(error))
        cause = error if all(self.redact(str(each)) == str(each) for each in _causes(error)) else None
        proxy = next((note for note in getattr(error, "__notes__", ()) if note.startswith(PROXY)), "")
        who = (
            proxy
            if proxy and isinstance(error, _CONNECTING)
            else f"{self.host} by way of {proxy}"
            if proxy
            else self.host
        )
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            not_sent = isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
            what = "no connection in time to" if not_sent else f"no complete answer within {limit:.3g} s from"
            return Problem(APITimeoutError(f"{what} {who}; {self.call}"), True, not_sent, cause)
        transient = not is_permanent(error)
        told = APIConnectionError(f"no answer from {who}: {text}; {self.call}", transient)
        return Problem(told, transient, isinstance(error, httpx.ConnectError), cause)

    def of_status(self, reply: Reply, payload: object, code: int | None = None) -> Problem:
        """Return the problem of a refusal, by HTTP status or by an envelope's code."""
        message = one_line(self.redact(vendor_message(payload) or _plain_text(reply)))
        vendor_code = code
        if code is None and isinstance(payload, Mapping):
            vendor_code = whole_number(payload.get("code"))
        status = reply.status if code is None else code
        said = f"status {reply.status}" + ("" if code is None else f" with code {code}")
        transient = is_transient(status, payload)
        error = status_error_type(status)(
            f"{self._meaning(status)}; {self.call}: {said}" + (f": {message}" if message else ""),
            reply.status,
            vendor_code,
            message,
            self.shown(reply),
            next((one_line(self.redact(reply.headers[name])) for name in _REQUEST_IDS if name in reply.headers), None),
            retry_after(reply.headers.get("retry-after"), reply.headers.get("date")),
            transient,
        )
        return Problem(error, transient)

    def _meaning(self, status: int) -> str:
        """Say in plain words what a status means."""
        if status in NOT_FOUND_STATUSES and self.task_id is not None:
            return f"no such task: {self.task_id}"
        if 300 <= status <= 399 and status != 304:
            return f"{self.host} leads elsewhere, and is not followed"
        return _MEANINGS.get(status) or (f"{self.host} has failed" if status >= 500 else "refused")

    def of_body(
        self, reply: Reply, text: str, *, transient: bool = True, cause: Exception | None = None, message: str = ""
    ) -> Problem:
        """Return the problem of a response that is not what was asked for."""
        content_type = one_line(self.redact(reply.headers.get("content-type", "")))
        kind = content_type or "no content type"
        error = APIResponseError(
            f"{text}; {self.call}: status {reply.status}, {kind}" + (f": {message}" if message else ""),
            reply.status, content_type, self.shown(reply), transient,
        )  # fmt: skip
        return Problem(error, transient, cause=cause)

    def shown(self, reply: Reply) -> str:
        """Return the beginning of a body, without the key."""
        # A key that straddles the cut must not leave its first half behind.
        head = reply.content[: BODY_LIMIT * 8].decode("utf-8", "replace").replace("\0", "")
        return self.redact(head)[:BODY_LIMIT]


def read_response(method: str, path: str) -> Read[Reply]:
    """Return a function that reads the response to a generated function: what the contract says comes, or a problem."""
    schemas = _schemas(method, path)

    def read(parser: ReplyParser, reply: Reply) -> Reply | Problem:
        schema = schemas.get(str(reply.status))
        if schemas and schema is None:
            return parser.of_body(reply, "the contract does not know this status")
        if schema is None and ("json" not in reply.headers.get("content-type", "") or not reply.content):
            return reply
        payload = decode(reply.content)
        if isinstance(payload, ValueError):
            return parser.of_body(reply, "the answer is not JSON", cause=payload)
        if (code := refusal_code(payload)) is not None:
            return parser.of_status(reply, payload, code)
        unfit = next((f"{at or '/'} {text}" for at, text, bad in differences(payload, schema or {}, "") if bad), None)
        return reply if unfit is None else parser.of_body(reply, f"the answer is not what the contract says: {unfit}")

    return read


def _schemas(method: str, path: str) -> Mapping[str, Any]:
    """Return the schemas of an operation by status; nothing for one that the contract does not have."""
    for operation, schemas in SCHEMAS.items():
        verb, _, template = operation.partition(" ")
        if verb == method and re.fullmatch(re.sub(r"\\{.*?\\}", "[^/]+", re.escape(template)), path):
            return schemas
    return {}


def read_task(task_id: str, *, strict: bool) -> Read[Task]:
    """Return a function that reads a response as a task, whatever its content type."""

    def read(parser: ReplyParser, reply: Reply) -> Task | Problem:
        payload = decode(reply.content)
        if isinstance(payload, ValueError):
            return parser.of_body(reply, "the answer is not JSON", cause=payload)
        body = find_task(payload)
        if reply.status != 200 or body is None:
            if (code := refusal_code(payload)) is not None:
                return parser.of_status(reply, payload, code)
            message = one_line(parser.redact(vendor_message(payload)))
            return parser.of_body(reply, "the answer is not a task", message=message)
        task = Task._of(body, payload, task_id, reply.headers.get("date"))
        log_deviations(task, parser.redact)
        if strict and task.deviations:
            return parser.of_body(
                reply, f"the answer deviates from the contract: {task.deviations[0]}", transient=False
            )
        return task

    return read


def log_deviations(task: Task, redact: Redact) -> None:
    """Log an undocumented state once at WARNING, and all other deviations at DEBUG."""
    value = task.raw.get("state")
    if value not in DOCUMENTED_STATES:
        value = str((find_task(task.raw) or {})["state"])[:STATE_KEPT]
    if value not in DOCUMENTED_STATES and value not in _warned and len(_warned) < _STATES_WARNED_OF:
        _warned.add(value)
        log.warning("%s", redact(f"undocumented state {value!r}, treated as {_treated_as(task)}"))
    # To find deviations takes longer than to read the task.
    if log.isEnabledFor(logging.DEBUG):
        for line in task.deviations:
            log.debug("%s", redact(f"task {task.task_id!r} deviates from the contract: {line}"))


def _treated_as(task: Task) -> str:
    return repr(task.state.value) if task.state.value in DOCUMENTED_STATES else "not finished"


def is_transient(status: int, payload: object) -> bool:
    """Tell whether asking again may succeed after a status, HTTP's or an envelope's, with a decoded body."""
    if not 400 <= status <= 499 or status in TRANSIENT_STATUSES:
        return True
    if status == 401 or status in NOT_FOUND_STATUSES:
        return False
    return not (isinstance(payload, Mapping) and any(name in payload for name in _REFUSALS))


def is_permanent(error: Exception) -> bool:
    """Tell whether the next attempt would fail in the same way: an invalid request, host name or certificate."""
    permanent = ssl.SSLCertVerificationError | UnicodeError
    invalid = httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.InvalidURL
    return isinstance(error, invalid) or any(isinstance(cause, permanent) for cause in _causes(error))


def described(error: Exception) -> str:
    """Return in plain words what a connection failed of, without what is secret in a signed URL."""
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "nothing came in time"
    if isinstance(error, httpx.RemoteProtocolError) and not re.search("disconnected|closed", str(error)):
        return "what came is not HTTP"
    text = next(filter(None, (_words(each) for each in _causes(error))), type(error).__name__)
    return one_line(text)


def _words(error: BaseException) -> str:
    words = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
    if isinstance(error, OSError) and error.errno and "Connect call failed" in words:  # asyncio's
        return os.strerror(error.errno)
    return "" if "connection attempts failed" in words else words  # anyio's; its cause says why


def codings(content_encoding: str) -> list[str]:
    """Return the compressions that a Content-Encoding names; servers also write there what is none, such as `utf-8`."""
    names = (name.strip().lower() for name in content_encoding.split(","))
    return [name for name in names if name in _COMPRESSIONS]


def retry_after(value: str | None, sent_at: str | None = None) -> float | None:
    """Read a Retry-After header as seconds: a number or an HTTP date, 0 if it is past.

    A date is compared with the response's own Date header, if there is one: our clock may be wrong.
    """
    text = (value or "").strip()
    if text.replace(".", "", 1).isdigit() and text.isascii():
        seconds = float(text)
        return seconds if seconds < math.inf else None
    until = read_http_date(text)
    return None if until is None else max(0.0, (until - (read_http_date(sent_at) or datetime.now(UTC))).total_seconds())


def asked_too_much(seconds: float, limit: float) -> str:
    """Say that a server asks for too long a pause."""
    return f"asked to wait {seconds:g} s, more than max_retry_after ({limit:g} s)"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    found: set[int] = set()
    while error is not None and id(error) not in found:
        found.add(id(error))
        yield error
        several = error.exceptions if isinstance(error, BaseExceptionGroup) else (None,)
        error = several[0] or error.__cause__ or error.__context__


def _plain_text(reply: Reply) -> str:
    """Return a short body in plain text, which is a message too."""
    if not reply.headers.get("content-type", "").startswith("text/plain"):
        return ""
    return " ".join(reply.content[:200].decode("utf-8", "replace").split())

"""One call: when its request is sent, and whether it is sent again."""

import logging
import math
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar

import attrs
import httpx
from duomi_api.api.videos import get_video_task

from duomi._config import Settings
from duomi._core.rate import End, Rate
from duomi._core.reply import Problem, Read, Reply, ReplyParser, read_response, read_task
from duomi._core.typical import Typical
from duomi._errors import APIResponseError, ConfigurationError, DuomiError, RateLimitError
from duomi._policy import Retry
from duomi._task import Task

T = TypeVar("T")

# Any other method is sent again only if the server certainly did not process it: a second POST could buy a video twice.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SHORTEST_ATTEMPT: Final = 0.1
_OTHER_IDS: Final = 1_000
_SAME_ID: Final = 3

log = logging.getLogger("duomi")


class Runtime(NamedTuple):
    """What a flow is given from outside: `clock` in monotonic seconds, `jitter` from 0 to 1."""

    clock: Callable[[], float]
    jitter: Callable[[], float]


class TimeLimit(NamedTuple):
    """Times on the clock that bound a call.

    Attributes:
        begins_by: no attempt but the first begins after this.
        ends_at: each attempt is over by this.
        turn_by: nothing is sent after this, not even if the call had to queue until now.
        deadline: the wait is over by this; to queue delays `begins_by` and `ends_at`, and not the deadline.
        since: when the wait was last answered well, or began.
        outage: seconds without any good answer under the server's limit, after which the call gives up.
    """

    begins_by: float
    ends_at: float
    turn_by: float = math.inf
    deadline: float = math.inf
    since: float = -math.inf
    outage: float = math.inf

    def after_queueing(self, seconds: float) -> "TimeLimit":
        """Return the limit of a call that had to queue for so long."""
        return self._replace(
            begins_by=min(self.begins_by + seconds, self.turn_by), ends_at=min(self.ends_at + seconds, self.deadline)
        )


NO_LIMIT = TimeLimit(math.inf, math.inf)
_NO_BODY: Final = httpx.ByteStream(b"")


class Send(NamedTuple):
    """The effect of sending a request; its result is a `Reply` or the exception.

    Attributes:
        request: what is sent.
        limit: seconds for the attempt.
        fresh_lane: whether it needs a connection of its own.
        queue_limit: seconds to queue for a connection of the caller's own client.
    """

    request: httpx.Request
    limit: float
    fresh_lane: bool = False
    queue_limit: float = math.inf


Reason: TypeAlias = Literal["poll", "retry", "retry-after", "rate"]


class Sleep(NamedTuple):
    """The effect of waiting so many seconds."""

    seconds: float
    reason: Reason


Answer: TypeAlias = Reply | Exception | None
RequestFlow: TypeAlias = Generator[Send | Sleep, Answer, T | Problem]


class Call(NamedTuple):
    """What a call of one client has to know beside its request.

    Attributes:
        runtime: the clock and the jitter.
        rate: when the next request of the client may start.
        retry: how often it is sent.
        timeout: seconds for one attempt as a whole.
        limit: how long it may be tried.
        in_wait: whether it is a poll of a wait, which decides itself what follows a rate limit.
        in_batch: whether it comes after single calls, and its turn was waited for already.
    """

    runtime: Runtime
    rate: Rate
    retry: Retry
    timeout: float
    limit: TimeLimit = NO_LIMIT
    in_wait: bool = False
    in_batch: bool = False


def request_flow(
    request: httpx.Request, parser: ReplyParser, read: Read[T], call: Call, *, fresh_lane: bool = False
) -> RequestFlow[T]:
    """Send one request until it is answered, or until sending it again is of no use."""
    runtime, rate, retry = call.runtime, call.rate, call.retry
    is_safe = request.method in SAFE_METHODS
    attempt = 1
    sent_at: float | None = None
    while True:
        if not rate.is_free:
            queued_at = runtime.clock()
            if no_turn := (yield from _wait_for_turn(parser, call)):
                return no_turn
            call = call._replace(limit=call.limit.after_queueing(runtime.clock() - queued_at))
        limit = call.limit
        now = runtime.clock()
        sent_at = now if sent_at is None else sent_at
        send = Send(
            request,
            min(call.timeout, max(limit.ends_at - now, _SHORTEST_ATTEMPT)),
            fresh_lane,
            max(limit.deadline - now, _SHORTEST_ATTEMPT),
        )
        ticket = rate.start(now, send.limit)
        end: End = "lost"
        asked: float | None = None
        answer: T | Problem
        try:
            reply = yield send
            if reply is None:
                raise TypeError("the result of Send is a reply")
            answer = parser(reply, read, send.limit)
            end = _end_of(answer)
            asked = answer.retry_after if isinstance(answer, Problem) else None
        finally:
            # A call that is cancelled has ended, too.
            is_limited = rate.end(ticket, runtime.clock(), end, asked and min(asked, retry.max_retry_after))
        if not isinstance(answer, Problem):
            return answer
        answer = answer._replace(sent_at=sent_at)
        if is_limited:
            rate.last_refusal = answer.error
            answer = answer._replace(is_rate_limit=True)
            if call.in_wait:
                log.info("%s; the next request in %.1f s", answer.error, rate.delay(runtime.clock()))
                return answer
        delay = None
        if answer.transient and (is_safe or answer.not_sent or answer.status == 429):
            delay = retry.delay(attempt, answer.retry_after, runtime.jitter())
            if answer.retry_after is not None and answer.retry_after > retry.max_retry_after:
                answer = answer.asks_too_much(retry.max_retry_after)
        left = limit.begins_by - runtime.clock()
        if delay is None or left <= 0:
            return answer.after(attempt) if attempt > 1 else answer
        delay = min(delay, left)
        log.info("%s; attempt %d of %d in %.1f s", answer.error, attempt + 1, retry.attempts, delay)
        yield Sleep(delay, "retry" if answer.retry_after is None else "retry-after")
        attempt += 1


def _end_of(answer: object) -> End:
    if not isinstance(answer, Problem):
        return "answered"
    if answer.status == 429 or (answer.status == 503 and answer.retry_after is not None):
        return "refused"
    if answer.status == 503:
        return "unavailable"
    return "answered" if 400 <= answer.status <= 499 else "lost"


def _wait_for_turn(parser: ReplyParser, call: Call) -> Generator[Sleep, Answer, Problem | None]:
    """Queue for the client's own rate; return a problem if the turn would come too late."""
    rate, clock = call.rate, call.runtime.clock
    place = None
    try:
        if not call.in_batch:
            place = rate.join()
            if not call.in_wait and (delay := rate.delay(clock(), place, share=1.0)) > call.retry.max_retry_after:
                text = f"rate limited: it could start only in {delay:.0f} s, so it was not sent; {parser.call}"
                return Problem(RateLimitError(text, is_transient=True), True, not_sent=True, is_rate_limit=True)
        while (delay := rate.delay(clock(), place)) > 0:
            limit = call.limit
            left = min(limit.turn_by, rate.gives_up_at(limit.since, limit.outage, clock())) - clock()
            if left <= 0:
                text = f"rate limited: {rate.describe(clock())}, so it was not sent; {parser.call}"
                waiting = RateLimitError(text, is_transient=True)
                error = rate.last_refusal if isinstance(rate.last_refusal, DuomiError) else waiting
                return Problem(error, True, not_sent=True, is_rate_limit=True)
            yield Sleep(min(delay, left), "rate")
    finally:
        if place is not None:
            rate.leave(place)
    return None


class Requests:
    """Makes the flows of a client's calls."""

    def __init__(
        self, settings: Settings, headers: httpx.Headers, runtime: Runtime, rate: Rate, typical: Typical | None = None
    ) -> None:
        self._settings = settings
        self.typical: Typical = Typical() if typical is None else typical
        self.runtime = runtime
        self.rate = rate
        self.headers = headers
        self._base = httpx.URL(settings.base_url)
        self._host = self._base.netloc.decode("ascii")
        self._other_ids: dict[str, str] = {}

    def with_settings(self, settings: Settings) -> "Requests":
        """Return the same with other settings, under the same rate and with the same experience."""
        return Requests(settings, self.headers, self.runtime, self.rate, self.typical)

    def get_task(self, task_id: str) -> RequestFlow[Task]:
        """Return the flow of one question for a task."""
        return self._task_flow(task_id, Call(self.runtime, self.rate, self._settings.retry, self._settings.timeout))

    def poll(
        self, task_id: str, limit: TimeLimit, *, attempts: int | None = None, in_batch: bool = False
    ) -> RequestFlow[Task]:
        """Return the flow of one poll of a wait, within a time limit."""
        retry = self._settings.retry if attempts is None else attrs.evolve(self._settings.retry, attempts=attempts)
        call = Call(self.runtime, self.rate, retry, self._settings.timeout, limit, in_wait=True, in_batch=in_batch)
        return self._task_flow(task_id, call)

    def api(self, request: httpx.Request) -> RequestFlow[Reply]:
        """Return the flow of a request that a generated function made."""
        if (request.url.scheme, request.url.netloc) != (self._base.scheme, self._base.netloc):
            raise ConfigurationError(f"{request.url.host} is not the API, and would be sent the key")
        timeout = request.extensions.get("timeout", {}).get("read") or self._settings.timeout
        call = Call(self.runtime, self.rate, self._settings.retry, timeout)
        parser = ReplyParser(_name(request.method, request.url), self._settings.auth.redact, self._host)
        path = request.url.path.removeprefix(self._base.path.rstrip("/"))
        return request_flow(request, parser, read_response(request.method, path), call)

    def _task_flow(self, task_id: str, call: Call) -> RequestFlow[Task]:
        url, name = _task_url(self._settings.base_url, task_id)
        # A stream spares the default headers, which take as long as the rest of a request.
        request = httpx.Request("GET", url, stream=_NO_BODY)
        request.read()
        request.headers = self.headers
        parser = ReplyParser(name, self._settings.auth.redact, self._host, task_id)
        read = read_task(task_id, strict=self._settings.strict)
        answer = yield from request_flow(request, parser, read, call)
        if isinstance(answer, Problem) or answer.id == task_id or self._is_confirmed(task_id, answer.id):
            return answer
        # Once more on a connection of its own: this one may carry the answers to others' questions.
        again = yield from request_flow(request, parser, read, call, fresh_lane=True)
        if isinstance(again, Problem) or again.id == task_id:
            return again
        if again.id != answer.id:
            text = f"answers for other tasks, {answer.id!r} and {again.id!r}; {parser.call}"
            return Problem(APIResponseError(parser.redact(text), is_transient=True), transient=True)
        if len(self._other_ids) < _OTHER_IDS:
            if not self._other_ids:
                log.warning("%s", parser.redact(f"task {task_id!r} is answered with the id {again.id!r}"))
            self._other_ids[task_id] = again.id
        return again

    def _is_confirmed(self, task_id: str, other_id: str) -> bool:
        """Tell whether the API calls this task by another id, as it said twice, or each task by the same one."""
        return self._other_ids.get(task_id) == other_id or list(self._other_ids.values()).count(other_id) >= _SAME_ID


@lru_cache(maxsize=1024)
def _task_url(base_url: str, task_id: str) -> tuple[httpx.URL, str]:
    """Return the URL of a task, from the contract, and how messages name the call; httpx is slow to parse a URL."""
    url = httpx.URL(base_url + get_video_task._get_kwargs(task_id)["url"])
    return url, _name("GET", url)


def _name(method: str, url: httpx.URL) -> str:
    return f"{method} {url.raw_path.decode('ascii')}"

"""One call: when its request is sent again."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar

import httpx
from duomi_api.api.videos import get_video_task

from duomi._config import Settings
from duomi._core.reply import Problem, Read, Reply, ReplyParser, read_response, read_task
from duomi._errors import ConfigurationError
from duomi._policy import Retry
from duomi._task import Task

T = TypeVar("T")

# Any other method is sent again only if the server certainly did not process it: a second POST could buy a video twice.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SHORTEST_ATTEMPT: Final = 0.1

log = logging.getLogger("duomi")


class Runtime(NamedTuple):
    """What a flow is given from outside: `clock` in monotonic seconds, `jitter` from 0 to 1."""

    clock: Callable[[], float]
    jitter: Callable[[], float]


class TimeLimit(NamedTuple):
    """Times on the clock: no attempt but the first begins after `begins_by`, each is over at `ends_at`."""

    begins_by: float
    ends_at: float


NO_LIMIT = TimeLimit(math.inf, math.inf)


class Send(NamedTuple):
    """The effect of sending a request within `limit` seconds; its result is a `Reply` or the exception."""

    request: httpx.Request
    limit: float


Reason: TypeAlias = Literal["poll", "retry", "retry-after"]


class Sleep(NamedTuple):
    """The effect of waiting so many seconds; `for_all` if the server asks every caller to pause."""

    seconds: float
    reason: Reason
    for_all: bool = False


Answer: TypeAlias = Reply | Exception | None
RequestFlow: TypeAlias = Generator[Send | Sleep, Answer, T | Problem]


def request_flow(
    request: httpx.Request, parser: ReplyParser, read: Read[T], runtime: Runtime, retry: Retry, timeout: float,
    limit: TimeLimit = NO_LIMIT,
) -> RequestFlow[T]:  # fmt: skip
    """Send one request until it is answered, or until sending it again is of no use."""
    is_safe = request.method in SAFE_METHODS
    attempt = 1
    while True:
        reply = yield Send(request, min(timeout, max(limit.ends_at - runtime.clock(), _SHORTEST_ATTEMPT)))
        if reply is None:
            raise TypeError("the result of Send is a reply")
        answer = parser(reply, read)
        if not isinstance(answer, Problem):
            return answer
        delay = None
        if answer.transient and (is_safe or answer.not_sent or answer.is_rate_limit):
            delay = retry.delay(attempt, answer.retry_after, runtime.jitter())
        left = limit.begins_by - runtime.clock()
        if delay is None or left <= 0:
            return answer
        delay = min(delay, left)
        log.info("%s; attempt %d of %d in %.1f s", answer.error, attempt + 1, retry.attempts, delay)
        yield Sleep(delay, "retry" if answer.retry_after is None else "retry-after", for_all=answer.is_for_all)
        attempt += 1


class Requests:
    """Makes the flows of a client's calls."""

    def __init__(self, settings: Settings, headers: httpx.Headers, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self.headers = headers
        self._base = httpx.URL(settings.base_url)

    def flow(
        self, request: httpx.Request, read: Read[T], limit: TimeLimit = NO_LIMIT, retry: Retry | None = None
    ) -> RequestFlow[T]:
        """Return the flow of one request; with the client's `Retry` if none is given."""
        retry = self._settings.retry if retry is None else retry
        call = f"{request.method} {request.url.raw_path.decode('ascii')}"
        parser = ReplyParser(call, self._settings.auth.redact, request.url.netloc.decode("ascii"))
        return request_flow(request, parser, read, self._runtime, retry, self._settings.timeout, limit)

    def task_flow(self, task_id: str, retry: Retry | None = None) -> Callable[[TimeLimit], RequestFlow[Task]]:
        """Return a function that makes the flow of one poll, within a time limit."""
        request = httpx.Request("GET", _task_url(self._settings.base_url, task_id))
        request.headers = self.headers
        read = read_task(task_id, strict=self._settings.strict)
        return lambda limit: self.flow(request, read, limit, retry)

    def api_flow(self, request: httpx.Request) -> RequestFlow[Reply]:
        """Return the flow of a request that a generated function made."""
        if (request.url.scheme, request.url.netloc) != (self._base.scheme, self._base.netloc):
            raise ConfigurationError(f"{request.url.host} is not the API, and would be sent the key")
        return self.flow(request, read_response)


@lru_cache(maxsize=1024)
def _task_url(base_url: str, task_id: str) -> httpx.URL:
    """Return the URL of a task, from the contract; httpx is slow to parse one."""
    return httpx.URL(base_url + get_video_task._get_kwargs(task_id)["url"])

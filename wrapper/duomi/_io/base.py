"""What the sync and the async driver share."""

from __future__ import annotations

import logging
import math
import os
import random
import time
import weakref
from collections.abc import Generator, Iterator
from copy import copy
from typing import Any, Final, Self, TypeVar

import httpx

from duomi._config import HEADERS, Settings, check_task_id
from duomi._core.rate import Rate
from duomi._core.reply import BodyTooLargeError, Problem, Reply
from duomi._core.request import Answer, Requests, Runtime, Sleep
from duomi._errors import ConfigurationError
from duomi._io.lanes import Lanes

T = TypeVar("T")
EffectT = TypeVar("EffectT")

RUNTIME: Final = Runtime(time.monotonic, random.random)
# Seconds between two looks whether the client was closed, or its iterator garbage-collected.
LONGEST_SLEEP: Final = 5.0
# A UnicodeError is what Python's resolver makes of an impossible host name.
TRANSPORT_ERRORS: Final = (httpx.RequestError, httpx.InvalidURL, TimeoutError, UnicodeError, BodyTooLargeError)

log = logging.getLogger("duomi")
_all: weakref.WeakSet[BaseDriver] = weakref.WeakSet()


class BaseDriver:
    """The settings of a client, its lanes, and the flows of its calls."""

    lanes: Lanes[Any]

    def __init__(self, settings: Settings, http_client: httpx.Client | httpx.AsyncClient | None, rate: Rate) -> None:
        self.settings = settings
        self.http_client = http_client
        self.original = self
        self.requests: Requests = Requests(settings, _headers(settings, http_client), RUNTIME, rate)
        _all.add(self)

    def with_settings(self, settings: Settings) -> Self:
        """Return a driver with other settings, on the same lanes and under the same rate."""
        driver = copy(self)
        driver.settings, driver.requests = settings, self.requests.with_settings(settings)
        driver.original = self
        return driver

    def forget_parent(self) -> None:
        """Begin again after a fork: connections, locks and what was learnt belong to the parent."""
        self.lanes.forget_parent()
        self.requests.rate.reset()

    def ensure_open(self) -> None:
        """Refuse to work after the client was closed, or while the caller's `http_client` is.

        Raises:
            ConfigurationError: it is so.
        """
        self.lanes.ensure_open()
        if self.http_client is not None and self.http_client.is_closed:
            raise ConfigurationError("the http_client is closed")

    def naps(self, effect: Sleep) -> Iterator[float]:
        """Yield the seconds of each part of a sleep; between two of them the client may turn out to be closed.

        Raises:
            ConfigurationError: it was.
        """
        log.debug("sleeping %.1f s (%s)", effect.seconds, effect.reason)
        until = RUNTIME.clock() + effect.seconds
        while True:
            yield max(0.0, min(until - RUNTIME.clock(), LONGEST_SLEEP))
            if RUNTIME.clock() >= until:
                return
            self.ensure_open()

    def check_id(self, task: object) -> str:
        """Return the id of a task that may be asked for."""
        return self.settings.auth.check_free_of_key("the task id", check_task_id(task))

    def _reply(self, response: httpx.Response, content: bytes, broken: Exception | None = None) -> Reply:
        redact, headers = self.settings.auth.redact_body, response.headers
        values = b"\n".join([value for _, value in headers.raw])
        if redact(values) != values:
            headers = httpx.Headers([(name, redact(value)) for name, value in headers.raw])
        return Reply(response.status_code, headers, redact(content), broken)

    def closed_during_call(self, error: Exception | None) -> ConfigurationError | None:
        """Return what a failure means if another thread or task has closed the client meanwhile."""
        if self.lanes.is_closed or (self.http_client is not None and self.http_client.is_closed):
            closed = ConfigurationError("the client was closed during a call")
            closed.__cause__ = error
            return closed
        return None


def _forget_after_fork() -> None:
    # Later would be too late: another thread may have held a lock while the process forked.
    for driver in list(_all):
        driver.forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


def _headers(settings: Settings, http_client: httpx.Client | httpx.AsyncClient | None) -> httpx.Headers:
    """Return the headers of every request: those that the caller's client was given, or else ours."""
    headers = httpx.Headers({"host": httpx.URL(settings.base_url).netloc.decode("ascii")} | HEADERS)
    if http_client is not None:
        plain = httpx.Client(transport=httpx.BaseTransport()).headers
        headers.update([(name, value) for name, value in http_client.headers.multi_items() if plain.get(name) != value])
        headers["accept-encoding"] = HEADERS["accept-encoding"]
    return headers


def each_step(limit: float, queue_limit: float = math.inf) -> dict[str, float | None]:
    """Return httpx's time limits for the caller's own client; to queue for one of its connections is no part of them."""
    pool = None if queue_limit == math.inf else queue_limit
    return {"connect": min(limit, 5.0), "read": limit, "write": limit, "pool": pool}


def content_of(response: httpx.Response) -> bytes | None:
    """Return the decompressed body of a response of the caller's own client that is read or closed already, or None."""
    try:
        return response.content
    except httpx.ResponseNotRead:
        return b"" if response.is_closed else None


def unwrap(answer: T | Problem) -> T:
    """Return an answer, or raise the error of a problem."""
    if isinstance(answer, Problem):
        raise answer.to_exception()
    return answer


def advance(flow: Generator[EffectT, Answer, object], answer: Answer) -> EffectT | None:
    """Send a result into a flow, and return its next effect; None at its end."""
    try:
        return flow.send(answer)
    except StopIteration:
        return None

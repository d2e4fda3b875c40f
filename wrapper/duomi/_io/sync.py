"""The two drivers: they carry a flow's wishes out over httpx, and decide nothing."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from functools import lru_cache
from typing import Any, Final, TypeVar

import httpx
from duomi_api.api.videos import get_video_task

from duomi._config import HEADERS, Settings
from duomi._core.poll import (
    FOREVER,
    Answer,
    Emit,
    RequestFlow,
    Runtime,
    Send,
    Sleep,
    TimeLimit,
    WatchFlow,
    request_flow,
)
from duomi._core.request import BodyTooLargeError, Problem, Read, Reply, ReplyParser, read_response, read_task
from duomi._errors import ConfigurationError
from duomi._io.body import Body
from duomi._io.lanes import Lanes
from duomi._policy import Retry
from duomi._task import Task

T = TypeVar("T")
Effect = TypeVar("Effect")

CONNECT: Final = 5.0
_STEPS: Final = ("connect", "read", "write", "pool")
RUNTIME: Final = Runtime(time.monotonic, random.random)

# A UnicodeError is what Python's resolver makes of a host name that cannot be one.
TRANSPORT_ERRORS = (httpx.RequestError, httpx.InvalidURL, TimeoutError, UnicodeError, BodyTooLargeError)


def httpx_timeout(limit: float) -> dict[str, float]:
    """Return httpx's time-outs where each step of an attempt may take so many seconds."""
    return {**dict.fromkeys(_STEPS, limit), "connect": min(limit, CONNECT)}


class _TimeLeft(dict[str, float]):
    """httpx's time-outs for one attempt: each step of it gets what is left of the whole."""

    def __init__(self, limit: float) -> None:
        super().__init__(httpx_timeout(limit))
        self._limit = limit
        self._ends_at = time.monotonic() + limit

    def __getitem__(self, step: str) -> float:
        left = max(self._ends_at - time.monotonic(), 0.001)
        return min(left, CONNECT) if step == "connect" else left

    def get(self, key: str, _default: object = None) -> float:
        return self[key]

    def ensure(self) -> None:
        if time.monotonic() > self._ends_at:
            raise TimeoutError(f"no whole answer within {self._limit:g} s")


def _unreachable(_request: httpx.Request) -> httpx.Response:
    raise RuntimeError("the shell sends nothing itself")


NOWHERE = httpx.MockTransport(_unreachable)


def _headers(own: httpx.Client | httpx.AsyncClient | None) -> httpx.Headers:
    """Return the headers of every request: those that the caller's client was given, and else ours."""
    headers = httpx.Headers(HEADERS)
    if own is not None:
        sanitize = httpx.Client(transport=NOWHERE).headers
        headers.update([(name, value) for name, value in own.headers.multi_items() if sanitize.get(name) != value])
        headers["accept-encoding"] = HEADERS["accept-encoding"]
    return headers


@lru_cache(maxsize=1024)
def _task_url(base_url: str, task_id: str) -> httpx.URL:
    """Return where a task is asked for; who asks once asks again, and httpx is slow to parse a URL."""
    path = get_video_task._get_kwargs(task_id)["url"]
    return httpx.URL(base_url + path)


def closed_during_call(client: httpx.Client | httpx.AsyncClient, error: RuntimeError) -> Exception:
    """Return what a RuntimeError of httpx means: another thread or task has closed the client, or a bug."""
    return ConfigurationError("the client was closed in the middle of a call") if client.is_closed else error


def unwrap(answer: T | Problem) -> T:
    """Return an answer, or raise what the problem is."""
    if isinstance(answer, Problem):
        raise answer.to_exception()
    return answer


class Caller:
    """What both drivers need to know: the settings, and how requests are made and judged."""

    lanes: Lanes[Any]

    def __init__(self, settings: Settings, own: httpx.Client | httpx.AsyncClient | None) -> None:
        self.settings = settings
        self.headers: httpx.Headers = _headers(own)

    def flow(
        self, request: httpx.Request, read: Read[T], span: TimeLimit = FOREVER, retry: Retry | None = None
    ) -> RequestFlow[T]:
        """Return the flow of one request."""
        retry = self.settings.retry if retry is None else retry
        call = f"{request.method} {request.url.raw_path.decode('ascii')}"
        judge = ReplyParser(call, self.settings.auth.redact, request.url.netloc.decode("ascii"))
        return request_flow(request, judge, read, RUNTIME, retry, self.settings.timeout, span)

    def task_flow(self, task_id: str, retry: Retry | None = None) -> Callable[[TimeLimit], RequestFlow[Task]]:
        """Return what makes the flow of one look at a task, for as long as it may take; with the client's retry where none is given."""
        request = httpx.Request("GET", _task_url(self.settings.base_url, task_id), headers=self.headers)
        read = read_task(task_id, strict=self.settings.strict)
        return lambda span: self.flow(request, read, span, retry)

    def api_flow(self, request: httpx.Request) -> RequestFlow[Reply]:
        """Return the flow of a request that a generated function made."""
        base = httpx.URL(self.settings.base_url)
        if (request.url.scheme, request.url.netloc) != (base.scheme, base.netloc):
            raise ConfigurationError(f"{request.url.host} is not the API, and would be sent the key")
        return self.flow(request, read_response)


class Driver(Caller):
    """Carries wishes out with `httpx.Client`, and blocks."""

    lanes: Lanes[httpx.Client]

    def __init__(self, settings: Settings, own: httpx.Client | None) -> None:
        super().__init__(settings, own)
        self.lanes = Lanes(httpx.Client, own)

    def call(self, flow: RequestFlow[T]) -> T:
        """Drive a flow to its end, and return its answer, or raise what its problem is."""
        return unwrap(self.drive(flow))

    def drive(self, flow: RequestFlow[T]) -> T | Problem:
        """Drive a flow to its end."""
        try:
            effect = next(flow)
            while True:
                effect = flow.send(self.perform(effect))
        except StopIteration as end:
            answer: T | Problem = end.value
            return answer

    def watch(self, flow: WatchFlow) -> Iterator[Task]:
        """Drive a flow, and yield what it shows."""
        answer: Answer = None
        while (effect := advance(flow, answer)) is not None:
            self.lanes.ensure_open()
            if isinstance(effect, Emit):
                answer = None
                yield effect.task
            else:
                answer = self.perform(effect)

    def perform(self, effect: Send | Sleep) -> Answer:
        """Send, or sleep."""
        if isinstance(effect, Sleep):
            time.sleep(effect.seconds)
            return None
        client = self.lanes.take()
        try:
            return self._attempt(client, effect)
        except RuntimeError as error:
            raise closed_during_call(client, error) from error
        finally:
            self.lanes.release(client)

    def _attempt(self, client: httpx.Client, effect: Send) -> Reply | Exception:
        time_left = _TimeLeft(effect.limit)
        effect.request.extensions = {"timeout": time_left}
        try:
            response = client.send(effect.request, auth=self.settings.auth, follow_redirects=False, stream=True)
        except TRANSPORT_ERRORS as error:
            return error
        body = Body()
        broken = None
        try:
            body.begin(response.headers)
            for chunk in response.iter_raw():
                body.add(chunk)
                time_left.ensure()
            body.finish()
        except TRANSPORT_ERRORS as error:
            broken = error
        finally:
            response.close()
        content = self.settings.auth.redact_body(body.content)
        return Reply(response.status_code, response.headers, content, broken)

    def close(self) -> None:
        """Close every connection that is ours."""
        for client in self.lanes.close_all():
            client.close()


class AsyncDriver(Caller):
    """Carries wishes out with `httpx.AsyncClient`, under asyncio and trio."""

    lanes: Lanes[httpx.AsyncClient]

    def __init__(self, settings: Settings, own: httpx.AsyncClient | None) -> None:
        super().__init__(settings, own)
        self.lanes = Lanes(httpx.AsyncClient, own)

    async def call(self, flow: RequestFlow[T]) -> T:
        """Drive a flow to its end."""
        try:
            effect = next(flow)
            while True:
                effect = flow.send(await self.perform(effect))
        except StopIteration as end:
            answer: T | Problem = end.value
            return unwrap(answer)

    def watch(self, flow: WatchFlow) -> AsyncIterator[Task]:
        """Drive a flow, and yield what it shows."""
        return _Watch(self, flow)

    async def perform(self, effect: Send | Sleep) -> Answer:
        """Send, or sleep."""
        if isinstance(effect, Sleep):
            import anyio  # noqa: PLC0415  (dear to import, and not needed by those who block)

            await anyio.sleep(effect.seconds)
            return None
        client = self.lanes.take()
        try:
            return await self._attempt(client, effect)
        except RuntimeError as error:
            raise closed_during_call(client, error) from error
        finally:
            self.lanes.release(client)

    async def _attempt(self, client: httpx.AsyncClient, effect: Send) -> Reply | Exception:
        import anyio  # noqa: PLC0415  (as above)

        # A read's own time-out is a cancel scope of its own, and ours is around all of them.
        effect.request.extensions = {"timeout": {**dict.fromkeys(_STEPS), "connect": min(effect.limit, CONNECT)}}
        body = Body()
        response = broken = None
        try:
            with anyio.fail_after(effect.limit):
                response = await client.send(
                    effect.request, auth=self.settings.auth, follow_redirects=False, stream=True
                )
                chunks = response.aiter_raw()
                try:
                    body.begin(response.headers)
                    async for chunk in chunks:
                        body.add(chunk)
                    body.finish()
                finally:
                    await close(response, chunks)
        except TRANSPORT_ERRORS as error:
            broken = error
        if response is None:
            return broken or TimeoutError()
        content = self.settings.auth.redact_body(body.content)
        return Reply(response.status_code, response.headers, content, broken)

    async def aclose(self) -> None:
        """Close every connection that is ours."""
        for client in self.lanes.close_all():
            await client.aclose()


class _Watch(AsyncIterator[Task]):
    """Drives a flow from one thing it shows to the next; no async generator, since trio warns of one that is left."""

    def __init__(self, driver: AsyncDriver, flow: WatchFlow) -> None:
        self._driver = driver
        self._flow = flow

    async def __anext__(self) -> Task:
        answer: Answer = None
        while (effect := advance(self._flow, answer)) is not None:
            self._driver.lanes.ensure_open()
            if isinstance(effect, Emit):
                return effect.task
            try:
                answer = await self._driver.perform(effect)
            except BaseException:
                self._flow.close()
                raise
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the watch, as an async generator's `aclose` does."""
        self._flow.close()


async def close(response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
    """Close an answer, and run its iterator to the end: httpx leaves its generators to trio, which warns of each."""
    await response.aclose()
    with contextlib.suppress(*TRANSPORT_ERRORS, httpx.StreamError):
        async for _ in chunks:
            pass


def advance(flow: Generator[Effect, Answer, object], answer: Answer) -> Effect | None:
    """Send an answer into a flow, and return its next wish; None at its end."""
    try:
        return flow.send(answer)
    except StopIteration:
        return None

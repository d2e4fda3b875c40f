"""The driver for asyncio and trio: it performs the effects of flows over httpx."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import nullcontext
from typing import Any, Final, TypeVar

import anyio
import httpx

from duomi._config import Settings
from duomi._core.poll import Emit, WatchFlow
from duomi._core.rate import Rate
from duomi._core.reply import Problem, Reply
from duomi._core.request import Answer, RequestFlow, Send, Sleep
from duomi._io.base import RUNTIME, TRANSPORT_ERRORS, BaseDriver, advance, content_of, each_step, unwrap
from duomi._io.body import Body
from duomi._io.lanes import AsyncLane, Lanes
from duomi._task import Task

T = TypeVar("T")
# Seconds that the closing of a connection may take.
CLOSING: Final = 5.0


class AsyncDriver(BaseDriver):
    """Performs the effects of flows, under asyncio and trio."""

    lanes: Lanes[AsyncLane]
    http_client: httpx.AsyncClient | None

    def __init__(self, settings: Settings, http_client: httpx.AsyncClient | None) -> None:
        super().__init__(settings, http_client, Rate(settings.max_rate, nullcontext))
        self.lanes = Lanes(AsyncLane, settings.base_url)

    async def call(self, flow: RequestFlow[T]) -> T:
        """Drive a flow to its end; return its answer, or raise the error of its problem."""
        try:
            effect = next(flow)
            while True:
                effect = flow.send(await self.perform(effect))
        except StopIteration as end:
            answer: T | Problem = end.value
            return unwrap(answer)
        finally:
            flow.close()

    def watch(self, flow: WatchFlow) -> AsyncIterator[Task]:
        """Drive a flow, and yield what it emits."""
        return _Watch(self, flow)

    async def perform(self, effect: Send | Sleep) -> Answer:
        """Send, or sleep."""
        if isinstance(effect, Sleep):
            for nap in self.naps(effect):
                await anyio.sleep(nap)
            return None
        self.ensure_open()
        try:
            if self.http_client is None:
                reply = await self._by_lane(effect)
            else:
                reply = await self._by_client(self.http_client, effect)
        except RuntimeError as error:
            raise self.closed_during_call(error) or error from error
        failure = reply if isinstance(reply, Exception) else reply.broken
        if failure is not None and (closed := self.closed_during_call(failure)):
            raise closed
        return reply

    async def _by_lane(self, effect: Send) -> Reply | Exception:
        await self.enter_loop()
        lane = self.lanes.acquire(fresh=effect.fresh_lane)
        complete = False
        try:
            reply = await self._attempt(lane, effect)
            complete = isinstance(reply, Reply) and reply.broken is None
        finally:
            for dropped in self.lanes.release(lane, complete=complete):
                await dropped.network.aclose()
        return reply

    async def _attempt(self, lane: AsyncLane, effect: Send) -> Reply | Exception:
        unsigned = effect.request.headers
        effect.request.headers = self.settings.auth.sign(unsigned)
        response: httpx.Response | None = None
        body = Body()
        broken: Exception | None = None
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + effect.limit) as scope:
                response = await lane.handle_async_request(effect.request)
                await self._read(response, aiter(response.stream), body)  # type: ignore[arg-type]
                await response.aclose()
            if scope.cancelled_caught:
                broken = lane.explain(TimeoutError())
        except TRANSPORT_ERRORS as error:
            broken = lane.explain(error)
        finally:
            effect.request.headers = unsigned
        return self._reply_or_error(response, body, broken)

    async def _by_client(self, http_client: httpx.AsyncClient, effect: Send) -> Reply | Exception:
        response: httpx.Response | None = None
        body = Body()
        broken: Exception | None = None
        try:
            queueing = anyio.current_time() + effect.queue_limit
            with anyio.CancelScope(deadline=queueing) as scope:

                async def begin(_event: str, _info: Any) -> None:
                    # To queue for one of the caller's connections is not part of the attempt.
                    if scope.deadline == queueing:
                        scope.deadline = anyio.current_time() + effect.limit

                if not isinstance(getattr(http_client, "_transport", None), httpx.AsyncHTTPTransport):
                    # Only httpx's own transports tell when they begin.
                    scope.deadline = anyio.current_time() + effect.limit

                effect.request.extensions = {"timeout": each_step(effect.limit), "trace": begin}
                response = await send(http_client, effect.request, self.settings.auth)
                if (content := content_of(response)) is not None:
                    return self._reply(response, content)
                # httpx's own iterator closes the response, and a cancellation then leaves its pool a connection short.
                chunks = aiter(response.stream)  # type: ignore[arg-type]
                await self._read(response, chunks, body)
                await close(response, chunks)
            if scope.cancelled_caught:
                broken = TimeoutError()
        except TRANSPORT_ERRORS as error:
            broken = error
        return self._reply_or_error(response, body, broken)

    async def _read(self, response: httpx.Response, chunks: AsyncIterator[bytes], body: Body) -> None:
        try:
            body.begin(response.headers)
            async for chunk in chunks:
                body.add(chunk)
            body.finish()
        except BaseException:
            await close(response, chunks)
            raise

    def _reply_or_error(
        self, response: httpx.Response | None, body: Body, broken: Exception | None
    ) -> Reply | Exception:
        if response is None:
            return broken or TimeoutError()
        return self._reply(response, body.content, broken)

    async def enter_loop(self) -> None:
        """Use lanes of the event loop that runs now; those of another are closed with it."""
        loop = current_loop()
        if loop is not self.lanes.loop:
            self.lanes.loop = loop
            self.lanes.forget()
            self.lanes.closes_with_loop = self._close_with_loop()
            await anext(self.lanes.closes_with_loop)

    async def _close_with_loop(self) -> AsyncGenerator[None]:
        """Close the lanes when the event loop ends: it closes the generators that it has seen first."""
        mine = self.lanes.all()
        try:
            yield
        finally:
            for lane in mine():
                await lane.network.aclose()

    async def aclose(self) -> None:
        """Close every connection that is ours; calls under way end with an error."""
        idle, active = self.lanes.close_all()
        for lane in (*idle, *active):
            with contextlib.suppress(RuntimeError):  # its event loop was closed before the client
                await lane.network.aclose()
        closes_with_loop, self.lanes.closes_with_loop = self.lanes.closes_with_loop, None
        if closes_with_loop is not None and self.lanes.loop is current_loop():
            await closes_with_loop.aclose()


def current_loop() -> object:
    """Return asyncio's event loop, or trio's token."""
    import asyncio  # noqa: PLC0415  (it takes long to import, and those who block do not need it)

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        from trio.lowlevel import current_trio_token  # noqa: PLC0415  (not every user has it)

        return current_trio_token()


async def send(http_client: httpx.AsyncClient, request: httpx.Request, auth: httpx.Auth | None) -> httpx.Response:
    """Send a request by the caller's own client, and return the response before its body.

    asyncio's own cancellation may strike where httpcore does not expect it, and then its pool is a connection short. It
    does not reach a task inside this one, which anyio cancels where it may be cancelled.
    """
    outcome: list[httpx.Response | Exception] = []

    async def run() -> None:
        try:
            outcome.append(await http_client.send(request, auth=auth, follow_redirects=False, stream=True))
        except httpx.HTTPStatusError as error:
            outcome.append(error.response)  # a hook of the caller's raised it
        except Exception as error:  # the group would wrap it
            outcome.append(error)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
    except BaseException:
        if outcome and isinstance(outcome[0], httpx.Response):
            await close(outcome[0], aiter(outcome[0].stream))  # type: ignore[arg-type]
        raise
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


async def close(response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
    """Close a response, also while its caller is being cancelled, and run its iterator to the end.

    httpx leaves its generators to trio, which warns of each.
    """

    async def end() -> None:
        # What goes wrong with a connection that is being closed says nothing of the call.
        with anyio.move_on_after(CLOSING, shield=True), contextlib.suppress(Exception):
            await response.aclose()
            async for _ in chunks:
                pass

    # asyncio's own cancellation reaches this task, and not one inside it.
    async with anyio.create_task_group() as group:
        group.start_soon(end)


class _Watch(AsyncIterator[Task]):
    """Drives a flow from one task that it emits to the next.

    An `anext` that is cancelled leaves it intact: the next one performs the same effect again. It is no async generator,
    since that would end, and trio warns of one that is left.
    """

    def __init__(self, driver: AsyncDriver, flow: WatchFlow) -> None:
        self._driver = driver
        self._flow = flow
        self._effect: Send | Sleep | Emit | None = None
        self._answer: Answer = None
        self._sleeps_until = 0.0

    async def __anext__(self) -> Task:
        while True:
            if self._effect is None:
                self._effect = advance(self._flow, self._answer)
                self._answer = None
                if isinstance(self._effect, Sleep):
                    self._sleeps_until = RUNTIME.clock() + self._effect.seconds
            effect = self._effect
            if effect is None:
                raise StopAsyncIteration
            self._driver.ensure_open()
            if isinstance(effect, Emit):
                self._effect = None
                return effect.task
            if isinstance(effect, Sleep):
                effect = effect._replace(seconds=max(0.0, self._sleeps_until - RUNTIME.clock()))
            self._answer = await self._driver.perform(effect)
            self._effect = None

    async def aclose(self) -> None:
        """End the watch, as an async generator's `aclose` does."""
        self._flow.close()
        self._effect = None

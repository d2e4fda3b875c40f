"""The driver for asyncio and trio: it performs the effects of flows over httpx, and runs many polls at once."""

import contextlib
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from inspect import isawaitable
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx

from duomi._config import Settings
from duomi._core.poll import Emit, WatchFlow
from duomi._core.rate import Rate
from duomi._core.reply import Problem, Reply
from duomi._core.request import Answer, RequestFlow, Send, Sleep
from duomi._core.scheduler import Job, Scheduler
from duomi._io.base import RUNTIME, TRANSPORT_ERRORS, BaseDriver, advance, content_of, each_step, log_sleep, unwrap
from duomi._io.body import Body
from duomi._io.lanes import AsyncLane, Lanes
from duomi._task import Outcome, Task

T = TypeVar("T")


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
            log_sleep(effect)
            await anyio.sleep(effect.seconds)
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
                try:
                    response = await http_client.send(
                        effect.request, auth=self.settings.auth, follow_redirects=False, stream=True
                    )
                except httpx.HTTPStatusError as error:
                    response = error.response  # a hook of the caller's raised it
                if (content := content_of(response)) is not None:
                    return self._reply(response, content)
                await self._read(response, response.aiter_raw(), body)
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
        await response.aclose()

    def _reply_or_error(
        self, response: httpx.Response | None, body: Body, broken: Exception | None
    ) -> Reply | Exception:
        if response is None:
            return broken or TimeoutError()
        return self._reply(response, body.content, broken)

    async def enter_loop(self) -> None:
        """Use lanes of the event loop that runs now; those of another are closed with it."""
        loop = _current_loop()
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
            await lane.network.aclose()
        closes_with_loop, self.lanes.closes_with_loop = self.lanes.closes_with_loop, None
        if closes_with_loop is not None and self.lanes.loop is _current_loop():
            await closes_with_loop.aclose()


def _current_loop() -> object:
    import asyncio  # noqa: PLC0415  (it takes long to import, and those who block do not need it)

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        from trio.lowlevel import current_trio_token  # noqa: PLC0415  (not every user has it)

        return current_trio_token()


async def close(response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
    """Close a response, and run its iterator to the end: httpx leaves its generators to trio, which warns of each."""
    await response.aclose()
    with contextlib.suppress(*TRANSPORT_ERRORS, httpx.StreamError):
        async for _ in chunks:
            pass


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


class AsyncCompleted(AsyncIterator[Outcome]):
    """Outcomes in the order in which tasks finish; leaving the `async with` block, or `aclose`, stops the polling."""

    __module__ = "duomi"

    def __init__(
        self,
        driver: AsyncDriver,
        scheduler: Scheduler,
        on_update: Callable[[Task], object | Awaitable[object]] | None = None,
    ) -> None:
        self._dispatcher = _Dispatcher(driver, scheduler, on_update)
        # Stop polling when the iterator is garbage-collected.
        weakref.finalize(self, self._dispatcher.stop).atexit = False

    async def __anext__(self) -> Outcome:
        """Return the next outcome; calls `on_update` for what has changed meanwhile."""
        found = await self._dispatcher.next()
        if found is None:
            raise StopAsyncIteration
        if isinstance(found, Outcome):
            return found
        await self.aclose()
        raise found

    async def aclose(self) -> None:
        """Stop the polling, in the middle of a request as well."""
        await self._dispatcher.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Dispatcher:
    """Starts a poll of each task that is due, in a task of its own, so that none of its scopes is around the caller."""

    def __init__(
        self,
        driver: AsyncDriver,
        scheduler: Scheduler,
        on_update: Callable[[Task], object | Awaitable[object]] | None,
    ) -> None:
        self._driver = driver
        self._scheduler = scheduler
        self._on_update = on_update
        # A str stands for an update of that task, of which only the newest is kept.
        self._results: deque[Outcome | Exception | str] = deque()
        self._updates: dict[str, Task] = {}
        self._arrived: anyio.Event | None = None
        self._woken: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None
        self._updating: anyio.Lock | None = None
        self._finished: anyio.Event | None = None
        self._task: object = None
        self._stopped = False

    def stop(self) -> None:
        """Begin no more polls."""
        self._stopped = True

    async def aclose(self) -> None:
        """End the polls under way, and wait until they have ended."""
        self._stopped = True
        self._results.clear()
        self._updates.clear()
        if self._scope is not None:
            self._scope.cancel()
        if self._finished is not None:
            with anyio.CancelScope(shield=True):
                await self._finished.wait()

    async def next(self) -> Outcome | Exception | None:
        """Return the next result; None at the end."""
        if self._finished is None:
            self._start()
        while True:
            if self._results and isinstance(self._results[0], str):
                await self._update()
            elif self._results and not isinstance(found := self._results.popleft(), str):
                return found
            elif self._is_over:
                return None
            else:
                if self._arrived is None:
                    self._arrived = anyio.Event()
                await self._arrived.wait()

    @property
    def _is_over(self) -> bool:
        return self._stopped or self._finished is None or self._finished.is_set()

    async def _update(self) -> None:
        if self._updating is None:
            self._updating = anyio.Lock()
        async with self._updating:
            if self._results and isinstance(task_id := self._results[0], str):
                self._results.popleft()
                update = self._updates.pop(task_id, None)
                if update is not None and self._on_update is not None and isawaitable(done := self._on_update(update)):
                    await done

    def _start(self) -> None:
        finished = self._finished = anyio.Event()
        if self._stopped:
            finished.set()
            return
        import asyncio  # noqa: PLC0415  (it takes long to import, and those who block do not need it)

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            from trio.lowlevel import spawn_system_task  # noqa: PLC0415  (not every user has it)

            self._task = spawn_system_task(self._run)
        else:
            task = self._task = loop.create_task(self._run())
            # It may be cancelled before it begins.
            task.add_done_callback(lambda _: self._end())

    def _end(self) -> None:
        if self._finished is not None:
            self._finished.set()
        self._notify()

    async def _run(self) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                async with anyio.create_task_group() as polls:
                    try:
                        await self._start_polls(polls)
                    except Exception as error:
                        # Whatever it is, it belongs to the caller; the group would wrap it.
                        self._put(error)
                    polls.cancel_scope.cancel()
        finally:
            self._end()

    async def _start_polls(self, polls: "anyio.abc.TaskGroup") -> None:
        while not self._scheduler.is_done and not self._stopped:
            if isinstance(found := self._next_due(), Job):
                polls.start_soon(self._poll, found)
            else:
                self._woken = anyio.Event()
                with anyio.move_on_after(found):
                    await self._woken.wait()

    def _next_due(self) -> Job | float:
        """Return the job whose turn it is, or the seconds until there is one."""
        while not self._stopped:
            found = self._scheduler.pop()
            if isinstance(found, Outcome):
                self._put(found)
            else:
                return 0.0 if found is None else found
        return 0.0

    async def _poll(self, job: Job | float) -> None:
        """Poll a task, and then the next one that is due, if any: to start a task for each takes longer."""
        try:
            while isinstance(job, Job):
                effect: Send | Outcome | None = job.effect
                while isinstance(effect, Send):
                    effect = self._scheduler.advance(job, await self._driver.perform(effect))
                if job.changed is not None and self._on_update is not None:
                    if job.task_id not in self._updates:
                        self._results.append(job.task_id)
                    self._updates[job.task_id] = job.changed
                    self._notify()
                if effect is not None:
                    self._put(effect)
                job = self._next_due()
        except Exception as error:
            # As above.
            self._put(error)
        finally:
            if isinstance(job, Job) and job.flow is not None:
                job.flow.close()
        if self._woken is not None:
            self._woken.set()

    def _put(self, result: Outcome | Exception) -> None:
        if not self._stopped:
            self._results.append(result)
        self._notify()

    def _notify(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

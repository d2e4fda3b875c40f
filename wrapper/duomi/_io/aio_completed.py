"""The async twin of `completed.py`."""

import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from inspect import isawaitable
from types import TracebackType
from typing import Self

import anyio

from duomi._core.poll import Poller
from duomi._core.request import Send
from duomi._core.scheduler import Job, Outcome, Scheduler
from duomi._io.aio import AsyncDriver
from duomi._io.base import LONGEST_SLEEP
from duomi._task import Task


class AsyncCompleted(AsyncIterator[Outcome]):
    """Outcomes in the order in which tasks finish; leaving the `async with` block, or `aclose`, stops the polling."""

    __module__ = "duomi"

    def __init__(
        self,
        driver: AsyncDriver,
        pollers: Sequence[Poller],
        max_in_flight: int,
        on_update: Callable[[Task], object | Awaitable[object]] | None = None,
    ) -> None:
        self._dispatcher = _Dispatcher(driver, Scheduler(pollers, driver.requests, max_in_flight), on_update)
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
            self._driver.ensure_open()
            if isinstance(found := self._next_due(), Job):
                polls.start_soon(self._poll, found)
            else:
                self._woken = anyio.Event()
                with anyio.move_on_after(min(found, LONGEST_SLEEP)):
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

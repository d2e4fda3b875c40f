"""Many tasks at once: the workers, under threads and under asyncio and trio. What they do next is the board's decision."""

import math
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Final, Self

from duomi._config import check_task_id, check_timeout
from duomi._core.poll import Poller, RequestFlow, Send, TimeLimit
from duomi._core.scheduler import Job, Scheduler
from duomi._errors import ConfigurationError
from duomi._io.sync import RUNTIME, AsyncDriver, Caller, Driver
from duomi._policy import Polling
from duomi._task import Outcome, Task

if TYPE_CHECKING:
    import asyncio

    import anyio
    import anyio.abc

THREADS: Final = 16


def make_scheduler(
    caller: Caller,
    task_ids: Iterable[str],
    timeout: float | EllipsisType | None,
    polling: Polling | None,
    max_in_flight: int,
    on_poll: Callable[[Task], object] | None = None,
) -> Scheduler:
    """Judge the arguments, and return the board of the tasks; `on_look` is called with each task as it is seen.

    Raises:
        ConfigurationError: one of them cannot be used; nothing was sent.
    """
    caller.lanes.ensure_open()
    if isinstance(task_ids, str):
        raise ConfigurationError("task_ids is a collection of ids, not one str")
    if not isinstance(task_ids, Iterable):
        raise ConfigurationError(f"task_ids is a collection of ids, not {type(task_ids).__name__}")
    if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int) or max_in_flight < 1:
        raise ConfigurationError(f"max_in_flight must be a whole number, 1 or more, not {max_in_flight!r}")
    polling = caller.settings.polling if polling is None else polling
    limit = check_timeout(polling.timeout if isinstance(timeout, EllipsisType) else timeout)
    longest = caller.settings.retry.max_retry_after
    waits = [Poller(task_id, polling, limit, longest) for task_id in dict.fromkeys(map(check_task_id, task_ids))]

    def ask(task_id: str, span: TimeLimit) -> RequestFlow[Task]:
        return caller.task_flow(task_id)(span)

    def ask_and_tell(task_id: str, span: TimeLimit) -> RequestFlow[Task]:
        result = yield from ask(task_id, span)
        if on_poll is not None and isinstance(result, Task):
            on_poll(result)
        return result

    return Scheduler(waits, ask if on_poll is None else ask_and_tell, RUNTIME, max_in_flight)


class Completed(Iterator[Outcome]):
    """Outcomes in the order in which tasks finish; leaving the `with` block, or `close`, stops everything."""

    __module__ = "duomi"

    def __init__(self, driver: Driver, scheduler: Scheduler) -> None:
        self._crew = _Crew(driver, scheduler)
        self._begun = False
        # Whoever drops the iterator without closing it has no use for its threads.
        self._finalizer = weakref.finalize(self, self._crew.stop)

    def __next__(self) -> Outcome:
        if not self._begun:
            self._begun = True
            self._crew.start()
        found = self._crew.next()
        if found is None:
            raise StopIteration
        if isinstance(found, Outcome):
            return found
        self.close()
        raise found

    def close(self) -> None:
        """Begin no more looks; one that is under way ends by itself, and is forgotten."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Crew:
    """The threads behind a `Completed`, and what they have brought."""

    def __init__(self, driver: Driver, scheduler: Scheduler) -> None:
        self._driver = driver
        self._scheduler = scheduler
        self._at_work = 0
        self._stopped = False
        self._brought: deque[Outcome | BaseException] = deque()
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._arrived = threading.Condition(lock)

    def start(self) -> None:
        for _ in range(min(THREADS, self._scheduler.workers)):
            threading.Thread(target=self._work, name="duomi", daemon=True).start()
            self._at_work += 1

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._brought.clear()
            self._changed.notify_all()
            self._arrived.notify_all()

    def next(self) -> Outcome | BaseException | None:
        with self._changed:
            while not self._brought:
                if self._stopped or not self._at_work:
                    return None
                self._arrived.wait()
            return self._brought.popleft()

    def _work(self) -> None:
        try:
            with self._changed:
                while (job := self._take()) is not None:
                    effect = self._scheduler.advance(job, None)
                    while isinstance(effect, Send):
                        self._changed.release()
                        try:
                            answer = self._driver.perform(effect)
                        finally:
                            self._changed.acquire()
                        effect = self._scheduler.advance(job, answer)
                    if effect is not None:
                        self._bring(effect)
        except BaseException as error:
            # Whatever it is, it belongs to whoever waits for outcomes.
            self._bring(error)
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()
                self._arrived.notify_all()

    def _take(self) -> Job | None:
        while not self._stopped:
            found = self._scheduler.take()
            if found is None:
                return None
            if isinstance(found, Job):
                if self._scheduler.wants_another:
                    self._changed.notify()
                return found
            if isinstance(found, Outcome):
                self._bring(found)
            else:
                self._changed.wait(None if math.isinf(found.until) else max(0.0, found.until - RUNTIME.clock()))
                self._scheduler.woke(found)
        return None

    def _bring(self, what: Outcome | BaseException) -> None:
        with self._changed:
            if not self._stopped:
                self._brought.append(what)
                self._arrived.notify()


class AsyncCompleted(AsyncIterator[Outcome]):
    """Outcomes in the order in which tasks finish; leaving the `async with` block, or `aclose`, stops everything.

    Under asyncio it also works without the block when it is run to its end.
    """

    __module__ = "duomi"

    def __init__(self, driver: AsyncDriver, scheduler: Scheduler) -> None:
        self._driver = driver
        self._scheduler = scheduler
        self._at_work = scheduler.workers
        self._closed = False
        self._brought: deque[Outcome | Exception] = deque()
        self._resting: dict[anyio.Event, None] = {}
        self._arrival: anyio.Event | None = None
        self._groups: list[anyio.abc.TaskGroup] = []
        self._task: asyncio.Task[None] | None = None

    async def __anext__(self) -> Outcome:
        import anyio  # noqa: PLC0415  (dear to import, and not needed by those who block)

        if not self._groups and self._task is None and not self._closed:
            self._task = self._begin_alone()
        while not self._brought:
            if self._closed or not self._at_work:
                await self.aclose()
                raise StopAsyncIteration
            self._arrival = anyio.Event()
            await self._arrival.wait()
        found = self._brought.popleft()
        if isinstance(found, Outcome):
            return found
        await self.aclose()
        raise found

    async def aclose(self) -> None:
        """Stop everything, in the middle of a request as well."""
        self._closed = True
        self._brought.clear()
        if self._arrival is not None:
            self._arrival.set()
        for group in self._groups:
            group.cancel_scope.cancel()
        if self._task is not None:
            import asyncio  # noqa: PLC0415  (it is running already)

            self._task.cancel()
            await asyncio.wait([self._task])

    async def __aenter__(self) -> Self:
        import anyio  # noqa: PLC0415  (as above)

        group = anyio.create_task_group()
        await group.__aenter__()
        self._groups.append(group)
        self._start(group)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
        while self._groups:
            # Told of no error: the group would wrap what the block raised.
            await self._groups.pop().__aexit__(None, None, None)

    def _begin_alone(self) -> "asyncio.Task[None]":
        import asyncio  # noqa: PLC0415  (as above)

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError("under trio, use `async with client.as_completed(...) as outcomes`") from None
        return loop.create_task(self._run())

    async def _run(self) -> None:
        import anyio  # noqa: PLC0415  (as above)

        async with anyio.create_task_group() as group:
            self._start(group)

    def _start(self, group: "anyio.abc.TaskGroup") -> None:
        for _ in range(self._scheduler.workers):
            group.start_soon(self._work)

    async def _work(self) -> None:
        try:
            while (job := await self._take()) is not None:
                effect = self._scheduler.advance(job, None)
                while isinstance(effect, Send):
                    effect = self._scheduler.advance(job, await self._driver.perform(effect))
                if effect is not None:
                    self._bring(effect)
        except Exception as error:
            # As in the sync twin: it belongs to whoever waits for outcomes.
            self._bring(error)
        finally:
            self._at_work -= 1
            self._call(len(self._resting))
            if self._arrival is not None:
                self._arrival.set()

    async def _take(self) -> Job | None:
        import anyio  # noqa: PLC0415  (as above)

        while True:
            found = self._scheduler.take()
            if found is None:
                return None
            if isinstance(found, Job):
                if self._scheduler.wants_another:
                    self._call(1)
                return found
            if isinstance(found, Outcome):
                self._bring(found)
                continue
            called = anyio.Event()
            self._resting[called] = None
            try:
                with anyio.move_on_after(found.until - RUNTIME.clock()):
                    await called.wait()
            finally:
                self._resting.pop(called, None)
                self._scheduler.woke(found)

    def _call(self, workers: int) -> None:
        """Wake so many of those who rest, the last who lay down first."""
        for _ in range(min(workers, len(self._resting))):
            self._resting.popitem()[0].set()

    def _bring(self, what: Outcome | Exception) -> None:
        if not self._closed:
            self._brought.append(what)
        if self._arrival is not None:
            self._arrival.set()

"""Many tasks at once, with blocking sockets: polls in threads."""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from duomi._core.poll import Poller
from duomi._core.request import Send
from duomi._core.scheduler import Job, Outcome, Scheduler
from duomi._errors import ConfigurationError
from duomi._io.base import LONGEST_SLEEP
from duomi._io.sync import Driver
from duomi._task import Task

THREADS: Final = 16


class Completed(Iterator[Outcome]):
    """Outcomes in the order in which tasks finish; leaving the `with` block, or `close`, stops the polling."""

    __module__ = "duomi"

    def __init__(
        self,
        driver: Driver,
        pollers: Sequence[Poller],
        max_in_flight: int,
        on_update: Callable[[Task], object] | None = None,
    ) -> None:
        self._dispatcher = _Dispatcher(driver, Scheduler(pollers, driver.requests, max_in_flight), on_update)
        # Stop the threads when the iterator is garbage-collected.
        weakref.finalize(self, self._dispatcher.abandon)

    def __next__(self) -> Outcome:
        """Return the next outcome; calls `on_update` for what has changed meanwhile."""
        found = self._dispatcher.next()
        if found is None:
            raise StopIteration
        if isinstance(found, Outcome):
            return found
        self.close()
        raise found

    def close(self) -> None:
        """Begin no more polls; one that is under way ends by itself, and is ignored."""
        self._dispatcher.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Dispatcher:
    """Polls what is due, in threads that take turns at waiting for it."""

    def __init__(self, driver: Driver, scheduler: Scheduler, on_update: Callable[[Task], object] | None) -> None:
        self._driver = driver
        self._scheduler = scheduler
        self._on_update = on_update
        # A str stands for an update of that task, of which only the newest is kept.
        self._results: deque[Outcome | BaseException | str] = deque()
        self._updates: dict[str, Task] = {}
        self._pid = os.getpid()
        self._threads = 0
        self._free = 0
        self._started = False
        self._stopped = False
        lock = threading.RLock()
        self._due = threading.Condition(lock)
        self._arrived = threading.Condition(lock)
        self._turn = threading.Lock()
        self._updating = threading.RLock()

    def abandon(self) -> None:
        """Begin no more polls; this waits for no lock: a garbage collection happens in any thread, whatever it holds."""
        self._stopped = True

    def stop(self) -> None:
        """Begin no more polls, and wake who waits."""
        if self._pid != os.getpid():
            return
        with self._due:
            self._stopped = True
            self._results.clear()
            self._updates.clear()
            self._due.notify_all()
            self._arrived.notify_all()

    def next(self) -> Outcome | BaseException | None:
        """Return the next result; None at the end.

        Raises:
            ConfigurationError: this process was forked from that of the threads.
        """
        if self._pid != os.getpid():
            raise ConfigurationError("these outcomes belong to the process that this one was forked from")
        with self._due:
            if not self._started:
                self._started = True
                self._start_thread()
        while True:
            with self._updating:
                found = self._take()
                if isinstance(found, Task):
                    if self._on_update is not None:
                        self._on_update(found)
                    continue
            if found is not None:
                return found
            with self._due:
                if self._results:
                    continue
                if self._stopped or self._scheduler.is_done:
                    return None
                if self._threads:
                    self._arrived.wait()
                    continue
            # No thread is to be had, so the caller's own does the work.
            if (job := self._next_job(until_result=True)) is not None:
                try:
                    self._poll(job)
                except BaseException:
                    self.stop()
                    raise

    def _take(self) -> Task | Outcome | BaseException | None:
        """Return what came first: an update, or a result."""
        with self._due:
            while self._results:
                found = self._results.popleft()
                if not isinstance(found, str):
                    return found
                if (update := self._updates.pop(found, None)) is not None:
                    return update
        return None

    def _start_thread(self) -> None:
        self._threads += 1
        self._free += 1
        try:
            threading.Thread(target=self._work, name="duomi", daemon=True).start()
        except RuntimeError:
            self._threads -= 1
            self._free -= 1

    def _work(self) -> None:
        try:
            while True:
                with self._turn:
                    job = self._next_job()
                if job is None:
                    return
                with self._due:
                    self._free -= 1
                    if not self._free and self._threads < min(THREADS, self._scheduler.max_in_flight):
                        self._start_thread()
                self._poll(job)
                with self._due:
                    self._free += 1
        except BaseException as error:
            # Whatever it is, it belongs to the caller.
            self._put(error)
        finally:
            with self._due:
                self._threads -= 1
                self._arrived.notify_all()

    def _next_job(self, *, until_result: bool = False) -> Job | None:
        """Wait until a task is due, and return it; None at the end, or if a result came first."""
        with self._due:
            while not self._stopped and not (until_result and self._results):
                found = self._scheduler.pop()
                if found is None:
                    break
                if isinstance(found, Job):
                    return found
                if isinstance(found, Outcome):
                    self._put(found)
                else:
                    self._driver.ensure_open()
                    self._due.wait(min(found, LONGEST_SLEEP))
        return None

    def _poll(self, job: Job) -> None:
        effect: Send | Outcome | None = job.effect
        try:
            while isinstance(effect, Send):
                answer = self._driver.perform(effect)
                with self._due:
                    if self._stopped:
                        return
                    # Who sees that all polls have ended must find all results, too.
                    effect = self._scheduler.advance(job, answer)
                    self._note(job, effect)
        finally:
            if isinstance(effect, Send) and job.flow is not None:
                job.flow.close()

    def _note(self, job: Job, effect: Send | Outcome | None) -> None:
        """Hand on what a poll found."""
        if job.changed is not None and self._on_update is not None:
            if job.task_id not in self._updates:
                self._results.append(job.task_id)
            self._updates[job.task_id] = job.changed
            self._arrived.notify()
        if isinstance(effect, Outcome):
            self._put(effect)
        self._due.notify_all()

    def _put(self, result: Outcome | BaseException) -> None:
        with self._due:
            if not self._stopped:
                self._results.append(result)
                self._arrived.notify()

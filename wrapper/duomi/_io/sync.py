"""The driver that blocks: it performs the effects of flows over httpx, and runs many polls in threads."""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx

from duomi._config import Settings
from duomi._core.poll import Emit, WatchFlow
from duomi._core.rate import Rate
from duomi._core.reply import Problem, Reply
from duomi._core.request import Answer, RequestFlow, Send, Sleep
from duomi._core.scheduler import Job, Scheduler
from duomi._errors import ConfigurationError
from duomi._io.base import TRANSPORT_ERRORS, BaseDriver, advance, content_of, each_step, log_sleep, unwrap
from duomi._io.body import Body
from duomi._io.lanes import Lane, Lanes
from duomi._task import Outcome, Task

T = TypeVar("T")

THREADS: Final = 16
# Seconds after which a waiting thread checks whether its iterator was garbage-collected.
CHECK_EVERY: Final = 1.0


class Driver(BaseDriver):
    """Performs the effects of flows, and blocks."""

    lanes: Lanes[Lane]
    http_client: httpx.Client | None

    def __init__(self, settings: Settings, http_client: httpx.Client | None) -> None:
        super().__init__(settings, http_client, Rate(settings.max_rate, threading.RLock))
        self.lanes = Lanes(Lane, settings.base_url)

    def call(self, flow: RequestFlow[T]) -> T:
        """Drive a flow to its end; return its answer, or raise the error of its problem."""
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
        finally:
            flow.close()

    def watch(self, flow: WatchFlow) -> Iterator[Task]:
        """Drive a flow, and yield what it emits."""
        answer: Answer = None
        try:
            while (effect := advance(flow, answer)) is not None:
                self.ensure_open()
                if isinstance(effect, Emit):
                    answer = None
                    yield effect.task
                else:
                    answer = self.perform(effect)
        finally:
            flow.close()

    def perform(self, effect: Send | Sleep) -> Answer:
        """Send, or sleep."""
        if isinstance(effect, Sleep):
            log_sleep(effect)
            time.sleep(effect.seconds)
            return None
        self.ensure_open()
        try:
            reply = self._by_lane(effect) if self.http_client is None else self._by_client(self.http_client, effect)
        except RuntimeError as error:
            raise self.closed_during_call(error) or error from error
        failure = reply if isinstance(reply, Exception) else reply.broken
        if failure is not None and (closed := self.closed_during_call(failure)):
            raise closed
        return reply

    def _by_lane(self, effect: Send) -> Reply | Exception:
        lane = self.lanes.acquire(fresh=effect.fresh_lane)
        complete = False
        try:
            reply = self._attempt(lane, effect)
            complete = isinstance(reply, Reply) and reply.broken is None
        finally:
            for dropped in self.lanes.release(lane, complete=complete):
                dropped.network.close()
        return reply

    def _attempt(self, lane: Lane, effect: Send) -> Reply | Exception:
        lane.network.begin(effect.limit)
        unsigned = effect.request.headers
        effect.request.headers = self.settings.auth.sign(unsigned)
        try:
            response = lane.handle_request(effect.request)
        except TRANSPORT_ERRORS as error:
            return lane.explain(error)
        finally:
            effect.request.headers = unsigned
        return self._read(response, iter(response.stream))  # type: ignore[arg-type]

    def _by_client(self, http_client: httpx.Client, effect: Send) -> Reply | Exception:
        effect.request.extensions = {"timeout": each_step(effect.limit, effect.queue_limit)}
        try:
            response = http_client.send(effect.request, auth=self.settings.auth, follow_redirects=False, stream=True)
        except httpx.HTTPStatusError as error:
            response = error.response  # a hook of the caller's raised it
        except TRANSPORT_ERRORS as error:
            return error
        if (content := content_of(response)) is not None:
            return self._reply(response, content)
        ends_at = time.monotonic() + effect.limit
        return self._read(response, _until(response.iter_raw(), ends_at))

    def _read(self, response: httpx.Response, chunks: Iterator[bytes]) -> Reply:
        body = Body()
        broken = None
        try:
            body.begin(response.headers)
            for chunk in chunks:
                body.add(chunk)
            body.finish()
        except TRANSPORT_ERRORS as error:
            broken = error
        finally:
            response.close()
        return self._reply(response, body.content, broken)

    def close(self) -> None:
        """Close every connection that is ours; calls under way end with an error."""
        idle, active = self.lanes.close_all()
        for lane in idle:
            lane.network.close()
        for lane in active:
            lane.network.interrupt()


def _until(chunks: Iterable[bytes], ends_at: float) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        if time.monotonic() > ends_at:
            raise httpx.ReadTimeout("no complete answer in time")


class Completed(Iterator[Outcome]):
    """Outcomes in the order in which tasks finish; leaving the `with` block, or `close`, stops the polling."""

    __module__ = "duomi"

    def __init__(self, driver: Driver, scheduler: Scheduler, on_update: Callable[[Task], object] | None = None) -> None:
        self._dispatcher = _Dispatcher(driver, scheduler, on_update)
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
                    self._due.wait(min(found, CHECK_EVERY))
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

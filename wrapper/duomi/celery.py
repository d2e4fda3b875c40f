"""Waits that outlive the process, carried by Celery (extra: `celery`)."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

from celery import Celery, Task
from celery.exceptions import OperationalError, Reject
from celery.signals import worker_process_shutdown, worker_shutdown

from duomi._client import Duomi, poll_once
from duomi._config import check_task_id, check_timeout
from duomi._core.poll import Failure, Poll, PollAgain, Poller, PollState, raise_if_failed
from duomi._errors import ConfigurationError
from duomi._payload import plain
from duomi._policy import Polling
from duomi._task import Task as VideoTask
from duomi._task import TaskError

__all__ = ["register"]

# Celery's own default, three attempts within half a second, gives a restarting broker no chance.
_PUBLISH: Final = {"max_retries": 10, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 1.0}
_LATE: Final = 60.0
_PAUSE: Final = 1.0

log: Final = logging.getLogger("duomi")
_registered: WeakKeyDictionary[Celery[Any], set[str]] = WeakKeyDictionary()


def register(
    app: Celery[Any],
    *,
    name: str = "duomi.wait",
    client: Callable[[], Duomi] | None = None,
    polling: Polling = Polling(),
    queue: str | None = None,
) -> Task[..., dict[str, Any]]:
    """Register the Celery task that waits for a video task, and return it.

    Send it one task id: `apply_async(("5dd1ef43-...",), link=..., link_error=...)`. Each execution polls once, with a
    single attempt, and sends the next message with what it remembers, so no worker sleeps. The result is the
    finished task's payload and the `task_id` asked for, which `duomi.Task.from_payload` reads; what `wait` raises is raised here. Time counts from
    the first execution, by the clocks of the workers, and not while a message is late. Called directly or eagerly, it
    waits in place.

    Args:
        app: the Celery application.
        name: the name of the Celery task.
        client: makes a `Duomi`; `None` means `Duomi()`. It is called once in each worker process, after the fork, and
            what it makes is closed when the process shuts down.
        polling: how to poll, and for how long; `outage` also counts before the first good answer.
        queue: the queue of its messages; `None` leaves that to the application's routes.

    Raises:
        ConfigurationError: `client` is no factory, `polling` no `Polling`, or the name is registered already.
    """
    if not isinstance(polling, Polling):
        raise ConfigurationError("polling must be a duomi.Polling")
    if client is not None and not callable(client):
        raise ConfigurationError("client is a function that makes a Duomi: one made before a fork cannot be shared")
    names = _registered.setdefault(app, set())
    if name in names:
        raise ConfigurationError(f"{name!r} is registered already: give the second one another name")
    names.add(name)
    clients = _ProcessLocalClient(Duomi if client is None else client)
    worker_process_shutdown.connect(clients.close, weak=False)
    worker_shutdown.connect(clients.close, weak=False)

    base: Any = type("WaitForTask", (_Routed, app.Task), {"abstract": True})

    @app.task(
        name=name,
        bind=True,
        base=base,
        goes_to=queue,
        shared=False,
        acks_late=True,
        reject_on_worker_lost=True,
        throws=(TaskError,),
    )
    def wait_for_task(
        self: Task[Any, Any], task_id: str, *, state: dict[str, Any] | None = None, eta: float | None = None
    ) -> dict[str, Any]:
        if self.request.is_eager or self.request.called_directly:
            with clients.lend() as duomi:
                return _result(duomi.wait(task_id, polling=polling))
        poll_state, decision = _poll(clients, task_id, polling, _load_state(state, eta))
        if isinstance(decision, PollAgain):
            raise _rescheduled(self, task_id, poll_state, decision.seconds)
        if isinstance(decision, Failure):
            raise decision.error
        return _result(raise_if_failed(decision))

    registered: Task[..., dict[str, Any]] = wait_for_task
    return registered


def _result(task: VideoTask) -> dict[str, Any]:
    """Return what `Task.from_payload` reads: the payload, and the id asked for, which the payload may not have."""
    return {**plain(task.raw), "task_id": task.task_id}


class _Routed:
    """A task with a queue of its own, which Celery's own attribute `queue` will not give it much longer."""

    goes_to: str | None = None

    def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        if self.goes_to is not None and not {"queue", "exchange", "routing_key"} & options.keys():
            options["queue"] = self.goes_to
        return super().apply_async(args, kwargs, *more, **options)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]


def _load_state(state: dict[str, Any] | None, eta: float | None) -> PollState:
    """Read a message; times are Unix time, since they travel from one process to another."""
    now = time.time()
    if state is None:
        return PollState(now)
    try:
        poll_state = PollState.from_json(state)
    except (AttributeError, TypeError, ValueError):
        log.warning("the state in a message cannot be read; the wait starts again")
        return PollState(now)
    # Do not count the time in which no worker was running.
    late = 0.0 if eta is None else now - eta
    return poll_state._replace(began=poll_state.began + late) if late > _LATE else poll_state


def _poll(
    clients: _ProcessLocalClient, task_id: str, polling: Polling, state: PollState
) -> tuple[PollState, PollAgain | Failure | VideoTask]:
    """Poll once, and decide what follows."""
    check_task_id(task_id)
    started_at = time.time()
    result, max_retry_after, answered_ago = poll_once(clients.lend, task_id)
    poller = Poller(task_id, polling, check_timeout(polling.timeout), max_retry_after, tolerate_initial_outage=True)
    now = time.time()
    poll = Poll(started_at, now, result, now - answered_ago)
    return poller.step(state, poll, _last_seen(task_id, state), random.random())


def _last_seen(task_id: str, state: PollState) -> VideoTask | None:
    """Return as much of the last task seen as travels: its state and progress."""
    if not state.history:
        return None
    last = state.history[-1]
    payload = {"id": task_id, "state": last.state} | ({} if last.progress is None else {"progress": last.progress})
    return VideoTask.from_payload(payload, task_id=task_id)


def _rescheduled(task: Task[Any, Any], task_id: str, state: PollState, seconds: float) -> Exception:
    """Send the message of the next poll, and return what tells Celery so."""
    try:
        return task.retry(
            args=(task_id,),
            kwargs={"state": state.to_json(), "eta": time.time() + seconds},
            countdown=seconds,
            throw=False,
            retry_policy=_PUBLISH,
            expires=None,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  (the stubs do not know it)
            max_retries=task.request.retries + 1,
        )
    except Reject as rejection:
        # Celery drops the message of a task that cannot send its next one; a wait goes back into its queue.
        reason = rejection.args[0]
        if not isinstance(reason, OperationalError | OSError):
            raise reason from rejection
        log.warning("task %r: the message of the next poll could not be sent; this one is repeated", task_id)
        time.sleep(_PAUSE)
        return Reject(reason, requeue=True)


class _ProcessLocalClient:
    """Makes one client for each process at first use, so after a fork, and closes it when it is no longer used."""

    def __init__(self, make: Callable[[], Duomi]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._client: Duomi | None = None
        self._pid = 0
        self._lent = 0
        self._closing = False

    @contextmanager
    def lend(self) -> Generator[Duomi]:
        with self._lock:
            client = self._current()
            self._lent += 1
        try:
            yield client
        finally:
            with self._lock:
                self._lent -= 1
                self._close_if_idle()

    def close(self, **_signal: object) -> None:
        """Close the client after the polls under way, so that the end of a worker ends no wait."""
        with self._lock:
            self._closing = True
            self._close_if_idle()

    def _current(self) -> Duomi:
        if self._client is None or self._pid != os.getpid():
            made = self._make()
            if not isinstance(made, Duomi):
                raise ConfigurationError(f"client must make a duomi.Duomi, not {type(made).__name__}")
            self._client, self._pid, self._lent = made, os.getpid(), 0
        self._closing = False
        return self._client

    def _close_if_idle(self) -> None:
        if self._client is not None and self._closing and not self._lent:
            if self._pid == os.getpid():
                self._client.close()
            self._client = None

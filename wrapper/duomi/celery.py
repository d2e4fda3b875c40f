"""Waits that outlive the process, carried by Celery (extra: `celery`)."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

try:
    from celery import Celery, Task
    from celery.exceptions import Ignore, OperationalError, Reject
    from celery.local import Proxy
    from celery.signals import task_failure, task_revoked, worker_process_shutdown, worker_shutdown
except ModuleNotFoundError as _error:
    _said = f'{_error.name} is missing; install the extra: pip install "duomi[celery]"'
    raise ModuleNotFoundError(_said, name=_error.name) from _error

from duomi._celery.clients import ProcessLocalClient
from duomi._celery.ledger import BrokerAwayError, Ledger
from duomi._celery.message import dump_state, load_state
from duomi._celery.sweep import make_step
from duomi._celery.task import Turn, WaitTask
from duomi._client import Duomi, poll_once
from duomi._config import check_timeout
from duomi._core.poll import Failure, Poll, PollAgain, Poller, PollState, raise_if_failed
from duomi._core.reply import Problem
from duomi._errors import ConfigurationError, DuomiError
from duomi._payload import one_line, plain
from duomi._policy import Polling
from duomi._task import Task as VideoTask
from duomi._task import TaskError, TaskTimeoutError

__all__ = ["register"]

# Celery's own default, three attempts within half a second, gives a restarting broker no chance.
_PUBLISH: Final = {"max_retries": 10, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 1.0}
_PAUSE: Final = 1.0
WAITING: Final = "WAITING"

log: Final = logging.getLogger("duomi")
_registered: WeakKeyDictionary[Celery[Any], set[str]] = WeakKeyDictionary()


def register(
    app: Celery[Any],
    *,
    name: str = "duomi.wait",
    client: Callable[[], Duomi] | None = None,
    polling: Polling = Polling(),
    queue: str | None = None,
    revive_after: float = 60.0,
) -> Task[..., dict[str, Any]]:
    """Register the Celery task that waits for a video task, and return it.

    Send it one task id: `apply_async(("5dd1ef43-...",), link=..., link_error=...)`. Each execution polls once, with a
    single attempt, and sends the next message with what it remembers, so no worker sleeps. The result is the
    finished task's payload and the `task_id` asked for, which `duomi.Task.from_payload` reads; what `wait` raises is raised
    here. Time counts from the first execution, and not while a message is late. Called directly or eagerly, it waits in
    place.

    Args:
        app: the Celery application.
        name: the name of the Celery task.
        client: makes a `Duomi`; `None` means `Duomi()`. It is called once in each worker process, after the fork, and
            what it makes is closed when the process shuts down.
        polling: how to poll, and for how long; `outage` also counts before the first good answer.
        queue: the queue of its messages; `None` leaves that to the application's routes.
        revive_after: seconds that a poll may be late until its message is taken for lost and sent again; a poll under
            way may take as long, and always twice the client's `timeout`. Only with Redis as the broker: others lose none.

    Raises:
        ConfigurationError: `app` is no Celery application, `client` no factory, `polling` no `Polling`, `revive_after` no
            positive number, or the name is registered already.
    """
    if not isinstance(polling, Polling):
        raise ConfigurationError("polling must be a duomi.Polling")
    if client is not None and not callable(client):
        raise ConfigurationError("client is a function that makes a Duomi: one made before a fork cannot be shared")
    if isinstance(app, Proxy):
        app = app._get_current_object()
    if not isinstance(app, Celery):
        raise ConfigurationError(f"app must be a celery.Celery, not {type(app).__name__}")
    if not isinstance(revive_after, int | float) or not 0.0 < revive_after < math.inf:
        raise ConfigurationError("revive_after must be a positive number of seconds")
    names = _registered.setdefault(app, set())
    if name in names:
        raise ConfigurationError(f"{name!r} is registered already: give the second one another name")
    names.add(name)
    clients = ProcessLocalClient(Duomi if client is None else client)
    worker_process_shutdown.connect(clients.close, weak=False)
    worker_shutdown.connect(clients.close, weak=False)

    ledger = Ledger(app, name, float(revive_after))
    app.steps["consumer"].add(make_step(ledger))
    task_revoked.connect(ledger.end_revoked)
    task_failure.connect(ledger.end_failed)
    base: Any = type("WaitForTask", (WaitTask, app.Task), {"abstract": True, "ledger": ledger})

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
        self: Task[Any, Any],
        task_id: str,
        *,
        state: dict[str, Any] | None = None,
        eta: float | None = None,
        **unknown: object,
    ) -> dict[str, Any]:
        if self.request.is_eager or self.request.called_directly:
            with clients.lend() as duomi:
                return _result(duomi.wait(task_id, polling=polling))
        if unknown:
            log.warning("task %r: a message of another version; ignored: %s", task_id, one_line(", ".join(unknown)))
        poll_state = load_state(state, eta)
        try:
            with Turn.take(ledger, self.request, dump_state(poll_state, 0.0), clients.longest_poll()) as turn:
                poll_state, decision, seen = _poll(clients, task_id, polling, poll_state, turn.seconds)
                if isinstance(decision, PollAgain):
                    kwargs = dump_state(poll_state, decision.seconds)
                    turn.advance(kwargs, decision.seconds)
                    _tell_progress(self, task_id, seen, kwargs["eta"])
                    raise _rescheduled(self, task_id, kwargs, decision.seconds)
                turn.confirm()
        except BrokerAwayError as error:
            raise _repeated(task_id, error) from error
        if isinstance(decision, Failure):
            raise _with_cause(decision.error)
        return _result(raise_if_failed(decision))

    registered: Task[..., dict[str, Any]] = wait_for_task
    return registered


def _result(task: VideoTask) -> dict[str, Any]:
    """Return what `Task.from_payload` reads: the payload, and the id asked for, which the payload may not have."""
    return {**plain(task.raw), "task_id": task.task_id}


def _poll(
    clients: ProcessLocalClient, task_id: str, polling: Polling, state: PollState, seconds: float
) -> tuple[PollState, PollAgain | Failure | VideoTask, VideoTask | None]:
    """Poll once within so many seconds, decide what follows, and return the last task seen, too."""
    limit = check_timeout(polling.timeout)
    started_at = time.time()
    left = state.began + limit - started_at
    result, max_retry_after, answered_ago, typical = poll_once(clients.lend, task_id, left, seconds)
    if isinstance(result, Problem) and isinstance(result.error, ConfigurationError):
        clients.warn(f"this worker cannot poll: {result.error}")
    poller = Poller(task_id, polling, limit, max_retry_after, tolerate_initial_outage=True)
    now = time.time()
    poll = Poll(started_at, now, result, now - answered_ago)
    last = _last_seen(task_id, state)
    seen = last if isinstance(result, Problem) else result
    state, decision = poller.step(state, poll, last, random.random(), typical.of(seen))
    if isinstance(decision, VideoTask):
        typical.add(decision, state.history)
    return state, decision, seen


def _with_cause(error: DuomiError) -> DuomiError:
    """Return a timeout that names its cause in its text, which is all that a result backend keeps of it."""
    if not isinstance(error, TaskTimeoutError) or error.__cause__ is None:
        return error
    text, *details = error.args
    named = TaskTimeoutError(f"{text}; the last poll failed: {one_line(str(error.__cause__))}", *details)
    named.__cause__ = error.__cause__
    return named


def _last_seen(task_id: str, state: PollState) -> VideoTask | None:
    """Return as much of the last task seen as travels: its state and progress."""
    if not state.history:
        return None
    last = state.history[-1]
    payload = {"id": task_id, "state": last.state} | ({} if last.progress is None else {"progress": last.progress})
    return VideoTask.from_payload(payload, task_id=task_id)


def _tell_progress(task: Task[Any, Any], task_id: str, seen: VideoTask | None, next_poll: float) -> None:
    """Store what the last poll saw as the state of the Celery task, before the next poll can store a later one."""
    if task.request.ignore_result or task.ignore_result:
        return
    told = {
        "task_id": task_id,
        "state": None if seen is None else seen.state.value,
        "label": None if seen is None else seen.state.label,
        "progress": None if seen is None else seen.progress,
        "message": "" if seen is None else one_line(seen.message),
        "next_poll_at": datetime.fromtimestamp(next_poll, UTC).isoformat(timespec="milliseconds"),
    }
    try:
        task.update_state(state=WAITING, meta=told)
    except Exception as error:
        log.warning("task %r: its progress could not be stored: %s", task_id, one_line(repr(error)))


def _rescheduled(task: Task[Any, Any], task_id: str, kwargs: dict[str, Any], seconds: float) -> Exception:
    """Send the message of the next poll, and return what tells Celery so; its own `Retry` would hide the progress."""
    try:
        task.retry(
            args=(task_id,),
            kwargs=kwargs,
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
        return _repeated(task_id, reason)
    log.info("task %r: the next poll in %.1f s", task_id, seconds)
    return Ignore("the next poll has a message of its own")


def _repeated(task_id: str, reason: Exception) -> Reject:
    """Return what puts a message back into its queue while the broker is away."""
    log.warning("task %r: the broker is away; this message is repeated: %s", task_id, one_line(repr(reason)))
    time.sleep(_PAUSE)
    return Reject(reason, requeue=True)

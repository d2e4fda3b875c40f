"""A Celery service, as a user would write it, for the workers of the tests."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import task_postrun
from celery.states import READY_STATES
from duomi import Duomi, Polling, Retry
from duomi.celery import register
from redis import Redis

BROKER = os.environ.get("CLIPS_BROKER", "memory://")
REDIS = os.environ.get("CLIPS_REDIS", BROKER)
POLLING = Polling(
    interval=float(os.environ.get("CLIPS_INTERVAL", "0.3")),
    timeout=float(os.environ.get("CLIPS_TIMEOUT", "1800")),
    outage=float(os.environ.get("CLIPS_OUTAGE", "300")),
)
CLIENT_TIMEOUT = float(os.environ.get("CLIPS_CLIENT_TIMEOUT", "30"))
REVIVE_AFTER = float(os.environ.get("CLIPS_REVIVE_AFTER", "10"))

app = Celery("clips", broker=BROKER, backend="cache+memory://" if REDIS == "memory://" else REDIS)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": int(os.environ.get("CLIPS_VISIBILITY_TIMEOUT", "4")),
        "unacked_restore_interval": 0.5,
        "unacked_restore_throttle": 1,
    }
    if BROKER.startswith("redis")
    else {},
    worker_prefetch_multiplier=1,
)


def records() -> Redis:
    return Redis.from_url(REDIS, decode_responses=True)


class Client(Duomi):
    """Records the processes in which it is made and closed."""

    def __init__(self) -> None:
        super().__init__(timeout=CLIENT_TIMEOUT, retry=Retry(attempts=4, backoff=0.1))
        records().rpush("made", os.getpid())

    def close(self) -> None:
        super().close()
        records().rpush("closed", os.getpid())


wait_for_task = register(app, client=Client, polling=POLLING, revive_after=REVIVE_AFTER)
in_own_queue = register(app, name="duomi.wait.limited", polling=POLLING, queue="limited", revive_after=REVIVE_AFTER)
in_own_queue.rate_limit = "5/s"


@task_postrun.connect(sender=wait_for_task)
def record_end(task_id: str, state: str, **_signal: object) -> None:
    if state in READY_STATES:
        records().rpush("ended", task_id)


@app.task(shared=False, acks_late=True, reject_on_worker_lost=True)
def save_clip(payload: dict[str, Any]) -> str:
    records().rpush("saved", payload["id"])
    return str(payload["id"])


@app.task(shared=False, acks_late=True, reject_on_worker_lost=True)
def tell_owner(_request: Any, error: Exception, _traceback: Any, task_id: str) -> None:
    records().rpush("failed", f"{task_id} {type(error).__name__}")


@app.task(shared=False, acks_late=True, reject_on_worker_lost=True)
def collect(payloads: list[dict[str, Any]]) -> list[str]:
    return sorted(payload["id"] for payload in payloads)

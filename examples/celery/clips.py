"""A service that waits for paid clips: `celery -A clips worker` runs it, and `python clips.py ID...` sends it tasks."""

import os
import sys

from celery import Celery
from duomi import Duomi, Task
from duomi.celery import register

REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")

app = Celery("clips", broker=REDIS, backend=REDIS)
app.conf.broker_connection_retry_on_startup = True
# A worker leaves in the broker what it cannot poll soon, so that others can.
app.conf.worker_eta_task_limit = 100
# Redis gives a dead worker's callbacks to another one after this many seconds, and checks for them every 10 s.
app.conf.broker_transport_options = {"visibility_timeout": 300, "unacked_restore_throttle": 1}

wait_for_task = register(app)


@app.task(acks_late=True)
def save_clip(payload: dict) -> list[str]:
    """Save a finished clip; a second delivery only writes the same file again."""
    task = Task.from_payload(payload)
    with Duomi() as client:
        return [str(path) for path in client.download(task, "clips", if_exists="replace")]


@app.task
def tell_owner(request: object, error: Exception, traceback: object) -> None:
    """Say why there is no clip. Celery calls this in the worker that polled: keep it short, or send another task."""
    print(f"no clip: {error}", file=sys.stderr)


def send(task_id: str) -> None:
    """Wait for a paid task. Its own id is the Celery task's, too, so a task that is sent twice has one result."""
    wait_for_task.apply_async((task_id,), task_id=task_id, link=save_clip.s(), link_error=tell_owner.s())


if __name__ == "__main__":
    for task_id in sys.argv[1:]:
        send(task_id)

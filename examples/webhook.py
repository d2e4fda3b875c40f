"""A FastAPI backend with a table of tasks: a callback is a hint, and workers ask, store clips, and find tasks whose callback was lost."""

import asyncio
import json
import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from typing import Annotated, Any
from urllib.parse import quote

import boto3
from botocore.config import Config
from duomi import Duomi, Task
from fastapi import Depends, FastAPI, Header, HTTPException, Request

TABLE = os.environ.get("TASKS", "tasks.sqlite")
BUCKET = os.environ["BUCKET"]
TOKEN = os.environ["BACKEND_TOKEN"]  # whoever has it may add tasks
MAX_BODY = 64 * 1024
# Seconds until a young task is asked for again.
ROUND = float(os.environ.get("RECONCILE_EVERY", "15"))
# Seconds between two questions for one task, however often it is called back.
SOONEST = 2.0
# Seconds after which a task is taken from a worker that died with it; to store a clip takes less.
LEASE = 600.0
WORKERS = 4

log = logging.getLogger("uvicorn.error")
s3: Any = boto3.client(
    "s3",  # its keys are in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, another store's address in AWS_ENDPOINT_URL_S3
    config=Config(
        s3={"addressing_style": os.environ.get("S3_ADDRESSING", "auto")},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    ),
)


def sql(statement: str, *values: object) -> list[Any]:
    """Run one statement in a transaction of its own."""
    with closing(sqlite3.connect(TABLE, timeout=30.0, isolation_level=None)) as table:
        return table.execute(statement, values).fetchall()


sql(
    """CREATE TABLE IF NOT EXISTS tasks (
        id TEXT PRIMARY KEY, created REAL, asked REAL DEFAULT 0, due REAL DEFAULT 0, held REAL DEFAULT 0,
        done INTEGER DEFAULT 0, state TEXT DEFAULT 'pending', label TEXT DEFAULT '', progress INTEGER, message TEXT DEFAULT '',
        clips TEXT DEFAULT '[]', characters TEXT DEFAULT '[]'
    )"""
)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    """Have workers while the service runs; what they leave undone is done by the next."""
    stop = threading.Event()
    with Duomi() as client:
        workers = [threading.Thread(target=work, args=(client, stop), daemon=True) for _ in range(WORKERS)]
        for worker in workers:
            worker.start()
        yield
        stop.set()
        for worker in workers:
            await asyncio.to_thread(worker.join, 5.0)


app = FastAPI(lifespan=lifespan)


def check_token(authorization: Annotated[str, Header()] = "") -> None:
    """Let nobody in who has no token."""
    if not secrets.compare_digest(authorization.encode(), f"Bearer {TOKEN}".encode()):
        raise HTTPException(401, "no valid token")


@app.put("/tasks/{task_id}", status_code=201, dependencies=[Depends(check_token)])
def remember(task_id: str) -> None:
    """Note a task as soon as it was created: from now on it cannot be forgotten."""
    sql("INSERT OR IGNORE INTO tasks (id, created) VALUES (?, ?)", task_id, time.time())


@app.get("/tasks/{task_id}")
def show(task_id: str) -> dict[str, object]:
    """Return what a web page shows of a task."""
    rows = sql("SELECT state, label, progress, message, done, clips, characters FROM tasks WHERE id = ?", task_id)
    if not rows:
        raise HTTPException(404, "no such task")
    state, label, progress, message, done, clips, characters = rows[0]
    places = [{"Bucket": BUCKET, "Key": key} for key in json.loads(clips)]
    return {
        "task_id": task_id,
        "state": state,
        "label": label,
        "progress": progress,
        "message": message,
        "done": bool(done),
        "clips": [s3.generate_presigned_url("get_object", place, ExpiresIn=3600) for place in places],
        "characters": json.loads(characters),
    }


@app.post("/duomi", status_code=202)
async def called_back(request: Request) -> None:
    """Have a worker ask for the task soon: anybody may call this, so nothing else in it is believed."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise HTTPException(413)
    task_id = named_id(body)
    if task_id is None:
        raise HTTPException(400, "the callback names no task")
    soon = "UPDATE tasks SET due = min(due, asked + ?) WHERE id = ? RETURNING id"
    if not await asyncio.to_thread(sql, soon, SOONEST, task_id):
        raise HTTPException(404, "no such task")


def named_id(body: bytes) -> str | None:
    """Return the id in a callback: callbacks come with `task_id` or `id`, with or without a state, and in envelopes."""
    try:
        payload: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    for part in (payload, payload.get("data") if isinstance(payload, dict) else None):
        if isinstance(part, dict):
            for name in ("task_id", "id"):
                if isinstance(part.get(name), str | int):
                    return str(part[name]).encode(errors="replace").decode()
    return None


def work(client: Duomi, stop: threading.Event) -> None:
    """Take tasks that are due, one after another, until the service ends."""
    while not stop.is_set():
        task_id = None
        try:
            task_id = take()
            if task_id is None:
                stop.wait(1.0)
            else:
                ask(client, task_id)
        except Exception as error:
            # Whatever it was, the task comes due again.
            log.warning("task %s: %s: %s", task_id, type(error).__name__, error)
            stop.wait(1.0)


def take() -> str | None:
    """Take a task that is due: in one statement, so that of all threads and processes one gets it."""
    now = time.time()
    taken = sql(
        # The older the task, the rarer the question; but it is never given up.
        "UPDATE tasks SET asked = ?, held = ?, due = ? + min(max(?, (? - created) / 10), 3600) WHERE id ="
        " (SELECT id FROM tasks WHERE due <= ? AND held <= ? AND NOT done ORDER BY due LIMIT 1) RETURNING id",
        now, now + LEASE, now, ROUND, now, now, now,
    )  # fmt: skip
    return taken[0][0] if taken else None


def ask(client: Duomi, task_id: str) -> None:
    """Ask for a task, store its clips, and note both."""
    try:
        task = client.get_task(task_id)
        # If the process dies between storing and noting, the next one stores the same clips under the same keys.
        clips = [store(client, task, index) for index in range(len(task.videos))] if task.is_succeeded else []
        sql(
            "UPDATE tasks SET done = ?, state = ?, label = ?, progress = ?, message = ?, clips = ?, characters = ? WHERE id = ?",
            task.is_failed or (task.is_succeeded and task.has_result), task.state.value, task.state.label, task.progress,
            task.message, json.dumps(clips), json.dumps([character.id for character in task.characters]), task_id,
        )  # fmt: skip
    finally:
        sql("UPDATE tasks SET held = 0 WHERE id = ?", task_id)


def store(client: Duomi, task: Task, index: int) -> str:
    """Put one clip into the bucket, and return its key."""
    key = f"{quote(task.task_id, safe='')}/{index}.mp4"
    with client.stream(task, index=index) as clip:
        s3.upload_fileobj(clip, BUCKET, key, ExtraArgs={"ContentType": "video/mp4"})
    return key

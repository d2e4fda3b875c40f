"""A FastAPI service with a table of tasks: it takes callbacks as hints, asks the API, and finds what nobody called back for."""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from duomi import AsyncDuomi, ConfigurationError, DuomiError, NotFoundError, Task
from fastapi import FastAPI, HTTPException, Request

MAX_BODY = 64 * 1024
# Seconds between two rounds of the job that asks for tasks without a callback.
ROUND = float(os.environ.get("RECONCILE_EVERY", "300"))

table = sqlite3.connect(os.environ.get("TASKS", "tasks.sqlite"), check_same_thread=False, isolation_level=None)
table.execute("CREATE TABLE IF NOT EXISTS tasks (id TEXT PRIMARY KEY, state TEXT DEFAULT '', message TEXT DEFAULT '')")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client and one reconciling job while the service runs."""
    async with AsyncDuomi() as client:
        app.state.client = client
        job = asyncio.create_task(reconcile(client))
        yield
        job.cancel()


app = FastAPI(lifespan=lifespan)


@app.put("/tasks/{task_id}", status_code=201)
async def remember(task_id: str) -> None:
    """Note a task as soon as it was created: from now on it cannot be forgotten."""
    table.execute("INSERT OR IGNORE INTO tasks (id) VALUES (?)", (task_id,))


@app.get("/tasks/{task_id}")
async def show(task_id: str) -> dict[str, str]:
    """Return what is known of a task."""
    row = table.execute("SELECT state, message FROM tasks WHERE id = ?", (task_id,)).fetchone()
    if row is None:
        raise HTTPException(404, "no such task")
    return {"task_id": task_id, "state": row[0], "message": row[1]}


@app.post("/duomi", status_code=202)
async def called_back(request: Request) -> None:
    """Take the id from the callback, and the state from the API: anybody may call this."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise HTTPException(413)
    task_id = named_id(body)
    if task_id is None:
        raise HTTPException(400, "the callback names no task")
    if table.execute("SELECT 1 FROM tasks WHERE id = ?", (task_id,)).fetchone() is None:
        raise HTTPException(404, "no such task")
    try:
        await ask(request.app.state.client, task_id)
    except (ConfigurationError, NotFoundError) as error:
        raise HTTPException(404, "no such task") from error
    except DuomiError as error:
        raise HTTPException(503, "the API does not reply now") from error


def named_id(body: bytes) -> str | None:
    """Return the id in a callback: callbacks come with `task_id` or `id`, with or without a state, and in envelopes."""
    try:
        payload: Any = json.loads(body)
    except ValueError:
        return None
    for part in (payload, payload.get("data") if isinstance(payload, dict) else None):
        if isinstance(part, dict):
            for name in ("task_id", "id"):
                if isinstance(part.get(name), str | int):
                    return str(part[name])
    return None


async def ask(client: AsyncDuomi, task_id: str) -> None:
    """Ask for a task, save its clips, and note its state; a second time saves nothing again."""
    task: Task = await client.get_task(task_id)
    if task.is_succeeded and task.videos:
        # For an object store: `async with client.stream(task) as clip`.
        await client.download(task, "clips", if_exists="skip")
    table.execute("UPDATE tasks SET state = ?, message = ? WHERE id = ?", (task.state, task.message, task_id))


async def reconcile(client: AsyncDuomi) -> None:
    """Ask again and again for tasks that are not finished: a callback may be lost."""
    while True:
        for (task_id,) in table.execute("SELECT id FROM tasks WHERE state NOT IN ('succeeded', 'error')").fetchall():
            try:
                await ask(client, task_id)
            except DuomiError as error:
                print(f"{task_id}: {error}")
        await asyncio.sleep(ROUND)

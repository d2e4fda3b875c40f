"""A FastAPI service that gets a callback when a task is finished, and polls before it acts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from duomi import AsyncDuomi, ConfigurationError, DuomiError, NotFoundError, Task
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request

MAX_BODY = 64 * 1024


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client while the service runs."""
    async with AsyncDuomi() as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/duomi", status_code=202)
async def called_back(request: Request, background: BackgroundTasks) -> None:
    """Take the id from the callback, and the state from the API."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise HTTPException(413)
    try:
        hint = Task.from_json(body)
    except DuomiError as error:
        raise HTTPException(400, "not a task") from error
    client: AsyncDuomi = request.app.state.client
    try:
        task = await client.get_task(hint.id)
    except (ConfigurationError, NotFoundError) as error:
        raise HTTPException(404, "no such task") from error
    except DuomiError as error:
        raise HTTPException(503, "the API does not reply now") from error
    if task.is_succeeded:
        background.add_task(save, client, task)


async def save(client: AsyncDuomi, task: Task) -> None:
    """Save the clips; a second callback writes the same files again."""
    await client.download(task, "clips", if_exists="replace")

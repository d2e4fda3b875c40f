"""What a web page asks for: `uvicorn web:app`, beside the workers of `clips.py`."""

from celery.result import AsyncResult
from clips import app as celery_app
from clips import send
from duomi import Task
from fastapi import FastAPI

app = FastAPI()


@app.post("/clips/{task_id}", status_code=202)
def wait(task_id: str) -> dict[str, str]:
    """Wait for a paid task; asked for twice, it has one result."""
    send(task_id)
    return {"progress": app.url_path_for("progress", task_id=task_id)}


@app.get("/clips/{task_id}")
def progress(task_id: str) -> dict:
    """Tell how far a task is; a page asks again at `next_poll_at`, or every few seconds."""
    result = AsyncResult(task_id, app=celery_app)
    state, info = result.state, result.info
    if state == "SUCCESS":
        return {"done": True, "videos": [video.url for video in Task.from_payload(info).videos]}
    if state == "FAILURE":
        return {"done": True, "error": str(info)}
    return {"done": False, **(info if state == "WAITING" else {"state": None})}

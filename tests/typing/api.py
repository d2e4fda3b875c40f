"""The public API has the right types: mypy and basedpyright check this file, and nothing runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, assert_type

import attrs
import duomi_api
import httpx
from duomi import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AsyncDuomi,
    Character,
    ConfigurationError,
    DownloadError,
    Duomi,
    DuomiError,
    Observation,
    Outcome,
    Polling,
    Retry,
    Task,
    TaskAction,
    TaskError,
    TaskState,
    TaskTimeoutError,
    Video,
    __version__,
)
from duomi_api.api.videos import get_video_task
from duomi_api.models import VideoTask


def sync(http_client: httpx.Client) -> None:
    with Duomi(
        "key", base_url="", timeout=1, retry=Retry(), polling=Polling(), strict=True, allow_insecure=True,
        http_client=http_client,
    ) as client:  # fmt: skip
        assert_type(client, Duomi)
        task = client.get_task("id")
        assert_type(task, Task)
        assert_type(client.wait("id", timeout=None, on_update=print, polling=None), Task)
        assert_type(client.watch("id", timeout=1.5), Iterator[Task])
        with client.as_completed({"id"}, timeout=..., max_in_flight=8) as outcomes:
            for outcome in outcomes:
                assert_type(outcome, Outcome)
                assert_type(outcome.task, Task | None)
                assert_type(outcome.error, DuomiError | None)
        assert_type(client.download(task, Path(), if_exists="replace", on_progress=progress), list[Path])
        assert_type(client.api, duomi_api.Client)
        assert_type(get_video_task.sync(client=client.api, task_id="id"), VideoTask | None)
        assert_type(client.close(), None)
    Duomi(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Duomi(polling=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Duomi("key", "url")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def asynchronous(http_client: httpx.AsyncClient) -> None:
    async with AsyncDuomi(http_client=http_client) as client:
        assert_type(client, AsyncDuomi)
        task = await client.get_task("id")
        assert_type(task, Task)
        assert_type(await client.wait("id", on_update=print), Task)
        assert_type(client.watch("id"), AsyncIterator[Task])
        async with client.as_completed(["id"]) as outcomes:
            async for outcome in outcomes:
                assert_type(outcome, Outcome)
        assert_type(await client.download(task), list[Path])
        assert_type(await get_video_task.asyncio(client=client.api, task_id="id"), VideoTask | None)
        assert_type(await client.aclose(), None)


def progress(done: int, total: int | None) -> None:
    assert_type(done, int)
    assert_type(total, int | None)


def values(task: Task) -> None:
    assert_type(Task.from_payload({}, task_id="id"), Task)
    assert_type(Task.from_json(b"{}"), Task)
    assert_type(task.id, str)
    assert_type(task.state, TaskState)
    assert_type(task.state.label, str)
    assert_type(task.progress, int | None)
    assert_type(task.action, TaskAction | None)
    assert_type(task.message, str)
    assert_type(task.created_at, datetime | None)
    assert_type(task.updated_at, datetime | None)
    assert_type(task.videos, tuple[Video, ...])
    assert_type(task.videos[0].url, str)
    assert_type(task.characters, tuple[Character, ...])
    assert_type(task.characters[0].id, str)
    assert_type(task.raw, Mapping[str, Any])
    assert_type(task.deviations, tuple[str, ...])
    assert_type(task.to_model(), VideoTask)
    assert_type(task.is_finished and task.is_succeeded and task.is_failed, bool)
    task.id = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def settings(delay: Callable[[list[Observation]], float]) -> None:
    polling = attrs.evolve(Polling(interval=None, timeout=None, outage=1, stall=2.5), interval=5)
    assert_type(polling, Polling)
    assert_type(polling.delay([Observation(0.0, "running", None)]), float)
    assert_type(delay([]), float)
    assert_type(Retry(attempts=5, backoff=0.5, max_backoff=8, max_retry_after=60).attempts, int)


def errors(error: DuomiError) -> None:
    version: str = __version__
    value: ValueError = ConfigurationError("")
    timeouts: list[TimeoutError] = [APITimeoutError(""), TaskTimeoutError("")]
    assert_type(APIConnectionError("").args, tuple[Any, ...])
    if isinstance(error, APIStatusError):
        assert_type(error.status_code, int)
        assert_type(error.code, int | None)
        assert_type(error.message, str)
        assert_type(error.body, str)
        assert_type(error.request_id, str | None)
        assert_type(error.retry_after, float | None)
    if isinstance(error, APIResponseError):
        assert_type((error.status_code, error.content_type, error.body), tuple[int, str, str])
    if isinstance(error, TaskError):
        assert_type((error.task_id, error.task), tuple[str, Task | None])
    if isinstance(error, DownloadError):
        assert_type((error.url, error.path, error.saved), tuple[str, Path | None, list[Path]])
    del version, value, timeouts

"""The two drivers of a download: they carry its flow's wishes out over httpx, and decide nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from duomi._core.download import DownloadFlow, Head, Open, Pull, Run, Target, download_flow
from duomi._core.poll import FOREVER
from duomi._io.lanes import make_client
from duomi._io.sync import RUNTIME, TRANSPORT_ERRORS, AsyncDriver, Caller, Driver, close, httpx_timeout
from duomi._task import Task


def _flow(caller: Caller, task: Task, target: Target) -> DownloadFlow[list[Path]]:
    caller.lanes.ensure_open()
    return download_flow(task, target, lambda: caller.task_flow(task.task_id)(FOREVER), RUNTIME, caller.settings.retry)


def _run(effect: Run) -> OSError | None:
    try:
        effect.action()
    except OSError as error:
        return error
    return None


def download(driver: Driver, task: Task, target: Target) -> list[Path]:
    """Save the videos of a task, with a client that has neither key nor cookies."""
    flow = _flow(driver, task, target)
    with (
        make_client(httpx.Client, verify=driver.lanes.tls) as client,
        _Incoming(client, driver.settings.timeout) as incoming,
    ):
        answer: Any = None
        try:
            while True:
                match flow.send(answer):
                    case Open() as effect:
                        answer = incoming.open(effect)
                    case Pull():
                        answer = incoming.pull()
                    case Run() as effect:
                        answer = _run(effect)
                    case effect:
                        answer = driver.perform(effect)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            flow.close()


async def adownload(driver: AsyncDriver, task: Task, target: Target) -> list[Path]:
    """Save the videos of a task, with a client that has neither key nor cookies; the disk has a thread of its own."""
    import anyio  # noqa: PLC0415  (dear to import, and not needed by those who block)

    flow = _flow(driver, task, target)
    timeout = driver.settings.timeout
    client = make_client(httpx.AsyncClient, verify=driver.lanes.tls)
    async with client, _AsyncIncoming(client, timeout) as incoming:
        answer: Any = None
        try:
            while True:
                match flow.send(answer):
                    case Open() as effect:
                        answer = await incoming.open(effect)
                    case Pull():
                        answer = await incoming.pull()
                    case Run() as effect:
                        answer = await anyio.to_thread.run_sync(_run, effect)
                    case effect:
                        answer = await driver.perform(effect)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            flow.close()


class _Incoming:
    """The one answer that is being read; `timeout` bounds the silence between two pieces."""

    def __init__(self, client: httpx.Client, timeout: float) -> None:
        self._client = client
        self._timeout = timeout
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def open(self, effect: Open) -> Head | Exception:
        self.close()
        effect.request.extensions["timeout"] = httpx_timeout(self._timeout)
        try:
            self._response = self._client.send(effect.request, stream=True)
        except TRANSPORT_ERRORS as error:
            return error
        self._chunks = self._response.iter_raw()
        return Head(self._response.status_code, self._response.headers)

    def pull(self) -> bytes | Exception | None:
        try:
            return next(self._chunks, None)
        except TRANSPORT_ERRORS as error:
            return error

    def close(self) -> None:
        if self._response is not None:
            self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class _AsyncIncoming:
    """The async twin."""

    def __init__(self, client: httpx.AsyncClient, timeout: float) -> None:
        self._client = client
        self._timeout = timeout
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes]

    async def open(self, effect: Open) -> Head | Exception:
        await self.close()
        effect.request.extensions["timeout"] = httpx_timeout(self._timeout)
        try:
            self._response = await self._client.send(effect.request, stream=True)
        except TRANSPORT_ERRORS as error:
            return error
        self._chunks = self._response.aiter_raw()
        return Head(self._response.status_code, self._response.headers)

    async def pull(self) -> bytes | Exception | None:
        try:
            return await anext(self._chunks, None)
        except TRANSPORT_ERRORS as error:
            return error

    async def close(self) -> None:
        if self._response is not None:
            await close(self._response, self._chunks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

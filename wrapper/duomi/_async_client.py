"""The client for asyncio and trio: the twin of `_client.py`, which checks the arguments of both."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from copy import copy
from inspect import isawaitable
from os import PathLike
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import Self

import duomi_api
import httpx

from duomi._client import make_pollers, make_watch
from duomi._config import IfExists, Settings, check_callback
from duomi._core.poll import raise_if_failed
from duomi._errors import ConfigurationError
from duomi._io.aio import AsyncDriver
from duomi._io.aio_clips import AsyncClip, download
from duomi._io.aio_completed import AsyncCompleted
from duomi._io.clips import make_save, make_stream
from duomi._io.generated import make_api
from duomi._policy import Polling, Retry
from duomi._task import Task


class AsyncDuomi:
    """The client for duomiapi.com's video tasks, for asyncio and trio.

    Args:
        api_key: the key; `None` means the environment variable `DUOMI_API_KEY`.
        base_url: where the API is; `None` means `DUOMI_BASE_URL`, else the contract's server.
        timeout: seconds for one attempt as a whole, body included; connecting gets at most 5 of them. It
            holds whatever the server does.
        retry: how one call is tried again.
        polling: how a wait polls its task.
        max_rate: requests a second that this client starts at most, all calls and copies together; `None`: as many as the
            server lets through.
        strict: whether an answer that deviates from the contract is an `APIResponseError`.
        allow_insecure: whether the key may travel unencrypted, over http:// to another machine.
        http_client: an `httpx.AsyncClient` of yours, for proxies, certificates or another transport. Its headers are read
            now, its base URL and auth are ignored, and it is not closed. Clips are fetched with it, too.

    Raises:
        ConfigurationError: an argument cannot be used.
    """

    __module__ = "duomi"

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float = 30.0,
        retry: Retry = Retry(),
        polling: Polling = Polling(),
        max_rate: float | None = None,
        strict: bool = False,
        allow_insecure: bool = False,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        if http_client is not None and not isinstance(http_client, httpx.AsyncClient):
            raise ConfigurationError("http_client must be an httpx.AsyncClient")
        settings = Settings.of(
            api_key, base_url, timeout, retry, polling, max_rate, strict=strict, allow_insecure=allow_insecure
        )
        self._driver = AsyncDriver(settings, http_client)
        self._api: duomi_api.Client | None = None
        self._is_copy = False

    @property
    def api(self) -> duomi_api.Client:
        """The generated client: hand it to the generated `asyncio` functions, which then have the key and the retries."""
        if self._api is None:
            self._api = make_api(self._driver)
        return self._api

    async def get_task(self, task: str | Task) -> Task:
        """Ask once for a task, with retries.

        Raises:
            ConfigurationError: the id cannot stand in a URL; nothing was sent.
            APIConnectionError: no answer came.
            APIStatusError: the API refused.
            APIResponseError: the answer is not a task.
        """
        return await self._driver.call(self._driver.requests.get_task(self._driver.check_id(task)))

    def watch(
        self, task: str | Task, *, timeout: float | EllipsisType | None = ..., polling: Polling | None = None
    ) -> AsyncIterator[Task]:
        """Iterate over a task: the first poll, each change, and the finished task last.

        A failed task is yielded, not raised. `timeout` is in seconds; left out it is `polling.timeout`, and `None`
        watches forever.

        Raises:
            TaskTimeoutError: the task is not finished in time; it continues.
            TaskStalledError: nothing changed for `polling.stall` seconds.
            EmptyResultError: the task succeeded without a video or character.
            DuomiError: as `get_task`, if it is not temporary.
        """
        return self._driver.watch(make_watch(self._driver, task, timeout, polling))

    async def wait(
        self,
        task: str | Task,
        *,
        timeout: float | EllipsisType | None = ...,
        on_update: Callable[[Task], object | Awaitable[object]] | None = None,
        polling: Polling | None = None,
    ) -> Task:
        """Wait until a task is finished, and return it.

        `timeout` is in seconds; left out it is `polling.timeout`, and `None` waits forever. `on_update` is called with
        what `watch` yields, and what it raises is passed on.

        Raises:
            TaskFailedError: the vendor reports that the task failed.
            TaskTimeoutError: the task is not finished in time; it continues.
            TaskStalledError: nothing changed for `polling.stall` seconds.
            EmptyResultError: the task succeeded without a video or character.
            DuomiError: as `get_task`, if it is not temporary.
        """
        check_callback("on_update", on_update, may_be_async=True)
        last: Task | None = None
        async for last in self.watch(task, timeout=timeout, polling=polling):
            if on_update is not None and isawaitable(result := on_update(last)):
                await result
        return raise_if_failed(last)

    def as_completed(
        self,
        tasks: Iterable[str | Task],
        *,
        timeout: float | EllipsisType | None = ...,
        polling: Polling | None = None,
        max_in_flight: int = 64,
        on_update: Callable[[Task], object | Awaitable[object]] | None = None,
    ) -> AsyncCompleted:
        """Wait for many tasks at once, and yield each as it finishes.

        The result is an iterator and an async context manager: each id comes out once. `timeout` is in
        seconds from now, for all; left out it is `polling.timeout`, and `None` waits forever. `on_update` is called with what changed,
        one task at a time, while you ask for the next outcome. At most `max_in_flight`
        requests are under way. A 429 or 503 that asks for a pause pauses all. Leave the block, or call
        `aclose`, to stop; under asyncio the block may be left out where the iterator is run to its end.

        Raises:
            ConfigurationError: an id cannot stand in a URL, or a setting cannot be used; nothing was sent. All that goes
                wrong with one task is in its `Outcome.error`; a key that is refused ends all.
        """
        check_callback("on_update", on_update, may_be_async=True)
        pollers = make_pollers(self._driver, tasks, timeout, polling, max_in_flight)
        return AsyncCompleted(self._driver, pollers, max_in_flight, on_update)

    async def download(
        self,
        task: Task,
        directory: str | PathLike[str] = ".",
        *,
        if_exists: IfExists = "error",
        on_progress: Callable[[int, int | None], object] | None = None,
    ) -> list[Path]:
        """Save every video of a finished task in `directory`, as `{task id}.mp4`, `{task id}-2.mp4` and so on.

        A file that already exists is an error, is replaced, or is skipped (`if_exists`); what is skipped is in the list,
        too, and its content is not checked. `on_progress` is called with the bytes that are there and those there will be (`None` where the server does not
        say), per file. The client's `timeout` bounds the silence between two pieces, `retry.attempts` counts per file.

        Raises:
            DownloadError: the task is not finished, failed or has no video; a file already exists and `if_exists` is `"error"`; or a clip did not
                arrive complete. What was saved before is in `saved`.
        """
        return await download(self._driver, make_save(self._driver, task, directory, if_exists, on_progress))

    def stream(self, task: Task, *, index: int = 0) -> AsyncClip:
        """Return the bytes of one clip, for an object store for example; `index` counts the task's clips from 0.

        The result is an async context manager, and asks for the clip when its block is entered. A connection that breaks
        off is resumed, or begun again without what was read before.

        Raises:
            ConfigurationError: there is no such clip.
            DownloadError: the task is not finished, failed or has no video; or, as you read, the clip did not arrive complete.
        """
        return AsyncClip(self._driver, make_stream(self._driver, task, index))

    def with_options(
        self,
        *,
        timeout: float | EllipsisType = ...,
        retry: Retry | EllipsisType = ...,
        polling: Polling | EllipsisType = ...,
        strict: bool | EllipsisType = ...,
    ) -> Self:
        """Return a copy with other settings, on the same connections and under the same rate.

        An argument that is left out keeps its value. To close the copy closes nothing.

        Raises:
            ConfigurationError: a value cannot be used.
        """
        client = copy(self)
        client._driver = self._driver.with_settings(self._driver.settings.with_options(timeout, retry, polling, strict))
        client._api, client._is_copy = None, True
        return client

    @property
    def is_closed(self) -> bool:
        """Whether the client was closed, and cannot be used any more."""
        return self._driver.lanes.is_closed

    async def aclose(self) -> None:
        """Close the connections; the client cannot be used after that."""
        if not self._is_copy:
            await self._driver.aclose()

    async def __aenter__(self) -> Self:
        self._driver.ensure_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        # What shows a traceback may show a client whose arguments were refused.
        base_url = self._driver.settings.base_url if hasattr(self, "_driver") else None
        return f"{type(self).__name__}(base_url={base_url!r})"

"""The two clients that people make: thin twins over the drivers."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import Self

import duomi_api
import httpx

from duomi._config import IfExists, Settings, check_if_exists, check_on_update, check_task, check_task_id, check_timeout
from duomi._core.poll import FOREVER, Poller, WatchFlow, raise_if_failed, watch_flow
from duomi._errors import ConfigurationError
from duomi._io.aio import AsyncCompleted, Completed, make_scheduler
from duomi._io.sync import RUNTIME, AsyncDriver, Caller, Driver
from duomi._policy import Polling, Retry
from duomi._task import Task


def _watch(caller: Caller, task_id: str, timeout: float | EllipsisType | None, polling: Polling | None) -> WatchFlow:
    """Return the flow of one wait, its arguments judged."""
    caller.lanes.ensure_open()
    check_task_id(task_id)
    polling = caller.settings.polling if polling is None else polling
    limit = check_timeout(polling.timeout if isinstance(timeout, EllipsisType) else timeout)
    wait = Poller(task_id, polling, limit, caller.settings.retry.max_retry_after)
    return watch_flow(wait, caller.task_flow(task_id), RUNTIME)


class Duomi:
    """The client for duomiapi.com's video tasks; one may be used from many threads.

    Args:
        api_key: the key; `None` means the environment variable `DUOMI_API_KEY`.
        base_url: where the API is; `None` means `DUOMI_BASE_URL`, else the contract's server.
        timeout: seconds for one attempt as a whole, body included; connecting gets at most 5 of them. It is checked
            between two reads, so a head that drips, name resolution and your own `http_client` are bounded per read.
        retry: how one call is asked again.
        polling: how a wait looks at its task.
        strict: whether an answer that deviates from the contract is an `APIResponseError`.
        allow_insecure: whether the key may travel in the clear, over http:// to another machine.
        http_client: an `httpx.Client` of yours, for proxies, certificates or another transport. Its headers are read
            now, its base URL and auth are ignored, and it stays open.

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
        strict: bool = False,
        allow_insecure: bool = False,
        http_client: httpx.Client | None = None,
    ) -> None:
        if http_client is not None and not isinstance(http_client, httpx.Client):
            raise ConfigurationError("http_client must be an httpx.Client")
        settings = Settings.of(api_key, base_url, timeout, retry, polling, strict=strict, allow_insecure=allow_insecure)
        self._driver = Driver(settings, http_client)
        self._api: duomi_api.Client | None = None

    @property
    def api(self) -> duomi_api.Client:
        """The generated client: hand it to the generated `sync` functions, which then have the key and the retries."""
        from duomi._io.generated import Api, Shell  # noqa: PLC0415  (not everybody needs it, and it costs at import)

        if self._api is None:
            self._api = Api(self._driver.settings.base_url, shell=Shell(self._driver))
        return self._api

    def get_task(self, task_id: str) -> Task:
        """Ask once how a task goes, with retries.

        Raises:
            ConfigurationError: the id cannot stand in a URL; nothing was sent.
            APIConnectionError: no answer came.
            APIStatusError: the API refused.
            APIResponseError: the answer is not a task.
        """
        return self._driver.call(self._driver.task_flow(check_task_id(task_id))(FOREVER))

    def watch(
        self, task_id: str, *, timeout: float | EllipsisType | None = ..., polling: Polling | None = None
    ) -> Iterator[Task]:
        """Iterate over a task: the first look, each change that can be seen, and the finished task last.

        A failed task is yielded, not raised. `timeout` is in seconds; left out it is `polling.timeout`, and `None`
        watches for ever.

        Raises:
            TaskTimeoutError: the task is not finished in time; it goes on.
            TaskStalledError: nothing moved for `polling.stall` seconds.
            EmptyResultError: the task succeeded without a video or character.
            DuomiError: as `get_task`, where it does not pass.
        """
        return self._driver.watch(_watch(self._driver, task_id, timeout, polling))

    def wait(
        self,
        task_id: str,
        *,
        timeout: float | EllipsisType | None = ...,
        on_update: Callable[[Task], object] | None = None,
        polling: Polling | None = None,
    ) -> Task:
        """Wait until a task is finished, and return it.

        `timeout` is in seconds; left out it is `polling.timeout`, and `None` waits for ever. `on_update` is called with
        what `watch` yields, and what it raises is passed on.

        Raises:
            TaskFailedError: the vendor reports that the task failed.
            TaskTimeoutError: the task is not finished in time; it goes on.
            TaskStalledError: nothing moved for `polling.stall` seconds.
            EmptyResultError: the task succeeded without a video or character.
            DuomiError: as `get_task`, where it does not pass.
        """
        check_on_update(on_update)
        last: Task | None = None
        for last in self.watch(task_id, timeout=timeout, polling=polling):
            if on_update is not None:
                on_update(last)
        return raise_if_failed(last)

    def as_completed(
        self,
        task_ids: Iterable[str],
        *,
        timeout: float | EllipsisType | None = ...,
        polling: Polling | None = None,
        max_in_flight: int = 64,
    ) -> Completed:
        """Wait for many tasks at once, and hand out each as it finishes.

        The result is an iterator and a context manager: every id comes out exactly once, given twice or not. `timeout` is in
        seconds from now, for all; left out it is `polling.timeout`, and `None` waits for ever. At most `max_in_flight`
        requests are under way, and at most 16 in this client. A 429 or 503 that asks for a pause pauses all. Leave the block, or call `close`, to stop.

        Raises:
            ConfigurationError: an id cannot stand in a URL, or a setting cannot be used; nothing was sent. All that goes
                wrong with one task is in its `Outcome.error`; a key that is refused ends all.
        """
        scheduler = make_scheduler(self._driver, task_ids, timeout, polling, max_in_flight)
        return Completed(self._driver, scheduler)

    def download(
        self,
        task: Task,
        directory: str | PathLike[str] = ".",
        *,
        if_exists: IfExists = "error",
        on_progress: Callable[[int, int | None], object] | None = None,
    ) -> list[Path]:
        """Save every video of a finished task, as `{task id}.mp4`, `{task id}-2.mp4` and so on.

        A file that already exists is an error, is replaced, or is skipped (`if_exists`); what is skipped is in the list,
        too, and its content is not checked. `on_progress` is called with the bytes that are there and those there will be (`None` where the server does not
        say), per file. The client's `timeout` bounds the silence between two pieces, `retry.attempts` counts per file.

        Raises:
            DownloadError: the task is not finished, failed or has no video; a file already exists and `if_exists` is `"error"`; or a clip did not
                arrive whole. What arrived before is in `saved`.
        """
        from duomi._core.download import Target  # noqa: PLC0415  (not everybody needs it, and it costs at import)
        from duomi._io.transfer import download  # noqa: PLC0415  (not everybody needs it, and it costs at import)

        return download(self._driver, check_task(task), Target(directory, check_if_exists(if_exists), on_progress))

    def close(self) -> None:
        """Close the connections; the client cannot be used after that."""
        self._driver.close()

    def __enter__(self) -> Self:
        self._driver.lanes.ensure_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._driver.settings.base_url!r})"


class AsyncDuomi:
    """The client for duomiapi.com's video tasks, for asyncio and trio.

    Args:
        api_key: the key; `None` means the environment variable `DUOMI_API_KEY`.
        base_url: where the API is; `None` means `DUOMI_BASE_URL`, else the contract's server.
        timeout: seconds for one attempt as a whole, body included; connecting gets at most 5 of them. It
            holds whatever the server does.
        retry: how one call is asked again.
        polling: how a wait looks at its task.
        strict: whether an answer that deviates from the contract is an `APIResponseError`.
        allow_insecure: whether the key may travel in the clear, over http:// to another machine.
        http_client: an `httpx.AsyncClient` of yours, for proxies, certificates or another transport. Its headers are read
            now, its base URL and auth are ignored, and it stays open.

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
        strict: bool = False,
        allow_insecure: bool = False,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        if http_client is not None and not isinstance(http_client, httpx.AsyncClient):
            raise ConfigurationError("http_client must be an httpx.AsyncClient")
        settings = Settings.of(api_key, base_url, timeout, retry, polling, strict=strict, allow_insecure=allow_insecure)
        self._driver = AsyncDriver(settings, http_client)
        self._api: duomi_api.Client | None = None

    @property
    def api(self) -> duomi_api.Client:
        """The generated client: hand it to the generated `asyncio` functions, which then have the key and the retries."""
        from duomi._io.generated import Api, AsyncShell  # noqa: PLC0415  (not everybody needs it, and it costs at import)

        if self._api is None:
            self._api = Api(self._driver.settings.base_url, shell=AsyncShell(self._driver))
        return self._api

    async def get_task(self, task_id: str) -> Task:
        """Ask once how a task goes, with retries.

        Raises:
            ConfigurationError: the id cannot stand in a URL; nothing was sent.
            APIConnectionError: no answer came.
            APIStatusError: the API refused.
            APIResponseError: the answer is not a task.
        """
        return await self._driver.call(self._driver.task_flow(check_task_id(task_id))(FOREVER))

    def watch(
        self, task_id: str, *, timeout: float | EllipsisType | None = ..., polling: Polling | None = None
    ) -> AsyncIterator[Task]:
        """Iterate over a task: the first look, each change that can be seen, and the finished task last.

        A failed task is yielded, not raised. `timeout` is in seconds; left out it is `polling.timeout`, and `None`
        watches for ever.

        Raises:
            TaskTimeoutError: the task is not finished in time; it goes on.
            TaskStalledError: nothing moved for `polling.stall` seconds.
            EmptyResultError: the task succeeded without a video or character.
            DuomiError: as `get_task`, where it does not pass.
        """
        return self._driver.watch(_watch(self._driver, task_id, timeout, polling))

    async def wait(
        self,
        task_id: str,
        *,
        timeout: float | EllipsisType | None = ...,
        on_update: Callable[[Task], object] | None = None,
        polling: Polling | None = None,
    ) -> Task:
        """Wait until a task is finished, and return it.

        `timeout` is in seconds; left out it is `polling.timeout`, and `None` waits for ever. `on_update` is called with
        what `watch` yields, and what it raises is passed on.

        Raises:
            TaskFailedError: the vendor reports that the task failed.
            TaskTimeoutError: the task is not finished in time; it goes on.
            TaskStalledError: nothing moved for `polling.stall` seconds.
            EmptyResultError: the task succeeded without a video or character.
            DuomiError: as `get_task`, where it does not pass.
        """
        check_on_update(on_update)
        last: Task | None = None
        async for last in self.watch(task_id, timeout=timeout, polling=polling):
            if on_update is not None:
                on_update(last)
        return raise_if_failed(last)

    def as_completed(
        self,
        task_ids: Iterable[str],
        *,
        timeout: float | EllipsisType | None = ...,
        polling: Polling | None = None,
        max_in_flight: int = 64,
    ) -> AsyncCompleted:
        """Wait for many tasks at once, and hand out each as it finishes.

        The result is an iterator and an async context manager: every id comes out exactly once, given twice or not. `timeout` is in
        seconds from now, for all; left out it is `polling.timeout`, and `None` waits for ever. At most `max_in_flight`
        requests are under way. A 429 or 503 that asks for a pause pauses all. Leave the block, or call
        `aclose`, to stop; under asyncio the block may be left out where the iterator is run to its end.

        Raises:
            ConfigurationError: an id cannot stand in a URL, or a setting cannot be used; nothing was sent. All that goes
                wrong with one task is in its `Outcome.error`; a key that is refused ends all.
        """
        scheduler = make_scheduler(self._driver, task_ids, timeout, polling, max_in_flight)
        return AsyncCompleted(self._driver, scheduler)

    async def download(
        self,
        task: Task,
        directory: str | PathLike[str] = ".",
        *,
        if_exists: IfExists = "error",
        on_progress: Callable[[int, int | None], object] | None = None,
    ) -> list[Path]:
        """Save every video of a finished task, as `{task id}.mp4`, `{task id}-2.mp4` and so on.

        A file that already exists is an error, is replaced, or is skipped (`if_exists`); what is skipped is in the list,
        too, and its content is not checked. `on_progress` is called with the bytes that are there and those there will be (`None` where the server does not
        say), per file. The client's `timeout` bounds the silence between two pieces, `retry.attempts` counts per file.

        Raises:
            DownloadError: the task is not finished, failed or has no video; a file already exists and `if_exists` is `"error"`; or a clip did not
                arrive whole. What arrived before is in `saved`.
        """
        from duomi._core.download import Target  # noqa: PLC0415  (not everybody needs it, and it costs at import)
        from duomi._io.transfer import adownload  # noqa: PLC0415  (not everybody needs it, and it costs at import)

        return await adownload(
            self._driver, check_task(task), Target(directory, check_if_exists(if_exists), on_progress)
        )

    async def aclose(self) -> None:
        """Close the connections; the client cannot be used after that."""
        await self._driver.aclose()

    async def __aenter__(self) -> Self:
        self._driver.lanes.ensure_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._driver.settings.base_url!r})"

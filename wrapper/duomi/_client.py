"""The client that people make: thin, over a driver and its flows; `_async_client.py` has its twin."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from copy import copy
from os import PathLike
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import NamedTuple, Self

import duomi_api
import httpx

import duomi
from duomi._config import (
    IfExists,
    Settings,
    check_callback,
    check_max_in_flight,
    check_tasks,
    check_timeout,
    loading,
    with_interval_of_tests,
)
from duomi._core.poll import Poller, WatchFlow, raise_if_failed, watch_flow
from duomi._core.reply import Problem
from duomi._core.request import TimeLimit
from duomi._core.typical import Typical
from duomi._errors import APIConnectionError, ConfigurationError, DuomiError
from duomi._io.base import RUNTIME, BaseDriver
from duomi._io.generated import make_api
from duomi._io.sync import Driver
from duomi._policy import Polling, Retry
from duomi._task import Task

Timeout = float | EllipsisType | None

log = logging.getLogger("duomi")


def _pollers(
    driver: BaseDriver, tasks: Iterable[str | Task], timeout: Timeout, polling: Polling | None
) -> list[Poller]:
    """Return what decides about the wait for each task; each id once, and all under the same terms."""
    polling = driver.settings.polling if polling is None else polling
    if not isinstance(polling, Polling):
        raise ConfigurationError(f"polling must be a duomi.Polling, not {polling!r}")
    polling = with_interval_of_tests(polling, driver.settings.base_url)
    limit = check_timeout(polling.timeout if isinstance(timeout, EllipsisType) else timeout)
    longest, max_rate = driver.settings.retry.max_retry_after, driver.settings.max_rate
    task_ids = dict.fromkeys(map(driver.check_id, tasks))
    return [Poller(task_id, polling, limit, longest, max_rate=max_rate) for task_id in task_ids]


def make_watch(driver: BaseDriver, task: str | Task, timeout: Timeout, polling: Polling | None) -> WatchFlow:
    """Return the flow of one wait, its arguments checked."""
    driver.ensure_open()
    (poller,) = _pollers(driver, [task], timeout, polling)
    return watch_flow(poller, driver.requests)


def make_pollers(
    driver: BaseDriver, tasks: Iterable[str | Task], timeout: Timeout, polling: Polling | None, max_in_flight: int
) -> list[Poller]:
    """Return what decides about each of many waits, their arguments checked."""
    driver.ensure_open()
    check_max_in_flight(max_in_flight)
    pollers = _pollers(driver, check_tasks(tasks), timeout, polling)
    if pollers and len(pollers) > pollers[0].max_rate * pollers[0].timeout:
        log.warning(
            "%d tasks cannot all be polled: max_rate %g/s allows %d polls in %g s",
            len(pollers), pollers[0].max_rate, pollers[0].max_rate * pollers[0].timeout, pollers[0].timeout,
        )  # fmt: skip
    return pollers


class Duomi:
    """The client for duomiapi.com's video tasks; one may be used from many threads.

    Args:
        api_key: the key; `None` means the environment variable `DUOMI_API_KEY`.
        base_url: where the API is; `None` means `DUOMI_BASE_URL`, else the contract's server.
        timeout: seconds for one attempt as a whole, body included; connecting gets at most 5 of them. Name
            resolution, TLS inside an https proxy and your own `http_client` are the exceptions.
        retry: how one call is tried again.
        polling: how a wait polls its task.
        max_rate: requests a second that this client starts at most, all calls and copies together; `None`: as many as the
            server lets through.
        strict: whether an answer that deviates from the contract is an `APIResponseError`.
        allow_insecure: whether the key may travel unencrypted, over http:// to another machine.
        http_client: an `httpx.Client` of yours, for proxies, certificates or another transport. Its headers are read
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
        http_client: httpx.Client | None = None,
    ) -> None:
        if http_client is not None and not isinstance(http_client, httpx.Client):
            raise ConfigurationError("http_client must be an httpx.Client")
        settings = Settings.of(
            api_key, base_url, timeout, retry, polling, max_rate, strict=strict, allow_insecure=allow_insecure
        )
        self._driver = Driver(settings, http_client)
        self._api: duomi_api.Client | None = None
        self._is_copy = False

    @property
    def api(self) -> duomi_api.Client:
        """The generated client: pass it to the generated `sync` functions, which then have the key and the retries."""
        if self._api is None:
            self._api = make_api(self._driver)
        return self._api

    def get_task(self, task: str | Task) -> Task:
        """Ask once for a task, with retries.

        Raises:
            ConfigurationError: the id cannot stand in a URL; nothing was sent.
            APIConnectionError: no answer came.
            APIStatusError: the API refused.
            APIResponseError: the answer is not a task.
        """
        return self._driver.call(self._driver.requests.get_task(self._driver.check_id(task)))

    def watch(
        self, task: str | Task, *, timeout: float | EllipsisType | None = ..., polling: Polling | None = None
    ) -> Iterator[Task]:
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

    def wait(
        self,
        task: str | Task,
        *,
        timeout: float | EllipsisType | None = ...,
        on_update: Callable[[Task], object] | None = None,
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
        check_callback("on_update", on_update)
        last: Task | None = None
        for last in self.watch(task, timeout=timeout, polling=polling):
            if on_update is not None:
                on_update(last)
        return raise_if_failed(last)

    def as_completed(
        self,
        tasks: Iterable[str | Task],
        *,
        timeout: float | EllipsisType | None = ...,
        polling: Polling | None = None,
        max_in_flight: int = 64,
        on_update: Callable[[Task], object] | None = None,
    ) -> "duomi.Completed":
        """Wait for many tasks at once, and yield each as it finishes.

        The result is an iterator and a context manager: each id comes out once. `timeout` is in
        seconds from now, for all; left out it is `polling.timeout`, and `None` waits forever. `on_update` is called with what changed,
        one task at a time, while you ask for the next outcome. At most `max_in_flight`
        requests are under way, and at most 16 in this client. A 429 or 503 that asks for a pause pauses all. Leave the block, or call `close`, to stop.

        Raises:
            ConfigurationError: an id cannot stand in a URL, or a setting cannot be used; nothing was sent. All that goes
                wrong with one task is in its `Outcome.error`; a key that is refused ends all.
        """
        check_callback("on_update", on_update)
        with loading():
            from duomi._io.completed import Completed  # noqa: PLC0415  (who asks for one task need not load it)

        pollers = make_pollers(self._driver, tasks, timeout, polling, max_in_flight)
        return Completed(self._driver, pollers, max_in_flight, on_update)

    def download(
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
        with loading():
            from duomi._io import clips  # noqa: PLC0415  (a call that fetches none need not load it)

        return clips.download(self._driver, clips.make_save(self._driver, task, directory, if_exists, on_progress))

    def stream(self, task: Task, *, index: int = 0) -> "duomi.Clip":
        """Return the bytes of one clip, for an object store for example; `index` counts the task's clips from 0.

        The result is a context manager, and asks for the clip when its block is entered. A connection that breaks off is
        resumed, or begun again without what was read before.

        Raises:
            ConfigurationError: there is no such clip.
            DownloadError: the task is not finished, failed or has no video; or, as you read, the clip did not arrive complete.
        """
        with loading():
            from duomi._io import clips  # noqa: PLC0415  (as above)

        return clips.Clip(self._driver, clips.make_stream(self._driver, task, index))

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

    def close(self) -> None:
        """Close the connections; the client cannot be used after that."""
        if not self._is_copy:
            self._driver.close()

    def __enter__(self) -> Self:
        self._driver.ensure_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        # What shows a traceback may show a client whose arguments were refused.
        base_url = self._driver.settings.base_url if hasattr(self, "_driver") else None
        return f"{type(self).__name__}(base_url={base_url!r})"


class PollOnce(NamedTuple):
    """The result of a single attempt.

    Attributes:
        result: the task, or the problem.
        max_retry_after: the longest Retry-After that the client accepts, in seconds.
        answered_ago: how many seconds ago any call of the client was last answered well; `math.inf` if none was.
        typical: how long earlier tasks of the client took.
    """

    result: Task | Problem
    max_retry_after: float
    answered_ago: float
    typical: Typical


def attempt_timeout(client: Duomi) -> float:
    """Return the seconds that one attempt of a client may take."""
    return client._driver.settings.timeout


def poll_once(
    lend_client: Callable[[], AbstractContextManager[Duomi]], task_id: str, turn_within: float, over_within: float
) -> PollOnce:
    """Poll a task with a single attempt, for a wait that is carried by messages.

    It queues for the client's own rate for at most `turn_within` seconds, and is over within `over_within`. If a client
    cannot be made, or anything else ends the poll early, only this worker has a problem, and it is transient.
    """
    redact: Callable[[str], str] = str
    max_retry_after, answered_ago, typical = Retry().max_retry_after, math.inf, Typical()
    try:
        with lend_client() as client:
            driver = client._driver
            redact = driver.settings.auth.redact
            max_retry_after, typical = driver.settings.retry.max_retry_after, driver.requests.typical
            # An attempt is bounded by the client's `timeout`, not by the deadline of the wait.
            now = RUNTIME.clock()
            turn_by = now + min(turn_within, over_within - driver.settings.timeout)
            limit = TimeLimit(math.inf, now + over_within, turn_by, now + over_within)
            result = driver.drive(driver.requests.poll(task_id, limit, attempts=1))
            if isinstance(result, Problem):
                # This client's clock means nothing to the keeper of the wait.
                result = result._replace(sent_at=None)
            answered_ago = RUNTIME.clock() - driver.requests.rate.answered_at
    except Exception as error:
        text = redact(repr(error))
        told = error if isinstance(error, DuomiError) else APIConnectionError(f"the poll was cut short: {text}")
        cause = error if told is not error and text == repr(error) else None
        result = Problem(told, transient=True, cause=cause)
    return PollOnce(result, max_retry_after, answered_ago, typical)

"""Clips on their way: to a file, or as a stream of bytes to the caller."""

from collections.abc import Callable, Iterator
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from duomi._config import IfExists, check_callback, check_directory, check_if_exists, check_task
from duomi._core.download import Disk, DownloadFlow, Effect, HandOut, Head, Open, Pull, Urls
from duomi._core.save import Target, save_flow
from duomi._core.stream import Stream
from duomi._errors import ConfigurationError
from duomi._io.base import RUNTIME, TRANSPORT_ERRORS, BaseDriver, content_of, each_step
from duomi._io.files import Folder, run_on_disk
from duomi._io.lanes import Lane
from duomi._io.sync import Driver
from duomi._task import Task

T = TypeVar("T")


def _urls(driver: BaseDriver, task: Task) -> Urls:
    """Return the URLs of a task's clips, once it is known that a clip can be had."""
    driver.ensure_open()
    return Urls(check_task(task), partial(driver.requests.get_task, driver.check_id(task)))


def make_save(
    driver: BaseDriver, task: Task, directory: str | PathLike[str], if_exists: IfExists,
    on_progress: Callable[[int, int | None], object] | None,
) -> DownloadFlow[list[Path]]:  # fmt: skip
    """Return the flow of a download, its arguments checked."""
    urls = _urls(driver, task)
    check_callback("on_progress", on_progress)
    target = Target(Folder(check_directory(directory)), check_if_exists(if_exists), on_progress)
    return save_flow(task, target, urls, RUNTIME, driver.settings.retry)


def make_stream(driver: BaseDriver, task: Task, index: int) -> Stream:
    """Return one clip as a stream, its arguments checked."""
    return Stream(task, index, _urls(driver, task), RUNTIME, driver.settings.retry)


class Incoming:
    """The one clip that is being received: without the key, and with a time limit for the head and for each chunk."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._timeout = driver.settings.timeout
        self._lane: Lane | None = None
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def perform(self, effect: Effect) -> Any:
        """Do what a flow wants done, and return its result."""
        match effect:
            case Open():
                return self._open(effect)
            case Pull():
                return self._pull()
            case Disk():
                return run_on_disk(effect)
            case HandOut():
                raise TypeError("a chunk is for the caller")
            case _:
                return self._driver.perform(effect)

    def close(self) -> None:
        """Be done with the clip."""
        if self._response is not None:
            self._response.close()
        if self._lane is not None:
            self._lane.network.close()
            self._driver.lanes.drop(self._lane)
        self._response = self._lane = None

    def _open(self, effect: Open) -> Head | Exception:
        self.close()
        self._driver.ensure_open()
        client = self._driver.http_client
        try:
            if client is not None:
                effect.request.extensions["timeout"] = each_step(self._timeout)
                try:
                    self._response = client.send(effect.request, auth=None, follow_redirects=False, stream=True)
                except httpx.HTTPStatusError as error:
                    self._response = error.response  # a hook of the caller's raised it
                content = content_of(self._response)
                self._chunks = self._response.iter_raw() if content is None else iter([content])
            else:
                self._lane = self._driver.lanes.lend(effect.request.url)
                self._lane.network.begin(self._timeout)
                self._response = self._lane.handle_request(effect.request)
                self._chunks = iter(self._response.stream)  # type: ignore[arg-type]
        except TRANSPORT_ERRORS as error:
            return error if self._lane is None else self._lane.explain(error)
        return Head(self._response.status_code, self._response.headers)

    def _pull(self) -> bytes | Exception | None:
        if self._lane is not None:
            self._lane.network.begin(self._timeout)
        try:
            return next(self._chunks, None)
        except TRANSPORT_ERRORS as error:
            return error


def download(driver: Driver, flow: DownloadFlow[T]) -> T:
    """Drive a download to its end."""
    incoming = Incoming(driver)
    answer: Any = None
    try:
        while True:
            answer = incoming.perform(flow.send(answer))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        flow.close()
        incoming.close()


class Buffered:
    """What is known of a clip, and what of it was received and not yet read."""

    def __init__(self, stream: Stream) -> None:
        self._fetch = stream.fetch
        self._flow = stream.run()
        self._answer: Any = None
        self._buffer = bytearray()
        self._is_complete = False
        self._is_closed = False

    @property
    def size(self) -> int | None:
        """How many bytes the clip has; `None` if the server does not say."""
        return self._fetch.size

    @property
    def content_type(self) -> str:
        """What the server calls it, such as `video/mp4`; `""` if it does not."""
        return self._fetch.content_type

    @property
    def url(self) -> str:
        """The signed URL that it comes from."""
        return self._fetch.url

    def _end(self) -> None:
        """Hand out nothing more."""
        self._is_closed = True
        self._buffer.clear()
        self._flow.close()

    def _ensure_open(self) -> None:
        if self._is_closed:
            raise ConfigurationError("the clip is closed")

    def _check_size(self, size: object) -> int:
        """Return how many bytes are to be read, -1 for all of them, if any can be read."""
        if not isinstance(size, int | None):
            raise ConfigurationError(f"the size to read is an int, not {type(size).__name__}")
        self._ensure_open()
        return -1 if size is None else size

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size]) if size >= 0 else bytes(self._buffer)
        del self._buffer[: len(taken)]
        return taken

    def _has(self, size: int) -> bool:
        return self._is_complete or 0 <= size <= len(self._buffer)


class Clip(Buffered, Iterator[bytes]):
    """The bytes of one clip; iterate over them, or `read` them as from a file.

    Leave the `with` block, or call `close`, to end it. Every byte comes once, also if the connection breaks off.
    """

    __module__ = "duomi"

    def __init__(self, driver: Driver, stream: Stream) -> None:
        super().__init__(stream)
        self._incoming = Incoming(driver)

    def __next__(self) -> bytes:
        """Return the next bytes.

        Raises:
            DownloadError: the clip did not arrive complete.
        """
        if not self._buffer:
            self._fill()
        if not self._buffer:
            raise StopIteration
        return self._take(-1)

    def read(self, size: int | None = -1) -> bytes:
        """Return `size` bytes, fewer only at the end; with -1 or `None` all of them.

        Raises:
            DownloadError: the clip did not arrive complete.
        """
        size = self._check_size(size)
        while not self._has(size):
            self._fill()
        return self._take(size)

    def close(self) -> None:
        """Close the connection; nothing can be read after that."""
        self._end()
        self._incoming.close()

    def _fill(self) -> None:
        """Receive the next bytes, if there are more."""
        self._ensure_open()
        if self._is_complete:
            return
        try:
            while not isinstance(effect := self._flow.send(self._answer), HandOut):
                self._answer = self._incoming.perform(effect)
            self._answer = None
            self._buffer += effect.chunk
        except StopIteration:
            self._is_complete = True
            self._incoming.close()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        self._fill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

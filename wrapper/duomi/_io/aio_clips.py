"""The async twin of `clips.py`."""

from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx

from duomi._core.download import Disk, DownloadFlow, Effect, HandOut, Head, Open, Pull
from duomi._core.stream import Stream
from duomi._errors import ConfigurationError
from duomi._io.aio import AsyncDriver, close, current_loop, send
from duomi._io.base import TRANSPORT_ERRORS, content_of, each_step
from duomi._io.clips import Buffered
from duomi._io.files import run_on_disk
from duomi._io.lanes import AsyncLane

T = TypeVar("T")


class AsyncIncoming:
    """The async twin of `Incoming`."""

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver
        self._timeout = driver.settings.timeout
        self._lane: AsyncLane | None = None
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    async def perform(self, effect: Effect) -> Any:
        """Do what a flow wants done, and return its result; the disk has a thread of its own."""
        match effect:
            case Open():
                return await self._open(effect)
            case Pull():
                return await self._pull()
            case Disk():
                return await _in_thread(effect)
            case HandOut():
                raise TypeError("a chunk is for the caller")
            case _:
                return await self._driver.perform(effect)

    async def aclose(self) -> None:
        """Be done with the clip."""
        lane, response, chunks = self._lane, self._response, self._chunks
        self._response = self._chunks = self._lane = None
        try:
            if lane is not None:
                self._driver.lanes.drop(lane)
                await lane.network.aclose()
        finally:
            if response is not None and chunks is not None:
                await close(response, chunks)

    async def _open(self, effect: Open) -> Head | Exception:
        await self.aclose()
        self._driver.ensure_open()
        client = self._driver.http_client
        try:
            with anyio.fail_after(self._timeout):
                if client is not None:
                    effect.request.extensions["timeout"] = each_step(self._timeout)
                    self._response = await send(client, effect.request, None)
                    content = content_of(self._response)
                    self._chunks = aiter(self._response.stream) if content is None else _once(content)  # type: ignore[arg-type]
                else:
                    self._lane = self._driver.lanes.lend(effect.request.url)
                    self._response = await self._lane.handle_async_request(effect.request)
                    self._chunks = aiter(self._response.stream)  # type: ignore[arg-type]
        except TRANSPORT_ERRORS as error:
            return error if self._lane is None else self._lane.explain(error)
        return Head(self._response.status_code, self._response.headers)

    async def _pull(self) -> bytes | Exception | None:
        try:
            with anyio.fail_after(self._timeout):
                return await anext(self._chunks, None)  # type: ignore[arg-type]
        except TRANSPORT_ERRORS as error:
            return error


async def _in_thread(effect: Disk) -> Exception | None:
    """Do what blocks on the disk in a thread, which in asyncio continues when its caller is cancelled."""
    loop = current_loop()
    try:
        if isinstance(loop, AbstractEventLoop):
            # Python itself ends these threads, also after a second Ctrl-C.
            return await loop.run_in_executor(None, run_on_disk, effect)
        return await anyio.to_thread.run_sync(run_on_disk, effect)
    except RuntimeError as error:
        raise ConfigurationError(f"no thread can be started for the disk: {error}") from error


async def _once(content: bytes) -> AsyncGenerator[bytes]:
    yield content


async def download(driver: AsyncDriver, flow: DownloadFlow[T]) -> T:
    """Drive a download to its end."""
    incoming = AsyncIncoming(driver)
    answer: Any = None
    try:
        while True:
            answer = await incoming.perform(flow.send(answer))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        flow.close()
        await incoming.aclose()


class AsyncClip(Buffered, AsyncIterator[bytes]):
    """The bytes of one clip; iterate over them, or `read` them as from a file.

    Leave the `async with` block, or call `aclose`, to end it. Every byte comes once, also if the connection breaks off.
    """

    __module__ = "duomi"

    def __init__(self, driver: AsyncDriver, stream: Stream) -> None:
        super().__init__(stream)
        self._incoming = AsyncIncoming(driver)

    async def __anext__(self) -> bytes:
        """Return the next bytes.

        Raises:
            DownloadError: the clip did not arrive complete.
        """
        if not self._buffer:
            await self._fill()
        if not self._buffer:
            raise StopAsyncIteration
        return self._take(-1)

    async def read(self, size: int | None = -1) -> bytes:
        """Return `size` bytes, fewer only at the end; with -1 or `None` all of them.

        Raises:
            DownloadError: the clip did not arrive complete.
        """
        size = self._check_size(size)
        while not self._has(size):
            await self._fill()
        return self._take(size)

    async def aclose(self) -> None:
        """Close the connection; nothing can be read after that."""
        self._end()
        await self._incoming.aclose()

    async def _fill(self) -> None:
        """Receive the next bytes, if there are more."""
        self._ensure_open()
        if self._is_complete:
            return
        try:
            while not isinstance(effect := self._flow.send(self._answer), HandOut):
                self._answer = await self._incoming.perform(effect)
            self._answer = None
            self._buffer += effect.chunk
        except StopIteration:
            self._is_complete = True
            await self._incoming.aclose()
        except BaseException:
            await self.aclose()
            raise

    async def __aenter__(self) -> Self:
        await self._fill()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

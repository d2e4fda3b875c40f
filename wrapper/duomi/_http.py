"""The two drivers: they carry a flow's wishes out over httpx, and decide nothing."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import attrs
import duomi_api
import httpx
from duomi_api.api.videos import get_video_task

from duomi._body import Body
from duomi._errors import ConfigurationError
from duomi._flow import Answer, RequestFlow, Send, Show, Sleep, Surroundings, WatchFlow, request_flow
from duomi._judge import BodyTooLargeError, Judge, Problem, Read, Reply, read_response, read_task
from duomi._settings import HEADERS, Settings
from duomi._task import Task

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")
Wish = TypeVar("Wish")
ClientT = TypeVar("ClientT", bound="httpx.Client | httpx.AsyncClient")

CONNECT: Final = 5.0
CONNECTIONS_PER_POOL: Final = 4
_STEPS: Final = ("connect", "read", "write", "pool")
_LIMITS: Final = httpx.Limits(max_connections=CONNECTIONS_PER_POOL, max_keepalive_connections=CONNECTIONS_PER_POOL)
AROUND: Final = Surroundings(time.monotonic, random.random)

BROKEN = (httpx.RequestError, httpx.InvalidURL, TimeoutError, BodyTooLargeError)


def per_step(limit: float) -> dict[str, float]:
    """Return httpx's time-outs where each step of an attempt may take so many seconds."""
    return {**dict.fromkeys(_STEPS, limit), "connect": min(limit, CONNECT)}


class _TimeLeft(dict[str, float]):
    """httpx's time-outs for one attempt: each step of it gets what is left of the whole."""

    def __init__(self, limit: float) -> None:
        super().__init__(per_step(limit))
        self._limit = limit
        self._ends_at = time.monotonic() + limit

    def __getitem__(self, step: str) -> float:
        left = max(self._ends_at - time.monotonic(), 0.001)
        return min(left, CONNECT) if step == "connect" else left

    def get(self, key: str, _default: object = None) -> float:
        return self[key]

    def ensure(self) -> None:
        if time.monotonic() > self._ends_at:
            raise TimeoutError(f"no whole answer within {self._limit:g} s")


class Pools(Generic[ClientT]):
    """Small httpx clients behind one TLS context, made as they are needed; a large pool is slow."""

    def __init__(self, make: Callable[..., ClientT], own: ClientT | None) -> None:
        self._make = make
        self._own = own
        self._lock = threading.Lock()
        self._free: list[ClientT] = []
        self._made: list[ClientT] = []
        self._tls: ssl.SSLContext | None = None

    def take(self) -> ClientT:
        """Lend a client with a connection to spare."""
        if self._own is not None:
            return self._own
        with self._lock:
            if not self._free:
                client = self._make(verify=self.tls, limits=_LIMITS)
                self._made.append(client)
                self._free = [client] * CONNECTIONS_PER_POOL
            return self._free.pop()

    def give_back(self, client: ClientT) -> None:
        """Take a lent client back."""
        if client is not self._own:
            with self._lock:
                self._free.append(client)

    def drain(self) -> list[ClientT]:
        """Return every client that was made, to be closed."""
        with self._lock:
            made, self._made, self._free = self._made, [], []
        return made

    @property
    def tls(self) -> ssl.SSLContext:
        """The one TLS context, made at first use."""
        if self._tls is None:
            self._tls = httpx.create_ssl_context()
        return self._tls


def _unreachable(_request: httpx.Request) -> httpx.Response:
    raise RuntimeError("the shell sends nothing itself")


_NOWHERE = httpx.MockTransport(_unreachable)


def _headers(own: httpx.Client | httpx.AsyncClient | None) -> httpx.Headers:
    """Return the headers of every request: those that the caller's client was given, and else ours."""
    headers = httpx.Headers(HEADERS)
    if own is not None:
        plain = httpx.Client(transport=_NOWHERE).headers
        headers.update([(name, value) for name, value in own.headers.multi_items() if plain.get(name) != value])
        headers["accept-encoding"] = HEADERS["accept-encoding"]
    return headers


def unwrap(answer: T | Problem) -> T:
    """Return an answer, or raise what the problem is."""
    if isinstance(answer, Problem):
        raise answer.throw()
    return answer


class Caller:
    """What both drivers need to know: the settings, and how requests are made and judged."""

    def __init__(self, settings: Settings, own: httpx.Client | httpx.AsyncClient | None) -> None:
        self.settings = settings
        self.headers = _headers(own)
        self.closed = False

    def ensure_open(self) -> None:
        """Refuse to work after the client was closed."""
        if self.closed:
            raise ConfigurationError("the client is closed")

    def flow(self, request: httpx.Request, read: Read[T], until: float = math.inf) -> RequestFlow[T]:
        """Return the flow of one request."""
        judge = Judge(f"{request.method} {request.url.raw_path.decode('ascii')}", self.settings.auth.conceal)
        return request_flow(request, judge, read, AROUND, self.settings.retry, self.settings.timeout, until)

    def task_flow(self, task_id: str) -> Callable[[float], RequestFlow[Task]]:
        """Return what makes the flow of one look at a task, for as long as it may take."""
        path = get_video_task._get_kwargs(task_id)["url"]  # noqa: SLF001  (the path stands in the generated code alone)
        request = httpx.Request("GET", self.settings.base_url + path, headers=self.headers)
        read = read_task(task_id, strict=self.settings.strict)
        return lambda until: self.flow(request, read, until)

    def api_flow(self, request: httpx.Request) -> RequestFlow[Reply]:
        """Return the flow of a request that a generated function made."""
        base = httpx.URL(self.settings.base_url)
        if (request.url.scheme, request.url.netloc) != (base.scheme, base.netloc):
            raise ConfigurationError(f"{request.url.host} is not the API, and would be sent the key")
        return self.flow(request, read_response)


def _response(reply: Reply, request: httpx.Request) -> httpx.Response:
    headers = reply.headers.copy()
    for name in ("content-encoding", "content-length", "transfer-encoding"):
        headers.pop(name, None)
    return httpx.Response(reply.status, headers=headers, content=reply.content, request=request)


class Driver(Caller):
    """Carries wishes out with `httpx.Client`, and blocks."""

    def __init__(self, settings: Settings, own: httpx.Client | None) -> None:
        super().__init__(settings, own)
        self.pools = Pools(httpx.Client, own)

    def call(self, flow: RequestFlow[T]) -> T:
        """Drive a flow to its end."""
        self.ensure_open()
        try:
            wish = next(flow)
            while True:
                wish = flow.send(self.carry_out(wish))
        except StopIteration as end:
            answer: T | Problem = end.value
            return unwrap(answer)

    def watch(self, flow: WatchFlow) -> Iterator[Task]:
        """Drive a flow, and yield what it shows."""
        answer: Answer = None
        while (wish := advance(flow, answer)) is not None:
            self.ensure_open()
            if isinstance(wish, Show):
                answer = None
                yield wish.task
            else:
                answer = self.carry_out(wish)

    def carry_out(self, wish: Send | Sleep) -> Answer:
        """Send, or sleep."""
        if isinstance(wish, Sleep):
            time.sleep(wish.seconds)
            return None
        client = self.pools.take()
        try:
            return self._attempt(client, wish)
        finally:
            self.pools.give_back(client)

    def _attempt(self, client: httpx.Client, wish: Send) -> Reply | Exception:
        time_left = _TimeLeft(wish.limit)
        wish.request.extensions = {"timeout": time_left}
        try:
            response = client.send(wish.request, auth=self.settings.auth, follow_redirects=False, stream=True)
        except BROKEN as error:
            return error
        body = Body()
        broken = None
        try:
            body.begin(response.headers)
            for piece in response.iter_raw():
                body.add(piece)
                time_left.ensure()
            body.finish()
        except BROKEN as error:
            broken = error
        finally:
            response.close()
        return Reply(response.status_code, response.headers, body.content, broken)

    def close(self) -> None:
        """Close every connection that is ours."""
        self.closed = True
        for client in self.pools.drain():
            client.close()


class AsyncDriver(Caller):
    """Carries wishes out with `httpx.AsyncClient`, under asyncio and trio."""

    def __init__(self, settings: Settings, own: httpx.AsyncClient | None) -> None:
        super().__init__(settings, own)
        self.pools = Pools(httpx.AsyncClient, own)

    async def call(self, flow: RequestFlow[T]) -> T:
        """Drive a flow to its end."""
        self.ensure_open()
        try:
            wish = next(flow)
            while True:
                wish = flow.send(await self.carry_out(wish))
        except StopIteration as end:
            answer: T | Problem = end.value
            return unwrap(answer)

    async def watch(self, flow: WatchFlow) -> AsyncIterator[Task]:
        """Drive a flow, and yield what it shows."""
        answer: Answer = None
        while (wish := advance(flow, answer)) is not None:
            self.ensure_open()
            if isinstance(wish, Show):
                answer = None
                yield wish.task
            else:
                answer = await self.carry_out(wish)

    async def carry_out(self, wish: Send | Sleep) -> Answer:
        """Send, or sleep."""
        if isinstance(wish, Sleep):
            import anyio  # noqa: PLC0415  (dear to import, and not needed by those who block)

            await anyio.sleep(wish.seconds)
            return None
        client = self.pools.take()
        try:
            return await self._attempt(client, wish)
        finally:
            self.pools.give_back(client)

    async def _attempt(self, client: httpx.AsyncClient, wish: Send) -> Reply | Exception:
        import anyio  # noqa: PLC0415  (as above)

        wish.request.extensions = {"timeout": per_step(wish.limit)}
        body = Body()
        response = broken = None
        try:
            with anyio.fail_after(wish.limit):
                response = await client.send(wish.request, auth=self.settings.auth, follow_redirects=False, stream=True)
                try:
                    body.begin(response.headers)
                    async for piece in response.aiter_raw():
                        body.add(piece)
                    body.finish()
                finally:
                    await response.aclose()
        except BROKEN as error:
            broken = error
        if response is None:
            return broken or TimeoutError()
        return Reply(response.status_code, response.headers, body.content, broken)

    async def aclose(self) -> None:
        """Close every connection that is ours."""
        self.closed = True
        for client in self.pools.drain():
            await client.aclose()


def advance(flow: Generator[Wish, Answer, object], answer: Answer) -> Wish | None:
    """Send an answer into a flow, and return its next wish; None at its end."""
    try:
        return flow.send(answer)
    except StopIteration:
        return None


class Shell(httpx.Client):
    """The `httpx.Client` that generated functions get: every request it sends is driven by a flow."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(transport=_NOWHERE, trust_env=False, base_url=driver.settings.base_url, headers=driver.headers)
        self._driver = driver

    def send(self, request: httpx.Request, **_options: Any) -> httpx.Response:
        """Send a request with the key, the retries and the time limits of the client."""
        request.read()
        return _response(self._driver.call(self._driver.api_flow(request)), request)


class AsyncShell(httpx.AsyncClient):
    """The `httpx.AsyncClient` that generated functions get."""

    def __init__(self, driver: AsyncDriver) -> None:
        super().__init__(transport=_NOWHERE, trust_env=False, base_url=driver.settings.base_url, headers=driver.headers)
        self._driver = driver

    async def send(self, request: httpx.Request, **_options: Any) -> httpx.Response:
        """Send a request with the key, the retries and the time limits of the client."""
        await request.aread()
        return _response(await self._driver.call(self._driver.api_flow(request)), request)


@attrs.define
class Api(duomi_api.Client):
    """The generated client on our shell; it serves the functions of one kind, and refuses the other."""

    _shell: Shell | AsyncShell = attrs.field(kw_only=True, alias="shell")

    def get_httpx_client(self) -> httpx.Client:
        """Return the shell that the generated `sync*` functions send with."""
        if isinstance(self._shell, httpx.Client):
            return self._shell
        raise ConfigurationError("AsyncDuomi.api serves the generated asyncio functions; for sync ones use Duomi.api")

    def get_async_httpx_client(self) -> httpx.AsyncClient:
        """Return the shell that the generated `asyncio*` functions send with."""
        if isinstance(self._shell, httpx.AsyncClient):
            return self._shell
        raise ConfigurationError("Duomi.api serves the generated sync functions; for asyncio use AsyncDuomi.api")

    def with_headers(self, headers: dict[str, str]) -> Self:  # noqa: ARG002  (the generated signature)
        """Refuse: a copy would send without them, or without the key."""
        raise _fixed("headers")

    def with_cookies(self, cookies: dict[str, str]) -> Self:  # noqa: ARG002  (the generated signature)
        """Refuse: a copy would send without them, or without the key."""
        raise _fixed("cookies")

    def with_timeout(self, timeout: httpx.Timeout) -> Self:  # noqa: ARG002  (the generated signature)
        """Refuse: a copy would send without it, or without the key."""
        raise _fixed("a timeout")


def _fixed(what: str) -> ConfigurationError:
    return ConfigurationError(f"this client is fixed: give {what} to Duomi or AsyncDuomi, or to its http_client")

"""The generated client on our transport: its endpoints have the key, the retries and the time limits of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duomi_api
import httpx

from duomi._config import HEADERS
from duomi._core.reply import Reply
from duomi._errors import ConfigurationError
from duomi._io.sync import Driver

if TYPE_CHECKING:
    from duomi._io.aio import AsyncDriver

# The body is decompressed already; cookies are not kept, and redirects are not followed.
_REMOVED = ("content-encoding", "content-length", "transfer-encoding", "set-cookie", "location")


class Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Sends what generated functions ask for by a driver's flows."""

    def __init__(self, driver: Driver | AsyncDriver) -> None:
        self._driver = driver

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of the generated `sync` functions.

        Raises:
            ConfigurationError: the client is an `AsyncDuomi`.
        """
        if not isinstance(self._driver, Driver):
            raise ConfigurationError(
                "AsyncDuomi.api serves the generated asyncio functions; for sync ones use Duomi.api"
            )
        request.read()
        return self._response(self._driver.call(self._driver.requests.api(request)))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of the generated `asyncio` functions.

        Raises:
            ConfigurationError: the client is a `Duomi`.
        """
        if isinstance(self._driver, Driver):
            raise ConfigurationError("Duomi.api serves the generated sync functions; for asyncio use AsyncDuomi.api")
        await request.aread()
        return self._response(await self._driver.call(self._driver.requests.api(request)))

    def close(self) -> None:
        """Do nothing: the lanes belong to the client."""

    async def aclose(self) -> None:
        """Do nothing: as `close`."""

    def _response(self, reply: Reply) -> httpx.Response:
        redact = self._driver.settings.auth.redact
        headers = httpx.Headers([(name, redact(value)) for name, value in reply.headers.multi_items()])
        for name in _REMOVED:
            headers.pop(name, None)
        return httpx.Response(reply.status, headers=headers, content=reply.content)


def make_api(driver: Driver | AsyncDriver) -> duomi_api.Client:
    """Return the generated client on our transport."""
    arguments: dict[str, Any] = {"transport": Transport(driver), "trust_env": False}
    headers = {name: value for name, value in driver.requests.headers.items() if name != "host"} | HEADERS
    return duomi_api.Client(driver.settings.base_url, headers=headers, httpx_args=arguments)

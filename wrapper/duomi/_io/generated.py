"""What the generated functions send with: httpx clients whose every request is driven by a flow."""

from __future__ import annotations

from typing import Any, Self

import attrs
import duomi_api
import httpx

from duomi._core.request import Reply
from duomi._errors import ConfigurationError
from duomi._io.sync import NOWHERE, AsyncDriver, Caller, Driver


def _response(driver: Caller, reply: Reply, request: httpx.Request) -> httpx.Response:
    redact = driver.settings.auth.redact
    headers = httpx.Headers([(name, redact(value)) for name, value in reply.headers.multi_items()])
    for name in ("content-encoding", "content-length", "transfer-encoding"):
        headers.pop(name, None)
    return httpx.Response(reply.status, headers=headers, content=reply.content, request=request)


class Shell(httpx.Client):
    """The `httpx.Client` that generated functions get: every request it sends is driven by a flow."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(transport=NOWHERE, trust_env=False, base_url=driver.settings.base_url, headers=driver.headers)
        self._driver = driver

    def send(self, request: httpx.Request, **_options: Any) -> httpx.Response:
        """Send a request with the key, the retries and the time limits of the client."""
        request.read()
        return _response(self._driver, self._driver.call(self._driver.api_flow(request)), request)


class AsyncShell(httpx.AsyncClient):
    """The `httpx.AsyncClient` that generated functions get."""

    def __init__(self, driver: AsyncDriver) -> None:
        super().__init__(transport=NOWHERE, trust_env=False, base_url=driver.settings.base_url, headers=driver.headers)
        self._driver = driver

    async def send(self, request: httpx.Request, **_options: Any) -> httpx.Response:
        """Send a request with the key, the retries and the time limits of the client."""
        await request.aread()
        return _response(self._driver, await self._driver.call(self._driver.api_flow(request)), request)


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

"""The one connection of a lane, in place of httpcore's pool."""

from __future__ import annotations

from typing import Any

import httpcore


class OneConnection:
    """Stands in for httpcore's pool, whose care for many connections takes a tenth of the time of a request.

    What records or mocks requests may have replaced the pool's own method, and then that is called.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.connection: Any = None

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request on the connection; on a new one if the server has closed it."""
        if _is_replaced(self._pool.handle_request):
            return self._pool.handle_request(request)  # type: ignore[no-any-return]
        if self._has_ended():
            self.connection.close()
            self.connection = None
        try:
            return self._connection_to(request.url.origin).handle_request(request)  # type: ignore[no-any-return]
        except Exception as error:
            raise _as_httpcore(error) from error.__cause__

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request on the connection; on a new one if the server has closed it."""
        if _is_replaced(self._pool.handle_async_request):
            return await self._pool.handle_async_request(request)  # type: ignore[no-any-return]
        if self._has_ended():
            await self.connection.aclose()
            self.connection = None
        try:
            return await self._connection_to(request.url.origin).handle_async_request(request)  # type: ignore[no-any-return]
        except Exception as error:
            raise _as_httpcore(error) from error.__cause__

    def _has_ended(self) -> bool:
        return self.connection is not None and (not self.connection.is_available() or self.connection.has_expired())

    def _connection_to(self, origin: httpcore.Origin) -> Any:
        if self.connection is None:
            self.connection = self._pool.create_connection(origin)
        return self.connection


def _is_replaced(method: Any) -> bool:
    """Tell whether a method of httpcore's pool is not its own any more."""
    code = getattr(method, "__code__", None)
    return code is None or not code.co_filename.endswith("connection_pool.py")


def _as_httpcore(error: Exception) -> Exception:
    """Return an error as one of httpcore's: it lets through those of the package that speaks to SOCKS proxies."""
    return httpcore.ProxyError(str(error)) if type(error).__module__.startswith("socksio") else error

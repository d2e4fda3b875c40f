"""The httpx clients that carry the requests: many small ones, and what none of them may do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import httpx

from duomi._errors import ConfigurationError

if TYPE_CHECKING:
    import ssl

ClientT = TypeVar("ClientT", bound="httpx.Client | httpx.AsyncClient")

# httpx's pool looks at each of its connections twice a request.
CONNECTIONS_PER_POOL: Final = 2
_PROXY: Final = "the proxy that the environment names (HTTPS_PROXY, ALL_PROXY)"
_LIMITS: Final = httpx.Limits(max_connections=CONNECTIONS_PER_POOL, max_keepalive_connections=CONNECTIONS_PER_POOL)


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Take none, and look at none, which takes longer than to read a task."""


_NO_COOKIES: Final = _NoCookies()


class _WithoutCookies:
    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        """Stay without."""


class _Client(_WithoutCookies, httpx.Client):
    pass


class _AsyncClient(_WithoutCookies, httpx.AsyncClient):
    pass


_OURS: Final[dict[type, Callable[..., Any]]] = {httpx.Client: _Client, httpx.AsyncClient: _AsyncClient}


def _forget_location(response: httpx.Response) -> None:
    response.headers.pop("location", None)


async def _forget_location_too(response: httpx.Response) -> None:
    _forget_location(response)


# No redirect is followed, but httpx parses where it leads, and takes a garbled one for a broken connection.
_HOOKS: Final[dict[type, dict[str, Any]]] = {
    httpx.Client: {"response": [_forget_location]},
    httpx.AsyncClient: {"response": [_forget_location_too]},
}


def make_client(kind: type[ClientT], **options: Any) -> ClientT:
    """Make an httpx client that takes no cookies, and reads the proxy variables of the environment.

    Raises:
        ConfigurationError: they name a proxy that httpx cannot use.
    """
    try:
        client: ClientT = _OURS[kind](**options)
    except httpx.InvalidURL:
        # What it says may be a part of the proxy's password.
        raise ConfigurationError(f"{_PROXY} is not a URL") from None
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"{_PROXY} cannot be used: {error}") from error
    return client


class Lanes(Generic[ClientT]):
    """Small httpx clients behind one TLS context, made as they are needed; a large pool is slow."""

    def __init__(self, kind: type[ClientT], own: ClientT | None) -> None:
        self._kind = kind
        self._hooks = _HOOKS[kind]
        self._own = own
        self._lock = threading.Lock()
        self._free: list[ClientT] = []
        self._made: list[ClientT] = []
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    def take(self) -> ClientT:
        """Lend a client with a connection to spare."""
        with self._lock:
            self.ensure_open()
            if self._own is not None:
                if self._own.is_closed:
                    raise ConfigurationError("the http_client is closed")
                return self._own
            if not self._free:
                client = make_client(self._kind, verify=self.tls, limits=_LIMITS, event_hooks=self._hooks)
                self._made.append(client)
                self._free = [client] * CONNECTIONS_PER_POOL
            return self._free.pop()

    def release(self, client: ClientT) -> None:
        """Take a lent client back."""
        if client is not self._own:
            with self._lock:
                self._free.append(client)

    def ensure_open(self) -> None:
        """Refuse to work after `drain`."""
        if self._closed:
            raise ConfigurationError("the client is closed")

    def close_all(self) -> list[ClientT]:
        """Lend no more, and return every client that was made, to be closed."""
        with self._lock:
            self._closed = True
            made, self._made, self._free = self._made, [], []
        return made

    @property
    def tls(self) -> ssl.SSLContext:
        """The one TLS context, made at first use."""
        if self._tls is None:
            self._tls = httpx.create_ssl_context()
        return self._tls

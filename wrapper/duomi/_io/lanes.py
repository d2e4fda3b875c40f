"""Lanes: connections that are lent to one call at a time.

httpcore leaks a place in its pool when a call is cancelled, and a pool that is shared then hangs forever; a connection
on which something went wrong may hold the answer to another question. So each lane is a transport with one connection, and
only one whose last reply was read completely is lent again.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from ipaddress import ip_address, ip_network
from typing import Any, Final, Generic, TypeVar
from urllib.request import getproxies, proxy_bypass

import httpx

from duomi._config import is_loopback, loading
from duomi._core.reply import PROXY
from duomi._errors import ConfigurationError

KEEP_ALIVE: Final = 5.0
_ONE: Final = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE)

_PORTS: Final = {"https": 443, "socks5": 1080, "socks5h": 1080}

log = logging.getLogger("duomi")
_of_the_parent: list[Any] = []
_warned: set[str] = set()


class _HoldsConnection:
    """What both kinds of lane know about their connection."""

    _pool: Any
    rests_since = 0.0
    _proxy_name: str | None = None

    def _name(self, proxy: httpx.Proxy | None) -> None:
        if proxy is not None:
            # Without its password.
            self._proxy_name = f"{PROXY}{proxy.url.host}:{proxy.url.port or _PORTS.get(proxy.url.scheme, 80)}"

    def explain(self, error: Exception) -> Exception:
        """Return what went wrong, with a note that names the proxy if there is one."""
        if self._proxy_name is not None:
            error.add_note(self._proxy_name)
        return error

    @property
    def is_clean(self) -> bool:
        """Whether nothing came behind the last reply; unsure counts as no."""
        try:
            return not self._pool.connection._connection._h11_state.trailing_data[0]
        except AttributeError:
            return False


class Lane(_HoldsConnection, httpx.HTTPTransport):
    """One connection, with blocking sockets."""

    def __init__(self, tls: ssl.SSLContext, proxy: httpx.Proxy | None) -> None:
        with loading():
            from duomi._io.connection import OneConnection  # noqa: PLC0415  (httpcore takes longer to import than all of this package)
            from duomi._io.network import Network  # noqa: PLC0415  (as above)

        super().__init__(verify=tls, limits=_ONE, proxy=proxy)
        self._name(proxy)
        self.network = self._pool._network_backend = Network()
        self._pool = OneConnection(self._pool)


class AsyncLane(_HoldsConnection, httpx.AsyncHTTPTransport):
    """One connection, for asyncio and trio."""

    def __init__(self, tls: ssl.SSLContext, proxy: httpx.Proxy | None) -> None:
        with loading():
            from duomi._io.connection import OneConnection  # noqa: PLC0415  (as above)
            from duomi._io.network import AsyncNetwork  # noqa: PLC0415  (as above)

        super().__init__(verify=tls, limits=_ONE, proxy=proxy)
        self._name(proxy)
        self.network = self._pool._network_backend = AsyncNetwork()
        self._pool = OneConnection(self._pool)


LaneT = TypeVar("LaneT", bound="Lane | AsyncLane")


class Lanes(Generic[LaneT]):
    """The lanes of one client to the API, and lanes to wherever a clip is.

    Each operation on a deque or a set is atomic, so that a signal handler or another thread may close the client at any
    moment; the one lock guards the TLS context alone.
    """

    _idle: deque[LaneT]
    _active: set[LaneT]

    def __init__(self, kind: type[LaneT], base_url: str) -> None:
        self._kind: type[LaneT] = kind
        self._base_url = httpx.URL(base_url)
        self._tls: ssl.SSLContext | None = None
        self.is_closed: bool = False
        self.loop: object = None
        self.closes_with_loop: AsyncGenerator[None] | None = None
        self.forget()

    def forget(self) -> None:
        """Begin without any lane: after a fork, or in another event loop, the old ones belong to others."""
        self._idle = deque()
        self._active = set()
        self._tls_lock = threading.Lock()

    def forget_parent(self) -> None:
        """Begin without any lane in a forked process."""
        # A socket that is closed here would say goodbye to the server in the parent's name.
        _of_the_parent.append((self._idle, self._active))
        self.forget()

    def all(self) -> Callable[[], list[LaneT]]:
        """Return a function that lists the lanes that are of now, even after `forget`."""
        idle, active = self._idle, self._active
        return lambda: [*idle, *active]

    def ensure_open(self) -> None:
        """Refuse to work after the client was closed.

        Raises:
            ConfigurationError: it was.
        """
        if self.is_closed:
            raise ConfigurationError("the client is closed")

    def acquire(self, *, fresh: bool = False) -> LaneT:
        """Lend a lane to the API; with `fresh` one that was never used."""
        self.ensure_open()
        try:
            lane = self.to(self._base_url) if fresh else self._idle.pop()
        except IndexError:
            lane = self.to(self._base_url)
        return self._at_work(lane)

    def lend(self, url: httpx.URL) -> LaneT:
        """Lend a new lane to wherever a clip is."""
        self.ensure_open()
        return self._at_work(self.to(url))

    def _at_work(self, lane: LaneT) -> LaneT:
        self._active.add(lane)
        if self.is_closed:
            # Who closed the client meanwhile may not have seen this lane.
            lane.network.is_closed = True
        return lane

    def drop(self, lane: LaneT) -> None:
        """Take a lane back that is closed by its borrower."""
        self._active.discard(lane)

    def to(self, url: httpx.URL) -> LaneT:
        """Make a lane to a host, by way of the proxy that the environment names for it."""
        proxy, tls = proxy_for(url), self.tls
        try:
            return self._kind(tls, proxy)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"the proxy {proxy and proxy.url.host} cannot be used: {error}") from error

    def release(self, lane: LaneT, *, complete: bool) -> list[LaneT]:
        """Take a lane back, and return the lanes to be closed: those at rest for too long, or this one."""
        now = lane.rests_since = time.monotonic()
        self._active.discard(lane)
        dropped = self._stale(now)
        if complete and lane.is_clean:
            self._idle.append(lane)
        else:
            dropped.append(lane)
        if self.is_closed:
            # Who closed the client meanwhile may not have seen all that are at rest.
            dropped += self._stale(math.inf)
        return dropped

    def close_all(self) -> tuple[list[LaneT], list[LaneT]]:
        """Lend no more, and return the lanes at rest and those at work."""
        self.is_closed = True
        return self._stale(math.inf), list(self._active)

    def _stale(self, now: float) -> list[LaneT]:
        stale: list[LaneT] = []
        with contextlib.suppress(IndexError):
            while now - (lane := self._idle.popleft()).rests_since >= KEEP_ALIVE:
                stale.append(lane)
            self._idle.appendleft(lane)
        return stale

    @property
    def tls(self) -> ssl.SSLContext:
        """The one TLS context, made at first use.

        Raises:
            ConfigurationError: SSL_CERT_FILE or SSL_CERT_DIR names no certificates.
        """
        with self._tls_lock:
            if self._tls is None:
                try:
                    self._tls = httpx.create_ssl_context()
                except OSError as error:  # an ssl.SSLError is one, too
                    name = next((each for each in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(each)), "TLS")
                    raise ConfigurationError(f"{name}: no certificates can be read there: {error}") from error
            return self._tls


def _is_excepted(host: str, no_proxy: str) -> bool:
    """Tell whether NO_PROXY names an address or a network that a host is in, which `urllib` does not know."""
    for entry in no_proxy.split(","):
        with contextlib.suppress(ValueError):
            if ip_address(host) in ip_network(entry.strip().strip("[]"), strict=False):
                return True
    return False


def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy that the environment or the system names for a URL, if any.

    There is none for this machine itself over http, where the key would leave it in the clear.
    """
    if url.scheme == "http" and is_loopback(url.host):
        return None
    proxies = getproxies()
    entry = proxies.get(url.scheme) or proxies.get("all")
    if not entry or not entry.strip() or proxy_bypass(url.host) or _is_excepted(url.host, proxies.get("no", "")):
        return None
    with contextlib.suppress(httpx.InvalidURL, ValueError):
        proxy = httpx.Proxy(entry if "://" in entry else f"http://{entry}")
        if not re.match(r"[A-Za-z]\w*:/[^/]", entry) and proxy.url.host and (proxy.url.port or 1) in range(1, 65_536):
            return proxy
    # The entry itself may hold a password.
    if url.scheme not in _warned:
        _warned.add(url.scheme)
        log.warning("the proxy that the environment names for %s:// is not a URL, and is ignored", url.scheme)
    return None

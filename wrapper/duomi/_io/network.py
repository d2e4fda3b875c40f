"""Connections whose reads all end with the attempt: httpcore's network interface, as a lane's transport uses it.

httpcore's own backends give each read a time limit of its own, so a server that sends a byte now and then is never cut
off. Here all reads and writes of an attempt share one end. This module is imported with the first lane: to import
httpcore takes longer than to import all of this package.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any, Final

import anyio
import httpcore
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

CONNECT: Final = 5.0
_PIECE: Final = 16_384
_BROKEN: Final = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Network:
    """Makes and bounds the one connection of a lane, with blocking sockets."""

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()
        self._ends_at = math.inf
        self._connect_by = math.inf
        self.is_closed: bool = False
        self.stream: httpcore.NetworkStream | None = None
        self.in_handshake: socket.socket | None = None

    def begin(self, limit: float) -> None:
        """Start an attempt, or one read of a clip, that may take so many seconds."""
        self._ends_at = time.monotonic() + limit

    def left(self, error: type[httpcore.TimeoutException]) -> float:
        """Return the seconds that are left of the attempt.

        Raises:
            httpcore.TimeoutException: none are left.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0 or self.is_closed:
            raise error
        return left

    def left_to_connect(self) -> float:
        """Return the seconds that are left for connecting.

        Raises:
            httpcore.ConnectTimeout: none are left.
        """
        left = min(self._connect_by, self._ends_at) - time.monotonic()
        if left <= 0 or self.is_closed:
            raise httpcore.ConnectTimeout
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  (httpcore's interface)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Stream:
        """Connect to the first address of a host that accepts; each gets an equal share of the time that is left."""
        self._connect_by = time.monotonic() + CONNECT
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        while True:
            share = self.left_to_connect() / len(addresses)
            try:
                stream = self._backend.connect_tcp(addresses.pop(0), port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise
            else:
                return Stream(self, stream)

    def interrupt(self) -> None:
        """End what is being read or written, from any thread, and send nothing more once it has connected."""
        self.is_closed = True
        sockets = [self.in_handshake, self.stream and self.stream.get_extra_info("socket")]
        for each in filter(None, sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; this waits for no lock, whatever was interrupted."""
        if self.stream is not None:
            with contextlib.suppress(OSError):
                self.stream.close()


class Stream:
    """One connection of a `Network`."""

    def __init__(self, network: Network, stream: httpcore.NetworkStream) -> None:
        self._network = network
        self._stream = network.stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002  (httpcore's interface)
        """Read what has come, until the attempt ends."""
        return self._stream.read(max_bytes, self._network.left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  (as above)
        """Write all of it, until the attempt ends."""
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], self._network.left(httpcore.WriteTimeout))

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002  (as above)
    ) -> Stream:
        """Continue with TLS."""
        left = self._network.left_to_connect()
        # The handshake takes the socket itself away, and whoever interrupts it needs another for the same connection.
        raw = self._stream.get_extra_info("socket")
        try:
            second = socket.fromfd(raw.fileno(), raw.family, raw.type)
        except OSError as error:  # no file descriptor is left
            raise httpcore.ConnectError(str(error)) from error
        with second as self._network.in_handshake:
            stream = self._stream.start_tls(ssl_context, server_hostname, left)
        self._network.in_handshake = None
        return Stream(self._network, stream)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """Answer what httpcore, and what instruments it, ask about a connection."""
        return self._stream.get_extra_info(info)


class AsyncNetwork:
    """Makes the one connection of a lane; the scope around the attempt bounds its reads and writes."""

    def __init__(self) -> None:
        self.is_closed: bool = False
        self.stream: ByteStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  (httpcore's interface)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncStream:
        """Connect to the first address of a host that accepts."""
        try:
            with anyio.fail_after(CONNECT):
                stream = await anyio.connect_tcp(host, port, local_host=local_address)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except (OSError, RuntimeError) as error:  # Python's resolver may get no thread
            raise httpcore.ConnectError(str(error)) from error
        sock = stream.extra_attributes[SocketAttribute.raw_socket]()
        for option in socket_options or ():
            sock.setsockopt(*option)
        return AsyncStream(self, stream, sock)

    async def aclose(self) -> None:
        """Close the connection, also while its caller is being cancelled; one that is being made sends nothing."""
        self.is_closed = True
        if self.stream is not None:
            with anyio.CancelScope(shield=True), contextlib.suppress(*_BROKEN):
                await self.stream.aclose()


class AsyncStream:
    """One connection of an `AsyncNetwork`."""

    def __init__(self, network: AsyncNetwork, stream: ByteStream, sock: Any) -> None:
        self._network = network
        self._stream = network.stream = stream
        self._socket = sock

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002  (httpcore's interface)
        """Read what has come."""
        try:
            return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except _BROKEN as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  (as above)
        """Write all of it."""
        if self._network.is_closed:
            raise httpcore.WriteTimeout  # after a WriteError httpcore would read
        if not buffer:
            return  # the empty body: each send visits the event loop
        try:
            await self._stream.send(buffer)
        except _BROKEN as error:
            raise httpcore.WriteError(str(error)) from error

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002  (as above)
    ) -> AsyncStream:
        """Continue with TLS."""
        try:
            with anyio.fail_after(CONNECT):
                stream = await TLSStream.wrap(
                    self._stream, hostname=server_hostname, ssl_context=ssl_context, standard_compatible=False
                )
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except (*_BROKEN, anyio.EndOfStream) as error:
            raise httpcore.ConnectError(str(error)) from error
        return AsyncStream(self._network, stream, self._socket)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Answer what httpcore, and what instruments it, ask about a connection."""
        match info:
            case "is_readable":
                return _is_readable(self._socket)
            case "socket":
                return self._socket
            case "ssl_object":
                is_tls = isinstance(self._stream, TLSStream)
                return self._stream.extra_attributes[TLSAttribute.ssl_object]() if is_tls else None  # type: ignore[index]
            case "client_addr":
                return self._socket.getsockname()
            case "server_addr":
                return self._socket.getpeername()
            case _:
                return None


def _is_readable(sock: Any) -> bool:
    """Tell whether a connection at rest has something to read: its end, or what should not be there."""
    if sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))

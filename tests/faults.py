"""A raw server that misbehaves by script, on sockets and bytes, because an HTTP library would correct its faults."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Self

import attrs
import trustme

HANG_LIMIT = 60.0


@attrs.define
class Exchange:
    """One request as it arrived, and the means to answer it."""

    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def path(self) -> str:
        return self.head.split(b" ")[1].decode("latin-1")

    def header(self, name: str) -> str | None:
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.decode("latin-1").partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def hang(self) -> None:
        """Send nothing until the other side closes the connection."""
        await asyncio.wait_for(self.reader.read(), HANG_LIMIT)

    def reset(self) -> None:
        """Close with a RST, as a machine does that has lost the connection."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Play = Callable[[Exchange], Awaitable[bool | None]]
"""Plays one exchange; True keeps the connection for the next."""


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Any", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def answer(
    status: int = 200, body: Any = b"", *, keep: bool = True, say: str = "application/json", **more: str
) -> Play:
    """Answer valid HTTP; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    named = {name.replace("_", "-"): value for name, value in more.items()}

    async def play(exchange: Exchange) -> bool:
        await exchange.send(head(status, {"content-type": say, "content-length": str(len(content))} | named) + content)
        return keep

    return play


def raw(*pieces: bytes, reset: bool = False) -> Play:
    """Answer any bytes, and close."""

    async def play(exchange: Exchange) -> None:
        await exchange.send(*pieces)
        if reset:
            exchange.reset()

    return play


def half(body: bytes, *, status: int = 200, reset: bool = False, **more: str) -> Play:
    """Promise a body, send the first half of it, and close."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    promised = {"content-type": "application/json", "content-length": str(len(body))} | named
    return raw(head(status, promised), body[: len(body) // 2], reset=reset)


def compressed(body: bytes, coding: str = "gzip") -> Play:
    """Answer bytes with a content-encoding that may be wrong."""
    return answer(200, body, content_encoding=coding)


async def hang(exchange: Exchange) -> None:
    """Take the request, and send nothing."""
    await exchange.hang()


def then_hang(*pieces: bytes) -> Play:
    """Begin an answer, and then send nothing more."""

    async def play(exchange: Exchange) -> None:
        await exchange.send(*pieces)
        await exchange.hang()

    return play


def drip(first: bytes, piece: bytes, pause: float) -> Play:
    """Send a little again and again, so that no single read is slow."""

    async def play(exchange: Exchange) -> None:
        await exchange.send(first)
        while not exchange.writer.is_closing():
            await exchange.send(piece)
            await asyncio.sleep(pause)

    return play


def endless(first: bytes, piece: bytes) -> Play:
    """Send without end, as fast as it is read."""

    async def play(exchange: Exchange) -> None:
        await exchange.send(first)
        while not exchange.writer.is_closing():
            await exchange.send(piece)

    return play


def bomb(megabytes: int) -> bytes:
    """Return an unfinished gzip body that inflates to so many megabytes, a thousand times its size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    megabyte = packer.compress(bytes(1024 * 1024)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + megabyte * megabytes


class FaultServer:
    """Plays its script, one play a request, and the last one again and again.

    `accept` is played before TLS and before any request, one entry a connection: `b""` closes at once, other bytes are
    sent and the connection closed, None lets the connection through.
    """

    def __init__(
        self, script: Sequence[Play], *, tls: ssl.SSLContext | None = None, accept: Sequence[Any] = ()
    ) -> None:
        self.script = list(script)
        self.heads: list[Exchange] = []
        self.connections = 0
        self._accept = list(accept)
        self._tls = tls
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))  # until the server is entered it refuses connections
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._connected, sock=self._socket, limit=2**20)

    async def _stop(self) -> None:
        # asyncio forgets what was accepted and is no connection yet when its server is closed, so that comes last.
        self._loop.remove_reader(self._socket)
        while asyncio.all_tasks() - {asyncio.current_task()}:
            for task, writer in self._open.items():
                writer.transport.abort()
                task.cancel()
            await asyncio.sleep(0)
        self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        self.connections += 1
        first = self._accept.pop(0) if self._accept else None
        # A cancelled task ends normally: Python 3.11 logs it as a failed callback otherwise.
        ended = (asyncio.CancelledError, asyncio.IncompleteReadError, EOFError, OSError, TimeoutError)
        with contextlib.suppress(*ended):
            try:
                if first is not None:
                    await asyncio.wait_for(reader.read(64), HANG_LIMIT)
                    writer.write(first)
                    await writer.drain()
                    return
                if self._tls is not None:
                    await writer.start_tls(self._tls)
                while await self._exchange(reader, writer):
                    pass
            finally:
                self._open.pop(task)
                writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await reader.readuntil(b"\r\n\r\n")
        exchange = Exchange(request, reader, writer)
        if (length := exchange.header("content-length")) is not None:
            await reader.readexactly(int(length))
        self.heads.append(exchange)
        play = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return bool(await play(exchange))


@attrs.frozen
class Authority:
    """The tests' own certificate authority: makes the TLS context of a server, and the file that trusts it."""

    file: Path
    ca: trustme.CA = attrs.field(factory=trustme.CA)

    def __attrs_post_init__(self) -> None:
        self.ca.cert_pem.write_to_path(str(self.file))

    def server(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(host).configure_cert(context)
        return context

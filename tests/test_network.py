"""Connections and threads that cannot be had, and what is asked about a connection."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import select
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import httpcore
import httpx
import pytest
from duomi import (
    APIConnectionError,
    APITimeoutError,
    AsyncDuomi,
    ConfigurationError,
    DownloadError,
    Duomi,
    Outcome,
    Polling,
    Retry,
    Task,
)
from duomi._core.rate import Rate
from duomi._io import base, lanes
from duomi._io.network import CONNECT, AsyncNetwork, Network, _is_readable
from faults import Authority, Exchange, FaultServer, answer, drip, head
from harness import KEY, TABLE_KINDS, Caller, payload, until

INFO = ("socket", "client_addr", "server_addr", "ssl_object", "is_readable", "anything")


async def echo(exchange: Exchange) -> bool:
    task_id = exchange.path.rpartition("/")[2]
    body = payload("succeeded") | {"id": task_id}
    await answer(200, body)(exchange)
    return True


@pytest.mark.parametrize("kind", TABLE_KINDS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_is_asked_about_a_connection_is_answered(trusted: Authority, kind: str, scheme: str) -> None:
    """Instrumentation learns the addresses and the TLS object of a connection, and nothing of what is unknown."""
    tls = trusted.server("127.0.0.1") if scheme == "https" else None
    found: dict[str, Any] = {}

    def ask(client: Any) -> None:
        (lane,) = client._driver.lanes._idle
        stream = lane._pool.connection._connection._network_stream
        found.update({name: stream.get_extra_info(name) for name in INFO})

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url) as client:
            await client.get_task("a")
            ask(client)

    with FaultServer([echo], tls=tls) as server:
        if kind == "sync":
            with Duomi(KEY, base_url=server.url) as client:
                client.get_task("a")
                ask(client)
        else:
            anyio.run(main, server.url, backend=kind)
        port = server.port

    assert found["server_addr"][:2] == ("127.0.0.1", port)
    assert found["client_addr"][0] == "127.0.0.1"
    assert (found["ssl_object"] is not None) is (scheme == "https")
    assert (found["is_readable"], found["anything"]) == (False, None)


def test_a_closed_connection_counts_as_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection at rest is used again only if there is nothing to read, with `poll` and without."""
    here, there = socket.socketpair()
    for _ in range(2):
        assert not _is_readable(here)
        there.send(b"x")
        assert _is_readable(here)
        here.recv(1)
        monkeypatch.delattr(select, "poll", raising=False)
    here.close()
    there.close()

    assert _is_readable(here)


def test_no_time_left_is_a_timeout() -> None:
    """An attempt that is over neither connects, reads nor writes."""
    network = Network()
    network.begin(-1.0)

    with pytest.raises(httpcore.ConnectTimeout):
        network.connect_tcp("127.0.0.1", 9)
    for error in (httpcore.ReadTimeout, httpcore.WriteTimeout):
        with pytest.raises(error):
            network.left(error)
    network.interrupt()
    network.close()


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_connecting_is_bounded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that drops the packets of a connection costs the time for connecting, and no more."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
    monkeypatch.setattr("duomi._io.network.CONNECT", 0.3)
    began = time.monotonic()

    with pytest.raises(APITimeoutError, match="no connection in time"):
        Caller(kind, f"http://127.0.0.1:{full.getsockname()[1]}")("get_task", "a", options={"retry": Retry(attempts=1)})

    assert time.monotonic() - began < 3.0
    for each in (full, *fillers):
        each.close()


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_tls_that_hangs_is_bounded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing to a TLS handshake costs the time for connecting, and no more."""

    async def silent(exchange: Exchange) -> None:
        await exchange.hang()

    monkeypatch.setattr("duomi._io.network.CONNECT", 0.3)
    with FaultServer([silent]) as server:
        with pytest.raises(APITimeoutError, match="no connection in time"):
            Caller(kind, server.url.replace("http:", "https:"))("get_task", "a", options={"retry": Retry(attempts=1)})
        until(lambda: not server.open_connections)


def test_socket_options_are_set() -> None:
    """What httpcore asks for is set on the socket, in both kinds of network."""
    option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    async def main(port: int) -> int:
        network = AsyncNetwork()
        stream = await network.connect_tcp("127.0.0.1", port, socket_options=[option])
        value: int = stream.get_extra_info("socket").getsockopt(*option[:2])
        await network.aclose()
        return value

    with FaultServer([echo]) as server:
        network = Network()
        network.begin(5.0)
        stream = network.connect_tcp("127.0.0.1", server.port, socket_options=[option])
        assert stream.get_extra_info("socket").getsockopt(*option[:2]) == 1
        stream.close()
        assert anyio.run(main, server.port) == 1
        until(lambda: server.connections == 2 and not server.open_connections)


@pytest.mark.parametrize("what", ["missing", "garbage", "a folder"])
def test_certificates_that_cannot_be_read_are_a_setting(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that names no certificates is told by name."""
    path = tmp_path / "ca.pem"
    if what == "garbage":
        path.write_text("garbage", encoding="utf-8")
    elif what == "a folder":
        path.mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    with Duomi(KEY) as client, pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        client.get_task("a")


def test_without_threads_the_callers_own_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started, many tasks are waited for one after the other, `on_update` included."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    updated: list[str] = []
    with FaultServer([echo]) as server, Duomi(KEY, base_url=server.url, polling=Polling(interval=0.01)) as client:
        outcomes = client.as_completed(["a", "b", "c"], on_update=lambda task: updated.append(task.id))
        monkeypatch.setattr(threading.Thread, "start", refuse)
        found = [outcome.error for outcome in outcomes]
        monkeypatch.undo()

    assert (found, sorted(updated)) == ([None] * 3, ["a", "b", "c"])


def test_without_threads_all_callers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """If several threads iterate, and no other can be started, the end of the one poll ends them all."""
    start, answered = threading.Thread.start, threading.Event()

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "duomi":
            raise RuntimeError("can't start new thread")
        start(thread)

    async def late(exchange: Exchange) -> bool:
        await asyncio.to_thread(answered.wait)
        return await echo(exchange)

    found: list[Outcome] = []
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with FaultServer([late]) as server, Duomi(KEY, base_url=server.url) as client:
        outcomes = client.as_completed(["a"])
        callers = [threading.Thread(target=lambda: found.extend(outcomes), daemon=True) for _ in range(4)]
        for caller in callers:
            caller.start()
        waiting: Any = outcomes._dispatcher._due
        until(lambda: len(waiting._waiters) == 3)
        answered.set()
        until(lambda: not any(caller.is_alive() for caller in callers), 20.0)

    assert len(found) == 1


def test_without_threads_an_interrupt_ends_the_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll in the caller's own thread that is interrupted leaves nothing that would be waited for."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    class InterruptedTestError(Exception):
        pass

    def interrupt(_effect: object) -> None:
        raise InterruptedTestError

    with Duomi(KEY, base_url="http://127.0.0.1:9") as client:
        outcomes = client.as_completed(["a"])
        monkeypatch.setattr(threading.Thread, "start", refuse)
        monkeypatch.setattr(client._driver, "perform", interrupt)
        with pytest.raises(InterruptedTestError):
            next(outcomes)
        monkeypatch.undo()

        assert list(outcomes) == []


def _in_child(outcomes: Any, result: Any) -> None:
    signal.alarm(20)
    try:
        next(outcomes)
    except ConfigurationError:
        outcomes.close()
        result.value = 1
    os._exit(0)


def test_outcomes_belong_to_the_process_of_their_threads() -> None:
    """In a forked process the iterator says so, instead of waiting for threads that are not there."""
    context: Any = multiprocessing.get_context("fork")
    result = context.Value("i", 0)
    with FaultServer([echo]) as server, Duomi(KEY, base_url=server.url) as client:
        outcomes = client.as_completed(["a", "b"])
        next(outcomes)
        child = context.Process(target=_in_child, args=(outcomes, result))
        child.start()
        child.join(30)

        assert result.value == 1
        assert len(list(outcomes)) == 1


def test_a_lane_that_comes_back_to_a_closed_client_is_dropped() -> None:
    """A lane is lent by an open client only, and kept by an open client only."""
    kept: lanes.Lanes[lanes.Lane] = lanes.Lanes(lanes.Lane, "http://127.0.0.1:9")
    lane = kept.acquire()
    kept.close_all()

    assert kept.release(lane, complete=True) == [lane]
    with pytest.raises(ConfigurationError, match="closed"):
        kept.acquire()
    with pytest.raises(ConfigurationError, match="closed"):
        kept.lend(kept._base_url)


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_a_call_that_connects_while_its_client_is_closed_sends_nothing(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection comes about after all, and the call ends with an error and without its request."""
    connect, connect_async = httpcore.SyncBackend.connect_tcp, anyio.connect_tcp

    def call(url: str) -> None:
        client = Duomi(KEY, base_url=url)

        def closing(*given: Any, **named: Any) -> Any:
            client.close()
            return connect(*given, **named)

        monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", closing)
        client.get_task("a")

    async def call_async(url: str) -> None:
        client = AsyncDuomi(KEY, base_url=url)

        async def closing(*given: Any, **named: Any) -> Any:
            await client.aclose()
            return await connect_async(*given, **named)

        monkeypatch.setattr(anyio, "connect_tcp", closing)
        await client.get_task("a")

    with FaultServer([echo]) as server:
        with pytest.raises(ConfigurationError, match="closed during a call"):
            call(server.url) if kind == "sync" else anyio.run(call_async, server.url, backend=kind)
        monkeypatch.undo()
        with Duomi(KEY, base_url=server.url) as other:
            other.get_task("b")

    assert [exchange.path.rpartition("/")[2] for exchange in server.heads] == ["b"]


@pytest.mark.parametrize("moment", ["is lent", "comes back"])
def test_a_lane_whose_client_is_closed_at_that_moment_is_dropped(moment: str) -> None:
    """A lane that is seen neither at rest nor at work while another thread closes the client is closed all the same."""

    class Closing(lanes.Lane):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            if moment == "is lent":
                kept.close_all()

        @property
        def is_clean(self) -> bool:
            kept.close_all()
            return True

    kept: lanes.Lanes[Closing] = lanes.Lanes(Closing, "http://127.0.0.1:9")
    lane = kept.acquire()

    assert lane.network.is_closed == (moment == "is lent")
    assert kept.release(lane, complete=True) == [lane]


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_outcomes_that_were_closed_before_they_began_are_none(kind: str) -> None:
    """`aclose` before the first `anext` starts nothing."""

    async def main() -> list[object]:
        async with AsyncDuomi(KEY) as client:
            outcomes = client.as_completed(["a"])
            await outcomes.aclose()
            return [outcome async for outcome in outcomes]

    assert anyio.run(main, backend=kind) == []


def finished(url: str) -> Task:
    return Task.from_payload({"id": "t", "state": "succeeded", "data": {"videos": [{"url": url}]}})


FILM = b"\x00\x00\x00\x18ftypmp42 the film"


def of_mock(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=FILM, headers={"content-type": "video/mp4"})


@pytest.mark.parametrize("kind", TABLE_KINDS)
@pytest.mark.parametrize("transport", ["real", "mock"])
def test_clips_come_by_the_callers_own_client(kind: str, transport: str, tmp_path: Path) -> None:
    """A clip is fetched by the caller's own client, without its headers, its auth and our key."""
    options: dict[str, Any] = {"headers": {"x-mine": "1"}, "auth": ("me", "s3cret")}
    if transport == "mock":
        options["transport"] = httpx.MockTransport(of_mock)

    async def main(url: str) -> list[Path]:
        async with httpx.AsyncClient(**options) as own, AsyncDuomi(KEY, base_url=url, http_client=own) as client:
            return await client.download(finished(f"{url}/1.mp4"), tmp_path)

    with FaultServer([answer(200, FILM, say="video/mp4")]) as server:
        if kind == "sync":
            with httpx.Client(**options) as own, Duomi(KEY, base_url=server.url, http_client=own) as client:
                (path,) = client.download(finished(f"{server.url}/1.mp4"), tmp_path)
        else:
            (path,) = anyio.run(main, server.url, backend=kind)

    assert path.read_bytes() == FILM
    for exchange in server.heads:
        assert b"authorization" not in exchange.head.lower()
        assert b"x-mine" not in exchange.head


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_the_callers_own_client_may_find_nobody(kind: str, tmp_path: Path) -> None:
    """A refused connection of the caller's own client is an error of ours, for tasks and for clips."""
    url = "http://127.0.0.1:9"
    retry = Retry(attempts=1)

    async def main() -> None:
        async with httpx.AsyncClient() as own, AsyncDuomi(KEY, base_url=url, http_client=own, retry=retry) as client:
            with pytest.raises(APIConnectionError):
                await client.get_task("a")
            with pytest.raises(DownloadError):
                await client.download(finished(f"{url}/1.mp4"), tmp_path)

    if kind != "sync":
        anyio.run(main, backend=kind)
        return
    with httpx.Client() as own, Duomi(KEY, base_url=url, http_client=own, retry=retry) as client:
        with pytest.raises(APIConnectionError):
            client.get_task("a")
        with pytest.raises(DownloadError):
            client.download(finished(f"{url}/1.mp4"), tmp_path)


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_a_body_that_drips_to_the_callers_own_client_ends(kind: str) -> None:
    """The time limit of an attempt holds for a body, with our own transport and with the caller's client."""
    dripping = drip(head(200, {"content-type": "application/json", "content-length": "1000"}), b" ", 0.05)
    options: dict[str, Any] = {"timeout": 0.3, "retry": Retry(attempts=1)}

    async def main(url: str) -> None:
        async with httpx.AsyncClient() as own, AsyncDuomi(KEY, base_url=url, http_client=own, **options) as client:
            await client.get_task("a")

    with FaultServer([dripping]) as server, pytest.raises(APITimeoutError):  # noqa: PT012  (one of two ways to ask)
        if kind == "sync":
            with httpx.Client() as own, Duomi(KEY, base_url=server.url, http_client=own, **options) as client:
                client.get_task("a")
        else:
            anyio.run(main, server.url, backend=kind)


def test_after_a_fork_nothing_of_the_parent_is_used() -> None:
    """What a forked process does first gives each client new lanes and a new rate."""
    with FaultServer([echo]) as server, Duomi(KEY, base_url=server.url) as client:
        client.get_task("a")
        (lane,) = client._driver.lanes._idle
        base._forget_after_fork()

        assert not client._driver.lanes._idle
        assert client._driver.requests.rate.answered_at == -math.inf
        client.get_task("b")
        lane.network.close()


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_an_error_of_the_dispatcher_reaches_the_caller(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong while polls are started is raised where outcomes are awaited."""

    def fail(*_arguments: object, **_options: object) -> float:
        raise ZeroDivisionError

    monkeypatch.setattr(Rate, "delay", fail)

    async def main() -> None:
        async with AsyncDuomi(KEY, base_url="http://127.0.0.1:9") as client:
            await anext(client.as_completed(["a"]))

    with pytest.raises(ZeroDivisionError):  # noqa: PT012  (as above)
        if kind == "sync":
            with Duomi(KEY, base_url="http://127.0.0.1:9") as client:
                next(client.as_completed(["a"]))
        else:
            anyio.run(main, backend=kind)


def test_an_invalid_polling_is_rejected() -> None:
    """Settings of the wrong kind are told before anything is sent."""
    with Duomi(KEY) as client, pytest.raises(ConfigurationError, match="polling"):
        client.wait("a", polling=5)  # type: ignore[arg-type]


HELLO, CONNECTED = b"\x05\x00", b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
SOCKS: dict[str, list[bytes | None]] = {
    "closes at once": [b""],
    "speaks HTTP": [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    "wants a password": [b"\x05\x02"],
    "knows no method": [b"\x05\xff"],
    "stops in its greeting": [b"\x05", b""],
    "closes after its greeting": [HELLO, b""],
    "refuses to connect": [HELLO, b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"],
    "stops in its reply": [HELLO, CONNECTED[:3], b""],
    "hangs in its greeting": [None],
    "hangs in its reply": [HELLO, None],
}


def serve_socks(replies: list[bytes | None], *, connected_to: int = 0) -> tuple[socket.socket, threading.Thread]:
    """Answer each message of a client with the next of some bytes, with None never, and after them lead to a port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as client:
            for reply in replies:
                if not client.recv(1_000) or not reply:
                    client.recv(0 if reply == b"" else 1_000)
                    return
                client.sendall(reply)
            if connected_to:
                with socket.create_connection(("127.0.0.1", connected_to)) as target:
                    target.sendall(client.recv(10_000))
                    client.sendall(target.recv(10_000))

    thread = threading.Thread(target=serve)
    thread.start()
    return server, thread


@pytest.mark.parametrize("kind", TABLE_KINDS)
@pytest.mark.parametrize("name", SOCKS)
def test_a_socks_proxy_that_misbehaves_is_named(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a SOCKS proxy does, the error is a connection error that names it, and in time."""
    server, thread = serve_socks(SOCKS[name])
    address = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("ALL_PROXY", f"socks5://me:s3cret@{address}" if "password" in name else f"socks5://{address}")
    began = time.monotonic()
    with pytest.raises(APIConnectionError, match=f"the proxy {address}") as caught:
        Caller(kind, "https://duomi.example")("get_task", "a", options={"timeout": 0.5, "retry": Retry(attempts=1)})
    thread.join()

    assert caught.value.is_transient
    assert time.monotonic() - began < 10.0
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_a_socks_proxy_leads_to_the_api(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task is asked for by way of a SOCKS proxy."""
    with FaultServer([echo]) as api:
        server, thread = serve_socks([HELLO, CONNECTED], connected_to=api.port)
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{server.getsockname()[1]}")
        call = Caller(kind, "http://duomi.example")
        assert call("get_task", "a", options={"allow_insecure": True}).id == "a"
        thread.join()


def test_a_client_that_is_closed_does_not_wait_for_a_handshake() -> None:
    """A thread whose TLS handshake hangs hears at once that the client was closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Duomi(KEY, base_url=f"https://127.0.0.1:{server.getsockname()[1]}", timeout=60.0)

        def close() -> None:
            with server.accept()[0] as connection:
                connection.recv(10)  # the handshake has begun
                began.append(time.monotonic())
                client.close()
                closed.wait(30.0)

        began: list[float] = []
        closed = threading.Event()
        thread = threading.Thread(target=close)
        thread.start()
        with pytest.raises(ConfigurationError, match="closed during a call"):
            client.get_task("a")
        ended = time.monotonic()
        closed.set()
        thread.join()

    assert ended - began[0] < CONNECT / 2

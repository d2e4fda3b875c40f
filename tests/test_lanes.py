"""Each call gets its own answer, and the caller's code runs, whatever happened to a connection or to the process."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import httpcore
import httpx
import pytest
import trio
from duomi import (
    APIConnectionError,
    APITimeoutError,
    AsyncDuomi,
    ConfigurationError,
    Duomi,
    Outcome,
    Polling,
    Retry,
    ServerError,
)
from duomi._io import lanes
from faults import Authority, Exchange, FaultServer, Play, answer, drip, hang, head, raw
from harness import KEY, POLLING, TABLE_KINDS, Caller, payload, until

KINDS = TABLE_KINDS
ASYNC_KINDS = ["asyncio", "trio"]
QUICK = Retry(backoff=0.0)


def done(task_id: str) -> dict[str, Any]:
    return {"id": task_id, "state": "succeeded", "data": {"videos": [{"url": f"https://h/{task_id}.mp4"}]}}


async def echo(exchange: Exchange) -> bool:
    """Answer each task with its own id, on a connection that is kept."""
    await answer(200, done(exchange.path.rpartition("/")[2]))(exchange)
    return True


def slow(seconds: float) -> Play:
    async def play(exchange: Exchange) -> bool:
        await asyncio.sleep(seconds)
        return await echo(exchange)

    return play


FORKED = """
import multiprocessing, sys
from duomi import Duomi

def wait(first):
    return [(str(n), client.wait(str(n)).id) for n in range(first, 120, 6)]

client = Duomi("sk-test-0123456789", base_url=sys.argv[1])
client.get_task("warm")
with multiprocessing.get_context("fork").Pool(6) as pool:
    pairs = sum(pool.map(wait, range(6)), [])
client.get_task("still")
print(len(pairs), sum(asked == answered for asked, answered in pairs))
"""


def test_forked_processes_have_connections_of_their_own() -> None:
    """Six processes that are forked from one with an open connection each get the answers to their own questions."""
    with FaultServer([echo]) as server:
        shown = subprocess.run([sys.executable, "-c", FORKED, server.url], capture_output=True, text=True, check=True)

    assert (shown.stdout, shown.stderr) == ("120 120\n", "")


FORKED_IN_A_LOOP = """
import asyncio, os, sys, warnings
warnings.simplefilter("error")
from duomi import AsyncDuomi

client = AsyncDuomi("sk-test-0123456789", base_url=sys.argv[1])

async def ask(name):
    assert (await client.get_task(name)).id == name
    return name

asyncio.run(ask("parent"))
pid = os.fork()
names = ["child" if pid == 0 else "again" for _ in range(20)]
for name in names:
    asyncio.run(ask(name))
if pid == 0:
    os._exit(0)
print(os.waitpid(pid, 0)[1])
"""


def test_an_async_client_works_after_a_fork() -> None:
    """Parent and child go on with lanes of their own, each in several event loops."""
    with FaultServer([echo]) as server:
        shown = subprocess.run(
            [sys.executable, "-c", FORKED_IN_A_LOOP, server.url], capture_output=True, text=True, check=True
        )

    assert (shown.stdout, shown.stderr) == ("0\n", "")


Consumer = Callable[[AsyncDuomi], Any]


async def to_the_end(client: AsyncDuomi) -> int:
    async with client.as_completed(["a", "b"]) as outcomes:
        found = [outcome async for outcome in outcomes]
        await anyio.lowlevel.checkpoint()
    return len(found)


async def nothing(client: AsyncDuomi) -> int:
    async with client.as_completed([]) as outcomes:
        found = [outcome async for outcome in outcomes]
        await anyio.lowlevel.checkpoint()
    return len(found) + 2


async def closed_within(client: AsyncDuomi) -> int:
    async with client.as_completed(["a", "b", "c"]) as outcomes:
        found = [await anext(outcomes), await anext(outcomes)]
        await outcomes.aclose()
        await anyio.lowlevel.checkpoint()
        assert [outcome async for outcome in outcomes] == []
    return len(found)


async def without_a_block(client: AsyncDuomi) -> int:
    outcomes = client.as_completed(["a", "b"])
    found = [outcome async for outcome in outcomes]
    await anyio.lowlevel.checkpoint()
    return len(found)


async def left_early(client: AsyncDuomi) -> int:
    async def generate() -> AsyncIterator[Outcome]:
        async with client.as_completed(["a", "b", "c"]) as outcomes:
            async for outcome in outcomes:
                yield outcome

    generator = generate()
    await anext(generator)
    await generator.aclose()  # type: ignore[attr-defined]
    await anyio.sleep(0.01)
    return 2


async def left_in_another_task(client: AsyncDuomi) -> int:
    outcomes = client.as_completed(["a", "b"])

    async def close() -> None:
        await outcomes.aclose()

    await anext(outcomes)
    async with anyio.create_task_group() as group:
        group.start_soon(close)
    await anyio.lowlevel.checkpoint()
    return 2


async def a_failing_block(client: AsyncDuomi) -> int:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  (the block is what is tested)
        async with client.as_completed(["a", "b"]) as outcomes:
            await anext(outcomes)
            raise ZeroDivisionError
    await anyio.lowlevel.checkpoint()
    return 2


async def three_consumers(client: AsyncDuomi) -> int:
    found: list[str] = []
    outcomes = client.as_completed([str(n) for n in range(30)])

    async def consume() -> None:
        found.extend([outcome.task_id async for outcome in outcomes])

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(consume)
    assert sorted(found, key=int) == [str(n) for n in range(30)]
    return 2


CONSUMERS = [
    to_the_end, nothing, closed_within, without_a_block, left_early, left_in_another_task, a_failing_block,
    three_consumers,
]  # fmt: skip


@pytest.mark.parametrize("kind", ASYNC_KINDS)
@pytest.mark.parametrize("consume", CONSUMERS)
def test_the_callers_code_goes_on(kind: str, consume: Consumer) -> None:
    """However an iteration ends, what stands behind it runs, alone and inside a task group."""
    after: list[int] = []

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url, polling=POLLING) as client:
            after.append(await consume(client))

            async def child() -> None:
                after.append(await consume(client))
                await anyio.lowlevel.checkpoint()
                after.append(2)

            async with anyio.create_task_group() as group:
                group.start_soon(child)
            await anyio.lowlevel.checkpoint()

    with FaultServer([echo]) as server:
        anyio.run(main, server.url, backend=kind)

    assert after == [2, 2, 2]


def test_three_threads_share_the_outcomes() -> None:
    """Each outcome goes to one of the threads that iterate, and all of them end."""
    found: list[str] = []
    with FaultServer([echo]) as server, Duomi(KEY, base_url=server.url) as client:
        outcomes = client.as_completed([str(n) for n in range(30)])
        threads = [threading.Thread(target=lambda: found.extend(o.task_id for o in outcomes)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert sorted(found, key=int) == [str(n) for n in range(30)]


@pytest.mark.parametrize("kind", ASYNC_KINDS)
def test_cancelled_calls_cost_the_client_nothing(kind: str) -> None:
    """Calls that are cancelled at any moment leave no connection stuck, and no socket open."""

    async def main(url: str, server: FaultServer) -> None:
        async with AsyncDuomi(KEY, base_url=url, retry=QUICK, timeout=30.0) as client:
            for turns in range(40):
                async with anyio.create_task_group() as group:
                    for number in range(2):
                        group.start_soon(client.get_task, str(number))
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()
            for seconds in (0.0, 0.001, 0.003, 0.01, 0.02):
                with anyio.move_on_after(seconds):
                    await client.wait("x", polling=POLLING)
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(client.get_task, str(number))
        await anyio.to_thread.run_sync(until, lambda: not server.open_connections)

    with FaultServer([slow(0.005)]) as server:
        anyio.run(main, server.url, server, backend=kind)


@pytest.mark.parametrize("kind", ASYNC_KINDS)
def test_queueing_for_ones_own_connection_is_no_part_of_an_attempt(kind: str) -> None:
    """With one connection for 64 tasks each waits for its turn, however long that takes."""

    async def main(url: str) -> list[Outcome]:
        limits = httpx.Limits(max_connections=1)
        async with (
            httpx.AsyncClient(limits=limits) as own,
            AsyncDuomi(KEY, base_url=url, http_client=own, timeout=1.5, retry=Retry(attempts=1)) as client,
        ):
            return [outcome async for outcome in client.as_completed([str(n) for n in range(64)])]

    with FaultServer([slow(0.05)]) as server:
        outcomes = anyio.run(main, server.url, backend=kind)

    assert [outcome.error for outcome in outcomes] == [None] * 64


@pytest.mark.parametrize("kind", ASYNC_KINDS)
def test_the_time_limit_holds_with_ones_own_client_too(kind: str) -> None:
    """A head that drips ends with the attempt."""

    async def main(url: str) -> None:
        async with (
            httpx.AsyncClient() as own,
            AsyncDuomi(KEY, base_url=url, http_client=own, timeout=0.3, retry=Retry(attempts=1)) as client,
        ):
            await client.get_task("x")

    with FaultServer([drip(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 0.05)]) as server, pytest.raises(APITimeoutError):
        anyio.run(main, server.url, backend=kind)


@pytest.mark.parametrize("kind", ASYNC_KINDS)
def test_one_client_works_in_several_event_loops(kind: str) -> None:
    """Each event loop has lanes of its own, which are closed with it."""
    with FaultServer([echo]) as server:
        client = AsyncDuomi(KEY, base_url=server.url, retry=Retry(attempts=1))
        for number in range(6):
            task = anyio.run(client.get_task, str(number), backend=kind)
            assert task.id == str(number)
            until(lambda: not server.open_connections)
        gc.collect()

    assert server.connections == 6


SUSPENDED = """
import os, signal, sys, anyio
from duomi import AsyncDuomi, Duomi, Polling

url, way = sys.argv[1:]
polling = Polling(interval=0.4, timeout=1.5)

def told(task):
    if not task.is_finished:
        print("seen", flush=True)

async def main():
    async with AsyncDuomi("sk-test-0123456789", base_url=url, polling=polling) as client:
        if way == "async wait":
            return [(await client.wait("a", on_update=told)).is_succeeded]
        return [o.error is None async for o in client.as_completed(["a", "b"], on_update=told)]

if way.startswith("async"):
    print(anyio.run(main))
else:
    with Duomi("sk-test-0123456789", base_url=url, polling=polling) as client:
        if way == "wait":
            print([client.wait("a", on_update=told).is_succeeded])
        else:
            print([o.error is None for o in client.as_completed(["a", "b"], on_update=told)])
"""


@pytest.mark.parametrize(
    "way",
    ["wait", "async as_completed", *(pytest.param(w, marks=pytest.mark.slow) for w in ("as_completed", "async wait"))],
)
def test_a_process_that_was_suspended_past_the_deadline_polls_once_more(way: str) -> None:
    """A task that finished meanwhile is found, in every way of waiting."""
    finished = threading.Event()

    async def play(exchange: Exchange) -> bool:
        task_id = exchange.path.rpartition("/")[2]
        await answer(200, done(task_id) if finished.is_set() else payload("running") | {"id": task_id})(exchange)
        return True

    with FaultServer([play]) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", SUSPENDED, server.url, way], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGSTOP)
        finished.set()
        time.sleep(2.5)  # past the deadline
        os.kill(process.pid, signal.SIGCONT)
        shown = process.communicate(timeout=60)[0].splitlines()[-1]

    assert shown == ("[True]" if way.endswith("wait") else "[True, True]")


@pytest.mark.parametrize("kind", KINDS)
def test_extra_bytes_behind_a_body_answer_nothing(kind: str) -> None:
    """What a server sends behind a body is not taken for the answer to the next question."""
    foreign = b'{"id": "foreign", "state": "running"}'
    body = b'{"id": "a", "state": "running"}'
    kept = {"content-type": "application/json"}
    both = (
        head(200, kept | {"content-length": str(len(body))}) + body
        + head(200, kept | {"content-length": str(len(foreign))}) + foreign
    )  # fmt: skip

    async def play(exchange: Exchange) -> bool:
        await exchange.send(both)
        return True

    with FaultServer([play, echo]) as server:
        tasks = Caller(kind, server.url).script(
            lambda client: [lambda: client.get_task("a"), lambda: client.get_task("b")]
        )

    assert [task.id for task in tasks] == ["a", "b"]
    assert server.connections == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_lane_is_dropped_after_anything_but_a_complete_reply(kind: str) -> None:
    """After a broken body the next attempt has a connection of its own."""
    broken = raw(head(200, {"content-length": "100"}), b"{")
    with FaultServer([echo, broken, echo]) as server:
        Caller(kind, server.url).script(lambda client: [lambda: client.get_task("a"), lambda: client.get_task("b")])

    assert server.connections == 2


DRIPS: dict[str, Play] = {
    "a head": drip(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 0.02),
    "answers 103": drip(b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", 0.02),
    "a chunk's size": drip(head(200, {"transfer-encoding": "chunked"}), b"0", 0.02),
    "a chunk's extension": drip(head(200, {"transfer-encoding": "chunked"}) + b"5;", b"x", 0.02),
    "trailers": drip(head(200, {"transfer-encoding": "chunked"}) + b"0\r\n", b"x: y\r\n", 0.02),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DRIPS)
def test_whatever_drips_ends_with_the_attempt(kind: str, name: str) -> None:
    """A server that sends a little again and again is cut off when the attempt's time is over."""
    with FaultServer([DRIPS[name]]) as server:
        began = time.monotonic()
        with pytest.raises((APITimeoutError, APIConnectionError)):
            Caller(kind, server.url)("get_task", "a", options={"timeout": 0.4, "retry": Retry(attempts=1)})

    assert time.monotonic() - began < 3.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_that_hangs_ends_with_the_attempt(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CONNECT that is never answered is bounded, too."""
    with FaultServer([drip(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 0.02)]) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        began = time.monotonic()
        with pytest.raises(APIConnectionError):
            Caller(kind, "https://duomi.example")("get_task", "a", options={"timeout": 0.4, "retry": Retry(attempts=1)})

    assert time.monotonic() - began < 3.0


def test_each_address_of_a_host_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose first address does not answer is reached by its second."""
    with FaultServer([echo]) as server:
        unused = socket.socket()
        unused.bind(("127.0.0.2", 0))
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, server.port)) for host in ("127.0.0.2", "127.0.0.1")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_a, **_k: found if host == "two.example" else [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, server.port))])  # fmt: skip
        client = Duomi(KEY, base_url=f"http://two.example:{server.port}", allow_insecure=True)
        assert client.get_task("a").id == "a"
        client.close()
        unused.close()


@pytest.mark.parametrize("kind", KINDS)
def test_lanes_at_rest_are_closed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that rested for longer than the keep-alive are closed by the next call."""
    monkeypatch.setattr(lanes, "KEEP_ALIVE", 0.05)

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url) as client:
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(client.get_task, str(number))
            await anyio.sleep(0.2)
            await client.get_task("a")
            await anyio.to_thread.run_sync(until, lambda: server.open_connections <= 1)

    with FaultServer([slow(0.1)]) as server:
        if kind != "sync":
            anyio.run(main, server.url, backend=kind)
            return
        with Duomi(KEY, base_url=server.url) as client:
            threads = [threading.Thread(target=client.get_task, args=(str(n),)) for n in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            time.sleep(0.2)
            client.get_task("a")
            until(lambda: server.open_connections <= 1)


CLOSED_BY_A_SIGNAL = """
import os, signal, sys, threading
from duomi import ConfigurationError, Duomi

client = Duomi("sk-test-0123456789", base_url=sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: client.close())
threading.Timer(float(sys.argv[2]), os.kill, (os.getpid(), signal.SIGTERM)).start()
try:
    while True:
        client.get_task("a")
except ConfigurationError as error:
    print(error)
"""


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.02, 0.05, 0.1, 0.2])
def test_a_signal_handler_may_close_the_client(seconds: float) -> None:
    """Whatever the call is doing at that moment, the client closes and the call says so."""
    with FaultServer([echo]) as server:
        shown = subprocess.run(
            [sys.executable, "-c", CLOSED_BY_A_SIGNAL, server.url, str(seconds)],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip

    assert re.match(r"the client (is|was) closed", shown.stdout)


def test_the_private_parts_of_httpx_are_where_they_were() -> None:
    """A lane sets the network of its transport's pool, and asks h11 for what is left over: httpx has not moved them."""
    with FaultServer([echo]) as server, Duomi(KEY, base_url=server.url) as client:
        client.get_task("a")
        (lane,) = client._driver.lanes._idle

        assert lane._pool._pool._network_backend is lane.network
        assert lane.network.stream is not None
        assert lane._pool.connection._connection._h11_state.trailing_data == (b"", False)
        assert lane.is_clean
        lane._pool = object()
        assert not lane.is_clean


def test_a_closed_client_says_so_with_another_error_than_the_network(trusted: Authority) -> None:
    """A thread that waits for a server hears at once that the client was closed."""
    with FaultServer([slow(60.0)], tls=trusted.server("127.0.0.1")) as server:
        client = Duomi(KEY, base_url=server.url, timeout=50.0)

        def close() -> None:
            until(lambda: server.heads)
            client.close()

        threading.Thread(target=close).start()
        began = time.monotonic()
        with pytest.raises(ConfigurationError, match="closed during a call"):
            client.get_task("a")

    assert time.monotonic() - began < 20.0


def reads(response: httpx.Response) -> None:
    response.read()


async def areads(response: httpx.Response) -> None:
    await response.aread()


def complains(response: httpx.Response) -> None:
    response.raise_for_status()


async def acomplains(response: httpx.Response) -> None:
    response.raise_for_status()


def moves_the_key(request: httpx.Request) -> None:
    request.headers["x-key"] = request.headers.pop("authorization")


async def amoves_the_key(request: httpx.Request) -> None:
    moves_the_key(request)


HOOKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "none": ({}, {}),
    "one that reads the body": ({"response": [reads]}, {"response": [areads]}),
    "one that raises for the status": ({"response": [complains]}, {"response": [acomplains]}),
    "one that moves the key": ({"request": [moves_the_key]}, {"request": [amoves_the_key]}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("status", [200, 503])
def test_the_callers_own_client_may_have_hooks_and_mocks(kind: str, hook: str, status: int) -> None:
    """The body is taken as it is there, and what a hook raises for a status is the error of that status."""
    transport = httpx.MockTransport(lambda _request: httpx.Response(status, json=done("a")))
    sync_hooks, async_hooks = HOOKS[hook]

    async def main() -> Any:
        async with httpx.AsyncClient(transport=transport, event_hooks=async_hooks) as own:
            return await AsyncDuomi(KEY, http_client=own, retry=Retry(attempts=1)).get_task("a")

    def ask() -> Any:
        if kind != "sync":
            return anyio.run(main, backend=kind)
        with httpx.Client(transport=transport, event_hooks=sync_hooks) as own:
            return Duomi(KEY, http_client=own, retry=Retry(attempts=1)).get_task("a")

    if status == 200:
        assert ask().id == "a"
    else:
        with pytest.raises(ServerError):
            ask()


@pytest.mark.parametrize("proxy", ["", "http://proxy.example:3128"])
@pytest.mark.parametrize("mock", ["respx", "pytest_httpx", "pool"])
def test_what_mocks_httpx_mocks_this(
    mock: str, proxy: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries that patch httpx's transports, or httpcore's pools, see our requests, sync and async."""
    url, body = "https://duomiapi.com/v1/videos/tasks/a", done("a")
    monkeypatch.setenv("https_proxy", proxy)
    if mock == "respx":
        import respx

        with respx.mock:
            respx.get(url).mock(return_value=httpx.Response(200, json=body))
            ask_both()
            assert [call.request.headers["authorization"] for call in respx.calls] == [KEY, KEY]
    elif mock == "pool":
        # As vcrpy does it.
        content = json.dumps(body).encode()
        seen: list[Any] = []

        def answer(_: object, asked: httpcore.Request) -> httpcore.Response:
            seen.append(asked)
            return httpcore.Response(200, content=content)

        async def answer_async(pool: object, asked: httpcore.Request) -> httpcore.Response:
            return answer(pool, asked)

        monkeypatch.setattr(httpcore.ConnectionPool, "handle_request", answer)
        monkeypatch.setattr(httpcore.AsyncConnectionPool, "handle_async_request", answer_async)
        ask_both()
        assert [bytes(asked.url) for asked in seen] == [url.encode()] * 2
    else:
        httpx_mock = request.getfixturevalue("httpx_mock")
        httpx_mock.add_response(url=url, json=body, is_reusable=True)
        ask_both()
        assert len(httpx_mock.get_requests()) == 2


def ask_both() -> None:
    async def main() -> None:
        async with AsyncDuomi(KEY) as client:
            assert (await client.get_task("a")).is_succeeded

    with Duomi(KEY) as client:
        assert client.get_task("a").is_succeeded
    anyio.run(main)


def test_opentelemetry_sees_the_requests() -> None:
    """Instrumentation of httpx makes a span of each attempt, without the key."""
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        with FaultServer([answer(503, {}), echo]) as server, Duomi(KEY, base_url=server.url, retry=QUICK) as client:
            client.get_task("a")
    finally:
        instrumentor.uninstrument()

    spans = exporter.get_finished_spans()
    assert [dict(span.attributes or {})["http.status_code"] for span in spans] == [503, 200]
    assert KEY not in "".join(span.to_json() for span in spans)


def test_asyncio_and_trio_take_turns() -> None:
    """One client serves both kinds of event loop, one after the other."""
    with FaultServer([echo]) as server:
        client = AsyncDuomi(KEY, base_url=server.url, polling=Polling(interval=0.01))
        assert asyncio.run(client.get_task("a")).id == "a"
        assert trio.run(client.get_task, "b").id == "b"
        assert asyncio.run(client.get_task("c")).id == "c"


@pytest.mark.parametrize("kind", ASYNC_KINDS)
def test_a_cancelled_anext_leaves_the_watch_intact(kind: str) -> None:
    """A time limit around one step of a watch ends neither a pause nor a request for good."""

    async def main(url: str) -> list[str]:
        async with AsyncDuomi(KEY, base_url=url, polling=Polling(interval=0.2)) as client:
            watch, seen = client.watch("a"), list[str]()
            while not seen or seen[-1] != "succeeded":
                with anyio.move_on_after(0.03):
                    seen.append((await anext(watch)).state.value)
            with pytest.raises(StopAsyncIteration):
                await anext(watch)
            return seen

    running = answer(200, payload("running") | {"id": "a"})
    with FaultServer([running, running, slow(0.01)]) as server:
        assert anyio.run(main, server.url, backend=kind) == ["running", "succeeded"]


@pytest.mark.parametrize("kind", ASYNC_KINDS)
def test_a_watch_that_was_closed_asks_nothing_more(kind: str) -> None:
    """After `aclose` an `anext` is the end, also if the one before was cancelled in the middle of a request."""

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url) as client:
            watch: Any = client.watch("a")
            async with anyio.create_task_group() as group:
                group.start_soon(anext, watch)
                await anyio.to_thread.run_sync(until, lambda: server.heads)
                group.cancel_scope.cancel()
            await watch.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(watch)

    with FaultServer([hang, echo]) as server:
        anyio.run(main, server.url, backend=kind)

    assert len(server.heads) == 1

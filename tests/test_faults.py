"""One call through every fault: a transient fault costs an attempt, a permanent one is raised immediately."""

from __future__ import annotations

import gzip
import json
import pickle
import resource
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from duomi import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    Duomi,
    DuomiError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    Retry,
    ServerError,
    TaskState,
)
from faults import (
    Authority,
    Exchange,
    FaultServer,
    Play,
    answer,
    bomb,
    compressed,
    drip,
    endless,
    half,
    hang,
    head,
    raw,
    then_hang,
)
from harness import KEY, TABLE_KINDS, Caller, payload

ID = "5dd1ef43-efeb-9017-be66-f37a9d4348ee"
BODY = json.dumps(payload("running")).encode()
GOOD = answer(200, BODY)
JSON_HEAD = head(200, {"content-type": "application/json"})
CHUNKED = head(200, {"content-type": "application/json", "transfer-encoding": "chunked"})
ENDLESS = head(200, {"content-type": "application/json", "content-length": str(2**40)})
CUT_GZIP = gzip.compress(BODY)[:-12]
SHORT = 0.3
DEEP = b"[" * 200_000

KINDS = TABLE_KINDS


@attrs.frozen
class Fault:
    """What the server does, and how the call ends: with an `error`, or with None by a task after so many requests."""

    plays: Sequence[Play]
    error: type[DuomiError] | None = None
    requests: int = 2
    accept: Sequence[Any] = ()
    tls: bool = False


def transient(*plays: Play, **more: Any) -> Fault:
    return Fault([*plays, GOOD], None, len(plays) + 1, **more)


def permanent(play: Play, error: type[DuomiError]) -> Fault:
    return Fault([play], error, 1)


def envelope(code: Any) -> Play:
    return answer(200, {"code": code, "msg": "the vendor's message"})


async def idle_then_closed(exchange: Exchange) -> None:
    """Answer as if the connection stayed open, and close it."""
    await GOOD(exchange)


FAULTS: dict[str, Fault] = {
    "closed without an answer": transient(raw()),
    "reset": transient(raw(reset=True)),
    "closed before the request": Fault([GOOD], None, 1, accept=[b""]),
    "half a status line": transient(raw(b"HTTP/1.1 2")),
    "half a head": transient(raw(b"HTTP/1.1 200 OK\r\ncontent-type: appl")),
    "half a body": transient(half(BODY)),
    "half a body, then reset": transient(half(BODY, reset=True)),
    "a broken chunk": transient(raw(CHUNKED, b"5\r\nabc\r\nzz\r\n")),
    "a chunk without its end": transient(raw(CHUNKED, b"5\r\nabc")),
    "garbage instead of HTTP": transient(raw(b"\x00\xff garbage \r\n\r\n")),
    "another protocol": transient(raw(b"220 mail.example ESMTP\r\n")),
    "an endless head": transient(raw(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 50_000)),
    "two content-lengths": transient(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}")),
    "broken gzip": transient(compressed(b"\x1f\x8b\x08 not gzip")),
    "invalid gzip": transient(compressed(BODY)),
    "truncated gzip": transient(compressed(CUT_GZIP)),
    "truncated deflate": transient(compressed(zlib.compress(BODY)[:-6], "deflate")),
    "invalid deflate": transient(compressed(b"\x78\x9cxx", "deflate")),
    "a content coding not asked for": transient(compressed(BODY, "br")),
    "3,000 content codings": transient(compressed(BODY, ", ".join(["gzip"] * 3_000))),
    "a timeout": transient(hang),
    "half a head, then a timeout": transient(then_hang(b"HTTP/1.1 200 OK\r\ncontent-")),
    "half a body, then a timeout": transient(then_hang(ENDLESS, b"{")),
    "a dripping body": transient(drip(ENDLESS, b" ", SHORT / 6)),
    "HTML instead of JSON": transient(answer(200, b"<html>busy</html>", say="text/html")),
    "an empty body": transient(answer(200, b"")),
    "no content": transient(raw(b"HTTP/1.1 204 No Content\r\n\r\n")),
    "truncated JSON": transient(answer(200, BODY[:-5])),
    "invalid UTF-8": transient(answer(200, b'{"state": "\xff\xfe"}')),
    "not a task": transient(answer(200, {})),
    "a list": transient(answer(200, [1])),
    "null": transient(answer(200, None)),
    "a number of 5,000 digits": transient(answer(200, b'{"id": ' + b"9" * 5_000 + b"}")),
    "JSON nested 200,000 deep": transient(answer(200, DEEP)),
    "JSON nested 200,000 deep, at every attempt": Fault([answer(200, DEEP)], APIResponseError, 5),
    "garbage at every attempt": Fault([raw(b"\x00")], APIConnectionError, 5),
    "a timeout at every attempt": Fault([hang], APITimeoutError, 5),
    **{f"status {status}": transient(answer(status, {"message": "later"}))
       for status in (301, 302, 303, 307, 308, 408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 530, 599)},
    **{f"status {status}": transient(answer(status, BODY)) for status in (201, 202, 206, 299)},
    **{f"envelope {code!r}": transient(envelope(code)) for code in (408, 429, 500, 503, 599, "429", "500", 429.0)},
    "TLS: garbage": Fault([GOOD], None, 1, accept=[b"garbage"], tls=True),
    "TLS: closed": Fault([GOOD], None, 1, accept=[b""], tls=True),
    "TLS: an alert": Fault([GOOD], None, 1, accept=[b"\x15\x03\x03\x00\x02\x02\x28"], tls=True),
    **{f"status {status} as a page": transient(answer(status, b"<html>", say="text/html"))
       for status in (400, 402, 403, 405, 422, 451, 499)},
    "status 402 as text": transient(answer(402, b"no credit", say="text/plain")),
    "status 403 without a message": transient(answer(403, {})),
    "status 422 as null": transient(answer(422, None)),
    "status 451 with deep JSON": transient(answer(451, DEEP)),
    "envelope 425": transient(envelope(425)),
    "redirect to an invalid URL": transient(answer(302, b"", location="https://[::bad:99999999")),
    "redirect to another scheme": transient(answer(302, b"", location="file:///etc/passwd")),
    "not modified": transient(raw(b"HTTP/1.1 304 Not Modified\r\n\r\n")),
    "switching protocols": transient(raw(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")),
    **{f"status {status} with {name}": permanent(answer(status, {name: "no"}), error)
       for status, error in ((400, APIStatusError), (403, PermissionDeniedError), (422, APIStatusError))
       for name in ("message", "msg", "error", "code")},
    "status 401": permanent(answer(401, {"error": {"message": "who?"}}), AuthenticationError),
    "status 401 as a page": permanent(answer(401, b"<html>", say="text/html"), AuthenticationError),
    "status 404": permanent(answer(404, b"<html>", say="text/html"), NotFoundError),
    "status 410": permanent(answer(410, b""), APIStatusError),
    "status 404 with half a body": permanent(half(b'{"message": "gone"}', status=404), NotFoundError),
    **{f"envelope {code!r}": permanent(envelope(code), error)
       for code, error in ((400, APIStatusError), (401, AuthenticationError), (403, PermissionDeniedError),
                           (404, NotFoundError), ("404", NotFoundError), (410, APIStatusError), (499, APIStatusError))},
    "an endless body": permanent(endless(ENDLESS, b" " * 65_536), APIResponseError),
    "an endless body, in chunks": permanent(endless(CHUNKED, b"10000\r\n" + b" " * 65_536 + b"\r\n"), APIResponseError),
    "a gzip bomb": permanent(compressed(bomb(200)), APIResponseError),
    "a gzip bomb in gzip": permanent(compressed(gzip.compress(bomb(400), 9), "gzip, gzip"), APIResponseError),
}  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("kind", TABLE_KINDS)
@pytest.mark.parametrize("name", FAULTS)
def test_one_call(trusted: Authority, kind: str, name: str) -> None:
    """A transient fault costs one request, and a permanent one ends the call with the right error after one request."""
    fault = FAULTS[name]
    tls = trusted.server("127.0.0.1") if fault.tls else None
    options = {"timeout": SHORT if "timeout" in name or "dripping" in name else 5.0}

    with FaultServer(fault.plays, tls=tls, accept=fault.accept) as server:
        call = Caller(kind, server.url)
        if fault.error is None:
            assert call("get_task", ID, options=options).state is TaskState.RUNNING
        else:
            with pytest.raises(fault.error) as caught:
                call("get_task", ID, options=options)
            assert type(caught.value) is fault.error
            assert pickle.loads(pickle.dumps(caught.value)) == caught.value
            assert KEY not in str(caught.value) + repr(caught.value.args)

    assert len(server.heads) == fault.requests


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_connection_is_retried(kind: str) -> None:
    """A call whose connection is refused tries again until the server listens."""
    server = FaultServer([GOOD])
    later = threading.Timer(0.2, server.__enter__)
    later.start()

    task = Caller(kind, server.url)("get_task", ID, options={"retry": Retry(attempts=1_000, max_backoff=0.02)})
    later.join()
    server.__exit__()

    assert task.progress == 45


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_idle_connection_does_not_fail_the_next_call(kind: str) -> None:
    """If the server closes an idle connection between two calls, the second call still succeeds."""
    with FaultServer([idle_then_closed, GOOD]) as server:
        call = Caller(kind, server.url)
        polls = call.script(lambda client: [lambda: client.get_task(ID), lambda: client.get_task(ID)], pause=0.05)

    assert [poll.progress for poll in polls] == [45, 45]
    assert len(server.heads) == 2


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", ["elsewhere.example", None])
def test_an_invalid_certificate_is_a_permanent_error(
    trusted: Authority, monkeypatch: pytest.MonkeyPatch, kind: str, host: str | None
) -> None:
    """A certificate for another host, or of an untrusted authority, ends the call after one connection."""
    if host is None:
        monkeypatch.delenv("SSL_CERT_FILE")

    server = FaultServer([GOOD], tls=trusted.server(host or "127.0.0.1"))
    with server, pytest.raises(APIConnectionError, match=r"(?i)certificate"):
        Caller(kind, server.url)("get_task", ID)

    assert (server.connections, server.heads) == (1, [])


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_in_ssl_cert_file_is_trusted(trusted: Authority, kind: str) -> None:
    """SSL_CERT_FILE works as it does in httpx."""
    with FaultServer([GOOD], tls=trusted.server("127.0.0.1")) as server:
        assert Caller(kind, server.url)("get_task", ID).progress == 45


@pytest.mark.parametrize("kind", KINDS)
def test_an_invalid_host_name_is_a_connection_error(kind: str) -> None:
    """A host name that Python cannot encode raises `APIConnectionError`."""
    with pytest.raises(APIConnectionError):
        Caller(kind, f"https://{'a' * 64}.example")("get_task", ID, options={"retry": Retry(attempts=1)})


RETRY_AFTERS: dict[str, tuple[str | None, float | None]] = {
    "seconds": ("0", 0.0),
    "decimals": ("0.05", 0.05),
    "a date in the past": ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    **{f"ignored: {value!r}": (value, None) for value in ("soon", "-1", "nan", "inf", "1e309", "", "9" * 400)},
}


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RETRY_AFTERS)
def test_a_valid_retry_after_is_the_pause(kind: str, name: str) -> None:
    """A valid Retry-After is the pause before the next attempt, and an invalid one leaves the back-off as it is."""
    value, seconds = RETRY_AFTERS[name]
    retry = Retry(attempts=2, backoff=0.0)
    unavailable = answer(503, {}, retry_after=value or "")

    with FaultServer([unavailable, GOOD]) as server:
        began = time.monotonic()
        task = Caller(kind, server.url)("get_task", ID, options={"retry": retry})

    assert task.progress == 45
    assert (seconds or 0.0) <= time.monotonic() - began < 5.0


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["61", "3600.5", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_retry_after_over_its_maximum_ends_the_retries(kind: str, value: str) -> None:
    """A Retry-After above `max_retry_after` raises an error that says how long it is."""
    with FaultServer([answer(429, {}, retry_after=value)]) as server, pytest.raises(RateLimitError) as caught:
        Caller(kind, server.url)("get_task", ID)

    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 60
    assert len(server.heads) == 1


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "coding", ["gzip", "x-gzip", "deflate", "raw deflate", "identity", "deflate, gzip", "two members"]
)
def test_a_compressed_answer_is_read(kind: str, coding: str) -> None:
    """Each content coding that the client accepts is decoded, in the variants that servers send."""
    bodies: dict[str, Callable[[], bytes]] = {
        "gzip": lambda: gzip.compress(BODY),
        "x-gzip": lambda: gzip.compress(BODY),
        "deflate": lambda: zlib.compress(BODY),
        "raw deflate": lambda: zlib.compress(BODY)[2:-4],
        "identity": lambda: BODY,
        "deflate, gzip": lambda: gzip.compress(zlib.compress(BODY)),
        "two members": lambda: gzip.compress(BODY[:20]) + gzip.compress(BODY[20:]) + b"\0\0",
    }
    named = {"raw deflate": "deflate", "two members": "gzip"}.get(coding, coding)

    with FaultServer([compressed(bodies[coding](), named)]) as server:
        assert Caller(kind, server.url)("get_task", ID).progress == 45


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_endless_body_does_not_fill_the_memory(kind: str) -> None:
    """Neither an endless body nor a gzip bomb makes the process grow by more than 80 MB."""
    plays = [endless(ENDLESS, b" " * 65_536), compressed(bomb(400))]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for play in plays:
        with FaultServer([play]) as server, pytest.raises(APIResponseError):
            Caller(kind, server.url)("get_task", ID)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 80 * 1024


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["half a head, then a timeout", "a dripping body", "a timeout"])
def test_the_timeout_limits_a_whole_attempt(kind: str, name: str) -> None:
    """An attempt ends after `timeout` seconds, even if the server sends a little again and again."""
    with FaultServer(FAULTS[name].plays[:1]) as server:
        began = time.monotonic()
        with pytest.raises(APITimeoutError):
            Caller(kind, server.url)("get_task", ID, options={"timeout": SHORT, "retry": Retry(attempts=1)})

    assert SHORT * 0.9 <= time.monotonic() - began < SHORT + 1.0


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_a_dripping_head_ends_at_the_timeout_under_async(kind: str) -> None:
    """The async client's timeout limits a response head that never ends."""
    with FaultServer([drip(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", SHORT / 6)]) as server:
        began = time.monotonic()
        with pytest.raises(APITimeoutError):
            Caller(kind, server.url)("get_task", ID, options={"timeout": SHORT, "retry": Retry(attempts=1)})

    assert time.monotonic() - began < SHORT + 1.0


ECHOES: dict[str, Play] = {
    "garbage": raw(f"{KEY}\r\n\r\n".encode()),
    "a broken header": raw(f"HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n".encode()),
    "a message": answer(400, {"message": f"the key {KEY} is wrong"}),
    "an HTML page": answer(200, f"<html>{KEY}</html>".encode(), say=f"text/html; {KEY}"),
    "a request id": answer(500, {}, x_request_id=KEY),
    "an undocumented state": answer(200, {"id": "x", "state": f"{KEY}!"}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ECHOES)
def test_an_echoed_key_is_redacted(kind: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """If the server sends the key back, no error, traceback or log record of duomi has it."""
    import traceback

    caplog.set_level(1)
    shown = ""
    with FaultServer([ECHOES[name]]) as server:
        try:
            Caller(kind, server.url)("get_task", ID, options={"retry": Retry(attempts=2, backoff=0)})
        except DuomiError as error:
            shown = "".join(traceback.format_exception(error)) + repr(error.args) + repr(vars(error))

    ours = [record.getMessage() for record in caplog.records if record.name == "duomi"]
    assert KEY not in shown + repr(ours)
    assert name == "an undocumented state" or "Error" in shown


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_is_in_no_log_record(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """At the lowest level of every logger, httpcore's included, no record has the key."""
    caplog.set_level(1)

    with FaultServer([raw(reset=True), answer(503, {}), GOOD]) as server:
        Caller(kind, server.url)("get_task", ID)

    assert {record.name.partition(".")[0] for record in caplog.records} >= {"duomi", "httpcore"}
    assert not any(KEY in record.getMessage() + repr(vars(record)) for record in caplog.records)


def test_one_client_serves_sixteen_threads() -> None:
    """Sixteen threads share one client, and each call gets its own answer, also after a fault."""

    async def echo(exchange: Exchange) -> bool | None:
        number = int(exchange.path.rpartition("/")[2])
        if number % 5 == 0 and number not in failed:
            failed.add(number)
            return await answer(502, {})(exchange)
        return await answer(200, {"id": str(number), "state": "running", "progress": number % 100})(exchange)

    failed: set[int] = set()
    wrong: list[Any] = []

    def ask(client: Duomi, first: int) -> None:
        for number in range(first, 320, 16):
            task = client.get_task(str(number))
            if (task.id, task.progress) != (str(number), number % 100):
                wrong.append(task)

    with FaultServer([echo]) as server, Duomi(KEY, base_url=server.url, retry=Retry(backoff=0)) as client:
        threads = [threading.Thread(target=ask, args=(client, first)) for first in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert wrong == []
    assert len(server.heads) == 320 + len(failed)
    assert server.connections <= 16


def test_closing_the_client_during_a_call_is_a_configuration_error() -> None:
    """If one thread closes the client, the calls of other threads end with `ConfigurationError`."""
    with FaultServer([answer(503, {})]) as server:
        client = Duomi(KEY, base_url=server.url, retry=Retry(attempts=1_000, backoff=0.001))
        threading.Timer(0.2, client.close).start()
        with pytest.raises(ConfigurationError, match="closed"):
            client.get_task(ID)


def proxy(server: FaultServer, seen: list[str]) -> Play:
    """Forward every request to one server, as a proxy does: tunnels for https, absolute URLs for http."""
    import asyncio

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def play(exchange: Exchange) -> None:
        seen.append(exchange.head.split(b"\r\n")[0].decode())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        if exchange.head.startswith(b"CONNECT "):
            await exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            writer.write(exchange.head)
        ways = [asyncio.create_task(pipe(exchange.reader, writer)), asyncio.create_task(pipe(reader, exchange.writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writer.transport.abort()
            exchange.writer.close()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    return play


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxies_work_as_with_httpx(
    trusted: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, scheme: str
) -> None:
    """The proxy variables apply to the API and to downloads, and a proxy gets each URL unchanged."""
    clip = f"{scheme}://clips.example/a%2Fb.mp4?X-Sig=a%2Fb'"
    done = {"id": ID, "state": "succeeded", "data": {"videos": [{"url": clip}]}}
    tls = None if scheme == "http" else trusted.server("clips.example")
    seen: list[str] = []
    film = answer(200, b"\0\0\0\x08ftypfilm", say="video/mp4", keep=False)

    for variable in (f"{scheme}_proxy", "all_proxy"):
        api, clips = FaultServer([answer(200, done)]), FaultServer([film], tls=tls)
        with api, clips, FaultServer([proxy(clips, seen)]) as proxied:
            monkeypatch.setenv(variable, proxied.url)
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            call = Caller(kind, api.url)
            (path,) = call("download", call("get_task", ID), tmp_path, if_exists="replace")
            monkeypatch.setenv("no_proxy", "")
            monkeypatch.delenv(variable)

        assert path.read_bytes().endswith(b"film")
        assert clips.heads[0].path.endswith("/a%2Fb.mp4?X-Sig=a%2Fb'")
    expected = f"GET {clip} HTTP/1.1" if scheme == "http" else "CONNECT clips.example:443 HTTP/1.1"
    assert seen == [expected, expected]


def test_a_proxy_that_refuses_a_tunnel_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's reply to CONNECT is a connection error, not a reply of the API."""
    with FaultServer([answer(407, b"who?", say="text/plain")]) as server:
        monkeypatch.setenv("https_proxy", server.url)
        with pytest.raises(APIConnectionError):
            Caller("sync", "https://duomi.example")("get_task", ID)


def test_tls_is_verified_by_default() -> None:
    """The TLS context of a client checks certificates and host names."""
    with Duomi(KEY) as client:
        context = client._driver.lanes.tls

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_server_error_has_all_details_of_the_reply() -> None:
    """An error has the status, the vendor's code and message, the body, the request id and the Retry-After."""
    play = answer(503, {"code": 7, "error": {"message": "maintenance"}}, x_request_id="abc", retry_after="2")
    with FaultServer([play]) as server, pytest.raises(ServerError) as caught:
        Caller("sync", server.url)("get_task", ID, options={"retry": Retry(attempts=1)})

    error = caught.value
    assert (error.status_code, error.code, error.message) == (503, 7, "maintenance")
    assert (error.request_id, error.retry_after) == ("abc", 2.0)
    assert f"GET /v1/videos/tasks/{ID}" in str(error)
    assert "maintenance" in error.body

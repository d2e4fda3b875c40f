"""Every way in which one call goes wrong: what passes costs an attempt, what does not is told at once."""

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
    """What the server does, and what comes of it: an error of a kind, or with None the task that a second request brings."""

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
    return answer(200, {"code": code, "msg": "the vendor's words"})


async def idle_then_closed(exchange: Exchange) -> None:
    """Answer well, promise to stay, and close."""
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
    "a head without end": transient(raw(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 50_000)),
    "two lengths": transient(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}")),
    "broken gzip": transient(compressed(b"\x1f\x8b\x08 not gzip")),
    "gzip that is none": transient(compressed(BODY)),
    "gzip cut off": transient(compressed(CUT_GZIP)),
    "deflate cut off": transient(compressed(zlib.compress(BODY)[:-6], "deflate")),
    "deflate that is none": transient(compressed(b"\x78\x9cxx", "deflate")),
    "a coding not asked for": transient(compressed(BODY, "br")),
    "codings without end": transient(compressed(BODY, ", ".join(["gzip"] * 3_000))),
    "no answer in time": transient(hang),
    "half a head in time": transient(then_hang(b"HTTP/1.1 200 OK\r\ncontent-")),
    "half a body in time": transient(then_hang(ENDLESS, b"{")),
    "a body that drips": transient(drip(ENDLESS, b" ", SHORT / 6)),
    "a page instead of JSON": transient(answer(200, b"<html>busy</html>", say="text/html")),
    "nothing": transient(answer(200, b"")),
    "no content": transient(raw(b"HTTP/1.1 204 No Content\r\n\r\n")),
    "cut JSON": transient(answer(200, BODY[:-5])),
    "invalid UTF-8": transient(answer(200, b'{"state": "\xff\xfe"}')),
    "not a task": transient(answer(200, {})),
    "a list": transient(answer(200, [1])),
    "null": transient(answer(200, None)),
    "a number of 5,000 digits": transient(answer(200, b'{"id": ' + b"9" * 5_000 + b"}")),
    "JSON nested 200,000 deep": transient(answer(200, DEEP)),
    "JSON nested 200,000 deep, to the end": Fault([answer(200, DEEP)], APIResponseError, 5),
    "garbage to the end": Fault([raw(b"\x00")], APIConnectionError, 5),
    "no answer in time to the end": Fault([hang], APITimeoutError, 5),
    **{f"status {status}": transient(answer(status, {"message": "later"}))
       for status in (408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 530, 599)},
    **{f"status {status}": transient(answer(status, BODY)) for status in (201, 202, 206, 299)},
    **{f"envelope {code!r}": transient(envelope(code)) for code in (408, 429, 500, 503, 599, "429", "500", 429.0)},
    "TLS: garbage": Fault([GOOD], None, 1, accept=[b"garbage"], tls=True),
    "TLS: closed": Fault([GOOD], None, 1, accept=[b""], tls=True),
    "TLS: an alert": Fault([GOOD], None, 1, accept=[b"\x15\x03\x03\x00\x02\x02\x28"], tls=True),
    "status 400": permanent(answer(400, {"msg": "what?"}), APIStatusError),
    "status 401": permanent(answer(401, {"error": {"message": "who?"}}), AuthenticationError),
    "status 402": permanent(answer(402, b"no credit", say="text/plain"), APIStatusError),
    "status 403": permanent(answer(403, {}), PermissionDeniedError),
    "status 404": permanent(answer(404, b"<html>", say="text/html"), NotFoundError),
    "status 410": permanent(answer(410, b""), APIStatusError),
    "status 422": permanent(answer(422, None), APIStatusError),
    "status 451": permanent(answer(451, DEEP), APIStatusError),
    "status 404 with a body cut off": permanent(half(b'{"message": "gone"}', status=404), NotFoundError),
    **{f"envelope {code!r}": permanent(envelope(code), error)
       for code, error in ((400, APIStatusError), (401, AuthenticationError), (403, PermissionDeniedError),
                           (404, NotFoundError), ("404", NotFoundError), (425, APIStatusError), (499, APIStatusError))},
    **{f"redirect {status}": permanent(answer(status, b"", location="http://127.0.0.1:1/v1"), APIStatusError)
       for status in (301, 302, 303, 307, 308)},
    "redirect to nowhere": permanent(answer(302, b"", location="https://[::bad:99999999"), APIStatusError),
    "redirect to another scheme": permanent(answer(302, b"", location="file:///etc/passwd"), APIStatusError),
    "not modified": permanent(raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"), APIStatusError),
    "switching protocols": transient(raw(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")),
    "a body without end": permanent(endless(ENDLESS, b" " * 65_536), APIResponseError),
    "a body without end, in chunks": permanent(endless(CHUNKED, b"10000\r\n" + b" " * 65_536 + b"\r\n"), APIResponseError),
    "a gzip bomb": permanent(compressed(bomb(200)), APIResponseError),
    "a gzip bomb in gzip": permanent(compressed(gzip.compress(bomb(400), 9), "gzip, gzip"), APIResponseError),
}  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("kind", TABLE_KINDS)
@pytest.mark.parametrize("name", FAULTS)
def test_one_call(trusted: Authority, kind: str, name: str) -> None:
    """What passes costs a request and nothing else; what lasts is one request, and the right error."""
    fault = FAULTS[name]
    tls = trusted.server("127.0.0.1") if fault.tls else None
    options = {"timeout": SHORT if "in time" in name or "drips" in name else 5.0}

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
def test_a_service_that_comes_up_is_reached(kind: str) -> None:
    """A refused connection is tried again until somebody listens."""
    server = FaultServer([GOOD])
    later = threading.Timer(0.2, server.__enter__)
    later.start()

    task = Caller(kind, server.url)("get_task", ID, options={"retry": Retry(attempts=1_000, max_backoff=0.02)})
    later.join()
    server.__exit__()

    assert task.progress == 45


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
def test_an_idle_connection_that_was_closed_does_no_harm(kind: str) -> None:
    """The server closes a connection between two calls without a word, and the second call does not feel it."""
    with FaultServer([idle_then_closed, GOOD]) as server:
        call = Caller(kind, server.url)
        polls = call.script(lambda client: [lambda: client.get_task(ID), lambda: client.get_task(ID)], pause=0.05)

    assert [poll.progress for poll in polls] == [45, 45]
    assert len(server.heads) == 2


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", ["elsewhere.example", None])
def test_a_certificate_that_is_wrong_is_told_at_once(
    trusted: Authority, monkeypatch: pytest.MonkeyPatch, kind: str, host: str | None
) -> None:
    """A certificate of another host, or of an authority that is not trusted, is no trouble that passes."""
    if host is None:
        monkeypatch.delenv("SSL_CERT_FILE")

    server = FaultServer([GOOD], tls=trusted.server(host or "127.0.0.1"))
    with server, pytest.raises(APIConnectionError, match=r"(?i)certificate"):
        Caller(kind, server.url)("get_task", ID)

    assert (server.connections, server.heads) == (1, [])


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
def test_a_trusted_certificate_is_enough(trusted: Authority, kind: str) -> None:
    """SSL_CERT_FILE works as with plain httpx."""
    with FaultServer([GOOD], tls=trusted.server("127.0.0.1")) as server:
        assert Caller(kind, server.url)("get_task", ID).progress == 45


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_name_that_cannot_be_one_is_a_connection_error(kind: str) -> None:
    """What Python's resolver cannot even write down is an error of ours."""
    with pytest.raises(APIConnectionError):
        Caller(kind, f"https://{'a' * 64}.example")("get_task", ID, options={"retry": Retry(attempts=1)})


ASKED: dict[str, tuple[str | None, float | None]] = {
    "seconds": ("0", 0.0),
    "decimals": ("0.05", 0.05),
    "a date that is past": ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    **{f"ignored: {value!r}": (value, None) for value in ("soon", "-1", "nan", "inf", "1e309", "", "9" * 400)},
}


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ASKED)
def test_a_retry_after_is_heeded_or_ignored(kind: str, name: str) -> None:
    """A Retry-After that says how long is waited out; one that does not leaves the back-off as it is."""
    value, seconds = ASKED[name]
    retry = Retry(attempts=2, backoff=0.0 if seconds is None else 30.0)
    refusal = answer(503, {}, retry_after=value or "")

    with FaultServer([refusal, GOOD]) as server:
        began = time.monotonic()
        task = Caller(kind, server.url)("get_task", ID, options={"retry": retry})

    assert task.progress == 45
    assert (seconds or 0.0) <= time.monotonic() - began < 5.0


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["61", "3600.5", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_retry_after_that_is_too_long_ends_the_retries(kind: str, value: str) -> None:
    """A pause above `max_retry_after` is the caller's to decide on, and the error says how long."""
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
    """Whatever was asked for and some servers send is inflated."""
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
def test_memory_stays_flat(kind: str) -> None:
    """Neither an endless body nor a bomb makes the process grow by more than a few bodies' worth."""
    plays = [endless(ENDLESS, b" " * 65_536), compressed(bomb(400))]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for play in plays:
        with FaultServer([play]) as server, pytest.raises(APIResponseError):
            Caller(kind, server.url)("get_task", ID)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 80 * 1024


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["half a head in time", "a body that drips", "no answer in time"])
def test_the_time_limit_is_for_all_of_an_attempt(kind: str, name: str) -> None:
    """However the server dawdles, an attempt ends after `timeout` seconds."""
    with FaultServer(FAULTS[name].plays[:1]) as server:
        began = time.monotonic()
        with pytest.raises(APITimeoutError):
            Caller(kind, server.url)("get_task", ID, options={"timeout": SHORT, "retry": Retry(attempts=1)})

    assert SHORT * 0.9 <= time.monotonic() - began < SHORT + 1.0


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_a_head_that_drips_is_bounded_under_async(kind: str) -> None:
    """The async client's limit holds whatever the server does, in the head as well."""
    with FaultServer([drip(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", SHORT / 6)]) as server:
        began = time.monotonic()
        with pytest.raises(APITimeoutError):
            Caller(kind, server.url)("get_task", ID, options={"timeout": SHORT, "retry": Retry(attempts=1)})

    assert time.monotonic() - began < SHORT + 1.0


ECHOES: dict[str, Play] = {
    "garbage": raw(f"{KEY}\r\n\r\n".encode()),
    "a broken header": raw(f"HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n".encode()),
    "a message": answer(400, {"message": f"the key {KEY} is wrong"}),
    "a page": answer(200, f"<html>{KEY}</html>".encode(), say=f"text/html; {KEY}"),
    "a request id": answer(500, {}, x_request_id=KEY),
    "an undocumented state": answer(200, {"id": "x", "state": f"{KEY}!"}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ECHOES)
def test_a_key_that_is_sent_back_is_not_shown(kind: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A server that repeats the key does not make it appear in an error, its traceback, or a log line of ours."""
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
    """With every logger at its loudest, httpcore's too, no record has the key."""
    caplog.set_level(1)

    with FaultServer([raw(reset=True), answer(503, {}), GOOD]) as server:
        Caller(kind, server.url)("get_task", ID)

    assert {record.name.partition(".")[0] for record in caplog.records} >= {"duomi", "httpcore"}
    assert not any(KEY in record.getMessage() + repr(vars(record)) for record in caplog.records)


def test_one_client_serves_sixteen_threads() -> None:
    """Sixteen threads ask through one client, and each gets its own answer, over faults and all."""

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


def test_a_client_closed_in_the_middle_says_so() -> None:
    """A thread that closes the client ends the calls of the others with an error of ours."""
    with FaultServer([answer(503, {})]) as server:
        client = Duomi(KEY, base_url=server.url, retry=Retry(attempts=1_000, backoff=0.001))
        threading.Timer(0.2, client.close).start()
        with pytest.raises(ConfigurationError, match="closed"):
            client.get_task(ID)


def proxy(server: FaultServer, seen: list[str]) -> Play:
    """Be a proxy for one server, whatever host is asked for: tunnels for https, and absolute URLs for http."""
    import asyncio

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65_536):
            writer.write(piece)
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
    """HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY hold for the API and for downloads, and URLs go to the letter."""
    clip = f"{scheme}://clips.example/a%2Fb.mp4?X-Sig=a%2Fb'"
    done = {"id": ID, "state": "succeeded", "data": {"videos": [{"url": clip}]}}
    tls = None if scheme == "http" else trusted.server("clips.example")
    seen: list[str] = []
    film = answer(200, b"film", say="video/mp4", keep=False)

    for variable in (f"{scheme}_proxy", "all_proxy"):
        api, clips = FaultServer([answer(200, done)]), FaultServer([film], tls=tls)
        with api, clips, FaultServer([proxy(clips, seen)]) as proxied:
            monkeypatch.setenv(variable, proxied.url)
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            call = Caller(kind, api.url)
            (path,) = call("download", call("get_task", ID), tmp_path, if_exists="replace")
            monkeypatch.setenv("no_proxy", "")
            monkeypatch.delenv(variable)

        assert path.read_bytes() == b"film"
        assert clips.heads[0].path.endswith("/a%2Fb.mp4?X-Sig=a%2Fb'")
    wanted = f"GET {clip} HTTP/1.1" if scheme == "http" else "CONNECT clips.example:443 HTTP/1.1"
    assert seen == [wanted, wanted]


def test_a_proxy_that_refuses_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a proxy says to a tunnel is no answer of the API's."""
    with FaultServer([answer(407, b"who?", say="text/plain")]) as server:
        monkeypatch.setenv("https_proxy", server.url)
        with pytest.raises(APIConnectionError):
            Caller("sync", "https://duomi.example")("get_task", ID)


def test_ssl_is_verified_by_default() -> None:
    """The one TLS context of a client checks certificates and host names."""
    with Duomi(KEY) as client:
        context = client._driver.lanes.tls

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_server_errors_carry_what_was_said() -> None:
    """Status, the vendor's number and words, the body and the request's id are all there."""
    play = answer(503, {"code": 7, "error": {"message": "maintenance"}}, x_request_id="abc", retry_after="2")
    with FaultServer([play]) as server, pytest.raises(ServerError) as caught:
        Caller("sync", server.url)("get_task", ID, options={"retry": Retry(attempts=1)})

    error = caught.value
    assert (error.status_code, error.code, error.message) == (503, 7, "maintenance")
    assert (error.request_id, error.retry_after) == ("abc", 2.0)
    assert f"GET /v1/videos/tasks/{ID}" in str(error)
    assert "maintenance" in error.body

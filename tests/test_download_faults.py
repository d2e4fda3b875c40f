"""A download survives transient faults, and after any other fault the folder is unchanged."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest
from duomi import APIConnectionError, AsyncDuomi, ConfigurationError, DownloadError, Duomi, Retry, Task
from duomi._core.download import Disk, Head, Urls
from duomi._core.request import Runtime
from duomi._core.save import Target, save_flow
from duomi._io.files import Folder, PartFile
from faults import Authority, Exchange, FaultServer, Play, answer, drip, half, hang, head, raw, then_hang
from harness import KEY, TABLE_KINDS, Caller

KINDS = TABLE_KINDS
CLIP = bytes(range(256)) * 2_000
ETAG = '"one"'


def finished(*urls: str, task_id: str = "t") -> dict[str, Any]:
    return {"id": task_id, "state": "succeeded", "data": {"videos": [{"url": url} for url in urls]}}


def clip(body: bytes = CLIP, **more: Any) -> Play:
    return answer(200, body, say="video/mp4", **more)


def cut(at: int = len(CLIP) // 2, **more: str) -> Play:
    """Promise the whole clip, and close after so many bytes."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return raw(head(200, {"content-type": "video/mp4", "content-length": str(len(CLIP))} | named), CLIP[:at])


def rest(
    body: bytes = CLIP, *, etag: str = ETAG, shift: int = 0, total: str | None = None, upto: int | None = None
) -> Play:
    """Answer the requested range, or the whole clip if no range is requested or the clip has changed."""

    async def play(exchange: Exchange) -> bool | None:
        requested, validator = exchange.header("range"), exchange.header("if-range")
        if requested is None or validator != etag:
            return await clip(body, etag=etag)(exchange)
        start = int(requested.removeprefix("bytes=").removesuffix("-"))
        content_range = f"bytes {start + shift}-{len(body) - 1}/{total or len(body)}"
        part = body[start : start + upto] if upto else body[start:]
        response_head = head(
            206,
            {
                "content-type": "video/mp4",
                "content-length": str(len(body) - start),
                "content-range": content_range,
                "etag": etag,
            },
        )
        await exchange.send(response_head, part)
        return upto is None

    return play


@attrs.frozen
class Clip:
    """What the server plays for one clip, whether the clip is saved, and after how many requests."""

    plays: Sequence[Play]
    saved: bool
    requests: int | None = None
    body: bytes = CLIP


OTHER = CLIP[::-1]
HALF = len(CLIP) // 2
LAST = len(CLIP) - 1


async def fresh(exchange: Exchange) -> bool | None:
    """Answer the task with another signature in its URL."""
    return await answer(200, finished(f"http://{exchange.header('host')}/1.mp4?sig=new"))(exchange)


def part(start: int, end: int, total: int | str) -> Play:
    """Answer a range, whatever was asked for."""
    body = (CLIP + CLIP)[start : end + 1]
    return answer(206, body, say="video/mp4", etag=ETAG, content_range=f"bytes {start}-{end}/{total}")


CLIPS: dict[str, Clip] = {
    "whole": Clip([clip()], True, 1),
    "without a length": Clip([raw(head(200, {"content-type": "video/mp4"}), CLIP)], True, 1),
    "in chunks": Clip([raw(head(200, {"transfer-encoding": "chunked"}), b"%x\r\n" % len(CLIP), CLIP, b"\r\n0\r\n\r\n")], True, 1),
    "application/octet-stream": Clip([answer(200, CLIP, say="application/octet-stream")], True, 1),
    "reset before the head": Clip([raw(reset=True), clip()], True, 2),
    "garbage before the head": Clip([raw(b"\x00\x00"), clip()], True, 2),
    "a hang before the head": Clip([hang, clip()], True, 2),
    "a hang in the body": Clip([then_hang(head(200, {"content-length": str(len(CLIP))}), CLIP[:99]), clip()], True, 2),
    "503": Clip([answer(503, {}), clip()], True, 2),
    "429 with a Retry-After": Clip([answer(429, {}, retry_after="0.01"), clip()], True, 2),
    "truncated, without an ETag": Clip([cut(), clip()], True, 2),
    "truncated, with a weak ETag": Clip([cut(etag='W/"one"'), rest(etag='W/"one"')], True, 2),
    "truncated, resumed": Clip([cut(etag=ETAG), rest()], True, 2),
    "truncated by a reset, resumed": Clip([half(CLIP, etag=ETAG, content_type="video/mp4", reset=True), rest()], True),
    "truncated twice, resumed twice": Clip([cut(etag=ETAG), rest(upto=9_000), rest()], True, 3),
    "truncated, then changed on the server": Clip([cut(etag=ETAG), rest(OTHER, etag='"two"')], True, 2, OTHER),
    "a range of another file": Clip([cut(etag=ETAG), answer(206, CLIP[99:], say="video/mp4", etag='"two"', content_range=f"bytes {len(CLIP) // 2}-1/9"), clip()], True, 3),
    "a range that was not requested": Clip([cut(etag=ETAG), rest(shift=1), clip()], True, 3),
    "a range of unknown length": Clip([cut(etag=ETAG), rest(total="*")], True, 2),
    "a range that ends too early": Clip([cut(etag=ETAG), answer(206, CLIP[len(CLIP) // 2:][:10], say="video/mp4", etag=ETAG, content_range=f"bytes {len(CLIP) // 2}-{len(CLIP) // 2 + 9}/{len(CLIP)}"), rest()], True, 3),
    "a 206 without an ETag and with other bytes": Clip([cut(etag=ETAG), answer(206, OTHER[HALF:], say="video/mp4", content_range=f"bytes {HALF}-{LAST}/{len(CLIP)}"), clip()], True, 3),
    "a range of unknown total that breaks off": Clip([cut(etag=ETAG), rest(total="*", upto=1_000), rest()], True, 3),
    "a part of the range, of unknown total": Clip([cut(etag=ETAG), part(HALF, HALF + 999, "*"), rest()], True, 3),
    "a part of the range, of a shorter file": Clip([cut(etag=ETAG), part(HALF, HALF + 999, HALF + 1_000), clip()], True, 3),
    "a part of the range, of a longer file": Clip([cut(etag=ETAG), part(HALF, LAST + 9, len(CLIP) + 9), clip()], True, 3),
    "a range that was not asked for, from the middle": Clip([part(HALF, LAST, len(CLIP)), clip()], True, 2),
    "a range that was not asked for, not to the end": Clip([part(0, HALF, len(CLIP)), clip()], True, 2),
    "a range that was not asked for, of unknown total": Clip([part(0, LAST, "*"), clip()], True, 2),
    "all bytes as a range that was not asked for": Clip([part(0, LAST, len(CLIP))], True, 1),
    "206 without a range": Clip([answer(206, CLIP, say="video/mp4"), clip()], True, 2),
    "206 at every attempt": Clip([answer(206, CLIP, say="video/mp4")], False, 5),
    "203": Clip([answer(203, CLIP, say="video/mp4")], True, 1),
    "chunks and a wrong content-length": Clip([raw(head(200, {"content-length": "99", "transfer-encoding": "chunked"}), b"%x\r\n" % len(CLIP), CLIP, b"\r\n0\r\n\r\n")], True, 1),
    "a break every tenth": Clip([cut(len(CLIP) // 10, etag=ETAG), *[rest(upto=len(CLIP) // 10)] * 8, rest()], True, 10),
    "a break every tenth, without an ETag": Clip([cut(len(CLIP) // 10)], False, 5),
    "an expired URL in the middle": Clip([cut(etag=ETAG), answer(403, {}), fresh, rest()], True, 4),
    "416 to a range": Clip([cut(etag=ETAG), answer(416, b"", say="video/mp4"), clip()], True, 3),
    "a broken chunk": Clip([raw(head(200, {"transfer-encoding": "chunked"}), b"5\r\nabc\r\nzz"), clip()], True, 2),
    "truncated at every attempt": Clip([cut(etag=ETAG), rest(upto=10)], False, 5),
    "a hang at every attempt": Clip([hang], False, 5),
    "an empty body": Clip([clip(b"")], False, 1),
    "an empty body without a length": Clip([raw(head(200, {"content-type": "video/mp4"}))], False, 1),
    "an HTML page": Clip([answer(200, b"<html>", say="text/html; charset=utf-8")], False, 1),
    "JSON": Clip([answer(200, {"error": "no"})], False, 1),
    "problem+json": Clip([answer(200, {}, say="application/problem+json")], False, 1),
    "compressed": Clip([clip(content_encoding="gzip")], False, 1),
    "400": Clip([answer(400, {})], False),
    "204": Clip([raw(b"HTTP/1.1 204 No Content\r\n\r\n")], False, 1),
    "403 at every attempt": Clip([answer(403, {})], False),
    "404 and no fresh URL": Clip([answer(404, {})], False),
    "a redirect to file:": Clip([answer(302, b"", location="file:///etc/passwd")], False, 1),
    "a redirect to an invalid URL": Clip([answer(302, b"", location="http://[::bad")], False),
    "endless redirects": Clip([answer(302, b"", location="/again")], False, 6),
    "five redirects": Clip([*[answer(302, b"", location="/again")] * 5, clip()], True, 6),
    "a redirect without a location": Clip([answer(302, b"")], False, 1),
}  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("kind", TABLE_KINDS)
@pytest.mark.parametrize("name", CLIPS)
def test_one_clip(tmp_path: Path, kind: str, name: str) -> None:
    """Each download saves the whole clip or no file, after the expected requests and without the key."""
    row = CLIPS[name]

    with FaultServer(row.plays) as server:
        call = Caller(kind, server.url)
        task = Task.from_payload(finished(f"{server.url}/1.mp4"))
        options = {"timeout": 0.3}
        if row.saved:
            (path,) = call("download", task, tmp_path, options=options)
            assert path.read_bytes() == row.body
        else:
            with pytest.raises(DownloadError) as caught:
                call("download", task, tmp_path, options=options)
            assert caught.value.saved == []
            assert KEY not in str(caught.value)

    assert [path.name for path in tmp_path.iterdir()] == (["t.mp4"] if row.saved else [])
    assert row.requests is None or len(server.heads) == row.requests
    assert not any(
        exchange.header("authorization") or exchange.header("cookie")
        for exchange in server.heads
        if "/v1/" not in exchange.path
    )


BEGINNINGS: dict[str, tuple[bytes, bool | None]] = {
    # Bytes, and whether they are a clip: None leaves it to the content type.
    "mp4": (b"\0\0\0\x20ftypisom", True),
    "mov": (b"\0\0\0\x14ftypqt  ", True),
    "an old mov": (b"\0\0\0\x6cmoov", True),
    "webm": (b"\x1aE\xdf\xa3", True),
    "avi": (b"RIFF\0\0\0\0AVI ", True),
    "jpeg": (b"\xff\xd8\xff\xe0", True),
    "png": (b"\x89PNG\r\n\x1a\n", True),
    "gif": (b"GIF89a", True),
    "webp": (b"RIFF\0\0\0\0WEBP", True),
    "other bytes": (bytes(range(256)), None),
    "an XML error": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", False),
    "HTML": (b"\xef\xbb\xbf\r\n <!doctype html><html>", False),
    "HTML in UTF-16": ("\ufeff<html>".encode("utf-16-le"), False),
    "JSON": (b' {"code": 403}', False),
    "short text": (b"the file has expired, ask for it again..", False),
    "long text": ("\u6587\u4ef6\u5df2\u8fc7\u671f\r\n".encode() * 99, False),
    "markup before other bytes": (b"<\0\0", False),
    "a text whose second word is the name of a box": (b"Get free credits to watch this clip", False),
    "HTML with the name of a box": (b"<p> free of charge</p>", False),
    "a large box of pictures": (b"mmmmmdat", True),
}
KINDS_OF_CONTENT = {"video/mp4": True, "application/octet-stream": True, "": True, "image/png": True, "binary": True,
                    "application/json": False, "text/html; charset=utf-8": False, "text/plain": False,
                    "application/xml": False, "application/problem+json": False}  # fmt: skip


@pytest.mark.parametrize("say", KINDS_OF_CONTENT)
@pytest.mark.parametrize("begins", BEGINNINGS)
def test_content_decides_before_the_content_type(tmp_path: Path, begins: str, say: str) -> None:
    """What begins as a clip is one, what is text is none, and only for other bytes the content type counts."""
    body, is_clip = BEGINNINGS[begins]

    with FaultServer([answer(200, body, say=say)]) as server:
        task = Task.from_payload(finished(f"{server.url}/1.mp4"))
        if KINDS_OF_CONTENT[say] if is_clip is None else is_clip:
            (path,) = Caller("sync", server.url)("download", task, tmp_path)
            assert path.read_bytes() == body
        else:
            with pytest.raises(DownloadError, match="not a clip"):
                Caller("sync", server.url)("download", task, tmp_path)
            assert list(tmp_path.iterdir()) == []
    assert len(server.heads) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_timeout_does_not_limit_a_whole_download(tmp_path: Path, kind: str) -> None:
    """`timeout` limits the pause between two chunks, not the whole download."""
    first = head(200, {"content-type": "video/mp4", "content-length": "12"})

    with FaultServer([drip(first, b"\0", 0.06)]) as server:
        task = Task.from_payload(finished(f"{server.url}/1.mp4"))
        (path,) = Caller(kind, server.url)("download", task, tmp_path, options={"timeout": 0.3})

    assert path.read_bytes() == bytes(12)


@pytest.mark.parametrize("kind", KINDS)
def test_retry_attempts_limits_a_whole_download(tmp_path: Path, kind: str) -> None:
    """A file never gets more attempts than `Retry.attempts`, not even after some bytes or a fresh URL."""
    script = [cut(etag=ETAG), answer(403, {}), answer(200, finished("{url}/2.mp4")), raw(reset=True)]

    with FaultServer(script) as server:
        fresh = finished(f"{server.url}/2.mp4")
        server.script[2] = answer(200, fresh)
        task = Task.from_payload(finished(f"{server.url}/1.mp4"))
        with pytest.raises(DownloadError):
            Caller(kind, server.url)("download", task, tmp_path, options={"retry": Retry(attempts=4, backoff=0)})

    assert [exchange.path for exchange in server.heads].count("/2.mp4") == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("api", [answer(404, {}), answer(200, {"id": "t", "state": "running"}), None])
def test_an_expired_url_without_a_fresh_one_is_an_error(tmp_path: Path, kind: str, api: Play | None) -> None:
    """If the API has no fresh URL for an expired one, the error says so."""

    async def play(exchange: Exchange) -> bool | None:
        same = answer(200, finished(f"{server.url}/1.mp4"))
        return await ((api or same) if exchange.path.startswith("/v1/") else answer(410, {}))(exchange)

    with FaultServer([play]) as server, pytest.raises(DownloadError, match=r"no (fresh|other) URL") as caught:
        Caller(kind, server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path)

    assert caught.value.is_transient is ("no other URL" in str(caught.value))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("api", [answer(502, {}), answer(429, {}), raw(reset=True)])
def test_an_api_that_is_down_for_a_moment_makes_a_transient_error(tmp_path: Path, kind: str, api: Play) -> None:
    """A queue that tries again what is transient does not lose a clip that was paid for."""

    async def play(exchange: Exchange) -> bool | None:
        return await (api if exchange.path.startswith("/v1/") else answer(403, {}))(exchange)

    with FaultServer([play]) as server, pytest.raises(DownloadError, match="no fresh URL") as caught:
        Caller(kind, server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path)

    assert caught.value.is_transient


@pytest.mark.parametrize("kind", KINDS)
def test_urls_that_stay_refused_end_with_the_attempts(tmp_path: Path, kind: str) -> None:
    """If each fresh URL is refused, too, the download fails after `Retry.attempts`."""

    async def play(exchange: Exchange) -> bool | None:
        fresh = answer(200, finished(f"{server.url}/2.mp4"))
        return await (fresh if exchange.path.startswith("/v1/") else answer(403, {}))(exchange)

    with FaultServer([play]) as server, pytest.raises(DownloadError, match="status 403"):
        Caller(kind, server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path)

    clips = [exchange.path for exchange in server.heads if not exchange.path.startswith("/v1/")]
    assert clips == ["/1.mp4", *["/2.mp4"] * 4]


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_clip_without_a_length_is_saved_with_a_warning(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nothing tells the length, a clip that is cut off cannot be known, which the log says."""
    cut_off = raw(head(200, {"content-type": "video/mp4"}), CLIP[:999])

    with FaultServer([cut_off]) as server:
        Caller(kind, server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path)

    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "t.mp4 comes without its length, so a clip that is cut off looks complete"
    ]


def test_a_long_retry_after_of_a_clip_is_told(tmp_path: Path) -> None:
    """A download that the server asks to wait too long for says so, as a call does."""
    with FaultServer([answer(429, {}, retry_after="90")]) as server, pytest.raises(DownloadError) as caught:
        Caller("sync", server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path)

    assert "status 429; asked to wait 90 s, more than max_retry_after (60 s)" in str(caught.value)


def test_a_redirect_from_https_to_http_is_an_error(
    tmp_path: Path, trusted: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect from https to http, and an untrusted certificate, end the download."""
    downgrade = answer(302, b"", location="http://127.0.0.1:1/clip.mp4")

    with FaultServer([downgrade], tls=trusted.server("127.0.0.1")) as server:
        with pytest.raises(DownloadError, match="from https to http"):
            Caller("sync", server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path / "new")
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(DownloadError, match=r"(?i)certificate"):
            Caller("sync", server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path / "new")

    assert server.connections == 2


def test_a_download_over_http_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download over http from another machine logs one WARNING for all its attempts."""
    with FaultServer([clip(), answer(503, {}), clip()]) as server:
        Caller("sync", server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path)
        assert not any("over http" in record.getMessage() for record in caplog.records)
        monkeypatch.setenv("http_proxy", server.url)
        task = Task.from_payload(finished("http://clips.example/2.mp4"))
        Caller("sync", server.url)("download", task, tmp_path, if_exists="replace")

    assert [r.levelno for r in caplog.records if "over http" in r.getMessage()] == [logging.WARNING]


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "//host/a.mp4", "nonsense", "http://", "http://[::bad", "http://127.0.0.1:99999/"]
)
def test_an_invalid_url_is_an_error(tmp_path: Path, url: str) -> None:
    """An invalid URL, or one that is not http or https, raises `DownloadError` and leaves no file."""
    with pytest.raises(DownloadError, match="URL"):
        Caller("sync", "http://127.0.0.1:1")("download", Task.from_payload(finished(url)), tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("written", ["/a%2Fb.mp4?sig=a%2fb%3D'|{}", "/a b.mp4?q=ü", "?only=query", "/%zz#fragment"])
def test_a_signed_url_is_sent_unchanged(tmp_path: Path, kind: str, written: str) -> None:
    """A URL is sent unchanged, also after a redirect, and only characters that cannot be sent are quoted."""
    with FaultServer([clip()]) as server:
        server.script.insert(0, answer(302, b"", location=f"{server.url}{written}".encode().decode("latin-1")))
        (path,) = Caller(kind, server.url)("download", Task.from_payload(finished(f"{server.url}{written}")), tmp_path)

    sent = [exchange.path for exchange in server.heads]
    plain = written.isascii() and " " not in written and written.startswith("/")

    assert path.read_bytes() == CLIP
    assert not plain or sent == [written.partition("#")[0]] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_in_on_progress_ends_the_download(tmp_path: Path, kind: str) -> None:
    """A callback that raises ends the download with its own error, and no file is left."""

    def fail(_done: int, _total: int | None) -> None:
        raise ZeroDivisionError

    with FaultServer([clip()]) as server, pytest.raises(ZeroDivisionError):
        Caller(kind, server.url)(
            "download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path, on_progress=fail
        )

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_download_leaves_no_file(tmp_path: Path, backend: str) -> None:
    """A download that is cancelled in the middle of a clip leaves the folder unchanged."""

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url) as client:
            with anyio.move_on_after(0.3) as scope:
                await client.download(Task.from_payload(finished(f"{url}/1.mp4")), tmp_path)
            assert scope.cancelled_caught

    with FaultServer([then_hang(head(200, {"content-length": "99"}), b"x")]) as server:
        anyio.run(main, server.url, backend=backend)

    assert list(tmp_path.iterdir()) == []


DISK = "asyncio"  # so the threads of an event loop are called


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("how", ["scope", "task"])
@pytest.mark.parametrize("what", ["download", "stream", "get_task"])
@pytest.mark.parametrize("own", [False, True])
def test_what_is_cancelled_at_any_moment_leaves_no_connection(
    tmp_path: Path, backend: str, how: str, what: str, *, own: bool
) -> None:
    """Wherever a cancellation strikes, anyio's or asyncio's own, nothing is left of the call, in our lanes or in a pool."""
    if backend == "trio" and how == "task":
        how = "scope"

    async def play(exchange: Exchange) -> bool | None:
        if "/v1/" in exchange.path:
            url = f"http://{exchange.header('host')}/2.mp4"
            return await answer(200, finished(url))(exchange)
        return await clip()(exchange)

    async def call(client: AsyncDuomi, url: str, number: int) -> None:
        task = Task.from_payload(finished(f"{url}/1.mp4", task_id=f"t{number}"))
        if what == "get_task":
            await client.get_task("t")
        elif what == "download":
            await client.download(task, tmp_path)
        else:
            async with client.stream(task) as stream:
                async for _ in stream:
                    await anyio.lowlevel.checkpoint()

    async def main(url: str) -> None:
        limits = httpx.Limits(max_connections=2)
        async with (
            httpx.AsyncClient(limits=limits) as http_client,
            AsyncDuomi(KEY, base_url=url, http_client=http_client if own else None) as client,
        ):
            for number in range(60):
                seconds = number / 4_000
                if how == "scope":
                    with anyio.move_on_after(seconds):
                        await call(client, url, number)
                else:
                    calling = asyncio.ensure_future(call(client, url, number))
                    await asyncio.sleep(seconds)
                    calling.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await calling
            with anyio.fail_after(20):
                assert (await client.get_task("t")).is_finished
                assert len(await client.download(await client.get_task("t"), tmp_path / "last")) == 1
            assert not client._driver.lanes._active

    with FaultServer([play]) as server:
        anyio.run(main, server.url, backend=backend)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


@pytest.mark.parametrize("task_id", ["\ud800", "x" * 100_000, "..", " ", KEY, "a\nb"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_invalid_id_is_rejected_before_a_clip_is_asked_for(tmp_path: Path, kind: str, task_id: str) -> None:
    """The API may be asked for a fresh URL, so the id of a task is checked before the first request."""
    with FaultServer([answer(403, b"")]) as server:
        task = Task.from_payload(finished(f"{server.url}/1.mp4", task_id="t"), task_id=task_id)
        with pytest.raises(ConfigurationError):
            Caller(kind, server.url)("download", task, tmp_path)

        assert server.heads == []


STEPS = {
    "the part is made": (Path, "open"),
    "it is written to the disk": (os, "fsync"),
    "it takes its name": (os, "link"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_download_cancelled_while_the_disk_works_leaves_no_part(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio's own cancellation does not wait for the thread of the disk; no part is left, and no half of a clip."""
    owner, name = STEPS[step]
    work, discard = getattr(owner, name), PartFile.discard
    discarding = threading.Event()
    cancel: list[Callable[[], object]] = []

    def slow_work(*args: Any, **named: Any) -> Any:
        result = work(*args, **named)
        if cancel and threading.current_thread().name.startswith(DISK):
            cancel.pop()()
            assert discarding.wait(20)
        return result

    def watched_discard(part: PartFile) -> None:
        discarding.set()
        discard(part)

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url) as client:
            saving = asyncio.ensure_future(client.download(Task.from_payload(finished(f"{url}/1.mp4")), tmp_path))
            cancel.append(partial(asyncio.get_running_loop().call_soon_threadsafe, saving.cancel))
            with pytest.raises(asyncio.CancelledError):
                await saving

    monkeypatch.setattr(owner, name, slow_work)
    monkeypatch.setattr(PartFile, "discard", watched_discard)
    with FaultServer([clip()]) as server:
        asyncio.run(main(server.url))

    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert left == ({"t.mp4": CLIP} if step == "it takes its name" else {})


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_while_the_part_is_made_leaves_no_part(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is discarded also if the interrupt came before anyone knew of it."""
    make = Path.open

    def interrupted(path: Path, *args: Any) -> Any:
        make(path, *args).close()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "open", interrupted)
    with FaultServer([clip()]) as server, pytest.raises(KeyboardInterrupt):
        Caller(kind, server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_cannot_be_taken_is_given_back(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without hard links the name is claimed with an empty file, which does not stay if the clip cannot follow."""

    def fail(_part: Path, _path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.delattr("os.link")
    monkeypatch.setattr(Path, "replace", fail)
    with FaultServer([clip()]) as server, pytest.raises(DownloadError, match="Input/output error"):
        Caller(kind, server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_that_cannot_be_written_is_a_download_error(tmp_path: Path, kind: str) -> None:
    """A file in place of the folder, and a folder in place of the file, raise `DownloadError`."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "t.mp4").mkdir()
    task = Task.from_payload(finished("http://127.0.0.1:1/1.mp4"))

    for folder in (tmp_path / "file", tmp_path / "file/inner", tmp_path):
        with pytest.raises(DownloadError):
            Caller(kind, "http://127.0.0.1:1")("download", task, folder)
    with FaultServer([clip()]) as server, pytest.raises(DownloadError):
        Caller(kind, server.url)(
            "download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path, if_exists="replace"
        )

    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "t.mp4"]


FULL = """
import resource, signal, sys
import duomi
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
task = duomi.Task.from_payload({"id": "t", "state": "succeeded", "data": {"videos": [{"url": sys.argv[1] + "/1.mp4"}]}})
with duomi.Duomi("key", base_url=sys.argv[1]) as client:
    try:
        client.download(task, sys.argv[2])
    except duomi.DownloadError as error:
        print(error)
"""


def test_a_failed_write_is_a_download_error(tmp_path: Path) -> None:
    """If the system rejects a write, the download raises `DownloadError` and leaves no file."""
    with FaultServer([clip()]) as server:
        command = [sys.executable, "-c", FULL, server.url, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)

    assert "cannot write" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_download_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If fsync finds no space left, the error says so and no file is left."""

    def full(_number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with FaultServer([clip()]) as server, pytest.raises(DownloadError, match="no space is left"):
        Caller("sync", server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_file_created_during_a_download_is_not_overwritten(tmp_path: Path) -> None:
    """A file that another program creates during the download stays."""

    def appear(_done: int, _total: int | None) -> None:
        (tmp_path / "t.mp4").write_text("mine")

    with FaultServer([clip()]) as server, pytest.raises(DownloadError, match="already exists"):
        Caller("sync", server.url)(
            "download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path, on_progress=appear
        )

    assert (tmp_path / "t.mp4").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_cookies_of_a_clip_server_are_not_sent(tmp_path: Path) -> None:
    """A cookie that a clip's server sets is not sent back, not even after a redirect."""
    moved = answer(302, b"", location="/2.mp4", set_cookie="a=b; Path=/")

    with FaultServer([moved, clip()]) as server:
        Caller("sync", server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path)

    assert [exchange.header("cookie") for exchange in server.heads] == [None, None]


PEAK = """
import resource, sys
import duomi
task = duomi.Task.from_payload({"id": "t", "state": "succeeded", "data": {"videos": [{"url": sys.argv[1] + "/1.mp4"}]}})
with duomi.Duomi("key", base_url=sys.argv[1]) as client:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    client.download(task, sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_clip_does_not_fill_the_memory(tmp_path: Path) -> None:
    """A download of 100 MB needs less than 30 MB of memory."""
    size = 100 * 2**20

    async def big(exchange: Exchange) -> bool:
        await exchange.send(head(200, {"content-type": "video/mp4", "content-length": str(size)}))
        for _ in range(100):
            await exchange.send(bytes(2**20))
        return True

    with FaultServer([big]) as server:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, server.url, str(tmp_path)], capture_output=True, text=True, check=True
        )

    assert (tmp_path / "t.mp4").stat().st_size == size
    assert int(done.stdout) < 30 * 1024


def test_a_refused_connection_to_a_clip_server_is_a_download_error(tmp_path: Path) -> None:
    """A refused connection is retried, and then raises `DownloadError` with its cause."""
    with Duomi(KEY, base_url="http://127.0.0.1:1", retry=Retry(attempts=2, backoff=0)) as client:
        with pytest.raises(DownloadError) as caught:
            client.download(Task.from_payload(finished("http://127.0.0.1:1/1.mp4")), tmp_path)
        with pytest.raises(APIConnectionError):
            client.get_task("t")

    assert caught.value.__cause__ is not None


def feed(folder: Path, heads: Sequence[Any]) -> None:
    """Feed the flow of a download with response heads."""
    task = Task.from_payload(finished("http://127.0.0.1:1/1.mp4"))
    runtime = Runtime(lambda: 0.0, lambda: 0.5)
    urls = Urls(task, lambda: iter(()))  # type: ignore[arg-type, return-value]
    flow = save_flow(task, Target(Folder(folder)), urls, runtime, Retry())
    effect = next(flow)
    for each in heads:
        while isinstance(effect, Disk):
            effect.action()
            effect = flow.send(None)
        effect = flow.send(each)


def test_a_redirect_to_an_invalid_url_is_an_error(tmp_path: Path) -> None:
    """The flow of a download rejects an invalid location, also without httpx."""
    with pytest.raises(DownloadError, match="leads to an invalid URL"):
        feed(tmp_path, [Head(302, httpx.Headers({"location": "http://[::bad"}))])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_a_folder_is_an_error_before_a_request(tmp_path: Path, kind: str) -> None:
    """If there is a file in the place of the folder, the download fails before any request."""
    (tmp_path / "a").write_bytes(b"")

    for place in ("a", "a/b"):
        with FaultServer([clip()]) as server, pytest.raises(DownloadError, match="cannot be a folder") as caught:
            Caller(kind, server.url)("download", Task.from_payload(finished(f"{server.url}/1.mp4")), tmp_path / place)
        assert server.connections == 0
        assert caught.value.path == tmp_path / place

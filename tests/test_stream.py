"""A clip as a stream: every byte once and in order, or an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio
import boto3
import pytest
from botocore.config import Config
from duomi import AsyncClip, AsyncDuomi, Clip, ConfigurationError, DownloadError, Duomi, DuomiError, Task
from faults import Exchange, FaultServer, Play, answer, hang, head, raw, then_hang
from harness import KEY, QUICK, TABLE_KINDS
from moto.server import ThreadedMotoServer
from object_store import to_bucket, to_signed_url
from test_download_faults import CLIP, ETAG, HALF, OTHER, clip, cut, finished, part, rest

KINDS = ["sync", "asyncio", "trio"]
Read = Callable[[Any], Any]


def task_at(url: str, *more: str) -> Task:
    return Task.from_payload(finished(f"{url}/1.mp4", *more))


def streamed(kind: str, url: str, *, timeout: float = 0.3) -> bytes:
    """Return all bytes of a stream."""
    if kind == "sync":
        with Duomi(KEY, base_url=url, retry=QUICK, timeout=timeout) as client, client.stream(task_at(url)) as found:
            return b"".join(found)

    async def main() -> bytes:
        async with (
            AsyncDuomi(KEY, base_url=url, retry=QUICK, timeout=timeout) as client,
            client.stream(task_at(url)) as found,
        ):
            return b"".join([chunk async for chunk in found])

    return anyio.run(main, backend=kind)


STREAMS: dict[str, tuple[list[Play], bytes | str, int]] = {
    # What the server plays, the bytes that come out or a word of the error, and the requests.
    "whole": ([clip()], CLIP, 1),
    "without a length": ([raw(head(200, {"content-type": "video/mp4"}), CLIP)], CLIP, 1),
    "a short one": ([clip(CLIP[:300])], CLIP[:300], 1),
    "resumed": ([cut(etag=ETAG), rest()], CLIP, 2),
    "resumed twice": ([cut(etag=ETAG), rest(upto=9_000), rest()], CLIP, 3),
    "begun again": ([cut(), clip()], CLIP, 2),
    "begun again twice": ([cut(), cut(HALF // 2), clip()], CLIP, 3),
    "a hang, then begun again": ([then_hang(head(200, {"content-length": str(len(CLIP))}), CLIP[:9_000]), clip()], CLIP, 2),
    "broken off before it is known to be a clip": ([cut(99), clip(OTHER)], OTHER, 2),
    "another file, told by its ETag": ([cut(etag=ETAG), rest(OTHER, etag='"two"')], "another one", 2),
    "another file, told by its bytes": ([cut(), clip(OTHER)], "another one", 2),
    "a shorter file": ([cut(), clip(CLIP[: HALF // 2])], "another one", 2),
    "a range that was not asked for": ([cut(), part(HALF, HALF + 9, len(CLIP)), clip()], CLIP, 3),
    "a hang at every attempt": ([hang], "nothing came in time", 5),
    "a page": ([answer(200, b"<html>", say="text/html")], "not a clip", 1),
    "an empty one": ([clip(b"")], "empty", 1),
    "400": ([answer(400, {})], "400", 0),
}  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("kind", TABLE_KINDS)
@pytest.mark.parametrize("name", STREAMS)
def test_one_stream(kind: str, name: str) -> None:
    """A stream hands out each byte once, or raises `DownloadError`."""
    plays, expected, requests = STREAMS[name]

    with FaultServer(plays) as server:
        if isinstance(expected, bytes):
            assert streamed(kind, server.url) == expected
        else:
            with pytest.raises(DownloadError, match=expected) as caught:
                streamed(kind, server.url)
            assert caught.value.url == f"{server.url}/1.mp4"
            assert caught.value.path is None

    assert not requests or len(server.heads) == requests
    assert not any(each.header("authorization") for each in server.heads if "/v1/" not in each.path)


def test_a_stream_is_read_like_a_file() -> None:
    """`read` returns exactly as many bytes as asked for, and fewer only at the end."""
    with FaultServer([clip(etag=ETAG)]) as server, Duomi(KEY, base_url=server.url) as client:
        with client.stream(task_at(server.url)) as found:
            assert (found.size, found.content_type, found.url) == (len(CLIP), "video/mp4", f"{server.url}/1.mp4")
            pieces = [found.read(7), found.read(0), next(found), found.read(100_000), found.read()]
            assert (found.read(9), found.read(), list(found)) == (b"", b"", [])

        with client.stream(task_at(server.url)) as found:
            fixed = [*iter(partial(found.read, 65_536), b"")]

    assert b"".join(pieces) == CLIP
    assert (len(pieces[0]), len(pieces[1]), len(pieces[3])) == (7, 0, 100_000)
    assert {len(piece) for piece in fixed[:-1]} == {65_536}
    assert b"".join(fixed) == CLIP


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_an_async_stream_is_read_like_a_file(kind: str) -> None:
    """The async `read` is the same."""

    async def main(url: str) -> list[bytes]:
        async with AsyncDuomi(KEY, base_url=url) as client, client.stream(task_at(url)) as found:
            assert found.size == len(CLIP)
            return [
                await found.read(7),
                await anext(found),
                await found.read(9),
                await found.read(),
                await found.read(),
            ]

    with FaultServer([clip()]) as server:
        pieces = anyio.run(main, server.url, backend=kind)

    assert b"".join(pieces) == CLIP
    assert (len(pieces[0]), len(pieces[2]), pieces[4]) == (7, 9, b"")


def test_the_index_chooses_the_clip() -> None:
    """`index` counts the clips of a task from 0, and what is no index sends nothing."""
    with FaultServer([clip()]) as server, Duomi(KEY, base_url=server.url) as client:
        task = task_at(server.url, f"{server.url}/2.mp4")
        with client.stream(task, index=1) as found:
            found.read()
        wrong: Any
        for wrong in (2, -1, True, "0", 1.0, None):
            with pytest.raises(ConfigurationError, match="from 0 to 1"):
                client.stream(task, index=wrong)
        for state in ("running", "error", "succeeded"):
            with pytest.raises(DownloadError):
                client.stream(Task.from_payload({"id": "t", "state": state}))

    assert [exchange.path for exchange in server.heads] == ["/2.mp4"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_is_left_is_closed(kind: str) -> None:
    """After the block nothing can be read, and no connection is left; a partial read is no end of the clip."""

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url) as client:
            async with client.stream(task_at(url)) as found:
                await found.read(9)
            assert not client._driver.lanes.all()()
            with pytest.raises(ConfigurationError, match="closed"):
                await found.read()

    with FaultServer([clip()]) as server:
        if kind == "sync":
            with Duomi(KEY, base_url=server.url) as client:
                with client.stream(task_at(server.url)) as found:
                    found.read(9)
                assert not client._driver.lanes.all()()
                with pytest.raises(ConfigurationError, match="closed"):
                    found.read()
        else:
            anyio.run(main, server.url, backend=kind)


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_a_cancelled_read_ends_the_stream(kind: str) -> None:
    """Bytes may be lost with a read that is cancelled, so the next one is an error and no shorter clip."""

    async def main(url: str) -> None:
        async with AsyncDuomi(KEY, base_url=url) as client, client.stream(task_at(url)) as found:
            with anyio.move_on_after(0.2) as scope:
                await found.read()
            assert scope.cancelled_caught
            with pytest.raises(DuomiError):
                await found.read()

    with FaultServer([then_hang(head(200, {"content-length": str(len(CLIP))}), CLIP[:9_000])]) as server:
        anyio.run(main, server.url, backend=kind)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", aws_access_key_id="a",
        aws_secret_access_key="b", config=Config(s3={"addressing_style": "path"}),
    )  # fmt: skip
    client.create_bucket(Bucket="clips")
    yield client
    client.close()
    server.stop()


@pytest.mark.slow
def test_a_stream_goes_to_an_object_store(s3: Any) -> None:
    """boto3 uploads a stream in several parts, also if it breaks off, and httpx puts one to a signed URL."""
    large = CLIP * 20
    signed = s3.generate_presigned_url("put_object", Params={"Bucket": "clips", "Key": "put.mp4"})

    with FaultServer([cut(etag=ETAG), rest()]) as server, Duomi(KEY, base_url=server.url, retry=QUICK) as client:
        assert to_bucket(client, task_at(server.url), "clips", s3) == "t.mp4"
        one = s3.get_object(Bucket="clips", Key="t.mp4")
        server.script = [clip(large)]
        to_bucket(client, task_at(server.url), "clips", s3)
        to_signed_url(client, task_at(server.url), signed)

    stored = [s3.get_object(Bucket="clips", Key=name)["Body"].read() for name in ("t.mp4", "put.mp4")]
    assert (one["Body"].read(), one["ContentType"]) == (CLIP, "video/mp4")
    assert stored == [large, large]


def test_streams_are_public() -> None:
    """The classes of a stream can be named."""
    assert (Clip.__module__, AsyncClip.__module__) == ("duomi", "duomi")


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_asks_for_a_fresh_url(kind: str) -> None:
    """A signed URL that is over is replaced in the middle of a stream, too."""

    async def api(exchange: Exchange) -> bool | None:
        return await answer(200, finished(f"http://{exchange.header('host')}/1.mp4?sig=new"))(exchange)

    with FaultServer([answer(403, {}), api, cut(etag=ETAG), answer(401, {}), api, rest()]) as server:
        assert streamed(kind, server.url) == CLIP

    assert [each.path for each in server.heads][2::2] == ["/1.mp4?sig=new", "/v1/videos/tasks/t"]


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_closed_stream_hands_out_nothing(kind: str) -> None:
    """What was received and not read is gone with the stream, and an invalid size is rejected."""
    task = Task.from_payload({"id": "t", "state": "succeeded", "data": {"videos": [{"url": "URL"}]}} | {"message": ""})
    with FaultServer([clip()]) as server:
        task = Task.from_payload({**task.raw, "data": {"videos": [{"url": f"{server.url}/1.mp4"}]}})

        async def read() -> None:
            async with AsyncDuomi(KEY, base_url=server.url) as client, client.stream(task) as stream:
                assert await stream.read(3) == CLIP[:3]
                with pytest.raises(ConfigurationError, match="an int, not str"):
                    await stream.read("3")  # type: ignore[arg-type]
                assert await stream.read(None) == CLIP[3:]
                await stream.aclose()
                with pytest.raises(ConfigurationError, match="the clip is closed"):
                    await stream.read(1)

        if kind == "asyncio":
            anyio.run(read)
            return
        with Duomi(KEY, base_url=server.url) as client, client.stream(task) as stream:
            assert stream.read(3) == CLIP[:3]
            with pytest.raises(ConfigurationError, match="an int, not str"):
                stream.read("3")  # type: ignore[arg-type]
            stream.close()
            with pytest.raises(ConfigurationError, match="the clip is closed"):
                stream.read(1)

"""A server that answers any bytes never causes an error that is not a `DuomiError`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from duomi import AsyncDuomi, Duomi, DuomiError, Retry, Task
from faults import FaultServer, Play, raw
from harness import KEY, payload
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BODY = json.dumps(payload("succeeded")).encode()
ONCE = Retry(attempts=1)
STATUS_LINES = st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 302 F", b"HTTP/1.1 429 T", b"HTTP/1.0 503 S", b"HTTP/1.1 206 P",
                                b"HTTP/1.1 403 N", b"HTTP/1.1 100 C", b"HTTP/2 200", b"HTTP/1.1 999 ?"])  # fmt: skip
NAMES = st.sampled_from([b"content-type", b"content-length", b"content-encoding", b"transfer-encoding", b"location", b"etag",
                         b"retry-after", b"set-cookie", b"content-range", b"connection", b"x-request-id"])  # fmt: skip
VALUES = st.binary(max_size=20) | st.sampled_from(
    [b"application/json", b"text/html", b"gzip", b"deflate", b"chunked", b"5", b"99", b"-1", b"identity", b"a=b; expires=x",
     b"http://[", b"/x", b"bytes 0-4/5", b'"e"', b"close", b"nan", b"Wed, 21 Oct 2015 07:28:00 GMT"]
)  # fmt: skip
HEADS = st.builds(
    lambda line, fields: b"\r\n".join([line, *(name + b": " + value for name, value in fields), b"", b""]),
    STATUS_LINES, st.lists(st.tuples(NAMES, VALUES), max_size=4),
)  # fmt: skip
BODIES = st.binary(max_size=60) | st.builds(
    lambda cut, more: BODY[:cut] + more, st.integers(0, len(BODY)), st.binary(max_size=5)
)
ANSWERS = st.binary(max_size=120) | st.builds(lambda head, body: head + body, HEADS, BODIES)
FUZZ = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[FaultServer]:
    with FaultServer([raw()]) as server:
        yield server


def connected(server: FaultServer) -> Duomi:
    """Make a client for one example: a 429 slows down all further calls of its client."""
    return Duomi(KEY, base_url=server.url, retry=ONCE, timeout=2.0)


def play(server: FaultServer, answer: bytes) -> None:
    plays: list[Play] = [raw(answer)]
    server.script = plays


@given(ANSWERS)
@FUZZ
def test_any_answer_to_a_call_is_a_task_or_a_duomi_error(fuzzed: FaultServer, answer: bytes) -> None:
    """A call returns a task or raises `DuomiError`, for any bytes of the server."""
    play(fuzzed, answer)

    with connected(fuzzed) as client, contextlib.suppress(DuomiError):
        assert isinstance(client.get_task("t"), Task)


@given(st.lists(ANSWERS, min_size=10, max_size=10))
@settings(FUZZ, max_examples=25)
def test_any_answer_to_an_asyncio_call_is_a_task_or_a_duomi_error(fuzzed: FaultServer, answers: list[bytes]) -> None:
    """An asyncio call returns a task or raises `DuomiError`, for any bytes of the server."""

    async def main() -> None:
        for answer in answers:
            play(fuzzed, answer)
            async with AsyncDuomi(KEY, base_url=fuzzed.url, retry=ONCE, timeout=2.0) as client:
                with contextlib.suppress(DuomiError):
                    assert isinstance(await client.get_task("t"), Task)

    asyncio.run(main())


@given(ANSWERS)
@FUZZ
def test_any_answer_to_a_download_is_a_file_or_a_duomi_error(fuzzed: FaultServer, answer: bytes) -> None:
    """A download saves a file, or raises `DuomiError` and leaves the folder empty."""
    play(fuzzed, answer)
    task = Task.from_payload({"id": "t", "state": "succeeded", "data": {"videos": [{"url": f"{fuzzed.url}/1.mp4"}]}})

    with tempfile.TemporaryDirectory() as folder, connected(fuzzed) as client:
        try:
            paths = client.download(task, folder)
        except DuomiError:
            paths = []
        assert [path.name for path in Path(folder).iterdir()] == [path.name for path in paths]


@given(st.text(max_size=40))
@FUZZ
def test_any_clip_url_is_a_file_or_a_duomi_error(fuzzed: FaultServer, text: str) -> None:
    """A download from any URL saves a file or raises `DuomiError`."""
    play(fuzzed, b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")
    urls = [f"{fuzzed.url}/{text}", f"{fuzzed.url}?{text}"]
    task = Task.from_payload({"id": "t", "state": "succeeded", "data": {"videos": [{"url": url} for url in urls]}})

    with tempfile.TemporaryDirectory() as folder, connected(fuzzed) as client, contextlib.suppress(DuomiError):
        client.download(task, folder)

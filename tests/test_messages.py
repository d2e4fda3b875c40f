"""What an error says: in plain words what happened, then the call and what the vendor said; nothing that must stay inside."""

from __future__ import annotations

import pickle
import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from duomi import APIConnectionError, DownloadError, Duomi, DuomiError, Polling, Retry, Task
from faults import FaultServer, Play, answer, drip, hang, head, raw
from harness import KEY, Caller, payload

KINDS = ["sync", "asyncio", "trio"]
NOT_IN_ANY = (
    r"0x[0-9a-f]{6}",
    r"scope",
    r"\[Errno",
    r"object at",
    "Traceback",
    "httpx",
    "httpcore",
    "anyio",
    KEY,
    r"\?",
)
ONCE = Retry(attempts=1)
RUNNING = payload("running")

Situation = tuple[list[Play], Sequence[str], bool, dict[str, Any]]

# What the server plays; the words that the message must have, in this order; whether asking again may help; options.
GET: dict[str, Situation] = {
    "401": ([answer(401, {"message": "bad key"})], ["the key is refused", "GET /v1/videos/tasks/x", "401", "bad key"], False, {}),
    "403": ([answer(403, {"msg": "no credit"})], ["not allowed", "GET", "403", "no credit"], False, {}),
    "403 of a firewall": ([answer(403, b"<html>", say="text/html")], ["not allowed", "403"], True, {}),
    "403 with a signed URL": ([answer(403, {"msg": "see HTTPS://c.example/it's.mp4?Signature=aa&sig=1"})], ["not allowed", "403: see HTTPS://c.example/it's.mp4"], False, {}),
    "404": ([answer(404, {"error": "gone"})], ["no such task: x", "GET /v1/videos/tasks/x", "404", "gone"], False, {}),
    "an envelope's 404": ([answer(200, {"code": 404, "msg": "none"})], ["no such task: x", "200 with code 404", "none"], False, {}),
    "429": ([answer(429, {})], ["rate limited", "429"], True, {}),
    "429 with a long Retry-After": ([answer(429, {}, retry_after="90")], ["rate limited", "asked to wait 90 s, more than max_retry_after (60 s)", "GET", "429"], True, {"retry": Retry()}),
    "503 with a long Retry-After": ([answer(503, {}, retry_after="90")], ["has failed", "asked to wait 90 s, more than max_retry_after (60 s)", "503"], True, {"retry": Retry()}),
    "500": ([answer(500, {"error": {"message": "oops"}})], ["127.0.0.1", "has failed", "500", "oops"], True, {}),
    "500 at every attempt": ([answer(500, {})], ["has failed, after 5 attempts; GET", "500"], True, {"retry": Retry(backoff=0)}),
    "304": ([answer(304, b"")], ["refused", "304"], True, {}),
    "302": ([answer(302, b"", location="https://elsewhere.example/?sig=1")], ["leads elsewhere", "302"], True, {}),
    "400": ([answer(400, {"message": "bad id"})], ["refused", "400", "bad id"], False, {}),
    "HTML": ([answer(200, b"<html>", say="text/html")], ["the answer is not JSON", "GET", "200, text/html"], True, {}),
    "no task": ([answer(200, {})], ["the answer is not a task", "GET"], True, {}),
    "an envelope of the vendor's own": ([answer(200, {"code": 1001, "msg": "no such id"})], ["the answer is not a task; GET", "application/json: no such id"], True, {}),
    "an error without a code": ([answer(200, {"error": {"message": "Invalid token"}})], ["the answer is not a task; GET", "application/json: Invalid token"], True, {}),
    "a deviation, strict": ([answer(200, RUNNING | {"id": "x", "progress": "x"})], ["deviates from the contract", "/progress", "GET"], False, {"strict": True}),
    "a hang": ([hang], ["no complete answer within 0.3 s from 127.0.0.1", "GET /v1/videos/tasks/x"], True, {"timeout": 0.3}),
    "a drip": ([drip(head(200, {"content-length": "99"}), b"x", 0.05)], ["no complete answer within 0.3 s from 127.0.0.1", "GET"], True, {"timeout": 0.3}),
    "a reset": ([raw(reset=True)], ["no answer from 127.0.0.1", "GET"], True, {}),
    "garbage": ([raw(b"\0\0\0\0\r\n\r\n")], ["no answer from 127.0.0.1", "GET"], True, {}),
}  # fmt: skip


def check(error: DuomiError, words: Sequence[str], is_transient: object) -> None:
    """Check a message, and that the error survives being sent elsewhere."""
    text = str(error)
    pattern = ".*".join(re.escape(word) for word in words)
    assert re.search(pattern, text), text
    assert text.isprintable(), text
    assert not [each for each in NOT_IN_ANY if re.search(each, text)], text
    assert error.is_transient is is_transient
    again = pickle.loads(pickle.dumps(error))
    assert again == type(error)(*error.args) == error
    assert again.is_transient == error.is_transient
    assert repr(error) == f"{type(error).__name__}({text!r})"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", GET)
def test_a_message_of_a_call(name: str, kind: str) -> None:
    """The message of a call that fails."""
    plays, words, is_transient, options = GET[name]

    with FaultServer(plays) as server, pytest.raises(DuomiError) as caught:
        Caller(kind, server.url)("get_task", "x", options={"retry": ONCE} | options)

    check(caught.value, words, is_transient)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_names_the_proxy(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy the message says which of the two did not answer, without the proxy's password."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        cases = {
            f"http://u:secret@127.0.0.1:{port}": [
                f"no answer from the proxy 127.0.0.1:{port}",
                "GET /v1/videos/tasks/x",
            ],
        }
        for proxy, words in cases.items():
            monkeypatch.setenv("https_proxy", proxy)
            with pytest.raises(APIConnectionError) as caught:
                Caller(kind, "https://duomi.example")("get_task", "x", options={"retry": ONCE})
            check(caught.value, words, True)
            assert "secret" not in str(caught.value)
    with FaultServer([answer(407, b"who?", say="text/plain")]) as refusing, FaultServer([hang]) as hanging:
        for server, words in (
            (refusing, [f"no answer from the proxy 127.0.0.1:{refusing.port}", "407"]),
            (
                hanging,
                [f"no complete answer within 0.3 s from duomi.example by way of the proxy 127.0.0.1:{hanging.port}"],
            ),
        ):
            monkeypatch.setenv("https_proxy", server.url)
            with pytest.raises(APIConnectionError) as caught:
                Caller(kind, "https://duomi.example")("get_task", "x", options={"retry": ONCE, "timeout": 0.3})
            check(caught.value, words, True)


WAITS: dict[str, tuple[Any, dict[str, Any], Sequence[str], bool]] = {
    "failed": ({"state": "error", "message": "no\ncats\x1b[2J"}, {}, ["task x failed: no cats"], False),
    "empty": ({"state": "succeeded", "data": {}}, {"timeout": 0.2}, ["task x: succeeded", "without a video"], False),
    "timed out": ({"state": "running", "progress": 5}, {"timeout": 0.1}, ["task x: not finished after 0.1 s", "running, 5%", "resume with `duomi wait x`"], True),
    "failed with a signed URL": ({"state": "error", "message": "no clip at https://c.example/1.mp4?sig=1"}, {}, ["task x failed: no clip at https://c.example/1.mp4"], False),
    "an odd state": ({"state": "run\nning\x1b[31m"}, {"timeout": 0.1}, ["task x: not finished", "run ning"], True),
    "stalled": ({"state": "running"}, {"polling": Polling(interval=0.05, stall=0.2)}, ["task x: no change", "0.2 s"], True),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WAITS)
def test_a_message_of_a_wait(name: str, kind: str) -> None:
    """The message of a wait that ends without a result."""
    body, options, words, is_transient = WAITS[name]

    with FaultServer([answer(200, {"id": "x"} | body)]) as server, pytest.raises(DuomiError) as caught:
        Caller(kind, server.url)("wait", "x", **options)

    check(caught.value, words, is_transient)


CLIPS: dict[str, tuple[list[Play], Sequence[str], bool]] = {
    "a page": ([answer(200, b"<html>", say="text/html")], ["x.mp4", "text/html, not a clip"], False),
    "500": ([answer(500, b"")], ["x.mp4", "status 500"], True),
    "418": ([answer(418, b"")], ["x.mp4", "status 418"], False),
    "a hang": ([hang], ["x.mp4"], True),
    "a redirect to nowhere": ([answer(302, b"", location="http://127.0.0.1:1/a.mp4?sig=secret")], ["x.mp4", "refused|failed"], True),
    "an empty one": ([answer(200, b"", say="video/mp4")], ["x.mp4", "empty"], False),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CLIPS)
def test_a_message_of_a_download_has_no_signature(
    name: str, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The message of a download that fails, and every line that is logged, has no signed URL."""
    caplog.set_level("DEBUG", "duomi")
    plays, words, is_transient = CLIPS[name]
    retry = Retry(attempts=2, backoff=0)

    with FaultServer(plays) as server:
        done = {"id": "x", "state": "succeeded", "data": {"videos": [{"url": f"{server.url}/1.mp4?sig=secret"}, "a"]}}
        task = Task.from_payload(done)
        with pytest.raises(DownloadError) as caught:
            Caller(kind, server.url)("download", task, tmp_path, options={"retry": retry, "timeout": 0.3})

    check(caught.value, words[:1], is_transient)
    assert re.search(words[-1], str(caught.value))
    assert "secret" not in str(caught.value) + caplog.text
    assert caught.value.url.endswith("sig=secret")


@pytest.mark.parametrize(
    "videos", [["https://h/1.mp4?sig=secret"], "https://h/1.mp4?sig=secret", [{"url": ["https://h/1.mp4?sig=secret"]}]]
)
def test_a_deviation_has_no_signature(videos: Any) -> None:
    """A signed URL in the wrong place is not repeated."""
    task = Task.from_payload(RUNNING | {"data": {"videos": videos}})

    assert task.deviations
    assert "secret" not in str(task.deviations)


@pytest.mark.parametrize("state", ["throttled", "pending"])
def test_an_unfinished_task_is_no_clip(state: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A download of an unfinished task says how to wait for it, and an undocumented state what it is taken for."""
    with FaultServer([answer(200, {"id": "x", "state": state})]) as server, Duomi(KEY, base_url=server.url) as client:
        task = client.get_task("x")
        with pytest.raises(DownloadError) as caught:
            client.download(task, tmp_path)

    check(caught.value, [f"task x is not finished ({state}); wait for it with `duomi wait x --download .`"], True)
    warnings = [
        record.getMessage()
        for record in caplog.records
        if record.levelname == "WARNING" and "undocumented" in record.getMessage()
    ]
    assert warnings == ([] if state == "pending" else ["undocumented state 'throttled', treated as not finished"])


SETTINGS: dict[str, tuple[Callable[[], object], Sequence[str]]] = {
    "no key": (Duomi, ["no API key", "DUOMI_API_KEY"]),
    "a blank key": (lambda: Duomi(" "), ["the API key is blank"]),
    "a key in quotes": (lambda: Duomi('"sk-0123456789"'), ["in quotes"]),
    "a key in backticks": (lambda: Duomi("`sk-0123456789`"), ["in quotes"]),
    "a whole header": (lambda: Duomi("Authorization: sk-0123456789"), ["`Authorization:`"]),
    "a password in the URL": (lambda: Duomi(KEY, base_url="https://u:secret@h/"), ["a user or a password"]),
    "http": (lambda: Duomi(KEY, base_url="http://h.example/"), ["http://", "allow_insecure=True"]),
    "no id": (lambda: Duomi(KEY).get_task(""), ["is not a task id"]),
    "a number as id": (lambda: Duomi(KEY).get_task(5), ["a task id is a str", "not int"]),  # type: ignore[arg-type]
    "a list of ids": (lambda: Duomi(KEY).get_task(["a"]), ["a task id is a str", "not list"]),  # type: ignore[arg-type]
    "one id as many": (lambda: Duomi(KEY).as_completed("abc"), ["tasks is a collection", "not one str"]),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_message_of_a_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of a setting that cannot be used."""
    monkeypatch.delenv("DUOMI_API_KEY", raising=False)
    call, words = SETTINGS[name]

    with pytest.raises(DuomiError) as caught:
        call()

    check(caught.value, words, False)
    assert "secret" not in str(caught.value)

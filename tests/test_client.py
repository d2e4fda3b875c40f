"""The clients keep their promises over a real socket, with sync, asyncio and trio."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import os
import pickle
import socket
import subprocess
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import duomi
import httpx
import pytest
from duomi import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AsyncDuomi,
    AuthenticationError,
    ConfigurationError,
    DownloadError,
    Duomi,
    DuomiError,
    NotFoundError,
    Polling,
    RateLimitError,
    Retry,
    ServerError,
    Task,
    TaskFailedError,
    TaskState,
    TaskTimeoutError,
)
from duomi._io import lanes
from duomi_api.api.videos import get_video_task
from faults import FaultServer, answer, raw
from harness import KEY, TABLE_KINDS, Caller, Server, payload
from werkzeug import Response

ID = "5dd1ef43-efeb-9017-be66-f37a9d4348ee"
KEY_WITH_SLASH = "sk-ab/cd-0123456789"


def test_get_task_sends_the_bare_key(call: Caller, server: Server) -> None:
    """A poll is one GET with the bare key, our User-Agent, and the id as one path segment."""
    server.replies = [payload("running") | {"id": "a/b?c#d"}]

    task = call("get_task", "a/b?c#d")

    (request,) = server.requests
    assert request.environ["REQUEST_URI"] == "/v1/videos/tasks/a%2Fb%3Fc%23d"
    assert request.headers["Authorization"] == KEY
    assert request.headers["User-Agent"] == f"duomi/{duomi.__version__} python-httpx/{httpx.__version__}"
    assert request.headers["Accept-Encoding"] == "gzip, deflate"
    assert task.progress == 45


@pytest.mark.parametrize("failure", [502, 520, 599, 408, 425, 429, Response("<html>", 200), Response("", 200), {}, []])
def test_a_transient_failure_is_retried(call: Caller, server: Server, failure: Any) -> None:
    """A transient failure costs one more request and does not reach the caller."""
    server.replies = [failure, payload("running")]

    assert call("get_task", ID).state is TaskState.RUNNING
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(401, AuthenticationError), (404, NotFoundError),
     (payload("envelope-404"), NotFoundError)],
)  # fmt: skip
def test_a_permanent_error_is_not_retried(call: Caller, server: Server, reply: Any, kind: type[DuomiError]) -> None:
    """A permanent error is raised after one request, names the call, and survives pickle."""
    server.replies = [reply]

    with pytest.raises(kind) as caught:
        call("get_task", ID)

    assert type(caught.value) is kind
    assert len(server.requests) == 1
    assert f"GET /v1/videos/tasks/{ID}" in str(caught.value)
    assert type(caught.value)(*caught.value.args) == caught.value
    assert pickle.loads(pickle.dumps(caught.value)) == caught.value


def test_retry_attempts_limits_the_requests(call: Caller, server: Server) -> None:
    """`attempts` includes the first request, and after the last one its error is raised."""
    server.replies = [503]

    with pytest.raises(ServerError):
        call("get_task", ID, options={"retry": Retry(attempts=3, backoff=0)})

    assert len(server.requests) == 3


def test_a_long_retry_after_ends_the_retries(call: Caller, server: Server) -> None:
    """A Retry-After above `max_retry_after` is raised as an error that says how long it is."""
    server.replies = [Response("{}", 429, {"Retry-After": "3600"})]

    with pytest.raises(RateLimitError) as caught:
        call("get_task", ID)

    assert caught.value.retry_after == 3600
    assert len(server.requests) == 1


def test_a_refused_connection_is_a_connection_error(call: Caller) -> None:
    """A refused connection raises `APIConnectionError`."""
    with pytest.raises(APIConnectionError):
        call("get_task", ID, options={"base_url": "http://127.0.0.1:1"})


def test_a_slow_answer_times_out(call: Caller, server: Server) -> None:
    """An attempt that takes longer than `timeout` raises `APITimeoutError`."""
    import time

    def slow(_request: Any) -> Response:
        time.sleep(0.4)
        return Response("{}")

    server.replies = [slow]

    with pytest.raises(APITimeoutError):
        call("get_task", ID, options={"timeout": 0.1, "retry": Retry(attempts=1)})


def test_wait_calls_on_update_for_each_change(call: Caller, server: Server) -> None:
    """`on_update` is called with each change, and `wait` returns the finished task."""
    server.replies = [payload("pending"), payload("running"), payload("running"), 502, payload("succeeded")]
    seen: list[Task] = []

    task = call("wait", ID, on_update=seen.append)

    assert [poll.state.value for poll in seen] == ["pending", "running", "succeeded"]
    assert task == seen[-1]
    assert task.is_succeeded


def test_watch_yields_a_failure_and_wait_raises_it(call: Caller, server: Server) -> None:
    """A failed task is the last task of a watch, and an error of a wait."""
    server.replies = [payload("error-message")]

    assert call("watch", ID)[-1].is_failed
    with pytest.raises(TaskFailedError, match="guardrails") as caught:
        call("wait", ID)
    assert caught.value.task is not None
    assert caught.value.task.message.startswith("This content")
    assert pickle.loads(pickle.dumps(caught.value)) == caught.value


def test_wait_ends_at_its_deadline(call: Caller, server: Server) -> None:
    """A wait that takes too long raises an error with the last task seen and the command to resume."""
    server.replies = [payload("running")]

    with pytest.raises(TaskTimeoutError, match=f"duomi wait {ID}") as caught:
        call("wait", ID, timeout=0.2)

    assert caught.value.task is not None
    assert caught.value.task.progress == 45


def test_strict_turns_deviations_into_errors(call: Caller, server: Server) -> None:
    """With `strict=True` a deviation ends the wait after one request."""
    server.replies = [payload("pending")]

    with pytest.raises(APIResponseError, match="/data"):
        call("wait", ID, options={"strict": True})

    assert len(server.requests) == 1


@pytest.mark.parametrize("task_id", ["", " ", ".", "..", "a\nb", "\ud800", 7, None])
def test_an_invalid_id_is_rejected_before_a_request(call: Caller, server: Server, task_id: Any) -> None:
    """An id that cannot be a path segment raises `ConfigurationError` before any request."""
    server.replies = [payload("running")]

    for method in ("get_task", "wait", "watch"):
        with pytest.raises(ConfigurationError):
            call(method, task_id)

    assert server.requests == []


def test_a_generated_function_retries_with_the_key(call: Caller, server: Server) -> None:
    """A generated function called with `api` sends the key and retries transient failures."""
    server.replies = [502, 520, payload("succeeded")]

    model = call.with_api(
        lambda client: get_video_task.sync(ID, client=client.api),
        lambda client: get_video_task.asyncio(ID, client=client.api),
    )

    assert model.to_dict() == payload("succeeded")
    assert [request.headers["Authorization"] for request in server.requests] == [KEY] * 3


def test_a_post_is_not_retried_after_a_502(call: Caller, server: Server) -> None:
    """A POST that was answered 502 is not sent again, because it might have bought something."""
    server.replies = [502, payload("succeeded")]

    with pytest.raises(ServerError):
        call.with_api(
            lambda client: client.api.get_httpx_client().request(method="post", url="/v1/videos", json={}),
            lambda client: client.api.get_async_httpx_client().request(method="post", url="/v1/videos", json={}),
        )

    assert len(server.requests) == 1


def test_a_post_is_retried_after_a_429(call: Caller, server: Server) -> None:
    """A POST that was answered 429 is sent again, because the server did nothing."""
    server.replies = [429, payload("succeeded")]

    call.with_api(
        lambda client: client.api.get_httpx_client().request(method="post", url="/v1/videos", json={}),
        lambda client: client.api.get_async_httpx_client().request(method="post", url="/v1/videos", json={}),
    )

    assert len(server.requests) == 2


def test_the_generated_client_sends_nothing_to_another_host(call: Caller) -> None:
    """The generated client rejects a URL of another host, so that the key stays with the API."""
    with pytest.raises(ConfigurationError, match="not the API"):
        call.with_api(
            lambda client: client.api.get_httpx_client().get("http://127.0.0.2:1/"),
            lambda client: client.api.get_async_httpx_client().get("http://127.0.0.2:1/"),
        )


def test_the_wrong_kind_of_generated_function_is_rejected() -> None:
    """A sync function with `AsyncDuomi.api`, or the reverse, raises an error that names the right client."""
    with pytest.raises(ConfigurationError, match=r"use Duomi\.api"):
        get_video_task.sync_detailed(ID, client=AsyncDuomi(KEY).api)
    with Duomi(KEY) as client, pytest.raises(ConfigurationError, match=r"use AsyncDuomi\.api"):
        anyio.run(partial(get_video_task.asyncio_detailed, ID, client=client.api))


def test_a_copy_of_the_generated_client_keeps_key_and_retries(call: Caller, server: Server) -> None:
    """`with_headers` and `with_timeout` return a client that still has the key and the retries."""
    server.replies = [502, payload("running")]

    call.with_api(
        lambda client: get_video_task.sync_detailed(
            ID, client=client.api.with_headers({"x-mine": "1"}).with_timeout(httpx.Timeout(9))
        ),
        lambda client: get_video_task.asyncio_detailed(
            ID, client=client.api.with_headers({"x-mine": "1"}).with_timeout(httpx.Timeout(9))
        ),
    )

    assert [request.headers["x-mine"] for request in server.requests] == ["1", "1"]
    assert [request.headers["authorization"] for request in server.requests] == [KEY, KEY]


def test_a_closed_client_rejects_calls(server: Server) -> None:
    """After `close` every call raises `ConfigurationError`."""
    client = Duomi(KEY, base_url=server.url)
    client.close()

    for attempt in (lambda: client.get_task(ID), lambda: client.wait(ID), client.__enter__):
        with pytest.raises(ConfigurationError, match="closed"):
            attempt()


def test_http_client_is_used_and_not_closed(server: Server) -> None:
    """Requests go through `http_client`, with its headers, and it stays open."""
    server.replies = [payload("running")]
    http_client = httpx.Client(headers={"X-Mine": "1"})

    with Duomi(KEY, base_url=server.url, http_client=http_client) as client:
        client.get_task(ID)

    assert server.requests[0].headers["X-Mine"] == "1"
    assert server.requests[0].headers["User-Agent"].startswith("duomi/")
    assert not http_client.is_closed
    http_client.close()


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "schlüssel", "\x00", b"bytes"])
def test_an_invalid_key_is_rejected(key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that cannot be a header, and a missing key, raise `ConfigurationError`."""
    monkeypatch.delenv("DUOMI_API_KEY", raising=False)

    for given in (key, None):
        with pytest.raises(ConfigurationError):
            Duomi(given)


@pytest.mark.parametrize(
    "url",
    ["", " ", "duomiapi.com", "ftp://duomiapi.com", "https://", "https://user:s3cret@duomiapi.com", "http://duomiapi.com",
     "https://h/?a=b", "https://h/?", "https://h/#", "https://h/#/tasks", "https://h:99999999/", "http://127.0.0.1.evil.example"],
)  # fmt: skip
def test_an_invalid_base_url_is_rejected(url: str) -> None:
    """A base URL that is invalid, or would reveal the key, raises an error without the password in it."""
    with pytest.raises(ConfigurationError) as caught:
        Duomi(KEY, base_url=url)

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_a_trailing_v1_is_dropped(server: Server, ending: str) -> None:
    """A base URL with `/v1` and one without lead to the same requests."""
    server.replies = [payload("running")]

    with Duomi(KEY, base_url=server.url + ending) as client:
        client.get_task(ID)

    assert server.requests[0].path == f"/v1/videos/tasks/{ID}"


@pytest.mark.parametrize("value", [-1, math.nan, "5", True])
def test_an_invalid_setting_is_rejected(value: Any) -> None:
    """A setting that is not a valid number raises `ConfigurationError`."""
    for make in (
        lambda: Retry(backoff=value), lambda: Retry(attempts=value if value != "5" else 0),
        lambda: Polling(interval=value), lambda: Polling(stall=value), lambda: Duomi(KEY, timeout=value),
    ):  # fmt: skip
        if value is True or make:
            with pytest.raises(ConfigurationError):
                make()


def test_the_key_is_in_no_repr() -> None:
    """The `repr` of a client or of a part of it never shows the key."""
    client = Duomi(KEY)
    shown = repr(client) + repr(client._driver.settings) + repr(client.api) + repr(vars(client._driver))

    assert KEY not in shown
    with pytest.raises(TypeError):
        pickle.dumps(client._driver.settings.auth)


def test_both_clients_have_the_same_signatures() -> None:
    """`Duomi` and `AsyncDuomi` have the same methods with the same parameters."""
    names = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}
    sync = {n: m for n, m in vars(Duomi).items() if inspect.isfunction(m)}
    asynchronous = {names.get(n, n): m for n, m in vars(AsyncDuomi).items() if inspect.isfunction(m)}

    assert sync.keys() == asynchronous.keys()
    for name, method in sync.items():
        ours, theirs = inspect.signature(method), inspect.signature(asynchronous[name])
        assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
            (p.name, p.kind, p.default) for p in theirs.parameters.values()
        ]


def test_a_task_without_a_video_is_not_downloaded(call: Caller) -> None:
    """An unfinished task, a failed one, and one without a video raise `DownloadError`."""
    for name in ("running", "error-message", "characters"):
        with pytest.raises(DownloadError):
            call("download", Task.from_payload(payload(name)))


def test_an_invalid_constructor_argument_is_rejected() -> None:
    """An `http_client` of the other kind, a setting of another type, and an invalid URL raise `ConfigurationError`."""
    for make in (
        lambda: Duomi(KEY, http_client=httpx.AsyncClient()),  # type: ignore[arg-type]
        lambda: AsyncDuomi(KEY, http_client=httpx.Client()),  # type: ignore[arg-type]
        lambda: Duomi(KEY, retry=5),  # type: ignore[arg-type]
        lambda: Duomi(KEY, polling=5.0),  # type: ignore[arg-type]
        lambda: Duomi(KEY, base_url="https://[::"),
        lambda: Duomi(KEY, base_url="https://user:s3cret@[::"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert "s3cret" not in str(caught.value)

    assert repr(AsyncDuomi(KEY)) == "AsyncDuomi(base_url='https://duomiapi.com')"
    assert "localhost" in repr(Duomi(KEY, base_url="http://localhost:80/v1"))
    assert "::1" in repr(Duomi(KEY, base_url="http://[::1]:1"))


@pytest.mark.parametrize("timeout", [-1, math.nan, "5", True])
def test_an_invalid_timeout_of_a_wait_is_rejected(call: Caller, timeout: Any) -> None:
    """The timeout of a wait is a number of seconds or `None`."""
    with pytest.raises(ConfigurationError):
        call("wait", ID, timeout=timeout)


def test_a_wait_with_timeout_none_ends_with_its_task(call: Caller, server: Server) -> None:
    """`timeout=None` waits until the task is finished."""
    server.replies = [payload("running"), payload("succeeded")]

    assert call("wait", ID, timeout=None).is_succeeded


def test_equal_errors_have_equal_hashes() -> None:
    """Errors that are equal count once in a set."""
    assert len({NotFoundError("a", 404), NotFoundError("a", 404), NotFoundError("b", 404)}) == 2
    assert str(DuomiError()) == ""


def test_an_invalid_json_reply_to_a_generated_function_is_an_error(call: Caller, server: Server) -> None:
    """A reply of type JSON must be valid JSON, and a reply of another type is returned unchanged."""
    server.replies = [Response("hello", content_type="text/plain"), Response("{", content_type="application/json")]

    def get(client: Any) -> Any:
        return client.api.get_httpx_client().get("/v1/x")

    def aget(client: Any) -> Any:
        return client.api.get_async_httpx_client().get("/v1/x")

    assert call.with_api(get, aget).text == "hello"
    client = Duomi(KEY)
    assert client.api is client.api
    client.close()
    with pytest.raises(ConfigurationError, match="closed"):
        get(client)
    async_client = AsyncDuomi(KEY)
    assert async_client.api is async_client.api
    with pytest.raises(APIResponseError, match="not JSON"):
        call.with_api(get, aget)


def test_a_closed_http_client_is_a_configuration_error(server: Server) -> None:
    """A call with a closed `http_client` raises an error that says so."""
    http_client = httpx.Client()
    client = Duomi(KEY, base_url=server.url, http_client=http_client)
    http_client.close()

    with pytest.raises(ConfigurationError, match="http_client is closed"):
        client.get_task(ID)


def test_a_bug_in_the_transport_of_http_client_is_raised_unchanged() -> None:
    """A RuntimeError that is not about a closed client is raised unchanged."""

    def broken(_request: httpx.Request) -> httpx.Response:
        raise RuntimeError("a bug")

    http_client = httpx.Client(transport=httpx.MockTransport(broken))
    with pytest.raises(RuntimeError, match="a bug"), Duomi(KEY, http_client=http_client) as client:
        client.get_task(ID)

    async def main() -> None:
        async_client = httpx.AsyncClient(transport=httpx.MockTransport(broken))
        async with AsyncDuomi(KEY, http_client=async_client) as client:
            await client.get_task(ID)

    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(main())


def test_a_socks_proxy_without_its_package_is_a_configuration_error(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SOCKS proxy without its package raises an error that names the extra to install, for tasks and for clips."""
    monkeypatch.setenv("ALL_PROXY", "socks5://me:s3cret@127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "socksio", None)
    call.base_url = "https://duomi.example"
    done = {"id": ID, "state": "succeeded", "data": {"videos": [{"url": "https://clips.example/1.mp4"}]}}

    for method, arguments in (("get_task", [ID]), ("download", [Task.from_payload(done), tmp_path])):
        with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1.*httpx\[socks\]") as caught:
            call(method, *arguments)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy", ["socks://127.0.0.1:1", "http://me:s3c/ret@h:1", "http://[::1", "http://h:99999", "http:/127.0.0.1:8080"]
)
def test_an_invalid_proxy_url_is_ignored(
    proxy: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An invalid proxy URL is ignored with one WARNING that does not show it."""
    monkeypatch.setattr(lanes, "_warned", set())
    caplog.set_level("WARNING", "duomi")
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    proxies = [lanes.proxy_for(httpx.URL("https://h/")) for _ in range(2)]

    assert proxies == [None, None]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "s3c" not in caplog.text


PROXY = "http://127.0.0.1:9"
PROXIES: dict[str, tuple[str, dict[str, str], str | None]] = {
    "https": ("https://duomi.example", {"HTTPS_PROXY": PROXY}, PROXY),
    "all schemes": ("https://duomi.example", {"ALL_PROXY": PROXY}, PROXY),
    "lower case": ("http://duomi.example", {"http_proxy": PROXY}, PROXY),
    "without a scheme": ("https://duomi.example", {"HTTPS_PROXY": "127.0.0.1:9"}, PROXY),
    "another scheme": ("https://duomi.example", {"HTTP_PROXY": PROXY}, None),
    "this machine over http": ("http://127.0.0.1:8000", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
    "localhost over http": ("http://localhost:8000", {"HTTP_PROXY": PROXY}, None),
    "::1 over http": ("http://[::1]:8000", {"HTTP_PROXY": PROXY}, None),
    "no_proxy: host": ("https://duomi.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "duomi.example"}, None),
    "no_proxy: domain": ("https://a.duomi.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": ".duomi.example"}, None),
    "no_proxy: everything": ("https://duomi.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
    "no_proxy: another host": ("https://duomi.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "example"}, None),
    "no_proxy: a network": ("https://10.1.2.3", {"HTTPS_PROXY": PROXY, "NO_PROXY": "::1/128, 10.0.0.0/8"}, None),
    "no_proxy: another network": ("https://10.1.2.3", {"HTTPS_PROXY": PROXY, "NO_PROXY": "::1/128,11.0.0.0/8"}, PROXY),
    "no_proxy: an address": ("https://[::1]", {"HTTPS_PROXY": PROXY, "NO_PROXY": "[::1]"}, None),
    "no_proxy: an address without brackets": ("https://[::1]", {"HTTPS_PROXY": PROXY, "NO_PROXY": "::1"}, None),
    "no_proxy: garbage": ("https://duomi.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "[::1,,/8,:"}, PROXY),
}  # fmt: skip


@pytest.mark.parametrize("name", PROXIES)
def test_the_proxy_is_read_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy variables and NO_PROXY are read as in other programs, and this machine has no proxy over http."""
    url, environment, expected = PROXIES[name]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    proxy = lanes.proxy_for(httpx.URL(url))

    assert (proxy and str(proxy.url)) == expected


def test_an_echoed_key_is_redacted_in_tasks_and_errors(call: Caller, server: Server) -> None:
    """If the vendor sends the key back, neither the task nor its error has it."""
    server.replies = [{"id": ID, "state": "error", "message": f"bad key {KEY}", "data": {"of": [KEY]}}]

    with pytest.raises(TaskFailedError, match=r"bad key \*\*\*") as caught:
        call("wait", ID)

    assert KEY not in repr(caught.value.args)
    assert caught.value.task is not None
    assert KEY not in repr(caught.value.task.raw)


def test_a_short_key_is_redacted_only_as_a_whole_value(server: Server) -> None:
    """A short key might be a normal word of a reply, so only a value that is the key is replaced."""
    server.replies = [payload("running") | {"message": "run", "more": ["run", "run fast"], "run": 1}]

    with Duomi("run", base_url=server.url) as client:
        task = client.get_task(ID)

    assert (task.state, task.message, task.raw["more"], task.raw["run"]) == ("running", "***", ["***", "run fast"], 1)


class _AsyncCall:
    async def __call__(self, *_arguments: object) -> None: ...


async def async_function(*_arguments: object) -> None: ...


NOT_CALLBACKS: dict[str, Any] = {
    "an async function": async_function,
    "a partial of an async function": partial(async_function, 1),
    "an object with an async __call__": _AsyncCall(),
    "a number": 5,
}


@pytest.mark.parametrize("name", NOT_CALLBACKS)
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_an_invalid_callback_is_rejected_before_a_request(kind: str, name: str, server: Server) -> None:
    """A callback that cannot be called, or that would not be awaited, raises `ConfigurationError` before any request."""
    call, callback = Caller(kind, server.url), NOT_CALLBACKS[name]
    server.replies = [payload("succeeded")]
    task = Task.from_payload(payload("succeeded"))

    with pytest.raises(ConfigurationError, match="on_progress"):
        call("download", task, on_progress=callback)
    if kind == "sync" or name == "a number":
        with pytest.raises(ConfigurationError, match="on_update"):
            call("wait", ID, on_update=callback)
        with pytest.raises(ConfigurationError, match="on_update"):
            call("as_completed", [ID], on_update=callback)

    assert server.requests == []


def test_an_argument_of_the_wrong_type_is_rejected_before_a_request(call: Caller, server: Server) -> None:
    """An id instead of a task, and `None` instead of ids, raise `ConfigurationError` before any request."""
    with pytest.raises(ConfigurationError, match=r"takes a duomi\.Task"):
        call("download", ID)
    with Duomi(KEY, base_url=server.url) as client, pytest.raises(ConfigurationError, match="collection of ids"):
        client.as_completed(None)  # type: ignore[arg-type]

    assert server.requests == []


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_an_async_callback_is_awaited(kind: str, server: Server) -> None:
    """In `AsyncDuomi` a callback may be an async function, in `wait` and in `as_completed`."""
    server.replies = [payload("running"), payload("succeeded")]
    seen: list[int | None] = []

    async def on_update(task: Task) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(task.progress)

    async def main() -> None:
        async with AsyncDuomi(KEY, base_url=server.url, polling=Polling(interval=0.01)) as client:
            await client.wait(ID, on_update=on_update)
            async with client.as_completed([ID], on_update=on_update) as outcomes:
                assert [outcome.error async for outcome in outcomes] == [None]

    anyio.run(main, backend=kind)

    assert seen == [45, 100, 100]


def test_a_connection_error_names_the_host(call: Caller) -> None:
    """If there is no answer, the error names the host and the port."""
    call.base_url = "http://127.0.0.1:9"

    with pytest.raises(APIConnectionError, match=r"no answer from 127\.0\.0\.1:9: "):
        call("get_task", ID)


@pytest.mark.parametrize("written", [KEY_WITH_SLASH, KEY_WITH_SLASH.replace("/", "\\/")])
def test_a_key_that_json_escapes_is_redacted(server: Server, written: str) -> None:
    """A key is redacted both plain and as JSON escapes it, and in the headers of a generated response."""
    body = json.dumps(payload("error-message") | {"message": "key KEY is blocked"}).replace("KEY", written)
    server.replies = [Response(body, 200, {"x-echo": KEY_WITH_SLASH}, content_type="application/json")]

    with Duomi(KEY_WITH_SLASH, base_url=server.url) as client:
        assert client.get_task("a").message == "key *** is blocked"
        assert get_video_task.sync_detailed(client=client.api, task_id="a").headers["x-echo"] == "***"


def test_an_echoed_key_is_in_no_local_of_a_traceback(server: Server) -> None:
    """What reports errors with the locals of each frame, as Sentry does, gets no key from a header of the server's."""
    server.replies = [Response("no", 500, {"x-echo": f"key {KEY}"}, content_type="text/plain")]

    with Duomi(KEY, base_url=server.url, retry=Retry(attempts=1)) as client:
        with pytest.raises(DuomiError) as caught:
            client.wait("a", timeout=0)
        told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)

    assert KEY not in "".join(told.format())


def test_a_key_in_a_broken_answer_is_in_no_local_of_a_traceback() -> None:
    """An answer that is no HTTP may hold the key, too, and so does the error that a library makes of it."""
    broken = raw(b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\r\n\r\n")
    with FaultServer([broken]) as server, Duomi(KEY, base_url=server.url, retry=Retry(attempts=1)) as client:
        with pytest.raises(DuomiError) as caught:
            client.wait("a", timeout=0)
        told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)

    assert KEY not in "".join(told.format())


def test_half_a_character_is_no_text_of_a_task() -> None:
    """JSON may hold half of an emoji; what a database or a web page takes does not."""
    task = Task.from_json(
        rb'{"id": "t", "state": "error", "message": "cat \ud83d", "data": {"videos": [{"url": "https://h/\udc00"}]}}'
    )

    assert task.message == "cat \N{REPLACEMENT CHARACTER}"
    assert task.raw["message"] == "cat \ud83d"
    json.dumps(task.to_dict(), ensure_ascii=False).encode()


@attrs.frozen
class FrozenError(Exception):
    """An exception of a caller's that cannot be changed."""


def test_an_exception_of_the_callers_is_left_alone() -> None:
    """A call in an `except` block changes nothing of what is handled there."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with Duomi(KEY, base_url=f"http://127.0.0.1:{unused.getsockname()[1]}", retry=Retry(attempts=1)) as client:
            try:
                raise FrozenError
            except FrozenError:
                with pytest.raises(APIConnectionError):
                    client.get_task("a")


LATE = """
import asyncio, sys, duomi
client = duomi.AsyncDuomi("sk-test-0123456789", base_url=sys.argv[1])
loop = asyncio.new_event_loop()
loop.run_until_complete(client.get_task(sys.argv[2]))
loop.close()
asyncio.run(client.aclose())
print(client.is_closed)
"""


def test_a_client_of_a_closed_event_loop_can_be_closed() -> None:
    """`loop.close()` leaves connections that no loop can close any more."""
    with FaultServer([answer(200, payload("running"))]) as server:
        done = subprocess.run(
            [sys.executable, "-c", LATE, server.url, payload("running")["id"]],
            capture_output=True,
            text=True,
            check=False,
        )

    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_a_refused_connection_is_told_in_plain_words(kind: str) -> None:
    """The system's reason is told, whichever library connects."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(APIConnectionError, match="Connection refused"):
            Caller(kind, url)("get_task", "a", options={"retry": Retry(attempts=1)})


@pytest.mark.parametrize("name", ["strict", "allow_insecure"])
@pytest.mark.parametrize("value", ["false", "no", 1, None])
def test_what_is_true_or_false_is_a_bool(name: str, value: Any) -> None:
    """A text such as "false" would count as true, and the key would travel in the clear."""
    with pytest.raises(ConfigurationError, match=f"{name} must be a bool"):
        Duomi(KEY, **{name: value})


def test_an_attempt_may_take_a_day_at_most() -> None:
    """A system counts the milliseconds of a timeout in 32 bits."""
    assert Duomi(KEY, timeout=4_294_968)._driver.settings.timeout == 86_400.0


@pytest.mark.parametrize(("module", "missing"), [("simulator", "pytest_httpserver"), ("celery", "celery")])
def test_a_part_that_is_not_installed_names_its_extra(module: str, missing: str) -> None:
    """Whoever imports a part without its extra is told what to install."""
    script = f"import sys; sys.modules[{missing!r}] = None; import duomi.{module}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert f'{missing} is missing; install the extra: pip install "duomi[{module}]"' in done.stderr


def test_a_rate_that_no_clock_can_keep_is_refused() -> None:
    """One request in a hundred years is a mistake."""
    with pytest.raises(ConfigurationError, match="max_rate must be"):
        Duomi(KEY, max_rate=1e-10)


def test_the_certificates_are_not_blamed_on_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of certificates that cannot be read is named, and nothing else."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    with Duomi(KEY, base_url="https://duomi.example") as client, pytest.raises(ConfigurationError) as caught:
        client.get_task("a")
    assert str(caught.value).startswith("SSL_CERT_FILE: ")


HIDDEN = {
    "in JSON": "sk\\u002Dtest\\u002d0123456789",
    "in JSON, all of it": "".join(f"\\u{ord(each):04x}" for each in KEY),
    "in a URL": KEY.replace("-", "%2d"),
    "in a URL, all of it": "".join(f"%{ord(each):02X}" for each in KEY),
}


@pytest.mark.parametrize("how", HIDDEN)
@pytest.mark.parametrize("status", [200, 400])
def test_an_escaped_key_is_redacted(how: str, status: int, server: Server) -> None:
    """However a server escapes the key, it is neither in a value nor in a name of the payload, nor in an error."""
    body = json.dumps(payload("running") | {"message": "key HERE", "HERE": 1}).replace("HERE", HIDDEN[how])
    server.replies = [Response(body, status, content_type="application/json")]

    with Duomi(KEY, base_url=server.url, retry=Retry(attempts=1)) as client:
        if status == 200:
            task = client.get_task("a")
            shown = json.dumps(task.to_dict()) + repr(task)
            assert task.message == "key ***"
        else:
            with pytest.raises(APIStatusError, match=r"key \*\*\*") as caught:
                client.get_task("a")
            shown = repr(caught.value.args)

    assert HIDDEN[how] not in shown
    assert KEY not in shown


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_a_body_is_utf_8_or_no_json(coding: str, server: Server) -> None:
    """A body in another encoding is no JSON, and the key in it is redacted."""
    body = json.dumps(payload("running") | {"message": f"{KEY} ü"}, ensure_ascii=False).encode(coding)
    server.replies = [Response(body, 200, content_type="application/json")]

    with (
        Duomi(KEY, base_url=server.url, retry=Retry(attempts=1)) as client,
        pytest.raises(APIResponseError, match="not JSON") as caught,
    ):
        client.get_task("a")

    assert KEY not in repr(caught.value.args)


@pytest.mark.parametrize("depth", [90, 150, 500, 20_000])
def test_a_payload_that_is_nested_too_deep_is_no_json(depth: int, server: Server) -> None:
    """What is nested more than 100 deep could be neither pickled nor printed."""
    server.replies = [Response(json.dumps(payload("running"))[:-1] + ', "x": ' + "[" * depth + "]" * depth + "}")]

    with Duomi(KEY, base_url=server.url, retry=Retry(attempts=1)) as client:
        if depth < 100:
            assert pickle.loads(pickle.dumps(client.get_task("a"))).id == ID
        else:
            with pytest.raises(APIResponseError) as caught:
                client.get_task("a")
            assert pickle.loads(pickle.dumps(caught.value)) == caught.value


LONG = "no\r\n2026 ERROR forged\x1b[2J\u202e" + "x" * 100_000


@pytest.mark.parametrize(
    ("answer_", "status"),
    [({"message": LONG}, 400), ({"code": 500, "msg": LONG}, 200), (payload("running") | {"state": LONG}, 200)],
)
def test_a_vendor_text_is_one_line_in_messages_and_logs(
    answer_: Any, status: int, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A text of the vendor forges no log line, steers no terminal, and is cut at 500 characters."""
    caplog.set_level("DEBUG", "duomi")
    server.replies = [Response(json.dumps(answer_), status, content_type="application/json")]

    texts: list[str] = []
    with Duomi(KEY, base_url=server.url, retry=Retry(attempts=2, backoff=0)) as client:
        try:
            texts.append(str(client.get_task("a")))
        except APIStatusError as error:
            texts += [str(error), error.message]
    texts += [record.getMessage() for record in caplog.records if record.name == "duomi"]

    assert len(texts) > 1
    assert all(len(text) < 700 and text.isprintable() for text in texts), texts


def test_deviations_are_counted_to_an_end() -> None:
    """A payload that is all junk costs little."""
    videos = [{"url": 1}] * 100_000

    assert len(Task.from_payload(payload("running") | {"data": {"videos": videos}}).deviations) == 100


GENERATED: dict[str, tuple[int, bytes]] = {
    "HTML": (200, b"<html>"), "an empty object": (200, b"{}"), "null": (200, b"null"), "a list": (200, b"[]"),
    "a text": (200, b'"x"'), "nothing": (200, b""), "299": (299, json.dumps(payload("running")).encode()),
    "another type": (200, json.dumps(payload("running") | {"progress": "many"}).encode()),
    "no data": (200, json.dumps(payload("running") | {"data": None}).encode()),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_function_gets_what_the_contract_says(name: str, kind: str) -> None:
    """What the generated parser could not read is an `APIResponseError`, after the same retries."""
    status, body = GENERATED[name]
    with FaultServer([answer(status, body)]) as server, pytest.raises(APIResponseError):
        Caller(kind, server.url).with_api(
            lambda client: get_video_task.sync_detailed(client=client.api, task_id="a"),
            lambda client: get_video_task.asyncio_detailed(client=client.api, task_id="a"),
        )

    assert len(server.heads) == 5


@pytest.mark.parametrize("directory", [None, 5, "a\0b"])
def test_an_invalid_directory_is_rejected(call: Caller, server: Server, directory: Any) -> None:
    """A value that cannot be the path of a folder raises `ConfigurationError`."""
    with pytest.raises(ConfigurationError, match="directory"):
        call("download", Task.from_payload(payload("succeeded")), directory)


@pytest.mark.parametrize("timeout", [math.inf, 10**400, -1, math.nan, True, "5"])
def test_an_invalid_timeout_is_rejected(call: Caller, timeout: Any) -> None:
    """An infinite, negative or huge timeout, and one of another type, raise `ConfigurationError`."""
    with pytest.raises(ConfigurationError, match="timeout"):
        call("wait", ID, timeout=timeout)
    with pytest.raises(ConfigurationError, match="timeout"):
        call("get_task", ID, options={"timeout": timeout})


KEYS: dict[str, tuple[str, str]] = {
    "blank": (" \t", "blank"),
    "in quotes": ('"sk-0123456789"', "quotes"),
    "in single quotes": ("'sk-0123456789'", "quotes"),
    "in backticks": ("`sk-0123456789`", "quotes"),
    "a quote at its end": ('sk-0123456789"', "quotes"),
    "a header": ("Authorization: Bearer sk-0123456789", "Authorization"),
    "a header in lower case": ("authorization:sk-0123456789", "Authorization"),
    "Chinese": ("sk-密钥", "printable ASCII"),
    "two lines": ("sk-01234\n56789", "printable ASCII"),
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("source", ["argument", "variable"])
def test_a_key_that_cannot_be_right_is_rejected(name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that cannot be right is told before any request, without being repeated, and the variable is named."""
    key, said = KEYS[name]
    monkeypatch.setenv("DUOMI_API_KEY", key)

    with pytest.raises(ConfigurationError, match=said) as caught:
        Duomi() if source == "variable" else Duomi(key)

    assert "0123456789" not in str(caught.value)
    if source == "variable":
        told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        # The first frame is that of this test.
        assert "56789" not in str([frame.locals for frame in told.stack[1:]])
    assert ("DUOMI_API_KEY: " in str(caught.value)) is (source == "variable")


@pytest.mark.parametrize("name", ["DUOMI_API_KEY", "DUOMI_BASE_URL"])
def test_an_empty_variable_counts_as_unset(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty `DUOMI_*` variable is as good as none."""
    monkeypatch.setenv("DUOMI_API_KEY", KEY)
    monkeypatch.setenv(name, "")

    if name == "DUOMI_API_KEY":
        with pytest.raises(ConfigurationError, match="no API key"):
            Duomi()
    else:
        assert "duomiapi.com" in repr(Duomi())


def test_a_message_names_the_variable_of_the_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base URL from the environment is named as such where it cannot be used."""
    monkeypatch.setenv("DUOMI_BASE_URL", "http://duomi.example")

    with pytest.raises(ConfigurationError, match="DUOMI_BASE_URL"):
        Duomi(KEY)


def test_a_short_key_is_told_once_and_redacted_only_as_a_whole(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A key of a few letters does not garble the texts of others."""
    caplog.set_level("WARNING", "duomi")
    server.replies = [{"id": ID, "state": "error", "message": "task s failed", "data": {}}]

    with Duomi("s", base_url=server.url) as client, pytest.raises(TaskFailedError, match="task s failed"):
        client.wait(ID)

    assert [record.levelname for record in caplog.records if record.name == "duomi"] == ["WARNING"]


@pytest.mark.parametrize("written", ["{}", "Bearer {}", "a\\u0020{}", "x={}&y"])
def test_the_part_behind_a_scheme_word_is_redacted(written: str, server: Server) -> None:
    """A server that repeats the token without its `Bearer` reveals nothing."""
    token = "sk-abc/def+0123456789"
    forms = [token, token.replace("/", "\\/"), "sk-abc%2Fdef%2B0123456789"]
    for form in forms:
        body = '{"id": "x", "state": "error", "message": "bad ' + written.format(form) + '", "data": {}}'
        server.replies = [Response(body, content_type="application/json")]
        with Duomi(f"Bearer {token}", base_url=server.url) as client:
            task = client.get_task("x")
        shown = repr(task) + repr(task.raw)
        assert token not in shown
        assert form not in shown


@pytest.mark.parametrize("task_id", [" a", "a ", "a\u3000", "x" * 513, "a\x00b", "a\u0085b", "\ud800"])
def test_an_id_that_cannot_be_right_is_rejected(task_id: str, server: Server) -> None:
    """Blanks around an id, control characters, lone surrogates and more than 512 characters send nothing."""
    with Duomi(KEY, base_url=server.url) as client:
        for call in (client.get_task, client.wait, client.watch, lambda task_id: client.as_completed([task_id])):
            with pytest.raises(ConfigurationError):
                call(task_id)

    assert server.requests == []


@pytest.mark.parametrize("name", ["timeout", "max_rate"])
@pytest.mark.parametrize("value", [1e10, -1.0, math.nan, math.inf, "5", True])
def test_an_impossible_number_is_rejected(name: str, value: Any) -> None:
    """A number above 1e9, below 0 or that is none is told when the client is made."""
    with pytest.raises(ConfigurationError, match=name):
        Duomi(KEY, **{name: value})
    for kind, field in ((Retry, "max_retry_after"), (Retry, "backoff"), (Polling, "interval"), (Polling, "outage")):
        with pytest.raises(ConfigurationError, match=field):
            kind(**{field: value})


def test_a_timeout_says_how_long_it_was(call: Caller, server: Server) -> None:
    """The message of a timeout is in plain words, without a library's own."""

    def slow(_request: Any) -> Response:
        time.sleep(0.5)
        return Response("{}")

    server.replies = [slow]

    with pytest.raises(APITimeoutError) as caught:
        call("get_task", ID, options={"timeout": 0.2, "retry": Retry(attempts=1)})

    assert "no complete answer within 0.2 s" in str(caught.value)
    assert "scope" not in str(caught.value)


def test_a_cause_keeps_no_frames(call: Caller) -> None:
    """The traceback of a cause would hold the request, and so the key, for a tool that prints locals."""
    call.base_url = "http://127.0.0.1:9"
    with pytest.raises(APIConnectionError) as caught:
        call("get_task", ID)

    cause: BaseException | None = caught.value.__cause__
    assert cause is not None
    while cause is not None:
        assert cause.__traceback__ is None
        cause = cause.__cause__ or cause.__context__


@pytest.mark.parametrize("kind", ["sync", "asyncio", "trio"])
def test_a_task_goes_wherever_an_id_goes(kind: str) -> None:
    """Methods that take an id take a task, too, and ask for the id that it was asked for by."""
    task = Task.from_payload({"id": "other", "state": "running"}, task_id="a")

    async def main(url: str) -> list[Task | None]:
        async with AsyncDuomi(KEY, base_url=url) as client:
            watched = [each async for each in client.watch(task)]
            outcomes = [each.task async for each in client.as_completed([task, "a"])]
            return [await client.get_task(task), await client.wait(task), *watched, *outcomes]

    with FaultServer([answer(200, payload("succeeded") | {"id": "a"})]) as server:
        if kind == "sync":
            with Duomi(KEY, base_url=server.url) as client:
                found: list[Task | None] = [client.get_task(task), client.wait(task), *client.watch(task)]
                found += [each.task for each in client.as_completed([task, "a"])]
        else:
            found = anyio.run(main, server.url, backend=kind)

    assert [each and each.task_id for each in found] == ["a"] * 4
    assert {exchange.path for exchange in server.heads} == {"/v1/videos/tasks/a"}


@pytest.mark.parametrize("text", [KEY, f"x-{KEY}-y"])
def test_the_key_is_no_task_id(text: str) -> None:
    """Arguments that were confused do not send the key in a URL."""
    with Duomi(KEY, base_url="http://127.0.0.1:1") as client:
        for call in (client.get_task, client.wait, lambda task_id: client.as_completed(["a", task_id])):
            with pytest.raises(ConfigurationError, match="holds the API key") as caught:
                call(text)
            assert KEY not in str(caught.value)
    with pytest.raises(ConfigurationError, match="the base URL holds the API key"):
        Duomi(KEY, base_url=f"https://duomi.example/{KEY}")


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_client_tells_whether_it_is_closed(kind: str) -> None:
    """`is_closed` is true after `close`, for copies as well, and closing a copy closes nothing."""
    client: Duomi | AsyncDuomi = Duomi(KEY) if kind == "sync" else AsyncDuomi(KEY)
    other = client.with_options(timeout=1.0)

    if isinstance(client, Duomi) and isinstance(other, Duomi):
        other.close()
        before = client.is_closed
        client.close()
    else:
        anyio.run(other.aclose)  # type: ignore[union-attr]
        before = client.is_closed
        anyio.run(client.aclose)  # type: ignore[union-attr]

    assert (before, client.is_closed, other.is_closed) == (False, True, True)


SHOWN = """
import logging, sys, duomi
with duomi.Duomi(sys.argv[2], base_url=sys.argv[1], retry=duomi.Retry(attempts=2, backoff=0)) as client:
    client.get_task("x")
print(logging.getLogger().level, logging.getLogger().handlers, logging.getLogger("httpx").level)
"""


@pytest.mark.parametrize("level", ["", "info", "DEBUG", "nonsense"])
def test_duomi_log_shows_the_log(level: str) -> None:
    """`DUOMI_LOG` shows the log of duomi on stderr, and leaves the root logger alone."""
    with FaultServer([answer(503, {}), answer(200, payload("succeeded") | {"more": KEY})]) as server:
        done = subprocess.run(
            [sys.executable, "-c", SHOWN, server.url, KEY], env=os.environ | {"DUOMI_LOG": level}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip

    if level == "nonsense":
        assert "DUOMI_LOG must be" in done.stderr
    else:
        assert done.stdout == "30 [] 0\n"
        assert ("attempt 2 of 2" in done.stderr) == bool(level)
        assert ("sleeping" in done.stderr) == (level == "DEBUG")
    assert KEY not in done.stderr


def test_duomi_log_shows_each_line_once() -> None:
    """A program that has set up its logging shows the log itself."""
    script = SHOWN.replace("import logging, sys, duomi", "import logging, sys; logging.basicConfig(); import duomi")
    with FaultServer([answer(503, {}), answer(200, payload("succeeded"))]) as server:
        done = subprocess.run(
            [sys.executable, "-c", script, server.url, KEY], env=os.environ | {"DUOMI_LOG": "info"}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip

    assert done.stderr.count("attempt 2 of 2") == 1


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_the_interval_of_tests_counts_on_this_machine_alone(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`DUOMI_POLL_INTERVAL` replaces the schedule for a loopback API, and is ignored with a WARNING elsewhere."""
    monkeypatch.setenv("DUOMI_POLL_INTERVAL", "0.01")
    script = [*[answer(200, payload("running"))] * 5, answer(200, payload("succeeded"))]
    with FaultServer(script) as server:
        Caller(kind, server.url)("wait", ID, options={"polling": Polling()})
    assert len(server.heads) == 6

    monkeypatch.setenv("DUOMI_POLL_INTERVAL", f"often, {kind}")
    with pytest.raises(ConfigurationError, match="DUOMI_POLL_INTERVAL"):
        Caller(kind, "http://127.0.0.1:1")("wait", ID)

    with Duomi(KEY, base_url="https://duomi.example") as client:
        for _ in range(2):
            client.as_completed(["a"])
    assert [each.levelname for each in caplog.records if "DUOMI_POLL_INTERVAL" in each.getMessage()] == ["WARNING"]


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_on_update_may_be_async(kind: str, server: Server) -> None:
    """`AsyncDuomi` awaits what `on_update` returns."""
    server.replies = [payload("succeeded")]
    seen: list[str] = []

    async def told(task: Task) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(task.state)

    Caller(kind, server.url)("wait", ID, on_update=told)

    assert seen == ["succeeded"]

"""The clients over a real socket: every promise once for sync, asyncio and trio."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
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
from harness import KEY, Caller, Server, payload
from werkzeug import Response

ID = "5dd1ef43-efeb-9017-be66-f37a9d4348ee"
KEY_WITH_SLASH = "sk-ab/cd-0123456789"


def test_get_task_sends_the_bare_key(call: Caller, server: Server) -> None:
    """A look is one GET with the bare key, our name, and an id that is one path segment."""
    server.replies = [payload("running")]

    task = call("get_task", "a/b?c#d")

    (request,) = server.requests
    assert request.environ["REQUEST_URI"] == "/v1/videos/tasks/a%2Fb%3Fc%23d"
    assert request.headers["Authorization"] == KEY
    assert request.headers["User-Agent"] == f"duomi/{duomi.__version__} python-httpx/{httpx.__version__}"
    assert request.headers["Accept-Encoding"] == "gzip, deflate"
    assert task.progress == 45


@pytest.mark.parametrize("trouble", [502, 520, 599, 408, 425, 429, Response("<html>", 200), Response("", 200), {}, []])
def test_what_passes_is_asked_again(call: Caller, server: Server, trouble: Any) -> None:
    """Trouble that passes costs an attempt and nothing else."""
    server.replies = [trouble, payload("running")]

    assert call("get_task", ID).state is TaskState.RUNNING
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(400, APIStatusError), (401, AuthenticationError), (404, NotFoundError), (302, APIStatusError),
     (payload("envelope-404"), NotFoundError)],
)  # fmt: skip
def test_what_does_not_pass_is_asked_once(call: Caller, server: Server, reply: Any, kind: type[DuomiError]) -> None:
    """A refusal is not repeated, and is told with the vendor's words."""
    server.replies = [reply]

    with pytest.raises(kind) as caught:
        call("get_task", ID)

    assert type(caught.value) is kind
    assert len(server.requests) == 1
    assert f"GET /v1/videos/tasks/{ID}" in str(caught.value)
    assert type(caught.value)(*caught.value.args) == caught.value
    assert pickle.loads(pickle.dumps(caught.value)) == caught.value


def test_attempts_are_counted(call: Caller, server: Server) -> None:
    """`attempts` counts the first one, too, and the last error comes out."""
    server.replies = [503]

    with pytest.raises(ServerError):
        call("get_task", ID, options={"retry": Retry(attempts=3, backoff=0)})

    assert len(server.requests) == 3


def test_a_long_retry_after_ends_the_retries(call: Caller, server: Server) -> None:
    """A pause that is too long is handed to the caller."""
    server.replies = [Response("{}", 429, {"Retry-After": "3600"})]

    with pytest.raises(RateLimitError) as caught:
        call("get_task", ID)

    assert caught.value.retry_after == 3600
    assert len(server.requests) == 1


def test_nobody_listening_is_a_connection_error(call: Caller) -> None:
    """A refused connection is an APIConnectionError."""
    with pytest.raises(APIConnectionError):
        call("get_task", ID, options={"base_url": "http://127.0.0.1:1"})


def test_a_slow_answer_times_out(call: Caller, server: Server) -> None:
    """`timeout` bounds an attempt."""
    import time

    def slow(_request: Any) -> Response:
        time.sleep(0.4)
        return Response("{}")

    server.replies = [slow]

    with pytest.raises(APITimeoutError):
        call("get_task", ID, options={"timeout": 0.1, "retry": Retry(attempts=1)})


def test_wait_shows_each_change(call: Caller, server: Server) -> None:
    """`on_update` is called with each change, and the finished task comes back."""
    server.replies = [payload("pending"), payload("running"), payload("running"), 502, payload("succeeded")]
    seen: list[Task] = []

    task = call("wait", ID, on_update=seen.append)

    assert [poll.state.value for poll in seen] == ["pending", "running", "succeeded"]
    assert task == seen[-1]
    assert task.is_succeeded


def test_watch_yields_a_failure_and_wait_raises_it(call: Caller, server: Server) -> None:
    """A failed task is the end of a watch, and an error of a wait."""
    server.replies = [payload("error-message")]

    assert call("watch", ID)[-1].is_failed
    with pytest.raises(TaskFailedError, match="guardrails") as caught:
        call("wait", ID)
    assert caught.value.task is not None
    assert caught.value.task.message.startswith("This content")
    assert pickle.loads(pickle.dumps(caught.value)) == caught.value


def test_wait_ends_at_its_deadline(call: Caller, server: Server) -> None:
    """A wait that takes too long says that the task goes on, and how to resume."""
    server.replies = [payload("running")]

    with pytest.raises(TaskTimeoutError, match=f"duomi wait {ID}") as caught:
        call("wait", ID, timeout=0.2)

    assert caught.value.task is not None
    assert caught.value.task.progress == 45


def test_strict_turns_deviations_into_errors(call: Caller, server: Server) -> None:
    """With `strict=True` what deviates is an error, at once."""
    server.replies = [payload("pending")]

    with pytest.raises(APIResponseError, match="/data"):
        call("wait", ID, options={"strict": True})
    assert len(server.requests) == 1


@pytest.mark.parametrize("task_id", ["", " ", ".", "..", "a\nb", "\ud800", 7, None])
def test_bad_ids_never_leave(call: Caller, server: Server, task_id: Any) -> None:
    """An id that cannot be a path segment is refused before anything is sent."""
    server.replies = [payload("running")]

    for method in ("get_task", "wait", "watch"):
        with pytest.raises(ConfigurationError):
            call(method, task_id)
    assert server.requests == []


def test_generated_functions_have_the_retries(call: Caller, server: Server) -> None:
    """The generated functions on `api` get the key, the retries and the typed errors."""
    server.replies = [502, 520, payload("succeeded")]

    model = call.with_api(
        lambda client: get_video_task.sync(ID, client=client.api),
        lambda client: get_video_task.asyncio(ID, client=client.api),
    )

    assert model.to_dict() == payload("succeeded")
    assert [request.headers["Authorization"] for request in server.requests] == [KEY] * 3


def test_a_post_is_sent_once(call: Caller, server: Server) -> None:
    """A POST that was answered 502 might have bought something, and is not sent again."""
    server.replies = [502, payload("succeeded")]

    with pytest.raises(ServerError):
        call.with_api(
            lambda client: client.api.get_httpx_client().request(method="post", url="/v1/videos", json={}),
            lambda client: client.api.get_async_httpx_client().request(method="post", url="/v1/videos", json={}),
        )

    assert len(server.requests) == 1


def test_a_post_that_was_rate_limited_is_sent_again(call: Caller, server: Server) -> None:
    """A 429 did nothing, so even a POST is repeated."""
    server.replies = [429, payload("succeeded")]

    call.with_api(
        lambda client: client.api.get_httpx_client().request(method="post", url="/v1/videos", json={}),
        lambda client: client.api.get_async_httpx_client().request(method="post", url="/v1/videos", json={}),
    )

    assert len(server.requests) == 2


def test_the_key_goes_to_the_api_alone(call: Caller) -> None:
    """The generated client's transport refuses another host."""
    with pytest.raises(ConfigurationError, match="not the API"):
        call.with_api(
            lambda client: client.api.get_httpx_client().get("http://127.0.0.2:1/"),
            lambda client: client.api.get_async_httpx_client().get("http://127.0.0.2:1/"),
        )


def test_the_generated_functions_of_the_other_kind_are_refused() -> None:
    """`Duomi.api` serves the sync functions, `AsyncDuomi.api` the asyncio functions, and each says so."""
    with pytest.raises(ConfigurationError, match=r"use Duomi\.api"):
        get_video_task.sync_detailed(ID, client=AsyncDuomi(KEY).api)
    with Duomi(KEY) as client, pytest.raises(ConfigurationError, match=r"use AsyncDuomi\.api"):
        anyio.run(partial(get_video_task.asyncio_detailed, ID, client=client.api))


def test_the_generated_client_is_configured_as_usual(call: Caller, server: Server) -> None:
    """`with_headers` and `with_timeout` make a client with the key and the retries, too."""
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


def test_a_closed_client_refuses(server: Server) -> None:
    """After `close` nothing is sent."""
    client = Duomi(KEY, base_url=server.url)
    client.close()

    for attempt in (lambda: client.get_task(ID), lambda: client.wait(ID), client.__enter__):
        with pytest.raises(ConfigurationError, match="closed"):
            attempt()


def test_the_callers_own_client_is_used_and_left_open(server: Server) -> None:
    """Requests go through the caller's client, with its headers, and it is not closed."""
    server.replies = [payload("running")]
    own = httpx.Client(headers={"X-Mine": "1"})

    with Duomi(KEY, base_url=server.url, http_client=own) as client:
        client.get_task(ID)

    assert server.requests[0].headers["X-Mine"] == "1"
    assert server.requests[0].headers["User-Agent"].startswith("duomi/")
    assert not own.is_closed
    own.close()


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "schlüssel", "\x00", b"bytes"])
def test_bad_keys_are_refused(key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that cannot be a header is refused, and so is none."""
    monkeypatch.delenv("DUOMI_API_KEY", raising=False)

    for given in (key, None):
        with pytest.raises(ConfigurationError):
            Duomi(given)


@pytest.mark.parametrize(
    "url",
    ["", " ", "duomiapi.com", "ftp://duomiapi.com", "https://", "https://user:s3cret@duomiapi.com", "http://duomiapi.com",
     "https://h/?a=b", "https://h:99999999/", "http://127.0.0.1.evil.example"],
)  # fmt: skip
def test_bad_base_urls_are_refused(url: str) -> None:
    """A base URL that is none, or would give the key away, is refused without repeating a password."""
    with pytest.raises(ConfigurationError) as caught:
        Duomi(KEY, base_url=url)

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_a_trailing_v1_is_dropped(server: Server, ending: str) -> None:
    """People configure the base URL with `/v1` and without."""
    server.replies = [payload("running")]

    with Duomi(KEY, base_url=server.url + ending) as client:
        client.get_task(ID)

    assert server.requests[0].path == f"/v1/videos/tasks/{ID}"


@pytest.mark.parametrize("value", [-1, math.nan, "5", True])
def test_bad_settings_are_refused(value: Any) -> None:
    """A setting that is no number of seconds is refused."""
    for make in (
        lambda: Retry(backoff=value), lambda: Retry(attempts=value if value != "5" else 0),
        lambda: Polling(interval=value), lambda: Polling(stall=value), lambda: Duomi(KEY, timeout=value),
    ):  # fmt: skip
        if value is True or make:
            with pytest.raises(ConfigurationError):
                make()


def test_the_key_is_in_no_repr() -> None:
    """No representation of a client or of its parts shows the key."""
    client = Duomi(KEY)

    shown = repr(client) + repr(client._driver.settings) + repr(client.api) + repr(vars(client._driver))
    assert KEY not in shown
    with pytest.raises(TypeError):
        pickle.dumps(client._driver.settings.auth)


def test_the_twins_have_the_same_signatures() -> None:
    """`Duomi` and `AsyncDuomi` have the same names and the same arguments."""
    names = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}
    sync = {n: m for n, m in vars(Duomi).items() if inspect.isfunction(m)}
    asynchronous = {names.get(n, n): m for n, m in vars(AsyncDuomi).items() if inspect.isfunction(m)}

    assert sync.keys() == asynchronous.keys()
    for name, method in sync.items():
        ours, theirs = inspect.signature(method), inspect.signature(asynchronous[name])
        assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
            (p.name, p.kind, p.default) for p in theirs.parameters.values()
        ]


def test_what_is_exported_can_be_imported() -> None:
    """`__all__` is what the package root offers, and nothing else."""
    public = {name for name, value in vars(duomi).items() if not (name.startswith("_") or inspect.ismodule(value))} | {
        "__version__"
    }

    assert public == set(duomi.__all__)


def test_unfinished_failed_and_empty_tasks_are_not_downloaded(call: Caller) -> None:
    """Only a finished task with a video has a clip."""
    for name in ("running", "error-message", "characters"):
        with pytest.raises(DownloadError):
            call("download", Task.from_payload(payload(name)))


def test_what_is_no_client_is_refused() -> None:
    """An `http_client` of the other kind, settings of another type, and a URL that is none, are refused."""
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
def test_a_time_limit_that_is_none_is_refused(call: Caller, timeout: Any) -> None:
    """The time that a wait may take is a number of seconds, or None for ever."""
    with pytest.raises(ConfigurationError):
        call("wait", ID, timeout=timeout)


def test_a_wait_without_end_goes_on(call: Caller, server: Server) -> None:
    """`None` waits for ever, which here is until the task is done."""
    server.replies = [payload("running"), payload("succeeded")]

    assert call("wait", ID, timeout=None).is_succeeded


def test_errors_can_stand_in_sets() -> None:
    """An error that equals another hashes as it does."""
    assert len({NotFoundError("a", 404), NotFoundError("a", 404), NotFoundError("b", 404)}) == 2
    assert str(DuomiError()) == ""


def test_what_a_generated_function_is_answered_is_judged(call: Caller, server: Server) -> None:
    """What calls itself JSON must be JSON; what does not is handed over as it is."""
    server.replies = [Response("hello", content_type="text/plain"), Response("{", content_type="application/json")]

    def get(client: Any) -> Any:
        return client.api.get_httpx_client().get("/v1/x")

    def aget(client: Any) -> Any:
        return client.api.get_async_httpx_client().get("/v1/x")

    assert call.with_api(get, aget).text == "hello"
    one = Duomi(KEY)
    assert one.api is one.api
    one.close()
    with pytest.raises(ConfigurationError, match="closed"):
        get(one)
    theirs = AsyncDuomi(KEY)
    assert theirs.api is theirs.api
    with pytest.raises(APIResponseError, match="not JSON"):
        call.with_api(get, aget)


def test_a_client_of_the_callers_that_is_closed_is_told(server: Server) -> None:
    """A closed `http_client` is an error of configuration, before anything is sent and in the middle."""
    own = httpx.Client()
    client = Duomi(KEY, base_url=server.url, http_client=own)
    own.close()
    with pytest.raises(ConfigurationError, match="http_client is closed"):
        client.get_task(ID)


def test_a_bug_in_the_callers_transport_comes_out_as_it_is() -> None:
    """A RuntimeError that is not about a closed client is nobody's to hide."""

    def broken(_request: httpx.Request) -> httpx.Response:
        raise RuntimeError("a bug")

    own = httpx.Client(transport=httpx.MockTransport(broken))
    with pytest.raises(RuntimeError, match="a bug"), Duomi(KEY, http_client=own) as client:
        client.get_task(ID)

    async def main() -> None:
        theirs = httpx.AsyncClient(transport=httpx.MockTransport(broken))
        async with AsyncDuomi(KEY, http_client=theirs) as client:
            await client.get_task(ID)

    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(main())


def test_a_proxy_that_needs_another_package_is_named(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SOCKS proxy without its package is a setting that cannot be used, for tasks and for clips."""
    monkeypatch.setenv("ALL_PROXY", "socks5://me:s3cret@127.0.0.1:1")
    call.base_url = "https://duomi.example"
    done = {"id": ID, "state": "succeeded", "data": {"videos": [{"url": "https://clips.example/1.mp4"}]}}

    for method, arguments in (("get_task", [ID]), ("download", [Task.from_payload(done), tmp_path])):
        with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1.*httpx\[socks\]") as caught:
            call(method, *arguments)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["socks://127.0.0.1:1", "http://me:s3c/ret@h:1", "http://[::1", "http://h:99999"])
def test_a_proxy_that_is_not_a_url_is_ignored(
    proxy: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry that cannot be read is ignored with one WARNING, which does not repeat it."""
    monkeypatch.setattr(lanes, "_warned", set())
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    assert [lanes.proxy_for(httpx.URL("https://h/")) for _ in range(2)] == [None, None]

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "s3c" not in caplog.text


PROXY = "http://127.0.0.1:9"
PROXIES: dict[str, tuple[str, dict[str, str], str | None]] = {
    "https": ("https://duomi.example", {"HTTPS_PROXY": PROXY}, PROXY),
    "all": ("https://duomi.example", {"ALL_PROXY": PROXY}, PROXY),
    "lower case": ("http://duomi.example", {"http_proxy": PROXY}, PROXY),
    "without a scheme": ("https://duomi.example", {"HTTPS_PROXY": "127.0.0.1:9"}, PROXY),
    "of another scheme": ("https://duomi.example", {"HTTP_PROXY": PROXY}, None),
    "this machine over http": ("http://127.0.0.1:8000", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
    "localhost over http": ("http://localhost:8000", {"HTTP_PROXY": PROXY}, None),
    "::1 over http": ("http://[::1]:8000", {"HTTP_PROXY": PROXY}, None),
    "no_proxy: host": ("https://duomi.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "duomi.example"}, None),
    "no_proxy: domain": ("https://a.duomi.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": ".duomi.example"}, None),
    "no_proxy: everything": ("https://duomi.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
    "no_proxy: another": ("https://duomi.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "example"}, None),
    "no_proxy: a network": ("https://10.1.2.3", {"HTTPS_PROXY": PROXY, "NO_PROXY": "::1/128, 10.0.0.0/8"}, None),
    "no_proxy: another network": ("https://10.1.2.3", {"HTTPS_PROXY": PROXY, "NO_PROXY": "::1/128,11.0.0.0/8"}, PROXY),
    "no_proxy: an address": ("https://[::1]", {"HTTPS_PROXY": PROXY, "NO_PROXY": "[::1]"}, None),
    "no_proxy: an address without brackets": ("https://[::1]", {"HTTPS_PROXY": PROXY, "NO_PROXY": "::1"}, None),
    "no_proxy: garbage": ("https://duomi.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "[::1,,/8,:"}, PROXY),
}  # fmt: skip


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_is_what_the_environment_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables and exceptions are read as other programs read them; there is none for this machine over http."""
    url, environment, wanted = PROXIES[name]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    proxy = lanes.proxy_for(httpx.URL(url))

    assert (proxy and str(proxy.url)) == wanted


def test_a_key_that_the_vendor_sends_back_is_taken_out(call: Caller, server: Server) -> None:
    """Neither the task nor the error of one that failed holds the key, wherever the vendor puts it."""
    server.replies = [{"id": ID, "state": "error", "message": f"bad key {KEY}", "data": {"of": [KEY]}}]

    with pytest.raises(TaskFailedError, match=r"bad key \*\*\*") as caught:
        call("wait", ID)

    assert KEY not in repr(caught.value.args)
    assert caught.value.task is not None
    assert KEY not in repr(caught.value.task.raw)


def test_a_short_key_is_no_reason_to_change_an_answer(server: Server) -> None:
    """A key that might be a word of the answer's own stays there: what is no secret hides nothing."""
    server.replies = [payload("running")]

    with Duomi("running", base_url=server.url) as client:
        assert client.get_task(ID).state == "running"


class _AsyncCall:
    async def __call__(self, *_arguments: object) -> None: ...


async def async_function(*_arguments: object) -> None: ...


NOT_CALLBACKS: dict[str, Any] = {
    "an async function": async_function,
    "a partial of one": partial(async_function, 1),
    "an object with an async __call__": _AsyncCall(),
    "a number": 5,
}


@pytest.mark.parametrize("name", NOT_CALLBACKS)
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_callback_that_cannot_work_is_told_before_anything_is_sent(kind: str, name: str, server: Server) -> None:
    """A callback that cannot be called, or whose coroutine would not be awaited, is a setting that cannot be used."""
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


def test_what_cannot_work_is_told_before_anything_is_sent(call: Caller, server: Server) -> None:
    """An id for a task, and a collection that is none, are arguments that cannot be used."""
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


def test_no_answer_names_the_host(call: Caller) -> None:
    """Where nobody answers the error says who should have."""
    call.base_url = "http://127.0.0.1:9"

    with pytest.raises(APIConnectionError, match=r"no answer from 127\.0\.0\.1:9: "):
        call("get_task", ID)


@pytest.mark.parametrize("written", [KEY_WITH_SLASH, KEY_WITH_SLASH.replace("/", "\\/")])
def test_a_key_is_taken_out_however_json_writes_it(server: Server, written: str) -> None:
    """A key with a character that JSON may escape is found in both forms, and in the headers of a generated answer."""
    body = json.dumps(payload("error-message") | {"message": "key KEY is blocked"}).replace("KEY", written)
    server.replies = [Response(body, 200, {"x-echo": KEY_WITH_SLASH}, content_type="application/json")]
    with Duomi(KEY_WITH_SLASH, base_url=server.url) as client:
        assert client.get_task("a").message == "key *** is blocked"
        assert get_video_task.sync_detailed(client=client.api, task_id="a").headers["x-echo"] == "***"


@pytest.mark.parametrize("directory", [None, 5, "a\0b"])
def test_a_folder_that_is_none_is_a_setting(call: Caller, server: Server, directory: Any) -> None:
    """What cannot be the path of a folder is told as such."""
    with pytest.raises(ConfigurationError, match="directory"):
        call("download", Task.from_payload(payload("succeeded")), directory)


@pytest.mark.parametrize("timeout", [math.inf, 10**400, -1, math.nan, True, "5"])
def test_a_time_limit_ends(call: Caller, timeout: Any) -> None:
    """Only `None` waits for ever, and a number that is no time is told as such."""
    with pytest.raises(ConfigurationError, match="timeout"):
        call("wait", ID, timeout=timeout)
    with pytest.raises(ConfigurationError, match="timeout"):
        call("get_task", ID, options={"timeout": timeout})

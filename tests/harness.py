"""What the tests share: a client of each kind behind one interface, and a server that answers by script."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import trio  # noqa: F401  (imported here, so that no test's time limit includes it)
from duomi import AsyncDuomi, Duomi, Polling, Retry
from duomi._config import Settings
from duomi._core.rate import Rate
from duomi._core.request import Requests, Runtime
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

# The tables are long, so only `make test-all` runs them with trio.
TABLE_KINDS = ["sync", "asyncio", pytest.param("trio", marks=pytest.mark.slow)]
KEY = "sk-test-0123456789"
QUICK = Retry(backoff=0.0)
POLLING = Polling(interval=0.01, timeout=60.0)
PAYLOADS = Path(__file__).parent / "payloads"


def until(condition: Callable[[], object], limit: float = 60.0) -> None:
    """Wait until a condition is true, at most `limit` seconds."""
    ends_at = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < ends_at, f"the condition is still false after {limit} s"
        time.sleep(0.02)


def requests_on(clock: Callable[[], float], retry: Retry, max_rate: float | None = None) -> Requests:
    """Return what makes the flows of a client, on a clock of the test's own and with a jitter of one half."""
    settings = Settings.of(
        KEY, "https://duomiapi.com", 30.0, retry, Polling(), max_rate, strict=False, allow_insecure=False
    )
    rate = Rate(settings.max_rate, nullcontext)
    return Requests(settings, httpx.Headers(), Runtime(clock, lambda: 0.5), rate)


def payload(name: str) -> Any:
    """Return a copy of one of the live API's replies."""
    return json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))


class Caller:
    """Calls a method by name on a new client, so that one test serves sync, asyncio and trio."""

    def __init__(self, kind: str, base_url: str) -> None:
        self.kind = kind
        self.base_url = base_url

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"base_url": self.base_url, "retry": QUICK, "polling": POLLING} | given

    def __call__(self, method: str, *arguments: Any, options: dict[str, Any] | None = None, **keywords: Any) -> Any:
        given = self.options(options or {})
        if self.kind == "sync":
            with Duomi(KEY, **given) as client:
                result = getattr(client, method)(*arguments, **keywords)
                return list(result) if method == "watch" else result

        async def call() -> Any:
            async with AsyncDuomi(KEY, **given) as client:
                result = getattr(client, method)(*arguments, **keywords)
                return [task async for task in result] if method == "watch" else await result

        return anyio.run(call, backend=self.kind)

    def script(self, steps: Callable[[Any], list[Callable[[], Any]]], *, pause: float = 0.0) -> list[Any]:
        """Make several calls on one client, with pauses between them."""
        results: list[Any] = []
        if self.kind == "sync":
            with Duomi(KEY, **self.options({})) as client:
                for step in steps(client):
                    results.append(step())
                    time.sleep(pause)
            return results

        async def call() -> list[Any]:
            async with AsyncDuomi(KEY, **self.options({})) as client:
                for step in steps(client):
                    results.append(await step())
                    await anyio.sleep(pause)
            return results

        return anyio.run(call, backend=self.kind)

    def with_api(self, sync: Callable[[Duomi], Any], asynchronous: Callable[[AsyncDuomi], Awaitable[Any]]) -> Any:
        if self.kind == "sync":
            with Duomi(KEY, **self.options({})) as client:
                return sync(client)

        async def call() -> Any:
            async with AsyncDuomi(KEY, **self.options({})) as client:
                return await asynchronous(client)

        return anyio.run(call, backend=self.kind)


class Server:
    """Answers each request with the next of its replies, and the last one again and again."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("").rstrip("/")
        self.requests: list[Request] = []
        self.replies: list[Any] = []
        server.clear()
        server.expect_request(re.compile(".*", re.DOTALL)).respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        request.get_data()
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if callable(reply) and not isinstance(reply, Response):
            reply = reply(request)
        if isinstance(reply, int):
            return Response("{}", reply, content_type="application/json")
        return reply if isinstance(reply, Response) else Response(json.dumps(reply), content_type="application/json")

"""The API in a box: for demos, and for tests of code that uses this package (extra: `simulator`)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import attrs

try:
    from pytest_httpserver import HTTPServer
    from werkzeug import Request, Response
    from werkzeug.http import parse_range_header
except ModuleNotFoundError as _error:
    _said = f'{_error.name} is missing; install the extra: pip install "duomi[simulator]"'
    raise ModuleNotFoundError(_said, name=_error.name) from _error

__all__ = ["EXAMPLE_ID", "Script", "Simulator"]

EXAMPLE_ID = "5dd1ef43-efeb-9017-be66-f37a9d4348ee"
CLIP = Path(__file__).with_name("simulator.mp4")

_BEGAN = 1_762_000_000
_TASKS = re.compile(r"/v1/videos/tasks/(.*)", re.DOTALL)
_FILES = re.compile(r"/files/(.*)\.mp4", re.DOTALL)


def _are_percentages(_script: object, _attribute: object, value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(each, int) for each in value):
        raise ValueError(f"running is a tuple of percentages such as (10, 60), not {value!r}")


@attrs.frozen
class Script:
    """How one task goes, counted in polls, so that nothing depends on time."""

    pending: int = attrs.field(default=1, validator=attrs.validators.ge(0))
    """How many polls find it pending."""
    running: tuple[int, ...] = attrs.field(default=(10, 60), validator=_are_percentages)
    """The progress, in percent, that the polls after those find."""
    outcome: Literal["video", "character", "error"] = attrs.field(
        default="video", validator=attrs.validators.in_(("video", "character", "error"))
    )
    """What every poll after those finds; an empty result is left to `Simulator.answer`."""
    message: str = ""
    """The reason of a failure, or what the vendor says of a success."""


class _Server(HTTPServer):
    def thread_target(self) -> None:
        """Check often whether to stop: every test that serves waits for that at its end, half a second otherwise."""
        server: Any = self.server  # `start` has just made it
        server.serve_forever(poll_interval=0.01)


class Simulator:
    """Answers like the live API.

    Args:
        tasks: the scripts by task id; `None` knows the contract's example id alone.
        api_key: the one key that is accepted; `None` accepts any.
        answer: is asked first, and may misbehave: it returns a response, or `None` to have the request answered.
    """

    tasks: dict[str, Script]
    """The scripts by task id, which may be changed while it serves."""
    answer: Callable[[Request], Response | None] | None
    """Is asked first, and may be set while it serves."""
    base_url: str
    """Where it serves; `""` while it does not."""

    def __init__(
        self,
        tasks: Mapping[str, Script] | None = None,
        *,
        api_key: str | None = None,
        answer: Callable[[Request], Response | None] | None = None,
    ) -> None:
        self.tasks = {EXAMPLE_ID: Script()} if tasks is None else dict(tasks)
        self._api_key = api_key
        self.answer = answer
        self.base_url = ""
        self._polls: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> Generator[str]:
        """Serve on a host and a port until the block is left, and yield the base URL; port 0 is any that is free.

        Raises:
            OSError: the port cannot be had.
        """
        # Werkzeug would end the process.
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        logger = logging.getLogger("werkzeug")
        level = logger.level
        logger.setLevel(logging.ERROR)
        server = _Server(host=host, port=port, threaded=True)
        server.expect_request(re.compile(".*", re.DOTALL)).respond_with_handler(self.respond)
        try:
            with server:
                # A server on all addresses of a machine is asked on its own.
                own = "[::1]" if ":" in host else "127.0.0.1"
                is_everywhere = _is_every_address(host)
                self.base_url = f"http://{own}:{server.port}" if is_everywhere else server.url_for("").rstrip("/")
                yield self.base_url
                # What `answer` raised was a 500 to the client; here it comes out.
                server.check_handler_errors()
        finally:
            self.base_url = ""
            logger.setLevel(level)

    def polls(self, task_id: str) -> int:
        """Return how often the task `task_id` was asked for."""
        with self._lock:
            return self._polls.get(task_id, 0)

    def respond(self, request: Request) -> Response:
        """Answer one request."""
        scripted = self.answer(request) if self.answer is not None else None
        if scripted is not None:
            return scripted
        if clip := _FILES.fullmatch(request.path):
            return self._clip(request) if clip[1] in self.tasks else Response("no such file", 404)
        if request.method != "GET" or not (task := _TASKS.fullmatch(request.path)):
            return _json({"message": "not found"}, 404)
        key = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if not key or (self._api_key is not None and key != self._api_key):
            return _json({"code": 403, "msg": "no permission"})
        if task[1] not in self.tasks:
            return _json({"code": 404, "msg": "not found"})
        with self._lock:
            poll = self._polls[task[1]] = self._polls.get(task[1], 0) + 1
        return _json(self.payload(task[1], poll, request.host_url.rstrip("/")))

    def payload(self, task_id: str, poll: int, base_url: str) -> dict[str, Any]:
        """Return what the API says of the task `task_id` at its first, second, ... poll; its clip is below `base_url`."""
        script = self.tasks[task_id]
        step = poll - script.pending
        state, progress = "pending", 0
        data: dict[str, list[dict[str, str]]] = {"videos": []}
        message = ""
        if 0 < step <= len(script.running):
            state, progress = "running", script.running[step - 1]
        elif step > 0:
            message = script.message
            state, progress = ("error", 0) if script.outcome == "error" else ("succeeded", 100)
            if script.outcome == "video":
                data = {"videos": [{"url": f"{base_url}/files/{quote(task_id, safe='')}.mp4"}]}
            elif script.outcome == "character":
                data = {"characters": [{"id": f"character.{sha256(task_id.encode()).hexdigest()[:8]}"}]}
        return {
            "id": task_id,
            "state": state,
            "data": data,
            "progress": progress,
            "create_time": _BEGAN,
            "update_time": _BEGAN + poll,
            "message": message,
            "action": "characters" if script.outcome == "character" else "generate",
        }

    def _clip(self, request: Request) -> Response:
        content = CLIP.read_bytes()
        etag = f'"{sha256(content).hexdigest()[:16]}"'
        headers = {"Content-Type": "video/mp4", "ETag": etag, "Accept-Ranges": "bytes"}
        wanted = parse_range_header(request.headers.get("Range"))
        whole = request.headers.get("If-Range", etag) != etag
        span = None if wanted is None or whole else wanted.range_for_length(len(content))
        if span is None:
            return Response(content, 200, headers)
        headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{len(content)}"
        return Response(content[span[0] : span[1]], 206, headers)


def _is_every_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ip_address(host).is_unspecified
    return False


def proxy_variables() -> list[str]:
    """Return the names of the environment's variables that put a proxy between this machine and itself."""
    return [name for name in os.environ if name.lower() in {"http_proxy", "https_proxy", "all_proxy"}]


def _json(payload: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(payload, ensure_ascii=False), status, content_type="application/json")

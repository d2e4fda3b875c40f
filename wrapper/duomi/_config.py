"""What a client is made of: its key, its base URL and its settings, checked before anything is sent."""

import json
import logging
import math
import os
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import partial
from inspect import iscoroutinefunction
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias, TypeVar, get_args
from urllib.parse import quote

import attrs
import httpx
from duomi_api.contract import SERVER

from duomi._errors import ConfigurationError
from duomi._policy import Polling, Retry, is_seconds
from duomi._task import Task
from duomi._version import __version__

T = TypeVar("T")

log = logging.getLogger("duomi")
_warned: set[str] = set()

HEADERS = {
    "user-agent": f"duomi/{__version__} python-httpx/{httpx.__version__}",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
}

IfExists: TypeAlias = Literal["error", "replace", "skip"]

LONGEST_TIMEOUT: Final = 86_400.0
SHORTEST_SECRET: Final = 8
LONGEST_ID: Final = 512
LONGEST_KEY: Final = 4_096
_QUOTES: Final = "\"'`"
_LOOPBACK = IPv4Network("127.0.0.0/8")


class APIKeyAuth(httpx.Auth):
    """Signs a request with the bare key while it is sent, and is the only object that holds the key."""

    def __init__(self, api_key: str | None) -> None:
        key = _variable("DUOMI_API_KEY") if api_key is None else api_key
        source = "DUOMI_API_KEY: the API key" if api_key is None else "the API key"
        if key is None:
            raise ConfigurationError(
                "no API key: set the environment variable DUOMI_API_KEY (in Python also: api_key=...)"
            )
        if not isinstance(key, str):
            raise ConfigurationError(f"the API key is a str, not {type(key).__name__}")
        key = key.strip()
        if mistake := _mistake_in(key):
            del key  # what shows a traceback may show its variables
            raise ConfigurationError(f"{source} {mistake}")
        self.__key = key
        # A server may repeat the part behind a scheme word such as Bearer alone.
        secrets = [each for each in dict.fromkeys((key, key.rpartition(" ")[2])) if len(each) >= SHORTEST_SECRET]
        if not secrets:
            log.warning("the API key is shorter than %d characters; is it complete?", SHORTEST_SECRET)
        self.__secrets = secrets
        self.__escaped: re.Pattern[str] | None = None
        self.__escaped_in_body: re.Pattern[bytes] | None = None
        self.__signed: tuple[httpx.Headers | None, httpx.Headers | None] = (None, None)

    def __repr__(self) -> str:
        return "APIKeyAuth('***')"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a key is not pickled: make a client where it is needed")

    def sign(self, headers: httpx.Headers) -> httpx.Headers:
        """Return a copy of the headers with the key; that of the last headers is kept."""
        unsigned, signed = self.__signed
        if unsigned is not headers or signed is None:
            signed = httpx.Headers(headers)
            signed["Authorization"] = self.__key
            self.__signed = headers, signed
        return signed

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign a request of the caller's own client for the time of the attempt, so that no error carries the key."""
        unsigned = request.headers
        request.headers = httpx.Headers(unsigned)
        request.headers["Authorization"] = self.__key
        try:
            yield request
        finally:
            request.headers = unsigned

    def check_free_of_key(self, name: str, text: str) -> str:
        """Return a text that will be in URLs and messages.

        Raises:
            ConfigurationError: it holds the key, as if the arguments had been confused.
        """
        if self.redact(text) != text:
            raise ConfigurationError(f"{name} holds the API key, which must not be in URLs and logs")
        return text

    def redact(self, text: str) -> str:
        """Replace the key in a text that a server or a library wrote; a short one only if it is all of the text."""
        for secret in self.__secrets:
            text = text.replace(secret, "***")
        if self.__secrets and ("%" in text or "\\" in text):
            if self.__escaped is None:
                # To compile it takes a hundred times longer than to replace.
                self.__escaped = re.compile(_written(self.__secrets))
            text = self.__escaped.sub("***", text)
        return "***" if text == self.__key else text

    def redact_body(self, body: bytes) -> bytes:
        """Replace the key in a response that sends it back; a short one only where it is a whole value."""
        if not self.__secrets:
            whole = re.escape(json.dumps(self.__key).encode()) + rb"(?!\s*:)"
            return re.sub(whole, b'"***"', body)
        for secret in self.__secrets:
            body = body.replace(secret.encode(), b"***")
        if b"%" in body or b"\\" in body:
            if self.__escaped_in_body is None:
                self.__escaped_in_body = re.compile(_written(self.__secrets).encode())
            body = self.__escaped_in_body.sub(b"***", body)
        return body


def _mistake_in(key: str) -> str | None:
    """Return what is wrong with a key, without the key."""
    if not key:
        return "is blank"
    if not (key.isascii() and key.isprintable()):
        return "has characters that are not printable ASCII"
    if len(key) > LONGEST_KEY:
        return f"is longer than {LONGEST_KEY} characters"
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        return "is in quotes, which would be sent, too: leave them out"
    if key.lower().startswith("authorization:"):
        return "begins with `Authorization:`: give the key alone"
    return None


def _written(secrets: Iterable[str]) -> str:
    """Return a pattern of how a server may write a secret."""
    return "|".join("".join(map(_one_written, secret)) for secret in secrets)


def _one_written(character: str) -> str:
    """Return a pattern of how a server may write a character: plain, in a URL, or in JSON."""
    code = f"{ord(character):02x}"
    in_hex = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in code)
    return rf"(?:\\?{re.escape(character)}|%{in_hex}|\\u00{in_hex})"


def _variable(name: str) -> str | None:
    """Return an environment variable; an empty one counts as unset."""
    return os.environ.get(name) or None


class Settings(NamedTuple):
    """The settings of one client."""

    auth: APIKeyAuth
    base_url: str
    timeout: float
    retry: Retry
    polling: Polling
    strict: bool
    max_rate: float

    @classmethod
    def of(
        cls, api_key: str | None, base_url: str | None, timeout: float, retry: Retry, polling: Polling,
        max_rate: float | None, *, strict: bool, allow_insecure: bool,
    ) -> Self:  # fmt: skip
        """Check the arguments of a client.

        Raises:
            ConfigurationError: one of them cannot be used.
        """
        _set_up_log()
        auth = APIKeyAuth(api_key)
        return cls(
            auth,
            auth.check_free_of_key(
                "the base URL",
                _base_url(base_url, allow_insecure=_check_kind("allow_insecure", allow_insecure, bool)),
            ),
            _check_attempt_timeout(timeout),
            _check_kind("retry", retry, Retry),
            _check_kind("polling", polling, Polling),
            _check_kind("strict", strict, bool),
            _check_max_rate(max_rate),
        )

    def with_options(self, timeout: Any, retry: Any, polling: Any, strict: Any) -> Self:
        """Return settings with other values; `...` keeps the value.

        Raises:
            ConfigurationError: a value cannot be used.
        """
        changed: dict[str, Any] = {}
        if timeout is not ...:
            changed["timeout"] = _check_attempt_timeout(timeout)
        if retry is not ...:
            changed["retry"] = _check_kind("retry", retry, Retry)
        if polling is not ...:
            changed["polling"] = _check_kind("polling", polling, Polling)
        if strict is not ...:
            changed["strict"] = _check_kind("strict", strict, bool)
        return self._replace(**changed)


def _set_up_log() -> None:
    """Show the log on stderr as `DUOMI_LOG` wants it; the root logger, and so what others log, is left alone."""
    wanted = (_variable("DUOMI_LOG") or "").strip().upper()
    if not wanted:
        return
    if wanted not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ConfigurationError(f"DUOMI_LOG must be debug, info, warning or error, not {wanted[:40].lower()!r}")
    log.setLevel(wanted)
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        # A program that has set up its logging shows them itself.
        handler.addFilter(lambda record: not (log.propagate and _is_shown(record)))
        log.addHandler(handler)


def _is_shown(record: logging.LogRecord) -> bool:
    return any(record.levelno >= handler.level for handler in logging.getLogger().handlers)


def _check_attempt_timeout(timeout: object) -> float:
    if not is_seconds(timeout) or timeout == 0:
        raise ConfigurationError(f"timeout must be a number of seconds above 0, not {timeout!r}")
    # The system counts the milliseconds of a longer one wrong.
    return min(float(timeout), LONGEST_TIMEOUT)  # type: ignore[arg-type]


def _check_kind(name: str, value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise ConfigurationError(
            f"{name} must be a {kind.__module__}.{kind.__name__}, not {value!r}".replace("builtins.", "")
        )
    return value


def _check_max_rate(max_rate: object) -> float:
    if max_rate is None:
        return math.inf
    if not is_seconds(max_rate) or max_rate == 0 or not is_seconds(1 / float(max_rate)):  # type: ignore[arg-type]
        raise ConfigurationError(f"max_rate must be a number of requests a second above 0, or None, not {max_rate!r}")
    return float(max_rate)  # type: ignore[arg-type]


def _base_url(given: str | None, *, allow_insecure: bool) -> str:
    text = (_variable("DUOMI_BASE_URL") or SERVER) if given is None else given
    source = "DUOMI_BASE_URL: the base URL" if given is None and _variable("DUOMI_BASE_URL") else "the base URL"
    if not isinstance(text, str):
        raise ConfigurationError(f"{source} is a str, not {type(text).__name__}")
    if not text.strip():
        raise ConfigurationError(f"{source} is blank")
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigurationError(f"{source} is not a URL") from (None if "@" in text else error)
    if url.userinfo or "@" in url.netloc.decode("ascii", "replace"):
        raise ConfigurationError(f"{source} holds a user or a password, which would end up in logs")
    if (
        url.scheme not in {"http", "https"}
        or not url.host
        or "?" in text
        or "#" in text
        or not 0 < (url.port or 1) < 65_536
    ):
        raise ConfigurationError(f"{source} is not an absolute http or https URL such as https://duomiapi.com")
    if url.scheme == "http" and not allow_insecure and not is_loopback(url.host):
        raise ConfigurationError(
            f"{source} begins with http://, so the key would travel in the clear: use https://"
            + (", or allow_insecure=True" if given is not None else "")
        )
    return str(url).rstrip("/").removesuffix("/v1").rstrip("/")


@contextmanager
def loading() -> Generator[None]:
    """Import within this block what is loaded at first use, when there may be no file descriptor left.

    Raises:
        ConfigurationError: a module cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"a part of duomi cannot be loaded: {error}") from error


def with_interval_of_tests(polling: Polling, base_url: str) -> Polling:
    """Return how a wait polls, by `DUOMI_POLL_INTERVAL` if it is set and the API is on this machine, as in tests.

    Raises:
        ConfigurationError: it is no number of seconds.
    """
    text = _variable("DUOMI_POLL_INTERVAL")
    if text is None:
        return polling
    if not is_loopback(httpx.URL(base_url).host):
        if text not in _warned:
            _warned.add(text)
            log.warning("DUOMI_POLL_INTERVAL is for tests on this machine, and ignored for %s", base_url)
        return polling
    try:
        return attrs.evolve(polling, interval=float(text))
    except ValueError as error:  # a ConfigurationError is one, too
        raise ConfigurationError(f"DUOMI_POLL_INTERVAL must be a number of seconds, not {text[:40]!r}") from error


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine itself."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address in _LOOPBACK if address.version == 4 else address == ip_address("::1")


def check_task_id(task: object) -> str:
    """Return an id, or that of a task, which can stand in a URL as one segment.

    Raises:
        ConfigurationError: it is neither a str nor a task, is blank, `.` or `..`, is too long, has blanks around it, control
            characters or lone surrogates.
    """
    task_id = task.task_id if isinstance(task, Task) else task
    if not isinstance(task_id, str):
        raise ConfigurationError(f"a task id is a str or a duomi.Task, not {type(task_id).__name__}")
    if not task_id.strip() or task_id in {".", ".."}:
        raise ConfigurationError(f"{task_id!r} is not a task id")
    if task_id != task_id.strip():
        raise ConfigurationError(f"the task id {task_id!r} has blanks around it")
    if len(task_id) > LONGEST_ID:
        raise ConfigurationError(f"the task id {task_id[:40]!r}... is longer than {LONGEST_ID} characters")
    if re.search(r"[\x00-\x1f\x7f-\x9f]", task_id):
        raise ConfigurationError(f"the task id {task_id!r} has control characters")
    try:
        quote(task_id, safe="")
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"the task id {task_id!r} has lone surrogates") from error
    return task_id


def check_task(task: object) -> Task:
    """Return a task.

    Raises:
        ConfigurationError: it is something else, an id for example.
    """
    if not isinstance(task, Task):
        raise ConfigurationError(f"download takes a duomi.Task, as wait returns it, not {type(task).__name__}")
    return task


def check_tasks(tasks: Iterable[str | Task]) -> Iterable[str | Task]:
    """Return a collection of ids or tasks.

    Raises:
        ConfigurationError: it is not a collection of ids or tasks.
    """
    if isinstance(tasks, str | Task):
        raise ConfigurationError(f"tasks is a collection of ids or tasks, not one {type(tasks).__name__}")
    if not isinstance(tasks, Iterable):
        raise ConfigurationError(f"tasks is a collection of ids or tasks, not {type(tasks).__name__}")
    return tasks


def check_max_in_flight(max_in_flight: object) -> None:
    """Check how many polls may be under way.

    Raises:
        ConfigurationError: it is not a whole number from 1 on.
    """
    if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int) or max_in_flight < 1:
        raise ConfigurationError(f"max_in_flight must be a whole number, 1 or more, not {max_in_flight!r}")


def check_callback(name: str, callback: object, *, may_be_async: bool = False) -> None:
    """Check that a callback does something when it is called.

    Raises:
        ConfigurationError: it cannot be called, or it is an async function, whose coroutine would not be awaited.
    """
    if callback is None:
        return
    if not callable(callback):
        raise ConfigurationError(f"{name} must be a function, not {callback!r}")
    if may_be_async:
        return
    function: Any = callback
    while isinstance(function, partial):
        function = function.func
    if iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004  (its code is asked for)
        raise ConfigurationError(
            f"{name} is an async function, whose coroutine would not be awaited here: pass a plain one"
        )


def check_directory(directory: object) -> Path:
    """Return the path of a folder, absolute from now on.

    Raises:
        ConfigurationError: it is no path, or the current directory is gone.
    """
    if not isinstance(directory, str | os.PathLike) or "\0" in str(os.fspath(directory)):
        raise ConfigurationError(f"directory must be the path of a folder, not {directory!r}")
    try:
        return Path(os.fsdecode(directory)).absolute()
    except FileNotFoundError as error:
        raise ConfigurationError("the current directory does not exist any more") from error


def check_if_exists(if_exists: Any) -> IfExists:
    """Return what happens to a file that already exists.

    Raises:
        ConfigurationError: it is another value.
    """
    if if_exists not in get_args(IfExists):
        raise ConfigurationError(f"if_exists must be 'error', 'replace' or 'skip', not {if_exists!r}")
    choice: IfExists = if_exists
    return choice


def check_timeout(timeout: float | None) -> float:
    """Return the seconds that a wait may take, `math.inf` forever.

    Raises:
        ConfigurationError: it is negative, or not a number.
    """
    if timeout is None:
        return float("inf")
    if not is_seconds(timeout):
        raise ConfigurationError(f"timeout must be a number of seconds, 0 or more, or None, not {timeout!r}")
    return float(timeout)

"""The errors that callers meet.

DuomiError
├── ConfigurationError (ValueError)
├── APIConnectionError
│   └── APITimeoutError (TimeoutError)
├── APIStatusError
│   ├── AuthenticationError      401
│   ├── PermissionDeniedError    403
│   ├── NotFoundError            404
│   ├── RateLimitError           429
│   └── ServerError              5xx
├── APIResponseError
├── TaskError
│   ├── TaskFailedError
│   ├── TaskTimeoutError (TimeoutError)
│   ├── TaskStalledError
│   └── EmptyResultError
└── DownloadError
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BODY_LIMIT = 2_000


class DuomiError(Exception):
    """Anything that this package raises.

    An error equals `type(e)(*e.args)`, and its `args` are plain JSON values, so it survives pickle and a task queue.
    """

    __module__ = "duomi"

    is_transient: bool = False
    """Whether asking again later may succeed."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, DuomiError) and other.args == self.args

    def __hash__(self) -> int:
        return hash((type(self), str(self)))


class ConfigurationError(DuomiError, ValueError):
    """The key, the base URL, a task id or a setting cannot be used; nothing was sent."""

    __module__ = "duomi"


class APIConnectionError(DuomiError):
    """No answer came: refused, reset, broken off, garbage, or a failure of DNS, TLS or a proxy."""

    __module__ = "duomi"

    def __init__(self, text: str, is_transient: bool = True) -> None:  # noqa: FBT001, FBT002  (one of `args`)
        super().__init__(text, is_transient)
        # TimeoutError is an OSError, which takes two arguments for a number and a text.
        self.args: tuple[Any, ...] = (text, is_transient)
        self.is_transient = is_transient


class APITimeoutError(APIConnectionError, TimeoutError):
    """No complete answer came within the time limit of one attempt."""

    __module__ = "duomi"


class APIStatusError(DuomiError):
    """The API refused, by HTTP status or by an envelope `{code, msg}` under status 200."""

    __module__ = "duomi"

    status_code: int
    """The HTTP status as sent, so 200 for an envelope."""
    code: int | None
    """The vendor's own number in the body, if there is one."""
    message: str
    """What the vendor said; `""` if it said nothing."""
    body: str
    """The first 2,000 characters of the answer."""
    request_id: str | None
    """The id by which the vendor can find the request, if one was sent."""
    retry_after: float | None
    """Seconds, if the answer asks for a pause."""

    def __init__(
        self,
        text: str,
        status_code: int = 0,
        code: int | None = None,
        message: str = "",
        body: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
        is_transient: bool = False,  # noqa: FBT001, FBT002  (as above)
    ) -> None:
        super().__init__(text, status_code, code, message, body, request_id, retry_after, is_transient)
        self.is_transient = is_transient
        self.status_code = status_code
        self.code = code
        self.message = message
        self.body = body
        self.request_id = request_id
        self.retry_after = retry_after


class AuthenticationError(APIStatusError):
    """401: the key is missing or wrong."""

    __module__ = "duomi"


class PermissionDeniedError(APIStatusError):
    """403: the key may not do this, or its credit is used up."""

    __module__ = "duomi"


class NotFoundError(APIStatusError):
    """404: the API knows no such task."""

    __module__ = "duomi"


class RateLimitError(APIStatusError):
    """429: too many requests."""

    __module__ = "duomi"


class ServerError(APIStatusError):
    """5xx: the vendor's side failed."""

    __module__ = "duomi"


_BY_STATUS: Mapping[int, type[APIStatusError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}


def status_error_type(status: int) -> type[APIStatusError]:
    """Return the class for an HTTP status, or for an envelope's code in its place."""
    return ServerError if 500 <= status <= 599 else _BY_STATUS.get(status, APIStatusError)


class APIResponseError(DuomiError):
    """An answer came, and it is not a task."""

    __module__ = "duomi"

    status_code: int
    """The HTTP status; 0 if the payload came from elsewhere."""
    content_type: str
    """As sent; `""` if none was."""
    body: str
    """The first 2,000 characters."""

    def __init__(
        self,
        text: str,
        status_code: int = 0,
        content_type: str = "",
        body: str = "",
        is_transient: bool = False,  # noqa: FBT001, FBT002  (as above)
    ) -> None:
        super().__init__(text, status_code, content_type, body, is_transient)
        self.is_transient = is_transient
        self.status_code = status_code
        self.content_type = content_type
        self.body = body


class DownloadError(DuomiError):
    """A clip could not be saved."""

    __module__ = "duomi"

    url: str
    """Where the clip should have come from; `""` if there was none."""
    path: Path | None
    """The file that was not written, if it is known."""
    saved: list[Path]
    """The files that had been saved before."""

    def __init__(
        self,
        text: str,
        url: str = "",
        path: str | None = None,
        saved: Sequence[str] = (),
        is_transient: bool = False,  # noqa: FBT001, FBT002  (as above)
    ) -> None:
        super().__init__(text, url, path, list(saved), is_transient)
        self.is_transient = is_transient
        self.url = url
        self.path = None if path is None else Path(path)
        self.saved = [Path(name) for name in saved]

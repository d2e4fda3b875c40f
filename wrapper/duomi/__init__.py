"""The client for duomiapi.com's video tasks."""

import importlib
import typing

from duomi_api.models import TaskAction, TaskState

from duomi._client import Duomi
from duomi._errors import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    DownloadError,
    DuomiError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from duomi._policy import Observation, Polling, Retry
from duomi._task import (
    Character,
    EmptyResultError,
    Task,
    TaskError,
    TaskFailedError,
    TaskStalledError,
    TaskTimeoutError,
    Video,
)
from duomi._version import __version__

if typing.TYPE_CHECKING:
    from duomi._async_client import AsyncDuomi
    from duomi._core.scheduler import Outcome
    from duomi._io.aio_clips import AsyncClip
    from duomi._io.aio_completed import AsyncCompleted
    from duomi._io.clips import Clip
    from duomi._io.completed import Completed

__all__ = [
    "APIConnectionError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncClip",
    "AsyncCompleted",
    "AsyncDuomi",
    "AuthenticationError",
    "Character",
    "Clip",
    "Completed",
    "ConfigurationError",
    "DownloadError",
    "Duomi",
    "DuomiError",
    "EmptyResultError",
    "NotFoundError",
    "Observation",
    "Outcome",
    "PermissionDeniedError",
    "Polling",
    "RateLimitError",
    "Retry",
    "ServerError",
    "Task",
    "TaskAction",
    "TaskError",
    "TaskFailedError",
    "TaskState",
    "TaskStalledError",
    "TaskTimeoutError",
    "Video",
    "__version__",
]

_AT_FIRST_USE = {
    "AsyncClip": "duomi._io.aio_clips",
    "AsyncCompleted": "duomi._io.aio_completed",
    "AsyncDuomi": "duomi._async_client",
    "Clip": "duomi._io.clips",
    "Completed": "duomi._io.completed",
    "Outcome": "duomi._core.scheduler",
}


def __getattr__(name: str) -> object:
    """Import what only some need when it is first asked for: those who block do not need anyio.

    Raises:
        AttributeError: there is no such name.
    """
    if name not in _AT_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, getattr(importlib.import_module(_AT_FIRST_USE[name]), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

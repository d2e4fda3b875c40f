"""The client for duomiapi.com's video tasks."""

from duomi_api.models import TaskAction, TaskState

from duomi._client import AsyncDuomi, Duomi
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
from duomi._io.aio import AsyncCompleted
from duomi._io.clips import AsyncClip, Clip
from duomi._io.sync import Completed
from duomi._policy import Observation, Polling, Retry
from duomi._task import (
    Character,
    EmptyResultError,
    Outcome,
    Task,
    TaskError,
    TaskFailedError,
    TaskStalledError,
    TaskTimeoutError,
    Video,
)
from duomi._version import __version__

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

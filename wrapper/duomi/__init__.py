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
    EmptyResultError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    TaskError,
    TaskFailedError,
    TaskStalledError,
    TaskTimeoutError,
)
from duomi._flow import Outcome
from duomi._policy import Observation, Polling, Retry
from duomi._task import Character, Task, Video
from duomi._version import __version__

__all__ = [
    "APIConnectionError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncDuomi",
    "AuthenticationError",
    "Character",
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

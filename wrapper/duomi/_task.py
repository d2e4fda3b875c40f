"""What the API says about a task, and the errors that hold one."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any, Self

import attrs
from duomi_api.models import TaskAction, TaskState, VideoTask

from duomi._errors import BODY_LIMIT, APIResponseError, DuomiError, status_error_type
from duomi._payload import (
    DEVIATIONS_KEPT,
    FAILED_STATES,
    SUCCEEDED_STATES,
    TASK_SCHEMA,
    as_mapping,
    decode,
    differences,
    expiry,
    failure_reason,
    find_task,
    is_deep,
    one_line,
    plain,
    read_column,
    read_identifier,
    read_progress,
    read_state,
    read_text,
    read_time,
    refusal_code,
    shown,
    vendor_message,
)


@attrs.frozen
class Video:
    """A finished clip."""

    __module__ = "duomi"

    url: str
    """The signed URL, to be asked for as it stands."""

    @property
    def expires_at(self) -> datetime | None:
        """Until when the URL says that it is valid, in UTC; `None` if it does not say. No promise: download at once."""
        return expiry(self.url)


@attrs.frozen
class Character:
    """A character that a character task has made."""

    __module__ = "duomi"

    id: str
    """The id by which the vendor knows it."""


@attrs.frozen(str=False, slots=False)
class Task:
    """A task as the API last described it; what is missing stays missing, and nothing is guessed."""

    __module__ = "duomi"

    id: str
    """The id in the payload, or the one asked for if it has none."""
    state: TaskState
    """The documented state that the payload names; an open enum, see `state.label`."""
    progress: int | None
    """Percent, 0 to 100; `None` if the API does not say."""
    action: TaskAction | None
    """What was asked of the vendor; an open enum, `None` if the API does not say."""
    message: str
    """The vendor's words, `""` if there are none; of a failed task the reason, wherever it stands."""
    created_at: datetime | None
    """When the task was created, in UTC; `None` if the API does not say."""
    updated_at: datetime | None
    """When the task last changed, in UTC; `None` if the API does not say."""
    videos: tuple[Video, ...]
    """The clips of a finished video task."""
    characters: tuple[Character, ...]
    """The characters of a finished character task."""
    raw: Mapping[str, Any] = attrs.field(hash=False, repr=False)
    """The payload as it came, envelope and all."""
    _asked_for: str | None = attrs.field(default=None, repr=False, eq=False, kw_only=True, alias="asked_for")
    _sent_at: str | None = attrs.field(default=None, repr=False, eq=False, kw_only=True, alias="sent_at")

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any], *, task_id: str | None = None) -> Self:
        """Read a decoded answer, the body of a webhook, or what `to_dict` returned.

        `task_id` is the id asked for; left out, it is what the payload has as `task_id`.

        Raises:
            APIStatusError: the payload is an envelope with a code from 400 to 599.
            APIResponseError: the payload is not a task.
        """
        if isinstance(payload, Mapping):
            task_id = task_id or read_identifier(payload.get("task_id")) or None
            if "task_id" in payload and isinstance(raw := payload.get("raw"), Mapping):
                payload = raw  # from `to_dict`
        if is_deep(payload):
            raise APIResponseError("the payload is nested too deep")
        body = find_task(payload)
        if body is None:
            raise not_a_task(payload)
        return cls._of(body, payload, task_id)

    @classmethod
    def _of(
        cls, body: Mapping[str, Any], payload: Mapping[str, Any], task_id: str | None, sent_at: str | None = None
    ) -> Self:
        """Read the task in a payload that was found to hold one."""
        data = as_mapping(body.get("data"))
        state = read_state(body["state"])
        return cls(
            id=read_identifier(body.get("id")) or task_id or "",
            state=state,
            progress=read_progress(body.get("progress")),
            action=TaskAction(action) if (action := read_text(body.get("action"))) else None,
            message=failure_reason(body, data) if state in FAILED_STATES else read_text(body.get("message")),
            created_at=read_time(body.get("create_time")),
            updated_at=read_time(body.get("update_time")),
            videos=tuple(Video(url) for url in read_column(data.get("videos"), "url", read_text)),
            characters=tuple(Character(name) for name in read_column(data.get("characters"), "id", read_identifier)),
            raw=payload,
            asked_for=task_id,
            sent_at=sent_at,
        )

    @classmethod
    def from_json(cls, text: str | bytes, *, task_id: str | None = None) -> Self:
        """Read an answer as it came over the wire, or the body of a webhook; `task_id` is the id asked for.

        Raises:
            APIStatusError: the payload is an envelope with a code from 400 to 599.
            APIResponseError: the text is not JSON, or not a task.
        """
        if not isinstance(text, str | bytes):
            raise APIResponseError(f"not JSON: from_json reads a str or bytes, not {type(text).__name__}")
        content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        payload = decode(content)
        if isinstance(payload, ValueError):
            raise APIResponseError(
                "not JSON", body=content[: BODY_LIMIT * 4].decode("utf-8", "replace")[:BODY_LIMIT]
            ) from payload
        return cls.from_payload(payload, task_id=task_id)

    @property
    def task_id(self) -> str:
        """The id that was asked for; the payload's own where none was."""
        return self._asked_for or self.id

    @property
    def is_succeeded(self) -> bool:
        """Whether the vendor reports success; a clip may still be missing."""
        return self.state in SUCCEEDED_STATES

    @property
    def is_failed(self) -> bool:
        """Whether the vendor reports failure; the reason is in `message`."""
        return self.state in FAILED_STATES

    @property
    def is_finished(self) -> bool:
        """Whether the vendor is done with the task, well or not."""
        return self.is_succeeded or self.is_failed

    @property
    def has_result(self) -> bool:
        """Whether there is a video or a character."""
        return bool(self.videos or self.characters)

    @cached_property
    def deviations(self) -> tuple[str, ...]:
        """One line for each difference between the payload and the contract, beginning with its JSON pointer."""
        return tuple(f"{pointer}: {text}" for pointer, text, _ in islice(self._differences(), DEVIATIONS_KEPT))

    def to_dict(self) -> dict[str, object]:
        """Return the task as plain JSON values, with the fields of the command line's `--json`.

        `from_payload` reads it. Times are text in ISO 8601, and what JSON cannot write, such as NaN, is `None`.
        """
        return {
            "task_id": self.task_id,
            "id": self.id,
            "state": str(self.state.value),
            "label": self.state.label,
            "progress": self.progress,
            "action": None if self.action is None else str(self.action.value),
            "message": self.message,
            "created_at": None if self.created_at is None else self.created_at.isoformat(),
            "updated_at": None if self.updated_at is None else self.updated_at.isoformat(),
            "videos": [video.url for video in self.videos],
            "characters": [character.id for character in self.characters],
            "raw": plain(self.raw),
        }

    def to_model(self) -> VideoTask:
        """Return the payload as the contract's own type.

        Raises:
            APIResponseError: the payload does not fit the contract.
        """
        for pointer, text, unfit in self._differences():
            if unfit:
                raise APIResponseError(one_line(f"task {self.id}: {pointer}: {text}"), body=shown(self.raw))
        return VideoTask.from_dict(find_task(self.raw) or {})

    def __str__(self) -> str:
        progress = "" if self.progress is None else f" {self.progress}%"
        line = f"{self.id}: {self.state.value} ({self.state.label}){progress}"
        return "".join(character if character.isprintable() else " " for character in line)

    def _repr_html_(self) -> str:
        """Return a small table for a notebook, with a link to each clip."""
        from html import escape  # noqa: PLC0415  (it takes long to import, and only notebooks need it)

        rows = [("id", escape(self.task_id)), ("state", escape(f"{self.state.value} {self.state.label}"))]
        rows += [] if self.progress is None else [("progress", f"{self.progress}%")]
        rows += [("message", escape(self.message))] if self.message else []
        # A link that is not to the web would run in the notebook.
        rows += [
            ("video", f'<a href="{escape(video.url)}">clip {number}</a>' if video.url.startswith("http") else escape(video.url))
            for number, video in enumerate(self.videos)
        ]  # fmt: skip
        rows += [("character", escape(character.id)) for character in self.characters]
        return "<table>" + "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows) + "</table>"

    def _differences(self) -> Iterator[tuple[str, str, bool]]:
        body = find_task(self.raw) or {}
        pointer = ""
        if body is not self.raw:
            pointer = "/data"
            yield pointer, "the task stands inside an envelope", False
        if self.id != self.task_id:
            yield f"{pointer}/id", f"is {self.id!r}, asked for was {self.task_id!r}", False
        yield from differences(body, TASK_SCHEMA, pointer)


class TaskError(DuomiError):
    """The API answered, and what it says of the task ends the wait."""

    __module__ = "duomi"

    task_id: str
    """The id that was asked for."""

    def __init__(self, text: str, task_id: str = "", payload: Mapping[str, Any] | None = None) -> None:
        super().__init__(text, task_id, payload)
        # TimeoutError is an OSError, which takes the third of three arguments for a file name, and away.
        self.args: tuple[Any, ...] = (text, task_id, payload)
        self.task_id = task_id
        self._payload = payload

    @property
    def task(self) -> Task | None:
        """The last task seen; `None` if no poll succeeded."""
        return None if self._payload is None else Task.from_payload(self._payload, task_id=self.task_id)


class TaskFailedError(TaskError):
    """The vendor reports that the task failed."""

    __module__ = "duomi"

    @property
    def task(self) -> Task:
        """The task that failed; the reason is in its `message`."""
        return Task.from_payload(self._payload or {"state": "error"}, task_id=self.task_id)


class TaskTimeoutError(TaskError, TimeoutError):
    """The wait took longer than its timeout; the task itself continues."""

    __module__ = "duomi"

    is_transient = True


class TaskStalledError(TaskError):
    """Neither state nor progress has changed for `Polling.stall` seconds."""

    __module__ = "duomi"

    is_transient = True


class EmptyResultError(TaskError):
    """The task succeeded, and holds neither a video nor a character."""

    __module__ = "duomi"

    @property
    def task(self) -> Task:
        """The task without a result."""
        return Task.from_payload(self._payload or {"state": "succeeded"}, task_id=self.task_id)


def not_a_task(payload: object) -> DuomiError:
    """Return the error that a payload without a task is."""
    code = refusal_code(payload)
    if code is None:
        return APIResponseError("the payload is not a task: it has no `state`", body=shown(payload))
    message = one_line(vendor_message(payload))
    return status_error_type(code)(f"code {code}: {message}".rstrip(": "), 200, code, message, shown(payload))

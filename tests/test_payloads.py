"""Every known reply of the live API is read as the right task or error."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from duomi import (
    APIResponseError,
    APIStatusError,
    Character,
    DuomiError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    Task,
    TaskAction,
    TaskState,
    Video,
)
from harness import PAYLOADS, payload

CLIP = (Video("https://cdn.example.com/videos/0a1b2c3d.mp4"),)
SIGNED = (Video("https://cdn.example.com/videos/0a1b2c3d.mp4?X-Sig=a%2Fb"),)
RUNNING, PENDING, SUCCEEDED, ERROR = TaskState.RUNNING, TaskState.PENDING, TaskState.SUCCEEDED, TaskState.ERROR


def missing(*names: str) -> list[str]:
    return [f"/{name}: is missing" for name in names]


ROWS: dict[str, tuple[Any, ...]] = {
    "pending": (PENDING, 0, (), (), "", missing("data", "create_time", "update_time", "message", "action")),
    "running": (RUNNING, 45, (), (), "", []),
    "succeeded": (SUCCEEDED, 100, CLIP, (), "", []),
    "succeeded-minimal": (
        SUCCEEDED, None, CLIP, (), "", missing("progress", "create_time", "update_time", "message", "action")
    ),
    "succeeded-without-url": (SUCCEEDED, 100, (), (), "", []),
    "succeeded-junk-entries": (
        SUCCEEDED, 100, SIGNED, (), "", ["/data/videos/2: is null, the contract says object"]
    ),
    "error-message": (
        ERROR, 0, (), (),
        "This content may violate our guardrails concerning similarity to third-party content.", [],
    ),
    "error-error": (
        ERROR, None, (), (), "quota exceeded",
        missing("data", "progress", "create_time", "update_time", "message", "action"),
    ),
    "error-description": (
        ERROR, None, (), (), "refused",
        [*missing("progress", "create_time", "update_time", "action"), "/data/videos: is missing"],
    ),
    "error-data-null": (
        ERROR, None, (), (), "failed",
        [*missing("progress", "create_time", "update_time", "action"), "/data: is null, the contract says object"],
    ),
    "characters": (
        SUCCEEDED, 100, (), (Character("some.handle"),), "",
        ["/data/videos: is missing", "/action: is 'characters', which the contract does not list"],
    ),
    "running-with-message": (
        RUNNING, 30, (), (), "content refused", missing("data", "create_time", "update_time", "action")
    ),
    "processing": (
        RUNNING, None, (), (), "Task is being processed",
        [
            *missing("data", "progress", "create_time", "update_time", "action"),
            "/state: is 'processing', which the contract does not list",
        ],
    ),
    "progress-percent": (
        RUNNING, 45, (), (), "",
        [
            *missing("data", "create_time", "update_time", "message", "action"),
            "/progress: is '45%', the contract says integer",
        ],
    ),
    "numeric-id": (
        PENDING, None, (), (), "",
        [
            *missing("data", "progress", "create_time", "update_time", "message", "action"),
            "/id: is 42, the contract says string",
        ],
    ),
    "wrapped": (
        SUCCEEDED, None, CLIP, (), "",
        [
            "/data: the task stands inside an envelope",
            *(f"/data{line}" for line in missing("progress", "create_time", "update_time", "message", "action")),
        ],
    ),
}  # fmt: skip

ERRORS: dict[str, tuple[type[DuomiError], int, str]] = {
    "envelope-403": (PermissionDeniedError, 403, "no permission"),
    "envelope-404": (NotFoundError, 404, "not found"),
    "envelope-500": (ServerError, 500, "upstream busy"),
}


def test_every_payload_has_a_row() -> None:
    """Each file of `payloads/` has an expected task or error."""

    assert {path.stem for path in PAYLOADS.glob("*.json")} == {*ROWS, *ERRORS}


@pytest.mark.parametrize("name", ROWS)
def test_a_task_has_the_values_of_its_payload(name: str) -> None:
    """A task has the values of its payload, and lists every deviation from the contract."""
    state, progress, videos, characters, message, deviations = ROWS[name]

    task = Task.from_payload(payload(name))

    assert (task.state, task.progress, task.videos, task.characters) == (state, progress, videos, characters)
    assert task.message == message
    assert sorted(task.deviations) == sorted(deviations)
    assert task.raw == payload(name)
    assert pickle.loads(pickle.dumps(task)) == task == copy.deepcopy(task)
    assert hash(task) == hash(Task.from_payload(payload(name)))


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_envelope_raises_the_error_of_its_code(name: str) -> None:
    """An envelope with an error code raises the error of that code, and is never read as a task."""
    kind, code, message = ERRORS[name]

    with pytest.raises(APIStatusError) as caught:
        Task.from_payload(payload(name))

    assert type(caught.value) is kind
    assert (caught.value.status_code, caught.value.code, caught.value.message) == (200, code, message)


@pytest.mark.parametrize("value", [None, [], "text", 7, {}, {"state": " "}, {"state": 1}, {"code": 200, "msg": "ok"}])
def test_a_payload_without_a_state_is_an_error(value: Any) -> None:
    """A payload without a valid state raises `APIResponseError`."""
    with pytest.raises(APIResponseError):
        Task.from_payload(value)


@pytest.mark.parametrize("text", ["", "<html>", b"\xff\xfe\xff", "[" * 200_000, "{"])
def test_invalid_json_is_an_error(text: str | bytes) -> None:
    """Invalid UTF-8, invalid JSON and very deep nesting raise `APIResponseError`."""
    with pytest.raises(APIResponseError):
        Task.from_json(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (45, 45), (45.0, 45), ("45", 45), ("45%", 45), (" 4 5 % ", 45), ("45.0", 45), (0, 0), (100, 100),
        (45.5, None), ("45.5", None), (-1, None), (101, None), (True, None), ("", None), ("nan", None),
        (float("nan"), None), (float("inf"), None), ([], None), (None, None), ("٤٥", None), ("9" * 5000, None),
    ],
)  # fmt: skip
def test_progress_is_a_whole_percentage_or_none(value: Any, expected: int | None) -> None:
    """Only a whole number from 0 to 100 is progress, and anything else is `None`."""
    assert Task.from_payload({"state": "running", "progress": value}).progress == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1762000000, datetime(2025, 11, 1, 12, 26, 40, tzinfo=UTC)),
        ("1762000000", datetime(2025, 11, 1, 12, 26, 40, tzinfo=UTC)),
        (1762000000000, datetime(2025, 11, 1, 12, 26, 40, tzinfo=UTC)),
        (0, None), (-5, None), (True, None), ("soon", None), (1e300, None), (10**400, None), (None, None),
        (float("inf"), None), ("9" * 40, None),
    ],
)  # fmt: skip
def test_a_time_is_in_utc_or_none(value: Any, expected: datetime | None) -> None:
    """A time is read as seconds or milliseconds, and anything else is `None`."""
    assert Task.from_payload({"state": "running", "create_time": value}).created_at == expected


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("queued", PENDING), (" Submitted ", PENDING), ("IN_PROGRESS", RUNNING), ("generating", RUNNING),
        ("success", SUCCEEDED), ("Done", SUCCEEDED), ("canceled", ERROR), ("expired", ERROR),
    ],
)  # fmt: skip
def test_a_synonym_is_read_as_its_state(text: str, state: TaskState) -> None:
    """A synonym of the live API is read as one of the four documented states."""
    assert Task.from_payload({"state": text}).state is state


def test_an_undocumented_state_is_kept_and_not_finished() -> None:
    """A state that the contract does not list keeps its value, and its task is not finished."""
    task = Task.from_payload({"state": "reviewing", "action": "upscale"})

    assert task.state == "reviewing"
    assert isinstance(task.state, TaskState)
    assert task.state not in list(TaskState)
    assert pickle.loads(pickle.dumps(task.state)) == task.state == copy.deepcopy(task.state)
    assert task.state.label == "reviewing"
    assert not task.is_finished
    assert isinstance(task.action, TaskAction)


def test_labels_are_those_of_the_contract() -> None:
    """States and labels come in the order of the contract; a newer contract may have more."""
    assert [state.label for state in TaskState][:4] == ["队列中", "生成中", "已成功", "失败"]
    assert [state.value for state in TaskState][:4] == ["pending", "running", "succeeded", "error"]


def test_to_model_rejects_a_deviation() -> None:
    """`to_model` returns the generated model, or raises an error if the payload deviates."""
    task = Task.from_payload(payload("succeeded"))

    assert task.to_model().to_dict() == payload("succeeded")
    with pytest.raises(APIResponseError, match="/progress"):
        Task.from_payload({**payload("succeeded"), "progress": "45%"}).to_model()


def test_an_id_that_was_not_requested_is_a_deviation() -> None:
    """If the reply has another id than the requested one, `task_id` is the requested one."""
    task = Task.from_payload(payload("succeeded"), task_id="other")

    assert task.id == payload("succeeded")["id"]
    assert task.task_id == "other"
    assert any(line.startswith("/id: ") for line in task.deviations)


def test_str_of_a_task_is_one_line() -> None:
    """`str` of a task is one line with id, state, label and progress."""
    assert str(Task.from_payload(payload("running"))) == ("5dd1ef43-efeb-9017-be66-f37a9d4348ee: running (生成中) 45%")
    assert "\n" not in str(Task.from_payload({"state": "a\nb", "id": "x\x1b[2J"}))


@pytest.mark.parametrize("name", sorted(path.stem for path in PAYLOADS.glob("*.json")))
def test_to_dict_is_json_and_reads_back(name: str) -> None:
    """`to_dict` holds plain JSON values, the id asked for as well, and `from_payload` reads them."""
    try:
        task = Task.from_payload(payload(name), task_id="asked-for")
    except DuomiError:
        return
    text = json.dumps(task.to_dict(), allow_nan=False)
    again = Task.from_payload(json.loads(text))

    assert again == task
    assert (again.task_id, json.loads(text)["task_id"]) == ("asked-for", "asked-for")
    assert Task.from_payload(task.to_dict(), task_id="other").task_id == "other"


def test_to_dict_writes_nothing_that_json_cannot() -> None:
    """NaN and infinity are `null`, also deep in the payload."""
    task = Task.from_payload({"id": "a", "state": "running", "x": [float("nan"), {"y": float("-inf"), "z": 1.5}]})

    assert json.loads(json.dumps(task.to_dict(), allow_nan=False))["raw"]["x"] == [None, {"y": None, "z": 1.5}]


@pytest.mark.parametrize(
    ("given", "task_id", "expected"),
    [
        ({"state": "running"}, "a", ("a", "a")),
        ({"state": "running", "task_id": "b"}, None, ("b", "b")),
        ({"state": "running", "task_id": "b"}, "a", ("a", "a")),
        ({"state": "running", "id": "c", "task_id": "b"}, None, ("b", "c")),
        ({"state": "running", "id": "c", "task_id": 7}, None, ("7", "c")),
        ({"state": "running", "id": "c", "task_id": " "}, None, ("c", "c")),
    ],
)
def test_the_id_asked_for_travels_in_a_payload(given: dict[str, Any], task_id: str | None, expected: Any) -> None:
    """A payload that names the id asked for, as a Celery result does, keeps it."""
    task = Task.from_payload(given, task_id=task_id)

    assert (task.task_id, task.id) == expected

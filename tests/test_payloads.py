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
    EmptyResultError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    ServerError,
    Task,
    TaskAction,
    TaskFailedError,
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


SIGNED_URLS = {
    "https://h/a.mp4": None,
    "https://h/a.mp4?e=1762000000&token=x": datetime(2025, 11, 1, 12, 26, 40, tzinfo=UTC),
    "https://h/a.mp4?Expires=1762000000&Signature=x": datetime(2025, 11, 1, 12, 26, 40, tzinfo=UTC),
    "https://h/a.mp4?x-expires=1762000000000": datetime(2025, 11, 1, 12, 26, 40, tzinfo=UTC),
    "https://h/a.mp4?X-Amz-Date=20251101T122640Z&X-Amz-Expires=3600": datetime(2025, 11, 1, 13, 26, 40, tzinfo=UTC),
    "https://h/a.mp4?X-Tos-Expires=60&X-Tos-Date=20251101T122640Z": datetime(2025, 11, 1, 12, 27, 40, tzinfo=UTC),
    "https://h/a.mp4?x-oss-date=20251101T122640Z&x-oss-expires=60": datetime(2025, 11, 1, 12, 27, 40, tzinfo=UTC),
    "https://h/a.mp4?e=soon": None,
    "https://h/a.mp4?expires=3600": None,
    "https://h/a.mp4?Expires=-1": None,
    "https://h/a.mp4?X-Amz-Date=today&X-Amz-Expires=3600": None,
    "https://h/a.mp4?X-Amz-Date=20251101T122640Z&X-Amz-Expires=" + "9" * 40: None,
    "http://[": None,
}


@pytest.mark.parametrize("url", SIGNED_URLS)
def test_a_signed_url_says_when_it_expires(url: str) -> None:
    """`Video.expires_at` is what the URL says, and `None` for what it does not say or says wrongly."""
    assert Video(url).expires_at == SIGNED_URLS[url]


REASONS = ["message", "error", "error.message", "data.description", "data.error.message", "data.message", "data.msg",
           "error_message", "fail_reason", "msg"]  # fmt: skip


@pytest.mark.parametrize("place", REASONS)
def test_the_reason_of_a_failure_is_found_wherever_it_stands(place: str) -> None:
    """The first place that is not blank counts, in the documented order."""
    given: dict[str, Any] = {"id": "a", "state": "error", "data": {}}
    for each in REASONS[REASONS.index(place) :]:
        *folders, name = each.split(".")
        target = given
        for folder in folders:
            target = target.setdefault(folder, {})
            if not isinstance(target, dict):
                break
        if isinstance(target, dict) and name not in target:
            target[name] = f"from {each}"

    assert Task.from_payload(given).message == f"from {place}"


def test_a_notebook_shows_a_small_table() -> None:
    """The table has the state and a link to the clip, and nothing of the vendor's that would run."""
    task = Task.from_payload(
        {"id": "<b>", "state": "succeeded", "progress": 100, "message": "<script>",
         "data": {"videos": [{"url": 'https://h/1.mp4?a=1&b="2'}, {"url": "javascript:alert(1)"}], "characters": [{"id": "c"}]}}
    )  # fmt: skip
    shown = task._repr_html_()

    assert '<a href="https://h/1.mp4?a=1&amp;b=&quot;2">clip 0</a>' in shown
    assert "<script>" not in shown
    assert 'href="javascript' not in shown
    assert "&lt;b&gt;" in shown
    assert "100%" in shown


def test_an_outcome_is_a_result_or_an_error() -> None:
    """`result` returns the task or raises, as a future does, and `str` is one line."""
    task = Task.from_payload({"id": "a", "state": "succeeded"})
    error = TaskFailedError("task a failed: no\ncats", "a", {"id": "a", "state": "error", "message": "no\ncats"})

    assert Outcome("a", task, None).result() is task
    with pytest.raises(TaskFailedError):
        Outcome("a", task, error).result()
    assert str(Outcome("a", task, None)) == str(task)
    assert str(Outcome("a", None, error)) == "a: TaskFailedError: task a failed: no cats"
    assert (error.task.message, TaskFailedError("x").task.is_failed) == ("no\ncats", True)
    assert EmptyResultError("x").task.is_succeeded

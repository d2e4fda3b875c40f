"""Any payload is read or raises a `DuomiError`, and one that conforms to the contract is read without loss."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from typing import Any

from duomi import DuomiError, Task
from duomi_api.models import VideoTask
from hypothesis import given, settings
from hypothesis import strategies as st
from test_contract import schema

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ALMOST_VALID = st.sampled_from(
    [
        "",
        " ",
        "running",
        "SUCCESS",
        "error",
        "45%",
        "1e999",
        "-1",
        "９",
        "1762000000",
        0,
        -1,
        45.0,
        1e308,
        10**400,
        float("nan"),
        float("inf"),
        True,
        [],
        {},
        [None],
        [{}],
        {"videos": None},
        {"videos": [{"url": " "}, {"url": 7}]},
        {"state": "running"},
        {"characters": [{"id": 5}]},
        "\ud800",
        "\x00",
    ]
)
ANYTHING = JSON | ALMOST_VALID
FIELDS = [*schema()["properties"], "code", "msg", "error", "data", "characters"]


def drawn(shape: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Draw values that conform to a schema; objects may have extra fields."""
    if "enum" in shape:
        return st.sampled_from(shape["enum"])
    match shape["type"]:
        case "object":
            fields = {name: drawn(child) for name, child in shape["properties"].items()}
            required = {name: fields.pop(name) for name in shape.get("required", [])}
            extras = st.dictionaries(st.text().map("x-{}".format), JSON, max_size=2)
            return st.builds(
                lambda extra, known: extra | known, extras, st.fixed_dictionaries(required, optional=fields)
            )
        case "array":
            return st.lists(drawn(shape["items"]), max_size=4)
        case "integer":
            return st.integers()
        case kind:
            assert kind == "string"
            return st.text()


def read_all(task: Task) -> None:
    """Read every attribute of a task."""
    values = (
        task.id, task.task_id, task.state, task.state.label, task.progress, task.action, task.message, task.created_at,
        task.updated_at, task.videos, task.characters, task.raw, task.deviations, task.is_finished, task.is_succeeded,
        task.is_failed, task.has_result, str(task), repr(task), task == task,  # noqa: PLR0124  (equality may not raise)
    )  # fmt: skip
    assert len(values) > 0
    with contextlib.suppress(DuomiError):
        task.to_model().to_dict()


def make_and_read(make: Callable[[], Task]) -> None:
    """Make a task and read every attribute; only a `DuomiError` is allowed."""
    with contextlib.suppress(DuomiError):
        read_all(make())


@given(drawn(schema()))
@settings(max_examples=200, deadline=None)
def test_a_valid_payload_is_read_without_loss(payload: Any) -> None:
    """A payload that conforms to the contract has no deviations, and task and model both keep all of it."""
    task = Task.from_payload(copy.deepcopy(payload)) if payload["state"].strip() else None

    assert VideoTask.from_dict(payload).to_dict() == payload
    if task is not None and payload["id"].strip() == payload["id"] != "":
        assert task.deviations == ()
        assert task.raw == payload
        assert task.to_model().to_dict() == payload
        assert [video.url for video in task.videos] == [
            video["url"].strip() for video in payload["data"]["videos"] if video.get("url", "").strip()
        ]


@given(drawn(schema()), st.dictionaries(st.sampled_from(FIELDS), ANYTHING), st.sets(st.sampled_from(FIELDS)))
@settings(max_examples=250, deadline=None)
def test_any_value_in_any_field_is_a_task_or_a_duomi_error(
    payload: Any, changed: dict[str, Any], removed: set[str]
) -> None:
    """A payload with any value in a field, or without the field, is a readable task or a `DuomiError`."""
    payload = {name: value for name, value in (payload | changed).items() if name not in removed}

    make_and_read(lambda: Task.from_payload(payload))


@given(ANYTHING)
@settings(max_examples=300, deadline=None)
def test_any_json_value_is_a_task_or_a_duomi_error(payload: Any) -> None:
    """Any JSON value, parsed or as text, is a readable task or a `DuomiError`."""
    make_and_read(lambda: Task.from_payload(payload))
    make_and_read(lambda: Task.from_json(json.dumps(payload)))


@given(st.text() | st.binary())
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_task_or_a_duomi_error(text: str | bytes) -> None:
    """Any text or bytes, as a webhook may get them, are a readable task or a `DuomiError`."""
    make_and_read(lambda: Task.from_json(text))

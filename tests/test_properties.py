"""Payloads of any kind: those that keep the contract are read and written back equal, all others do no harm."""

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
NEAR = st.sampled_from(
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
ANYTHING = JSON | NEAR
FIELDS = [*schema()["properties"], "code", "msg", "error", "data", "characters"]


def drawn(shape: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Draw values of a schema of this contract; objects may have more fields than it names."""
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


def touch(task: Task) -> None:
    """Read everything that a task offers."""
    read = (
        task.id, task.task_id, task.state, task.state.label, task.progress, task.action, task.message, task.created_at,
        task.updated_at, task.videos, task.characters, task.raw, task.deviations, task.is_finished, task.is_succeeded,
        task.is_failed, task.has_result, str(task), repr(task), task == task,  # noqa: PLR0124  (equality may not raise)
    )  # fmt: skip
    assert len(read) > 0
    with contextlib.suppress(DuomiError):
        task.to_model().to_dict()


def read_all(make: Callable[[], Task]) -> None:
    """Make a task and read all of it; a DuomiError may say that it is none."""
    with contextlib.suppress(DuomiError):
        touch(make())


@given(drawn(schema()))
@settings(max_examples=200, deadline=None)
def test_what_keeps_the_contract_is_read_and_written_back(payload: Any) -> None:
    """The model and the task both hold a payload of the contract whole, and see nothing wrong with it."""
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
def test_anything_in_any_field_does_no_harm(payload: Any, changed: dict[str, Any], gone: set[str]) -> None:
    """Whatever stands in a field, or does not, is a task that can be read, or a DuomiError."""
    payload = {name: value for name, value in (payload | changed).items() if name not in gone}

    read_all(lambda: Task.from_payload(payload))


@given(ANYTHING)
@settings(max_examples=300, deadline=None)
def test_anything_at_all_does_no_harm(payload: Any) -> None:
    """No payload, as it is or as text, raises anything but a DuomiError."""
    read_all(lambda: Task.from_payload(payload))
    read_all(lambda: Task.from_json(json.dumps(payload)))


@given(st.text() | st.binary())
@settings(max_examples=300, deadline=None)
def test_any_text_or_bytes_do_no_harm(text: str | bytes) -> None:
    """A webhook may post anything."""
    read_all(lambda: Task.from_json(text))

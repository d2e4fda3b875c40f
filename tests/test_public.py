"""What `import duomi` offers, under the name by which callers, pickles and message queues know it."""

from __future__ import annotations

import inspect
import pickle
import pickletools
import subprocess
import sys
import typing
from typing import Any

import duomi
import pytest
from duomi import Character, Observation, Outcome, Polling, Retry, Task, TaskState, Video
from harness import payload

CLASSES = [value for name in duomi.__all__ if isinstance(value := getattr(duomi, name), type)]
OURS = [kind for kind in CLASSES if not kind.__module__.startswith("duomi_api.")]
ERRORS = [kind for kind in OURS if issubclass(kind, duomi.DuomiError)]
TASK = Task.from_payload(payload("succeeded"), task_id="asked-for")
VALUES: list[Any] = [
    TASK, Video("https://h/a.mp4"), Character("c"), Retry(), Polling(stall=5.0), Observation(1.0, "running", 45),
    Outcome("asked-for", TASK, duomi.TaskFailedError("text", "asked-for", payload("succeeded"))), TaskState("odd"),
    *(kind("text") for kind in ERRORS),
]  # fmt: skip


def test_all_is_what_can_be_imported() -> None:
    """`__all__` names every public attribute of the package that is not a module, and nothing else."""
    public = {name for name, value in vars(duomi).items() if not name.startswith("_") and not inspect.ismodule(value)}

    assert set(duomi.__all__) == public | {"__version__"}
    assert len(duomi.__all__) == len(set(duomi.__all__))


def test_the_async_client_is_imported_when_it_is_asked_for() -> None:
    """Those who block do not load anyio; `dir` and `import *` name all the same."""
    program = """
import sys, duomi
assert "anyio" not in sys.modules
assert set(duomi.__all__) <= set(dir(duomi))
from duomi import *
assert AsyncDuomi is duomi.AsyncDuomi and AsyncClip and AsyncCompleted and "anyio" in sys.modules
try:
    duomi.nothing
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.stdout + done.stderr == "module 'duomi' has no attribute 'nothing'\n"


@pytest.mark.parametrize("kind", OURS)
def test_a_public_class_says_that_it_is_of_duomi(kind: type) -> None:
    """A class is known by the name that people import."""
    assert kind.__module__ == "duomi"


@pytest.mark.parametrize("kind", CLASSES)
def test_type_hints_of_a_public_class_can_be_read(kind: type) -> None:
    """Tools that read annotations at run time find each name, on the class and on its public methods."""
    typing.get_type_hints(kind)
    for name, member in inspect.getmembers(kind):
        function = member.fget if isinstance(member, property) else member
        if not name.startswith("_") and inspect.isroutine(function) and hasattr(function, "__annotations__"):
            typing.get_type_hints(function)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_no_pickle_names_a_private_module(value: Any) -> None:
    """A pickle can be read after any module of the package has moved."""
    pickled = pickle.dumps(value)
    names = [text for _, text, _ in pickletools.genops(pickled) if isinstance(text, str)]

    assert [name for name in names if name.startswith("duomi._")] == []
    assert pickle.loads(pickled) == value

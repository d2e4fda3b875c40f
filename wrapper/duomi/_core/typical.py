"""How long the tasks of a client take: what the schedule goes by if their progress says nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from duomi_api.models import TaskState

from duomi._policy import TYPICAL_KEPT, Observation
from duomi._task import Task

# An open enum may have any value.
_KINDS: Final = 16


class Typical:
    """The durations of the newest tasks that ended, in seconds, separate by `action`."""

    def __init__(self) -> None:
        self._kept: dict[str, deque[float]] = {}
        self._durations: dict[str, tuple[float, ...]] = {}

    def of(self, task: Task | None) -> tuple[float, ...]:
        """Return the durations of tasks like this one."""
        return self._durations.get(_kind(task), ())

    def add(self, task: Task, history: Sequence[Observation]) -> None:
        """Take note of a task that succeeded: by the vendor's times, or else by a wait that saw it begin."""
        if not task.is_succeeded:
            return
        duration = 0.0
        if task.created_at is not None and task.updated_at is not None:
            duration = (task.updated_at - task.created_at).total_seconds()
        elif len(history) > 1 and history[0].state == TaskState.PENDING.value:
            duration = history[-1].at
        kind = _kind(task)
        if duration > 0 and (kind in self._kept or len(self._kept) < _KINDS):
            kept = self._kept.setdefault(kind, deque(maxlen=TYPICAL_KEPT))
            kept.append(duration)
            self._durations[kind] = tuple(kept)


def _kind(task: Task | None) -> str:
    return "" if task is None or task.action is None else task.action.value[:40]

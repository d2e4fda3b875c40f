"""What the command line shows: data on stdout, all else on stderr."""

from __future__ import annotations

import errno
import json as jsonlib
import sys
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from duomi._cli.streams import Stderr, is_gone_terminal, silence
from duomi._core.scheduler import Outcome
from duomi._errors import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    ConfigurationError,
    DownloadError,
    DuomiError,
)
from duomi._task import EmptyResultError, Task, TaskFailedError, TaskStalledError, TaskTimeoutError

_STDERR = Console(file=Stderr())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
_STYLES = {"succeeded": "green", "error": "red"}
_NARROW = 60
_DEFAULT_WIDTH = 80
_FEW = 5
_SELDOM = 15.0
# The fields of `Task.to_dict`, of a task that was not seen.
_UNKNOWN: dict[str, Any] = {
    **dict.fromkeys(("id", "state", "label", "progress", "action")),
    "message": "", "created_at": None, "updated_at": None, "videos": [], "characters": [], "raw": None,
}  # fmt: skip


class OutputError(Exception):
    """Stdout takes no more: its number and its words; no OSError, which the command line's library would take for its own."""


class _Out(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to us how to end, where rich would end as if a task had failed."""
        raise BrokenPipeError(errno.EPIPE, "the reader is gone")


@attrs.frozen
class TaskResult:
    """How one task ended, and the files that were saved of it."""

    outcome: Outcome
    paths: Sequence[Path]


def _code(error: DuomiError | None) -> int:
    match error:
        case None:
            return 0
        case ConfigurationError():
            return 2
        case APIConnectionError() | APIStatusError() | APIResponseError():
            return 3
        case TaskTimeoutError() | TaskStalledError():
            return 4
        case DownloadError():
            return 5
        case _:
            return 1


def exit_code(results: Sequence[TaskResult]) -> int:
    """Return the exit code of many: the first that holds of 2, 3, 5, 4, 1."""
    codes = {_code(result.outcome.error) for result in results}
    return next((code for code in (2, 3, 5, 4, 1) if code in codes), 0)


def sanitize(text: object) -> str:
    """Return a text that cannot steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def print_stderr(text: str) -> None:
    """Tell a person something that is no data, above the bars if there are any."""
    _STDERR.print(Text(sanitize(text)), soft_wrap=True)


def _label(task: Task) -> str:
    value, label = task.state.value, task.state.label
    return sanitize(value if value == label else f"{value} {label}")


def _columns(width: int) -> list[ProgressColumn]:
    """Return what a line shows: on a narrow terminal neither bar nor time."""
    name = Column(ratio=3, overflow="ellipsis", no_wrap=True)
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", table_column=name, markup=False),
        BarColumn(bar_width=None, table_column=Column(ratio=2, min_width=6)),
        TextColumn("{task.fields[share]:>4}"),
        TextColumn("{task.fields[state]}", table_column=Column(no_wrap=True), markup=False),
        TimeElapsedColumn(),
    ]
    return columns if width >= _NARROW else [columns[0], *columns[2:4]]


def _end(result: TaskResult) -> str:
    """Return in a word or two how a task ended that did not end well."""
    match result.outcome.error:
        case TaskTimeoutError() | TaskStalledError():
            return "timed out"
        case EmptyResultError():
            return "empty"
        case DownloadError():
            return "not saved"
        case TaskFailedError() if result.outcome.task is not None:
            return _label(result.outcome.task)
        case _:
            return "refused"


class Screen:
    """Shows tasks to a person, or with `json` to a program."""

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self._out = _Out()
        if self._out.width < 1:  # COLUMNS=0
            self._out.width = _DEFAULT_WIDTH
        self._err = _STDERR
        # Objects are printed as tasks end, and on one terminal they and the bars would write over each other.
        alone = self._err.is_terminal and not (json and self._out.is_terminal)
        self._progress = Progress(*_columns(self._err.width), console=self._err, disable=not alone, expand=True)
        self._bars: dict[str, TaskID] = {}
        self._whole: TaskID | None = None
        self._hidden: deque[TaskID] = deque()
        self._states: dict[str, str] = {}
        self._ended = 0
        self._told_at = -_SELDOM

    @contextmanager
    def bars(self, task_ids: Sequence[str]) -> Generator[None]:
        """Show a bar for each task if stderr is a terminal; on a low one, a bar for all and the bars of tasks that continue."""
        room = self._err.height - 2
        if len(task_ids) > room:
            total = len(task_ids)
            self._whole = self._progress.add_task(f"{total} tasks", total=total, state="", share=f"0/{total}")
        for place, task_id in enumerate(task_ids):
            bar = self._progress.add_task(sanitize(task_id), total=100, state="", share="", visible=place < room)
            self._bars[task_id] = bar
            if place >= room:
                self._hidden.append(bar)
        with self._progress:
            yield

    def update(self, task: Task) -> None:
        """Move the bar of a task; without bars, print a line now and then."""
        share = "" if task.progress is None else f"{task.progress}%"
        self._progress.update(
            self._bars[task.task_id], completed=task.progress or 0, share=share, state=_label(task)
        )  # fmt: skip
        if self._progress.disable and not task.is_finished:
            is_new = self._states.get(task.task_id) != task.state and len(self._bars) <= _FEW
            self._states[task.task_id] = task.state
            if is_new or time.monotonic() - self._told_at >= _SELDOM:
                self._told_at = time.monotonic()
                ended = f"{self._ended} of {len(self._bars)} ended; " if len(self._bars) > 1 else ""
                print_stderr(f"{ended}{task}")

    def end(self, result: TaskResult) -> None:
        """Fill or stop the bar of a task that is done; with `json`, print it."""
        bar = self._bars[result.outcome.task_id]
        error = result.outcome.error
        self._ended += 1
        if error is None:
            self._progress.update(bar, completed=100, share="100%")
        else:
            self._progress.update(bar, state=_end(result))
        self._progress.stop_task(bar)
        if self._whole is not None:
            self._progress.advance(self._whole)
            self._progress.update(self._whole, share=f"{self._ended}/{len(self._bars)}")
            self._progress.update(bar, visible=False)
            if self._hidden:
                self._progress.update(self._hidden.popleft(), visible=True)
        if self.json:
            self.object(result)

    def task(self, task: Task) -> None:
        """Print one task."""
        if self.json:
            self.object(TaskResult(Outcome(task.task_id, task, None), []))
            return
        progress = "" if task.progress is None else f"{task.progress}%"
        rows = [("id", task.id), ("state", _label(task)), ("progress", progress), ("action", task.action or "")]
        rows += [
            ("message", task.message),
            ("created", _moment(task.created_at)),
            ("updated", _moment(task.updated_at)),
        ]
        rows += [("video", video.url) for video in task.videos]
        rows += [("character", character.id) for character in task.characters]
        for name, value in rows:
            if value:
                style = _STYLES.get(task.state, "") if name == "state" else ""
                self._print(Text(f"{name:<9}  ", "dim") + Text(sanitize(value).replace("\n", " "), style))

    def deviations(self, task: Task) -> None:
        """Print where a task deviates from the contract."""
        if self.json:
            self.object(TaskResult(Outcome(task.task_id, task, None), []), deviations=list(task.deviations))
            return
        for line in task.deviations:
            self._print(Text(sanitize(line)))
        if not task.deviations:
            print_stderr(f"task {task.task_id} is as the contract has it")

    def results(self, results: Sequence[TaskResult]) -> None:
        """Print a table of how many tasks ended, those with `json` aside, which are printed already."""
        if self.json or not results:
            return
        rows = [(Text("task", "bold"), Text("state", "bold"), Text("result", "bold"))]
        for result in results:
            task = result.outcome.task
            state = "" if task is None else _label(task)
            style = "red" if result.outcome.error else _STYLES.get(task.state, "") if task else ""
            rows.append((Text(sanitize(result.outcome.task_id)), Text(state, style), Text(sanitize(_result(result)))))
        widths = [max(row[column].cell_len for row in rows) for column in range(2)]
        for row in rows:
            first, second = (
                cell + Text(" " * (width - cell.cell_len + 2)) for cell, width in zip(row, widths, strict=False)
            )
            # What has several lines, such as the paths of several clips, continues in its column.
            for place, line in enumerate(row[2].split() or [Text()]):
                self._print((first + second if place == 0 else Text(" " * (sum(widths) + 4))) + line)

    def object(self, result: TaskResult, **more: Any) -> None:
        """Print an ending as a JSON object, in one line."""
        task, error = result.outcome.task, result.outcome.error
        values: dict[str, Any] = {"task_id": result.outcome.task_id, **_UNKNOWN} if task is None else task.to_dict()
        values["paths"] = [str(path) for path in result.paths]
        values["error"] = None if error is None else {"type": type(error).__name__, "message": str(error)}
        self._print(Text(jsonlib.dumps(values | more, ensure_ascii=True)))

    def _print(self, line: Text) -> None:
        """Write a line of data to stdout, unbroken, and at once, so that what cannot be written is known."""
        if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise OutputError(errno.EBADF, "stdout is closed")
        try:
            self._out.print(line, soft_wrap=True)
            self._out.file.flush()
        except OSError as error:
            if not is_gone_terminal(error):
                raise OutputError(error.errno, error.strerror or str(error)) from error
            silence(1)


def _moment(moment: Any) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _result(result: TaskResult) -> str:
    task, error = result.outcome.task, result.outcome.error
    if isinstance(error, TaskTimeoutError | TaskStalledError):
        # How to resume is said once, for all.
        return str(error).partition(";")[0].removeprefix(f"task {result.outcome.task_id}: ")
    if error is not None:
        return task.message if task is not None and task.is_failed and task.message else str(error)
    if result.paths or task is None:
        return "\n".join(str(path) for path in result.paths)
    return "\n".join([*(video.url for video in task.videos), *(character.id for character in task.characters)])

"""Many tasks on one screen: wait for them, save their clips, and tell how to resume."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import attrs
import typer

from duomi._async_client import AsyncDuomi
from duomi._cli.screen import Screen, TaskResult, exit_code, print_stderr
from duomi._cli.streams import TERMINATED, TERMINATES
from duomi._config import IfExists
from duomi._core.names import quoted
from duomi._core.scheduler import Outcome
from duomi._errors import DuomiError
from duomi._task import TaskStalledError, TaskTimeoutError

IN_FLIGHT: Final = 64
AT_ONCE: Final = 4
_ENDS = [signal.SIGINT, *TERMINATES]


@attrs.define
class Job:
    """Many tasks on one screen; `resume` is the command that continues with what is left."""

    client: AsyncDuomi
    task_ids: list[str]
    directory: Path | None
    screen: Screen
    resume: list[str]
    if_exists: IfExists = "skip"
    only_finished: bool = False
    results: dict[str, TaskResult] = attrs.field(factory=dict)


def finish(job: Job) -> None:
    """Wait for the tasks, show their results, and exit."""
    handlers, ended_by = {number: signal.getsignal(number) for number in _ENDS}, list[int]()
    try:
        asyncio.run(_until_signal(job, ended_by))
    except (KeyboardInterrupt, asyncio.CancelledError):
        interrupted = ended_by[:1] in ([], [signal.SIGINT])
        left = [task_id for task_id in job.task_ids if task_id not in job.results]
        job.screen.results([job.results[i] for i in job.task_ids if i in job.results])
        _tell_how_to_resume(job, left, "interrupted; " if interrupted else "terminated; ")
        raise typer.Exit(130 if interrupted else TERMINATED) from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    results = [job.results[task_id] for task_id in job.task_ids]
    job.screen.results(results)
    going_on = TaskTimeoutError | TaskStalledError
    _tell_how_to_resume(job, [end.outcome.task_id for end in results if isinstance(end.outcome.error, going_on)])
    raise typer.Exit(exit_code(results))


def _tell_how_to_resume(job: Job, task_ids: list[str], what: str = "") -> None:
    if task_ids:
        words = [*job.resume, *(["--"] if any(i.startswith("-") for i in task_ids) else []), *task_ids]
        continues = "tasks continue" if len(task_ids) > 1 else "task continues"
        print_stderr(f"{what}the {continues}. To resume:\n{' '.join(map(quoted, words))}")


async def _until_signal(job: Job, ended_by: list[int]) -> None:
    """Follow the tasks; a signal to end cancels that, so that no part of a clip is left behind.

    asyncio would let a second Ctrl-C strike its own work, and then wait without end.
    """
    following = asyncio.ensure_future(follow(job))
    loop = asyncio.get_running_loop()

    def end(number: int, _frame: object) -> None:
        ended_by.append(number)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the command is about to
            loop.call_soon_threadsafe(following.cancel)

    for number in _ENDS:
        # Who ignores a signal, as nohup does, has reasons. The loop's own handlers end with it, before the command.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)
    await following


async def follow(job: Job) -> None:
    """Wait for the tasks, and save their clips."""
    several = asyncio.Semaphore(AT_ONCE)
    try:
        with job.screen.bars(job.task_ids):
            async with job.client, asyncio.TaskGroup() as group:
                async for outcome in _outcomes(job):
                    group.create_task(_save(job, outcome, several))
    except ExceptionGroup as errors:
        # What ends all of them is one error, which the group wraps.
        raise errors.exceptions[0] from None


async def _outcomes(job: Job) -> AsyncIterator[Outcome]:
    """Yield how each task ended, in that order; where only finished tasks count, how it goes."""
    if not job.only_finished:
        async with job.client.as_completed(
            job.task_ids, max_in_flight=IN_FLIGHT, on_update=job.screen.update
        ) as outcomes:
            async for outcome in outcomes:
                yield outcome
        return
    for task_id in job.task_ids:
        try:
            yield Outcome(task_id, await job.client.get_task(task_id), None)
        except DuomiError as error:
            yield Outcome(task_id, None, error)


async def _save(job: Job, outcome: Outcome, several: asyncio.Semaphore) -> None:
    """Save the clips of a task that ended well, where they are wanted, and show its ending."""
    task, paths, directory = outcome.task, list[Path](), job.directory
    try:
        wanted = task is not None and outcome.error is None and (task.videos or job.only_finished)
        if wanted and task is not None and directory is not None:
            async with several:
                saved = await job.client.download(task, directory, if_exists=job.if_exists)
            paths = [directory / path.name for path in saved]
    except DuomiError as error:
        outcome = attrs.evolve(outcome, error=error)
    result = job.results[outcome.task_id] = TaskResult(outcome, paths)
    job.screen.end(result)

"""The commands of the command line."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Final

import attrs
import typer

from duomi._cli.screen import OutputError, Screen, TaskResult, exit_code, print_stderr
from duomi._client import AsyncDuomi, Duomi
from duomi._config import IfExists, check_task_id
from duomi._errors import ConfigurationError, DuomiError
from duomi._policy import Polling
from duomi._task import Outcome, Task, TaskFailedError, TaskStalledError, TaskTimeoutError
from duomi._version import __version__

IN_FLIGHT: Final = 64
AT_ONCE: Final = 4

app = typer.Typer(
    name="duomi",
    help="Follow video tasks of duomiapi.com. The key comes from the environment variable DUOMI_API_KEY;"
    " DUOMI_BASE_URL names another server.",
    epilog="Exit codes: 0 done; 1 a task failed or was empty, or check found deviations; 2 usage, configuration, or"
    " output that cannot be written; 3 refused, unreachable, or not a task; 4 timed out; 5 a clip was not saved; 130"
    " interrupted. Of several tasks, the first that holds of 130, 3, 5, 4, 1.",
    context_settings={"help_option_names": ["--help", "-h"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.")]
TaskIds = Annotated[list[str], typer.Argument(metavar="ID...", help="The tasks' ids; `-` reads them from stdin.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that already exist.")]


def _version(wanted: bool) -> None:  # noqa: FBT001  (typer calls it)
    if wanted:
        typer.echo(f"duomi {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[  # noqa: FBT002  (as above)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: duomi get 5dd1ef43-efeb-9017-be66-f37a9d4348ee")
def get(task_id: TaskId, *, json: Json = False) -> None:
    """Print the task as it is now; exit 0 whatever its state."""
    screen = Screen(json=json)
    screen.task(_get(screen, task_id))


def _get(screen: Screen, task_id: str) -> Task:
    """Ask once; for a program, an error is an object on stdout like any other."""
    with Duomi() as client:
        try:
            return client.get_task(task_id)
        except DuomiError as error:
            if screen.json:
                screen.object(TaskResult(Outcome(task_id, None, error), []))
            raise


@app.command(epilog="Example: duomi check 5dd1ef43-efeb-9017-be66-f37a9d4348ee")
def check(task_id: TaskId, *, json: Json = False) -> None:
    """Compare the live answer with the contract; exit 1 if it deviates."""
    screen = Screen(json=json)
    task = _get(screen, task_id)
    screen.deviations(task)
    raise typer.Exit(1 if task.deviations else 0)


@app.command(epilog="Examples: duomi wait ID1 ID2 --download clips/    |    cat ids.txt | duomi wait - --json")
def wait(
    task_ids: TaskIds,
    *,
    download: Annotated[
        Path | None,
        typer.Option(
            "--download",
            "-d",
            metavar="DIR",
            help="Save the clips of each task there; a file that already exists is kept.",
        ),
    ] = None,
    timeout: Annotated[float | None, typer.Option(metavar="S", min=0.1, help="Seconds to wait at most (1800).")] = None,
    json: Json = False,
) -> None:
    """Wait until tasks are finished: a progress bar for each, then a table."""
    ids = _ids(task_ids)
    polling = Polling() if timeout is None else Polling(timeout=timeout)
    options = ["--download", str(download)] if download is not None else []
    options += ["--timeout", f"{timeout:g}"] if timeout is not None else []
    options += ["--json"] if json else []
    _wait(_Job(AsyncDuomi(polling=polling), ids, download, Screen(json=json), ["duomi", "wait", *options]))


@app.command(epilog="Example: duomi download 5dd1ef43-efeb-9017-be66-f37a9d4348ee --directory clips/")
def download(
    task_ids: TaskIds,
    *,
    directory: Annotated[Path, typer.Option("--directory", "-d", metavar="DIR", help="Where the clips go.")] = Path(),
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Save the clips of finished tasks; a file that already exists is kept."""
    resume = ["duomi", "download", *(["--directory", str(directory)] if directory != Path() else [])]
    resume += ["--overwrite"] if overwrite else []
    resume += ["--json"] if json else []
    if_exists: IfExists = "replace" if overwrite else "skip"
    _wait(_Job(AsyncDuomi(), _ids(task_ids), directory, Screen(json=json), resume, if_exists, only_finished=True))


@app.command(epilog="Example: duomi demo")
def demo(*, json: Json = False) -> None:
    """Show all of it against a simulator on this machine; no key and no network needed. It writes to demo/."""
    try:
        from duomi._cli.demo import simulated  # noqa: PLC0415  (the simulator is an extra)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f'{error.name} is missing; install the extra: pip install "duomi[simulator]"'
        ) from error
    with simulated() as (client, task_ids):
        job = _Job(client, task_ids, Path("demo"), Screen(json=json), ["duomi", "demo"], "replace")
        asyncio.run(_follow(job))
        results = [job.results[task_id] for task_id in task_ids]
        job.screen.results(results)
    # One of its tasks fails, as tasks do; nothing else may.
    raise typer.Exit(exit_code([end for end in results if not isinstance(end.outcome.error, TaskFailedError)]))


def _ids(given: list[str]) -> list[str]:
    ids: list[str] = []
    for word in given:
        ids += [line for line in map(_stripped, sys.stdin) if line] if word == "-" else [word]
    if not ids:
        raise ConfigurationError("no task ids came from stdin")
    return [check_task_id(task_id) for task_id in dict.fromkeys(ids)]


def _stripped(line: str) -> str:
    """Return a line of a file less its blanks, and less the mark that some editors put before the first."""
    return line.removeprefix("\ufeff").strip()


@attrs.define
class _Job:
    """Many tasks on one screen; `resume` is the command that continues with what is left."""

    client: AsyncDuomi
    task_ids: list[str]
    directory: Path | None
    screen: Screen
    resume: list[str]
    if_exists: IfExists = "skip"
    only_finished: bool = False
    results: dict[str, TaskResult] = attrs.field(factory=dict)


def _wait(job: _Job) -> None:
    try:
        asyncio.run(_follow(job))
    except KeyboardInterrupt:
        left = [task_id for task_id in job.task_ids if task_id not in job.results]
        job.screen.results([job.results[i] for i in job.task_ids if i in job.results])
        _tell_how_to_resume(job, left, "interrupted; ")
        raise typer.Exit(130) from None
    results = [job.results[task_id] for task_id in job.task_ids]
    job.screen.results(results)
    going_on = TaskTimeoutError | TaskStalledError
    _tell_how_to_resume(job, [end.outcome.task_id for end in results if isinstance(end.outcome.error, going_on)])
    raise typer.Exit(exit_code(results))


def _tell_how_to_resume(job: _Job, task_ids: list[str], what: str = "") -> None:
    if task_ids:
        words = [*job.resume, *(["--"] if any(i.startswith("-") for i in task_ids) else []), *task_ids]
        print_stderr(
            f"{what}the task{'s continue' if len(task_ids) > 1 else ' continues'}. To resume:\n{shlex.join(words)}"
        )


async def _follow(job: _Job) -> None:
    several = asyncio.Semaphore(AT_ONCE)
    try:
        with job.screen.bars(job.task_ids):
            async with job.client, asyncio.TaskGroup() as group:
                async for outcome in _outcomes(job):
                    group.create_task(_save(job, outcome, several))
    except ExceptionGroup as errors:
        # What ends all of them is one error, which the group wraps.
        raise errors.exceptions[0] from None


async def _outcomes(job: _Job) -> AsyncIterator[Outcome]:
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


async def _save(job: _Job, outcome: Outcome, several: asyncio.Semaphore) -> None:
    """Save the clips of a task that ended well, where they are wanted, and show its ending."""
    task, paths = outcome.task, list[Path]()
    try:
        if (
            task is not None
            and outcome.error is None
            and job.directory is not None
            and (task.videos or job.only_finished)
        ):
            async with several:
                saved = await job.client.download(task, job.directory, if_exists=job.if_exists)
            paths = [job.directory / path.name for path in saved]
    except DuomiError as error:
        outcome = attrs.evolve(outcome, error=error)
    result = job.results[outcome.task_id] = TaskResult(outcome, paths)
    job.screen.end(result)


class _Handler(logging.Handler):
    """Prints what is logged above the bars, so that neither disturbs the other."""

    def emit(self, record: logging.LogRecord) -> None:
        print_stderr(f"duomi: {record.getMessage()}")


def run() -> None:
    """Run one command, and exit with its code."""
    logging.getLogger("duomi").addHandler(_Handler())
    for stream in (sys.stdout, sys.stderr):
        # What a terminal or a file cannot take is written as its number, rather than not at all.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue]
    try:
        app(prog_name="duomi")
    except DuomiError as error:
        print_stderr(f"duomi: {error}")
        sys.exit(exit_code([TaskResult(Outcome("", None, error), [])]))
    except OutputError as error:
        # Whoever reads our output has gone, or has no room; the interpreter would try to write the rest once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        number, words = error.args
        if number != errno.EPIPE:
            print_stderr(f"duomi: cannot write the output: {words}")
        sys.exit(2)

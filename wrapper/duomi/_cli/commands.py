"""The commands of the command line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from duomi._async_client import AsyncDuomi
from duomi._cli.jobs import Job, finish, follow
from duomi._cli.screen import OutputError, Screen, TaskResult, exit_code, print_stderr
from duomi._cli.streams import TERMINATED, TERMINATES, end_unwritten, read_stdin
from duomi._client import Duomi
from duomi._config import IfExists, check_directory, check_task_id
from duomi._core.names import file_name
from duomi._core.scheduler import Outcome
from duomi._errors import ConfigurationError, DuomiError
from duomi._io.files import Folder
from duomi._policy import Polling
from duomi._task import Task, TaskFailedError
from duomi._version import __version__

CommandT = TypeVar("CommandT", bound=Callable[..., None])

app = typer.Typer(
    name="duomi",
    help="Follow video tasks of duomiapi.com. The key comes from the environment variable DUOMI_API_KEY;"
    " DUOMI_BASE_URL names another server.",
    epilog="Exit codes: 0 done; 1 a task failed or was empty, or check found deviations; 2 usage, configuration, or"
    " output that cannot be written; 3 refused, unreachable, or not a task; 4 timed out; 5 a clip was not saved; 130"
    " interrupted; 143 terminated. Of several, the first that holds of 130, 143, 2, 3, 5, 4, 1. Each message is explained in"
    " Chinese on the page 错误与提示 (docs/errors.zh.md).",
    context_settings={"help_option_names": ["--help", "-h"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_retries(wanted: bool) -> None:  # noqa: FBT001  (typer calls it)
    if wanted:
        logging.getLogger("duomi").setLevel(logging.INFO)
        if os.environ.get("DUOMI_LOG", "").strip().lower() in {"warning", "error"}:
            del os.environ["DUOMI_LOG"]  # or the client would set its level again


TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.")]
TaskIds = Annotated[list[str], typer.Argument(metavar="ID...", help="The tasks' ids; `-` reads them from stdin.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", callback=_show_retries, help="Show retries.")]
# Help is given here and not as docstrings, which `python -OO` takes away.
_HELP = {
    "get": "Print a task as it is now.",
    "check": "Compare an answer with the contract.",
    "wait": "Wait until tasks are finished.",
    "download": "Save the clips of finished tasks.",
    "demo": "Show all of it, without a key.",
    "simulator": "Serve the simulator until Ctrl-C.",
}


def _command(name: str, more: str, example: str) -> Callable[[CommandT], CommandT]:
    return app.command(name, help=f"{_HELP[name]} {more}", short_help=_HELP[name], epilog=f"Example: {example}")


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


@_command("get", "Exit 0 whatever its state.", "duomi get 5dd1ef43-efeb-9017-be66-f37a9d4348ee")
def _get(task_id: TaskId, *, json: Json = False, verbose: Verbose = False) -> None:  # noqa: ARG001  (has a callback)
    screen = Screen(json=json)
    screen.task(_ask(screen, task_id))


def _ask(screen: Screen, task_id: str) -> Task:
    """Ask once; for a program, an error is an object on stdout like any other."""
    with Duomi() as client:
        try:
            return client.get_task(task_id)
        except DuomiError as error:
            if screen.json:
                screen.object(TaskResult(Outcome(task_id, None, error), []))
            raise


@_command("check", "Exit 1 if it deviates.", "duomi check 5dd1ef43-efeb-9017-be66-f37a9d4348ee")
def _check(task_id: TaskId, *, json: Json = False, verbose: Verbose = False) -> None:  # noqa: ARG001  (as above)
    screen = Screen(json=json)
    task = _ask(screen, task_id)
    screen.deviations(task)
    raise typer.Exit(1 if task.deviations else 0)


@_command(
    "wait",
    "Shows a progress bar for each, then a table.",
    "duomi wait ID1 ID2 --download clips/    |    cat ids.txt | duomi wait - --json",
)
def _wait(
    task_ids: TaskIds,
    *,
    download: Annotated[
        Path | None, typer.Option("--download", "-d", metavar="DIR", help="Save the clips of each task there.")
    ] = None,
    overwrite: Overwrite = False,
    timeout: Annotated[float | None, typer.Option(metavar="S", min=0.1, help="Seconds to wait at most (1800).")] = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    ids = _ids(task_ids)
    polling = Polling() if timeout is None else Polling(timeout=timeout)
    resume = ["duomi", "wait", *(["--download", str(download)] if download is not None else [])]
    resume += ["--overwrite"] if overwrite else []
    resume += ["--timeout", f"{timeout:g}"] if timeout is not None else []
    resume += _again(json=json, verbose=verbose)
    directory = None if download is None else _checked(download, ids)
    if_exists: IfExists = "replace" if overwrite else "skip"
    finish(Job(AsyncDuomi(polling=polling), ids, directory, Screen(json=json), resume, if_exists))


@_command(
    "download",
    "Files that exist are kept.",
    "duomi download 5dd1ef43-efeb-9017-be66-f37a9d4348ee --directory clips/",
)
def _download(
    task_ids: TaskIds,
    *,
    directory: Annotated[Path, typer.Option("--directory", metavar="DIR", help="Where the clips go.")] = Path(),
    overwrite: Overwrite = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    ids = _ids(task_ids)
    resume = ["duomi", "download", *(["--directory", str(directory)] if directory != Path() else [])]
    resume += ["--overwrite"] if overwrite else []
    resume += _again(json=json, verbose=verbose)
    if_exists: IfExists = "replace" if overwrite else "skip"
    target = _checked(directory, ids)
    finish(Job(AsyncDuomi(), ids, target, Screen(json=json), resume, if_exists, only_finished=True))


@_command("demo", "It talks to a simulator on this machine, and writes to demo/.", "duomi demo")
def _demo(*, json: Json = False, verbose: Verbose = False) -> None:  # noqa: ARG001  (as above)
    with _with_simulator():
        from duomi._cli.demo import simulated  # noqa: PLC0415  (the simulator is an extra)
    with simulated() as (client, task_ids):
        job = Job(client, task_ids, Path("demo"), Screen(json=json), ["duomi", "demo"], "replace")
        asyncio.run(follow(job))
        results = [job.results[task_id] for task_id in task_ids]
        job.screen.results(results)
    # One of its tasks fails, as tasks do; nothing else may.
    raise typer.Exit(exit_code([end for end in results if not isinstance(end.outcome.error, TaskFailedError)]))


@_command("simulator", "It knows the tasks of the demo, and any key.", "duomi simulator --port 8080")
def _simulator(
    *, port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 is any that is free.")] = 0
) -> None:
    with _with_simulator():
        from duomi._cli.demo import SCRIPTS  # noqa: PLC0415  (as above)
        from duomi.simulator import EXAMPLE_ID, Script, Simulator  # noqa: PLC0415  (as above)
    try:
        with Simulator(SCRIPTS | {EXAMPLE_ID: Script()}).serve(port=port) as base_url:
            variables = f"DUOMI_BASE_URL={base_url} DUOMI_API_KEY=sk-simulated DUOMI_POLL_INTERVAL=1"
            print_stderr(f"Serving until Ctrl-C. In another terminal:\nexport {variables}")
            print_stderr(f"duomi wait {EXAMPLE_ID} {' '.join(SCRIPTS)}")
            while True:
                time.sleep(3600)
    except OSError as error:
        raise ConfigurationError(f"port {port} cannot be had: {error.strerror}") from error


@contextlib.contextmanager
def _with_simulator() -> Generator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f'{error.name} is missing; install the extra: pip install "duomi[simulator]"'
        ) from error


def _again(*, json: bool, verbose: bool) -> list[str]:
    return [*(["--json"] if json else []), *(["--verbose"] if verbose else [])]


def _checked(directory: Path, task_ids: list[str]) -> Path:
    """Return a folder that clips can be saved in; it is checked before the wait begins."""
    try:
        directory = directory.expanduser()
    except RuntimeError as error:
        raise ConfigurationError(f"{directory}: there is no such user's folder") from error
    Folder(check_directory(directory)).check([file_name(task_id) for task_id in task_ids])
    return directory


def _ids(given: list[str]) -> list[str]:
    ids: list[str] = []
    for word in given:
        ids += [line for line in map(str.strip, read_stdin().splitlines()) if line] if word == "-" else [word]
    if not ids:
        raise ConfigurationError("no task ids came from stdin")
    return [check_task_id(task_id) for task_id in dict.fromkeys(ids)]


class _Handler(logging.Handler):
    """Prints what is logged above the bars, so that neither disturbs the other."""

    def emit(self, record: logging.LogRecord) -> None:
        print_stderr(f"duomi: {record.getMessage()}")


def _terminated(_number: int, _frame: object) -> None:
    # Without a handler the first process of a container ignores the signal.
    raise SystemExit(TERMINATED)


def run() -> None:
    """Run one command, and exit with its code."""
    logging.getLogger("duomi").addHandler(_Handler())
    for number in TERMINATES:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _terminated)
    for stream in (sys.stdout, sys.stderr):
        # What a terminal or a file cannot take is written as its number, rather than not at all.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue]
    try:
        app(prog_name="duomi")
    except DuomiError as error:
        print_stderr(f"duomi: {error}")
        sys.exit(exit_code([TaskResult(Outcome("", None, error), [])]))
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # the help's reader has gone, which is 1 for typer
            sys.exit(2)
        raise
    except (OutputError, OSError) as error:  # typer prints help and usage itself
        end_unwritten(*error.args[:2])

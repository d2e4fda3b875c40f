"""The clips of a task as files: which there are, and what happens to those that exist."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from duomi._config import IfExists
from duomi._core.download import Disk, DownloadFlow, Fetch, Urls
from duomi._core.names import file_name, quoted
from duomi._core.request import Runtime
from duomi._errors import DownloadError
from duomi._payload import NO_REASON, one_line
from duomi._policy import Retry
from duomi._task import Task

log = logging.getLogger("duomi")


class PartFile(Protocol):
    """The file that a clip is written to until it is complete."""

    def write(self, chunk: bytes) -> None:
        """Append a chunk."""

    def restart(self) -> None:
        """Begin with nothing."""

    def finish(self, *, replace: bool) -> None:
        """Give it the target's name."""

    def discard(self) -> None:
        """Leave nothing behind."""


class Folder(Protocol):
    """Where clips go."""

    path: Path
    existing: dict[str, bool]

    def prepare(self, names: Sequence[str]) -> None:
        """Make the folder, and learn what exists, and whether it is a file."""

    def part(self, name: str) -> PartFile:
        """Return the part file of a clip."""
        ...


class Target(NamedTuple):
    """Where the clips go, and what happens to a file that already exists; `on_progress` gets the bytes so far and in all."""

    folder: Folder
    if_exists: IfExists = "error"
    on_progress: Callable[[int, int | None], object] | None = None


def check_result(task: Task) -> None:
    """Check that a task has a clip.

    Raises:
        DownloadError: it has none, or not yet.
    """
    if not task.is_finished:
        how = f"wait for it with `duomi wait {quoted(task.task_id)} --download .` or client.wait(...)"
        raise DownloadError(
            f"task {task.task_id} is not finished ({one_line(task.state.value)}); {how}", is_transient=True
        )
    if task.is_failed or not task.videos:
        reason = f"failed: {one_line(task.message) or NO_REASON}" if task.is_failed else "has no video"
        raise DownloadError(f"task {task.task_id} {reason}")


def save_flow(task: Task, target: Target, urls: Urls, runtime: Runtime, retry: Retry) -> DownloadFlow[list[Path]]:
    """Save every clip of a task."""
    check_result(task)
    folder, if_exists = target.folder, target.if_exists
    names = [file_name(task.task_id, number) for number in range(1, len(urls.all) + 1)]
    if error := (yield Disk(partial(folder.prepare, names))):
        raise DownloadError(f"{folder.path}: {why(error)}", "", str(folder.path)) from error
    for name, url in zip(names, urls.all, strict=True):
        if if_exists != "replace" and not folder.existing.get(name, True):
            raise DownloadError(f"{folder.path / name} already exists, and is no file", url, str(folder.path / name))
        if if_exists == "error" and name in folder.existing:
            raise _exists(folder.path / name, url, [])
    saved: list[str] = []
    for number, name in enumerate(names):
        path = folder.path / name
        if if_exists == "skip" and name in folder.existing:
            log.warning("%s already exists; kept", path)
            continue
        file = _File(path, folder.part(name), target, saved)
        try:
            fetch = Fetch(name, urls, number, file, runtime, retry, str(path), saved)
            yield from fetch.run()
            yield from file.finish(fetch.url)
        finally:
            file.discard()
        saved.append(str(path))
    return [folder.path / name for name in names]


class _File:
    """A clip on its way to a file."""

    def __init__(self, path: Path, part: PartFile, target: Target, saved: Sequence[str]) -> None:
        self._path = path
        self._part = part
        self._if_exists = target.if_exists
        self._on_progress = target.on_progress
        self._saved = saved
        self._done = 0
        self.discard = part.discard

    def error(self, text: str, url: str) -> DownloadError:
        return DownloadError(text, url, str(self._path), self._saved)

    def restart(self) -> DownloadFlow[None]:
        self._done = 0
        yield from self._on_disk(self._part.restart)

    def write(self, chunk: bytes, total: int | None) -> DownloadFlow[None]:
        yield from self._on_disk(partial(self._part.write, chunk))
        self._done += len(chunk)
        if self._on_progress is not None:
            self._on_progress(self._done, total)

    def finish(self, url: str) -> DownloadFlow[None]:
        error = yield Disk(partial(self._part.finish, replace=self._if_exists == "replace"))
        if isinstance(error, FileExistsError):
            # Another process was faster.
            if self._if_exists != "skip":
                raise _exists(self._path, url, self._saved)
            log.warning("%s already exists; kept", self._path)
        elif error is not None:
            raise self.error(f"{self._path}: {why(error)}", url) from error

    def _on_disk(self, action: Callable[[], object]) -> DownloadFlow[None]:
        if error := (yield Disk(action)):
            raise self.error(f"{self._path}: {why(error)}", "") from error


def _exists(path: Path, url: str, saved: Sequence[str]) -> DownloadError:
    return DownloadError(f"{path} already exists; if_exists='replace' replaces it", url, str(path), saved)


def why(error: Exception) -> str:
    """Say what a disk refused, and why."""
    if isinstance(error, UnicodeEncodeError):
        return f"this system writes file names in {error.encoding}, which cannot hold this one; LC_ALL=C.UTF-8 helps"
    if not isinstance(error, OSError):
        return f"cannot write: {error}"
    if error.errno == errno.ENOSPC:
        return "no space is left"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "cannot be a folder: there is a file in its place"
    return f"cannot write: {error.strerror or error}"

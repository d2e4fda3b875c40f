"""One clip: resume, redirects, a fresh URL, when to give up; complete or not at all."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import re
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import httpx

from duomi._config import HEADERS, IfExists, is_loopback
from duomi._core.names import file_name
from duomi._core.reply import TRANSIENT_STATUSES, Problem, codings, is_permanent, retry_after
from duomi._core.request import RequestFlow, Runtime, Send, Sleep
from duomi._errors import ConfigurationError, DownloadError
from duomi._policy import Retry
from duomi._task import Task

T = TypeVar("T")

REDIRECTS = 5

# A signed URL is over, or does not answer yet.
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_MOVED = frozenset({301, 302, 303, 307, 308})

log = logging.getLogger("duomi")


class Target(NamedTuple):
    """Where the clips go, and what happens to a file that already exists; `on_progress` gets the bytes so far and in all."""

    directory: str | os.PathLike[str]
    if_exists: IfExists = "error"
    on_progress: Callable[[int, int | None], object] | None = None


class Head(NamedTuple):
    """The head of a response whose body is still to come."""

    status: int
    headers: httpx.Headers


class Open(NamedTuple):
    """The effect of asking for a clip, once the last response is closed; its result is a `Head` or the exception."""

    request: httpx.Request


class Pull(NamedTuple):
    """The effect of receiving the next chunk; its result is bytes, None at the end, or the exception."""


class Disk(NamedTuple):
    """The effect of doing something that blocks on the disk; its result is its OSError, or None."""

    action: Callable[[], object]


class PartFile(Protocol):
    """The file that a clip is written to until it is complete."""

    def write(self, chunk: bytes) -> None:
        """Append a chunk."""

    def restart(self) -> None:
        """Drop what was written."""

    def finish(self, *, replace: bool) -> None:
        """Give it the target's name."""

    def discard(self) -> None:
        """Leave nothing behind."""


Effect: TypeAlias = Open | Pull | Disk | Send | Sleep
DownloadFlow: TypeAlias = Generator[Effect, Any, T]


class _Transient(Exception):  # noqa: N818  (not an error: the next attempt may bring the rest)
    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class _UrlExpired(Exception):  # noqa: N818  (as above)
    pass


def download_flow(
    task: Task,
    target: Target,
    ask: Callable[[], RequestFlow[Task]],
    make_part: Callable[[Path], PartFile],
    runtime: Runtime,
    retry: Retry,
) -> DownloadFlow[list[Path]]:
    """Save every video of a task; `ask` makes the flow that asks for the task once more, `make_part` opens a file."""
    task_id = task.task_id
    if not task.is_finished:
        raise DownloadError(f"task {task_id} is not finished: it is {task.state.value}")
    if task.is_failed or not task.videos:
        reason = f"failed: {task.message}" if task.is_failed else "has no video"
        raise DownloadError(f"task {task_id} {reason}")
    directory = _folder(target.directory)
    paths = [directory / file_name(task_id, number) for number in range(1, len(task.videos) + 1)]
    yield from _on_disk(lambda: directory.mkdir(parents=True, exist_ok=True), directory, "", [])
    for path, video in zip(paths, task.videos, strict=True):
        if target.if_exists == "error" and os.path.lexists(path):
            raise DownloadError(f"{path} already exists; if_exists='replace' replaces it", video.url, str(path))
    saved: list[str] = []
    urls = [video.url for video in task.videos]
    for number, path in enumerate(paths):
        if target.if_exists == "skip" and os.path.lexists(path):
            log.warning("%s already exists; kept", path)
            continue
        clip = _Clip(urls[number], path, target, saved, make_part)
        attempts = itertools.count(1)
        while True:
            try:
                yield from clip.fetch(runtime, retry, attempts)
                break
            except _UrlExpired as expired:
                fresh = yield from ask()
                if isinstance(fresh, Problem):
                    raise clip.error(f"{expired}; and no fresh URL: {fresh.error}") from fresh.error
                urls[number:] = [video.url for video in fresh.videos][number:] + urls[max(number, len(fresh.videos)) :]
                if urls[number] == clip.url:
                    # A clip may need a second or two until its URL answers.
                    delay = retry.delay(clip.attempt, None, runtime.jitter())
                    if delay is None:
                        raise clip.error(f"{expired}, and the API has no other URL for it") from None
                    yield Sleep(delay, "retry")
                elif clip.attempt >= retry.attempts:
                    raise clip.error(str(expired)) from None
                clip = _Clip(urls[number], path, target, saved, make_part)
        saved.append(str(path))
    return paths


class _AsWritten(httpx.URL):
    """A URL whose path is sent to the letter: httpx tidies one up, and a signature holds only for what was signed."""

    _target: bytes | None = None

    def keep(self, written: str) -> None:
        """Keep the path and the query of the text that the URL was read from, where they can be sent."""
        found = re.fullmatch(r"https?://[^/?#]*(/[!-\"$-~]*)(#.*)?", written.strip(), re.IGNORECASE | re.DOTALL)
        self._target = found[1].encode("ascii") if found else None

    @property
    def raw_path(self) -> bytes:
        return super().raw_path if self._target is None else self._target


class _Clip:
    """One clip on its way to one file."""

    def __init__(
        self, url: str, path: Path, target: Target, saved: list[str], make_part: Callable[[Path], PartFile]
    ) -> None:
        self.url = url
        self.path = path
        self.saved = saved
        self._may_replace = target.if_exists == "replace"
        self._on_progress = target.on_progress
        self.attempt = 0
        self._done = 0
        self._warned = False
        self._etag: str | None = None
        self._make_part = make_part
        self._part: PartFile

    def error(self, text: str) -> DownloadError:
        return DownloadError(f"{self.path.name}: {text}", self.url, str(self.path), self.saved)

    def fetch(self, runtime: Runtime, retry: Retry, attempts: Iterator[int]) -> DownloadFlow[None]:
        try:
            self._part = self._make_part(self.path)
        except OSError as error:
            raise self.error(f"cannot write: {error.strerror}") from error
        try:
            while True:
                attempt = self.attempt = next(attempts)
                try:
                    yield from self._attempt()
                    break
                except _Transient as problem:
                    delay = retry.delay(attempt, problem.retry_after, runtime.jitter())
                    if delay is None:
                        raise self.error(str(problem)) from problem.__cause__
                    log.info("%s: %s; attempt %d of %d", self.path.name, problem, attempt + 1, retry.attempts)
                    yield Sleep(delay, "retry" if problem.retry_after is None else "retry-after")
            yield from self._disk(partial(self._part.finish, replace=self._may_replace))
        finally:
            self._part.discard()

    def _attempt(self) -> DownloadFlow[None]:
        total = yield from self._begin((yield from self._open()))
        while (chunk := (yield Pull())) is not None:
            if isinstance(chunk, Exception):
                raise _Transient(f"broken off after {self._done} bytes: {_describe(chunk)}") from chunk
            yield from self._disk(partial(self._part.write, chunk))
            self._done += len(chunk)
            if self._on_progress is not None:
                self._on_progress(self._done, total)
        if total is not None and self._done != total:
            raise _Transient(f"{self._done} bytes of {total} came")
        if self._done == 0:
            raise self.error("the clip is empty")

    def _open(self) -> DownloadFlow[Head]:
        url, written = _parse(self.url, self), self.url
        for _ in range(REDIRECTS + 1):
            if url.scheme == "http" and not self._warned and not is_loopback(url.host):
                self._warned = True
                log.warning("%s comes over http, so it may be changed on the way", self.path.name)
            answer: Head | Exception = yield Open(self._request(url, written))
            if isinstance(answer, Exception):
                if is_permanent(answer):
                    raise self.error(_describe(answer)) from answer
                raise _Transient(_describe(answer)) from answer
            if answer.status not in _MOVED or "location" not in answer.headers:
                return answer
            location = answer.headers["location"]
            try:
                target = url.join(location)
            except (httpx.InvalidURL, ValueError) as error:
                raise self.error("the redirect leads to an invalid URL") from error
            if not _is_web(target) or (url.scheme, target.scheme) == ("https", "http"):
                raise self.error(f"the redirect leads from {url.scheme} to {target.scheme}")
            url, written = target, location
        raise self.error(f"more than {REDIRECTS} redirects")

    def _request(self, url: httpx.URL, written: str) -> httpx.Request:
        headers = {"user-agent": HEADERS["user-agent"], "accept": "*/*", "accept-encoding": "identity"}
        if self._done and self._etag is not None:
            headers |= {"range": f"bytes={self._done}-", "if-range": self._etag}
        request = httpx.Request("GET", url, headers=headers)
        request.url = _AsWritten(url)
        request.url.keep(written)
        return request

    def _begin(self, head: Head) -> DownloadFlow[int | None]:
        """Check the head, prepare the file, and return how many bytes there will be."""
        if head.status in _EXPIRED:
            raise _UrlExpired(f"status {head.status}")
        if head.status in TRANSIENT_STATUSES or head.status >= 500:
            raise _Transient(f"status {head.status}", retry_after(head.headers.get("retry-after")))
        if head.status == 416 and self._done:
            yield from self._restart()
            raise _Transient("status 416")
        if head.status not in {200, 206}:
            raise self.error(f"status {head.status}")
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind.endswith(("html", "json")):
            raise self.error(f"the response is {kind}, not a clip")
        if compressed := codings(head.headers.get("content-encoding", "")):
            raise self.error(f"the response is compressed ({', '.join(compressed)}), which was not asked for")
        length = head.headers.get("content-length", "")
        rest = int(length) if length.isascii() and length.isdigit() else None
        if head.status == 206:
            return self._resumed(head, rest)
        yield from self._restart()
        etag = head.headers.get("etag", "")
        self._etag = etag if etag.startswith('"') else None
        return rest

    def _resumed(self, head: Head, rest: int | None) -> int | None:
        answered = re.fullmatch(
            r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", head.headers.get("content-range", "").strip()
        )
        if answered is None or int(answered[1]) != self._done or head.headers.get("etag", self._etag) != self._etag:
            # Without its mark the next attempt begins at the first byte.
            self._etag = None
            raise _Transient("status 206 with another range, or of another file, than was asked for")
        if answered[2] != "*":
            return int(answered[2])
        return None if rest is None else self._done + rest

    def _restart(self) -> DownloadFlow[None]:
        self._done = 0
        yield from self._disk(self._part.restart)

    def _disk(self, action: Callable[[], object]) -> DownloadFlow[None]:
        yield from _on_disk(action, self.path, self.url, self.saved)


def _on_disk(action: Callable[[], object], path: Path, url: str, saved: list[str]) -> DownloadFlow[None]:
    error = yield Disk(action)
    if isinstance(error, FileExistsError):
        raise DownloadError(f"{path}: already exists; if_exists='replace' replaces it", url, str(path), saved)
    if isinstance(error, OSError):
        what = "no space is left" if error.errno == errno.ENOSPC else f"cannot write: {error.strerror or error}"
        raise DownloadError(f"{path}: {what}", url, str(path), saved) from error


def _folder(directory: object) -> Path:
    if not isinstance(directory, str | os.PathLike) or "\0" in os.fspath(directory):
        raise ConfigurationError(f"directory must be the path of a folder, not {directory!r}")
    return Path(directory)


def _parse(url: str, clip: _Clip) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise clip.error("invalid URL") from error
    if not _is_web(parsed):
        raise clip.error("the URL is not an http or https one")
    return parsed


def _is_web(url: httpx.URL) -> bool:
    return url.scheme in {"http", "https"} and bool(url.host) and (url.port or 0) < 65_536


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__

"""One clip: what is taken as one, resume, redirects, a fresh URL, when to give up.

The first row that holds for an answer decides:

| answer | what follows |
| --- | --- |
| none, or it breaks off | asked again; an error if that cannot help (certificate, host name, invalid URL) |
| 301, 302, 303, 307, 308 with a location | followed, at most 5, and never from https to http |
| 400, 401, 403, 404, 410 | the API is asked for a fresh URL; if it has no other, the same again |
| 408, 425, 429, 5xx | asked again, not before its Retry-After |
| 416 to a range | asked again, from the first byte |
| 206 to a range, with the same strong ETag, total and start | the rest of the clip |
| 206 to no range, with all bytes | the clip |
| 206 otherwise | asked again, from the first byte |
| any other status but 200 and 203 | an error |
| compressed | an error |
| empty | an error |
| begins as an mp4, mov, webm, avi or image does | the clip, whatever its content type |
| content type of a text; or begins with `<` or `{`; or is text | an error |
| fewer bytes than announced | asked again, for the rest |
| anything else | the clip |

Asked again means within `Retry`. An attempt that gains much does not count.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar

import httpx

from duomi._config import HEADERS, is_loopback
from duomi._core.reply import (
    TRANSIENT_STATUSES,
    Problem,
    asked_too_much,
    codings,
    described,
    is_permanent,
    retry_after,
)
from duomi._core.request import RequestFlow, Runtime, Send, Sleep
from duomi._errors import DownloadError
from duomi._payload import one_line
from duomi._policy import Retry
from duomi._task import Task

T = TypeVar("T")

REDIRECTS: Final = 5
# So many bytes show whether an answer is a clip.
BEGINNING: Final = 512
MUCH: Final = 64 * 1024

# A signed URL is over, or does not answer yet.
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_MOVED = frozenset({301, 302, 303, 307, 308})
_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"pnot", b"styp"})
_MAGIC = (b"\x1a\x45\xdf\xa3", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
_IN_RIFF = frozenset({b"AVI ", b"WEBP"})
_TEXT_KINDS = ("html", "json", "xml", "javascript")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_NOT_IN_TEXT = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1b")

log = logging.getLogger("duomi")


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
    """The effect of doing something that blocks on the disk; its result is its exception, or None."""

    action: Callable[[], object]


class HandOut(NamedTuple):
    """The effect of handing a chunk to the caller who streams a clip."""

    chunk: bytes


Effect: TypeAlias = Open | Pull | Disk | HandOut | Send | Sleep
DownloadFlow: TypeAlias = Generator[Effect, Any, T]


class Sink(Protocol):
    """What takes the bytes of a clip."""

    def restart(self) -> DownloadFlow[None]:
        """Begin again with the first byte."""
        ...

    def write(self, chunk: bytes, total: int | None) -> DownloadFlow[None]:
        """Take the next chunk, of so many bytes in all."""
        ...


class _Transient(Exception):  # noqa: N818  (not an error: the next attempt may bring the rest)
    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class _UrlExpired(_Transient):
    pass


class Urls:
    """The URLs of a task's clips; `ask` makes the flow that asks for the task once more."""

    def __init__(self, task: Task, ask: Callable[[], RequestFlow[Task]]) -> None:
        self.all: list[str] = [video.url for video in task.videos]
        self._ask = ask

    def refresh(self, number: int) -> RequestFlow[None]:
        """Ask for fresh URLs from one clip on; a URL that the API has no longer stays."""
        task = yield from self._ask()
        if isinstance(task, Problem):
            return task
        fresh = [video.url for video in task.videos]
        # They may come in another order: a clip is known by its path, if each clip has one of its own.
        known, paths = dict(zip(map(_path, fresh), fresh, strict=True)), set(map(_path, self.all))
        if len(known) < len(fresh) or len(paths) < len(self.all):
            known = {}
        others = iter([url for url in fresh if not known or _path(url) not in paths])
        for place, old in enumerate(self.all):
            new = known.get(_path(old)) or next(others, old)
            if place >= number:
                self.all[place] = new
        return None


class Fetch:
    """Fetches one clip of a task, complete or not at all.

    Args:
        name: how messages call the clip.
        urls: the URLs of the task's clips.
        number: which clip, from 0 on.
        sink: takes its bytes.
        runtime: the clock and the jitter.
        retry: how often it is asked for.
        path: the file that it is saved as, for errors; None if it is streamed.
        saved: the files that were saved before, for errors.
    """

    def __init__(
        self,
        name: str,
        urls: Urls,
        number: int,
        sink: Sink,
        runtime: Runtime,
        retry: Retry,
        path: str | None = None,
        saved: Sequence[str] = (),
    ) -> None:
        self.size: int | None = None
        self.content_type: str = ""
        self.url: str = urls.all[number]
        self._name = name
        self._urls = urls
        self._number = number
        self._sink = sink
        self._runtime = runtime
        self._retry = retry
        self._path = path
        self._saved = saved
        self._done = 0
        self._etag: str | None = None
        self._warned = False

    def run(self) -> DownloadFlow[None]:
        """Return the flow."""
        retry, failures, furthest = self._retry, 0, 0
        while True:
            try:
                yield from self._attempt()
            except _Transient as problem:
                failures = 1 if self._done - furthest >= self._much else failures + 1
                furthest = max(furthest, self._done)
                delay = retry.delay(failures, problem.retry_after, self._runtime.jitter())
                if isinstance(problem, _UrlExpired):
                    yield from self._refresh(problem, delay)
                elif delay is None:
                    asked, limit = problem.retry_after or 0.0, retry.max_retry_after
                    why = f"{problem}; {asked_too_much(asked, limit)}" if asked > limit else str(problem)
                    raise self.error(why, is_transient=True) from problem.__cause__
                else:
                    log.info("%s: %s; attempt %d of %d", self._name, problem, failures + 1, retry.attempts)
                    yield Sleep(delay, "retry" if problem.retry_after is None else "retry-after")
            else:
                return

    def error(self, text: str, *, is_transient: bool = False) -> DownloadError:
        """Return an error that names the clip."""
        return DownloadError(f"{self._name}: {text}", self.url, self._path, self._saved, is_transient)

    @property
    def _much(self) -> int:
        return MUCH if self.size is None else max(1, min(MUCH, self.size // 100))

    def _refresh(self, expired: _UrlExpired, delay: float | None) -> DownloadFlow[None]:
        problem = yield from self._urls.refresh(self._number)
        if problem is not None:
            text = f"{expired}; and no fresh URL: {problem.error}"
            raise self.error(text, is_transient=problem.error.is_transient) from problem.error
        old, self.url = self.url, self._urls.all[self._number]
        if delay is None:
            why = f"{expired}, and the API has no other URL for it" if old == self.url else str(expired)
            raise self.error(why, is_transient=True) from None
        if old == self.url:
            # A clip may need a second or two until its URL answers.
            yield Sleep(delay, "retry")
        elif _path(old) != _path(self.url):
            # An ETag says nothing of another file.
            self._etag = None

    def _attempt(self) -> DownloadFlow[None]:
        yield from self._begin((yield from self._open()))
        beginning = b""
        while (chunk := (yield Pull())) is not None:
            if isinstance(chunk, Exception):
                raise _Transient(f"broken off after {self._done} bytes: {_describe(chunk)}") from chunk
            if not self._done:
                beginning += chunk
                if len(beginning) < BEGINNING:
                    continue
                chunk = self._checked(beginning)
            yield from self._take(chunk)
        if not self._done and beginning:
            yield from self._take(self._checked(beginning))
        if self.size is not None and self._done != self.size:
            raise _Transient(f"{self._done} bytes of {self.size} came")
        if self._done == 0:
            raise self.error("the clip is empty")

    def _take(self, chunk: bytes) -> DownloadFlow[None]:
        yield from self._sink.write(chunk, self.size)
        self._done += len(chunk)

    def _checked(self, beginning: bytes) -> bytes:
        """Return the beginning of an answer that is a clip."""
        kind = self.content_type.partition(";")[0].strip().lower()
        if not is_media(beginning):
            named = one_line(kind)[:80]
            if kind.startswith("text/") or kind.endswith(_TEXT_KINDS):
                raise self.error(f"the answer is {named}, not a clip")
            if is_text(beginning):
                raise self.error(f"the answer is a text, not a clip (its content type is {named or 'missing'})")
        return beginning

    def _open(self) -> DownloadFlow[Head]:
        url, written = self._parse(self.url), self.url
        for _ in range(REDIRECTS + 1):
            if url.scheme == "http" and not self._warned and not is_loopback(url.host):
                self._warned = True
                log.warning("%s comes over http, so it may be changed on the way", self._name)
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
                raise self.error(f"the redirect leads from {url.scheme} to {one_line(target.scheme)[:80]}")
            url, written = target, location
        raise self.error(f"more than {REDIRECTS} redirects")

    def _parse(self, url: str) -> httpx.URL:
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise self.error("invalid URL") from error
        if not _is_web(parsed):
            raise self.error("the URL is not an http or https one")
        return parsed

    def _request(self, url: httpx.URL, written: str) -> httpx.Request:
        headers = {"user-agent": HEADERS["user-agent"], "accept": "*/*", "accept-encoding": "identity"}
        if self._is_resumed and self._etag is not None:
            headers |= {"range": f"bytes={self._done}-", "if-range": self._etag}
        request = httpx.Request("GET", url, headers=headers)
        request.url = _AsWritten(url)
        request.url.keep(written)
        return request

    @property
    def _is_resumed(self) -> bool:
        return bool(self._done) and self._etag is not None

    def _begin(self, head: Head) -> DownloadFlow[None]:
        """Check the head of an answer, and begin again unless it brings the rest."""
        status, headers = head
        if status in _EXPIRED:
            raise _UrlExpired(f"status {status}")
        if status in TRANSIENT_STATUSES or status >= 500:
            raise _Transient(f"status {status}", retry_after(headers.get("retry-after"), headers.get("date")))
        if status == 416 and self._is_resumed:
            self._etag = None
            raise _Transient("status 416")
        if status not in {200, 203, 206}:
            raise self.error(f"status {status}")
        if compressed := codings(headers.get("content-encoding", "")):
            raise self.error(f"the answer is compressed ({', '.join(compressed)}), which was not asked for")
        total = _length(headers)
        if status == 206:
            if self._is_resumed and self._continues(headers):
                return
            total = _all_of_it(headers)
            if self._is_resumed or total is None:
                # Without its mark the next attempt begins at the first byte.
                self._etag = None
                raise _Transient("status 206 with another range, or of another file, than was asked for")
        if total is None and "transfer-encoding" not in headers:
            log.warning("%s comes without its length, so a clip that is cut off looks complete", self._name)
        self._done, self.size = 0, total
        self.content_type = str(headers.get("content-type", ""))
        etag = headers.get("etag", "")
        self._etag = etag if etag.startswith('"') else None
        yield from self._sink.restart()

    def _continues(self, headers: httpx.Headers) -> bool:
        """Tell whether an answer begins where the last one broke off, and is of the same file."""
        span = _span(headers)
        if span is None or span.start != self._done or headers.get("etag") != self._etag:
            return False
        if self.size is None:
            self.size = span.total
        # Of a file of unknown length it is not known whether the rest is all of it.
        return self.size is not None and span.total in {None, self.size}


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


class _Span(NamedTuple):
    """The bytes that an answer holds, by its Content-Range; `total` is of the whole file, if known."""

    start: int
    end: int
    total: int | None


def _span(headers: httpx.Headers) -> _Span | None:
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", headers.get("content-range", "").strip())
    return found and _Span(int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3]))


def _all_of_it(headers: httpx.Headers) -> int | None:
    """Return the total of an answer that holds all bytes, though in a range."""
    span = _span(headers)
    return span.total if span is not None and span.start == 0 and span.total == span.end + 1 else None


def _length(headers: httpx.Headers) -> int | None:
    """Return how many bytes were announced; what comes in chunks has no length, whatever a Content-Length says."""
    length = headers.get("content-length", "")
    return int(length) if "transfer-encoding" not in headers and length.isascii() and length.isdigit() else None


def is_media(beginning: bytes) -> bool:
    """Tell whether bytes begin as an mp4, mov, webm, avi or image does."""
    in_riff = beginning[:4] == b"RIFF" and beginning[8:12] in _IN_RIFF
    # A box begins with its size, a text with a character; only that of the pictures and sounds may be so large.
    in_box = beginning[4:8] == b"mdat" or (beginning[4:8] in _BOXES and beginning[0] in _NOT_IN_TEXT)
    return in_box or beginning.startswith(_MAGIC) or in_riff


def is_text(beginning: bytes) -> bool:
    """Tell whether bytes begin as a text does: with markup, or without anything that a text does not hold."""
    coding = "utf-16" if beginning.startswith(_UTF_16) else "utf-8-sig"
    start = beginning[: BEGINNING // 2].decode(coding, "replace").lstrip()
    return start.startswith(("<", "{")) or not _NOT_IN_TEXT & set(beginning)


def _path(url: str) -> str:
    """Return a URL without its signature."""
    return url.partition("?")[0]


def _is_web(url: httpx.URL) -> bool:
    return url.scheme in {"http", "https"} and bool(url.host) and (url.port or 0) < 65_536


def _describe(error: Exception) -> str:
    return "; ".join([described(error), *getattr(error, "__notes__", ())])

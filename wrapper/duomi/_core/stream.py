"""A clip as a stream: each byte is handed out once, although the clip may have to be begun again."""

from __future__ import annotations

import hashlib

from duomi._core.download import DownloadFlow, Fetch, HandOut, Urls
from duomi._core.request import Runtime
from duomi._core.save import check_result
from duomi._errors import ConfigurationError, DownloadError
from duomi._policy import Retry
from duomi._task import Task


class Stream:
    """Hands out one clip of a task; `index` counts from 0."""

    def __init__(self, task: Task, index: int, urls: Urls, runtime: Runtime, retry: Retry) -> None:
        check_result(task)
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(urls.all):
            last = len(urls.all) - 1
            raise ConfigurationError(f"index must be a whole number from 0 to {last}, not {index!r}")
        name = f"clip {index} of task {task.task_id}"
        self.fetch: Fetch = Fetch(name, urls, index, self, runtime, retry)
        self._handed_out = hashlib.sha256()
        self._again = hashlib.sha256()
        self._sent = 0
        self._at = 0

    def run(self) -> DownloadFlow[None]:
        """Return the flow."""
        yield from self.fetch.run()
        if self._at < self._sent:
            raise self._changed()

    def restart(self) -> DownloadFlow[None]:
        """Begin again with the first byte."""
        self._at = 0
        self._again = hashlib.sha256()
        yield from ()

    def write(self, chunk: bytes, total: int | None) -> DownloadFlow[None]:  # noqa: ARG002  (a file shows it)
        """Hand out what was not handed out before, after a look whether the rest is the same."""
        if (known := self._sent - self._at) > 0:
            before, chunk = chunk[:known], chunk[known:]
            self._again.update(before)
            self._at += len(before)
            if self._at == self._sent and self._again.digest() != self._handed_out.digest():
                raise self._changed()
        if chunk:
            self._handed_out.update(chunk)
            self._sent += len(chunk)
            self._at += len(chunk)
            yield HandOut(chunk)

    def _changed(self) -> DownloadError:
        return self.fetch.error("the clip broke off, and what came then is another one: begin again")

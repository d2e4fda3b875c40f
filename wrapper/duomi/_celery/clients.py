"""The client of a worker process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final

from duomi._client import Duomi, attempt_timeout
from duomi._errors import ConfigurationError

log: Final = logging.getLogger("duomi")


class ProcessLocalClient:
    """Makes one client for each process at first use, so after a fork, and closes it when it is no longer used."""

    def __init__(self, make: Callable[[], Duomi]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._client: Duomi | None = None
        self._pid = 0
        self._lent = 0
        self._closing = False
        self._warned: set[str] = set()

    @contextmanager
    def lend(self) -> Generator[Duomi]:
        with self._lock:
            client = self._current()
            self._lent += 1
        try:
            yield client
        finally:
            with self._lock:
                self._lent -= 1
                self._close_if_idle()

    def longest_poll(self) -> float:
        """Return how long a poll may take, in seconds: an attempt, and one more if it is answered for another id.

        If no client can be made it is 0; the poll will tell why.
        """
        with suppress(Exception), self.lend() as client:
            return 2.0 * attempt_timeout(client)
        return 0.0

    def warn(self, text: str) -> None:
        """Log a problem of this process at WARNING, once."""
        if text not in self._warned:
            self._warned.add(text)
            log.warning(text)

    def close(self, **_signal: object) -> None:
        """Close the client after the polls under way, so that the end of a worker ends no wait."""
        with self._lock:
            self._closing = True
            self._close_if_idle()

    def _current(self) -> Duomi:
        if self._client is None or self._pid != os.getpid():
            made = self._make()
            if not isinstance(made, Duomi):
                raise ConfigurationError(f"client must make a duomi.Duomi, not {type(made).__name__}")
            self._client, self._pid, self._lent = made, os.getpid(), 0
        self._closing = False
        return self._client

    def _close_if_idle(self) -> None:
        if self._client is not None and self._closing and not self._lent:
            if self._pid == os.getpid():
                self._client.close()
            self._client = None

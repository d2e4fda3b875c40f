"""The file that a clip is written to: beside its target, until all of it is there."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from duomi._core.download import Disk
from duomi._core.save import why
from duomi._errors import ConfigurationError

log = logging.getLogger("duomi")
# CIFS, FUSE and others answer so.
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


class Folder:
    """Where clips go; its path is absolute, whatever becomes of the current directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.existing: dict[str, bool] = {}

    def check(self, names: Sequence[str]) -> None:
        """Check, without a change, that the folder is one or can be made.

        Raises:
            ConfigurationError: it cannot.
        """
        try:
            for name in names:
                os.fsencode(self.path / name)
            existing = next(each for each in (self.path, *self.path.parents) if os.path.lexists(each))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{self.path}: {why(error)}") from error
        if not existing.is_dir():
            raise ConfigurationError(f"{self.path}: {why(NotADirectoryError())}")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise ConfigurationError(f"{self.path}: {existing} cannot be written to")

    def prepare(self, names: Sequence[str]) -> None:
        """Make the folder, and learn what exists, and whether it is a file.

        Raises:
            OSError: it cannot be a folder.
            UnicodeEncodeError: this system cannot write one of the names.
        """
        for name in names:
            os.fsencode(self.path / name)
        self.path.mkdir(parents=True, exist_ok=True)
        paths = {name: self.path / name for name in names}
        self.existing = {name: path.is_file() for name, path in paths.items() if os.path.lexists(path)}

    def part(self, name: str) -> PartFile:
        """Return the part file of a clip."""
        return PartFile(self.path / name)


class PartFile:
    """A file beside its target, under a name of its own; it takes the target's name when it is complete.

    Its steps may run in a thread. asyncio does not wait for a thread when it cancels a task, so `discard` does.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.{os.urandom(4).hex()}.part")
        self._file: BinaryIO | None = None
        self._is_begun = False
        self._is_discarded = False
        # A garbage collection may discard the file in the very thread that holds the lock.
        self._lock = threading.RLock()

    def restart(self) -> None:
        """Begin with nothing."""
        with self._lock:
            if not self._is_begun and not self._is_discarded:
                self._is_begun = True
                self._file = self._part.open("xb")
            self._opened.seek(0)
            self._opened.truncate()

    def write(self, chunk: bytes) -> None:
        """Append a chunk."""
        with self._lock:
            self._opened.write(chunk)

    @property
    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise ValueError("the file is not open")
        return self._file

    def finish(self, *, replace: bool) -> None:
        """Write all of it to the disk, and give it the target's name.

        Raises:
            FileExistsError: there is a file of that name, and `replace` is false.
        """
        self._sync()
        with self._lock:
            self._opened.close()
            if replace:
                self._part.replace(self._path)
            else:
                self._take_name()

    def _sync(self) -> None:
        """Write all of it to the disk, which can take long: `discard` does not wait for it."""
        file = self._opened
        file.flush()
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
            log.debug("%s: this file system cannot be told to write it to the disk now", self._path.name)

    def _take_name(self) -> None:
        """Take the target's name only if it is free: of several processes one succeeds."""
        try:
            os.link(self._part, self._path)
        except FileExistsError:
            raise
        except (OSError, AttributeError, NotImplementedError):
            # Without hard links, claim the name first.
            self._path.open("xb").close()
            try:
                self._part.replace(self._path)
            except BaseException:
                self._path.unlink(missing_ok=True)
                raise

    def discard(self) -> None:
        """Leave nothing behind; after `finish` this does nothing."""
        with self._lock:
            self._is_discarded = True
            file, self._file = self._file, None
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()
            if self._is_begun:
                with contextlib.suppress(OSError):
                    self._part.unlink(missing_ok=True)


def run_on_disk(effect: Disk) -> Exception | None:
    """Do what an effect wants done on the disk, and return its failure."""
    try:
        effect.action()
    except (OSError, ValueError) as error:
        return error
    return None

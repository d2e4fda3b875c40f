"""The file that a clip is written to: beside its target, until all of it is there."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from pathlib import Path

from duomi._core.download import Disk

log = logging.getLogger("duomi")
# CIFS, FUSE and others answer so.
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


class PartFile:
    """A file beside its target, under a name of its own; it takes the target's name when it is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.{os.urandom(4).hex()}.part")
        self._file = self._part.open("xb")

    def write(self, chunk: bytes) -> None:
        """Append a chunk."""
        self._file.write(chunk)

    def restart(self) -> None:
        """Drop what was written."""
        self._file.seek(0)
        self._file.truncate()

    def finish(self, *, replace: bool) -> None:
        """Write all of it to the disk, and give it the target's name.

        Raises:
            FileExistsError: there is a file of that name, and `replace` is false.
        """
        self._file.flush()
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
            log.debug("%s: this file system cannot be told to write it to the disk now", self._path.name)
        self._file.close()
        if replace:
            self._part.replace(self._path)
        else:
            self._take_name()

    def _take_name(self) -> None:
        """Take the target's name only if it is free: of several processes one succeeds."""
        try:
            os.link(self._part, self._path)
        except FileExistsError:
            raise
        except (OSError, AttributeError, NotImplementedError):
            # Without hard links, claim the name first.
            self._path.open("xb").close()
            self._part.replace(self._path)

    def discard(self) -> None:
        """Leave nothing behind; after `finish` this does nothing."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)


def run_on_disk(effect: Disk) -> OSError | None:
    """Do what an effect wants done on the disk, and return its failure."""
    try:
        effect.action()
    except OSError as error:
        return error
    return None

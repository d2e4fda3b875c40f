"""The file that a clip is written to: beside its target, until all of it is there."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from duomi._core.download import Disk


class PartFile:
    """A file beside its target, under a name of its own; it takes the target's name when it is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
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
        os.fsync(self._file.fileno())
        self._file.close()
        if not replace and os.path.lexists(self._path):
            raise FileExistsError(self._path)
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

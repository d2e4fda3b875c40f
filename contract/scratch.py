"""The folder in which a run works, and how a signal ends a run without a trace."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

# A closed terminal is an interrupt, too, if the system has a signal for it.
INTERRUPTS = frozenset({signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)})
PREFIX = ".generate-"
_TRIES = 50
_PAUSE = 0.1
_folders: list[Path] = []


@contextmanager
def scratch_folder(parent: Path) -> Generator[Path]:
    """Yield a folder in another one, and so on its disk, and remove it in the end."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    _folders.append(folder)
    try:
        yield folder
    finally:
        remove([folder])


def remove(folders: Iterable[Path]) -> None:
    """Remove folders, into which a formatter that an interrupted run had just started may still write."""
    for folder in folders:
        for _ in range(_TRIES):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(_PAUSE)


def end_on_signals() -> None:
    """End at once on a signal, because no file changes before the end of a run, and an exception could be lost."""

    def end(_number: int, _frame: FrameType | None) -> None:
        hold_signals()
        os.write(2, b"interrupted\n")
        remove(_folders)
        os._exit(1)

    for number in INTERRUPTS:
        signal.signal(number, end)


def hold_signals() -> None:
    """Let signals wait, to the end of the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)

"""The surroundings of a command: streams that are gone or in another encoding."""

from __future__ import annotations

import codecs
import errno
import io
import os
import signal
import sys
from typing import Any, Final, NoReturn, TextIO

from duomi._errors import ConfigurationError

TERMINATED: Final = 143
# What ends a command with that code; not every system has both.
TERMINATES: Final = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stderr:
    """The stderr of the moment; that its reader is gone, or that it is full, stops nothing."""

    def write(self, text: str) -> int:
        """Write what can be written."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            silence(2)
            return len(text)

    def flush(self) -> None:
        """Write what was kept back."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            silence(2)

    @property
    def _stream(self) -> TextIO:
        # Where there is none, its number may be another file's.
        return io.StringIO() if sys.stderr is None else sys.stderr  # pyright: ignore[reportUnnecessaryComparison]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def silence(number: int) -> None:
    """Let all that is still written to a stream go nowhere, so that the interpreter does not fail on it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def end_unwritten(number: int, words: str) -> NoReturn:
    """End the command, since the reader of its output has gone, or has no room."""
    # The interpreter would try to write the rest once more.
    silence(1)
    if number != errno.EPIPE:
        Stderr().write(f"duomi: cannot write the output: {words}\n")
    sys.exit(2)


def is_gone_terminal(error: OSError) -> bool:
    """Tell whether a write failed because the terminal was closed."""
    return error.errno in {errno.EIO, errno.ENXIO, errno.ENOTTY}


def read_stdin() -> str:
    """Read all of stdin: UTF-8 or UTF-16, with or without its mark, whatever the console's code page is.

    Raises:
        ConfigurationError: there is no stdin, or it is in another encoding.
    """
    try:
        content = sys.stdin.buffer.read()
    except (AttributeError, OSError, ValueError) as error:
        raise ConfigurationError("there is no stdin to read task ids from") from error
    for coding in (_coding(content), sys.stdin.encoding or "utf-8"):
        try:
            return content.decode(coding).removeprefix("\ufeff")
        except UnicodeError:
            continue
    raise ConfigurationError("the task ids on stdin are neither UTF-8 nor UTF-16")


def _coding(content: bytes) -> str:
    """Guess an encoding by its mark, or by the zeros that UTF-16 has beside each ASCII character."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in content[1:200:2]:
        return "utf-16-le"
    return "utf-16-be" if b"\0" in content[0:200:2] else "utf-8"

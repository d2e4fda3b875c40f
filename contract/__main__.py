"""`python -m contract --help` lists the commands of the maintainer's tool."""

import gc
import os
import signal
import sys
from types import FrameType


def _leave(_number: int, _frame: FrameType | None) -> None:
    # No file has changed yet. An exception could be lost, or do harm, in the middle of an import.
    os.write(2, b"interrupted\n")
    os._exit(1)


def main() -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGINT, _leave)
    try:
        from contract.commands import run  # noqa: PLC0415  (a missing package or a Ctrl-C here is one line, too)

        gc.disable()  # a run drops little of what it makes, and looking for it takes a fifth of the time
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # before and after the command a Ctrl-C is ignored
        return run(sys.argv[1:])
    except ModuleNotFoundError as error:
        print(f"python on PATH lacks {error.name}; run `make setup`, then put .venv/bin first on PATH", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

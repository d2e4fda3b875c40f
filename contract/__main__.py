"""`python -m contract --help`: what the maintainer's tool can do."""

import os
import signal
import sys
from types import FrameType


def _leave(_number: int, _frame: FrameType | None) -> None:
    # Nothing has been touched yet. An exception would be lost, or worse, wherever the import of a library just is.
    os.write(2, b"interrupted\n")
    os._exit(1)


def main() -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGINT, _leave)
    try:
        from contract.commands import run  # noqa: PLC0415  (a missing tool and a Ctrl-C are one line, here too)
    except ModuleNotFoundError as error:
        print(f"python on PATH lacks {error.name}; run `make setup`, then put .venv/bin first on PATH", file=sys.stderr)
        return 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # before it begins and after it has ended, a Ctrl-C comes too late
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

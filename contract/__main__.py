"""`python -m contract --help` lists the commands of the maintainer's tool."""

import gc
import sys

from contract.scratch import end_on_signals


def main() -> int:
    """Run one command and return its exit code."""
    end_on_signals()
    gc.disable()  # a run drops little of what it makes, and looking for it takes a fifth of the time
    try:
        from contract.commands import run  # noqa: PLC0415  (a package that is missing is one line)

        return run(sys.argv[1:])
    except ModuleNotFoundError as error:
        print(f"python on PATH lacks {error.name}; run `make setup`, then put .venv/bin first on PATH", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

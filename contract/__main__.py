"""`python -m contract --help`: what the maintainer's tool can do."""

import signal
import sys


def main() -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        from contract.commands import run  # noqa: PLC0415  (a missing tool and a Ctrl-C are one line, here too)

        return run(sys.argv[1:])
    except ModuleNotFoundError as error:
        print(f"python on PATH lacks {error.name}; run `make setup`, then put .venv/bin first on PATH", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

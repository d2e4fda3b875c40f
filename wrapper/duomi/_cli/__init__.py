"""The `duomi` command (extra: `cli`)."""

import sys

from duomi._version import __version__


def main() -> None:
    """Run the command line, and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        try:
            print(f"duomi {__version__}", flush=True)
        except OSError as error:
            from duomi._cli.streams import end_unwritten  # noqa: PLC0415  (it is seldom needed)

            end_unwritten(*error.args[:2])
        return
    try:
        from duomi._cli.commands import run  # noqa: PLC0415  (typer and rich are an extra)
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        print(f'duomi: {error.name} is missing; install the extra: pip install "duomi[cli]"', file=sys.stderr)
        sys.exit(2)
    run()

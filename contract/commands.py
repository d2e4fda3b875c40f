"""The commands of the maintainer's tool."""

import argparse
import sys
from pathlib import Path

from contract.diff import EXIT_CODES, changes, print_report, worst
from contract.document import ContractError
from contract.pages import readable

# A schema that holds another takes three or four calls.
MOST_CALLS = 5_000
ROOT = Path(__file__).resolve().parent.parent


def _diff(arguments: argparse.Namespace) -> int:
    found = changes(readable(arguments.old), readable(arguments.new))
    print_report(found, as_json=arguments.json)
    return EXIT_CODES[worst(found)]


def _generate(arguments: argparse.Namespace) -> int:
    from contract import generate  # noqa: PLC0415  (`contract diff` needs no generator)

    if arguments.pages:
        return generate.take(ROOT, arguments.pages, only=arguments.only)
    return generate.regenerate(ROOT, check=arguments.check)


def _check(arguments: argparse.Namespace) -> int:
    from contract import generate  # noqa: PLC0415

    return generate.prove(ROOT, arguments.spec, arguments.generated)


def run(argv: list[str]) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m contract", description="Takes, judges and proves the vendor's contract."
    )
    commands = parser.add_subparsers(required=True)
    generate = commands.add_parser("generate", prog="generate.sh", help="what generate.sh runs")
    said = "change nothing; exit 1 and a diff where generated/ is stale"
    generate.add_argument("--check", action="store_true", help=said)
    said = "take the vendor's pages, and report what changed"
    generate.add_argument("--from", dest="pages", nargs="+", type=Path, metavar="FILE", help=said)
    said = "with --from: nothing but the pages stays in the contract"
    generate.add_argument("--only", action="store_true", help=said)
    generate.set_defaults(run=_generate)
    held = commands.add_parser("check", help="hold a generated package against the contract; a line per difference")
    held.add_argument("--spec", type=Path, default=ROOT / "openapi.yaml", metavar="F")
    held.add_argument("--generated", type=Path, default=ROOT / "generated", metavar="DIR", help="holds duomi_api")
    held.set_defaults(run=_check)
    diff = commands.add_parser("diff", help="what changed between two contracts; exit 3 for REVIEW, 4 for BREAK")
    diff.add_argument("old", type=Path, metavar="OLD")
    diff.add_argument("new", type=Path, metavar="NEW")
    diff.add_argument("--json", action="store_true", help="print one JSON object a line")
    diff.set_defaults(run=_diff)
    arguments = parser.parse_args(argv)
    if "pages" in arguments and ((arguments.only and not arguments.pages) or (arguments.check and arguments.pages)):
        generate.error("--only goes with --from, and --check goes alone")
    sys.setrecursionlimit(MOST_CALLS)
    try:
        return int(arguments.run(arguments))
    except (ContractError, OSError) as error:
        print(error, file=sys.stderr)
    except RecursionError:
        print("the schemas of the contract are inside each other more than a thousand deep", file=sys.stderr)
    return 1

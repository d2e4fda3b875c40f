"""The commands of the maintainer's tool."""

import argparse
import sys
from pathlib import Path

from contract import generate as generation
from contract.check import check
from contract.diff import EXIT_CODES, changes, worst
from contract.document import ContractError, read_valid
from contract.facts import of_document
from contract.generate import load_named
from contract.overlay import unnamed
from contract.pages import merge
from contract.report import print_report
from contract.validate import missing_labels, validate

ROOT = Path(__file__).resolve().parent.parent


def _generate(arguments: argparse.Namespace) -> int:
    generation.check_tools(ROOT)
    package = ROOT / "generated" / generation.PACKAGE
    with generation.scratch_folder(ROOT) as scratch:
        new = scratch / generation.PACKAGE
        if arguments.pages:
            _import(arguments, scratch, new, package)
            return 0
        generation.generate(ROOT, ROOT / "openapi.yaml", new)
        lines = generation.difference(package, new)
        if arguments.check:
            for line in lines:
                print(line)
            return 1 if lines else 0
        if lines:
            generation.move_in(new, package)
    return 0


def _import(arguments: argparse.Namespace, scratch: Path, new: Path, package: Path) -> None:
    current = ROOT / "openapi.yaml"
    imported = scratch / "openapi.yaml"
    imported.write_text(merge(current, arguments.pages, only=arguments.only), encoding="utf-8", newline="\n")
    document, _ = read_valid(imported)
    validate(document, str(arguments.pages[0]) if len(arguments.pages) == 1 else "the merged pages")
    names = [*missing_labels(document), *unnamed(load_named(ROOT, imported))]
    before = of_document(read_valid(current)[0]) if current.exists() else of_document({})
    generation.generate(ROOT, imported, new)
    generation.verify(ROOT, imported, scratch)
    print_report(changes(before, of_document(document)), more=names)
    generation.move_in(imported, current)
    generation.move_in(new, package)


def _check(arguments: argparse.Namespace) -> int:
    lines = list(check(load_named(ROOT, arguments.spec), arguments.generated))
    # A comparison of bytes finds what no call shows.
    lines = lines or list(generation.stale_files(ROOT, arguments.spec, arguments.generated / generation.PACKAGE))
    for line in lines:
        print(line)
    return 1 if lines else 0


def _diff(arguments: argparse.Namespace) -> int:
    found = changes(of_document(read_valid(arguments.old)[0]), of_document(read_valid(arguments.new)[0]))
    print_report(found, as_json=arguments.json)
    return EXIT_CODES[worst(found)]


def run(argv: list[str]) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m contract", description="Takes, judges and proves the vendor's contract."
    )
    commands = parser.add_subparsers(required=True)
    generate = commands.add_parser("generate", prog="generate.sh", help="what generate.sh runs")
    generate.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 and a diff where generated/ is stale"
    )
    generate.add_argument(
        "--from",
        dest="pages",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="take the vendor's pages, and report what changed",
    )
    generate.add_argument(
        "--only", action="store_true", help="with --from: nothing but the pages stays in the contract"
    )
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
    try:
        with generation.interruptible():
            return int(arguments.run(arguments))
    except (ContractError, OSError) as error:
        print(error, file=sys.stderr)
        return 1

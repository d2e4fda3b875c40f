"""The commands of the maintainer's tool."""

import argparse
import itertools
import signal
import sys
from pathlib import Path
from typing import Any

from contract.dialect import translate
from contract.diff import EXIT_CODES, changes, worst
from contract.document import ContractError, Page, read, read_contract
from contract.interrupts import INTERRUPTS, interruptible
from contract.overlay import unnamed, way_out
from contract.pages import join, merge
from contract.report import print_report

# A schema that holds another takes three or four calls.
MOST_CALLS = 5_000
ROOT = Path(__file__).resolve().parent.parent


def _generate(arguments: argparse.Namespace) -> int:
    from contract import generate as generation  # noqa: PLC0415  (`contract diff` needs no generator)
    from contract.names import plan  # noqa: PLC0415

    generation.check_tools(ROOT)
    package = ROOT / "generated" / generation.PACKAGE
    with generation.scratch_folder(ROOT) as scratch:
        if arguments.pages:
            return _import(arguments, scratch, package)
        new = scratch / generation.PACKAGE
        generation.build(plan(ROOT, read_contract(ROOT / "openapi.yaml")), ROOT, new)
        lines = generation.difference(package, new)
        if arguments.check:
            for line in lines:
                print(line)
            return 1 if lines else 0
        if lines:
            generation.move_in(new, package)
    return 0


def _import(arguments: argparse.Namespace, scratch: Path, package: Path) -> int:
    """Take pages: generate and prove in a scratch folder, report, and then move in."""
    from contract import generate as generation  # noqa: PLC0415
    from contract.check import check  # noqa: PLC0415
    from contract.names import plan  # noqa: PLC0415

    current = ROOT / "openapi.yaml"
    imported, new = scratch / "openapi.yaml", scratch / generation.PACKAGE
    merged = merge(current, arguments.pages, only=arguments.only)
    imported.write_text(merged.text, encoding="utf-8", newline="\n")
    name = str(arguments.pages[0]) if len(arguments.pages) == 1 else "the pages together"
    made = plan(ROOT, merged.document, name)
    generation.build(made, ROOT, new)
    lines, notes = check(made, scratch)
    if lines:
        raise ContractError(
            "\n".join(f"contract check: {line}{way_out(line.partition(': ')[0])}" for line in lines[:20])
        )
    before, unread = dict[str, Any](), list[str]()
    if current.exists():
        try:
            before = _readable(current)
        except ContractError as error:  # an overlay may have lifted what is wrong with it
            unread.append(f"REVIEW {error}; so all is new here")
    found = changes(before, translate(merged.document)[0])
    more = [*unread, *merged.lines, *made.notes, *notes, *unnamed(made.document)]
    print_report(found, more=more, colours=sys.stdout.isatty())
    sys.stdout.flush()
    # To the end of the process: a run that says it was interrupted has changed nothing.
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    if merged.pages:
        _keep_pages(merged.pages, scratch)
    generation.move_in(imported, current)
    generation.move_in(new, package)
    if not merged.pages and (ROOT / "pages").is_dir():
        (ROOT / "pages").replace(scratch / "pages")
    return 0


def _keep_pages(pages: list[Page], scratch: Path) -> None:
    """Keep the pages of a contract that is made of several, word for word."""
    folder, made = ROOT / "pages", scratch / "pages"
    made.mkdir()
    taken: set[str] = set()
    for page in pages:
        stem, _, ending = page.file.rpartition(".")
        names = itertools.chain([page.file], (f"{stem}-{number}.{ending}" for number in itertools.count(2)))
        name = next(name for name in names if name.lower() not in taken)
        taken.add(name.lower())
        (made / name).write_text(page.text, encoding="utf-8", newline="\n")
    # Each move is one of the system's, so that no page is lost if the run is killed between two.
    if not folder.is_dir():
        made.replace(folder)
    for file in sorted(made.iterdir()) if made.is_dir() else ():
        file.replace(folder / file.name)


def _readable(path: Path) -> dict[str, Any]:
    """Return what a file says, its pages joined, in OpenAPI's own words."""
    try:
        document = translate(join(read(path), []))[0]
        changes(document, document)  # reads all of it
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ContractError(f"{path}: is not OpenAPI: {type(error).__name__}: {error}") from error
    return document


def _check(arguments: argparse.Namespace) -> int:
    from contract import generate as generation  # noqa: PLC0415
    from contract.check import check  # noqa: PLC0415
    from contract.names import plan  # noqa: PLC0415

    made = plan(ROOT, read_contract(arguments.spec))
    folder = arguments.generated / generation.PACKAGE
    if not folder.is_dir():
        raise ContractError(f"{arguments.generated} holds no {generation.PACKAGE}")
    lines = list(generation.stale_files(made, ROOT, folder))
    notes: list[str] = []
    if not lines:
        lines, notes = check(made, arguments.generated)
    for line in [*lines, *(note for note in notes if "not proven" in note)]:
        print(line)
    return 1 if lines else 0


def _diff(arguments: argparse.Namespace) -> int:
    found = changes(_readable(arguments.old), _readable(arguments.new))
    print_report(found, as_json=arguments.json, colours=sys.stdout.isatty())
    return EXIT_CODES[worst(found)]


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
        with interruptible():
            return int(arguments.run(arguments))
    except (ContractError, OSError) as error:
        print(error, file=sys.stderr)
    except RecursionError:
        print("the schemas of the contract are inside each other more than a thousand deep", file=sys.stderr)
    return 1

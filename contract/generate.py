"""Make the package of the contract, or of new pages: generate in a scratch folder, prove there, report, and move in."""

import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from contract.build import build, difference, stale_files
from contract.check import check as hold
from contract.dialect import translate
from contract.diff import changes, print_report
from contract.document import ContractError, Page, read_contract
from contract.facts import of_document
from contract.names import plan
from contract.overlay import unnamed, way_out
from contract.pages import merge, readable
from contract.scratch import PREFIX, hold_signals, remove, scratch_folder

PACKAGE = "duomi_api"


def regenerate(root: Path, *, check: bool) -> int:
    """Make the package anew, or print where it is stale."""
    remove(root.glob(f"{PREFIX}*"))  # what killed runs left
    check_tools(root)
    package = root / "generated" / PACKAGE
    with scratch_folder(root) as scratch:
        build(plan(root, read_contract(root / "openapi.yaml")), root, scratch / PACKAGE)
        lines = difference(package, scratch / PACKAGE)
        if lines and not check:
            _move_in(scratch / PACKAGE, package)
    for line in lines if check else ():
        print(line)
    return 1 if check and lines else 0


def take(root: Path, files: Sequence[Path], *, only: bool) -> int:
    """Take pages: generate and prove in a scratch folder, report, and then move in."""
    remove(root.glob(f"{PREFIX}*"))
    check_tools(root)
    current = root / "openapi.yaml"
    with scratch_folder(root) as scratch:
        merged = merge(current, files, only=only)
        made = plan(root, merged.document, str(files[0]) if len(files) == 1 else "the pages together")
        build(made, root, scratch / PACKAGE)
        lines, notes = hold(made, scratch)
        if lines:
            said = (f"contract check: {line}{way_out(line.partition(': ')[0])}" for line in lines[:20])
            raise ContractError("\n".join(said))
        before, unread = of_document({}), list[str]()
        try:
            before = readable(current) if current.exists() else before
        except ContractError as error:  # an overlay may have lifted what is wrong with it
            unread.append(f"REVIEW {error}; so all is new here")
        hold_signals()  # a run that says it was interrupted has changed nothing
        more = [*unread, *merged.lines, *made.notes, *notes, *unnamed(made.document)]
        print_report(changes(before, of_document(translate(merged.document)[0])), more=more)
        sys.stdout.flush()
        if merged.pages:
            _keep_pages(merged.pages, root / "pages", scratch / "pages")
        (scratch / "openapi.yaml").write_text(merged.text, encoding="utf-8", newline="\n")
        _move_in(scratch / "openapi.yaml", current)
        _move_in(scratch / PACKAGE, root / "generated" / PACKAGE)
        if not merged.pages and (root / "pages").is_dir():
            (root / "pages").replace(scratch / "pages")
    return 0


def prove(root: Path, spec: Path, generated: Path) -> int:
    """Hold a package against a contract, and print a line for each difference."""
    made = plan(root, read_contract(spec))
    if not (generated / PACKAGE).is_dir():
        raise ContractError(f"{generated} holds no {PACKAGE}")
    notes: list[str] = []
    lines = list(stale_files(made, root, generated / PACKAGE))
    if not lines:
        lines, notes = hold(made, generated)
    for line in [*lines, *(note for note in notes if "not proven" in note)]:
        print(line)
    return 1 if lines else 0


def check_tools(root: Path) -> None:
    """Reject other versions of the tools than the pinned ones, because they would write other bytes."""
    pinned = (root / "requirements/dev.txt").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", pinned, re.MULTILINE))
    ruff = shutil.which("ruff")
    said = subprocess.run([ruff, "--version"], capture_output=True, text=True, check=False).stdout if ruff else ""
    found = {"openapi-python-client": version("openapi-python-client"), "ruff": (said.split() or ["none"])[-1]}
    for name, is_there in found.items():
        if is_there != pins[name]:
            raise ContractError(
                f"{name} {pins[name]} is needed, and there is {is_there}; run `make setup`, then put .venv/bin first on PATH"
            )


def _keep_pages(pages: list[Page], folder: Path, made: Path) -> None:
    """Keep the pages of a contract that is made of several, word for word."""
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


def _move_in(new: Path, place: Path) -> None:
    """Move a file or a folder to its place, and the old one into the scratch folder."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        place.replace(new.with_name(f"{new.name}-before"))
    new.replace(place)

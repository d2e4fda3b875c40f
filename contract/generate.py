"""Generate the package from openapi.yaml and overlay.yaml in a scratch folder, and move it in when it is verified."""

import difflib
import io
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any

from openapi_python_client import Project
from openapi_python_client.parser.properties import EnumProperty

from contract.document import ContractError, operations, path_key
from contract.document import place as pointer_of
from contract.guard import unsafe
from contract.names import Plan
from contract.overlay import way_out
from contract.written import written

PACKAGE = "duomi_api"
_TRIES = 50
_PAUSE = 0.1


def check_tools(root: Path) -> None:
    """Reject other versions of the tools than the pinned ones, because they would write other bytes."""
    pinned = (root / "requirements/dev.txt").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", pinned, re.MULTILINE))
    wanted, installed = pins["openapi-python-client"], version("openapi-python-client")
    if installed != wanted:
        raise ContractError(f"openapi-python-client {wanted} is needed, and python has {installed}; run `make setup`")
    path = shutil.which("ruff")
    if path is None:
        raise ContractError(f"ruff {pins['ruff']} is not on PATH; `make setup` puts it into .venv/bin")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = said.split()[1:2]
    if found != [pins["ruff"]]:
        raise ContractError(f"ruff {pins['ruff']} is needed, and PATH has {found[0] if found else 'a broken one'}")


def build(made: Plan, root: Path, target: Path) -> None:
    """Write the package of a plan to `target`, a folder that does not exist yet."""
    target.mkdir(parents=True)
    (target / "py.typed").touch()
    (target / "contract.py").write_text(written(made.document), encoding="utf-8")
    made.config.output_path = target
    project = Project(openapi=made.data, config=made.config, custom_template_path=root / "templates")
    enums = {str(enum.class_info.name): enum for enum in made.data.enums}
    labels: Any = {
        name: {int(value): label for value, label in table.items()} if enums[name].value_type is int else table
        for name, table in made.labels.items()
        if isinstance(enums.get(name), EnumProperty)
    }
    project.env.globals["labels"] = labels
    with redirect_stdout(io.StringIO()):
        errors = project.build()
    for place in unsafe(target, broken=bool(errors)):
        raise ContractError(f"{_whose(made, place)}the generated {place}")
    for error in errors:
        said = " ".join(f"{error.header} {error.detail or ''}".split())
        raise ContractError(f"openapi-python-client: {said[:500]}")


def _whose(made: Plan, place: str) -> str:
    """Return the pointer of the operation that a generated file is made of."""
    for path, method, _ in operations(made.document):
        module, _ = made.modules()[method, *path_key(path)]
        if place.startswith(f"api/{module.replace('.', '/')}.py:"):
            pointer = pointer_of(path, method)
            return f"{pointer}: {way_out(pointer).removeprefix('; ')}; "
    return "openapi.yaml: look at its texts: "


def stale_files(wanted: Plan, root: Path, package: Path) -> Iterator[str]:
    """Yield a line for each file of a package that differs from what the generator writes."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / PACKAGE
        build(wanted, root, made)
        for name in sorted(_files(package) | _files(made)):
            found, expected = _text(package / name), _text(made / name)
            if found is None or expected is None:
                yield f"{name}: {'is missing' if found is None else 'is none of the generated files'}"
            elif found != expected:
                lines = zip_longest(
                    *(text.splitlines(keepends=True) for text in (expected, found)), fillvalue="nothing"
                )
                number, pair = next((n, pair) for n, pair in enumerate(lines, 1) if pair[0] != pair[1])
                old, new = (" ".join(line.split()) for line in pair)
                yield f"{name}:{number}: the generator writes {old!r}, the package has {new!r}"


def difference(old: Path, new: Path) -> list[str]:
    """Return a unified diff of two folders, empty if they have the same bytes."""
    lines: list[str] = []
    for name in sorted(_files(old) | _files(new)):
        texts = [_text(tree / name) for tree in (old, new)]
        if texts[0] != texts[1]:
            names = ["/dev/null" if text is None else f"{side}/{name}" for side, text in zip("ab", texts, strict=True)]
            before, after = ((text or "").splitlines() for text in texts)
            lines += difflib.unified_diff(before, after, names[0], names[1], lineterm="")
            lines += [f"{name}: line ends differ"] if before == after else []
    return lines


def _files(tree: Path) -> set[str]:
    found = (p for p in tree.rglob("*") if p.is_file() or p.is_symlink())
    return {p.relative_to(tree).as_posix() for p in found if "__pycache__" not in p.parts}


def _text(path: Path) -> str | None:
    return path.read_bytes().decode("utf-8", "backslashreplace") if path.is_file() else None


@contextmanager
def scratch_folder(root: Path) -> Generator[Path]:
    """Yield a scratch folder on the same disk, and remove it in the end, with those of killed runs."""
    for left in root.glob(".generate-*"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=".generate-", dir=root))
    try:
        yield scratch
    finally:
        _remove(scratch)


def _remove(scratch: Path) -> None:
    """Remove a scratch folder, into which a formatter that an interrupted run had just started may still write."""
    for _ in range(_TRIES):
        shutil.rmtree(scratch, ignore_errors=True)
        if not scratch.exists():
            return
        time.sleep(_PAUSE)


def move_in(new: Path, place: Path) -> None:
    """Move a file or a folder to its place, and the old one into the scratch folder."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        place.replace(new.with_name(f"{new.name}-before"))
    new.replace(place)

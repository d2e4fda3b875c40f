"""Generate the package from openapi.yaml and overlay.yaml in a scratch folder, and move it in when it is verified."""

import ast
import difflib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from contract import document as documents
from contract.document import ContractError
from contract.names import Names, names
from contract.overlay import named
from contract.validate import validate
from contract.written import written

PACKAGE = "duomi_api"
_CALLED = frozenset({"TypeVar", "Unset", "field", "_attrs_field"})
# A closed terminal is an interrupt, too, if the system has a signal for it.
INTERRUPTS = frozenset({signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)})
MODULES = ("__init__.py", "client.py", "errors.py", "types.py", "models/__init__.py", "api/__init__.py")


def check_tools(root: Path) -> None:
    """Reject other versions of the tools than the pinned ones, because they would write other bytes."""
    pins = dict(
        re.findall(r"^([\w.-]+)==([^\s;]+)", (root / "requirements/dev.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    for tool in ("openapi-python-client", "ruff"):
        path = shutil.which(tool)
        if path is None:
            raise ContractError(f"{tool} {pins[tool]} is not on PATH; `make setup` puts it into .venv/bin")
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"\d+(\.\d+)+", said)
        if found is None or found[0] != pins[tool]:
            raise ContractError(f"{tool} {pins[tool]} is needed, and PATH has {found[0] if found else 'a broken one'}")
    if version("openapi-python-client") != pins["openapi-python-client"]:
        raise ContractError(f"{sys.executable} has another openapi-python-client than PATH")


def load_named(root: Path, spec: Path) -> dict[str, Any]:
    """Read a contract and apply overlay.yaml to it."""
    contract, _ = documents.read(spec)
    overlay = documents.parse_mapping(root / "overlay.yaml")
    return named(contract, overlay)


def generate(root: Path, spec: Path, target: Path) -> None:
    """Write the package that the contract describes to `target`, a folder that does not exist yet."""
    contract = load_named(root, spec)
    validate(contract)
    expected = names(contract, root / "generator.yaml")
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "openapi.json"
        source.write_text(json.dumps(contract, ensure_ascii=False), encoding="utf-8")
        templates = Path(scratch) / "templates"
        shutil.copytree(root / "templates", templates)
        tables = {name: dict(expected.labels.get(name, {})) for name in expected.classes.values()}
        (templates / "labels.jinja").write_text(f"{{% set labels = {tables!r} %}}\n", encoding="utf-8")
        command = [_tool("openapi-python-client"), "generate", "--fail-on-warning", "--meta", "none"]
        command += ["--path", str(source), "--config", str(root / "generator.yaml")]
        command += ["--custom-template-path", str(templates), "--output-path", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())
        raise ContractError(f"openapi-python-client: {said[:500]}")
    (target / "py.typed").touch()
    (target / "contract.py").write_text(written(contract), encoding="utf-8")
    _format(target / "contract.py")
    _account_for(expected, target)


def stale_files(root: Path, spec: Path, package: Path) -> Iterator[str]:
    """Yield a line for each file of a package that differs from what the generator writes."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / PACKAGE
        generate(root, spec, made)
        for name in sorted(_files(package) | _files(made)):
            found, expected = _text(package / name), _text(made / name)
            if found is None or expected is None:
                yield f"{name}: {'is missing' if found is None else 'is none of the generated files'}"
            elif found != expected:
                old, new = expected.splitlines(), found.splitlines()
                at = next(
                    (n for n, pair in enumerate(zip(old, new, strict=False)) if len(set(pair)) == 2),
                    min(len(old), len(new)),
                )
                lines = [" ".join(text[at].split()) if at < len(text) else "nothing" for text in (old, new)]
                yield f"{name}:{at + 1}: the generator writes {lines[0]!r}, the package has {lines[1]!r}"


def verify(root: Path, spec: Path, generated: Path) -> None:
    """Run the contract check on a package, in another process."""
    command = [sys.executable, "-P", "-m", "contract", "check", "--spec", str(spec), "--generated", str(generated)]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        said = (done.stdout or done.stderr).strip().splitlines() or ["no reason"]
        raise ContractError(f"contract check: {said[-1] if not done.stdout else said[0]}")


def _tool(name: str) -> str:
    """Return the path of a tool on PATH, or else beside the interpreter."""
    return shutil.which(name) or str(Path(sys.executable).with_name(name))


def _format(path: Path) -> None:
    command = [
        _tool("ruff"),
        "format",
        "--isolated",
        "--no-cache",
        "--target-version=py311",
        "--line-length=120",
        str(path),
    ]
    subprocess.run(command, capture_output=True, check=True)


def _account_for(expected: Names, target: Path) -> None:
    """Check that every operation, model and enum was generated, and no code that would run on import."""
    for module in (*MODULES, *(f"api/{name}.py" for name in expected.endpoints)):
        if not (target / module).is_file():
            raise ContractError(f"the generator left out {module}")
    for module, name in expected.classes.items():
        path = target / "models" / f"{module}.py"
        tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
        if not any(isinstance(node, ast.ClassDef) and node.name == name for node in tree.body):
            raise ContractError(f"the generator left out the class {name}")
    for path in sorted(target.rglob("*.py")):
        file = path.relative_to(target)
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except SyntaxError as error:
            raise ContractError(
                f"the generated {file}:{error.lineno} is no Python; look at the contract's texts"
            ) from error
        for node in tree.body:
            if not _is_declaration(node):
                place = f"{file}:{node.lineno}"
                raise ContractError(f"the generated {place} would run code on import; look at the contract's texts")


def _is_declaration(node: ast.stmt) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Pass():
            return True
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            ran = [*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
            return all(_is_harmless(part) for part in ran)
        case ast.ClassDef(body=body):
            ran = [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]
            return all(_is_harmless(part) for part in ran) and all(_is_declaration(inner) for inner in body)
        case ast.Assign(value=value) | ast.AnnAssign(value=value):
            return value is None or _is_harmless(value)
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=[]):
            return all(isinstance(inner, ast.Import | ast.ImportFrom) for inner in body)
        case _:
            return False


def _is_harmless(value: ast.expr) -> bool:
    """Tell whether an expression calls only functions that the generator's templates call."""
    calls = (inner.func for inner in ast.walk(value) if isinstance(inner, ast.Call))
    return all(isinstance(called, ast.Name) and called.id in _CALLED for called in calls)


def difference(old: Path, new: Path) -> list[str]:
    """Return a unified diff of two folders, empty if they have the same bytes."""
    lines: list[str] = []
    for name in sorted(_files(old) | _files(new)):
        before, after = (_text(tree / name) for tree in (old, new))
        if before != after:
            lines += difflib.unified_diff(
                (before or "").splitlines(), (after or "").splitlines(),
                f"a/{name}" if before is not None else "/dev/null",
                f"b/{name}" if after is not None else "/dev/null", lineterm="",
            )  # fmt: skip
            lines += [] if (before or "").splitlines() != (after or "").splitlines() else [f"{name}: line ends differ"]
    return lines


def _files(tree: Path) -> set[str]:
    found = (p for p in tree.rglob("*") if p.is_file() or p.is_symlink())
    return {p.relative_to(tree).as_posix() for p in found if "__pycache__" not in p.parts}


def _text(path: Path) -> str | None:
    return path.read_bytes().decode("utf-8", "backslashreplace") if path.is_file() else None


@contextmanager
def interruptible() -> Generator[None]:
    """Raise a ContractError on a signal, because no file changes before the package is verified."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise ContractError(f"interrupted by {signal.Signals(number).name}")

    before = {number: signal.signal(number, stop) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def scratch_folder(root: Path) -> Generator[Path]:
    """Yield a scratch folder on the same disk, and remove it in the end, with those of killed runs."""
    for left in root.glob(".generate-*"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=".generate-", dir=root))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def move_in(new: Path, place: Path) -> None:
    """Move a file or a folder to its place, and the old one into the scratch folder."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        place.replace(new.with_name(f"{new.name}-before"))
    new.replace(place)

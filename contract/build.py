"""Write the package of a plan, and find where a package differs from it."""

import ast
import builtins
import difflib
import io
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import zip_longest
from pathlib import Path
from typing import Any

from openapi_python_client import Project
from openapi_python_client.parser.properties import EnumProperty

from contract.document import ContractError, addresses, mapping, operations, path_key, resolve
from contract.document import place as pointer_of
from contract.names import Plan
from contract.overlay import way_out
from contract.scratch import scratch_folder

_KEPT = {"type", "properties", "required", "items", "enum", "nullable"}
# What code of the generator's templates uses: modules, and attributes with two underscores.
_MODULES = {
    "__future__", "attrs", "collections", "datetime", "enum", "http", "httpx", "io", "json", "ssl", "typing", "urllib", "uuid",
}  # fmt: skip
_DUNDERS = {"__init__", "__new__", "__enter__", "__exit__", "__aenter__", "__aexit__"}
# The generator gives its own names another ending where they are a built-in function's.
_FUNCTIONS = {name for name, value in vars(builtins).items() if callable(value) and not isinstance(value, type)} - {
    "format", "id", "isinstance",
}  # fmt: skip


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
    for place in unsafe(target):
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


def unsafe(package: Path) -> Iterator[str]:
    """Yield the file, the line and the fault of each piece of code that no template of the generator writes."""
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        try:
            lines = _foreign_lines(ast.parse(path.read_text(encoding="utf-8")))
            yield from (f"{file}:{line} would run code" for line in sorted(lines))
        except SyntaxError as error:
            yield f"{file}:{error.lineno} is no Python"


def _foreign_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if not {each.name.partition(".")[0] for each in names} <= _MODULES:
                yield node.lineno
            case ast.ImportFrom(level=0, module=str(name)) if name.partition(".")[0] not in _MODULES:
                yield node.lineno
            case ast.Name(id=name) if name in _FUNCTIONS:
                yield node.lineno
            case ast.Attribute(attr=name) if name.startswith("__") and name not in _DUNDERS:
                yield node.lineno
            case ast.Module(body=body) | ast.ClassDef(body=body):
                yield from (n.lineno for n in body if isinstance(n, ast.Expr) and not isinstance(n.value, ast.Constant))
            case _:
                pass


def written(document: dict[str, Any]) -> str:
    """Return the source of `contract.py`: the server, and the JSON schemas of each operation's responses."""
    schemas, components = answers(document)
    return "\n".join([
        '"""What the contract says that no model shows: its server, and the shape of each answer as JSON schema."""',
        "",
        "from typing import Any, Final",
        "",
        f"SERVER: Final[str] = {next(iter(addresses(document)), '')!r}",
        "",
        *(f"{name}: Final[dict[str, Any]] = {shape!r}\n" for name, shape in components.items()),
        f"SCHEMAS: Final[dict[str, dict[str, Any]]] = {schemas!r}",
        "",
    ])  # fmt: skip


def answers(document: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the JSON schema of each response, by operation and status, and those that they name, each made once."""
    names: dict[str, Any] = {}
    named: dict[str, Any] = {}

    def shape(node: Any) -> Any:
        """Return a schema without texts, examples and extensions."""
        reference = node.get("$ref") if isinstance(node, dict) else None
        if reference is None:
            kept = {key: value for key, value in mapping(node).items() if key in _KEPT}
            if isinstance(kept.get("properties"), dict):
                kept["properties"] = {name: shape(child) for name, child in kept["properties"].items()}
            return kept | ({"items": shape(kept["items"])} if "items" in kept else {})
        if reference not in names:
            names[reference] = {}  # inside itself it may be anything
            found = shape(resolve(document, node, "")[0])
            names[reference] = _Name(f"_SCHEMA_{len(named)}")
            named[names[reference]] = found
        return names[reference]

    schemas: dict[str, dict[str, Any]] = {}
    for path, method, operation in operations(document):
        for status, response in operation.get("responses", {}).items():
            answer, _ = resolve(document, response, "")
            for media in [*(answer.get("content") or {}).values()][:1]:
                if "schema" in media:
                    schemas.setdefault(f"{method.upper()} {path}", {})[status] = shape(media["schema"])
    return schemas, named


class _Name(str):
    """A name that stands in Python source without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def stale_files(wanted: Plan, root: Path, package: Path) -> Iterator[str]:
    """Yield a line for each file of a package that differs from what the generator writes."""
    with scratch_folder(Path(tempfile.gettempdir())) as scratch:
        made = scratch / package.name
        build(wanted, root, made)
        for name, expected, found in _different(made, package):
            if found is None or expected is None:
                yield f"{name}: {'is missing' if found is None else 'is none of the generated files'}"
            else:
                texts = (text.splitlines(keepends=True) for text in (expected, found))
                pairs = enumerate(zip_longest(*texts, fillvalue="nothing"), 1)
                number, old, new = next((n, old, new) for n, (old, new) in pairs if old != new)
                said = f"the generator writes {' '.join(old.split())!r}, the package has {' '.join(new.split())!r}"
                yield f"{name}:{number}: {said}"


def difference(old: Path, new: Path) -> list[str]:
    """Return a unified diff of two folders, empty if they have the same bytes."""
    lines: list[str] = []
    for name, *texts in _different(old, new):
        names = ["/dev/null" if text is None else f"{side}/{name}" for side, text in zip("ab", texts, strict=True)]
        before, after = ((text or "").splitlines() for text in texts)
        lines += difflib.unified_diff(before, after, names[0], names[1], lineterm="")
        lines += [f"{name}: line ends differ"] if before == after else []
    return lines


def _different(one: Path, other: Path) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield the name of each file that is not the same in two folders, and its text in each, or None."""
    found = [
        path.relative_to(tree)
        for tree in (one, other)
        for path in tree.rglob("*")
        if not path.is_dir() or path.is_symlink()
    ]
    for name in sorted({path.as_posix() for path in found if "__pycache__" not in path.parts}):
        old, new = (_text(tree / name) for tree in (one, other))
        if old != new:
            yield name, old, new


def _text(path: Path) -> str | None:
    return path.read_bytes().decode("utf-8", "backslashreplace") if path.is_file() else None

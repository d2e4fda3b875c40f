"""Find code in a generated package that no template of the generator writes."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path

_MODULES = {
    "__future__", "attrs", "collections", "datetime", "enum", "http", "httpx", "io", "json", "ssl", "typing", "urllib", "uuid",
}  # fmt: skip
# The generator gives its own names another ending where they are a built-in function's.
_FUNCTIONS = {
    name for name, value in vars(builtins).items() if callable(value) and not isinstance(value, type)
} - {"format", "id", "isinstance"}  # fmt: skip
_DUNDERS = {"__init__", "__new__", "__enter__", "__exit__", "__aenter__", "__aexit__"}


# A file without any of these words, as nearly all are, has no such code.
_SUSPICIOUS = re.compile(
    rf"\b(?:{'|'.join(sorted(_FUNCTIONS))})\b|\.\s*__|^\s*import (?!{'|'.join(_MODULES)})|^\s*from (?!\.|{'|'.join(_MODULES)})",
    re.MULTILINE,
)


def unsafe(package: Path, *, broken: bool = True) -> Iterator[str]:
    """Yield the file, the line and the fault of each piece of such code, and of a `broken` file that is no Python."""
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        text = path.read_text(encoding="utf-8")
        if not (broken or _SUSPICIOUS.search(text)):
            continue
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            yield f"{file}:{error.lineno} is no Python"
            continue
        yield from (f"{file}:{line} would run code" for line in sorted(_lines(tree)))


def _lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names, lineno=line) if any(_is_foreign(alias.name) for alias in names):
                yield line
            case ast.ImportFrom(level=0, module=module, lineno=line) if _is_foreign(str(module)):
                yield line
            case ast.Name(id=name, lineno=line) if name in _FUNCTIONS:
                yield line
            case ast.Attribute(attr=name, lineno=line) if name.startswith("__") and name not in _DUNDERS:
                yield line
            case ast.Module(body=body) | ast.ClassDef(body=body):
                yield from (n.lineno for n in body if isinstance(n, ast.Expr) and not isinstance(n.value, ast.Constant))
            case _:
                pass


def _is_foreign(module: str) -> bool:
    return module.partition(".")[0] not in _MODULES

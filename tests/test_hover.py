"""What an editor shows: each public class, field, member and parameter has its sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duomi
import duomi.simulator
import griffe
import pytest

ROOT = Path(__file__).parent.parent
# What every reader of Python knows.
PLAIN = {"kind", "error", "trace", "self", "cls"}
MODULES = {"duomi": duomi.__all__, "duomi.celery": ["register"], "duomi.simulator": ["Script", "Simulator"]}


def names(module: Any, public: list[str]) -> Iterator[Any]:
    """Yield each public thing of a module, and what is in it."""
    for name in public:
        if name == "__version__":
            continue
        thing = module[name]
        yield thing
        if thing.is_class:
            yield from (
                member for key, member in thing.all_members.items() if not key.startswith("_") or key == "__init__"
            )


@pytest.fixture(scope="module")
def package() -> Any:
    paths = [ROOT / "wrapper", ROOT / "generated"]
    loader = griffe.GriffeLoader(search_paths=paths)
    loaded = loader.load("duomi")
    loader.load("duomi_api")
    loader.resolve_aliases(implicit=True)
    return loaded


@pytest.mark.parametrize("module", MODULES)
def test_each_public_name_is_documented(package: Any, module: str) -> None:
    """A class, method, property, field or enum member without a docstring shows nothing."""
    found = package if module == "duomi" else package[module.removeprefix("duomi.")]
    silent: list[str] = []
    count = 0
    for each in names(found, MODULES[module]):
        count += 1
        inherited = each.parent.is_class and any(each.name in base.members for base in each.parent.mro())
        if each.docstring is None and not inherited and each.name not in {"__init__", "args"}:
            silent.append(each.canonical_path)
        above = each.parent.docstring.value if each.parent.docstring else ""
        # Only a client makes what has no arguments described.
        if each.is_function and (each.name != "__init__" or "Args:" in above):
            text = (each.docstring.value if each.docstring else "") + above
            own = {parameter.name for parameter in each.parameters if not parameter.name.startswith("_")} - PLAIN
            silent += [f"{each.canonical_path}({name})" for name in own if not re.search(rf"\b{name}\b", text)]

    assert silent == []
    assert count >= len(MODULES[module])

"""Type checkers and editors know the type of every public name."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import duomi
import pytest


@pytest.mark.slow
def test_every_public_type_is_known() -> None:
    """A strict type checker knows the type of everything that `duomi` exports."""
    command = [str(Path(sys.executable).parent / "basedpyright"), "--verifytypes", "duomi", "--ignoreexternal"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "Type completeness score: 100%" in done.stdout, done.stdout + done.stderr


def members(owner: type) -> list[tuple[str, Any]]:
    """Return the public members that a class defines itself."""
    return [
        (name, getattr(part, "fget", None) or getattr(part, "func", None) or getattr(part, "__func__", part))
        for name, part in vars(owner).items()
        if not name.startswith("_")
    ]


def test_no_public_name_returns_any() -> None:
    """Only `Task.raw`, the vendor's JSON, has `Any` in its type, and every public name has a docstring."""
    leaks = set[str]()
    undocumented = set[str]()
    for name in duomi.__all__:
        owner = getattr(duomi, name)
        if not inspect.isclass(owner):
            continue
        hints = {key: hint for key, hint in owner.__annotations__.items() if not key.startswith("_")}
        leaks |= {f"{name}.{key}" for key, hint in hints.items() if "Any" in str(hint)}
        for key, part in members(owner):
            if callable(part) and not inspect.isclass(part):
                returned = typing.cast("str", part.__annotations__.get("return", ""))
                leaks |= {f"{name}.{key}"} if "Any" in str(returned) else set()
                undocumented |= set() if part.__doc__ else {f"{name}.{key}"}
        undocumented |= set() if owner.__doc__ else {name}

    assert leaks == {"Task.raw"}
    assert undocumented == set()

"""Type checkers and editors know the type of every public name."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import duomi
import pytest

TESTS = Path(__file__).parent


@pytest.mark.slow
def test_every_public_type_is_known() -> None:
    """A strict type checker knows the type of everything that `duomi` exports."""
    command = [str(Path(sys.executable).parent / "basedpyright"), "--verifytypes", "duomi", "--ignoreexternal"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "Type completeness score: 100%" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "basedpyright"])
def test_a_consumer_passes_strict_checks(checker: str, tmp_path: Path) -> None:
    """A project that uses the public types, and the documented examples, passes strict checks."""
    shutil.copytree(TESTS / "typing", tmp_path, dirs_exist_ok=True)
    pages = [f"docs/{name}" for name in ("tasks", "waiting", "many", "errors", "logging", "downloads", "frameworks")]
    for page in ("README", *pages):
        text = (TESTS.parent / f"{page}.md").read_text(encoding="utf-8")
        for number, block in enumerate(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)):
            (tmp_path / f"{Path(page).stem}_{number}.py").write_text(block, encoding="utf-8")
    for program in ("object_store.py", "webhook.py", "mcp/server.py"):
        shutil.copy(TESTS.parent / "examples" / program, tmp_path)
    command = [str(Path(sys.executable).parent / checker), "."]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


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

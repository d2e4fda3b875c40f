"""A copy of the files that generate.sh needs, and functions to run it there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
_FILES = ("openapi.yaml", "overlay.yaml", "generator.yaml", "generate.sh")
_FOLDERS = ("contract", "templates", "generated", "requirements")


def copy_to(folder: Path) -> Path:
    """Copy the files that generate.sh needs into a folder, and return it."""
    for name in _FILES:
        shutil.copy(ROOT / name, folder)
    for name in _FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def command(checkout: Path, *arguments: object) -> list[str]:
    return ["bash", str(checkout / "generate.sh"), *map(str, arguments)]


def generate(
    checkout: Path, *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run generate.sh."""
    return subprocess.run(
        command(checkout, *arguments),
        env=os.environ | (env or {}),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def tree(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file, to compare two states of a folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def check(generated: Path) -> subprocess.CompletedProcess[str]:
    """Run `contract check` on the package in a folder."""
    command = [sys.executable, "-m", "contract", "check", "--generated", str(generated)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

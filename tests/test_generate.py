"""generate.sh writes the same bytes each time, changes all files or none, and explains an error in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import generate, tree


def test_a_run_changes_nothing(checkout: Path) -> None:
    """The generator writes the same bytes as those in the repository."""
    before = tree(checkout)

    done = generate(checkout)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert tree(checkout) == before


@pytest.mark.slow
def test_the_temporary_folder_does_not_change_the_package(checkout: Path, tmp_path: Path) -> None:
    """A temporary folder with a name that ruff ignores, such as `venv`, does not change the package."""
    temporary = tmp_path / ".nox/venv"
    temporary.mkdir(parents=True)
    command = [sys.executable, "-P", "-m", "contract", "check"]
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(checkout)}

    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_check_shows_stale_files_and_a_run_fixes_them(checkout: Path) -> None:
    """`--check` prints a diff and changes no file, and a run without it fixes the files."""
    fresh = tree(checkout)
    target = checkout / "generated/duomi_api/models/task_state.py"
    target.write_text(target.read_text(encoding="utf-8").replace("PENDING", "PENDINGS"), encoding="utf-8")
    (checkout / "generated/duomi_api/stray.py").touch()
    stale = tree(checkout)

    checked = generate(checkout, "--check")

    assert checked.returncode == 1
    assert "-    PENDINGS" in checked.stdout
    assert tree(checkout) == stale
    assert generate(checkout).returncode == 0
    assert tree(checkout) == fresh


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("openapi.yaml", "openapi: 3.0.1", "openapi: [", "not YAML"),
        (
            "openapi.yaml",
            "                  progress:\n                    type: integer",
            "                  progress:\n                    $ref: '#/components/schemas/None'",
            "leads nowhere",
        ),
        ("openapi.yaml", "application/json", "application/xml", "content_type_overrides"),
        ("overlay.yaml", "$.paths['/v1/videos/tasks/{task_id}'].get", "$.paths['/v2'].get", "matches nothing"),
        ("generator.yaml", "post_hooks:", "post_hooks: 1\nmore:", "generator.yaml: "),
        ("generator.yaml", "VideoTaskAction", "VideoTaskAktion", "matches no class"),
    ],
)
def test_an_invalid_input_changes_no_file(checkout: Path, file: str, old: str, new: str, message: str) -> None:
    """An invalid contract, overlay or configuration is exit 1 with one line, and no file changes."""
    text = (checkout / file).read_text(encoding="utf-8")
    assert old in text
    (checkout / file).write_text(text.replace(old, new), encoding="utf-8")
    before = tree(checkout)

    done = generate(checkout)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert tree(checkout) == before


def test_a_missing_tool_is_one_line(checkout: Path) -> None:
    """Without the tools on PATH a run exits with 1, and one line says how to install them."""
    done = generate(checkout, env={"PATH": "/usr/bin:/bin"})

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "make setup" in done.stderr


def test_another_version_of_a_tool_is_one_line(checkout: Path, tmp_path: Path) -> None:
    """Another version of ruff is an error of one line, because it would write other bytes."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ruff").write_text("#!/bin/sh\necho ruff 0.0.1\n", encoding="utf-8")
    (tools / "ruff").chmod(0o755)

    done = generate(checkout, env={"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"})

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "0.0.1" in done.stderr

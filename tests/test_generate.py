"""generate.sh: the same bytes, all or nothing, and a clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import generate, tree


def test_a_run_changes_nothing(checkout: Path) -> None:
    """What is checked in is what comes out, to the byte."""
    before = tree(checkout)

    done = generate(checkout)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert tree(checkout) == before


@pytest.mark.slow
def test_where_it_stands_makes_no_difference(checkout: Path, tmp_path: Path) -> None:
    """A temporary folder with a name that ruff passes over by itself, such as `venv`, changes no byte."""
    temporary = tmp_path / ".nox/venv"
    temporary.mkdir(parents=True)
    command = [sys.executable, "-P", "-m", "contract", "check"]
    surroundings = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(checkout)}

    done = subprocess.run(command, cwd=checkout, env=surroundings, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_check_shows_what_is_stale_and_a_run_mends_it(checkout: Path) -> None:
    """`--check` prints a diff and changes nothing; a plain run puts it right."""
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
    ("file", "old", "new", "said"),
    [
        ("openapi.yaml", "openapi: 3.0.1", "openapi: [", "not YAML"),
        ("openapi.yaml", "type: integer", "$ref: '#/components/schemas/None'", "leads nowhere"),
        ("openapi.yaml", "application/json", "application/xml", "cannot be modelled"),
        ("overlay.yaml", "$.paths['/v1/videos/tasks/{task_id}'].get", "$.paths['/v2'].get", "matches nothing"),
        ("generator.yaml", "VideoTaskAction", "VideoTaskAktion", "matches no class"),
    ],
)
def test_a_contract_that_cannot_be_generated_changes_nothing(
    checkout: Path, file: str, old: str, new: str, said: str
) -> None:
    """A broken input is exit 1, one line, and an untouched tree."""
    text = (checkout / file).read_text(encoding="utf-8")
    assert old in text
    (checkout / file).write_text(text.replace(old, new), encoding="utf-8")
    before = tree(checkout)

    done = generate(checkout)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert tree(checkout) == before


def test_a_missing_tool_is_one_line(checkout: Path) -> None:
    """Without the tools on PATH nothing is installed, and nothing changed."""
    done = generate(checkout, env={"PATH": "/usr/bin:/bin"})

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "make setup" in done.stderr


def test_a_tool_of_another_version_is_one_line(checkout: Path, tmp_path: Path) -> None:
    """Another ruff would write other bytes, so it is refused."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ruff").write_text("#!/bin/sh\necho ruff 0.0.1\n", encoding="utf-8")
    (tools / "ruff").chmod(0o755)

    done = generate(checkout, env={"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"})

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "0.0.1" in done.stderr

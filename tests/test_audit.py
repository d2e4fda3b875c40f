"""Known weaknesses: none in the code, in the workflows, or in the dependencies."""

from __future__ import annotations

import json
import subprocess

import pytest
from checkout import ROOT

pytestmark = pytest.mark.slow


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_bandit_finds_nothing() -> None:
    """The hand-written code has none of the weaknesses that bandit knows."""
    done = run("bandit", "-q", "-c", "pyproject.toml", "-r", "wrapper", "contract")

    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing() -> None:
    """The workflows have least privileges, and pin their actions by hash."""
    done = run("zizmor", "--offline", "--no-progress", ".github/workflows")

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflows_are_valid() -> None:
    """Each workflow conforms to the schema of GitHub workflows."""
    files = [str(path) for path in (ROOT / ".github/workflows").glob("*.yml")]
    done = run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)

    assert len(files) == 3
    assert done.returncode == 0, done.stdout


@pytest.mark.index
def test_pip_audit_finds_nothing() -> None:
    """No pinned dependency has a vulnerability that the index knows."""
    done = run("pip-audit", "--disable-pip", "--require-hashes", "-r", "requirements/dev.txt", "-f", "json")
    dependencies = json.loads(done.stdout)["dependencies"] if done.stdout.startswith("{") else []
    if not any("vulns" in dependency for dependency in dependencies):
        pytest.skip("pip-audit: this index has no data on vulnerabilities, so nothing was audited")

    assert done.returncode == 0, done.stdout

"""The wheel and the sdist are complete, and work outside of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.index]

ROOT = Path(__file__).parent.parent
SMOKE = """
import duomi, duomi_api, importlib.resources
task = duomi.Task.from_json('{"id": "a", "state": "succeeded", "data": {"videos": [{"url": "https://h/a.mp4"}]}}')
assert task.is_succeeded and task.videos[0].url == "https://h/a.mp4", task
for package in ("duomi", "duomi_api"):
    assert importlib.resources.files(package).joinpath("py.typed").is_file(), package
assert "site-packages" in duomi.__file__ and "site-packages" in duomi_api.__file__
"""


def test_the_build_is_reproducible() -> None:
    """Two builds have the same bytes, the sdist makes the same wheel, and the changelog has this version."""
    subprocess.run(["nox", "-s", "build"], cwd=ROOT, check=True)


def test_the_wheel_works_in_a_new_environment(tmp_path: Path) -> None:
    """In a new environment with only the wheel both packages can be imported, and the command shows its version."""
    run = subprocess.run
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert len(list(tmp_path.glob("*.tar.gz"))) == 1

    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"duomi", "duomi_api"}
    generated = ROOT / "generated"
    packed = {name for name in names if name.startswith("duomi_api/")}
    files = (
        path for path in (generated / "duomi_api").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    assert packed == {path.relative_to(generated).as_posix() for path in files}

    run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv/bin/python"
    run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)], check=True)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run([str(python), "-c", SMOKE], check=True, cwd=tmp_path, env=clean)
    shown = run(
        [str(tmp_path / "venv/bin/duomi"), "--version"], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    assert shown.stdout.startswith("duomi ")
    without_extra = run(
        [str(tmp_path / "venv/bin/duomi"), "get", "x"], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert without_extra.returncode == 2
    assert "duomi[cli]" in without_extra.stderr


FROZEN = """
import asyncio
from duomi import AsyncDuomi, Duomi
from duomi.simulator import EXAMPLE_ID, Script, Simulator
with Simulator({EXAMPLE_ID: Script(pending=0, running=())}).serve() as url, Duomi("any-key-at-all", base_url=url) as client:
    async def main():
        async with AsyncDuomi("any-key-at-all", base_url=url) as both, both.as_completed([EXAMPLE_ID]) as outcomes:
            return [outcome.result() async for outcome in outcomes]
    (task,) = asyncio.run(main())
    print(client.download(task, "clips")[0].stat().st_size)
"""


def test_a_frozen_program_has_all_it_needs(tmp_path: Path) -> None:
    """PyInstaller finds the clip of the simulator, and what is loaded at first use, by the package's own hook."""
    (tmp_path / "program.py").write_text(FROZEN)
    build = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR", "program.py"]
    subprocess.run(
        [*build, "--paths", str(ROOT / "wrapper"), "--paths", str(ROOT / "generated")], cwd=tmp_path, check=True
    )
    shown = subprocess.run(
        [tmp_path / "dist/program/program"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert int(shown.stdout) == (ROOT / "wrapper/duomi/simulator.mp4").stat().st_size

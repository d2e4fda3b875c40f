"""The cells of the page on notebooks run in a real kernel."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from duomi.simulator import EXAMPLE_ID, Script, Simulator
from nbclient import NotebookClient

PAGE = Path(__file__).parent.parent / "docs/notebooks.md"


@pytest.mark.slow
def test_the_cells_of_the_page_run(duomi_simulator: Simulator, tmp_path: Path) -> None:
    """The cells show progress, the task as a table, the clip as a video, and outcomes."""
    duomi_simulator.tasks |= {EXAMPLE_ID: Script(), "91ab20c7-0001": Script(outcome="error", message="refused")}
    cells = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    make: Any = nbformat.v4
    notebook = make.new_notebook(cells=[make.new_code_cell(cell) for cell in cells])

    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()

    shown = [str(cell.outputs) for cell in notebook.cells]
    assert "succeeded" in shown[0]
    assert "<table>" in shown[0]
    assert "data:video/mp4;base64" in shown[1]
    assert "91ab20c7-0001: TaskFailedError" in shown[2]
    assert (tmp_path / "clips" / f"{EXAMPLE_ID}.mp4").exists()

"""What CONTRIBUTING.md promises of the tree."""

from __future__ import annotations

import re
from fnmatch import fnmatch

from checkout import ROOT


def test_a_long_file_has_a_reason() -> None:
    """No hand-written module has more than 300 lines without a reason in CONTRIBUTING.md, and no reason outlives its file."""
    folders = ("wrapper", "contract", "tests", "benchmarks", "docs", "examples")
    modules = [ROOT / "noxfile.py", *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in modules
    }
    _, _, chapter = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Files over 300 lines")
    reasons = re.findall(r"`([\w/*.]+\.py)`", chapter)

    long = {name for name, lines in lengths.items() if lines > 300}
    assert {name for name in long if not any(fnmatch(name, pattern) for pattern in reasons)} == set()
    assert [pattern for pattern in reasons if not any(fnmatch(name, pattern) for name in long)] == []

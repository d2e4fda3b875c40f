"""Print the report of changes, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import attrs
from rich.console import Console
from rich.text import Text

from contract.diff import BUMPS, Change, worst

_STYLES = {"BREAK": "bold red", "REVIEW": "yellow", "NOTE": "dim"}


def print_report(found: Sequence[Change], *, as_json: bool = False, more: Sequence[str] = ()) -> None:
    """Print a line for each change, and the version bump that the changes need."""
    if as_json:
        for change in found:
            print(json.dumps(attrs.asdict(change), ensure_ascii=False, default=str))
        return
    console = Console(highlight=False)
    if not found:
        console.print("the contract says the same as before; no release is called for", soft_wrap=True)
        return
    for change in found:
        style = _STYLES[change.verdict] if console.is_terminal else ""
        text = Text(change.line())
        text.stylize(style, 0, len(change.verdict))
        console.print(text, soft_wrap=True)
    for line in more:
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"version bump: {BUMPS[worst(found)]}"), soft_wrap=True)

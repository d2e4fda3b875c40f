"""Print the report of changes, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import attrs

from contract.diff import BUMPS, Change, worst

_COLOURS = {"BREAK": "1;31", "REVIEW": "33", "NOTE": "2"}


def print_report(
    found: Sequence[Change], *, as_json: bool = False, more: Sequence[str] = (), colours: bool = False
) -> None:
    """Print the verdict, and a line for each change and for all else that there is to know, the worst first."""
    if as_json:
        for change in found:
            print(json.dumps(attrs.asdict(change), ensure_ascii=False, default=str))
        return
    lines = [*(change.line() for change in found), *more]
    if not found:
        print("the contract says the same as before; no release is called for")
    else:
        counts = Counter(change.verdict for change in found)
        counted = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _COLOURS if counts[verdict])
        print(f"{worst(found)}: {counted}; version bump: {BUMPS[worst(found)]}")
    rank = list(_COLOURS)
    for line in sorted(lines, key=lambda text: next((rank.index(v) for v in rank if text.startswith(v)), len(rank))):
        verdict = next((v for v in rank if line.startswith(v)), None)
        coloured = colours and verdict
        print(f"\033[{_COLOURS[verdict]}m{verdict}\033[0m{line[len(verdict) :]}" if coloured and verdict else line)

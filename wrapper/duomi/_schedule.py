"""When to look again, where the caller leaves it to us: seldom while nothing can be ready, often when it must be soon.

The constants were tried on the made-up jobs of `benchmarks/traces.py`; `benchmarks/polling.py` shows what they cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from duomi_api.models import TaskState

if TYPE_CHECKING:
    from duomi._policy import Observation

QUEUED: Final = 30.0
YOUNG: Final = 12.0
YOUNG_UNTIL: Final = 30.0
SHARE_OF_REST: Final = 0.4
SHARE_OF_AGE: Final = 0.03
NEAR: Final = 90
BOUNDS: Final = (3.0, 20.0)
BOUNDS_NEAR: Final = (3.0, 6.0)
BOUNDS_BLIND: Final = (4.5, 6.0)


def adaptive_delay(seen: Sequence[Observation]) -> float:
    """Return the seconds until the next look, from what was seen so far, the last look included."""
    last = seen[-1]
    if last.state == TaskState.PENDING.value:
        return QUEUED
    here = [look for look in seen if look.state == last.state]
    age = last.at - here[0].at
    moves = _moves(here)
    if len(moves) < 2:
        return YOUNG if age < YOUNG_UNTIL else _within(BOUNDS_BLIND, SHARE_OF_AGE * age)
    rest = min(_rest(moves[0], moves[-1]), _rest(moves[-4 if len(moves) > 3 else 0], moves[-1]))
    rest -= last.at - moves[-1].at
    if rest <= 0:
        return _within(BOUNDS_BLIND, SHARE_OF_AGE * age)
    return _within(BOUNDS_NEAR if (last.progress or 0) >= NEAR else BOUNDS, SHARE_OF_REST * rest)


def _moves(looks: Sequence[Observation]) -> list[Observation]:
    """Return the looks that found more progress than any before them."""
    moves: list[Observation] = []
    for look in looks:
        if look.progress is not None and (not moves or look.progress > (moves[-1].progress or 0)):
            moves.append(look)
    return moves


def _rest(first: Observation, last: Observation) -> float:
    """Return the seconds from the last look to the end, if progress goes on as between the two."""
    done, gained = last.progress or 0, (last.progress or 0) - (first.progress or 0)
    return (100 - done) * (last.at - first.at) / gained


def _within(bounds: tuple[float, float], seconds: float) -> float:
    return max(bounds[0], min(seconds, bounds[1]))

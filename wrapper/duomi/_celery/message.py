"""What a wait remembers in its message, and how it is read: a message may come from another version, or from anyone."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from duomi._core.poll import PollState
from duomi._payload import STATE_KEPT

_DAY: Final = 86_400.0
_LONGEST: Final = 1_000 * _DAY
_CLOCK: Final = 1e11
_ROUNDING: Final = 1.0
_MOST: Final = 1_000_000
_MOST_POLLS: Final = 1_000

log: Final = logging.getLogger("duomi")


def load_state(state: object, eta: object) -> PollState:
    """Return the state in a message, or a new one if it has none that makes sense.

    `eta` is when the message was due, and like `began` by the clock of its sender. So their difference is the time that
    the wait has spent, whatever that clock says. The time in which a message is late does not count.
    """
    now = time.time()
    if state is None:
        return PollState(now)
    try:
        poll_state = PollState.from_json(state)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    except (AttributeError, LookupError, TypeError, ValueError):
        sound = False
    else:
        sound = _is_sound(poll_state, eta)
    if not sound:
        log.warning("the state in a message cannot be read; the wait begins again")
        return PollState(now)
    return poll_state._replace(began=now - (eta - poll_state.began))  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]


def dump_state(state: PollState, seconds: float) -> dict[str, Any]:
    """Return the keywords of a message that is due in so many seconds."""
    eta = time.time() + seconds
    # A clock that was put back must not make a state that nobody reads.
    return {"state": state._replace(began=min(state.began, eta)).to_json(), "eta": eta}


def is_message(headers: Any, payload: Any) -> bool:
    """Tell whether a message has what Celery takes for granted in one, whoever sent it.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: it has not.
    """
    if isinstance(payload, dict) and "args" in payload:
        return True  # an older form of messages, in which Celery checks it
    args, kwargs, embed = payload
    callbacks = [embed.get(name) or [] for name in ("callbacks", "errbacks", "chain")] if embed else []
    soft, hard = headers.get("timelimit") or (None, None)
    return (
        isinstance(args, list | tuple)
        and isinstance(kwargs, dict)
        and all(isinstance(each, list) and all(isinstance(one, dict) for one in each) for each in callbacks)
        and all(limit is None or _is_number(limit, _LONGEST) for limit in (soft, hard))
        and isinstance(headers.get("stamped_headers") or [], list)
        and isinstance(headers.get("stamps") or {}, dict)
        and isinstance(headers["id"], str)
        and bool(headers["id"])
    )


def _is_sound(state: PollState, eta: Any) -> bool:
    """Tell whether `Poller` can calculate with a state."""
    if not (_is_number(state.began, _CLOCK) and _is_number(eta, _CLOCK) and 0.0 <= eta - state.began <= _LONGEST):
        return False
    spent = eta - state.began + _ROUNDING
    return (
        _is_number(state.last_change_at, spent)
        and (state.outage_since is None or _is_number(state.outage_since, spent))
        and (state.age is None or _is_number(state.age, _DAY))
        and all(is_count(each) for each in (state.empty_polls, state.refusals, state.not_found))
        and all(
            _is_number(each.at, _LONGEST)
            and isinstance(each.state, str)
            and len(each.state) <= STATE_KEPT
            and (each.progress is None or is_count(each.progress))
            for each in state.history
        )
        and len(state.history) <= _MOST_POLLS
    )


def _is_number(value: object, limit: float) -> bool:
    """Tell whether it is a number from 0 to a limit; NaN compares with nothing."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= limit


def is_count(value: object) -> bool:
    """Tell whether it is a whole number, from 0 to a million."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST

"""End on a signal without a trace."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from contract.document import ContractError

# A closed terminal is an interrupt, too, if the system has a signal for it.
INTERRUPTS = frozenset({signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)})


@contextmanager
def interruptible() -> Generator[None]:
    """Raise a ContractError on a signal, because no file changes before the package is verified."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise ContractError(f"interrupted by {signal.Signals(number).name}")

    before = {number: signal.signal(number, stop) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

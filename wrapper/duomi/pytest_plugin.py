"""The fixture `duomi_simulator`, for tests of code that uses this package (extra: `simulator`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from duomi.simulator import Simulator


@pytest.fixture
def duomi_simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """Serve the API in a box for one test, and have `Duomi()` and `AsyncDuomi()` talk to it.

    They poll without a pause worth mentioning. It knows no task until one is set: `duomi_simulator.tasks["my-task"] = Script()`.
    """
    try:
        from duomi.simulator import Simulator, proxy_variables  # noqa: PLC0415  (an extra, and not every test needs it)
    except ModuleNotFoundError as error:
        pytest.fail(f'{error.name} is missing; install the extra: pip install "duomi[simulator]"', pytrace=False)
    simulator = Simulator({})
    with simulator.serve() as base_url:
        monkeypatch.setenv("DUOMI_BASE_URL", base_url)
        monkeypatch.setenv("DUOMI_API_KEY", "sk-simulated")
        monkeypatch.setenv("DUOMI_POLL_INTERVAL", "0.01")
        # It is on this machine, so no proxy may stand between.
        for name in proxy_variables():
            monkeypatch.delenv(name)
        yield simulator

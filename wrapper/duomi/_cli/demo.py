"""The simulator dressed up for `duomi demo`."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager

from duomi._async_client import AsyncDuomi
from duomi._policy import Polling
from duomi.simulator import Script, Simulator, proxy_variables

KEY = "demo-key"
INTERVAL = 0.3

SCRIPTS = {
    "video-5dd1ef43": Script(pending=3, running=(3, 9, 14, 22, 31, 38, 47, 55, 61, 70, 78, 86, 93, 98)),
    "character-91ab": Script(pending=2, running=(20, 45, 80), outcome="character"),
    "refused-7c20": Script(
        pending=4, running=(5, 12, 30), outcome="error", message="This content may violate our guardrails."
    ),
}


@contextmanager
def simulated() -> Generator[tuple[AsyncDuomi, list[str]]]:
    """Serve three realistic tasks, and yield a client for them."""
    # The demo talks to this machine alone, so no proxy may stand between.
    for name in proxy_variables():
        del os.environ[name]
    logging.getLogger("duomi").setLevel(logging.ERROR)
    with Simulator(SCRIPTS, api_key=KEY).serve() as base_url:
        yield AsyncDuomi(KEY, base_url=base_url, polling=Polling(interval=INTERVAL)), list(SCRIPTS)

"""Any one message is lost or doubled, or any one worker killed, at any point: each wait ends once or twice, never not."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest
from brokers import Broker
from celery import Celery
from duomi._celery.ledger import Ledger

pytestmark = pytest.mark.slow
pytest_plugins = ["broker_fixtures"]

MARK: Final = "a-wait"
POLLS: Final = 3
STEPS: Final = ("claim", "poll", "advance", "send", "acknowledge", "confirm", "call back", "end")


class Fault(NamedTuple):
    """What goes wrong, and at which event of its kind: the message is `lost`, `doubled`, or its worker `killed`.

    Attributes:
        kind: what goes wrong.
        number: counted from 0, the message that is lost or doubled, or the step at which a worker is killed.
        is_noted: whether a killed worker's message comes back.
        is_early: whether a sweep comes before each message, and not only when there is none.
    """

    kind: str
    number: int
    is_noted: bool = True
    is_early: bool = False


class KilledError(Exception):
    """A worker was killed."""


class World:
    """A queue, workers, and the ledger in a real Redis; time stands still, or passes at once."""

    def __init__(self, ledger: Ledger, producer: Any, faults: tuple[Fault, ...]) -> None:
        self.ledger = ledger
        self.producer = producer
        self.faults = faults
        self.queue: deque[int] = deque()
        self.sent = 0
        self.steps = 0
        self.polls = 0
        self.ends = 0

    def send(self, turn: int) -> None:
        fates = {fault.kind for fault in self.faults if fault.number == self.sent}
        self.sent += 1
        self.queue.extend([turn] * (0 if "lost" in fates else 2 if "doubled" in fates else 1))

    def step(self, name: str) -> None:
        assert name in STEPS
        number, self.steps = self.steps, self.steps + 1
        if any(fault.kind == "killed" and fault.number == number for fault in self.faults):
            raise KilledError

    def run(self) -> None:
        """Send a wait, and let workers and sweeps work until nothing is left to do."""
        self.ledger.enter(MARK, json.dumps({"first": True}), 0, 0.0, self.producer)
        self.send(0)
        for _ in range(100):
            if not self.queue or any(fault.is_early for fault in self.faults):
                found = self.sweep()
                if not found and not self.queue:
                    return
            if not self.queue:
                continue
            turn = self.queue.popleft()
            try:
                self.work(turn)
            except KilledError:
                if any(fault.is_noted for fault in self.faults):
                    self.queue.append(turn)
        pytest.fail("the wait never ends")

    def sweep(self) -> bool:
        """Do what a sweep does; tell whether any wait is overdue."""
        found = self.ledger.overdue(100, self.producer)
        for wait in found:
            if self.ledger.postpone(wait, "revivals", 0, self.producer):
                self.send(int(wait.turn))
        return bool(found)

    def work(self, turn: int) -> None:
        """Do what `wait_for_task` does with one message."""
        self.step("claim")
        holder = f"holder-{self.steps}"
        if self.ledger.claim(MARK, turn, {}, holder, 0.0) in {"over", "old", "held"}:
            return
        self.step("poll")
        self.polls += 1
        if turn < POLLS:
            self.step("advance")
            if not self.ledger.advance(MARK, holder, turn + 1, {"turn": turn + 1}, 0.0):
                return
            self.step("send")
            self.send(turn + 1)
            self.step("acknowledge")
            return
        self.step("confirm")
        if not self.ledger.confirm(MARK, holder):
            return
        self.step("call back")
        self.ends += 1
        self.step("end")
        self.ledger.end(MARK)
        self.step("acknowledge")


@pytest.fixture
def run(broker: Broker) -> Any:
    # Nothing has to wait: what is held or due is overdue at once.
    app = Celery("model", broker=broker.url)
    ledger = Ledger(app, "duomi.wait", 0.0)

    def run(*faults: Fault) -> World:
        broker.redis.flushall()
        with app.producer_or_acquire() as producer:
            world = World(ledger, producer, faults)
            world.run()
        assert not [key for key in broker.redis.scan_iter() if ".over." not in str(key)]
        return world

    yield run
    app.close()


def every_fault(world: World) -> list[Fault]:
    """Return each single fault that can happen to a wait that had none."""
    flags = list(itertools.product((False, True), repeat=2))
    messages = [
        Fault(kind, n, is_early=early)
        for kind in ("lost", "doubled")
        for n in range(world.sent)
        for early in (False, True)
    ]
    kills = [Fault("killed", n, noted, early) for n in range(world.steps) for noted, early in flags]
    return messages + kills


@pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")  # Celery's own calls of redis-py
def test_a_wait_without_faults_polls_and_ends_once(run: Callable[..., World]) -> None:
    """Without any fault a wait makes the polls it needs, and ends once."""
    world = run()

    assert (world.ends, world.polls, world.sent) == (1, POLLS + 1, POLLS + 1)


@pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")  # as above
def test_one_fault_at_any_point_loses_no_wait(run: Callable[..., World]) -> None:
    """After any one fault a wait ends; only a kill between callbacks and end tells them twice."""
    for fault in every_fault(run()):
        ends = run(fault).ends

        assert ends in {1, 2}, fault
        assert ends == 1 or fault.kind == "killed", fault


@pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")  # as above
def test_two_faults_at_any_points_lose_no_wait(run: Callable[..., World]) -> None:
    """After any two faults a wait ends once or twice, or three times if its workers die after each callback."""
    faults = [fault for fault in every_fault(run()) if not fault.is_early]
    for pair in itertools.combinations(faults, 2):
        assert 1 <= run(*pair).ends <= 3, pair

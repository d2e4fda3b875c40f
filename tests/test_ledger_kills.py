"""Waits whose workers, or whose broker, are killed at any moment."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
from brokers import Broker, Rabbit, Workers, messages, until, waiting
from duomi import Task, TaskFailedError
from duomi.simulator import Script, Simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
pytest_plugins = ["broker_fixtures"]

WAITS = 400
LATE = 40.0
GOOD = [f"good-{number}" for number in range(380)]
BAD = [f"bad-{number}" for number in range(20)]
POLLS = len(GOOD) * 7 + len(BAD) * 3
TASKS = dict.fromkeys(GOOD, Script(running=(10, 30, 50, 70, 90))) | dict.fromkeys(
    BAD, Script(running=(10,), outcome="error", message="no")
)


def send(task_ids: Iterable[str]) -> dict[str, Any]:
    """Send waits, and return their results by the ids of their video tasks."""
    import clips

    return {
        task_id: waiting().apply_async((task_id,), link_error=clips.tell_owner.s(task_id=task_id))
        for task_id in task_ids
    }


def ended(broker: Broker) -> Counter[str]:
    """Return how often each wait ended, by the id of its Celery task."""
    return Counter(map(str, broker.redis.lrange("ended", 0, -1)))


def check_results(results: dict[str, Any]) -> None:
    """Check that each wait ended as its task did."""
    for task_id, result in results.items():
        if task_id in BAD:
            with pytest.raises(TaskFailedError, match=f"{task_id} failed: no"):
                result.get()
        else:
            assert Task.from_payload(result.get()).id == task_id


def kill_and_count(broker: Broker, simulator: Simulator, workers: Workers) -> tuple[int, int]:
    """Kill two of three workers twice at random moments; print what came of it, and return polls and second ends."""
    results = send(TASKS)

    def polls() -> int:
        return sum(map(simulator.polls, TASKS))

    began = time.monotonic()
    three = [workers.start("-c", "4") for _ in range(3)]
    moments = sorted(random.sample(range(100, POLLS * 4 // 5), 4))
    for number, moment in enumerate(moments):
        until(partial(lambda moment: polls() >= moment, moment))
        workers.kill(three[number % 2])
        three[number % 2] = workers.start("-c", "4")
    killed_at, left = time.monotonic(), POLLS - polls()
    # On a loaded machine the polls that were left take as long as they would have without the kills.
    within = LATE + left * (killed_at - began) / polls()
    with contextlib.suppress(AssertionError):  # the numbers say more
        until(lambda: len(ended(broker)) == WAITS, limit=2 * within)
    took = time.monotonic() - killed_at
    lost = WAITS - len(ended(broker))
    twice = sum(times - 1 for times in ended(broker).values())
    sent = sum(workers.log(number).count("is overdue: ") for number in range(7))
    print(
        f"killed at {moments} polls: {lost} lost, {twice} ended twice, {sent} sent again, "
        f"{polls()} polls of {POLLS}, {took:.0f} s after the last kill, {left} polls before the end"
    )

    assert lost == 0
    check_results(results)
    assert took <= within
    assert set(broker.redis.lrange("failed", 0, -1)) == {f"{task_id} TaskFailedError" for task_id in BAD}
    return polls(), twice


def test_no_wait_is_lost_when_workers_are_killed(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 400 waits ends 40 s late at most, although two of three workers are killed twice, at any moment."""
    monkeypatch.setenv("CLIPS_VISIBILITY_TIMEOUT", "15")
    monkeypatch.setenv("CLIPS_REVIVE_AFTER", "5")
    monkeypatch.setenv("CLIPS_CLIENT_TIMEOUT", "5")

    polls, twice = kill_and_count(broker, simulated(TASKS), workers)

    assert twice <= WAITS * 0.01
    assert polls <= POLLS * 1.05


@pytest.mark.skipif(not Rabbit.PROGRAM.exists(), reason="rabbitmq-server is not installed")
def test_rabbitmq_loses_no_wait_when_workers_are_killed(
    broker: Broker, rabbit: Rabbit, simulated: Callable[..., Simulator], workers: Workers
) -> None:
    """On RabbitMQ each of 400 waits ends 40 s late at most, too, without a ledger; some end twice."""
    kill_and_count(broker, simulated(TASKS), workers)
    import clips

    assert rabbit.url == clips.BROKER
    assert not list(broker.redis.scan_iter("duomi.*"))


def test_a_wait_that_a_dead_worker_took_but_did_not_note_is_sent_again(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis hands a message to a worker that is stopped; killed, it has lost it, and the wait ends all the same."""
    monkeypatch.setenv("CLIPS_REVIVE_AFTER", "1")
    monkeypatch.setenv("CLIPS_CLIENT_TIMEOUT", "5")
    simulated({f"task-{number}": Script(pending=0, running=()) for number in range(1_000)})
    idle = workers.start("-c", "1")
    until(lambda: "ready." in workers.log())
    results: list[Any] = []

    def is_lost() -> bool:
        """Send one more wait; tell whether Redis has no trace of it, since the stopped worker had asked for it."""
        results.append(waiting().delay(f"task-{len(results)}"))
        return not messages(broker)

    workers.stop(idle)
    while not is_lost():
        workers.resume(idle)
        until(lambda: not messages(broker))  # the worker asks for the next one
        workers.stop(idle)
    workers.kill(idle)
    workers.start("-c", "1")
    payloads = [result.get() for result in results]
    until(lambda: len(ended(broker)) == len(results))
    times = sorted(ended(broker).values())
    print(f"{len(results)} waits, one of them taken by a stopped worker and lost: ended {times} times each")

    assert [Task.from_payload(payload).id for payload in payloads] == [f"task-{n}" for n in range(len(results))]
    assert set(times) == {1}
    assert f"wait {results[-1].id} is overdue: " in workers.log(1)


@pytest.mark.parametrize("workers_die", [False, True])
def test_no_wait_is_lost_when_redis_is_killed(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch, *,
    workers_die: bool,
) -> None:  # fmt: skip
    """If Redis is killed in the middle, and perhaps the workers, the waits continue when all are started again."""
    monkeypatch.setenv("CLIPS_REVIVE_AFTER", "5")
    monkeypatch.setenv("CLIPS_CLIENT_TIMEOUT", "5")
    simulator = simulated(TASKS)
    results = send([*GOOD[:95], *BAD[:5]])
    two = [workers.start("-c", "4") for _ in range(2)]
    until(lambda: sum(map(simulator.polls, results)) > POLLS // 12)
    broker.kill()
    for worker in two if workers_die else ():
        workers.kill(worker)
    broker.start()

    def all_have_ended() -> bool:
        """Start each worker again that has ended: Celery's own ends, too, if Redis goes away at a bad moment."""
        for number, worker in enumerate(two):
            if worker.poll() is not None:
                two[number] = workers.start("-c", "4")
        return all(result.ready() for result in results.values())

    until(all_have_ended)
    check_results(results)

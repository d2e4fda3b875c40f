"""Waits on Celery, with a real Redis and real worker processes."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from brokers import KEY, TESTS, Broker, Workers, free_port, messages, state_of, until, waiting, worker_here
from celery import Celery, chord
from celery import Task as CeleryTask
from duomi import (
    AuthenticationError,
    ConfigurationError,
    Duomi,
    DuomiError,
    EmptyResultError,
    NotFoundError,
    Polling,
    Retry,
    Task,
    TaskFailedError,
    TaskTimeoutError,
)
from duomi._celery.clients import ProcessLocalClient
from duomi._core.poll import Failure, PollAgain, PollState
from duomi.celery import _poll, register
from duomi.simulator import Script, Simulator
from harness import Server, payload
from werkzeug import Request, Response

pytestmark = [
    pytest.mark.slow,
    # A worker in this process leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]
pytest_plugins = ["broker_fixtures"]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_wait_on_celery_polls_as_often_as_wait(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, pool: str
) -> None:
    """In each pool a wait polls as often as `wait`, with one client per process, which is closed."""
    script = Script(pending=2, running=(10, 40, 80))
    ids = [f"task-{number}" for number in range(20)]
    simulator = simulated({"reference": script} | dict.fromkeys(ids, script))
    with Duomi() as client:
        client.wait("reference", polling=Polling(interval=0.0))
    worker = workers.start("-P", pool, "-c", "2")

    results = [waiting().delay(task_id) for task_id in ids]
    tasks = [Task.from_payload(result.get()) for result in results]
    worker.terminate()
    worker.wait()

    assert all(task.is_succeeded and task.videos for task in tasks)
    assert {simulator.polls(task_id) for task_id in ids} == {simulator.polls("reference")} == {6}
    made, closed = (broker.redis.lrange(name, 0, -1) for name in ("made", "closed"))
    assert len(made) == len(set(made)) == (2 if pool == "prefork" else 1)
    assert sorted(made) == sorted(closed)
    assert (str(worker.pid) in made) is (pool != "prefork")


def test_a_message_is_small_and_bounded(broker: Broker, simulated: Callable[..., Simulator], workers: Workers) -> None:
    """After 40 polls the message has a history of eight polls, and less than 3 kB."""
    simulator = simulated({"long": Script(running=tuple(range(1, 100)) * 100)})
    began = time.time()
    worker = workers.start("-P", "solo")
    waiting().delay("long")

    until(lambda: simulator.polls("long") > 40)
    workers.freeze(worker, lambda: messages(broker))

    for message in messages(broker):  # of this poll, and of the next one if it is already sent
        poll_state = state_of(message) or {}
        assert len(poll_state["history"]) == 8
        assert began < poll_state["began"] < time.time()
        assert len(json.dumps(message)) < 3_000


def test_a_warm_shutdown_finishes_the_poll(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is stopped during a poll finishes it and leaves the next poll to another worker."""
    polled, may_answer = threading.Event(), threading.Event()

    def slowly(_request: Request) -> None:
        polled.set()
        may_answer.wait()

    monkeypatch.setenv("CLIPS_CLIENT_TIMEOUT", "240")
    simulator = simulated({"one": Script(pending=1, running=())}, slowly)
    worker = workers.start("-c", "1")
    result = waiting().delay("one")
    polled.wait()

    worker.terminate()
    until(lambda: "Warm shutdown" in workers.log())
    assert worker.poll() is None
    may_answer.set()
    worker.wait()
    (message,) = messages(broker)
    workers.start("-c", "1")

    assert worker.returncode == 0
    assert (state_of(message) or {})["history"][0][1:] == ["pending", 0]
    assert Task.from_payload(result.get()).is_succeeded
    assert simulator.polls("one") == 2


def reject(status: int) -> Callable[[Request], Response]:
    return lambda _request: Response("{}", status, content_type="application/json")


def empty(_request: Request) -> Response:
    return Response('{"id": "one", "state": "succeeded", "data": {"videos": []}}', content_type="application/json")


@pytest.mark.parametrize(
    ("kind", "task_id", "answer"),
    [
        (TaskFailedError, "bad", None),
        (TaskTimeoutError, "hung", None),
        (NotFoundError, "unknown", None),
        (AuthenticationError, "one", reject(401)),
        (EmptyResultError, "one", empty),
        (ConfigurationError, "..", None),
    ],
)
def test_the_result_raises_the_error_of_wait(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch,
    kind: type[DuomiError], task_id: str, answer: Callable[[Request], Response] | None,
) -> None:  # fmt: skip
    """`get()` raises the same error as `wait`, with the same details."""
    simulated({"bad": Script(outcome="error", message="no"), "hung": Script(pending=10**6), "one": Script()}, answer)
    monkeypatch.setenv("CLIPS_TIMEOUT", "1" if kind is TaskTimeoutError else "1800")
    workers.start("-P", "threads")
    timeout = float(os.environ["CLIPS_TIMEOUT"])
    with Duomi(retry=Retry(backoff=0.0)) as client, pytest.raises(kind) as expected:
        client.wait(task_id, polling=Polling(interval=0.3, timeout=timeout))

    with pytest.raises(kind) as raised:
        waiting().delay(task_id).get()

    assert raised.value.args[0] == expected.value.args[0]
    assert type(raised.value)(*raised.value.args) == raised.value
    if isinstance(raised.value, TaskFailedError | TaskTimeoutError | EmptyResultError):
        assert raised.value.task is not None
        assert raised.value.task_id == task_id


def test_a_retry_after_delays_only_its_own_wait(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers
) -> None:
    """A 429 delays the next message of its wait, and other waits continue."""
    polled_at: list[float] = []

    def limit(request: Request) -> Response | None:
        if request.path.endswith("limited"):
            polled_at.append(time.monotonic())
            if len(polled_at) == 1:
                return Response("{}", 429, {"retry-after": "3"}, content_type="application/json")
        return None

    simulated({"limited": Script(pending=0, running=()), "other": Script()}, limit)
    workers.start("-P", "solo")
    first, second = waiting().delay("limited"), waiting().delay("other")

    assert Task.from_payload(second.get()).is_succeeded
    assert Task.from_payload(first.get()).is_succeeded
    assert polled_at[1] - polled_at[0] >= 3.0
    assert len(polled_at) == 2


def test_an_outage_before_and_after_the_first_good_answer_ends_no_wait(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transient failures, at first or later, end a wait only after `Polling.outage` seconds."""
    polls: dict[str, int] = {}

    def fail(request: Request) -> Response | None:
        name = request.path.rpartition("/")[2]
        poll = polls[name] = polls.get(name, 0) + 1
        if name == "down" or poll in {1, 4}:
            return Response("bad gateway", 502)
        return Response("<html>", 200, content_type="text/html") if poll in {2, 5} else None

    simulated({"one": Script(), "down": Script()}, fail)
    patient = workers.start("-P", "solo")
    assert Task.from_payload(waiting().delay("one").get()).is_succeeded
    workers.kill(patient)
    monkeypatch.setenv("CLIPS_OUTAGE", "3")
    workers.start("-P", "solo")
    began = time.monotonic()
    with pytest.raises(DuomiError, match="status 502"):
        waiting().delay("down").get()

    assert time.monotonic() - began >= 3.0
    assert polls["down"] > 1


def test_a_worker_that_cannot_poll_ends_no_wait(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker without a key, and one with too short a soft time limit, leave the wait to other workers."""
    may_answer = threading.Event()

    def slowly(_request: Request) -> None:
        may_answer.wait()

    # A worker that is killed in a poll holds the wait for twice this time.
    monkeypatch.setenv("CLIPS_CLIENT_TIMEOUT", "10")
    simulator = simulated({"one": Script(pending=0, running=())}, slowly)
    monkeypatch.delenv("DUOMI_API_KEY")
    without_key = workers.start("-P", "solo")
    result = waiting().delay("one")
    until(lambda: workers.log(0).count(": the next poll in") > 1)
    assert workers.log(0).count("WARNING/MainProcess] this worker cannot poll: ") == 1
    workers.freeze(without_key, lambda: messages(broker))
    workers.kill(without_key)
    monkeypatch.setenv("DUOMI_API_KEY", KEY)
    limited = workers.start("-c", "1", "--soft-time-limit", "5")
    until(lambda: "Soft time limit" in workers.log(1))
    until(lambda: ": the next poll in" in workers.log(1))
    workers.freeze(limited, lambda: messages(broker))
    workers.kill(limited)
    simulator.answer = None
    may_answer.set()
    workers.start("-P", "threads")

    assert Task.from_payload(result.get()).is_succeeded


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_cold_shutdown_during_a_poll_ends_no_wait(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    """A worker that quits during a poll leaves the poll to another worker."""
    polled, may_answer = threading.Event(), threading.Event()

    def slowly(_request: Request) -> None:
        polled.set()
        may_answer.wait()

    monkeypatch.setenv("CLIPS_CLIENT_TIMEOUT", "5")
    simulated({"one": Script(pending=0, running=())}, slowly)
    worker = workers.start("-P", pool, "-c", "1")
    result = waiting().delay("one")
    polled.wait()

    worker.send_signal(signal.SIGQUIT)
    until(lambda: "Cold shutdown" in workers.log() or "terminate all running tasks" in workers.log())
    may_answer.set()
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.wait(10)
    workers.kill(worker) if worker.poll() is None else None
    workers.start("-P", "solo")

    assert Task.from_payload(result.get()).is_succeeded


def test_time_without_a_worker_does_not_count(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers
) -> None:
    """A message that is an hour late is polled as if it were on time, also through transient failures."""
    failures = [Response("", 502), Response("", 429, {"retry-after": "1"})]
    simulated({"one": Script(pending=0, running=())}, lambda _request: failures.pop() if failures else None)
    began = time.time() - 3_700
    state = {"began": began, "history": [[0.0, "running", 50]], "outage_since": 4.0}
    result = waiting().apply_async(("one",), {"state": state, "eta": began + 5.0})
    workers.start("-P", "solo")

    assert Task.from_payload(result.get()).is_succeeded


def test_waits_work_in_a_chord(broker: Broker, simulated: Callable[..., Simulator], workers: Workers) -> None:
    """The callback of a chord of waits gets all their payloads."""
    import clips

    simulated({"a": Script(), "b": Script()})
    workers.start("-P", "threads", "-c", "4")

    assert chord([waiting().s("a"), waiting().s("b")])(clips.collect.s()).get() == ["a", "b"]


def test_a_separate_queue_keeps_its_rate_limit(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers
) -> None:
    """The rate limit of a queue also applies to the polls that a wait sends itself."""
    import clips

    simulator = simulated(dict.fromkeys("abcd", Script()))
    workers.start("-P", "solo", "-Q", "limited")
    began = time.monotonic()
    results = [clips.in_own_queue.delay(task_id) for task_id in "abcd"]

    assert all(Task.from_payload(result.get()).is_succeeded for result in results)
    assert sum(map(simulator.polls, "abcd")) == 16
    assert time.monotonic() - began >= 15 / 5


@pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")  # Celery's own calls of redis-py
def test_a_wait_that_cannot_send_its_next_poll_is_requeued(
    broker: Broker, simulated: Callable[..., Simulator], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the next message of a wait cannot be sent, its present message goes back to the queue."""
    simulated({"one": Script()})
    app = Celery("own", broker=broker.url, backend=broker.url)
    task = register(app, polling=Polling(interval=0.01))
    send = app.amqp.send_task_message
    failures: list[str] = []

    def failing(producer: Any, name: str, message: Any, **options: Any) -> Any:
        if message.headers.get("retries") and len(failures) < 2:
            failures.append(name)
            raise OSError("the broker is away")
        return send(producer, name, message, **options)

    result = task.delay("one")
    with worker_here(app):
        monkeypatch.setattr(app.amqp, "send_task_message", failing)
        payload = result.get()

        with pytest.raises(NotFoundError):
            task.delay("unknown").get()
    app.close()

    assert Task.from_payload(payload).is_succeeded
    assert failures == ["duomi.wait"] * 2


@pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")  # as above
def test_a_timeout_without_a_key_says_so(
    broker: Broker, simulated: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a wait that no worker had a key for names the missing key, and another one is as `wait` raises it."""
    simulated({"one": Script(pending=10**6)})
    app = Celery("own", broker=broker.url, backend=broker.url)
    task = register(app, polling=Polling(interval=0.1, timeout=1.0))
    with (
        worker_here(app),
        pytest.raises(TaskTimeoutError, match=r"not finished after 1 s \(pending.*client.wait\(...\)$"),
    ):
        task.delay("one").get()
    monkeypatch.delenv("DUOMI_API_KEY")
    second = Celery("second", broker=broker.url, backend=broker.url)
    task = register(second, polling=Polling(interval=0.1, timeout=1.0))
    with (
        worker_here(second),
        pytest.raises(TaskTimeoutError, match=r"no poll succeeded.*the last poll failed: .*DUOMI_API_KEY"),
    ):
        task.delay("one").get()
    app.close()
    second.close()


def test_a_wait_on_celery_goes_by_how_long_earlier_tasks_took(server: Server) -> None:
    """In a process that has seen tasks end, the schedule of a task without progress is that of `wait`."""
    clients = ProcessLocalClient(partial(Duomi, KEY, base_url=server.url))
    ended, running = payload("succeeded"), payload("running")
    ended["update_time"] = ended["create_time"] + 300
    running["create_time"] = running["update_time"] = int(time.time()) - 60
    del running["progress"]
    typical = [300.0] * 20

    def first_delay() -> float:
        """Return the delay after a poll, as if without jitter."""
        server.replies = [running]
        state, decision, _seen = _poll(clients, running["id"], Polling(), PollState(time.time()), math.inf)
        assert isinstance(decision, PollAgain)
        here = state.history
        untaught, taught = Polling().delay(here), Polling().delay(here, typical)
        assert taught > 1.3 * untaught
        return min((untaught, taught), key=lambda delay: abs(delay - decision.seconds)) / untaught

    assert first_delay() == 1.0
    server.replies = [ended]
    for _ in typical:
        assert isinstance(_poll(clients, ended["id"], Polling(), PollState(time.time()), math.inf)[1], Task)
    assert first_delay() > 1.3
    clients.close()


@pytest.mark.parametrize(("seconds", "timeout", "ends"), [(30.3, 60.0, None), (90.0, 0.3, TaskTimeoutError)])
def test_a_poll_queues_no_longer_than_its_turn_and_its_wait(
    server: Server, seconds: float, timeout: float, ends: type[DuomiError] | None
) -> None:
    """A poll that `max_rate` delays is put off before its turn is over, and before the deadline of its wait."""
    clients = ProcessLocalClient(partial(Duomi, KEY, base_url=server.url, max_rate=0.001, timeout=30.0))
    server.replies = [payload("running")]

    def poll(polling: Polling, seconds: float) -> PollAgain | Failure | Task:
        return _poll(clients, payload("running")["id"], polling, PollState(time.time()), seconds)[1]

    assert poll(Polling(interval=0.0), math.inf) == PollAgain(0.0)
    second = poll(Polling(interval=0.0, timeout=timeout), seconds)

    assert len(server.requests) == 1
    assert type(second.error) is ends if isinstance(second, Failure) else ends is None
    clients.close()


def test_the_current_app_can_be_registered(simulated: Callable[..., Simulator]) -> None:
    """`register` takes `celery.current_app`, which only stands for an application, and nothing else."""
    import celery

    simulated({"one": Script()})
    app = Celery("current", broker="memory://", task_always_eager=True)
    app.set_current()
    task = register(celery.current_app, polling=Polling(interval=0.01))

    assert Task.from_payload(task.delay("one").get()).is_succeeded
    with pytest.raises(ConfigurationError, match="registered already"):
        register(app)
    with pytest.raises(ConfigurationError, match=r"a celery\.Celery, not str"):
        register("clips")  # type: ignore[arg-type]


def test_a_direct_or_eager_call_waits_in_place(
    simulated: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a worker the Celery task sleeps and polls as `wait` does, without a broker."""
    simulator = simulated({"one": Script(), "two": Script(outcome="error", message="no")})
    app = Celery("eager", broker="memory://", task_always_eager=True, task_eager_propagates=True)
    wait_for_task = register(app, polling=Polling(interval=0.01))

    assert Task.from_payload(wait_for_task.delay("one").get()).is_succeeded
    assert Task.from_payload(wait_for_task("one")).is_succeeded
    assert simulator.polls("one") == 5
    with pytest.raises(TaskFailedError, match="no"):
        wait_for_task.delay("two")


def test_a_client_is_closed_after_its_last_poll(simulated: Callable[..., Simulator]) -> None:
    """A worker with threads that shuts down during a poll closes the client after that poll."""
    from celery.signals import worker_shutdown

    closed_at: list[int] = []

    class Client(Duomi):
        def close(self) -> None:
            super().close()
            closed_at.append(simulator.polls("one"))

    def shut_down(_request: Request) -> None:
        worker_shutdown.send(sender=None)

    simulator = simulated({"one": Script(pending=0, running=())}, shut_down)
    app = Celery("threads", broker="memory://", task_always_eager=True)
    wait_for_task = register(app, client=Client, polling=Polling(interval=0.01))

    assert Task.from_payload(wait_for_task("one")).is_succeeded
    assert closed_at == [1]
    assert Task.from_payload(wait_for_task("one")).is_succeeded


def test_an_invalid_client_factory_is_rejected(simulated: Callable[..., Simulator]) -> None:
    """A client in place of a factory, a factory of something else, and invalid polling raise `ConfigurationError`."""
    simulated({})
    app = Celery("rejected", broker="memory://", task_always_eager=True)
    with Duomi() as client, pytest.raises(ConfigurationError, match="function that makes a Duomi"):
        register(app, client=client)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="polling"):
        register(app, polling=None)  # type: ignore[arg-type]

    invalid = register(app, client=lambda: 1, polling=Polling(interval=0.01))  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigurationError, match="must make"):
        invalid("one")
    with pytest.raises(ConfigurationError, match="registered already"):
        register(app)


def test_a_registered_task_is_of_the_applications_task_class() -> None:
    """A registered wait is an instance of the application's own task class, and goes to its queue."""

    class OwnTask(CeleryTask):  # type: ignore[type-arg]
        colour = "blue"

    app = Celery("own-class", broker="memory://", task_cls=OwnTask)
    task = register(app, queue="waits")

    assert isinstance(task, OwnTask)
    assert task.delay("one").id  # to the queue in memory
    assert task.apply_async(("one",), {}, "an-id").id == "an-id"
    with app.connection() as connection:
        channel: Any = connection.default_channel
        assert channel.queue_declare("waits", passive=True).message_count == 2


@pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")  # as above
def test_a_message_that_can_never_be_sent_ends_the_wait(
    broker: Broker, simulated: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the next message is invalid, the wait fails after one poll and is not requeued forever."""
    simulator = simulated({"one": Script()})
    app = Celery("own", broker=broker.url, backend=broker.url)
    task = register(app, polling=Polling(interval=0.01))
    result = task.delay("one")
    monkeypatch.setattr(task, "time_limit", 5)
    monkeypatch.setattr(task, "soft_time_limit", 10)
    with (
        worker_here(app),
        pytest.raises(ValueError, match="soft_time_limit"),
    ):
        result.get()
    app.close()

    assert simulator.polls("one") == 1


def test_the_documented_service_saves_its_clips(broker: Broker, tmp_path: Path) -> None:
    """The example service saves its clips, and reports the task that failed."""
    for path in (TESTS.parent / "examples/celery").iterdir():
        text = path.read_text(encoding="utf-8")
        (tmp_path / path.name).write_text(text.replace("port=8000", "port=0"), encoding="utf-8")
    run = [sys.executable, "-W", "error"]
    with contextlib.ExitStack() as ends:
        simulator = subprocess.Popen([*run, "simulator.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        ends.callback(simulator.wait)
        ends.callback(simulator.terminate)
        assert simulator.stdout is not None
        url = ends.enter_context(simulator.stdout).readline().strip()
        environment = os.environ | {"REDIS_URL": broker.url, "DUOMI_API_KEY": KEY, "DUOMI_BASE_URL": url}
        log = ends.enter_context((tmp_path / "log").open("wb"))
        program = [sys.executable, "-m", "celery", "-A", "clips", "worker", "-c", "2"]
        worker = subprocess.Popen(program, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        ends.callback(worker.wait)
        ends.callback(worker.terminate)

        web_port = free_port()
        program = [sys.executable, "-m", "uvicorn", "web:app", "--port", str(web_port)]
        web = subprocess.Popen(program, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        ends.callback(web.wait)
        ends.callback(web.terminate)
        subprocess.run([*run[:1], "clips.py", "task-0", "task-bad"], cwd=tmp_path, env=environment, check=True)
        page = ends.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{web_port}", timeout=None))

        def ask(method: str, path: str) -> dict[str, Any]:
            with contextlib.suppress(httpx.ConnectError):
                answer: dict[str, Any] = page.request(method, path).json()
                return answer
            return {}

        until(lambda: ask("POST", "/clips/task-1"))
        until(lambda: ask("GET", "/clips/task-1").get("label"))
        until(lambda: ask("GET", "/clips/task-1").get("videos"))
        until(lambda: "prompt was refused" in ask("GET", "/clips/task-bad").get("error", ""))
        until(lambda: "prompt was refused" in (tmp_path / "log").read_text())
        until(lambda: len(list((tmp_path / "clips").glob("*.mp4"))) == 2)

    assert {path.name for path in (tmp_path / "clips").iterdir()} == {"task-0.mp4", "task-1.mp4"}


def test_the_compose_file_is_valid() -> None:
    """The example's compose file conforms to the schema of compose files."""
    file = str(TESTS.parent / "examples/celery/compose.yaml")

    subprocess.run(["check-jsonschema", "--builtin-schema", "vendor.compose-spec", file], check=True)

"""A Redis only for the tests, and workers of `clips.py` that may be killed."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import random
import signal
import socket
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import harness
import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.signals import setup_logging
from duomi import Polling
from duomi._celery.ledger import Ledger
from duomi.celery import register
from kombu import Connection
from kombu.exceptions import OperationalError
from redis import Redis

TESTS = Path(__file__).parent
KEY = "sk-test-0123456789"
# The marks of modules whose tests have a worker in their own process.
WITH_WORKER_HERE = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning"),  # Celery's own calls of redis-py
    # A worker in this process leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]
# Processes take their time to start on a loaded machine; pytest ends a test that hangs.
until = partial(harness.until, limit=math.inf)


@setup_logging.connect
def leave_the_log_alone(**_signal: object) -> None:
    """Keep a worker in a test's own process from setting up a log that would outlive the test."""


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged by us at WARNING or above."""
    return [r.getMessage() for r in caplog.records if r.name == "duomi" and r.levelno >= logging.WARNING]


def free_port() -> int:
    """Return a free port on loopback, and one that no connection will be given before a server listens there."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return port


class Broker:
    """A Redis only for these tests."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self.redis = Redis(port=self.port, decode_responses=True)
        self.start()

    def start(self) -> None:
        program = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        self._process = subprocess.Popen([*program, "--appendonly", "yes", "--save", ""], stdout=subprocess.DEVNULL)
        until(self._answers)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def kill(self) -> None:
        """Kill Redis, as a power failure would; it has written to its file what it has answered."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "Redis does not start"
        with contextlib.suppress(ConnectionError, OSError):
            return bool(self.redis.ping())
        return False


class Rabbit:
    """A RabbitMQ only for these tests, with a name and ports of its own, and its own data."""

    PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

    def __init__(self, folder: Path) -> None:
        self.port, names, nodes = free_port(), free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        environment = os.environ | {
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(names),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_DIST_PORT": str(nodes),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_LOGS": str(folder / "rabbit.log"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_NODENAME": f"duomi-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
        }
        self._running: list[subprocess.Popen[bytes]] = []
        # Erlang's register of names would otherwise stay as a daemon.
        for program in (["epmd"], [str(self.PROGRAM)]):
            with (folder / "out.log").open("ab") as log:
                self._running.append(
                    subprocess.Popen(program, env=environment, stdout=log, stderr=log, start_new_session=True)
                )
        try:
            until(self._answers)
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        assert all(process.poll() is None for process in self._running), "RabbitMQ does not start"
        with contextlib.suppress(OperationalError), Connection(self.url, connect_timeout=2) as connection:
            connection.ensure_connection(max_retries=1)
            return True
        return False

    def stop(self) -> None:
        for process in reversed(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Workers:
    """Worker processes that are all killed after the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        number = len(self._running)
        program = [sys.executable, "-m", "celery", "-A", "clips", "worker", "-n", f"w{number}@test", "-l", "INFO"]
        with (self._folder / f"worker-{number}.log").open("wb") as log:
            worker = subprocess.Popen([*program, *options], cwd=TESTS, stdout=log, stderr=log, start_new_session=True)
        self._running.append(worker)
        return worker

    def log(self, number: int = 0) -> str:
        return (self._folder / f"worker-{number}.log").read_text()

    def stop(self, worker: subprocess.Popen[bytes]) -> None:
        """Suspend a worker and its pool, and wait until it stands still."""
        os.killpg(worker.pid, signal.SIGSTOP)
        os.waitpid(worker.pid, os.WUNTRACED)

    def resume(self, worker: subprocess.Popen[bytes]) -> None:
        os.killpg(worker.pid, signal.SIGCONT)

    def freeze(self, worker: subprocess.Popen[bytes], is_there: Callable[[], object]) -> None:
        """Suspend a worker and its pool at a moment when something is true."""
        self.stop(worker)
        while not is_there():
            self.resume(worker)
            time.sleep(0.01)
            self.stop(worker)

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker and its pool, as a power failure would."""
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def end(self) -> None:
        for worker in self._running:
            with contextlib.suppress(ProcessLookupError):
                self.kill(worker)


def worker_here(app: Any, pool: str = "solo", concurrency: int = 1) -> Any:
    """Return a worker in this process, as a context manager."""
    return start_worker(app, concurrency, pool, perform_ping_check=False, shutdown_timeout=240)


class Service:
    """An application whose waits are overdue at once, and its broker."""

    def __init__(self, broker: Broker, **options: Any) -> None:
        self.redis: Any = broker.redis
        self.app: Any = Celery("own", broker=broker.url, backend=broker.url, broker_transport_options=options)
        task: Any = register(self.app, polling=Polling(interval=0.01), revive_after=0.001)
        self.task = task
        self.ledger: Ledger = task.ledger

    def entries(self) -> set[str]:
        """Return the marks of the waits that are in the ledger."""
        return set(self.redis.zrange("duomi.duomi.wait.due", 0, -1))

    def lose(self, queue: str = "celery") -> dict[str, Any]:
        """Take the one message off a queue, as a worker does that is killed then."""
        lost: dict[str, Any] = json.loads(self.redis.rpop(queue))
        assert not self.redis.exists(queue)
        return lost

    def overdue(self) -> bool:
        """Let the time pass in which a wait is not overdue."""
        now = self.redis.time()
        until(lambda: self.redis.time() > (now[0], now[1] + 5_000))
        return True

    def worker(self) -> Any:
        """Return a worker in this process, which takes no wait for lost."""
        self.ledger.grace = 60.0
        return worker_here(self.app)


def application() -> Any:
    """Return the service's Celery application, which reads its broker from the environment."""
    import clips

    return clips.app


def waiting() -> Any:
    """Return the registered task."""
    import clips

    return clips.wait_for_task


def messages(broker: Broker) -> list[dict[str, Any]]:
    """Return the messages that workers hold, and those in the queue."""
    both: Any = broker.redis.pipeline()
    held, queued = both.hgetall("unacked").lrange("celery", 0, -1).execute()
    return [*(json.loads(text)[0] for text in held.values()), *map(json.loads, queued)]


def state_of(message: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state of a wait in its message."""
    found: dict[str, Any] | None = content(message)[1].get("state")
    return found


def content(message: dict[str, Any]) -> Any:
    """Return the body of a message: arguments, keywords, and callbacks."""
    return json.loads(b64decode(message["body"]))

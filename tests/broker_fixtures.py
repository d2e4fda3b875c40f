"""Fixtures of `brokers.py`, which the tests load as a plugin."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import KEY, Broker, Rabbit, Service, Workers, application
from duomi.simulator import Script, Simulator
from werkzeug import Request, Response


# A result that is collected late, in another test, still asks its Redis.
@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("redis"))
    yield broker
    broker.redis.close()
    broker.stop()


@pytest.fixture
def broker(redis_server: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    redis_server.redis.flushall()
    monkeypatch.setenv("CLIPS_BROKER", redis_server.url)
    monkeypatch.setenv("CLIPS_REDIS", redis_server.url)
    monkeypatch.delitem(sys.modules, "clips", raising=False)
    yield redis_server
    application().close()
    sys.modules.pop("clips", None)
    gc.collect()  # what Celery left open is not to be found in another test


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Simulator]]:
    with contextlib.ExitStack() as stack:

        def serve(tasks: dict[str, Script], answer: Callable[[Request], Response | None] | None = None) -> Simulator:
            simulator = Simulator(tasks, api_key=KEY, answer=answer)
            monkeypatch.setenv("DUOMI_BASE_URL", stack.enter_context(simulator.serve()))
            monkeypatch.setenv("DUOMI_API_KEY", KEY)
            return simulator

        yield serve


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    running = Workers(tmp_path)
    yield running
    running.end()


@pytest.fixture
def rabbit(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rabbit]:
    """Return a RabbitMQ for the messages; results and records stay in Redis."""
    server = Rabbit(tmp_path_factory.mktemp("rabbit"))
    monkeypatch.setenv("CLIPS_BROKER", server.url)
    yield server
    server.stop()


@pytest.fixture
def make_service(broker: Broker) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(**options: Any) -> Service:
        made.append(Service(broker, **options))
        return made[-1]

    yield make
    for service in made:
        service.app.close()


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    return make_service()

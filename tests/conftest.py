"""Fixtures: a server that answers by script, and a client of each kind behind one interface."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import copy_to
from faults import Authority
from harness import Caller, Server
from pytest_httpserver import HTTPServer


@pytest.fixture(scope="session")
def http_server() -> Iterator[HTTPServer]:
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        yield server


@pytest.fixture
def server(http_server: HTTPServer) -> Iterator[Server]:
    yield Server(http_server)
    http_server.clear()


@pytest.fixture(params=["sync", "asyncio", "trio"])
def call(request: pytest.FixtureRequest, server: Server) -> Caller:
    return Caller(request.param, server.url)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ca.pem")


@pytest.fixture(autouse=True)
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Authority:
    """Trust only the tests' own authority, because reading all public certificates takes longer than most tests."""
    if "index" not in request.keywords:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


@pytest.fixture(autouse=True)
def unblocked() -> Iterator[None]:
    """Let signals through again: the maintainer's tool blocks them to the end of its process, which here is the test's."""
    yield
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    return copy_to(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the rows of the table of faults."""
    played = {
        word: [r for r in terminalreporter.stats.get(word, []) if "fault" in r.keywords]
        for word in ("passed", "failed")
    }
    if any(played.values()):
        survived, rows = len(played["passed"]), sum(map(len, played.values()))
        terminalreporter.write_line(f"faults survived {survived}/{rows}")

"""The simulator is a pytest fixture in every project that installs the extra."""

from __future__ import annotations

import contextlib

import pytest
from duomi import Duomi, Retry, ServerError
from duomi.simulator import Script, Simulator
from werkzeug import Response

pytest_plugins = ["pytester"]

PROJECT = """
import pytest
from duomi import AsyncDuomi, Duomi, Polling, ServerError, TaskFailedError
from duomi.simulator import Script
from werkzeug import Response

QUICK = Polling(interval=0.01)


def test_a_clip_is_downloaded(duomi_simulator, tmp_path):
    duomi_simulator.tasks["mine"] = Script(pending=2, running=(10, 50))
    with Duomi() as client:
        task = client.wait("mine", polling=QUICK)
        assert client.download(task, tmp_path) == [tmp_path / "mine.mp4"]
    assert duomi_simulator.polls("mine") == 5


def test_a_failure(duomi_simulator):
    duomi_simulator.tasks["mine"] = Script(outcome="error", message="refused")
    with Duomi() as client, pytest.raises(TaskFailedError, match="refused"):
        client.wait("mine", polling=QUICK)


def test_an_outage(duomi_simulator):
    duomi_simulator.tasks["mine"] = Script()
    duomi_simulator.answer = lambda request: Response("", 503, {"retry-after": "3600"})
    with Duomi() as client:
        with pytest.raises(ServerError):
            client.get_task("mine")
    duomi_simulator.answer = None
    with Duomi() as client:
        assert client.get_task("mine").progress == 0
"""


def test_another_project_has_the_fixture(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another project `duomi_simulator` works, and `Duomi()` needs no settings, also with a proxy set."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    pytester.makepyfile(PROJECT)

    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error").assert_outcomes(passed=3)


@pytest.mark.slow
def test_the_fixture_names_its_missing_extra(pytester: pytest.Pytester) -> None:
    """Without the extra only the tests that use the fixture fail, and they say what to install."""
    pytester.makeconftest("import sys; sys.modules['pytest_httpserver'] = None")
    pytester.makepyfile("def test_a(duomi_simulator): pass\ndef test_b(): pass")

    result = pytester.runpytest_subprocess("-p", "no:pytest_httpserver", "-p", "no:cacheprovider")

    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*duomi[[]simulator[]]*"])


def test_an_invalid_script_is_rejected() -> None:
    """A script with an invalid value raises `ValueError` when it is created."""
    for values in ({"outcome": "succeeded"}, {"running": 10}, {"pending": -1}):
        with pytest.raises(ValueError, match=next(iter(values))):
            Script(**values)


def test_an_error_in_answer_is_raised() -> None:
    """An error in a test's `answer` is raised at the end, although the client only gets a 500."""
    simulator = Simulator({"a": Script()}, answer=lambda request: dict[str, Response]()[request.path])

    def ask() -> None:
        with (
            simulator.serve() as url,
            Duomi("k", base_url=url, retry=Retry(attempts=1)) as client,
            contextlib.suppress(ServerError),
        ):
            client.get_task("a")

    with pytest.raises(KeyError):
        ask()

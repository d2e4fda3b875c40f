"""The generated package conforms to the contract, and the wrapper knows every state of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from checkout import ROOT, check
from duomi import Task, TaskState
from duomi._payload import FAILED_STATES, SUCCEEDED_STATES, UNFINISHED_STATES
from duomi.simulator import EXAMPLE_ID, Script, Simulator
from duomi_api.contract import SCHEMAS, SERVER

from contract import document as documents
from contract.calls import load
from contract.document import ContractError


def test_the_generated_package_conforms_to_the_contract() -> None:
    """`contract check` finds no difference."""
    done = check(ROOT / "generated")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_three_sets_of_states_partition_the_contract() -> None:
    """Every state of the contract is either succeeded, failed or unfinished."""
    sets = (SUCCEEDED_STATES, FAILED_STATES, UNFINISHED_STATES)
    undecided = set(TaskState) - frozenset().union(*sets)

    assert not undecided, f"decide in wrapper/duomi/_payload.py what these states mean: {', '.join(sorted(undecided))}"
    assert sum(map(len, sets)) == len(list(TaskState)), "a state is in two sets, or no longer in the contract"


def test_the_generated_server_is_the_contracts() -> None:
    """The default server of the package is the first one in openapi.yaml."""
    contract, _ = documents.read(ROOT / "openapi.yaml")

    assert contract["servers"][0]["url"] == SERVER


def schema() -> Any:
    contract, _ = documents.read(ROOT / "openapi.yaml")
    answer = contract["paths"]["/v1/videos/tasks/{task_id}"]["get"]["responses"]["200"]
    return answer["content"]["application/json"]["schema"]


@pytest.mark.parametrize("outcome", ["video", "error"])
def test_the_simulator_conforms_to_the_contract(outcome: Any) -> None:
    """Every default payload of the simulator conforms to openapi.yaml."""
    simulator = Simulator({EXAMPLE_ID: Script(outcome=outcome)})

    for poll in range(1, 6):
        payload = simulator.payload(EXAMPLE_ID, poll, "http://127.0.0.1")
        jsonschema.validate(payload, schema())
        assert Task.from_payload(payload).deviations == ()


def test_characters_have_the_deviations_of_the_live_api() -> None:
    """The contract does not describe characters, so a task with one has exactly two deviations."""
    payload = Simulator({EXAMPLE_ID: Script(outcome="character")}).payload(EXAMPLE_ID, 9, "")

    assert set(Task.from_payload(payload).deviations) == {
        "/data/videos: is missing", "/action: is 'characters', which the contract does not list",
    }  # fmt: skip


def test_the_schema_in_the_package_is_the_contracts() -> None:
    """The schema that `deviations` uses has the contract's fields, types and enums."""
    shape = SCHEMAS["GET /v1/videos/tasks/{task_id}"]["200"]

    assert shape["required"] == schema()["required"]
    assert {n: f["type"] for n, f in shape["properties"].items()} == {
        n: f["type"] for n, f in schema()["properties"].items()
    }
    assert json.dumps(shape["properties"]["state"]["enum"]) == json.dumps(schema()["properties"]["state"]["enum"])


def test_a_folder_without_a_package_is_an_error(tmp_path: Path) -> None:
    """A folder without a package is an error of one line, even if the package is installed."""
    done = check(tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert "holds no duomi_api" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_check_rejects_a_package_that_is_already_imported(tmp_path: Path) -> None:
    """The check needs a new process, so that it reads the files on disk."""
    with pytest.raises(ContractError, match="fresh process"):
        load(tmp_path)


def test_a_request_body_missing_in_the_package_is_a_difference(tmp_path: Path) -> None:
    """A request body that no generated function accepts is a difference from the contract."""
    contract = json.loads(json.dumps(documents.read(ROOT / "openapi.yaml")[0]))
    body = {"content": {"application/json": {"schema": {"type": "object"}}}}
    contract["paths"]["/v1/videos/tasks/{task_id}"]["get"]["requestBody"] = body
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(contract), encoding="utf-8")
    command = [sys.executable, "-m", "contract", "check", "--spec", str(spec)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "not taken" in done.stdout

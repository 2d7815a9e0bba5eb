"""``flowml run`` for another program: parameters out of a file, what came of it into one, and SIGTERM cancels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from tests.ops.conftest import Said
from tests.runs import run_of

ROOT = Path(__file__).parents[2]
Flowml = Callable[..., Said]

FILE = """
import time
from pathlib import Path
from flowml import flow

@flow
def training(rows: int, names: list[str]) -> dict[str, float]:
    return {"rows": rows, "names": len(names)}

@flow
def failing() -> None:
    raise ValueError("the data is empty")

@flow
def odd() -> set[int]:
    return {1}

@flow
def endless(marker: str) -> None:
    Path(marker).touch()
    time.sleep(600)
"""


@pytest.fixture
def file(client: MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A file with several flows."""
    (project / "told.py").write_text(FILE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "told.py"
    for name in [name for name, module in sys.modules.items() if getattr(module, "__file__", None) == "told.py"]:
        del sys.modules[name]
    sys.modules.pop("told", None)


def outcome(project: Path) -> dict[str, Any]:
    """Read what was told."""
    told: dict[str, Any] = json.loads((project / "outcome.json").read_text())
    return told


def test_what_came_of_it_is_told(client: MlflowClient, flowml: Flowml, file: str, project: Path) -> None:
    """State, result, ids and pages; a parameter that is typed counts more than the file's."""
    (project / "in.json").write_text('{"rows": 2, "names": ["a", "b"]}')
    said = flowml("run", f"{file}:training", "--parameters", "in.json", "-p", "rows=3", "--outcome", "outcome.json")
    assert said.code == 0, said
    told, run = outcome(project), run_of(client, "training")
    assert (told["state"], told["result"], told["mlflow_status"]) == ("Completed", {"rows": 3, "names": 2}, "FINISHED")
    assert (told["mlflow_run_id"], told["flow_run_id"]) == (run.info.run_id, run.data.tags["prefect.flow_run_id"])
    assert told["prefect_url"].endswith(f"/runs/flow-run/{told['flow_run_id']}")
    assert [path.name for path in project.glob("outcome*")] == ["outcome.json"]


@pytest.mark.usefixtures("client")
def test_a_failure_is_told(flowml: Flowml, file: str, project: Path) -> None:
    """The error stands there as the run says it."""
    assert flowml("run", f"{file}:failing", "--outcome", "outcome.json").code == 1
    told = outcome(project)
    assert (told["state"], told["error"]) == ("Failed", "ValueError: the data is empty")


@pytest.mark.usefixtures("client")
def test_a_result_that_is_no_json_is_named(flowml: Flowml, file: str, project: Path) -> None:
    """The flow completed all the same."""
    assert flowml("run", f"{file}:odd", "--outcome", "outcome.json").code == 0
    told = outcome(project)
    assert (told["state"], told["result"]) == ("Completed", None)
    assert told["result_problem"].startswith("The flow returned a set, which cannot be written as JSON")


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    "text, problem",
    [("[1]", "holds a list, and not a JSON object"), ("{", "Expecting"), ('{"row": 1}', "has no parameter 'row'")],
)
def test_parameters_that_cannot_be(flowml: Flowml, file: str, project: Path, text: str, problem: str) -> None:
    """The command ends with 2 and says what is wrong; nothing is told, for nothing ran."""
    (project / "in.json").write_text(text)
    said = flowml("run", f"{file}:training", "--parameters", "in.json", "--outcome", "outcome.json")
    assert (said.code, problem in said.err) == (2, True), said
    assert not (project / "outcome.json").exists()


@pytest.mark.e2e
@pytest.mark.slow
def test_sigterm_cancels(client: MlflowClient, file: str, project: Path) -> None:
    """Prefect says Cancelled and MLflow KILLED, and so does the file."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    words = ["run", f"{file}:endless", "-p", "marker=began", "--outcome", "outcome.json"]
    with subprocess.Popen([sys.executable, "-m", "flowml", *words], env=environment, cwd=project) as process:
        until = time.monotonic() + 60
        while not (project / "began").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert outcome(project)["state"] == "Running"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 1
    told = outcome(project)
    assert (told["state"], told["mlflow_status"]) == ("Cancelled", "KILLED")
    run = run_of(client, "endless")
    assert (run.info.status, run.data.tags["prefect.state"]) == ("KILLED", "Cancelled")
    with get_client(sync_client=True) as api:
        state = api.read_flow_run(told["flow_run_id"]).state
    assert state
    assert state.is_cancelled()

"""`flowml.deploy_model`: a flow serves a registered model, which goes on answering."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.ends.processes import until
from tests.runs import all_runs
from tests.serving.conftest import ASKED, ROOT, Churn
from tests.serving.test_serve_model import spoil_example

from flowml import RegistryError, ServedModel, ServingError, deploy_model, flow
from flowml.ops.servers.down import down

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture
def deployed(churn: Churn, prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Churn]:
    """A registered model; what serves it is ended after the test."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    yield churn
    down()


@flow
def release(reference: str) -> ServedModel:
    """Serve it."""
    return deploy_model(reference, port=5900)


def flowml(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project."""
    command = [sys.executable, "-m", "flowml", *words]
    return subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False, timeout=280)


def test_a_flow_serves_a_model_and_finds_it_served(deployed: Churn) -> None:
    """The server answers after the flow; the next flow finds it, with the new champion; the audit knows where it is."""
    deployed.promote(deployed.add())
    served = release("churn@champion")
    assert (served.model, served.version) == ("churn", "1")
    assert httpx.post(f"{served.url}/invocations", json=ASKED).json() == {"predictions": [1.0, 1.0]}
    deployed.promote(deployed.add())
    again = release("churn@champion")
    assert (again.url, again.version) == (served.url, "2")
    runs = [run for run in all_runs(deployed.client) if run.data.tags.get("prefect.task_name") == "deploy-model"]
    assert [run.data.tags["flowml.served_at"] for run in runs] == [served.url] * 2
    links = json.loads(flowml(deployed.folder, "audit", "churn/2", "--json").stdout)["links"]
    (link,) = (each for each in links if each["name"] == "serving")
    assert [each["at"] for each in link["facts"]["served"]] == [served.url]


@pytest.mark.slow
def test_the_commands_know_what_is_served(deployed: Churn) -> None:
    """`flowml status` shows it, `flowml logs` what it said, `flowml down` ends it."""
    deployed.promote(deployed.add())
    served = release("churn@champion")
    told = json.loads(flowml(deployed.folder, "status", "--json").stdout)
    assert (told["serving"]["churn@champion"]["url"], told["serving"]["churn@champion"]["state"]) == (
        served.url,
        "running",
    )
    assert "answers from now on" in flowml(deployed.folder, "logs", "churn@champion").stdout
    assert "there are churn@champion" in flowml(deployed.folder, "logs", "chrun@champion").stderr
    assert f"churn@champion ({served.url})" in flowml(deployed.folder, "down").stdout
    until(lambda: not _answers(served.url), "it has ended")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_what_cannot_be_served_fails_the_flow(deployed: Churn) -> None:
    """No such alias, and a version that fails its own example: the flow hears why, and nothing is left running."""
    version = deployed.add(spoil=spoil_example)
    with pytest.raises(RegistryError, match="no alias 'champion'"):
        release("churn@champion")
    deployed.promote(version)
    with pytest.raises(ServingError, match="does not answer its own input example"):
        release("churn@champion")
    assert json.loads(flowml(deployed.folder, "status", "--json").stdout)["serving"] == {}


@pytest.mark.slow
def test_both_servers_come_up_with_the_model(deployed: Churn) -> None:
    """`flowml up --serve` says where it answers, and `flowml down` ends all three."""
    deployed.promote(deployed.add())
    done = flowml(deployed.folder, "up", "--detach", "--serve", "churn@champion")
    found = re.search(r"churn@champion answers at (http://\S+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert httpx.post(found[1], json=ASKED).json() == {"predictions": [1.0, 1.0]}
    stopped = flowml(deployed.folder, "down").stdout
    assert [name in stopped for name in ("prefect (", "mlflow (", "churn@champion (")] == [True] * 3

"""Credentials that a deployment only refers to, on a live worker: they are used there, and shown nowhere."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL
from tests.deploy.guarded import Guard, guarded
from tests.deploy.machines import Machine, answers, free_ports
from tests.ends.processes import until
from tests.runs import all_runs

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]

FLOWS = """
from pathlib import Path

from sklearn.linear_model import LinearRegression

from flowml import Deployment, flow, task


@task
def fit(rows: int) -> LinearRegression:
    return LinearRegression().fit([[0.0], [1.0]], [0.0, rows])


@flow(log_prints=True)
def secretive(rows: int = 3) -> Path:
    fit(rows)
    print("a line in the log")
    Path("note.txt").write_text("a note")
    return Path("note.txt")


by_variables = Deployment(
    secretive,
    "by-variables",
    tracking_uri="{address}",
    job_variables={{"env": {{"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "secret:{block}"}}}},
)
by_uri = Deployment(secretive, "by-uri", tracking_uri="secret:{block}-uri")
"""


@dataclass
class Site:
    """A guarded MLflow, and a worker that is not told the password."""

    guard: Guard
    inner: MlflowClient
    desk: Machine
    worker: Machine
    password: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Iterator[Site]:
    """An MLflow behind a proxy that asks for a password, which Prefect keeps as Secret blocks."""
    folder, password, block = tmp_path_factory.mktemp("secrets"), secrets.token_hex(12), "mlflow-of-ada"
    known = {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    server, desk, worker = (
        Machine(folder / "server"),
        Machine(folder / "desk", **known),
        Machine(folder / "worker", **known),
    )
    (port,) = free_ports(1)
    inner = f"http://127.0.0.1:{port}"
    start = (
        "mlflow",
        "server",
        "--port",
        str(port),
        "--workers",
        "1",
        "--artifacts-destination",
        str(folder / "artifacts"),
    )
    start += ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db")
    with (
        server.running(*start, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
        guarded(inner, "ada", password) as guard,
    ):
        until(lambda: answers(f"{inner}/health"), "MLflow answers", 120)
        address = f"http://127.0.0.1:{guard.server_port}"
        Secret(value=password).save(block, overwrite=True)
        Secret(value=address.replace("//", f"//ada:{password}@")).save(f"{block}-uri", overwrite=True)
        (desk.work / "flows").mkdir()
        (desk.work / "flows" / "secretive.py").write_text(FLOWS.format(address=address, block=block))
        (desk.work / "pyproject.toml").touch()
        desk.run("prefect", "work-pool", "create", "secretive", "--type", "process")
        desk.run("flowml.cli.app", "deploy", "--work-pool", "secretive")
        with worker.running("prefect", "worker", "start", "--pool", "secretive", log="worker"):
            yield Site(guard, MlflowClient(inner), desk, worker, password)


@pytest.mark.parametrize("way", ["by-variables", "by-uri"])
def test_a_worker_uses_a_secret_and_nobody_shows_it(site: Site, way: str) -> None:
    """What a Secret block holds lets the worker's runs through; it is in no deployment, run, log, tag or file."""
    said = site.desk.run("flowml.cli.app", "trigger", f"secretive/{way}", "--watch")
    assert "Completed" in said
    (run,) = until(lambda: finished(site, f"secretive/{way}"), "its run is closed", 60)
    # While a run is at work, Prefect's worker keeps its environment in a file that only the worker's user can read.
    until(lambda: site.worker.files() == [], "its process has cleaned up", 60)
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(run.data.tags["prefect.flow_run_id"])
        told = {"what was said": said, **of_prefect(client, flow_run), **of_mlflow(site)}
    told |= {path.name: path.read_text(errors="replace") for path in site.worker.folder.glob("*.log")}
    told |= {str(path): path.read_text(errors="replace") for path in site.desk.files()}
    assert "a line in the log" in told["Prefect's logs"]
    assert f"secretive/{way}" in told["MLflow's runs"]
    assert "a note" in told["note.txt"]
    forms = (site.password, base64.b64encode(f"ada:{site.password}".encode()).decode())
    assert [where for where, text in told.items() if any(form in text for form in forms)] == []
    assert site.guard.answered[200] > 0
    assert site.guard.answered[401] == 0


def finished(site: Site, deployment: str) -> list[Run]:
    """Return the MLflow runs of a deployment's flow that have ended well."""
    mine = [run for run in all_runs(site.inner) if run.data.tags.get("prefect.deployment_name") == deployment]
    return [run for run in mine if run.info.status == "FINISHED"]


def of_prefect(client: SyncPrefectClient, flow_run: FlowRun) -> dict[str, str]:
    """Return all that Prefect tells of a run, as texts."""
    mine = {"any_resource": {"id": [f"prefect.flow-run.{flow_run.id}"]}}
    told = {
        "Prefect's logs": client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run.id]))),
        "the deployment": client.read_deployment(flow_run.deployment_id),
        "the flow run": flow_run,
        "its states": client.read_flow_run_states(flow_run.id),
        "its artifacts": client.request("POST", "/artifacts/filter", json={}).json(),
        "its events": client.request("POST", "/events/filter", json={"filter": mine, "limit": 50}).json(),
        "the work pool": client.read_work_pool("secretive"),
    }
    return {where: f"{what!r} {what}" for where, what in told.items()}


def of_mlflow(site: Site) -> dict[str, str]:
    """Return all that MLflow has, as texts."""
    runs = all_runs(site.inner)
    told = {"MLflow's runs": str([run.to_dictionary() for run in runs])}
    for run in runs:
        for item in site.inner.list_artifacts(run.info.run_id):
            if not item.is_dir:
                path = Path(site.inner.download_artifacts(run.info.run_id, item.path))
                told[path.name] = path.read_text(errors="replace")
    models = site.inner.search_logged_models([one.experiment_id for one in site.inner.search_experiments()])
    assert models
    return told | {"MLflow's models": str([model.to_dictionary() for model in models])}

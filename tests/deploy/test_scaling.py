"""The set-up of docs/how-to/scaling.md: servers over PostgreSQL, MLflow's artifacts, workers that share nothing."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Crashed
from tests.deploy.machines import Machine, free_ports, listens, servers
from tests.ends.processes import until
from tests.postgres import Postgres, postgres
from tests.runs import all_runs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@dataclass
class Site:
    """All machines, and what is asked of both servers."""

    folder: Path
    source: str

    database: Postgres
    server: Machine
    desk: Machine
    workers: tuple[Machine, Machine]
    prefect_api: str
    mlflow: MlflowClient

    def flow_runs(self, name: str) -> list[Any]:
        """Return the flow runs of a flow, with the names of their states."""
        from prefect.client.schemas.filters import FlowFilter, FlowFilterName

        with temporary_settings({PREFECT_API_URL: self.prefect_api}), get_client(sync_client=True) as client:
            return list(client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[name]))))

    def has_completed(self, name: str, count: int) -> bool:
        """Tell whether so many runs of a flow have; fails when one has ended otherwise."""
        states = [run.state for run in self.flow_runs(name)]
        bad = [f"{state.name}: {state.message}" for state in states if state.is_final() and not state.is_completed()]
        assert not bad, "\n".join(bad + [machine.said() for machine in self.workers])
        return sum(state.is_completed() for state in states) >= count

    def variable(self, name: str) -> Any:
        """Return one of Prefect's variables."""
        with temporary_settings({PREFECT_API_URL: self.prefect_api}), get_client(sync_client=True) as client:
            found = client.read_variable_by_name(name)
        return found and found.value

    def tracked(self, name: str) -> list[tuple[Run, list[Run]]]:
        """Return the MLflow runs of a flow that have ended, each with those right below it."""
        every = all_runs(self.mlflow)
        mine = [run for run in every if run.data.tags.get("prefect.flow_name") == name]
        below = {run.info.run_id: [one for one in every if _parent(one) == run.info.run_id] for run in mine}
        return [
            (run, below[run.info.run_id])
            for run in mine
            if run.data.tags["flowml.kind"] == "flow" and run.info.status != "RUNNING"
        ]


def _parent(run: Run) -> str | None:
    return run.data.tags.get("mlflow.parentRunId")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server machine, one from which is deployed, and two whose workers run; they share no folder."""
    folder = tmp_path_factory.mktemp("site")
    server = Machine(folder / "server")
    with postgres() as database, servers(server, database) as (prefect_api, tracking_uri):
        known = {"PREFECT_API_URL": prefect_api, "PREFECT_WORKER_QUERY_SECONDS": "1"}
        desk = Machine(folder / "desk", MLFLOW_TRACKING_URI=tracking_uri, **known)
        workers = (Machine(folder / "first", **known), Machine(folder / "second", **known))
        source = f"git+{publish(desk, folder / 'git' / 'churn.git')}@main"
        desk.run("prefect", "work-pool", "create", "pool", "--type", "process")
        desk.run("flowml.cli.app", "deploy", "--work-pool", "pool", "--source", source)
        start = ("prefect", "worker", "start", "--pool", "pool", "--limit", "1", "--name")
        with workers[0].running(*start, "first", log="worker"), workers[1].running(*start, "second", log="worker"):
            yield Site(folder, source, database, server, desk, workers, prefect_api, MlflowClient(tracking_uri))


def publish(desk: Machine, repository: Path) -> str:
    """Have the project at the desk and push it; return the repository's address."""
    written, cache = Path(__file__).parent / "repository", shutil.ignore_patterns("__pycache__")
    shutil.copytree(written, desk.work, ignore=cache, dirs_exist_ok=True)
    (desk.work / "pyproject.toml").touch()
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for command in (
        ("init", "--quiet", "--bare", "--initial-branch=main", str(repository)),
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "."),
        (*who, "commit", "--quiet", "--message", "Train"),
        ("push", "--quiet", str(repository), "main"),
    ):
        subprocess.run(["git", *command], cwd=desk.work, env=desk.environment, check=True)
    return repository.as_uri()


@pytest.mark.slow
def test_two_machines_share_the_work(site: Site) -> None:
    """Each worker has a run, and what one promotes starts the next; all is in MLflow once, and not on the workers."""
    for me, other, promote in (("a", "b", "true"), ("b", "a", "false")):
        given = ("--param", f"me={me}", "--param", f"other={other}", "--param", f"promote={promote}")
        site.desk.run("flowml.cli.app", "trigger", "training/shared", *given)
    until(lambda: site.has_completed("training", 2), "both have trained", 120)
    assert {site.variable("a"), site.variable("b")} == {"first", "second"}
    until(lambda: site.has_completed("scoring", 1), "the promotion has started the scoring", 120)
    until(lambda: len(site.tracked("training")) == 2 and site.tracked("scoring"), "all are tracked", 60)

    flow_runs = {str(run.id): run for run in [*site.flow_runs("training"), *site.flow_runs("scoring")]}
    tracked = [*site.tracked("training"), *site.tracked("scoring")]
    assert sorted(run.data.tags["prefect.flow_run_id"] for run, _ in tracked) == sorted(flow_runs)
    for run, below in tracked:
        check_run(run, below)
    check_artifacts(site)
    check_registry(site)
    check_databases(site)


def check_run(run: Run, below: list[Run]) -> None:
    """Check that a flow's run is whole: its tags, what it called, that all has ended."""
    tags = run.data.tags
    name = tags["prefect.flow_name"]
    deployment, by = {"training": ("shared", "flowml trigger"), "scoring": ("on-champion", "event")}[name]
    assert (tags["prefect.deployment_name"], tags["flowml.triggered_by"]) == (f"{name}/{deployment}", by)
    assert tags["prefect.deployment_id"] in tags["prefect.deployment_url"]
    assert tags["prefect.scheduled_time"] <= tags["prefect.start_time"]
    called = sorted(one.data.tags["prefect.task_name"] for one in below)
    fits = "fit_champion" if run.data.params.get("promote") == "True" else "fit"
    assert called == (["evaluate", fits] if name == "training" else ["load"])
    assert {one.info.status for one in (run, *below)} == {"FINISHED"}
    assert _parent(run) is None


def check_artifacts(site: Site) -> None:
    """Check that files went through MLflow's server into its folder, and that no worker kept a store."""
    said = set()
    for run, below in site.tracked("training"):
        assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
        (evaluated,) = [one for one in below if one.data.tags["prefect.task_name"] == "evaluate"]
        assert evaluated.data.metrics["accuracy"] == 1.0
        (report,) = [one.path for one in site.mlflow.list_artifacts(evaluated.info.run_id) if "report" in one.path]
        said.add(Path(site.mlflow.download_artifacts(evaluated.info.run_id, report)).read_text())
    assert said == {"first", "second"}
    kept = [path.name for path in (site.server.folder / "artifacts").rglob("*") if path.is_file()]
    assert kept.count("report.txt") == 2
    assert kept.count("MLmodel") == 2
    for worker in site.workers:  # a run's process cleans up after its last state
        until(lambda worker=worker: worker.files() == [], "the worker's machine is as it was", 30)


def check_registry(site: Site) -> None:
    """Check that both models are registered, that the promoted one is the champion, and that it loads from anywhere."""
    versions = site.mlflow.search_model_versions("name='churn'")
    of_runs = {below.info.run_id: run for run, called in site.tracked("training") for below in called}
    promoted = {version.version: of_runs[version.run_id].data.params["promote"] for version in versions}
    champion = site.mlflow.get_model_version_by_alias("churn", "champion").version
    assert sorted(promoted.values()) == ["False", "True"]
    assert promoted[champion] == "True"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(site.mlflow.tracking_uri)
    try:
        assert mlflow.sklearn.load_model("models:/churn@champion").predict([[15.0]])[0]
    finally:
        mlflow.set_tracking_uri(before)


def check_databases(site: Site) -> None:
    """Check that both servers keep all in PostgreSQL, and neither in a file."""
    runs, flow_runs = "SELECT count(*) FROM runs", "SELECT count(*) FROM flow_run"
    ledgers = 1  # of the model that was promoted
    assert site.database.ask(runs, of="mlflow")[0][0] == len(all_runs(site.mlflow)) + ledgers
    assert site.database.ask(flow_runs, of="prefect")[0][0] == 3
    assert site.server.databases() == []


@pytest.mark.slow
def test_what_a_dead_machine_left_open_is_closed_from_another(site: Site) -> None:
    """A machine that is gone leaves its runs open; once Prefect says Crashed, scheduled reaping ends them."""
    machine = Machine(site.folder / "third", PREFECT_API_URL=site.prefect_api)
    site.desk.run("prefect", "work-pool", "create", "doomed", "--type", "process")
    there = ("--name", "doomed", "--work-pool", "doomed", "--source", site.source)
    site.desk.run("flowml.cli.app", "deploy", "flows/churn.py:training", *there)
    with machine.running("prefect", "worker", "start", "--pool", "doomed", log="worker"):
        site.desk.run("flowml.cli.app", "trigger", "training/doomed", "--param", "me=c", "--param", "other=nobody")

        def opened() -> list[Run]:
            named = "prefect.deployment_name"
            return [run for run in all_runs(site.mlflow) if run.data.tags.get(named) == "training/doomed"]

        (run,) = until(opened, "the run is at work", 120)
        machine.die()
    assert site.mlflow.get_run(run.info.run_id).info.status == "RUNNING"
    with temporary_settings({PREFECT_API_URL: site.prefect_api}), get_client(sync_client=True) as client:
        # What Prefect's automation does when there is no heartbeat any more.
        client.set_flow_run_state(UUID(run.data.tags["prefect.flow_run_id"]), Crashed(), force=True)
    said = site.desk.run("flowml.cli.app", "trigger", "upkeep/every-night", "--param", "grace=0", "--watch")
    assert "Completed" in said
    closed = site.mlflow.get_run(run.info.run_id)
    assert (closed.info.status, closed.data.tags["flowml.closed"]) == ("FAILED", "Prefect says Crashed")


@pytest.mark.slow
def test_tasks_spread_over_a_dask_cluster(site: Site) -> None:
    """Tasks that a worker's flow hands to a Dask cluster of two more machines are below it, each once."""
    (port,) = free_ports(1)
    address = f"tcp://127.0.0.1:{port}"
    machines = [Machine(site.folder / name) for name in ("scheduler", "dask-1", "dask-2")]
    scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny")
    with machines[0].running(*scheduler), machines[1].running(*worker), machines[2].running(*worker):
        run = spread_over(site, DASK_ADDRESS=address)
    check_spread(site, run, machines[1:])


@pytest.mark.slow
def test_tasks_spread_over_a_ray_cluster(site: Site) -> None:
    """The same on a Ray cluster of two nodes."""
    pytest.importorskip("prefect_ray")
    (port,) = free_ports(1)
    machines = [Machine(site.folder / name, RAY_USAGE_STATS_ENABLED="0") for name in ("ray-1", "ray-2")]
    address = f"127.0.0.1:{port}"
    start = ("ray.scripts.scripts", "start", "--block", "--num-cpus", "1")
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # a socket's path must be short
        head = ("--head", "--port", str(port), "--include-dashboard", "false", "--temp-dir", folder)
        with machines[0].running(*start, *head) as first:
            until(lambda: listens(port) or first.poll(), "the head is there", 60)
            with machines[1].running(*start, "--address", address):
                run = spread_over(site, RAY_ADDRESS=address)
    check_spread(site, run, machines)


def spread_over(site: Site, **cluster: str) -> str:
    """Deploy the flow for a cluster and run it; returns its flow run's id."""
    desk, before = site.desk, {str(run.id) for run in site.flow_runs("spread")}
    desk.environment |= cluster
    desk.run("flowml.cli.app", "deploy", "clusters", "--work-pool", "pool", "--source", site.source)
    names = [f"{next(iter(cluster)).lower()}-{number}" for number in (1, 2)]
    given = ("--param", f"one={names[0]}", "--param", f"other={names[1]}")
    desk.run("flowml.cli.app", "trigger", "spread/on-cluster", *given)
    until(lambda: site.has_completed("spread", len(before) + 1), "the tasks have met", 120)
    for name in cluster:
        del desk.environment[name]
    (run,) = {str(run.id) for run in site.flow_runs("spread")} - before
    return run


def check_spread(site: Site, flow_run_id: str, machines: list[Machine]) -> None:
    """Check that each of two machines had a task, and that they left nothing there."""

    def found() -> list[tuple[Run, list[Run]]]:
        return [one for one in site.tracked("spread") if one[0].data.tags["prefect.flow_run_id"] == flow_run_id]

    ((run, below),) = until(found, "the flow is tracked", 60)
    assert {one.info.status for one in (run, *below)} == {"FINISHED"}
    assert sorted(one.data.params["home"] for one in below) == [f"{machine.folder}/home" for machine in machines]
    assert run.data.metrics["met"] == 2
    for machine in machines:
        assert machine.databases() == []

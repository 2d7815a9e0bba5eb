"""Schedules, workers and backfills for real: both servers, what serves and each run in processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from tests.ends.processes import until
from tests.runs import all_runs
from tests.stack.conftest import ROOT, Project, urls

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

FLOWS = """
import os
import time
from datetime import datetime
from pathlib import Path

from flowml import Cron, Deployment, Interval, flow, task


@task
def length(name: str) -> int:
    return len(name)


@flow
def greeting(name: str = "Ada", fails: bool = False, logical_date: datetime | None = None) -> int:
    if fails or (logical_date and Path(f"bad-{logical_date:%Y-%m-%d}").exists()):
        raise RuntimeError("as it was asked to")
    return length(name)


@flow
def meeting(me: str, other: str) -> None:
    Path(me).write_text(os.environ["PREFECT__WORKER_NAME"])
    until = time.monotonic() + 240
    while not Path(other).exists():
        if time.monotonic() > until:
            raise TimeoutError("the other one never came")
        time.sleep(0.1)


often = Deployment(greeting, "often", schedule=Interval("20s"), parameters={"name": "Grace"})
daily = Deployment(greeting, "daily", schedule=Cron("0 2 * * *"))
"""


class Site:
    """A project whose servers run, and what is asked of both."""

    def __init__(self, project: Project, prefect_url: str) -> None:
        self.project = project
        self.prefect_url = prefect_url
        self.mlflow = MlflowClient(f"sqlite:///{project.folder / '.flowml' / 'mlflow.db'}")

    def flowml(self, *words: str, code: int = 0) -> str:
        """Run a command; returns what it printed."""
        done = self.project.flowml(*words)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self, *command: str, log: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run Python beside the test, until Ctrl-C."""
        environment = {**self.project.environment, "PREFECT_API_URL": f"{self.prefect_url}/api", **variables}
        quick = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_WORKER_QUERY_SECONDS": "1"}
        with (self.project.folder / log).open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self.project.folder,
                env={**quick, **environment},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    @contextmanager
    def prefect(self) -> Iterator[SyncPrefectClient]:
        """A client of the server."""
        with temporary_settings({PREFECT_API_URL: f"{self.prefect_url}/api"}), get_client(sync_client=True) as client:
            yield client

    def flow_runs(self, deployment: str, *, state: str | None = None) -> list[FlowRun]:
        """Return the flow runs of a deployment, by the time at which they were to start."""
        with self.prefect() as client:
            found = client.read_deployment_by_name(deployment)
            mine = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[found.id]))
            runs = client.read_flow_runs(flow_run_filter=mine, limit=200)
        wanted = [run for run in runs if state in (None, str(run.state and run.state.name))]
        return sorted(wanted, key=lambda run: run.expected_start_time or datetime.min.replace(tzinfo=timezone.utc))

    def mlflow_runs(self, deployment: str) -> list[Run]:
        """Return the MLflow runs of a deployment's flow that have ended."""
        return [
            run
            for run in all_runs(self.mlflow)
            if run.data.tags.get("prefect.deployment_name") == deployment and run.info.status != "RUNNING"
        ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project with flows, whose servers run."""
    project = Project(tmp_path_factory.mktemp("site") / "project")
    given = os.environ.get("PYTHONPATH", "")
    project.environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), *([given] if given else [])])
    (project.folder / "flows").mkdir()
    (project.folder / "flows" / "greet.py").write_text(FLOWS)
    with (
        socket.socket() as one,
        socket.socket() as other,
    ):  # not the usual ports, which something else may take just now
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        free = [str(each.getsockname()[1]) for each in (one, other)]
    started = project.flowml("up", "--detach", "--prefect-port", free[0], "--mlflow-port", free[1])
    assert started.returncode == 0, started.stderr
    yield Site(project, urls(started.stdout)[0])
    project.flowml("down")
    project.end()


@contextmanager
def serving(site: Site) -> Iterator[None]:
    """Serve the project's flows."""
    log = site.project.folder / f"serve-{time.monotonic_ns()}.log"
    with site.running("flowml.cli.app", "serve", "--limit", "2", log=log.name):
        until(lambda: "Ctrl-C" in log.read_text(), "it serves", 120)
        yield


def completed(site: Site, count: int) -> Callable[[], bool]:
    """Tell whether so many runs of the schedule have completed."""
    return lambda: len(site.flow_runs("greeting/often", state="Completed")) >= count


def test_a_schedule_fires_through_a_restart_and_not_when_paused(site: Site) -> None:
    """An interval of some seconds fires again and again, also when what serves was started anew, and no time twice."""
    with serving(site):
        until(completed(site, 1), "the schedule fires", 300)
    before, since = len(site.flow_runs("greeting/often", state="Completed")), datetime.now(timezone.utc)
    with serving(site):
        until(completed(site, max(3, before + 2)), "the schedule goes on", 300)
        site.flowml("pause", "often")
        until(lambda: not begun(site, since), "all that was begun has ended", 300)
        nothing_is_planned(site)
    with serving(site):  # what was paused by hand stays so
        nothing_is_planned(site)
    done = site.flow_runs("greeting/often", state="Completed")
    times = [run.expected_start_time for run in site.flow_runs("greeting/often")]
    assert len(times) == len(set(times))
    tracked = site.mlflow_runs("greeting/often")
    assert sorted(run.data.tags["prefect.flow_run_id"] for run in tracked) == sorted(str(run.id) for run in done)
    for run in tracked:
        tags = run.data.tags
        assert (tags["prefect.schedule"], tags["flowml.triggered_by"]) == ("every 20s", "schedule")
        assert tags["prefect.deployment_id"] in tags["prefect.deployment_url"]
        lateness = datetime.fromisoformat(tags["prefect.start_time"]) - datetime.fromisoformat(
            tags["prefect.scheduled_time"]
        )
        assert run.data.metrics["flowml.scheduling_delay"] == pytest.approx(lateness.total_seconds())
        assert run.data.params["flowml.logical_date"] == tags["prefect.scheduled_time"]
        assert run.data.params["name"] == "Grace"


def begun(site: Site, since: datetime) -> list[FlowRun]:
    """Return the runs that are being started or at work; one that died with what served it may stay Running."""
    runs = site.flow_runs("greeting/often")
    at_work = [run for run in runs if run.state and run.state.name == "Running" and (run.start_time or since) >= since]
    return at_work + [
        run for run in runs if run.state and run.state.name in {"Pending", "Submitting", "InfrastructurePending"}
    ]


def nothing_is_planned(site: Site) -> None:
    """Let Prefect's scheduler plan another deployment, which was made later: it has passed the paused one over."""
    name = f"after-{len(site.flow_runs('greeting/often'))}-{datetime.now(timezone.utc):%H%M%S}"
    with site.prefect() as client:
        pools = [pool["name"] for pool in client.request("POST", "/work_pools/filter", json={}).json()]
        if "nobody" not in pools:
            client.request("POST", "/work_pools/", json={"name": "nobody", "type": "process"})
    deploy = ("deploy", "flows/greet.py:greeting", "--name", name, "--work-pool", "nobody", "--interval", "1h")
    site.flowml(*deploy)
    until(lambda: site.flow_runs(f"greeting/{name}", state="Scheduled"), "the scheduler has planned", 120)
    assert site.flow_runs("greeting/often", state="Scheduled") == []
    assert site.flow_runs("greeting/often", state="Late") == []


def test_a_backfill_runs_each_time_once(site: Site) -> None:
    """Five days leave five runs, a failed one is run again, and then there is nothing to do; each knows its time."""
    spoiled = site.project.folder / "bad-2026-01-03"
    spoiled.touch()
    period = ("backfill", "greeting/daily", "--from", "2026-01-01", "--to", "2026-01-05", "--concurrency-limit", "2")
    with serving(site):
        said = site.flowml(*period, code=1)
        assert "has 5 scheduled times in that period: 5 to run" in said
        assert "1 of 5 runs failed; the same command runs those again." in said
        spoiled.unlink()
        assert "4 of them done already: 1 to run" in site.flowml(*period)
        assert "5 of them done already: nothing to run" in site.flowml(*period)
        assert at_most(site.flow_runs("greeting/daily"), 2)
    tracked = site.mlflow_runs("greeting/daily")
    dates = [f"2026-01-0{day}T02:00:00+00:00" for day in (1, 2, 3, 3, 4, 5)]
    assert sorted(run.data.params["flowml.logical_date"] for run in tracked) == dates
    assert [run.info.status for run in tracked].count("FAILED") == 1
    assert {run.data.tags["flowml.triggered_by"] for run in tracked} == {"backfill"}
    assert all(
        run.data.params["logical_date"].startswith(run.data.params["flowml.logical_date"][:10]) for run in tracked
    )


def at_most(runs: list[FlowRun], count: int) -> bool:
    """Tell whether no more runs than that were at work at any time."""
    spans = [(run.start_time, run.end_time) for run in runs if run.start_time and run.end_time]
    return all(sum(start <= moment < end for start, end in spans) <= count for moment, _ in spans)


def test_a_run_is_started_and_watched(site: Site) -> None:
    """``flowml trigger --watch`` waits, prints both pages, and ends with 1 if the run failed."""
    with serving(site):
        said = site.flowml("trigger", "greeting/daily", "--param", "name=Katherine", "--watch")
        assert "Completed" in said
        assert f"Prefect  {site.prefect_url}/runs/flow-run/" in said
        assert "MLflow   http://127.0.0.1" in said
        assert "Failed" in site.flowml("trigger", "daily", "--param", "fails=true", "--watch", code=1)
    by_hand = [
        run for run in site.mlflow_runs("greeting/daily") if run.data.tags["flowml.triggered_by"] == "flowml trigger"
    ]
    assert sorted(run.info.status for run in by_hand) == ["FAILED", "FINISHED"]
    assert all("flowml.logical_date" not in run.data.params for run in by_hand)


def test_two_workers_share_the_work_and_track_where_the_deployment_says(site: Site, tmp_path: Path) -> None:
    """Two workers that take one run each have both at work at once; their own environment does not lead runs away."""
    with site.prefect() as client:
        client.request("POST", "/work_pools/", json={"name": "shared", "type": "process"}).raise_for_status()
    site.flowml("deploy", "flows/greet.py:meeting", "--name", "shared", "--work-pool", "shared")
    start = ("prefect", "worker", "start", "--pool", "shared", "--type", "process", "--limit", "1", "--name")
    astray = f"sqlite:///{tmp_path / 'astray.db'}"
    with (
        site.running(*start, "first", log="first.log", FLOWML_TRACKING_URI=astray),
        site.running(*start, "second", log="second.log", MLFLOW_TRACKING_URI=astray),
    ):
        for me, other in (("a", "b"), ("b", "a")):
            site.flowml(
                "trigger", "meeting/shared", "--param", f"me={tmp_path / me}", "--param", f"other={tmp_path / other}"
            )
        until(lambda: len(site.flow_runs("meeting/shared", state="Completed")) == 2, "both have met", 400)
    assert {(tmp_path / "a").read_text(), (tmp_path / "b").read_text()} == {"first", "second"}
    until(lambda: len(site.mlflow_runs("meeting/shared")) == 2, "both are tracked", 60)
    assert not (tmp_path / "astray.db").exists()


def test_a_schedule_fires_through_the_restart_of_a_worker(site: Site) -> None:
    """An interval goes on when its worker was killed and another one came: no time is run or tracked twice."""
    pool = "steady"
    with site.prefect() as client:
        client.request("POST", "/work_pools/", json={"name": pool, "type": "process"}).raise_for_status()
    site.flowml("deploy", "flows/greet.py:greeting", "--name", pool, "--work-pool", pool, "--interval", "15s")
    start = ("prefect", "worker", "start", "--pool", pool, "--type", "process", "--name")
    soon = {"PREFECT_WORKER_PREFETCH_SECONDS": "1"}  # it starts nothing that a killed one would not see begin

    def count(state: str) -> int:
        return len(site.flow_runs("greeting/steady", state=state))

    with site.running(*start, "one", log="steady.log", **soon) as worker:
        until(lambda: count("Completed") >= 1, "the schedule fires", 300)
        # One that is killed before it has told MLflow that it began is in Prefect alone.
        until(lambda: "RUNNING" in {run.info.status for run in all_runs(site.mlflow)}, "one is at work")
        worker.kill()
        worker.wait()
    with site.running(*start, "two", log="steady.log", **soon):
        begun_by_one = count("Completed") + count("Running")
        until(lambda: count("Completed") >= max(3, begun_by_one + 2), "the schedule goes on", 300)
        site.flowml("pause", "greeting/steady")
        until(lambda: not any(map(count, ("Pending", "Running"))), "all that was begun has ended", 120)
    runs = [run for run in site.flow_runs("greeting/steady") if run.start_time]
    states = {str(run.id): str(run.state and run.state.name) for run in runs}
    assert Counter(states.values()) - Counter(Crashed=1) == {"Completed": list(states.values()).count("Completed")}
    times = [run.expected_start_time for run in runs]
    assert len(set(times)) == len(times) >= 3
    until(lambda: len(site.mlflow_runs("greeting/steady")) >= len(runs), "all are tracked", 60)
    tracked = site.mlflow_runs("greeting/steady")
    assert sorted(run.data.tags["prefect.flow_run_id"] for run in tracked) == sorted(states)
    for run in tracked:  # that which was at work when its worker was killed ends as Prefect says, too
        ends = {"Completed": "FINISHED", "Crashed": "FAILED"}
        assert run.info.status == ends[states[run.data.tags["prefect.flow_run_id"]]]
    told = {(run.data.tags["prefect.schedule"], run.data.tags["flowml.triggered_by"]) for run in tracked}
    assert told == {("every 15s", "schedule")}
    assert [run.data.params["flowml.logical_date"] for run in tracked] == [
        run.data.tags["prefect.scheduled_time"] for run in tracked
    ]

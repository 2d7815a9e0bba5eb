"""What the user says to MLflow by hand wins; flowml's own runs arrange themselves round it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Annotated, Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.tracking._tracking_service.client import TrackingServiceClient

import flowml
from flowml import Param, Track, flow, task
from flowml.store import lazy_store
from tests.runs import all_runs, flow_run, parent_of, run_of, runs_of


@pytest.fixture
def elsewhere(tmp_path: Path) -> MlflowClient:
    """Another store than the one in force, where somebody has an experiment already."""
    client = MlflowClient(f"sqlite:///{tmp_path}/elsewhere.db")
    client.create_experiment("somebody-elses", artifact_location=(tmp_path / "artifacts").as_uri())
    return client


def named(client: MlflowClient, name: str) -> Run:
    """Return the one run of that name."""
    (found,) = [run for run in all_runs(client) if run.info.run_name == name]
    return found


def experiment_of(client: MlflowClient, run: Run) -> str:
    """Return the name of a run's experiment."""
    return str(client.get_experiment(run.info.experiment_id).name)


def lines_about(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    """Return what was logged with a text in it."""
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


@task
def fit(x: int) -> int:
    """Fit by hand."""
    with mlflow.start_run(run_name="mine"):
        mlflow.log_metric("rmse", 10 / x)
    return x


def test_the_first_lines_of_a_flow_choose_the_store_and_the_experiment(
    client: MlflowClient, elsewhere: MlflowClient
) -> None:
    """``set_tracking_uri`` and ``set_experiment`` inside the flow choose for all of it, each time it is called."""

    @flow
    def pipeline() -> None:
        mlflow.set_tracking_uri(elsewhere.tracking_uri)
        mlflow.set_experiment("search")
        fit(4)

    for times in (1, 2):
        pipeline()
        assert {experiment_of(elsewhere, run) for run in all_runs(elsewhere)} == {"search"}
        assert len(all_runs(elsewhere)) == 3 * times
        assert all_runs(client) == []
    newest = max(runs_of(elsewhere, "fit"), key=lambda run: run.info.start_time)
    (mine,) = [run for run in all_runs(elsewhere) if parent_of(run) == newest.info.run_id]
    assert mine.info.run_name == "mine"


def test_a_task_that_only_sets_up_chooses_too(client: MlflowClient, elsewhere: MlflowClient) -> None:
    """Two tasks that do nothing but name the store and the experiment choose for themselves and the flow too."""

    @task
    def store() -> None:
        mlflow.set_tracking_uri(elsewhere.tracking_uri)

    @task
    def experiment() -> None:
        mlflow.set_experiment("search")

    @flow
    def pipeline() -> None:
        store()
        experiment()
        fit(4)

    pipeline()
    assert {experiment_of(elsewhere, run) for run in all_runs(elsewhere)} == {"search"}
    assert len(all_runs(elsewhere)) == 5
    assert all_runs(client) == []


def test_the_environment_set_inside_a_flow_chooses(
    client: MlflowClient, elsewhere: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``MLFLOW_TRACKING_URI`` and ``MLFLOW_EXPERIMENT_NAME`` that a flow's code sets mean what they mean in MLflow."""

    @flow
    def pipeline() -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere.tracking_uri)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by-environment")
        fit(4)

    pipeline()
    assert {experiment_of(elsewhere, run) for run in all_runs(elsewhere)} == {"by-environment"}
    assert all_runs(client) == []


def test_by_hand_beats_the_option(client: MlflowClient) -> None:
    """An experiment chosen in the flow's first line counts more than its ``Track(experiment=...)``, every time."""

    @flow(track=Track(experiment="option"))
    def pipeline() -> None:
        mlflow.set_experiment("by-hand")

    pipeline()
    pipeline()
    assert {experiment_of(client, run) for run in all_runs(client)} == {"by-hand"}


def test_an_experiment_chosen_later_is_the_users_runs_only(
    client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The user's runs go there with a tag that leads to the task's run, flowml's stay, and one line says so."""

    @task
    def load() -> None: ...

    @task
    def train() -> None:
        mlflow.set_experiment("later")
        with mlflow.start_run(run_name="mine"):
            mlflow.log_metric("rmse", 1)

    @flow
    def pipeline() -> None:
        load()
        train()
        train()

    with caplog.at_level(logging.INFO):
        pipeline()
    users = [run for run in all_runs(client) if run.info.run_name == "mine"]
    assert {experiment_of(client, run) for run in users} == {"later"}
    above = {run.info.run_id for run in runs_of(client, "train")}
    assert {run.data.tags["flowml.parent_run_id"] for run in users} == above
    assert [parent_of(run) for run in users] == [None, None]
    assert {experiment_of(client, run) for run in runs_of(client, "train")} == {"pipeline"}
    assert len(lines_about(caplog, "set_experiment('later')")) == 1
    notes = [run.data.tags["mlflow.note.content"] for run in runs_of(client, "train")]
    assert all("mine" in note and "/runs/" in note for note in notes)


def test_a_store_named_in_the_middle_is_the_users_only(
    client: MlflowClient, elsewhere: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Plain calls go to it with MLflow's own meaning, flowml's runs stay where they are, and one line names both."""

    @task
    def load() -> int:
        return 1

    @task
    def evaluate() -> str | None:
        mlflow.log_metric("auc", 0.9)
        run = mlflow.active_run()
        return run.info.run_id if run else None

    @flow
    def pipeline() -> str | None:
        load()
        mlflow.set_tracking_uri(elsewhere.tracking_uri)
        mlflow.set_experiment("later")
        fit(5)
        return evaluate()

    with caplog.at_level(logging.INFO):
        logged_to = pipeline()
    assert logged_to is not None
    assert elsewhere.get_run(logged_to).data.metrics == {"auc": 0.9}
    assert {run.info.status for run in all_runs(elsewhere)} == {"FINISHED"}
    assert [experiment_of(elsewhere, run) for run in all_runs(elsewhere)] == ["later", "later"]
    assert [run.data.tags.get("flowml.kind") for run in all_runs(elsewhere)] == [None, None]
    assert len(runs_of(client, "evaluate")) == 1
    (line,) = lines_about(caplog, "plain mlflow.* calls go to")
    assert "elsewhere.db" in line
    assert client.tracking_uri in line


@pytest.mark.parametrize("way", ["called", "submitted", "async", "gathered"])
def test_a_run_opened_round_tasks_gets_what_they_log(client: MlflowClient, way: str) -> None:
    """Plain calls in tasks inside ``with mlflow.start_run()`` go to that run, and the tasks' runs hang below it."""

    @task
    def train(depth: int) -> int:
        mlflow.log_param(f"depth_{depth}", depth)
        return depth

    @task
    async def train_async(depth: int) -> int:
        await asyncio.sleep(0)
        mlflow.log_param(f"depth_{depth}", depth)
        return depth

    @flow
    def pipeline() -> None:
        train(0)
        with mlflow.start_run(run_name="outer"):
            if way == "called":
                train(1)
                train(2)
            else:
                train.map([1, 2]).result()

    @flow
    async def pipeline_async() -> None:
        await train_async(0)
        with mlflow.start_run(run_name="outer"):
            if way == "async":
                await train_async(1)
                await train_async(2)
            else:
                await asyncio.gather(train_async(1), train_async(2))

    if way in {"called", "submitted"}:
        pipeline()
    else:
        asyncio.run(pipeline_async())
    outer = named(client, "outer")
    assert outer.data.params == {"depth_1": "1", "depth_2": "2"}
    owner = "train" if way in {"called", "submitted"} else "train_async"
    below = [run for run in runs_of(client, owner) if parent_of(run) == outer.info.run_id]
    assert len(below) == 2
    assert len(runs_of(client, owner)) == 3
    assert "train" in flow_run(client).data.tags["mlflow.note.content"]


def test_a_run_left_open_by_a_task_is_there_for_the_tasks_after_it(client: MlflowClient) -> None:
    """One task starts a run, another logs to it, a third ends it; one that nobody ends is ended with the flow."""

    @task
    def start(name: str) -> str:
        return str(mlflow.start_run(run_name=name).info.run_id)

    @task
    def work(value: float) -> None:
        mlflow.log_metric("auc", value)

    @task
    def finish() -> None:
        mlflow.end_run()

    @flow
    def pipeline() -> list[str]:
        start("shared")
        work(0.9)
        finish()
        seen = [named(client, "shared").info.status]
        start.submit("left").result()
        work.submit(0.8).result()
        return [*seen, named(client, "left").info.status]

    assert pipeline() == ["FINISHED", "RUNNING"]
    assert named(client, "shared").data.metrics == {"auc": 0.9}
    assert named(client, "left").data.metrics == {"auc": 0.8}
    assert {run.info.status for run in all_runs(client)} == {"FINISHED"}


def test_end_run_in_a_thread_leaves_the_run_around_it_open(client: MlflowClient) -> None:
    """Tasks in threads that begin with ``mlflow.end_run()`` do not end the run that the flow's body has open."""

    @task
    def notebook(x: int) -> None:
        while mlflow.active_run():
            mlflow.end_run()
        with mlflow.start_run(run_name=f"mine-{x}"):
            mlflow.log_metric("x", x)

    @flow
    def pipeline() -> str:
        with mlflow.start_run(run_name="outer") as outer:
            notebook.map([1, 2, 3]).result()
            mlflow.log_metric("after", 1)
            return str(client.get_run(outer.info.run_id).info.status)

    assert pipeline() == "RUNNING"
    assert named(client, "outer").data.metrics == {"after": 1.0}
    assert [named(client, f"mine-{x}").data.metrics for x in (1, 2, 3)] == [{"x": 1.0}, {"x": 2.0}, {"x": 3.0}]


def test_threads_that_carry_the_context_open_runs_apart(client: MlflowClient) -> None:
    """``start_run`` without ``nested`` works in each thread of the user's, as it does where each has its own stack."""
    ready = Barrier(3)

    def train(x: int) -> None:
        with mlflow.start_run(run_name=f"mine-{x}"):
            ready.wait(20)
            mlflow.log_metric("x", x)

    @task
    def search() -> None:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(flowml.with_context(train), range(3)))

    @flow
    def pipeline() -> None:
        search()

    pipeline()
    runs = [named(client, f"mine-{x}") for x in range(3)]
    assert [run.data.metrics["x"] for run in runs] == [0.0, 1.0, 2.0]
    assert {parent_of(run) for run in runs} == {run_of(client, "search").info.run_id}


def test_what_is_logged_by_hand_is_not_logged_again(client: MlflowClient) -> None:
    """Metrics and parameters of the same name and value are on the user's run alone, so that its search finds that."""

    @task
    def train(depth: int) -> dict[str, float]:
        with mlflow.start_run(run_name="mine"):
            mlflow.log_param("depth", depth)
            mlflow.log_metrics({"rmse": 0.5, "mae": 0.25})
        return {"rmse": 0.5, "r2": 0.9}

    @task
    def best() -> dict[str, float]:
        return {"rmse": 0.5}

    @flow
    def pipeline() -> str:
        mlflow.set_experiment("search")
        train(3)
        best()
        experiment = client.get_experiment_by_name("search").experiment_id
        flowml.flush()
        (found,) = client.search_runs([experiment], order_by=["metrics.rmse ASC"], max_results=1)
        return str(found.info.run_name)

    assert pipeline() == "mine"
    assert run_of(client, "train").data.metrics == {"r2": 0.9}
    assert run_of(client, "train").data.params == {}
    assert run_of(client, "best").data.metrics == {}


def test_a_parameter_by_hand_stands_beside_an_argument_of_its_name(client: MlflowClient) -> None:
    """The user's own value has the plain name, and the argument's the name with a number."""

    @task
    def train(depth: int, width: int) -> None:
        mlflow.log_param("depth", depth + 1)
        mlflow.log_param("width", width)

    @flow
    def pipeline() -> None:
        train(3, 4)

    pipeline()
    assert run_of(client, "train").data.params == {"depth": "4", "depth.2": "3", "width": "4"}


def test_a_long_parameter_by_hand_stands_beside_one_of_its_name(client: MlflowClient) -> None:
    """Where the plain name is as long as MLflow takes, that with a number is cut before it."""
    name = "k" * 250

    @task
    def train(config: Annotated[dict[str, str], Param(prefix=False)]) -> None:
        mlflow.log_param(name, "by hand")
        flowml.log_params({name: "in the body"})

    @flow
    def pipeline() -> None:
        train({name: "argument"})

    pipeline()
    assert run_of(client, "train").data.params == {
        name: "by hand",
        f"{name[:248]}.2": "in the body",
        f"{name[:248]}.3": "argument",
    }
    assert "flowml.tracking_error" not in flow_run(client).data.tags


def test_a_retried_flow_may_log_another_value(client: MlflowClient) -> None:
    """The attempt that counts has the plain name; what an earlier one logged stands beside it."""
    attempts: list[int] = []

    @flow(retries=2)
    def pipeline() -> str:
        attempts.append(len(attempts) + 1)
        mlflow.log_param("seed", attempts[-1])
        mlflow.log_params({"fixed": "same", "lr": 0.1 * attempts[-1]})
        if len(attempts) < 3:
            raise ValueError("unlucky")
        return "done"

    assert pipeline() == "done"
    params = flow_run(client).data.params
    assert params["seed"] == "3"
    assert (params["seed.attempt_1"], params["seed.attempt_2"]) == ("1", "2")
    assert params["fixed"] == "same"
    assert "fixed.attempt_1" not in params


def test_a_parameter_changed_within_an_attempt_is_refused_as_mlflow_does(client: MlflowClient) -> None:
    """In a flow with retries too, MLflow's own error reaches the user's code."""

    @flow(retries=1)
    def pipeline() -> None:
        mlflow.log_param("seed", 1)
        with pytest.raises(mlflow.MlflowException, match="Changing param values is not allowed"):
            mlflow.log_param("seed", 2)
        with pytest.raises(mlflow.MlflowException):
            mlflow.log_param("no=good", 1)

    pipeline()
    assert flow_run(client).data.params == {"seed": "1"}


@pytest.mark.slow
def test_many_tasks_log_by_hand_at_once(client: MlflowClient) -> None:
    """Forty tasks in threads log fifty metrics each on SQLite, and none of them fails."""

    @task
    def train(x: int) -> None:
        for step in range(50):
            mlflow.log_metric("loss", x + step, step=step)

    @flow
    def pipeline() -> None:
        train.map(list(range(40))).result()

    pipeline()
    runs = runs_of(client, "train")
    assert len(runs) == 40
    assert {len(client.get_metric_history(run.info.run_id, "loss")) for run in runs} == {50}


def test_runs_deleted_in_the_middle_do_not_fail_the_flow(
    client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    """What the user logs afterwards goes where MLflow alone has it, flowml's is left out, and no run stays RUNNING."""

    @task
    def clean() -> int:
        flowml.flush()
        mlflow.log_param("before", 1)
        found = all_runs(client)
        for run in found:
            client.delete_run(run.info.run_id)
        mlflow.log_metric("deleted", len(found))
        mlflow.set_tag("mine", "yes")
        return len(found)

    @task
    def after() -> int:
        mlflow.log_metric("later", 1)
        return 1

    @flow
    def pipeline() -> int:
        fit(2)
        clean()
        return after()

    with caplog.at_level(logging.INFO):
        assert pipeline() == 1
    every = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()], run_view_type=3, max_results=100
    )
    assert {run.info.status for run in every} == {"FINISHED"}
    (users,) = [run for run in all_runs(client) if "deleted" in run.data.metrics]
    assert users.data.tags["mine"] == "yes"
    assert len(lines_about(caplog, "was deleted in MLflow")) == 1


def test_an_experiment_deleted_in_the_middle_does_not_fail_the_flow(client: MlflowClient) -> None:
    """The flow goes on and returns what it returns."""

    @task
    def step() -> int:
        return 1

    @flow
    def pipeline() -> int:
        step()
        flowml.flush()
        client.delete_experiment(client.get_experiment_by_name("pipeline").experiment_id)
        return step()

    assert pipeline() == 1


def test_an_experiment_that_takes_long_to_make_is_waited_for(
    client: MlflowClient, elsewhere: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow's run is not opened while ``set_experiment`` makes a database, however long that takes."""
    monkeypatch.setattr(lazy_store, "_SECONDS", 1)
    is_up = Event()
    time_is_up = lazy_store.LazyStore._time_is_up

    def noted(self: lazy_store.LazyStore) -> None:
        time_is_up(self)
        is_up.set()

    monkeypatch.setattr(lazy_store.LazyStore, "_time_is_up", noted)
    create = TrackingServiceClient.create_experiment

    def slowly(self: Any, *args: Any, **kwargs: Any) -> Any:
        is_up.clear()
        assert is_up.wait(20)
        return create(self, *args, **kwargs)

    monkeypatch.setattr(TrackingServiceClient, "create_experiment", slowly)

    @flow
    def pipeline() -> None:
        mlflow.set_experiment("slow")

    pipeline()
    assert {experiment_of(client, run) for run in all_runs(client)} == {"slow"}


def test_a_flow_that_asks_for_nothing_is_seen_while_it_works(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some seconds its run is in MLflow, though no task has ended and nobody has asked for an id."""
    monkeypatch.setattr(lazy_store, "_SECONDS", 0.05)

    @flow
    def pipeline() -> str:
        while not (found := all_runs(client)):
            continue
        return str(found[0].info.status)

    assert pipeline() == "RUNNING"


def test_the_users_runs_follow_the_flows_option(client: MlflowClient) -> None:
    """What was chosen before the flow counts less than its ``Track``, for the runs that its code opens too."""

    @task
    def train() -> None:
        with mlflow.start_run(run_name="mine"):
            mlflow.log_metric("rmse", 1)

    @flow(track=Track(experiment="of the flow"))
    def pipeline() -> None:
        train()

    mlflow.set_experiment("before")
    pipeline()
    (users,) = [run for run in all_runs(client) if run.info.run_name == "mine"]
    assert experiment_of(client, users) == "of the flow"
    assert parent_of(users) == runs_of(client, "train")[0].info.run_id

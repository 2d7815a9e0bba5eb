"""One story: a flow run is a run, each attempt of a task is a run under it."""

from __future__ import annotations

import asyncio
import json
import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from prefect import states
from tests.runs import all_runs, flow_run, parent_of, run_of, runs_of

import flowml
from flowml import Track, flow, task
from flowml.store.backend import connection


@task
def double(number: int, by: float = 2.0) -> float:
    """Multiply."""
    return number * by


def test_a_flow_run_is_one_run_and_each_task_a_child_of_it(client: MlflowClient) -> None:
    """A flow of three tasks leaves four finished runs, the tasks under the flow."""

    @flow
    def pipeline(start: int) -> float:
        return double(double(double(start)))

    assert pipeline(1) == 8
    root = flow_run(client)
    children = runs_of(client, "double")
    assert [parent_of(run) for run in children] == [root.info.run_id] * 3
    assert {run.info.status for run in all_runs(client)} == {"FINISHED"}
    assert [run.data.metrics["double"] for run in children] == [2, 4, 8]
    assert children[0].data.params == {"number": "1", "by": "2.0"}
    assert root.data.params["start"] == "1"
    assert root.data.metrics["pipeline"] == 8


def test_the_experiment_is_named_after_the_flow(client: MlflowClient) -> None:
    """Without any setting, the runs of a flow are in the experiment of its name."""

    @flow(name="nightly churn")
    def churn() -> None:
        double(1)

    churn()
    experiment = client.get_experiment_by_name("nightly churn")
    assert {run.info.experiment_id for run in all_runs(client)} == {experiment.experiment_id}
    assert experiment.artifact_location.startswith(Path.cwd().as_uri())


def test_runs_carry_the_ids_that_lead_back_to_prefect(client: MlflowClient) -> None:
    """Each run is named after its Prefect run and tagged with where it came from."""
    seen = {}

    @task
    def look() -> None:
        from prefect.runtime import flow_run as current_flow_run
        from prefect.runtime import task_run as current_task_run

        seen.update(flow=current_flow_run.id, flow_name=current_flow_run.name)
        seen.update(task=current_task_run.id, task_name=current_task_run.name)

    @flow
    def pipeline() -> None:
        look()

    pipeline()
    child, root = run_of(client, "look"), flow_run(client)
    assert (root.info.run_name, child.info.run_name) == (seen["flow_name"], seen["task_name"])
    expected = {
        "prefect.flow_run_id": seen["flow"],
        "prefect.task_run_id": seen["task"],
        "prefect.flow_name": "pipeline",
        "prefect.task_name": "look",
        "flowml.attempt": "1",
        "flowml.root_run_id": root.info.run_id,
        "flowml.kind": "task",
        "mlflow.source.name": __file__,
    }
    assert expected.items() <= child.data.tags.items()
    assert root.data.tags["flowml.root_run_id"] == root.info.run_id
    assert "flowml.version" in root.data.tags
    assert "prefect.deployment_id" not in root.data.tags


def test_functions_that_are_alike_have_each_its_own_source(client: MlflowClient, tmp_path: Path) -> None:
    """Of the same text in two files, each task's run names the file that it is from."""
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text("def step():\n    return 1\n")
    steps = [task(runpy.run_path(str(tmp_path / f"{name}.py"))["step"], name=name) for name in ("first", "second")]

    @flow
    def pipeline() -> None:
        for step in steps:
            step()
            step()

    pipeline()
    for name in ("first", "second"):
        sources = {run.data.tags["mlflow.source.name"] for run in runs_of(client, name)}
        assert sources == {str(tmp_path / f"{name}.py")}


@pytest.mark.filterwarnings("ignore:Logger 'prefect.task_runs' attempted to send logs")  # Prefect's, of such tasks
def test_a_task_on_its_own_gets_its_own_run(client: MlflowClient) -> None:
    """A task called outside any flow is tracked in an experiment of its name."""
    assert double(4) == 8
    (run,) = all_runs(client)
    assert client.get_experiment(run.info.experiment_id).name == "double"
    assert run.data.metrics == {"double": 8}


def test_subflows_and_tasks_in_tasks_nest(client: MlflowClient) -> None:
    """A run's parent is the flow or task that called it, its root the outermost flow."""

    @task
    def outer() -> float:
        return double(1)

    @flow
    def inner_flow() -> float:
        return outer()

    @flow
    def outer_flow() -> float:
        return inner_flow()

    outer_flow()
    root, inner = flow_run(client), run_of(client, "inner-flow")
    between, leaf = run_of(client, "outer"), run_of(client, "double")
    assert parent_of(leaf) == between.info.run_id
    assert parent_of(between) == inner.info.run_id
    assert parent_of(inner) == root.info.run_id
    assert {run.data.tags["flowml.root_run_id"] for run in all_runs(client)} == {root.info.run_id}
    assert len({run.info.experiment_id for run in all_runs(client)}) == 1


def test_each_attempt_is_a_run_of_its_own(client: MlflowClient) -> None:
    """A task that is retried leaves a failed run and a finished one, of the same task run."""
    tries = []

    @task(retries=1)
    def flaky() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError
        return len(tries)

    @flow
    def pipeline() -> int:
        return flaky()

    assert pipeline() == 2
    first, second = runs_of(client, "flaky")
    assert (first.info.status, second.info.status) == ("FAILED", "FINISHED")
    assert (first.data.tags["flowml.attempt"], second.data.tags["flowml.attempt"]) == ("1", "2")
    assert first.data.tags["prefect.task_run_id"] == second.data.tags["prefect.task_run_id"]
    assert flow_run(client).info.status == "FINISHED"


def test_a_flow_retry_keeps_the_flows_run(client: MlflowClient) -> None:
    """A flow that is retried goes on in the same run, and its children of both attempts are under it."""
    tries = []

    @flow(retries=1)
    def flaky_flow() -> int:
        tries.append(1)
        double(len(tries))
        if len(tries) == 1:
            raise ConnectionError
        return len(tries)

    assert flaky_flow() == 2
    root = flow_run(client)
    assert root.info.status == "FINISHED"
    assert root.data.tags["flowml.attempt"] == "2"
    assert [parent_of(run) for run in runs_of(client, "double")] == [root.info.run_id] * 2


def test_a_failing_task_says_why(client: MlflowClient) -> None:
    """A failed run has the error's type, its message and the traceback; the user sees the error itself."""

    @task
    def broken(divisor: int) -> float:
        return 1 / divisor

    @flow
    def pipeline() -> float:
        return broken(0)

    with pytest.raises(ZeroDivisionError, match="division by zero"):
        pipeline()
    run, root = run_of(client, "broken"), flow_run(client)
    assert (run.info.status, root.info.status) == ("FAILED", "FAILED")
    assert run.data.tags["flowml.error_type"] == "ZeroDivisionError"
    assert run.data.tags["flowml.error"] == "division by zero"
    assert run.data.params == {"divisor": "0"}
    traceback = Path(client.download_artifacts(run.info.run_id, "traceback.txt")).read_text()
    assert "return 1 / divisor" in traceback


def test_a_returned_failed_state_fails_the_run(client: MlflowClient) -> None:
    """What Prefect takes for a failure is one in MLflow too."""

    @task
    def refuse() -> Any:
        return states.Failed(message="no data today")

    @flow
    def pipeline() -> Any:
        return refuse(return_state=True)

    pipeline(return_state=True)
    run = run_of(client, "refuse")
    assert run.info.status == "FAILED"
    assert run.data.tags["flowml.error"] == "no data today"


def test_plain_mlflow_calls_go_to_the_tasks_own_run(client: MlflowClient) -> None:
    """What the body logs by ``mlflow.log_*`` is in its own run, and a nested run is under it."""

    @task
    def train(rate: float) -> None:
        mlflow.log_param("solver", "adam")
        mlflow.log_metric("loss", rate)
        with mlflow.start_run(nested=True, run_name="fold"):
            mlflow.log_metric("fold_loss", rate / 2)

    @flow
    def pipeline() -> None:
        mlflow.log_param("who", "flow")
        train(0.5)

    pipeline()
    root, child = flow_run(client), run_of(client, "train")
    (fold,) = [run for run in all_runs(client) if run.info.run_name == "fold"]
    assert child.data.params == {"rate": "0.5", "solver": "adam"}
    assert child.data.metrics == {"loss": 0.5}
    assert parent_of(fold) == child.info.run_id
    assert fold.info.experiment_id == child.info.experiment_id
    assert root.data.params == {"who": "flow"}


def test_concurrent_async_tasks_keep_their_runs_apart(client: MlflowClient) -> None:
    """Async tasks that interleave under gather each log into their own run, by plain MLflow calls too."""

    @task
    async def work(number: int) -> dict[str, int]:
        for step in range(3):
            await asyncio.sleep(0)
            mlflow.log_metric("own", number, step=step)
        mlflow.log_param("id", number)
        return {"result": number}

    @flow
    async def pipeline() -> None:
        await asyncio.gather(*(work(number) for number in range(10)))

    asyncio.run(pipeline())
    root = flow_run(client)
    runs = runs_of(client, "work")
    assert len(runs) == 10
    for run in runs:
        number = int(run.data.params["number"])
        assert run.data.params["id"] == str(number)
        assert run.data.metrics == {"own": number, "result": number}
        assert parent_of(run) == root.info.run_id


def test_mapped_tasks_in_threads_are_children_of_the_flow(client: MlflowClient) -> None:
    """Mapped and submitted tasks, which run in threads, have the flow's run as their parent."""

    @flow
    def pipeline() -> list[float]:
        return double.map(list(range(8))).result()

    assert pipeline() == [0, 2, 4, 6, 8, 10, 12, 14]
    root = flow_run(client)
    assert [parent_of(run) for run in runs_of(client, "double")] == [root.info.run_id] * 8
    assert sorted(run.data.metrics["double"] for run in runs_of(client, "double")) == [0, 2, 4, 6, 8, 10, 12, 14]


def test_a_generator_logs_a_step_for_each_value(client: MlflowClient) -> None:
    """A training loop written as a generator becomes metric histories, whatever its consumer does in between."""

    @task
    def train(epochs: int) -> Any:
        for epoch in range(epochs):
            mlflow.log_metric("inside", epoch, step=epoch)
            yield {"loss": 1 / (epoch + 1)}

    @flow
    def pipeline() -> list[float]:
        losses = []
        for scores in train(3):
            double(1)
            losses.append(scores["loss"])
        return losses

    pipeline()
    run, root = run_of(client, "train"), flow_run(client)
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 1), (1, 0.5), (2, pytest.approx(1 / 3))]
    assert [point.value for point in client.get_metric_history(run.info.run_id, "inside")] == [0, 1, 2]
    assert {parent_of(child) for child in runs_of(client, "double")} == {root.info.run_id}


def test_an_async_generator_does_too(client: MlflowClient) -> None:
    """An async generator task is tracked step by step."""

    @task
    async def stream(count: int) -> Any:
        for number in range(count):
            await asyncio.sleep(0)
            mlflow.log_param(f"seen_{number}", number)
            yield {"value": number}

    @flow
    async def pipeline() -> int:
        return sum([scores["value"] async for scores in stream(3)])

    assert asyncio.run(pipeline()) == 3
    run = run_of(client, "stream")
    assert run.info.status == "FINISHED"
    assert [point.value for point in client.get_metric_history(run.info.run_id, "value")] == [0, 1, 2]
    assert run.data.params == {"count": "3", "seen_0": "0", "seen_1": "1", "seen_2": "2"}


def test_a_generator_that_is_left_early_is_finished(client: MlflowClient) -> None:
    """Breaking out of a generator task closes it, cleans its body up, and ends its run as finished."""
    cleaned = []

    @task
    def endless() -> Any:
        try:
            while True:
                yield {"beat": 1.0}
        finally:
            cleaned.append(True)

    @flow
    def pipeline() -> None:
        beats = endless()
        next(beats)
        beats.close()

    pipeline()
    assert cleaned == [True]
    assert run_of(client, "endless").info.status == "FINISHED"


def test_log_adds_to_the_current_run(client: MlflowClient) -> None:
    """``flowml.log`` logs by type to the run of the task it is called in."""

    @task
    def train() -> None:
        flowml.log(accuracy=0.9, solver="saga")

    @flow
    def pipeline() -> None:
        train()

    pipeline()
    run = run_of(client, "train")
    assert run.data.metrics == {"accuracy": 0.9}
    assert run.data.params == {"solver": "saga"}


def test_current_run_names_the_run(client: MlflowClient) -> None:
    """``flowml.current_run`` gives the ids of the run, and MLflow's active run is the same."""
    seen = []

    @task
    def look() -> None:
        current = flowml.current_run()
        assert current is not None
        active = mlflow.active_run()
        assert active is not None
        seen.append((current.run_id, active.info.run_id, current.experiment_id, current.root_run_id, current.url))

    @flow
    def pipeline() -> None:
        look()

    pipeline()
    run = run_of(client, "look")
    root = flow_run(client).info.run_id
    assert seen == [(run.info.run_id, run.info.run_id, run.info.experiment_id, root, None)]
    assert flowml.current_run() is None
    assert mlflow.active_run() is None


def test_the_flow_carries_its_childrens_metrics(client: MlflowClient) -> None:
    """A flow's run has ``<task>.<metric>`` of its tasks: of several calls each by what differs, else the spread."""

    @task
    def evaluate(number: int) -> dict[str, float]:
        return {"accuracy": number / 10}

    @flow
    def pipeline() -> None:
        double(3)
        evaluate.map([1, 3]).wait()
        fold.map([0, 1, 2]).wait()
        rate.map(range(21)).wait()

    @task
    def rate(number: int) -> float:
        return float(number)

    @task
    def fold(number: int) -> float:
        return float(number)

    pipeline()
    assert flow_run(client).data.metrics == pytest.approx(
        {
            "double": 6,
            "evaluate.number 1.accuracy": 0.1,
            "evaluate.number 3.accuracy": 0.3,
            "fold.min": 0,
            "fold.mean": 1,
            "fold.max": 2,
            "rate.min": 0,
            "rate.mean": 10,
            "rate.max": 20,
        }
    )


def test_a_run_that_the_user_has_active_becomes_the_parent(client: MlflowClient) -> None:
    """A flow called inside ``mlflow.start_run`` is nested under that run, which stays active."""

    @flow
    def pipeline() -> None:
        double(1)

    with mlflow.start_run() as outer:
        pipeline()
        active = mlflow.active_run()
        assert active is not None
        assert active.info.run_id == outer.info.run_id
    assert parent_of(run_of(client, "pipeline")) == outer.info.run_id
    assert client.get_run(outer.info.run_id).data.params == {}


def test_so_it_does_for_an_async_flow(client: MlflowClient) -> None:
    """An async flow that is called in the user's own run is under it too."""

    @flow
    async def pipeline() -> None: ...

    connection.connect()  # chooses the store, as an earlier flow has
    with mlflow.start_run() as outer:
        asyncio.run(pipeline())
    assert parent_of(run_of(client, "pipeline")) == outer.info.run_id


def test_a_nested_run_that_was_left_open_is_ended_with_its_task(client: MlflowClient) -> None:
    """``start_run`` without an end inside a task leaves no run open."""

    @task
    def careless() -> None:
        mlflow.start_run(nested=True, run_name="left open")
        mlflow.log_metric("inner", 1)

    @flow
    def pipeline() -> None:
        careless()

    pipeline()
    assert {run.info.status for run in all_runs(client)} == {"FINISHED"}
    (left,) = [run for run in all_runs(client) if run.info.run_name == "left open"]
    assert left.data.metrics == {"inner": 1}


def test_a_run_has_at_most_200_params(client: MlflowClient) -> None:
    """What inputs, outputs and ``flowml.log`` have too much for the table is in files of the run."""

    @task
    def wide(config: dict[str, int]) -> dict[str, str]:
        flowml.log(**{f"logged_{number}": "x" for number in range(100)})
        return {f"out_{number}": "y" for number in range(100)}

    @flow
    def pipeline() -> None:
        wide({f"in_{number}": number for number in range(150)})

    pipeline()
    run = run_of(client, "wide")
    assert len(run.data.params) == 200
    assert run.data.tags["flowml.params_truncated"].startswith("100 more parameters are in params/")
    names = {item.path for item in client.list_artifacts(run.info.run_id, "params")}
    whole: dict[str, str] = {}
    for name in names:
        whole |= json.loads(Path(client.download_artifacts(run.info.run_id, name)).read_text())
    assert len(whole.keys() | run.data.params.keys()) == 350


def test_start_run_without_nested_works_in_a_task(client: MlflowClient) -> None:
    """Code that opened its own MLflow run in each task goes on working; that run is under the task's."""

    @task
    def train(rate: float) -> float:
        with mlflow.start_run(run_name="by hand"):
            mlflow.log_param("rate", rate)
        return rate

    @flow
    def pipeline() -> list[float]:
        return train.map([0.1, 0.2]).result()

    assert pipeline() == [0.1, 0.2]
    children = {run.info.run_id for run in runs_of(client, "train")}
    by_hand = [run for run in all_runs(client) if run.info.run_name == "by hand"]
    assert {parent_of(run) for run in by_hand} == children
    assert {run.data.tags["prefect.task_name"] for run in by_hand} == {"train"}
    assert len({run.data.tags["flowml.root_run_id"] for run in all_runs(client)}) == 1


def test_a_flows_own_metric_stays_its_own(client: MlflowClient) -> None:
    """Where a flow and its task log a metric of one name, each run has its own value."""

    @task(name="score")
    def inner() -> float:
        return 0.9

    @flow(name="score")
    def outer() -> float:
        return inner() + 0.05

    outer()
    assert flow_run(client).data.metrics["score"] == pytest.approx(0.95)


def test_a_param_that_comes_again_with_another_value_is_kept_beside(client: MlflowClient) -> None:
    """An output that is called like an input, and a value logged twice, do not clash."""

    @task
    def clean(name: str) -> dict[str, str]:
        flowml.log(name=name.title())
        return {"name": name.strip()}

    @flow
    def pipeline() -> None:
        clean(" ada ")

    pipeline()
    params = run_of(client, "clean").data.params
    assert params == {"name": " ada ", "name.2": " Ada ", "name.3": "ada"}


def test_the_user_sees_the_own_error_also_with_on_error_raise(client: MlflowClient, project: Path) -> None:
    """A body's exception is what the caller gets, whatever becomes of the tracking."""
    (project / ".flowml" / "artifacts").write_text("a file where the folder should be")

    @flow(track=Track(on_error="raise"))
    def failing() -> None:
        flowml.log(report="long " * 1000)
        raise KeyError("the user's")

    with pytest.raises(KeyError, match="the user's"):
        failing()


def test_raise_tells_at_the_end_what_was_not_logged(client: MlflowClient, project: Path) -> None:
    """With ``on_error="raise"`` a flow whose records could not all be logged fails with a TrackingError."""
    (project / ".flowml" / "artifacts").write_text("a file where the folder should be")

    @flow(track=Track(on_error="raise"))
    def writing() -> str:
        return "long " * 1000

    with pytest.raises(flowml.TrackingError):
        writing()


class TestTrack:
    """What ``track=`` changes."""

    def test_false_tracks_nothing_inside(self, client: MlflowClient) -> None:
        """``track=False`` on a flow leaves no run, not even of its tasks."""

        @flow(track=False)
        def pipeline() -> float:
            return double.submit(2).result()

        assert pipeline() == 4
        assert all_runs(client) == []

    def test_parent_logs_into_the_callers_run(self, client: MlflowClient) -> None:
        """``run="parent"`` opens no run; the task's records are in the flow's."""

        @task(track=Track(run="parent"))
        def settings_of(depth: int) -> dict[str, float]:
            mlflow.log_param("plain", "too")
            return {"score": depth / 2}

        @flow
        def pipeline() -> None:
            settings_of(3)

        pipeline()
        (root,) = all_runs(client)
        assert root.data.params == {"depth": "3", "plain": "too"}
        assert root.data.metrics == {"score": 1.5}

    def test_none_passes_through(self, client: MlflowClient) -> None:
        """``run="skip"`` opens no run, and what is called inside hangs under the caller's."""

        @task(track=Track(run="skip"))
        def plumbing() -> float:
            return double(1)

        @flow
        def pipeline() -> None:
            plumbing()

        pipeline()
        root = flow_run(client)
        assert runs_of(client, "plumbing") == []
        assert parent_of(run_of(client, "double")) == root.info.run_id

    def test_inputs_and_outputs_can_be_left_out(self, client: MlflowClient) -> None:
        """Only the named inputs are logged, and no output."""

        @task(track=Track(inputs=["rate"], outputs=False, tags={"team": "risk"}))
        def fit(rate: float, names: list[str]) -> float:
            return rate * len(names)

        @flow
        def pipeline() -> None:
            fit(0.5, ["a"])

        pipeline()
        run = run_of(client, "fit")
        assert run.data.params == {"rate": "0.5"}
        assert run.data.metrics == {}
        assert run.data.tags["team"] == "risk"

    def test_the_experiment_can_be_named(self, client: MlflowClient) -> None:
        """``Track(experiment=...)`` names the experiment of the flow and of all below it."""

        @flow(track=Track(experiment="churn"))
        def pipeline() -> None:
            double(1)

        pipeline()
        churn = client.get_experiment_by_name("churn")
        assert {run.info.experiment_id for run in all_runs(client)} == {churn.experiment_id}

    def test_children_can_be_summed_up(self, client: MlflowClient) -> None:
        """``children="failed"`` keeps a run for each failure; the flow has counts, spreads and a table of the rest."""

        @task
        def score(number: int) -> float:
            if number == 13:
                raise ValueError("unlucky")
            return float(number)

        @task
        def logs_itself() -> None:
            mlflow.log_param("by", "hand")

        @flow(track=Track(children="failed"))
        def fan_out() -> None:
            score.map(list(range(1, 21))).wait()
            logs_itself()

        fan_out()
        root = flow_run(client)
        (failed,) = runs_of(client, "score")
        assert (failed.info.status, failed.data.params["number"]) == ("FAILED", "13")
        assert run_of(client, "logs_itself").data.params == {"by": "hand"}
        metrics = root.data.metrics
        assert (metrics["score.count"], metrics["score.failed"]) == (19, 0)
        found = [metrics[f"score.{part}"] for part in ("min", "mean", "max")]
        assert found == [1, pytest.approx((210 - 13) / 19), 20]
        assert metrics["score.seconds.max"] >= metrics["score.seconds.min"] >= 0
        table = Path(client.download_artifacts(root.info.run_id, "children/score.csv")).read_text().splitlines()
        assert table[0] == "run,status,seconds,number,score"
        assert len(table) == 20

    def test_children_can_be_left_out(self, client: MlflowClient) -> None:
        """``children="none"`` leaves the flow's run alone, with the failures counted."""

        @task
        def fragile(number: int) -> int:
            return 1 // number

        @flow(track=Track(children="none"))
        def fan_out() -> None:
            fragile.map([0, 1, 2]).wait()

        fan_out()
        (root,) = all_runs(client)
        assert (root.data.metrics["fragile.count"], root.data.metrics["fragile.failed"]) == (3, 1)

    def test_a_name_that_is_no_argument_is_refused(self) -> None:
        """``Track(inputs=...)`` is checked against the function when it is decorated."""
        with pytest.raises(ValueError, match=r"names 'rat', which is no argument of fit: rate, names"):

            @task(track=Track(inputs=["rat"]))
            def fit(rate: float, names: list[str]) -> float:
                return rate


def test_threads_of_the_users_own_can_take_the_run_along(client: MlflowClient) -> None:
    """What a function in the user's own thread logs by MLflow is in the task's run, by ``flowml.with_context``."""

    @task
    def train(folds: int) -> float:
        def fold(number: int) -> float:
            mlflow.log_metric("fold", number, step=number)
            return double.fn(number)

        with ThreadPoolExecutor(4) as pool:
            return sum(pool.map(flowml.with_context(fold), range(folds)))

    @flow
    def pipeline() -> float:
        return train(8)

    pipeline()
    run = run_of(client, "train")
    assert len(client.get_metric_history(run.info.run_id, "fold")) == 8
    assert len(all_runs(client)) == 2


def test_disabled_is_plain_prefect(client: MlflowClient) -> None:
    """Nothing that is called inside ``flowml.disabled()`` is tracked."""

    @flow
    def pipeline() -> float:
        assert flowml.current_run() is None
        return double(2)

    with flowml.disabled():
        assert pipeline() == 4
    assert all_runs(client) == []


def test_the_environment_can_turn_tracking_off(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``FLOWML_ENABLED=false`` flows run and leave no run."""
    monkeypatch.setenv("FLOWML_ENABLED", "false")

    @flow
    def pipeline() -> list[float]:
        return double.map([1, 2]).result()

    assert pipeline() == [2, 4]
    assert all_runs(client) == []


def test_an_inherited_run_id_does_not_hijack_the_run(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """``MLFLOW_RUN_ID`` in the environment neither renames that run nor receives what the tasks log."""
    stranger = client.create_run("0", run_name="stranger")
    monkeypatch.setenv("MLFLOW_RUN_ID", stranger.info.run_id)

    @task
    def nested() -> None:
        with mlflow.start_run(nested=True, run_name="inner"):
            mlflow.log_param("own", "value")

    @flow
    def pipeline() -> None:
        double(1)
        nested()

    pipeline()
    after = client.get_run(stranger.info.run_id)
    assert after.info.run_name == "stranger"
    assert after.data.params == {}
    assert parent_of(run_of(client, "double")) == run_of(client, "pipeline").info.run_id


def test_a_flow_may_wait_for_all_that_it_logs(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With FLOWML_WRITE=sync a flow has the same runs, and nothing waits for itself."""
    monkeypatch.setenv("FLOWML_WRITE", "sync")

    @task
    def score(number: int) -> dict[str, float]:
        return {"score": number / 4}

    @flow
    def pipeline() -> None:
        score(1)
        score.submit(2).wait()

    pipeline()
    assert "did not answer" not in caplog.text
    assert [run.info.status for run in all_runs(client)] == ["FINISHED"] * 3
    assert sorted(run.data.metrics["score"] for run in runs_of(client, "score")) == [0.25, 0.5]

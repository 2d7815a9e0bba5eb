"""What the author writes into runs, and finds again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from tests.projects.idioms.sides import Side, idiom


@idiom()
async def params_twice(on: Side) -> Any:
    """The same params are logged twice; a changed value is MLflow's own error."""

    @on.task
    def train(depth: int) -> None:
        with mlflow.start_run(run_name="strict"):
            mlflow.log_params({"depth": 3, "rate": 0.1})
            mlflow.log_params({"depth": depth, "rate": 0.1})

    @on.flow
    async def main(depth: int) -> Any:
        mlflow.set_experiment("strict")
        await train(depth)

    await main(3)
    await main(4)


@idiom()
async def params_twice_over_tasks(on: Side) -> Any:
    """A run is taken up by its id in another task, which logs a param with another value: MLflow's error is caught."""

    @on.task
    def begin() -> str:
        with mlflow.start_run(run_name="kept") as run:
            mlflow.log_param("rows", 100)
        return run.info.run_id

    @on.task
    def change(run_id: str) -> str:
        with mlflow.start_run(run_id=run_id):
            try:
                mlflow.log_param("rows", 101)
            except mlflow.MlflowException as error:
                return str(error.error_code)
        return "changed"

    @on.flow
    async def main() -> Any:
        return await change(await begin())

    return await main()


@idiom()
async def all_runs_deleted(on: Side) -> Any:
    """All runs of the experiment are deleted in mid-flow; what is logged afterwards is all there is."""

    @on.task
    def note(name: str, value: float) -> float:
        with mlflow.start_run(run_name=name):
            mlflow.log_metric("value", value)
        return value

    @on.task
    def clear() -> None:
        client = MlflowClient()
        experiment = client.get_experiment_by_name("cleared")
        for run in client.search_runs([experiment.experiment_id]):
            client.delete_run(run.info.run_id)

    @on.flow
    async def main() -> Any:
        chosen = mlflow.set_experiment("cleared")
        await note("old", 1.0)
        await clear()
        await note("new", 2.0)
        found = MlflowClient().search_runs([chosen.experiment_id], order_by=["metrics.value ASC"], max_results=1)
        return [(run.info.run_name, run.data.metrics) for run in found]

    return await main()


@idiom(ways=("called", "submitted", "awaited", "gathered"))
async def metrics_logged_and_returned(on: Side) -> Any:
    """What a task logs by hand it returns too: the lowest is found in the author's run, and there alone."""

    @on.task
    def score(fold: int) -> dict[str, float]:
        scores = {"mae": 1 / fold, "rmse": 2 / fold}
        with mlflow.start_run(run_name=f"fold {fold}"):
            mlflow.log_metrics(scores)
        return scores

    @on.flow
    async def main() -> Any:
        chosen = mlflow.set_experiment("folds")
        returned = await on.each(score, [1, 2, 4])
        client = MlflowClient()
        best = client.search_runs([chosen.experiment_id], order_by=["metrics.rmse ASC"], max_results=1)[0]
        lowest = client.search_runs([chosen.experiment_id], "metrics.mae = 0.25")
        return returned, best.info.run_name, [run.info.run_name for run in lowest]

    return await main()


@idiom()
async def params_named_as_arguments(on: Side) -> Any:
    """Params by hand have the arguments' names; the newest run with that value is the author's."""

    @on.task
    def train(depth: int, *, loud: bool = False) -> None:
        with mlflow.start_run(run_name=f"of depth {depth}"):
            mlflow.log_params({"depth": depth, "loud": loud})

    @on.flow
    async def main() -> Any:
        chosen = mlflow.set_experiment("arguments")
        await train(5)
        return MlflowClient().search_runs([chosen.experiment_id], "params.depth = '5'", max_results=1)[0].info.run_name

    return await main()


@idiom(ways=("called", "submitted", "awaited", "gathered", "processes"))
async def files_by_hand(on: Side) -> Any:
    """Text, a dictionary, a file and a folder are logged, and read back through the run."""

    @on.task
    def report(part: str) -> Any:
        folder = Path(f"report-{part}")
        folder.mkdir()
        (folder / "body.md").write_text(f"# {part}")
        with mlflow.start_run(run_name=part) as run:
            mlflow.log_text("a,b", "table.csv")
            mlflow.log_dict({"part": part}, "nested/part.json")
            mlflow.log_artifact(str(folder / "body.md"), "single")
            mlflow.log_artifacts(str(folder), "whole")
        return mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/nested/part.json")

    @on.flow
    async def main() -> Any:
        mlflow.set_experiment("reports")
        return await on.each(report, ["first", "second"])

    return await main()


@idiom()
async def batches_and_datasets(on: Side) -> Any:
    """A batch by the client into the run that is active, with steps of the author's, and a dataset as input."""

    @on.task
    def train() -> Any:
        with mlflow.start_run(run_name="batch") as run:
            points = [Metric("loss", 1 / (step + 1), 1_700_000_000_000 + step, step) for step in range(5)]
            MlflowClient().log_batch(run.info.run_id, metrics=points, params=[Param("mode", "batch")])
            mlflow.log_input(mlflow.data.from_numpy(np.arange(6.0), name="numbers"), context="training")
        history = MlflowClient().get_metric_history(run.info.run_id, "loss")
        return [(point.step, point.timestamp) for point in history]

    @on.flow
    async def main() -> Any:
        mlflow.set_experiment("batches")
        return await train()

    return await main()


@idiom(as_called=True, ways=("called", "submitted"))
async def metrics_in_the_body_and_tasks(on: Side) -> Any:
    """One run gets metrics from the flow's body, from tasks, and from a flow that is called inside."""

    @on.task
    def step_of(number: int) -> int:
        mlflow.log_metric("progress", number, step=number)
        return number

    @on.flow
    async def inner() -> None:
        mlflow.log_param("inner", "called")
        await step_of(3)

    @on.flow
    async def outer() -> Any:
        with mlflow.start_run(run_name="one for all") as run:
            mlflow.log_metric("progress", 0, step=0)
            await step_of(1)
            await step_of(2)
            await inner()
            mlflow.log_metric("progress", 4, step=4)
        return [point.value for point in MlflowClient().get_metric_history(run.info.run_id, "progress")]

    return await outer()

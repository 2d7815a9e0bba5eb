"""How runs are opened and ended by hand."""

from __future__ import annotations

from typing import Any

import mlflow
from mlflow import MlflowClient, active_run, end_run, log_metric, set_experiment, start_run

from tests.projects.idioms.sides import Side, idiom


@idiom()
async def ended_before_it_starts(on: Side) -> Any:
    """``end_run()`` stands before ``start_run()``, as in code that was a notebook."""

    @on.task
    def train() -> float:
        mlflow.end_run()
        with mlflow.start_run(run_name="mine"):
            mlflow.log_metric("accuracy", 0.75)
        return 0.75

    @on.flow
    async def main() -> Any:
        return await train(), await train()

    return await main()


@idiom()
async def all_ended_before_it_starts(on: Side) -> Any:
    """A loop ends whatever is active, in the task and in the flow's body."""

    @on.task
    def train(depth: int) -> bool:
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.start_run(run_name=f"depth {depth}")
        mlflow.log_param("depth", depth)
        while mlflow.active_run():
            mlflow.end_run()
        return mlflow.active_run() is None

    @on.flow
    async def main() -> Any:
        while mlflow.active_run():
            mlflow.end_run()
        return await train(2), await train(3)

    return await main()


@idiom(ways=("called", "submitted", "awaited", "gathered", "processes"))
async def imported_by_name(on: Side) -> Any:
    """The functions are imported from MLflow by their names."""

    @on.task
    def train(rate: float) -> Any:
        with start_run(run_name=f"rate {rate}") as run:
            log_metric("loss", rate * 2)
            return active_run().info.run_id == run.info.run_id

    @on.flow
    async def main() -> Any:
        set_experiment("by name")
        end_run()
        return await on.each(train, [0.1, 0.2, 0.4])

    return await main()


@idiom(ways=("called", "submitted", "awaited", "processes"))
async def without_a_with(on: Side) -> Any:
    """A run is started, logged to and ended, line by line."""

    @on.task
    def train() -> Any:
        run = mlflow.start_run(run_name="by lines")
        mlflow.log_params({"a": 1, "b": "two"})
        mlflow.log_metric("score", 3.5, step=2)
        mlflow.end_run(status="KILLED")
        return MlflowClient().get_run(run.info.run_id).info.status

    @on.flow
    async def main() -> Any:
        return await train()

    return await main()


@idiom(as_called=True)
async def over_three_tasks(on: Side) -> Any:
    """One task starts the run, the next one logs, the last one ends it."""

    @on.task
    def begin() -> str:
        return mlflow.start_run(run_name="over all").info.run_id

    @on.task
    def work(size: int) -> Any:
        mlflow.log_param("size", size)
        mlflow.log_metric("speed", size / 4)
        return mlflow.active_run().info.run_name

    @on.task
    def finish() -> None:
        mlflow.end_run()

    @on.flow
    async def main() -> Any:
        run_id = await begin()
        named = await work(6)
        await finish()
        run = mlflow.get_run(run_id)
        return named, run.info.status, run.data.metrics, run.data.params

    return await main()


@idiom(as_called=True)
async def round_tasks(on: Side) -> Any:
    """The flow's body opens a run; tasks inside log to it, and it is read back afterwards."""

    @on.task
    def fit(depth: int) -> int:
        mlflow.log_param("depth", depth)
        return depth + 1

    @on.task
    def judge(model: int) -> None:
        for step in range(3):
            mlflow.log_metric("auc", model / 10 + step / 100, step=step)
        mlflow.set_tag("judged", "yes")

    @on.flow
    async def main() -> Any:
        with mlflow.start_run(run_name="training") as run:
            await judge(await fit(4))
            inside = mlflow.active_run().info.run_name
        data = mlflow.get_run(run.info.run_id).data
        return inside, data.params, data.metrics

    return await main()


@idiom(as_called=True, ways=("called", "submitted", "gathered"))
async def round_tasks_at_once(on: Side) -> Any:
    """The flow's body opens a run; several tasks log to it at the same time."""

    @on.task
    def score(fold: int) -> None:
        mlflow.log_metric(f"fold_{fold}", fold * 1.5)

    @on.flow
    async def main() -> Any:
        with mlflow.start_run(run_name="folds") as run:
            await on.each(score, [1, 2, 3])
        return mlflow.get_run(run.info.run_id).data.metrics

    return await main()


@idiom(as_called=True, ways=("called", "submitted", "awaited", "gathered"))
async def nested_in_a_task(on: Side) -> Any:
    """The flow's body opens the parent, tasks open nested runs, and the parent's tag finds them."""

    @on.task
    def trial(number: int) -> None:
        with mlflow.start_run(run_name=f"trial {number}", nested=True):
            mlflow.log_metric("loss", 1 / number)

    @on.flow
    async def main() -> Any:
        chosen = mlflow.set_experiment("nested")
        with mlflow.start_run(run_name="parent") as parent:
            await on.each(trial, [1, 2, 5])
        mine = f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
        found = MlflowClient().search_runs([chosen.experiment_id], mine, order_by=["metrics.loss ASC"])
        return [run.info.run_name for run in found][:3]  # those of the tasks themselves come after them

    return await main()


@idiom(ways=("called", "submitted", "awaited", "gathered", "processes"))
async def three_deep(on: Side) -> Any:
    """A run in a run in a run, all opened in one task."""

    @on.task
    def study(year: int) -> Any:
        with mlflow.start_run(run_name=f"year {year}") as outer:
            with mlflow.start_run(run_name="month", nested=True):
                mlflow.log_metric("days", 30)
                with mlflow.start_run(run_name="day", nested=True) as inner:
                    mlflow.log_metric("hours", 24)
            mlflow.log_metric("days", 365)
            return mlflow.active_run().info.run_id == outer.info.run_id, inner.info.run_name

    @on.flow
    async def main() -> Any:
        return await on.each(study, [1, 2])

    return await main()


@idiom()
async def second_without_nested(on: Side) -> Any:
    """A second run is started inside the first without ``nested``: MLflow's own error comes out."""

    @on.task
    def train() -> None:
        with mlflow.start_run(run_name="first"), mlflow.start_run(run_name="second"):
            mlflow.log_metric("never", 1)

    @on.flow
    async def main() -> Any:
        await train()

    return await main()

"""Runs that are taken up again, that fail, and what MLflow remembers of them."""

from __future__ import annotations

from typing import Any

import mlflow
from mlflow import MlflowClient

from tests.projects.idioms.sides import Side, idiom


@idiom(ways=("called", "submitted", "awaited", "processes"))
async def taken_up_by_its_id(on: Side) -> Any:
    """The run's id is handed on, and later tasks take the run up by it."""

    @on.task
    def begin() -> str:
        with mlflow.start_run(run_name="long") as run:
            mlflow.log_param("stage", "first")
        return run.info.run_id

    @on.task
    def go_on(run_id: str, value: float) -> None:
        with mlflow.start_run(run_id=run_id):
            mlflow.log_metric("late", value, step=int(value))

    @on.flow
    async def main() -> Any:
        run_id = await begin()
        await go_on(run_id, 1.0)
        await go_on(run_id, 2.0)
        run = mlflow.get_run(run_id)
        return run.info.status, run.data.metrics, run.data.params

    return await main()


@idiom()
async def below_a_named_parent(on: Side) -> Any:
    """``parent_run_id`` puts a run below one that ended in another task."""

    @on.task
    def above() -> str:
        with mlflow.start_run(run_name="above") as run:
            return run.info.run_id

    @on.task
    def below(run_id: str) -> Any:
        with mlflow.start_run(run_name="below", parent_run_id=run_id, nested=True) as run:
            mlflow.log_metric("depth", 1)
        return mlflow.get_parent_run(run.info.run_id).info.run_name

    @on.flow
    async def main() -> Any:
        return await below(await above())

    return await main()


@idiom(ways=("called", "submitted", "awaited", "processes"))
async def error_inside(on: Side) -> Any:
    """An error inside ``with start_run()`` fails the run, the task and the flow."""

    @on.task
    def train() -> None:
        with mlflow.start_run(run_name="breaks"):
            mlflow.log_metric("before", 1)
            raise ZeroDivisionError("no rows are left")

    @on.flow
    async def main() -> Any:
        await train()

    return await main()


@idiom(as_called=True)
async def error_caught_in_the_flow(on: Side) -> Any:
    """The flow's body catches a task's error inside a run of its own, and notes it there."""

    @on.task
    def train() -> None:
        mlflow.log_param("tried", "yes")
        raise ValueError("no columns")

    @on.flow
    async def main() -> Any:
        with mlflow.start_run(run_name="careful") as run:
            try:
                await train()
            except ValueError as error:
                mlflow.set_tag("error", str(error))
        return mlflow.get_run(run.info.run_id).info.status

    return await main()


@idiom(ways=("called", "submitted", "awaited"))
async def retried(on: Side) -> Any:
    """Each attempt of a task opens a run; the first fails."""
    attempts: list[int] = []

    @on.task(retries=1)
    def train() -> int:
        attempts.append(1)
        with mlflow.start_run(run_name=f"attempt {len(attempts)}"):
            if len(attempts) == 1:
                raise OSError("not yet")
            mlflow.log_metric("attempts", len(attempts))
        return len(attempts)

    @on.flow
    async def main() -> Any:
        return await train()

    return await main()


@idiom(ways=("called", "awaited"))  # MLflow remembers it for each thread
async def the_last_active_run(on: Side) -> Any:
    """``last_active_run`` is the author's run, in the task and in the flow's body after it."""

    @on.task
    def train() -> Any:
        with mlflow.start_run(run_name="remembered"):
            mlflow.log_metric("score", 4)
        return mlflow.last_active_run().info.run_name

    @on.flow
    async def main() -> Any:
        inside = await train()
        last = mlflow.last_active_run()
        return inside, last and (last.info.run_name, last.info.status, last.data.metrics)

    in_flow = await main()
    last = mlflow.last_active_run()
    return in_flow, last and last.info.run_name


@idiom(implicit=True)
async def the_active_run_or_a_new_one(on: Side) -> Any:
    """Code that takes the active run, or starts one, can log and read what it logged."""

    @on.task
    def train() -> Any:
        run = mlflow.active_run() or mlflow.start_run(run_name="mine")
        mlflow.log_metric("score", 0.25)
        mlflow.end_run()
        ended = MlflowClient().get_run(run.info.run_id)
        return ended.data.metrics, mlflow.active_run() is None

    @on.flow
    async def main() -> Any:
        return await train()

    return await main()


@idiom()
async def by_the_client_alone(on: Side) -> Any:
    """A run is made, filled and terminated by ``MlflowClient``, over two tasks."""

    @on.task
    def make() -> str:
        client = MlflowClient()
        experiment_id = client.create_experiment("by the client")
        run = client.create_run(experiment_id, run_name="made", tags={"made": "by hand"})
        client.log_param(run.info.run_id, "rows", 10)
        return run.info.run_id

    @on.task
    def fill(run_id: str) -> None:
        client = MlflowClient()
        for step in range(4):
            client.log_metric(run_id, "loss", 1 / (step + 1), step=step)
        client.log_text(run_id, "done", "notes/end.txt")
        client.set_terminated(run_id, "FAILED")

    @on.flow
    async def main() -> Any:
        run_id = await make()
        await fill(run_id)
        run = MlflowClient().get_run(run_id)
        return run.info.status, run.data.metrics, run.data.tags["made"]

    return await main()


@idiom(ways=("called", "submitted", "awaited", "gathered"))
async def tags_and_description(on: Side) -> Any:
    """Tags and a description are given at the start, and changed inside."""

    @on.task
    def train(kind: str) -> None:
        with mlflow.start_run(run_name=kind, tags={"kind": kind, "team": "a"}, description=f"a {kind} model"):
            mlflow.set_tags({"team": "b", "checked": True})
            mlflow.set_tag("extra", kind)
            mlflow.delete_tag("extra")

    @on.flow
    async def main() -> Any:
        mlflow.set_experiment("tagged")
        await on.each(train, ["linear", "tree"])
        found = mlflow.search_runs(
            experiment_names=["tagged"], filter_string="tags.kind = 'tree'", output_format="list", max_results=5
        )
        return [(run.info.run_name, run.data.tags["team"], run.data.tags["mlflow.note.content"]) for run in found]

    return await main()


@idiom(as_called=True, ways=("called", "submitted", "awaited", "gathered"))
async def pausing_inside(on: Side) -> Any:
    """Tasks that wait inside their runs: each goes on with its own."""

    @on.task
    async def train(number: int) -> Any:
        with mlflow.start_run(run_name=f"paused {number}") as run:
            mlflow.log_param("number", number)
            await on.pause()
            mlflow.log_metric("loss", number / 8)
            await on.pause()
            return mlflow.active_run().info.run_id == run.info.run_id

    @on.flow
    async def main() -> Any:
        return await on.each(train, [1, 2, 3])

    return await main()

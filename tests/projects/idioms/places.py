"""Which store and which experiment the author says, and where."""

from __future__ import annotations

import os
from typing import Any

import mlflow
from mlflow import MlflowClient

from tests.projects.idioms.sides import Side, idiom

EVERYWHERE = ("called", "submitted", "awaited", "gathered", "processes")


def best_of(name: str) -> Any:
    """Return the name and the error of the best run of an experiment, as authors look it up."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id], order_by=["metrics.rmse ASC"], max_results=1)
    return [(run.info.run_name, run.data.metrics["rmse"]) for run in runs]


def fit(depth: int) -> dict[str, float]:
    """Log an error in a run, and return it too."""
    with mlflow.start_run(run_name=f"depth {depth}"):
        mlflow.log_param("depth", depth)
        mlflow.log_metric("rmse", 12 / depth)
    return {"rmse": 12 / depth}


@idiom(ways=EVERYWHERE)
async def experiment_in_the_flow(on: Side) -> Any:
    """``set_experiment`` is the flow's first line; the best run is looked up there by a task."""
    train, best = on.task(fit), on.task(best_of)

    @on.flow
    async def main() -> Any:
        mlflow.set_experiment("trees")
        scores = await on.each(train, [1, 3, 2])
        return scores, await best("trees")

    return await main()


@idiom(ways=EVERYWHERE, in_the_code=True)
async def store_in_the_flow(on: Side) -> Any:
    """``set_tracking_uri`` and ``set_experiment`` are the flow's first lines."""
    train, best = on.task(fit), on.task(best_of)

    @on.flow
    async def main() -> Any:
        mlflow.set_tracking_uri(on.other)
        mlflow.set_experiment("trees")
        await on.each(train, [1, 3, 2])
        return await best("trees"), mlflow.get_tracking_uri() == on.other

    return await main()


@idiom(in_the_code=True)
async def store_with_experiments_of_others(on: Side) -> Any:
    """The store that the flow names has other people's experiments already: theirs stay empty."""
    there = MlflowClient(on.other)
    others = [there.create_experiment(name) for name in ("theirs", "ours")]
    train, best = on.task(fit), on.task(best_of)

    @on.flow
    async def main() -> Any:
        mlflow.set_tracking_uri(on.other)
        mlflow.set_experiment("mine")
        await train(4)
        return await best("mine")

    return await main(), [len(there.search_runs([other])) for other in others]


@idiom(implicit=True, in_the_code=True)
async def metric_without_a_run(on: Side) -> Any:
    """After ``set_tracking_uri`` in the flow a task logs a metric without opening a run; it can be found."""

    @on.task
    def judge() -> str:
        mlflow.log_metric("auc", 0.875)
        return "judged"

    @on.flow
    async def main() -> Any:
        mlflow.set_tracking_uri(on.other)
        mlflow.set_experiment("judged")
        said = await judge()
        found = mlflow.search_runs(
            experiment_names=["judged"], order_by=["metrics.auc DESC"], max_results=1, output_format="list"
        )
        return said, [run.data.metrics["auc"] for run in found]

    return await main()


@idiom()
async def same_flow_twice(on: Side) -> Any:
    """A flow that sets its experiment is called twice in one process."""
    train, best = on.task(fit), on.task(best_of)

    @on.flow
    async def main(depth: int) -> Any:
        mlflow.set_experiment("again")
        await train(depth)
        return await best("again")

    return await main(2), await main(3)


@idiom()
async def two_flows(on: Side) -> Any:
    """A second flow sets another experiment, and calls the first; then the choice holds on for runs outside."""
    train, best = on.task(fit), on.task(best_of)

    @on.flow
    async def small() -> Any:
        mlflow.set_experiment("small")
        await train(1)
        return await best("small")

    @on.flow
    async def large() -> Any:
        mlflow.set_experiment("large")
        await train(8)
        return await best("large"), await small()

    found = await small(), await large()
    with mlflow.start_run(run_name="outside"):
        mlflow.log_metric("rmse", 100)
    return found


@idiom()
async def experiment_by_its_id(on: Side) -> Any:
    """The experiment is made by hand and chosen by its id, and a run says its experiment itself."""
    train, best = on.task(fit), on.task(best_of)

    @on.task
    def elsewhere(experiment_id: str) -> str:
        with mlflow.start_run(run_name="elsewhere", experiment_id=experiment_id) as run:
            mlflow.log_metric("rmse", 0.5)
        return mlflow.get_experiment(run.info.experiment_id).name

    @on.flow
    async def main() -> Any:
        chosen, other = mlflow.create_experiment("chosen"), mlflow.create_experiment("other")
        mlflow.set_experiment(experiment_id=chosen)
        await train(6)
        named = await elsewhere(other)
        return named, await best("chosen"), await best("other")

    return await main()


@idiom(ways=("called", "submitted", "awaited", "processes"), in_the_code=True)
async def experiment_in_the_environment(on: Side) -> Any:
    """The flow's first line puts the experiment's name into the environment."""
    mlflow.set_tracking_uri(on.store)
    train, best = on.task(fit), on.task(best_of)

    @on.flow
    async def main() -> Any:
        os.environ["MLFLOW_EXPERIMENT_NAME"] = "by environment"
        await train(5)
        return await best("by environment")

    return await main()


@idiom(ways=("called", "submitted", "awaited", "processes"), in_the_code=True)
async def store_in_the_environment(on: Side) -> Any:
    """The flow's first line puts the store into the environment."""
    train, best = on.task(fit), on.task(best_of)

    @on.flow
    async def main() -> Any:
        os.environ["MLFLOW_TRACKING_URI"] = on.other
        mlflow.set_experiment("stored")
        await train(5)
        return await best("stored")

    return await main()


@idiom()
async def store_in_the_middle(on: Side) -> Any:
    """Between two tasks the store changes: what was before stays where it was, the rest goes to the other."""
    train, best = on.task(fit), on.task(best_of)

    @on.flow
    async def main() -> Any:
        mlflow.set_experiment("moving")
        await train(2)
        before = await best("moving")
        mlflow.set_tracking_uri(on.other)
        mlflow.set_experiment("moving")
        await train(3)
        return before, await best("moving")

    return await main()


@idiom()
async def experiment_in_a_task(on: Side) -> Any:
    """A task sets the experiment: from then on all runs of the author's go there."""
    train, best = on.task(fit), on.task(best_of)

    @on.task
    def choose(name: str) -> None:
        mlflow.set_experiment(name)

    @on.flow
    async def main() -> Any:
        mlflow.set_experiment("before")
        await train(1)
        await choose("after")
        await train(2)
        with mlflow.start_run(run_name="in the body"):
            mlflow.log_metric("rmse", 9)
        return await best("before"), await best("after")

    return await main()


@idiom(in_the_code=True)
async def store_in_a_task(on: Side) -> Any:
    """A task sets store and experiment: from then on all runs of the author's go there."""
    train, best = on.task(fit), on.task(best_of)

    @on.task
    def connect(uri: str) -> None:
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("connected")

    @on.flow
    async def main() -> Any:
        await connect(on.other)
        await train(2)
        return await best("connected"), mlflow.get_tracking_uri() == on.other

    return await main()


@idiom()
async def experiment_before_the_flow(on: Side) -> Any:
    """Store and experiment are chosen before the flow; a run is opened round the whole flow."""
    train, best = on.task(fit), on.task(best_of)

    @on.flow
    async def main() -> Any:
        await train(7)
        return await best("outside")

    mlflow.set_experiment("outside")
    found = await main()
    with mlflow.start_run(run_name="report"):
        mlflow.log_metric("rmse", found[0][1])
    return found, mlflow.active_run() is None


@idiom(in_the_code=True, implicit=True)
async def no_experiment_at_all(on: Side) -> Any:
    """Nobody names an experiment, neither for the runs nor for the search: it finds them."""
    mlflow.set_tracking_uri(on.store)
    train = on.task(fit)

    @on.flow
    async def main() -> Any:
        await on.each(train, [1, 4, 2])
        found = mlflow.search_runs(order_by=["metrics.rmse ASC"], max_results=1, output_format="list")
        return [(run.info.run_name, run.data.params, run.data.metrics) for run in found]

    return await main()
